//! Where shards and what belongs to them lie: files, and objects of a store.

use std::fs::File;
use std::path::{Path, PathBuf};

use object_store::ObjectStoreExt;
use parquet::file::metadata::ParquetMetaData;

use super::Stamp;
use crate::error::{Code, Error, Problem, Result};
use crate::ingest::Manifest;
use crate::ingest::export::{manifest_in, write_whole};
use crate::ingest::ranges::Ranges;
use crate::ingest::readers::footer_of;
use crate::objects::{self, Objects};

/// A file, or an object by its URL.
pub(super) enum Place {
    File(PathBuf),
    /// An object: the prefix of the store is its whole path.
    Object(Objects),
}

impl Place {
    /// # Errors
    /// `invalid_configuration` for a URL of a kind that is not supported.
    pub(super) fn new(text: &str) -> Result<Place> {
        if !objects::is_url(text) {
            return Ok(Place::File(text.into()));
        }
        let file = url::Url::parse(text)
            .ok()
            .filter(|url| url.scheme() == "file");
        match file.and_then(|url| url.to_file_path().ok()) {
            Some(file) => Ok(Place::File(file)),
            None => Ok(Place::Object(Objects::open(text)?)),
        }
    }

    /// What tells it from another version of it; none where there is nothing.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>> {
        match self {
            Place::File(path) => match std::fs::metadata(path) {
                Ok(meta) if meta.is_file() => {
                    let time = meta.modified().ok();
                    let time = time.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
                    Ok(Some(Stamp {
                        bytes: meta.len(),
                        version: time.map_or(0, |time| time.as_nanos()).to_string(),
                    }))
                }
                Ok(_) => Err(Problem::new(
                    Code::InvalidFile,
                    format!("{}: this is no file", path.display()),
                )
                .into()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => {
                    let what = format!("cannot look at {}", path.display());
                    Err(Error::operator_from(what, e))
                }
            },
            Place::Object(objects) => objects::wait(async {
                match objects.store().head(&objects.path("")).await {
                    Ok(meta) => Ok(Some(Stamp {
                        bytes: meta.size,
                        version: meta
                            .e_tag
                            .unwrap_or_else(|| meta.last_modified.to_rfc3339()),
                    })),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => Err(cannot("look at", objects, e)),
                }
            }),
        }
    }

    /// What a file of Parquet here says of itself as an export; none where nothing is here, or
    /// no export that could be read.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>> {
        let metadata = self.metadata()?;
        Ok(metadata.and_then(|metadata| manifest_in(&metadata)))
    }

    /// What the footer of a file of Parquet here says; none where nothing is here, or no such
    /// file.
    pub(super) fn metadata(&self) -> Result<Option<ParquetMetaData>> {
        if self.stamp()?.is_none() {
            return Ok(None);
        }
        let ranges = match self {
            Place::File(path) => Ranges::open(path),
            Place::Object(objects) => Ranges::open(Path::new(objects.url())),
        };
        match ranges.and_then(|ranges| footer_of(&ranges)) {
            Ok(metadata) => Ok(Some(metadata)),
            // Whatever it is, it is no shard.
            Err(Error::User(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets `write` write a file, in `folder` where this is an object, and puts it here as a
    /// whole. Its length.
    pub(super) fn write(
        &self,
        folder: &Path,
        write: impl FnOnce(File) -> Result<File>,
    ) -> Result<u64> {
        let objects = match self {
            Place::File(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|e| {
                        Error::operator_from(format!("cannot create {}", folder.display()), e)
                    })?;
                }
                return write_whole(path, write);
            }
            Place::Object(objects) => objects,
        };
        let path = folder.join(format!("{}.sending", uuid::Uuid::new_v4().simple()));
        let bytes = write_whole(&path, write)?;
        let (_, sha256) = objects::digest(&path)
            .map_err(|e| Error::operator_from(format!("cannot read {}", path.display()), e))?;
        let sent = objects::wait(objects.put_file("", &path, &sha256, |_| {}));
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, "what was sent cannot be removed here");
        }
        sent.map(|()| bytes)
    }

    /// Removes what is here, if anything is.
    pub(super) fn remove(&self) -> Result<()> {
        match self {
            Place::File(path) => match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::operator_from(
                    format!("cannot remove {}", path.display()),
                    e,
                )),
                _ => Ok(()),
            },
            Place::Object(objects) => objects::wait(objects.remove(vec![String::new()])),
        }
    }

    /// The text of a small file or object; none where there is nothing.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>> {
        match self {
            Place::File(path) => match std::fs::read(path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(Error::operator_from(
                    format!("cannot read {}", path.display()),
                    e,
                )),
            },
            Place::Object(objects) => objects::wait(objects.get("")),
        }
    }
}

fn cannot(what: &str, objects: &Objects, error: object_store::Error) -> Error {
    Error::operator_from(format!("cannot {what} {}", objects.url()), error)
        .advice("check that the store is there and can be reached, and the credentials")
}
