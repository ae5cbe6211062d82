//! API keys and the file that holds them.
//!
//! `keys.json` in the data folder is replaced as a whole, by one writer at a time, whether that
//! is a server or the command line; a server sees within a second that it was replaced.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::token::{self, NewToken, Sealer, TokenRequest};
use super::{Access, Patterns, Scope};
use crate::error::{Code, Error, Problem, Result};

/// The file in the data folder.
const FILE: &str = "keys.json";
/// Held while the file is replaced.
const LOCK: &str = "keys.lock";
/// What every key begins with: a scanner for secrets in source code finds them by it.
const PREFIX: &str = "glk_";
/// What the key that is kept nowhere is called.
const ADMIN_ID: &str = "admin";
/// Random bytes of a key.
const SECRET_BYTES: usize = 32;
/// How often it is asked whether the file was replaced.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Most keys.
const MOST_KEYS: usize = 10_000;
/// Longest name, in characters.
const NAME_CHARS: usize = 200;

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What it is for, for people.
    #[serde(default)]
    pub name: String,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// Names of indexes, aliases, databases and catalogs that it reaches, as globs such as
    /// `docs-*`; all of them by default.
    #[serde(default = "all_names")]
    pub indexes: Vec<String>,
    /// When it ends; never by default. RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<DateTime<Utc>>,
}

fn all_names() -> Vec<String> {
    vec!["*".into()]
}

/// A key, without what opens doors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyInfo {
    /// Names it, in the log of administrators' acts too.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Names that it reaches, as globs.
    pub indexes: Vec<String>,
    /// When it was made, in UTC.
    pub created_at: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewKey {
    /// The key itself, for `authorization: Bearer KEY`. It is not stored and cannot be shown
    /// again.
    pub key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub info: KeyInfo,
}

/// A key as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    id: String,
    name: String,
    /// SHA-256 of the key, in hexadecimal.
    sha256: String,
    scopes: Vec<Scope>,
    indexes: Vec<String>,
    created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
}

impl Stored {
    fn info(&self) -> KeyInfo {
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        KeyInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            indexes: self.indexes.clone(),
            created_at: text(self.created_at),
            expires_at: self.expires_at.map(text),
        }
    }

    fn has_ended(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Utc::now())
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    keys: Vec<Stored>,
}

/// What tells one state of the file from another.
type Stamp = Option<(SystemTime, u64, u64)>;

struct Known {
    stored: Stored,
    patterns: Patterns,
}

/// The keys of a data folder.
pub struct Keys {
    folder: PathBuf,
    current: ArcSwap<Vec<Known>>,
    looked: Mutex<(Instant, Stamp)>,
    /// Set with the first key that is seen, and never reset.
    required: AtomicBool,
    sealer: Sealer,
    /// SHA-256 of a key that is kept nowhere.
    admin: Option<String>,
}

impl Keys {
    /// Those of the folder, none if there is no file.
    ///
    /// # Errors
    /// Operator for a file that cannot be read: a server that took it for empty would let
    /// everybody in.
    pub fn open(folder: &Path) -> Result<Keys> {
        let stamp = stamp(folder);
        let known = read(folder)?;
        Ok(Keys {
            folder: folder.to_path_buf(),
            required: AtomicBool::new(!known.is_empty()),
            current: ArcSwap::from_pointee(known),
            looked: Mutex::new((Instant::now(), stamp)),
            sealer: Sealer::new(folder),
            admin: None,
        })
    }

    /// Those of the folder and, where `GLEANER_ADMIN_KEY` has one, a key of an administrator that
    /// is kept nowhere: for containers, whose first key has to come from outside.
    ///
    /// # Errors
    /// As [`Keys::open`] and [`Keys::with_admin`].
    pub fn open_with_environment(folder: &Path) -> Result<Keys> {
        let keys = Keys::open(folder)?;
        match std::env::var("GLEANER_ADMIN_KEY") {
            Ok(key) if !key.is_empty() => Ok(keys.with_admin(&key)?),
            _ => Ok(keys),
        }
    }

    /// The same with a key of an administrator that is kept nowhere.
    ///
    /// # Errors
    /// `invalid_configuration` for one of fewer than 32 characters, or with others than visible
    /// ASCII.
    pub fn with_admin(mut self, key: &str) -> Result<Keys, Problem> {
        if key.len() < 32 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::new(
                Code::InvalidConfiguration,
                "the administrator's key can be guessed, or sent by no client",
            )
            .field("GLEANER_ADMIN_KEY")
            .found(format!("{} bytes", key.len()))
            .expected("at least 32 visible ASCII characters, at random"));
        }
        self.admin = Some(hash(key));
        self.required.store(true, Ordering::Release);
        Ok(self)
    }

    /// Whether a request needs a key.
    pub fn are_required(&self) -> bool {
        self.look();
        self.required.load(Ordering::Acquire)
    }

    /// What the bearer of a key or token may do.
    ///
    /// # Errors
    /// `unauthenticated` for none where one is needed, and for one that is not known, was revoked
    /// or has ended: which of these is not told.
    pub fn admit(&self, bearer: Option<&str>) -> Result<Access> {
        if !self.are_required() {
            return Ok(Access::everything());
        }
        let Some(bearer) = bearer else {
            return Err(unauthenticated("nothing").into());
        };
        let is_admin = self
            .admin
            .as_ref()
            .is_some_and(|admin| bool::from(admin.as_bytes().ct_eq(hash(bearer).as_bytes())));
        if is_admin {
            return Ok(Access {
                key: Some(ADMIN_ID.into()),
                ..Access::everything()
            });
        }
        if bearer.starts_with(PREFIX) {
            return self.admit_key(bearer);
        }
        self.admit_token(bearer)
    }

    fn admit_key(&self, key: &str) -> Result<Access> {
        let hash = hash(key);
        let known = self.current.load();
        let id = key
            .get(PREFIX.len()..)
            .and_then(|rest| rest.split('_').next());
        let found = known.iter().find(|known| {
            Some(known.stored.id.as_str()) == id
                && bool::from(known.stored.sha256.as_bytes().ct_eq(hash.as_bytes()))
                && !known.stored.has_ended()
        });
        let found = found.ok_or_else(|| unauthenticated("a key that does not count"))?;
        Ok(Access {
            key: Some(found.stored.id.clone()),
            scopes: found.stored.scopes.clone(),
            patterns: vec![found.patterns.clone()],
            filter: None,
            is_token: false,
        })
    }

    fn admit_token(&self, token: &str) -> Result<Access> {
        let wrong = || unauthenticated("a token that does not count");
        let claims = self.sealer.open_token(token)?.ok_or_else(wrong)?;
        let known = self.current.load();
        let is_admins = self.admins_claim().as_ref() == Some(&claims.key);
        let mut patterns = Vec::new();
        if !is_admins {
            let key = known
                .iter()
                .find(|known| known.stored.id == claims.key && !known.stored.has_ended());
            patterns.push(key.ok_or_else(wrong)?.patterns.clone());
        }
        if !claims.indexes.is_empty() {
            patterns.push(Patterns::new(&claims.indexes, "indexes").map_err(|_| wrong())?);
        }
        Ok(Access {
            key: Some(match is_admins {
                true => ADMIN_ID.into(),
                false => claims.key,
            }),
            scopes: vec![Scope::Search],
            patterns,
            filter: Some(claims.filter),
            is_token: true,
        })
    }

    /// What a token made with the key that is kept nowhere says of it: another such key does not
    /// take over its tokens.
    fn admins_claim(&self) -> Option<String> {
        let admin = self.admin.as_ref()?;
        Some(format!("{ADMIN_ID}:{}", admin.get(..16).unwrap_or(admin)))
    }

    /// Makes a token with the rights of `access`, narrowed.
    ///
    /// # Errors
    /// `not_permitted` where `access` may not search, or is itself a token, or there are no keys;
    /// `invalid_request` for a request that makes no sense.
    pub fn token(&self, access: &Access, request: &TokenRequest) -> Result<NewToken> {
        let key = access.key().filter(|_| !access.is_token());
        let key = key.ok_or_else(|| {
            Problem::new(Code::NotPermitted, "a token is made with a key")
                .field("authorization")
                .found(if access.is_token() {
                    "a token"
                } else {
                    "nothing"
                })
                .expected("a key with the scope search")
        })?;
        access.require(Scope::Search)?;
        let admins = (key == ADMIN_ID).then(|| self.admins_claim()).flatten();
        token::make(&self.sealer, admins.as_deref().unwrap_or(key), request)
    }

    /// Makes a key, durably.
    ///
    /// # Errors
    /// `invalid_request` for a request that makes no sense; `limit_exceeded` past 10,000 keys;
    /// Operator where the file cannot be written.
    pub fn create(&self, request: KeyRequest) -> Result<NewKey> {
        let field = |field: &str, found: String, expected: &str| {
            Problem::new(Code::InvalidRequest, "this makes no key")
                .field(field)
                .found(found)
                .expected(expected)
        };
        if request.scopes.is_empty() {
            let found = "an empty list".into();
            return Err(field("scopes", found, "at least one of search, write, admin").into());
        }
        if request.name.chars().count() > NAME_CHARS {
            return Err(field("name", request.name, "200 characters at most").into());
        }
        if let Some(at) = request.expires_at
            && at <= Utc::now()
        {
            return Err(field("expires_at", at.to_rfc3339(), "a time to come").into());
        }
        Patterns::new(&request.indexes, "indexes")?;
        let mut scopes = request.scopes;
        scopes.sort_unstable();
        scopes.dedup();
        let id = hex(&token::random::<6>()?);
        let key = format!("{PREFIX}{id}_{}", hex(&token::random::<SECRET_BYTES>()?));
        let stored = Stored {
            id,
            name: request.name,
            sha256: hash(&key),
            scopes,
            indexes: request.indexes,
            created_at: Utc::now(),
            expires_at: request.expires_at,
        };
        let info = stored.info();
        self.change(|keys| {
            if keys.len() >= MOST_KEYS {
                return Err(Problem::new(Code::LimitExceeded, "there are too many keys")
                    .found(keys.len())
                    .expected(format!("at most {MOST_KEYS}"))
                    .into());
            }
            keys.push(stored);
            Ok(())
        })?;
        Ok(NewKey { key, info })
    }

    /// Ends a key, durably.
    ///
    /// # Errors
    /// `key_not_found`; `last_key` for the last key of an administrator while there are others,
    /// whom nobody could revoke any more; Operator where the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<KeyInfo> {
        self.change(|keys| {
            let at = keys.iter().position(|key| key.id == id).ok_or_else(|| {
                Problem::new(Code::KeyNotFound, "there is no such key")
                    .field("id")
                    .found(id)
            })?;
            let rules = |key: &Stored| key.scopes.contains(&Scope::Admin) && !key.has_ended();
            let others = keys.iter().filter(|key| key.id != id && rules(key)).count();
            if rules(&keys[at]) && others == 0 && keys.len() > 1 {
                return Err(Problem::new(
                    Code::LastKey,
                    "it is the only key of an administrator, and there are others",
                )
                .field("id")
                .found(id)
                .expected("another administrator's key, made before; or the others revoked first")
                .into());
            }
            Ok(keys.remove(at).info())
        })
    }

    /// All keys, the oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.look();
        let known = self.current.load();
        known.iter().map(|known| known.stored.info()).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// `key_not_found`.
    pub fn get(&self, id: &str) -> Result<KeyInfo, Problem> {
        let found = self.list().into_iter().find(|key| key.id == id);
        found.ok_or_else(|| {
            Problem::new(Code::KeyNotFound, "there is no such key")
                .field("id")
                .found(id)
        })
    }

    /// Changes the file, one writer at a time among all processes.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Stored>) -> Result<T>) -> Result<T> {
        let folder = &self.folder;
        let cannot = |e| {
            Error::operator_from(format!("cannot write {}", folder.join(FILE).display()), e)
                .advice("check the data folder and its permissions")
        };
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let lock = private(&folder.join(LOCK), false).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        // Held until here, and then whatever the file says now counts.
        let mut looked = self.looked.lock();
        let mut keys: Vec<Stored> = read(folder)?.into_iter().map(|k| k.stored).collect();
        let outcome = change(&mut keys)?;
        let json = serde_json::to_vec_pretty(&Document { keys })
            .map_err(|e| Error::Bug(format!("keys do not serialise: {e}")))?;
        let beside = folder.join("keys.writing");
        let mut file = private(&beside, true).map_err(cannot)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&beside, folder.join(FILE)))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(cannot)?;
        *looked = (Instant::now(), stamp(folder));
        self.take(read(folder)?);
        Ok(outcome)
    }

    fn take(&self, known: Vec<Known>) {
        if !known.is_empty() {
            self.required.store(true, Ordering::Release);
        }
        self.current.store(Arc::new(known));
    }

    /// Takes over what another process has made of the file.
    fn look(&self) {
        // Somebody is looking, or changing it: they will have seen it.
        let Some(mut looked) = self.looked.try_lock() else {
            return;
        };
        if looked.0.elapsed() < LOOK_EVERY {
            return;
        }
        looked.0 = Instant::now();
        let stamp = stamp(&self.folder);
        if stamp == looked.1 {
            return;
        }
        match read(&self.folder) {
            Ok(known) => {
                looked.1 = stamp;
                self.take(known);
            }
            // The keys that were known go on counting.
            Err(error) => tracing::error!(%error, "the keys cannot be read again"),
        }
    }
}

fn unauthenticated(found: &str) -> Problem {
    Problem::new(Code::Unauthenticated, "the request needs a key")
        .field("authorization")
        .found(found)
        .expected("Bearer, and a key or token that counts")
}

/// Opens a file for writing that nobody else may read.
pub(super) fn private(path: &Path, empty: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(empty);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let file = options.open(path)?;
    owned_as_folder(&file, path)?;
    Ok(file)
}

/// Leaves a file that an administrator's command made to whoever owns the folder, so that the
/// server can read and replace it.
pub(super) fn owned_as_folder(file: &File, path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = std::fs::metadata(folder.unwrap_or(Path::new(".")))?;
        let own = file.metadata()?;
        if own.uid() != folder.uid() {
            fchown(file, Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    Ok(())
}

fn stamp(folder: &Path) -> Stamp {
    let metadata = std::fs::metadata(folder.join(FILE)).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok()?, metadata.len(), inode))
}

fn read(folder: &Path) -> Result<Vec<Known>> {
    let path = folder.join(FILE);
    let broken = |why: String| {
        Error::operator(format!("{} cannot be read: {why}", path.display())).advice(
            "bring it back from a backup; or remove it, which revokes every key, and make new ones with `gleaner keys create`",
        )
    };
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(broken(e.to_string())),
    };
    let document: Document = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
    let known = document.keys.into_iter().map(|stored| {
        let patterns = Patterns::new(&stored.indexes, "indexes");
        let patterns = patterns.map_err(|problem| broken(problem.to_string()))?;
        Ok(Known { stored, patterns })
    });
    known.collect()
}

fn hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
