//! The word index on disk: one long-lived writer, views of its commits.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tantivy::directory::MmapDirectory;
use tantivy::directory::error::{LockError, OpenReadError};
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy, MergePolicy};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError};

use super::fault;
use super::reader::WordReader;
use super::schema::Columns;
use super::view::View;
use crate::document::{Document, Fields};
use crate::error::{Error, Result};
use crate::filter::OrdinalSet;

/// Resources of the writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WordOptions {
    /// Memory for documents awaiting their commit, in bytes, over all threads. At least
    /// 15 MB per thread is used.
    pub writer_memory: u64,
    /// Threads that analyse documents. 1 to 8; fewer are used if the memory does not
    /// suffice.
    pub threads: usize,
    /// Read every file on opening and compare checksums, so that a damaged index is
    /// rebuilt at once rather than found out later.
    pub verify: bool,
}

impl Default for WordOptions {
    fn default() -> Self {
        WordOptions {
            writer_memory: 128 * 1024 * 1024,
            threads: 2,
            verify: true,
        }
    }
}

/// Why an index could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory holds no usable index for these fields: it is damaged, or of
    /// another definition or version. Rebuilding from the documents is the way out.
    #[error("the word index has to be rebuilt: {reason}")]
    Rebuild {
        /// What is wrong with it.
        reason: String,
    },
    /// The directory cannot be used at all: locked, unreadable, disk full.
    #[error(transparent)]
    Other(#[from] Error),
}

/// An index of words, numbers and dates, derived from the documents.
///
/// Changes become visible, and survive, at the next [`WordIndex::commit`]. After a
/// crash or a failed commit the index is as of its last commit, which says what part
/// of the log it covers; what came later has to be applied again.
///
/// All methods take `&self`; any number of threads may add and delete, and search
/// through [`WordReader`]s, at the same time.
pub struct WordIndex {
    columns: Arc<Columns>,
    index: Index,
    /// None after a failure from which tantivy's writer could not be restored.
    writer: RwLock<Option<IndexWriter>>,
    source: IndexReader,
    /// What the last commit covers, also where taking it up failed afterwards: applying it
    /// again would double documents.
    committed: AtomicU64,
    view: Mutex<Arc<View>>,
}

/// Smallest and largest memory of one writer thread, in bytes; tantivy's own limits.
const THREAD_MEMORY: std::ops::RangeInclusive<u64> = 15_000_000..=4_000_000_000;
/// Share of deleted documents from which a segment is merged to be rid of them.
const DELETED_SHARE: f32 = 0.2;

impl WordIndex {
    /// Opens the index in `dir` for these fields, or creates it if the directory is
    /// empty or missing.
    ///
    /// # Errors
    /// [`OpenError::Rebuild`] if what is there cannot serve; nothing is changed then.
    pub fn open_or_create(
        dir: &Path,
        fields: &Fields,
        options: &WordOptions,
    ) -> Result<WordIndex, OpenError> {
        fs::create_dir_all(dir).map_err(|e| {
            Error::operator_from(format!("cannot create the folder {}", dir.display()), e)
        })?;
        unpanicked(|| open(dir, fields, options))
    }

    /// The log sequence that the index in `dir` covers and the ordinals of its live documents,
    /// looked up without a writer: nothing is changed. `verify` as in [`WordOptions`].
    ///
    /// # Errors
    /// As [`WordIndex::open_or_create`]; [`OpenError::Rebuild`], too, where there is none.
    pub fn inspect(
        dir: &Path,
        fields: &Fields,
        verify: bool,
    ) -> Result<(u64, Arc<OrdinalSet>), OpenError> {
        if !dir.is_dir() {
            return Err(OpenError::Rebuild {
                reason: "there is none".into(),
            });
        }
        unpanicked(|| {
            let found = find(dir, fields, verify, false)?;
            let reader = WordReader::new(Arc::new(found.view));
            Ok((found.covered, reader.live()))
        })
    }

    /// Opens the index in `dir`; if it has to be rebuilt, clears the directory and starts
    /// an empty one, which covers nothing.
    ///
    /// # Errors
    /// An operator's error if the directory cannot be used.
    pub fn open_or_rebuild(
        dir: &Path,
        fields: &Fields,
        options: &WordOptions,
    ) -> Result<WordIndex> {
        match WordIndex::open_or_create(dir, fields, options) {
            Ok(index) => return Ok(index),
            Err(OpenError::Other(error)) => return Err(error),
            Err(OpenError::Rebuild { reason }) => {
                tracing::warn!(dir = %dir.display(), reason, "rebuilding the word index");
            }
        }
        clear(dir)?;
        match WordIndex::open_or_create(dir, fields, options) {
            Ok(index) => Ok(index),
            Err(OpenError::Other(error)) => Err(error),
            Err(OpenError::Rebuild { reason }) => {
                let message = format!("a new word index in {} is unusable", dir.display());
                Err(Error::operator_from(message, reason)
                    .advice("check the disk the data folder is on"))
            }
        }
    }

    /// The log sequence that the last commit covers; 0 for a new index.
    pub fn covered(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Adds a document. Earlier documents of the same ordinal stay: delete them first.
    /// Waits while the writer's queue is full.
    ///
    /// # Errors
    /// An operator's error if the writer has failed (disk full); see
    /// [`WordIndex::commit`].
    pub fn add(&self, ordinal: u32, document: &Document) -> Result<()> {
        let document = self.columns.document(ordinal, document);
        let writer = self.writer.read();
        let writer = writer.as_ref().ok_or_else(broken)?;
        writer.add_document(document).map_err(fault)?;
        Ok(())
    }

    /// Deletes the documents of an ordinal that were added so far.
    ///
    /// # Errors
    /// As [`WordIndex::add`].
    pub fn delete(&self, ordinal: u32) -> Result<()> {
        let writer = self.writer.read();
        let writer = writer.as_ref().ok_or_else(broken)?;
        writer.delete_term(self.columns.ordinal_term(ordinal));
        Ok(())
    }

    /// Makes all changes so far durable and visible to new readers, and records that they
    /// are the log up to `covered`.
    ///
    /// # Errors
    /// An operator's error if the disk fails. Everything since the last commit is
    /// forgotten then, and has to be applied again from [`WordIndex::covered`]; if even
    /// that fails, the index has to be opened anew.
    pub fn commit(&self, covered: u64) -> Result<()> {
        let mut slot = self.writer.write();
        let writer = slot.as_mut().ok_or_else(broken)?;
        let committed = writer.prepare_commit().and_then(|mut prepared| {
            prepared.set_payload(&payload(covered));
            prepared.commit()
        });
        if let Err(error) = committed {
            match writer.rollback() {
                Ok(_) => {
                    writer.set_merge_policy(merging());
                    if let Err(error) = remove_strays(writer) {
                        tracing::warn!(%error, "files of a failed commit cannot be removed");
                    }
                }
                Err(worse) => {
                    tracing::error!(%worse, "the word index's writer cannot be restored");
                    *slot = None;
                }
            }
            return Err(fault(error).advice("check the disk the data folder is on"));
        }
        self.committed.store(covered, Ordering::Release);
        self.refresh(covered)
    }

    /// A view of the last commit.
    ///
    /// # Errors
    /// An operator's error if the index's files cannot be read.
    pub fn reader(&self) -> Result<WordReader> {
        let current = Arc::clone(&self.view.lock());
        // Merges change segments without a commit; a view of the merged ones is faster.
        if self.merged(&current)
            // A commit under way will refresh by itself.
            && let Some(_writer) = self.writer.try_read()
        {
            self.refresh(self.covered())?;
        }
        Ok(WordReader::new(Arc::clone(&self.view.lock())))
    }

    /// Rewrites the segments without what was deleted, and removes the files that nobody
    /// reads any more. Additions wait meanwhile; searches do not.
    ///
    /// # Errors
    /// An operator's error if the disk fails; the index is as before then.
    pub fn compact(&self) -> Result<()> {
        let mut slot = self.writer.write();
        let writer = slot.as_mut().ok_or_else(broken)?;
        let segments = self.index.searchable_segment_metas().map_err(fault)?;
        let dead = segments.iter().filter(|s| s.num_deleted_docs() > 0);
        let dead: Vec<_> = dead.map(tantivy::SegmentMeta::id).collect();
        if !dead.is_empty() {
            // Merges under way may have taken one of them already: they drop the dead too.
            match writer.merge(&dead).wait() {
                Ok(_) | Err(TantivyError::InvalidArgument(_)) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        self.refresh(self.covered())?;
        writer.garbage_collect_files().wait().map_err(fault)?;
        Ok(())
    }

    fn merged(&self, view: &View) -> bool {
        let Ok(now) = self.index.searchable_segment_ids() else {
            return false;
        };
        now.len() != view.segments.len()
            || view
                .segments
                .iter()
                .any(|s| !now.contains(&s.reader.segment_id()))
    }

    /// Takes up the segments as they are on disk. The caller holds the writer's lock, so
    /// no commit comes in between.
    fn refresh(&self, covered: u64) -> Result<()> {
        let mut view = self.view.lock();
        self.source.reload().map_err(fault)?;
        let searcher = self.source.searcher();
        let columns = Arc::clone(&self.columns);
        *view = Arc::new(View::new(columns, &searcher, covered, Some(&view))?);
        Ok(())
    }
}

/// Tantivy answers some damage with a panic, which here means: rebuild.
fn unpanicked<T>(open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let opened = std::panic::catch_unwind(AssertUnwindSafe(open));
    opened.unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown")
            .to_string();
        Err(OpenError::Rebuild { reason })
    })
}

/// What is in a directory, without a writer.
struct Found {
    columns: Arc<Columns>,
    index: Index,
    source: IndexReader,
    covered: u64,
    view: View,
}

fn open(dir: &Path, fields: &Fields, options: &WordOptions) -> Result<WordIndex, OpenError> {
    let Found {
        columns,
        index,
        source,
        covered,
        view,
    } = find(dir, fields, options.verify, true)?;
    let writer = writer(&index, options)?;
    Ok(WordIndex {
        columns,
        index,
        writer: RwLock::new(Some(writer)),
        source,
        committed: AtomicU64::new(covered),
        view: Mutex::new(Arc::new(view)),
    })
}

/// Opens what is there; an empty directory is made an index of, where that is wanted.
fn find(dir: &Path, fields: &Fields, verify: bool, create: bool) -> Result<Found, OpenError> {
    let columns = Arc::new(Columns::new(fields));
    let mmap = MmapDirectory::open(dir).map_err(|e| {
        Error::operator_from(format!("cannot open the folder {}", dir.display()), e)
    })?;
    let empty = fs::read_dir(dir)
        .map_err(|e| Error::operator_from(format!("cannot read {}", dir.display()), e))?
        .next()
        .is_none();
    let index = match (empty, create) {
        (true, true) => Index::create(mmap, columns.schema.clone(), Default::default()),
        (true, false) => {
            return Err(OpenError::Rebuild {
                reason: "the folder is empty".into(),
            });
        }
        (false, _) => Index::open(mmap),
    }
    .map_err(rebuild)?;
    if index.schema() != columns.schema {
        return Err(OpenError::Rebuild {
            reason: "it was built for other fields or another analysis".into(),
        });
    }
    columns.register(&index);
    if verify && !empty {
        let damaged = index.validate_checksum().map_err(rebuild)?;
        if let Some(file) = damaged.iter().min() {
            return Err(OpenError::Rebuild {
                reason: format!("{} does not match its checksum", file.display()),
            });
        }
    }
    let covered = covered_by(&index)?;
    let source: IndexReader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .try_into()
        .map_err(rebuild)?;
    let view = View::new(Arc::clone(&columns), &source.searcher(), covered, None).map_err(|e| {
        OpenError::Rebuild {
            reason: e.to_string(),
        }
    })?;
    Ok(Found {
        columns,
        index,
        source,
        covered,
        view,
    })
}

fn writer(index: &Index, options: &WordOptions) -> Result<IndexWriter, OpenError> {
    let affordable = usize::try_from(options.writer_memory / THREAD_MEMORY.start()).unwrap_or(8);
    let threads = options.threads.clamp(1, 8).min(affordable.max(1));
    let memory = (options.writer_memory / threads as u64)
        .clamp(*THREAD_MEMORY.start(), *THREAD_MEMORY.end());
    let options = IndexWriterOptions::builder()
        .num_worker_threads(threads)
        .memory_budget_per_thread(usize::try_from(memory).unwrap_or(15_000_000))
        .num_merge_threads(2)
        .build();
    let writer = index.writer_with_options(options).map_err(rebuild)?;
    writer.set_merge_policy(merging());
    remove_strays(&writer).map_err(rebuild)?;
    Ok(writer)
}

/// Removes the files of a commit that was cut short. Its operations come again, at the same
/// place of the log, and want to make files of the same names, which must not be there.
fn remove_strays(writer: &IndexWriter) -> Result<(), TantivyError> {
    writer.garbage_collect_files().wait().map(drop)
}

fn merging() -> Box<dyn MergePolicy> {
    let mut policy = LogMergePolicy::default();
    policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
    Box::new(policy)
}

fn broken() -> Error {
    Error::operator("the word index's writer has failed")
        .advice("check the disk the data folder is on, then restart")
}

/// What a failure to open means: trouble with the machine stays that, anything else
/// is about the contents.
fn rebuild(error: TantivyError) -> OpenError {
    let machine = match &error {
        TantivyError::LockFailure(LockError::LockBusy, _) => {
            return OpenError::Other(
                Error::operator_from("the word index is in use", error.to_string())
                    .advice("stop the other process that has this data folder open"),
            );
        }
        TantivyError::LockFailure(..)
        | TantivyError::OpenDirectoryError(_)
        | TantivyError::OpenWriteError(_)
        | TantivyError::SystemError(_) => true,
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => {
            !about_contents(io_error)
        }
        TantivyError::IoError(io_error) => !about_contents(io_error),
        _ => false,
    };
    if machine {
        return OpenError::Other(fault(error));
    }
    OpenError::Rebuild {
        reason: error.to_string(),
    }
}

/// Whether an I/O error comes of what a file holds, rather than of the machine.
fn about_contents(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::Other
    )
}

const PAYLOAD: &str = "gleaner-words covered=";

fn payload(covered: u64) -> String {
    format!("{PAYLOAD}{covered}")
}

fn covered_by(index: &Index) -> Result<u64, OpenError> {
    let metas = index.load_metas().map_err(rebuild)?;
    match metas.payload {
        None if metas.segments.is_empty() => Ok(0),
        payload => payload
            .as_deref()
            .and_then(|p| p.strip_prefix(PAYLOAD)?.parse().ok())
            .ok_or_else(|| OpenError::Rebuild {
                reason: "its last commit does not say what it covers".into(),
            }),
    }
}

/// Removes the files of a directory. A directory inside is not ours, and refused.
fn clear(dir: &Path) -> Result<()> {
    let cannot = |e: std::io::Error| {
        Error::operator_from(format!("cannot clear the folder {}", dir.display()), e)
    };
    let entries: Vec<_> = fs::read_dir(dir)
        .and_then(|entries| entries.collect::<std::io::Result<_>>())
        .map_err(cannot)?;
    for entry in &entries {
        if entry.file_type().map_err(cannot)?.is_dir() {
            return Err(Error::operator(format!(
                "the word index's folder {} holds another folder",
                dir.display()
            ))
            .advice("move it elsewhere; the word index's folder is cleared and rebuilt"));
        }
    }
    for entry in &entries {
        fs::remove_file(entry.path()).map_err(cannot)?;
    }
    Ok(())
}
