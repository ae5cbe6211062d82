//! How far a load has come: counters that any thread may add to, shown as a bar on a
//! terminal and as log lines elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::info;

/// Time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Time between two drawings of the bar.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Counters of a load, or of an export. All of them only grow.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    /// Time that it took before, if it goes on with something.
    before: Duration,
    /// Documents leave the index: `bytes` counts them too.
    exporting: bool,
    /// Files read to their end.
    pub files: AtomicU64,
    /// Rows read, good or not.
    pub rows: AtomicU64,
    /// Documents acknowledged by the index.
    pub loaded: AtomicU64,
    /// Of these, documents that took the place of one with the same id.
    pub replaced: AtomicU64,
    /// Of these, documents that were there already, as they are, and were not written.
    pub unchanged: AtomicU64,
    /// Documents that rows had deleted.
    pub deleted: AtomicU64,
    /// Rows that were not loaded.
    pub rejected: AtomicU64,
    /// Passages written, with vectors that were made or brought.
    pub passages: AtomicU64,
    /// Tokens encoded.
    pub tokens: AtomicU64,
    /// Passages cut to the model's length.
    pub truncated: AtomicU64,
    /// Rows handed on to be encoded and written, and those of them that are done with, whatever
    /// became of them.
    pub queued: AtomicU64,
    pub settled: AtomicU64,
    /// Bytes of the files read, before decompression.
    pub bytes: AtomicU64,
    /// Bytes of all files together; 0 if unknown.
    pub bytes_total: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// Counters at zero; the clock starts.
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Progress {
            started: Instant::now(),
            before: Duration::ZERO,
            exporting: false,
            files: zero(),
            rows: zero(),
            loaded: zero(),
            replaced: zero(),
            unchanged: zero(),
            deleted: zero(),
            rejected: zero(),
            passages: zero(),
            tokens: zero(),
            truncated: zero(),
            queued: zero(),
            settled: zero(),
            bytes: zero(),
            bytes_total: zero(),
        }
    }

    /// The same for an export of so many documents: `loaded` counts those that are written.
    pub fn exporting(documents: u64) -> Self {
        Progress {
            exporting: true,
            bytes_total: AtomicU64::new(documents),
            ..Progress::new()
        }
    }

    /// Counters of something that goes on, where it was.
    pub fn going_on(so_far: &Summary) -> Self {
        let at = AtomicU64::new;
        Progress {
            // Anything else than a number of seconds is none.
            before: Duration::try_from_secs_f64(so_far.seconds).unwrap_or_default(),
            files: at(so_far.files),
            rows: at(so_far.rows),
            loaded: at(so_far.loaded),
            replaced: at(so_far.replaced),
            unchanged: at(so_far.unchanged),
            deleted: at(so_far.deleted),
            rejected: at(so_far.rejected),
            passages: at(so_far.passages),
            tokens: at(so_far.tokens),
            truncated: at(so_far.truncated),
            ..Progress::new()
        }
    }

    fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// The counters now, with the rates since the start.
    pub fn summary(&self) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut summary = Summary {
            files: get(&self.files),
            rows: get(&self.rows),
            loaded: get(&self.loaded),
            replaced: get(&self.replaced),
            unchanged: get(&self.unchanged),
            deleted: get(&self.deleted),
            rejected: get(&self.rejected),
            passages: get(&self.passages),
            tokens: get(&self.tokens),
            truncated: get(&self.truncated),
            ..Summary::default()
        };
        summary.take(self.elapsed());
        summary
    }

    /// Bytes whose rows are done with.
    fn bytes_behind(&self) -> f64 {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let rows = get(&self.rows);
        let ahead = (get(&self.queued) - get(&self.settled)).clamp(0.0, rows);
        let share = if rows > 0.0 { 1.0 - ahead / rows } else { 1.0 };
        get(&self.bytes).min(get(&self.bytes_total)) * share
    }

    /// Seconds left if the rest of the bytes takes as long as those behind it; None before
    /// anything is done, or if the whole is unknown. Bytes whose rows are read and not yet written
    /// are still ahead: reading is far quicker than encoding.
    pub fn seconds_left(&self) -> Option<f64> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let total = get(&self.bytes_total);
        let behind = self.bytes_behind();
        (behind > 0.0).then(|| self.elapsed().as_secs_f64() * (total - behind) / behind)
    }
}

/// What a load has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Summary {
    /// Files read to their end.
    pub files: u64,
    /// Rows read, good or not.
    pub rows: u64,
    /// Documents acknowledged by the index.
    pub loaded: u64,
    /// Of these, documents that took the place of one with the same id.
    pub replaced: u64,
    /// Of these, documents that were there already, as they are, and were not written.
    pub unchanged: u64,
    /// Documents that rows had deleted.
    pub deleted: u64,
    /// Rows that were not loaded.
    pub rejected: u64,
    /// Passages written, with vectors that were made or brought.
    pub passages: u64,
    /// Tokens encoded.
    pub tokens: u64,
    /// Passages cut to the model's length.
    pub truncated: u64,
    /// Time taken.
    pub seconds: f64,
    /// `loaded` over `seconds`.
    pub documents_per_second: f64,
    /// `tokens` over `seconds`.
    pub tokens_per_second: f64,
}

impl Summary {
    /// Sets the time it took, and the rates.
    pub(crate) fn take(&mut self, time: Duration) {
        self.seconds = time.as_secs_f64();
        let rate = |n: u64| match self.seconds > 0.0 {
            true => n as f64 / self.seconds,
            false => 0.0,
        };
        self.documents_per_second = rate(self.loaded);
        self.tokens_per_second = rate(self.tokens);
    }
}

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// A bar if standard error is a terminal, log lines otherwise.
    #[default]
    Auto,
    /// A bar on standard error.
    Bar,
    /// A log line every ten seconds and one at the end.
    Log,
    /// Nowhere.
    Nothing,
}

/// Shows a [`Progress`] from a thread of its own until it is finished or dropped.
#[derive(Debug)]
pub struct Reporter {
    progress: Arc<Progress>,
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    log: bool,
}

impl Reporter {
    /// Begins to show `progress`. If no thread can be started, only the end is shown.
    pub fn start(progress: Arc<Progress>, show: Show) -> Self {
        let show = match show {
            Show::Auto if std::io::stderr().is_terminal() => Show::Bar,
            Show::Auto => Show::Log,
            other => other,
        };
        let (stop, stopped) = mpsc::channel::<()>();
        let shown = Arc::clone(&progress);
        let thread = match show {
            Show::Nothing => None,
            _ => std::thread::Builder::new()
                .name("progress".into())
                .spawn(move || match show {
                    Show::Bar => draw(&shown, &stopped),
                    _ => log(&shown, &stopped),
                })
                .ok()
                .map(|handle| (stop, handle)),
        };
        Reporter {
            progress,
            thread,
            log: show == Show::Log,
        }
    }

    /// Stops showing and says how it ended.
    pub fn finish(mut self) -> Summary {
        self.stop();
        let summary = self.progress.summary();
        if self.log && self.progress.exporting {
            info!(
                documents = summary.loaded,
                passages = summary.passages,
                seconds = summary.seconds,
                "export finished"
            );
        } else if self.log {
            info!(
                files = summary.files,
                rows = summary.rows,
                loaded = summary.loaded,
                replaced = summary.replaced,
                unchanged = summary.unchanged,
                deleted = summary.deleted,
                rejected = summary.rejected,
                passages = summary.passages,
                tokens = summary.tokens,
                seconds = summary.seconds,
                "load finished"
            );
        }
        summary
    }

    fn stop(&mut self) {
        if let Some((stop, handle)) = self.thread.take() {
            drop(stop);
            // A reporter that has panicked has nothing left to show.
            let _ = handle.join();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn log(progress: &Progress, stopped: &mpsc::Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOG_EVERY) {
        let now = progress.summary();
        if progress.exporting {
            info!(
                documents = now.loaded,
                of = progress.bytes_total.load(Ordering::Relaxed),
                passages = now.passages,
                documents_per_second = now.documents_per_second.round(),
                seconds_left = progress.seconds_left().map(f64::round),
                "exporting"
            );
            continue;
        }
        info!(
            loaded = now.loaded,
            rejected = now.rejected,
            passages = now.passages,
            tokens = now.tokens,
            documents_per_second = now.documents_per_second.round(),
            tokens_per_second = now.tokens_per_second.round(),
            seconds_left = progress.seconds_left().map(f64::round),
            "loading"
        );
    }
}

fn draw(progress: &Progress, stopped: &mpsc::Receiver<()>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    let style = |template: &str| {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
    };
    style("{spinner} {wide_msg}");
    let mut known = 0;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(DRAW_EVERY) {
        // The files may be sized after the bar is up.
        let total = progress.bytes_total.load(Ordering::Relaxed);
        if total != known {
            if known == 0 {
                style("{bar:24} {percent:>3}% {wide_msg}");
            }
            bar.set_length(total);
            known = total;
        }
        bar.set_position(progress.bytes_behind() as u64);
        let (now, left) = (progress.summary(), progress.seconds_left());
        bar.set_message(match progress.exporting {
            true => exported(&now, left),
            false => message(&now, left),
        });
        bar.tick();
    }
    bar.finish_and_clear();
}

/// What stands beside the bar.
fn message(now: &Summary, left: Option<f64>) -> String {
    let mut text = format!(
        "{} documents, {} passages, {} documents/s, {} tokens/s",
        short(now.loaded as f64),
        short(now.passages as f64),
        short(now.documents_per_second),
        short(now.tokens_per_second),
    );
    // Writing to a string cannot fail.
    if now.rejected > 0 {
        let _ = write!(text, ", {} rejected", short(now.rejected as f64));
    }
    if let Some(left) = left {
        let _ = write!(text, ", {} left", clock(left));
    }
    text
}

/// The same for an export.
fn exported(now: &Summary, left: Option<f64>) -> String {
    let mut text = format!(
        "{} documents, {} passages, {} documents/s",
        short(now.loaded as f64),
        short(now.passages as f64),
        short(now.documents_per_second),
    );
    if let Some(left) = left {
        // Writing to a string cannot fail.
        let _ = write!(text, ", {} left", clock(left));
    }
    text
}

/// Three digits and a unit: 950, 12.3k, 4.56M.
fn short(n: f64) -> String {
    let (scaled, unit) = match n {
        n if n < 1e3 => return format!("{n:.0}"),
        n if n < 1e6 => (n / 1e3, "k"),
        n if n < 1e9 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    let decimals = match scaled {
        s if s < 10.0 => 2,
        s if s < 100.0 => 1,
        _ => 0,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// Hours, minutes and seconds: 42s, 3m05s, 2h14m.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_counters_and_their_rates() {
        let progress = Arc::new(Progress::new());
        progress.loaded.fetch_add(3, Ordering::Relaxed);
        progress.rows.fetch_add(4, Ordering::Relaxed);
        progress.rejected.fetch_add(1, Ordering::Relaxed);
        for show in [Show::Log, Show::Bar, Show::Nothing] {
            let summary = Reporter::start(Arc::clone(&progress), show).finish();
            assert_eq!((summary.loaded, summary.rows, summary.rejected), (3, 4, 1));
            assert!(summary.seconds > 0.0 && summary.documents_per_second > 0.0);
        }
        let json = serde_json::to_value(progress.summary()).unwrap();
        assert_eq!(json["loaded"], 3);
        assert_eq!(json["tokens_per_second"], 0.0);
    }

    #[test]
    fn time_left_follows_the_bytes() {
        let progress = Progress::new();
        assert_eq!(progress.seconds_left(), None);
        progress.bytes_total.store(100, Ordering::Relaxed);
        assert_eq!(progress.seconds_left(), None);
        progress.bytes.store(200, Ordering::Relaxed);
        assert_eq!(progress.seconds_left(), Some(0.0));
        // All read, half of it written: as long again.
        progress.rows.store(10, Ordering::Relaxed);
        progress.queued.store(10, Ordering::Relaxed);
        assert_eq!(progress.seconds_left(), None);
        progress.settled.store(5, Ordering::Relaxed);
        let (left, elapsed) = (progress.seconds_left().unwrap(), progress.elapsed());
        assert!(left > 0.0 && left <= elapsed.as_secs_f64(), "{left}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(950.0), "950");
        assert_eq!(short(12_345.0), "12.3k");
        assert_eq!(short(4_560_000.0), "4.56M");
        assert_eq!(clock(42.4), "42s");
        assert_eq!(clock(185.0), "3m05s");
        assert_eq!(clock(8040.0), "2h14m");
    }
}
