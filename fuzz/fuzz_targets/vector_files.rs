//! The files of sealed vectors, their checksums apart (this build compares none): one that is opened
//! can be searched in every way without a panic or a score that is no number.
#![no_main]

use std::sync::LazyLock;

use gleaner::vector::{Owner, VectorIndex, VectorOptions, VectorQuery, Way};
use gleaner_fuzz::{folder, vector_options};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(folder);

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let options = vector_options(*kind);
    let file = FOLDER.path().join("00000001.vectors");
    std::fs::write(&file, bytes).expect("a file");
    let owner = Owner {
        id: "fuzz".into(),
        next_ordinal: 1 << 16,
        inherited: Vec::new(),
    };
    let Ok(index) = VectorIndex::open(options.clone(), FOLDER.path(), &owner) else {
        return;
    };
    search(&index, &options);
});

fn search(index: &VectorIndex, options: &VectorOptions) {
    let reader = index.reader();
    let query: Vec<f32> = (0..options.dimensions)
        .map(|n| 1.0 - n as f32 / 4.0)
        .collect();
    for way in [None, Some(Way::Walk), Some(Way::Scan)] {
        let mut how = VectorQuery::new(8, 16);
        how.way = way;
        if let Ok(found) = reader.search(&query, &how, None) {
            assert!(found.hits.iter().all(|hit| hit.score.is_finite()));
        }
    }
}
