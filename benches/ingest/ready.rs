//! Loading documents that bring their vectors: nothing is encoded, so this is what reading,
//! checking, writing, indexing the words and building the graph cost.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use gleaner::config::Config;
use gleaner::index::{Catalog, Definition};
use gleaner::ingest::{SourceOptions, resolve};
use gleaner::jobs::{self, Control, JobOptions, JobOwner, JobState, NewJob, Running};
use gleaner::search::{SearchRequest, search};
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::machine::{Usage, Watch};

const DIMENSIONS: usize = 384;
/// Documents in a batch of the file.
const ROWS: usize = 1_000;
/// Places that vectors lie around.
const CLUSTERS: usize = 200;

const DEFINITION: &str = r#"
name = "ready"
[fields.title]
type = "text"
[fields.section]
type = "keyword"
[embedding]
vector_field = "vector"
dimensions = 384
"#;

/// Loads so many documents; figures of it.
pub fn run(folder: &Path, documents: usize) -> Result<Value> {
    let file = folder.join("ready.parquet");
    let last = write(&file, documents)?;
    let mut config = Config::load(None)?;
    config.data.folder = folder.join("ready");
    let index = Catalog::new(&config)?.create(Definition::from_toml(DEFINITION)?)?;
    let inputs = resolve(&[file.to_str().context("a path")?.to_string()], None)?;
    let new = NewJob {
        index: "ready".into(),
        inputs,
        options: JobOptions {
            source: SourceOptions::default(),
            max_rejects: None,
        },
        folder: None,
        rejects: folder.join("rejects.jsonl"),
        owner: JobOwner::Command,
    };
    let control = Control::default();
    let running = Running {
        settings: &config.ingest,
        control: &control,
        still: &|| true,
        progress: &|_| {},
        permitted: &|_| Ok(()),
        rejects: None,
        within: None,
    };
    let watch = Watch::start()?;
    let before = Usage::own()?;
    let job = jobs::create(&index, new, &|| true)?;
    let started = Instant::now();
    let report = jobs::run(&index, &job.id, running)?;
    anyhow::ensure!(
        report.state == JobState::Done && report.summary.loaded == documents as u64,
        "not everything was loaded: {report:?}"
    );
    let acknowledged = report.summary.seconds;
    let request = SearchRequest {
        vector: Some(last),
        ..SearchRequest::default()
    };
    let found = search(&index, &request)?;
    let searchable = started.elapsed().as_secs_f64() - acknowledged;
    let id = (documents - 1).to_string();
    anyhow::ensure!(
        found.hits.first().is_some_and(|hit| hit.id == id),
        "the last document is not the nearest to its own vector"
    );
    let cpu = Usage::own()?.cpu - before.cpu;
    let others = watch.others(cpu)?;
    index.wait_for_background();
    let sealed = started.elapsed().as_secs_f64();
    let per_s = documents as f64 / acknowledged;
    println!(
        "{documents} documents with {DIMENSIONS}-dimensional vectors: {per_s:.0} a second acknowledged (cpu {cpu:.1} s of {acknowledged:.1} s, others {others:.2} cores), all searchable {searchable:.2} s later, {:.0} a second sealed",
        documents as f64 / sealed
    );
    // Once more: everything is there, and nothing is written.
    let again = NewJob {
        index: "ready".into(),
        inputs: resolve(&[file.to_str().context("a path")?.to_string()], None)?,
        options: job.options.clone(),
        folder: None,
        rejects: folder.join("rejects.jsonl"),
        owner: JobOwner::Command,
    };
    let job = jobs::create(&index, again, &|| true)?;
    let again = jobs::run(&index, &job.id, running)?;
    anyhow::ensure!(
        again.summary.unchanged == documents as u64,
        "something was written again: {again:?}"
    );
    println!(
        "the same again: {:.0} a second, nothing written",
        again.summary.documents_per_second
    );
    Ok(json!({
        "documents": documents,
        "dimensions": DIMENSIONS,
        "acknowledged_docs_per_s": per_s,
        "searchable_s": searchable,
        "sealed_docs_per_s": documents as f64 / sealed,
        "again_docs_per_s": again.summary.documents_per_second,
        "cpu_s": cpu,
        "others_cores": others,
    }))
}

/// Writes documents to a Parquet file; the vector of the last one.
fn write(path: &Path, documents: usize) -> Result<Vec<f32>> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut vector = |around: Option<&[f32]>| -> Vec<f32> {
        (0..DIMENSIONS)
            .map(|i| around.map_or(0.0, |c| c[i]) + rng.random_range(-1.0..1.0f32))
            .collect()
    };
    let centres: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| vector(None)).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list = DataType::FixedSizeList(item.clone(), DIMENSIONS as i32);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("title", DataType::Utf8, false),
        Field::new("section", DataType::Utf8, false),
        Field::new("vector", list, false),
    ]));
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema.clone(), None)?;
    let mut last = Vec::new();
    for first in (0..documents).step_by(ROWS) {
        let rows = first..documents.min(first + ROWS);
        let mut values = Vec::with_capacity(rows.len() * DIMENSIONS);
        for i in rows.clone() {
            last = vector(Some(&centres[i % CLUSTERS]));
            values.extend_from_slice(&last);
        }
        let texts = |text: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.clone().map(text)))
        };
        let vectors = FixedSizeListArray::try_new(
            item.clone(),
            DIMENSIONS as i32,
            Arc::new(Float32Array::from(values)),
            None,
        )?;
        let columns: Vec<ArrayRef> = vec![
            texts(&|i| i.to_string()),
            texts(&|i| format!("document {i} of cluster c{} in a file", i % CLUSTERS)),
            texts(&|i| format!("section {}", i % 7)),
            Arc::new(vectors),
        ];
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    writer.close()?;
    Ok(last)
}
