#!/usr/bin/env bash
# What does watching a run cost? Measures one experiment with nobody looking and with everybody: a bar at a terminal, and
# figures that are asked for once a second. In turn, so that what drifts drifts for both.
#
#   scripts/display-cost.sh                          echo on mem, 24 runs of each: three minutes, on a machine that is quiet
#   scripts/display-cost.sh CONFIG --set K=V ...     another experiment
#
# Needs `script` (util-linux). Exit codes: 0 if looking costs less than 1 % of the throughput,
# by the interval of their ratio; 1 if these runs do not tell that, or it failed.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    set -- bench-configs/peak.toml --set protocol=echo --set transport=mem --set run.repetitions=24
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
# By the shell itself: a program for each question would cost more than all answers.
ask() {
    exec 3<>"/dev/tcp/127.0.0.1/\$port" || return 0
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    mapfile -t lines <&3
    printf '%s\n' "\${lines[@]}" >>"$out/scraped"
    exec 3>&-
} 2>/dev/null
(while sleep 1; do ask; done) &
trap "kill \$!" EXIT
script -qefc "\$(printf '%q ' "$program" "\${arguments[@]}" --metrics "\$port")" "$out/shown" >/dev/null
WATCHED
chmod +x "$out/watched"
"$program" run "$@" --quiet --interleave "$out/watched" --out "$out/runs" >/dev/null || [ $? -eq 3 ]
grep -q 'quorumbench_phase{.*phase="measuring"} 1' "$out/scraped" || { echo "nobody was answered" >&2; exit 1; }
grep -q 'measuring.*/s, p99' "$out/shown" || { echo "nothing was shown" >&2; exit 1; }
run=$(echo "$out"/runs/*-interleaved)
"$program" compare "$run/new" "$run/base" --metric throughput --threshold 1% || [ $? -eq 3 ]
# The interval that its ratio lies in, but for one time in twenty.
low=$("$program" compare "$run/new" "$run/base" --metric throughput --threshold 99% --json |
    grep -o '"interval":\[[0-9.]*' | cut -d'[' -f2 | sort -g | head -1)
echo "watched, it has at least $low of the throughput"
awk -v low="$low" 'BEGIN { exit !(low >= 0.99) }' ||
    { echo "these runs do not tell that it is within 1 %: take more repetitions, on a quiet machine" >&2; exit 1; }
