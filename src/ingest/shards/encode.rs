//! Running a unit: whether its shard is there, and making it.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parquet::file::metadata::ParquetMetaDataReader;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::place::Place;
use super::{Part, Shard, Unit};
use crate::config::{self, Config};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Definition, Index, Settings};
use crate::ingest::export::FORMAT;
use crate::ingest::{Progress, Row, Source, SourceOptions};
use crate::objects;

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardState {
    /// Its shard was made.
    Encoded,
    /// Its shard was there already.
    Skipped,
}

/// The outcome of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardSummary {
    /// The source with its part.
    pub source: String,
    /// The shard.
    pub target: String,
    /// What became of it.
    pub state: ShardState,
    /// Rows read, good or not.
    pub rows: u64,
    /// Documents in the shard.
    pub documents: u64,
    /// Rows that are rejects.
    pub rejected: u64,
    /// Where those are, with their reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<String>,
    /// Passages with a vector.
    pub passages: u64,
    /// Tokens encoded.
    pub tokens: u64,
    /// Passages cut to the model's length.
    pub truncated: u64,
    /// Time taken.
    pub seconds: f64,
}

/// What runs units of one definition: opened once, with the model, for any number of them, also
/// of several threads at a time.
pub struct ShardEncoder {
    /// Holds no document, ever: its definition and its model are what is used.
    pub(super) index: Index,
    pub(super) settings: config::Ingest,
    pub(super) options: SourceOptions,
    pub(super) made_by: String,
    // Last: it is removed after the index was closed.
    folder: TempDir,
}

impl ShardEncoder {
    /// # Errors
    /// `invalid_definition`, `model_not_found`; operator errors of the temporary folder.
    pub fn new(
        definition: Definition,
        options: SourceOptions,
        config: &Config,
    ) -> Result<ShardEncoder> {
        let folder = tempfile::Builder::new()
            .prefix("gleaner-encode-")
            .tempdir()
            .map_err(|e| {
                Error::operator_from("cannot make a temporary folder", e)
                    .advice("TMPDIR names where")
            })?;
        let index = Index::create(
            &folder.path().join("index"),
            definition,
            &Settings::new(config),
        )?;
        let made_by = made_by(&index, &options)?;
        Ok(ShardEncoder {
            index,
            settings: config.ingest.clone(),
            options,
            made_by,
            folder,
        })
    }

    /// Makes the shard of a unit, unless it is there already.
    ///
    /// # Errors
    /// Problems with the source as a whole, which trying again does not mend; operator errors of
    /// the disk, the object store and the model, which it may. Then no shard is there that was
    /// not there before.
    pub fn encode(&self, unit: &Unit, progress: &Progress) -> Result<ShardSummary> {
        let started = Instant::now();
        let source = Place::new(&unit.source)?;
        let target = Place::new(&unit.target)?;
        let stamp = source.stamp()?.ok_or_else(|| {
            Problem::new(
                Code::InvalidFile,
                format!("{}: there is no such source", unit.source),
            )
            .field("source")
            .found("nothing")
            .expected("a file, or an object by its URL")
        })?;
        let there = target.manifest()?.and_then(|manifest| manifest.shard);
        let there = there.filter(|shard| shard.made_by == self.made_by);
        if let Some(shard) = &there
            && (&shard.source, &shard.stamp) == (&unit.spelled(), &stamp)
        {
            return Ok(summary(unit, shard, ShardState::Skipped, started));
        }
        let scratch = tempfile::tempdir_in(self.folder.path())
            .map_err(|e| Error::operator_from("cannot make a temporary folder", e))?;
        let path = source.fetch(&stamp, scratch.path())?;
        if let Some(shard) = &there
            && self.content(&path, &unit.part)? == shard.content
        {
            return Ok(summary(unit, shard, ShardState::Skipped, started));
        }
        let mut shard = None;
        target.write(scratch.path(), |file| {
            let (file, made) = self.write(unit, stamp, &path, scratch.path(), file, progress)?;
            shard = Some(made);
            Ok(file)
        })?;
        progress.files.fetch_add(1, Relaxed);
        let shard = shard.ok_or_else(|| Error::Bug("a shard without a footer".into()))?;
        Ok(summary(unit, &shard, ShardState::Encoded, started))
    }

    /// The rows of a part of a file.
    pub(super) fn rows(
        &self,
        path: &Path,
        part: &Part,
    ) -> Result<(
        Source,
        impl FnMut(&mut Source) -> Option<Result<Row>> + use<>,
    )> {
        let source = Source::open(path, &self.options)?;
        let range = match part {
            Part::All => 0..u64::MAX,
            Part::Rows(range) => range.clone(),
            Part::RowGroups(groups) => rows_of(path, groups)?,
        };
        let mut done = range.is_empty();
        let next = move |source: &mut Source| {
            while !done {
                let row = source.next()?;
                // Rows are numbered from 1, the part from 0.
                if let Ok(row) = &row {
                    done = row.number >= range.end;
                    if row.number <= range.start || row.number > range.end {
                        continue;
                    }
                }
                return Some(row);
            }
            None
        };
        Ok((source, next))
    }

    /// SHA-256 of the rows of a part.
    fn content(&self, path: &Path, part: &Part) -> Result<String> {
        let (mut source, mut next) = self.rows(path, part)?;
        let mut content = Content::default();
        while let Some(row) = next(&mut source) {
            content.add(&row?)?;
        }
        Ok(content.digest())
    }
}

/// Where the rejects of a shard are: beside it.
pub(super) fn rejects_of(target: &str) -> String {
    let stem = target.strip_suffix(".parquet").unwrap_or(target);
    format!("{stem}.rejects.jsonl")
}
fn summary(unit: &Unit, shard: &Shard, state: ShardState, started: Instant) -> ShardSummary {
    ShardSummary {
        source: unit.spelled(),
        target: unit.target.clone(),
        state,
        rows: shard.rows,
        documents: shard.documents,
        rejected: shard.rejected,
        rejects: (shard.rejected > 0).then(|| rejects_of(&unit.target)),
        passages: shard.passages,
        tokens: shard.tokens,
        truncated: shard.truncated,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// SHA-256 of what decides what a shard of some rows holds.
fn made_by(index: &Index, options: &SourceOptions) -> Result<String> {
    let definition = index.definition();
    let all = serde_json::json!({
        "format": FORMAT,
        "id_field": definition.id_field,
        "unknown_fields": definition.unknown_fields,
        "fields": definition.fields,
        "embedding": definition.embedding,
        "fingerprint": index.fingerprint(),
        "dimensions": index.dimensions(),
        "field_bytes": index.limits().field_bytes,
        "row_bytes": options.max_row_bytes,
        "read_as": format!("{:?} {:?}", options.format, options.mapping),
    });
    Ok(objects::digest_of(all.to_string().as_bytes()))
}

/// The rows of row groups of a Parquet file.
fn rows_of(path: &Path, groups: &std::ops::Range<u64>) -> Result<std::ops::Range<u64>> {
    let wrong = |found: String, expected: &str| {
        Problem::new(
            Code::InvalidFile,
            format!("{}: it has no such row groups", path.display()),
        )
        .field("row_groups")
        .found(found)
        .expected(expected)
    };
    let file = File::open(path)
        .map_err(|e| Error::operator_from(format!("cannot read {}", path.display()), e))?;
    let read = catch_unwind(AssertUnwindSafe(|| {
        ParquetMetaDataReader::new().parse_and_finish(&file)
    }));
    let Ok(Ok(metadata)) = read else {
        return Err(wrong("no Parquet footer".into(), "a Parquet file").into());
    };
    let lengths: Vec<u64> = metadata
        .row_groups()
        .iter()
        .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
        .collect();
    if groups.end > lengths.len() as u64 {
        let found = format!("{}..{}", groups.start, groups.end);
        return Err(wrong(found, &format!("at most 0..{}", lengths.len())).into());
    }
    // Both within the list, just above.
    let before = |group: u64| lengths[..group as usize].iter().sum::<u64>();
    Ok(before(groups.start)..before(groups.end))
}
/// SHA-256 of rows as they were read.
#[derive(Default)]
pub(super) struct Content(Sha256);

impl Content {
    pub(super) fn add(&mut self, row: &Row) -> Result<()> {
        let text = match &row.json {
            Ok(json) => serde_json::to_string(json)
                .map_err(|e| Error::Bug(format!("a row does not serialise: {e}")))?,
            Err(_) => row.original.text(),
        };
        self.0.update(row.number.to_le_bytes());
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        if let Some(vectors) = &row.vectors {
            for span in &vectors.spans {
                self.0.update(span.start.to_le_bytes());
                self.0.update(span.end.to_le_bytes());
            }
            for value in &vectors.vectors {
                self.0.update(value.to_le_bytes());
            }
        }
        Ok(())
    }

    pub(super) fn digest(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
