//! Hand-made histories, histories of a real register, and a brute-force checker to agree with.

use super::*;
use crate::check::history::{Op, Outcome};
use quorumbench_protocols::Prng;

fn bytes(value: u64) -> Bytes {
    value.to_string().into()
}

/// `client op key value invoke return result`, an operation a line; `-` is nothing.
fn history(text: &str) -> History {
    let operation = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [client, op, key, value, invoke, returned, result] = words[..] else { panic!("{line}") };
        let optional = |word: &str| Some(word.to_owned()).filter(|word| word != "-");
        let ops = [("put", Op::Put), ("get", Op::Get), ("delete", Op::Delete)];
        let results = [("ok", Outcome::Ok), ("fail", Outcome::Fail), ("info", Outcome::Info)];
        Operation {
            client: client.parse().expect("a number"),
            op: ops.iter().find(|(name, _)| *name == op).expect(op).1,
            key: key.to_owned().into(),
            value: optional(value).map(Bytes::from),
            invoke_ns: invoke.parse().expect("a time"),
            return_ns: optional(returned).map(|time| time.parse().expect("a time")),
            result: results.iter().find(|(name, _)| *name == result).expect(result).1,
        }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(operation).collect()
}

fn explained(text: &str) {
    let verdict = check(&history(text));
    assert!(verdict.is_linearizable(), "{verdict}");
}

/// Says which key is to blame, and shows the operation that returns at `returned`.
fn refused(text: &str, returned: u64) {
    match check(&history(text)) {
        Verdict::Violation { operations, .. } => {
            assert!(operations.iter().any(|each| each.return_ns == Some(returned)), "{operations:?}");
        }
        verdict => panic!("{verdict}: {text}"),
    }
}

#[test]
fn what_is_in_order_is_explained() {
    explained("");
    explained("0 get a - 1 2 ok");
    explained("0 put a x 1 2 ok\n 0 get a x 3 4 ok\n 0 delete a - 5 6 ok\n 0 get a - 7 8 ok");
    explained("0 put a x 1 2 ok\n 0 put b y 3 4 ok\n 1 get a x 5 6 ok\n 1 get b y 7 8 ok");
}

#[test]
fn overlapping_operations_may_come_in_any_order() {
    explained("0 put a x 1 9 ok\n 1 get a - 2 3 ok\n 1 get a x 4 5 ok");
    explained("0 put a x 1 9 ok\n 1 put a y 1 9 ok\n 2 get a y 2 3 ok\n 2 get a x 4 5 ok");
    // Three puts, read in the reverse order of their invocations.
    let puts = "0 put a 1 1 20 ok\n 1 put a 2 2 20 ok\n 2 put a 3 3 20 ok\n";
    explained(&format!("{puts} 3 get a 3 4 5 ok\n 3 get a 2 6 7 ok\n 3 get a 1 8 9 ok"));
    // What touches overlaps: a time stands for a moment in the nanosecond.
    explained("0 put a x 1 5 ok\n 1 get a - 5 6 ok");
    explained("0 put a x 1 9 ok\n 1 delete a - 1 9 ok\n 2 get a x 10 11 ok");
    explained("0 put a x 1 9 ok\n 1 delete a - 1 9 ok\n 2 get a - 10 11 ok");
}

#[test]
fn a_stale_read_is_refused() {
    refused("0 put a x 1 2 ok\n 0 put a y 3 4 ok\n 1 get a x 5 6 ok", 6);
    refused("0 put a x 1 2 ok\n 1 get a - 3 4 ok", 4);
    // Sequentially consistent, and yet not linearizable: the new value was seen before the old one.
    refused("0 put a x 1 9 ok\n 1 get a x 2 3 ok\n 2 get a - 4 5 ok", 5);
}

#[test]
fn a_lost_update_is_refused() {
    refused("0 put a x 1 2 ok\n 1 put a y 3 4 ok\n 0 get a y 5 6 ok\n 1 get a x 7 8 ok", 8);
    refused("0 put a x 1 2 ok\n 0 get a - 3 4 ok\n 0 get a - 5 6 ok", 4);
}

#[test]
fn a_read_of_what_was_never_written_is_refused() {
    refused("0 put a x 1 2 ok\n 1 get a z 1 4 ok", 4);
    refused("0 put b z 1 2 ok\n 1 get a z 3 4 ok", 4);
}

#[test]
fn a_read_from_the_future_is_refused() {
    refused("1 get a x 1 2 ok\n 0 put a x 3 4 ok", 2);
    refused("1 get a x 1 2 ok\n 0 put a x 3 - info", 2);
}

#[test]
fn a_put_that_is_applied_twice_is_refused() {
    // x comes back after y hid it, and nobody wrote it again.
    refused("0 put a x 1 2 ok\n 1 put a y 3 4 ok\n 2 get a y 5 6 ok\n 2 get a x 7 8 ok", 8);
    refused("0 put a x 1 - info\n 2 get a x 3 4 ok\n 1 put a y 5 6 ok\n 2 get a y 7 8 ok\n 2 get a x 9 10 ok", 10);
    explained("0 put a x 1 - info\n 0 put a x 2 - info\n 2 get a x 3 4 ok\n 1 put a y 5 6 ok\n 2 get a x 7 8 ok");
}

#[test]
fn deletes_are_ordered_like_puts() {
    refused("0 put a x 1 2 ok\n 0 delete a - 3 4 ok\n 1 get a x 5 6 ok", 6);
    refused("0 put a x 1 9 ok\n 1 delete a - 1 9 ok\n 2 get a x 10 11 ok\n 2 get a - 12 13 ok", 13);
    refused("0 delete a - 1 2 ok\n 0 put a x 3 4 ok\n 1 get a - 5 6 ok", 6);
    explained("0 put a x 1 2 ok\n 1 delete a - 3 - info\n 2 get a x 4 5 ok\n 2 get a - 60 70 ok");
    refused("0 put a x 1 2 ok\n 1 delete a - 3 4 fail\n 2 get a - 60 70 ok", 70);
}

#[test]
fn what_is_pending_happens_late_or_never() {
    explained("0 put a x 1 - info\n 1 get a - 100 101 ok\n 1 get a x 102 103 ok");
    explained("0 put a x 1 - info\n 1 get a - 100 101 ok\n 1 get a - 102 103 ok");
    explained("0 put a x 1 2 info\n 1 get a - 100 101 ok\n 1 get a x 102 103 ok");
    refused("0 put a x 1 - info\n 1 get a x 100 101 ok\n 1 get a - 102 103 ok", 103);
    explained("0 get a - 1 - info\n 1 get a - 100 101 ok");
}

#[test]
fn what_failed_is_not_seen() {
    explained("0 put a x 1 2 fail\n 1 get a - 3 4 ok");
    refused("0 put a x 1 2 fail\n 1 get a x 3 4 ok", 4);
    explained("0 put a x 1 2 fail\n 1 put a x 1 - info\n 1 get a x 3 4 ok");
}

#[test]
fn the_key_to_blame_is_named_and_the_message_reads_well() {
    let text = "0 put a x 1 2 ok\n 0 put b y 3 4 ok\n 1 get a x 5 6 ok\n 1 get b - 7 8 ok";
    let said = check(&history(text)).to_string();
    let expected = r#"not linearizable: key "b". The longest order found ends with
  {"client":0,"op":"put","key":"b","value":"y","invoke_ns":3,"return_ns":4,"result":"ok"}
and the key is then "y". One of these must come next, and none leads on:
  {"client":1,"op":"get","key":"b","value":null,"invoke_ns":7,"return_ns":8,"result":"ok"}
"#;
    assert_eq!(said, expected);
}

/// A history from a real register: operations begin at random, take effect at a moment, return later.
/// Some are never answered, and of those some take effect and some do not; some fail.
struct Shape {
    clients: u32,
    operations: usize,
    keys: u64,
    values: u64,
    /// One in so many is never answered.
    pending: u64,
}

fn sampled(shape: &Shape, prng: &mut Prng) -> History {
    let mut moments = Vec::new();
    let mut free_at = vec![0; shape.clients as usize];
    for _ in 0..shape.operations {
        let client = prng.below(free_at.len() as u64) as u32;
        let invoke = free_at[client as usize] + prng.below(20);
        let effect = invoke + prng.below(30);
        let returned = effect + prng.below(30);
        free_at[client as usize] = returned + 1;
        moments.push((effect, moments.len(), client, invoke, returned));
    }
    moments.sort_unstable();
    let mut registers = std::collections::BTreeMap::new();
    let mut history = History::new();
    for (_, _, client, invoke_ns, returned) in moments {
        let key = bytes(prng.below(shape.keys));
        let op = [Op::Put, Op::Put, Op::Get, Op::Get, Op::Get, Op::Delete][prng.below(6) as usize];
        let result = match prng.below(shape.pending) {
            0 => Outcome::Info,
            1 => Outcome::Fail,
            _ => Outcome::Ok,
        };
        let happens = result == Outcome::Ok || result == Outcome::Info && prng.below(2) == 0;
        let mut value = Some(bytes(prng.below(shape.values))).filter(|_| op == Op::Put);
        match op {
            Op::Get if result == Outcome::Ok => value = registers.get(&key).cloned().flatten(),
            Op::Put | Op::Delete if happens => drop(registers.insert(key.clone(), value.clone())),
            _ => {}
        }
        let return_ns = Some(returned).filter(|_| result != Outcome::Info);
        history.push(Operation { client, op, key, value, invoke_ns, return_ns, result });
    }
    history.sort();
    history
}

/// Tries every order, of one key. No memory, no shortcuts: what the definition says.
fn brute_force(operations: &[Operation]) -> bool {
    fn go(left: &[&Operation], held: Option<&Bytes>) -> bool {
        if left.iter().all(|each| each.result != Outcome::Ok) {
            return true;
        }
        let returns = |each: &&Operation| if each.result == Outcome::Ok { each.return_ns } else { None };
        let first_return = left.iter().filter_map(returns).min().unwrap_or(u64::MAX);
        left.iter().enumerate().filter(|(_, each)| each.invoke_ns <= first_return).any(|(index, next)| {
            let rest: Vec<_> = [&left[..index], &left[index + 1..]].concat();
            match next.op {
                Op::Get => next.value.as_ref() == held && go(&rest, held),
                Op::Put | Op::Delete => go(&rest, next.value.as_ref()),
            }
        })
    }
    let told =
        |each: &&Operation| each.result != Outcome::Fail && !(each.result == Outcome::Info && each.op == Op::Get);
    go(&operations.iter().filter(told).collect::<Vec<_>>(), None)
}

#[test]
fn what_a_real_register_did_is_explained() {
    for seed in 0..400 {
        let mut prng = Prng::new(seed);
        let shape = Shape {
            clients: 1 + prng.below(6) as u32,
            operations: 200,
            keys: 1 + prng.below(4),
            values: 2 + prng.below(100),
            pending: 5 + prng.below(50),
        };
        let history = sampled(&shape, &mut prng);
        let verdict = check(&history);
        assert!(verdict.is_linearizable(), "seed {seed}: {verdict}");
    }
}

#[test]
fn agrees_with_brute_force_on_small_histories() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..20_000 {
        let mut prng = Prng::new(seed);
        let shape = Shape { clients: 4, operations: 7, keys: 1, values: 1 + prng.below(3), pending: 5 };
        let honest = sampled(&shape, &mut prng);
        let mut operations = honest.operations().to_vec();
        // One get reads something else.
        let gets: Vec<usize> =
            (0..7).filter(|&at| operations[at].op == Op::Get && operations[at].result == Outcome::Ok).collect();
        if let Some(&at) = gets.get(prng.below(gets.len().max(1) as u64) as usize) {
            operations[at].value =
                [None, Some(bytes(0)), Some(bytes(1)), Some(bytes(9))][prng.below(4) as usize].clone();
        }
        let mutated: History = operations.iter().cloned().collect();
        let (verdict, expected) = (check(&mutated), brute_force(&operations));
        assert_eq!(verdict.is_linearizable(), expected, "seed {seed}: {verdict}\n{operations:#?}");
        *if expected { &mut accepted } else { &mut refused } += 1;
    }
    assert!(refused > 3000 && accepted > 3000, "the mutation must sometimes matter: {refused}, {accepted}");
}

#[test]
fn one_wrong_read_in_a_long_history_is_found() {
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let shape = Shape { clients: 5, operations: 1000, keys: 5, values: 1 << 40, pending: 50 };
        let history = sampled(&shape, &mut prng);
        let mut operations = history.operations().to_vec();
        let read = |each: &Operation| each.op == Op::Get && each.value.is_some();
        let at = operations.iter().rposition(read).expect("gets that found something");
        // The first value that this key ever had: values are never written twice, so it cannot be back.
        let first = operations.iter().find(|each| each.key == operations[at].key && read(each)).expect("one");
        let hidden_by = |each: &&Operation| {
            each.key == first.key && each.op == Op::Put && each.result == Outcome::Ok && each.value != first.value
        };
        let hidden = operations
            .iter()
            .filter(hidden_by)
            .any(|each| first.return_ns < Some(each.invoke_ns) && each.return_ns < Some(operations[at].invoke_ns));
        assert!(hidden, "a thousand operations on five keys");
        operations[at].value = first.value.clone();
        let verdict = check(&operations.into_iter().collect());
        assert!(matches!(verdict, Verdict::Violation { .. }), "seed {seed}: {verdict}");
    }
}

#[test]
fn ten_thousand_operations_are_quick() {
    for (clients, keys) in [(16, 1000), (16, 100), (8, 10), (4, 1)] {
        let mut prng = Prng::new(u64::from(clients) + keys);
        let shape = Shape { clients, operations: 10_000, keys, values: 1 << 40, pending: 200 };
        let report = check_within(&sampled(&shape, &mut prng), Limits::default());
        assert!(report.verdict.is_linearizable(), "{}", report.verdict);
        assert!(report.states < 60_000 && report.steps < 2_000_000, "{clients} clients, {keys} keys: {report:?}");
    }
}

/// The known blow-up: many puts at once on one key, and a get that none of their orders explains.
fn blow_up(puts: u64) -> History {
    let mut history = History::new();
    let operation = |client, op, value: u64, invoke_ns, returned| Operation {
        client,
        op,
        key: bytes(0),
        value: Some(bytes(value)),
        invoke_ns,
        return_ns: Some(returned),
        result: Outcome::Ok,
    };
    for value in 0..puts {
        history.push(operation(value as u32, Op::Put, value, 1, 100));
        history.push(operation(1000, Op::Get, value, 101 + 2 * value, 102 + 2 * value));
    }
    history
}

#[test]
fn a_search_that_blows_up_is_unknown_and_bounded() {
    assert!(matches!(check(&blow_up(10)), Verdict::Violation { .. }));
    let steps = Limits { steps: 100_000, ..Limits::default() };
    let report = check_within(&blow_up(40), steps);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.steps < 101_000, "{report:?}");
    let memory = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let report = check_within(&blow_up(40), memory);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert!(report.states < (1 << 20) / 64, "{report:?}");
}

#[test]
fn a_violation_counts_even_where_another_key_is_given_up() {
    let mut history = blow_up(40);
    history.push(Operation { key: bytes(1), ..history.operations()[1].clone() });
    let report = check_within(&history, Limits { memory_bytes: 1 << 20, ..Limits::default() });
    assert!(matches!(report.verdict, Verdict::Violation { .. }), "{}", report.verdict);
}
