//! The loading pipeline: reading and checking, encoding, writing, side by side.
//!
//! ```text
//! reader ── batches ──> encoders ── vectors ──> writer (synced, in the order of the rows)
//! ```
//!
//! Bounded queues join the stages, so memory does not grow with the input, and the
//! encoder, by far the slowest stage, never waits for another. Two encoders take turns:
//! while one cuts and collects, the other keeps the sessions busy. The writer puts the
//! batches back into order, so that loading the same file twice gives the same index.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use serde_json::Value as Json;

use super::shards::check_shard;
use super::{Original, Progress, Reject, Rejects, Source, SourceOptions, coerce, coerce_vector};
use crate::config::Ingest;
use crate::error::{Error, Problem, Result};
use crate::index::{Carry, Encoded, Index, Prepared, Written};
use crate::store::StoredVectors;

/// Bytes that one batch holds, about, unless a single document is larger: a limit on
/// memory where documents are long.
const BATCH_BYTES: usize = 16 << 20;

/// Encoders that take turns.
const ENCODERS: usize = 2;

/// Loads files into an index, makes the documents visible, and returns the rejects
/// file if there was a row to reject.
///
/// # Errors
/// What ends a load: a file that cannot be read as what it claims to be (the rows before
/// the damage are loaded), the disk, the encoder. Bad rows do not.
pub fn load_files(
    index: &Index,
    files: &[PathBuf],
    options: &SourceOptions,
    settings: &Ingest,
    rejects: &Path,
    progress: &Progress,
) -> Result<Option<PathBuf>> {
    index.check_writable()?;
    // Every file is opened before anything is loaded: a misspelt name is noticed at once.
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        let source = Source::open(file, options)?;
        progress
            .bytes_total
            .fetch_add(source.bytes_total(), Relaxed);
        sources.push(source);
    }
    for source in &sources {
        if let Some(manifest) = source.manifest() {
            let carry = index.carries(
                &manifest.definition,
                manifest.fingerprint.as_deref(),
                manifest.dimensions,
            );
            check_shard(index, manifest, carry, &source.path().display().to_string())?;
        }
    }
    let mut rejects = Rejects::new(rejects);
    let mut failure = None;
    for mut source in sources {
        let path = source.path().to_path_buf();
        let typed = source.format().is_typed();
        let definition = index.definition();
        let fields = &definition.fields;
        let vector_field = definition
            .embedding
            .as_ref()
            .and_then(|embedding| embedding.vector_field.as_deref());
        let carry = match source.manifest() {
            Some(manifest) => {
                let carry = index.carries(
                    &manifest.definition,
                    manifest.fingerprint.as_deref(),
                    manifest.dimensions,
                );
                // Texts that come from other columns are not those that were encoded.
                match options.mapping.is_empty() {
                    true => carry,
                    false => carry.without_encoded(),
                }
            }
            None => Carry::default(),
        };
        let mut counted = 0;
        let rows = std::iter::from_fn(|| {
            let row = source.next()?;
            let read = source.bytes_read();
            progress
                .bytes
                .fetch_add(read.saturating_sub(counted), Relaxed);
            counted = counted.max(read);
            Some(row.map(|mut row| {
                if let (false, Ok(Json::Object(object))) = (typed, &mut row.json) {
                    coerce(fields, object);
                    if let Some(field) = vector_field {
                        coerce_vector(field, object);
                    }
                }
                let vectors = row.vectors;
                let incoming = row.json.map(|json| Incoming {
                    json,
                    carried: vectors.map(|vectors| (vectors, carry)),
                });
                ((row.number, row.line, row.original), incoming)
            }))
        });
        let outcome = load_rows(
            index,
            rows,
            settings,
            progress,
            |(number, line, original): (u64, Option<u64>, Original), problem| {
                rejects.write(&Reject::new(&path, number, line, &problem, &original))
            },
        );
        progress.files.fetch_add(1, Relaxed);
        if let Err(error) = outcome {
            failure = Some(error);
            break;
        }
    }
    // What was loaded before a failure is durable and is made visible all the same.
    let refreshed = index.refresh();
    let rejects = rejects.finish()?;
    match failure {
        Some(error) => Err(error),
        None => refreshed.map(|_| rejects),
    }
}

/// A document on its way into an index.
#[derive(Debug)]
pub struct Incoming {
    json: Json,
    /// Vectors that it has in another index, and what of them can be taken over.
    carried: Option<(StoredVectors, Carry)>,
}

impl Incoming {
    /// A document, and vectors of the one that it takes the place of.
    pub(super) fn carrying(json: Json, vectors: StoredVectors, carry: Carry) -> Incoming {
        Incoming {
            json,
            carried: Some((vectors, carry)),
        }
    }
}

impl From<Json> for Incoming {
    fn from(json: Json) -> Incoming {
        Incoming {
            json,
            carried: None,
        }
    }
}

/// Loads rows from anywhere; `R` says where a row is from and is handed back, with the
/// problem, for each row that does not fit. Does not refresh.
pub fn load_rows<R: Send, I: Into<Incoming>>(
    index: &Index,
    rows: impl Iterator<Item = Result<(R, Result<I, Problem>)>> + Send,
    settings: &Ingest,
    progress: &Progress,
    reject: impl FnMut(R, Problem) -> Result<()> + Send,
) -> Result<()> {
    let (to_encode, encode) = sync_channel::<(u64, Vec<Prepared>)>(settings.queue);
    let (to_write, write) = sync_channel::<(u64, Result<Vec<Encoded>>)>(settings.queue);
    let encode = Arc::new(Mutex::new(encode));
    // A ticket for each batch between reader and writer, so that batches which overtake a
    // slow one cannot pile up before the writer.
    let (take_ticket, return_ticket) = sync_channel::<()>(2 * settings.queue + ENCODERS);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let outlet = Outlet {
                to_encode,
                take_ticket,
                number: 0,
            };
            read(index, rows, settings, progress, reject, outlet)
        });
        for _ in 0..ENCODERS {
            let (encode, to_write) = (encode.clone(), to_write.clone());
            scope.spawn(move || {
                loop {
                    // The lock is held while waiting: encoders take batches in turn.
                    let Ok((number, batch)) = encode.lock().recv() else {
                        return;
                    };
                    // A panic becomes an error in its batch's place: the writer, which
                    // waits for that number, must hear of it.
                    let encoded = catch_unwind(AssertUnwindSafe(|| index.encode(batch)))
                        .unwrap_or_else(|_| Err(Error::Bug("the encoder panicked".into())));
                    if to_write.send((number, encoded)).is_err() {
                        return;
                    }
                }
            });
        }
        drop((encode, to_write));
        let written = write_in_order(index, &write, &return_ticket, progress);
        // Without a receiver the stages before stop at their next batch.
        drop((write, return_ticket));
        let read = reader
            .join()
            .unwrap_or_else(|_| Err(Error::Bug("the reader of a load panicked".into())));
        written.and(read)
    })
}

fn read<R, I: Into<Incoming>>(
    index: &Index,
    rows: impl Iterator<Item = Result<(R, Result<I, Problem>)>>,
    settings: &Ingest,
    progress: &Progress,
    mut reject: impl FnMut(R, Problem) -> Result<()>,
    mut outlet: Outlet,
) -> Result<()> {
    let mut batch = Vec::with_capacity(settings.batch_documents);
    let mut bytes = 0;
    let mut failure = None;
    for row in rows {
        let (origin, json) = match row {
            Ok(row) => row,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        progress.rows.fetch_add(1, Relaxed);
        let prepared = match json {
            Ok(incoming) => match incoming.into() {
                Incoming {
                    json,
                    carried: Some((vectors, carry)),
                } => {
                    let most = index.limits().field_bytes;
                    index.prepare_carried(json, Some(vectors), carry, most)
                }
                Incoming { json, .. } => index.prepare(json),
            },
            Err(problem) => Err(problem.into()),
        };
        match prepared {
            Ok(prepared) => {
                bytes += prepared.bytes();
                batch.push(prepared);
            }
            // A model that is not there is not the row's fault.
            Err(Error::User(problem)) if !problem.code.is_about_the_model() => {
                progress.rejected.fetch_add(1, Relaxed);
                reject(origin, *problem)?;
            }
            Err(error) => return Err(error),
        }
        if batch.len() >= settings.batch_documents || bytes >= BATCH_BYTES {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(settings.batch_documents));
            if !outlet.batch(full) {
                // A later stage failed and says why.
                return Ok(());
            }
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        outlet.batch(batch);
    }
    failure.map_or(Ok(()), Err)
}

/// The reader's end of the pipeline.
struct Outlet {
    to_encode: SyncSender<(u64, Vec<Prepared>)>,
    take_ticket: SyncSender<()>,
    number: u64,
}

impl Outlet {
    /// Hands a batch on once there is room; false if a later stage has stopped.
    fn batch(&mut self, batch: Vec<Prepared>) -> bool {
        let number = self.number;
        self.number += 1;
        self.take_ticket.send(()).is_ok() && self.to_encode.send((number, batch)).is_ok()
    }
}

fn write_in_order(
    index: &Index,
    write: &Receiver<(u64, Result<Vec<Encoded>>)>,
    return_ticket: &Receiver<()>,
    progress: &Progress,
) -> Result<()> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for (number, encoded) in write.iter() {
        waiting.insert(number, encoded);
        while let Some(encoded) = waiting.remove(&next) {
            next += 1;
            let encoded = encoded?;
            let written = index.write(&encoded)?;
            // Each batch here took its ticket before it was sent.
            let _ = return_ticket.try_recv();
            let updated = written.iter().filter(|w| **w == Written::Updated).count();
            progress.loaded.fetch_add(written.len() as u64, Relaxed);
            progress.replaced.fetch_add(updated as u64, Relaxed);
            for one in &encoded {
                let passages = one.vectors.as_ref().map_or(0, |v| v.spans.len());
                progress.passages.fetch_add(passages as u64, Relaxed);
                progress.tokens.fetch_add(one.tokens, Relaxed);
                progress
                    .truncated
                    .fetch_add(u64::from(one.truncated), Relaxed);
            }
        }
    }
    Ok(())
}
