//! Whether a text's vector depends on what shares its batch.
//!
//! `make eval-batching`: encodes every abstract and every test claim of SciFact (from
//! `GLEANER_BENCH_DATA`) alone and in one call with 31 others, of other lengths, and
//! compares the vectors and the ten abstracts nearest to each claim. Writes
//! `reports/eval-batching.json`.

#[path = "support/mod.rs"]
mod support;

use anyhow::{Context, Result, ensure};
use gleaner::config::Config;
use gleaner::index::Catalog;
use gleaner::model::{Registry, RuntimeOptions, Task, TextEncoder};
use rayon::prelude::*;
use serde_json::json;
use support::{bench_data, report};

/// Texts in a call.
const BATCH: usize = 32;
/// Abstracts compared for each claim.
const NEAREST: usize = 10;

fn main() -> Result<()> {
    let Some(data) = bench_data("retrieval/scifact")? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let corpus = support::corpus_file(&data, folder.path())?;
    let mut config = Config::load(None)?;
    config.data.folder = folder.path().join("data");
    let index = Catalog::new(&config)?.create(support::beir_definition()?)?;
    let mut documents = Vec::new();
    for line in std::fs::read_to_string(corpus)?.lines() {
        let prepared = index.prepare(serde_json::from_str(line)?)?;
        documents.extend(prepared.passages().map(str::to_string));
    }
    let claims = support::queries(&data)?;

    // Large enough for all of a call, if the encoder wanted.
    let options = RuntimeOptions {
        batch_tokens: BATCH * index.encoder()?.max_tokens(),
        ..config.models.runtime.clone()
    };
    let folders = config.models.folders.clone();
    let name = index.encoder()?.name().to_string();
    let encoder = Registry::new(folders, options).open(&name)?;

    let both = [(Task::Document, &documents), (Task::Query, &claims)];
    let mut alone = Vec::new();
    let mut among = Vec::new();
    let mut least = f64::INFINITY;
    for (task, texts) in both {
        let (one, many) = (
            encode(&encoder, task, texts, 1)?,
            encode(&encoder, task, texts, BATCH)?,
        );
        let mut cosines: Vec<(f64, usize)> = (0..)
            .zip(one.iter().zip(&many))
            .map(|(place, (a, b))| (cosine(a, b), place))
            .collect();
        cosines.sort_by(|a, b| a.0.total_cmp(&b.0));
        least = least.min(cosines[0].0);
        println!("{task:?}: {} texts; the least alike:", texts.len());
        for (cosine, place) in &cosines[..5] {
            println!("  {cosine:.7}  {} bytes", texts[*place].len());
        }
        println!(
            "  {} below 0.9999",
            cosines.iter().filter(|c| c.0 < 0.9999).count()
        );
        alone.push(one);
        among.push(many);
    }
    let (mut same_set, mut same_order) = (0, 0);
    for (a, b) in alone[1].iter().zip(&among[1]) {
        let (a, b) = (nearest(a, &alone[0]), nearest(b, &among[0]));
        same_order += usize::from(a == b);
        let (mut a, mut b) = (a, b);
        a.sort_unstable();
        b.sort_unstable();
        same_set += usize::from(a == b);
    }
    println!(
        "{} claims: the same {NEAREST} abstracts for {same_set}, in the same order for {same_order}",
        claims.len()
    );
    report(
        "eval-batching",
        &json!({
            "texts": documents.len() + claims.len(),
            "batch": BATCH,
            "least_cosine": least,
            "queries": claims.len(),
            "same_top_ten": same_set,
            "same_top_ten_in_order": same_order,
        }),
    )?;
    ensure!(least >= 0.9999, "a vector depends on its batch");
    ensure!(same_set == claims.len(), "a top ten depends on the batch");
    Ok(())
}

/// Every text's vector, `batch` texts at a time. Neighbours in a batch come from all over
/// the collection, so that long texts share batches with short ones.
fn encode(
    encoder: &TextEncoder,
    task: Task,
    texts: &[String],
    batch: usize,
) -> Result<Vec<Vec<f32>>> {
    let steps = texts.len().div_ceil(batch);
    let together = |first: usize| -> Result<Vec<(usize, Vec<f32>)>> {
        let places: Vec<usize> = (first..texts.len()).step_by(steps).collect();
        let texts: Vec<&str> = places.iter().map(|&place| texts[place].as_str()).collect();
        let encoded = encoder.encode(task, &texts)?;
        let vectors = encoded.rows().map(<[f32]>::to_vec);
        Ok(places.into_iter().zip(vectors).collect())
    };
    let batches: Result<Vec<_>> = (0..steps).into_par_iter().map(together).collect();
    let mut vectors = vec![Vec::new(); texts.len()];
    for (place, vector) in batches?.into_iter().flatten() {
        vectors[place] = vector;
    }
    vectors
        .iter()
        .all(|vector| !vector.is_empty())
        .then_some(vectors)
        .context("a text was not encoded")
}

fn nearest(query: &[f32], documents: &[Vec<f32>]) -> Vec<usize> {
    let mut all: Vec<(f64, usize)> = documents
        .iter()
        .enumerate()
        .map(|(place, document)| (cosine(query, document), place))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter()
        .take(NEAREST)
        .map(|(_, place)| place)
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum()
}
