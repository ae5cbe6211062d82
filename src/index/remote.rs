//! Snapshots in an object store.
//!
//! ```text
//! INDEX/snapshots/ID.json     the list of a snapshot: written last, removed first
//! INDEX/uploads/ID.json       there while the snapshot ID is uploaded
//! INDEX/objects/SHA256-ID     a file's content, uploaded for the snapshot ID
//! ```
//!
//! An object is written once and never changed. Snapshots of an index share objects: one that
//! a listed snapshot names, or that an upload cut short has left, is not uploaded again.
//!
//! # Why a removal never takes what a creation counts on
//!
//! Nothing is locked, so that a process that ends at any instant is in nobody's way. Stores
//! list what was written before the listing began, and what was removed before is not listed;
//! that is all that is asked of them.
//!
//! A creation writes its `uploads/ID.json`, which names the objects it would share and
//! protects every object of its ID, **before** it looks whether those who keep these objects
//! (a listed snapshot that names them, or the upload that made them) are still there. What
//! nobody keeps it uploads itself, under its own ID: never under a name that a removal may
//! have seen. It takes its upload away once its list is written.
//!
//! A removal takes the list away, then lists the objects, then reads the uploads, then the
//! lists, and removes those of the objects that nobody names or protects.
//!
//! Say a removal takes an object that a creation counts on. It saw the object, and saw neither
//! the creation's upload nor its list, so it looked before the upload was written. The creation
//! saw somebody keep the object after that; whom the removal, which had looked before, had not
//! seen either. So that one's upload was written after the removal looked as well, and so on:
//! back to the one who made the object, whose upload was there before the object was. But the
//! removal saw the object before it looked. So there is no such removal.
//!
//! An upload that its process did not live to finish protects what it uploaded until the next
//! snapshot of the same index takes it over, or for [`ABANDONED`], after which a removal takes
//! it away first of all. Should it have been alive nevertheless, it finds its upload gone at
//! the end and fails; that no snapshot takes as long is the one thing assumed about time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::digests::Digests;
use super::open::{begin_anew, remove_folder};
use super::snapshot::{Snapshot, cannot, damaged_snapshot, is_id, sync_all};
use crate::error::{Error, Result};
use crate::objects::{FILES_AT_ONCE, Objects};

/// The format of lists and uploads that this build writes and reads.
const FORMAT: u32 = 1;
/// Age at which an upload that nobody took over counts as abandoned.
const ABANDONED: chrono::Duration = chrono::Duration::days(7);
/// How often it is logged how far an upload or a download has got.
const TELL_EVERY: Duration = Duration::from_secs(10);

const SNAPSHOTS: &str = "snapshots";
const UPLOADS: &str = "uploads";
const OBJECTS: &str = "objects";

/// The list of a snapshot's files.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct List {
    format: u32,
    #[serde(flatten)]
    pub(super) snapshot: Snapshot,
    pub(super) files: Vec<Listed>,
    /// SHA-256 of the list as it is written without this.
    sha256: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Below the index's folder, with slashes.
    pub(super) path: String,
    pub(super) bytes: u64,
    #[serde(flatten)]
    pub(super) object: Object,
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) sha256: String,
    /// The snapshot it was uploaded for.
    of: String,
}

impl Object {
    fn name(&self) -> String {
        format!("{}-{}", self.sha256, self.of)
    }

    fn named(name: &str) -> Option<Object> {
        let (sha256, of) = name.split_once('-')?;
        let object = Object {
            sha256: sha256.into(),
            of: of.into(),
        };
        object.is_sound().then_some(object)
    }

    /// Whether it can be part of a path: lists come from outside.
    fn is_sound(&self) -> bool {
        let is_digest = self.sha256.len() == 64
            && self
                .sha256
                .chars()
                .all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        is_digest && is_id(&self.of)
    }
}

/// A snapshot that is being uploaded.
#[derive(Debug, Serialize, Deserialize)]
struct Upload {
    format: u32,
    /// The id of the index. It is open in one process only, whose other uploads have ended.
    index_id: String,
    /// Objects of others that it counts on.
    shares: BTreeSet<Object>,
}

impl List {
    fn seal(mut self) -> Result<(List, Vec<u8>)> {
        self.sha256 = self.digest()?;
        let json = serde_json::to_vec(&self).map_err(bug)?;
        Ok((self, json))
    }

    fn digest(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Unsealed<'a> {
            format: u32,
            #[serde(flatten)]
            snapshot: &'a Snapshot,
            files: &'a [Listed],
        }
        let json = serde_json::to_vec(&Unsealed {
            format: self.format,
            snapshot: &self.snapshot,
            files: &self.files,
        });
        Ok(crate::objects::digest_of(&json.map_err(bug)?))
    }

    /// Reads a list, and holds it to what a list may say.
    fn parse(id: &str, json: &[u8]) -> Result<List> {
        check_format(json)?;
        let list: List = serde_json::from_slice(json).map_err(|e| damaged_snapshot(id, e))?;
        // Fuzzing looks at what is behind the checksum.
        let is_sealed = cfg!(feature = "fuzzing") || list.sha256 == list.digest()?;
        if !is_sealed || list.snapshot.id != id {
            return Err(damaged_snapshot(id, "its list is not as it was"));
        }
        for file in &list.files {
            let path = Path::new(&file.path);
            let mut parts = path.components();
            let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
            if file.path.is_empty() || !is_inside || !file.object.is_sound() {
                let why = format!("{:?} cannot be the path of a file", file.path);
                return Err(damaged_snapshot(id, why));
            }
        }
        Ok(list)
    }
}

/// Refuses what a newer version wrote.
fn check_format(json: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_slice::<Format>(json) {
        Ok(Format { format }) if format != FORMAT => Err(Error::operator(format!(
            "a snapshot in the object store has format {format}, and this build reads format {FORMAT}"
        ))
        .advice("use the version of gleaner that wrote it")),
        // What cannot be read at all is said by whoever reads on.
        _ => Ok(()),
    }
}

fn bug(error: serde_json::Error) -> Error {
    Error::Bug(format!("a snapshot does not serialise: {error}"))
}

/// Where the snapshots of one index are.
pub(super) struct Remote<'a> {
    pub(super) objects: &'a Objects,
    pub(super) index: &'a str,
}

impl Remote<'_> {
    fn below(&self, kind: &str, name: &str) -> String {
        format!("{}/{kind}/{name}", self.index)
    }

    /// The ids of what there is of a kind, the oldest first, and when it was written.
    async fn ids(&self, kind: &str) -> Result<Vec<(String, chrono::DateTime<Utc>)>> {
        let listed = self.objects.list(&self.below(kind, "")).await?;
        let ids = listed.into_iter().filter_map(|(name, meta)| {
            let id = name.strip_suffix(".json").filter(|id| is_id(id))?;
            Some((id.to_string(), meta.last_modified))
        });
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        Ok(ids)
    }

    fn json_of(&self, kind: &str, id: &str) -> String {
        self.below(kind, &format!("{id}.json"))
    }

    /// The list of a snapshot; `None` where there is no such snapshot.
    pub(super) async fn list(&self, id: &str) -> Result<Option<List>> {
        match self.objects.get(&self.json_of(SNAPSHOTS, id)).await? {
            None => Ok(None),
            Some(json) => List::parse(id, &json).map(Some),
        }
    }

    /// An upload; `None` where it has ended.
    async fn upload(&self, id: &str) -> Result<Option<Upload>> {
        let Some(json) = self.objects.get(&self.json_of(UPLOADS, id)).await? else {
            return Ok(None);
        };
        check_format(&json)?;
        serde_json::from_slice(&json).map(Some).map_err(|e| {
            let what = format!("the upload {id} in {} cannot be read", self.objects.url());
            Error::operator_from(what, e)
        })
    }

    /// The ids of the snapshots, the oldest first.
    pub(super) async fn snapshot_ids(&self) -> Result<Vec<String>> {
        let ids = self.ids(SNAPSHOTS).await?.into_iter();
        Ok(ids.map(|(id, _)| id).collect())
    }

    /// The snapshots, the oldest first. What cannot be read is logged and left out.
    pub(super) async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut snapshots = Vec::new();
        for id in self.snapshot_ids().await? {
            match self.list(&id).await {
                Ok(list) => snapshots.extend(list.map(|list| list.snapshot)),
                Err(error) => tracing::warn!(%error, "a snapshot cannot be read"),
            }
        }
        Ok(snapshots)
    }

    /// Uploads what was staged in a folder as the snapshot that `snapshot` says, but for its
    /// length.
    pub(super) async fn create(
        &self,
        staged: &Path,
        mut snapshot: Snapshot,
        index_id: String,
        mut digests: Digests,
    ) -> Result<Snapshot> {
        let id = snapshot.id.clone();
        let mut files = Vec::new();
        read_files(staged, "", &id, &mut digests, &mut files)
            .map_err(|e| cannot("read", staged, e))?;
        digests.save();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        snapshot.bytes = files.iter().map(|file| file.bytes).sum();

        let (kept, cut_short) = self.keepers(&files, &index_id).await?;
        let upload = Upload {
            format: FORMAT,
            index_id,
            shares: kept.values().map(|keeper| keeper.object.clone()).collect(),
        };
        let json = serde_json::to_vec(&upload).map_err(bug)?;
        if !self
            .objects
            .create(&self.json_of(UPLOADS, &id), json)
            .await?
        {
            return Err(Error::operator(format!(
                "a snapshot {id} of {:?} is being uploaded by somebody else",
                self.index
            ))
            .advice("take it again"));
        }
        self.share(&mut files, &kept).await?;
        self.send(staged, &id, &files).await?;

        let list = List {
            format: FORMAT,
            snapshot,
            files,
            sha256: String::new(),
        };
        let (list, json) = list.seal()?;
        let (place, upload) = (self.json_of(SNAPSHOTS, &id), self.json_of(UPLOADS, &id));
        let abandoned = || {
            Error::operator(format!(
                "the upload of the snapshot {id} of {:?} was taken away as abandoned",
                self.index
            ))
            .advice("take it again")
        };
        if !self.objects.is_there(&upload).await? {
            return Err(abandoned());
        }
        if !self.objects.create(&place, json).await? {
            return Err(Error::operator(format!(
                "there is another snapshot {id} of {:?}",
                self.index
            ))
            .advice("take it again"));
        }
        if !self.objects.is_there(&upload).await? {
            self.objects.remove(vec![place]).await?;
            return Err(abandoned());
        }
        // From here on the snapshot is there, whatever becomes of what is left to do.
        let ended = cut_short.iter().map(|id| self.json_of(UPLOADS, id));
        let tidied = async {
            self.objects.remove(ended.chain([upload]).collect()).await?;
            match cut_short.is_empty() {
                true => Ok(()),
                false => self.sweep().await,
            }
        };
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "what unfinished snapshots left cannot be removed");
        }
        Ok(list.snapshot)
    }

    /// Of what is wanted, what others keep already, by SHA-256; and the uploads of this index
    /// that were cut short.
    async fn keepers(
        &self,
        wanted: &[Listed],
        index_id: &str,
    ) -> Result<(BTreeMap<String, Keeper>, Vec<String>)> {
        let wanted: BTreeMap<&str, u64> = wanted
            .iter()
            .map(|file| (file.object.sha256.as_str(), file.bytes))
            .collect();
        let there = self.lengths().await?;
        let is_there = |object: &Object| {
            let bytes = wanted.get(object.sha256.as_str());
            bytes.is_some() && there.get(&object.name()) == bytes
        };
        let (mut kept, mut cut_short) = (BTreeMap::new(), Vec::new());
        let mut keep = |kind, id: &str, object: Object| {
            if is_there(&object) {
                let keeper = Keeper {
                    kind,
                    id: id.to_string(),
                    object: object.clone(),
                };
                kept.insert(object.sha256, keeper);
            }
        };
        for (id, _) in self.ids(UPLOADS).await? {
            let upload = match self.upload(&id).await {
                Ok(Some(upload)) if upload.index_id == index_id => upload,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "left alone");
                    continue;
                }
            };
            let own = wanted.keys().map(|&sha256| Object {
                sha256: sha256.into(),
                of: id.clone(),
            });
            for object in own.chain(upload.shares) {
                keep(UPLOADS, &id, object);
            }
            cut_short.push(id);
        }
        for id in self.snapshot_ids().await? {
            match self.list(&id).await {
                Ok(list) => {
                    for file in list.into_iter().flat_map(|list| list.files) {
                        keep(SNAPSHOTS, &id, file.object);
                    }
                }
                Err(error) => tracing::warn!(%error, "a snapshot cannot be read"),
            }
        }
        Ok((kept, cut_short))
    }

    /// The objects there are, and their lengths.
    async fn lengths(&self) -> Result<BTreeMap<String, u64>> {
        let there = self
            .objects
            .list(&self.below(OBJECTS, ""))
            .await?
            .into_iter();
        Ok(there.map(|(name, meta)| (name, meta.size)).collect())
    }

    /// Lets the files be those that others keep, where those others are there still, and the
    /// objects too, as long as they should be.
    async fn share(&self, files: &mut [Listed], kept: &BTreeMap<String, Keeper>) -> Result<()> {
        let mut alive = BTreeSet::new();
        for kind in [SNAPSHOTS, UPLOADS] {
            alive.extend(self.ids(kind).await?.into_iter().map(|(id, _)| (kind, id)));
        }
        let there = self.lengths().await?;
        for file in files {
            let Some(keeper) = kept.get(&file.object.sha256) else {
                continue;
            };
            if alive.contains(&(keeper.kind, keeper.id.clone()))
                && there.get(&keeper.object.name()) == Some(&file.bytes)
            {
                file.object = keeper.object.clone();
                // One that was cut short may not have come to that.
                self.objects
                    .settle(&self.below(OBJECTS, &file.object.name()))?;
            }
        }
        Ok(())
    }

    /// Uploads those of the files that are the snapshot's own, each content once.
    async fn send(&self, staged: &Path, id: &str, files: &[Listed]) -> Result<()> {
        let own = files.iter().filter(|file| file.object.of == id);
        let own: BTreeMap<&Object, &Listed> = own.map(|file| (&file.object, file)).collect();
        let bytes = own.values().map(|file| file.bytes).sum();
        tracing::info!(
            index = self.index,
            snapshot = id,
            to = self.objects.url(),
            files = files.len(),
            new_files = own.len(),
            new_bytes = bytes,
            "uploading a snapshot"
        );
        let progress = Progress::new("uploading", self.index, bytes);
        let sent = own.into_values().map(|file| {
            let (path, progress) = (staged.join(&file.path), &progress);
            async move {
                let name = self.below(OBJECTS, &file.object.name());
                let sha256 = &file.object.sha256;
                self.objects
                    .put_file(&name, &path, sha256, |bytes| progress.add(bytes))
                    .await
            }
        });
        let sent = futures::stream::iter(sent).buffer_unordered(FILES_AT_ONCE);
        sent.try_collect().await
    }

    /// Reads a snapshot through; `None` where there is none.
    ///
    /// # Errors
    /// `snapshot_damaged` with a file that is not as it was written.
    pub(super) async fn verify(&self, id: &str) -> Result<Option<Snapshot>> {
        let Some(list) = self.list(id).await? else {
            return Ok(None);
        };
        let each: BTreeMap<&Object, &Listed> =
            list.files.iter().map(|file| (&file.object, file)).collect();
        let bytes = each.values().map(|file| file.bytes).sum();
        let progress = Progress::new("verifying", self.index, bytes);
        let read = each.into_values().map(|file| {
            let progress = &progress;
            async move {
                self.read(id, file, |piece| {
                    progress.add(piece.len() as u64);
                    Ok(())
                })
                .await
            }
        });
        let read = futures::stream::iter(read).buffer_unordered(FILES_AT_ONCE);
        match read.try_collect::<()>().await {
            Ok(()) => Ok(Some(list.snapshot)),
            Err(error) => self.unless_removed(id, error).await.map(|()| None),
        }
    }

    /// An error of reading a snapshot, unless the snapshot was removed meanwhile.
    pub(super) async fn unless_removed(&self, id: &str, error: Error) -> Result<()> {
        match self.objects.is_there(&self.json_of(SNAPSHOTS, id)).await? {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// Reads a file of a snapshot through.
    ///
    /// # Errors
    /// `snapshot_damaged` where it is not as it was written.
    pub(super) async fn read(
        &self,
        id: &str,
        file: &Listed,
        take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let name = self.below(OBJECTS, &file.object.name());
        let sha256 = &file.object.sha256;
        match self.objects.read(&name, file.bytes, sha256, take).await? {
            None => Ok(()),
            Some(why) => {
                let why = format!("{} is not as it was: {why}", file.path);
                Err(damaged_snapshot(id, why))
            }
        }
    }

    /// Makes of a snapshot what will be the folder of an index called `name`, in `making`,
    /// which is removed first if it is there. Nothing but what was compared with the list
    /// gets there. False where there is no such snapshot.
    pub(super) async fn restore(&self, id: &str, making: &Path, name: &str) -> Result<bool> {
        let Some(list) = self.list(id).await? else {
            return Ok(false);
        };
        remove_folder(making)?;
        let progress = Progress::new("downloading", self.index, list.snapshot.bytes);
        let fetched = list.files.iter().map(|file| {
            let (path, progress) = (making.join(&file.path), &progress);
            async move {
                let cannot_write = |e| cannot("write", &path, e);
                let folder = path.parent().unwrap_or(making);
                std::fs::create_dir_all(folder).map_err(cannot_write)?;
                let mut into = File::create_new(&path).map_err(cannot_write)?;
                self.read(id, file, |piece| {
                    progress.add(piece.len() as u64);
                    into.write_all(piece).map_err(cannot_write)
                })
                .await
            }
        });
        let fetched = futures::stream::iter(fetched).buffer_unordered(FILES_AT_ONCE);
        if let Err(error) = fetched.try_collect::<()>().await {
            self.unless_removed(id, error).await?;
            return Ok(false);
        }
        begin_anew(making, name)?;
        sync_all(making).map_err(|e| cannot("sync", making, e))?;
        Ok(true)
    }

    /// Removes a snapshot, and the objects that were its alone. False where there is none.
    pub(super) async fn remove(&self, id: &str) -> Result<bool> {
        let place = self.json_of(SNAPSHOTS, id);
        if !self.objects.is_there(&place).await? {
            return Ok(false);
        }
        self.objects.remove(vec![place]).await?;
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, "what the snapshot held is removed with the next one");
        }
        Ok(true)
    }

    /// Removes the objects that no snapshot names and no upload protects. The order of its
    /// steps is what keeps others' objects safe: see the top.
    async fn sweep(&self) -> Result<()> {
        let too_old = Utc::now() - ABANDONED;
        let abandoned = self.ids(UPLOADS).await?.into_iter();
        let abandoned = abandoned.filter(|(_, written)| *written < too_old);
        let abandoned: Vec<String> = abandoned
            .map(|(id, _)| self.json_of(UPLOADS, &id))
            .collect();
        self.objects.remove(abandoned).await?;

        let there = self.objects.list(&self.below(OBJECTS, "")).await?;
        let left = self.left_behind();
        let (mut named, mut uploading) = (BTreeSet::new(), BTreeSet::new());
        for (id, _) in self.ids(UPLOADS).await? {
            // One that has ended meanwhile is among the lists.
            let shares = self.upload(&id).await?.map(|upload| upload.shares);
            named.extend(shares.into_iter().flatten());
            uploading.insert(id);
        }
        for id in self.snapshot_ids().await? {
            // One that cannot be read may name anything: then nothing is removed.
            let files = self.list(&id).await?.map(|list| list.files);
            named.extend(files.into_iter().flatten().map(|file| file.object));
        }
        let is_needed = |object: &Object| uploading.contains(&object.of) || named.contains(object);
        let needless = there.into_iter().filter_map(|(name, meta)| {
            let object = Object::named(&name)?;
            (!is_needed(&object)).then(|| (self.below(OBJECTS, &name), meta.size))
        });
        let (needless, bytes): (Vec<String>, Vec<u64>) = needless.unzip();
        if !needless.is_empty() {
            let bytes: u64 = bytes.iter().sum();
            let objects = needless.len();
            tracing::info!(index = self.index, objects, bytes, "removing objects");
            self.objects.remove(needless).await?;
        }
        for (object, file) in left {
            if !uploading.contains(&object.of) {
                std::fs::remove_file(&file).map_err(|e| cannot("remove", &file, e))?;
            }
        }
        Ok(())
    }

    /// Where the store is a folder: the beginnings of objects that were never finished, which
    /// the store does not list.
    fn left_behind(&self) -> Vec<(Object, PathBuf)> {
        let folder = self.objects.file(&self.below(OBJECTS, ""));
        let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
        let entries = entries.into_iter().flatten().flatten();
        let left = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((Object::named(name.split_once('#')?.0)?, entry.path()))
        });
        left.collect()
    }
}

/// Somebody who keeps an object.
struct Keeper {
    kind: &'static str,
    id: String,
    object: Object,
}

/// The files in a folder, as those that are to be uploaded for the snapshot `id`.
fn read_files(
    folder: &Path,
    below: &str,
    id: &str,
    digests: &mut Digests,
    files: &mut Vec<Listed>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_files(&entry.path(), &format!("{path}/"), id, digests, files)?;
        } else {
            let (bytes, sha256) = digests.of(&entry.path())?;
            let of = id.to_string();
            files.push(Listed {
                path,
                bytes,
                object: Object { sha256, of },
            });
        }
    }
    Ok(())
}

/// Logs how far something that takes long has got.
struct Progress<'a> {
    what: &'static str,
    index: &'a str,
    bytes: u64,
    state: Mutex<(u64, Instant)>,
}

impl<'a> Progress<'a> {
    fn new(what: &'static str, index: &'a str, bytes: u64) -> Progress<'a> {
        Progress {
            what,
            index,
            bytes,
            state: Mutex::new((0, Instant::now())),
        }
    }

    fn add(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.0 += bytes;
        if state.1.elapsed() >= TELL_EVERY {
            state.1 = Instant::now();
            let (done, of) = (state.0, self.bytes);
            tracing::info!(index = self.index, done, of, "{} a snapshot", self.what);
        }
    }
}
