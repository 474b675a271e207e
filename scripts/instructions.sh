#!/usr/bin/env bash
# Did the hot paths get longer? Counts their instructions, which no busy machine changes, and holds them to the baseline in
# protocols/benches/instructions.rs: exit code 3 beyond it. Needs valgrind; gets gungraun's runner from crates.io.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is needed: apt-get install valgrind" >&2; exit 1; }
tools=$PWD/target/tools
version=$(sed -n '/^name = "gungraun"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
[ -x "$tools/bin/gungraun-runner" ] || cargo install --quiet --locked --root "$tools" gungraun-runner --version "$version"
GUNGRAUN_RUNNER=$tools/bin/gungraun-runner \
    cargo bench --locked -p quorumbench-protocols --features instructions --bench instructions -- "$@"
