//! This project's side of the comparison of vector engines.
//!
//! `make bench-vectors` runs `tools/bench_vectors.py`, which starts this program and one
//! for each peer, sends all of them the same requests (one JSON object a line; the
//! protocol stands at the top of `benches/peers/engine.py`) and compares the answers.
//! Everything goes through the public interface of `gleaner::vector`.
//!
//! * `vectors engine` answers requests;
//! * `vectors prepare minilm DIR` makes vectors of real text, from the collections that
//!   `GLEANER_BENCH_DATA` names: sentences as the base, claims and questions as queries.

#[path = "support/sentences.rs"]
mod sentences;
#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use gleaner::config::Config;
use gleaner::filter::OrdinalSet;
use gleaner::model::{Registry, Task};
use gleaner::vector::{Builder, Owner, VectorIndex, VectorOptions, VectorQuery, VectorReader, Way};
use serde_json::{Value, json};

/// Vectors and queries of the data set made of real text.
const BASE: usize = 100_000;
const QUERIES: usize = 1_000;
/// Texts encoded at a time.
const TEXTS: usize = 1_024;

fn main() -> Result<()> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["engine"] => engine(),
        ["prepare", "minilm", folder] => prepare(Path::new(folder)),
        _ => {
            println!(
                "run by `make bench-vectors`, as `vectors engine` or `vectors prepare minilm DIR`"
            );
            Ok(())
        }
    }
}

/// Encodes sentences and queries.
fn prepare(folder: &Path) -> Result<()> {
    let data = std::env::var_os("GLEANER_BENCH_DATA").context("GLEANER_BENCH_DATA is not set")?;
    let retrieval = PathBuf::from(data).join("retrieval");
    let config = Config::load(None)?;
    let folders = config.models.folders.clone();
    let registry = Registry::new(folders, config.models.runtime.clone());
    let encoder = registry.open("all-minilm-l6-v2")?;
    let encode = |task: Task, texts: &[String], name: &str| -> Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join(name))?);
        for texts in texts.chunks(TEXTS) {
            let encoded = encoder.encode(task, texts)?;
            for value in &encoded.vectors {
                file.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(file.flush()?)
    };
    let base = sentences::sentences(&retrieval, BASE)?;
    let queries = sentences::queries(&retrieval, QUERIES)?;
    encode(Task::Document, &base, "base.f32")?;
    encode(Task::Query, &queries, "queries.f32")?;
    let meta = json!({
        "name": "minilm",
        "dimensions": encoder.dimensions(),
        "count": base.len(),
        "queries": queries.len(),
    });
    Ok(std::fs::write(folder.join("meta.json"), meta.to_string())?)
}

/// Answers requests, a line each, until there are no more.
fn engine() -> Result<()> {
    let mut engine = Engine::default();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        if request["op"] == "quit" {
            break;
        }
        let answer = engine
            .answer(&request)
            .unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Engine {
    dimensions: usize,
    index: Option<VectorIndex>,
    /// Where the index keeps its files.
    folder: Option<tempfile::TempDir>,
    queries: Vec<f32>,
    /// After some were deleted: those that are left.
    live: Option<Arc<OrdinalSet>>,
}

impl Engine {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        match text(request, "op")? {
            "hello" => Ok(json!({
                "engine": "gleaner",
                "version": env!("CARGO_PKG_VERSION"),
                "settings": settings(),
            })),
            "build" => self.build(request),
            "save" => self.save(request),
            "open" => self.open(request),
            "search" => self.search(request),
            "churn" => self.churn(request),
            other => bail!("no such operation: {other}"),
        }
    }

    fn options(&self) -> VectorOptions {
        VectorOptions {
            builder: builder(),
            ..VectorOptions::new(self.dimensions)
        }
    }

    fn build(&mut self, request: &Value) -> Result<Value> {
        let data = Path::new(text(request, "data")?);
        self.dimensions = dimensions(data)?;
        let base = floats(&data.join("base.f32"))?;
        let threads = request["threads"].as_u64().unwrap_or(1) as usize;
        let folder = tempfile::tempdir()?;
        let started = Instant::now();
        let options = VectorOptions {
            build_threads: threads,
            ..self.options()
        };
        let index = VectorIndex::open(options, folder.path(), &owner())?;
        for (ordinal, vector) in (0..).zip(base.chunks_exact(self.dimensions)) {
            index.add(ordinal, vector)?;
        }
        index.publish();
        index.wait_for_background();
        let seconds = started.elapsed().as_secs_f64();
        self.index = Some(index);
        self.folder = Some(folder);
        Ok(json!({"seconds": seconds}))
    }

    fn save(&mut self, request: &Value) -> Result<Value> {
        let path = Path::new(text(request, "path")?);
        let folder = self.folder.as_ref().context("nothing was built")?;
        std::fs::create_dir_all(path)?;
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder.path())? {
            let entry = entry?;
            bytes += std::fs::copy(entry.path(), path.join(entry.file_name()))?;
        }
        Ok(json!({"bytes": bytes}))
    }

    fn open(&mut self, request: &Value) -> Result<Value> {
        let data = Path::new(text(request, "data")?);
        self.dimensions = dimensions(data)?;
        self.queries = floats(&data.join("queries.f32"))?;
        let path = Path::new(text(request, "path")?);
        let started = Instant::now();
        let index = VectorIndex::open(self.options(), path, &owner())?;
        let seconds = started.elapsed().as_secs_f64();
        ensure!(!index.is_empty(), "{} holds no vectors", path.display());
        self.index = Some(index);
        Ok(json!({"seconds": seconds}))
    }

    fn search(&mut self, request: &Value) -> Result<Value> {
        let reader = self.index.as_ref().context("nothing is open")?.reader();
        let number = |name: &str, default: usize| {
            request[name]
                .as_u64()
                .map_or(default, |number| number as usize)
        };
        let (k, threads, rounds) = (number("k", 10), number("threads", 1), number("rounds", 1));
        let how = VectorQuery {
            way: match request["strategy"].as_str() {
                None => None,
                Some("scan") => Some(Way::Scan),
                Some("walk") => Some(Way::Hop),
                Some("post") => Some(Way::Walk),
                Some(other) => bail!("no such strategy: {other}"),
            },
            ..VectorQuery::new(k, number("ef", 64))
        };
        let filter = request["filter"].as_str().map(mask).transpose()?;
        let allowed = filter.as_ref().or(self.live.as_deref());
        let queries: Vec<&[f32]> = self.queries.chunks_exact(self.dimensions).collect();
        let queries = &queries[..number("limit", queries.len()).min(queries.len())];
        let share = queries.len().div_ceil(threads).max(1);
        let started = Instant::now();
        let mut ids = Vec::new();
        for _ in 0..rounds {
            ids = if threads == 1 {
                ask(&reader, queries, &how, allowed)?
            } else {
                std::thread::scope(|scope| {
                    let (reader, how) = (&reader, &how);
                    let turns: Vec<_> = queries
                        .chunks(share)
                        .map(|part| scope.spawn(move || ask(reader, part, how, allowed)))
                        .collect();
                    let parts = turns
                        .into_iter()
                        .map(|turn| turn.join().map_err(|_| anyhow!("a search panicked"))?);
                    Ok::<_, anyhow::Error>(parts.collect::<Result<Vec<_>>>()?.concat())
                })?
            };
        }
        let seconds = started.elapsed().as_secs_f64();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        std::fs::write(text(request, "out")?, bytes)?;
        Ok(json!({"seconds": seconds, "queries": rounds * queries.len()}))
    }

    /// Deletes some, and inserts as many.
    fn churn(&mut self, request: &Value) -> Result<Value> {
        let index = self.index.as_ref().context("nothing is open")?;
        let deleted = mask(text(request, "delete")?)?;
        let inserted = floats(Path::new(text(request, "insert")?))?;
        let first = index.len() as u32;
        let mut live = OrdinalSet::full(first);
        live.and_not(&deleted);
        let mut next = first;
        for vector in inserted.chunks_exact(self.dimensions) {
            index.add(next, vector)?;
            live.insert(next);
            next += 1;
        }
        let live = Arc::new(live);
        index.set_live(Arc::clone(&live), next);
        index.publish();
        index.wait_for_background();
        self.live = Some(live);
        Ok(json!({}))
    }
}

/// The ids of the hits, as many as asked for of each query, one query after another.
fn ask(
    reader: &VectorReader,
    queries: &[&[f32]],
    how: &VectorQuery,
    allowed: Option<&OrdinalSet>,
) -> Result<Vec<u32>> {
    let mut ids = Vec::with_capacity(queries.len() * how.depth);
    for (asked, query) in queries.iter().enumerate() {
        let found = reader.search(query, how, allowed)?;
        ids.extend(found.hits.iter().map(|hit| hit.ordinal));
        ids.resize((asked + 1) * how.depth, u32::MAX);
    }
    Ok(ids)
}

/// `GLEANER_BENCH_BUILDER=hnsw_rs` builds with that crate instead.
fn builder() -> Builder {
    match std::env::var("GLEANER_BENCH_BUILDER").as_deref() {
        Ok("hnsw_rs") => Builder::HnswRs,
        _ => Builder::Native,
    }
}

fn owner() -> Owner {
    Owner {
        id: "bench".into(),
        next_ordinal: u32::MAX,
        inherited: Vec::new(),
    }
}

fn settings() -> String {
    let options = VectorOptions::new(1);
    format!(
        "m {}, ef_construction {}, 4 bits to walk by, 8 to order by, 16 to score by, built by {:?}",
        options.m,
        options.ef_construction,
        builder()
    )
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str> {
    request[name]
        .as_str()
        .with_context(|| format!("`{name}` is missing"))
}

fn dimensions(data: &Path) -> Result<usize> {
    let meta: Value = serde_json::from_slice(&std::fs::read(data.join("meta.json"))?)?;
    let dimensions = meta["dimensions"].as_u64().context("no dimensions")?;
    Ok(dimensions as usize)
}

fn floats(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let fours = bytes.as_chunks::<4>().0.iter();
    Ok(fours.map(|four| f32::from_le_bytes(*four)).collect())
}

/// The ids whose byte is not 0.
fn mask(path: impl AsRef<Path>) -> Result<OrdinalSet> {
    let bytes = std::fs::read(path)?;
    let ids = (0..).zip(&bytes).filter(|(_, byte)| **byte != 0);
    Ok(ids.map(|(id, _)| id).collect())
}
