//! Objects to load: found below a URL, and read by ranges.
//!
//! `s3://`, `gs://`, `az://` and their like are opened as [`objects`](crate::objects) opens
//! them, with what the environment says of credentials; `https://` and `http://` are read
//! from any server that answers requests for ranges. Passing failures are tried again by the
//! `object_store` crate, with growing pauses. An object that changes while it is read is
//! noticed by its ETag, by its time of change where that is all there is, and by its length.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::client::{HttpClient, HttpConnector};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    ClientConfigKey, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt,
};
use parking_lot::Mutex;
use url::Url;

use super::inputs::{Fingerprint, path_of};
use crate::error::{Code, Error, Problem, Result};
use crate::objects::{Objects, wait};

/// Stores that are kept open: the next object of a load is most often in the same one.
const KEPT: usize = 8;
/// Most redirects of one request, all of them to the same server.
const REDIRECTS: usize = 5;
/// Longest time to connect to a server, and for one request.
const CONNECT: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(120);
/// Ranges that are asked for at once, and bytes between two that are read in one.
const AT_ONCE: usize = 8;
const GAP: u64 = 256 << 10;

static OPEN: Mutex<Vec<(String, Arc<dyn ObjectStore>)>> = Mutex::new(Vec::new());

/// An object that can be read.
#[derive(Debug, Clone)]
pub(super) struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: String,
    pub(super) bytes: u64,
    etag: Option<String>,
    modified: Option<DateTime<Utc>>,
}

impl Object {
    /// Looks at the object that a URL names.
    ///
    /// # Errors
    /// `invalid_configuration` for a URL that cannot be used, `invalid_file` where there is
    /// nothing; operator errors of the network and the store.
    pub(super) fn open(location: &str) -> Result<Object> {
        let (store, path) = open(location)?;
        let meta = wait(async {
            Ok(match store.head(&path).await {
                Ok(meta) => Some(meta),
                Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => return Err(cannot("look at", location, error)),
            })
        })?;
        match meta {
            Some(meta) => Ok(Object::of(store, meta, location.to_string())),
            None => Err(invalid(location, "there is no such object")
                .found("nothing there")
                .expected("an object")
                .into()),
        }
    }

    fn of(store: Arc<dyn ObjectStore>, meta: ObjectMeta, location: String) -> Object {
        // A server that does not say when says 1970. Lists tell fractions of a second that a
        // look at the object itself does not.
        let modified = DateTime::from_timestamp(meta.last_modified.timestamp(), 0);
        let modified = modified.filter(|at| at.timestamp() > 0);
        Object {
            store,
            path: meta.location,
            location,
            bytes: meta.size,
            etag: meta.e_tag,
            modified,
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            location: self.location.clone(),
            bytes: self.bytes,
            modified: self.modified,
            etag: self.etag.clone(),
        }
    }

    /// One range, which must lie within the object.
    ///
    /// # Errors
    /// Operator errors of the network and the store, also where the object is not the one
    /// any more that was looked at.
    pub(super) fn range(&self, range: Range<u64>) -> Result<Bytes> {
        wait(self.get(range))
    }

    /// Several ranges, those that are near each other with one request.
    ///
    /// # Errors
    /// As [`range`](Object::range).
    pub(super) fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        wait(async {
            // In the order of the file, neighbours together.
            let mut joined: Vec<Range<u64>> = Vec::new();
            let mut sorted = ranges.to_vec();
            sorted.sort_by_key(|range| range.start);
            for range in sorted {
                match joined.last_mut() {
                    Some(last) if range.start <= last.end.saturating_add(GAP) => {
                        last.end = last.end.max(range.end);
                    }
                    _ => joined.push(range),
                }
            }
            let fetched = futures::stream::iter(joined.iter().cloned().map(|range| {
                Ok::<_, Error>(async move { Ok((range.start, self.get(range).await?)) })
            }));
            let fetched: Vec<(u64, Bytes)> = fetched.try_buffered(AT_ONCE).try_collect().await?;
            ranges
                .iter()
                .map(|range| {
                    let at = fetched.partition_point(|(start, _)| *start <= range.start);
                    let (start, bytes) = at
                        .checked_sub(1)
                        .and_then(|at| fetched.get(at))
                        .ok_or_else(|| Error::Bug("a range was not asked for".into()))?;
                    // Of machine size: it is in memory.
                    let from = (range.start - start) as usize;
                    let length = (range.end - range.start) as usize;
                    Ok(bytes.slice(from..from + length))
                })
                .collect()
        })
    }

    async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            // A weak one is compared below: a server may not take it for this.
            if_match: self.etag.clone().filter(|etag| !etag.starts_with("W/")),
            ..GetOptions::default()
        };
        let read = async {
            let found = self.store.get_opts(&self.path, options).await?;
            let now = Object::of(
                Arc::clone(&self.store),
                found.meta.clone(),
                self.location.clone(),
            );
            found.bytes().await.map(|bytes| (now, bytes))
        };
        match read.await {
            Ok((now, bytes)) if now.bytes == self.bytes && bytes.len() as u64 == length => {
                match self.is_same(&now) {
                    true => Ok(bytes),
                    false => Err(self.changed("another ETag or time of change".into())),
                }
            }
            Ok((now, _)) => {
                let size = now.bytes;
                Err(self.changed(format!("{size} bytes instead of {}", self.bytes)))
            }
            Err(object_store::Error::Precondition { .. }) => {
                Err(self.changed("another ETag".into()))
            }
            Err(error) => Err(cannot("read", &self.location, error)),
        }
    }

    /// Whether an answer tells of the same state. The time is asked only where no ETag is told:
    /// servers that answer in turns may have it from each other a little later.
    fn is_same(&self, now: &Object) -> bool {
        match (&self.etag, &now.etag) {
            (Some(then), Some(now)) => then == now,
            _ => match (self.modified, now.modified) {
                (Some(then), Some(now)) => then == now,
                _ => true,
            },
        }
    }

    /// Whether a change of equal length would be noticed.
    pub(super) fn has_version(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }

    fn changed(&self, found: String) -> Error {
        Error::operator(format!(
            "{} changed while it was read: {found}",
            self.location
        ))
        .advice("load it again once nobody writes to it")
    }
}

/// The objects below a URL, in the order of their keys, with what of their keys is below it.
///
/// # Errors
/// `invalid_configuration` for a URL that cannot be used, or whose store cannot list; operator
/// errors of the network and the store.
pub(super) fn list(folder: &str) -> Result<Vec<(String, Object)>> {
    let (store, prefix) = open(folder)?;
    if folder.starts_with("http") {
        return Err(
            Problem::new(Code::InvalidConfiguration, "a web server cannot list files")
                .field("source")
                .found(folder)
                .expected("the URL of one file")
                .into(),
        );
    }
    let base = Url::parse(folder).map_err(|error| not_a_url(&error))?;
    let mut objects: Vec<(String, Object)> = wait(async {
        let listed = store.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        listed.map_err(|error| cannot("list", folder, error))
    })?
    .into_iter()
    // What ends with a slash stands for a folder, where somebody made one by hand.
    .filter(|meta| meta.size > 0 || !meta.location.as_ref().ends_with('/'))
    .filter_map(|meta| {
        let below = meta.location.prefix_match(&prefix)?;
        let below: Vec<String> = below.map(|part| part.as_ref().to_string()).collect();
        let mut url = base.clone();
        url.path_segments_mut()
            .ok()?
            .clear()
            .extend(meta.location.parts().map(|part| part.as_ref().to_string()));
        Some((
            below.join("/"),
            Object::of(Arc::clone(&store), meta, url.to_string()),
        ))
    })
    .collect();
    objects.sort_by(|one, other| one.1.path.cmp(&other.1.path));
    Ok(objects)
}

/// The store that a URL names, and the path in it.
fn open(location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
    // A file is read by its path, so that what may be read is known by it.
    if path_of(location)?.is_some() {
        return Err(invalid(location, "this is a file's URL")
            .found(location)
            .expected("its path")
            .into());
    }
    let is_web = location.starts_with("http://") || location.starts_with("https://");
    let url = match is_web {
        true => web(location)?,
        false => {
            let objects = Objects::open(location)?;
            Url::parse(objects.url()).map_err(|error| not_a_url(&error))?
        }
    };
    let path = Path::from_url_path(url.path()).map_err(|error| {
        Problem::new(Code::InvalidConfiguration, "the URL names no object")
            .field("source")
            .found(error)
            .expected("a path in UTF-8, without empty parts")
    })?;
    let server = &url[..url::Position::BeforePath];
    let mut open = OPEN.lock();
    if let Some((_, store)) = open.iter().find(|(known, _)| known == server) {
        return Ok((Arc::clone(store), path));
    }
    let store: Arc<dyn ObjectStore> = match is_web {
        true => {
            let options = ClientOptions::new().with_config(ClientConfigKey::AllowHttp, "true");
            let built = HttpBuilder::new()
                .with_url(server)
                .with_client_options(options)
                .with_http_connector(SameServer)
                .build();
            Arc::new(built.map_err(|error| cannot("reach", location, error))?)
        }
        false => Arc::clone(Objects::open(location)?.store()),
    };
    if open.len() == KEPT {
        open.remove(0);
    }
    open.push((server.to_string(), Arc::clone(&store)));
    Ok((store, path))
}

/// Reads the address of a file on a web server.
fn web(location: &str) -> Result<Url> {
    let url = Url::parse(location).map_err(|error| not_a_url(&error))?;
    let has_secrets = !url.username().is_empty() || url.password().is_some();
    if has_secrets || url.query().is_some() || url.fragment().is_some() {
        // What may be a secret is not repeated.
        return Err(Problem::new(
            Code::InvalidConfiguration,
            "the address of a file carries more than a place",
        )
        .field("source")
        .expected("https://HOST/PATH, without a user, a password or a query")
        .into());
    }
    Ok(url)
}

fn not_a_url(error: &url::ParseError) -> Problem {
    Problem::new(
        Code::InvalidConfiguration,
        format!("this is not a URL: {error}"),
    )
    .field("source")
    .expected("s3://BUCKET/KEY, gs://, az://, https://HOST/PATH or file:///PATH")
}

fn invalid(location: &str, message: &str) -> Problem {
    Problem::new(Code::InvalidFile, format!("{location}: {message}"))
}

fn cannot(what: &str, location: &str, error: object_store::Error) -> Error {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    let text = error.to_string();
    let advice = match &error {
        PermissionDenied { .. } | Unauthenticated { .. } => {
            "check the credentials in the environment, and what they allow"
        }
        NotFound { .. } => "somebody has removed it since it was listed",
        _ if text.contains("range") => "the server has to answer requests for ranges of bytes",
        _ => "check that the store is there and can be reached",
    };
    Error::operator_from(format!("cannot {what} {location}"), error).advice(advice)
}

/// Connects to web servers, and follows redirects to the same server only: where else a
/// request may go is for whoever named the address to say.
#[derive(Debug)]
struct SameServer;

impl HttpConnector for SameServer {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let policy = reqwest::redirect::Policy::custom(|attempt| {
            let first = attempt.previous().first();
            let is_same = first.is_some_and(|first| first.origin() == attempt.url().origin());
            match is_same && attempt.previous().len() <= REDIRECTS {
                true => attempt.follow(),
                false => attempt.error("the server sends the request elsewhere"),
            }
        });
        let client = reqwest::Client::builder()
            .redirect(policy)
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .user_agent(concat!("gleaner/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| object_store::Error::Generic {
                store: "HTTP",
                source: Box::new(error),
            })?;
        Ok(HttpClient::new(client))
    }
}
