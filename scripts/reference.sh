#!/usr/bin/env bash
# Takes the reference runs anew: what results/reference/ holds, and the README's table and picture come from. Five minutes
# and a build, on a machine with nothing else to do; `quorumbench doctor` says whether this is one.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked
out=target/reference
rm -rf "$out"

take() { # NAME CONFIG [--set KEY=VALUE]...
    local name=$1 config=$2 kept=results/reference/$1
    shift 2
    mkdir -p "$out/$name" "$kept"
    ${CARGO_TARGET_DIR:-target}/release/quorumbench run "bench-configs/$config" --out "$out/$name" "$@" >"$out/$name/table.txt"
    rm -f "$kept"/*
    cp "$out/$name"/*/{manifest.json,points.jsonl,intervals.csv} "$kept"
    grep -v '^Results: ' "$out/$name/table.txt" | sed '/./,$!d' >"$kept/table.txt"
    ${CARGO_TARGET_DIR:-target}/release/quorumbench report "$kept" --out "$out/$name/report.html" --svg "$kept"
}

take quickstart quickstart.toml
take protocols compare-protocols.toml --set replicas=3 --set transport=mem --set repetitions=3 --set duration=2s \
    --set rate=[20_000,50_000,100_000,200_000,400_000,800_000]
take gossip gossip-scale.toml --set nodes=[1_000,10_000,100_000]
# The README's table.
UPDATE=1 cargo test --locked --quiet -p quorumbench --test tidy -- the_readme_has_the_table_of_the_reference_run
