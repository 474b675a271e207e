//! Behaviour as commented scripts: read them in `tests/data`.

mod support;

use quorumbench_protocols::floors::{Echo, Star};
use quorumbench_protocols::multipaxos::MultiPaxos;
use quorumbench_protocols::paxos::Paxos;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::zab::Zab;

#[test]
fn raft() {
    support::script::run_all::<Raft>("raft");
}

#[test]
fn paxos() {
    support::script::run_all::<Paxos>("paxos");
}

#[test]
fn multipaxos() {
    support::script::run_all::<MultiPaxos>("multipaxos");
}

#[test]
fn zab() {
    support::script::run_all::<Zab>("zab");
}

#[test]
fn star() {
    support::script::run_all::<Star>("floors/star");
}

#[test]
fn echo() {
    support::script::run_all::<Echo>("floors/echo");
}
