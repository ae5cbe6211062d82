//! Vectors of what is said of a database, kept beside it: after a restart nothing is encoded
//! again, and after an import only what changed. Where two write at once, one's are encoded another
//! time.
//!
//! The promise: a vector is the one that this encoder made of this very text. What is kept saves
//! work and nothing else: a file that is missing, damaged or of another encoder means that texts
//! are encoded, and one that cannot be written is logged.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::catalog::Beside;
use crate::error::Result;
use crate::model::{Task, TextEncoder};

/// What a text and its use are told by.
type Key = [u8; 32];

/// Names within the file.
const KEYS: &str = "keys";
const VECTORS: &str = "vectors";
const ENCODER: &str = "encoder";
const CHECKSUM: &str = "crc32";

/// What the vectors are of; each is a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tables and columns.
    Schema,
    /// Values of columns.
    Values,
    /// Stored questions.
    Examples,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Schema, Kind::Values, Kind::Examples];

    /// As files are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Schema => "schema",
            Kind::Values => "values",
            Kind::Examples => "examples",
        }
    }
}

/// What is kept beside those that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// They are of texts that are asked for elsewhere.
    Stay,
    /// These are all there are.
    Go,
}

/// Where vectors of one kind are kept.
#[derive(Debug, Clone)]
pub(crate) struct Shelf<'a> {
    beside: Option<&'a Beside>,
    kind: Kind,
    others: Others,
}

/// A row for each text.
pub(crate) struct TextVectors {
    pub vectors: Vec<f32>,
    pub dimensions: usize,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new(beside: &'a Beside, kind: Kind, others: Others) -> Shelf<'a> {
        // A database that is in no catalogue has no place.
        let beside = Some(beside).filter(|beside| beside.is_somewhere());
        Shelf {
            beside,
            kind,
            others,
        }
    }

    /// Nothing is kept.
    pub(crate) fn none() -> Shelf<'static> {
        Shelf {
            beside: None,
            kind: Kind::Schema,
            others: Others::Stay,
        }
    }

    /// The vectors of texts, in their order; only those that are not there are encoded.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(crate) fn encode<S: AsRef<str> + Sync>(
        &self,
        encoder: &TextEncoder,
        task: Task,
        texts: &[S],
    ) -> Result<TextVectors> {
        let Some(beside) = self.beside else {
            let encoded = encoder.encode(task, texts)?;
            return Ok(TextVectors {
                vectors: encoded.vectors,
                dimensions: encoded.dimensions,
            });
        };
        let path = beside.vectors(self.kind);
        let mut kept = read(&path, encoder);
        let dimensions = encoder.dimensions();
        let keys: Vec<Key> = texts.iter().map(|text| key(task, text.as_ref())).collect();
        let mut missing: Vec<(Key, &str)> = Vec::new();
        let mut seen: HashSet<Key> = HashSet::new();
        for (key, text) in keys.iter().zip(texts) {
            if !kept.contains_key(key) && seen.insert(*key) {
                missing.push((*key, text.as_ref()));
            }
        }
        let new: Vec<&str> = missing.iter().map(|(_, text)| *text).collect();
        let encoded = encoder.encode(task, &new)?;
        for ((key, _), row) in missing.iter().zip(encoded.rows()) {
            kept.insert(*key, row.to_vec());
        }
        if self.others == Others::Go {
            let before = kept.len();
            let these: HashSet<&Key> = keys.iter().collect();
            kept.retain(|key, _| these.contains(key));
            if !missing.is_empty() || kept.len() < before {
                write(beside, self.kind, &kept, encoder);
            }
        } else if !missing.is_empty() {
            write(beside, self.kind, &kept, encoder);
        }
        let mut vectors = Vec::with_capacity(keys.len() * dimensions);
        for key in &keys {
            let row = kept.get(key).filter(|row| row.len() == dimensions);
            vectors.extend(row.ok_or_else(|| {
                crate::error::Error::Bug("a text that was encoded has no vector".into())
            })?);
        }
        Ok(TextVectors {
            vectors,
            dimensions,
        })
    }
}

fn key(task: Task, text: &str) -> Key {
    let mut digest = Sha256::new();
    // No name of a task has this byte.
    digest.update(format!("{task:?}\0"));
    digest.update(text);
    digest.finalize().into()
}

/// What is kept by this encoder; nothing where there is no file, or one that is no use.
fn read(path: &Path, encoder: &TextEncoder) -> HashMap<Key, Vec<f32>> {
    let bytes = match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return HashMap::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "vectors cannot be read, and are made anew");
            return HashMap::new();
        }
        Ok(bytes) => bytes,
    };
    parse(&bytes, encoder.fingerprint(), encoder.dimensions()).unwrap_or_else(|reason| {
        tracing::info!(path = %path.display(), reason, "vectors are made anew");
        HashMap::new()
    })
}

fn parse(
    bytes: &[u8],
    encoder: &str,
    dimensions: usize,
) -> Result<HashMap<Key, Vec<f32>>, &'static str> {
    let damaged = "the file is damaged";
    let (_, about) = SafeTensors::read_metadata(bytes).map_err(|_| damaged)?;
    let about = about.metadata().as_ref().ok_or(damaged)?;
    if about.get(ENCODER).map(String::as_str) != Some(encoder) {
        return Err("they are of another encoder");
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|_| damaged)?;
    let keys = tensors.tensor(KEYS).map_err(|_| damaged)?;
    let vectors = tensors.tensor(VECTORS).map_err(|_| damaged)?;
    let sum = checksum(keys.data(), vectors.data());
    if about.get(CHECKSUM) != Some(&sum) || dimensions == 0 {
        return Err(damaged);
    }
    let (keys, _) = keys.data().as_chunks::<32>();
    let rows = vectors.data().chunks_exact(4 * dimensions);
    if keys.len() != rows.len() {
        return Err(damaged);
    }
    let value = |value: &[u8; 4]| f32::from_le_bytes(*value);
    Ok(keys
        .iter()
        .zip(rows)
        .map(|(key, row)| (*key, row.as_chunks().0.iter().map(value).collect()))
        .collect())
}

/// Replaces the file; what hinders that is logged.
fn write(beside: &Beside, kind: Kind, kept: &HashMap<Key, Vec<f32>>, encoder: &TextEncoder) {
    let mut sorted: Vec<(&Key, &Vec<f32>)> = kept.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| **key);
    let written = serialize(&sorted, encoder.fingerprint(), encoder.dimensions())
        .map_err(|e| e.to_string())
        .and_then(|bytes| {
            beside
                .write_vectors(kind, &bytes)
                .map_err(|e| e.to_string())
        });
    if let Err(error) = written {
        let path = beside.vectors(kind);
        tracing::warn!(path = %path.display(), error, "vectors cannot be kept");
    }
}

fn serialize(
    rows: &[(&Key, &Vec<f32>)],
    encoder: &str,
    dimensions: usize,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut keys = Vec::with_capacity(32 * rows.len());
    let mut vectors = Vec::with_capacity(4 * dimensions * rows.len());
    for (key, row) in rows {
        keys.extend_from_slice(*key);
        vectors.extend(row.iter().flat_map(|value| value.to_le_bytes()));
    }
    let about = HashMap::from([
        (ENCODER.to_string(), encoder.to_string()),
        (CHECKSUM.to_string(), checksum(&keys, &vectors)),
    ]);
    let tensors = [
        (
            KEYS,
            TensorView::new(Dtype::U8, vec![rows.len(), 32], &keys)?,
        ),
        (
            VECTORS,
            TensorView::new(Dtype::F32, vec![rows.len(), dimensions], &vectors)?,
        ),
    ];
    safetensors::serialize(tensors, Some(about))
}

fn checksum(keys: &[u8], vectors: &[u8]) -> String {
    let mut sum = crc32fast::Hasher::new();
    sum.update(keys);
    sum.update(vectors);
    format!("{:08x}", sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (a, b) = (key(Task::Document, "a"), key(Task::Query, "a"));
        assert_ne!(a, b);
        let (one, two) = (vec![0.5, -1.0], vec![f32::MIN_POSITIVE, 2.0]);
        let bytes = serialize(&[(&a, &one), (&b, &two)], "first", 2).unwrap();
        let kept = parse(&bytes, "first", 2).unwrap();
        assert_eq!(kept, HashMap::from([(a, one), (b, two)]));
        assert!(parse(&bytes, "second", 2).is_err());
        assert!(parse(&bytes, "first", 3).is_err());
        for n in 0..bytes.len() {
            let mut other = bytes.clone();
            other[n] ^= 1;
            // Whatever was changed, nothing else than what was written is read.
            if let Ok(read) = parse(&other, "first", 2) {
                assert_eq!(read, kept, "byte {n}");
            }
            assert!(parse(&bytes[..n], "first", 2).is_err());
        }
    }
}
