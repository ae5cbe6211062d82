//! Promise: a snapshot in an object store is the index as it was, of which only what is new is
//! uploaded; one that was cut short is never listed, a damaged one is never restored, and
//! removing one takes nothing from another, whoever takes one at the same time.
//!
//! Over a folder in this process, and by the program over an S3 server that checks what S3
//! checks (signatures among it).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::{Catalog, Index, Snapshot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tempfile::TempDir;

use crate::support::binary::Place;
use crate::support::s3::S3;
use crate::support::world::{World, ask, both, ids, note, put, words, write};

/// An index with graphs, merges and something deleted, and a folder for its snapshots.
fn world() -> (World, TempDir) {
    let store = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        config.storage.graph_threshold = 20;
        // Blanks and such are allowed in a URL when they are escaped.
        let url = format!("file://{}/a%20place", store.path().display());
        config.snapshots.location = Some(url);
    });
    let notes = world.notes();
    for batch in 0..5 {
        let made = (0..20).map(|i| note(&format!("n{}", batch * 20 + i), "light", f64::from(i)));
        put(&notes, made.collect());
    }
    notes.delete("n7").unwrap();
    notes.wait_for_background();
    notes.refresh().unwrap();
    (world, store)
}

fn answers(index: &Index) -> Vec<Vec<String>> {
    let owned = |answer| -> Vec<String> { ids(&answer).into_iter().map(str::to_string).collect() };
    let mut by_vectors = both("light");
    by_vectors.query = None;
    let mut filtered = words("light");
    filtered.filter = Some("stars >= 5".into());
    let mut requests = [
        words("light"),
        by_vectors,
        both("light"),
        filtered,
        words("later"),
    ];
    requests
        .iter_mut()
        .for_each(|request| request.k = Some(300));
    let answers = requests.iter().map(|request| owned(ask(index, request)));
    answers.collect()
}

/// The objects of an index below the place of its snapshots, and their lengths.
fn objects(place: &Path, index: &str) -> BTreeMap<String, u64> {
    let Ok(entries) = std::fs::read_dir(place.join(index).join("objects")) else {
        return BTreeMap::new();
    };
    let entries = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, entry.metadata().unwrap().len())
    });
    entries.collect()
}

/// The names of the objects that a snapshot consists of.
fn named(place: &Path, index: &str, id: &str) -> BTreeSet<String> {
    let list = place.join(index).join(format!("snapshots/{id}.json"));
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    let files = list["files"].as_array().unwrap().iter();
    let name = |file: &serde_json::Value| {
        let text = |key: &str| file[key].as_str().unwrap().to_string();
        format!("{}-{}", text("sha256"), text("of"))
    };
    files.map(name).collect()
}

#[test]
fn only_what_is_new_is_uploaded_and_a_snapshot_is_restored_as_the_index_was() {
    let (world, store) = world();
    let place = store.path().join("a place");
    let notes = world.notes();
    // Written, and not visible yet.
    write(&notes, vec![note("unseen", "light", 50.0)]).unwrap();
    let first = world.catalog.take_snapshot("notes").unwrap();
    assert_eq!((first.index.as_str(), first.documents), ("notes", 100));
    let before = answers(&notes);
    let uploaded = objects(&place, "notes");
    assert_eq!(first.bytes, named_bytes(&place, &first));

    let more = (0..40).map(|i| note(&format!("m{i}"), "later", 3.0));
    put(&notes, more.collect());
    notes.delete("n8").unwrap();
    let second = world.catalog.take_snapshot("notes").unwrap();
    let after = answers(&notes);
    assert_ne!(before, after);
    // What both have is there once: the sealed vectors, and the tables of the store.
    let (old, new) = (
        named(&place, "notes", &first.id),
        named(&place, "notes", &second.id),
    );
    let all = objects(&place, "notes");
    let shared: Vec<&String> = old.intersection(&new).collect();
    assert!(shared.len() >= 3, "{shared:?}");
    assert_eq!(old, uploaded.keys().cloned().collect());
    assert_eq!(&old | &new, all.keys().cloned().collect());
    let of = |name: &str| name.ends_with(&second.id);
    assert!(new.difference(&old).all(|name| of(name)));
    // Nothing happened: what is not constant may be another, the rest is not.
    let third = world.catalog.take_snapshot("notes").unwrap();
    let added = objects(&place, "notes").len() - all.len();
    assert!(
        added <= 6,
        "{added} new objects of an index that did not change"
    );

    let catalog = &world.catalog;
    let listed = catalog.snapshots("notes").unwrap();
    assert_eq!(listed, [first.clone(), second.clone(), third.clone()]);
    for snapshot in &listed {
        let verified = catalog.verify_snapshot("notes", &snapshot.id).unwrap();
        assert_eq!(&verified, snapshot);
    }
    // Nothing is left of how they were made.
    assert!(
        std::fs::read_dir(place.join("notes/uploads"))
            .unwrap()
            .next()
            .is_none()
    );
    let staging = world.config.data.folder.join("snapshots/notes");
    assert!(std::fs::read_dir(staging).unwrap().next().is_none());

    let restored = catalog
        .restore_snapshot("notes", &first.id, "again")
        .unwrap();
    assert_eq!(
        (restored.name(), answers(&restored)),
        ("again", before.clone())
    );
    put(&restored, vec![note("m0", "later", 3.0)]);
    assert_eq!(answers(&notes), after);
    let code = |name: &str, id: &str| {
        let restored = catalog.restore_snapshot("notes", id, name);
        restored.err().map(|e| e.problem().unwrap().code)
    };
    assert_eq!(code("notes", &first.id), Some(Code::IndexExists));
    for id in ["20260131T020304567Z", "..", "", "x/y"] {
        assert_eq!(code("free", id), Some(Code::SnapshotNotFound), "{id}");
    }

    // Removing one leaves what the others have, and nothing else.
    catalog.remove_snapshot("notes", &second.id).unwrap();
    let left = &named(&place, "notes", &first.id) | &named(&place, "notes", &third.id);
    assert_eq!(left, objects(&place, "notes").into_keys().collect());
    assert_eq!(
        catalog.snapshots("notes").unwrap(),
        [first.clone(), third.clone()]
    );
    // They outlive their index.
    drop((notes, restored));
    catalog.remove("notes").unwrap();
    let notes = catalog
        .restore_snapshot("notes", &third.id, "notes")
        .unwrap();
    assert_eq!(answers(&notes), after);
    for snapshot in [&first, &third] {
        catalog.verify_snapshot("notes", &snapshot.id).unwrap();
        catalog.remove_snapshot("notes", &snapshot.id).unwrap();
    }
    assert!(objects(&place, "notes").is_empty());
    assert_eq!(answers(&notes), after);
}

fn named_bytes(place: &Path, snapshot: &Snapshot) -> u64 {
    let list = place.join(format!("{}/snapshots/{}.json", snapshot.index, snapshot.id));
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    let files = list["files"].as_array().unwrap().iter();
    files.map(|file| file["bytes"].as_u64().unwrap()).sum()
}

#[test]
fn a_damaged_object_is_found_and_not_restored() {
    let (world, store) = world();
    let catalog = &world.catalog;
    let place = store.path().join("a place");
    let taken = catalog.take_snapshot("notes").unwrap();
    let refused = |what: &str| {
        let verified = catalog.verify_snapshot("notes", &taken.id).err();
        let restored = catalog.restore_snapshot("notes", &taken.id, "again").err();
        for error in [verified, restored] {
            let error = error.unwrap_or_else(|| panic!("{what} was not looked at"));
            let code = error.problem().map(|problem| problem.code);
            assert_eq!(code, Some(Code::SnapshotDamaged), "{what}: {error}");
        }
        assert!(catalog.get("again").is_err());
        let indexes = std::fs::read_dir(catalog.folder()).unwrap().count();
        assert_eq!(indexes, 1, "{what}: something is left of a restoration");
    };
    for name in objects(&place, "notes").into_keys() {
        let file = place.join("notes/objects").join(&name);
        let good = std::fs::read(&file).unwrap();
        let mut flipped = good.clone();
        let longer = [&good[..], b"x"].concat();
        if let Some(byte) = flipped.last_mut() {
            *byte ^= 1;
            std::fs::write(&file, &flipped).unwrap();
            refused(&format!("{name}, changed"));
            std::fs::write(&file, &good[1..]).unwrap();
            refused(&format!("{name}, cut off"));
        }
        std::fs::write(&file, longer).unwrap();
        refused(&format!("{name}, longer"));
        std::fs::remove_file(&file).unwrap();
        refused(&format!("{name}, gone"));
        std::fs::write(&file, good).unwrap();
    }
    catalog.verify_snapshot("notes", &taken.id).unwrap();

    // A list that somebody wrote by hand leads nowhere else.
    let list = place.join(format!("notes/snapshots/{}.json", taken.id));
    let good = std::fs::read_to_string(&list).unwrap();
    let at = good.find("\"path\":\"").unwrap() + 8;
    let mut bad = good.clone();
    bad.insert_str(at, "../");
    std::fs::write(&list, &bad).unwrap();
    refused("the list");
    std::fs::write(&list, &good).unwrap();

    // An object that is gone is uploaded anew for the next, rather than counted on.
    let (name, _) = objects(&place, "notes")
        .into_iter()
        .max_by_key(|o| o.1)
        .unwrap();
    std::fs::remove_file(place.join("notes/objects").join(&name)).unwrap();
    let next = catalog.take_snapshot("notes").unwrap();
    catalog.verify_snapshot("notes", &next.id).unwrap();
}

#[test]
fn a_restored_index_is_one_of_its_own_and_builds_no_graph_anew() {
    let (world, _store) = world();
    let sealed = |index: &str| {
        let folder = world.catalog.folder().join(index).join("vectors");
        let files = std::fs::read_dir(folder).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name());
        names.collect::<BTreeSet<_>>()
    };
    let mut id = world.catalog.take_snapshot("notes").unwrap().id;
    let before = sealed("notes");
    assert!(!before.is_empty());
    let mut from = "notes".to_string();
    // A copy of a copy as well.
    for name in ["again", "and-again"] {
        let restored = world.catalog.restore_snapshot(&from, &id, name).unwrap();
        restored.wait_for_background();
        assert_eq!(sealed(name), before);
        id = world.catalog.take_snapshot(name).unwrap().id;
        from = name.to_string();
        // Files that the other made since are not taken for its own.
        drop(restored);
    }
}

/// Sets a flag however its scope is left.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn removing_and_taking_at_the_same_time_loses_nothing() {
    let (world, store) = world();
    let place = store.path().join("a place");
    let notes = world.notes();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (stop, config) = (&stop, &world.config);
            scope.spawn(move || {
                // Like another process: nothing but the store is shared.
                let other = Catalog::new(config).unwrap();
                let mut rng = StdRng::seed_from_u64(seed);
                while !stop.load(Ordering::Relaxed) {
                    let all = other.snapshots("notes").unwrap();
                    if all.len() > 1 {
                        let which = &all[rng.random_range(0..all.len())].id;
                        match other.remove_snapshot("notes", which) {
                            Ok(()) => {}
                            // The other one was faster.
                            Err(e) => assert!(e.problem().is_some(), "{e}"),
                        }
                    }
                }
            });
        }
        // The others end even where this one fails.
        let ends = Ends(&stop);
        let started = Instant::now();
        let mut n = 0;
        while n < 8 || (started.elapsed() < Duration::from_secs(4) && n < 60) {
            put(&notes, vec![note(&format!("r{n}"), "later", 3.0)]);
            world.catalog.take_snapshot("notes").unwrap();
            n += 1;
        }
        // Whatever is being removed at the moment, this one is not.
        drop(ends);
        put(&notes, vec![note("last", "later", 3.0)]);
        world.catalog.take_snapshot("notes").unwrap();
    });
    let mut left = BTreeSet::new();
    for snapshot in world.catalog.snapshots("notes").unwrap() {
        world
            .catalog
            .verify_snapshot("notes", &snapshot.id)
            .unwrap();
        left.append(&mut named(&place, "notes", &snapshot.id));
    }
    assert!(!left.is_empty());
    // The last removals may have left something to a creation's protection: the next takes it.
    let last = world.catalog.take_snapshot("notes").unwrap();
    world.catalog.remove_snapshot("notes", &last.id).unwrap();
    assert_eq!(left, objects(&place, "notes").into_keys().collect());
}

#[test]
fn what_an_upload_protects_is_not_removed() {
    let (world, store) = world();
    let place = store.path().join("a place");
    let catalog = &world.catalog;
    let taken = catalog.take_snapshot("notes").unwrap();
    // Somebody else is about to share one of them, and has uploaded another.
    let shared = named(&place, "notes", &taken.id)
        .into_iter()
        .next()
        .unwrap();
    let (sha256, of) = shared.split_once('-').unwrap();
    let upload = json!({
        "format": 1, "index_id": "of another folder", "shares": [{"sha256": sha256, "of": of}],
    });
    let own = format!("{}-20260131T020304567Z", "0".repeat(64));
    let marker = place.join("notes/uploads/20260131T020304567Z.json");
    std::fs::write(&marker, upload.to_string()).unwrap();
    std::fs::write(place.join("notes/objects").join(&own), b"").unwrap();
    catalog.remove_snapshot("notes", &taken.id).unwrap();
    let left: BTreeSet<String> = objects(&place, "notes").into_keys().collect();
    assert_eq!(left, BTreeSet::from([shared, own]));
    // Nobody finishes it: after a week it does not count any more.
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(8 * 86_400);
    let file = std::fs::File::options().write(true).open(&marker).unwrap();
    file.set_modified(long_ago).unwrap();
    let next = catalog.take_snapshot("notes").unwrap();
    catalog.remove_snapshot("notes", &next.id).unwrap();
    assert!(objects(&place, "notes").is_empty());
    assert!(!marker.exists());
}

#[test]
fn a_location_is_checked_and_holds_no_secret() {
    let place = Place::new();
    for bad in [
        "",
        "ftp://somewhere/x",
        "https://bucket.example.org/x",
        "s3:///x",
        "s3://key:secret@bucket/x",
        "s3://key@bucket/x",
        "gs://bucket/x?token=secret",
        "file://host/x",
        "file:///",
        "s3:bucket",
    ] {
        let args = ["snapshot", "--location", bad, "list", "notes"];
        let said = place.refused(Code::InvalidConfiguration, &args);
        assert!(said.contains("snapshots.location"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    // A plain folder is one, and so is its URL.
    let url = format!("file://{}", place.path("elsewhere").display());
    for good in ["elsewhere", &url] {
        // There is neither the index nor a snapshot of it, which is all that is wrong.
        let args = ["snapshot", "list", "notes", "--location", good];
        place.refused(Code::IndexNotFound, &args);
    }
    assert!(!place.path("elsewhere").exists(), "listing makes nothing");
    // What is missing is said.
    let said = place.run(&[
        "snapshot",
        "--location",
        "az://container/x",
        "list",
        "notes",
    ]);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(
        said.err.contains("cannot use the object store az://"),
        "{said:?}"
    );
    place.write("config.toml", "[snapshots]\nlocation = \"s3://a:b@c/d\"\n");
    place.refused(Code::InvalidConfiguration, &["index", "list"]);
}

/// A place with an index of a few large documents, and an S3 server with a bucket.
struct OverS3 {
    place: Place,
    s3: S3,
}

const DEFINITION: &str = r#"
name = "notes"
unknown_fields = "store"
[fields.title]
type = "text"
[embedding]
vector_field = "vector"
dimensions = 2
"#;

impl OverS3 {
    fn new() -> OverS3 {
        let place = Place::new();
        let s3 = S3::start("backups");
        place.write(
            "config.toml",
            "[snapshots]\nlocation = \"s3://backups/gleaner/here\"\n",
        );
        place.write("notes.toml", DEFINITION);
        let over = OverS3 { place, s3 };
        over.ok(&["index", "create", "notes.toml"]);
        over
    }

    fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = self.place.command(args);
        command.envs(self.s3.environment());
        command
    }

    fn said(&self, args: &[&str]) -> crate::support::binary::Said {
        crate::support::binary::Said::of(&mut self.command(args))
    }

    fn ok(&self, args: &[&str]) -> String {
        let said = self.said(args);
        assert_eq!(said.status, Some(0), "{args:?}: {said:?}");
        assert!(!said.err.contains(S3::SECRET), "{said:?}");
        said.out
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let out = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    /// Loads documents; `bytes` of text that does not compress with each.
    fn load(&self, ids: std::ops::Range<usize>, bytes: usize) {
        let mut rng = StdRng::seed_from_u64(ids.start as u64);
        let mut lines = String::new();
        for id in ids {
            let letters = (0..bytes).map(|_| char::from(rng.random_range(b'!'..b'\\')));
            let letters = letters.map(|c| if c == '"' { '_' } else { c });
            let document = json!({
                "id": format!("n{id}"),
                "title": "light",
                "more": letters.collect::<String>(),
                "vector": [1.0, id as f64],
            });
            lines += &format!("{document}\n");
        }
        self.place.write("notes.jsonl", lines);
        self.ok(&["ingest", "notes", "notes.jsonl"]);
    }

    fn bucket(&self) -> PathBuf {
        self.s3.bucket().join("gleaner/here")
    }

    fn snapshots(&self) -> serde_json::Value {
        self.json(&["snapshot", "list", "notes"])
    }

    /// Starts a command and does not wait for it.
    fn start(&self, args: &[&str]) -> Child {
        std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"))
            .args(args)
            .current_dir(self.place.folder())
            .env_clear()
            .envs(self.s3.environment())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

#[test]
fn snapshots_over_s3() {
    let over = OverS3::new();
    // More than fits one part.
    over.load(0..5, 2 << 20);
    let first = over.json(&["snapshot", "create", "notes"]);
    assert_eq!(first["documents"], 5);
    let uploaded = objects(&over.bucket(), "notes");
    let largest = *uploaded.values().max().unwrap();
    assert!(largest > 8 << 20, "{uploaded:?}");
    assert!(over.s3.multipart_uploads() > 0, "nothing went in parts");
    assert_eq!(over.s3.unfinished(), 0);

    over.load(5..6, 100);
    let sent = over.s3.bytes_taken();
    let second = over.json(&["snapshot", "create", "notes"]);
    let sent = over.s3.bytes_taken() - sent;
    assert!(sent < largest / 4, "{sent} bytes for one small document");
    assert_eq!(over.snapshots(), json!([first, second]));
    let id = |snapshot: &serde_json::Value| snapshot["id"].as_str().unwrap().to_string();
    for snapshot in [&first, &second] {
        let verified = over.json(&["snapshot", "verify", "notes", &id(snapshot)]);
        assert_eq!(&verified, snapshot);
    }
    let restored = over.json(&["snapshot", "restore", "notes", &id(&first), "--as", "again"]);
    assert_eq!(restored, json!({"restored": "again", "documents": 5}));
    let original = over.place.look("notes", |index| index.get("n3").unwrap());
    let copy = over.place.look("again", |index| index.get("n3").unwrap());
    assert_eq!(original, copy);

    over.ok(&["snapshot", "delete", "notes", &id(&first)]);
    let left: BTreeSet<String> = objects(&over.bucket(), "notes").into_keys().collect();
    assert_eq!(left, named(&over.bucket(), "notes", &id(&second)));
    over.ok(&["snapshot", "verify", "notes", &id(&second)]);

    // Damage that the server does not see.
    let object = over
        .bucket()
        .join("notes/objects")
        .join(left.first().unwrap());
    let mut bytes = std::fs::read(&object).unwrap();
    bytes.push(1);
    std::fs::write(&object, bytes).unwrap();
    for args in [
        &["snapshot", "verify", "notes", &id(&second)][..],
        &[
            "snapshot",
            "restore",
            "notes",
            &id(&second),
            "--as",
            "never",
        ],
    ] {
        let said = over.said(args);
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.err.contains("[snapshot_damaged]"), "{said:?}");
    }
    // A place that does not let us in: said, and nothing of the keys with it.
    let mut refused = over.command(&["snapshot", "list", "notes"]);
    refused.env("AWS_SECRET_ACCESS_KEY", "wrong-secret");
    let said = crate::support::binary::Said::of(&mut refused);
    assert_eq!(said.status, Some(1), "{said:?}");
    assert!(said.err.contains("credentials"), "{said:?}");
    assert!(!said.err.contains("wrong-secret"), "{said:?}");
}

#[test]
fn an_upload_that_is_killed_is_not_listed_and_taken_over_by_the_next() {
    let over = OverS3::new();
    over.load(0..5, 2 << 20);
    // The first objects are taken, and then nothing more.
    for objects_taken in [0, 4] {
        over.s3.hold_after_objects(objects_taken);
        let mut taking = over.start(&["snapshot", "create", "notes"]);
        over.s3.wait_until_stalled();
        // Those that were let through may still be on their way to the disk.
        std::thread::sleep(Duration::from_millis(200));
        taking.kill().unwrap();
        taking.wait().unwrap();
        over.s3.let_go();
        assert_eq!(over.snapshots(), json!([]));
    }
    let taken_over = objects(&over.bucket(), "notes");
    // One or the other may not have been whole at that instant.
    assert!(taken_over.len() >= 2, "{taken_over:?}");
    let taken = over.json(&["snapshot", "create", "notes"]);
    let id = taken["id"].as_str().unwrap();
    over.ok(&["snapshot", "verify", "notes", id]);
    let names = named(&over.bucket(), "notes", id);
    let reused = taken_over
        .keys()
        .filter(|name| names.contains(*name))
        .count();
    assert!(reused + 1 >= taken_over.len(), "{taken_over:?} {names:?}");
    // What was of no use is gone, and so is every trace of the uploads.
    assert_eq!(
        names,
        objects(&over.bucket(), "notes").into_keys().collect()
    );
    let uploads = std::fs::read_dir(over.bucket().join("notes/uploads"));
    assert_eq!(uploads.map_or(0, Iterator::count), 0);
    let staging = over.place.path("data/snapshots/notes");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn a_snapshot_taken_while_another_is_being_removed_is_whole() {
    let over = OverS3::new();
    over.load(0..3, 100);
    let id = |taken: &serde_json::Value| taken["id"].as_str().unwrap().to_string();
    let first = id(&over.json(&["snapshot", "create", "notes"]));

    // The removal has seen which objects nobody needs, and is about to remove them.
    over.s3.hold_after_removals(1);
    let mut removing = over.start(&["snapshot", "delete", "notes", &first]);
    over.s3.wait_until_stalled();
    let second = id(&over.json(&["snapshot", "create", "notes"]));
    over.s3.let_go();
    assert!(removing.wait().unwrap().success());
    over.ok(&["snapshot", "verify", "notes", &second]);
    let left: BTreeSet<String> = objects(&over.bucket(), "notes").into_keys().collect();
    assert_eq!(left, named(&over.bucket(), "notes", &second));

    // The creation counts on what the other has, and has more to send.
    over.load(3..4, 100);
    over.s3.hold_after_objects(0);
    let mut taking = over.start(&["snapshot", "create", "notes"]);
    over.s3.wait_until_stalled();
    over.ok(&["snapshot", "delete", "notes", &second]);
    assert_eq!(over.snapshots(), json!([]));
    over.s3.let_go();
    assert!(taking.wait().unwrap().success());
    let third = over.snapshots()[0]["id"].as_str().unwrap().to_string();
    over.ok(&["snapshot", "verify", "notes", &third]);
    let shared = named(&over.bucket(), "notes", &third);
    assert!(
        shared.iter().any(|name| name.ends_with(&second)),
        "nothing was shared"
    );
}
