//! Promise: an index is made anew behind an alias while it is written to and searched:
//! nothing that was acknowledged through the alias is ever missing from what it names,
//! no search finds a gap, and a reindexing that ends early, however, leaves everything as
//! it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gleaner::error::Code;
use gleaner::index::{
    Catalog, Change, Definition, How, IfVersion, Index, Reindex, ReindexProgress, ReindexRequest,
    ReindexState,
};
use gleaner::store::Durability;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;
use crate::support::world::{DEFINITION, World, ask, both, ids, note, put, words, write};

fn into(name: &str) -> ReindexRequest {
    ReindexRequest {
        into: name.into(),
        definition: None,
        alias: None,
    }
}

fn ended(reindex: &Reindex) -> ReindexProgress {
    assert!(reindex.wait_for(Duration::from_secs(60)), "it does not end");
    reindex.progress()
}

fn alias(world: &World, alias: &str, index: &str) {
    let changes = [(alias.to_string(), Some(index.to_string()))];
    world.catalog.set_aliases(&changes.into()).unwrap();
}

fn code<T>(result: Result<T, gleaner::error::Error>) -> Option<Code> {
    result.err().and_then(|e| e.problem().map(|p| p.code))
}

/// Everything an index holds.
fn contents(index: &Index) -> BTreeMap<String, String> {
    index.refresh().unwrap();
    let ordinals: Vec<u32> = index.view().live.iter().collect();
    index
        .stored(&ordinals, true)
        .unwrap()
        .into_iter()
        .map(|one| {
            let vectors = one.vectors.map(|v| v.vectors);
            let source = String::from_utf8(one.source).unwrap();
            (one.id, format!("{source} {vectors:?}"))
        })
        .collect()
}

#[test]
fn the_same_definition_takes_everything_over() {
    let world = World::with(|config| config.storage.graph_threshold = 50);
    let notes = world.notes();
    let many = (0..400).map(|i| note(&format!("n{i}"), "light", f64::from(i % 90)));
    put(&notes, many.collect());
    notes.delete("n7").unwrap();
    write(&notes, vec![note("n8", "later light", 3.0)]).unwrap();
    alias(&world, "live", "notes");
    let request = ReindexRequest {
        alias: Some("live".into()),
        ..into("notes-2")
    };
    let reindex = world.catalog.reindex("live", request).unwrap();
    let progress = ended(&reindex);
    assert_eq!(progress.state, ReindexState::Done, "{:?}", reindex.error());
    assert_eq!((progress.documents, progress.documents_total), (399, 399));
    assert_eq!((progress.carried, progress.encoded), (399, 0));
    let live = world.catalog.get("live").unwrap();
    assert_eq!(live.name(), "notes-2");
    assert_eq!(contents(&live), contents(&notes));
    let found = ask(&live, &both("later"));
    assert_eq!(found.hits.len(), 10);
    assert_eq!(ids(&ask(&live, &words("later"))), ["n8"]);
    // Both live on, each for itself, and after a restart.
    put(&notes, vec![note("only-old", "old", 1.0)]);
    put(&live, vec![note("only-new", "new", 1.0)]);
    drop((notes, live, reindex));
    let world = world.reopen();
    assert_eq!(world.catalog.names_on_disk().unwrap(), ["notes", "notes-2"]);
    let live = world.catalog.get("live").unwrap();
    assert_eq!(live.name(), "notes-2");
    assert!(live.get("only-new").is_ok() && live.get("only-old").is_err());
    world.catalog.remove("notes").unwrap();
    assert_eq!(
        code(world.catalog.remove("notes-2")),
        Some(Code::IndexAliased)
    );
    assert_eq!(
        code(world.catalog.reindexing("live").map(drop)),
        Some(Code::TaskNotFound)
    );
}

/// A model and an index of it, with texts of several passages.
fn with_model() -> (World, Arc<Index>) {
    const PAGES: &str = r#"
name = "pages"
[fields.title]
type = "text"
[fields.text]
type = "text"
[embedding]
model = "tiny"
fields = ["title", "text"]
vector_field = "vector"
passages = { max_tokens = 16, overlap = 4 }
"#;
    let world = World::with(|config| {
        config.models.folders = vec![config.data.folder.with_file_name("models")];
    });
    let models = world.folder.path().join("models");
    TinyModel::default().write(&models.join("tiny"));
    let other = TinyModel {
        seed: 7,
        ..TinyModel::default()
    };
    other.write(&models.join("other"));
    let index = world
        .catalog
        .create(Definition::from_toml(PAGES).unwrap())
        .unwrap();
    let mut pages: Vec<Value> = (0..40)
        .map(|i| {
            let text: Vec<String> = (0..i).map(|n| format!("light {n} train.")).collect();
            json!({"id": format!("p{i}"), "title": format!("page {i}"), "text": text.join(" ")})
        })
        .collect();
    let vector: Vec<f32> = (0..index.dimensions()).map(|i| 1.0 + i as f32).collect();
    pages.push(json!({"id": "own", "title": "own", "vector": vector}));
    pages.push(json!({"id": "blank"}));
    put(&index, pages);
    (world, index)
}

#[test]
fn what_differs_is_encoded_anew_and_only_that() {
    let (world, pages) = with_model();
    let before = contents(&pages);
    let make = |name: &str, change: &dyn Fn(&mut Definition)| {
        let mut definition = pages.definition().clone();
        change(&mut definition);
        let request = ReindexRequest {
            definition: Some(definition),
            ..into(name)
        };
        let reindex = world.catalog.reindex("pages", request).unwrap();
        let progress = ended(&reindex);
        assert_eq!(progress.state, ReindexState::Done, "{:?}", reindex.error());
        let made = world.catalog.get(name).unwrap();
        assert_eq!(made.view().documents, 42);
        // Everything is as if it had been written to the new index.
        let fresh = format!("{name}-fresh");
        let mut definition = made.definition().clone();
        definition.name = fresh.clone();
        let fresh = world.catalog.create(definition).unwrap();
        let ordinals: Vec<u32> = pages.view().live.iter().collect();
        let documents = pages.documents(&ordinals).unwrap().into_iter().flatten();
        let documents = documents
            .map(|document| {
                let mut source = document.source;
                if document.id == "own" && made.definition().embedding.is_some() {
                    let ordinal = pages.ordinal("own").unwrap().unwrap();
                    let stored = pages.stored_vectors(ordinal).unwrap().unwrap();
                    source.insert("vector".into(), json!(stored.vectors));
                }
                Value::Object(source)
            })
            .collect();
        put(&fresh, documents);
        let close = |index: &Index| {
            let mut all = contents(index);
            // Brought to length 1 once more, which may move its last digit.
            all.remove("own");
            all
        };
        assert_eq!(close(&made), close(&fresh));
        (progress, contents(&made))
    };
    // Words, storage and graphs concern no stored vector.
    let (progress, same) = make("words", &|definition| {
        definition.fields["text"].analysis.language = gleaner::document::Language::English;
        let embedding = definition.embedding.as_mut().unwrap();
        embedding.graph.m = 8;
        embedding.storage = gleaner::vector::Storage::F16;
    });
    assert_eq!((progress.carried, progress.encoded), (41, 0));
    assert_eq!(same, before);
    let (progress, other) = make("model", &|definition| {
        definition.embedding.as_mut().unwrap().model = Some("other".into());
    });
    assert_eq!((progress.carried, progress.encoded), (1, 40));
    assert_eq!(other["own"], before["own"]);
    assert_ne!(other["p1"], before["p1"]);
    let (progress, cut) = make("cut", &|definition| {
        let embedding = definition.embedding.as_mut().unwrap();
        embedding.passages.as_mut().unwrap().max_tokens = 32;
    });
    assert_eq!((progress.carried, progress.encoded), (1, 40));
    assert_ne!(cut["p39"], before["p39"]);
    let (progress, bare) = make("bare", &|definition| definition.embedding = None);
    assert_eq!((progress.carried, progress.encoded), (0, 0));
    assert!(bare["p1"].ends_with(" None"));
}

#[test]
fn what_cannot_be_made_leaves_everything_as_it_was() {
    let world = World::new();
    let notes = world.notes();
    let many = (0..300).map(|i| note(&format!("n{i}"), "light", f64::from(i % 90)));
    put(&notes, many.collect());
    let untitled = json!({"id": "untitled", "vector": [1, 0, 0]});
    put(&notes, vec![untitled]);
    let other = world.catalog.create(Definition {
        name: "other".into(),
        ..notes.definition().clone()
    });
    other.unwrap();
    alias(&world, "live", "notes");
    alias(&world, "apart", "other");
    let before = contents(&notes);
    let refused = |name: &str, request: ReindexRequest| code(world.catalog.reindex(name, request));
    let with_alias = |alias: &str| ReindexRequest {
        alias: Some(alias.into()),
        ..into("new")
    };
    let mut wrong = notes.definition().clone();
    wrong.search.candidates = 0;
    let wrong = ReindexRequest {
        definition: Some(wrong),
        ..into("new")
    };
    for (name, request, expected) in [
        ("nobody", into("new"), Code::IndexNotFound),
        ("notes", into("other"), Code::IndexExists),
        ("notes", into("notes"), Code::IndexExists),
        ("notes", into("live"), Code::IndexExists),
        ("notes", into("../x"), Code::InvalidDefinition),
        ("notes", with_alias("apart"), Code::InvalidRequest),
        ("notes", with_alias("other"), Code::InvalidRequest),
        ("notes", with_alias("A B"), Code::InvalidRequest),
        ("notes", wrong, Code::InvalidDefinition),
    ] {
        let said = format!("{name} {request:?}");
        assert_eq!(refused(name, request), Some(expected), "{said}");
    }
    assert_eq!(
        code(world.catalog.reindexing("notes").map(drop)),
        Some(Code::TaskNotFound)
    );

    let mut strict = notes.definition().clone();
    strict.fields["title"].required = true;
    let request = ReindexRequest {
        definition: Some(strict.clone()),
        ..with_alias("live")
    };
    let reindex = world.catalog.reindex("notes", request.clone()).unwrap();
    assert_eq!(ended(&reindex).state, ReindexState::Failed);
    let error = reindex.error().unwrap();
    let problem = error.problem().unwrap();
    assert_eq!(problem.field.as_deref(), Some("title"));
    assert!(problem.message.contains("\"untitled\""), "{problem}");
    let unchanged = || {
        assert_eq!(world.catalog.aliases()["live"], "notes");
        assert_eq!(world.catalog.names_on_disk().unwrap(), ["notes", "other"]);
        assert_eq!(contents(&notes), before);
        let folders = std::fs::read_dir(world.catalog.folder()).unwrap().count();
        assert_eq!(folders, 2, "something is left");
    };
    unchanged();

    // Called off while it cannot go on: the source takes no part as long as nobody writes.
    let mut slow = notes.definition().clone();
    slow.unknown_fields = gleaner::document::UnknownFields::Store;
    let request = ReindexRequest {
        definition: Some(slow),
        ..with_alias("live")
    };
    let reindex = world.catalog.reindex("notes", request).unwrap();
    reindex.cancel();
    let state = ended(&reindex).state;
    assert_eq!(state, ReindexState::Cancelled);
    unchanged();
    notes.delete("untitled").unwrap();
    let request = ReindexRequest {
        definition: Some(strict),
        ..with_alias("live")
    };
    let reindex = world.catalog.reindex("notes", request).unwrap();
    assert_eq!(ended(&reindex).state, ReindexState::Done);
    assert_eq!(world.catalog.get("live").unwrap().name(), "new");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn what_a_crash_leaves_is_removed_or_finished() {
    let world = World::new();
    let notes = world.notes();
    put(&notes, vec![note("a", "light", 3.0)]);
    drop(notes);
    let world = world.reopen();
    let folder = world.catalog.folder().to_path_buf();
    for name in ["half", "whole", "held"] {
        copy(&folder.join("notes"), &folder.join(name));
        std::fs::write(folder.join(name).join("unfinished.json"), "{}").unwrap();
    }
    std::fs::write(
        world.config.data.folder.join("aliases.json"),
        "{\"live\": \"whole\"}",
    )
    .unwrap();
    // Somebody is at this one.
    let at_work = gleaner::store::Store::open(
        folder.join("held/store"),
        &gleaner::store::StoreOptions::default(),
    )
    .unwrap();
    let catalog = Catalog::new(&world.config).unwrap();
    assert!(!folder.join("half").exists());
    assert!(folder.join("held").exists());
    assert_eq!(catalog.names_on_disk().unwrap(), ["notes", "whole"]);
    assert_eq!(code(catalog.get("held")), Some(Code::IndexNotFound));
    let held = [("x".to_string(), Some("held".to_string()))];
    assert_eq!(
        code(catalog.set_aliases(&held.into())),
        Some(Code::IndexNotFound)
    );
    assert_eq!(catalog.get("live").unwrap().view().documents, 1);
    drop(catalog);
    // A new one takes the place of one that was cut short.
    drop(at_work);
    let reindex = world.catalog.reindex("notes", into("held")).unwrap();
    assert_eq!(ended(&reindex).state, ReindexState::Done);
    let world = {
        drop(reindex);
        world.reopen()
    };
    assert_eq!(world.catalog.get("held").unwrap().view().documents, 1);
}

/// Sets a flag however a thread ends, so that the others do not wait for one that panicked.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writers that each own some documents, through the alias; what they know in the end.
fn writers<T: Send>(
    clients: usize,
    done: &AtomicBool,
    write: impl Fn(usize, u64, &str) -> Option<T> + Sync,
) -> BTreeMap<String, Option<T>> {
    std::thread::scope(|scope| {
        let (write, done) = (&write, &done);
        let all: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut known = BTreeMap::new();
                    let mut revision = 0;
                    while !done.load(Ordering::Relaxed) {
                        revision += 1;
                        let id = format!("c{client}-{}", revision % 23);
                        let now = write(client, revision, &id);
                        known.insert(id, now);
                    }
                    known
                })
            })
            .collect();
        let all = all.into_iter().map(|thread| thread.join().unwrap());
        all.flatten().collect()
    })
}

#[test]
fn writers_through_the_catalog_lose_nothing() {
    let world = World::with(|config| config.storage.graph_threshold = 100);
    let notes = world.notes();
    let many = (0..500).map(|i| note(&format!("stays{i}"), "steady light", f64::from(i % 90)));
    put(&notes, many.collect());
    drop(notes);
    alias(&world, "live", "notes");
    let done = AtomicBool::new(false);
    let turns = AtomicUsize::new(0);
    let known = std::thread::scope(|scope| {
        // One index after the other, each removed once the alias has left it.
        scope.spawn(|| {
            let _ends = Ends(&done);
            let limit = Instant::now() + Duration::from_secs(25);
            for turn in 0..4 {
                let from = world.catalog.get("live").unwrap().name().to_string();
                let mut definition = world.catalog.get("live").unwrap().definition().clone();
                let language = match turn % 2 {
                    0 => gleaner::document::Language::None,
                    _ => gleaner::document::Language::English,
                };
                definition.fields["title"].analysis.language = language;
                let request = ReindexRequest {
                    into: format!("notes-{turn}"),
                    definition: Some(definition),
                    alias: Some("live".into()),
                };
                let reindex = world.catalog.reindex("live", request).unwrap();
                let progress = ended(&reindex);
                assert_eq!(progress.state, ReindexState::Done, "{:?}", reindex.error());
                assert!(progress.held_ms < 5_000.0, "{progress:?}");
                while code(world.catalog.remove(&from)) == Some(Code::Overloaded) {}
                assert!(world.catalog.get(&from).is_err());
                turns.fetch_add(1, Ordering::Relaxed);
                if Instant::now() > limit {
                    break;
                }
            }
        });
        // Whoever searches finds what was there all along, every time.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let live = world.catalog.get("live").unwrap();
                let mut request = words("steady");
                request.k = Some(600);
                assert_eq!(ask(&live, &request).hits.len(), 500);
                let mut request = both("steady");
                request.filter = Some("stars = 45".into());
                assert!(!ask(&live, &request).hits.is_empty());
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for index in world.catalog.open_indexes() {
                    index.refresh().unwrap();
                }
                std::thread::sleep(Duration::from_millis(30));
            }
        });
        writers(3, &done, |client, revision, id| {
            let buffered = client == 1;
            let deletes = revision.is_multiple_of(5);
            let durability = match buffered {
                true => Durability::Buffered,
                false => Durability::Synced,
            };
            let refreshes = revision.is_multiple_of(11);
            let mark = format!("m{client}x{revision}");
            let mut document = note(id, &format!("turn {revision}"), (revision % 90) as f64);
            document["body"] = json!(mark);
            world
                .catalog
                .write("live", |index, still| {
                    if deletes {
                        let change = (Change::Delete(id), IfVersion::Any);
                        index.change_as(
                            &[change],
                            How {
                                still,
                                ..How::plain(durability)
                            },
                        )?;
                        return Ok(());
                    }
                    let prepared = index.prepare(document.clone())?;
                    let encoded = index.encode(vec![prepared])?;
                    let change = (Change::Put(&encoded[0]), IfVersion::Any);
                    index.change_as(
                        &[change],
                        How {
                            still,
                            ..How::plain(durability)
                        },
                    )?;
                    if refreshes {
                        index.refresh()?;
                    }
                    Ok(())
                })
                .unwrap();
            // What was visible stays visible.
            if refreshes && !deletes {
                let live = world.catalog.get("live").unwrap();
                assert_eq!(ids(&ask(&live, &words(&mark))), [id]);
            }
            // What was acknowledged is there at once.
            let found = world.catalog.get("live").unwrap().get(id).ok();
            let title = (!deletes).then(|| format!("turn {revision}"));
            assert_eq!(
                found.map(|source| source["title"].as_str().unwrap().to_string()),
                title
            );
            title
        })
    });
    assert!(turns.load(Ordering::Relaxed) > 1);
    let live = world.catalog.get("live").unwrap();
    let held = contents(&live);
    let mut expected = 500;
    for (id, title) in &known {
        match title {
            None => assert!(!held.contains_key(id), "{id} came back"),
            Some(title) => {
                expected += 1;
                let document = live.get(id).unwrap();
                assert_eq!(document["title"], title.as_str(), "{id}");
            }
        }
    }
    assert_eq!(held.len(), expected);
}

#[test]
fn clients_over_rest_lose_nothing() {
    let service = Service::with(|config| config.server.concurrency = Some(8)).with_notes();
    let stays: Vec<Value> = (0..300)
        .map(|i| json!({"id": format!("stays{i}"), "title": "steady", "vector": [1, i, 2]}))
        .collect();
    let loaded = service.post("/v1/indexes/notes/documents?refresh=wait", &json!(stays));
    assert_eq!(loaded.status, 200);
    let moved = service.post("/v1/aliases", &json!({"aliases": {"live": "notes"}}));
    assert_eq!(moved.status, 200);
    let done = AtomicBool::new(false);
    let known = std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ends = Ends(&done);
            let mut from = "notes".to_string();
            for turn in 0..4 {
                let name = format!("notes-{turn}");
                let begun = service.post(
                    &format!("/v1/indexes/{from}/reindex"),
                    &json!({"into": name, "alias": "live"}),
                );
                assert_eq!(begun.status, 202, "{}", begun.json());
                let address = begun.header("location").unwrap().to_string();
                assert_eq!(address, format!("/v1/indexes/{from}/reindex"));
                let limit = Instant::now() + Duration::from_secs(60);
                loop {
                    let now = service.get(&address).json();
                    match now["state"].as_str().unwrap() {
                        "running" => {}
                        "done" => break,
                        _ => panic!("{now}"),
                    }
                    assert!(Instant::now() < limit, "{now}");
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert_eq!(service.delete(&format!("/v1/indexes/{from}")).status, 204);
                from = name;
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let found = service.post(
                    "/v1/indexes/live/search",
                    &json!({"query": "steady", "mode": "lexical", "k": 400}),
                );
                assert_eq!(found.status, 200, "{}", found.json());
                assert_eq!(found.json()["hits"].as_array().unwrap().len(), 300);
            }
        });
        writers(4, &done, |client, revision, id| {
            let title = format!("turn {revision}");
            let document = json!({"id": id, "title": title, "vector": [1, 0, client]});
            let path = format!("/v1/indexes/live/documents/{id}");
            if revision.is_multiple_of(7) {
                let deleted = service.delete(&path).status;
                assert!(matches!(deleted, 204 | 404), "{deleted}");
                assert_eq!(service.get(&path).status, 404);
                return None;
            }
            let written = match client {
                0 => service.put(&path, &document),
                1 => service.post("/v1/indexes/live/documents", &json!([document])),
                2 => service.post(
                    "/v1/indexes/live/operations",
                    &json!([{"put": document}, {"update": {"id": id, "stars": 5}}]),
                ),
                _ => {
                    let there = service.put(&path, &document);
                    assert!(matches!(there.status, 200 | 201), "{}", there.json());
                    service.send(
                        "PATCH",
                        &path,
                        &[("content-type", "application/json")],
                        b"{\"stars\": 5}",
                    )
                }
            };
            assert!(matches!(written.status, 200 | 201), "{}", written.json());
            let found = service.get(&path);
            assert_eq!(found.status, 200, "{id} is missing");
            assert_eq!(found.json()["document"]["title"], title.as_str());
            Some(title)
        })
    });
    for (id, title) in &known {
        let found = service.get(&format!("/v1/indexes/live/documents/{id}"));
        match title {
            None => assert_eq!(found.status, 404, "{id}"),
            Some(title) => assert_eq!(found.json()["document"]["title"], title.as_str()),
        }
    }
    let refreshed = service.send("POST", "/v1/indexes/live/refresh", &[], b"");
    assert_eq!(refreshed.status, 200);
    let shown = service.get("/v1/indexes/live").json();
    let there = known.values().filter(|title| title.is_some()).count();
    // With those of the beginning.
    assert_eq!(shown["stats"]["documents"], there + 302);
    let tasks = service.get("/v1/tasks").json();
    let reindexed = tasks["tasks"].as_array().unwrap().iter();
    assert_eq!(
        reindexed.filter(|task| task["kind"] == "reindex").count(),
        4
    );
}

#[test]
fn over_rest_it_is_refused_watched_and_called_off() {
    let service = Service::new().with_notes();
    let path = "/v1/indexes/notes/reindex";
    assert_eq!(service.get(path).code(), "task_not_found");
    assert_eq!(service.delete(path).code(), "task_not_found");
    assert_eq!(
        service.get("/v1/indexes/nobody/reindex").code(),
        "index_not_found"
    );
    for (body, status, code) in [
        (json!({}), 400, "invalid_request"),
        (json!({"into": "new", "x": 1}), 400, "invalid_request"),
        (json!({"into": "notes"}), 409, "index_exists"),
        (json!({"into": "A"}), 400, "invalid_definition"),
    ] {
        let refused = service.post(path, &body);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (status, code),
            "{body}"
        );
    }
    let documents: Vec<Value> = (0..5000)
        .map(|i| json!({"id": i, "title": format!("train {i}"), "vector": [1, 2, i]}))
        .collect();
    let written = service.post("/v1/indexes/notes/documents", &json!(documents));
    assert_eq!(written.status, 200);
    let begun = service.post(path, &json!({"into": "new", "alias": "live"}));
    assert_eq!(begun.status, 202);
    let again = service.post(path, &json!({"into": "newer"}));
    assert_eq!((again.status, again.code().as_str()), (409, "task_running"));
    assert_eq!(service.get("/v1/indexes/new").code(), "index_not_found");
    assert_eq!(service.delete("/v1/indexes/notes").code(), "task_running");
    let off = service.delete(path);
    assert_eq!(off.status, 200, "{}", off.json());
    assert_eq!(off.json()["state"], "cancelled");
    assert_eq!(service.get(path).json()["state"], "cancelled");
    assert_eq!(service.get("/v1/aliases").json(), json!({"aliases": {}}));
    // A server that stops calls off what is under way, and leaves nothing.
    let begun = service.post(path, &json!({"into": "new"}));
    assert_eq!(begun.status, 202);
    let service = service.restart(|_| {});
    let list = service.get("/v1/indexes").json();
    assert_eq!(list["indexes"].as_array().unwrap().len(), 1, "{list}");
    let begun = service.post(path, &json!({"into": "new"}));
    assert_eq!(begun.status, 202, "{}", begun.json());
}

#[test]
fn killed_at_any_instant_the_alias_names_a_whole_index() {
    let place = Place::new();
    place.write("notes.toml", DEFINITION);
    place.ok(&["index", "create", "notes.toml"]);
    let rows: Vec<Value> = (0..3000)
        .map(|i| note(&format!("n{i}"), "light", f64::from(i % 90)))
        .collect();
    crate::support::files::jsonl(&place.path("notes.jsonl"), &rows);
    place.ok(&["ingest", "notes", "notes.jsonl", "--quiet"]);
    std::fs::write(place.path("data/aliases.json"), "{\"live\": \"notes\"}").unwrap();
    let mut from = "notes".to_string();
    let mut in_the_middle = 0;
    for turn in 0..8u64 {
        let name = format!("notes-{turn}");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"));
        let ours = |name: &str| name.starts_with("GLEANER") || name.starts_with("XDG_");
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        let mut child = command
            .current_dir(place.folder())
            .env("HOME", place.folder())
            .args([
                "index", "reindex", "live", "--into", &name, "--alias", "live",
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mark = place.path(&format!("data/indexes/{name}/unfinished.json"));
        let limit = Instant::now() + Duration::from_secs(30);
        while !mark.exists() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(turn * turn * 25));
        let _ = child.kill();
        child.wait().unwrap();
        in_the_middle += u64::from(mark.exists());
        let catalog = Catalog::new(&place.config()).unwrap();
        let live = catalog.aliases()["live"].clone();
        assert!(live == from || live == name, "{live}");
        let names = catalog.names_on_disk().unwrap();
        assert!(names.contains(&live), "{names:?}");
        let index = catalog.get("live").unwrap();
        assert_eq!(index.view().documents, 3000);
        assert_eq!(index.count_words("light"), 3000);
        from = live;
    }
    assert!(in_the_middle > 0, "it was never killed in the middle");
    let done = place.json(&[
        "index", "reindex", "live", "--into", "last", "--alias", "live",
    ]);
    assert_eq!(done["state"], "done");
    assert_eq!(
        (&done["documents"], &done["carried"]),
        (&json!(3000), &json!(3000))
    );
    let said = place.ok(&["index", "reindex", "last", "--into", "once-more"]);
    assert!(said.out.contains("3000 documents"), "{}", said.out);
    place.refused(
        Code::IndexExists,
        &["index", "reindex", "last", "--into", "once-more"],
    );
}

trait CountWords {
    fn count_words(&self, query: &str) -> u64;
}

impl CountWords for Index {
    fn count_words(&self, query: &str) -> u64 {
        let mut request = words(query);
        request.mode = Some(gleaner::index::Mode::Lexical);
        ask(self, &request).total.value
    }
}
