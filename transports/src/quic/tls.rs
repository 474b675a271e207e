//! TLS 1.3, with both ends authenticated.

use std::io;
use std::sync::Arc;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, ServerConfig};
use quorumbench_protocols::NodeId;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::quic::Suite;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, SupportedCipherSuite, Tls13CipherSuite};

use super::credentials::{self, Credentials};
use super::options::Cipher;
use crate::{Options, hello};

/// How a node dials, and how it answers.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) client: ClientConfig,
    pub(super) server: Arc<ServerConfig>,
}

/// What both ends speak: the wire version.
fn protocol() -> Vec<u8> {
    format!("quorumbench/{}", hello::VERSION).into_bytes()
}

impl Tls {
    /// Both for the node that `credentials` are of.
    ///
    /// # Errors
    /// If they are no credentials.
    pub(super) fn new(credentials: &Credentials, options: &Options) -> io::Result<Self> {
        Self::speaking(vec![protocol()], credentials, options)
    }

    fn speaking(protocols: Vec<Vec<u8>>, credentials: &Credentials, options: &Options) -> io::Result<Self> {
        let provider = Arc::new(provider(options.quic.cipher));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(credentials.authority.clone())).map_err(invalid)?;
        let roots = Arc::new(roots);
        let chain = vec![CertificateDer::from(credentials.certificate.clone())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(credentials.key.clone()));

        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().map_err(invalid)?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(invalid)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(invalid)?;
        server.alpn_protocols.clone_from(&protocols);
        // No session goes on: each connection proves anew who it is, and nothing can be replayed.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;

        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().map_err(invalid)?;
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(invalid)?
            .with_webpki_verifier(servers)
            .with_client_auth_cert(chain, key)
            .map_err(invalid)?;
        client.alpn_protocols = protocols;
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;

        let transport = Arc::new(super::options::transport(options));
        let first = suite(cipher_suite::TLS13_AES_128_GCM_SHA256)?;
        let server = QuicServerConfig::with_initial(Arc::new(server), first).map_err(invalid)?;
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(transport.clone()).migration(true).incoming_buffer_size(FIRST_BYTES);
        let client = QuicClientConfig::with_initial(Arc::new(client), first).map_err(invalid)?;
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport);
        Ok(Self { client, server: Arc::new(server) })
    }
}

/// What may come of a connection before this end has looked at its first packet.
const FIRST_BYTES: u64 = 64 << 10;

/// Whether the certificate at the other end of a connection is node `id`'s.
pub(super) fn is(id: NodeId, identity: Option<Box<dyn std::any::Any>>) -> bool {
    let chain = identity.and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let (Some(chain), Ok(name)) = (chain, ServerName::try_from(credentials::name(id))) else { return false };
    let leaf = chain.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    leaf.is_some_and(|leaf| verify_server_name(&leaf, &name).is_ok())
}

/// One cipher, so that there is nothing to agree on.
///
/// It is *ring*'s. Measured against aws-lc-rs (AES-128-GCM, the best of 40 rounds on an AMD EPYC with VAES),
/// to seal 128 B takes 109 against 130 ns, 1452 B 282 against 291, 16 KiB 1680 against 1438; `ChaCha20` takes
/// the same. Most packets of a protocol are short, and aws-lc-rs takes minutes to build.
fn provider(cipher: Cipher) -> CryptoProvider {
    let suite = match cipher {
        Cipher::Aes128Gcm => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Cipher::ChaCha20 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    CryptoProvider { cipher_suites: vec![suite], ..default_provider() }
}

/// As QUIC has it.
fn suite(suite: SupportedCipherSuite) -> io::Result<Suite> {
    suite.tls13().and_then(Tls13CipherSuite::quic_suite).ok_or_else(|| invalid("the cipher is not for QUIC"))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
