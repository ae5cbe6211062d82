//! An index made anew beside the one that is in use, and put in its place.
//!
//! What holds:
//! * The new index is made of one view of the old one, which is held so that the log is
//!   kept, and then follows the log. Only its last operations are taken over while writers
//!   of the old one wait.
//! * The alias is moved in one step, while nobody writes to the old index and what was
//!   written to it is in the new one, visible. A write through the alias asks in its turn
//!   whether the alias still names the index it was meant for ([`Catalog::write`]), and is
//!   done again on the new one otherwise: none that was acknowledged is missing from what
//!   the alias names.
//! * Until then the folder of the new index carries a mark and nobody finds it. Whatever
//!   instant a process ends at, the old index and the alias are as they were, or the alias
//!   names a complete index: moving the alias is what makes a marked index count.

use std::collections::btree_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::{Condvar, Mutex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::catalog::REMOVING;
use super::filling::Filling;
use super::open::{is_in_use, is_marked, remove_folder, remove_mark, sync_parent, with_suffix};
use super::{Catalog, Definition, Index, check_name};
use crate::error::{Code, Error, Problem, Result};
use crate::vector::VectorIndex;

/// Operations that writers may be kept waiting for.
const CLOSE: u64 = 128;
/// Rounds after which writers are kept waiting although they write faster than the log can
/// be followed.
const ROUNDS: usize = 40;
/// Time between two looks whether graphs are built.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Reindexings that ended and are remembered.
const REMEMBERED: usize = 100;

/// What to make of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReindexRequest {
    /// The name of the index to make, which must be free.
    pub into: String,
    /// Its definition; the one of the index that is read where absent. Its name is `into`,
    /// whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
    /// An alias that stands for the index, or for none yet, to stand for the new one at the
    /// end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// Whether a reindexing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReindexState {
    /// It does.
    Running,
    /// The new index is there, and the alias stands for it.
    Done,
    /// It was given up; everything is as it was.
    Failed,
    /// It was called off; everything is as it was.
    Cancelled,
}

/// What a reindexing is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReindexPhase {
    /// Documents of the view it began with.
    Copying,
    /// What was written since.
    CatchingUp,
    /// The last operations, while writers wait.
    Swapping,
}

/// How far a reindexing has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReindexProgress {
    /// The index that is read.
    pub source: String,
    /// The index that is made.
    pub into: String,
    /// The alias that moves at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether it goes on.
    pub state: ReindexState,
    /// What it is at, or was at when it ended.
    pub phase: ReindexPhase,
    /// Documents that were there when it began.
    pub documents_total: u64,
    /// Of these, documents that are in the new index.
    pub documents: u64,
    /// Operations that came meanwhile and are in the new index.
    pub operations: u64,
    /// Operations that are not yet.
    pub behind: u64,
    /// Documents whose vectors were taken over.
    pub carried: u64,
    /// Documents whose texts were encoded.
    pub encoded: u64,
    /// For how long writers of the old index had to wait at the end, in milliseconds.
    pub held_ms: f64,
    /// When it began, in UTC.
    pub started: String,
    /// Time it has taken.
    pub seconds: f64,
}

/// One reindexing, under way or ended.
pub struct Reindex {
    source: String,
    into: String,
    alias: Option<String>,
    began: DateTime<Utc>,
    started: Instant,
    pub(super) total: AtomicU64,
    pub(super) documents: AtomicU64,
    pub(super) operations: AtomicU64,
    pub(super) behind: AtomicU64,
    pub(super) carried: AtomicU64,
    pub(super) encoded: AtomicU64,
    held_micros: AtomicU64,
    phase: Mutex<ReindexPhase>,
    cancelled: AtomicBool,
    outcome: Mutex<Option<Outcome>>,
    ended: Condvar,
}

/// How one ended.
struct Outcome {
    error: Option<Arc<Error>>,
    cancelled: bool,
    took: Duration,
}

/// What ends a reindexing before its end.
pub(super) enum Stop {
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl Reindex {
    fn new(source: &str, request: &ReindexRequest) -> Reindex {
        let zero = || AtomicU64::new(0);
        Reindex {
            source: source.into(),
            into: request.into.clone(),
            alias: request.alias.clone(),
            began: Utc::now(),
            started: Instant::now(),
            total: zero(),
            documents: zero(),
            operations: zero(),
            behind: zero(),
            carried: zero(),
            encoded: zero(),
            held_micros: zero(),
            phase: Mutex::new(ReindexPhase::Copying),
            cancelled: AtomicBool::new(false),
            outcome: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> ReindexProgress {
        let outcome = self.outcome.lock();
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        ReindexProgress {
            source: self.source.clone(),
            into: self.into.clone(),
            alias: self.alias.clone(),
            state: match &*outcome {
                None => ReindexState::Running,
                Some(outcome) if outcome.cancelled => ReindexState::Cancelled,
                Some(outcome) if outcome.error.is_some() => ReindexState::Failed,
                Some(_) => ReindexState::Done,
            },
            phase: *self.phase.lock(),
            documents_total: get(&self.total),
            documents: get(&self.documents),
            operations: get(&self.operations),
            behind: get(&self.behind),
            carried: get(&self.carried),
            encoded: get(&self.encoded),
            held_ms: get(&self.held_micros) as f64 / 1e3,
            started: self.began.to_rfc3339_opts(SecondsFormat::Millis, true),
            seconds: outcome
                .as_ref()
                .map_or_else(|| self.started.elapsed(), |outcome| outcome.took)
                .as_secs_f64(),
        }
    }

    /// Why it was given up, if it was.
    pub fn error(&self) -> Option<Arc<Error>> {
        self.outcome.lock().as_ref()?.error.clone()
    }

    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.outcome.lock().is_none()
    }

    /// Calls it off: what was made is removed, soon. One that is at its very end may be done
    /// all the same.
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    /// Waits until it has ended, at most so long; whether it has.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut outcome = self.outcome.lock();
        while outcome.is_none() {
            if self.ended.wait_until(&mut outcome, until).timed_out() {
                break;
            }
        }
        outcome.is_some()
    }

    fn end(&self, result: Result<(), Stop>) {
        let (error, cancelled) = match result {
            Ok(()) => (None, false),
            Err(Stop::Cancelled) => (None, true),
            Err(Stop::Failed(error)) => (Some(Arc::new(error)), false),
        };
        *self.outcome.lock() = Some(Outcome {
            error,
            cancelled,
            took: self.started.elapsed(),
        });
        self.ended.notify_all();
    }

    pub(super) fn go_on(&self) -> Result<(), Stop> {
        match self.cancelled.load(Relaxed) {
            true => Err(Stop::Cancelled),
            false => Ok(()),
        }
    }

    fn enters(&self, phase: ReindexPhase) {
        *self.phase.lock() = phase;
    }
}

impl Catalog {
    /// Begins to make an index anew beside the one that is there, in the background; see
    /// [`Reindex`].
    ///
    /// # Errors
    /// `index_not_found`; `task_running` where the index is being reindexed already;
    /// `index_exists` for a name that is taken; `invalid_request` for an alias that stands
    /// for something else; `invalid_definition`, `model_not_found`.
    pub fn reindex(self: &Arc<Self>, name: &str, request: ReindexRequest) -> Result<Arc<Reindex>> {
        let source = self.get(name)?;
        let mut definition = match &request.definition {
            Some(definition) => definition.clone(),
            None => source.definition().clone(),
        };
        definition.name = request.into.clone();
        definition.check()?;
        if let Some(alias) = &request.alias {
            self.check_alias(alias, source.name())?;
            if *alias == request.into {
                return Err(Problem::new(
                    Code::InvalidRequest,
                    "the alias and the new index cannot have one name",
                )
                .field("alias")
                .found(alias)
                .expected("another name than that of the new index")
                .into());
            }
        }
        let reindex = Arc::new(Reindex::new(source.name(), &request));
        {
            let mut all = self.reindexes.lock();
            let taken = all
                .values()
                .any(|other| other.into == request.into && other.is_running());
            match all.entry(source.name().into()) {
                Entry::Occupied(other) if other.get().is_running() => {
                    return Err(running(
                        source.name(),
                        "the index is being reindexed already",
                    ));
                }
                _ if taken => {
                    return Err(running(
                        &request.into,
                        "an index of this name is being made",
                    ));
                }
                Entry::Occupied(mut other) => drop(other.insert(reindex.clone())),
                Entry::Vacant(place) => drop(place.insert(reindex.clone())),
            }
            while all.len() > REMEMBERED {
                let Some(oldest) = all
                    .iter()
                    .filter(|(_, one)| !one.is_running())
                    .min_by_key(|(_, one)| one.began)
                    .map(|(name, _)| name.clone())
                else {
                    break;
                };
                all.remove(&oldest);
            }
        }
        let begun = self.begin(&source, definition, reindex.clone());
        if let Err(error) = begun {
            // As if it had not been asked for: the caller hears why.
            let mut all = self.reindexes.lock();
            if all
                .get(source.name())
                .is_some_and(|one| Arc::ptr_eq(one, &reindex))
            {
                all.remove(source.name());
            }
            return Err(error);
        }
        Ok(reindex)
    }

    /// Makes the new index and starts the thread that fills it.
    fn begin(
        self: &Arc<Self>,
        source: &Arc<Index>,
        definition: Definition,
        reindex: Arc<Reindex>,
    ) -> Result<()> {
        let folder = self.path(&reindex.into);
        let new = {
            let _changing = self.changing.lock();
            if is_marked(&folder) {
                // Left by one that was cut short.
                self.settle(&reindex.into)?;
            }
            self.check_free(&reindex.into)?;
            let mark = serde_json::json!({"source": reindex.source, "alias": reindex.alias});
            let mark = mark.to_string();
            Index::create_marked(&folder, definition, self.settings(), Some(mark.as_bytes()))?
        };
        let (catalog, source) = (self.clone(), source.clone());
        let started = std::thread::Builder::new()
            .name("reindex".into())
            .spawn(move || {
                let result = catalog.run(source, new, &reindex);
                // Whoever waits for the end may want to open the indexes anew.
                drop(catalog);
                reindex.end(result);
            });
        if let Err(e) = started {
            // The index was dropped, and so closed, with what could not be run.
            discard(&folder)?;
            return Err(Error::operator_from("cannot start a thread", e));
        }
        Ok(())
    }

    /// The reindexing of an index that goes on, or the last one there was since the process
    /// began.
    ///
    /// # Errors
    /// `index_not_found`, `task_not_found`.
    pub fn reindexing(&self, name: &str) -> Result<Arc<Reindex>> {
        let real = self.aliases().remove(name);
        let all = self.reindexes.lock();
        // Through an alias that has moved, one asks for what moved it.
        let by_alias = || {
            let moved = all
                .values()
                .filter(|one| one.alias.as_deref() == Some(name));
            moved.max_by_key(|one| one.began)
        };
        let found = all
            .get(name)
            .or_else(|| all.get(real.as_deref()?))
            .or_else(by_alias);
        if let Some(found) = found {
            return Ok(found.clone());
        }
        drop(all);
        if !self.is_there(real.as_deref().unwrap_or(name)) {
            return Err(self.not_found(name));
        }
        Err(Problem::new(
            Code::TaskNotFound,
            format!("index {name:?} has not been reindexed since the server started"),
        )
        .field("index")
        .found(name)
        .into())
    }

    /// All there are, under way or ended, by the name of the index that is read.
    pub fn reindexings(&self) -> Vec<Arc<Reindex>> {
        self.reindexes.lock().values().cloned().collect()
    }

    /// Calls off what is under way and waits until it has ended: before the process ends.
    pub fn cancel_reindexings(&self) {
        let all = self.reindexings();
        all.iter().for_each(|one| one.cancel());
        for one in all {
            while !one.wait_for(Duration::from_secs(60)) {
                warn!(
                    index = one.source,
                    "waiting for a reindexing to be called off"
                );
            }
        }
    }

    /// That no reindexing reads or makes this index.
    pub(super) fn check_not_reindexed(&self, name: &str) -> Result<()> {
        let all = self.reindexes.lock();
        match all
            .values()
            .any(|one| (one.source == name || one.into == name) && one.is_running())
        {
            true => Err(running(name, "the index is being reindexed")),
            false => Ok(()),
        }
    }

    /// An alias may move from the index that is read, or come into being.
    fn check_alias(&self, alias: &str, source: &str) -> Result<()> {
        let wrong = |found: String| -> Error {
            Problem::new(
                Code::InvalidRequest,
                format!("{alias:?} cannot be moved from index {source:?}"),
            )
            .field("alias")
            .found(found)
            .expected("an alias of that index, or a name that nothing has")
            .into()
        };
        if check_name(alias).is_err() {
            return Err(wrong("what cannot be a name".into()));
        }
        match self.aliases().get(alias) {
            Some(index) if index == source => Ok(()),
            Some(index) => Err(wrong(format!("an alias of index {index:?}"))),
            None if self.path(alias).exists() => Err(wrong("an index".into())),
            None => Ok(()),
        }
    }

    /// The thread.
    fn run(&self, source: Arc<Index>, new: Index, reindex: &Reindex) -> Result<(), Stop> {
        info!(
            index = reindex.source,
            into = reindex.into,
            "reindexing begins"
        );
        let new = Arc::new(new);
        let result = catch_unwind(AssertUnwindSafe(|| self.fill(&source, &new, reindex)))
            .unwrap_or_else(|_| Err(Error::Bug("a reindexing panicked".into()).into()));
        drop(source);
        if result.is_err() {
            // Closed before its folder goes.
            drop(new);
            if let Err(error) = discard(&self.path(&reindex.into)) {
                warn!(%error, index = reindex.into, "a half-built index cannot be removed");
            }
        }
        let (index, into) = (&reindex.source, &reindex.into);
        match &result {
            Ok(()) => {
                let held_ms = reindex.held_micros.load(Relaxed) / 1000;
                info!(index, into, held_ms, "reindexed");
            }
            Err(Stop::Cancelled) => info!(index, into, "the reindexing was called off"),
            Err(Stop::Failed(error)) => error!(index, into, %error, "the reindexing failed"),
        }
        result
    }

    fn fill(&self, source: &Index, new: &Arc<Index>, reindex: &Reindex) -> Result<(), Stop> {
        let filling = Filling {
            source,
            new,
            reindex,
            carry: new.carries(
                source.definition(),
                source.fingerprint(),
                source.dimensions(),
            ),
        };
        source.refresh()?;
        let mut held = source.view();
        filling.copy(&held)?;
        new.refresh()?;
        // Whoever searches by the alias is to find graphs, not a long scan.
        while new.vectors.as_ref().is_some_and(VectorIndex::is_busy) {
            reindex.go_on()?;
            std::thread::sleep(LOOK_AGAIN);
        }
        new.adopt_graphs();
        reindex.enters(ReindexPhase::CatchingUp);
        for _ in 0..ROUNDS {
            source.refresh()?;
            // Held before the earlier one is let go: what lies between is kept.
            let now = source.view();
            let behind = now.seq - held.seq;
            filling.follow(held.seq, now.seq)?;
            held = now;
            new.refresh()?;
            if behind <= CLOSE {
                break;
            }
        }
        new.take_over_requests(source)?;
        new.take_over_feedback(source)?;
        reindex.enters(ReindexPhase::Swapping);
        let _changing = self.changing.lock();
        if let Some(alias) = &reindex.alias {
            self.check_alias(alias, &reindex.source)?;
        }
        let waiting = Instant::now();
        let swapped = source.at_rest(|store| {
            Ok((|| -> Result<(), Stop> {
                filling.follow(held.seq, store.last_seq())?;
                new.take_over_requests(source)?;
                new.take_over_feedback(source)?;
                new.refresh()?;
                reindex.go_on()?;
                Ok(self.put_in_place(new, reindex)?)
            })())
        });
        reindex
            .held_micros
            .store(waiting.elapsed().as_micros() as u64, Relaxed);
        swapped?
    }

    /// Lets the alias stand for the new index and everybody find it. Moving the alias is
    /// what counts; without one, removing the mark is.
    fn put_in_place(&self, new: &Arc<Index>, reindex: &Reindex) -> Result<()> {
        let folder = self.path(&reindex.into);
        let Some(alias) = &reindex.alias else {
            remove_mark(&folder)?;
            self.insert(new.clone());
            return Ok(());
        };
        self.insert(new.clone());
        let mut aliases = self.aliases();
        aliases.insert(alias.clone(), reindex.into.clone());
        if let Err(error) = self.replace_aliases(aliases) {
            // Written, if perhaps not on the disk yet, it counts.
            if self.aliases().get(alias) != Some(&reindex.into) {
                self.take_out(&reindex.into);
                return Err(error);
            }
            warn!(%error, "an alias moved, and may not survive a power cut");
        }
        if let Err(error) = remove_mark(&folder) {
            // The alias says that it is complete; the next start removes the mark.
            error!(%error, index = reindex.into, "the mark of a finished index stays");
        }
        Ok(())
    }

    /// Ends what a reindexing that was cut short has left: an index that an alias stands for
    /// is complete, any other is removed. One that is being made by somebody is left alone.
    pub(super) fn settle(&self, name: &str) -> Result<()> {
        let folder = self.path(name);
        if self.aliases().values().any(|index| index == name) {
            info!(index = name, "finished a reindexing cut short");
            return remove_mark(&folder);
        }
        if is_in_use(&folder) {
            return Ok(());
        }
        info!(
            index = name,
            "removing what a reindexing cut short has left"
        );
        discard(&folder)
    }
}

/// Removes the folder of a marked index; nothing half-removed is ever taken for an index.
fn discard(folder: &Path) -> Result<()> {
    let leaving = with_suffix(folder, REMOVING);
    remove_folder(&leaving)?;
    std::fs::rename(folder, &leaving)
        .map_err(|e| Error::operator_from(format!("cannot remove {}", folder.display()), e))?;
    sync_parent(&leaving)?;
    remove_folder(&leaving)
}

fn running(name: &str, message: &str) -> Error {
    Problem::new(Code::TaskRunning, message)
        .field("index")
        .found(name)
        .expected("one at a time: wait for it to end, or call it off")
        .into()
}
