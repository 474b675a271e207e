#!/usr/bin/env bash
# Do the tools that `quorumbench export` writes for understand it? Gets them from PyPI into target/consumers, and asks them.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/consumers
[ -x "$tools/bin/python3" ] || python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check \
    hdrhistogram==0.10.8 prometheus_client==0.26.0 apache-otava==0.8.0 jsonschema==4.26.0
PATH=$tools/bin:$PATH cargo test --locked --workspace --test consumers -- --ignored
