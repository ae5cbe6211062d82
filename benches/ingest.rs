//! Bulk loading against bare ONNX Runtime.
//!
//! `make bench-ingest`: loads SciFact's corpus (from `GLEANER_BENCH_DATA`) with the
//! `gleaner ingest` command and, in the same run, encodes the same passages with nothing
//! but ONNX Runtime: the same graph and number of threads, texts already tokenised and
//! sorted by length, in the best batch size and arrangement of threads of a printed
//! sweep. What the command does beyond that (start, read, check, tokenise, sync to disk,
//! index the words, publish) is the ratio's excess over 1.
//!
//! The sides take turns, and the fastest round of each is compared: other work on the
//! machine only ever adds time. How many cores others took is printed with every round.
//!
//! Besides, documents that bring their vectors (`ingest/ready.rs`), and a file much larger than
//! the memory that a load may take (`ingest/memory.rs`). `GLEANER_BENCH_PARTS` names what to run
//! of `encoding`, `ready` and `memory`; all of it without. Writes `reports/ingest.json`.

#[path = "ingest/memory.rs"]
mod memory;
#[path = "ingest/ready.rs"]
mod ready;
#[path = "support/mod.rs"]
mod support;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use gleaner::config::Config;
use gleaner::index::Catalog;
use gleaner::model::{BareSession, Task, TextEncoder};
use serde_json::{Value, json};
use support::machine::{Usage, Watch};
use support::{bench_data, least, median, report};

/// Rounds of each side.
const ROUNDS: usize = 3;
/// Rounds of the sweep; each configuration is judged by its fastest.
const SWEEP_ROUNDS: usize = 2;
/// The sweep runs every so-many-th passage.
const SWEEP_SHARE: usize = 16;
/// Time between two looks at a running command.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Documents that bring their vectors.
const READY: usize = 100_000;

fn main() -> Result<()> {
    let parts = std::env::var("GLEANER_BENCH_PARTS").unwrap_or("encoding,ready,memory".into());
    let wanted = |part: &str| parts.split(',').any(|wanted| wanted == part);
    let mut figures = serde_json::Map::new();
    let folder = tempfile::tempdir()?;
    if wanted("encoding") {
        let Some(encoding) = encoding(folder.path())? else {
            return Ok(());
        };
        for key in [
            "vs_bare_encoder",
            "of_bare_encoder",
            "documents_per_s",
            "tokens_per_s",
        ] {
            figures.insert(key.into(), encoding[key].clone());
        }
        figures.insert("encoding".into(), encoding);
    }
    if wanted("ready") {
        let documents = std::env::var("GLEANER_BENCH_DOCUMENTS");
        let documents = documents.map_or(Ok(READY), |n| n.parse())?;
        let ready = ready::run(folder.path(), documents)?;
        for key in [
            "acknowledged_docs_per_s",
            "searchable_s",
            "sealed_docs_per_s",
        ] {
            figures.insert(key.into(), ready[key].clone());
        }
        figures.insert("ready".into(), ready);
    }
    if wanted("memory") {
        let config = Config::load(None)?;
        let memory = memory::run(&config, &folder.path().join("memory"))?;
        figures.insert("peak_memory_mb".into(), memory["peak_memory_mb"].clone());
        figures.insert("memory".into(), memory);
    }
    report("ingest", &Value::Object(figures))
}

/// Loading beside bare encoding; None where the collection is missing.
fn encoding(folder: &Path) -> Result<Option<Value>> {
    let Some(data) = bench_data("retrieval/scifact")? else {
        return Ok(None);
    };
    let corpus = support::corpus_file(&data, folder)?;
    let mut config = Config::load(None)?;
    config.data.folder = folder.join("bare");
    let runtime = &config.models.runtime;
    let threads = runtime.session_count() * runtime.threads_per_session;

    let (encoder, texts) = tokenised(&config, &corpus)?;
    let tokens: usize = texts.iter().map(Vec::len).sum();
    println!(
        "{} passages, {tokens} tokens, {threads} threads",
        texts.len()
    );
    let (mut bare, batch_tokens) = sweep(&encoder, &texts, threads)?;

    let mut encoding = Vec::new();
    let mut loading = Vec::new();
    for n in 0..ROUNDS {
        let encoded = bare.round(&texts, batch_tokens)?;
        let loaded = ingest(&config, &folder.join(n.to_string()), &corpus)?;
        println!(
            "round {n}: bare {encoded}; ingest {loaded}; ratio {:.3}",
            loaded.wall / encoded.wall
        );
        encoding.push(encoded);
        loading.push(loaded);
    }
    Ok(Some(conclude(&encoding, &loading, texts.len(), tokens)))
}

/// The encoder, and the token ids of every passage that loading the file encodes, longest
/// first.
fn tokenised(config: &Config, corpus: &Path) -> Result<(TextEncoder, Vec<Vec<u32>>)> {
    let index = Catalog::new(config)?.create(support::beir_definition()?)?;
    let mut passages = Vec::new();
    for line in std::fs::read_to_string(corpus)?.lines() {
        let prepared = index.prepare(serde_json::from_str(line)?)?;
        passages.extend(prepared.passages().map(str::to_string));
    }
    let encoder = index.encoder()?.clone();
    let mut texts = encoder.token_ids(Task::Document, &passages)?;
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    Ok((encoder, texts))
}

/// What one turn of a side took.
#[derive(Clone, Copy)]
struct Round {
    /// Seconds from start to end.
    wall: f64,
    /// Seconds of processor time.
    cpu: f64,
    /// Cores that others kept busy meanwhile.
    others: f64,
    /// Largest resident memory; of the command only.
    peak_mb: f64,
    /// Seconds until a search of what was loaded has been answered by another process.
    searchable: f64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} s (cpu {:.2} s, others {:.2} cores)",
            self.wall, self.cpu, self.others
        )
    }
}

/// Batch sizes of the sweep, in tokens: texts times the longest of them. Among texts of
/// like length this is the same as a number of texts.
const BATCH_TOKENS: [usize; 6] = [512, 1024, 2048, 4096, 8192, 16384];

/// Cuts texts, longest first, into batches.
fn cut(mut texts: &[Vec<u32>], batch_tokens: usize) -> Vec<&[Vec<u32>]> {
    let mut batches = Vec::new();
    while let Some(longest) = texts.first() {
        let count = batch_tokens / longest.len().max(1);
        let (batch, rest) = texts.split_at(count.clamp(1, texts.len()));
        batches.push(batch);
        texts = rest;
    }
    batches
}

/// Sessions of nothing but ONNX Runtime; each is driven by a thread of its own.
struct Bare {
    sessions: Vec<BareSession>,
}

impl Bare {
    fn open(encoder: &TextEncoder, sessions: usize, threads: usize) -> Result<Bare> {
        let sessions = (0..sessions).map(|_| encoder.bare(threads));
        Ok(Bare {
            sessions: sessions.collect::<Result<_, _>>()?,
        })
    }

    fn round(&mut self, texts: &[Vec<u32>], batch_tokens: usize) -> Result<Round> {
        let batches = cut(texts, batch_tokens);
        let next = AtomicUsize::new(0);
        let watch = Watch::start()?;
        let before = Usage::own()?;
        std::thread::scope(|scope| {
            let (batches, next) = (&batches, &next);
            let turns: Vec<_> = self
                .sessions
                .iter_mut()
                .map(|session| {
                    scope.spawn(move || {
                        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                            session.run(batch)?;
                        }
                        Ok::<_, gleaner::error::Error>(())
                    })
                })
                .collect();
            turns
                .into_iter()
                .try_for_each(|turn| turn.join().expect("an encoding thread panicked"))
        })?;
        let wall = watch.wall();
        let cpu = Usage::own()?.cpu - before.cpu;
        Ok(Round {
            wall,
            cpu,
            others: watch.others(cpu)?,
            peak_mb: f64::NAN,
            searchable: f64::NAN,
        })
    }
}

/// Tries batch sizes with the threads inside one session and with one session a thread;
/// prints all and returns the fastest.
fn sweep(encoder: &TextEncoder, texts: &[Vec<u32>], threads: usize) -> Result<(Bare, usize)> {
    let sample: Vec<Vec<u32>> = texts.iter().step_by(SWEEP_SHARE).cloned().collect();
    let tokens: usize = sample.iter().map(Vec::len).sum();
    let mut arrangements = vec![(threads, 1)];
    if threads > 1 {
        arrangements.push((1, threads));
    }
    let mut all = Vec::new();
    for (sessions, inside) in arrangements {
        all.push((
            format!("{sessions} x {inside}"),
            Bare::open(encoder, sessions, inside)?,
        ));
    }
    let mut walls = vec![vec![f64::INFINITY; BATCH_TOKENS.len()]; all.len()];
    for _ in 0..SWEEP_ROUNDS {
        for ((_, bare), walls) in all.iter_mut().zip(&mut walls) {
            for (batch_tokens, best) in BATCH_TOKENS.iter().zip(walls) {
                *best = best.min(bare.round(&sample, *batch_tokens)?.wall);
            }
        }
    }
    println!("bare ONNX Runtime, tokens/s on every {SWEEP_SHARE}th passage:");
    print!("{:<16}", "tokens a batch");
    for (name, _) in &all {
        print!(" {name:>12}");
    }
    println!("   (sessions x threads)");
    let mut best = (f64::INFINITY, 0, BATCH_TOKENS[0]);
    for (n, &batch_tokens) in BATCH_TOKENS.iter().enumerate() {
        print!("{batch_tokens:<16}");
        for (arrangement, walls) in walls.iter().enumerate() {
            print!(" {:>12.0}", tokens as f64 / walls[n]);
            if walls[n] < best.0 {
                best = (walls[n], arrangement, batch_tokens);
            }
        }
        println!();
    }
    let (_, arrangement, batch_tokens) = best;
    let (name, bare) = all.swap_remove(arrangement);
    println!("best: {name}, {batch_tokens} tokens a batch");
    Ok((bare, batch_tokens))
}

/// `gleaner`, with everything at its defaults but the models.
fn gleaner(config: &Config, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gleaner"));
    command.arg("--json").arg("--data").arg(data);
    for folder in &config.models.folders {
        command
            .arg("--models-dir")
            .arg(std::path::absolute(folder).unwrap_or(folder.clone()));
    }
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Creates an index in a new folder and loads the corpus into it.
fn ingest(config: &Config, folder: &Path, corpus: &Path) -> Result<Round> {
    std::fs::create_dir_all(folder)?;
    let definition = folder.join("beir.toml");
    std::fs::write(&definition, include_str!("../indexes/beir.toml"))?;
    let created = gleaner(config, folder)
        .args(["index", "create"])
        .arg(&definition)
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(created.success(), "the index could not be created");

    let watch = Watch::start()?;
    let mut child = gleaner(config, folder)
        .args(["ingest", "beir", "--quiet"])
        .arg(corpus)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut usage = Usage::default();
    let status = loop {
        let now = Usage::of(child.id())?;
        usage.cpu = usage.cpu.max(now.cpu);
        usage.peak_mb = usage.peak_mb.max(now.peak_mb);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let wall = watch.wall();
    let others = watch.others(usage.cpu)?;
    anyhow::ensure!(status.success(), "`gleaner ingest` failed: {status}");
    let mut printed = String::new();
    let mut out = child.stdout.take().context("no standard output")?;
    out.read_to_string(&mut printed)?;
    let summary: Value = serde_json::from_str(&printed)?;
    let rows = std::fs::read_to_string(corpus)?.lines().count();
    anyhow::ensure!(
        summary["loaded"] == json!(rows),
        "not everything was loaded: {summary}"
    );

    let found = gleaner(config, folder)
        .args(["search", "beir", "immune response to infection"])
        .output()?;
    let searchable = watch.wall();
    let answer: Value = serde_json::from_slice(&found.stdout)?;
    anyhow::ensure!(
        answer["hits"]
            .as_array()
            .is_some_and(|hits| hits.len() == 10)
            && answer["degraded"].as_array().is_none_or(Vec::is_empty),
        "a search after loading came back short: {answer}"
    );
    std::fs::remove_dir_all(folder)?;
    Ok(Round {
        wall,
        cpu: usage.cpu,
        others,
        peak_mb: usage.peak_mb,
        searchable,
    })
}

fn conclude(bare: &[Round], ingest: &[Round], passages: usize, tokens: usize) -> Value {
    let values =
        |rounds: &[Round], of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    let (bare_wall, wall) = (values(bare, |r| r.wall), values(ingest, |r| r.wall));
    let (bare_cpu, cpu) = (values(bare, |r| r.cpu), values(ingest, |r| r.cpu));
    let row = |name: &str, bare: f64, ingest: f64| {
        println!(
            "{name:<18} {bare:>10.2} {ingest:>10.2} {:>8.3}",
            ingest / bare
        );
    };
    println!("{:<18} {:>10} {:>10} {:>8}", "", "bare", "ingest", "ratio");
    row("wall s, fastest", least(&bare_wall), least(&wall));
    row("wall s, median", median(&bare_wall), median(&wall));
    row("cpu s, least", least(&bare_cpu), least(&cpu));
    let fastest = least(&wall);
    let searchable = least(&values(ingest, |r| r.searchable));
    let peak = values(ingest, |r| r.peak_mb)
        .into_iter()
        .fold(0.0, f64::max);
    println!(
        "{:.0} documents/s and {:.0} tokens/s acknowledged",
        passages as f64 / fastest,
        tokens as f64 / fastest
    );
    println!("{searchable:.2} s from the start until another process has answered a search");
    println!("{peak:.0} MB at most");
    json!({
        "vs_bare_encoder": fastest / least(&bare_wall),
        "of_bare_encoder": least(&bare_wall) / fastest,
        "vs_bare_encoder_median": median(&wall) / median(&bare_wall),
        "vs_bare_encoder_cpu": least(&cpu) / least(&bare_cpu),
        "bare_s": least(&bare_wall),
        "ingest_s": fastest,
        "documents_per_s": passages as f64 / fastest,
        "tokens_per_s": tokens as f64 / fastest,
        "bare_tokens_per_s": tokens as f64 / least(&bare_wall),
        "searched_after_s": searchable,
        "peak_memory_mb": peak,
    })
}
