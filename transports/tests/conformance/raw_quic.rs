//! A bare QUIC connection that says what a transport never would, with whatever credentials.

use std::io::IoSliceMut;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, IdleTimeout,
    StreamId, TransportConfig, VarInt,
};
use quinn_udp::{RecvMeta, UdpSocketState};
use quorumbench_protocols::{Head, NodeId};
use quorumbench_transports::quic::Credentials;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zerocopy::IntoBytes;

use crate::harness::{address, authority, listener};
use crate::raw::Raw;

/// The wire version that nodes speak.
pub(crate) const ALPN: &[u8] = b"quorumbench/1";
/// A datagram, and many that came as one.
const MOST_BYTES: usize = 1 << 16;

/// The dialling end of a connection.
pub(crate) struct RawQuic {
    socket: UdpSocket,
    _held: TcpListener,
    state: UdpSocketState,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    connected: bool,
    closed: bool,
    to_say: BytesMut,
    to: Option<StreamId>,
    from: Option<StreamId>,
    /// What was said to it and is not looked at.
    heard: BytesMut,
    unheeded: usize,
}

impl RawQuic {
    /// Dials `to`, which is to be node `peer`, with `credentials` if there are any.
    pub(crate) fn dial(to: SocketAddr, peer: u32, credentials: Option<Credentials>, alpn: &[u8]) -> Self {
        // With its number in TCP, which others go by when they look for a free port.
        let held = listener();
        let socket = UdpSocket::bind(address(&held)).expect("a free port");
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let config = config(credentials, alpn);
        let (handle, connection) =
            endpoint.connect(Instant::now(), config, to, &format!("node-{peer}.quorumbench")).expect("a good address");
        let state = UdpSocketState::new((&socket).into()).expect("a UDP socket");
        let mut raw = Self {
            socket,
            _held: held,
            state,
            endpoint,
            handle,
            connection,
            connected: false,
            closed: false,
            to_say: BytesMut::new(),
            to: None,
            from: None,
            heard: BytesMut::new(),
            unheeded: 0,
        };
        raw.pump();
        raw
    }

    /// Goes on as far as possible. What is said to it is read if `listening`.
    fn turn(&mut self, listening: bool) {
        let now = Instant::now();
        while let Some(batch) = receive(&self.socket, &self.state) {
            let (from, mut bytes, each) = batch;
            while !bytes.is_empty() {
                let datagram = bytes.split_to(each.min(bytes.len()));
                if let Some(DatagramEvent::ConnectionEvent(_, event)) =
                    self.endpoint.handle(now, from, None, None, datagram, &mut Vec::new())
                {
                    self.connection.handle_event(event);
                }
            }
        }
        if self.connection.poll_timeout().is_some_and(|due| due <= now) {
            self.connection.handle_timeout(now);
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { .. } => self.closed = true,
                _ => {}
            }
        }
        if listening {
            self.listen();
        }
        self.speak();
        self.transmit(now);
    }

    fn pump(&mut self) {
        self.turn(true);
    }

    fn speak(&mut self) {
        if !self.connected || self.to_say.is_empty() {
            return;
        }
        self.to = self.to.or_else(|| self.connection.streams().open(Dir::Uni));
        let Some(to) = self.to else { return };
        let written = self.connection.send_stream(to).write(&self.to_say).unwrap_or(0);
        let _ = self.to_say.split_to(written);
    }

    fn listen(&mut self) {
        self.from = self.from.or_else(|| self.connection.streams().accept(Dir::Uni));
        let Some(from) = self.from else { return };
        let mut stream = self.connection.recv_stream(from);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            self.heard.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
    }

    fn transmit(&mut self, now: Instant) {
        let mut bytes = Vec::new();
        while let Some(transmit) = self.connection.poll_transmit(now, 1, &mut bytes) {
            let _ = self.socket.send_to(&bytes[..transmit.size], transmit.destination);
            bytes.clear();
        }
    }

    /// What was said to it.
    pub(crate) fn hear(&mut self) -> BytesMut {
        self.pump();
        self.heard.split()
    }

    /// Goes on without reading what is said to it.
    pub(crate) fn go_on_deaf(&mut self) {
        self.turn(false);
    }
}

impl Raw for RawQuic {
    fn connect(to: SocketAddr, peer: u32, id: u32) -> Self {
        let credentials = authority().admit(NodeId(id)).expect("there is randomness");
        Self::dial(to, peer, Some(credentials), ALPN)
    }

    fn say(&mut self, bytes: &[u8]) {
        self.to_say.extend_from_slice(bytes);
        self.pump();
    }

    fn is_closed(&mut self) -> bool {
        self.pump();
        self.unheeded += self.heard.split().len();
        self.closed
    }

    fn unheeded(&self) -> usize {
        self.unheeded
    }

    fn head(&mut self) -> Option<Head> {
        self.pump();
        (self.heard.len() >= Head::BYTES).then(|| {
            let mut head = Head::default();
            head.as_mut_bytes().copy_from_slice(&self.heard.split_to(Head::BYTES));
            head
        })
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for RawQuic {
    fn drop(&mut self) {
        self.connection.close(Instant::now(), VarInt::from_u32(0), Bytes::new());
        self.transmit(Instant::now());
    }
}

fn receive(socket: &UdpSocket, state: &UdpSocketState) -> Option<(SocketAddr, BytesMut, usize)> {
    let (mut room, mut meta) = (vec![0; MOST_BYTES], [RecvMeta::default()]);
    state.recv(socket.into(), &mut [IoSliceMut::new(&mut room)], &mut meta).ok()?;
    Some((meta[0].addr, BytesMut::from(&room[..meta[0].len]), meta[0].stride.max(1)))
}

fn config(credentials: Option<Credentials>, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let trusted = authority().admit(NodeId(0)).expect("there is randomness").authority;
    roots.add(CertificateDer::from(trusted)).expect("an authority");
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut tls = match credentials {
        Some(Credentials { certificate, key, .. }) => builder
            .with_client_auth_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key).into())
            .expect("a good key"),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(IdleTimeout::try_from(Duration::from_secs(10)).ok());
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a cipher for QUIC")));
    config.transport_config(Arc::new(transport));
    config
}
