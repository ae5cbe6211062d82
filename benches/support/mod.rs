//! What the benchmarks share.

#![allow(dead_code)] // each benchmark uses its part

pub mod bare;
pub mod databases;
pub mod machine;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gleaner::config::Config;
use gleaner::index::{Definition, Index};
use gleaner::ingest::{Progress, SourceOptions, load_files};
use serde_json::{Value, json};

/// The collection below `GLEANER_BENCH_DATA`; None, with a message, where it is missing.
pub fn bench_data(collection: &str) -> Result<Option<PathBuf>> {
    let Some(root) = std::env::var_os("GLEANER_BENCH_DATA").filter(|v| !v.is_empty()) else {
        println!("skipped: GLEANER_BENCH_DATA names no folder with benchmark data");
        return Ok(None);
    };
    let folder = Path::new(&root).join(collection);
    if !folder.is_dir() {
        println!("skipped: there is no {}", folder.display());
        return Ok(None);
    }
    Ok(Some(folder))
}

/// The definition of BEIR collections.
pub fn beir_definition() -> Result<Definition> {
    Ok(Definition::from_toml(include_str!(
        "../../indexes/beir.toml"
    ))?)
}

/// The corpus as a JSONL file in the index's own fields.
pub fn corpus_file(beir: &Path, folder: &Path) -> Result<PathBuf> {
    let corpus = std::fs::read_to_string(beir.join("corpus.jsonl"))?;
    let path = folder.join("corpus.jsonl");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path)?);
    for line in corpus.lines() {
        let row: Value = serde_json::from_str(line)?;
        let row = json!({"id": row["_id"], "title": row["title"], "text": row["text"]});
        writeln!(out, "{row}")?;
    }
    out.flush()?;
    Ok(path)
}

/// Texts of the test queries.
pub fn queries(beir: &Path) -> Result<Vec<String>> {
    let judged: std::collections::BTreeSet<String> =
        std::fs::read_to_string(beir.join("qrels/test.tsv"))?
            .lines()
            .skip(1)
            .filter_map(|line| Some(line.split('\t').next()?.to_string()))
            .collect();
    let mut queries = Vec::new();
    for line in std::fs::read_to_string(beir.join("queries.jsonl"))?.lines() {
        let row: Value = serde_json::from_str(line)?;
        let id = row["_id"].as_str().context("a query without an id")?;
        if judged.contains(id) {
            queries.push(row["text"].as_str().unwrap_or_default().to_string());
        }
    }
    Ok(queries)
}

/// Loads a file and makes it visible.
pub fn load(index: &Index, file: &Path, config: &Config, folder: &Path) -> Result<()> {
    load_files(
        index,
        &[file.to_path_buf()],
        &SourceOptions::default(),
        &config.ingest,
        &folder.join("rejects.jsonl"),
        &Progress::new(),
    )?;
    Ok(())
}

/// The smallest value.
pub fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this share of the values lies.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// Writes `reports/NAME.json`.
pub fn report(name: &str, values: &Value) -> Result<()> {
    std::fs::create_dir_all("reports")?;
    let path = PathBuf::from(format!("reports/{name}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(values)? + "\n")?;
    println!("wrote {}", path.display());
    Ok(())
}
