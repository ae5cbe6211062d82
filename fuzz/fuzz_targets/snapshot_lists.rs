//! The lists of snapshots, in folders and in object stores: whatever one says, it is refused or
//! restored into the data folder, and nothing outside of it is written or read.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use gleaner::config::Config;
use gleaner::index::Catalog;
use gleaner_fuzz::{SNAPSHOT as ID, folder, no_bug};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// Catalogs over nothing, whose snapshots are in a folder and in an object store.
struct Places {
    folder: TempDir,
    in_folder: Catalog,
    in_store: Catalog,
}

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let folder = folder();
    let catalog = |data: &str, location: String| {
        let mut config = Config::default();
        config.data.folder = folder.path().join(data);
        config.snapshots.location = Some(location);
        Catalog::new(&config).expect("a catalog")
    };
    let at = folder.path().display();
    let (in_folder, in_store) = (
        catalog("data-1", format!("{at}/snapshots")),
        catalog("data-2", format!("file://{at}/store")),
    );
    for below in [
        format!("snapshots/notes/{ID}/words"),
        "store/notes/snapshots".into(),
    ] {
        std::fs::create_dir_all(folder.path().join(below)).expect("a folder");
    }
    let file = folder.path().join(format!("snapshots/notes/{ID}/words/a"));
    std::fs::write(file, b"words").expect("a file");
    Places {
        folder,
        in_folder,
        in_store,
    }
});

fuzz_target!(|data: &[u8]| {
    let places = &*PLACES;
    let lists: [(&Catalog, PathBuf); 2] = [
        (
            &places.in_folder,
            format!("snapshots/notes/{ID}/snapshot.json").into(),
        ),
        (
            &places.in_store,
            format!("store/notes/snapshots/{ID}.json").into(),
        ),
    ];
    for (catalog, list) in lists {
        std::fs::write(places.folder.path().join(list), data).expect("a file");
        no_bug(catalog.snapshots("notes"));
        no_bug(catalog.verify_snapshot("notes", ID));
        if no_bug(catalog.restore_snapshot("notes", ID, "again")).is_some() {
            no_bug(catalog.remove("again"));
        }
    }
    let there = std::fs::read_dir(places.folder.path()).expect("the folder");
    assert_eq!(
        there.count(),
        4,
        "something was written beside the data folders"
    );
});
