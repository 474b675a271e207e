//! A walk through the paper (Ongaro & Ousterhout, 2014) and the thesis (Ongaro, 2014): a test for each
//! rule, in the order in which they are stated. `raft_random.rs` tries what nobody thought of.

mod support;

use bytes::Bytes;
use quorumbench_protocols::raft::message::{Append, Candidacy, HARD_STATE, Message, NO_VOTE};
use quorumbench_protocols::raft::{Raft, Role};
use quorumbench_protocols::{
    Config, DeliveryKind, Frame, Head, Input, Nanos, NodeId, Outbox, Payload, PeerSet, Protocol, Slot,
};
use support::bench::{Bench, MS, accepted, probe, vote};
use support::cluster::{Cluster, Event};

// 5.1 Terms

#[test]
fn section_5_1_a_later_term_makes_everyone_a_follower() {
    let mut leader = Bench::lead(3, &[1, 1]);
    leader.hear(2, probe(9, 2, 1, 0));
    assert_eq!((leader.raft.role(), leader.raft.term(), leader.raft.leader()), (Role::Follower, 9, Some(NodeId(2))));

    let mut candidate = Bench::new(3);
    candidate.timeout();
    candidate.hear(2, Message::Stale { term: 4 });
    assert_eq!((candidate.raft.role(), candidate.raft.term()), (Role::Follower, 4));
}

#[test]
fn section_5_1_a_stale_request_is_refused_and_answered_with_the_term() {
    let mut node = Bench::new(3);
    node.fill(&[3]);
    let pre_vote = Message::PreVote(Candidacy { term: 2, last: Slot(9), last_term: 1, transfer: false });
    node.now += 1000 * MS;
    for request in [vote(2, 9, 1), pre_vote, probe(2, 0, 0, 0)] {
        node.hear(2, request);
        assert_eq!(node.said(), [Message::Stale { term: 3 }]);
    }
    assert_eq!((node.raft.term(), node.raft.voted_for()), (3, None));
}

#[test]
fn section_5_1_terms_never_go_back() {
    let mut node = Bench::new(3);
    node.fill(&[3]);
    node.hear(1, Message::Stale { term: 2 });
    node.hear(1, Message::Grant { term: 2 });
    assert_eq!(node.raft.term(), 3);
}

// 5.2 Leader election

#[test]
fn section_5_2_a_fresh_node_only_arms_its_timer() {
    let mut raft = Raft::new(&Config::new(NodeId(0), 3), 7);
    assert_eq!(raft.deadline(), Nanos::ZERO);
    let mut out = Outbox::default();
    raft.step(Nanos(5), Input::Timeout, &mut out).expect("no frame");
    assert_eq!(raft.role(), Role::Follower);
    assert!(raft.deadline() >= Nanos(5 + 300 * MS) && raft.deadline() < Nanos(5 + 600 * MS));
}

#[test]
fn section_5_2_timeouts_are_drawn_anew_from_t_to_2t() {
    let mut node = Bench::new(3);
    let mut drawn: Vec<_> = Vec::new();
    for _ in 0..200 {
        node.timeout();
        drawn.push(node.raft.deadline().saturating_since(node.now));
    }
    assert!(drawn.iter().all(|timeout| (300 * MS..600 * MS).contains(timeout)));
    assert!(drawn.iter().any(|&timeout| timeout < 330 * MS) && drawn.iter().any(|&timeout| timeout > 570 * MS));
    drawn.sort_unstable();
    drawn.dedup();
    assert!(drawn.len() > 190, "each attempt has its own");
}

#[test]
fn section_5_2_a_timeout_before_its_time_is_nothing() {
    let mut node = Bench::new(3);
    node.step(Input::Timeout);
    assert_eq!((node.raft.role(), node.said()), (Role::Follower, vec![]));
}

#[test]
fn section_5_2_one_vote_a_term_first_come_first_served() {
    let mut node = Bench::new(3);
    node.hear(1, vote(1, 0, 0));
    node.hear(2, vote(1, 0, 0));
    node.sync();
    assert_eq!(node.said(), [Message::Grant { term: 1 }]);
    assert_eq!(node.raft.voted_for(), Some(NodeId(1)));
    node.hear(1, vote(1, 0, 0));
    assert_eq!(node.said(), [Message::Grant { term: 1 }], "the answer may have been lost");
    node.hear(2, vote(2, 0, 0));
    node.sync();
    assert_eq!((node.said(), node.raft.voted_for()), (vec![Message::Grant { term: 2 }], Some(NodeId(2))));
}

#[test]
fn section_5_2_a_vote_is_durable_before_it_is_given() {
    let mut node = Bench::new(3);
    node.hear(1, vote(1, 0, 0));
    let (said, records) = node.flush();
    assert_eq!(said, []);
    assert_eq!((records[0].head.kind, records[0].head.words[..2].to_owned()), (HARD_STATE, vec![1, 1]), "as one");
    node.step(Input::Durable(records[0].lsn));
    assert_eq!(node.said(), [Message::Grant { term: 1 }]);
}

#[test]
fn section_5_2_a_vote_that_was_overtaken_is_not_given() {
    let mut node = Bench::new(3);
    node.hear(1, vote(1, 0, 0));
    node.hear(1, Message::Stale { term: 5 });
    let (_, records) = node.flush();
    assert_eq!(records.last().expect("term 5").head.words[..2].to_owned(), [5, NO_VOTE]);
    node.sync();
    assert_eq!(node.said(), []);
}

#[test]
fn section_5_2_a_candidate_counts_its_own_vote_when_it_is_durable() {
    let mut node = Bench::new(3);
    node.timeout();
    node.said();
    node.hear(1, Message::PreGrant { term: 1 });
    assert_eq!((node.raft.role(), node.said()), (Role::Candidate, vec![]), "not even asked yet");
    node.sync();
    assert!(matches!(node.said()[..], [Message::Vote(Candidacy { term: 1, .. })]));
    node.hear(2, Message::Grant { term: 1 });
    assert_eq!(node.raft.role(), Role::Leader);
}

#[test]
fn section_5_2_votes_of_another_term_or_a_stranger_do_not_count() {
    let mut node = Bench::new(5);
    node.timeout();
    node.hear(1, Message::PreGrant { term: 1 });
    node.said();
    node.hear(1, Message::PreGrant { term: 1 });
    assert_eq!(node.raft.role(), Role::PreCandidate, "the same voice twice");
    node.hear(2, Message::PreGrant { term: 9 });
    node.hear(2, Message::Grant { term: 1 });
    assert_eq!(node.raft.role(), Role::PreCandidate);
    node.hear(2, Message::PreGrant { term: 1 });
    assert_eq!(node.raft.role(), Role::Candidate);
}

#[test]
fn section_5_2_a_candidate_follows_the_leader_of_its_term() {
    let mut node = Bench::new(3);
    node.timeout();
    node.said();
    node.hear(1, Message::PreGrant { term: 1 });
    node.hear(2, probe(1, 0, 0, 0));
    assert_eq!((node.raft.role(), node.raft.leader()), (Role::Follower, Some(NodeId(2))));
    assert_eq!(node.raft.voted_for(), Some(NodeId(0)), "its vote stays given");
}

/// Found by the simulator: clients were sent to a leader long gone, by a node that had been removed.
#[test]
fn section_5_2_a_leader_that_is_silent_is_none_even_to_a_node_without_a_vote() {
    let config = Config { voters: PeerSet::from_bits(0b1110), ..Config::new(NodeId(0), 4) };
    let mut stranger = Bench { raft: Raft::new(&config, 7), ..Bench::new(4) };
    stranger.hear(1, probe(1, 0, 0, 0));
    stranger.said();
    assert_eq!(stranger.raft.leader(), Some(NodeId(1)));
    stranger.timeout();
    assert_eq!((stranger.raft.role(), stranger.raft.leader()), (Role::Follower, None));
    assert_eq!(stranger.said(), [], "it asks nobody");
}

#[test]
fn section_5_2_a_refused_candidate_does_not_reset_the_timer() {
    let mut node = Bench::new(3);
    node.fill(&[1, 1]);
    node.now += 310 * MS;
    let patience = node.raft.deadline();
    node.hear(2, vote(5, 1, 1));
    assert_eq!((node.raft.term(), node.raft.deadline()), (5, patience));
    node.hear(2, vote(6, 2, 1));
    assert!(node.raft.deadline() >= node.now + 300 * MS, "a vote that was given does");
}

// 5.3 Log replication

#[test]
fn section_5_3_a_slot_is_refused_unless_the_one_before_matches() {
    let mut node = Bench::new(3);
    node.fill(&[1, 1]);
    node.hear_append(2, 5, 2, 2, 0);
    node.sync();
    let said = node.said();
    assert!(
        matches!(said[..], [Message::Reject(reject)] if reject.prev == Slot(4) && reject.hint == Slot(2)),
        "{said:?}"
    );
    assert_eq!(node.stamps(), [1, 1]);
}

#[test]
fn section_5_3_a_conflict_truncates_and_nothing_else_does() {
    let mut node = Bench::new(3);
    node.fill(&[1, 1, 2, 2]);
    node.hear_append(3, 2, 1, 1, 0);
    assert_eq!(node.stamps(), [1, 1, 2, 2], "an old frame is no conflict (R6)");
    node.hear(1, probe(3, 1, 1, 0));
    assert_eq!(node.stamps(), [1, 1, 2, 2], "a short log of the leader is none either");
    node.hear_append(3, 3, 3, 1, 0);
    assert_eq!(node.stamps(), [1, 1, 3], "this is (R10)");
}

#[test]
fn section_5_3_one_acknowledgement_a_flush() {
    let mut node = Bench::new(3);
    (1..=20).for_each(|slot| node.hear_append(1, slot, 1, u64::from(slot > 1), 0));
    assert_eq!(node.said(), [], "nothing is durable");
    node.sync();
    let said = node.said();
    assert_eq!((said.len(), accepted(&said)), (1, vec![(20, 20)]));
    assert_eq!(node.said(), [], "and nothing is said twice");
}

#[test]
fn section_5_3_only_what_is_durable_is_acknowledged() {
    let mut node = Bench::new(3);
    node.hear_append(1, 1, 1, 0, 0);
    node.hear_append(1, 2, 1, 1, 0);
    let (_, records) = node.flush();
    node.step(Input::Durable(records[1].lsn));
    assert_eq!(accepted(&node.said()), [(1, 2)]);
    node.step(Input::Durable(records[2].lsn));
    assert_eq!(accepted(&node.said()), [(2, 2)]);
}

#[test]
fn section_5_3_durability_of_an_overwritten_slot_is_not_acknowledged() {
    let mut node = Bench::new(3);
    node.hear_append(1, 1, 1, 0, 0);
    node.hear_append(1, 2, 1, 1, 0);
    let (_, old) = node.flush();
    node.hear_append(2, 2, 2, 1, 0);
    let (_, new) = node.flush();
    node.step(Input::Durable(old.last().expect("slot 2").lsn));
    assert_eq!(node.said(), [], "term 2 is not durable, and neither is its slot 2 (R5a)");
    node.step(Input::Durable(new[0].lsn));
    assert!(accepted(&node.said()).iter().all(|&(durable, _)| durable < 2));
    node.step(Input::Durable(new[1].lsn));
    assert_eq!(accepted(&node.said()), [(2, 2)]);
}

#[test]
fn section_5_3_the_logs_own_end_is_not_acknowledged() {
    let mut node = Bench::new(3);
    node.fill(&[1, 1, 1, 1]);
    node.hear(2, probe(2, 2, 1, 4));
    node.sync();
    assert_eq!(accepted(&node.said()), [(2, 2)], "slots 3 and 4 may not be the new leader's (R8)");
    assert_eq!(node.raft.committed(), Slot(2), "nor are they committed because it has committed as many (R7)");
}

/// The logs of figure 7, each the worst a leader can meet, and how many refusals it takes.
#[test]
fn section_5_3_figure_7_is_repaired_in_few_round_trips() {
    let leader_log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [(&[u64], usize); 6] = [
        (&[1, 1, 1, 4, 4, 5, 5, 6, 6], 1),
        (&[1, 1, 1, 4], 1),
        (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6], 0),
        (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], 0),
        (&[1, 1, 1, 4, 4, 4, 4], 1),
        (&[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 1),
    ];
    for (log, refusals) in followers {
        let mut cluster = Cluster::<Raft>::new(3);
        for (node, log) in [(0, &leader_log[..]), (1, log)] {
            let mut prev_term = 0;
            for (at, &term) in log.iter().enumerate() {
                let append = Append {
                    term,
                    slot: Slot(at as u64 + 1),
                    entry_term: term,
                    prev_term,
                    commit: Slot(0),
                    trim: Slot(0),
                    kind: DeliveryKind::Noop,
                };
                let head = Head { from: NodeId(2), ..Message::Append(append).head() };
                cluster.turn(NodeId(node), &[Event::Frame(Frame { head, body: Payload::EMPTY })]);
                prev_term = term;
            }
        }
        cluster.links.clear();
        for term in 7..9 {
            cluster.turn(NodeId(0), &[stale(term)]);
        }
        cluster.now += 1000 * MS;
        cluster.trace.clear();
        cluster.elect(0);
        let repaired = cluster.trace.clone();
        cluster.run(Nanos(200 * MS));
        assert_eq!(cluster.node(1).log().last(), Slot(11), "{log:?}");
        assert_eq!(cluster.delivered(1), cluster.delivered(0));
        let count = repaired.lines().filter(|line| line.starts_with("n1 -> n0: Reject")).count();
        assert_eq!(count, refusals, "{log:?}\n{repaired}");
    }
}

fn stale(term: u64) -> Event {
    let head = Head { from: NodeId(2), ..Message::Stale { term }.head() };
    Event::Frame(Frame { head, body: Payload::EMPTY })
}

// 5.4 Safety

#[test]
fn section_5_4_1_votes_go_to_logs_that_are_up_to_date() {
    for (last, last_term, granted) in [(3, 2, true), (2, 3, true), (4, 2, true), (2, 2, false), (9, 1, false)] {
        let mut node = Bench::new(3);
        node.fill(&[1, 2, 2]);
        node.now += 1000 * MS;
        let pre_vote = Message::PreVote(Candidacy { term: 5, last: Slot(last), last_term, transfer: false });
        node.hear(2, pre_vote);
        let promise = if granted { vec![Message::PreGrant { term: 5 }] } else { vec![] };
        assert_eq!(node.said(), promise, "{last}@{last_term}");
        node.hear(2, vote(5, last, last_term));
        node.sync();
        let answer = if granted { vec![Message::Grant { term: 5 }] } else { vec![] };
        assert_eq!(node.said(), answer, "{last}@{last_term}");
        assert_eq!(node.raft.term(), 5, "the term is taken either way");
    }
}

#[test]
fn section_5_4_2_only_slots_of_the_own_term_are_committed_by_counting() {
    let mut leader = Bench::lead(3, &[1, 1]);
    leader.sync();
    leader.accept(1, 2);
    leader.said();
    assert_eq!(leader.raft.committed(), Slot(0), "two of three hold slots 1 and 2, of an old term (R1)");
    leader.accept(1, 3);
    leader.said();
    assert_eq!(leader.raft.committed(), Slot(3), "the no-op brings them along");
}

#[test]
fn section_5_4_2_the_leader_counts_itself_like_any_other() {
    let mut leader = Bench::lead(5, &[]);
    leader.said();
    leader.accept(1, 1);
    leader.accept(2, 1);
    leader.said();
    assert_eq!(leader.raft.committed(), Slot(0), "its own is not durable (R4)");
    leader.accept(3, 1);
    leader.said();
    assert_eq!(leader.raft.committed(), Slot(1), "and it is not needed");
}

#[test]
fn section_5_4_3_a_settled_slot_is_not_overwritten() {
    let mut node = Bench::new(3);
    node.fill(&[1, 1]);
    node.hear(1, probe(1, 2, 1, 2));
    assert_eq!(node.raft.committed(), Slot(2));
    let append = Append {
        term: 3,
        slot: Slot(2),
        entry_term: 3,
        prev_term: 1,
        commit: Slot(2),
        trim: Slot(0),
        kind: DeliveryKind::Noop,
    };
    let head = Head { from: NodeId(2), ..Message::Append(append).head() };
    let frame = Frame { head, body: Payload::EMPTY };
    assert!(node.raft.step(node.now, Input::Frame(&frame), &mut node.out).is_err());
    assert_eq!((node.raft.term(), node.stamps()), (1, vec![1, 1]), "not even the term was taken from it");
}

#[test]
fn section_5_5_a_match_never_goes_back() {
    let mut leader = Bench::lead(3, &[]);
    leader.sync();
    leader.accept(1, 1);
    leader.said();
    leader.accept(1, 0);
    leader.step(Input::Submit(&Bytes::from_static(b"x").into()));
    leader.sync();
    leader.accept(1, 2);
    leader.accept(1, 1);
    leader.said();
    assert_eq!(leader.raft.committed(), Slot(2), "late acknowledgements change nothing (R9)");
}

// The thesis

#[test]
fn thesis_3_10_a_transfer_waits_for_the_target_and_takes_no_batches() {
    let mut leader = Bench::lead(3, &[]);
    leader.sync();
    leader.said();
    leader.step(Input::Transfer(NodeId(2)));
    leader.step(Input::Submit(&Bytes::from_static(b"x").into()));
    assert_eq!((leader.raft.room(), leader.raft.log().last()), (0, Slot(1)));
    assert_eq!(leader.said(), [], "the target lacks the no-op");
    leader.accept(2, 1);
    assert_eq!(leader.said(), [Message::TimeoutNow { term: 1 }]);
}

#[test]
fn thesis_3_10_the_target_campaigns_at_once_and_only_at_its_leaders_word() {
    let mut node = Bench::new(3);
    node.fill(&[1]);
    node.hear(2, Message::TimeoutNow { term: 1 });
    assert_eq!(node.raft.role(), Role::Follower, "n2 does not lead");
    node.hear(1, Message::TimeoutNow { term: 1 });
    assert_eq!((node.raft.role(), node.raft.term()), (Role::Candidate, 2), "no pre-vote");
    node.sync();
    assert!(matches!(node.said()[..], [Message::Vote(Candidacy { transfer: true, .. })]));
}

#[test]
fn thesis_3_10_a_transfer_ends_with_the_leadership() {
    let mut leader = Bench::lead(3, &[]);
    leader.step(Input::Transfer(NodeId(2)));
    leader.hear(1, Message::Stale { term: 2 });
    leader.timeout();
    leader.said();
    leader.hear(1, Message::PreGrant { term: 3 });
    leader.sync();
    leader.said();
    leader.hear(1, Message::Grant { term: 3 });
    assert_eq!((leader.raft.role(), leader.raft.room()), (Role::Leader, 30), "no flag is left behind (R18)");
}

#[test]
fn thesis_4_2_3_a_live_leader_is_protected() {
    let mut node = Bench::new(3);
    node.fill(&[1]);
    node.now += 299 * MS;
    node.hear(2, vote(5, 9, 4));
    node.hear(2, Message::PreVote(Candidacy { term: 5, last: Slot(9), last_term: 4, transfer: false }));
    node.sync();
    assert_eq!((node.raft.term(), node.said()), (1, vec![]), "not even its term");
    node.hear(2, Message::Vote(Candidacy { term: 5, last: Slot(9), last_term: 4, transfer: true }));
    node.sync();
    assert_eq!(node.said(), [Message::Grant { term: 5 }], "unless the leader wants it");

    let mut leader = Bench::lead(3, &[]);
    leader.now += 10_000 * MS;
    leader.hear(2, vote(5, 9, 4));
    assert_eq!(leader.raft.role(), Role::Leader, "it steps down by itself, if it must");
}

#[test]
fn thesis_6_2_a_leader_without_a_majority_steps_down() {
    let mut leader = Bench::lead(5, &[]);
    leader.sync();
    for _ in 0..20 {
        leader.timeout();
        leader.accept(1, 1);
        leader.accept(2, 1);
        assert_eq!(leader.raft.role(), Role::Leader, "two of four answer");
    }
    let silent_since = leader.now;
    for _ in 0..20 {
        if leader.raft.role() == Role::Leader {
            leader.timeout();
            leader.accept_if_leading(1);
        }
    }
    assert_eq!(leader.raft.role(), Role::Follower);
    let silence = leader.now.saturating_since(silent_since);
    assert!((300 * MS..=400 * MS).contains(&silence), "{silence}");
    assert_eq!((leader.raft.leader(), leader.raft.room()), (None, 0));
}

#[test]
fn thesis_9_6_a_pre_vote_changes_nothing_on_either_side() {
    let mut node = Bench::new(3);
    node.fill(&[1]);
    node.now += 1000 * MS;
    let patience = node.raft.deadline();
    node.hear(2, Message::PreVote(Candidacy { term: 7, last: Slot(1), last_term: 1, transfer: false }));
    let (said, records) = node.flush();
    assert_eq!((said, records.len()), (vec![Message::PreGrant { term: 7 }], 0));
    assert_eq!((node.raft.term(), node.raft.voted_for(), node.raft.deadline()), (1, None, patience));

    node.timeout();
    assert!(matches!(node.said()[..], [Message::PreVote(Candidacy { term: 2, .. })]));
    assert_eq!((node.raft.term(), node.raft.role()), (1, Role::PreCandidate));
}

#[test]
fn thesis_10_2_1_the_leader_writes_while_its_followers_do() {
    let mut leader = Bench::lead(3, &[]);
    leader.said();
    leader.step(Input::Submit(&Bytes::from_static(b"a").into()));
    leader.step(Input::Submit(&Bytes::from_static(b"b").into()));
    let (said, records) = leader.flush();
    assert_eq!((said.len(), records.len()), (2, 2), "sent and recorded in the same turn, each once");
    for (message, record) in said.iter().zip(records) {
        let frame = Frame { head: record.head, body: record.body };
        assert_eq!(Message::read(&frame), Ok(*message), "as it stands on the wire");
    }
}

// What the paper leaves to the implementer

#[test]
fn any_size_of_cluster_works() {
    for replicas in [1, 2, 3, 4, 5, 7, 63] {
        let mut cluster = Cluster::<Raft>::new(replicas);
        cluster.elect(0);
        cluster.submit(0, &["bob"]);
        cluster.run(Nanos(200 * MS));
        for id in 0..replicas as u32 {
            assert_eq!(cluster.delivered(id), ["", "bob"], "n{id} of {replicas}");
            assert_eq!(cluster.node(id).log().bytes(), 0, "and nobody will ask for it again");
        }
    }
}
