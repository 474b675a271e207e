//! Whatever is said to a listening socket: it is dropped and counted, and the peers go on undisturbed.

use std::net::SocketAddr;

use quorumbench_protocols::{Frame, Head, Prng};
use quorumbench_transports::peers::{HELLO_PATIENCE_NS, MOST_SILENT};
use quorumbench_transports::{Clock, Counters, Options, hello};
use zerocopy::IntoBytes;

use crate::harness::{Cluster, Socketed, address, is_payload, listener, mesh, payload, transmit, until};
use crate::raw::{self, Raw, RawTcp};

/// Two good peers that talk to each other all the while, and where they listen.
pub(crate) struct Scene<T> {
    pub(crate) peers: Cluster<T>,
    /// Nodes 0 and 1: the second dials the first.
    pub(crate) at: [SocketAddr; 2],
    /// What node 0 received from others than node 1.
    foreign: Vec<Frame>,
    said: u64,
    heard: u64,
}

impl<T: Socketed> Scene<T> {
    pub(crate) fn new() -> Self {
        let (clock, listeners) = (Clock::start(), [listener(), listener()]);
        let at = [address(&listeners[0]), address(&listeners[1])];
        let options = Options { max_body: 1 << 20, chunk_bytes: 16 << 10, chunks: 200, ..Options::default() };
        let [zero, one] = listeners;
        let zero = T::join(mesh(0, Some(zero), &[], clock, &options)).expect("joins");
        let one = T::join(mesh(1, Some(one), &at[..1], clock, &options)).expect("joins");
        Self { peers: Cluster::of(vec![zero, one], clock), at, foreign: Vec::new(), said: 0, heard: 0 }
    }

    /// Good frames flow, while the hostile ones are seen to.
    pub(crate) fn go_on(&mut self) {
        self.peers.send(1, [transmit(1, 0, self.said, payload(self.said, 700))]);
        self.said += 1;
        self.peers.pump();
        for frame in self.peers.inboxes[0].drain(..) {
            if frame.head.from.0 == 1 {
                assert_eq!(frame.head.words[0], self.heard, "no good frame is missing");
                assert!(is_payload(&frame.body, self.heard, 700));
                self.heard += 1;
            } else {
                self.foreign.push(frame);
            }
        }
    }

    /// Waits until node `at` has turned away who says `bytes`, and says what it counted and how many
    /// bytes it answered.
    fn turned_away(&mut self, at: usize, bytes: &[u8]) -> (Counters, usize) {
        let before = self.peers.counters(at);
        let mut raw = T::Raw::connect(self.at[at], at as u32, 9);
        raw.say(bytes);
        until("the stranger is turned away", || {
            self.go_on();
            raw.is_closed()
        });
        (self.peers.counters(at).since(before), raw.unheeded())
    }

    fn is_stranger(&mut self, at: usize, bytes: &[u8]) {
        let (Counters { strangers, lost_connections, malformed, .. }, answered) = self.turned_away(at, bytes);
        assert_eq!((strangers, lost_connections, malformed), (1, 0, 0));
        assert_eq!(answered, 0, "it learns nothing of the run");
    }

    /// Says `bytes` after a good hello, as node 9.
    fn is_malformed(&mut self, bytes: &[u8]) {
        let all = [raw::hello(9).as_bytes(), bytes].concat();
        let (Counters { strangers, lost_connections, malformed, .. }, _) = self.turned_away(0, &all);
        assert_eq!((strangers, lost_connections, malformed), (0, 1, 1));
    }

    /// All good frames come, none was dropped, and nobody holds on to anything.
    pub(crate) fn ends_well(mut self) {
        until("all good frames come", || {
            self.peers.pump();
            self.heard += self.peers.inboxes[0].drain(..).filter(|frame| frame.head.from.0 == 1).count() as u64;
            self.heard == self.said
        });
        assert_eq!(self.peers.counters(1).dropped_frames, 0);
        self.foreign.clear();
        assert_eq!(self.peers.nodes[0].chunks_out(), 0);
    }
}

pub(crate) fn random_bytes_are_no_hello<T: Socketed>() {
    let (mut scene, mut prng) = (Scene::<T>::new(), Prng::new(11));
    for round in 0..20 {
        let len = Head::BYTES + prng.below(3000) as usize;
        let bytes: Vec<u8> = (0..len).map(|_| prng.next_u64() as u8).collect();
        scene.is_stranger(round % 2, &bytes);
    }
    scene.is_stranger(0, b"GET / HTTP/1.1\r\nHost: nobody\r\nUser-Agent: a browser that lost its way\r\n\r\n");
    scene.is_stranger(0, &[0; 64]);
    scene.is_stranger(0, &[0xff; 64]);
    scene.ends_well();
}

pub(crate) fn a_hello_must_be_of_this_run_and_version<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    let good = raw::hello(9);
    let mut wrong = Vec::new();
    for word in 0..good.words.len() {
        let mut head = good;
        head.words[word] = head.words[word].wrapping_add(2);
        wrong.push(head);
    }
    wrong.push(Head { body_len: 1, ..good });
    wrong.push(Head { kind: hello::KIND - 1, ..good });
    for head in wrong {
        scene.is_stranger(0, head.as_bytes());
    }
    scene.ends_well();
}

pub(crate) fn nobody_may_take_an_id_that_is_not_theirs<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    scene.is_stranger(0, raw::hello(0).as_bytes());
    scene.is_stranger(1, raw::hello(1).as_bytes());
    // Node 1 dials node 0, so node 0 does not dial node 1.
    scene.is_stranger(1, raw::hello(0).as_bytes());
    scene.ends_well();
}

pub(crate) fn a_dialled_node_must_answer_in_its_own_name<T: Socketed>() {
    let (clock, impostor) = (Clock::start(), listener());
    impostor.set_nonblocking(true).expect("a socket option");
    let mut node = T::join(mesh(1, None, &[address(&impostor)], clock, &Options::default())).expect("joins");
    let (mut raws, mut inbox, mut answers) = (Vec::new(), Vec::new(), 0);
    until("the impostor is turned away thrice", || {
        node.recv(clock.now() + 1_000_000, &mut inbox).expect("receives");
        for (stream, _) in std::iter::from_fn(|| impostor.accept().ok()) {
            let mut raw = RawTcp::of(stream);
            let answer = if answers % 2 == 0 { raw::hello(7) } else { Head { words: [answers; 6], ..raw::hello(0) } };
            raw.say(answer.as_bytes());
            answers += 1;
            raws.push(raw);
        }
        node.counters().strangers >= 3
    });
    assert!(inbox.is_empty());
    assert_eq!(node.counters().lost_connections, 0);
}

pub(crate) fn half_a_hello_and_then_silence_is_no_hello<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    scene.is_stranger(0, &raw::hello(9).as_bytes()[..40]);
    let before = scene.peers.counters(0).strangers;
    drop(T::Raw::connect(scene.at[0], 0, 9));
    until("who leaves without a word is counted", || {
        scene.go_on();
        scene.peers.counters(0).strangers == before + 1
    });
    scene.ends_well();
}

pub(crate) fn many_silent_connections_do_not_keep_peers_out<T: Socketed>() {
    const SILENT: u64 = 300;
    let mut scene = Scene::<T>::new();
    let (mut silent, start) = (Vec::new(), scene.peers.clock.now());
    for _ in 0..SILENT {
        silent.push(T::Raw::connect(scene.at[0], 0, 9));
        scene.go_on();
    }
    let connected = scene.peers.clock.now();
    until("the oldest are turned away", || {
        scene.go_on();
        scene.peers.counters(0).strangers >= SILENT - MOST_SILENT as u64
    });
    // On a machine so slow that they were due anyway, nothing can be said about that.
    let (to_connect, until_away) = [connected, scene.peers.clock.now()].map(|now| now.saturating_since(start)).into();
    assert!(until_away < HELLO_PATIENCE_NS || to_connect > HELLO_PATIENCE_NS / 4, "long before their time is up");
    let mut peer = T::Raw::connect(scene.at[0], 0, 9);
    peer.say(raw::hello(9).as_bytes());
    until("a peer is answered all the same", || {
        scene.go_on();
        peer.head().is_some()
    });
    until("the rest are turned away in time", || {
        scene.go_on();
        scene.peers.counters(0).strangers == SILENT
    });
    // Over QUIC, whoever has not proven its address is not told much (RFC 9000, section 8.1).
    assert!(T::LEAST_CHUNK_BYTES > 1 || silent.iter_mut().all(T::Raw::is_closed));
    scene.ends_well();
}

pub(crate) fn a_length_beyond_the_limit_is_malformed<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    for body_len in [u32::MAX, (1 << 20) + 1] {
        scene.is_malformed(raw::head(9, body_len).as_bytes());
    }
    let good_then_bad = [raw::head(9, 0), raw::head(9, u32::MAX)];
    scene.is_malformed(good_then_bad.as_bytes());
    assert_eq!(scene.foreign.len(), 1, "what came before is kept");
    scene.ends_well();
}

pub(crate) fn a_second_hello_is_malformed<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    scene.is_malformed(raw::hello(9).as_bytes());
    scene.is_malformed([raw::head(9, 0), raw::head(9, 0), raw::hello(9), raw::head(9, 0)].as_bytes());
    assert_eq!(scene.foreign.len(), 2, "what came before is kept, what came after is not");
    scene.ends_well();
}

pub(crate) fn a_frame_in_another_s_name_is_malformed<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    for name in [0, 1, 10, u32::MAX] {
        scene.is_malformed(raw::head(name, 0).as_bytes());
    }
    assert!(scene.foreign.is_empty());
    scene.ends_well();
}

/// Good hellos, and then anything, cut anywhere.
pub(crate) fn random_frames_disturb_nobody<T: Socketed>() {
    let (mut scene, mut prng) = (Scene::<T>::new(), Prng::new(5));
    for id in 0..100 {
        let mut raw = T::Raw::connect(scene.at[0], 0, 2 + id % 20);
        raw.say(raw::hello(2 + id % 20).as_bytes());
        for _ in 0..prng.below(20) {
            let head = raw::head(2 + id % 20, prng.below(2000) as u32);
            let mut bytes = [head.as_bytes(), &vec![7; head.body_len as usize]].concat();
            if prng.below(4) == 0 {
                let at = prng.below(64) as usize;
                bytes[at] ^= 1 << prng.below(8);
            }
            raw.say(&bytes[..bytes.len() - prng.below(2) as usize * prng.below(bytes.len() as u64) as usize]);
            scene.go_on();
        }
        scene.foreign.clear();
    }
    until("the last is gone", || {
        scene.go_on();
        scene.foreign.clear();
        let counters = scene.peers.counters(0);
        counters.lost_connections + counters.strangers >= 100
    });
    scene.ends_well();
}
