//! Re-ranking against bare ONNX Runtime, pairs a second.
//!
//! `make bench-rerank`: test claims of SciFact (from `GLEANER_BENCH_DATA`), each with the
//! documents that hybrid search would hand to the reranker, as one call a query, one query
//! after the other, which is how a search re-ranks; beside it bare ONNX Runtime with ideal
//! batches: the same graph, sessions and threads, all pairs of all queries already tokenised,
//! sorted by length and cut into batches of one size, the best of a printed sweep, padded to
//! their longest or of one length. Then several queries at once, as a server has them.
//! The sides take turns; the fastest round of each counts, since other work on the machine
//! only ever adds time. Writes `reports/rerank.json`.
//!
//! `GLEANER_RERANKER` names the model; where it is unset, the one of `indexes/beir.toml`, or
//! where that is not there a random one of MiniLM's shape, made of the default encoder's
//! weights: what a pair scores plays no part in how long it takes.

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gleaner::config::{Config, cache_folder};
use gleaner::model::{
    BarePairs, CrossEncoder, Pair, Precision, PrepareOptions, RuntimeOptions, ScoreOptions, Task,
    prepare,
};
use serde_json::{Value, json};
use support::machine::{Usage, Watch};
use support::{bare, bench_data, report};

/// Queries, and documents of each.
const QUERIES: usize = 8;
const DOCUMENTS: usize = 64;
const ROUNDS: usize = 9;
/// Batch sizes of bare ONNX Runtime, in tokens.
const SWEEP: [usize; 5] = [256, 512, 1024, 2048, 4096];

fn main() -> Result<()> {
    let Some(data) = bench_data("retrieval/scifact")? else {
        return Ok(());
    };
    let config = Config::load(None)?;
    let runtime = config.models.runtime.clone();
    let home = tempfile::tempdir()?;
    let (name, reranker) = reranker(&config, home.path())?;
    let calls = calls(&data)?;
    let mut pairs: Vec<Pair> = Vec::new();
    for (query, documents) in &calls {
        pairs.extend(reranker.pairs(query, documents)?);
    }
    let tokens: usize = pairs.iter().map(Pair::tokens).sum();
    let sessions = runtime.session_count();
    println!(
        "{name}: {} queries with {DOCUMENTS} documents each, {:.0} tokens a pair; {sessions} \
         sessions of {} threads",
        calls.len(),
        tokens as f64 / pairs.len() as f64,
        runtime.threads_per_session
    );
    let mut sessions = (0..sessions)
        .map(|_| reranker.bare(runtime.threads_per_session))
        .collect::<Result<Vec<_>, _>>()?;
    let watch = Watch::start()?;
    let cpu = Usage::own()?.cpu;
    let mut swept = Vec::new();
    for tokens in SWEEP {
        for padded in [false, true] {
            let seconds = bare_side(&mut sessions, &pairs, tokens, padded)?;
            let rate = pairs.len() as f64 / seconds;
            let how = if padded { "padded" } else { "of one length" };
            println!("bare, batches of {tokens:>4} tokens, {how:<13} {rate:>7.1} pairs/s");
            swept.push((rate, tokens, padded));
        }
    }
    swept.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Those that are near the best are measured again, beside ours.
    let finalists: Vec<(usize, bool)> = swept.iter().take(3).map(|s| (s.1, s.2)).collect();
    let (mut ours, mut together) = (f64::INFINITY, f64::INFINITY);
    let mut ideal = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        for (fastest, &(tokens, padded)) in ideal.iter_mut().zip(&finalists) {
            let seconds = bare_side(&mut sessions, &pairs, tokens, padded)?;
            *fastest = fastest.min(seconds);
        }
        let started = Instant::now();
        for call in &calls {
            ask(&reranker, call)?;
        }
        ours = ours.min(started.elapsed().as_secs_f64());
        let started = Instant::now();
        at_once(&reranker, &calls)?;
        together = together.min(started.elapsed().as_secs_f64());
    }
    let others = watch.others(Usage::own()?.cpu - cpu)?;
    let rate = |seconds: f64| pairs.len() as f64 / seconds;
    let best = (0..ideal.len())
        .min_by(|&a, &b| ideal[a].total_cmp(&ideal[b]))
        .unwrap_or(0);
    let bare_rate = rate(ideal[best]);
    let (tokens_of_best, padded) = finalists[best];
    println!(
        "bare ONNX Runtime, batches of {tokens_of_best} tokens{}  {bare_rate:>7.1} pairs/s",
        if padded { ", padded" } else { "" }
    );
    for (what, seconds) in [
        ("one query after the other", ours),
        ("all at once", together),
    ] {
        println!(
            "gleaner, {what:<26} {:>7.1} pairs/s, {:.3} of bare",
            rate(seconds),
            rate(seconds) / bare_rate
        );
    }
    println!("others took {others:.2} cores meanwhile");
    report(
        "rerank",
        &json!({
            "model": name,
            "pairs": pairs.len(),
            "tokens_per_pair": tokens as f64 / pairs.len() as f64,
            "pairs_per_s": rate(ours),
            "tokens_per_s": tokens as f64 / ours,
            "vs_bare_runtime": rate(ours) / bare_rate,
            "pairs_per_s_at_once": rate(together),
            "vs_bare_runtime_at_once": rate(together) / bare_rate,
            "bare_pairs_per_s": bare_rate,
            "bare_batch_tokens": tokens_of_best,
            "bare_padded": padded,
            "others_cores": others,
        }),
    )
}

/// A query and its documents.
type Call = (String, Vec<String>);

/// Claims, each with documents of which some share its words, in the corpus's order behind.
fn calls(data: &Path) -> Result<Vec<Call>> {
    let mut documents = Vec::new();
    for line in std::fs::read_to_string(data.join("corpus.jsonl"))?.lines() {
        let row: Value = serde_json::from_str(line)?;
        let part = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        documents.push(format!("{}\n{}", part("title"), part("text")));
    }
    ensure!(documents.len() >= QUERIES * DOCUMENTS, "too few documents");
    let queries = support::queries(data)?.into_iter().take(QUERIES);
    let parts = documents.chunks_exact(DOCUMENTS);
    Ok(queries
        .zip(parts)
        .map(|(query, documents)| (query, documents.to_vec()))
        .collect())
}

/// The model to measure.
fn reranker(config: &Config, home: &Path) -> Result<(String, CrossEncoder)> {
    let catalog = gleaner::index::Catalog::new(&Config {
        data: gleaner::config::Data {
            folder: home.join("data"),
        },
        ..config.clone()
    })?;
    let models = &catalog.settings().models;
    let named = std::env::var("GLEANER_RERANKER").ok();
    let defined = support::beir_definition()?.search.rerank;
    let defined = defined.and_then(|rerank| rerank.model);
    if let Some(name) = &named {
        return Ok((name.clone(), models.open_reranker(name)?));
    }
    if let Some(name) = defined
        && models.folder(&name).is_ok()
    {
        return Ok((name.clone(), models.open_reranker(&name)?));
    }
    let folder = random(home, &config.models.runtime)?;
    let reranker = CrossEncoder::open(&folder, &config.models.runtime)?;
    Ok(("random, of MiniLM's shape".into(), reranker))
}

/// A reranker with the default encoder's layers and a classifier that says nothing.
fn random(home: &Path, runtime: &RuntimeOptions) -> Result<PathBuf> {
    use safetensors::tensor::{Dtype, TensorView};
    let source = cache_folder().context("there is no cache folder")?;
    let source = source.join("sources/all-MiniLM-L6-v2");
    let folder = home.join("random");
    std::fs::create_dir_all(&folder)?;
    let read = |name: &str| {
        std::fs::read(source.join(name)).with_context(|| format!("{name}: run `make setup`"))
    };
    std::fs::write(folder.join("tokenizer.json"), read("tokenizer.json")?)?;
    let mut config: serde_json::Map<String, Value> = serde_json::from_slice(&read("config.json")?)?;
    config.insert(
        "architectures".into(),
        json!(["BertForSequenceClassification"]),
    );
    config.insert("num_labels".into(), json!(1));
    std::fs::write(folder.join("config.json"), serde_json::to_vec(&config)?)?;
    std::fs::write(
        folder.join("tokenizer_config.json"),
        r#"{"model_max_length": 256}"#,
    )?;
    let weights = read("model.safetensors")?;
    let tensors = safetensors::SafeTensors::deserialize(&weights)?;
    let hidden = config["hidden_size"].as_u64().context("a hidden size")? as usize;
    let classifier = vec![0_u8; hidden * 4];
    let mut all: Vec<(&str, TensorView<'_>)> = tensors.iter().collect();
    let zeros = |shape: Vec<usize>| {
        let bytes = &classifier[..shape.iter().product::<usize>() * 4];
        TensorView::new(Dtype::F32, shape, bytes)
    };
    all.push(("classifier.weight", zeros(vec![1, hidden])?));
    all.push(("classifier.bias", zeros(vec![1])?));
    let bytes = safetensors::serialize(all, None)?;
    std::fs::write(folder.join("model.safetensors"), bytes)?;
    let target = home.join("prepared");
    let mut options = PrepareOptions::new("random", Precision::Int8);
    options.runtime = runtime.clone();
    prepare(&folder, &target, &options)?;
    Ok(target)
}

fn ask(reranker: &CrossEncoder, (query, documents): &Call) -> Result<()> {
    // As a search does it: pairs in their order, because the time may be up.
    let options = ScoreOptions {
        task: Task::Query,
        deadline: Some(Instant::now() + Duration::from_secs(600)),
        ..ScoreOptions::default()
    };
    let found = reranker.score(query, documents, &options)?;
    ensure!(
        found.scores.iter().all(Option::is_some),
        "a pair was left out"
    );
    Ok(())
}

fn at_once(reranker: &CrossEncoder, calls: &[Call]) -> Result<()> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = calls
            .iter()
            .map(|call| scope.spawn(move || ask(reranker, call)))
            .collect();
        for one in asked {
            one.join()
                .map_err(|_| anyhow::anyhow!("a call panicked"))??;
        }
        Ok(())
    })
}

/// Seconds that bare ONNX Runtime takes for the pairs in batches of so many tokens.
fn bare_side(
    sessions: &mut [BarePairs],
    pairs: &[Pair],
    tokens: usize,
    padded: bool,
) -> Result<f64> {
    let batches = bare::batches(pairs.to_vec(), Pair::tokens, tokens, padded);
    bare::run(sessions, &batches, |session, batch| Ok(session.run(batch)?))
}
