//! What other crates define, as it goes from one process of a run to another: all are the same program,
//! on the same machine.

use quorumbench_protocols::{LogSize, Nanos, NodeId};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Nanos")]
pub(crate) struct NanosDef(u64);

#[derive(Serialize, Deserialize)]
#[serde(remote = "NodeId")]
pub(crate) struct NodeIdDef(u32);

#[derive(Serialize, Deserialize)]
#[serde(remote = "LogSize")]
pub(crate) struct LogSizeDef {
    slots: u64,
    bytes: u64,
}

/// Times, each with a count.
pub(crate) mod counts {
    use quorumbench_protocols::Nanos;
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(counts: &[(Nanos, u32)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(counts.iter().map(|&(at, count)| (at.0, count)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Nanos, u32)>, D::Error> {
        let counts = Vec::<(u64, u32)>::deserialize(from)?;
        Ok(counts.into_iter().map(|(at, count)| (Nanos(at), count)).collect())
    }
}

/// Counters as their bytes.
pub(crate) mod counters {
    use quorumbench_transports::Counters;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use zerocopy::{FromBytes, IntoBytes};

    pub(crate) fn serialize<S: Serializer>(counters: &Counters, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(counters.as_bytes())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Counters, D::Error> {
        Counters::read_from_bytes(<&[u8]>::deserialize(from)?).map_err(|_| D::Error::custom("not as many bytes"))
    }
}

/// Credentials, if there are any, as the bytes that they are.
pub(crate) mod credentials {
    use quorumbench_transports::quic::Credentials;
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "that is what serde calls")]
    pub(crate) fn serialize<S: Serializer>(credentials: &Option<Credentials>, to: S) -> Result<S::Ok, S::Error> {
        let parts = credentials.as_ref().map(|all| [&all.certificate, &all.key, &all.authority, &all.secret]);
        parts.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Credentials>, D::Error> {
        let parts = Option::<[Vec<u8>; 4]>::deserialize(from)?;
        Ok(parts.map(|[certificate, key, authority, secret]| Credentials { certificate, key, authority, secret }))
    }
}

/// Histograms in their V2 form.
pub(crate) mod histogram {
    use hdrhistogram::serialization::{Deserializer as FromV2, Serializer as _, V2Serializer};
    use hdrhistogram::{Counter, Histogram};
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<C: Counter, S: Serializer>(histogram: &Histogram<C>, to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(histogram, &mut bytes).expect("a Vec takes everything");
        to.serialize_bytes(&bytes)
    }

    pub(crate) fn deserialize<'de, C: Counter, D: Deserializer<'de>>(from: D) -> Result<Histogram<C>, D::Error> {
        FromV2::new().deserialize(&mut <&[u8]>::deserialize(from)?).map_err(|_| D::Error::custom("no histogram"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Interval, histogram};
    use quorumbench_transports::Counters;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        #[serde(with = "NanosDef")]
        at: Nanos,
        #[serde(with = "NodeIdDef")]
        node: NodeId,
        #[serde(with = "super::counters")]
        counters: Counters,
        interval: Interval,
    }

    #[test]
    fn what_goes_out_comes_in() {
        let mut response = histogram();
        (1..1000).for_each(|value| response.record(value * value).expect("in range"));
        let all = All {
            at: Nanos::NEVER,
            node: NodeId(7),
            counters: Counters { syscalls: 1, malformed: u64::MAX, ..Counters::default() },
            interval: Interval { completed: 999, response },
        };
        let bytes = postcard::to_allocvec(&all).expect("all can be written");
        assert_eq!(postcard::from_bytes::<All>(&bytes), Ok(all));
        assert!((0..bytes.len()).all(|cut| postcard::from_bytes::<All>(&bytes[..cut]).is_err()), "cut short");
    }
}
