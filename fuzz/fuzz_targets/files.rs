//! Files of rows: Parquet, Arrow, CSV and JSON lines that may be anything are read to their end, or
//! refused. The first byte says which of them a file claims to be.
#![no_main]

use std::sync::LazyLock;

use gleaner::ingest::{Source, SourceOptions};
use gleaner_fuzz::{count_uncaught_panics_only, folder, written};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(folder);

fuzz_target!(|data: &[u8]| {
    count_uncaught_panics_only();
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let name = match kind {
        b'p' => "rows.parquet",
        b'a' => "rows.arrow",
        b'c' => "rows.csv",
        b'j' => "rows.jsonl",
        b'z' => "rows.jsonl.gz",
        b's' => "rows.csv.zst",
        _ => return,
    };
    let file = written(FOLDER.path(), name, bytes);
    let options = SourceOptions {
        max_row_bytes: 1 << 20,
        max_batch_bytes: 4 << 20,
        vector_field: Some("vector".into()),
        ..SourceOptions::default()
    };
    if let Ok(source) = Source::open(&file, &options) {
        source.take(10_000).for_each(drop);
    }
});
