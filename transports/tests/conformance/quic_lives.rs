//! A node that died without a word, and what its next life says to those who have not noticed.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quorumbench_protocols::Payload;
use quorumbench_transports::quic::QuicOptions;
use quorumbench_transports::{Clock, Options};

use crate::harness::{Cluster, Socketed, address, listener, mesh, transmit, until};
use crate::relay::{Fate, Relay, Way};

/// Nobody's silence ends a connection while a test runs.
fn patient() -> Options {
    let quic = QuicOptions { idle_timeout: Duration::from_secs(3600), ..QuicOptions::default() };
    Options { quic, ..Options::default() }
}

/// Node 0's next life, and where it is; it has a new key, too.
fn node_0<T: Socketed>(clock: Clock) -> (T, SocketAddr) {
    let zero = listener();
    let at = address(&zero);
    (T::join(mesh(0, Some(zero), &[], clock, &patient())).expect("joins"), at)
}

/// Node 0, node 1, which has dialled it, and a datagram of their connection.
fn pair<T: Socketed>() -> (Cluster<T>, Relay, Vec<u8>) {
    let clock = Clock::start();
    let (zero, at) = node_0::<T>(clock);
    let mut relay = Relay::new(at);
    let one = T::join(mesh(1, None, &[relay.at()], clock, &patient())).expect("joins");
    let mut cluster = Cluster::of_with(vec![zero, one], clock, || relay.pump(|_, _| Fate::Pass));
    let mut sent = Vec::new();
    cluster.send(1, [transmit(1, 0, 1, Payload::EMPTY)]);
    until("node 0 has the frame", || {
        relay.pump(|way, datagram| {
            if way == Way::There {
                sent = datagram.to_vec();
            }
            Fate::Pass
        });
        cluster.pump();
        !cluster.inboxes[0].is_empty()
    });
    assert_eq!(sent[0] & 0x80, 0, "of a connection that has come about");
    (cluster, relay, sent)
}

/// Node 1 learns of it with the first datagram that it sends, and not when it has heard nothing for an hour.
pub(crate) fn who_died_without_a_word_is_dialled_again_at_once<T: Socketed>() {
    let (mut cluster, mut relay, _) = pair::<T>();
    let (zero, at) = node_0::<T>(cluster.clock);
    // Its socket stays open, so that nobody else is given its port; nothing goes there any more.
    std::mem::forget(std::mem::replace(&mut cluster.nodes[0], zero));
    relay.redirect(at);
    cluster.meet_with(|| relay.pump(|_, _| Fate::Pass));
    let lost = [0, 1].map(|at| cluster.nodes[at].counters().lost_connections);
    assert_eq!(lost, [0, 1]);
}

/// A path that cannot be a peer's says that node 0 knows nothing: as long as it does, nobody believes it.
pub(crate) fn a_reset_of_another_s_making_is_not_believed<T: Socketed>() {
    let (mut cluster, mut relay, sent) = pair::<T>();
    for len in [sent.len() - 1, 100, 22] {
        cluster.send(1, [transmit(1, 0, 2, Payload::EMPTY)]);
        let forged: Vec<u8> = [0x41].into_iter().chain((1..len).map(|at| at as u8)).collect();
        relay.pump(|way, _| if way == Way::There { Fate::Pass } else { Fate::Replaced(vec![forged.clone()]) });
        cluster.pump();
        relay.pump(|_, datagram| Fate::Replaced(vec![forged.clone(), datagram.to_vec()]));
        cluster.pump();
    }
    cluster.meet_with(|| relay.pump(|_, _| Fate::Pass));
    assert_eq!(cluster.all_counters().lost_connections, 0);
}

/// What comes to who knows nothing of it is answered shorter than it is, not every time, and if it is as short as an
/// answer, not at all. So two that know nothing of each other soon fall silent.
pub(crate) fn resets_are_few_and_die_out<T: Socketed>() {
    const COPIES: usize = 2000;
    let (cluster, _, sent) = pair::<T>();
    let (mut zero, at) = node_0::<T>(cluster.clock);
    let mut look = || zero.recv(cluster.clock.now() + 1_000_000, &mut Vec::new()).expect("receives");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_nonblocking(true).expect("an option");
    let mut say = |datagrams: &[&[u8]]| {
        for datagrams in datagrams.chunks(50) {
            datagrams.iter().for_each(|datagram| drop(socket.send_to(datagram, at)));
            look();
        }
        look();
        let mut room = vec![0; 1 << 16];
        std::iter::from_fn(|| socket.recv(&mut room).ok().map(|len| room[..len].to_vec())).collect::<Vec<_>>()
    };
    let start = Instant::now();
    let answers = say(&vec![&sent[..]; COPIES]);
    let most = 2 + start.elapsed().as_millis() as usize;
    assert!((1..=most).contains(&answers.len()), "{} in {most} ms", answers.len());
    assert!(answers.iter().all(|answer| answer.len() < sent.len()), "each is shorter");
    std::thread::sleep(Duration::from_millis(5));
    let answers: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
    assert!(say(&answers).is_empty(), "what is answered is no answer");
    std::thread::sleep(Duration::from_millis(5));
    assert!(say(&[&sent[..21]]).is_empty(), "too short");
    assert_eq!(say(&[&sent]).len(), 1, "it would have answered");
}
