//! What a node's endpoint keeps from one life to the next.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{EndpointConfig, HashedConnectionIdGenerator};
use ring::hmac;

use super::options::MOST_MTU;

/// The endpoint of the node whose `secret` that is, and whether it `is_dialled`.
///
/// Who is killed says no goodbye, and its next life knows none of the connections that its peers still send to. It
/// answers with a reset (RFC 9000, section 10.3), and they believe it, and dial again, because it is made with the key
/// of the life that they knew. Otherwise they would wait for the end of their patience with who is silent
/// ([`QuicOptions::idle_timeout`](super::QuicOptions::idle_timeout)).
///
/// quinn answers so to connection ids that this endpoint could have given out, and to no others. What they are made
/// with must be the same for that; it is a key of its own, because ids are public, and hashed with no great care.
pub(super) fn endpoint(secret: &[u8], is_dialled: bool) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let [resets, ids] = [&b"resets"[..], b"connection ids"].map(|what| hmac::sign(&secret, what));
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, resets.as_ref())));
    let ids = u64::from_le_bytes(*ids.as_ref().first_chunk().expect("SHA-256 has more"));
    config
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)))
        .max_udp_payload_size(MOST_MTU)
        .expect("as UDP allows it");
    if is_dialled {
        config.min_reset_interval(BETWEEN_RESETS);
    }
    config
}

/// Each peer needs one of its own, and they come all at once. They are no storm: one is shorter than what it answers,
/// and what it answers has an id that only this run's nodes are given. (Where nobody may dial, quinn answers strangers'
/// first packets, too: so not there.)
const BETWEEN_RESETS: Duration = Duration::from_millis(1);
