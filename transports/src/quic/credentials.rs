//! Who may join: an authority that is made for a run, and the proof that it gives each node.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use quorumbench_protocols::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use ring::hmac;
use ring::rand::SystemRandom;

/// The one that a run's nodes trust. Whoever starts the run makes it, gives each node its
/// [`Credentials`], and drops it: with its key gone, nobody else can join.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    secret: hmac::Key,
    certificate: Vec<u8>,
}

/// What a node proves with that it belongs to a run, and that it is who it says. Byte strings, so that they can
/// be handed to a process; all but the last in DER (ITU-T X.690).
#[derive(Clone)]
pub struct Credentials {
    /// The node's X.509 certificate: its name is [`name`] of its id.
    pub certificate: Vec<u8>,
    /// The certificate's private key, in PKCS #8. Who has it is the node.
    pub key: Vec<u8>,
    /// The certificate of the authority that all certificates of the run are signed by.
    pub authority: Vec<u8>,
    /// What the node, however often it comes back, shares with nobody: what it says with it of the connections of its
    /// earlier lives is believed.
    pub secret: Vec<u8>,
}

/// How long a run may last that nobody said the end of.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How far the clocks of two machines may be apart.
const SKEW: Duration = Duration::from_secs(86_400);

/// The name that stands in node `id`'s certificate.
pub fn name(id: NodeId) -> String {
    format!("node-{}.quorumbench", id.0)
}

impl Authority {
    /// Makes the authority of run `run`, with a key of its own.
    ///
    /// # Errors
    /// The machine's: it has no randomness to give.
    pub fn new(run: u64) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, format!("quorumbench run {run:016x}"));
        (params.not_before, params.not_after) = lifetime(SystemTime::now() + LIFETIME);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?.der().to_vec();
        let secret = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let secret = secret.map_err(|_| io::Error::other("no randomness"))?;
        Ok(Self { issuer: Issuer::new(params, key), secret, certificate })
    }

    /// Proof that its holder is node `id` of the run, for a month. Each call makes a new key, and what
    /// was given before stays good; the secret is the same each time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn admit(&self, id: NodeId) -> io::Result<Credentials> {
        self.admit_until(id, SystemTime::now() + LIFETIME)
    }

    /// The same, until `end`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn admit_until(&self, id: NodeId, end: SystemTime) -> io::Result<Credentials> {
        let mut params = CertificateParams::new([name(id)]).map_err(io::Error::other)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Of two nodes either may have dialled the other.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, name(id));
        (params.not_before, params.not_after) = lifetime(end);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?.der().to_vec();
        let secret = hmac::sign(&self.secret, name(id).as_bytes()).as_ref().to_vec();
        Ok(Credentials { certificate, key: key.serialize_der(), authority: self.certificate.clone(), secret })
    }
}

/// From before anything of the run was made, until `end`.
fn lifetime<T: From<SystemTime>>(end: SystemTime) -> (T, T) {
    let start = SystemTime::now().min(end) - SKEW;
    (start.into(), end.into())
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    /// Without the key and the secret, which belong in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_node_s_of_one_run_and_the_same_each_time() {
        let runs = [(); 2].map(|()| Authority::new(1).expect("an authority"));
        let of = |run: usize, id| runs[run].admit(NodeId(id)).expect("credentials").secret;
        assert_eq!(of(0, 0), of(0, 0));
        assert_ne!(of(0, 0), of(0, 1));
        assert_ne!(of(0, 0), of(1, 0));
    }
}
