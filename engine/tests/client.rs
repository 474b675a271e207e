//! The client against real nodes in virtual time: what it sends, to whom, when, and what it records.
#![expect(clippy::disallowed_types, reason = "the tests play whole clusters, and name what they are made of")]

mod support;

use std::time::Duration;

use quorumbench::batch::BatchHead;
use quorumbench::client::{Client, ClientOptions, Pace};
use quorumbench::load::{Arrivals, CommandStream, Mix, Schedule};
use quorumbench::measure::{Recording, Window};
use quorumbench::request::Request;
use quorumbench::spec::Keys;
use quorumbench_protocols::floors::Echo;
use quorumbench_protocols::raft::Raft;
use quorumbench_protocols::{Frame, Head, Nanos, NodeId, Payload, Protocol, ReadMode, Recipients, Slot};
use support::network::{MS, Network, SECOND, options};

const CLOSED: Pace = Pace::Closed { outstanding: 12 };

fn found<P: Protocol>(nodes: u32, options: ClientOptions) -> Network<P> {
    let mut network = Network::new(nodes, options);
    network.find_the_cluster();
    network
}

/// Commands in every histogram, each once; their number.
fn counted(recording: &Recording) -> u64 {
    let tally = recording.tally;
    for histogram in [&recording.response, &recording.service, &recording.send_lag] {
        assert_eq!(histogram.len(), tally.intended);
    }
    assert_eq!(recording.intervals.iter().map(|each| each.response.len()).sum::<u64>(), tally.intended);
    assert_eq!(recording.intervals.iter().map(|each| each.completed).sum::<u64>(), tally.completed);
    tally.intended
}

/// The answer to batches in a row, from a replica that was delivered slot 4.
fn applied(first: u64, batches: u64) -> Request {
    Request::Applied { first, batches, slot: Slot(4) }
}

/// A client whose cluster is played by hand.
struct Alone {
    client: Client,
    now: Nanos,
}

impl Alone {
    /// All of its batches are reads, answered beside the log, by the leader or `anywhere`.
    fn reading(reads: ReadMode, anywhere: bool) -> Self {
        let mix = Mix::Kv { payload: 8, reads: 1.0, keys: Keys::Uniform { count: 10 } };
        let client =
            Client::new(ClientOptions { reads: Some(reads), anywhere, ..options(3) }, CommandStream::new(mix, 1));
        Self { client, now: Nanos(0) }.start(Pace::Closed { outstanding: 8 })
    }

    fn new(options: ClientOptions) -> Self {
        Self { client: Client::new(options, CommandStream::new(Mix::Opaque { payload: 8 }, 1)), now: Nanos(0) }
    }

    /// Answers the search, and starts.
    fn started(options: ClientOptions, pace: Pace) -> Self {
        Self::new(options).start(pace)
    }

    fn start(mut self, pace: Pace) -> Self {
        let alone = &mut self;
        assert_eq!(alone.turn(1), [(0, 0, 0)], "an empty batch goes looking");
        alone.hear(0, applied(0, 1));
        assert_eq!(alone.turn(1), []);
        assert!(alone.client.ready());
        alone.client.start(pace, Window { from: alone.now, until: alone.now + SECOND }, alone.now + 2 * SECOND);
        self
    }

    fn hear(&mut self, from: u32, request: Request) {
        self.client.inbox.push(Frame { head: request.head(NodeId(from)), body: Payload::EMPTY });
    }

    /// What it sends after `ns`: to whom, which batch, how many commands.
    fn turn(&mut self, ns: u64) -> Vec<(u32, u64, u32)> {
        self.now += ns;
        self.client.turn(self.now);
        let sent = self.client.transmits().drain(..).map(|transmit| {
            let head = BatchHead::read(&transmit.body).expect("a batch");
            let Recipients::One(to) = transmit.to else { panic!("a client asks one replica at a time") };
            assert_eq!(transmit.head.body_len as usize, transmit.body.len());
            (to.0, head.sequence, head.commands)
        });
        sent.collect()
    }
}

#[test]
fn a_closed_loop_keeps_exactly_so_many_in_flight() {
    let mut alone = Alone::started(options(3), Pace::Closed { outstanding: 10 });
    assert_eq!(alone.turn(1), [(0, 1, 4), (0, 2, 4), (0, 3, 2)]);
    assert_eq!(alone.turn(1), [], "nothing was answered");
    alone.hear(0, applied(2, 2));
    assert_eq!(alone.turn(1), [(0, 4, 4), (0, 5, 2)], "as many as were answered, whichever");
    alone.hear(0, applied(2, 1));
    alone.hear(0, applied(0, 1));
    alone.hear(0, applied(90, u64::MAX));
    assert_eq!(alone.turn(1), [], "what was answered before, or never asked, is no answer");
    alone.hear(0, applied(1, u64::MAX));
    assert_eq!(alone.turn(1), [(0, 6, 4), (0, 7, 4), (0, 8, 2)]);
}

#[test]
fn redirects_are_followed_but_not_round_in_circles() {
    let mut alone = Alone::started(options(3), Pace::Closed { outstanding: 4 });
    assert_eq!(alone.turn(1), [(0, 1, 4)]);
    let redirect = |leader: Option<u32>| Request::Redirect { sequence: 1, leader: leader.map(NodeId) };
    alone.hear(0, redirect(Some(2)));
    assert_eq!(alone.turn(1), [(2, 1, 4)], "to where it was sent, at once");
    for (from, to) in [(2, 1), (1, 2)] {
        alone.hear(from, redirect(Some(to)));
        assert_eq!(alone.turn(1), [(to, 1, 4)]);
    }
    alone.hear(2, redirect(Some(1)));
    assert_eq!(alone.turn(1), [], "replicas that point at each other are given time");
    assert_eq!(alone.turn(5 * MS), [(1, 1, 4)]);
    alone.hear(1, redirect(None));
    assert_eq!(alone.turn(1), [], "nobody knows");
    assert_eq!(alone.turn(5 * MS), [(2, 1, 4)], "perhaps the next does");
    alone.hear(2, redirect(Some(2)));
    assert_eq!(alone.turn(1), [(2, 1, 4)], "it leads, and has what comes after this");
    alone.hear(2, redirect(Some(77)));
    assert_eq!(alone.turn(5 * MS), [], "there is no such replica");
    alone.hear(0, Request::Busy { sequence: 1 });
    alone.hear(0, applied(1, 1));
    assert_eq!(alone.turn(1), [(0, 2, 4)], "an answer ends it, whoever gives it");
}

#[test]
fn reads_beside_the_log_are_answered_beside_the_log() {
    let mut alone = Alone::reading(ReadMode::Index, false);
    alone.now += 1;
    alone.client.turn(alone.now);
    let kinds = alone.client.transmits().iter().map(|each| Request::read(&each.head)).collect::<Vec<_>>();
    assert_eq!(
        kinds,
        [Some(Request::Read { mode: ReadMode::Index, least: Slot::ZERO }); 2],
        "the protocol knows the slot"
    );
    alone.client.transmits().clear();
    alone.hear(0, applied(1, 2));
    alone.hear(0, Request::Served { sequence: 90, slot: Slot(1) });
    assert_eq!(alone.turn(1), [], "that was no answer to a read");
    alone.hear(0, Request::Redirect { sequence: 1, leader: Some(NodeId(2)) });
    assert_eq!(alone.turn(1), [(2, 1, 4)], "to the leader, as a write would");
    for _ in 0..2 {
        alone.hear(2, Request::Served { sequence: 1, slot: Slot(1) });
    }
    assert_eq!(alone.turn(1), [(2, 3, 4)], "answered once");
    assert_eq!(alone.turn(100 * MS), [(0, 2, 4), (0, 3, 4)], "and asked again, elsewhere, if not answered");
}

#[test]
fn reads_that_any_replica_may_answer_go_to_all_in_turn() {
    let mut alone = Alone::reading(ReadMode::Stale, true);
    assert_eq!(alone.turn(1), [(1, 1, 4), (2, 2, 4)], "each client begins with another");
    alone.hear(2, Request::Served { sequence: 2, slot: Slot(0) });
    assert_eq!(alone.turn(1), [(0, 3, 4)]);
    assert_eq!(alone.turn(100 * MS), [(1, 1, 4), (2, 3, 4)], "what a replica does not answer another does");
}

#[test]
fn a_stale_read_may_not_be_older_than_what_its_client_was_told_of() {
    let mut alone = Alone::reading(ReadMode::Stale, true);
    let least = |alone: &mut Alone, ns| {
        alone.now += ns;
        alone.client.turn(alone.now);
        let slot = |request| match request {
            Some(Request::Read { mode: ReadMode::Stale, least }) => least.0,
            other => panic!("no stale read: {other:?}"),
        };
        alone.client.transmits().drain(..).map(|each| slot(Request::read(&each.head))).collect::<Vec<_>>()
    };
    assert_eq!(least(&mut alone, 1), [4, 4], "what its first batch, through the log, told it");
    alone.hear(2, Request::Served { sequence: 2, slot: Slot(9) });
    assert_eq!(least(&mut alone, 1), [9]);
    alone.hear(0, Request::Served { sequence: 3, slot: Slot(7) });
    assert_eq!(least(&mut alone, 1), [9], "never less");
    assert_eq!(least(&mut alone, 100 * MS), [9, 9], "nor when it asks again");
}

#[test]
fn a_stale_read_that_a_replica_is_behind_for_goes_to_whoever_told_of_more() {
    let mut alone = Alone::reading(ReadMode::Stale, true);
    assert_eq!(alone.turn(1), [(1, 1, 4), (2, 2, 4)]);
    alone.hear(2, Request::Served { sequence: 2, slot: Slot(9) });
    assert_eq!(alone.turn(1), [(0, 3, 4)]);
    alone.hear(1, Request::Redirect { sequence: 1, leader: Some(NodeId(0)) });
    assert_eq!(alone.turn(1), [(2, 1, 4)], "it has slot 9");
    alone.hear(2, Request::Redirect { sequence: 1, leader: None });
    assert_eq!(alone.turn(1), [(1, 1, 4)], "it had, and came back without");
    alone.hear(1, Request::Redirect { sequence: 1, leader: None });
    assert_eq!(alone.turn(1), [(2, 1, 4)]);
    alone.hear(2, Request::Redirect { sequence: 1, leader: None });
    assert_eq!(alone.turn(1), [], "not for ever");
    assert_eq!(alone.turn(5 * MS), [(2, 1, 4)], "after a pause, each in turn");
}

#[test]
fn a_read_that_a_replica_cannot_answer_goes_on_to_the_next() {
    let mut alone = Alone::reading(ReadMode::Index, true);
    assert_eq!(alone.turn(1), [(1, 1, 4), (2, 2, 4)]);
    alone.hear(1, Request::Redirect { sequence: 1, leader: Some(NodeId(1)) });
    assert_eq!(alone.turn(1), [(0, 1, 4)], "the next one may");
    alone.hear(0, Request::Redirect { sequence: 1, leader: None });
    assert_eq!(alone.turn(1), [], "nobody leads there");
    assert_eq!(alone.turn(5 * MS), [(1, 1, 4)]);
}

#[test]
fn a_transferred_leadership_costs_a_redirect_and_no_timeout() {
    let mut network = found::<Raft>(3, options(3));
    let old = network.leader().expect("it answered");
    let window = network.load(CLOSED, 300 * MS, SECOND);
    network.run(window.from + 100 * MS);
    network.nodes[old.0 as usize].transfer(NodeId((old.0 + 1) % 3));
    network.run(window.from + 200 * MS);
    let new = network.leader().expect("someone leads");
    assert_ne!(new, old);
    assert_eq!(network.asked.last().map(|&(_, to, _)| to), Some(new));
    let (recording, nodes) = network.finish();
    assert_eq!((recording.tally.unanswered, counted(&recording)), (0, recording.tally.intended));
    assert!(recording.response.max() < 100 * MS, "nobody waited for a resend: {}", recording.response.max());
    assert!(nodes.iter().all(|node| node.machine().applied() == recording.tally.sent));
}

#[test]
fn what_is_not_answered_is_sent_again_and_counted() {
    let mut network = found::<Echo>(1, options(1));
    network.cut.insert((1, 0));
    let window = network.load(Pace::Closed { outstanding: 4 }, 300 * MS, SECOND);
    network.run(window.from + 150 * MS);
    network.cut.clear();
    let asked = |network: &Network<Echo>| {
        let loaded = network.asked.iter().filter(|(at, ..)| *at >= window.from);
        loaded.map(|(at, ..)| at.saturating_since(window.from) / MS).take(3).collect::<Vec<_>>()
    };
    network.run(window.from + 250 * MS);
    assert_eq!(asked(&network), [0, 100, 200]);
    let (recording, nodes) = network.finish();
    let tally = recording.tally;
    assert_eq!((tally.resent, tally.unanswered), (2, 0));
    assert!(recording.response.max() >= 200 * MS, "timed from the first time it was sent");
    assert_eq!((nodes[0].machine().applied(), counted(&recording)), (tally.sent, tally.intended));
}

#[test]
fn an_impatient_client_is_served_once() {
    // It sends everything again, several times, before the first answer can be there.
    let mut network = found::<Raft>(3, ClientOptions { resend: Duration::from_millis(2), ..options(3) });
    network.delay_ns = 3 * MS;
    network.load(CLOSED, 200 * MS, SECOND);
    let (recording, nodes) = network.finish();
    assert!(recording.tally.resent > 0 && recording.tally.unanswered == 0);
    assert!(nodes.iter().all(|node| node.stats().duplicates == 0), "what is under way is not ordered again");
    assert!(nodes.iter().all(|node| node.machine().applied() == recording.tally.sent));
}

#[test]
fn a_leader_that_dies_between_commit_and_answer_applies_nothing_twice() {
    let mut network = found::<Raft>(3, options(3));
    let old = network.leader().expect("it answered");
    network.cut.insert((old.0, 3));
    let window = network.load(CLOSED, 500 * MS, SECOND);
    network.run(window.from + 20 * MS);
    assert_eq!(network.applied(), [12; 3], "all three have applied what the client knows nothing of");
    network.down.insert(old.0);
    network.run(window.from + 400 * MS);
    assert_ne!(network.leader(), Some(old));
    network.down.clear();
    network.cut.clear();
    let (recording, nodes) = network.finish();
    assert!(recording.tally.resent >= 3 && recording.tally.unanswered == 0, "{:?}", recording.tally);
    assert!(nodes.iter().all(|node| node.machine().applied() == recording.tally.sent));
    assert_eq!(counted(&recording), recording.tally.intended);
}

/// The leader dies at any moment of a slot's life: sent, stored, acknowledged, committed, answered.
#[test]
fn whenever_the_leader_dies_everything_is_applied_once() {
    for step in 0..40 {
        let mut network = found::<Raft>(3, options(3));
        network.delay_ns = MS;
        let old = network.leader().expect("it answered");
        let window = network.load(CLOSED, 400 * MS, 2 * SECOND);
        network.run(window.from + 50 * MS + step * MS / 8);
        network.down.insert(old.0);
        network.run(window.from + 300 * MS);
        network.down.clear();
        let (recording, nodes) = network.finish();
        let applied: Vec<_> = nodes.iter().map(|node| node.machine().applied()).collect();
        assert_eq!((applied, recording.tally.unanswered), (vec![recording.tally.sent; 3], 0), "step {step}");
    }
}

fn constant(rate: f64, network: &Network<Echo>) -> Pace {
    Pace::Open(Arrivals::new(Schedule::Constant, rate, network.now, 1))
}

/// An open loop of 1000 commands a second for three seconds, whose server stalls for one.
fn stalled(in_flight_limit: usize) -> Recording {
    let mut network =
        found::<Echo>(1, ClientOptions { resend: Duration::from_secs(10), in_flight_limit, ..options(1) });
    let window = network.load(constant(1000.0, &network), 3 * SECOND, 2 * SECOND);
    network.run(window.from + SECOND);
    network.paused.insert(0);
    network.run(window.from + 2 * SECOND);
    network.paused.clear();
    network.finish().0
}

/// Coordinated omission: a client that waits for answers would ask little while the server stalls,
/// and the stall would hardly be seen.
#[test]
fn a_stall_is_felt_by_everyone_who_meant_to_ask_during_it() {
    let (free, capped) = (stalled(100_000), stalled(100));
    for recording in [&free, &capped] {
        // One command a millisecond is intended, come what may; the one at the very end is outside.
        assert_eq!((counted(recording), recording.tally.unanswered), (2999, 0));
        let response = |quantile| recording.response.value_at_quantile(quantile) / MS;
        // A third of the commands waited between no time and a second, evenly.
        assert_eq!(response(0.60), 0);
        assert!((495..=505).contains(&response(5.0 / 6.0)), "{}", response(5.0 / 6.0));
        assert!((985..=1001).contains(&response(0.999)), "{}", response(0.999));
    }
    assert_eq!(free.tally.late, 0);
    assert!(free.send_lag.max() < MS, "everything was sent on schedule, so service is response");
    assert!(free.service.value_at_quantile(0.99) > 900 * MS);
    // A hundred were in flight; nine hundred came due and could not be sent.
    assert!((895..=905).contains(&capped.tally.late), "{}", capped.tally.late);
    assert!(capped.service.value_at_quantile(0.95) < 10 * MS, "once they were sent they were answered at once");
    assert!(capped.send_lag.value_at_quantile(0.95) > 700 * MS, "and that is where their time went");
}

/// However seldom the client is woken: what came due while there was no room is late, and no more.
#[test]
fn late_is_what_came_due_without_room() {
    let pace = Pace::Open(Arrivals::new(Schedule::Constant, 1000.0, Nanos(2), 1));
    let mut alone = Alone::started(ClientOptions { in_flight_limit: 3, ..options(1) }, pace);
    assert_eq!(alone.turn(2 * MS), [(0, 1, 2)]);
    assert_eq!(alone.turn(MS), [(0, 2, 1)], "that was the last for which there was room");
    alone.hear(0, applied(1, 2));
    assert_eq!(alone.turn(5 * MS), [(0, 3, 3)], "five came due, and three may go");
    alone.hear(0, applied(3, 1));
    assert_eq!(alone.turn(0), [(0, 4, 2)]);
    alone.hear(0, applied(4, 1));
    assert_eq!(alone.turn(MS), [(0, 5, 1)], "on time again");
    let now = alone.now;
    let recording = alone.client.finish(now).expect("it was started");
    assert_eq!((recording.tally.late, recording.tally.sent), (5, 9));
}

/// What a client that is behind has to catch up with is its own delay, not the system's: however much
/// is due at once, it looks at the clock in between.
#[test]
fn a_client_that_is_behind_does_not_stamp_all_with_one_time() {
    let pace = Pace::Open(Arrivals::new(Schedule::Constant, 1e6, Nanos(2), 1));
    let mut alone = Alone::started(ClientOptions { in_flight_limit: 100_000, ..options(1) }, pace);
    let commands = |alone: &mut Alone, ns| alone.turn(ns).iter().map(|&(.., commands)| commands).sum::<u32>();
    assert_eq!(commands(&mut alone, 10 * MS), 1024);
    assert!(alone.client.deadline() <= alone.now, "it goes on at once");
    let turns = (0..20).map(|_| commands(&mut alone, 1000)).collect::<Vec<_>>();
    assert_eq!(turns.iter().sum::<u32>() + 1024, 10_020);
}

#[test]
fn intended_times_are_those_of_the_schedule() {
    let mut network = found::<Echo>(1, options(1));
    let window = network.load(Pace::Open(Arrivals::new(Schedule::Poisson, 5000.0, network.now, 9)), SECOND, SECOND);
    let mut schedule = Arrivals::new(Schedule::Poisson, 5000.0, network.now, 9);
    let expected = std::iter::from_fn(|| schedule.take_due(Nanos(window.until.0 - 1))).count() as u64;
    let (recording, _) = network.finish();
    assert_eq!(counted(&recording), expected);
    assert!(recording.send_lag.max() <= 2000, "virtual time is never late: {}", recording.send_lag.max());
    assert!((99..=101).contains(&(recording.service.min() / 1000)), "there and back: {}", recording.service.min());
}

/// The longest that a command waited for company, in microseconds, and the mean size of a batch.
fn lingering(rate: f64, linger_ms: u64, in_flight_limit: usize) -> (u64, f64) {
    let linger = Duration::from_millis(linger_ms);
    let mut network = found::<Echo>(1, ClientOptions { linger, in_flight_limit, ..options(1) });
    let batches = network.asked.len();
    // The window ends between two commands, and before the last of them has waited long enough.
    network.load(constant(rate, &network), 100 * MS + MS / 20, SECOND);
    network.run(network.now + SECOND / 2);
    let batches = network.asked.len() - batches;
    let (recording, _) = network.finish();
    assert_eq!((recording.tally.unanswered, recording.tally.resent), (0, 0));
    (recording.send_lag.max() / 1000, counted(&recording) as f64 / batches as f64)
}

#[test]
fn a_command_waits_for_company_but_no_longer_than_said() {
    assert_eq!(lingering(1000.0, 0, 1000), (0, 1.0));
    let (longest_us, each) = lingering(1000.0, 2, 1000);
    assert!((1990..=2010).contains(&longest_us) && each > 2.9, "{longest_us} {each}");
    let (longest_us, each) = lingering(10_000.0, 50, 1000);
    assert!(each > 3.9, "a full batch does not wait: {each}");
    assert!(longest_us <= 50_010, "{longest_us}");
    // Two may be in flight, four fill a batch: it never fills, and must not wait for ever.
    let (longest_us, each) = lingering(1000.0, 5, 2);
    assert!((4990..=5010).contains(&longest_us) && each > 1.9, "{longest_us} {each}");
}

/// A batch that answers did not free whole waits for more of them, but no longer than said.
#[test]
fn a_closed_loops_smaller_batch_lingers_too() {
    let options = ClientOptions { linger: Duration::from_millis(3), batch_commands: 8, ..options(1) };
    let mut alone = Alone::started(options, CLOSED);
    let sent = |batches: Vec<(u32, u64, u32)>| batches.into_iter().map(|(_, _, commands)| commands).collect::<Vec<_>>();
    assert_eq!(sent(alone.turn(0)), [8], "a full batch waits for nothing");
    assert_eq!(alone.client.deadline(), alone.now + 3 * MS);
    assert_eq!(sent(alone.turn(3 * MS - 1)), [0; 0]);
    assert_eq!(sent(alone.turn(1)), [4]);
}

#[test]
fn what_is_given_up_is_counted_with_its_time_so_far() {
    for closed in [true, false] {
        let mut network = found::<Echo>(1, options(1));
        let pace = if closed { CLOSED } else { constant(1000.0, &network) };
        let window = network.load(pace, 200 * MS, 300 * MS);
        network.run(window.from + 50 * MS);
        network.down.insert(0);
        let (recording, _) = network.finish();
        let tally = recording.tally;
        assert_eq!(counted(&recording), tally.intended);
        let (most, unanswered) = if closed { (450, 12..=12) } else { (450, 148..=151) };
        assert!(unanswered.contains(&tally.unanswered), "{tally:?}");
        assert!((most - 2..=most + 1).contains(&(recording.response.max() / MS)), "{}", recording.response.max());
        assert!(closed || tally.intended == 199, "what was due after the server's death is there too: {tally:?}");
    }
}

#[test]
fn what_was_due_and_never_sent_is_owed_too() {
    let mut network = found::<Echo>(1, ClientOptions { in_flight_limit: 10, ..options(1) });
    network.down.insert(0);
    network.load(constant(1000.0, &network), 200 * MS, 300 * MS);
    let (recording, _) = network.finish();
    assert_eq!((counted(&recording), recording.tally.unanswered, recording.tally.sent), (199, 199, 10));
    assert_eq!(recording.response.max() / MS, 499, "the first was due at 1 ms and given up at 500");
}

#[test]
fn the_books_obey_littles_law() {
    for closed in [true, false] {
        let mut network = found::<Echo>(1, options(1));
        let pace = if closed { CLOSED } else { constant(20_000.0, &network) };
        // Steady before the window opens.
        let window = Window { from: network.now + 100 * MS, until: network.now + 2100 * MS };
        network.client.start(pace, window, window.until + SECOND);
        let (recording, _) = network.finish();
        let tally = recording.tally;
        let ratio = tally.service_sum_ns as f64 / tally.in_flight_ns as f64;
        assert!((0.999..1.001).contains(&ratio), "{ratio}");
        let in_flight = tally.in_flight_ns as f64 / window.length_ns() as f64;
        // Twelve always; or twenty thousand a second, each for a tenth of a millisecond.
        let expected = if closed { 12.0 } else { 2.0 };
        assert!((in_flight / expected - 1.0).abs() < 0.02, "{in_flight}");
    }
}

/// To three groups over three replicas: each is found, asked in turn, and told apart.
#[test]
fn groups_are_searched_and_take_turns_each_with_its_own_leader() {
    let mut alone = Alone::new(ClientOptions { groups: 3, ..options(3) });
    let hear = |alone: &mut Alone, group, from, request: Request| {
        let head = Head { group, ..request.head(NodeId(from)) };
        alone.client.inbox.push(Frame { head, body: Payload::EMPTY });
    };
    assert_eq!(alone.turn(1), [(0, 0, 0), (1, 0, 0), (2, 0, 0)], "where they lead first");
    for group in 0..3 {
        assert!(!alone.client.ready());
        hear(&mut alone, group, u32::from(group), applied(0, 1));
        hear(&mut alone, 3, 0, applied(0, 1));
        assert_eq!(alone.turn(1), []);
    }
    assert!(alone.client.ready());
    let window = Window { from: alone.now, until: alone.now + SECOND };
    alone.client.start(Pace::Closed { outstanding: 14 }, window, alone.now + 2 * SECOND);
    assert_eq!(alone.turn(1), [(0, 1, 4), (1, 1, 4), (2, 1, 4), (0, 2, 2)], "one after the other");
    hear(&mut alone, 1, 1, Request::Redirect { sequence: 1, leader: Some(NodeId(2)) });
    assert_eq!(alone.turn(1), [(2, 1, 4)], "group 1 is led elsewhere, and the others where they were");
    hear(&mut alone, 7, 0, applied(1, 2));
    assert_eq!(alone.turn(1), [], "there is no group 7");
    hear(&mut alone, 0, 0, applied(1, 2));
    assert_eq!(alone.turn(1), [(2, 2, 4), (2, 2, 2)], "six are free: group 1's turn, and then group 2's");
}
