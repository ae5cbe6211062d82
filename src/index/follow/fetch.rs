//! Downloading a version: only what an earlier one did not bring.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};

use crate::error::Result;
use crate::index::open::{begin_anew, remove_folder};
use crate::index::remote::{Listed, Remote};
use crate::index::snapshot::{Snapshot, cannot, is_constant, link, sync_all};
use crate::objects::FILES_AT_ONCE;

/// What was brought.
pub(super) struct Fetched {
    pub(super) snapshot: Snapshot,
    /// Bytes that had to be downloaded.
    pub(super) new_bytes: u64,
    /// Objects that had to be.
    pub(super) new_objects: u64,
    /// The contents that it consists of.
    pub(super) contents: BTreeSet<String>,
}

/// Makes of the snapshot `id` what will be the folder of the index `name`, in `making`, which
/// is removed first if it is there. What is downloaded goes to `objects`, under its SHA-256,
/// when it was compared with it. None where the snapshot is not there any more.
pub(super) async fn fetch(
    remote: &Remote<'_>,
    id: &str,
    making: &Path,
    objects: &Path,
    name: &str,
) -> Result<Option<Fetched>> {
    let Some(list) = remote.list(id).await? else {
        return Ok(None);
    };
    std::fs::create_dir_all(objects).map_err(|e| cannot("create", objects, e))?;
    let each: BTreeMap<&str, &Listed> = list
        .files
        .iter()
        .map(|file| (file.object.sha256.as_str(), file))
        .collect();
    let new: Vec<&Listed> = each
        .values()
        .copied()
        .filter(|file| {
            let there = std::fs::metadata(objects.join(&file.object.sha256));
            there.map_or(true, |meta| meta.len() != file.bytes)
        })
        .collect();
    let new_bytes = new.iter().map(|file| file.bytes).sum();
    let new_objects = new.len() as u64;
    tracing::info!(
        index = name,
        snapshot = id,
        objects = each.len(),
        new_objects,
        new_bytes,
        "downloading a version"
    );
    let fetched = new.into_iter().map(|file| async move {
        let place = objects.join(&file.object.sha256);
        let part = objects.join(format!("{}.part", file.object.sha256));
        let cannot_write = |e| cannot("write", &part, e);
        let mut into = File::create(&part).map_err(cannot_write)?;
        let read = remote
            .read(id, file, |piece| {
                into.write_all(piece).map_err(cannot_write)
            })
            .await;
        if let Err(error) = read {
            // It is written anew next time; without this it would take room until then.
            let _ = std::fs::remove_file(&part);
            return Err(error);
        }
        into.sync_all().map_err(cannot_write)?;
        std::fs::rename(&part, &place).map_err(cannot_write)
    });
    let fetched = futures::stream::iter(fetched).buffer_unordered(FILES_AT_ONCE);
    if let Err(error) = fetched.try_collect::<()>().await {
        remote.unless_removed(id, error).await?;
        return Ok(None);
    }
    remove_folder(making)?;
    for file in &list.files {
        let (from, to) = (objects.join(&file.object.sha256), making.join(&file.path));
        let folder = to.parent().unwrap_or(making);
        std::fs::create_dir_all(folder).map_err(|e| cannot("create", folder, e))?;
        let placed = match is_constant(&to) {
            true => link(&from, &to),
            false => std::fs::copy(&from, &to).map(drop),
        };
        placed.map_err(|e| cannot("write", &to, e))?;
    }
    begin_anew(making, name)?;
    sync_all(making).map_err(|e| cannot("sync", making, e))?;
    Ok(Some(Fetched {
        snapshot: list.snapshot,
        new_bytes,
        new_objects,
        contents: each.into_keys().map(str::to_string).collect(),
    }))
}

/// Removes what was downloaded and does not belong to a version any more.
pub(super) fn prune(objects: &Path, contents: &BTreeSet<String>) {
    for entry in std::fs::read_dir(objects).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| contents.contains(name))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(%error, "what an old version consisted of cannot be removed");
        }
    }
}
