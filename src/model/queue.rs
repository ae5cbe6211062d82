//! The texts that wait for a model, and its sessions.
//!
//! Whoever wants texts encoded does the work: it takes a session as soon as one is free and
//! runs the batch whose turn it is, its own or another's, until nothing of its own waits any
//! more. So a lone query is encoded by its own thread at once, and every session is in use
//! while anything waits. A batch takes texts of one length from all who wait, up to the
//! budget in tokens: concurrent queries share one. Until then it keeps the session from batch to
//! batch, however many wait: what a session works on stays in the cache of one core.
//!
//! *Order.* Queries go before documents, so that a query waits for no more than the batches
//! that are running when it comes; while queries come, batches of documents are half as
//! large, which costs next to nothing of their rate. Within a lane those who wait take turns, batch by batch:
//! a large load does not shut a small one out.
//!
//! *Leaving.* Texts whose caller has left are dropped when it would be their turn.
//!
//! *Deadlines.* A call with a deadline is begun in the order of its texts; what nobody runs
//! yet when it comes is left out, and the call ends with what is running.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::batch::{self, Batch};
use super::request::{Cancellation, Task};
use super::tokenizer::Tokenized;
use crate::error::{Code, Error, Problem, Result};

/// How long after a query another is expected.
const SOON: Duration = Duration::from_secs(1);

/// What a model has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches run.
    pub batches: u64,
    /// Texts (or windows of texts) in them.
    pub texts: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Texts whose caller left, or whose time was up, before their turn came.
    pub abandoned: u64,
}

/// What a model does and what waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct QueueFigures {
    /// What it has done since it was opened.
    pub counts: Counts,
    /// Queries that wait for a session.
    pub queries: u64,
    /// Documents, or pairs, that do.
    pub documents: u64,
    /// Sessions that were made.
    pub sessions: u64,
    /// Sessions that run a batch now.
    pub busy_sessions: u64,
    /// Sessions that there may be.
    pub most_sessions: u64,
    /// Tokens that a batch may have; one text that is longer may have more.
    pub batch_tokens: u64,
    /// Seconds that all sessions together have run batches.
    pub busy_seconds: f64,
}

/// How a call waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    /// Refused, where as many texts wait as may.
    pub refuse: bool,
    /// Tells that the caller has left.
    pub cancellation: Cancellation,
    /// When what has not begun is left out.
    pub deadline: Option<Instant>,
}

#[derive(Default)]
struct Counters {
    batches: AtomicU64,
    texts: AtomicU64,
    tokens: AtomicU64,
    abandoned: AtomicU64,
    /// Nanoseconds that sessions ran, each counted.
    busy: AtomicU64,
}

/// Makes and runs sessions; what a queue hands batches to.
pub(crate) trait Runner: Send + Sync {
    /// A session, which one thread at a time uses.
    type Session: Send;

    /// Makes another session.
    fn open(&self) -> Result<Self::Session>;

    /// Vectors of a batch's rows, one after the other.
    fn run(&self, session: &mut Self::Session, batch: &Batch) -> Result<Vec<f32>>;
}

/// How much is run and may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Sessions, at most.
    pub sessions: usize,
    /// Tokens of a batch, at most, but for a single text that is longer.
    pub batch_tokens: usize,
    /// Texts that wait in each lane, at most, where callers ask to be refused.
    pub waiting: usize,
    /// Id that fills up rows; nothing is filled up where lengths are alike.
    pub pad: u32,
}

/// The sessions of a model and who waits for them.
pub(crate) struct Queue<R: Runner> {
    runner: R,
    bounds: Bounds,
    state: Mutex<State<R::Session>>,
    counters: Counters,
}

struct State<S> {
    /// Made when they are first needed: a process that encodes one query at a time holds
    /// the weights once.
    idle: Vec<S>,
    /// Sessions that exist or are being made.
    made: usize,
    queries: Lane,
    documents: Lane,
    /// When the last query came.
    asked: Option<Instant>,
}

/// Jobs with texts that nobody runs yet, whose turn is next first.
#[derive(Default)]
struct Lane {
    jobs: VecDeque<Arc<Job>>,
    texts: usize,
}

/// The texts of one call.
struct Job {
    texts: Vec<Tokenized>,
    /// Tokens of a batch, so that every session gets work.
    budget: usize,
    submitted: Instant,
    cancellation: Cancellation,
    deadline: Option<Instant>,
    /// Waited on with the queue's state.
    wake: Condvar,
    /// Threads that wait; changed while the queue's state is locked.
    asleep: AtomicUsize,
    /// Locked after the queue's state, where both are.
    progress: Mutex<Progress>,
}

struct Progress {
    /// Texts that nobody runs yet, by their length in tokens.
    pending: BTreeMap<usize, Vec<usize>>,
    /// Texts without a vector that are still to get one.
    missing: usize,
    /// Which have one.
    done: Vec<bool>,
    /// texts x values, once the first batch is there.
    vectors: Vec<f32>,
    waited: Duration,
    error: Option<Error>,
}

impl Progress {
    fn is_over(&self) -> bool {
        self.missing == 0 || self.error.is_some()
    }

    fn waiting(&self) -> usize {
        self.pending.values().map(Vec::len).sum()
    }

    /// Takes up to `most` texts of this length, in the caller's order.
    fn take(&mut self, length: usize, most: usize) -> Vec<usize> {
        let Some(texts) = self.pending.get_mut(&length) else {
            return Vec::new();
        };
        let taken = texts.drain(..most.min(texts.len())).collect();
        if texts.is_empty() {
            self.pending.remove(&length);
        }
        taken
    }

    /// Length of the texts whose turn is next: the longest, so that what is left for the end
    /// of a load is short and all sessions end at about the same time; or, in the order of
    /// the texts, that of the first.
    fn next(&self, in_order: bool) -> Option<usize> {
        if !in_order {
            return self.pending.keys().next_back().copied();
        }
        let firsts = self.pending.iter();
        let firsts = firsts.filter_map(|(&length, texts)| Some((*texts.first()?, length)));
        firsts.min().map(|(_, length)| length)
    }
}

/// A text of a job.
type Row = (Arc<Job>, usize);

impl<S> State<S> {
    fn lane(&mut self, task: Task) -> &mut Lane {
        match task {
            Task::Query => &mut self.queries,
            Task::Document => &mut self.documents,
        }
    }
}

impl Lane {
    /// The batch whose turn it is.
    fn take(&mut self, batch_tokens: usize) -> Vec<Row> {
        let Some(job) = self.jobs.pop_front() else {
            return Vec::new();
        };
        let mut rows: Vec<Row> = Vec::new();
        let mut length = 0;
        let mut whole = true;
        {
            let mut progress = job.progress.lock();
            if let Some(next) = progress.next(job.deadline.is_some()) {
                length = next;
                let most = (job.budget.min(batch_tokens) / length.max(1)).max(1);
                let taken = progress.take(length, most);
                rows.extend(taken.into_iter().map(|text| (job.clone(), text)));
                whole = !progress.pending.contains_key(&length);
            }
            if !progress.pending.is_empty() {
                self.jobs.push_back(job.clone());
            }
        }
        // Others' texts of the same length, unless this job's own were divided among the
        // sessions.
        let most = (batch_tokens / length.max(1)).max(1);
        if whole && !rows.is_empty() {
            self.jobs.retain(|other| {
                let mut progress = other.progress.lock();
                let taken = progress.take(length, most.saturating_sub(rows.len()));
                rows.extend(taken.into_iter().map(|text| (other.clone(), text)));
                !progress.pending.is_empty()
            });
        }
        self.texts = self.texts.saturating_sub(rows.len());
        rows
    }

    /// Drops the jobs whose caller has left or whose time is up; returns how many texts they
    /// had waiting.
    fn drop_abandoned(&mut self) -> usize {
        let mut dropped = 0;
        self.jobs.retain(|job| {
            let left = job.cancellation.is_cancelled();
            let over = job.deadline.is_some_and(|at| at <= Instant::now());
            if left {
                dropped += job.fail(abandoned());
            } else if over {
                dropped += job.leave_out();
            }
            if left || over {
                job.wake.notify_all();
            }
            !left && !over
        });
        self.texts = self.texts.saturating_sub(dropped);
        dropped
    }

    /// Ends a job with an error, if it still waits here.
    fn fail(&mut self, job: &Arc<Job>, error: &Error) {
        let before = self.jobs.len();
        self.jobs.retain(|other| !Arc::ptr_eq(other, job));
        if self.jobs.len() < before {
            self.texts = self.texts.saturating_sub(job.fail(again(error)));
        }
    }
}

impl Job {
    /// Ends with an error; returns how many texts were waiting.
    fn fail(&self, error: Error) -> usize {
        let mut progress = self.progress.lock();
        let waiting = progress.waiting();
        progress.pending.clear();
        progress.error.get_or_insert(error);
        waiting
    }

    /// Goes on without the texts that wait; returns how many there were.
    fn leave_out(&self) -> usize {
        let mut progress = self.progress.lock();
        let waiting = progress.waiting();
        progress.pending.clear();
        progress.missing -= waiting;
        waiting
    }
}

/// What came of a call.
pub(crate) struct Encoded {
    /// texts x values, in the order of the texts; zeros for those that were left out, nothing
    /// where all were.
    pub vectors: Vec<f32>,
    /// Which of the texts were encoded: all, unless there was a deadline.
    pub done: Vec<bool>,
    /// Longest that one of the texts waited for a session.
    pub waited: Duration,
}

impl<R: Runner> Queue<R> {
    /// A queue with its first session, which it was checked with.
    pub(crate) fn new(runner: R, first: R::Session, bounds: Bounds) -> Self {
        Queue {
            runner,
            bounds,
            state: Mutex::new(State {
                idle: vec![first],
                made: 1,
                queries: Lane::default(),
                documents: Lane::default(),
                asked: None,
            }),
            counters: Counters::default(),
        }
    }

    /// What runs the batches.
    pub(crate) fn runner(&self) -> &R {
        &self.runner
    }

    /// What was done so far.
    pub(crate) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            batches: of(&self.counters.batches),
            texts: of(&self.counters.texts),
            tokens: of(&self.counters.tokens),
            abandoned: of(&self.counters.abandoned),
        }
    }

    /// What it does now, what waits, and what was done so far.
    pub(crate) fn figures(&self) -> QueueFigures {
        let state = self.state.lock();
        let (idle, made) = (state.idle.len(), state.made);
        let (queries, documents) = (state.queries.texts, state.documents.texts);
        drop(state);
        QueueFigures {
            counts: self.counts(),
            queries: queries as u64,
            documents: documents as u64,
            sessions: made as u64,
            busy_sessions: made.saturating_sub(idle) as u64,
            most_sessions: self.bounds.sessions.max(1) as u64,
            batch_tokens: self.bounds.batch_tokens as u64,
            busy_seconds: self.counters.busy.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }

    /// Encodes texts; blocks until it is done.
    ///
    /// # Errors
    /// Overloaded, where as many texts wait in this lane as may and the caller asks to be
    /// refused then; Timeout when the caller has left; otherwise what the sessions say.
    pub(crate) fn encode(
        &self,
        task: Task,
        texts: Vec<Tokenized>,
        waiting: Waiting,
    ) -> Result<Encoded> {
        if texts.is_empty() {
            return Ok(Encoded {
                vectors: Vec::new(),
                done: Vec::new(),
                waited: Duration::ZERO,
            });
        }
        let count = texts.len();
        if waiting.cancellation.is_cancelled() {
            self.note_abandoned(count);
            return Err(abandoned());
        }
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let budget = batch::budget(&lengths, self.bounds.batch_tokens, self.bounds.sessions);
        let mut pending: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, &length) in lengths.iter().enumerate() {
            pending.entry(length).or_default().push(place);
        }
        let batches: usize = pending
            .iter()
            .map(|(&length, texts)| texts.len().div_ceil((budget / length.max(1)).max(1)))
            .sum();
        let job = Arc::new(Job {
            texts,
            budget,
            submitted: Instant::now(),
            cancellation: waiting.cancellation,
            deadline: waiting.deadline,
            wake: Condvar::new(),
            asleep: AtomicUsize::new(0),
            progress: Mutex::new(Progress {
                pending,
                missing: count,
                done: vec![false; count],
                vectors: Vec::new(),
                waited: Duration::ZERO,
                error: None,
            }),
        });
        {
            let mut state = self.state.lock();
            if task == Task::Query {
                state.asked = Some(job.submitted);
            }
            let abandoned = state.lane(task).drop_abandoned();
            self.note_abandoned(abandoned);
            let lane = state.lane(task);
            if waiting.refuse && lane.texts > 0 && lane.texts + count > self.bounds.waiting {
                return Err(Problem::new(
                    Code::Overloaded,
                    "the encoder is busy: as many texts wait as may wait; try again in a second",
                )
                .found(format!("{} waiting, {count} more", lane.texts))
                .expected(format!("at most {} texts", self.bounds.waiting))
                .into());
            }
            lane.texts += count;
            lane.jobs.push_back(job.clone());
        }
        let helpers = batches.min(self.bounds.sessions).saturating_sub(1);
        if helpers == 0 {
            self.drive(&job, true);
        } else {
            // What a helper logs belongs to whoever it helps.
            let span = tracing::Span::current();
            std::thread::scope(|scope| {
                for _ in 0..helpers {
                    scope.spawn(|| span.in_scope(|| self.drive(&job, false)));
                }
                self.drive(&job, true);
            });
        }
        let mut progress = job.progress.lock();
        match progress.error.take() {
            Some(error) => Err(error),
            None => Ok(Encoded {
                vectors: std::mem::take(&mut progress.vectors),
                done: std::mem::take(&mut progress.done),
                waited: progress.waited,
            }),
        }
    }

    /// Runs batches while something of the job waits and a session is free. The one that
    /// stays returns when the job is over, others when nothing of it waits.
    fn drive(&self, job: &Arc<Job>, stays: bool) {
        let mut held: Option<R::Session> = None;
        let mut state = self.state.lock();
        loop {
            let (over, waits) = {
                let progress = job.progress.lock();
                (progress.is_over(), !progress.pending.is_empty())
            };
            if over || (!stays && !waits) {
                break;
            }
            if waits && (held.is_some() || self.is_free(&state)) {
                let rows = self.take_batch(&mut state);
                if !rows.is_empty() {
                    let session = held.take().or_else(|| state.idle.pop());
                    if session.is_none() {
                        state.made += 1;
                    }
                    // Another session may be free for whoever is next.
                    self.call_next(&mut state);
                    drop(state);
                    held = self.run(rows, session);
                    state = self.state.lock();
                }
                continue;
            }
            if let Some(session) = held.take() {
                state.idle.push(session);
                self.call_next(&mut state);
            }
            job.asleep.fetch_add(1, Ordering::Relaxed);
            match job.deadline.filter(|_| waits) {
                None => job.wake.wait(&mut state),
                Some(at) => {
                    if job.wake.wait_until(&mut state, at).timed_out() {
                        self.drop_abandoned(&mut state);
                    }
                }
            }
            job.asleep.fetch_sub(1, Ordering::Relaxed);
        }
        state.idle.extend(held);
        // Whoever was called may be this one, which has no use for a session any more.
        self.call_next(&mut state);
    }

    fn is_free(&self, state: &MutexGuard<'_, State<R::Session>>) -> bool {
        !state.idle.is_empty() || state.made < self.bounds.sessions.max(1)
    }

    fn take_batch(&self, state: &mut MutexGuard<'_, State<R::Session>>) -> Vec<Row> {
        self.drop_abandoned(state);
        // Another query is likely to follow soon, and would wait for what is running then.
        let soon = state.asked.is_some_and(|at| at.elapsed() < SOON);
        let most = self.bounds.batch_tokens;
        if !state.queries.jobs.is_empty() {
            state.queries.take(most)
        } else if soon {
            state.documents.take((most / 2).max(1))
        } else {
            state.documents.take(most)
        }
    }

    fn drop_abandoned(&self, state: &mut MutexGuard<'_, State<R::Session>>) {
        let abandoned = state.queries.drop_abandoned() + state.documents.drop_abandoned();
        self.note_abandoned(abandoned);
    }

    fn note_abandoned(&self, texts: usize) {
        let counter = &self.counters.abandoned;
        counter.fetch_add(texts as u64, Ordering::Relaxed);
    }

    /// Wakes one that sleeps, if a session is free: whose turn is next, or else any other,
    /// who will run what is next all the same.
    fn call_next(&self, state: &mut MutexGuard<'_, State<R::Session>>) {
        if !self.is_free(state) {
            return;
        }
        let mut jobs = state.queries.jobs.iter().chain(&state.documents.jobs);
        if let Some(job) = jobs.find(|job| job.asleep.load(Ordering::Relaxed) > 0) {
            job.wake.notify_one();
        }
    }

    /// Runs a batch on a session, a new one where there is none, and hands out what comes
    /// of it. Returns the session, but for one that could not be made.
    fn run(&self, rows: Vec<Row>, session: Option<R::Session>) -> Option<R::Session> {
        // Gives the session back and fails the jobs should the runner panic.
        let mut running = Running {
            queue: self,
            rows,
            session,
            outcome: None,
        };
        let ids: Vec<&[u32]> = running
            .rows
            .iter()
            .map(|(job, text)| job.texts[*text].ids.as_slice())
            .collect();
        let order: Vec<usize> = (0..ids.len()).collect();
        let skips = running.rows.iter().map(|(job, text)| job.texts[*text].skip);
        let seconds = running
            .rows
            .iter()
            .map(|(job, text)| job.texts[*text].second);
        let graphs = running.rows.iter();
        let graphs = graphs.map(|(job, text)| job.texts[*text].graph.clone());
        let batch = Batch::new(&order, &ids, self.bounds.pad)
            .skipping(skips.collect())
            .typed(seconds.collect())
            .with_graphs(graphs.collect());
        let now = Instant::now();
        for (job, _) in &running.rows {
            let mut progress = job.progress.lock();
            progress.waited = progress.waited.max(now - job.submitted);
        }
        if running.session.is_none() {
            match self.runner.open() {
                Ok(session) => running.session = Some(session),
                Err(error) => {
                    running.outcome = Some(Err(error));
                    return None;
                }
            }
        }
        let counters = &self.counters;
        if let Some(session) = &mut running.session {
            let begun = Instant::now();
            running.outcome = Some(self.runner.run(session, &batch));
            // Centuries fit.
            let took = begun.elapsed().as_nanos() as u64;
            counters.busy.fetch_add(took, Ordering::Relaxed);
        }
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters
            .texts
            .fetch_add(batch.lengths().len() as u64, Ordering::Relaxed);
        let tokens: usize = batch.lengths().iter().sum();
        counters.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        running.hand_out();
        running.session.take()
    }
}

/// A batch under way.
struct Running<'a, R: Runner> {
    queue: &'a Queue<R>,
    rows: Vec<Row>,
    session: Option<R::Session>,
    outcome: Option<Result<Vec<f32>>>,
}

impl<R: Runner> Running<'_, R> {
    /// Gives the jobs their vectors, or the error; nothing is left to do for them then.
    fn hand_out(&mut self) {
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| Err(Error::Bug("encoding a batch panicked".into())));
        let rows = std::mem::take(&mut self.rows);
        let mut over: Vec<Arc<Job>> = Vec::new();
        if let Ok(vectors) = &outcome {
            let width = vectors.len() / rows.len().max(1);
            let each = vectors.chunks_exact(width.max(1));
            for ((job, text), vector) in rows.iter().zip(each) {
                let mut progress = job.progress.lock();
                if progress.vectors.is_empty() {
                    progress.vectors = vec![0.0; job.texts.len() * width];
                }
                progress.vectors[text * width..(text + 1) * width].copy_from_slice(vector);
                progress.done[*text] = true;
                progress.missing -= 1;
                if progress.is_over() {
                    over.push(job.clone());
                }
            }
        }
        if over.is_empty() && outcome.is_ok() {
            return;
        }
        let mut state = self.queue.state.lock();
        if let Err(error) = &outcome {
            for (job, _) in &rows {
                state.queries.fail(job, error);
                state.documents.fail(job, error);
                // All of it was running: it waits in no lane.
                job.fail(again(error));
                over.push(job.clone());
            }
        }
        for job in over {
            job.wake.notify_all();
        }
    }
}

impl<R: Runner> Drop for Running<'_, R> {
    fn drop(&mut self) {
        // Where a session could not be made, or the runner panicked.
        if self.rows.is_empty() {
            return;
        }
        self.hand_out();
        let mut state = self.queue.state.lock();
        match self.session.take() {
            Some(session) => state.idle.push(session),
            None => state.made -= 1,
        }
        self.queue.call_next(&mut state);
    }
}

fn abandoned() -> Error {
    Problem::new(Code::Timeout, "nobody waits for these texts any more").into()
}

/// The same error for another caller whose texts shared the batch.
fn again(error: &Error) -> Error {
    match error {
        Error::User(problem) => Error::User(problem.clone()),
        Error::Operator(_) => Error::operator(error.to_string()),
        Error::Bug(message) => Error::Bug(message.clone()),
    }
}

#[cfg(test)]
mod tests;
