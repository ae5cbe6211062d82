//! Indexes that were built elsewhere: attached read-only from their snapshots in an object
//! store, and kept at the newest of them.
//!
//! ```text
//! attached/NAME/attached.json     where it is from, and which version counts; replaced as a whole
//! attached/NAME/versions/ID/      the snapshot ID as the folder of an index
//! attached/NAME/objects/SHA256    what was downloaded, by its content: versions link to it
//! attached/NAME/lock              held by the process that looks for a newer version
//! ```
//!
//! What holds:
//!
//! * A version counts when all of it was downloaded, compared with its hashes, and opened;
//!   `attached.json` is what makes it count, so that a process may end at any instant. What was
//!   downloaded by then is not downloaded again.
//! * Searches go on with the version that they began with; requests that begin after the change
//!   see the new one. The old one's folder is removed when nobody has it open any more.
//! * Whatever goes wrong with the store or with a snapshot, the version that counts goes on
//!   answering; what is wrong is in the figures of the index, in `/health` and in the log.
//! * Nobody writes to it: `index_read_only`.
//! * One process at a time works in its folder: whoever attaches it holds the lock before
//!   `attached.json` is there, and until it is removed again where nothing came of it.

mod fetch;
mod look;
mod registry;
mod watch;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use look::Looked;
pub(super) use registry::Attachments;
pub use watch::Following;

use super::check_name;
use super::open::{is_in_use, remove_folder, sync_parent};
use super::snapshot::{Snapshot, is_id};
use crate::config;
use crate::error::{Code, Error, Problem, Result};
use crate::objects;

/// The format of `attached.json` that this build writes and reads.
const FORMAT: u32 = 1;
const FILE: &str = "attached.json";
const VERSIONS: &str = "versions";
const OBJECTS: &str = "objects";
const LOCK: &str = "lock";
/// Longest that a look which is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where an attached index is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The place of the snapshots, as `snapshots.location` names it where they are taken.
    pub url: String,
    /// The index's name there.
    pub index: String,
    /// Seconds between two looks for a newer one; 0 for none.
    pub follow_s: u64,
}

impl Origin {
    /// The one that a configuration asks for.
    pub(super) fn of(attached: &config::Attached) -> Origin {
        Origin {
            url: attached.url.clone(),
            index: attached.index.clone().unwrap_or(attached.name.clone()),
            follow_s: attached.follow_s,
        }
    }

    fn check(&self) -> Result<()> {
        if !objects::is_url(&self.url) {
            return Err(Problem::new(
                Code::InvalidConfiguration,
                "an index is attached from an object store",
            )
            .field("url")
            .found(&self.url)
            .expected("s3://BUCKET/PREFIX, gs://, az:// or file:///FOLDER, where its snapshots are")
            .into());
        }
        objects::check(&self.url)?;
        check_name(&self.index)?;
        Ok(())
    }
}

/// What is known of an attached index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachedStatus {
    /// The place of its snapshots.
    pub url: String,
    /// Its name there.
    pub index: String,
    /// The snapshot that answers; absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Seconds between two looks for a newer one; 0 for none.
    pub follow_s: u64,
    /// When this process last found out which is the newest; absent before it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<DateTime<Utc>>,
    /// What went wrong since then: the index answers nevertheless, from `snapshot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<AttachedProblem>,
}

/// What keeps an attached index from being the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachedProblem {
    /// Since when.
    pub since: DateTime<Utc>,
    /// A stable code: `store_unreachable`, `snapshot_not_found`, `snapshot_damaged`,
    /// `model_mismatch`, or another of a caller's problems; the log has the whole story.
    pub code: String,
}

/// What `attached.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    format: u32,
    #[serde(flatten)]
    origin: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot>,
}

/// One attached index.
pub(super) struct Attachment {
    name: String,
    folder: PathBuf,
    kept: Mutex<Kept>,
    seen: Mutex<Seen>,
    /// Held while this process looks for a newer version.
    looking: Mutex<()>,
}

/// What a process has seen of it.
#[derive(Default)]
struct Seen {
    checked: Option<DateTime<Utc>>,
    problem: Option<AttachedProblem>,
    /// The last look, whatever came of it.
    last: Option<Instant>,
}

impl Attachment {
    /// Those in a folder, which need not be there. What cannot be read is logged and left out.
    pub(super) fn all(folder: &Path) -> Vec<Attachment> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            check_name(&name).ok()?;
            Attachment::read(folder, &name)
        });
        found.collect()
    }

    /// The one of a name, if it is there.
    pub(super) fn read(folder: &Path, name: &str) -> Option<Attachment> {
        let folder = folder.join(name);
        match read_kept(&folder) {
            Ok(kept) => Some(Attachment {
                name: name.into(),
                folder,
                kept: Mutex::new(kept?),
                seen: Mutex::default(),
                looking: Mutex::default(),
            }),
            Err(error) => {
                tracing::error!(index = name, %error, "an attached index is left out");
                None
            }
        }
    }

    /// Notes in `folder` that an index is attached, with no version yet. No other process looks
    /// for one before the lock that comes with it is dropped.
    ///
    /// # Errors
    /// `task_running` where another process attaches it just now; operator errors of the disk.
    pub(super) fn make(folder: &Path, name: &str, origin: Origin) -> Result<(Attachment, File)> {
        origin.check()?;
        let own = folder.join(name);
        std::fs::create_dir_all(own.join(VERSIONS))
            .and_then(|()| std::fs::create_dir_all(own.join(OBJECTS)))
            .map_err(|e| Error::operator_from(format!("cannot create {}", own.display()), e))?;
        sync_parent(&own)?;
        sync_parent(folder)?;
        let kept = Kept {
            format: FORMAT,
            origin,
            snapshot: None,
        };
        let attachment = Attachment {
            name: name.into(),
            folder: own,
            kept: Mutex::new(kept.clone()),
            seen: Mutex::default(),
            looking: Mutex::default(),
        };
        // From the moment that the file is there, a server finds it and looks.
        let lock = attachment.lock()?;
        if attachment.is_there() {
            return Err(attachment.busy().into());
        }
        attachment.keep(kept)?;
        Ok((attachment, lock))
    }

    /// Whether it is attached still, or another process has removed it.
    fn is_there(&self) -> bool {
        self.folder.join(FILE).exists()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn origin(&self) -> Origin {
        self.kept.lock().origin.clone()
    }

    /// Lets it be followed at another pace.
    pub(super) fn set_origin(&self, origin: Origin) -> Result<()> {
        origin.check()?;
        let kept = Kept {
            origin,
            ..self.kept.lock().clone()
        };
        self.keep(kept)
    }

    /// The folder of the version that counts, if there is one.
    pub(super) fn current(&self) -> Option<PathBuf> {
        let kept = self.kept.lock();
        let id = &kept.snapshot.as_ref()?.id;
        Some(self.folder.join(VERSIONS).join(id))
    }

    pub(super) fn status(&self) -> AttachedStatus {
        let kept = self.kept.lock().clone();
        let seen = self.seen.lock();
        AttachedStatus {
            url: kept.origin.url,
            index: kept.origin.index,
            snapshot: kept.snapshot.map(|snapshot| snapshot.id),
            follow_s: kept.origin.follow_s,
            checked: seen.checked,
            problem: seen.problem.clone(),
        }
    }

    /// The same of the version in a folder, which may answer still, or already, while another
    /// one takes its place.
    pub(super) fn status_of(&self, version: &Path) -> AttachedStatus {
        let id = version.file_name().and_then(|name| name.to_str());
        AttachedStatus {
            snapshot: id.map(str::to_string),
            ..self.status()
        }
    }

    /// Whether it is time to look for a newer version.
    fn is_due(&self) -> bool {
        let (follow_s, is_there) = {
            let kept = self.kept.lock();
            (kept.origin.follow_s, kept.snapshot.is_some())
        };
        let every = match (follow_s, is_there) {
            (0, true) => return false,
            (0, false) => watch::AGAIN,
            (seconds, _) => Duration::from_secs(seconds),
        };
        let last = self.seen.lock().last;
        last.is_none_or(|last| last.elapsed() >= every)
    }

    fn note(&self, outcome: Result<&Looked, &Error>) {
        let mut seen = self.seen.lock();
        seen.last = Some(Instant::now());
        let code = match outcome {
            Ok(_) => {
                if seen.problem.take().is_some() {
                    tracing::info!(index = self.name, "the attached index is followed again");
                }
                seen.checked = Some(Utc::now());
                return;
            }
            Err(Error::User(problem)) => problem.code.as_str(),
            Err(Error::Operator(_)) => "store_unreachable",
            Err(Error::Bug(_)) => "internal",
        };
        match &mut seen.problem {
            Some(problem) if problem.code == code => {}
            problem => {
                *problem = Some(AttachedProblem {
                    since: Utc::now(),
                    code: code.into(),
                });
                if let Err(error) = outcome {
                    tracing::error!(
                        index = self.name,
                        %error,
                        "no newer version of the attached index; it answers as it is"
                    );
                }
            }
        }
    }

    /// Reads the file again: another process may have changed it.
    fn read_again(&self) {
        if let Ok(Some(kept)) = read_kept(&self.folder) {
            *self.kept.lock() = kept;
        }
    }

    /// Makes this what the file says, durably.
    fn keep(&self, kept: Kept) -> Result<()> {
        let path = self.folder.join(FILE);
        let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
        let json = serde_json::to_vec_pretty(&kept)
            .map_err(|e| Error::Bug(format!("an attachment does not serialise: {e}")))?;
        let beside = path.with_extension("writing");
        let mut file = File::create(&beside).map_err(cannot)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&beside, &path))
            .map_err(cannot)?;
        // Whatever becomes of the sync, this is what the file says.
        *self.kept.lock() = kept;
        sync_parent(&path)
    }

    /// Removes versions that do not count and that nobody has open, and what a download that
    /// was cut short has left of one.
    fn tidy(&self) {
        let current = self.current();
        let entries = std::fs::read_dir(self.folder.join(VERSIONS));
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            if Some(&path) == current.as_ref() || is_in_use(&path) {
                continue;
            }
            match remove_folder(&path) {
                Ok(()) => tracing::info!(version = %path.display(), "removed an old version"),
                Err(error) => tracing::warn!(%error, "an old version cannot be removed"),
            }
        }
    }

    /// The same where there is something to remove and no other process looks.
    fn tidy_if_needed(&self) {
        let entries = std::fs::read_dir(self.folder.join(VERSIONS));
        let versions = entries.into_iter().flatten().count();
        if versions > usize::from(self.current().is_some())
            && let Ok(_lock) = self.lock()
        {
            self.tidy();
        }
    }

    /// Removes all of it. Nobody may have it open.
    pub(super) fn remove(&self) -> Result<()> {
        let path = self.folder.join(FILE);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("cannot remove {}", path.display());
                return Err(Error::operator_from(what, e));
            }
            _ => {}
        }
        sync_parent(&path)?;
        remove_folder(&self.folder)
    }

    /// Keeps this process from looking for a newer version, as long as it is held.
    ///
    /// # Errors
    /// `task_running` while it looks.
    pub(super) fn at_rest(&self) -> Result<MutexGuard<'_, ()>> {
        let turn = self.looking.try_lock_for(PATIENCE);
        turn.ok_or_else(|| self.busy().into())
    }

    /// The lock that keeps other processes from looking, as long as it is held.
    ///
    /// # Errors
    /// `task_running` while another process holds it.
    fn lock(&self) -> Result<File> {
        let path = self.folder.join(LOCK);
        let cannot = |e| Error::operator_from(format!("cannot lock {}", path.display()), e);
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(self.busy().into()),
            Err(std::fs::TryLockError::Error(e)) => Err(cannot(e)),
        }
    }

    fn busy(&self) -> Problem {
        Problem::new(
            Code::TaskRunning,
            format!(
                "a newer version of {:?} is being looked for already",
                self.name
            ),
        )
        .field("index")
        .expected("an attached index at rest; try again in a moment")
    }
}

fn read_kept(folder: &Path) -> Result<Option<Kept>> {
    let path = folder.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            let what = format!("cannot read {}", path.display());
            return Err(Error::operator_from(what, e));
        }
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| {
        Error::operator_from(format!("{} cannot be read", path.display()), e)
            .advice("remove the folder and attach the index anew")
    })?;
    let is_sound = kept.snapshot.as_ref().is_none_or(|s| is_id(&s.id));
    match kept.format == FORMAT && is_sound {
        true => Ok(Some(kept)),
        false => Err(Error::operator(format!(
            "{} is of another format than this build reads",
            path.display()
        ))
        .advice("use the version of gleaner that wrote it, or attach the index anew")),
    }
}
