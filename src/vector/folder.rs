//! The folder of an index's sealed segments.
//!
//! A segment with a graph is written to a file of its own, numbered upwards, and names the
//! older files that still count beside it; the others are removed when nobody reads them
//! any more, or at the next opening if the process ended before. So whatever instant a
//! process ends at, no document is in two files that count; one that is in none is taken
//! from the store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::file;
use super::index::VectorOptions;
use super::segment::Segment;
use super::space::Shape;

const EXTENSION: &str = "vectors";

/// What is logged where a file cannot be used.
const UNUSABLE: &str = "a vector file cannot be used; its vectors are taken from the store again";

/// Whose vectors a folder holds: which index, and how far it has got.
#[derive(Debug, Clone)]
pub struct Owner {
    /// A name that no other index has or had.
    pub id: String,
    /// One more than the largest ordinal that it gave to a document.
    pub next_ordinal: u32,
    /// The indexes whose history it continues.
    pub inherited: Vec<Inherited>,
}

/// An index that another was made from, as it was at some instant: the vector files it had
/// then are the other's as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// Its id.
    pub id: String,
    /// Its files that count have numbers below this; it went on without the other from here.
    pub before: u64,
}

/// The number that the next file in a folder gets.
///
/// # Errors
/// Where the folder is there and cannot be listed.
pub fn next_number(path: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(1),
        entries => entries?,
    };
    let mut next = 1;
    for entry in entries {
        if let (Some(number), Some(EXTENSION)) = named(&entry?.path()) {
            next = next.max(number + 1);
        }
    }
    Ok(next)
}

/// What a file's name says: its number and its kind.
fn named(file: &Path) -> (Option<u64>, Option<&str>) {
    let number = file
        .file_stem()
        .and_then(|stem| stem.to_str()?.parse().ok());
    (number, file.extension().and_then(|e| e.to_str()))
}

/// A folder of sealed segments, for vectors of one shape.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    shape: Shape,
    owner: Owner,
    next: AtomicU64,
}

/// The file that a segment is read from.
pub(crate) struct SealedFile {
    number: u64,
    path: PathBuf,
    replaced: AtomicBool,
    unverified: file::Unverified,
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl SealedFile {
    /// Whether what opening left unread is as it was written; says where it is not. Reads
    /// the whole file. True also once `cancelled` is set.
    pub(crate) fn verify(&self, cancelled: &AtomicBool) -> bool {
        let sound = self.unverified.verify(cancelled);
        if !sound {
            tracing::warn!(file = %self.path.display(), "a vector file is damaged: a checksum does not fit");
        }
        sound
    }

    /// Notes that another file took its place: it is removed with its segment.
    pub(crate) fn replaced(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }
}

impl Drop for SealedFile {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Relaxed) {
            remove(&self.path);
        }
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), %error, "a vector file that is no longer needed cannot be removed");
        }
        _ => {}
    }
}

/// A file in a folder of sealed segments, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorFile {
    /// The file.
    pub path: PathBuf,
    /// What it is good for.
    pub state: FileState,
}

/// What the file of a segment is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It counts, with so many documents.
    Sound(usize),
    /// Another took its place; the next opening removes it.
    Outdated,
    /// It was being written when a process ended; the next opening removes it.
    Unfinished,
    /// Why it cannot be used. Its vectors are in the store and are taken from there.
    Unusable(String),
}

/// The vector files in a folder, by name, and what each is good for; nothing is changed. With
/// `full` each is read from end to end, otherwise only what says which documents it has.
///
/// # Errors
/// Where the folder is there and cannot be listed.
pub fn inspect(
    path: &Path,
    options: &VectorOptions,
    owner: &Owner,
    full: bool,
) -> io::Result<Vec<VectorFile>> {
    let folder = Folder {
        path: path.to_path_buf(),
        shape: options.shape(),
        owner: owner.clone(),
        next: AtomicU64::new(0),
    };
    folder.inspect(full)
}

impl Folder {
    /// The folder, made if it is not there, and the segments in it, the oldest first. Files
    /// that do not count any more, are damaged, of another index or shape, or with an ordinal
    /// that was not given yet are removed, with a warning unless they are merely outdated; those
    /// that cannot be read at the moment are left alone. Either way their documents are
    /// missing from the segments.
    pub(crate) fn open(
        path: &Path,
        shape: Shape,
        owner: &Owner,
    ) -> io::Result<(Folder, Vec<Segment>)> {
        std::fs::create_dir_all(path)?;
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            match named(&file) {
                (Some(number), Some(EXTENSION)) => numbers.push(number),
                // Unfinished when the process ended.
                (Some(_), Some("writing")) => remove(&file),
                _ => {}
            }
        }
        // The newest first: it says which of the older ones count.
        numbers.sort_unstable_by(|a: &u64, b| b.cmp(a));
        let folder = Folder {
            path: path.to_path_buf(),
            shape,
            owner: owner.clone(),
            next: AtomicU64::new(numbers.first().map_or(1, |last| last + 1)),
        };
        let mut counting: Option<Vec<u64>> = None;
        let mut segments = Vec::new();
        for number in numbers {
            let path = folder.file(number);
            if counting
                .as_ref()
                .is_some_and(|counting| !counting.contains(&number))
            {
                remove(&path);
                continue;
            }
            let read = folder.read(number).and_then(|(segment, keeps)| {
                match segment.rows().ordinals.last() {
                    Some(&last) if last < owner.next_ordinal => Ok((segment, keeps)),
                    _ => Err(file::Unusable::Other),
                }
            });
            match read {
                Ok((segment, keeps)) => {
                    counting.get_or_insert(keeps);
                    segments.push(segment);
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "{UNUSABLE}");
                    if error.is_for_good() {
                        remove(&path);
                    }
                }
            }
        }
        segments.reverse();
        Ok((folder, segments))
    }

    /// What [`Folder::open`] would make of the files of a folder, changing nothing; with `full`
    /// their vectors and links are read through as well.
    fn inspect(&self, full: bool) -> io::Result<Vec<VectorFile>> {
        let mut numbers = Vec::new();
        let mut files = Vec::new();
        let entries = match std::fs::read_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            match named(&path) {
                (Some(number), Some(EXTENSION)) => numbers.push(number),
                (Some(_), Some("writing")) => files.push(VectorFile {
                    path,
                    state: FileState::Unfinished,
                }),
                _ => {}
            }
        }
        numbers.sort_unstable_by(|a: &u64, b| b.cmp(a));
        let mut counting: Option<Vec<u64>> = None;
        for number in numbers {
            let path = self.file(number);
            if counting.as_ref().is_some_and(|all| !all.contains(&number)) {
                files.push(VectorFile {
                    path,
                    state: FileState::Outdated,
                });
                continue;
            }
            let read = self.read(number).and_then(|(segment, keeps)| {
                let last = segment.rows().ordinals.last();
                if last.is_none_or(|&last| last >= self.owner.next_ordinal) {
                    return Err(file::Unusable::Other);
                }
                let file = segment.file.as_ref();
                if full && file.is_some_and(|file| !file.verify(&AtomicBool::new(false))) {
                    return Err(file::Unusable::Damaged("a checksum does not fit"));
                }
                Ok((segment, keeps))
            });
            let state = match read {
                Ok((segment, keeps)) => {
                    counting.get_or_insert(keeps);
                    FileState::Sound(segment.rows().documents())
                }
                Err(error) => FileState::Unusable(error.to_string()),
            };
            files.push(VectorFile { path, state });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:08}.{EXTENSION}"))
    }

    /// Whether the file of this number counts here, where it names the index `id`.
    fn is_ours(&self, id: &str, number: u64) -> bool {
        let mut inherited = self.owner.inherited.iter();
        self.owner.id == id || inherited.any(|from| from.id == id && number < from.before)
    }

    fn read(&self, number: u64) -> Result<(Segment, Vec<u64>), file::Unusable> {
        let path = self.file(number);
        let mut opened = file::open(&path, self.shape, |id| self.is_ours(id, number))?;
        opened.segment.file = Some(SealedFile {
            number,
            path,
            replaced: AtomicBool::new(false),
            unverified: opened.unverified,
        });
        Ok((opened.segment, opened.keeps))
    }

    /// Writes a segment to a file and gives it back as it is read from there. Segments
    /// without a graph, and those that cannot be written, come back as they were: they
    /// cost memory, and are made from the store when the index is opened again. `keeps` are
    /// the segments that go on counting.
    pub(crate) fn seal(&self, segment: Segment, keeps: &[&Segment]) -> Segment {
        let Some(graph) = segment.graph() else {
            return segment;
        };
        let files = keeps.iter().filter_map(|segment| segment.file.as_ref());
        let keeps = files.map(|file| file.number).collect();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.file(number);
        let sealed = file::write(&path, &segment, graph, &self.owner.id, keeps)
            .map_err(file::Unusable::from)
            .and_then(|()| self.read(number))
            .and_then(|(sealed, _)| {
                let file = sealed.file.as_ref();
                match file.is_none_or(|file| file.verify(&AtomicBool::new(false))) {
                    true => Ok(sealed),
                    false => Err(file::Unusable::Damaged("it reads otherwise than written")),
                }
            });
        match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a vector file cannot be written; its vectors stay in memory");
                remove(&path);
                remove(&path.with_extension("writing"));
                segment
            }
        }
    }
}
