//! Looking at the indexes of a data folder without opening them: what there is, whether it can
//! be opened, and what opening it would mend. Nothing is written and no lock is taken.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aliases::Aliases;
use super::catalog::{RESTORING, Settings};
use super::follow::Attachments;
use super::open::{
    META_ID, Noted, bytes_in, is_marked, noted, owner, readable_id, store_folder, vector_options,
};
use super::snapshot::{MAKING, REMOVING};
use super::{Definition, check_name};
use crate::error::{Error, Result};
use crate::filter::OrdinalSet;
use crate::lexical::{OpenError, WordIndex};
use crate::store::{Holder, Store};
use crate::vector::{self, VectorFile};

/// What lies in a data folder.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The indexes, by name.
    pub places: Vec<Place>,
    /// Attached indexes of which nothing has been downloaded yet.
    pub awaited: Vec<String>,
    /// What work that was cut short has left.
    pub leftovers: Vec<Leftover>,
    /// Aliases, and the indexes they stand for.
    pub aliases: BTreeMap<String, String>,
}

/// Where an index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// It was built elsewhere, and this is the version of it that counts.
    pub attached: bool,
}

/// A folder that work which was cut short, or is still under way, has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The folder.
    pub path: PathBuf,
    /// The work, as in `a creation`.
    pub work: &'static str,
    /// Bytes of its files.
    pub bytes: u64,
    /// Whether the next start removes or finishes it.
    pub mended: bool,
}

/// What was found in the folder of an index.
#[derive(Debug)]
pub struct Inspected {
    /// Its definition.
    pub definition: Definition,
    /// What names the version of the model that its vectors were made with.
    pub fingerprint: Option<String>,
    /// Its documents.
    pub documents: u64,
    /// Documents that its counters say it has.
    pub counted: u64,
    /// Documents that have an id and are not there. Inspected for only where everything is read.
    pub lost: u64,
    /// The words, beside the store.
    pub words: InspectedWords,
    /// The files of its vectors.
    pub vectors: Vec<VectorFile>,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// The words of an index beside its store, which is what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectedWords {
    /// They hold the same documents.
    Agree,
    /// Operations of the log that they lack; opening applies them.
    Behind(u64),
    /// Why opening makes them anew of the documents.
    Rebuilt(String),
}

impl Inventory {
    /// What lies in a data folder; nothing where it is not there.
    ///
    /// # Errors
    /// Operator: a folder cannot be listed, or the file of the aliases cannot be read.
    pub fn of(data: &Path) -> Result<Inventory> {
        let mut found = Inventory {
            aliases: Aliases::open(data.join("aliases.json"))?.all(),
            ..Inventory::default()
        };
        let attached = Attachments::open(data).all();
        for path in folders_in(&data.join("indexes"))? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let work = match Path::new(name).extension().and_then(|e| e.to_str()) {
                Some(suffix) if MAKING.ends_with(suffix) => Some(("a creation", false)),
                Some(suffix) if RESTORING.ends_with(suffix) => Some(("a restoration", false)),
                Some(suffix) if REMOVING.ends_with(suffix) => Some(("a removal", true)),
                _ if check_name(name).is_err() => None,
                _ if is_marked(&path) => Some(("a reindexing", true)),
                _ => {
                    found.places.push(Place {
                        name: name.into(),
                        folder: path.clone(),
                        attached: false,
                    });
                    None
                }
            };
            found
                .leftovers
                .extend(work.map(|work| leftover(&path, work)));
        }
        for one in attached {
            match one.current() {
                None => found.awaited.push(one.name().to_owned()),
                Some(folder) => found.places.push(Place {
                    name: one.name().to_owned(),
                    folder,
                    attached: true,
                }),
            }
        }
        found.places.sort_by(|a, b| a.name.cmp(&b.name));
        // Of snapshots, and of those that are on their way to an object store.
        for index in folders_in(&data.join("snapshots"))? {
            for path in folders_in(&index)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.ends_with(MAKING) || name.ends_with(REMOVING) {
                    let work = ("a snapshot", true);
                    found.leftovers.push(leftover(&path, work));
                }
            }
        }
        Ok(found)
    }
}

fn leftover(path: &Path, (work, mended): (&'static str, bool)) -> Leftover {
    Leftover {
        path: path.to_path_buf(),
        work,
        bytes: bytes_in(path),
        mended,
    }
}

/// The folders in a folder, by name; none where it is not there.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |e| Error::operator_from(format!("cannot list {}", folder.display()), e);
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(wrong)?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

impl Place {
    /// Another process that has the index open, if one has.
    pub fn holder(&self) -> Option<Holder> {
        Store::holder(store_folder(&self.folder))
    }

    /// The definition alone. Also of an index that somebody has open; a write at the wrong
    /// moment may make it fail then.
    ///
    /// # Errors
    /// Operator: it cannot be read.
    pub fn definition(&self, settings: &Settings) -> Result<Definition> {
        let store = Store::read_only(store_folder(&self.folder), &settings.store)?;
        Ok(noted(&store, &self.folder)?.definition)
    }

    /// Looks at everything that opening looks at, and with `full` at every byte. For an index
    /// that nobody has open.
    ///
    /// # Errors
    /// Operator: it could not be opened either.
    pub fn inspect(&self, settings: &Settings, full: bool) -> Result<Inspected> {
        let store = Store::read_only(store_folder(&self.folder), &settings.store)?;
        let Noted {
            definition,
            fingerprint,
            dimensions,
        } = noted(&store, &self.folder)?;
        let mut live = OrdinalSet::with_capacity(store.next_ordinal());
        store.for_each_live(|ordinal, _| {
            live.insert(ordinal);
        })?;
        let mut lost = 0;
        if full {
            store.read_through()?;
            let mut there = OrdinalSet::with_capacity(store.next_ordinal());
            store.for_each_document(|ordinal, _, _| {
                there.insert(ordinal);
                Ok(())
            })?;
            let mut missing = live.clone();
            missing.and_not(&there);
            lost = missing.len() as u64;
        }
        let inspected = WordIndex::inspect(&self.folder.join("words"), &definition.fields, true);
        let words = match inspected {
            Err(OpenError::Other(error)) => return Err(error),
            Err(OpenError::Rebuild { reason }) => InspectedWords::Rebuilt(reason),
            Ok((covered, known)) => beside(&store, covered, known, &live),
        };
        let vectors = match &definition.embedding {
            None => Vec::new(),
            Some(embedding) => {
                let path = self.folder.join("vectors");
                let id = store.meta(META_ID)?.map(readable_id).transpose()?;
                let owner = owner(&store, id.unwrap_or_default())?;
                let options = vector_options(embedding, dimensions, settings);
                vector::inspect(&path, &options, &owner, full).map_err(|e| {
                    Error::operator_from(format!("cannot use the folder {}", path.display()), e)
                })?
            }
        };
        Ok(Inspected {
            documents: live.len() as u64,
            counted: store.count(),
            lost,
            words,
            vectors,
            bytes: bytes_in(&self.folder),
            definition,
            fingerprint,
        })
    }
}

/// What opening would say of words that cover the log up to `covered`.
fn beside(
    store: &Store,
    covered: u64,
    known: Arc<OrdinalSet>,
    live: &OrdinalSet,
) -> InspectedWords {
    let last = store.last_seq();
    if covered > last {
        return InspectedWords::Rebuilt(format!(
            "they cover operation {covered}, and the log ends at {last}"
        ));
    }
    if covered + 1 < store.oldest_seq() {
        return InspectedWords::Rebuilt(format!(
            "they cover operation {covered}, and the log begins at {}",
            store.oldest_seq()
        ));
    }
    if covered < last {
        return InspectedWords::Behind(last - covered);
    }
    let (mut gone, mut missing) = ((*known).clone(), live.clone());
    gone.and_not(live);
    missing.and_not(&known);
    match (gone.len(), missing.len()) {
        (0, 0) => InspectedWords::Agree,
        (gone, missing) => InspectedWords::Rebuilt(format!(
            "they hold {gone} documents that the store does not have, and lack {missing} that it has"
        )),
    }
}
