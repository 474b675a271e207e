//! Histograms as bytes that `HdrHistogram`'s own tools read.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

/// Base64 of the V2-deflate form.
pub fn encode_histogram(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a Vec takes everything");
    STANDARD.encode(bytes)
}

/// Reads what [`encode_histogram`] wrote; `None` if `text` is nothing of the kind.
pub fn decode_histogram(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

/// The head of a histogram log that begins at `start`. The readers of other languages want the
/// version line, and both times.
pub(crate) fn log_head(start: SystemTime) -> Vec<u8> {
    let mut text = Vec::new();
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(start)
        .with_base_time(start)
        .begin_log_with(&mut text, &mut V2DeflateSerializer::new())
        .expect("a Vec takes everything");
    text.extend_from_slice(
        b"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
    );
    text
}

/// A histogram log's line for `histogram`, over `length` from `since_start` on.
pub(crate) fn log_line(histogram: &Histogram<u64>, since_start: Duration, length: Duration, tag: &str) -> Vec<u8> {
    let tag: String = tag.chars().map(|c| if matches!(c, ',' | ' ' | '\r' | '\n') { '_' } else { c }).collect();
    let mut text = Vec::new();
    IntervalLogWriterBuilder::new()
        .begin_log_with(&mut text, &mut V2DeflateSerializer::new())
        .expect("a Vec takes everything")
        .write_histogram(histogram, since_start, length, Tag::new(&tag))
        .expect("a Vec takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_survive_their_text() {
        let mut histogram = crate::measure::histogram();
        (1..1000).for_each(|value| histogram.record(value * value).expect("in range"));
        assert_eq!(decode_histogram(&encode_histogram(&histogram)), Some(histogram));
        assert_eq!(decode_histogram("not base64!"), None);
        assert_eq!(decode_histogram("AAAA"), None);
    }
}
