//! A bulk request without end: NDJSON that is written while it comes, and answered meanwhile.
//!
//! **Promises.** Neither the body nor its number of documents has a limit, because no more of it
//! is in memory than a chunk. What comes faster than it can be written waits with its sender, and
//! streams leave turns to others who write. The answer says of how many documents from the
//! beginning the fate is known (`done`), and it names each that was rejected; all others of these
//! are written, as durably as was asked for. Whatever ends it early is the last line, and the rest
//! is to be sent again from `done` on. A key that is revoked meanwhile ends it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, EXPECT, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::stream;
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::around::Deadline;
use super::body::{Format, Payload, discard, units};
use super::bulk::{Bulk, BulkItem, BulkStatus, Kind};
use super::error::{ApiError, Failure, hidden};
use super::extract::{IdempotencyKey, Refresh, WriteParameters};
use super::gate::Permit;
use super::guard::still_allowed;
use super::json;
use super::state::App;
use crate::error::{Code, Error, Problem, Result};

/// Media type of the body and of the answer.
pub(super) const MEDIA_TYPE: &str = "application/x-ndjson";
/// Most lines in a chunk.
const CHUNK_LINES: usize = 256;
/// Bytes of whole lines that make a chunk.
const CHUNK_BYTES: usize = 1 << 20;
/// For so many each stream has room by itself: a chunk, and what came with its end.
const OWN_BYTES: usize = 2 * CHUNK_BYTES;
/// So long after its first line a chunk is written, however little more has come.
const PAUSE: Duration = Duration::from_millis(500);
/// About so long a stream writes before it leaves its turn to others.
const TURN: Duration = Duration::from_secs(1);
/// How often the caller is told how far it is, at most.
const TELL: Duration = Duration::from_secs(1);
/// How soon a busy server is asked again.
const AGAIN: Duration = Duration::from_millis(250);
/// Rejected documents, with none written between them, after which there is no going on: what is
/// wrong is not with single ones.
const MAX_REJECTED: u64 = 1_000;
/// Lines that wait to be sent.
const LINES: usize = 64;

/// A line of the answer to a stream of documents that names one that was not written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamRejection {
    /// Which one it was, counted from 0; blank lines do not count.
    pub item: u64,
    /// Its id; null where none could be read.
    pub id: Option<String>,
    /// Why it was not written.
    pub error: Failure,
}

/// A line of the answer to a stream of documents that says how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamProgress {
    /// Documents from the beginning whose fate is known.
    pub done: u64,
    /// Those of them that were written.
    pub written: u64,
    /// Those that were not; a line before this one names each.
    pub rejected: u64,
    /// Whether that was all; true in the last line, unless it has an error.
    pub finished: bool,
    /// What ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// A body that is read a chunk of whole lines at a time.
pub(super) struct Lines {
    body: Body,
    headers: HeaderMap,
    /// What was read and not yet handed out.
    buffer: Vec<u8>,
    /// How much of it was looked through for ends of lines.
    looked: usize,
    /// Where the last whole line of the chunk ends.
    whole: usize,
    /// How many whole lines that makes.
    lines: usize,
    /// For what is longer than a chunk.
    room: Vec<Permit>,
    held: usize,
    ended: bool,
}

/// Some whole lines.
struct Chunk {
    bytes: Vec<u8>,
    /// Nothing came for a while.
    paused: bool,
}

impl Lines {
    pub(super) fn new(body: Body, headers: HeaderMap) -> Lines {
        Lines {
            body,
            headers,
            buffer: Vec::new(),
            looked: 0,
            whole: 0,
            lines: 0,
            room: Vec::new(),
            held: OWN_BYTES,
            ended: false,
        }
    }

    /// The next lines; none at the end.
    ///
    /// # Errors
    /// `limit_exceeded` for a line longer than a body may be, `timeout` where none ends within
    /// the time of a request, `overloaded` where there is no memory for a long one,
    /// `invalid_request` for a body that breaks off.
    async fn next(&mut self, app: &App) -> Result<Option<Chunk>> {
        // Before the request's own time is up, which knows nothing of lines.
        let patience = app.timeout * 9 / 10;
        let mut until = Instant::now() + patience;
        let mut has_lines = false;
        loop {
            if self.is_full(app.limits.body_bytes)? {
                return Ok(Some(self.take(false)));
            }
            if self.ended {
                // A last line need not end.
                self.whole = self.buffer.len();
                return Ok((self.whole > 0).then(|| self.take(false)));
            }
            if self.lines > 0 && !has_lines {
                has_lines = true;
                until = Instant::now() + PAUSE.min(patience);
            }
            match timeout_at(until, self.body.frame()).await {
                Err(_) if has_lines => return Ok(Some(self.take(true))),
                Err(_) => return Err(no_line(patience).into()),
                Ok(None) => self.ended = true,
                Ok(Some(Err(_))) => {
                    return Err(Problem::new(Code::InvalidRequest, "the body broke off").into());
                }
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.grow(app, data.len())?;
                    self.buffer.extend_from_slice(&data);
                }
            }
        }
    }

    /// Whether there is a chunk, or a long line after what whole ones there are.
    fn is_full(&mut self, most: usize) -> Result<bool, Problem> {
        while self.lines < CHUNK_LINES && self.whole < CHUNK_BYTES {
            let rest = self.buffer.get(self.looked..).unwrap_or_default();
            let end = rest.iter().position(|&byte| byte == b'\n');
            self.looked = end.map_or(self.buffer.len(), |at| self.looked + at + 1);
            let length = self.looked - self.whole;
            if length > most.saturating_add(1) {
                if self.lines > 0 {
                    // Those before it first.
                    return Ok(true);
                }
                return Err(Problem::new(Code::LimitExceeded, "a line is too long")
                    .found(format!("more than {most} bytes"))
                    .expected(format!("at most {most} bytes")));
            }
            if end.is_none() {
                return Ok(self.lines > 0 && length >= CHUNK_BYTES);
            }
            self.whole = self.looked;
            self.lines += 1;
        }
        Ok(true)
    }

    fn take(&mut self, paused: bool) -> Chunk {
        let rest = self.buffer.split_off(self.whole);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        (self.looked, self.whole, self.lines) = (0, 0, 0);
        Chunk { bytes, paused }
    }

    /// Makes sure that there is room for so many bytes more. What comes after whole lines is
    /// little, and they are handed out before it grows.
    fn grow(&mut self, app: &App, more: usize) -> Result<()> {
        let length = self.buffer.len() + more;
        if self.lines == 0 && length > self.held {
            let doubled = self.held.min(app.limits.body_bytes);
            let wanted = (length - self.held).max(doubled);
            let Some(permit) = app.bodies.try_enter(units(wanted)) else {
                return Err(app
                    .bodies
                    .refuse("the bodies in work take all the memory they may"));
            };
            self.room.push(permit);
            self.held += wanted;
        }
        Ok(())
    }

    /// Gives back the room that one long line needed.
    fn shrink(&mut self) {
        if self.buffer.len() <= CHUNK_BYTES && !self.room.is_empty() {
            self.buffer.shrink_to(CHUNK_BYTES);
            self.room.clear();
            self.held = OWN_BYTES;
        }
    }
}

fn no_line(limit: Duration) -> Problem {
    Problem::new(Code::Timeout, "no whole line came for too long")
        .expected(format!("one within {} ms", limit.as_millis()))
}

/// Begins to write what comes, and answers while it does.
///
/// # Errors
/// What is wrong before anything was written: the index, the parameters, the first line's length.
pub(super) async fn begin(
    app: Arc<App>,
    name: String,
    parameters: WriteParameters,
    key: &IdempotencyKey,
    kind: Kind,
    mut lines: Lines,
) -> Result<Response, ApiError> {
    let (parameters, permit, first) = match start(&app, &name, parameters, key, &mut lines).await {
        Ok(started) => started,
        Err(error) => {
            // Who is still sending would lose the answer.
            discard(lines.body, &lines.headers, app.limits.body_bytes).await;
            return Err(error.into());
        }
    };
    // It has been told to go on.
    lines.headers.remove(EXPECT);
    let (send, receive) = channel(LINES);
    let writing = Writing {
        app,
        name,
        parameters,
        kind,
        send,
        size: None,
        told: Instant::now(),
        in_a_row: 0,
        headers: lines.headers.clone(),
        progress: StreamProgress {
            done: 0,
            written: 0,
            rejected: 0,
            finished: false,
            error: None,
        },
    };
    let work = async move {
        writing.run(first, lines).await;
        drop(permit);
    };
    tokio::spawn(work.in_current_span());
    let said = stream::unfold(receive, |mut receive| async move {
        let line: Option<Bytes> = receive.recv().await;
        line.map(|line| (Ok::<_, std::convert::Infallible>(line), receive))
    });
    let mut response = Response::new(Body::from_stream(said));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Ok(response)
}

/// What there is to know before anything is answered, and the first lines.
async fn start(
    app: &App,
    name: &str,
    parameters: WriteParameters,
    key: &IdempotencyKey,
    lines: &mut Lines,
) -> Result<(WriteParameters, Permit, Option<Chunk>)> {
    let parameters = parameters.of_many()?;
    if key.is_given() {
        return Err(Problem::new(
            Code::InvalidRequest,
            "a stream has no end that a key could stand for",
        )
        .field("idempotency-key")
        .found("a key")
        .expected(
            "none: put documents by their ids, or expect versions, and send again from done on",
        )
        .into());
    }
    let permit = app.streams.enter(1).await?;
    let (catalog, index) = (app.catalog.clone(), name.to_string());
    permit.run(move || catalog.get(&index).map(drop)).await?;
    let first = lines.next(app).await?;
    Ok((parameters, permit, first))
}

/// The caller has left.
struct Gone;

struct Writing {
    app: Arc<App>,
    name: String,
    parameters: WriteParameters,
    kind: Kind,
    send: Sender<Bytes>,
    /// How many documents were written at once last.
    size: Option<usize>,
    told: Instant,
    /// Documents that were rejected since one was written.
    in_a_row: u64,
    /// With the caller's key.
    headers: HeaderMap,
    progress: StreamProgress,
}

impl Writing {
    /// Reads, writes and tells until the end.
    async fn run(mut self, first: Option<Chunk>, mut lines: Lines) {
        let ended = match self.all(first, &mut lines).await {
            Ok(ended) => ended,
            Err(Gone) => {
                let done = self.progress.done;
                tracing::info!(
                    index = self.name,
                    done,
                    "a caller left a stream of documents"
                );
                return;
            }
        };
        match ended {
            Ok(()) => self.progress.finished = true,
            Err(error) => {
                if let Some(detail) = hidden(&error) {
                    let (index, done) = (&self.name, self.progress.done);
                    tracing::error!(index, done, detail, "a stream of documents was given up");
                }
                self.progress.error = Some(Failure::from(&error));
            }
        }
        // Whoever has left, or does not read, does not miss it.
        let _ = self.say(&self.progress).await;
        if !lines.ended {
            discard(lines.body, &lines.headers, self.app.limits.body_bytes).await;
        }
    }

    /// Writes everything; says what ended it early.
    async fn all(&mut self, first: Option<Chunk>, lines: &mut Lines) -> Result<Result<()>, Gone> {
        let app = self.app.clone();
        let mut next = first;
        while let Some(chunk) = next {
            let mut left = chunk.bytes;
            while !left.is_empty() {
                if *app.stop.borrow() {
                    return Ok(Err(stopping()));
                }
                left = match self.write(left).await? {
                    Ok(left) => left,
                    Err(error) => return Ok(Err(error)),
                };
                if self.in_a_row >= MAX_REJECTED {
                    let problem = Problem::new(
                        Code::LimitExceeded,
                        "so many documents were rejected, one after the other, that the rest was not read",
                    );
                    let problem = problem
                        .found(format!("{} rejected", self.in_a_row))
                        .expected(format!(
                            "fewer than {MAX_REJECTED} without one that is written"
                        ));
                    return Ok(Err(problem.into()));
                }
                if self.told.elapsed() >= TELL {
                    self.tell()?;
                }
            }
            if chunk.paused {
                self.tell()?;
            }
            lines.shrink();
            next = tokio::select! {
                next = lines.next(&app) => match next {
                    Ok(next) => next,
                    Err(error) => return Ok(Err(error)),
                },
                () = self.send.closed() => return Err(Gone),
                () = app.stopping() => return Ok(Err(stopping())),
            };
        }
        if self.parameters.refresh == Refresh::Wait {
            return Ok(self.refresh().await);
        }
        Ok(Ok(()))
    }

    /// A turn to write: first among the streams, of which one fewer writes at once than may
    /// write altogether, then among all. Waits longer than a single request would, since its
    /// sender waits.
    async fn turn(&self) -> Result<(Permit, Permit)> {
        let until = Instant::now() + self.app.timeout;
        loop {
            let turn = async {
                let among_streams = self.app.stream_writes.enter(1).await?;
                let writes = self.app.writes.enter(1).await?;
                Ok((among_streams, writes))
            };
            match turn.await {
                Err(Error::User(problem))
                    if problem.code == Code::Overloaded && Instant::now() < until =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                other => return other,
            }
        }
    }

    /// Writes from a chunk for about as long as a turn is; what is left of it. Or what kept a part
    /// of it from being written.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<Result<Vec<u8>>, Gone> {
        if let Err(error) = still_allowed(&self.app, &self.headers, &self.name) {
            return Ok(Err(error));
        }
        let (turn, permit) = match self.turn().await {
            Ok(permits) => permits,
            Err(error) => return Ok(Err(error)),
        };
        let (catalog, name, kind) = (self.app.catalog.clone(), self.name.clone(), self.kind);
        let durability = self.parameters.durability;
        let cut = move || {
            let body = Payload::apart(bytes, Format::Lines);
            let key = IdempotencyKey::none();
            Bulk::new(catalog, name, key, body, kind, durability, usize::MAX)
        };
        let mut bulk = match permit.run(cut).await {
            Ok(bulk) => bulk,
            Err(error) => return Ok(Err(error)),
        };
        bulk.begin_with(self.size);
        let answer = match bulk.write(&permit, Deadline(Instant::now() + TURN)).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        drop((permit, turn));
        self.size = Some(bulk.size());
        let trouble = bulk.trouble();
        let settled = trouble.as_ref().map_or(answer.items.len(), |(n, _)| *n);
        for item in answer.items.into_iter().take(settled) {
            self.count(item).await?;
        }
        Ok(match trouble {
            None => Ok(Vec::new()),
            // The turn's, not the sender's: at least a step of it was written.
            Some((_, error)) if settled > 0 && is_late(&error) => Ok(bulk.from(settled)),
            Some((_, error)) => Err(error),
        })
    }

    async fn count(&mut self, item: BulkItem) -> Result<(), Gone> {
        let place = self.progress.done;
        self.progress.done += 1;
        if item.status != BulkStatus::Rejected {
            self.progress.written += 1;
            self.in_a_row = 0;
            return Ok(());
        }
        self.progress.rejected += 1;
        self.in_a_row += 1;
        if let Some(error) = item.error {
            let id = item.id;
            let line = StreamRejection {
                item: place,
                id,
                error,
            };
            self.say(&line).await?;
        }
        Ok(())
    }

    async fn refresh(&self) -> Result<()> {
        let (_turn, permit) = self.turn().await?;
        let (catalog, name) = (self.app.catalog.clone(), self.name.clone());
        permit
            .run(move || catalog.get(&name)?.refresh().map(drop))
            .await
    }

    /// Says how far it is, unless as much waits to be read as may: a later line says more.
    fn tell(&mut self) -> Result<(), Gone> {
        self.told = Instant::now();
        match self.send.try_send(line(&self.progress)) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Gone),
        }
    }

    /// Says what must not be lost; who reads nothing for as long as a request may take has left.
    async fn say<T: Serialize>(&self, said: &T) -> Result<(), Gone> {
        match timeout(self.app.timeout, self.send.send(line(said))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn line<T: Serialize>(said: &T) -> Bytes {
    // Texts and numbers alone: this cannot fail.
    let mut bytes = json::to_bytes(said).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

fn stopping() -> Error {
    Problem::new(
        Code::Overloaded,
        "the server is being stopped; send the rest again from done on",
    )
    .into()
}

fn is_late(error: &Error) -> bool {
    error
        .problem()
        .is_some_and(|problem| problem.code == Code::Timeout)
}
