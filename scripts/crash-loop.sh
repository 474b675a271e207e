#!/usr/bin/env bash
# Kills the process of a replica drawn at random (SIGKILL) again and again under load, for each protocol, and verifies that the run
# was linearizable and that nothing that was acknowledged was lost.
#
#   scripts/crash-loop.sh                  200 rounds each, logs synced: eight minutes
#   scripts/crash-loop.sh 20 page-cache    20 rounds each, logs left to the kernel, which outlives a process
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-200}
durability=${2:-fsync}
[ "$rounds" -ge 2 ] || { echo "crash-loop.sh: at least 2 rounds, not '$rounds'" >&2; exit 2; }

config=$(mktemp --suffix=.toml)
trap 'rm -f "$config"' EXIT
cat >"$config" <<TOML
# Is everything that was acknowledged still there when replicas' processes die again and again?
name = "crash-loop"

[cluster]
protocol = ["raft", "multipaxos", "zab"]
transport = "uring"
placement = "processes"
machine = "kv"
election_timeout = "150ms"
heartbeat = "30ms"
# So often that logs are cut and replicas come back from snapshots, too.
snapshot_slots = 2_000

[storage]
durability = "$durability"
segment = "1MiB"

[load]
rate = 5_000
clients = 2
reads = 0.3
keys = "uniform:100"
resend = "100ms"

[run]
warmup = "500ms"
duration = "$((rounds * 600 + 1500))ms"

[[faults]]
at = "500ms"
kind = "kill"
target = "any"
for = "200ms"
every = "600ms"
times = $rounds
TOML
cargo run --release --locked --package quorumbench -- run "$config" --check "${@:3}"
# Basic Paxos decides one slot at a time, each by three syncs after another: it carries that many commands in larger batches.
cargo run --release --locked --package quorumbench -- run "$config" --check --set protocol=paxos --set linger=20ms "${@:3}"
