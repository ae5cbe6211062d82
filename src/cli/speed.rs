//! `gleaner models bench`: how fast a model is on this machine.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Context;
use super::models::kind_of;
use crate::error::{Code, Problem, Result};
use crate::model::{
    CrossEncoder, Device, ModelKind, Registry, RuntimeOptions, ScoreOptions, Task, TextEncoder,
};

/// Measures a model, queries first and then texts, for this many seconds each.
///
/// # Errors
/// InvalidRequest for no time at all; as opening the model.
pub(super) fn bench(
    context: &Context,
    model: String,
    expert: Option<&str>,
    seconds: f64,
) -> Result<()> {
    // Every query is to be encoded, also those that come again.
    let runtime = RuntimeOptions {
        cache_bytes: 0,
        ..context.config.models.runtime.clone()
    };
    let registry = Registry::new(context.config.models.folders.clone(), runtime.clone());
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| {
        Problem::new(Code::InvalidRequest, "nothing can be measured in that time")
            .field("seconds")
            .found(seconds)
            .expected("seconds, more than 0")
    })?;
    if kind_of(&registry, &model)? == ModelKind::Reranker {
        let measured = PairsMeasured {
            device: runtime.device,
            sessions: runtime.session_count(),
            threads_per_session: runtime.threads_per_session,
            ..measure_pairs(&registry.open_reranker(&model)?, model, time)?
        };
        return context.print(&measured, |m| {
            format!(
                "{}: a query with {} passages takes {:.1} ms (p99 {:.1}); {:.0} \
                 pairs of {:.0} tokens a second, {:.0} tokens; {} sessions of {} \
                 threads",
                m.model,
                m.passages,
                m.query_ms_p50,
                m.query_ms_p99,
                m.pairs_per_second,
                m.pair_tokens,
                m.tokens_per_second,
                m.sessions,
                m.threads_per_session
            )
        });
    }
    let encoder = registry.open_expert(&model, expert)?;
    let measured = Measured {
        model,
        device: runtime.device,
        sessions: runtime.session_count(),
        threads_per_session: runtime.threads_per_session,
        ..measure(&encoder, time)?
    };
    context.print(&measured, |m| {
        format!(
            "{}: a query of {:.0} tokens takes {:.2} ms (p99 {:.2}); {:.0} texts of \
             {:.0} tokens a second, {:.0} tokens; {} sessions of {} threads",
            m.model,
            m.query_tokens,
            m.query_ms_p50,
            m.query_ms_p99,
            m.texts_per_second,
            m.text_tokens,
            m.tokens_per_second,
            m.sessions,
            m.threads_per_session
        )
    })
}

#[derive(Serialize)]
struct Measured {
    model: String,
    fingerprint: String,
    device: Device,
    sessions: usize,
    threads_per_session: usize,
    queries: usize,
    query_tokens: f64,
    query_ms_p50: f64,
    query_ms_p99: f64,
    texts: u64,
    text_tokens: f64,
    texts_per_second: f64,
    tokens_per_second: f64,
}

/// Sentences of which queries and texts to measure with are made.
const SENTENCES: [&str; 8] = [
    "Plants make sugar out of light, water and the carbon dioxide of the air.",
    "The committee met twice in spring and agreed on a budget for the harbour.",
    "A dose of 20 mg lowered the blood pressure of 41 of 60 patients.",
    "Copper conducts electricity nearly as well as silver and costs far less.",
    "Snow fell on the pass, so that the last train of the evening came late.",
    "The index keeps a list of documents for every word that occurs in one.",
    "Whoever reads the old letters learns how the bridge was paid for.",
    "In the second experiment the wing was tested at higher speeds of the wind.",
];
/// Texts encoded in one call.
const TEXTS: usize = 64;

/// A text of one to eight sentences.
fn text(n: usize) -> String {
    let sentences = (0..=n % SENTENCES.len()).map(|k| SENTENCES[(n + k) % SENTENCES.len()]);
    sentences.collect::<Vec<_>>().join(" ")
}

/// Measures queries one at a time, and then texts of one to eight sentences all at once.
fn measure(encoder: &TextEncoder, time: Duration) -> Result<Measured> {
    let queries: Vec<String> = SENTENCES
        .iter()
        .map(|s| s.split(' ').take(8).collect::<Vec<_>>().join(" "))
        .collect();
    let texts: Vec<String> = (0..TEXTS).map(text).collect();
    encoder.encode(Task::Document, &texts)?;
    let mut took = Vec::new();
    let mut query_tokens = 0_u64;
    let started = Instant::now();
    while took.is_empty() || started.elapsed() < time {
        let asked = Instant::now();
        let query = &queries[took.len() % queries.len()];
        let found = encoder.encode(Task::Query, &[query])?;
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        query_tokens += found.tokens.iter().map(|&t| u64::from(t)).sum::<u64>();
    }
    let count = took.len();
    took.sort_by(f64::total_cmp);
    let quantile = |share: f64| took[((count - 1) as f64 * share).round() as usize];
    let (mut encoded, mut tokens) = (0_u64, 0_u64);
    let started = Instant::now();
    while encoded == 0 || started.elapsed() < time {
        let found = encoder.encode(Task::Document, &texts)?;
        encoded += found.tokens.len() as u64;
        tokens += found.tokens.iter().map(|&t| u64::from(t)).sum::<u64>();
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Measured {
        model: String::new(),
        fingerprint: encoder.fingerprint().to_string(),
        device: Device::Cpu,
        sessions: 0,
        threads_per_session: 0,
        queries: count,
        query_tokens: query_tokens as f64 / count as f64,
        query_ms_p50: quantile(0.5),
        query_ms_p99: quantile(0.99),
        texts: encoded,
        text_tokens: tokens as f64 / encoded as f64,
        texts_per_second: encoded as f64 / seconds,
        tokens_per_second: tokens as f64 / seconds,
    })
}

#[derive(Serialize)]
struct PairsMeasured {
    model: String,
    fingerprint: String,
    device: Device,
    sessions: usize,
    threads_per_session: usize,
    passages: usize,
    query_ms_p50: f64,
    query_ms_p99: f64,
    pair_tokens: f64,
    pairs_per_second: f64,
    tokens_per_second: f64,
}

/// Measures queries with passages of one to eight sentences, one query at a time.
fn measure_pairs(reranker: &CrossEncoder, model: String, time: Duration) -> Result<PairsMeasured> {
    let passages: Vec<String> = (0..TEXTS).map(text).collect();
    let options = ScoreOptions::default();
    reranker.score(SENTENCES[0], &passages, &options)?;
    let mut took = Vec::new();
    let mut tokens = 0_u64;
    let started = Instant::now();
    while took.is_empty() || started.elapsed() < time {
        let asked = Instant::now();
        let query = SENTENCES[took.len() % SENTENCES.len()];
        let found = reranker.score(query, &passages, &options)?;
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        tokens += found.tokens.iter().map(|&t| u64::from(t)).sum::<u64>();
    }
    let seconds = started.elapsed().as_secs_f64();
    let pairs = (took.len() * passages.len()) as f64;
    took.sort_by(f64::total_cmp);
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
    Ok(PairsMeasured {
        model,
        fingerprint: reranker.fingerprint().to_string(),
        device: Device::Cpu,
        sessions: 0,
        threads_per_session: 0,
        passages: passages.len(),
        query_ms_p50: quantile(0.5),
        query_ms_p99: quantile(0.99),
        pair_tokens: tokens as f64 / pairs,
        pairs_per_second: pairs / seconds,
        tokens_per_second: tokens as f64 / seconds,
    })
}
