//! Promise: a snapshot is the index as it was, whatever happens to the index afterwards, and
//! a damaged one is never restored.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gleaner::error::Code;
use gleaner::index::{Index, Snapshot};
use serde_json::json;

use crate::support::service::Service;
use crate::support::world::{World, ask, both, ids, note, put, words, write};

/// An index with graphs, merges and something deleted.
fn world() -> World {
    let world = World::with(|config| config.storage.graph_threshold = 20);
    let notes = world.notes();
    for batch in 0..5 {
        let made = (0..20).map(|i| note(&format!("n{}", batch * 20 + i), "light", f64::from(i)));
        put(&notes, made.collect());
    }
    notes.delete("n7").unwrap();
    notes.wait_for_background();
    notes.refresh().unwrap();
    world
}

fn answers(index: &Index) -> Vec<Vec<String>> {
    let owned = |answer| -> Vec<String> { ids(&answer).into_iter().map(str::to_string).collect() };
    let mut requests = [words("light"), both("light"), words("later")];
    requests
        .iter_mut()
        .for_each(|request| request.k = Some(200));
    requests
        .iter()
        .map(|request| owned(ask(index, request)))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

fn folder(world: &World, snapshot: &Snapshot) -> PathBuf {
    let snapshots = world.config.data.folder.join("snapshots");
    snapshots.join(&snapshot.index).join(&snapshot.id)
}

#[test]
fn a_snapshot_is_restored_as_the_index_was() {
    let world = world();
    let notes = world.notes();
    // Written, and not visible yet.
    write(&notes, vec![note("unseen", "light", 50.0)]).unwrap();
    let taken = world.catalog.take_snapshot("notes").unwrap();
    assert_eq!((taken.index.as_str(), taken.documents), ("notes", 100));
    let before = answers(&notes);
    assert!(before[0].contains(&"unseen".to_string()));

    // Whatever happens to the index does not reach it.
    let more = (0..40).map(|i| note(&format!("m{i}"), "later", 3.0));
    put(&notes, more.collect());
    notes.delete_where(&json!("stars < 10")).unwrap();
    notes.compact().unwrap();
    let second = world.catalog.take_snapshot("notes").unwrap();
    assert_eq!(
        world.catalog.snapshots("notes").unwrap(),
        [taken.clone(), second.clone()]
    );
    let after = answers(&notes);
    assert_ne!(before, after);
    for snapshot in [&taken, &second] {
        assert_eq!(
            &world
                .catalog
                .verify_snapshot("notes", &snapshot.id)
                .unwrap(),
            snapshot
        );
    }
    let restored = world
        .catalog
        .restore_snapshot("notes", &taken.id, "again")
        .unwrap();
    assert_eq!(restored.name(), "again");
    assert_eq!(answers(&restored), before);
    put(&restored, vec![note("m0", "later", 3.0)]);
    assert_eq!(answers(&notes), after);
    drop(restored);
    let world = {
        drop(notes);
        world.reopen()
    };
    assert_eq!(answers(&world.catalog.get("again").unwrap())[2], ["m0"]);
    // It is still as it was, and comes back under its own name once that is free.
    let code = |name: &str| {
        let restored = world.catalog.restore_snapshot("notes", &taken.id, name);
        restored.err().map(|e| e.problem().unwrap().code)
    };
    assert_eq!(code("notes"), Some(Code::IndexExists));
    assert_eq!(code("../x"), Some(Code::InvalidDefinition));
    world.catalog.remove("notes").unwrap();
    let notes = world
        .catalog
        .restore_snapshot("notes", &taken.id, "notes")
        .unwrap();
    assert_eq!(answers(&notes), before);
    world.catalog.remove_snapshot("notes", &taken.id).unwrap();
    assert_eq!(world.catalog.snapshots("notes").unwrap(), [second]);
    assert_eq!(answers(&notes), before);
}

#[test]
fn what_does_not_change_is_not_copied() {
    use std::os::unix::fs::MetadataExt;
    let world = world();
    let inodes = |folder: &Path| -> BTreeSet<u64> {
        let large = files(folder).into_iter();
        let large = large.filter(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.ends_with(".vectors") || name.ends_with(".sst") || name.ends_with(".store")
        });
        large
            .map(|file| std::fs::metadata(file).unwrap().ino())
            .collect()
    };
    let first = world.catalog.take_snapshot("notes").unwrap();
    let second = world.catalog.take_snapshot("notes").unwrap();
    let shared = inodes(&folder(&world, &first));
    assert!(shared.len() >= 3, "{shared:?}");
    assert_eq!(shared, inodes(&folder(&world, &second)));
}

#[test]
fn a_damaged_snapshot_is_not_restored() {
    let world = world();
    let taken = world.catalog.take_snapshot("notes").unwrap();
    // What one that was cut short leaves goes with the next.
    let half = folder(&world, &taken).with_file_name("20200101T000000000Z.making");
    std::fs::create_dir(&half).unwrap();
    let next = world.catalog.take_snapshot("notes").unwrap();
    assert!(!half.exists());
    world.catalog.remove_snapshot("notes", &next.id).unwrap();
    let whole = folder(&world, &taken);
    for file in files(&whole) {
        // Files are shared with the index: another one takes its place.
        let good = std::fs::read(&file).unwrap();
        let mut bad = good.clone();
        match bad.last_mut() {
            Some(last) => *last ^= 1,
            None => bad.push(1),
        }
        let kept = file.with_file_name("kept-aside");
        std::fs::rename(&file, &kept).unwrap();
        std::fs::write(&file, bad).unwrap();
        std::fs::rename(&kept, whole.with_file_name("kept-aside")).unwrap();
        let name = file.display();
        if file.file_name().unwrap() != "snapshot.json" {
            let error = world
                .catalog
                .restore_snapshot("notes", &taken.id, "again")
                .err();
            let error = error.unwrap_or_else(|| panic!("{name} was not looked at"));
            let code = error.problem().map(|problem| problem.code);
            assert_eq!(code, Some(Code::SnapshotDamaged), "{name}: {error}");
            assert!(world.catalog.get("again").is_err());
        }
        std::fs::remove_file(&file).unwrap();
        let error = world.catalog.verify_snapshot("notes", &taken.id);
        assert!(error.is_err(), "{name} was not missed");
        std::fs::rename(whole.with_file_name("kept-aside"), &file).unwrap();
    }
    world.catalog.verify_snapshot("notes", &taken.id).unwrap();
    std::fs::write(whole.join("store/stranger"), b"x").unwrap();
    assert!(world.catalog.verify_snapshot("notes", &taken.id).is_err());
}

#[test]
fn snapshots_are_taken_while_writes_go_on() {
    let world = world();
    let notes = world.notes();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let taken: Vec<Snapshot> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Of two documents that come together none is there alone.
                let pair = [format!("p{n}a"), format!("p{n}b")];
                write(
                    &notes,
                    pair.iter().map(|id| note(id, "pair", 1.0)).collect(),
                )
                .unwrap();
                n += 1;
                if n % 5 == 0 {
                    notes.refresh().unwrap();
                }
            }
        });
        let take = |_| {
            std::thread::sleep(std::time::Duration::from_millis(30));
            world.catalog.take_snapshot("notes").unwrap()
        };
        let taken = (0..4).map(take).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        taken
    });
    assert!(taken.last().unwrap().documents > 99);
    for (n, snapshot) in taken.iter().enumerate() {
        let name = format!("again-{n}");
        let restored = world
            .catalog
            .restore_snapshot("notes", &snapshot.id, &name)
            .unwrap();
        assert_eq!(restored.view().documents, snapshot.documents);
        let mut request = words("pair");
        request.k = Some(1000);
        let found = ask(&restored, &request);
        assert_eq!(found.total.value as usize, found.hits.len());
        assert_eq!(found.total.value + 99, snapshot.documents);
        // The vectors have them all as well.
        let mut request = both("pair");
        request.query = None;
        request.exact = true;
        request.k = Some(1000);
        let hits = ask(&restored, &request).hits.len();
        assert_eq!(hits as u64, snapshot.documents.min(1000));
        let all: BTreeSet<&str> = ids(&found).into_iter().collect();
        assert!(all.iter().all(|id| {
            let other = if id.ends_with('a') { "b" } else { "a" };
            all.contains(format!("{}{other}", &id[..id.len() - 1]).as_str())
        }));
    }
}

#[test]
fn snapshots_over_rest() {
    let service = Service::new().with_notes();
    let path = "/v1/indexes/notes/snapshots";
    let taken = service.post(path, &json!({}));
    assert_eq!(taken.status, 201, "{}", taken.json());
    let id = taken.json()["id"].as_str().unwrap().to_string();
    assert_eq!(
        service.get(path).json(),
        json!({"snapshots": [taken.json()]})
    );
    let restore = format!("{path}/{id}/restore");
    let restored = service.post(&restore, &json!({"name": "again"}));
    assert_eq!(restored.status, 201);
    assert_eq!(restored.json(), json!({"name": "again", "documents": 2}));
    let found = service.post("/v1/indexes/again/search", &json!({"query": "train"}));
    assert_eq!(found.json()["total"]["value"], 2);
    assert_eq!(
        service.post(&restore, &json!({"name": "again"})).code(),
        "index_exists"
    );
    assert_eq!(service.delete(&format!("{path}/{id}")).status, 204);
    for missing in [id.as_str(), "..", "x"] {
        let gone = service.delete(&format!("{path}/{missing}"));
        assert_eq!(gone.status, 404, "{missing}");
    }
    // Of an index that is there and has none, of one that is not, and of one that was.
    assert_eq!(service.get(path).json(), json!({"snapshots": []}));
    let nobody = service.get("/v1/indexes/nobody/snapshots");
    assert_eq!(nobody.code(), "index_not_found");
    assert_eq!(
        service.post(path, &json!({"to": "s3://x"})).code(),
        "invalid_request"
    );
    let last = service.post("/v1/indexes/again/snapshots", &json!({}));
    assert_eq!(service.delete("/v1/indexes/again").status, 204);
    let left = service.get("/v1/indexes/again/snapshots");
    assert_eq!(left.json(), json!({"snapshots": [last.json()]}));
}
