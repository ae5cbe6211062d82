//! Snapshots: an index as it was at one instant, complete in a folder of its own.
//!
//! Everything an index keeps is either a file that never changes, which a snapshot links to
//! rather than copies, or small. So taking one costs little, however large the index is, and
//! what two snapshots have in common is on the disk once. Each file is listed with its
//! length and checksum; a snapshot that does not fit its list is not restored.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Index;
use super::open::{begin_anew, remove_folder, sync_parent, with_suffix};
use crate::error::{Code, Error, Problem, Result};

/// The list of a snapshot's files.
const LIST: &str = "snapshot.json";
/// The format of snapshots that this build writes and reads.
const FORMAT: u32 = 1;
/// What the folder of a snapshot is called while it is taken, and while it is removed.
pub(super) const MAKING: &str = ".making";
pub(super) const REMOVING: &str = ".removing";
/// Times that the words are linked anew because a merge ended meanwhile.
const ATTEMPTS: usize = 20;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The snapshot's name among those of its index: when it was taken, in UTC.
    pub id: String,
    /// The index's name then.
    pub index: String,
    /// The log sequence up to which it has everything.
    pub seq: u64,
    /// Its documents.
    pub documents: u64,
    /// Its length, linked files included.
    pub bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    format: u32,
    #[serde(flatten)]
    snapshot: Snapshot,
    files: Vec<Listed>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Listed {
    /// Below the snapshot's folder, with slashes.
    path: String,
    bytes: u64,
    /// CRC-32.
    checksum: u32,
}

impl Index {
    /// Takes a snapshot of everything written so far into `folder`, which must not exist
    /// yet. Writers wait while files are linked, not while they are read for their
    /// checksums; searches do not wait at all.
    pub(super) fn take_snapshot(&self, folder: &Path, id: &str) -> Result<Snapshot> {
        self.refresh()?;
        // So that there is little to flush while writers wait.
        self.store.flush()?;
        let making = with_suffix(folder, MAKING);
        let taken = self.make_snapshot(&making, id);
        let placed = taken.and_then(|taken| {
            std::fs::rename(&making, folder).map_err(|e| cannot("rename", &making, e))?;
            sync_parent(folder)?;
            Ok(taken)
        });
        if placed.is_err()
            && let Err(error) = remove_folder(&making)
        {
            tracing::warn!(%error, "an unfinished snapshot cannot be removed");
        }
        placed
    }

    /// Links everything written so far into `folder`, which must not exist yet, and says
    /// what that is: sequence and documents. To be read before it is removed, not to be kept.
    pub(super) fn stage(&self, folder: &Path) -> Result<(u64, u64)> {
        self.refresh()?;
        self.store.flush()?;
        self.link_all(folder)
    }

    fn link_all(&self, making: &Path) -> Result<(u64, u64)> {
        std::fs::create_dir(making).map_err(|e| cannot("make", making, e))?;
        self.at_rest(|store| {
            store.checkpoint(making.join("store"))?;
            link_words(&self.folder().join("words"), &making.join("words"))?;
            let vectors = self.folder().join("vectors");
            if vectors.is_dir() {
                link_files(&vectors, &making.join("vectors"), |name| {
                    name.ends_with(".vectors")
                })
                .map_err(|e| cannot("link", &vectors, e))?;
            }
            Ok((store.last_seq(), store.count()))
        })
    }

    fn make_snapshot(&self, making: &Path, id: &str) -> Result<Snapshot> {
        let (seq, documents) = self.link_all(making)?;
        let mut files = Vec::new();
        list(making, "", &mut files).map_err(|e| cannot("read", making, e))?;
        files.sort();
        let snapshot = Snapshot {
            id: id.to_string(),
            index: self.name().to_string(),
            seq,
            documents,
            bytes: files.iter().map(|file| file.bytes).sum(),
        };
        let list = List {
            format: FORMAT,
            snapshot,
            files,
        };
        let json = serde_json::to_vec_pretty(&list)
            .map_err(|e| Error::Bug(format!("a snapshot does not serialise: {e}")))?;
        std::fs::write(making.join(LIST), json).map_err(|e| cannot("write", making, e))?;
        sync_all(making).map_err(|e| cannot("sync", making, e))?;
        Ok(list.snapshot)
    }
}

/// What the snapshot in a folder says of itself; its files are not looked at.
pub(super) fn read(folder: &Path) -> Result<Snapshot> {
    Ok(read_list(folder)?.snapshot)
}

fn read_list(folder: &Path) -> Result<List> {
    let path = folder.join(LIST);
    let bytes = std::fs::read(&path).map_err(|e| cannot("read", &path, e))?;
    let list: List = serde_json::from_slice(&bytes).map_err(|e| damaged(folder, e))?;
    if list.format != FORMAT {
        return Err(Error::operator(format!(
            "the snapshot {} has format {}, and this build reads format {FORMAT}",
            folder.display(),
            list.format
        ))
        .advice("restore it with the version of gleaner that wrote it"));
    }
    Ok(list)
}

/// Reads a snapshot through.
///
/// # Errors
/// `snapshot_damaged` with the first file that is not as it was written.
pub(super) fn verify(folder: &Path) -> Result<Snapshot> {
    let list = read_list(folder)?;
    let mut found = Vec::new();
    self::list(folder, "", &mut found).map_err(|e| cannot("read", folder, e))?;
    found.retain(|file| file.path != LIST);
    found.sort();
    if let Some(file) = list.files.iter().find(|file| !found.contains(file)) {
        return Err(damaged(folder, format!("{} is not as it was", file.path)));
    }
    if let Some(file) = found.iter().find(|file| !list.files.contains(file)) {
        return Err(damaged(folder, format!("{} was not there", file.path)));
    }
    Ok(list.snapshot)
}

/// Makes of a snapshot what will be the folder of an index called `name`, in `making`, which
/// is removed first if it is there.
pub(super) fn restore(snapshot: &Path, making: &Path, name: &str) -> Result<()> {
    verify(snapshot)?;
    remove_folder(making)?;
    copy(snapshot, making).map_err(|e| cannot("copy", snapshot, e))?;
    begin_anew(making, name)?;
    sync_all(making).map_err(|e| cannot("sync", making, e))
}

/// Whether a file never changes once it is there, so that two folders may share it.
pub(super) fn is_constant(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let in_words = path
        .parent()
        .is_some_and(|folder| folder.ends_with("words"));
    name.ends_with(".sst") || name.ends_with(".vectors") || (in_words && is_segment(name))
}

/// Whether a file of the words belongs to a segment: everything but lists and locks.
fn is_segment(name: &str) -> bool {
    !name.ends_with(".json") && !name.starts_with('.') && !name.ends_with(".lock")
}

/// Links where the file system can, copies where it cannot.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    match std::fs::hard_link(from, to) {
        // Nothing else: where `to` is there it may be `from` itself, which copying would empty.
        Err(e)
            if matches!(
                e.kind(),
                CrossesDevices | PermissionDenied | TooManyLinks | Unsupported
            ) =>
        {
            let mut file = File::create_new(to)?;
            io::copy(&mut File::open(from)?, &mut file).map(drop)
        }
        done => done,
    }
}

fn link_files(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            match link(&entry.path(), &to.join(entry.file_name())) {
                // Removed since the folder was read: nobody needs it any more.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// Links the segments of the words and copies the list of them. A merge may end meanwhile,
/// which changes both: then once more.
fn link_words(from: &Path, to: &Path) -> Result<()> {
    let meta = |folder: &Path| std::fs::read(folder.join("meta.json"));
    for _ in 0..ATTEMPTS {
        let linked = (|| {
            let before = meta(from)?;
            // Others are being written.
            let segments = segments(&before)?;
            link_files(from, to, |name| {
                is_segment(name) && segments.iter().any(|id| name.starts_with(id))
            })?;
            if meta(from)? != before {
                return Ok(false);
            }
            std::fs::write(to.join("meta.json"), before)?;
            std::fs::copy(from.join(".managed.json"), to.join(".managed.json"))?;
            Ok(true)
        })();
        if linked.map_err(|e| cannot("link", from, e))? {
            return Ok(());
        }
        remove_folder(to)?;
    }
    // Words are derived: without them they are made from the documents when it is opened.
    tracing::warn!("the words change too fast for a snapshot, which will rebuild them");
    Ok(())
}

/// What the names of the files of the listed segments begin with.
fn segments(meta: &[u8]) -> io::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Meta {
        segments: Vec<Segment>,
    }
    #[derive(Deserialize)]
    struct Segment {
        segment_id: String,
    }
    let meta: Meta = serde_json::from_slice(meta)?;
    let ids = meta.segments.into_iter();
    Ok(ids.map(|s| s.segment_id.replace('-', "")).collect())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &place)?;
        } else if is_constant(&path) {
            link(&path, &place)?;
        } else if entry.file_name() != LIST {
            std::fs::copy(&path, &place)?;
        }
    }
    Ok(())
}

fn list(folder: &Path, below: &str, files: &mut Vec<Listed>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}/"), files)?;
        } else {
            let (bytes, checksum) = checksum(&entry.path())?;
            files.push(Listed {
                path,
                bytes,
                checksum,
            });
        }
    }
    Ok(())
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hasher.finalize())),
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
}

/// Puts a folder with everything in it on the disk.
pub(super) fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_all(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    File::open(folder)?.sync_all()
}

pub(super) fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::operator_from(format!("cannot {what} {}", path.display()), error)
}

fn damaged(folder: &Path, why: impl std::fmt::Display) -> Error {
    let id = folder.file_name().unwrap_or_default().to_string_lossy();
    damaged_snapshot(&id, why)
}

pub(super) fn damaged_snapshot(id: &str, why: impl std::fmt::Display) -> Error {
    Problem::new(
        Code::SnapshotDamaged,
        format!("the snapshot {id:?} is damaged"),
    )
    .field("snapshot")
    .found(why)
    .expected("what was written; restore another snapshot")
    .into()
}

/// Whether this can be the id of a snapshot: then it can be part of a path.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
