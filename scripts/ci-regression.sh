#!/usr/bin/env bash
# Did this tree make it slower? Builds a commit and this tree, measures both in turn, and compares.
#
#   scripts/ci-regression.sh                         against origin/main's last common commit: six minutes and two builds
#   scripts/ci-regression.sh HEAD~1 CONFIG --set K=V ...   against another commit, with another experiment
#
# Leaves target/regression/comment.md, for a pull request, and report.html, for people, beside the runs. Exit codes are
# those of `quorumbench compare`: 3 if anything is worse.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(git rev-parse --verify "${1:-$(git merge-base HEAD origin/main)}^{commit}")
config=${2:-bench-configs/regression.toml}
shift $(($# < 2 ? $# : 2))

out=$PWD/target/regression
tree=$out/base-tree
mkdir -p "$out"
git worktree remove --force "$tree" 2>/dev/null || true
git worktree add --force --detach "$tree" "$base" >&2
trap 'git worktree remove --force "$tree"' EXIT
CARGO_TARGET_DIR=$out/base cargo build --release --locked -p quorumbench --manifest-path "$tree/Cargo.toml"
cargo build --release --locked -p quorumbench

program=${CARGO_TARGET_DIR:-target}/release/quorumbench
rm -rf "$out/runs"
code=0
"$program" run "$config" --interleave "$out/base/release/quorumbench" --out "$out/runs" "$@" || code=$?
case $code in 0 | 3) ;; *) exit "$code" ;; esac
run=$(echo "$out"/runs/*-interleaved)
"$program" compare "$run/base" "$run/new" --markdown >"$out/comment.md" || true
"$program" report "$run/base" "$run/new" --out "$out/report.html"
exit "$code"
