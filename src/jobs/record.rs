//! What is kept of a job, and the states it can be in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem, Result};
use crate::index::{Index, Still};
use crate::ingest::{Input, Place, Progress, SourceOptions, Summary, lines_of};

/// Jobs of an index that have ended and are remembered.
const REMEMBERED: usize = 100;
/// Inputs that a job may have: their list is held in memory, and kept in the index.
pub(super) const MOST_INPUTS: usize = 100_000;
/// `ID/at` is how far the job `ID` is.
const AT: &str = "/at";
/// `~inputs/ID` is what it reads: long, and so apart from what is read to tell of jobs.
const INPUTS: &str = "~inputs/";
/// Rows before which a share of rejects says nothing yet.
const ROWS_FOR_A_SHARE: u64 = 1_000;

/// What a job is doing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It loads.
    Running,
    /// It was halted, or the process that ran it has ended, and it can be resumed.
    Paused,
    /// It was called off. What it loaded stays.
    Cancelled,
    /// Something ended it; the error says what. What it loaded stays.
    Failed,
    /// Every row was taken up.
    Done,
}

/// What can be asked of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobAction {
    /// To halt.
    Pause,
    /// To go on after a pause.
    Resume,
    /// To end.
    Cancel,
    /// To go on, behind what it has done, after a failure or after it was called off.
    Retry,
}

impl JobState {
    /// The state after an action; None where it makes no sense. Asking twice does no harm.
    pub fn after(self, action: JobAction) -> Option<JobState> {
        use JobAction::{Cancel, Pause, Resume, Retry};
        use JobState::{Cancelled, Failed, Paused, Queued, Running};
        Some(match (action, self) {
            (Pause, Queued | Running | Paused) => Paused,
            (Resume, Paused) => Queued,
            (Resume, Queued | Running) => self,
            (Cancel, Queued | Running | Paused | Cancelled) => Cancelled,
            (Retry, Failed | Cancelled) => Queued,
            _ => return None,
        })
    }

    /// Whether nothing more comes of it by itself, or by resuming it.
    pub fn has_ended(self) -> bool {
        matches!(
            self,
            JobState::Cancelled | JobState::Failed | JobState::Done
        )
    }

    /// The spelling on the wire and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Paused => "paused",
            JobState::Cancelled => "cancelled",
            JobState::Failed => "failed",
            JobState::Done => "done",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl JobAction {
    /// The spelling on the wire and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            JobAction::Pause => "pause",
            JobAction::Resume => "resume",
            JobAction::Cancel => "cancel",
            JobAction::Retry => "retry",
        }
    }
}

/// Rejected rows past which a job fails: a number, or a share of the rows read, `"2%"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MaxRejects {
    /// So many.
    Rows(u64),
    /// A share, in percent, with its sign; looked at from the thousandth row on, and at the end.
    Share(String),
}

impl MaxRejects {
    /// Whether there are too many; `ended` where all rows were read.
    pub(super) fn is_passed(&self, rejected: u64, rows: u64, ended: bool) -> bool {
        match self {
            MaxRejects::Rows(most) => rejected > *most,
            MaxRejects::Share(text) => {
                let most = percent(text).unwrap_or(100.0);
                (ended || rows >= ROWS_FOR_A_SHARE) && rejected as f64 * 100.0 > most * rows as f64
            }
        }
    }

    /// # Errors
    /// `invalid_configuration` for a share that is none.
    pub fn check(&self) -> Result<(), Problem> {
        match self {
            MaxRejects::Share(text) if percent(text).is_none() => Err(Problem::new(
                Code::InvalidConfiguration,
                "this is no limit on rejects",
            )
            .field("max_rejects")
            .found(text)
            .expected("a number of rows, or a share such as 2%")),
            _ => Ok(()),
        }
    }
}

fn percent(text: &str) -> Option<f64> {
    let share: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    (0.0..=100.0).contains(&share).then_some(share)
}

impl FromStr for MaxRejects {
    type Err = Error;

    fn from_str(text: &str) -> Result<MaxRejects, Error> {
        let most = match text.trim().parse() {
            Ok(rows) => MaxRejects::Rows(rows),
            Err(_) => MaxRejects::Share(text.to_string()),
        };
        most.check()?;
        Ok(most)
    }
}

impl fmt::Display for MaxRejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxRejects::Rows(rows) => write!(f, "{rows} rows"),
            MaxRejects::Share(share) => write!(f, "{share} of the rows"),
        }
    }
}

/// Who runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobOwner {
    /// A command, in its own process.
    Command,
    /// The server, which goes on with it when it is started again.
    Server,
}

/// How a job reads its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobOptions {
    /// Format and mapping.
    pub source: SourceOptions,
    /// Rejects past which it fails.
    pub max_rejects: Option<MaxRejects>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobError {
    /// Stable and machine-readable: a code of a caller's problem, `operator_error`,
    /// `storage_full` or `internal`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// The field, column or parameter concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What would have been accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

impl From<&Error> for JobError {
    fn from(error: &Error) -> JobError {
        let plain = |code: &str| JobError {
            code: code.into(),
            message: error.to_string(),
            field: None,
            found: None,
            expected: None,
        };
        match error {
            Error::User(problem) => JobError {
                code: problem.code.as_str().into(),
                message: problem.message.clone(),
                field: problem.field.clone(),
                found: problem.found.clone(),
                expected: problem.expected.clone(),
            },
            Error::Operator(fault) if fault.storage_full => plain("storage_full"),
            Error::Operator(_) => plain("operator_error"),
            Error::Bug(_) => plain("internal"),
        }
    }
}

impl From<JobError> for Error {
    fn from(error: JobError) -> Error {
        let code = serde_json::from_value::<Code>(serde_json::Value::from(error.code.as_str()));
        match (code, error.code.as_str()) {
            (Ok(code), _) => Error::User(Box::new(Problem {
                code,
                message: error.message,
                field: error.field,
                found: error.found,
                expected: error.expected,
            })),
            (_, "internal") => Error::Bug(error.message),
            (_, code) => Error::operator(error.message).storage_full(code == "storage_full"),
        }
    }
}

/// A job, apart from how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Names it among all jobs.
    pub id: String,
    /// The index it loads into, by the name or alias that was asked for.
    pub index: String,
    /// How many files and objects it reads.
    pub inputs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How it reads them.
    pub options: JobOptions,
    /// The folder that names in its rejects are relative to.
    pub folder: Option<PathBuf>,
    /// Where its rejects go.
    pub rejects: PathBuf,
    /// Who runs it.
    pub owner: JobOwner,
    /// What it is doing, as far as the one knows who wrote this.
    pub state: JobState,
    /// The index that it is a job of, by [`Index::identity`]: the copy in an index that was
    /// restored or attached is nobody's. Its paths are those of another machine, perhaps, and
    /// whoever wrote it is not to name files of this one. A reindexing writes the new index's
    /// here, by this name.
    identity: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When it began to load first.
    pub started: Option<DateTime<Utc>>,
    /// When it ended last.
    pub ended: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<JobError>,
}

/// How far a job is, in one batch of the store with what it has written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct JobAt {
    /// The place behind the last row that was taken up.
    pub place: Place,
    /// What came of the rows before, and the time that took.
    pub summary: Summary,
    /// Bytes of the file of rejects that belong to those rows.
    pub rejects_bytes: u64,
    /// When it was noted.
    pub updated: DateTime<Utc>,
}

/// A job as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobReport {
    /// Names it among all jobs.
    pub id: String,
    /// The index it loads into, as it was asked for.
    pub index: String,
    /// What it is doing.
    pub state: JobState,
    /// The process that ran it ended in the middle; it goes on where it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Who runs it.
    pub owner: JobOwner,
    /// What came of its rows so far, and how fast.
    #[serde(flatten)]
    pub summary: Summary,
    /// Inputs it has.
    pub inputs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds left, about, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// How far it is for good: the place behind the last row that is durable.
    pub place: Place,
    /// When it was made, in UTC.
    pub created: DateTime<Utc>,
    /// When it began to load first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    /// When something was durable last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The file with the rows that did not fit, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<PathBuf>,
}

/// Tells of a job; with its counters where this process runs it.
pub(super) fn tell(job: &Job, at: &JobAt, live: Option<&Progress>) -> JobReport {
    let interrupted = job.state == JobState::Running && live.is_none();
    JobReport {
        id: job.id.clone(),
        index: job.index.clone(),
        state: match interrupted {
            true => JobState::Paused,
            false => job.state,
        },
        interrupted,
        owner: job.owner,
        // One that has just been started does not know yet how far it is.
        summary: live
            .map(Progress::summary)
            .filter(|live| live.rows >= at.summary.rows)
            .unwrap_or_else(|| at.summary.clone()),
        inputs: job.inputs,
        bytes: job.bytes,
        seconds_left: live.and_then(Progress::seconds_left),
        place: at.place,
        created: job.created,
        started: job.started,
        updated: (at.updated > DateTime::UNIX_EPOCH).then_some(at.updated),
        ended: job.ended,
        error: job.error.clone(),
        rejects: (at.rejects_bytes > 0).then(|| rejects_there(job)),
    }
}

/// The file of a job's rejects that is there: the lines, until it is done.
pub(super) fn rejects_there(job: &Job) -> PathBuf {
    match job.state {
        JobState::Done => job.rejects.clone(),
        _ => lines_of(&job.rejects),
    }
}

/// The file of the rejects of a server's job, in the folder for them.
pub(super) fn rejects_in(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.jsonl"))
}

/// What a new job is made of.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The index, by name or alias.
    pub index: String,
    /// What it reads, in this order.
    pub inputs: Vec<Input>,
    /// How.
    pub options: JobOptions,
    /// The folder that names in its rejects are relative to.
    pub folder: Option<PathBuf>,
    /// Where its rejects go. Another name beside it is taken where an unfinished job of the
    /// index has the same. For the server's jobs the folder, in which each has a file by its id.
    pub rejects: PathBuf,
    /// Who runs it.
    pub owner: JobOwner,
}

/// Makes a job, queued, and forgets those that ended long ago.
///
/// # Errors
/// `invalid_configuration` for a limit that is none; `invalid_request` for too many inputs; an
/// operator's error of the disk.
pub fn create(index: &Index, new: NewJob, still: Still<'_>) -> Result<Job> {
    index.check_writable()?;
    if let Some(most) = &new.options.max_rejects {
        most.check()?;
    }
    check_number(&new.inputs)?;
    let id = uuid::Uuid::new_v4().simple().to_string()[..16].to_string();
    let others = read_all(index)?;
    let is_taken = |(job, _): &(Job, JobAt)| {
        lines_of(&job.rejects) == lines_of(&new.rejects) && job.state != JobState::Done
    };
    let rejects = match new.owner {
        JobOwner::Server => rejects_in(&new.rejects, &id),
        JobOwner::Command if others.iter().any(is_taken) => beside(&new.rejects, &id),
        JobOwner::Command => new.rejects,
    };
    let job = Job {
        id,
        index: new.index,
        inputs: new.inputs.len() as u64,
        bytes: new.inputs.iter().map(Input::bytes).sum(),
        options: new.options,
        folder: new.folder,
        rejects,
        owner: new.owner,
        state: JobState::Queued,
        identity: index.identity()?,
        created: Utc::now(),
        started: None,
        ended: None,
        error: None,
    };
    let notes = vec![
        (format!("{INPUTS}{}", job.id), to_bytes(&new.inputs)?),
        (job.id.clone(), to_bytes(&job)?),
    ];
    index.change_noting(&[], still, &|_| Ok(notes.clone()))?;
    index.sync()?;
    let mut ended: Vec<&Job> = others
        .iter()
        .map(|(job, _)| job)
        .filter(|job| job.state.has_ended())
        .collect();
    ended.sort_by_key(|job| std::cmp::Reverse(job.ended));
    forget(index, ended.get(REMEMBERED - 1..).unwrap_or_default())?;
    Ok(job)
}

/// # Errors
/// `invalid_request` for more inputs than a job may have.
pub(super) fn check_number(inputs: &[Input]) -> Result<(), Problem> {
    if inputs.len() <= MOST_INPUTS {
        return Ok(());
    }
    Err(
        Problem::new(Code::InvalidRequest, "a job cannot read so many files")
            .field("inputs")
            .found(inputs.len())
            .expected(format!(
                "at most {MOST_INPUTS} in one job; several jobs, or larger files"
            )),
    )
}

/// Forgets jobs, and removes the files of rejects that are theirs by their ids.
fn forget(index: &Index, jobs: &[&Job]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let names = jobs.iter().flat_map(|job| {
        let id = &job.id;
        [id.clone(), format!("{id}{AT}"), format!("{INPUTS}{id}")]
    });
    index.forget_job_notes(&names.collect::<Vec<String>>())?;
    for job in jobs {
        let own = job
            .rejects
            .parent()
            .map(|folder| rejects_in(folder, &job.id));
        if own.is_some_and(|own| own == job.rejects)
            && let Err(error) = std::fs::remove_file(&job.rejects)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(job = job.id, %error, "the rejects of an old job cannot be removed");
        }
    }
    Ok(())
}

/// `notes-rejects.jsonl` as `notes-rejects-ID.jsonl`.
fn beside(path: &Path, id: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|ending| ending.to_string_lossy());
    let name = match ending {
        Some(ending) => format!("{stem}-{id}.{ending}"),
        None => format!("{stem}-{id}"),
    };
    path.with_file_name(name)
}

/// An unfinished job of the same inputs, in the same state, read in the same way.
///
/// # Errors
/// An operator's error of the disk.
pub fn unfinished_twin(
    index: &Index,
    name: &str,
    inputs: &[Input],
    source: &SourceOptions,
) -> Result<Option<Job>> {
    let mut twins: Vec<Job> = read_all(index)?
        .into_iter()
        .map(|(job, _)| job)
        .filter(|job| {
            job.index == name
                && job.inputs == inputs.len() as u64
                && job.options.source == *source
                && !matches!(job.state, JobState::Done | JobState::Cancelled)
        })
        .collect();
    twins.sort_by_key(|job| std::cmp::Reverse(job.created));
    for twin in twins {
        if inputs_of(index, &twin.id)? == inputs {
            return Ok(Some(twin));
        }
    }
    Ok(None)
}

/// A job of an index, by its id or by the beginning of it.
///
/// # Errors
/// `job_not_found`.
pub fn find(index: &Index, id: &str) -> Result<Job> {
    let mut found: Vec<Job> = read_all(index)?
        .into_iter()
        .map(|(job, _)| job)
        .filter(|job| !id.is_empty() && job.id.starts_with(id))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(job), true) => Ok(job),
        (Some(_), false) => Err(not_found(id)
            .expected("more letters of its id: several begin so")
            .into()),
        (None, _) => Err(not_found(id).into()),
    }
}

pub(crate) fn not_found(id: &str) -> Problem {
    Problem::new(Code::JobNotFound, "there is no such job")
        .field("id")
        .found(id)
        .expected("a job of one of the indexes, among the last hundred of each that ended")
}

/// The jobs of an index that this process does not run, the latest first.
///
/// # Errors
/// An operator's error of the disk.
pub fn reports(index: &Index) -> Result<Vec<JobReport>> {
    let all = read_all(index)?;
    let mut all: Vec<JobReport> = all.iter().map(|(job, at)| tell(job, at, None)).collect();
    all.sort_by_key(|job| std::cmp::Reverse(job.created));
    Ok(all)
}

/// One of them.
///
/// # Errors
/// `job_not_found`.
pub fn report(index: &Index, id: &str) -> Result<JobReport> {
    let (job, at) = read(index, id)?.ok_or_else(|| not_found(id))?;
    Ok(tell(&job, &at, None))
}

/// Does what is asked to a job that nobody runs, durably. It is `owner` who runs it from then on.
///
/// # Errors
/// `job_not_found`; `job_state` where its state does not allow it.
pub fn act(
    index: &Index,
    id: &str,
    action: JobAction,
    owner: JobOwner,
    max_rejects: Option<MaxRejects>,
    still: Still<'_>,
) -> Result<Job> {
    let (mut job, _) = read(index, id)?.ok_or_else(|| not_found(id))?;
    // What ran it has ended.
    if job.state == JobState::Running {
        job.state = JobState::Paused;
    }
    job.state = after(&job, job.state, action)?;
    if let Some(most) = max_rejects {
        most.check()?;
        job.options.max_rejects = Some(most);
    }
    match job.state {
        JobState::Cancelled => job.ended = job.ended.or(Some(Utc::now())),
        _ => {
            job.ended = None;
            job.error = None;
            job.owner = owner;
        }
    }
    save(index, &job, None, still)?;
    Ok(job)
}

/// The state of a job after an action.
pub(super) fn after(job: &Job, state: JobState, action: JobAction) -> Result<JobState, Problem> {
    state.after(action).ok_or_else(|| {
        Problem::new(
            Code::JobState,
            format!(
                "a job that is {state} cannot be asked to {}",
                action.as_str()
            ),
        )
        .field("id")
        .found(format!("job {}: {state}", job.id))
        .expected(match action {
            JobAction::Pause => "a job that is queued or running",
            JobAction::Resume => {
                "a job that is paused; retry goes on with one that failed or was cancelled"
            }
            JobAction::Cancel => "a job that is queued, running or paused",
            JobAction::Retry => "a job that failed or was cancelled",
        })
    })
}

/// Keeps a job, and how far it is, durably.
pub(super) fn save(index: &Index, job: &Job, at: Option<&JobAt>, still: Still<'_>) -> Result<()> {
    let mut notes = vec![(job.id.clone(), to_bytes(job)?)];
    if let Some(at) = at {
        notes.push(note_of(job, at)?);
    }
    index.change_noting(&[], still, &|_| Ok(notes.clone()))?;
    index.sync()
}

/// How far a job is, as it is noted.
pub(super) fn note_of(job: &Job, at: &JobAt) -> Result<(String, Vec<u8>)> {
    Ok((format!("{}{AT}", job.id), to_bytes(at)?))
}

fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Bug(format!("a job does not serialise: {e}")))
}

/// A job and how far it is; None where there is none of that id.
pub(super) fn read(index: &Index, id: &str) -> Result<Option<(Job, JobAt)>> {
    let mut jobs = read_from(index, id)?.into_iter();
    Ok(jobs.find(|(job, _)| job.id == id))
}

/// All jobs of an index.
pub(super) fn read_all(index: &Index) -> Result<Vec<(Job, JobAt)>> {
    read_from(index, "")
}

/// The jobs whose ids begin so, but for those that came along with a snapshot of another index.
fn read_from(index: &Index, beginning: &str) -> Result<Vec<(Job, JobAt)>> {
    let identity = index.identity()?;
    let mut jobs = of_notes(index.job_notes(beginning)?);
    jobs.retain(|(job, _)| job.identity == identity);
    Ok(jobs)
}

/// What a job reads, in this order.
pub(super) fn inputs_of(index: &Index, id: &str) -> Result<Vec<Input>> {
    let name = format!("{INPUTS}{id}");
    let mut notes = index.job_notes(&name)?.into_iter();
    let note = notes.find(|(found, _)| *found == name);
    let (_, inputs) =
        note.ok_or_else(|| Error::Bug(format!("job {id} does not know its inputs")))?;
    serde_json::from_slice(&inputs)
        .map_err(|e| Error::operator_from("what a job is to read cannot be read", e))
}

/// What was written by another version of this program, and cannot be read, is left out.
fn of_notes(notes: Vec<(String, Vec<u8>)>) -> Vec<(Job, JobAt)> {
    let mut jobs: Vec<(Job, JobAt)> = Vec::new();
    // In the order of their names `ID/at` comes right behind `ID`.
    for (name, value) in notes {
        match name.strip_suffix(AT) {
            None => match serde_json::from_slice::<Job>(&value) {
                Ok(job) => jobs.push((job, JobAt::default())),
                Err(error) => tracing::warn!(job = name, %error, "a job cannot be read"),
            },
            Some(id) => {
                if let Some((_, at)) = jobs.last_mut().filter(|(job, _)| job.id == id)
                    && let Ok(read) = serde_json::from_slice(&value)
                {
                    *at = read;
                }
            }
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_looked_at_once_there_are_rows() {
        let most: MaxRejects = "2%".parse().unwrap();
        assert!(!most.is_passed(100, 100, false));
        assert!(most.is_passed(100, 100, true));
        assert!(!most.is_passed(20, 1_000, false));
        assert!(most.is_passed(21, 1_000, false));
        let most: MaxRejects = "0".parse().unwrap();
        assert!(most.is_passed(1, 1, false) && !most.is_passed(0, 1, true));
        for wrong in ["", "x", "-1", "2 percent", "101%", "nan%"] {
            assert!(wrong.parse::<MaxRejects>().is_err(), "{wrong}");
        }
        for text in ["5", "\"5%\""] {
            let most: MaxRejects = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&most).unwrap(), text);
        }
    }

    #[test]
    fn other_names_are_beside() {
        assert_eq!(
            beside(Path::new("/x/a-rejects.jsonl"), "7"),
            Path::new("/x/a-rejects-7.jsonl")
        );
        assert_eq!(beside(Path::new("a"), "7"), Path::new("a-7"));
    }
}
