//! Loading a Parquet file that is many times as large as the memory a load may take.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use gleaner::config::Config;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{LOOK_EVERY, gleaner};
use crate::support::machine::Usage;

const MIB: usize = 1 << 20;
/// What the load may take, in MiB: documents on their way, and the index's buffers.
const LOAD: usize = 64;
const BLOCK_CACHE: usize = 16;
const WRITE_BUFFER: usize = 8;
const WORD_BUFFER: usize = 15;
/// The program itself: its code, and the pages of files that it has mapped.
const PROGRAM: usize = 40;
/// All of it. Write buffers are shared by four times one index's.
pub const BUDGET: usize = LOAD + BLOCK_CACHE + 4 * WRITE_BUFFER + WORD_BUFFER + PROGRAM;
/// The file is so many times as large.
const TIMES: usize = 20;
/// Bytes of a document, about.
const DOCUMENT: usize = 16 << 10;

const DEFINITION: &str = r#"
name = "large"
unknown_fields = "store"
[fields.title]
type = "text"
"#;

/// Loads it; figures of it.
pub fn run(config: &Config, folder: &Path) -> Result<Value> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("large.parquet");
    let documents = write(&file, BUDGET * MIB * TIMES)?;
    let bytes = file.metadata()?.len();
    let definition = folder.join("large.toml");
    std::fs::write(&definition, DEFINITION)?;
    let command = || {
        let mut command = gleaner(config, &folder.join("data"));
        for (name, mib) in [
            ("INGEST__MEMORY", LOAD),
            ("STORAGE__BLOCK_CACHE_BYTES", BLOCK_CACHE),
            ("STORAGE__WRITE_BUFFER_BYTES", WRITE_BUFFER),
            ("STORAGE__WORD_BUFFER_BYTES", WORD_BUFFER),
        ] {
            command.env(format!("GLEANER__{name}"), (mib * MIB).to_string());
        }
        command.current_dir(folder).stdout(Stdio::null());
        command
    };
    let created = command()
        .args(["index", "create"])
        .arg(&definition)
        .status()?;
    anyhow::ensure!(created.success(), "the index could not be created");
    let started = std::time::Instant::now();
    let mut child = command()
        .args(["ingest", "large", "--quiet"])
        .arg(&file)
        .spawn()?;
    let mut peak = 0.0f64;
    let status = loop {
        peak = peak.max(Usage::of(child.id())?.peak_mb);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    anyhow::ensure!(status.success(), "`gleaner ingest` failed: {status}");
    let seconds = started.elapsed().as_secs_f64();
    let budget = (BUDGET * MIB) as f64 / 1e6;
    println!(
        "{documents} documents in a Parquet file of {:.0} MB, with a budget of {budget:.0} MB: {peak:.0} MB at most, {seconds:.0} s",
        bytes as f64 / 1e6
    );
    std::fs::remove_dir_all(folder).context("removing what was written")?;
    Ok(json!({
        "file_mb": bytes as f64 / 1e6,
        "budget_mb": budget,
        "peak_memory_mb": peak,
        "documents": documents,
        "seconds": seconds,
    }))
}

/// Writes documents to a Parquet file of about so many bytes; how many there are.
fn write(path: &Path, bytes: usize) -> Result<usize> {
    let mut rng = StdRng::seed_from_u64(1);
    let documents = bytes / DOCUMENT;
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(4_000))
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for first in (0..documents).step_by(500) {
        let rows = first..documents.min(first + 500);
        let bodies = rows.clone().map(|_| -> String {
            (0..DOCUMENT)
                .map(|_| char::from(rng.random_range(b' '..b'~')))
                .collect()
        });
        let texts = |texts: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let columns = vec![
            ("id", texts(rows.clone().map(|i| i.to_string()).collect())),
            (
                "title",
                texts(rows.clone().map(|i| format!("document {i}")).collect()),
            ),
            ("body", texts(bodies.collect())),
        ];
        let batch = RecordBatch::try_from_iter(columns)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(ArrowWriter::try_new(
                File::create(path)?,
                batch.schema(),
                Some(properties.clone()),
            )?),
        };
        writer.write(&batch)?;
    }
    writer.context("an empty file")?.close()?;
    Ok(documents)
}
