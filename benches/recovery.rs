//! Writing with ready vectors, restarting, and giving the disk back.
//!
//! `make bench-recovery`: makes an index of a million documents (`--documents N` for
//! another number) with synthetic vectors of 384 values, in clusters and of 48 independent
//! directions, and writes `reports/recovery.json`. Its parts, each a process of its own:
//!
//! * **write**: the first 100,000 documents. Two writers, batches of 1,000, every batch
//!   durable before its writer goes on, and meanwhile 50 hybrid searches a second.
//!   Documents are made as JSON values and go through everything that a request goes
//!   through but HTTP and its parsing. `searchable` is how long after the last
//!   acknowledgement a search finds the last document; `sealed` counts until nothing is
//!   left to build. The times of searches are from when they were due.
//! * **fill**: the rest, the same way without the searches.
//! * **restart**: the program itself, `gleaner serve`, from its start to its first answer
//!   to a search, and its memory after as many searches as the process that filled the
//!   index had answered, beside the memory of that one.
//! * **give back**: half of the documents are deleted by a filter and the index compacted.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gleaner::config::Config;
use gleaner::index::{Catalog, Change, Definition, IfVersion, Index};
use gleaner::search::{SearchRequest, search};
use gleaner::store::Durability;
use serde_json::{Value, json};
use support::{percentile, report};

const DIMENSIONS: usize = 384;
const BATCH: u32 = 1_000;
/// Documents that are written while searches go on.
const WATCHED: u32 = 100_000;
const CLUSTERS: u32 = 4_096;
/// Directions in which vectors vary.
const FACTORS: u64 = 48;
/// Searches before memory is measured.
const SEARCHES: u32 = 500;

const DEFINITION: &str = r#"
name = "many"
[fields.title]
type = "text"
[fields.number]
type = "integer"
[embedding]
vector_field = "vector"
dimensions = 384
"#;

/// Noise from a number, -1 to 1.
fn noise(seed: u64) -> f32 {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0
}

/// The vector of a document: like those of encoders, it varies in far fewer directions than
/// it has values, and much of that is what its cluster has in common.
fn vector(number: u32) -> impl Iterator<Item = f32> {
    static DIRECTIONS: LazyLock<Vec<[f32; DIMENSIONS]>> = LazyLock::new(|| {
        let direction = |d: u64| std::array::from_fn(|i| noise(d << 32 | i as u64));
        (0..FACTORS).map(direction).collect()
    });
    let cluster = u64::from(number.wrapping_mul(2_654_435_761) % CLUSTERS);
    let mut vector = [0.0; DIMENSIONS];
    for (factor, direction) in (0..).zip(DIRECTIONS.iter()) {
        let common = noise(1 << 60 | cluster << 32 | factor);
        let own = noise(1 << 61 | u64::from(number) << 16 | factor);
        let by = common + own;
        for (value, d) in vector.iter_mut().zip(direction) {
            *value += by * d;
        }
    }
    vector.into_iter()
}

fn document(number: u32) -> Value {
    let numbers: Vec<Value> = vector(number).map(Value::from).collect();
    json!({
        "id": format!("d{number}"),
        "title": format!("document number {number} of group {}", number % 1000),
        "number": number,
        "vector": numbers,
    })
}

fn question(number: u32) -> SearchRequest {
    SearchRequest {
        query: Some(format!("group {}", number % 1000)),
        vector: Some(vector(number).collect()),
        ..SearchRequest::default()
    }
}

fn catalog(folder: &Path) -> Result<Arc<Catalog>> {
    let mut config = Config::load(None)?;
    config.data.folder = folder.into();
    Ok(Arc::new(Catalog::new(&config)?))
}

/// Proportional set size of a process, in bytes.
fn memory(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.context("no Pss")? * 1024)
}

/// Writes the documents from `from` to `to`, with searches going on or without.
fn write(folder: &Path, from: u32, to: u32, searches: bool) -> Result<Value> {
    let catalog = catalog(folder)?;
    let index = match from {
        0 => catalog.create(Definition::from_toml(DEFINITION)?)?,
        _ => catalog.get("many")?,
    };
    let _refresher = catalog.refresh_in_background()?;
    let next = AtomicU32::new(from);
    let loading = AtomicBool::new(true);
    let started = Instant::now();
    let write = || -> Result<()> {
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= to {
                return Ok(());
            }
            let numbers = first..(first + BATCH).min(to);
            let prepared = numbers.map(|number| index.prepare(document(number)));
            let encoded = index.encode(prepared.collect::<Result<_, _>>()?)?;
            let changes: Vec<_> = encoded
                .iter()
                .map(|one| (Change::Put(one), IfVersion::Any))
                .collect();
            index.change(&changes, Durability::Synced)?;
            if first.is_multiple_of(100_000) {
                eprintln!("  {first} documents after {:.0?}", started.elapsed());
            }
        }
    };
    let ask = || -> Result<Vec<f64>> {
        let mut times = Vec::new();
        let mut due = Instant::now();
        while searches && loading.load(Ordering::Relaxed) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let asked = times.len() as u32;
            search(&index, &question(asked * 37))?;
            // From when it was to be asked: a search that had to wait counts as slow.
            times.push(due.elapsed().as_secs_f64() * 1e3);
            due += Duration::from_millis(20);
        }
        Ok(times)
    };
    let (acknowledged, searchable, sealed, times) = std::thread::scope(|scope| -> Result<_> {
        let asking = scope.spawn(ask);
        let writers = [scope.spawn(write), scope.spawn(write)];
        for writer in writers {
            writer.join().expect("a writer panicked")?;
        }
        let acknowledged = started.elapsed().as_secs_f64();
        while !finds(&index, to - 1)? {
            std::thread::sleep(Duration::from_millis(5));
        }
        let searchable = started.elapsed().as_secs_f64() - acknowledged;
        index.wait_for_background();
        let sealed = started.elapsed().as_secs_f64();
        loading.store(false, Ordering::Relaxed);
        let times = asking.join().expect("the searcher panicked")?;
        Ok((acknowledged, searchable, sealed, times))
    })?;
    for number in 0..SEARCHES {
        search(&index, &question(number * 101))?;
    }
    let documents = f64::from(to - from);
    Ok(json!({
        "acknowledged_docs_per_s": documents / acknowledged,
        "searchable_s": searchable,
        "sealed_docs_per_s": documents / sealed,
        "search_p50_ms": percentile(&times, 0.5),
        "search_p99_ms": percentile(&times, 0.99),
        "searches": times.len(),
        "memory_mb": memory(std::process::id())? as f64 / 1e6,
    }))
}

/// Whether the vectors and the words find a document.
fn finds(index: &Index, number: u32) -> Result<bool> {
    let by_vector = SearchRequest {
        vector: Some(vector(number).collect()),
        k: Some(1),
        ..SearchRequest::default()
    };
    let by_words = SearchRequest {
        query: Some(format!("number {number}")),
        k: Some(1),
        ..SearchRequest::default()
    };
    for request in [by_vector, by_words] {
        let answer = search(index, &request)?;
        let id = format!("d{number}");
        if answer.hits.first().is_none_or(|hit| hit.id != id) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn restart(folder: &Path) -> Result<Value> {
    let started = Instant::now();
    let mut server = Command::new(env!("CARGO_BIN_EXE_gleaner"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("GLEANER_DATA", folder)
        .env_remove("GLEANER_CONFIG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut log = BufReader::new(server.stderr.take().context("no log")?);
    let mut said = String::new();
    let address = loop {
        let before = said.len();
        ensure!(log.read_line(&mut said)? > 0, "it ended: {said}");
        if let Some((_, address)) = said[before..].split_once("listening address=") {
            break address.trim().to_string();
        }
    };
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    let url = format!("http://{address}/v1/indexes/many/search");
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let ask = |number: u32| -> Result<u16> {
        let vector: Vec<f32> = vector(number).collect();
        let body = json!({"query": format!("group {}", number % 1000), "vector": vector});
        Ok(agent.post(&url).send_json(body)?.status().as_u16())
    };
    while ask(7)? != 200 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let first = started.elapsed().as_secs_f64();
    for number in 0..SEARCHES {
        ensure!(ask(number * 101)? == 200, "a search failed");
    }
    let memory = memory(server.id())? as f64 / 1e6;
    server.kill()?;
    server.wait()?;
    Ok(json!({"first_answer_s": first, "memory_mb": memory}))
}

fn give_back(folder: &Path, documents: u32) -> Result<Value> {
    let catalog = catalog(folder)?;
    let index = catalog.get("many")?;
    index.wait_for_background();
    let before = index.disk_bytes();
    let started = Instant::now();
    let deleted = index.delete_where(&json!(format!("number < {}", documents / 2)))?;
    let delete_s = started.elapsed().as_secs_f64();
    ensure!(deleted == u64::from(documents / 2), "deleted {deleted}");
    index.compact()?;
    let compact_s = started.elapsed().as_secs_f64() - delete_s;
    let after = index.disk_bytes();
    Ok(json!({
        "disk_before_mb": before as f64 / 1e6,
        "disk_after_mb": after as f64 / 1e6,
        "disk_given_back": 1.0 - after as f64 / before as f64,
        "delete_s": delete_s,
        "compact_s": compact_s,
    }))
}

/// A part of the benchmark in a process of its own.
fn apart(part: &str, folder: &Path, from: u32, to: u32) -> Result<Value> {
    println!("{part} ...");
    let done = Command::new(std::env::current_exe()?)
        .args([part.into(), folder.as_os_str().to_owned()])
        .args([from.to_string(), to.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(done.status.success(), "{part} failed");
    let value = serde_json::from_slice(&done.stdout)?;
    println!("{value:#}");
    Ok(value)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [part, folder, from, to] = arguments.as_slice() {
        let (folder, from, to) = (Path::new(folder), from.parse()?, to.parse()?);
        let value = match part.as_str() {
            "write" => write(folder, from, to, true)?,
            "fill" => write(folder, from, to, false)?,
            _ => give_back(folder, to)?,
        };
        println!("{value}");
        return Ok(());
    }
    let place = arguments.iter().position(|a| a == "--documents");
    let documents = place.and_then(|at| arguments.get(at + 1));
    let documents: u32 = documents.map_or(Ok(1_000_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("data");
    let watched = documents.min(WATCHED);
    let written = apart("write", &folder, 0, watched)?;
    let filled = match documents > watched {
        true => apart("fill", &folder, watched, documents)?,
        false => written.clone(),
    };
    println!("restart ...");
    let restart = restart(&folder)?;
    println!("{restart:#}");
    let give_back = apart("give-back", &folder, 0, documents)?;
    let of = |value: &Value, key: &str| value[key].as_f64().unwrap_or(f64::NAN);
    report(
        "recovery",
        &json!({
            "documents": documents,
            "first_answer_s": of(&restart, "first_answer_s"),
            "memory_after_restart": of(&restart, "memory_mb") / of(&filled, "memory_mb"),
            "disk_given_back": of(&give_back, "disk_given_back"),
            "acknowledged_docs_per_s": of(&written, "acknowledged_docs_per_s"),
            "searchable_s": of(&written, "searchable_s"),
            "sealed_docs_per_s": of(&written, "sealed_docs_per_s"),
            "search_p99_ms": of(&written, "search_p99_ms"),
            "write": written,
            "fill": filled,
            "restart": restart,
            "give_back": give_back,
        }),
    )
}
