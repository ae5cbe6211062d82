//! Sentences and questions of real collections, always the same.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Shortest and longest sentence, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 40..=400;

/// `count` different sentences, taken evenly from all collections.
pub fn sentences(retrieval: &Path, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    let mut take = |text: &str| {
        for sentence in text.split_inclusive(['.', '?', '!']) {
            let sentence = sentence.trim();
            if LENGTHS.contains(&sentence.len()) && seen.insert(sentence.to_string()) {
                all.push(sentence.to_string());
            }
        }
    };
    for collection in ["scifact", "cranfield", "cacm"] {
        let file = std::fs::File::open(retrieval.join(collection).join("corpus.jsonl"))?;
        for_each_row(BufReader::new(file), |row| {
            take(row["text"].as_str().unwrap_or_default());
        })?;
    }
    let pairs = std::fs::File::open(retrieval.join("medquad/pairs.jsonl.gz"))?;
    for_each_row(BufReader::new(flate2::read::GzDecoder::new(pairs)), |row| {
        let texts = row.as_object().into_iter().flat_map(|row| row.values());
        texts.filter_map(Value::as_str).for_each(&mut take);
    })?;
    ensure!(all.len() >= count, "only {} sentences", all.len());
    Ok(spread(all, count))
}

/// `count` claims and questions.
pub fn queries(retrieval: &Path, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for collection in ["scifact", "cranfield", "cacm"] {
        let file = std::fs::File::open(retrieval.join(collection).join("queries.jsonl"))?;
        for_each_row(BufReader::new(file), |row| {
            all.extend(row["text"].as_str().map(str::to_string));
        })?;
    }
    ensure!(all.len() >= count, "only {} queries", all.len());
    Ok(spread(all, count))
}

/// `count` of them, from all over the list and in an order that follows nothing.
fn spread(all: Vec<String>, count: usize) -> Vec<String> {
    let mut order: Vec<(u64, usize)> = (0..all.len())
        .map(|place| ((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), place))
        .collect();
    order.sort_unstable();
    let places = order.into_iter().take(count).map(|(_, place)| place);
    places.map(|place| all[place].clone()).collect()
}

fn for_each_row(lines: impl BufRead, mut each: impl FnMut(&Value)) -> Result<()> {
    for (number, line) in lines.lines().enumerate() {
        let row = serde_json::from_str(&line?).with_context(|| format!("line {}", number + 1))?;
        each(&row);
    }
    Ok(())
}
