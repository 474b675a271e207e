//! A long stream of frames of any length, from one thread to another that says how far it has come.

use std::thread;

use quorumbench_protocols::{Head, Payload, Prng};
use quorumbench_transports::{Clock, Options, Transport, Wait};

use crate::harness::{OverSockets, Socketed, Subject, is_payload, payload, transmit, until};

/// How far the sender may be ahead of the receiver's word.
const AHEAD: usize = 8 << 20;
/// Payloads differ in this many ways.
const PATTERNS: u64 = 64;
/// The number of what is not of the stream.
const NOT_YET: u64 = u64::MAX;
const SOON_NS: u64 = 1_000_000;

pub(crate) fn it_arrives_intact_and_in_order<T: Socketed>() {
    stream::<T>(&Options::default(), size(30 << 20, 300 << 20), 20_000);
}

pub(crate) fn it_arrives_through_chunks_shorter_than_its_frames<T: Socketed>() {
    for chunk_bytes in [4096, 1000] {
        let options = Options { max_body: 9000, chunk_bytes, chunks: 64, ..Options::default() };
        stream::<T>(&options, size(3 << 20, 30 << 20), 9000);
    }
}

pub(crate) fn it_arrives_by_spinning_and_by_zero_copy<T: Socketed>() {
    let options = Options { wait: Wait::Spin, zero_copy_threshold: Some(16 << 10), ..Options::default() };
    stream::<T>(&options, size(5 << 20, 50 << 20), 30_000);
}

fn size(debug: usize, release: usize) -> usize {
    if cfg!(debug_assertions) { debug } else { release }
}

/// Streams `total` bytes in frames of up to `longest` bytes from node 1 to node 0.
fn stream<T: Socketed>(options: &Options, total: usize, longest: u64) {
    let clock = Clock::start();
    let mut seats = OverSockets::<T>::seats(2, clock, options);
    let (one, zero) = (seats.remove(1), seats.remove(0));
    let sender = thread::spawn(move || send(OverSockets::<T>::sit(one), clock, total, longest));
    let (mut node, mut inbox) = (OverSockets::<T>::sit(zero), Vec::new());
    let (mut expected, mut received, mut lengths) = (0, 0, lengths(longest));
    until("all has come", || {
        node.recv(clock.now() + SOON_NS, &mut inbox).expect("receives");
        for frame in inbox.drain(..) {
            assert_eq!(frame.head.words[0], expected, "in order and complete");
            assert!(is_payload(&frame.body, expected % PATTERNS, lengths()), "intact");
            expected += 1;
            received += Head::BYTES + frame.body.len();
        }
        node.send(&mut vec![transmit(0, 1, received as u64, Payload::EMPTY)]).expect("sends");
        sender.is_finished()
    });
    assert_eq!(sender.join().expect("the sender ends well"), expected);
    let counters = node.counters();
    assert_eq!((counters.malformed, counters.strangers, counters.received_frames), (0, 0, expected));
}

/// Says how many frames it took.
fn send(mut node: impl Transport, clock: Clock, total: usize, longest: u64) -> u64 {
    let source: Vec<Payload> = (0..PATTERNS).map(|number| payload(number, longest as usize)).collect();
    let (mut inbox, mut lengths) = (Vec::new(), lengths(longest));
    let (mut number, mut sent, mut come) = (0, 0, NOT_YET as usize);
    until("the receiver has all", || {
        node.recv(clock.now() + SOON_NS, &mut inbox).expect("receives");
        come = inbox.drain(..).last().map_or(come, |frame| frame.head.words[0] as usize);
        let mut frames = Vec::new();
        while come != NOT_YET as usize && sent < total && sent - come < AHEAD {
            let body: Payload = source[(number % PATTERNS) as usize].pieces()[0].slice(..lengths()).into();
            sent += Head::BYTES + body.len();
            frames.push(transmit(1, 0, number, body));
            number += 1;
        }
        node.send(&mut frames).expect("sends");
        come != NOT_YET as usize && come >= total
    });
    number
}

/// The lengths of the payloads, the same for both ends.
fn lengths(longest: u64) -> impl FnMut() -> usize {
    let mut prng = Prng::new(5);
    move || prng.below(longest + 1) as usize
}
