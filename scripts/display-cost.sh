#!/usr/bin/env bash
# What does watching a run cost? Measures one experiment with nobody looking and with everybody: a bar at a terminal, and
# figures that are asked for ten times a second. In turn, so that what drifts drifts for both.
#
#   scripts/display-cost.sh                          echo on mem, eight runs of each: a minute, on a machine that is quiet
#   scripts/display-cost.sh CONFIG --set K=V ...     another experiment
#
# Needs `script` (util-linux) and curl. Exit codes: 0 if the interval of the ratio of throughputs lies within 1 %, 3 if
# looking costs more, 1 if it failed or these runs do not tell.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    set -- bench-configs/peak.toml --set protocol=echo --set transport=mem --set run.repetitions=8
fi
cargo build --release --locked -p quorumbench
program=$(realpath "${CARGO_TARGET_DIR:-target}/release/quorumbench")

out=$PWD/target/display-cost
rm -rf "$out"
mkdir -p "$out"
# Takes the place of the base in a comparison: the same program, watched.
cat >"$out/watched" <<WATCHED
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do [ "\$argument" = --quiet ] || arguments+=("\$argument"); done
port=\$((20000 + RANDOM % 10000))
(while sleep 0.1; do curl -s --max-time 1 "http://127.0.0.1:\$port/metrics" >>"$out/scraped" || true; done) &
trap "kill \$!" EXIT
script -qefc "\$(printf '%q ' "$program" "\${arguments[@]}" --metrics "\$port")" "$out/shown" >/dev/null
WATCHED
chmod +x "$out/watched"
"$program" run "$@" --quiet --interleave "$out/watched" --out "$out/runs" >/dev/null || [ $? -eq 3 ]
grep -q 'quorumbench_phase{.*phase="measuring"} 1' "$out/scraped" || { echo "nobody was answered" >&2; exit 1; }
grep -q 'measuring.*/s, p99' "$out/shown" || { echo "nothing was shown" >&2; exit 1; }
run=$(echo "$out"/runs/*-interleaved)
"$program" compare "$run/new" "$run/base" --metric throughput --threshold 1% | tee "$out/compared"
# To have seen no difference is not to have seen that there is none.
grep -Eqx '0 worse, 0 better, [1-9][0-9]* the same, 0 inconclusive' "$out/compared" ||
    { echo "these runs do not tell whether it is within 1 %: take more repetitions, on a quiet machine" >&2; exit 1; }
