//! Object stores (S3, Google Cloud Storage, Azure, a folder by its `file:///` URL): opening one
//! from a URL, and moving files to and from it.
//!
//! Credentials, endpoints and everything else about reaching a store come from the environment
//! (`AWS_*`, `GOOGLE_*`, `AZURE_*`, as the `object_store` crate reads them), never from a URL,
//! so that a URL may be logged. Requests are retried by the crate. Memory is bounded: a file
//! goes and comes in parts, however large it is.

use std::collections::BTreeSet;
use std::fs::File;
use std::future::Future;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ClientConfigKey, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    WriteMultipart,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use url::Url;

use crate::error::{Code, Error, Problem, Result};

/// Bytes that are asked for at once, and sent at once where [`MOST_PARTS`] allows it.
const PART: u64 = 8 << 20;
/// Most parts of one object; S3 takes 10,000.
const MOST_PARTS: u64 = 9_000;
/// Parts of one file that are on their way at once.
const PARTS_AT_ONCE: usize = 2;
/// Longest time for one request where the environment does not say otherwise: enough for a
/// part over a slow line.
const TIMEOUT: &str = "120 seconds";
/// Files that are sent or fetched at once.
pub const FILES_AT_ONCE: usize = 4;

/// Where the requests are worked on, whoever waits for them.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("objects")
        .enable_all()
        .build()
});

/// Waits for work on an object store. For threads that may block: commands, and the threads
/// that requests do their blocking work on.
///
/// # Errors
/// Those of the work; an operator error where no threads can be started.
pub fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match &*RUNTIME {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Error::operator(format!(
            "cannot start threads for the object store: {error}"
        ))),
    }
}

/// Whether this names an object store rather than a folder.
pub fn is_url(location: &str) -> bool {
    let scheme = location.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Reads the URL of an object store.
///
/// # Errors
/// `invalid_configuration` for one that is not of a supported scheme, names no bucket, or
/// carries what may be a secret; the secret is not repeated.
fn parse(location: &str) -> Result<Url> {
    let wrong = |message: &str| {
        Problem::new(Code::InvalidConfiguration, message).expected(
            "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER; \
             credentials belong into the environment",
        )
    };
    // What could not be read is not repeated either: it may hold a secret.
    let url = Url::parse(location).map_err(|e| wrong(&format!("not a URL: {e}")))?;
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the URL of an object store carries more than a place").into());
    }
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    let (fits, may_have_user) = match url.scheme() {
        "s3" | "gs" => (has_host, false),
        // `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net`: the user is the container.
        "az" | "abfs" | "abfss" => (has_host, true),
        "file" => (!has_host && url.path().len() > 1, false),
        scheme => {
            let problem = wrong("object stores of this kind are not supported");
            return Err(problem.found(format!("{scheme}:")).into());
        }
    };
    if !fits || (!may_have_user && !url.username().is_empty()) {
        return Err(wrong("the URL does not name a bucket or folder").into());
    }
    Ok(url)
}

/// Checks a URL without opening anything.
///
/// # Errors
/// `invalid_configuration`, see [`Objects::open`].
pub fn check(location: &str) -> Result<()> {
    parse(location).map(drop)
}

/// A place in an object store: a bucket and a prefix.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
    /// The folder that the prefix is, where the store is this machine's disk.
    folder: Option<PathBuf>,
}

impl Objects {
    /// Opens the store that a URL names: `s3://`, `gs://`, `az://` (also `abfs://` and
    /// `abfss://`) or `file:///`. Reaches for nothing yet.
    ///
    /// # Errors
    /// `invalid_configuration` for a URL that cannot be used; an operator error where the
    /// environment lacks what the store needs.
    pub fn open(location: &str) -> Result<Objects> {
        let url = parse(location)?;
        let text = url.as_str().trim_end_matches('/').to_string();
        let cannot = |e: object_store::Error| {
            Error::operator_from(format!("cannot use the object store {text}"), e)
                .advice("check the URL, and the variables that say how the store is reached")
        };
        let timeout = |variable: &str| std::env::var(variable).unwrap_or(TIMEOUT.into());
        let key = ClientConfigKey::Timeout;
        let mut folder = None;
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" => {
                let builder = AmazonS3Builder::from_env()
                    .with_config(AmazonS3ConfigKey::Client(key), timeout("AWS_TIMEOUT"))
                    .with_url(url.as_str());
                Arc::new(builder.build().map_err(cannot)?)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env()
                    .with_config(GoogleConfigKey::Client(key), timeout("GOOGLE_TIMEOUT"))
                    .with_url(url.as_str());
                Arc::new(builder.build().map_err(cannot)?)
            }
            "az" | "abfs" | "abfss" => {
                let builder = MicrosoftAzureBuilder::from_env()
                    .with_config(AzureConfigKey::Client(key), timeout("AZURE_TIMEOUT"))
                    .with_url(url.as_str());
                Arc::new(builder.build().map_err(cannot)?)
            }
            _ => {
                folder = url.to_file_path().ok();
                Arc::new(LocalFileSystem::new())
            }
        };
        let prefix = Path::from_url_path(url.path()).map_err(|e| cannot(e.into()))?;
        Ok(Objects {
            store,
            prefix,
            url: text,
            folder,
        })
    }

    /// The URL, which holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The store itself, whose paths begin at the bucket.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The path of `below`, names parted by slashes, in the store.
    pub fn path(&self, below: &str) -> Path {
        let names = below.split('/').filter(|name| !name.is_empty());
        names.fold(self.prefix.clone(), |path, name| path.join(name))
    }

    /// The names of what lies right below, and when it was written and how long it is.
    pub async fn list(&self, below: &str) -> Result<Vec<(String, ObjectMeta)>> {
        let prefix = &self.path(below);
        let listed = self.store.list(Some(prefix));
        let listed = listed.try_filter_map(|meta| async move {
            let mut parts = meta.location.prefix_match(prefix).into_iter().flatten();
            let name = parts.next().map(|part| part.as_ref().to_string());
            let is_right_below = parts.next().is_none();
            drop(parts);
            Ok(name.filter(|_| is_right_below).map(|name| (name, meta)))
        });
        let listed: object_store::Result<Vec<_>> = listed.try_collect().await;
        listed.map_err(|e| self.cannot("list", below, e))
    }

    /// What a small object holds; `None` where there is none.
    pub async fn get(&self, below: &str) -> Result<Option<Vec<u8>>> {
        let read = async { self.store.get(&self.path(below)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.cannot("read", below, e)),
        }
    }

    /// Whether there is an object.
    pub async fn is_there(&self, below: &str) -> Result<bool> {
        match self.store.head(&self.path(below)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(self.cannot("look for", below, e)),
        }
    }

    /// Writes a small object where there is none yet, in one step: it is there whole or not
    /// at all. Returns false where there is another one. Stores that cannot refuse to
    /// overwrite are asked first.
    pub async fn create(&self, below: &str, bytes: Vec<u8>) -> Result<bool> {
        let path = self.path(below);
        let put = self
            .store
            .put_opts(&path, bytes.clone().into(), PutMode::Create.into());
        match put.await {
            Ok(_) => {}
            // Perhaps by ourselves, and the answer was lost.
            Err(object_store::Error::AlreadyExists { .. }) => {
                return Ok(self.get(below).await?.as_ref() == Some(&bytes));
            }
            // A folder cannot where its file system knows no links.
            Err(e)
                if self.folder.is_some()
                    || matches!(e, object_store::Error::NotImplemented { .. }) =>
            {
                if self.is_there(below).await? {
                    return Ok(false);
                }
                let put = self.store.put(&path, bytes.into()).await;
                put.map_err(|e| self.cannot("write", below, e))?;
            }
            Err(e) => return Err(self.cannot("write", below, e)),
        }
        self.settle(below)?;
        Ok(true)
    }

    /// Removes objects; those that are not there are none the worse for it.
    pub async fn remove(&self, below: Vec<String>) -> Result<()> {
        let paths: Vec<_> = below.iter().map(|name| Ok(self.path(name))).collect();
        let mut removed = self
            .store
            .delete_stream(futures::stream::iter(paths).boxed());
        while let Some(removed) = removed.next().await {
            match removed {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(self.cannot("remove objects from", "", e)),
            }
        }
        // What is removed after these must not be gone before them.
        let folders: BTreeSet<PathBuf> = below
            .iter()
            .filter_map(|name| Some(self.file(name)?.parent()?.to_path_buf()))
            .collect();
        for folder in folders {
            match File::open(&folder).and_then(|folder| folder.sync_all()) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                synced => synced.map_err(|e| {
                    Error::operator_from(format!("cannot sync {}", folder.display()), e)
                })?,
            }
        }
        Ok(())
    }

    /// Sends a file, whose SHA-256 must be `sha256` in hexadecimals: an object is never
    /// other than its name says. It is there whole or not at all. `sent` hears of the bytes
    /// as they are handed over.
    ///
    /// # Errors
    /// Operator errors of the file, the network and the store, and where the file changed.
    pub async fn put_file(
        &self,
        below: &str,
        file: &std::path::Path,
        sha256: &str,
        sent: impl Fn(u64),
    ) -> Result<()> {
        let cannot = |e| self.cannot("write", below, e);
        let path = self.path(below);
        let mut source = Source::open(file)?;
        if source.bytes <= source.part {
            let piece = source.next()?;
            let length = piece.len() as u64;
            source.compare(sha256)?;
            self.store.put(&path, piece.into()).await.map_err(cannot)?;
            sent(length);
        } else {
            let upload = self.store.put_multipart(&path).await.map_err(cannot)?;
            // Of machine size: a part is at most a few hundred megabytes.
            let mut write = WriteMultipart::new_with_chunk_size(upload, source.part as usize);
            let done: Result<()> = async {
                loop {
                    let piece = source.next()?;
                    if piece.is_empty() {
                        return source.compare(sha256);
                    }
                    let free = write.wait_for_capacity(PARTS_AT_ONCE).await;
                    free.map_err(cannot)?;
                    let length = piece.len() as u64;
                    write.put(piece.into());
                    sent(length);
                }
            }
            .await;
            match done {
                Ok(()) => drop(write.finish().await.map_err(cannot)?),
                Err(error) => {
                    // What was sent is of no use; where it cannot be taken back the store's
                    // own rules for abandoned uploads have to.
                    if let Err(error) = write.abort().await {
                        tracing::warn!(%error, "an upload that failed cannot be taken back");
                    }
                    return Err(error);
                }
            }
        }
        self.settle(below)
    }

    /// Reads an object through, in parts, each of which `take` is given. Returns why it is
    /// not the one of this length and SHA-256, where it is not.
    ///
    /// # Errors
    /// Those of `take`, and operator errors of the network and the store.
    pub async fn read(
        &self,
        below: &str,
        bytes: u64,
        sha256: &str,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<String>> {
        let path = self.path(below);
        let mut hasher = Sha256::new();
        let mut done = 0;
        loop {
            let end = bytes.min(done + PART);
            let options = GetOptions {
                // No range is empty.
                range: (end > done).then_some(GetRange::Bounded(done..end)),
                ..GetOptions::default()
            };
            let piece = async {
                let found = self.store.get_opts(&path, options).await?;
                match found.meta.size == bytes {
                    true => found.bytes().await.map(Ok),
                    false => Ok(Err(found.meta.size)),
                }
            };
            let piece = match piece.await {
                Ok(Ok(piece)) => piece,
                Ok(Err(size)) => return Ok(Some(format!("{size} bytes instead of {bytes}"))),
                Err(object_store::Error::NotFound { .. }) => {
                    return Ok(Some("it is not there".into()));
                }
                // A shorter object has no such range: said as such, not as the store says it.
                Err(e) => match self.store.head(&path).await {
                    Ok(meta) if meta.size != bytes => {
                        return Ok(Some(format!("{} bytes instead of {bytes}", meta.size)));
                    }
                    _ => return Err(self.cannot("read", below, e)),
                },
            };
            if piece.len() as u64 != end - done {
                return Ok(Some(format!(
                    "it ends after {} bytes",
                    done + piece.len() as u64
                )));
            }
            hasher.update(&piece);
            take(&piece)?;
            done = end;
            if done == bytes {
                let found = hex(&hasher.finalize());
                return Ok((found != sha256).then(|| format!("its sha256 is {found}")));
            }
        }
    }

    /// Where the store is this machine's disk: the file that an object is.
    pub fn file(&self, below: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(below))
    }

    /// Puts an object on the disk, with the folders it lies in, where the store is this
    /// machine's; others promise as much by their answer.
    pub fn settle(&self, below: &str) -> Result<()> {
        let (Some(root), Some(file)) = (&self.folder, self.file(below)) else {
            return Ok(());
        };
        let within = |path: &&std::path::Path| path.starts_with(root);
        for path in file.ancestors().take_while(within).chain(root.parent()) {
            let synced = match File::open(path) {
                // Somebody else has removed it since: it was there, which is all that
                // others' stores say as well.
                Err(e) if e.kind() == ErrorKind::NotFound && path == file => continue,
                opened => opened.and_then(|file| file.sync_all()),
            };
            synced
                .map_err(|e| Error::operator_from(format!("cannot sync {}", path.display()), e))?;
        }
        Ok(())
    }

    fn cannot(&self, what: &str, below: &str, error: object_store::Error) -> Error {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        let text = error.to_string();
        let is_refused = matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
            // Not every operation tells them apart.
            || ["401", "403"].iter().any(|status| text.contains(&format!("status code: {status}")));
        let advice = match is_refused {
            true => "check the credentials in the environment, and what they allow",
            false => "check that the store is there and can be reached",
        };
        let url = format!("{}/{below}", self.url);
        Error::operator_from(
            format!("cannot {what} {}", url.trim_end_matches('/')),
            error,
        )
        .advice(advice)
    }
}

/// A file that is sent in parts, and what was read of it.
struct Source<'a> {
    path: &'a std::path::Path,
    file: File,
    bytes: u64,
    /// The length of all parts but the last.
    part: u64,
    hasher: Sha256,
}

impl Source<'_> {
    fn open(path: &std::path::Path) -> Result<Source<'_>> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|e| cannot_read(path, e))?;
        Ok(Source {
            path,
            file,
            bytes,
            part: PART.max(bytes.div_ceil(MOST_PARTS)),
            hasher: Sha256::new(),
        })
    }

    /// The next part; empty at the end.
    fn next(&mut self) -> Result<Vec<u8>> {
        let mut piece = Vec::new();
        let mut part = self.file.by_ref().take(self.part);
        part.read_to_end(&mut piece)
            .map_err(|e| cannot_read(self.path, e))?;
        self.hasher.update(&piece);
        Ok(piece)
    }

    /// Refuses a file that is not what it was.
    fn compare(&self, sha256: &str) -> Result<()> {
        match hex(&self.hasher.clone().finalize()) == sha256 {
            true => Ok(()),
            false => Err(Error::operator(format!(
                "{} is not as it was when it was read before",
                self.path.display()
            ))
            .advice("check the disk")),
        }
    }
}

fn cannot_read(file: &std::path::Path, error: std::io::Error) -> Error {
    Error::operator_from(format!("cannot read {}", file.display()), error)
}

/// Lowercase hexadecimals.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The length of a file, and its SHA-256 in hexadecimals.
///
/// # Errors
/// Where it cannot be read.
pub fn digest(file: &std::path::Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((bytes, hex(&hasher.finalize()))),
            read => {
                hasher.update(&chunk[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// The SHA-256 of bytes in hexadecimals.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
