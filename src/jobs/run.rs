//! Running a job: from where it was, to its end or until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;

use super::record::{
    Job, JobAt, JobError, JobReport, JobState, inputs_of, note_of, read, rejects_there, save, tell,
};
use super::rejects::RejectsFile;
use crate::config::Ingest;
use crate::error::{Code, Error, Problem, Result};
use crate::index::{Change, Changed, IfVersion, Index, Still};
use crate::ingest::{
    End, Flow, Input, InputRows, Place, Position, Progress, RowOrigin, SourceOptions, Summary,
    Tally, check_inputs, settle,
};

/// What is wished of a job while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it goes on.
    None,
    /// That it halts.
    Pause,
    /// That it ends.
    Cancel,
    /// That it stops for now, because its process ends.
    Leave,
}

/// What a job that runs is told; shared with whoever tells it.
#[derive(Debug, Default)]
pub struct Control {
    wish: AtomicU8,
    stop: AtomicBool,
}

impl Control {
    /// Tells it; the last wish counts, but that its process ends takes back no other.
    pub fn tell(&self, wish: Wish) {
        let _ = self
            .wish
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
                (wish != Wish::Leave || now == Wish::None as u8).then_some(wish as u8)
            });
        self.stop.store(true, Ordering::SeqCst);
    }

    /// What was told.
    pub fn wish(&self) -> Wish {
        match self.wish.load(Ordering::SeqCst) {
            x if x == Wish::Pause as u8 => Wish::Pause,
            x if x == Wish::Cancel as u8 => Wish::Cancel,
            x if x == Wish::Leave as u8 => Wish::Leave,
            _ => Wish::None,
        }
    }
}

/// What a job runs with.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    /// Batches, queues, memory.
    pub settings: &'a Ingest,
    /// What it is told meanwhile.
    pub control: &'a Control,
    /// Whether its name still stands for the index.
    pub still: Still<'a>,
    /// Called with the counters that are kept from then on.
    pub progress: &'a dyn Fn(Arc<Progress>),
    /// Whether it may read what it is to read.
    pub permitted: &'a dyn Fn(&[Input]) -> Result<(), Problem>,
    /// Where its rejects go, whatever its record says; what it rejected before stays where
    /// it was.
    pub rejects: Option<&'a Path>,
    /// Folders in which the files have to lie that are opened; None for any place.
    pub within: Option<&'a [PathBuf]>,
}

/// Runs a job of an index from where it was, and makes what it loaded visible. What comes of
/// it is in the report: `done`, `failed`, `paused` or `cancelled`; or `running`, where its
/// process was to end and it is to go on by itself when there is another.
///
/// # Errors
/// `job_not_found`; `job_state` where it is not to run, or not any more: what is asked of a job
/// that nobody runs is in its record; `alias_moved` where `still` does not hold any more: the job is in the index
/// that the alias stands for now, and goes on there. Operator's errors of the disk where the
/// job's record cannot be written; then it goes on later from where it was.
pub fn run(index: &Index, id: &str, running: Running<'_>) -> Result<JobReport> {
    let Running { control, still, .. } = running;
    let (mut job, mut at) = read(index, id)?.ok_or_else(|| super::record::not_found(id))?;
    if !matches!(job.state, JobState::Queued | JobState::Running) {
        return Err(Problem::new(
            Code::JobState,
            format!("a job that is {} is not run", job.state),
        )
        .field("id")
        .found(format!("job {id}: {}", job.state))
        .expected("one that is queued, as it is when it was resumed")
        .into());
    }
    let elsewhere = running.rejects.filter(|path| *path != job.rejects);
    if let Some(path) = elsewhere {
        job.rejects = path.into();
        at.rejects_bytes = 0;
    }
    let counters = Arc::new(Progress::going_on(&at.summary));
    (running.progress)(counters.clone());
    job.state = JobState::Running;
    job.started = job.started.or(Some(Utc::now()));
    job.ended = None;
    job.error = None;
    save(index, &job, elsewhere.map(|_| &at), still)?;

    let outcome = load(index, &job, &mut at, running, &counters);
    let (state, error) = match outcome {
        Err(Error::User(problem)) if problem.code == Code::AliasMoved => {
            return Err(Error::User(problem));
        }
        Err(error) => (JobState::Failed, Some(error)),
        Ok(End::Finished) => (JobState::Done, None),
        Ok(End::Stopped) => match (control.wish(), job.owner) {
            (Wish::Cancel, _) => (JobState::Cancelled, None),
            (Wish::Leave, super::JobOwner::Server) => (JobState::Running, None),
            _ => (JobState::Paused, None),
        },
    };
    // What was loaded is durable, and is made visible whatever came after it.
    let refreshed = index.refresh();
    job.state = state;
    job.error = error.as_ref().map(JobError::from);
    if state.has_ended() {
        job.ended = Some(Utc::now());
    }
    save(index, &job, Some(&at), still)?;
    if let (Some(error), JobState::Failed) = (&error, state) {
        tracing::warn!(job = job.id, index = job.index, %error, "a job failed");
    }
    refreshed?;
    let mut report = tell(&job, &at, None);
    report.state = state;
    report.interrupted = false;
    Ok(report)
}

/// What a batch stands for, beside its documents.
#[derive(Default)]
struct Mark {
    /// The place behind its last row.
    place: Place,
    rows: u64,
    rejected: u64,
    /// Lines for the file of rejects.
    rejects: Vec<u8>,
}

fn load(
    index: &Index,
    job: &Job,
    at: &mut JobAt,
    running: Running<'_>,
    progress: &Progress,
) -> Result<End> {
    let still = running.still;
    let inputs = inputs_of(index, &job.id)?;
    (running.permitted)(&inputs)?;
    let source = SourceOptions {
        within: running.within.map(<[PathBuf]>::to_vec),
        ..job.options.source.clone()
    };
    check_inputs(index, &inputs, at.place, &source, &running.control.stop)?;
    let mut rejects = RejectsFile::open(&job.rejects, at.rejects_bytes)?;
    let most = job.options.max_rejects.as_ref();
    let rows = InputRows::new(index, &inputs, &source, at.place, progress);
    let (mut seen, mut rejected) = (at.summary.rows, at.summary.rejected);
    let too_many = |rejected: u64, rows: u64, ended: bool| match most {
        Some(most) if most.is_passed(rejected, rows, ended) => Err(Problem::new(
            Code::TooManyRejects,
            "more rows were rejected than the job allows; what fitted is loaded",
        )
        .field("max_rejects")
        .found(format!("{rejected} of {rows} rows"))
        .expected(format!(
            "at most {most}; see {} for the reasons",
            rejects_there(job).display()
        ))),
        _ => Ok(()),
    };
    too_many(rejected, seen, false)?;
    let folder = job.folder.as_deref();
    let note = |mark: &mut Mark, origin: RowOrigin, problem: Option<Problem>| {
        mark.place = origin.behind;
        mark.rows += origin.rows;
        seen += origin.rows;
        let Some(problem) = problem else {
            return Ok(0);
        };
        let before = mark.rejects.len();
        let reject = origin.reject(&inputs, folder, &problem);
        serde_json::to_writer(&mut mark.rejects, &reject)
            .map_err(|error| Error::Bug(format!("a reject that is not JSON: {error}")))?;
        mark.rejects.push(b'\n');
        mark.rejected += origin.rows;
        rejected += origin.rows;
        too_many(rejected, seen, false)?;
        Ok(mark.rejects.len() - before)
    };
    let clock = Clock::from(&at.summary);
    let write = |changes: &[(Change<'_>, IfVersion)], tally: &Tally, mark: Mark| {
        let rejects_bytes = rejects.add(&mark.rejects)?;
        let next = |changed: &[Changed]| {
            let tally = tally.with(changed);
            let mut summary = at.summary.clone();
            summary.files = mark.place.input;
            summary.rows += mark.rows;
            summary.rejected += mark.rejected;
            summary.loaded += tally.loaded;
            summary.replaced += tally.replaced;
            summary.unchanged += tally.unchanged;
            summary.deleted += tally.deleted;
            summary.passages += tally.passages;
            summary.tokens += tally.tokens;
            summary.truncated += tally.truncated;
            summary.take(clock.time());
            JobAt {
                place: mark.place,
                summary,
                rejects_bytes,
                updated: Utc::now(),
            }
        };
        let changed = index.change_noting(changes, still, &|changed| {
            Ok(vec![note_of(job, &next(changed))?])
        })?;
        *at = next(&changed);
        Ok(changed)
    };
    let flow = Flow {
        index,
        settings: running.settings,
        progress,
        stop: &running.control.stop,
    };
    let end = flow.run(rows, note, write)?;
    at.summary.take(clock.time());
    at.updated = Utc::now();
    if end == End::Finished {
        at.place = Place {
            input: inputs.len() as u64,
            position: Position::default(),
        };
        at.summary.files = at.place.input;
        too_many(at.summary.rejected, at.summary.rows, true)?;
        if at.rejects_bytes > 0 {
            settle(&job.rejects)?;
        }
    }
    Ok(end)
}

/// Time that a job takes, over all the processes that ran it.
struct Clock {
    before: Duration,
    started: Instant,
}

impl Clock {
    fn from(so_far: &Summary) -> Clock {
        Clock {
            before: Duration::try_from_secs_f64(so_far.seconds).unwrap_or_default(),
            started: Instant::now(),
        }
    }

    fn time(&self) -> Duration {
        self.before + self.started.elapsed()
    }
}
