//! The stages that make a shard.
//!
//! ```text
//! reader ── batches ──> encoders ── vectors ──> writer (in the order of the rows)
//! ```
//!
//! Bounded queues join them, so that memory does not grow with the source and the encoder
//! always has work.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use super::encode::{Content, PartRows, ShardEncoder, rejects_of};
use super::place::Place;
use super::{Shard, Stamp, Unit};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Carry, Encoded, Prepared, Stored};
use crate::ingest::coerce::coerce_row;
use crate::ingest::export::{FORMAT, Writing};
use crate::ingest::{Input, Manifest, Operation, Original, Progress, Reject, Rejects};

/// Bytes that a batch holds, about, unless a single document is larger.
const BATCH_BYTES: usize = 16 << 20;
/// Encoders that take turns: while one cuts and collects, the other keeps the model busy.
const ENCODERS: usize = 2;

impl ShardEncoder {
    /// Writes the shard to a file, and its rejects to their place.
    pub(super) fn write(
        &self,
        unit: &Unit,
        input: &Input,
        scratch: &Path,
        file: File,
        progress: &Progress,
    ) -> Result<(File, Shard)> {
        let rows = self.rows(input, &unit.part)?;
        let mut manifest = Manifest {
            format: FORMAT,
            definition: self.index.definition().clone(),
            seq: 0,
            dimensions: self.index.dimensions(),
            fingerprint: self.index.fingerprint().map(str::to_string),
            shard: None,
        };
        let (to_encode, encode) = sync_channel::<(u64, Batch)>(self.settings.queue);
        let (to_write, write) = sync_channel::<(u64, Result<Done>)>(self.settings.queue);
        let encode = Arc::new(Mutex::new(encode));
        // A ticket for each batch between reader and writer, so that batches which overtake a
        // slow one cannot pile up before the writer.
        let (take_ticket, return_ticket) = sync_channel::<()>(2 * self.settings.queue + ENCODERS);
        let mut shard = Shard {
            source: unit.spelled(),
            stamp: Stamp::of(input),
            made_by: self.made_by.clone(),
            content: String::new(),
            rows: 0,
            documents: 0,
            rejected: 0,
            passages: 0,
            tokens: 0,
            truncated: 0,
        };
        let mut rejects = Rejects::new(scratch.join("rejects.jsonl"));
        let written = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let outlet = Outlet {
                    to_encode,
                    take_ticket,
                    number: 0,
                };
                self.read(rows, outlet, progress)
            });
            for _ in 0..ENCODERS {
                let (encode, to_write) = (encode.clone(), to_write.clone());
                scope.spawn(move || {
                    loop {
                        // The lock is held while waiting: encoders take batches in turn.
                        let Ok((number, batch)) = encode.lock().recv() else {
                            return;
                        };
                        if to_write
                            .send((number, encode_batch(batch, |all| self.index.encode(all))))
                            .is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop((encode, to_write));
            let mut sink = Sink {
                file: Some(file),
                source: &unit.source,
                writing: None,
                manifest: &manifest,
                shard: &mut shard,
                rejects: &mut rejects,
                progress,
            };
            let written = sink.take_all(&write, &return_ticket);
            // Without a receiver the stages before stop at their next batch.
            drop((write, return_ticket));
            let read = reader
                .join()
                .unwrap_or_else(|_| Err(Error::Bug("the reader of a unit panicked".into())));
            let writing = written?;
            shard.content = read?;
            Ok::<_, Error>(writing)
        })?;
        shard.rows = shard.documents + shard.rejected;
        manifest.shard = Some(shard);
        let file = written.finish(&manifest)?;
        let shard = manifest
            .shard
            .ok_or_else(|| Error::Bug("a shard lost its footer".into()))?;
        // Before the shard is there: who finds it finds its rejects.
        let place = Place::new(&rejects_of(&unit.target))?;
        match rejects.finish()? {
            None => place.remove()?,
            Some(path) => {
                let copy = |mut to: File| {
                    let copied = File::open(&path).and_then(|mut from| {
                        std::io::copy(&mut from, &mut to)?;
                        to.flush()
                    });
                    copied.map(|()| to).map_err(|e| {
                        Error::operator_from(format!("cannot copy {}", path.display()), e)
                    })
                };
                place.write(scratch, copy)?;
            }
        }
        Ok((file, shard))
    }

    /// Reads, checks and cuts rows into batches; the digest of what was read.
    fn read(&self, mut rows: PartRows, mut outlet: Outlet, progress: &Progress) -> Result<String> {
        let carry = match rows.source.manifest() {
            Some(manifest) => {
                let carry = self.index.carries(
                    &manifest.definition,
                    manifest.fingerprint.as_deref(),
                    manifest.dimensions,
                );
                // Texts that come from other columns are not those that were encoded.
                match self.options.mapping.is_empty() {
                    true => carry,
                    false => carry.without_encoded(),
                }
            }
            None => Carry::default(),
        };
        let format = rows.source.format();
        let has_groups = format.has_groups();
        let mut content = Content::default();
        let mut batch = Batch::default();
        let mut counted = 0;
        while let Some(row) = rows.next() {
            let read = rows.source.bytes_read();
            progress
                .bytes
                .fetch_add(read.saturating_sub(counted), Relaxed);
            counted = counted.max(read);
            let row = match row {
                Ok(row) => row,
                // The rows before are good, and nothing more can be read.
                Err(Error::User(problem)) => {
                    content.end(&problem);
                    batch.rejects.push(Reject::of_file(Path::new(""), &problem));
                    progress.rows.fetch_add(1, Relaxed);
                    break;
                }
                Err(error) => return Err(error),
            };
            progress.rows.fetch_add(row.rows, Relaxed);
            content.add(&row)?;
            let origin = Origin {
                number: row.number,
                group: has_groups.then_some(row.position.row_group),
                rows: row.rows,
                line: row.line,
                original: row.original,
            };
            let vectors = row.vectors;
            let json = row.json.and_then(|json| match row.operation {
                Operation::Upsert => Ok(json),
                other => Err(Problem::new(
                    Code::InvalidDocument,
                    "a shard holds documents, and this row asks for something else",
                )
                .found(format!("{other:?}").to_lowercase())
                .expected("rows to be written; load the source itself to update and delete")),
            });
            let prepared = json.map_err(Error::from).and_then(|mut json| {
                guarded(|| {
                    coerce_row(format, self.index.definition(), &mut json);
                    let most = self.index.limits().field_bytes;
                    self.index.prepare_carried(json, vectors, carry, most)
                })
            });
            match prepared {
                Ok(prepared) => {
                    batch.bytes += prepared.bytes();
                    batch.prepared.push((origin, prepared));
                }
                // A model that is not there is not the row's fault.
                Err(Error::User(problem)) if !problem.code.is_about_the_model() => {
                    batch.rejects.push(origin.reject(&problem));
                }
                Err(Error::Bug(what)) => {
                    batch.rejects.push(origin.reject(&unencodable(&what)));
                }
                Err(error) => return Err(error),
            }
            let full = batch.prepared.len() + batch.rejects.len() >= self.settings.batch_documents;
            if (full || batch.bytes >= BATCH_BYTES) && !outlet.send(std::mem::take(&mut batch)) {
                // A later stage failed and says why.
                return Ok(String::new());
            }
        }
        if !batch.prepared.is_empty() || !batch.rejects.is_empty() {
            outlet.send(batch);
        }
        Ok(content.digest())
    }
}

/// Encodes a batch; where that fails, each document by itself, so that only those that make it
/// fail are rejects.
///
/// # Errors
/// Where every one of several documents fails: then it is the model that does, not what it is
/// given.
fn encode_batch(
    batch: Batch,
    encode: impl Fn(Vec<Prepared>) -> Result<Vec<Encoded>>,
) -> Result<Done> {
    let mut done = Done {
        rejects: batch.rejects,
        ..Done::default()
    };
    let (origins, prepared): (Vec<Origin>, Vec<Prepared>) = batch.prepared.into_iter().unzip();
    let first = match guarded(|| encode(prepared.clone())) {
        Ok(encoded) => {
            done.encoded = encoded;
            return Ok(done);
        }
        Err(error) => error,
    };
    tracing::warn!(error = %first, "a batch cannot be encoded: each document by itself");
    let many = origins.len() > 1;
    for (origin, one) in origins.into_iter().zip(prepared) {
        match guarded(|| encode(vec![one])) {
            Ok(encoded) => done.encoded.extend(encoded),
            Err(error) => done
                .rejects
                .push(origin.reject(&unencodable(&error.to_string()))),
        }
    }
    match many && done.encoded.is_empty() {
        true => Err(first),
        false => Ok(done),
    }
}
/// Runs something; a panic in it becomes an error.
fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Error::Bug("it panicked; the log says where".into())))
}

fn unencodable(why: &str) -> Problem {
    Problem::new(Code::InvalidDocument, "the document cannot be encoded")
        .found(why)
        .expected("a text that the model can do")
}
/// Where a row is from.
struct Origin {
    number: u64,
    group: Option<u64>,
    /// Rows that it stands for.
    rows: u64,
    line: Option<u64>,
    original: Original,
}

impl Origin {
    /// The file is filled in by the writer.
    fn reject(&self, problem: &Problem) -> Reject {
        Reject::new(
            Path::new(""),
            self.number,
            self.line,
            problem,
            &self.original,
        )
        .within(self.group, self.rows)
    }
}

/// Rows on their way to the encoder.
#[derive(Default)]
struct Batch {
    prepared: Vec<(Origin, Prepared)>,
    rejects: Vec<Reject>,
    bytes: usize,
}

/// What became of a batch.
#[derive(Default)]
struct Done {
    encoded: Vec<Encoded>,
    rejects: Vec<Reject>,
}

/// The reader's end of the pipeline.
struct Outlet {
    to_encode: SyncSender<(u64, Batch)>,
    take_ticket: SyncSender<()>,
    number: u64,
}

impl Outlet {
    /// Hands a batch on once there is room; false if a later stage has stopped.
    fn send(&mut self, batch: Batch) -> bool {
        let number = self.number;
        self.number += 1;
        self.take_ticket.send(()).is_ok() && self.to_encode.send((number, batch)).is_ok()
    }
}

/// The writer's end.
struct Sink<'a> {
    /// Until the first document says in which order members mostly come.
    file: Option<File>,
    source: &'a str,
    writing: Option<Writing<File>>,
    manifest: &'a Manifest,
    shard: &'a mut Shard,
    rejects: &'a mut Rejects,
    progress: &'a Progress,
}

impl Sink<'_> {
    fn take_all(
        &mut self,
        write: &Receiver<(u64, Result<Done>)>,
        return_ticket: &Receiver<()>,
    ) -> Result<Writing<File>> {
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (number, done) in write.iter() {
            waiting.insert(number, done);
            while let Some(done) = waiting.remove(&next) {
                next += 1;
                self.take(done?)?;
                // Each batch here took its ticket before it was sent.
                let _ = return_ticket.try_recv();
            }
        }
        self.begin(&[])?;
        self.writing
            .take()
            .ok_or_else(|| Error::Bug("a shard was never begun".into()))
    }

    fn begin(&mut self, order: &[String]) -> Result<()> {
        if let Some(file) = self.file.take() {
            self.writing = Some(Writing::new(file, self.manifest, order)?);
        }
        Ok(())
    }

    fn take(&mut self, done: Done) -> Result<()> {
        for mut reject in done.rejects {
            reject.file = self.source.to_string();
            self.rejects.write(&reject)?;
            let rows = reject.rows.unwrap_or(1);
            self.shard.rejected += rows;
            self.progress.rejected.fetch_add(rows, Relaxed);
        }
        if let Some(first) = done.encoded.first() {
            let order: Vec<String> = first.document.source.keys().cloned().collect();
            self.begin(&order)?;
        }
        for one in done.encoded {
            let passages = one.vectors.as_ref().map_or(0, |v| v.spans.len()) as u64;
            self.shard.documents += 1;
            self.shard.passages += passages;
            self.shard.tokens += one.tokens;
            self.shard.truncated += u64::from(one.truncated);
            self.progress.loaded.fetch_add(1, Relaxed);
            self.progress.passages.fetch_add(passages, Relaxed);
            self.progress.tokens.fetch_add(one.tokens, Relaxed);
            self.progress
                .truncated
                .fetch_add(u64::from(one.truncated), Relaxed);
            let source = serde_json::to_vec(&one.document.source)
                .map_err(|e| Error::Bug(format!("a document does not serialise: {e}")))?;
            if let Some(writing) = &mut self.writing {
                writing.push(Stored {
                    id: one.document.id,
                    source,
                    vectors: one.vectors,
                })?;
            }
        }
        Ok(())
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::index::Definition;
    use crate::ingest::SourceOptions;
    use crate::ingest::source::Kept;
    use serde_json::json;

    fn encoder() -> ShardEncoder {
        let definition = "name = \"notes\"\n[fields.title]\ntype = \"text\"\n\
                          [embedding]\nvector_field = \"vector\"\ndimensions = 2\n";
        let definition = Definition::from_toml(definition).unwrap();
        ShardEncoder::new(definition, SourceOptions::default(), &Config::default()).unwrap()
    }

    fn batch(encoder: &ShardEncoder, ids: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for (number, id) in (1..).zip(ids) {
            let json = json!({"id": id, "title": "a", "vector": [1.0, 0.0]});
            let origin = Origin {
                number,
                group: None,
                rows: 1,
                line: None,
                original: Original(Kept::Text(json.to_string().into_bytes())),
            };
            batch
                .prepared
                .push((origin, encoder.index.prepare(json).unwrap()));
        }
        batch
    }

    #[test]
    fn a_document_that_cannot_be_encoded_is_a_reject_and_the_others_are_not() {
        let encoder = encoder();
        // Panics at one, fails at another.
        let encode = |all: Vec<Prepared>| {
            for one in &all {
                match one.document.id.as_str() {
                    "panics" => panic!("as a model might"),
                    "fails" => return Err(Error::operator("as a model might")),
                    _ => {}
                }
            }
            encoder.index.encode(all)
        };
        let ids = ["a", "panics", "b", "fails", "c"];
        let done = encode_batch(batch(&encoder, &ids), encode).unwrap();
        let encoded: Vec<&str> = done
            .encoded
            .iter()
            .map(|one| one.document.id.as_str())
            .collect();
        assert_eq!(encoded, ["a", "b", "c"]);
        let rejected: Vec<Option<u64>> = done.rejects.iter().map(|reject| reject.row).collect();
        assert_eq!(rejected, [Some(2), Some(4)]);
        // One by itself is a reject; of several that all fail it is the model that does.
        let done = encode_batch(batch(&encoder, &["panics"]), encode).unwrap();
        assert_eq!((done.encoded.len(), done.rejects.len()), (0, 1));
        assert!(encode_batch(batch(&encoder, &["panics", "fails"]), encode).is_err());
    }
}
