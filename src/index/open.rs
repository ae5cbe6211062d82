//! Creating, opening and recovering an index.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tracing::{info, warn};

use super::catalog::Settings;
use super::combiner::{self, ActiveCombiner};
use super::figures::Refreshes;
use super::follow::Attachment;
use super::held::Held;
use super::redefine::Described;
use super::view::Epoch;
use super::write::Writer;
use super::{Definition, Embedding, View};
use crate::config::Limits;
use crate::document::{Document, UnknownFields, validate};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::OrdinalSet;
use crate::lexical::{QueryOptions, WordIndex, WordOptions, WordQuery};
use crate::model::{CrossEncoder, TextEncoder};
use crate::store::{Store, StoreOptions, StoredVectors};
use crate::vector::{
    Inherited, MOST_DIMENSIONS, Owner, VectorIndex, VectorOptions, VectorReader, next_number,
};

/// Names of the small values kept beside the documents.
pub(super) const META_DEFINITION: &str = "definition";
const META_FINGERPRINT: &str = "model_fingerprint";
const META_DIMENSIONS: &str = "dimensions";
pub(super) const META_ID: &str = "id";
const META_INHERITED: &str = "inherited";

/// Passages after which vectors read back on opening are published.
const PUBLISH_EVERY: usize = 50_000;

/// An open index. Shared between threads behind an [`Arc`].
pub struct Index {
    folder: PathBuf,
    name: String,
    pub(super) described: Described,
    settings: Settings,
    dimensions: usize,
    fingerprint: Option<String>,
    encoder: OnceLock<TextEncoder>,
    encoder_opening: Mutex<()>,
    pub(super) store: Arc<Store>,
    pub(super) words: WordIndex,
    pub(super) vectors: Option<VectorIndex>,
    pub(super) view: ArcSwap<View>,
    pub(super) writer: Mutex<Writer>,
    /// Requests under way that are to be carried out once.
    pub(super) once: Arc<Mutex<HashSet<String>>>,
    held: Held,
    /// The combiner that searches use.
    pub(super) combiner: ArcSwap<ActiveCombiner>,
    /// Where it is from, if it was built elsewhere.
    pub(super) attached: OnceLock<Arc<Attachment>>,
    /// Held while what is kept of combiners is read and written again.
    pub(super) combiners_changing: Mutex<()>,
    pub(super) refreshes: Refreshes,
}

impl Index {
    /// Creates an index in `folder`, which must not exist yet.
    ///
    /// # Errors
    /// A definition that contradicts itself or names a model that is not there; an
    /// operator error where the folder cannot be written.
    pub fn create(folder: &Path, definition: Definition, settings: &Settings) -> Result<Index> {
        Index::create_marked(folder, definition, settings, None)
    }

    /// The same with a file of this content beside the index's own, from its beginning on:
    /// what says that the index is not to be used yet.
    pub(super) fn create_marked(
        folder: &Path,
        definition: Definition,
        settings: &Settings,
        mark: Option<&[u8]>,
    ) -> Result<Index> {
        definition.check()?;
        let mut fingerprint = None;
        let mut dimensions = 0;
        let mut opened = None;
        if let Some(embedding) = &definition.embedding {
            match &embedding.model {
                Some(name) => {
                    let encoder = encoder_of(settings, name, embedding)?;
                    dimensions = encoder.dimensions();
                    if dimensions > MOST_DIMENSIONS {
                        return Err(Problem::new(
                            Code::InvalidDefinition,
                            "the model makes vectors of more dimensions than can be indexed",
                        )
                        .field("embedding.model")
                        .found(dimensions)
                        .expected(format!("at most {MOST_DIMENSIONS}"))
                        .into());
                    }
                    fingerprint = Some(encoder.fingerprint().to_string());
                    opened = Some(encoder);
                }
                None => dimensions = embedding.dimensions.unwrap_or(0),
            }
            if let (Some(encoder), Some(passages)) = (&opened, embedding.passages) {
                // Lengths that the model cannot do would refuse every document later.
                encoder.passages("", passages.max_tokens, passages.overlap)?;
            }
        }
        // Everything is made in a folder beside and renamed, so that a half-made index
        // is never found under its name.
        let making = with_suffix(folder, ".making");
        remove_unfinished(&making)?;
        std::fs::create_dir_all(&making)
            .map_err(|e| Error::operator_from(format!("cannot create {}", making.display()), e))?;
        {
            let store = Store::create(store_folder(&making), &settings.store)?;
            let text = serde_json::to_vec(&definition)
                .map_err(|e| Error::Bug(format!("a definition does not serialise: {e}")))?;
            store.put_meta(META_DEFINITION, &text)?;
            store.put_meta(META_DIMENSIONS, dimensions.to_string().as_bytes())?;
            if let Some(fingerprint) = &fingerprint {
                store.put_meta(META_FINGERPRINT, fingerprint.as_bytes())?;
            }
        }
        if let Some(mark) = mark {
            set_mark(&making, mark)?;
        }
        std::fs::rename(&making, folder).map_err(|e| {
            Error::operator_from(
                format!("cannot move the new index to {}", folder.display()),
                e,
            )
        })?;
        sync_parent(folder)?;
        let index = Index::open(folder, settings)?;
        if let Some(encoder) = opened {
            // Already open and checked; a second thread cannot have been faster.
            let _ = index.encoder.set(encoder);
        }
        Ok(index)
    }

    /// Opens the index in `folder` and brings words and vectors up to its log.
    pub fn open(folder: &Path, settings: &Settings) -> Result<Index> {
        let store = Arc::new(Store::open(store_folder(folder), &settings.store)?);
        let Noted {
            definition,
            fingerprint,
            dimensions,
        } = noted(&store, folder)?;

        let mut live = OrdinalSet::with_capacity(store.next_ordinal());
        store.for_each_live(|ordinal, _| {
            live.insert(ordinal);
        })?;

        let open_words = || {
            WordIndex::open_or_rebuild(
                &folder.join("words"),
                &definition.fields,
                &WordOptions {
                    writer_memory: settings.storage.word_buffer_bytes as u64,
                    ..WordOptions::default()
                },
            )
        };
        let words = open_words()?;
        let words = recover_words(&store, words, &definition, &live, || {
            remove_folder(&folder.join("words"))?;
            open_words()
        })?;

        bury_the_dead(&store)?;

        let vectors = match &definition.embedding {
            Some(embedding) => {
                let vectors = VectorIndex::open(
                    vector_options(embedding, dimensions, settings),
                    &folder.join("vectors"),
                    &owner(&store, index_id(&store)?)?,
                )?;
                // Those that are in none of the sealed segments.
                let mut missing = live.clone();
                missing.and_not(&vectors.reader().documents());
                add_stored(&store, &vectors, &missing, &definition.name)?;
                Some(vectors)
            }
            None => None,
        };

        let combiner = combiner::active(&store)?;
        let live = Arc::new(live);
        let seq = store.last_seq();
        let view = View {
            words: words.reader()?,
            vectors: vectors
                .as_ref()
                .map(|v| publish(v, &live, store.next_ordinal())),
            documents: live.len() as u64,
            live: live.clone(),
            seq,
            epoch: Epoch::new(&store),
        };
        Ok(Index {
            folder: folder.to_path_buf(),
            name: definition.name.clone(),
            described: Described::new(definition),
            settings: settings.clone(),
            dimensions,
            fingerprint,
            encoder: OnceLock::new(),
            encoder_opening: Mutex::new(()),
            store,
            words,
            vectors,
            view: ArcSwap::from_pointee(view),
            writer: Mutex::new(Writer::new((*live).clone(), seq)),
            once: Arc::default(),
            held: Held::new(),
            attached: OnceLock::new(),
            combiner: ArcSwap::from_pointee(combiner),
            combiners_changing: Mutex::new(()),
            refreshes: Refreshes::default(),
        })
    }

    /// The index's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, which no other index has or had.
    pub(super) fn id(&self) -> Result<String> {
        index_id(&self.store)
    }

    /// The folder that holds it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of its files, as far as they can be read.
    pub fn disk_bytes(&self) -> u64 {
        bytes_in(&self.folder)
    }

    /// The definition that is in force: the one it was created with, or the last that took
    /// its place since.
    pub fn definition(&self) -> &Definition {
        self.described.definition()
    }

    /// What names the version of the model that its vectors were made with; none where
    /// documents bring them.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Length of its vectors; 0 where it has none.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The limits that hold for its documents.
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// The current view.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// What is kept for callers between their requests: cursors, with the views they hold.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Parses a query text as the definition says. `all`: every word must be there.
    pub fn parse_query(&self, text: &str, all: bool, typos: bool) -> Result<WordQuery> {
        let definition = self.definition();
        let mut forgiven = definition.typos.clone();
        forgiven.enabled &= typos;
        WordQuery::parse(
            text,
            &definition.fields,
            &QueryOptions {
                all,
                scoring: definition.scoring,
                typos: forgiven,
                synonyms: self.described.synonyms(),
            },
        )
    }

    /// A reranker, opened when it is first needed.
    ///
    /// # Errors
    /// As [`Registry::open_reranker`](crate::model::Registry::open_reranker).
    pub fn reranker(&self, name: &str) -> Result<CrossEncoder> {
        self.settings.models.open_reranker(name)
    }

    /// The encoder of the index, opened when it is first needed.
    ///
    /// # Errors
    /// `model_mismatch` where the model is not the one the vectors were made with.
    pub fn encoder(&self) -> Result<&TextEncoder> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let definition = self.definition();
        let (name, embedding) = definition
            .embedding
            .as_ref()
            .and_then(|embedding| Some((embedding.model.as_deref()?, embedding)))
            .ok_or_else(|| {
                Problem::new(
                    Code::InvalidRequest,
                    format!("index {:?} has no model to encode texts with", self.name()),
                )
                .field("mode")
                .expected("mode lexical, or a search with a vector of your own")
            })?;
        // One thread opens; the others wait rather than load the model as well.
        let _opening = self.encoder_opening.lock();
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let encoder = encoder_of(&self.settings, name, embedding)?;
        if let Some(fingerprint) = &self.fingerprint
            && fingerprint != encoder.fingerprint()
        {
            return Err(Problem::new(
                Code::ModelMismatch,
                format!(
                    "index {:?} was built with another version of model {name:?}; its vectors cannot be compared with this one's",
                    self.name()
                ),
            )
            .field("embedding.model")
            .found(encoder.fingerprint())
            .expected(fingerprint.clone())
            .into());
        }
        Ok(self.encoder.get_or_init(|| encoder))
    }
}

/// What an index notes of itself in its store.
pub(super) struct Noted {
    pub definition: Definition,
    pub fingerprint: Option<String>,
    pub dimensions: usize,
}

pub(super) fn noted(store: &Store, folder: &Path) -> Result<Noted> {
    let meta = |name: &str| -> Result<Option<String>> {
        let unreadable = |e| Error::operator_from(format!("the index's {name} is not readable"), e);
        let bytes = store.meta(name)?;
        bytes
            .map(|bytes| String::from_utf8(bytes).map_err(unreadable))
            .transpose()
    };
    let text = meta(META_DEFINITION)?.ok_or_else(|| {
        Error::operator(format!("{} holds no index definition", folder.display()))
            .advice("restore the folder from a snapshot, or create the index anew")
    })?;
    let definition: Definition = serde_json::from_str(&text).map_err(|e| {
        Error::operator_from("the stored index definition cannot be read", e)
            .advice("the index was written by a newer version of gleaner, perhaps")
    })?;
    let dimensions = meta(META_DIMENSIONS)?;
    Ok(Noted {
        definition,
        fingerprint: meta(META_FINGERPRINT)?,
        dimensions: dimensions.and_then(|d| d.parse().ok()).unwrap_or(0),
    })
}

/// How the vectors of an index are kept.
pub(super) fn vector_options(
    embedding: &Embedding,
    dimensions: usize,
    settings: &Settings,
) -> VectorOptions {
    VectorOptions {
        metric: embedding.metric,
        storage: embedding.storage,
        graph_threshold: settings.storage.graph_threshold,
        build_threads: settings.storage.build_threads.unwrap_or(0),
        m: embedding.graph.m,
        ef_construction: embedding.graph.ef_construction,
        builder: embedding.graph.builder,
        ..VectorOptions::new(dimensions)
    }
}

/// Whose vectors the folder of a store's index holds.
pub(super) fn owner(store: &Store, id: String) -> Result<Owner> {
    Ok(Owner {
        id,
        next_ordinal: store.next_ordinal(),
        inherited: inherited(store)?,
    })
}

/// The encoder that a definition asks for.
fn encoder_of(settings: &Settings, name: &str, embedding: &Embedding) -> Result<TextEncoder> {
    let encoder = settings
        .models
        .open_expert(name, embedding.expert.as_deref())
        .map_err(|error| match error {
            Error::User(problem) if problem.field.as_deref() == Some("expert") => {
                (*problem).field("embedding.expert").into()
            }
            other => other,
        })?;
    let Some(dimensions) = embedding.dimensions else {
        return Ok(encoder);
    };
    encoder.with_dimensions(dimensions).map_err(|problem| {
        Problem {
            code: Code::InvalidDefinition,
            field: Some("embedding.dimensions".into()),
            ..problem
        }
        .into()
    })
}

/// Applies to the words what the log holds beyond their last commit; all documents
/// anew where the log no longer reaches back that far, or where the words hold others than
/// the store: a document that only one of the two knows would be counted and not answered,
/// or not be found.
fn recover_words(
    store: &Store,
    words: WordIndex,
    definition: &Definition,
    live: &OrdinalSet,
    anew: impl FnOnce() -> Result<WordIndex>,
) -> Result<WordIndex> {
    let covered = words.covered();
    let last = store.last_seq();
    let mut reached = true;
    if covered > last || covered + 1 < store.oldest_seq() {
        info!(
            covered,
            last, "rebuilding the word index from the documents"
        );
        reached = false;
    } else if covered < last {
        let operations = replay_words(store, &words, definition)?;
        words.commit(last)?;
        warn!(
            index = definition.name,
            operations, "the word index was behind the log and has been brought up to it"
        );
    }
    if reached {
        let known = words.reader()?.live();
        if *known == *live {
            return Ok(words);
        }
        let (mut gone, mut missing) = ((*known).clone(), live.clone());
        gone.and_not(live);
        missing.and_not(&known);
        tracing::error!(
            index = definition.name,
            gone = gone.len(),
            missing = missing.len(),
            "the word index holds other documents than the store: it is rebuilt"
        );
    }
    // The directory is locked by its writer, so it is closed before it is removed.
    drop(words);
    let words = anew()?;
    store.for_each_document(|ordinal, _, source| {
        if !live.contains(ordinal) {
            return Ok(());
        }
        words.add(ordinal, &stored_document(definition, source)?)
    })?;
    words.commit(last)?;
    Ok(words)
}

/// Reads back a document that was checked when it was written. Limits and unknown
/// fields do not apply again: a limit lowered since must not lose a document.
fn stored_document(definition: &Definition, source: &[u8]) -> Result<Document> {
    let json = serde_json::from_slice(source)
        .map_err(|e| Error::operator_from("a stored document cannot be read", e))?;
    validate(
        &definition.fields,
        &definition.id_field,
        UnknownFields::Store,
        usize::MAX,
        json,
    )
    .map_err(|problem| Error::operator_from("a stored document does not fit its index", problem))
}

/// Hands the words what the log holds beyond their last commit; returns how many
/// operations that were. Commits nothing.
pub(super) fn replay_words(
    store: &Store,
    words: &WordIndex,
    definition: &Definition,
) -> Result<u64> {
    let mut applied = 0;
    store.replay(words.covered(), |entry| {
        if let Some(ordinal) = entry.removed {
            words.delete(ordinal)?;
        }
        if let Some(ordinal) = entry.put
            && let Some(source) = store.source(ordinal)?
        {
            words.add(ordinal, &stored_document(definition, &source)?)?;
        }
        applied += 1;
        Ok(())
    })?;
    Ok(applied)
}

/// The id of the index, which no other has: given when it is first asked for.
fn index_id(store: &Store) -> Result<String> {
    if let Some(id) = store.meta(META_ID)? {
        return readable_id(id);
    }
    let id = uuid::Uuid::new_v4().to_string();
    store.put_meta(META_ID, id.as_bytes())?;
    Ok(id)
}

pub(super) fn readable_id(id: Vec<u8>) -> Result<String> {
    String::from_utf8(id).map_err(|e| Error::operator_from("the index's id is not readable", e))
}

/// Adds the stored vectors of documents.
pub(super) fn add_stored(
    store: &Store,
    vectors: &VectorIndex,
    documents: &OrdinalSet,
    index: &str,
) -> Result<()> {
    let mut unpublished = 0;
    let mut add = |ordinal: u32, stored: StoredVectors| -> Result<()> {
        match vectors.add(ordinal, &stored.vectors) {
            // One bad vector must not keep the whole index from opening.
            Err(Error::User(problem)) => tracing::error!(
                index,
                ordinal,
                %problem,
                "a stored vector cannot be used; the document is found by words only"
            ),
            other => other?,
        }
        unpublished += stored.spans.len();
        if unpublished >= PUBLISH_EVERY {
            // What is pending is copied when it is published: in pieces, so that
            // opening never holds all vectors twice.
            vectors.publish();
            unpublished = 0;
        }
        Ok(())
    };
    if documents.len() as u64 * 2 > store.count() {
        return store.for_each_vectors(|ordinal, stored| match documents.contains(ordinal) {
            true => add(ordinal, stored),
            false => Ok(()),
        });
    }
    for ordinal in documents.iter() {
        // Documents without a text have none.
        if let Some(stored) = store.vectors(ordinal)? {
            add(ordinal, stored)?;
        }
    }
    Ok(())
}

/// Gives back the bytes of documents that the log says are dead: no view reads them yet,
/// and the words cover the log.
fn bury_the_dead(store: &Store) -> Result<()> {
    let mut dead = Vec::new();
    store.replay(store.oldest_seq().saturating_sub(1), |entry| {
        dead.extend(entry.removed);
        Ok(())
    })?;
    store.bury(&dead, store.last_seq())
}

/// Publishes the vectors, telling them which documents are worth keeping.
pub(super) fn publish(
    vectors: &VectorIndex,
    live: &Arc<OrdinalSet>,
    next_ordinal: u32,
) -> Arc<VectorReader> {
    vectors.set_live(live.clone(), next_ordinal);
    vectors.publish()
}

pub(super) fn store_folder(folder: &Path) -> PathBuf {
    folder.join("store")
}

pub(super) fn with_suffix(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    folder.with_file_name(name)
}

/// The file that marks an index which is being made of another one.
const MARK: &str = "unfinished.json";

fn set_mark(folder: &Path, mark: &[u8]) -> Result<()> {
    let path = folder.join(MARK);
    let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
    std::fs::write(&path, mark).map_err(cannot)?;
    std::fs::File::open(&path)
        .and_then(|file| file.sync_all())
        .map_err(cannot)?;
    sync_parent(&path)
}

/// Whether the index in a folder is being made of another one, or was when that was cut
/// short.
pub(super) fn is_marked(folder: &Path) -> bool {
    folder.join(MARK).exists()
}

/// Makes a marked index one like any other, durably.
pub(super) fn remove_mark(folder: &Path) -> Result<()> {
    let path = folder.join(MARK);
    std::fs::remove_file(&path)
        .map_err(|e| Error::operator_from(format!("cannot remove {}", path.display()), e))?;
    sync_parent(&path)
}

/// Whether some process has the index in a folder open.
pub(super) fn is_in_use(folder: &Path) -> bool {
    Store::is_in_use(store_folder(folder))
}

/// Makes an index of its own of a copy of another: with this name, and an id that no other
/// has. The vector files it begins with are the other's; which those are is noted, because
/// writing each of them anew for the sake of a name would copy them all.
pub(super) fn begin_anew(folder: &Path, name: &str) -> Result<()> {
    let store = Store::open(store_folder(folder), &StoreOptions::default())?;
    let cannot = |e| Error::operator_from("the stored index definition cannot be read", e);
    let text = store.meta(META_DEFINITION)?.unwrap_or_default();
    let mut definition: Definition = serde_json::from_slice(&text).map_err(cannot)?;
    definition.name = name.to_string();
    let bug = |e| Error::Bug(format!("a definition does not serialise: {e}"));
    let text = serde_json::to_vec(&definition).map_err(bug)?;
    if let Some(id) = store.meta(META_ID)? {
        let mut inherited = inherited(&store)?;
        let before = next_number(&folder.join("vectors"))
            .map_err(|e| Error::operator_from(format!("cannot list {}", folder.display()), e))?;
        inherited.push(Inherited {
            id: readable_id(id)?,
            before,
        });
        let inherited = serde_json::to_vec(&inherited).map_err(bug)?;
        store.put_meta(META_INHERITED, &inherited)?;
        // Last: an end before this leaves the other's id, under which the files count too.
        store.put_meta(META_ID, uuid::Uuid::new_v4().to_string().as_bytes())?;
    }
    store.put_meta(META_DEFINITION, &text)
}

/// The indexes that this one was made from, by snapshots, and their vector files.
fn inherited(store: &Store) -> Result<Vec<Inherited>> {
    match store.meta(META_INHERITED)? {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_slice(&text)
            .map_err(|e| Error::operator_from("what the index was made from is not readable", e)),
    }
}

/// Removes what a creation left that was interrupted before its index got its name, but
/// never documents: after a power loss the name may be the unfinished one although the
/// index was used.
fn remove_unfinished(making: &Path) -> Result<()> {
    if store_folder(making).is_dir() {
        let holds_documents = Store::open(store_folder(making), &StoreOptions::default())
            .is_ok_and(|store| store.last_seq() > 0);
        if holds_documents {
            return Err(Error::operator(format!(
                "{} is an index that lost its name and holds documents",
                making.display()
            ))
            .advice("rename the folder to the index's name, or move it away"));
        }
    }
    remove_folder(making)
}

pub(super) fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_in(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Makes a rename in a folder survive power loss.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    std::fs::File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| Error::operator_from(format!("cannot sync {}", parent.display()), e))
}

/// Removes a folder if it is there.
pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::operator_from(
            format!("cannot remove {}", folder.display()),
            e,
        )),
        _ => Ok(()),
    }
}
