//! Honest traces hold; each mutated one breaks the property that it should.

use super::*;
use crate::load::Mix;
use crate::spec::Keys;
use bytes::Bytes;
use quorumbench_protocols::Prng;

const KV: Mix = Mix::Kv { payload: 8, reads: 0.5, keys: Keys::Uniform { count: 20 } };
const REPLICAS: usize = 3;

/// A run that never happened but could have: clients send, a log orders, a machine answers. Some batches overtake
/// others of the same client, and some are never answered.
fn honest<M: Machine>(seed: u64, batches: usize, mix: Mix) -> Trace {
    let mut prng = Prng::new(seed);
    let client = |client: u32| ClientTrace {
        group: 0,
        client,
        commands: CommandStream::new(mix, seed + u64::from(client)),
        asked: Vec::new(),
        served: Vec::new(),
        stale: false,
    };
    let mut trace = Trace { clients: vec![client(3), client(4)], replicas: Vec::new() };
    let mut streams = trace.clients.iter().map(|client| client.commands.clone()).collect::<Vec<_>>();
    let (mut now, mut machine, mut log, mut waiting) = (0, M::default(), Vec::new(), Vec::new());
    while log.len() < batches {
        now += 10;
        let index = prng.below(2) as usize;
        let commands = prng.below(5) as u32;
        let mut chunk = BytesMut::new();
        let mut writer = Writer::new(&mut chunk, BatchHead::default());
        (0..commands).for_each(|_| writer.command(|chunk| streams[index].write(chunk)));
        let asked = &mut trace.clients[index].asked;
        let batch = Applied { slot: 0, sequence: asked.len() as u64, client: index as u32 + 3, commands };
        asked.push(Asked { sent_ns: now, answered_ns: Asked::UNANSWERED, told: 0, commands, overlapping: 0 });
        waiting.push((batch, Payload::from(writer.finish())));
        if waiting.len() < 6 {
            continue;
        }
        let (mut batch, body) = waiting.swap_remove(prng.below(6) as usize);
        batch.slot = log.len() as u64 * 2 + 1;
        let head = BatchHead { commands: batch.commands, ..BatchHead::default() };
        let mut results = BytesMut::new();
        machine.apply(&head, Commands::new(&head, &body), &mut results);
        if prng.below(20) > 0 {
            let asked = &mut trace.clients[batch.client as usize - 3].asked[batch.sequence as usize];
            (asked.answered_ns, asked.told) = (now + 1, digest(&results.freeze().into()));
        }
        log.push(batch);
    }
    trace.clients.iter_mut().for_each(|client| overlap(&mut client.asked));
    let behind = log[..log.len() - 3].to_vec();
    trace.replicas = [behind, log, Vec::new()].map(ReplicaTrace::from).into();
    trace
}

/// Notes which of a client's batches overlap, as their times have it.
fn overlap(asked: &mut [Asked]) {
    for sequence in 0..asked.len() {
        let answered_ns = asked[sequence].answered_ns;
        let before = asked[sequence..].iter().filter(|later| later.sent_ns <= answered_ns).count();
        asked[sequence].overlapping = if answered_ns == Asked::UNANSWERED { 0 } else { before as u32 };
    }
}

fn kv() -> Trace {
    honest::<Kv>(7, 300, KV)
}

/// What is said of an honest run after something was done to it.
fn after(mutate: impl FnOnce(&mut Trace)) -> Breach {
    let mut trace = kv();
    mutate(&mut trace);
    trace.verify(MachineName::Kv).expect_err("it no longer holds")
}

#[test]
fn an_honest_run_holds() {
    for seed in 0..50 {
        let trace = honest::<Kv>(seed, 300, KV);
        let verified = trace.verify(MachineName::Kv).unwrap_or_else(|breach| panic!("seed {seed}: {breach}"));
        assert_eq!(verified.batches, 300);
        assert!(verified.commands > 300);
        let trace = honest::<Null>(seed, 300, Mix::Opaque { payload: 16 });
        assert_eq!(trace.verify(MachineName::Null).map(|verified| verified.batches), Ok(300));
    }
    assert_eq!(Trace::default().verify(MachineName::Kv), Ok(Verified::default()));
}

#[test]
fn replicas_that_diverge_are_found() {
    let breach = after(|trace| trace.replicas[0].applied.swap(10, 11));
    let Breach::Diverged { replicas: [1, 0], applied } = breach else { panic!("{breach}") };
    assert_ne!(applied[0], applied[1]);
    assert!(breach.to_string().starts_with("state machine safety is violated: replica 1 applied batch "), "{breach}");
    let breach = after(|trace| trace.replicas[0].applied[20].slot += 1);
    assert!(matches!(breach, Breach::Diverged { .. }), "the same batch, in another slot: {breach}");
    let breach = after(|trace| {
        trace.replicas[0].applied.remove(20);
    });
    assert!(matches!(breach, Breach::Diverged { .. }), "a batch was left out: {breach}");
}

/// The trace of a replica that was sent a snapshot after it had applied `from` batches, which had `count` more in it.
fn sent_a_snapshot(trace: &mut Trace, replica: usize, from: usize, count: usize) {
    let ReplicaTrace { applied, skipped, .. } = &mut trace.replicas[replica];
    let out: Vec<_> = applied.drain(from..from + count).collect();
    skipped.push(Skipped { after: out[0].slot - 1, upto: out[count - 1].slot });
}

#[test]
fn a_snapshot_stands_for_the_slots_in_it_and_no_others() {
    let mut honest = kv();
    sent_a_snapshot(&mut honest, 0, 200, 40);
    sent_a_snapshot(&mut honest, 0, 0, 20);
    assert!(honest.verify(MachineName::Kv).is_ok());
    // Each has what the other lacks, and nobody has all.
    sent_a_snapshot(&mut honest, 1, 100, 40);
    let verified = honest.verify(MachineName::Kv).unwrap_or_else(|breach| panic!("{breach}"));
    assert_eq!(verified.batches, 300);
    for mutate in [
        |replica: &mut ReplicaTrace| replica.skipped[0].upto -= 1,
        |replica: &mut ReplicaTrace| replica.skipped[0].after += 1,
        |replica: &mut ReplicaTrace| replica.skipped.clear(),
        |replica: &mut ReplicaTrace| replica.applied.swap(30, 31),
        |replica: &mut ReplicaTrace| replica.applied[230].commands += 1,
    ] {
        let mut trace = honest.clone();
        mutate(&mut trace.replicas[0]);
        let breach = trace.verify(MachineName::Kv).expect_err("a slot is left out, or another");
        assert_eq!(breach.property(), "state machine safety", "{breach}");
    }
}

/// The replicas agree on what the mutation leaves.
fn all_agree(trace: &mut Trace, mutate: impl FnOnce(&mut Vec<Applied>)) {
    let mut order = trace.replicas[1].applied.clone();
    mutate(&mut order);
    trace.replicas = vec![order.into(); REPLICAS];
}

#[test]
fn slots_that_go_back_are_found() {
    let breach = after(|trace| all_agree(trace, |order| order[8].slot = order[7].slot));
    assert_eq!(breach.property(), "slot order", "{breach}");
}

#[test]
fn a_batch_from_nowhere_is_found() {
    for mutate in [
        |batch: &mut Applied| batch.client = 9,
        |batch: &mut Applied| batch.sequence = 1 << 40,
        |batch: &mut Applied| batch.commands += 1,
    ] {
        let breach = after(|trace| all_agree(trace, |order| mutate(&mut order[50])));
        assert_eq!(breach.property(), "no invention", "{breach}");
    }
}

#[test]
fn a_batch_that_is_applied_twice_is_found() {
    let twice = |order: &mut Vec<Applied>| {
        let slot = order.last().expect("300 batches").slot + 1;
        order.push(Applied { slot, ..order[40] });
    };
    let breach = after(|trace| all_agree(trace, twice));
    let Breach::Twice { first, second } = breach else { panic!("{breach}") };
    assert_eq!((first.client, first.sequence), (second.client, second.sequence));
    assert!(first.slot < second.slot);
}

#[test]
fn an_answered_batch_that_is_nowhere_is_found() {
    let breach = after(|trace| {
        let answered = |batch: &Applied| {
            trace.clients[batch.client as usize - 3].asked[batch.sequence as usize].answered_ns != Asked::UNANSWERED
        };
        let at = trace.replicas[1].applied.iter().rposition(answered).expect("most are");
        all_agree(trace, |order| {
            order.remove(at);
        });
    });
    assert_eq!(breach.property(), "nothing acknowledged is lost", "{breach}");
}

#[test]
fn a_batch_of_which_nobody_heard_may_be_anywhere_or_nowhere() {
    let mut trace = kv();
    let last = *trace.replicas[1].applied.last().expect("300 batches");
    trace.clients[last.client as usize - 3].asked[last.sequence as usize].answered_ns = Asked::UNANSWERED;
    assert!(trace.verify(MachineName::Kv).is_ok(), "applied, and not answered");
    all_agree(&mut trace, |order| order.truncate(299));
    assert!(trace.verify(MachineName::Kv).is_ok(), "not applied, and not answered");
}

#[test]
fn an_order_that_real_time_forbids_is_found() {
    // Far enough apart for the first to be answered before the second is sent.
    let swap = |order: &mut Vec<Applied>| {
        let slots = [order[30].slot, order[90].slot];
        order.swap(30, 90);
        (order[30].slot, order[90].slot) = (slots[0], slots[1]);
    };
    let breach = after(|trace| all_agree(trace, swap));
    let Breach::OutOfTime { earlier, later } = breach else { panic!("{breach}") };
    assert!(earlier.0.slot < later.0.slot && later.1.answered_ns < earlier.1.sent_ns, "{breach}");
    // One nanosecond decides: answered in the moment in which the other is sent, they may overlap.
    let asked = |sent_ns, answered_ns| Asked { sent_ns, answered_ns, told: 0, commands: 1, overlapping: 2 };
    let commands = CommandStream::new(Mix::Opaque { payload: 1 }, 1);
    let applied = |slot, sequence| Applied { slot, sequence, client: 3, commands: 1 };
    for (answered_ns, holds) in [(19, false), (20, true), (21, true)] {
        let asked = vec![asked(10, answered_ns), asked(20, 30)];
        let clients = vec![ClientTrace {
            group: 0,
            client: 3,
            commands: commands.clone(),
            asked,
            served: Vec::new(),
            stale: false,
        }];
        let trace = Trace { clients, replicas: vec![vec![applied(1, 1), applied(2, 0)].into()] };
        assert_eq!(trace.verify(MachineName::Null).is_ok(), holds, "{answered_ns}");
    }
}

#[test]
fn results_that_the_order_does_not_give_are_found() {
    let breach = after(|trace| {
        let asked = trace.clients[0].asked.iter_mut().find(|asked| asked.told != 0).expect("a batch with results");
        asked.told ^= 1;
    });
    assert_eq!(breach.property(), "results", "{breach}");
    // Every command is the wrong one.
    let breach = after(|trace| trace.clients[0].commands = CommandStream::new(KV, 1234));
    assert_eq!(breach.property(), "results", "{breach}");
    let mut trace = honest::<Null>(1, 100, Mix::Opaque { payload: 16 });
    trace.clients[1].asked[0] = Asked { answered_ns: 1 << 40, told: 5, ..trace.clients[1].asked[0] };
    let breach = trace.verify(MachineName::Null).expect_err("a machine that says nothing");
    assert_eq!(breach.property(), "results", "{breach}");
}

/// Neighbours may be swapped as far as real time goes. Their results tell, if they touch the same key.
#[test]
fn an_order_that_only_the_results_forbid_is_found() {
    let mut told = 0;
    for at in 0..250 {
        let mut trace = kv();
        all_agree(&mut trace, |order| {
            let slots = [order[at].slot, order[at + 1].slot];
            order.swap(at, at + 1);
            (order[at].slot, order[at + 1].slot) = (slots[0], slots[1]);
        });
        match trace.verify(MachineName::Kv) {
            Err(Breach::ToldOtherwise { batch, .. }) => {
                assert!(batch.slot >= trace.replicas[1].applied[at].slot, "not before the swap");
                told += 1;
            }
            Err(breach) => assert_eq!(breach.property(), "real-time order", "{breach}"),
            Ok(_) => {}
        }
    }
    assert!(told > 20, "{told}");
}

/// A batch of reads beside the log: when it was sent and answered, from which slot it says that it was served, and from
/// which it was.
struct Beside {
    times: [u64; 2],
    says: u64,
    is: u64,
}

fn beside(times: [u64; 2], says: u64, is: u64) -> Beside {
    Beside { times, says, is }
}

/// One client that writes a key, sent at 100 and 200 ns, answered 50 ns later, in slots 10 and 20; another that reads it.
fn written_twice(stale: bool, reads: &[Beside]) -> Trace {
    let client = |client, reads| {
        let mix = Mix::Kv { payload: 8, reads, keys: Keys::Uniform { count: 1 } };
        let commands = CommandStream::new(mix, 5).with_reads_apart();
        ClientTrace { group: 0, client, commands, asked: Vec::new(), served: Vec::new(), stale }
    };
    let (mut writer, mut reader) = (client(3, 0.0), client(4, 1.0));
    let asked =
        |[sent_ns, answered_ns]: [u64; 2], told| Asked { sent_ns, answered_ns, told, commands: 1, overlapping: 0 };
    writer.asked = [[100, 150], [200, 250]].map(|times| asked(times, 0)).to_vec();
    reader.asked = reads.iter().map(|read| asked(read.times, 0)).collect();
    [&mut writer, &mut reader].into_iter().for_each(|client| overlap(&mut client.asked));
    let head = BatchHead { commands: 1, ..BatchHead::default() };
    let question = Rewriter::new(&ClientTrace { asked: vec![asked([0, 0], 0)], ..reader.clone() }).batch(0);
    let told = |kv: &Kv| {
        let mut results = BytesMut::new();
        kv.read(&head, Commands::new(&head, &question), &mut results);
        digest(&results.freeze().into())
    };
    let mut kv = Kv::default();
    let mut states = vec![told(&kv)];
    for sequence in 0..2 {
        let body = Rewriter::new(&writer).batch(sequence);
        let mut results = BytesMut::new();
        kv.apply(&head, Commands::new(&head, &body), &mut results);
        writer.asked[sequence as usize].told = digest(&results.freeze().into());
        states.push(told(&kv));
    }
    for (sequence, read) in reads.iter().enumerate() {
        reader.asked[sequence].told = states[read.is as usize / 10];
        reader.served.push(Served { sequence: sequence as u64, slot: read.says });
    }
    let applied = |slot, sequence| Applied { slot, sequence, client: 3, commands: 1 };
    Trace { clients: vec![writer, reader], replicas: vec![vec![applied(10, 0), applied(20, 1)].into()] }
}

/// The property that does not hold with these reads; empty if all do.
fn broken_by(stale: bool, reads: &[Beside]) -> &'static str {
    written_twice(stale, reads).verify(MachineName::Kv).err().map_or("", |breach| breach.property())
}

#[test]
fn a_read_beside_the_log_stands_between_what_it_must_see_and_what_it_cannot() {
    for (times, slots) in [
        ([110, 120], &[0, 10][..]),
        ([10, 20], &[0]),
        ([300, 310], &[20]),
        ([160, 170], &[10]),
        ([90, 310], &[0, 10, 20]),
    ] {
        for slot in [0, 10, 20] {
            let expected = if slots.contains(&slot) { "" } else { "real-time order" };
            assert_eq!(broken_by(false, &[beside(times, slot, slot)]), expected, "{times:?} {slot}");
            assert_eq!(broken_by(true, &[beside(times, slot, slot)]), "", "stale reads may be of any time");
        }
    }
    assert_eq!(broken_by(false, &[beside([160, 170], 19, 10)]), "", "nothing is in slot 19");
}

#[test]
fn a_read_beside_the_log_is_told_what_its_slot_gives() {
    for stale in [false, true] {
        for (says, is) in [(0, 10), (10, 0), (10, 20), (20, 10)] {
            let property = broken_by(stale, &[beside([90, 310], says, is)]);
            assert_eq!(property, "results", "{says} {is}");
        }
    }
}

#[test]
fn reads_beside_the_log_do_not_go_back_in_time() {
    let reads = |second| [beside([210, 220], 20, 20), beside(second, 10, 10)];
    assert_eq!(broken_by(false, &reads([221, 240])), "real-time order", "what one has seen the next must see");
    assert_eq!(broken_by(false, &reads([219, 240])), "", "they overlap");
    assert_eq!(broken_by(true, &reads([221, 240])), "sequential consistency", "however far another replica is");
    assert_eq!(broken_by(true, &reads([219, 240])), "", "they overlap");
    let mut others = written_twice(true, &[beside([210, 220], 10, 10)]);
    assert!(others.verify(MachineName::Kv).is_ok());
    let mut reader = written_twice(true, &[beside([160, 170], 0, 0)]).clients.remove(1);
    reader.client = 5;
    others.clients.push(reader);
    assert!(others.verify(MachineName::Kv).is_ok(), "what another has seen binds nobody");
}

/// A client that writes, reads twice, and writes again, while the clock stands still: its writes are in slots 10 and 20.
#[test]
fn a_client_with_stale_reads_sees_what_it_wrote_and_never_goes_back() {
    let (alone, both) = ([1; 4], [2, 1, 1, 1]);
    for (overlapping, served, holds) in [
        (alone, [10, 10], true),
        (alone, [15, 19], true),
        (alone, [9, 10], false),
        (alone, [0, 0], false),
        (alone, [15, 10], false),
        (both, [9, 10], true),
        (both, [9, 9], false),
        ([1, 2, 1, 1], [19, 10], true),
        ([1, 3, 1, 1], [20, 10], true),
        ([1, 2, 1, 1], [20, 10], false),
    ] {
        let of = |overlapping| Asked { sent_ns: 7, answered_ns: 7, told: 0, commands: 1, overlapping };
        let client = ClientTrace {
            group: 0,
            client: 3,
            commands: CommandStream::new(Mix::Opaque { payload: 1 }, 1),
            asked: overlapping.map(of).to_vec(),
            served: [1, 2].into_iter().zip(served).map(|(sequence, slot)| Served { sequence, slot }).collect(),
            stale: true,
        };
        let applied = |slot, sequence| Applied { slot, sequence, client: 3, commands: 1 };
        let trace = Trace { clients: vec![client], replicas: vec![vec![applied(10, 0), applied(20, 3)].into()] };
        let broken = trace.verify(MachineName::Null).err().map(|breach| breach.property());
        assert_eq!(broken, (!holds).then_some("sequential consistency"), "{overlapping:?} {served:?}");
    }
}

#[test]
fn a_read_is_in_the_log_or_beside_it_and_answered_once() {
    let mut trace = written_twice(false, &[beside([160, 170], 10, 10)]);
    assert_eq!(trace.verify(MachineName::Kv), Ok(Verified { batches: 3, commands: 3 }));
    let again = trace.clients[1].served[0];
    trace.clients[1].served.push(again);
    assert_eq!(trace.verify(MachineName::Kv).map_err(|breach| breach.property()), Err("no invention"));
    trace.clients[1].served = vec![Served { sequence: 7, slot: 10 }];
    assert_eq!(trace.verify(MachineName::Kv).map_err(|breach| breach.property()), Err("no invention"));
    trace.clients[1].served.clear();
    assert_eq!(
        trace.verify(MachineName::Kv).map_err(|breach| breach.property()),
        Err("nothing acknowledged is lost"),
        "answered, and nobody says how"
    );
}

#[test]
fn a_digest_does_not_depend_on_the_cut() {
    let bytes = Bytes::from_static(b"some results, longer than a word or two");
    let whole = digest(&bytes.clone().into());
    for cut in 0..=bytes.len() {
        assert_eq!(digest(&Payload::Pieces([bytes.slice(..cut), bytes.slice(cut..)].into())), whole);
    }
    assert_ne!(whole, digest(&bytes.slice(1..).into()));
    assert_eq!((digest(&Payload::EMPTY), digest(&Payload::Pieces([Bytes::new(), Bytes::new()].into()))), (0, 0));
}

#[test]
fn a_record_is_small() {
    assert_eq!((size_of::<Asked>(), size_of::<Applied>()), (32, 24));
}
