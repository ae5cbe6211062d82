//! Requests that are carried out once, however often they are sent.
//!
//! What holds:
//! * A caller that names a request by a key may send it again, after a timeout, a lost
//!   connection or a crash of the server, and nothing that was done is done a second time:
//!   what came of it is answered again.
//! * The record of a step is in the same batch of the store as what the step changes
//!   ([`Store::apply_noting`]), so that there is never the one without the other. A request
//!   that was cut off goes on behind its last recorded step.
//! * A key belongs to one request: the same key with another body or address is refused,
//!   and so is the same request while it is being carried out.
//!
//! Records are kept for `limits.idempotency_hours` from the first step on. They are the
//! index's own: a reindexing takes them over, a restored snapshot has those of its time.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::jobs::{JOBS, taken_over};
use super::{Changed, Index};
use crate::error::{Code, Error, Problem, Result};

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// Records forgotten in one batch.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// Records taken over from another index in one batch.
const TAKEN_AT_ONCE: usize = 1_000;
/// The same in bytes.
const TAKEN_BYTES: usize = 4 << 20;

/// `once/KEY/0` is the [`Head`] of a record, `once/KEY/STEP` what a step came to.
const RECORDS: &str = "once/";
/// `once-by-age/SECOND/KEY`: which record is how old.
const BY_AGE: &str = "once-by-age/";

/// What is kept of a request itself.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Digest of the request.
    request: String,
    /// When its first step was recorded, in seconds since 1970.
    since: u64,
}

/// A request that is carried out once, while it is being carried out: nobody else has its key
/// until this is dropped.
pub struct Once {
    /// Digest of the key: of one length, whatever is in the key.
    key: String,
    request: String,
    since: u64,
    steps: Vec<Vec<u8>>,
    next: AtomicU32,
    under_way: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Once {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

impl Once {
    /// Whether it is recorded in this index.
    pub fn is_of(&self, index: &Index) -> bool {
        Arc::ptr_eq(&self.under_way, &index.once)
    }

    /// What its steps came to that were carried out before, in their order.
    pub fn steps(&self) -> &[Vec<u8>] {
        &self.steps
    }

    /// Reads what was recorded of a step.
    ///
    /// # Errors
    /// An operator error where it was written by another version of this program.
    pub fn read<T: DeserializeOwned>(step: &[u8]) -> Result<T> {
        serde_json::from_slice(step).map_err(|e| {
            Error::operator_from("what was recorded of a request cannot be read", e)
                .advice("send the request with another key, once it is known what it did")
        })
    }
}

/// Serialises what a step came to.
pub(super) fn to_bytes<T: Serialize>(outcome: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(outcome)
        .map_err(|e| Error::Bug(format!("an outcome does not serialise: {e}")))
}

/// What a step came to, as bytes; made under the lock of the store. None where there is
/// nothing to record: the step is then tried again as if it had never been sent.
type Outcome<'a> = dyn Fn(&[Changed]) -> Result<Option<Vec<u8>>> + 'a;

/// Names and values to keep beside changes; made under the lock of the store.
type Beside<'a> = dyn Fn(&[Changed]) -> Result<Vec<(String, Vec<u8>)>> + 'a;

/// What is kept in the batch of some changes, of what they came to: one step of a request that
/// is carried out once, or of a job.
pub struct Step<'a> {
    kept: Kept<'a>,
    noted: Cell<bool>,
}

enum Kept<'a> {
    /// A request's.
    Outcome(&'a Once, &'a Outcome<'a>),
    /// Somebody else's, under names of their own.
    Beside(&'a Beside<'a>),
}

impl<'a> Step<'a> {
    /// The next step of `once`, whose outcome is recorded with its changes.
    pub fn of(once: &'a Once, outcome: &'a Outcome<'a>) -> Step<'a> {
        Step {
            kept: Kept::Outcome(once, outcome),
            noted: Cell::new(false),
        }
    }

    /// Keeps what `beside` makes of the changes.
    pub(super) fn beside(beside: &'a Beside<'a>) -> Step<'a> {
        Step {
            kept: Kept::Beside(beside),
            noted: Cell::new(false),
        }
    }

    /// What to write beside its changes.
    pub(super) fn notes(&self, changed: &[Changed]) -> Result<Vec<(String, Vec<u8>)>> {
        let (once, outcome) = match self.kept {
            Kept::Outcome(once, outcome) => (once, outcome(changed)?),
            Kept::Beside(beside) => return beside(changed),
        };
        let Some(outcome) = outcome else {
            return Ok(Vec::new());
        };
        self.noted.set(true);
        let Once {
            key,
            request,
            since,
            ..
        } = once;
        let step = once.next.load(Ordering::Relaxed);
        let mut notes = vec![(record(key, step), outcome)];
        if step == 1 {
            let head = Head {
                request: request.clone(),
                since: *since,
            };
            notes.push((record(key, 0), to_bytes(&head)?));
            notes.push((format!("{BY_AGE}{since:016x}/{key}"), Vec::new()));
        }
        Ok(notes)
    }

    /// After its changes were written.
    pub(super) fn recorded(&self) {
        if let (true, Kept::Outcome(once, _)) = (self.noted.take(), &self.kept) {
            once.next.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn record(key: &str, step: u32) -> String {
    format!("{RECORDS}{key}/{step:08x}")
}

impl Index {
    /// Begins, or goes on with, the request that a caller names by `key`. `request` is what
    /// the request says: its address and body.
    ///
    /// # Errors
    /// `invalid_request` for a key that is none; `key_reused` where it was another request's;
    /// `request_in_progress`.
    pub fn once(&self, key: &str, request: &[&[u8]]) -> Result<Once> {
        let usable = |b: u8| b.is_ascii_graphic() || b == b' ';
        if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(usable) {
            return Err(
                Problem::new(Code::InvalidRequest, "this is not an idempotency key")
                    .field("idempotency-key")
                    .found(key)
                    .expected(format!("1 to {MAX_KEY_BYTES} visible ASCII characters"))
                    .into(),
            );
        }
        let key = digest(&[key.as_bytes()]);
        let Some(mut once) = self.claim(key, digest(request)) else {
            return Err(Problem::new(
                Code::RequestInProgress,
                "the request of this idempotency key is still being carried out",
            )
            .field("idempotency-key")
            .into());
        };
        let Some(head) = self.store.meta(&record(&once.key, 0))? else {
            return Ok(once);
        };
        let head: Head = Once::read(&head)?;
        if head.since < self.oldest_record() {
            self.forget(&once.key, head.since)?;
            return Ok(once);
        }
        if head.request != once.request {
            return Err(Problem::new(
                Code::KeyReused,
                "this idempotency key was sent with another request",
            )
            .field("idempotency-key")
            .expected("a new key for each request, the same one only to send it again")
            .into());
        }
        once.since = head.since;
        let first = record(&once.key, 1);
        let steps = &mut once.steps;
        self.store
            .for_each_meta(&format!("{RECORDS}{}/", once.key), |name, value| {
                if name >= first.as_str() {
                    steps.push(value.to_vec());
                }
                Ok(true)
            })?;
        let next = u32::try_from(once.steps.len()).unwrap_or(u32::MAX);
        once.next = AtomicU32::new(next.saturating_add(1));
        if !once.steps.is_empty() {
            // What is answered for again is on the disk, also where the sync that the first
            // answer waited for has failed.
            self.store.sync()?;
        }
        Ok(once)
    }

    /// Takes a key until what is returned is dropped; None where another has it.
    fn claim(&self, key: String, request: String) -> Option<Once> {
        self.once.lock().insert(key.clone()).then(|| Once {
            key,
            request,
            since: now(),
            steps: Vec::new(),
            next: AtomicU32::new(1),
            under_way: self.once.clone(),
        })
    }

    /// Forgets the records of requests that nobody will send again.
    pub(super) fn forget_old_requests(&self) -> Result<()> {
        let oldest = format!("{BY_AGE}{:016x}", self.oldest_record());
        loop {
            let mut old: Vec<(String, u64)> = Vec::new();
            self.store.for_each_meta(BY_AGE, |name, _| {
                let is_old = name < oldest.as_str();
                if is_old && let Some((since, key)) = name[BY_AGE.len()..].split_once('/') {
                    old.push((key.to_string(), u64::from_str_radix(since, 16).unwrap_or(0)));
                }
                Ok(is_old && old.len() < FORGOTTEN_AT_ONCE)
            })?;
            let looked_at = old.len();
            for (key, since) in old {
                // One that is under way just now is looked at the next time.
                let Some(claimed) = self.claim(key, String::new()) else {
                    continue;
                };
                let key = &claimed.key;
                let head = self.store.meta(&record(key, 0))?;
                let head: Option<Head> = head.map(|head| Once::read(&head)).transpose()?;
                match head {
                    // Its key was used again meanwhile.
                    Some(head) if head.since != since => {
                        let age = format!("{BY_AGE}{since:016x}/{key}");
                        self.store.delete_metas(&[age])?;
                    }
                    _ => self.forget(key, since)?,
                }
            }
            if looked_at < FORGOTTEN_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// Takes over the records of an index that this one takes the place of, of requests and of
    /// jobs, those that it does not have yet: most of them are taken over while writes go on,
    /// and the rest while they wait. Its jobs are this index's then.
    pub(super) fn take_over_requests(&self, from: &Index) -> Result<()> {
        let (before, now) = (from.id()?, self.id()?);
        // Ages first: no record is ever without one, and so kept for good.
        for prefix in [BY_AGE, RECORDS, JOBS] {
            let mut some = Vec::new();
            let mut bytes = 0;
            from.store.for_each_meta(prefix, |name, value| {
                let value = taken_over(name, value, &before, &now);
                if self.store.meta(name)?.as_deref() != Some(&*value) {
                    bytes += value.len();
                    some.push((name.to_string(), value.into_owned()));
                }
                if some.len() == TAKEN_AT_ONCE || bytes > TAKEN_BYTES {
                    bytes = 0;
                    self.store.put_metas(&std::mem::take(&mut some))?;
                }
                Ok(true)
            })?;
            self.store.put_metas(&some)?;
        }
        Ok(())
    }

    fn forget(&self, key: &str, since: u64) -> Result<()> {
        let mut names = vec![format!("{BY_AGE}{since:016x}/{key}")];
        self.store
            .for_each_meta(&format!("{RECORDS}{key}/"), |name, _| {
                names.push(name.to_string());
                Ok(true)
            })?;
        self.store.delete_metas(&names)
    }

    /// Second since 1970 before which records count no more.
    fn oldest_record(&self) -> u64 {
        let kept = Duration::from_secs(3600).as_secs() * self.limits().idempotency_hours;
        now().saturating_sub(kept)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// SHA-256 over the parts and their lengths, in hexadecimal.
fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher
        .finalize()
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing into a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
