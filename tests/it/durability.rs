//! Promise: acknowledged means durable. What was answered is there after a restart, a
//! copy of the files as they lie (what a crash leaves), and a loss of everything derived.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gleaner::index::Catalog;
use serde_json::json;

use crate::support::world::{World, ask, both, config_in, ids, note, put, words, write};

/// Copies files that may be written meanwhile; a temporary one may be gone before its turn.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .env("LC_ALL", "C")
        .arg("-r")
        .arg(from)
        .arg(to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let gone = |line: &str| line.contains("No such file or directory");
    assert!(done.status.success() || said.lines().all(gone), "{said}");
}

#[test]
fn writes_survive_a_restart_unrefreshed() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "first light", 0.0)]);
    write(&notes, vec![note("b", "second light", 10.0)]).unwrap();
    assert!(notes.delete("a").unwrap());
    drop(notes);
    let world = world.reopen();
    let answer = ask(&world.notes(), &both("light"));
    assert_eq!(ids(&answer), ["b"]);
    assert_eq!(answer.total.value, 1);
}

#[test]
fn writes_survive_what_a_crash_leaves_on_disk() {
    let world = World::new();
    let notes = world.notes();
    let elsewhere = tempfile::tempdir().unwrap();
    for i in 0..20 {
        write(
            &notes,
            vec![note(&format!("n{i:02}"), "light", f64::from(i))],
        )
        .unwrap();
        if i == 7 {
            notes.refresh().unwrap();
        }
    }
    write(&notes, vec![note("n03", "replaced", 3.0)]).unwrap();
    // The files as they lie while the process still runs: nothing was closed.
    copy(&world.config.data.folder, &elsewhere.path().join("data"));
    let catalog = Arc::new(Catalog::new(&config_in(elsewhere.path())).unwrap());
    let notes = catalog.get("notes").unwrap();
    assert_eq!(notes.view().documents, 20);
    let mut request = words("light");
    request.k = Some(100);
    assert_eq!(ask(&notes, &request).total.value, 19);
    assert_eq!(ids(&ask(&notes, &words("replaced"))), ["n03"]);
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    // The child acknowledges each batch on its standard output; it is killed in between.
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "durability::child_that_writes",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("GLEANER_CRASH_FOLDER", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    {
        use std::io::BufRead;
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        for line in out.lines() {
            if let Some(n) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged = n.parse().unwrap();
            }
            if acknowledged >= 40 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(acknowledged >= 40);
    let catalog = Arc::new(Catalog::new(&config_in(folder.path())).unwrap());
    let notes = catalog.get("notes").unwrap();
    for i in 0..=acknowledged {
        assert!(notes.get(&format!("n{i}")).is_ok(), "n{i} was acknowledged");
    }
    // Visible to words and vectors alike: the derived legs were brought up to the log.
    let mut request = both("light");
    request.k = Some(500);
    let answer = ask(&notes, &request);
    assert_eq!(answer.hits.len() as u64, notes.view().documents);
    assert!(answer.hits.len() > acknowledged);
}

#[test]
#[ignore = "run by a_killed_process_loses_nothing_it_acknowledged"]
fn child_that_writes() {
    let Some(folder) = std::env::var_os("GLEANER_CRASH_FOLDER") else {
        return;
    };
    let catalog = Arc::new(Catalog::new(&config_in(Path::new(&folder))).unwrap());
    let notes = catalog
        .create(gleaner::index::Definition::from_toml(crate::support::world::DEFINITION).unwrap())
        .unwrap();
    for i in 0..100_000 {
        write(
            &notes,
            vec![note(&format!("n{i}"), "light", f64::from(i % 90))],
        )
        .unwrap();
        if i % 7 == 0 {
            notes.refresh().unwrap();
        }
        println!("acknowledged {i}");
    }
}

#[test]
fn lost_or_damaged_word_files_are_rebuilt() {
    for damage in ["lost", "truncated", "garbage"] {
        let world = World::new();
        let notes = world.notes();
        put(
            &notes,
            vec![note("a", "first light", 0.0), note("b", "second", 50.0)],
        );
        drop(notes);
        let words_folder = world.config.data.folder.join("indexes/notes/words");
        let World {
            folder, catalog, ..
        } = world;
        drop(catalog);
        match damage {
            "lost" => std::fs::remove_dir_all(&words_folder).unwrap(),
            _ => {
                for entry in std::fs::read_dir(&words_folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_file() {
                        let bytes = if damage == "truncated" {
                            &b""[..]
                        } else {
                            b"{garbage"
                        };
                        std::fs::write(path, bytes).unwrap();
                    }
                }
            }
        }
        let catalog = Arc::new(Catalog::new(&config_in(folder.path())).unwrap());
        let notes = catalog.get("notes").unwrap();
        assert_eq!(ids(&ask(&notes, &words("light"))), ["a"], "{damage}");
    }
}

/// Words that cover the same log sequence, and yet are those of other documents.
#[test]
fn words_of_other_documents_are_rebuilt() {
    let (theirs, ours) = (World::new(), World::new());
    let both = vec![note("a", "first light", 0.0), note("b", "second", 50.0)];
    put(&theirs.notes(), both);
    let notes = ours.notes();
    put(&notes, vec![note("a", "first light", 0.0)]);
    notes.delete("a").unwrap();
    notes.refresh().unwrap();
    drop(notes);
    let words_of = |world: &World| world.config.data.folder.join("indexes/notes/words");
    let (from, to) = (words_of(&theirs), words_of(&ours));
    let World {
        folder, catalog, ..
    } = theirs;
    drop(catalog);
    let (
        _theirs,
        World {
            folder, catalog, ..
        },
    ) = (folder, ours);
    drop(catalog);
    std::fs::remove_dir_all(&to).unwrap();
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let catalog = Arc::new(Catalog::new(&config_in(folder.path())).unwrap());
    let answer = ask(&catalog.get("notes").unwrap(), &words("second"));
    assert_eq!((ids(&answer).len(), answer.total.value), (0, 0));
}

#[test]
fn a_second_process_is_told_that_the_index_is_in_use() {
    let world = World::new();
    let _held = world.notes();
    let error = Catalog::new(&world.config)
        .unwrap()
        .get("notes")
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(error.problem().is_none(), "{text}");
    assert!(text.contains("use") || text.contains("lock"), "{text}");
}

#[test]
fn a_refused_batch_changes_nothing() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "first light", 0.0)]);
    let before = notes.stats();
    let error = write(
        &notes,
        vec![note("b", "x", 1.0), json!({"id": "c", "stars": "many"})],
    );
    assert!(error.is_err());
    assert_eq!(notes.stats(), before);
    assert!(notes.get("b").is_err());
}

#[test]
fn a_removed_index_leaves_its_name_free_once_nobody_uses_it() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "first light", 0.0)]);
    // In use: refused, and the index is as it was.
    let held = notes.clone();
    let error = world.catalog.remove("notes").unwrap_err();
    assert_eq!(
        error.problem().unwrap().code,
        gleaner::error::Code::Overloaded
    );
    assert_eq!(
        ids(&ask(&world.catalog.get("notes").unwrap(), &words("light"))),
        ["a"]
    );
    // Released while the removal waits: removed, and the name can be used again.
    drop(notes);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            drop(held);
        });
        world.catalog.remove("notes").unwrap();
    });
    assert!(world.catalog.get("notes").is_err());
    let notes = world.notes();
    assert_eq!(notes.view().documents, 0);
    put(&notes, vec![note("b", "second light", 0.0)]);
    drop(notes);
    let world = world.reopen();
    assert_eq!(ids(&ask(&world.notes(), &words("light"))), ["b"]);
}
