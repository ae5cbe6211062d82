//! Writes the seeds that are made rather than kept: files of rows and of vectors, lists of snapshots.
//!
//!     GLEANER_CORPUS=FOLDER seeds
//!
//! puts them into the folders of their targets. It is linked like a target, because what is counted in
//! the program has to be counted somewhere, and ends before it would look for anything.
#![no_main]

use std::path::{Path, PathBuf};

use gleaner::vector::{Owner, VectorIndex};
use gleaner_fuzz::{SNAPSHOT, World, folder, parquet_file, samples, vector_options};

libfuzzer_sys::fuzz_target!(
    init: {
        write_all();
    },
    |_data: &[u8]| {}
);

fn write_all() {
    let corpus: PathBuf = std::env::var_os("GLEANER_CORPUS")
        .expect("GLEANER_CORPUS names the folder of the corpora")
        .into();
    let mut files = samples();
    files.push(("plain.parquet", parquet_file(false)));
    for (name, bytes) in files {
        let kind = match Path::new(name).extension().and_then(|end| end.to_str()) {
            Some("parquet") => b'p',
            Some("arrow") => b'a',
            Some("csv") => b'c',
            _ => b'j',
        };
        put(&corpus.join("files"), name, kind, &bytes);
    }
    for kind in 0..18 {
        let folder = folder();
        put(
            &corpus.join("vector_files"),
            &format!("shape-{kind}"),
            kind,
            &vectors(folder.path(), kind),
        );
    }
    let world = World::with(|at, config| {
        config.snapshots.location = Some(at.join("snapshots").display().to_string());
    });
    let taken = world.catalog.take_snapshot("notes").expect("a snapshot");
    let at = world
        .config
        .snapshots
        .location
        .as_ref()
        .expect("a location");
    let list = Path::new(at)
        .join("notes")
        .join(&taken.id)
        .join("snapshot.json");
    plain(
        &corpus.join("snapshot_lists"),
        "folder",
        &named(&list, &taken.id),
    );
    let world = World::with(|at, config| {
        config.snapshots.location = Some(format!("file://{}/store", at.display()));
    });
    let taken = world.catalog.take_snapshot("notes").expect("a snapshot");
    let at = world
        .config
        .snapshots
        .location
        .as_ref()
        .expect("a location");
    let at = Path::new(at.trim_start_matches("file://"));
    let list = at
        .join("notes/snapshots")
        .join(format!("{}.json", taken.id));
    plain(
        &corpus.join("snapshot_lists"),
        "store",
        &named(&list, &taken.id),
    );
    std::process::exit(0);
}

/// A list with the id that the target looks for.
fn named(list: &Path, id: &str) -> Vec<u8> {
    let list = std::fs::read_to_string(list).expect("its list");
    list.replace(id, SNAPSHOT).into_bytes()
}

/// A file of sealed vectors of one of the shapes.
fn vectors(folder: &Path, kind: u8) -> Vec<u8> {
    let options = vector_options(kind);
    let owner = Owner {
        id: "fuzz".into(),
        next_ordinal: 1 << 16,
        inherited: Vec::new(),
    };
    let index = VectorIndex::open(options.clone(), folder, &owner).expect("an index");
    for ordinal in 0..12_u32 {
        let passages = 1 + ordinal as usize % 2;
        let values = (0..options.dimensions * passages).map(|n| (n as f32 + ordinal as f32).sin());
        index
            .add(ordinal, &values.collect::<Vec<f32>>())
            .expect("a vector");
    }
    index.publish();
    index.wait_for_background();
    std::fs::read(folder.join("00000001.vectors")).expect("the file that was sealed")
}

fn put(folder: &Path, name: &str, kind: u8, bytes: &[u8]) {
    plain(folder, name, &[&[kind], bytes].concat());
}

fn plain(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("a seed");
}
