//! The bytes of keys and values. Decoding answers `None` for anything that an
//! encoder here did not write; it never panics and never allocates more than
//! the value's own length allows.

use super::{PassageSpan, StoredVectors};

/// First byte of a document's and of a vector's value.
const VALUE_VERSION: u8 = 1;

/// What the write path counts, kept in one value so that every batch replaces
/// it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    /// Ordinal of the next put.
    pub next_ordinal: u32,
    /// Sequence number of the last operation; 0 before the first.
    pub last_seq: u64,
    /// Live documents.
    pub live: u64,
    /// Lowest sequence number the log still holds, or `last_seq + 1`.
    pub log_start: u64,
}

impl Counters {
    pub(super) const NEW: Counters = Counters {
        next_ordinal: 0,
        last_seq: 0,
        live: 0,
        log_start: 1,
    };

    pub(super) fn encode(&self) -> [u8; 28] {
        let mut bytes = [0; 28];
        bytes[0..4].copy_from_slice(&self.next_ordinal.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.live.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.log_start.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Counters> {
        let mut input = Input(bytes);
        let counters = Counters {
            next_ordinal: input.u32()?,
            last_seq: input.u64()?,
            live: input.u64()?,
            log_start: input.u64()?,
        };
        let sane = counters.log_start >= 1
            && counters.log_start <= counters.last_seq.checked_add(1)?
            && counters.live <= u64::from(counters.next_ordinal);
        (input.0.is_empty() && sane).then_some(counters)
    }
}

/// Bytes taken from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// Ordinals as keys and as values of ids: big endian, so that they sort.
pub(super) fn ordinal_key(ordinal: u32) -> [u8; 4] {
    ordinal.to_be_bytes()
}

pub(super) fn decode_ordinal(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn seq_key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

pub(super) fn decode_seq(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// A document: version, length of the id (u32), id, source.
/// `None` if the id is longer than a u32 can say.
pub(super) fn encode_document(id: &str, source: &[u8]) -> Option<Vec<u8>> {
    let id_len = u32::try_from(id.len()).ok()?;
    let mut bytes = Vec::with_capacity(5 + id.len() + source.len());
    bytes.push(VALUE_VERSION);
    bytes.extend_from_slice(&id_len.to_le_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(source);
    Some(bytes)
}

/// The id and the source of a document's value.
pub(super) fn decode_document(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let mut input = Input(bytes);
    if input.u8()? != VALUE_VERSION {
        return None;
    }
    let id_len = input.u32()?;
    let id = std::str::from_utf8(input.take(usize::try_from(id_len).ok()?)?).ok()?;
    Some((id, input.0))
}

/// Vectors: version, dimensions (u32), passages (u32), spans (2 u32 each),
/// values (f32 each), all little endian. `None` if shape and lengths disagree.
pub(super) fn encode_vectors(vectors: &StoredVectors) -> Option<Vec<u8>> {
    let dimensions = u32::try_from(vectors.dimensions).ok()?;
    let passages = u32::try_from(vectors.spans.len()).ok()?;
    if vectors.spans.len().checked_mul(vectors.dimensions)? != vectors.vectors.len()
        || vectors.spans.iter().any(|span| span.start > span.end)
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(9 + 8 * vectors.spans.len() + 4 * vectors.vectors.len());
    bytes.push(VALUE_VERSION);
    bytes.extend_from_slice(&dimensions.to_le_bytes());
    bytes.extend_from_slice(&passages.to_le_bytes());
    for span in &vectors.spans {
        bytes.extend_from_slice(&span.start.to_le_bytes());
        bytes.extend_from_slice(&span.end.to_le_bytes());
    }
    match cfg!(target_endian = "little") {
        true => bytes.extend_from_slice(bytemuck::cast_slice(&vectors.vectors)),
        false => {
            let values = vectors.vectors.iter();
            bytes.extend(values.flat_map(|value| value.to_le_bytes()));
        }
    }
    Some(bytes)
}

pub(super) fn decode_vectors(bytes: &[u8]) -> Option<StoredVectors> {
    let mut input = Input(bytes);
    if input.u8()? != VALUE_VERSION {
        return None;
    }
    let dimensions = usize::try_from(input.u32()?).ok()?;
    let passages = usize::try_from(input.u32()?).ok()?;
    let spans = input.take(passages.checked_mul(8)?)?;
    let values = input.take(passages.checked_mul(dimensions)?.checked_mul(4)?)?;
    if !input.0.is_empty() {
        return None;
    }
    let spans: Vec<PassageSpan> = spans
        .chunks_exact(8)
        .map(|pair| {
            let mut pair = Input(pair);
            let (start, end) = (pair.u32()?, pair.u32()?);
            (start <= end).then_some(PassageSpan { start, end })
        })
        .collect::<Option<_>>()?;
    let vectors = values
        .chunks_exact(4)
        .map(|value| Some(f32::from_le_bytes(value.try_into().ok()?)))
        .collect::<Option<_>>()?;
    Some(StoredVectors {
        dimensions,
        spans,
        vectors,
    })
}

/// What one operation did: a byte of flags, then the ordinals they announce.
pub(super) fn encode_log(put: Option<u32>, removed: Option<u32>) -> Vec<u8> {
    let mut bytes = vec![u8::from(put.is_some()) | u8::from(removed.is_some()) << 1];
    for ordinal in [put, removed].into_iter().flatten() {
        bytes.extend_from_slice(&ordinal.to_le_bytes());
    }
    bytes
}

pub(super) fn decode_log(bytes: &[u8]) -> Option<(Option<u32>, Option<u32>)> {
    let mut input = Input(bytes);
    let flags = input.u8()?;
    if flags > 3 {
        return None;
    }
    let mut next = |bit: u8| -> Option<Option<u32>> {
        if flags & bit == 0 {
            Some(None)
        } else {
            input.u32().map(Some)
        }
    };
    let entry = (next(1)?, next(2)?);
    input.0.is_empty().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_round_trip_and_no_prefix_decodes(
            dimensions in 0usize..5,
            spans in proptest::collection::vec((0u32..100, 0u32..100), 0..5),
            seed in any::<u32>(),
        ) {
            let stored = StoredVectors {
                dimensions,
                spans: spans.iter().map(|&(a, b)| PassageSpan { start: a.min(b), end: a.max(b) }).collect(),
                vectors: (0..dimensions * spans.len()).map(|i| (i as f32 + seed as f32).sin()).collect(),
            };
            let bytes = encode_vectors(&stored).unwrap();
            prop_assert_eq!(decode_vectors(&bytes), Some(stored));
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode_vectors(&bytes[..cut]), None);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            decode_vectors(&bytes);
            decode_document(&bytes);
            decode_log(&bytes);
            decode_ordinal(&bytes);
            decode_seq(&bytes);
            Counters::decode(&bytes);
            let mut versioned = vec![VALUE_VERSION];
            versioned.extend(bytes);
            decode_vectors(&versioned);
            decode_document(&versioned);
        }

        #[test]
        fn log_entries_round_trip(put: Option<u32>, removed: Option<u32>) {
            let bytes = encode_log(put, removed);
            prop_assert_eq!(decode_log(&bytes), Some((put, removed)));
            prop_assert_eq!(decode_log(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_shape_that_lies_is_refused_without_allocating() {
        let mut bytes = vec![VALUE_VERSION];
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode_vectors(&bytes), None);
        let lying = StoredVectors {
            dimensions: 3,
            spans: vec![PassageSpan { start: 0, end: 1 }],
            vectors: vec![1.0; 4],
        };
        assert_eq!(encode_vectors(&lying), None);
    }
}
