//! What only QUIC has: certificates, windows of its own, and silence that means something.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use quorumbench_protocols::{Head, NodeId, Payload, Prng};
use quorumbench_transports::quic::{Authority, Cipher, Congestion, Credentials, QuicOptions};
use quorumbench_transports::{Clock, Counters, Options};
use zerocopy::IntoBytes;

use crate::harness::{
    Cluster, OverSockets, Socketed, address, authority, is_payload, listener, mesh, payload, transmit, until,
};
use crate::hostile::Scene;
use crate::raw::{self, Raw};
use crate::raw_quic::{ALPN, RawQuic};

const DAY: Duration = Duration::from_secs(86_400);
/// A time-out that a test can wait for.
const SILENCE: Duration = Duration::from_millis(300);

fn given(credentials: &Authority, id: u32) -> Credentials {
    credentials.admit(NodeId(id)).expect("there is randomness")
}

/// Waits until node 0 has turned `stranger` away, whatever it says.
fn is_turned_away<T: Socketed>(scene: &mut Scene<T>, mut stranger: RawQuic) {
    let before = scene.peers.counters(0).strangers;
    stranger.say(raw::hello(9).as_bytes());
    until("the stranger is turned away", || {
        scene.go_on();
        stranger.is_closed()
    });
    let Counters { strangers, lost_connections, malformed, .. } = scene.peers.counters(0);
    assert_eq!((strangers - before, lost_connections, malformed), (1, 0, 0));
    assert_eq!(stranger.unheeded(), 0, "it learns nothing of the run");
}

pub(crate) fn who_has_no_certificate_of_the_run_is_a_stranger<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    let foreign = given(&Authority::new(1).expect("there is randomness"), 9);
    let expired = authority().admit_until(NodeId(9), SystemTime::now() - DAY).expect("there is randomness");
    // Signed by whom nobody knows, under a name that they trust.
    let borrowed = Credentials { authority: given(authority(), 9).authority, ..foreign.clone() };
    for credentials in [None, Some(foreign), Some(expired), Some(borrowed)] {
        let stranger = RawQuic::dial(scene.at[0], 0, credentials, ALPN);
        is_turned_away(&mut scene, stranger);
    }
    scene.ends_well();
}

pub(crate) fn who_speaks_another_version_is_a_stranger<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    for alpn in [&b"quorumbench/0"[..], b"h3"] {
        let stranger = RawQuic::dial(scene.at[0], 0, Some(given(authority(), 9)), alpn);
        is_turned_away(&mut scene, stranger);
    }
    scene.ends_well();
}

/// Node 8 belongs to the run, and says that it is node 9.
pub(crate) fn a_certificate_is_good_for_one_name<T: Socketed>() {
    let mut scene = Scene::<T>::new();
    let stranger = RawQuic::dial(scene.at[0], 0, Some(given(authority(), 8)), ALPN);
    is_turned_away(&mut scene, stranger);
    scene.ends_well();
}

/// Node 1 dials node 0, where another run's node 0 answers, and then this run's node 7.
pub(crate) fn a_dialled_stranger_is_one_too<T: Socketed>() {
    for credentials in [given(&Authority::new(1).expect("there is randomness"), 0), given(authority(), 7)] {
        let (clock, options, socket) = (Clock::start(), Options::default(), listener());
        let at = address(&socket);
        let mut impostor = mesh(0, Some(socket), &[], clock, &options);
        impostor.credentials = Some(credentials);
        let mut nodes = [impostor, mesh(1, None, &[at], clock, &options)].map(|mesh| T::join(mesh).expect("joins"));
        let mut inbox = Vec::new();
        until("the impostor is turned away twice", || {
            nodes.iter_mut().for_each(|node| node.recv(clock.now() + 100_000, &mut inbox).expect("receives"));
            nodes[1].counters().strangers >= 2
        });
        assert!(inbox.is_empty());
        assert_eq!(nodes[1].counters().lost_connections, 0, "none was established");
    }
}

/// Nodes 0 and 1.
fn pair<T: Socketed>(options: &Options) -> (Cluster<T>, SocketAddr) {
    let (clock, zero) = (Clock::start(), listener());
    let at = address(&zero);
    let zero = T::join(mesh(0, Some(zero), &[], clock, options)).expect("joins");
    let one = T::join(mesh(1, None, &[at], clock, options)).expect("joins");
    (Cluster::of(vec![zero, one], clock), at)
}

pub(crate) fn impatient() -> Options {
    Options { quic: QuicOptions { idle_timeout: SILENCE, ..QuicOptions::default() }, ..Options::default() }
}

/// It went without a word, and is back before anybody missed it.
pub(crate) fn a_peer_that_comes_back_with_new_keys_is_known_again<T: Socketed>() {
    let (mut cluster, at) = pair::<T>(&Options::default());
    let clock = cluster.clock;
    std::mem::forget(cluster.nodes.pop());
    cluster.nodes.push(T::join(mesh(1, None, &[at], clock, &Options::default())).expect("joins"));
    cluster.meet();
    assert_eq!(cluster.nodes[0].counters().lost_connections, 1, "the newer has replaced the older");
    cluster.send(0, (0..10).map(|number| transmit(0, 1, number, payload(number, 3000))));
    cluster.pump_until(1, 10);
}

pub(crate) fn silence_is_the_end_of_a_connection<T: Socketed>() {
    let (mut cluster, _) = pair::<T>(&impatient());
    let start = Instant::now();
    until("the silent peer is lost", || {
        let deadline = cluster.clock.now() + 1_000_000;
        cluster.nodes[0].recv(deadline, &mut cluster.inboxes[0]).expect("receives");
        cluster.counters(0).lost_connections == 1
    });
    assert!(start.elapsed() > SILENCE / 2, "after {:?}", start.elapsed());
    cluster.meet();
    cluster.send(1, [transmit(1, 0, 1, Payload::EMPTY)]);
    cluster.pump_until(0, 1);
}

pub(crate) fn a_quiet_connection_is_kept_alive<T: Socketed>() {
    let (mut cluster, _) = pair::<T>(&impatient());
    let start = Instant::now();
    while start.elapsed() < 4 * SILENCE {
        for at in 0..2 {
            let deadline = cluster.clock.now() + 1_000_000;
            cluster.nodes[at].recv(deadline, &mut cluster.inboxes[at]).expect("receives");
        }
    }
    assert_eq!(cluster.all_counters().lost_connections, 0);
}

/// Bytes that are nothing, that begin like a packet, and a packet of a version that nobody speaks.
pub(crate) fn garbage_disturbs_nobody<T: Socketed>() {
    let (mut scene, mut prng) = (Scene::<T>::new(), Prng::new(23));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    for round in 0..3000 {
        let len = prng.below(if round % 10 == 0 { 9000 } else { 1500 }) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| prng.next_u64() as u8).collect();
        let version = [&[][..], &[0xc0, 0, 0, 0, 1, 8], &[0xe0, 0x1a, 0x2a, 0x3a, 0x4a, 8], &[0x40]][round % 4];
        let begun = version.len().min(len);
        bytes[..begun].copy_from_slice(&version[..begun]);
        let _ = socket.send_to(&bytes, scene.at[round % 2]);
        if round % 8 == 0 {
            scene.go_on();
        }
    }
    assert_eq!(scene.peers.all_counters().lost_connections, 0);
    scene.ends_well();
}

/// Node 9 does not read what node 0 sends it: no more is under way than its window, no more waits than
/// the link may hold, node 1 is served all the while, and node 9 gets whole frames when it reads.
pub(crate) fn a_full_window_holds_up_its_sender_alone<T: Socketed>() {
    let options = Options { link_bytes: 1 << 20, ..Options::default() };
    let (mut cluster, at) = pair::<T>(&options);
    let mut deaf = RawQuic::connect(at, 0, 9);
    deaf.say(raw::hello(9).as_bytes());
    until("the hello is answered", || {
        cluster.pump();
        deaf.head().is_some()
    });
    let (body, mut sent) = (payload(0, 10_000), 0);
    until("what does not fit is dropped", || {
        cluster.send(0, (sent..sent + 20).map(|number| transmit(0, 9, number, body.clone())));
        sent += 20;
        deaf.go_on_deaf();
        cluster.pump();
        cluster.counters(0).dropped_frames > 0
    });
    cluster.send(0, [transmit(0, 1, 5, body.clone())]);
    cluster.pump_until(1, 1);
    assert!(is_payload(&cluster.inboxes[1][0].body, 0, 10_000));
    let came = cluster.counters(0).sent_frames - 1;
    assert!(came < sent && came * 10_064 < 16 << 20, "{came} frames under way");

    let (mut heard, mut bytes) = (0, Vec::new());
    until("all that was not dropped comes", || {
        cluster.pump();
        bytes.extend(deaf.hear());
        while bytes.len() >= Head::BYTES + 10_000 {
            let rest = bytes.split_off(Head::BYTES + 10_000);
            assert!(is_payload(&bytes::Bytes::copy_from_slice(&bytes[Head::BYTES..]).into(), 0, 10_000));
            bytes = rest;
            heard += 1;
        }
        heard == came
    });
    assert_eq!(cluster.counters(0).lost_connections, 0);
}

/// As soon as a datagram holds the batch, its frames follow each other where they were received.
pub(crate) fn payloads_are_slices_of_what_was_received<T: Socketed>() {
    const COUNT: u64 = 20;
    const LEN: usize = 600;
    let mut cluster = Cluster::new::<OverSockets<T>>(2, &Options::default());
    until("a batch comes in one piece", || {
        let before = [0, 1].map(|at| cluster.counters(at).copied_bytes);
        cluster.inboxes[1].clear();
        cluster.send(0, (0..COUNT).map(|number| transmit(0, 1, number, payload(number, LEN))));
        cluster.pump_until(1, COUNT as usize);
        let copied = [0, 1].map(|at| cluster.counters(at).copied_bytes - before[at]);
        assert_eq!(copied, [2 * COUNT * LEN as u64, 0], "next to its head, and into a packet");
        let start = |body: &Payload| body.pieces()[0].as_ptr() as usize;
        let starts: Vec<usize> = cluster.inboxes[1].iter().map(|frame| start(&frame.body)).collect();
        starts.windows(2).all(|pair| pair[1] == pair[0] + Head::BYTES + LEN)
    });
}

pub(crate) fn every_cipher_and_congestion_control_carries_frames<T: Socketed>() {
    for cipher in [Cipher::Aes128Gcm, Cipher::ChaCha20] {
        for congestion in [Congestion::Cubic, Congestion::NewReno, Congestion::Bbr] {
            for (mtu, ack_every) in [(1200, 1), (1452, 10), (65_507, 1000)] {
                let quic = QuicOptions { cipher, congestion, mtu, ack_every, ..QuicOptions::default() };
                let mut cluster = Cluster::new::<OverSockets<T>>(2, &Options { quic, ..Options::default() });
                cluster.send(0, (0..100).map(|number| transmit(0, 1, number, payload(number, 5000))));
                cluster.pump_until(1, 100);
                assert!((0..).zip(&cluster.inboxes[1]).all(|(number, frame)| is_payload(&frame.body, number, 5000)));
            }
        }
    }
}

pub(crate) fn a_node_without_credentials_is_an_error<T: Socketed>() {
    let mut mesh = mesh(0, Some(listener()), &[], Clock::start(), &Options::default());
    mesh.credentials = None;
    let Err(error) = T::join(mesh) else { panic!("it joined") };
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("credentials"), "{error}");
}
