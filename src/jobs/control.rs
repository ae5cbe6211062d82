//! The jobs of a server: which run, which wait, and how they are told what is asked of them.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{error, info};

use super::record::{
    self, Job, JobAction, JobAt, JobOptions, JobOwner, JobReport, JobState, MaxRejects, NewJob,
    not_found, rejects_in, tell,
};
use super::run::{Control, Running, Wish, run};
use super::sources::Sources;
use crate::config::{Config, Ingest};
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Catalog, Index};
use crate::ingest::{Input, Progress, Summary, resolve};

/// Jobs that wait for their turn, over all indexes.
const MOST_WAITING: usize = 1_000;

/// The jobs of the indexes of a catalog. What it promises is at the top of the module.
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Arc<Catalog>,
    settings: Ingest,
    sources: Sources,
    /// Where the rejects of its jobs go.
    rejects: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// By their ids.
    running: BTreeMap<String, Under>,
    threads: Vec<JoinHandle<()>>,
    stopping: bool,
    /// What came of the rows of those that have stopped, here.
    rows: JobRows,
    /// How often jobs have stopped here, by the state they were left in.
    stopped: BTreeMap<JobState, u64>,
}

/// What came of the rows of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobRows {
    /// Rows read, good or not.
    pub read: u64,
    /// Documents written.
    pub written: u64,
    /// Documents that were there already, as they are.
    pub unchanged: u64,
    /// Documents that rows had deleted.
    pub deleted: u64,
    /// Rows that were not loaded.
    pub rejected: u64,
}

impl JobRows {
    fn of(summary: &Summary) -> JobRows {
        JobRows {
            read: summary.rows,
            written: summary.loaded.saturating_sub(summary.unchanged),
            unchanged: summary.unchanged,
            deleted: summary.deleted,
            rejected: summary.rejected,
        }
    }

    fn add(&mut self, live: &Live) {
        let now = JobRows::of(&live.counters.summary());
        // Counters only grow.
        self.read += now.read.saturating_sub(live.before.read);
        self.written += now.written.saturating_sub(live.before.written);
        self.unchanged += now.unchanged.saturating_sub(live.before.unchanged);
        self.deleted += now.deleted.saturating_sub(live.before.deleted);
        self.rejected += now.rejected.saturating_sub(live.before.rejected);
    }
}

/// Figures of a server's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFigures {
    /// How many there are in each state, of those that are remembered.
    pub states: BTreeMap<JobState, u64>,
    /// How often one has stopped since the server was started, by the state it was left in.
    pub stopped: BTreeMap<JobState, u64>,
    /// What came of rows since the server was started.
    pub rows: JobRows,
}

struct Waiting {
    id: String,
    /// As the job names it.
    name: String,
    /// The index that it stood for when it was put here.
    index: String,
}

/// A job that is under way.
struct Under {
    index: String,
    control: Arc<Control>,
    progress: Arc<Mutex<Live>>,
}

/// The counters of a job that is under way.
struct Live {
    counters: Arc<Progress>,
    /// Where they began: a job that goes on has counted before, perhaps in another process.
    before: JobRows,
}

impl Live {
    fn of(counters: Arc<Progress>) -> Live {
        Live {
            before: JobRows::of(&counters.summary()),
            counters,
        }
    }
}

impl Jobs {
    /// The jobs of these indexes; nothing runs yet.
    pub fn new(catalog: Arc<Catalog>, config: &Config) -> Jobs {
        Jobs {
            inner: Arc::new(Inner {
                catalog,
                settings: config.ingest.clone(),
                sources: Sources::new(&config.ingest.sources),
                rejects: config.data.folder.join("rejects"),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        }
    }

    /// Goes on with the jobs that were running or waiting when the last server ended, as soon
    /// as their indexes are open.
    ///
    /// # Errors
    /// An operator's error where no thread can be started.
    pub fn start(&self) -> Result<()> {
        let inner = self.inner.clone();
        let thread = std::thread::Builder::new()
            .name("jobs".into())
            .spawn(move || inner.take_up())
            .map_err(|e| Error::operator_from("cannot start a thread", e))?;
        self.inner.state.lock().threads.push(thread);
        Ok(())
    }

    /// Lets every job that runs stop where it is, to go on when there is a server again, and
    /// waits for them.
    pub fn stop(&self) {
        let threads = {
            let mut state = self.inner.state.lock();
            state.stopping = true;
            state.waiting.clear();
            for under in state.running.values() {
                under.control.tell(Wish::Leave);
            }
            std::mem::take(&mut state.threads)
        };
        self.inner.changed.notify_all();
        for thread in threads {
            // A panic in it was reported by the panic hook already.
            let _ = thread.join();
        }
        // Another caller may be the one who joins them.
        let mut state = self.inner.state.lock();
        while !state.running.is_empty() {
            self.inner.changed.wait(&mut state);
        }
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.inner.state.lock().stopping
    }

    /// Makes a job and lets it run when it is its turn. `inputs` are names of files, folders,
    /// patterns and URLs.
    ///
    /// # Errors
    /// `index_not_found`, `source_not_permitted`, `invalid_file` for names that stand for
    /// nothing, `overloaded` where too many wait.
    pub fn create(&self, name: &str, inputs: &[String], options: JobOptions) -> Result<JobReport> {
        let inner = &self.inner;
        if inputs.is_empty() {
            return Err(
                Problem::new(Code::InvalidRequest, "a job needs something to read")
                    .field("inputs")
                    .found("an empty list")
                    .expected("paths, patterns or URLs")
                    .into(),
            );
        }
        // An index that is not there is the better message where both hold.
        inner.catalog.get(name)?;
        for input in inputs {
            inner.sources.check_name(input)?;
        }
        let inputs = resolve(inputs, options.source.format)?;
        record::check_number(&inputs)?;
        for input in &inputs {
            inner.sources.check(input)?;
        }
        let mut state = inner.state.lock();
        if state.waiting.len() >= MOST_WAITING {
            return Err(Problem::new(
                Code::Overloaded,
                "as many jobs wait for their turn as may wait",
            )
            .into());
        }
        let job = inner.catalog.write(name, |index, still| {
            let new = NewJob {
                index: name.into(),
                inputs: inputs.clone(),
                options: options.clone(),
                folder: None,
                rejects: inner.rejects.clone(),
                owner: JobOwner::Server,
            };
            record::create(index, new, still)
        })?;
        info!(
            job = job.id,
            index = name,
            inputs = job.inputs,
            "a job was made"
        );
        inner.put_in_line(&mut state, &job);
        inner.let_run(&mut state);
        Ok(inner.told(&state, &job, &JobAt::default()))
    }

    /// All jobs of the open indexes, the latest first.
    ///
    /// # Errors
    /// An operator's error of the disk.
    pub fn list(&self) -> Result<Vec<JobReport>> {
        let inner = &self.inner;
        let mut reports = Vec::new();
        for index in inner.catalog.open_indexes() {
            let all = record::read_all(&index)?;
            let state = inner.state.lock();
            for (job, at) in &all {
                if inner.is_home(&index, job) {
                    reports.push(inner.told(&state, job, at));
                }
            }
        }
        reports.sort_by_key(|job| std::cmp::Reverse(job.created));
        Ok(reports)
    }

    /// How many jobs there are, and what came of their rows.
    ///
    /// # Errors
    /// As [`Jobs::list`].
    pub fn figures(&self) -> Result<JobFigures> {
        let mut figures = JobFigures::default();
        for job in self.list()? {
            *figures.states.entry(job.state).or_default() += 1;
        }
        let state = self.inner.state.lock();
        figures.stopped = state.stopped.clone();
        figures.rows = state.rows;
        for under in state.running.values() {
            figures.rows.add(&under.progress.lock());
        }
        Ok(figures)
    }

    /// A job.
    ///
    /// # Errors
    /// `job_not_found`.
    pub fn report(&self, id: &str) -> Result<JobReport> {
        let (_, job, at) = self.inner.find(id)?;
        Ok(self.inner.told(&self.inner.state.lock(), &job, &at))
    }

    /// The file of a job's rejects, and how much of it is durable; None where there is none.
    ///
    /// # Errors
    /// `job_not_found`; `job_state` for one whose rejects a command has put somewhere else.
    pub fn rejects(&self, id: &str) -> Result<Option<(PathBuf, u64)>> {
        let (_, job, at) = self.inner.find(id)?;
        if at.rejects_bytes == 0 {
            return Ok(None);
        }
        match self.inner.keeps_rejects(&job) {
            true => Ok(Some((job.rejects, at.rejects_bytes))),
            false => Err(Problem::new(
                Code::JobState,
                "the rejects of this job are in a file of the command that ran it",
            )
            .field("id")
            .found(format!("job {id}: {}", job.state))
            .expected("a job that a server ran; gleaner jobs show names the file of this one")
            .into()),
        }
    }

    /// Asks something of a job, and waits for it to happen for as long as `patience`; whether
    /// it has.
    ///
    /// # Errors
    /// `job_not_found`; `job_state` where its state does not allow it;
    /// `source_not_permitted` for one that may not be read any more.
    pub fn act(
        &self,
        id: &str,
        action: JobAction,
        max_rejects: Option<MaxRejects>,
        patience: Duration,
    ) -> Result<(JobReport, bool)> {
        let inner = &self.inner;
        let (index, job, _) = inner.find(id)?;
        let mut state = inner.state.lock();
        let Some(under) = state.running.get(id) else {
            if matches!(action, JobAction::Resume | JobAction::Retry) {
                for input in record::inputs_of(&index, id)? {
                    inner.sources.check(&input)?;
                }
            }
            let job = record::act(&index, id, action, JobOwner::Server, max_rejects, &|| true)?;
            state.waiting.retain(|waiting| waiting.id != id);
            if job.state == JobState::Queued {
                inner.put_in_line(&mut state, &job);
                inner.let_run(&mut state);
            }
            drop(state);
            return Ok((self.report(id)?, true));
        };
        let next = record::after(&job, JobState::Running, action)?;
        let wish = match action {
            JobAction::Pause => Wish::Pause,
            JobAction::Cancel => Wish::Cancel,
            JobAction::Resume | JobAction::Retry if under.control.wish() == Wish::None => {
                drop(state);
                return Ok((self.report(id)?, true));
            }
            JobAction::Resume | JobAction::Retry => {
                return Err(Problem::new(
                    Code::JobState,
                    "the job is still stopping; try again once it has",
                )
                .field("id")
                .found(format!("job {id}: running"))
                .into());
            }
        };
        under.control.tell(wish);
        let until = Instant::now() + patience;
        while state.running.contains_key(id)
            && !inner.changed.wait_until(&mut state, until).timed_out()
        {}
        if !state.running.contains_key(id)
            && let (index, job, _) = inner.find(id)?
            && job.state != next
            && !job.state.has_ended()
        {
            // It stopped for another reason before it heard.
            record::act(&index, id, action, job.owner, None, &|| true)?;
        }
        drop(state);
        let report = self.report(id)?;
        let has_happened = report.state == next || report.state.has_ended();
        Ok((report, has_happened))
    }

    /// The job that loads into an index now, if there is one.
    pub fn under_way(&self, index: &str) -> Option<String> {
        let state = self.inner.state.lock();
        let mut running = state.running.iter();
        running
            .find(|(_, under)| under.index == index)
            .map(|(id, _)| id.clone())
    }
}

impl Inner {
    /// Puts the jobs in line again that an earlier server left.
    fn take_up(self: Arc<Self>) {
        let names = match self.catalog.names_on_disk() {
            Ok(names) => names,
            Err(error) => {
                error!(%error, "the jobs that were running cannot be looked for");
                return;
            }
        };
        let mut left = Vec::new();
        for name in names {
            if self.state.lock().stopping {
                return;
            }
            // Why an index cannot be opened is told by those who want to search it.
            let Ok(index) = self.catalog.wait_for(&name) else {
                continue;
            };
            match record::read_all(&index) {
                Ok(jobs) => {
                    let jobs = jobs.into_iter().map(|(job, _)| job);
                    let jobs = jobs.filter(|job| is_left(job) && self.is_home(&index, job));
                    // Not held open: it may be removed meanwhile.
                    left.extend(jobs.map(|job| (Arc::downgrade(&index), job)));
                }
                Err(error) => error!(index = name, %error, "its jobs cannot be read"),
            }
        }
        left.sort_by_key(|(_, job)| job.created);
        let mut state = self.state.lock();
        for (index, job) in left {
            let known = state.running.contains_key(&job.id)
                || state.waiting.iter().any(|waiting| waiting.id == job.id);
            // Something else may have been asked of it while other indexes were opened; from
            // here on that waits.
            let now = index.upgrade().map(|index| record::read(&index, &job.id));
            let is_left = matches!(now, Some(Ok(Some((job, _)))) if is_left(&job));
            if !known && is_left && !state.stopping {
                info!(job = job.id, index = job.index, "going on with a job");
                self.put_in_line(&mut state, &job);
            }
        }
        self.let_run(&mut state);
    }

    /// Whether a job is told of by this index: a reindexing leaves copies elsewhere.
    fn is_home(&self, index: &Index, job: &Job) -> bool {
        self.index_of(&job.index) == index.name()
    }

    /// The index that a name stands for now.
    fn index_of(&self, name: &str) -> String {
        let aliases = self.catalog.aliases();
        aliases.get(name).cloned().unwrap_or_else(|| name.into())
    }

    /// Whether a job's rejects are in the file that the server has for them. Whatever else its
    /// record names was named by the one who ran a command, and may have become another file.
    fn keeps_rejects(&self, job: &Job) -> bool {
        job.rejects == rejects_in(&self.rejects, &job.id)
    }

    fn find(&self, id: &str) -> Result<(Arc<Index>, Job, JobAt)> {
        for index in self.catalog.open_indexes() {
            if let Some((job, at)) = record::read(&index, id)?
                && self.is_home(&index, &job)
            {
                return Ok((index, job, at));
            }
        }
        Err(not_found(id).into())
    }

    fn told(&self, state: &State, job: &Job, at: &JobAt) -> JobReport {
        let live = state.running.get(&job.id);
        let live = live.map(|under| under.progress.lock().counters.clone());
        let mut report = tell(job, at, live.as_deref());
        if live.is_some() && job.state == JobState::Queued {
            // Its turn has come, and is not noted yet.
            report.state = JobState::Running;
        }
        report.rejects = report.rejects.filter(|_| self.keeps_rejects(job));
        if live.is_none() && matches!(job.state, JobState::Queued | JobState::Running) {
            let waits = state.waiting.iter().any(|waiting| waiting.id == job.id);
            // Nobody will run what neither runs nor waits: it was left by another process.
            report.interrupted = !waits;
            report.state = match waits {
                true => JobState::Queued,
                false => JobState::Paused,
            };
        }
        report
    }

    fn put_in_line(&self, state: &mut State, job: &Job) {
        state.waiting.push_back(Waiting {
            id: job.id.clone(),
            name: job.index.clone(),
            index: self.index_of(&job.index),
        });
    }

    /// Starts the jobs whose turn it is.
    fn let_run(self: &Arc<Self>, state: &mut State) {
        while state.running.len() < self.settings.jobs && !state.stopping {
            let is_free = |waiting: &Waiting| {
                let mut running = state.running.values();
                running.all(|under| under.index != waiting.index)
            };
            let Some(next) = state.waiting.iter().position(is_free) else {
                return;
            };
            let Some(waiting) = state.waiting.remove(next) else {
                return;
            };
            let control = Arc::new(Control::default());
            let progress = Arc::new(Mutex::new(Live::of(Arc::new(Progress::new()))));
            let under = Under {
                index: waiting.index.clone(),
                control: control.clone(),
                progress: progress.clone(),
            };
            let inner = self.clone();
            let id = waiting.id.clone();
            let spawned = std::thread::Builder::new()
                .name("job".into())
                .spawn(move || inner.work(&waiting, &control, &progress));
            match spawned {
                Ok(thread) => {
                    state.threads.retain(|thread| !thread.is_finished());
                    state.threads.push(thread);
                    state.running.insert(id, under);
                }
                // It is in the index's store still, and waits for the next server.
                Err(error) => error!(job = id, %error, "a job cannot be started"),
            }
        }
    }

    fn work(self: Arc<Self>, waiting: &Waiting, control: &Control, progress: &Mutex<Live>) {
        let Waiting { id, name, .. } = waiting;
        let permitted = |inputs: &[Input]| {
            let mut inputs = inputs.iter();
            inputs.try_for_each(|input| self.sources.check(input))
        };
        let rejects = rejects_in(&self.rejects, id);
        // Where it cannot be made, the first reject says so.
        let _ = std::fs::create_dir_all(&self.rejects);
        let within = self.sources.folders();
        let work = || {
            self.catalog.write(name, |index, still| {
                let running = Running {
                    settings: &self.settings,
                    control,
                    still,
                    progress: &|counters| *progress.lock() = Live::of(counters),
                    permitted: &permitted,
                    rejects: Some(&rejects),
                    within: Some(&within),
                };
                run(index, id, running)
            })
        };
        let left = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(report)) => {
                info!(
                    job = id,
                    index = name,
                    state = report.state.as_str(),
                    loaded = report.summary.loaded,
                    unchanged = report.summary.unchanged,
                    rejected = report.summary.rejected,
                    seconds = report.summary.seconds,
                    "a job has stopped"
                );
                report.state
            }
            Ok(Err(error)) => {
                error!(job = id, index = name, %error, "a job broke off");
                JobState::Failed
            }
            Err(_) => {
                error!(job = id, index = name, "a job panicked");
                JobState::Failed
            }
        };
        let mut state = self.state.lock();
        *state.stopped.entry(left).or_default() += 1;
        if let Some(under) = state.running.remove(id) {
            state.rows.add(&under.progress.lock());
        }
        self.let_run(&mut state);
        drop(state);
        self.changed.notify_all();
    }
}

/// Whether an earlier server left a job to be gone on with.
fn is_left(job: &Job) -> bool {
    job.owner == JobOwner::Server && matches!(job.state, JobState::Queued | JobState::Running)
}
