//! What the machine gives a server, beside what the configuration lets it take.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::process::Process;
use super::{Check, Finding, Patient, readable};
use crate::store::StoreOptions;

/// Files of a process that belong to no index and no connection: libraries, models, logs.
const FILES_ASIDE: u64 = 64;
/// Files of the words of an index, more than merges leave at any time.
const FILES_OF_WORDS: u64 = 128;
/// Files that a server's connections leave to everything else, beside a quarter of all.
const FILES_LEFT: u64 = 256;
/// Bodies of the largest size that are in memory at once, and what all beginnings take.
const BODIES: u64 = 4;
const BEGINNINGS: u64 = 64 << 20;
/// How far from the future a file may be: clocks of machines that share a disk.
const SKEW: Duration = Duration::from_secs(60);
/// No clock of a machine that runs this is right before then (2025-01-01).
const EPOCH: Duration = Duration::from_secs(1_735_689_600);

pub(super) fn look(patient: &Patient<'_>) -> Vec<Finding> {
    let inventory = patient.inventory.as_ref();
    let indexes = inventory.map_or(0, |inventory| inventory.places.len() as u64);
    vec![
        open_files(patient, indexes),
        memory(patient, indexes),
        clock(patient.data()),
    ]
}

fn whose(process: Process) -> &'static str {
    match process {
        Process::Own => "a process started from here",
        Process::Of(_) => "the server",
    }
}

fn open_files(patient: &Patient<'_>, indexes: u64) -> Finding {
    let each = u64::from(StoreOptions::default().max_open_files) + FILES_OF_WORDS;
    let needed = FILES_ASIDE + indexes * each;
    let process = patient.process();
    let Some(limit) = process.open_files() else {
        return Finding::ok(
            Check::OpenFiles,
            format!("the limit is not known; {indexes} indexes may need {needed}"),
        );
    };
    // As the server counts: connections take what is left of three quarters.
    let wanted = patient.config.server.connections as u64;
    let connections = wanted.min((limit - limit / 4).saturating_sub(FILES_LEFT));
    let left = limit - connections;
    let whose = whose(process);
    if left < needed {
        return Finding::warning(
            Check::OpenFiles,
            format!(
                "{whose} may have {limit} files open, which leaves {left} to {indexes} indexes that may need {needed}"
            ),
            format!(
                "raise it where the server is started: LimitNOFILE={} in a systemd unit, `ulimit -n` in a shell",
                (needed * 4 + wanted).next_power_of_two().max(65_536)
            ),
        );
    }
    let limit = match limit {
        u64::MAX => "any number of".to_owned(),
        number => number.to_string(),
    };
    Finding::ok(
        Check::OpenFiles,
        format!(
            "{whose} may have {limit} files open: enough for {indexes} indexes and {connections} connections"
        ),
    )
}

fn memory(patient: &Patient<'_>, indexes: u64) -> Finding {
    let config = patient.config;
    let (storage, ingest) = (&config.storage, &config.ingest);
    // Of machine size, so no number is lost.
    let budgets = [
        (
            "storage.block_cache_bytes",
            storage.block_cache_bytes as u64,
        ),
        (
            "storage.write_buffer_bytes (four times)",
            (storage.write_buffer_bytes as u64).saturating_mul(4),
        ),
        (
            "storage.word_buffer_bytes (for each index)",
            (storage.word_buffer_bytes as u64).saturating_mul(indexes.max(1)),
        ),
        (
            "models.runtime.cache_bytes",
            config.models.runtime.cache_bytes as u64,
        ),
        (
            "ingest.memory (for each of ingest.jobs)",
            (ingest.memory as u64).saturating_mul(ingest.jobs as u64),
        ),
        (
            "limits.body_bytes (four times)",
            (config.limits.body_bytes as u64)
                .saturating_mul(BODIES)
                .saturating_add(BEGINNINGS),
        ),
    ];
    let sum = budgets
        .iter()
        .fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    let process = patient.process();
    let Some((limit, whose)) = process.memory() else {
        return Finding::ok(
            Check::Memory,
            format!(
                "the configuration allows {} for caches and buffers; how much there is, is not known",
                readable(sum)
            ),
        );
    };
    let said = format!(
        "the configuration allows {} for caches and buffers, of {} that {whose} has",
        readable(sum),
        readable(limit)
    );
    // The rest is for models, graphs that are built, and the pages of files.
    if sum > limit / 4 * 3 {
        let largest = budgets.iter().max_by_key(|(_, bytes)| *bytes);
        let largest = largest.map_or("", |(key, _)| key);
        return Finding::warning(
            Check::Memory,
            said,
            format!(
                "lower what it allows itself, the largest first ({largest}), or give it more: models, graphs and the pages of files need memory beside it"
            ),
        );
    }
    Finding::ok(Check::Memory, said)
}

/// Whether the clock is behind the last time that anything was written here.
fn clock(data: &Path) -> Finding {
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    if since.map_or(true, |since| since < EPOCH) {
        return Finding::failed(
            Check::Clock,
            "the machine's clock is years behind",
            "set it, and let it be kept (systemd-timesyncd, chrony): ages, expiries and signatures of requests depend on it",
        );
    }
    let newest = newest(data, 3);
    let ahead = newest.and_then(|newest| newest.duration_since(now).ok());
    match ahead.filter(|ahead| *ahead > SKEW) {
        Some(ahead) => Finding::warning(
            Check::Clock,
            format!(
                "a file of the data folder is {} seconds from the future",
                ahead.as_secs()
            ),
            "the clock was set back, or is wrong: let it be kept (systemd-timesyncd, chrony); object stores refuse requests of clocks that are wrong by minutes",
        ),
        None => Finding::ok(
            Check::Clock,
            "nothing in the data folder is from the future",
        ),
    }
}

/// When anything in a folder was last written, so many folders deep.
fn newest(folder: &Path, depth: usize) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            let below = match data.is_dir() && depth > 0 {
                true => newest(&entry.path(), depth - 1),
                false => None,
            };
            [data.modified().ok(), below].into_iter().flatten().max()
        })
        .max()
}
