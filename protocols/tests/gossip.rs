//! Nodes that gossip, on a bench: what each says when, what becomes of several rumors at once, and hostile frames.

// The clones that a test makes are not on anyone's hot path.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;

use bytes::Bytes;
use quorumbench_protocols::gossip::message::Message;
use quorumbench_protocols::gossip::{
    Acts, Config, Exchange, Gossip, Interest, Judging, Mongering, Partners, Pulls, Stages, Stop, Style, Toss,
};
use quorumbench_protocols::{Change, Delivery, Frame, Head, Input, Nanos, NodeId, Outbox, Payload, Prng, Slot};

const CYCLE: u64 = 1000;
const K: Mongering = Mongering {
    interest: Interest::Feedback,
    stop: Stop::Counter,
    k: 1,
    reset: true,
    pulls: Pulls::Together,
    toss: Toss::After,
    minimize: false,
};

/// Nodes whose frames go where a test lets them.
struct Bench {
    nodes: Vec<Gossip>,
    now: Nanos,
    /// On their way, oldest first.
    frames: VecDeque<Frame>,
    /// Who has delivered what.
    delivered: Vec<Vec<Slot>>,
}

impl Bench {
    fn new(nodes: u32, change: impl Fn(&mut Config)) -> Self {
        let node = |id| {
            let mut config = Config::new(NodeId(id), nodes);
            (config.first_cycle, config.interval, config.turns) = (Nanos(CYCLE), CYCLE, CYCLE / 2);
            change(&mut config);
            let is_tree = matches!(config.style, Style::Plumtree { .. });
            let mut node = Gossip::new(config, u64::from(id));
            if is_tree {
                node.set_peers(&(0..nodes).filter(|&peer| peer != id).collect::<Vec<_>>());
            }
            node
        };
        let nodes: Vec<_> = (0..nodes).map(node).collect();
        Self { delivered: vec![Vec::new(); nodes.len()], nodes, now: Nanos::ZERO, frames: VecDeque::new() }
    }

    fn step(&mut self, id: u32, input: Input<'_>) {
        let mut out = Outbox::default();
        let node = &mut self.nodes[id as usize];
        node.step(self.now, input, &mut out).expect("nodes understand each other");
        node.flush(self.now, &mut out);
        self.delivered[id as usize].extend(out.deliveries.iter().map(|Delivery { slot, .. }| *slot));
        for each in out.transmits {
            assert_eq!(each.to.iter().collect::<Vec<_>>(), [Message::recipient(&each.head)]);
            self.frames.push_back(Frame { head: each.head, body: each.body });
        }
    }

    fn submit(&mut self, id: u32, body: &'static str) {
        self.step(id, Input::Submit(&Bytes::from(body).into()));
    }

    /// The cycle's turns, one after the other, each with all that follows from it; then the next cycle begins. What was
    /// said, in the order of the lines.
    fn cycle(&mut self) -> Vec<String> {
        self.cycle_losing("nothing")
    }

    /// The same, but whatever is said in these words is lost.
    fn cycle_losing(&mut self, lost: &str) -> Vec<String> {
        let mut said = Vec::new();
        let until = Nanos((self.now.0 / CYCLE + 1) * CYCLE);
        while let Some((at, id)) = self.next_turn().filter(|(at, _)| *at < until) {
            self.now = at;
            self.step(id, Input::Timeout);
            self.frames.retain(|frame| line(frame) != lost);
            said.extend(self.settle());
        }
        self.now = until;
        said.sort_unstable();
        said
    }

    fn next_turn(&self) -> Option<(Nanos, u32)> {
        (0..).zip(&self.nodes).map(|(id, node)| (node.deadline(), id)).filter(|(at, _)| *at < Nanos::NEVER).min()
    }

    /// Whatever is said arrives. All of it, as lines.
    fn settle(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(frame) = self.frames.pop_front() {
            let to = Message::recipient(&frame.head);
            said.push(line(&frame));
            self.step(to.0, Input::Frame(&frame));
        }
        said
    }

    /// What follows from the only turn of this moment.
    fn turn(&mut self, id: u32) -> Vec<String> {
        self.now = self.nodes[id as usize].deadline();
        self.step(id, Input::Timeout);
        self.settle()
    }
}

/// Who says what to whom.
fn line(frame: &Frame) -> String {
    let message = Message::read(frame).expect("nodes understand each other");
    format!("{} to {}: {message}", Message::sender(&frame.head), Message::recipient(&frame.head))
}

#[test]
fn a_rumor_is_told_answered_and_forgotten() {
    let mut bench = Bench::new(2, |config| config.style = Style::Rumor(K));
    bench.submit(0, "news");
    assert_eq!(bench.delivered, [vec![Slot(1)], vec![]], "who is brought it has it");
    assert_eq!(bench.turn(0), ["n0 to n1: Rumor 1", "n1 to n0: Feedback 1 useful"]);
    assert_eq!(bench.delivered[1], [Slot(1)]);
    assert_eq!(bench.nodes[1].deadline().0 / CYCLE, 2, "it acts from the next cycle on");
    bench.now = Nanos(2 * CYCLE);
    assert_eq!(bench.turn(1)[..], ["n1 to n0: Rumor 1", "n0 to n1: Feedback 1 useless"]);
    assert!(bench.nodes.iter().all(Gossip::spreads), "what a cycle taught has its effect at its end");
    (0..2).for_each(|_| drop(bench.cycle()));
    assert!(bench.nodes.iter().all(|node| !node.spreads() && node.deadline() == Nanos::NEVER));
}

#[test]
fn whoever_pulls_says_what_it_was_worth() {
    let change = |config: &mut Config| (config.style, config.exchange) = (Style::Rumor(K), Exchange::Pull);
    let mut bench = Bench::new(2, change);
    bench.submit(1, "news");
    assert_eq!(bench.turn(0), ["n0 to n1: Ask", "n1 to n0: Rumor 2 answer", "n0 to n1: Feedback 2 answer useful"]);
    let mut blind = Bench::new(2, |config| {
        change(config);
        config.style = Style::Rumor(Mongering { interest: Interest::Blind, ..K });
    });
    blind.submit(1, "news");
    assert_eq!(blind.turn(0), ["n0 to n1: Ask", "n1 to n0: Rumor 2 answer"], "nobody would hear it");
}

/// With k = 1 a coin is always lost.
#[test]
fn a_coin_is_tossed_after_or_before() {
    let blind = Mongering { interest: Interest::Blind, stop: Stop::Coin, ..K };
    for (toss, exchange, expected) in [
        (Toss::After, Exchange::Push, &["n0 to n1: Rumor 1", "n1 to n0: Rumor 1"][..]),
        (Toss::After, Exchange::Pull, &["n0 to n1: Rumor 1 answer", "n1 to n0: Rumor 1 answer"]),
        (Toss::Before, Exchange::Push, &[]),
        (Toss::Before, Exchange::Pull, &[]),
    ] {
        let style = Style::Rumor(Mongering { toss, ..blind });
        let mut bench = Bench::new(2, |config| (config.style, config.exchange) = (style, exchange));
        bench.submit(0, "news");
        let said: Vec<_> = (0..5).flat_map(|_| bench.cycle()).filter(|line| line.contains("Rumor")).collect();
        assert_eq!(said, expected, "{toss:?} {exchange:?}");
    }
}

#[test]
fn who_acts_at_once_answers_and_has_its_turn() {
    let head = |message: Message, from| message.head(NodeId(from), NodeId(1));
    let rumor = Frame { head: head(Message::Rumor { number: Slot(1), is_answer: false }, 0), body: Payload::EMPTY };
    let ask = Frame { head: head(Message::Ask, 2), body: Payload::EMPTY };
    let told = ["n1 to n0: Feedback 1 useful", "n1 to n2: Rumor 1 answer", "n2 to n1: Feedback 1 answer useful"];
    // Turns are in the first half of a cycle.
    for (acts, at, turn_in, said) in [
        (Acts::NextCycle, CYCLE, 2, &told[..1]),
        (Acts::SameCycle, CYCLE, 1, &told),
        (Acts::SameCycle, CYCLE + CYCLE / 2, 2, &told),
    ] {
        let mut bench = Bench::new(3, |config| (config.style, config.acts) = (Style::Rumor(K), acts));
        bench.now = Nanos(at);
        bench.step(1, Input::Frame(&rumor));
        bench.step(1, Input::Frame(&ask));
        assert_eq!(bench.nodes[1].deadline().0 / CYCLE, turn_in, "{acts:?}");
        assert_eq!(bench.settle(), said, "{acts:?}");
    }
    let mut bench = Bench::new(3, |config| (config.style, config.acts) = (Style::Rumor(K), Acts::SameCycle));
    bench.submit(1, "news");
    for cycle in 1..3 {
        assert_eq!(bench.nodes[1].deadline().0 / CYCLE, cycle, "one turn in a cycle, however much comes after it");
        let _ = bench.turn(1);
        bench.step(1, Input::Frame(&rumor));
    }
}

/// With k = 2 two who ask in vain are enough, if each counts.
#[test]
fn those_who_ask_in_one_cycle_count_together_or_each() {
    for (pulls, is_tired) in [(Pulls::Together, false), (Pulls::Each, true)] {
        let rules = Mongering { k: 2, pulls, ..K };
        let mut bench = Bench::new(3, |config| (config.style, config.exchange) = (Style::Rumor(rules), Exchange::Pull));
        bench.submit(0, "news");
        bench.now = Nanos(CYCLE);
        for from in [1, 2] {
            let useless = Message::Feedback { number: Slot(1), was_answer: true, was_useful: false, counter: None };
            let head = useless.head(NodeId(from), NodeId(0));
            bench.step(0, Input::Frame(&Frame { head, body: Payload::EMPTY }));
        }
        bench.now = Nanos(2 * CYCLE);
        bench.step(0, Input::Timeout);
        assert_eq!(bench.nodes[0].spreads(), !is_tired, "{pulls:?}");
    }
}

/// With M = 1: two in B-1 who meet make C of each other, and are done after a cycle in it.
#[test]
fn calls_go_both_ways_until_it_is_old() {
    let mut bench = Bench::new(2, |config| config.style = Style::MedianCounter(Stages::new(1)));
    bench.submit(0, "news");
    let (call, answer) = ("n0 to n1: Call", "n0 to n1: Call answer");
    let asked = [call, answer, "n0 to n1: Counted 1 state=1", "n0 to n1: Counted 1 state=1"];
    let answered = ["n1 to n0: Call", "n1 to n0: Call answer"];
    assert_eq!(bench.cycle(), Vec::<String>::new(), "the cycle before the first");
    assert_eq!(bench.cycle(), [&asked[..], &answered].concat());
    let told = |state| (0..2).map(move |from| format!("n{from} to n{}: Counted 1 state={state}", 1 - from));
    for state in [1, 2] {
        let said: Vec<_> = bench.cycle().into_iter().filter(|line| line.contains("Counted")).collect();
        assert_eq!(said, told(state).flat_map(|line| [line.clone(), line]).collect::<Vec<_>>());
    }
    let calls = bench.cycle();
    assert!(calls.len() == 4 && calls.iter().all(|line| line.contains("Call")), "{calls:?}");
    assert!(bench.nodes.iter().all(|node| !node.spreads()));
    let state = Message::Counted { number: Slot(1), state: 3 }.head(NodeId(1), NodeId(0));
    assert_eq!(
        hit(&mut bench.nodes[0], bench.now, &Frame { head: state, body: Payload::EMPTY }),
        Some("a state that sends nothing")
    );
}

#[test]
fn a_tree_forms_and_is_mended() {
    let mut bench = Bench::new(3, |config| config.style = Style::Plumtree { graft_timeout: 2 });
    let mut next = |lose: &str| {
        let mut said = Vec::new();
        bench.submit(0, "news");
        while bench.nodes.iter().any(Gossip::spreads) {
            said.push(bench.cycle_losing(lose).join(", "));
        }
        said.retain(|lines| !lines.is_empty());
        (said, bench.delivered.iter().map(Vec::len).collect::<Vec<_>>())
    };
    let [first, crossed] = ["n0 to n1: Rumor 1, n0 to n2: Rumor 1", "n1 to n2: Rumor 1, n2 to n1: Rumor 1"];
    assert_eq!(next("none").0, [first, crossed, "n1 to n2: Prune, n2 to n1: Prune"]);
    let [second, announced] = ["n0 to n1: Rumor 4, n0 to n2: Rumor 4", "n1 to n2: IHave 4, n2 to n1: IHave 4"];
    assert_eq!(next("none"), (vec![second.into(), announced.into()], vec![2; 3]), "over a tree, once to each");
    let (said, delivered) = next("n0 to n2: Rumor 7");
    let mended = ["n0 to n1: Rumor 7", "n1 to n2: IHave 7", "n2 to n1: Graft 7", "n1 to n2: Rumor 7"];
    assert_eq!(said[..4], mended, "what one branch loses comes by another");
    assert_eq!(delivered, [3; 3]);
}

#[test]
fn partners_are_those_that_it_knows_and_does_not_avoid() {
    for (partners, told) in [(Partners::Uniform, 2), (Partners::NotSender, 1), (Partners::NotSent, 2)] {
        let blind = Mongering { interest: Interest::Blind, k: 40, ..K };
        let mut bench = Bench::new(5, |config| {
            (config.style, config.partners) = (Style::Rumor(blind), partners.clone());
        });
        bench.nodes[1].set_peers(&[0, 3]);
        let rumor = Message::Rumor { number: Slot(1), is_answer: false }.head(NodeId(0), NodeId(1));
        bench.step(1, Input::Frame(&Frame { head: rumor, body: Payload::EMPTY }));
        let mut turns: Vec<String> = Vec::new();
        for _ in 0..30 {
            bench.now = bench.nodes[1].deadline();
            bench.step(1, Input::Timeout);
            turns.extend(bench.frames.drain(..).map(|frame| Message::recipient(&frame.head).to_string()));
        }
        assert!(turns.iter().all(|to| ["n0", "n3"].contains(&to.as_str())));
        if partners == Partners::NotSent {
            assert_ne!(turns[0], turns[1], "first one, then the other");
        }
        turns.sort_unstable();
        turns.dedup();
        assert_eq!(turns.len(), told, "{partners:?}");
    }
}

#[test]
fn counters_are_compared_where_that_is_minimal() {
    let minimize = Mongering { k: 3, minimize: true, ..K };
    let mut bench =
        Bench::new(2, |config| (config.style, config.exchange) = (Style::Rumor(minimize), Exchange::PushPull));
    bench.submit(0, "news");
    bench.cycle();
    bench.cycle();
    let said = bench.turn(0);
    let expected = [
        "n0 to n1: Ask",
        "n0 to n1: Rumor 1",
        "n1 to n0: Rumor 1 answer",
        "n1 to n0: Feedback 1 useless counter=0",
        "n0 to n1: Feedback 1 answer useless counter=0",
    ];
    assert_eq!(said, expected);
}

#[test]
fn judging_looks_at_the_start_of_the_cycle_or_not() {
    for (judging, second) in [(Judging::Snapshot, "useful"), (Judging::Arrival, "useless")] {
        let mut bench = Bench::new(3, |config| (config.style, config.judging) = (Style::Rumor(K), judging));
        bench.now = Nanos(CYCLE);
        for from in [0, 1] {
            let head = Message::Rumor { number: Slot(1), is_answer: false }.head(NodeId(from), NodeId(2));
            bench.step(2, Input::Frame(&Frame { head, body: Payload::EMPTY }));
        }
        let said = bench.settle();
        assert_eq!(said, ["n2 to n0: Feedback 1 useful", &format!("n2 to n1: Feedback 1 {second}")]);
    }
}

#[test]
fn anti_entropy_sends_what_is_missing_and_nothing_else() {
    let mut bench = Bench::new(2, |config| config.exchange = Exchange::PushPull);
    for (id, body) in [(0, "a"), (0, "b"), (1, "c"), (1, "d"), (1, "e")] {
        bench.submit(id, body);
    }
    assert_eq!(bench.delivered, [vec![Slot(1), Slot(3)], vec![Slot(2), Slot(4), Slot(6)]], "no number is two nodes'");
    let said = bench.turn(0);
    let rumors =
        |from: u32| said.iter().filter(move |line| line.starts_with(&format!("n{from}")) && line.contains("Rumor"));
    assert_eq!((rumors(0).count(), rumors(1).count()), (2, 3), "{said:?}");
    assert_eq!(bench.delivered.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
    bench.cycle();
    assert_eq!(bench.turn(1), ["n1 to n0: Digest contact=2", "n0 to n1: Want contact=2"], "they agree");
}

#[test]
fn a_letter_goes_to_everyone_once() {
    let mut bench = Bench::new(5, |config| config.style = Style::DirectMail);
    bench.submit(3, "news");
    assert_eq!(bench.turn(3), [0, 1, 2, 4].map(|to| format!("n3 to n{to}: Rumor 4")));
    assert!(bench.nodes.iter().all(|node| !node.spreads() && node.deadline() == Nanos::NEVER));
}

#[test]
fn who_is_refused_hunts_for_another() {
    for (hunts, refusals) in [(Some(0), 1), (Some(2), 3), (None, 8)] {
        let mut bench = Bench::new(9, |config| {
            (config.connection_limit, config.hunt_limit) = (Some(1), hunts);
            config.style = Style::Rumor(K);
        });
        bench.submit(0, "news");
        bench.now = bench.nodes[0].deadline();
        bench.step(0, Input::Timeout);
        let mut asked = Vec::new();
        while let Some(frame) = bench.frames.pop_front() {
            let Ok(Message::Connect { contact }) = Message::read(&frame) else {
                panic!("nobody accepts");
            };
            let who = Message::recipient(&frame.head);
            asked.push(who);
            let head = Message::Refuse { contact }.head(who, NodeId(0));
            bench.step(0, Input::Frame(&Frame { head, body: Payload::EMPTY }));
        }
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked.len(), refusals, "it asks nobody twice");
    }
}

#[test]
fn a_node_accepts_as_many_as_it_may_in_a_cycle() {
    let mut bench = Bench::new(4, |config| config.connection_limit = Some(2));
    let answers = |bench: &mut Bench| {
        for from in 1..4 {
            let head = Message::Connect { contact: 7 }.head(NodeId(from), NodeId(0));
            bench.step(0, Input::Frame(&Frame { head, body: Payload::EMPTY }));
        }
        bench.frames.drain(..).map(|frame| frame.head).collect::<Vec<_>>()
    };
    let expected = [(1, true), (2, true), (3, false)].map(|(to, accepts)| {
        let answer = if accepts { Message::Accept { contact: 7 } } else { Message::Refuse { contact: 7 } };
        answer.head(NodeId(0), NodeId(to))
    });
    for _ in 0..2 {
        bench.now = Nanos(bench.now.0 + CYCLE);
        assert_eq!(answers(&mut bench), expected, "and again in the next");
    }
}

#[test]
fn what_comes_too_late_begins_nothing() {
    let mut bench = Bench::new(3, |config| (config.connection_limit, config.style) = (Some(1), Style::Rumor(K)));
    bench.submit(0, "news");
    bench.now = bench.nodes[0].deadline();
    bench.step(0, Input::Timeout);
    let connect = bench.frames.pop_front().expect("it asks");
    let Ok(Message::Connect { contact }) = Message::read(&connect) else { panic!() };
    let accept = |from| Message::Accept { contact }.head(from, NodeId(0));
    let partner = Message::recipient(&connect.head);
    let other = NodeId(3 - partner.0);
    bench.step(0, Input::Frame(&Frame { head: accept(other), body: Payload::EMPTY }));
    assert!(bench.frames.is_empty(), "it had asked somebody else");
    bench.now = Nanos(2 * CYCLE);
    bench.step(0, Input::Frame(&Frame { head: accept(partner), body: Payload::EMPTY }));
    assert!(bench.frames.is_empty(), "it was the last cycle's");
}

/// Each goes its own way, and all share contacts.
#[test]
fn several_rumors_at_once_share_contacts() {
    let each = [Style::Rumor(Mongering { k: 4, ..K }), Style::AntiEntropy];
    for (style, exchange) in
        each.into_iter().flat_map(|style| [Exchange::Push, Exchange::PushPull].map(|ex| (style, ex)))
    {
        let mut bench = Bench::new(20, |config| (config.style, config.exchange) = (style, exchange));
        (0..10).for_each(|id| bench.submit(id, "news"));
        (0..60).for_each(|_| drop(bench.cycle()));
        for delivered in &mut bench.delivered {
            delivered.sort_unstable();
            assert_eq!(*delivered, (1..=10).map(Slot).collect::<Vec<_>>(), "each once");
        }
        let contacts: u64 = bench.nodes.iter().map(Gossip::contacts).sum();
        assert!(contacts <= 20 * 60, "no more than one in each turn: {contacts}");
        assert!(style == Style::AntiEntropy || bench.nodes.iter().all(|node| !node.spreads()));
    }
}

#[test]
fn other_inputs_mean_nothing() {
    let mut bench = Bench::new(2, |_| ());
    let before = format!("{:?}", bench.nodes[0]);
    for input in [Input::Transfer(NodeId(1)), Input::Reconfigure(Change::Remove(NodeId(1))), Input::Timeout] {
        bench.step(0, input);
    }
    assert_eq!(format!("{:?}", bench.nodes[0]), before, "its turn has not come either");
    assert!(bench.frames.is_empty());
}

/// Nodes of every style, in the middle of things.
fn victims() -> Vec<Gossip> {
    let rumor = Style::Rumor(Mongering { k: 3, minimize: true, ..K });
    let blind = Style::Rumor(Mongering { interest: Interest::Blind, stop: Stop::Coin, k: 3, ..K });
    let mut victims = Vec::new();
    let (median, tree) = (Style::MedianCounter(Stages::new(2)), Style::Plumtree { graft_timeout: 2 });
    for style in [Style::DirectMail, Style::AntiEntropy, rumor, blind, median, tree] {
        for exchange in [Exchange::Push, Exchange::Pull, Exchange::PushPull] {
            for (judging, limit) in [(Judging::Snapshot, None), (Judging::Arrival, Some(1))] {
                let mut bench = Bench::new(4, |config| {
                    (config.style, config.exchange, config.judging) = (style, exchange, judging);
                    (config.connection_limit, config.hunt_limit, config.fanout) = (limit, None, 2);
                });
                bench.submit(0, "one");
                bench.submit(1, "two");
                bench.cycle();
                bench.cycle();
                bench.submit(0, "three");
                if bench.nodes[0].deadline() < Nanos::NEVER {
                    bench.now = bench.nodes[0].deadline();
                    bench.step(0, Input::Timeout);
                }
                victims.push(bench.nodes.swap_remove(0));
            }
        }
    }
    victims
}

/// Around every number that means something, and where arithmetic ends.
const NUMBERS: [u64; 12] = [0, 1, 2, 3, 4, 5, 6, 1 << 32, (1 << 62) - 1, 1 << 62, u64::MAX - 1, u64::MAX];

/// Refused with the state as it was, or harmless: never a panic, and never more said than the frame is worth.
fn hit(node: &mut Gossip, now: Nanos, frame: &Frame) -> Option<&'static str> {
    let (before, mut out) = (format!("{node:?}"), Outbox::default());
    let result = node.step(now, Input::Frame(frame), &mut out);
    if let Err(error) = &result {
        assert_eq!(error.kind, frame.head.kind);
        assert_eq!(format!("{node:?}"), before, "{error}, and yet something changed");
        assert!(out.transmits.is_empty() && out.deliveries.is_empty());
    }
    node.flush(now, &mut out);
    assert!(out.transmits.len() <= 400 && out.deliveries.len() <= 1 && out.records.is_empty(), "{out:?}");
    result.err().map(|error| error.what)
}

#[test]
fn arbitrary_frames_are_survived() {
    for (seed, victim) in (0..).zip(victims()) {
        let (mut node, mut prng, mut accepted) = (victim, Prng::new(seed), 0);
        let mut now = Nanos(3 * CYCLE);
        for _ in 0..5000 {
            let pick = |prng: &mut Prng| match prng.below(8) {
                0 => prng.next_u64(),
                _ => NUMBERS[prng.below(NUMBERS.len() as u64) as usize],
            };
            let mut words: Vec<u64> = (0..prng.below(4)).map(|_| pick(&mut prng)).collect();
            words.sort_unstable();
            let mut body: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            body.truncate(body.len() - usize::from(prng.below(8) == 0) * body.len().min(3));
            let body_len = if prng.below(16) == 0 { prng.next_u64() as u32 } else { body.len() as u32 };
            let mut words = std::array::from_fn(|at| if at < 4 { pick(&mut prng) } else { 0 });
            words[0] = if prng.below(8) == 0 { words[0] } else { 0 };
            words[1] %= 5;
            words[3] = if prng.below(4) == 0 { words[3] } else { 0 };
            words[5] = u64::from(prng.below(16) == 0);
            let head = Head {
                body_len,
                kind: if prng.below(16) == 0 { prng.next_u64() as u8 } else { prng.below(15) as u8 },
                flags: [0, 0, 0, 1, 2, prng.next_u64() as u8][prng.below(6) as usize],
                group: u16::from(prng.below(32) == 0),
                from: NodeId(prng.below(5) as u32),
                reserved: 0,
                words,
            };
            let body = Bytes::from(body);
            let cut = prng.below(body.len() as u64 + 1) as usize;
            let body = Payload::Pieces([body.slice(..cut), body.slice(cut..)].into());
            accepted += usize::from(hit(&mut node, now, &Frame { head, body }).is_none());
            if prng.below(8) == 0 {
                now += prng.below(CYCLE);
                let mut out = Outbox::default();
                node.step(now, Input::Timeout, &mut out).expect("only frames are malformed");
            }
        }
        assert!(accepted > 20, "some get past the first check: {accepted}");
    }
}

#[test]
fn what_no_peer_says_is_refused() {
    let mut bench = Bench::new(3, |config| config.style = Style::Rumor(K));
    let node = &mut bench.nodes[0];
    let with_body = |head: Head, body: &[u64]| {
        let body = Bytes::from(body.iter().copied().flat_map(u64::to_le_bytes).collect::<Vec<_>>());
        Frame { head: Head { body_len: body.len() as u32, ..head }, body: body.into() }
    };
    let from = |message: Message| message.head(NodeId(1), NodeId(0));
    let good = from(Message::Ask);
    let rumor = from(Message::Rumor { number: Slot(9), is_answer: false });
    let feedback = from(Message::Feedback { number: Slot(9), was_answer: false, was_useful: true, counter: Some(1) });
    let (digest, want) = (from(Message::Digest { contact: 1 }), from(Message::Want { contact: 1 }));
    for (head, body, why) in [
        (Head { group: 1, ..good }, &[][..], "another group's"),
        (Message::Ask.head(NodeId(0), NodeId(0)), &[], "not from another node"),
        (Message::Ask.head(NodeId(3), NodeId(0)), &[], "not from another node"),
        (Head { kind: 0x80, ..good }, &[], "not a message of gossip"),
        (Head { flags: 4, ..good }, &[], "unknown flags"),
        (Head { flags: 1, ..good }, &[], "flags that mean nothing"),
        (Head { flags: 2, ..rumor }, &[], "flags that mean nothing"),
        (Message::Ask.head(NodeId(1), NodeId(2)), &[], "for another node"),
        (Head { words: [0, 1, 1, 0, 0, 0], ..good }, &[], "words that mean nothing"),
        (Head { words: [0, 1, 9, 0, 0, 1], ..rumor }, &[], "words that mean nothing"),
        (Head { words: [1 << 32, 1, 9, 0, 0, 0], ..rumor }, &[], "words that mean nothing"),
        (Head { words: [0, 1, u64::MAX, 0, 0, 0], ..rumor }, &[], "a number beyond reach"),
        (Head { words: [0, 1, 0, 0, 0, 0], ..rumor }, &[], "no rumor has number zero"),
        (feedback, &[], "news to someone who spreads it"),
        (good, &[1], "a body where none belongs"),
        (digest, &[4, 4], "a list that does not ascend"),
        (digest, &[4, 5], "a list that does not ascend"),
        (digest, &[0], "a list that does not ascend"),
        (digest, &[u64::MAX], "a number beyond reach"),
        (want, &[5, 4], "a list that does not ascend"),
        (from(Message::Call { is_answer: true }), &[5, 4], "a list that does not ascend"),
        (from(Message::Call { is_answer: true }), &[], "of another style"),
        (from(Message::Prune), &[], "of another style"),
        (from(Message::Graft { number: Slot::ZERO }), &[], "no rumor has number zero"),
    ] {
        assert_eq!(hit(node, Nanos(CYCLE), &with_body(head, body)), Some(why), "{head:?}");
    }
    let cut = Frame { head: Head { body_len: 3, ..want }, body: Bytes::from_static(b"abc").into() };
    assert_eq!(hit(node, Nanos(CYCLE), &cut), Some("a list that ends within a number"));
    let short = Frame { head: Head { body_len: 1, ..rumor }, body: Payload::EMPTY };
    assert_eq!(hit(node, Nanos(CYCLE), &short), Some("the body is not as long as the head says"));
    assert_eq!(hit(node, Nanos(CYCLE), &with_body(digest, &[4, 7])), None);
}
