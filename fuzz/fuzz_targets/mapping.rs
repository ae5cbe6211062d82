//! Mappings of columns to fields: a text that is one is carried out on files of every format.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use gleaner::ingest::{Mapping, Source, SourceOptions};
use gleaner_fuzz::{count_uncaught_panics_only, folder, samples, written};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FILES: LazyLock<(TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
    let folder = folder();
    let files = samples().into_iter();
    let files = files.map(|(name, bytes)| written(folder.path(), name, &bytes));
    let files = files.collect();
    (folder, files)
});

fuzz_target!(|data: &[u8]| {
    count_uncaught_panics_only();
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut mapping = Mapping::default();
    let _ = mapping.add(text);
    let Ok(mapping) = Mapping::from_toml(text) else {
        return;
    };
    for file in &FILES.1 {
        let options = SourceOptions {
            mapping: mapping.clone(),
            ..SourceOptions::default()
        };
        if let Ok(source) = Source::open(file, &options) {
            source.take(100).for_each(drop);
        }
    }
});
