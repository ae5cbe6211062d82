//! Running a unit: whether its shard is there, and making it.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::place::Place;
use super::{Part, Shard, Stamp, Unit};
use crate::config::{self, Config};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Definition, Index, Settings};
use crate::ingest::export::FORMAT;
use crate::ingest::ranges::Ranges;
use crate::ingest::readers::footer_of;
use crate::ingest::{Format, Input, Position, Progress, Row, Source, SourceOptions, resolve};
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
        let input = input_of(&unit.source, self.options.format)?;
        let stamp = Stamp::of(&input);
        let target = Place::new(&unit.target)?;
        let there = target.manifest()?.and_then(|manifest| manifest.shard);
        let there = there.filter(|shard| shard.made_by == self.made_by);
        if let Some(shard) = &there
            && (&shard.source, &shard.stamp) == (&unit.spelled(), &stamp)
        {
            return Ok(summary(unit, shard, ShardState::Skipped, started));
        }
        let scratch = tempfile::tempdir_in(self.folder.path())
            .map_err(|e| Error::operator_from("cannot make a temporary folder", e))?;
        if let Some(shard) = &there
            && self.content(&input, &unit.part)? == shard.content
        {
            return Ok(summary(unit, shard, ShardState::Skipped, started));
        }
        let mut shard = None;
        target.write(scratch.path(), |file| {
            let (file, made) = self.write(unit, &input, scratch.path(), file, progress)?;
            shard = Some(made);
            Ok(file)
        })?;
        progress.files.fetch_add(1, Relaxed);
        let shard = shard.ok_or_else(|| Error::Bug("a shard without a footer".into()))?;
        Ok(summary(unit, &shard, ShardState::Encoded, started))
    }

    /// The rows of a part of an input.
    pub(super) fn rows(&self, input: &Input, part: &Part) -> Result<PartRows> {
        let format = self.options.format;
        let (from, range) = match part {
            Part::All => (Position::default(), 0..u64::MAX),
            Part::Rows(range) => (place_of(input, range.start, format)?, range.clone()),
            Part::RowGroups(groups) => {
                let range = rows_of(input, groups)?;
                (place_of(input, range.start, Some(Format::Parquet))?, range)
            }
        };
        Ok(PartRows {
            source: Source::open_at(input, &self.options, from)?,
            done: range.is_empty(),
            range,
        })
    }

    /// SHA-256 of the rows of a part.
    fn content(&self, input: &Input, part: &Part) -> Result<String> {
        let mut content = Content::default();
        for row in self.rows(input, part)? {
            match row {
                Ok(row) => content.add(&row)?,
                Err(Error::User(problem)) => content.end(&problem),
                Err(error) => return Err(error),
            }
        }
        Ok(content.digest())
    }
}

/// The rows of a part of a source.
pub(super) struct PartRows {
    pub(super) source: Source,
    /// From 0; rows themselves are numbered from 1.
    range: std::ops::Range<u64>,
    done: bool,
}

impl Iterator for PartRows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        while !self.done {
            let mut row = self.source.next()?;
            if let Ok(row) = &mut row {
                // Of rows that cannot be read together each part tells of its own.
                let before = self
                    .range
                    .start
                    .saturating_sub(row.number - 1)
                    .min(row.rows - 1);
                row.number += before;
                row.position.row += before;
                row.rows -= before;
                let left = self.range.end.saturating_sub(row.number - 1).max(1);
                row.rows = row.rows.min(left);
                self.done = row.number.saturating_add(row.rows) > self.range.end;
                if row.number <= self.range.start || row.number > self.range.end {
                    continue;
                }
            }
            return Some(row);
        }
        None
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
        "batch_bytes": options.max_batch_bytes,
        "read_as": format!("{:?} {:?}", options.format, options.mapping),
    });
    Ok(objects::digest_of(all.to_string().as_bytes()))
}

/// The one input that a source names.
///
/// # Errors
/// `invalid_file` for none and for several; operator errors of the disk and the store.
fn input_of(source: &str, format: Option<Format>) -> Result<Input> {
    if !objects::is_url(source) {
        return Input::file(Path::new(source));
    }
    let mut found = resolve(&[source.to_string()], format)?;
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (found, more) => Err(Problem::new(
            Code::InvalidFile,
            format!("{source}: a unit is of one file or object"),
        )
        .field("source")
        .found(more + usize::from(found.is_some()))
        .expected("one; gleaner manifest makes units of many")
        .into()),
    }
}

/// Rows of each row group of a Parquet file.
pub(super) fn row_groups(input: &Input) -> Result<Vec<u64>> {
    let metadata = footer_of(&Ranges::open(Path::new(input.location()))?)?;
    let groups = metadata.row_groups().iter();
    Ok(groups
        .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
        .collect())
}

/// Where a row lies, by its number from 0: in a row group, where there are such.
fn place_of(input: &Input, row: u64, format: Option<Format>) -> Result<Position> {
    let format = format.or_else(|| Format::of(Path::new(input.location())));
    if row == 0 || format != Some(Format::Parquet) {
        // Arrow's batches are read over like the rows of a text.
        return Ok(match format {
            Some(Format::Arrow) => Position::default(),
            _ => Position { row_group: 0, row },
        });
    }
    let groups = row_groups(input)?;
    let mut left = row;
    for (group, rows) in (0..).zip(&groups) {
        if left < *rows {
            return Ok(Position {
                row_group: group,
                row: left,
            });
        }
        left -= rows;
    }
    // Behind the last one: there are no such rows.
    Ok(Position {
        row_group: groups.len() as u64,
        row: 0,
    })
}

/// The rows of row groups of a Parquet file.
fn rows_of(input: &Input, groups: &std::ops::Range<u64>) -> Result<std::ops::Range<u64>> {
    let lengths = row_groups(input)?;
    if groups.end > lengths.len() as u64 {
        return Err(Problem::new(
            Code::InvalidFile,
            format!("{}: it has no such row groups", input.location()),
        )
        .field("row_groups")
        .found(format!("{}..{}", groups.start, groups.end))
        .expected(format!("at most 0..{}", lengths.len()))
        .into());
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

    /// The damage behind which nothing can be read.
    pub(super) fn end(&mut self, problem: &Problem) {
        self.0.update(problem.to_string().as_bytes());
    }

    pub(super) fn digest(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
