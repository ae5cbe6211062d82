//! Vectors over HTTP under mixed load, and the encoder against its peers.
//!
//! `make bench-encoders`: serves `/v1/embeddings` on a loopback port and asks it
//! 1. passages alone: a load that saturates the encoder, in a closed loop;
//! 2. short queries alone, in an open loop: at fixed times, whatever became of those before.
//!    A query's time runs from when it was due, so that waiting to be sent counts;
//! 3. both at once: what the load costs the queries, and the queries the load.
//!
//! Then the same passages go through the encoder without HTTP, through bare ONNX Runtime
//! (tokenised, sorted and cut into batches beforehand, on as many sessions), and through
//! sentence-transformers, on PyTorch and on its int8 ONNX backend, where
//! `GLEANER_PEER_PYTHON` names a Python that has it (tools/bench_encoders.py brings one).
//! The sides take turns; the fastest round of each counts, since other work on the machine
//! only ever adds time.
//!
//! Passages are SciFact's abstracts (from `GLEANER_BENCH_DATA`), joined and cut at 285 words,
//! which is about 400 tokens; the default model reads 256 tokens of each, so all sides
//! encode the same. Queries are its test claims, cut at eight words.
//! Writes `reports/embeddings.json`. `GLEANER_SECONDS` sets how long each phase takes (20).

#[path = "support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gleaner::api::Server;
use gleaner::config::Config;
use gleaner::index::Catalog;
use gleaner::model::{Task, TextEncoder};
use serde_json::{Value, json};
use support::machine::{Usage, Watch};
use support::{bare, bench_data, median, percentile, report};

/// Queries a second.
const RATE: f64 = 50.0;
/// Words of a passage.
const PASSAGE_WORDS: usize = 285;
/// Words of a query.
const QUERY_WORDS: usize = 8;
/// Passages in a request, and requests of the load under way at once.
const BULK_INPUTS: usize = 32;
const BULK_CALLERS: usize = 4;
/// Connections of the queries: more than are ever under way.
const QUERY_CALLERS: usize = 32;
/// Passages of the comparison without HTTP, and its rounds: more with bare ONNX Runtime, which
/// is too near for few to tell them apart.
const COMPARED: usize = 256;
const ROUNDS: usize = 5;
const NEAR_ROUNDS: usize = 13;

fn main() -> Result<()> {
    let Some(data) = bench_data("retrieval/scifact")? else {
        return Ok(());
    };
    let seconds = std::env::var("GLEANER_SECONDS").ok();
    let phase = Duration::from_secs_f64(seconds.map_or(Ok(20.0), |s| s.parse())?);
    let folder = tempfile::tempdir()?;
    let mut config = Config::load(None)?;
    config.data.folder = folder.path().join("data");
    config.server.listen = "127.0.0.1:0".into();
    // Every text is to be encoded.
    config.models.runtime.cache_bytes = 0;
    let catalog = Arc::new(Catalog::new(&config)?);
    let name = support::beir_definition()?
        .embedding
        .and_then(|embedding| embedding.model)
        .context("the definition names a model")?;
    let encoder = catalog.settings().models.open(&name)?;
    let texts = Texts::read(&data)?;
    let reach = encoder.encode(Task::Document, &texts.passages[..BULK_INPUTS])?;
    println!(
        "{name}: passages of {:.0} words, of which {:.0} tokens are read; {} sessions",
        texts.words(),
        reach.tokens.iter().map(|&t| f64::from(t)).sum::<f64>() / BULK_INPUTS as f64,
        config.models.runtime.session_count(),
    );

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let server = runtime.block_on(Server::bind(&config, catalog.clone()))?;
    let url = format!("http://{}/v1/embeddings", server.local_addr());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.run(async {
        let _ = stopped.await;
    }));
    let asked = Asked {
        url: &url,
        model: &name,
        texts: &texts,
        encoder: &encoder,
    };
    let idle = |time| {
        std::thread::sleep(time);
        Queries::default()
    };
    let alone = asked.under_load(|| idle(phase))?;
    let quiet = asked.watched(|| asked.queries(phase))?;
    let under_load = asked.under_load(|| asked.queries(phase))?;
    let _ = stop.send(());
    runtime.block_on(serving)??;

    let kept = under_load.passages / alone.passages;
    println!("passages alone            {:>8.1} /s", alone.passages);
    println!(
        "passages with queries     {:>8.1} /s, {:.0} % of that",
        under_load.passages,
        kept * 100.0
    );
    for (what, phase) in [
        ("queries alone", &quiet),
        ("queries with passages", &under_load),
    ] {
        let queries = &phase.queries;
        println!(
            "{what:<25} p50 {:>6.2} ms, p99 {:>6.2} ms, {} of {} failed; others took {:.2} cores",
            median(&queries.ms),
            percentile(&queries.ms, 0.99),
            queries.failed,
            queries.ms.len() + queries.failed,
            phase.others,
        );
    }

    let sides = compare(&encoder, &texts, &config)?;
    let ours = rate_of(&sides, "gleaner").unwrap_or(f64::NAN);
    let mut ratios = serde_json::Map::new();
    for (side, rate) in &sides {
        println!(
            "{side:<28} {rate:>8.1} passages/s, gleaner is {:.2} times that",
            ours / rate
        );
        ratios.insert(side.clone(), json!({"rate": rate, "ratio": ours / rate}));
    }
    report(
        "embeddings",
        &json!({
            "model": name,
            "rate": RATE,
            "seconds": phase.as_secs_f64(),
            "query_p50_ms": median(&under_load.queries.ms),
            "query_p99_ms": percentile(&under_load.queries.ms, 0.99),
            "query_failures": under_load.queries.failed,
            "query_alone_p50_ms": median(&quiet.queries.ms),
            "query_alone_p99_ms": percentile(&quiet.queries.ms, 0.99),
            "bulk_alone": alone.passages,
            "bulk_disturbed": under_load.passages,
            "bulk_ratio": kept,
            "others_cores": alone.others.max(under_load.others),
            "peers": ratios,
        }),
    )
}

struct Texts {
    passages: Vec<String>,
    queries: Vec<String>,
}

impl Texts {
    fn read(data: &std::path::Path) -> Result<Texts> {
        let mut words: Vec<String> = Vec::new();
        let mut passages = Vec::new();
        for line in std::fs::read_to_string(data.join("corpus.jsonl"))?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let text = row["text"].as_str().unwrap_or_default();
            words.extend(text.split_whitespace().map(str::to_owned));
            while words.len() >= PASSAGE_WORDS {
                let rest = words.split_off(PASSAGE_WORDS);
                passages.push(words.join(" "));
                words = rest;
            }
        }
        let queries = support::queries(data)?
            .iter()
            .map(|query| {
                let words: Vec<&str> = query.split_whitespace().take(QUERY_WORDS).collect();
                words.join(" ")
            })
            .collect();
        ensure!(passages.len() >= COMPARED, "too few passages");
        Ok(Texts { passages, queries })
    }

    fn words(&self) -> f64 {
        PASSAGE_WORDS as f64
    }
}

/// What came of a phase.
struct Phase {
    queries: Queries,
    /// Passages encoded a second.
    passages: f64,
    /// Cores that others took meanwhile.
    others: f64,
}

/// Times of queries that were answered.
#[derive(Default)]
struct Queries {
    ms: Vec<f64>,
    failed: usize,
}

struct Asked<'a> {
    url: &'a str,
    model: &'a str,
    texts: &'a Texts,
    encoder: &'a TextEncoder,
}

impl Asked<'_> {
    /// What comes of `work`; what was encoded meanwhile beside its queries are passages.
    fn watched(&self, work: impl FnOnce() -> Queries) -> Result<Phase> {
        let watch = Watch::start()?;
        let cpu = Usage::own()?.cpu;
        let (started, before) = (Instant::now(), self.encoder.counts().texts);
        let queries = work();
        let encoded = self.encoder.counts().texts - before;
        let passages = encoded.saturating_sub(queries.ms.len() as u64);
        Ok(Phase {
            passages: passages as f64 / started.elapsed().as_secs_f64(),
            others: watch.others(Usage::own()?.cpu - cpu)?,
            queries,
        })
    }

    /// The same while callers send passages, each as soon as it was answered.
    fn under_load(&self, work: impl FnOnce() -> Queries) -> Result<Phase> {
        let over = AtomicBool::new(false);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..BULK_CALLERS)
                .map(|_| scope.spawn(|| self.load(&next, &over)))
                .collect();
            // Until it is under way.
            std::thread::sleep(Duration::from_secs(1));
            let phase = self.watched(work);
            over.store(true, Ordering::Relaxed);
            for caller in callers {
                caller
                    .join()
                    .map_err(|_| anyhow::anyhow!("a caller panicked"))??;
            }
            phase
        })
    }

    fn load(&self, next: &AtomicUsize, over: &AtomicBool) -> Result<()> {
        let agent = ureq::Agent::new_with_defaults();
        while !over.load(Ordering::Relaxed) {
            let first = next.fetch_add(BULK_INPUTS, Ordering::Relaxed);
            let inputs: Vec<&str> = (first..first + BULK_INPUTS)
                .map(|n| self.texts.passages[n % self.texts.passages.len()].as_str())
                .collect();
            let mut response = agent.post(self.url).send_json(json!({
                "model": self.model,
                "input": inputs,
                "encoding_format": "base64",
            }))?;
            response.body_mut().read_to_vec()?;
        }
        Ok(())
    }

    /// Queries at fixed times.
    fn queries(&self, time: Duration) -> Queries {
        let count = (time.as_secs_f64() * RATE) as usize;
        let next = AtomicUsize::new(0);
        let started = Instant::now();
        let parts: Vec<Queries> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..QUERY_CALLERS)
                .map(|_| {
                    scope.spawn(|| {
                        let agent = ureq::Agent::new_with_defaults();
                        let mut part = Queries {
                            ms: Vec::new(),
                            failed: 0,
                        };
                        loop {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            if n >= count {
                                return part;
                            }
                            let due = started + Duration::from_secs_f64(n as f64 / RATE);
                            std::thread::sleep(due.saturating_duration_since(Instant::now()));
                            let text = &self.texts.queries[n % self.texts.queries.len()];
                            let answer = agent
                                .post(self.url)
                                .send_json(json!({
                                    "model": self.model, "input": text, "task": "query",
                                    "encoding_format": "base64",
                                }))
                                .and_then(|mut response| response.body_mut().read_to_vec());
                            match answer {
                                Ok(_) => part.ms.push(due.elapsed().as_secs_f64() * 1e3),
                                Err(_) => part.failed += 1,
                            }
                        }
                    })
                })
                .collect();
            callers
                .into_iter()
                .map(|caller| {
                    caller.join().unwrap_or(Queries {
                        ms: Vec::new(),
                        failed: 1,
                    })
                })
                .collect()
        });
        Queries {
            failed: parts.iter().map(|part| part.failed).sum(),
            ms: parts.into_iter().flat_map(|part| part.ms).collect(),
        }
    }
}

fn rate_of(sides: &[(String, f64)], name: &str) -> Option<f64> {
    sides.iter().find(|(side, _)| side == name).map(|(_, r)| *r)
}

/// Passages a second of each side, ours first.
fn compare(encoder: &TextEncoder, texts: &Texts, config: &Config) -> Result<Vec<(String, f64)>> {
    let passages = &texts.passages[..COMPARED];
    let runtime = &config.models.runtime;
    let sessions = runtime.session_count();
    let ids = encoder.token_ids(Task::Document, passages)?;
    let batches = bare::batches(ids, Vec::len, runtime.batch_tokens, false);
    let mut bare_sessions = (0..sessions)
        .map(|_| encoder.bare(runtime.threads_per_session))
        .collect::<Result<Vec<_>, _>>()?;
    let mut fastest = [f64::INFINITY; 2];
    let mut tokenizing = f64::INFINITY;
    for _ in 0..NEAR_ROUNDS {
        let started = Instant::now();
        encoder.token_ids(Task::Document, passages)?;
        tokenizing = tokenizing.min(started.elapsed().as_secs_f64());

        let started = Instant::now();
        encoder.encode(Task::Document, passages)?;
        fastest[0] = fastest[0].min(started.elapsed().as_secs_f64());

        let took = bare::run(&mut bare_sessions, &batches, |session, batch| {
            Ok(session.run(batch)?)
        })?;
        fastest[1] = fastest[1].min(took);
    }
    println!(
        "gleaner: {:.2} s, of which tokenising {tokenizing:.2} s; bare: {:.2} s",
        fastest[0], fastest[1]
    );
    let rate = |seconds: f64| COMPARED as f64 / seconds;
    let mut sides = vec![
        ("gleaner".to_owned(), rate(fastest[0])),
        ("bare ONNX Runtime".to_owned(), rate(fastest[1])),
    ];
    match std::env::var_os("GLEANER_PEER_PYTHON") {
        None => println!("sentence-transformers: left out, GLEANER_PEER_PYTHON is not set"),
        Some(python) => sides.extend(peers(&python, passages, sessions)?),
    }
    Ok(sides)
}

/// What the Python peers do with the same passages and as many threads.
fn peers(
    python: &std::ffi::OsStr,
    passages: &[String],
    threads: usize,
) -> Result<Vec<(String, f64)>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec(passages)?)?;
    let done = Command::new(python)
        .arg("benches/peers/encoders.py")
        .arg(file.path())
        .arg(threads.to_string())
        .arg(ROUNDS.to_string())
        .output()
        .context("running sentence-transformers")?;
    ensure!(
        done.status.success(),
        "sentence-transformers failed: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let last = String::from_utf8(done.stdout)?;
    let last = last.lines().last().unwrap_or_default();
    let sides: std::collections::BTreeMap<String, f64> = serde_json::from_str(last)?;
    Ok(sides.into_iter().collect())
}
