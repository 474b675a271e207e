//! What can be chosen about QUIC, and how quinn is told.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::Options;

/// The knobs of `quic`.
///
/// Figures are CPU of both ends for a frame of 64 B and one of 1 KiB more, in batches of 128 over loopback, on two
/// cores of an AMD EPYC that others used too, the least of several rounds in turn: only large differences mean
/// something. Datagrams of 16,300 B: 142 and 1077 ns, where `uring` took 127 and 420.
#[derive(Clone, Debug)]
pub struct QuicOptions {
    /// How packets are encrypted.
    pub cipher: Cipher,
    /// The largest datagram that is tried, in bytes, 1200 to 65,507. What the path carries is found out (RFC 8899), from
    /// 1200 upwards, in few steps, of which each is as large as what it tries: a path that carries far less is used with
    /// 1200. 1452 (an Ethernet): 200 and 2100 ns; 6500: 151 and 1451; 16,300: 142 and 1077; 32,700: 132 and 939;
    /// 65,000: 129 and 936, but every connection of a large cluster begins with such steps.
    pub mtu: u16,
    /// How many bytes may be under way to one peer, unacknowledged, and how many of a peer's may wait
    /// here to be read; at most a quarter of what all chunks hold. A link carries no more than this in
    /// a round trip: 4 MiB are 10 Gb/s over 3 ms. A smaller one stays in a core's cache, which saves little: of
    /// datagrams of 16,300 B with 1 MiB, 127 and 1073 ns.
    pub window: usize,
    /// How the rate is found that the path carries. Over loopback, where nothing is lost, CUBIC and `NewReno`
    /// do the same, and BBR costs a little.
    pub congestion: Congestion,
    /// After how many packets a peer is to acknowledge at once, 1 or more; it does so after 25 ms in
    /// any case, and with whatever it sends. 30, of datagrams of 16,300 B: 141 and 1228 ns.
    pub ack_every: u32,
    /// Which frames share a stream.
    pub streams: Streams,
    /// Whether frames go as datagrams (RFC 9221), as gossip may: one that is lost is lost, and none
    /// waits for another. A frame that does not fit the path's largest datagram goes by its stream, as
    /// all do to a peer that takes no datagrams.
    pub datagrams: bool,
    /// Whether the kernel is given several datagrams at once where it takes them (GSO). To a queue of its own on their way
    /// they are one packet, so not where they are to be lost or delayed one by one there.
    pub gso: bool,
    /// After which silence a connection is lost, at least 10 ms. A quarter of it is never silent.
    pub idle_timeout: Duration,
}

/// A cipher of TLS 1.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128-GCM: the fastest where the processor has instructions for it. (A packet of 1452 B is sealed
    /// in 282 ns and one of 16 KiB in 1680, at best.)
    #[default]
    Aes128Gcm,
    /// ChaCha20-Poly1305: for processors that have none. (765 and 6157 ns.)
    ChaCha20,
}

/// Who decides how much may be under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// `NewReno` (RFC 9002).
    NewReno,
    /// BBR, which quinn calls experimental.
    Bbr,
}

/// Which frames to a peer share a stream, and with it their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// All of them.
    #[default]
    Peer,
    /// Those of a group ([`Head::group`](quorumbench_protocols::Head::group)): what one has lost holds up no
    /// other. (Of more than 1024 groups some share a stream.)
    Group,
}

impl Streams {
    /// How many of a peer's there may be: what is not whole of a frame is kept for each.
    const fn most(self) -> u16 {
        match self {
            Self::Peer => 1,
            Self::Group => super::streams::MOST_STREAMS,
        }
    }
}

impl Congestion {
    /// As quinn has it, with so many bytes at first.
    fn controller(self, initial_window: u64) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Cubic => Arc::new(CubicConfig::default().initial_window(initial_window).clone()),
            Self::NewReno => Arc::new(NewRenoConfig::default().initial_window(initial_window).clone()),
            Self::Bbr => Arc::new(BbrConfig::default().initial_window(initial_window).clone()),
        }
    }
}

impl Default for QuicOptions {
    fn default() -> Self {
        Self {
            cipher: Cipher::default(),
            mtu: 32_700,
            window: 4 << 20,
            congestion: Congestion::default(),
            ack_every: 10,
            streams: Streams::default(),
            datagrams: false,
            gso: true,
            idle_timeout: Duration::from_secs(10),
        }
    }
}

/// The smallest datagram that every path of QUIC carries (RFC 9000, section 14).
pub(super) const LEAST_MTU: u16 = 1200;
/// The most bytes that fit a UDP datagram over IPv4.
pub(super) const MOST_MTU: u16 = 65_507;

/// What may be under way before anything is acknowledged, in datagrams of the largest size. It is more than the
/// ten of RFC 9002, section 7.2: quinn sends nothing unless a whole datagram more is allowed, and its pacer,
/// emptied by each step towards larger datagrams, takes `10 / this` round trips to allow that again. With two,
/// small frames stood still for 200 ms after a connection had come about.
const INITIAL_DATAGRAMS: u64 = 64;
/// The same in bytes, where datagrams are large: thirty-two of the default.
const INITIAL_BYTES: u64 = 1 << 20;

/// How long what is smaller than a window waits to be acknowledged.
const MOST_ACK_DELAY: Duration = Duration::from_millis(25);

/// How `options` have quinn move bytes.
pub(super) fn transport(options: &Options) -> TransportConfig {
    let QuicOptions { mtu, window, congestion, ack_every, datagrams, idle_timeout, .. } = options.quic;
    let window = window.min(super::port::chunk_bytes(options).saturating_mul(options.chunks) / 4).max(1 << 16);
    let window = VarInt::try_from(window as u64).unwrap_or(VarInt::MAX);
    let mtu = mtu.clamp(LEAST_MTU, MOST_MTU);
    let congestion = congestion.controller(INITIAL_BYTES.min(INITIAL_DATAGRAMS * u64::from(mtu)));
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(ack_every.saturating_sub(1).into()).max_ack_delay(Some(MOST_ACK_DELAY));
    let mut discovery = MtuDiscoveryConfig::default();
    // Every byte of a probe's padding is looked at, at both ends of every connection: halfway, and then all.
    discovery.upper_bound(mtu).minimum_change(((mtu - LEAST_MTU) / 3).max(1));
    let mut transport = TransportConfig::default();
    transport
        // Each end opens its own.
        .max_concurrent_uni_streams(options.quic.streams.most().into())
        .max_concurrent_bidi_streams(0u8.into())
        .datagram_receive_buffer_size(datagrams.then(|| window.into_inner() as usize))
        .datagram_send_buffer_size(options.link_bytes)
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(window.into_inner())
        .congestion_controller_factory(congestion)
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(Some(discovery))
        // A peer is near, or else the first answer says so: a lost hello must not cost a second.
        .initial_rtt(Duration::from_millis(20))
        .keep_alive_interval(Some(idle_timeout / 4))
        .max_idle_timeout(IdleTimeout::try_from(idle_timeout).ok())
        // Nobody on the way is to learn the round-trip time.
        .allow_spin(false);
    transport
}
