//! Units, and what shards say of themselves.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Problem, Result};
use crate::index::{Carry, Index};
use crate::ingest::{Input, Manifest};

/// What of a source a unit takes. Both count from 0, the end excluded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Part {
    /// All of it.
    #[default]
    All,
    /// These rows.
    Rows(Range<u64>),
    /// These row groups of a Parquet file.
    RowGroups(Range<u64>),
}

const ROWS: &str = "#rows=";
const ROW_GROUPS: &str = "#row_groups=";

impl Part {
    /// Reads `0..100`.
    ///
    /// # Errors
    /// `invalid_request` with what was found.
    pub fn range(text: &str) -> Result<Range<u64>, Problem> {
        let ends = text.split_once("..");
        let ends = ends.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match ends {
            Some((start, end)) if start <= end => Ok(start..end),
            _ => Err(Problem::new(Code::InvalidRequest, "this is no range")
                .field("rows")
                .found(text)
                .expected("START..END, counted from 0, the end excluded: 0..10000")),
        }
    }
}

/// One piece of work: rows of a source into one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// A file, or the URL of an object.
    pub source: String,
    /// What of it.
    pub part: Part,
    /// The file or object that the shard becomes.
    pub target: String,
}

impl Unit {
    /// A unit of a source that may end in `#rows=0..100` or `#row_groups=0..2`.
    ///
    /// # Errors
    /// `invalid_request` for what is no range.
    pub fn new(source: &str, target: &str) -> Result<Unit, Problem> {
        let cut = |mark: &str| source.rsplit_once(mark);
        let (source, part) = match (cut(ROWS), cut(ROW_GROUPS)) {
            (Some((source, range)), _) => (source, Part::Rows(Part::range(range)?)),
            (_, Some((source, range))) => (source, Part::RowGroups(Part::range(range)?)),
            _ => (source, Part::All),
        };
        Ok(Unit {
            source: source.into(),
            part,
            target: target.into(),
        })
    }

    /// The source with its part, as [`Unit::new`] reads it.
    pub fn spelled(&self) -> String {
        format!("{}{}", self.source, self.part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::All => Ok(()),
            Part::Rows(range) => write!(f, "{ROWS}{}..{}", range.start, range.end),
            Part::RowGroups(range) => write!(f, "{ROW_GROUPS}{}..{}", range.start, range.end),
        }
    }
}

/// When a file or object was written, and how long it is: what tells without reading it that
/// it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its length.
    pub bytes: u64,
    /// The tag that an object store gave it, or the time at which it was written.
    pub version: String,
}

impl Stamp {
    pub(super) fn of(input: &Input) -> Stamp {
        let fingerprint = input.fingerprint();
        let modified = fingerprint.modified.map(|at| at.to_rfc3339());
        Stamp {
            bytes: fingerprint.bytes,
            version: fingerprint.etag.clone().or(modified).unwrap_or_default(),
        }
    }
}

/// What a shard was made of, in the footer of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// The source with its part, as it was named.
    pub source: String,
    /// The source then.
    pub stamp: Stamp,
    /// SHA-256 of everything but the rows that decides what the shard holds: definition,
    /// model, limits, columns renamed and left out.
    pub made_by: String,
    /// SHA-256 of the rows as they were read.
    pub content: String,
    /// Rows read, good or not.
    pub rows: u64,
    /// Documents in it.
    pub documents: u64,
    /// Rows that are rejects.
    pub rejected: u64,
    /// Passages with a vector.
    pub passages: u64,
    /// Tokens that were encoded for it.
    pub tokens: u64,
    /// Passages that were cut to the model's length.
    pub truncated: u64,
}

/// Refuses a shard that an index could only take by encoding it again, which is what the shard
/// was made to avoid.
///
/// # Errors
/// `model_mismatch` for one of another model; `invalid_file` for one whose vectors stand for
/// other texts.
pub(in crate::ingest) fn check_shard(
    index: &Index,
    manifest: &Manifest,
    carry: Carry,
    named: &str,
) -> Result<(), Problem> {
    let is_encoded = manifest.shard.is_some() && manifest.fingerprint.is_some();
    if !is_encoded || index.fingerprint().is_none() || carry.encoded {
        return Ok(());
    }
    if manifest.fingerprint.as_deref() != index.fingerprint() {
        let message = format!(
            "{named}: this shard was encoded by another model than that of index {:?}",
            index.name()
        );
        return Err(Problem::new(Code::ModelMismatch, message)
            .field("embedding.model")
            .found(manifest.fingerprint.clone().unwrap_or_default())
            .expected(format!(
                "{}; encode it anew with this model",
                index.fingerprint().unwrap_or_default()
            )));
    }
    let message = format!(
        "{named}: the vectors of this shard stand for other texts than those of index {:?}",
        index.name()
    );
    let told = |definition: &crate::index::Definition| {
        let embedding = definition.embedding.as_ref();
        embedding.map_or(String::new(), |embedding| {
            let passages = embedding.passages.map_or("whole".into(), |passages| {
                format!(
                    "{} tokens, {} of overlap",
                    passages.max_tokens, passages.overlap
                )
            });
            format!("fields {:?}, passages {passages}", embedding.fields)
        })
    };
    Err(Problem::new(Code::InvalidFile, message)
        .field("embedding")
        .found(told(&manifest.definition))
        .expected(format!(
            "{}; encode it anew by this definition",
            told(index.definition())
        )))
}
