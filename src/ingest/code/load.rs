//! Loading: what is there is compared with what is indexed, and the difference written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::document::documents;
use super::walk::{self, Found, Skipped, WalkLimits};
use crate::code::{Limits, Unparsed};
use crate::config;
use crate::error::{Code, Problem, Result};
use crate::filter::Filter;
use crate::index::{Carry, Change, Changed, IfVersion, Index};
use crate::ingest::source::{Kept, Original};
use crate::ingest::{Incoming, Progress, Reject, Rejects, load_rows};
use crate::store::Durability;

/// Documents that are looked up, or removed, at once.
const AT_ONCE: usize = 512;
/// Files that are named in a summary, of each reason.
const NAMED: usize = 20;
/// The fields without which a document would not be known again.
const NEEDED: [&str; 4] = ["repository", "path", "hash", "code"];

/// How a folder is loaded.
#[derive(Debug, Clone)]
pub struct CodeOptions {
    /// What its documents' ids begin with.
    pub repository: String,
    /// Which files are left out.
    pub walk: WalkLimits,
    /// Folders that are not entered: what the index itself is kept in, which may lie below.
    pub without: Vec<PathBuf>,
    /// What parsing a file may cost.
    pub parse: Limits,
    /// Whether the folder may take the place of one that shares less than half of its files.
    pub replace: bool,
}

/// What a load did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CodeSummary {
    /// Files that were cut into units.
    pub files: u64,
    /// Units they were cut into.
    pub units: u64,
    /// Of these, those that were not indexed.
    pub added: u64,
    /// Those that were, and are others now.
    pub changed: u64,
    /// Those that need not be written.
    pub unchanged: u64,
    /// Documents of what went away.
    pub removed: u64,
    /// Files of each language; `text` for those without a grammar.
    pub languages: BTreeMap<&'static str, u64>,
    /// Files with places that do not follow their grammar.
    pub broken: u64,
    /// Files that were not indexed, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// The first of these.
    pub skipped_files: BTreeMap<&'static str, Vec<String>>,
    /// Files of a language with a grammar that were indexed as text, with the reason: the first
    /// of them.
    pub as_text: BTreeMap<String, String>,
}

/// What is shared with whoever watches a load.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    /// Batches and queues.
    pub settings: &'a config::Ingest,
    /// Where documents that do not fit are written.
    pub rejects: &'a Path,
    /// Counters.
    pub progress: &'a Progress,
}

/// Brings an index up to date with a folder, and makes it visible. With it comes the file of
/// rejects, where there was a document to reject.
///
/// # Errors
/// `invalid_file` for a folder that is not there, `invalid_definition` for an index without the
/// fields that are needed; as for [`load_files`](crate::ingest::load_files) besides. What was
/// loaded before an error is kept, and nothing is removed then.
pub fn load_code(
    index: &Index,
    folder: &Path,
    options: &CodeOptions,
    loading: Loading<'_>,
) -> Result<(CodeSummary, Option<PathBuf>)> {
    let mut reading = Reading::new(Some(index), folder, options, loading.progress)?;
    reading.check_same_folder(folder)?;
    let files = std::mem::take(&mut reading.files);
    let mut rejects = Rejects::new(loading.rejects);
    let loaded = load_rows(
        index,
        files.iter().flat_map(|file| reading.file(file)),
        loading.settings,
        loading.progress,
        |(path, line): (&str, u64), problem| {
            let none = Original(Kept::Text(Vec::new()));
            let reject = Reject::new(Path::new(path), line, Some(line), &problem, &none);
            rejects.write(&reject)
        },
    );
    let rejected = rejects.finish();
    if loaded.is_ok() && rejected.is_ok() {
        reading.summary.removed = remove(index, &reading.gone())?;
    }
    // What was loaded before a failure is durable and is made visible all the same.
    let refreshed = index.refresh();
    loaded?;
    let rejected = rejected?;
    refreshed?;
    Ok((reading.summary, rejected))
}

/// What [`load_code`] would do to an index, or to one that is yet to be created.
///
/// # Errors
/// As for [`load_code`].
pub fn preview_code(
    index: Option<&Index>,
    folder: &Path,
    options: &CodeOptions,
    progress: &Progress,
) -> Result<CodeSummary> {
    let mut reading = Reading::new(index, folder, options, progress)?;
    reading.dry_run = true;
    for file in &std::mem::take(&mut reading.files) {
        for row in reading.file(file) {
            let _ = row?;
        }
    }
    reading.summary.removed = reading.gone().len() as u64;
    Ok(reading.summary)
}

/// A document that is indexed.
struct Known {
    path: String,
    hash: String,
    seen: bool,
}

/// Reads files one after the other, and gives what has to be written of them.
struct Reading<'a> {
    index: Option<&'a Index>,
    options: &'a CodeOptions,
    progress: &'a Progress,
    files: Vec<Found>,
    known: HashMap<String, Known>,
    summary: CodeSummary,
    /// Files and folders that could not be looked at.
    unread: Vec<String>,
    carry: Carry,
    dry_run: bool,
}

type Row<'f> = Result<((&'f str, u64), Result<Incoming, Problem>)>;

impl<'a> Reading<'a> {
    fn new(
        index: Option<&'a Index>,
        folder: &Path,
        options: &'a CodeOptions,
        progress: &'a Progress,
    ) -> Result<Reading<'a>> {
        check(index, &options.repository)?;
        let walked = walk::walk(folder, &options.without)?;
        let total = walked.files.iter().map(|file| file.bytes).sum();
        progress.bytes_total.fetch_add(total, Relaxed);
        let mut summary = CodeSummary::default();
        for path in walked.unreadable.keys() {
            summary.skip(Skipped::Unreadable, path);
        }
        Ok(Reading {
            index,
            options,
            progress,
            files: walked.files,
            known: match index {
                Some(index) => known(index, &options.repository)?,
                None => HashMap::new(),
            },
            summary,
            unread: walked.unreadable.into_keys().collect(),
            carry: index.map_or(Carry::default(), |index| {
                index.carries(index.definition(), index.fingerprint(), index.dimensions())
            }),
            dry_run: false,
        })
    }

    /// Two folders of one name are one repository by mistake, and an empty one is a folder that is
    /// not mounted: what is indexed is not given up for them.
    fn check_same_folder(&self, folder: &Path) -> Result<()> {
        let known: HashSet<&str> = self.known.values().map(|one| one.path.as_str()).collect();
        let kept = self
            .files
            .iter()
            .filter(|file| known.contains(file.path.as_str()));
        let unread = known.iter().filter(|path| is_below_any(path, &self.unread));
        let kept = kept.count() + unread.count();
        if self.options.replace || kept * 2 >= known.len() {
            return Ok(());
        }
        let repository = &self.options.repository;
        Err(Problem::new(
            Code::InvalidFile,
            format!("most files that are indexed as {repository:?} are not in this folder"),
        )
        .field("folder")
        .found(format!(
            "{kept} of {} indexed files in {}",
            known.len(),
            folder.display()
        ))
        .expected(
            "the folder that was indexed before; another name for another folder: --repository NAME; or \
             --replace, where it is to take the place of what is indexed",
        )
        .into())
    }

    /// Documents of what is not there any more; what could not be looked at has not gone away.
    fn gone(&self) -> Vec<String> {
        let known = self.known.iter();
        let mut gone: Vec<String> = known
            .filter(|(_, known)| !known.seen && !is_below_any(&known.path, &self.unread))
            .map(|(id, _)| id.clone())
            .collect();
        gone.sort_unstable();
        gone
    }

    fn file<'f>(&mut self, found: &'f Found) -> Vec<Row<'f>> {
        let read = walk::read(found, &self.options.walk);
        self.progress.bytes.fetch_add(found.bytes, Relaxed);
        self.progress.files.fetch_add(1, Relaxed);
        let (text, language) = match read {
            Ok(read) => read,
            Err((reason, error)) => {
                if let Some(error) = error {
                    tracing::warn!(%error, "a file is left out");
                    self.unread.push(found.path.clone());
                }
                self.summary.skip(reason, &found.path);
                return Vec::new();
            }
        };
        let made = documents(
            &self.options.repository,
            &found.path,
            language,
            &text,
            &self.options.parse,
        );
        let summary = &mut self.summary;
        summary.files += 1;
        summary.broken += u64::from(made.errors > 0);
        *summary.languages.entry(made.language).or_default() += 1;
        if let Some(reason) = made.unparsed {
            summary.not_parsed(&found.path, reason);
        }
        let documents = made.documents.into_iter();
        documents
            .filter_map(|document| self.row(found, document))
            .collect()
    }

    /// The row of a document, if it has to be written.
    fn row<'f>(&mut self, found: &'f Found, document: Map<String, Json>) -> Option<Row<'f>> {
        self.summary.units += 1;
        let text = |name: &str| {
            document
                .get(name)
                .and_then(Json::as_str)
                .unwrap_or_default()
        };
        let known = self.known.get_mut(text("id"));
        let origin = || {
            let line = document.get("first_line").and_then(Json::as_u64);
            (found.path.as_str(), line.unwrap_or(1))
        };
        let Some(known) = known else {
            self.summary.added += 1;
            return Some(Ok((origin(), Ok(Json::Object(document.clone()).into()))));
        };
        known.seen = true;
        if known.hash == text("hash") {
            self.summary.unchanged += 1;
            return None;
        }
        self.summary.changed += 1;
        let origin = origin();
        let incoming = match self.index {
            Some(index) if !self.dry_run => self.carried(index, document),
            _ => Ok(Json::Object(document).into()),
        };
        Some(incoming.map(|incoming| (origin, Ok(incoming))))
    }

    /// A document with the vectors of the one that it takes the place of, where only its lines
    /// moved.
    fn carried(&self, index: &Index, document: Map<String, Json>) -> Result<Incoming> {
        let id = document
            .get("id")
            .and_then(Json::as_str)
            .unwrap_or_default();
        let Some(ordinal) = index.ordinal(id)? else {
            return Ok(Json::Object(document).into());
        };
        let Some(current) = index.documents(&[ordinal])?.pop().flatten() else {
            return Ok(Json::Object(document).into());
        };
        let embedding = index.definition().embedding.as_ref();
        let fields = embedding.map_or(&[][..], |embedding| &embedding.fields);
        let same = fields
            .iter()
            .all(|f| current.source.get(f) == document.get(f));
        let vectors = match same {
            true => index.stored_vectors(ordinal)?,
            false => None,
        };
        let json = Json::Object(document);
        Ok(match vectors {
            Some(vectors) => Incoming::carrying(json, vectors, self.carry),
            None => json.into(),
        })
    }
}

impl CodeSummary {
    fn skip(&mut self, reason: Skipped, path: &str) {
        *self.skipped.entry(reason.as_str()).or_default() += 1;
        let named = self.skipped_files.entry(reason.as_str()).or_default();
        if named.len() < NAMED {
            named.push(path.to_string());
        }
    }

    fn not_parsed(&mut self, path: &str, reason: Unparsed) {
        if self.as_text.len() < NAMED {
            self.as_text.insert(path.into(), reason.to_string());
        }
    }
}

fn is_below_any(path: &str, folders: &[String]) -> bool {
    folders.iter().any(|folder| {
        let rest = path.strip_prefix(folder.as_str());
        folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether the index can hold code, and the repository's name can begin an id.
fn check(index: Option<&Index>, repository: &str) -> Result<()> {
    let missing = index.and_then(|index| {
        let fields = &index.definition().fields;
        let missing = NEEDED
            .into_iter()
            .find(|&name| !fields.contains_key(name))?;
        Some((index, missing))
    });
    if let Some((index, missing)) = missing {
        return Err(Problem::new(
            Code::InvalidDefinition,
            format!("index {:?} is not made for code", index.name()),
        )
        .field(format!("fields.{missing}"))
        .found("no such field")
        .expected("an index as indexes/code.toml defines it; --create makes one")
        .into());
    }
    Ok(check_repository(repository)?)
}

/// Whether documents' ids may begin with this.
///
/// # Errors
/// `invalid_request` where they may not.
pub fn check_repository(repository: &str) -> Result<(), Problem> {
    if repository.is_empty() || repository.contains(['/', '#']) {
        return Err(
            Problem::new(Code::InvalidRequest, "no name of a repository")
                .field("repository")
                .found(format!("{repository:?}"))
                .expected("a name without / and #"),
        );
    }
    Ok(())
}

/// The documents of a repository that are indexed, with their hashes.
fn known(index: &Index, repository: &str) -> Result<HashMap<String, Known>> {
    let definition = index.definition();
    let filter = Filter::from_json(&json!({"field": "repository", "eq": repository}))?;
    let bound = filter.bind(&definition.fields, &definition.id_field)?;
    index.refresh()?;
    let view = index.view();
    let mut passing = view.words.filter(&bound.normalise())?;
    passing.and(&view.live);
    let ordinals: Vec<u32> = passing.iter().collect();
    let mut known = HashMap::with_capacity(ordinals.len());
    for ordinals in ordinals.chunks(AT_ONCE) {
        for document in index.documents(ordinals)?.into_iter().flatten() {
            let text = |name: &str| {
                let text = document.source.get(name).and_then(Json::as_str);
                text.unwrap_or_default().to_string()
            };
            let (path, hash) = (text("path"), text("hash"));
            let seen = false;
            known.insert(document.id, Known { path, hash, seen });
        }
    }
    Ok(known)
}

fn remove(index: &Index, ids: &[String]) -> Result<u64> {
    let mut removed = 0;
    for ids in ids.chunks(AT_ONCE) {
        let changes: Vec<(Change<'_>, IfVersion)> = ids
            .iter()
            .map(|id| (Change::Delete(id), IfVersion::Any))
            .collect();
        let changed = index.change(&changes, Durability::Synced)?;
        removed += changed
            .iter()
            .filter(|one| **one == Changed::Deleted)
            .count() as u64;
    }
    Ok(removed)
}
