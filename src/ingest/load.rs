//! Inputs, one after the other, as rows that an index takes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::coerce::coerce_row;
use super::shards::check_shard;
use super::source::Step;
use super::{
    Incoming, Input, Operation, Original, Position, Progress, Reject, Rejects, Source,
    SourceOptions, load_rows,
};
use crate::config::Ingest;
use crate::document::read_id;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Carry, Index};

/// Inputs up to which each is opened, until one can be, before anything is loaded: that none can
/// be read is noticed at once.
const OPENED_BEFORE: usize = 100;

/// Loads files into an index, makes the documents visible, and returns the rejects
/// file if there was a row to reject.
///
/// # Errors
/// What ends a load: the disk, the network, the encoder; or that none of the files can be
/// read. Bad rows do not, nor do row groups or files that are damaged: they are in the rejects,
/// and what can be read is loaded.
pub fn load_files(
    index: &Index,
    files: &[PathBuf],
    options: &SourceOptions,
    settings: &Ingest,
    rejects: &Path,
    progress: &Progress,
) -> Result<Option<PathBuf>> {
    index.check_writable()?;
    let inputs = files.iter().map(|file| Input::file(file));
    let inputs = inputs.collect::<Result<Vec<Input>>>()?;
    let begin = Place::default();
    check_inputs(index, &inputs, begin, options, &AtomicBool::new(false))?;
    let mut rejects = Rejects::new(rejects);
    let rows = InputRows::new(index, &inputs, options, Place::default(), progress);
    let loaded = load_rows(
        index,
        rows,
        settings,
        progress,
        |origin: RowOrigin, problem| rejects.write(&origin.reject(&inputs, None, &problem)),
    );
    // What was loaded before a failure is durable and is made visible all the same.
    let refreshed = index.refresh();
    let rejects = rejects.finish()?;
    loaded?;
    refreshed.map(|_| rejects)
}

/// Opens the inputs from a place on and looks whether they can be read so, unless there are very
/// many. Some that cannot are for the rejects; where it is all of them from the first one on,
/// something is wrong with what was asked.
///
/// # Errors
/// What is wrong with the first, where none can be read; `model_mismatch` or `invalid_file` for
/// an encoded shard whose vectors the index cannot take; `input_changed` and
/// `source_not_permitted` of any.
pub(crate) fn check_inputs(
    index: &Index,
    inputs: &[Input],
    from: Place,
    options: &SourceOptions,
    stop: &AtomicBool,
) -> Result<()> {
    let mut first = None;
    // What was read before is not asked again whether it can be.
    let mut any = from != Place::default();
    // One that came to its end by damage has been told about.
    let ended = from.input.saturating_add(u64::from(from.position == END));
    let left = usize::try_from(ended).ok().and_then(|n| inputs.get(n..));
    for input in left.unwrap_or_default().iter().take(OPENED_BEFORE) {
        // Whoever loads them sees it, too.
        if stop.load(Relaxed) {
            return Ok(());
        }
        match Source::open_at(input, options, Position::default()) {
            Ok(source) => {
                carry_of(index, &source, options)?;
                any = true;
            }
            Err(Error::User(problem)) if !ends_a_load(&problem) => {
                first.get_or_insert(Error::User(problem));
            }
            Err(error) => return Err(error),
        }
    }
    first
        .filter(|_| !any && inputs.len() <= OPENED_BEFORE)
        .map_or(Ok(()), Err)
}

/// What of the vectors in a file can be taken over.
///
/// # Errors
/// `model_mismatch` for an encoded shard whose vectors the index cannot take.
fn carry_of(index: &Index, source: &Source, options: &SourceOptions) -> Result<Carry> {
    let Some(manifest) = source.manifest() else {
        return Ok(Carry::default());
    };
    let carry = index.carries(
        &manifest.definition,
        manifest.fingerprint.as_deref(),
        manifest.dimensions,
    );
    check_shard(index, manifest, carry, &source.path().display().to_string())?;
    // Texts that come from other columns are not those that were encoded.
    Ok(match options.mapping.is_empty() {
        true => carry,
        false => carry.without_encoded(),
    })
}

/// Whether a problem is not of one file, so that it ends a load and is none of its rejects.
fn ends_a_load(problem: &Problem) -> bool {
    matches!(problem.code, Code::InputChanged | Code::SourceNotPermitted)
}

/// Behind everything that can be read of a file which is damaged.
const END: Position = Position {
    row_group: u64::MAX,
    row: 0,
};

/// How far a load has come among its inputs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
pub struct Place {
    /// Inputs that were read to their ends.
    pub input: u64,
    /// The place in the next one.
    #[serde(flatten)]
    pub position: Position,
}

/// Where a row is from.
pub(crate) struct RowOrigin {
    /// Where reading goes on behind it.
    pub behind: Place,
    /// None for a file of which nothing more can be read.
    number: Option<u64>,
    row_group: Option<u64>,
    /// Rows that it stands for.
    pub rows: u64,
    line: Option<u64>,
    original: Original,
}

impl RowOrigin {
    /// Of no row, but of those up to a place that nobody wants.
    fn passed(behind: Place) -> RowOrigin {
        RowOrigin {
            behind,
            number: None,
            row_group: None,
            rows: 0,
            line: None,
            original: Original::none(),
        }
    }

    /// The row and what is wrong with it; files below `folder` are named from there.
    pub(crate) fn reject(
        &self,
        inputs: &[Input],
        folder: Option<&Path>,
        problem: &Problem,
    ) -> Reject {
        let input = usize::try_from(self.behind.input).ok();
        let input = input.and_then(|input| inputs.get(input));
        let file = Path::new(input.map_or("", Input::location));
        let below = folder.and_then(|folder| file.strip_prefix(folder).ok());
        let file = below.unwrap_or(file);
        match self.number {
            Some(number) => Reject::new(file, number, self.line, problem, &self.original)
                .within(self.row_group, self.rows),
            None => Reject::of_file(file, problem),
        }
    }
}

/// The rows of inputs from a place on, one input after the other. An error is the last item.
pub(crate) struct InputRows<'a> {
    index: &'a Index,
    inputs: &'a [Input],
    options: SourceOptions,
    progress: &'a Progress,
    at: Place,
    open: Option<Open>,
}

struct Open {
    source: Source,
    carry: Carry,
    /// Bytes that are counted as read.
    counted: u64,
}

impl<'a> InputRows<'a> {
    /// Counts the inputs' bytes, and those that lie before the place as read.
    pub(crate) fn new(
        index: &'a Index,
        inputs: &'a [Input],
        options: &'a SourceOptions,
        from: Place,
        progress: &'a Progress,
    ) -> InputRows<'a> {
        let total = inputs.iter().map(Input::bytes).sum();
        progress.bytes_total.fetch_add(total, Relaxed);
        let before = usize::try_from(from.input).unwrap_or(usize::MAX);
        let read = inputs.iter().take(before).map(Input::bytes).sum();
        progress.bytes.fetch_add(read, Relaxed);
        let embedding = index.definition().embedding.as_ref();
        let options = SourceOptions {
            vector_field: embedding.and_then(|embedding| embedding.vector_field.clone()),
            ..options.clone()
        };
        InputRows {
            index,
            inputs,
            options,
            progress,
            at: from,
            open: None,
        }
    }

    /// A file of which nothing more can be read, for what reason.
    fn damaged(&mut self, problem: Problem) -> (RowOrigin, Result<Incoming, Problem>) {
        self.open = None;
        self.at.position = END;
        let origin = RowOrigin {
            rows: 1,
            ..RowOrigin::passed(self.at)
        };
        (origin, Err(problem))
    }

    fn open(&self, input: &Input) -> Result<Open> {
        let source = Source::open_at(input, &self.options, self.at.position)?;
        let carry = carry_of(self.index, &source, &self.options)?;
        Ok(Open {
            source,
            carry,
            counted: 0,
        })
    }

    /// The next row of the input that is open; None at its end.
    fn row(&mut self) -> Option<Result<(RowOrigin, Result<Incoming, Problem>)>> {
        let Open {
            source,
            carry,
            counted,
        } = self.open.as_mut()?;
        let step = source.step()?;
        let read = source.bytes_read();
        let more = read.saturating_sub(*counted);
        self.progress.bytes.fetch_add(more, Relaxed);
        *counted += more;
        let mut row = match step {
            Ok(Step::Row(row)) => row,
            Ok(Step::Passed(place)) => {
                self.at.position = place.unwrap_or(self.at.position);
                return Some(Ok((RowOrigin::passed(self.at), Ok(Incoming::nothing()))));
            }
            Err(error) => return Some(Err(error)),
        };
        if let Ok(json) = &mut row.json {
            coerce_row(source.format(), self.index.definition(), json);
        }
        self.at.position = row.next();
        // Each row that cannot be read is counted, whatever tells of it.
        let more = row.rows.saturating_sub(1);
        self.progress.rows.fetch_add(more, Relaxed);
        self.progress.rejected.fetch_add(more, Relaxed);
        let has_groups = source.format().has_groups();
        let is_export = source.manifest().is_some();
        let id_field = self.index.definition().id_field.as_str();
        let incoming = row.json.and_then(|json| {
            let id = || read_id(id_field, json.get(id_field));
            Ok(match (row.operation, row.vectors) {
                (Operation::Delete, _) => Incoming::deletion(id()?),
                (Operation::Update, _) => Incoming::update(id()?, json),
                (Operation::Upsert, Some(vectors)) if is_export => {
                    Incoming::carrying(json, vectors, *carry)
                }
                (Operation::Upsert, Some(vectors)) => Incoming::with_vector(json, vectors.vectors),
                (Operation::Upsert, None) => Incoming::from(json),
            })
        });
        let origin = RowOrigin {
            behind: self.at,
            number: Some(row.number),
            row_group: has_groups.then_some(row.position.row_group),
            rows: row.rows,
            line: row.line,
            original: row.original,
        };
        Some(Ok((origin, incoming)))
    }
}

impl Iterator for InputRows<'_> {
    type Item = Result<(RowOrigin, Result<Incoming, Problem>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.open.is_none() {
                let input = self.inputs.get(usize::try_from(self.at.input).ok()?)?;
                // One that came to its end by damage has been told about.
                if self.at.position != END {
                    match self.open(input) {
                        Ok(open) => self.open = Some(open),
                        Err(Error::User(problem)) if !ends_a_load(&problem) => {
                            return Some(Ok(self.damaged(*problem)));
                        }
                        Err(error) => {
                            self.at.input = u64::MAX;
                            return Some(Err(error));
                        }
                    }
                }
            }
            match self.row() {
                Some(Err(Error::User(problem))) if !ends_a_load(&problem) => {
                    return Some(Ok(self.damaged(*problem)));
                }
                Some(Err(error)) => {
                    self.open = None;
                    self.at.input = u64::MAX;
                    return Some(Err(error));
                }
                Some(row) => return Some(row),
                None => {
                    self.open = None;
                    self.progress.files.fetch_add(1, Relaxed);
                    self.at = Place {
                        input: self.at.input + 1,
                        position: Position::default(),
                    };
                }
            }
        }
    }
}
