//! Promise: one index that is slow, broken or half removed concerns nobody else.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::{Catalog, Definition};

use crate::support::world::{DEFINITION, World, ask, ids, note, put, words};

fn definition(name: &str) -> Definition {
    let mut definition = Definition::from_toml(DEFINITION).unwrap();
    definition.name = name.into();
    definition
}

fn code<T>(result: Result<T, gleaner::error::Error>) -> Option<Code> {
    result.err().and_then(|e| e.problem().map(|p| p.code))
}

#[test]
fn an_index_that_opens_slowly_keeps_only_its_own_callers_waiting() {
    let world = World::new();
    world.catalog.create(definition("slow")).unwrap();
    world.catalog.create(definition("quick")).unwrap();
    let world = world.reopen();
    // Whoever opens this file waits until somebody writes to it.
    let manifest = find(&world.catalog.folder().join("slow"), "MANIFEST-");
    std::fs::remove_file(&manifest).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&manifest)
            .status()
            .unwrap()
            .success()
    );
    let catalog = world.catalog.clone();
    let opening = std::thread::spawn(move || catalog.get("slow").is_ok());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!opening.is_finished());
    let catalog = world.catalog.clone();
    let quick = std::thread::spawn(move || {
        let started = Instant::now();
        catalog.get("quick").unwrap();
        catalog.create(definition("other")).unwrap();
        catalog.remove("quick").unwrap();
        started.elapsed()
    });
    let limit = Instant::now() + Duration::from_secs(20);
    while !quick.is_finished() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    let others_done = quick.is_finished();
    let turned_away = others_done.then(|| code(world.catalog.get("slow")));
    while !opening.is_finished() {
        drop(OpenOptions::new().read(true).write(true).open(&manifest));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!opening.join().unwrap(), "its manifest was empty");
    quick.join().unwrap();
    assert!(others_done, "they waited for the slow one");
    assert_eq!(turned_away, Some(Some(Code::Overloaded)));
}

#[test]
fn a_removal_cut_short_is_finished_and_a_creation_under_way_is_left_alone() {
    let world = World::new();
    world.notes();
    let folder = world.catalog.folder().to_path_buf();
    for name in ["gone.removing", "begun.making"] {
        std::fs::create_dir_all(folder.join(name).join("store")).unwrap();
        std::fs::write(folder.join(name).join("store/file"), "x").unwrap();
    }
    let catalog = Catalog::new(&world.config).unwrap();
    assert!(!folder.join("gone.removing").exists());
    assert!(folder.join("begun.making/store/file").exists());
    assert_eq!(catalog.names_on_disk().unwrap(), ["notes"]);
}

/// The first file whose name begins so.
fn find(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(name))
            {
                return path;
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    panic!("no {name} in {}", folder.display());
}

#[test]
fn aliases_move_in_one_step_and_last() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "first light", 0.0)]);
    let new = world.catalog.create(definition("new-notes")).unwrap();
    put(&new, vec![note("b", "second light", 0.0)]);
    drop((notes, new));
    let set = |world: &World, changes: &[(&str, Option<&str>)]| {
        let changes = changes.iter();
        let changes = changes.map(|(a, i)| (a.to_string(), i.map(str::to_string)));
        world.catalog.set_aliases(&changes.collect())
    };
    let found = |world: &World, name: &str| {
        let index = world.catalog.get(name).unwrap();
        ids(&ask(&index, &words("light"))).join(" ")
    };
    set(
        &world,
        &[("live", Some("notes")), ("next", Some("new-notes"))],
    )
    .unwrap();
    assert_eq!(
        (found(&world, "live"), found(&world, "next")),
        ("a".into(), "b".into())
    );
    for (wrong, code) in [
        (("live", Some("nobody")), Code::IndexNotFound),
        (("notes", Some("new-notes")), Code::IndexExists),
        // An alias of an alias would be two steps.
        (("far", Some("live")), Code::IndexNotFound),
        (("../x", Some("notes")), Code::InvalidRequest),
    ] {
        // Not even the change that was right is done.
        let error = set(&world, &[("also", Some("notes")), wrong]).unwrap_err();
        assert_eq!(error.problem().unwrap().code, code, "{wrong:?}");
        assert_eq!(world.catalog.aliases().len(), 2);
    }
    assert_eq!(
        code(world.catalog.create(definition("live"))),
        Some(Code::IndexExists)
    );
    assert!(world.catalog.remove("notes").is_err());

    set(&world, &[("live", Some("new-notes")), ("next", None)]).unwrap();
    let world = world.reopen();
    assert_eq!(found(&world, "live"), "b");
    assert!(world.catalog.get("next").is_err());
    world.catalog.remove("notes").unwrap();
    assert_eq!(found(&world, "live"), "b");
}
