//! Promise: an index is exported as of one instant, and a load of the file gives the same
//! documents and the same stored vectors, bit for bit, with nothing encoded again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gleaner::error::Code;
use gleaner::index::{Definition, Index, Mode, Stored};
use gleaner::ingest::{Export, Progress, SourceOptions, export_file, load_files, manifest};
use gleaner::search::SearchRequest;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;
use crate::support::world::{DEFINITION, World, ask, both, note, put, words, write};

/// Everything an index stores, by id.
fn stored(index: &Index) -> BTreeMap<String, Stored> {
    index.refresh().unwrap();
    let ordinals: Vec<u32> = index.view().live.iter().collect();
    let all = index.stored(&ordinals, true).unwrap();
    all.into_iter().map(|one| (one.id.clone(), one)).collect()
}

/// The same, whose difference is readable.
fn texts(index: &Index) -> BTreeMap<String, (String, Option<Vec<u32>>, String)> {
    stored(index)
        .into_iter()
        .map(|(id, one)| {
            let source = String::from_utf8(one.source).unwrap();
            let vectors = one.vectors.as_ref();
            let bits = vectors.map(|v| v.vectors.iter().map(|x| x.to_bits()).collect());
            (
                id,
                (source, bits, format!("{:?}", vectors.map(|v| &v.spans))),
            )
        })
        .collect()
}

fn export(index: &Arc<Index>, path: &Path) {
    let export = Export::new(index.clone(), None).unwrap();
    export_file(export, path, true, &Progress::new()).unwrap();
}

/// Loads a file into an index of the definition that it brings along.
fn load_back(world: &World, path: &Path, name: &str) -> Arc<Index> {
    let manifest = manifest(path).unwrap().unwrap();
    let definition = Definition {
        name: name.into(),
        ..manifest.definition
    };
    let index = world.catalog.create(definition).unwrap();
    let progress = Progress::new();
    let rejects = world.folder.path().join("rejects.jsonl");
    let rejected = load(world, &index, path, &rejects, &progress);
    assert_eq!(
        rejected,
        None,
        "{}",
        std::fs::read_to_string(&rejects).unwrap_or_default()
    );
    assert_eq!(progress.summary().tokens, 0, "something was encoded");
    index
}

fn load(
    world: &World,
    index: &Index,
    path: &Path,
    rejects: &Path,
    progress: &Progress,
) -> Option<PathBuf> {
    load_files(
        index,
        &[path.to_path_buf()],
        &SourceOptions::default(),
        &world.config.ingest,
        rejects,
        progress,
    )
    .unwrap()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-e ]{0,12}",
        "\\PC{0,8}",
        Just("light \u{1F600}\n\"quoted\" \u{0}end".to_string()),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |x| x.is_finite()),
        Just(-0.0),
        Just(0.1 + 0.2),
        Just(f64::MAX),
        Just(5e-324),
        (-9i32..9).prop_map(f64::from),
    ]
}

fn whole() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        Just(Value::from(i64::MIN)),
        Just(Value::from(i64::MAX)),
        Just(json!(12.0)),
        Just(Value::Null),
    ]
}

fn day() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("2024-05-01")),
        Just(json!("2024-05-01T12:00:00.123456Z")),
        Just(json!("2024-05-01T12:00:00.120Z")),
        Just(json!("1969-12-31T23:59:59.999999Z")),
        Just(json!("2024-05-01T12:00:00+02:00")),
        Just(json!("2024-05-01 12:00:00.1234567")),
        Just(Value::Null),
        (0i64..4_000_000_000_000_000).prop_map(|micros| {
            let instant = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            Value::from(instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        }),
    ]
}

fn extra() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\u{e9}_]{0,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A document of [`DEFINITION`] with members that it does not name, in any order.
fn document() -> impl Strategy<Value = Vec<(String, Value)>> {
    let tags = prop_oneof![
        prop::collection::vec(text(), 0..4).prop_map(Value::from),
        text().prop_map(Value::from),
        Just(Value::Null),
    ];
    let price = prop_oneof![
        number().prop_map(Value::from),
        any::<i32>().prop_map(Value::from)
    ];
    let members = (
        prop::option::of(text()),
        prop::option::of(tags),
        prop::option::of(whole()),
        prop::option::of(price),
        prop::option::of(day()),
        prop::option::of(any::<bool>()),
        prop::collection::btree_map("[x-z_]{1,3}", extra(), 0..3),
        prop::collection::vec(-1.0f32..1.0, 3),
    );
    members
        .prop_map(|(title, tags, stars, price, day, open, extra, vector)| {
            let mut members: Vec<(String, Value)> = Vec::new();
            let mut add = |name: &str, value: Option<Value>| {
                members.extend(value.map(|value| (name.to_string(), value)));
            };
            add("title", title.map(Value::from));
            add("tags", tags);
            add("stars", stars);
            add("price", price);
            add("day", day);
            add("open", open.map(Value::from));
            for (name, value) in extra {
                add(&name, Some(value));
            }
            let vector: Vec<f32> = vector.into_iter().map(|x| x + 2.0).collect();
            add("vector", Some(json!(vector)));
            members
        })
        .prop_shuffle()
}

/// Requests in every mode.
fn requests() -> Vec<SearchRequest> {
    let mut all = vec![words("light"), words("a b c")];
    for mode in [Mode::Lexical, Mode::Dense, Mode::Hybrid] {
        for filter in [None, Some("stars >= 0"), Some("day < 2024-05-02")] {
            let query = "light a";
            all.push(SearchRequest {
                mode: Some(mode),
                filter: filter.map(Into::into),
                k: Some(100),
                ..match mode {
                    Mode::Lexical => words(query),
                    _ => both(query),
                }
            });
        }
    }
    all
}

fn answers(index: &Index) -> Vec<Vec<(String, String)>> {
    requests()
        .iter()
        .map(|request| {
            let hits = ask(index, request).hits.into_iter();
            // Half a digit of a float may hang on how documents fell into segments.
            hits.map(|hit| (hit.id, format!("{:.5}", hit.score)))
                .collect()
        })
        .collect()
}

#[test]
fn whatever_a_document_is_comes_back() {
    let world = World::new();
    let rounds = AtomicUsize::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    });
    let ids = prop_oneof![
        any::<u32>().prop_map(Value::from),
        "[a-z\u{e9}\u{4e00}/ ]{1,6}".prop_map(Value::from)
    ];
    let documents = prop::collection::vec((ids, document(), 0usize..9), 1..40);
    runner
        .run(&documents, |documents| {
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            let mut definition = Definition::from_toml(DEFINITION).unwrap();
            definition.name = format!("from-{round}");
            definition.unknown_fields = gleaner::document::UnknownFields::Store;
            let index = world.catalog.create(definition).unwrap();
            for (id, members, at) in documents {
                let mut members = members.clone();
                members.insert(at.min(members.len()), ("id".into(), id));
                let document: Map<String, Value> = members.into_iter().collect();
                write(&index, vec![Value::Object(document)]).unwrap();
            }
            let before = texts(&index);
            let path = world.folder.path().join(format!("{round}.parquet"));
            export(&index, &path);
            let again = load_back(&world, &path, &format!("to-{round}"));
            prop_assert_eq!(texts(&again), before);
            prop_assert_eq!(stored(&again), stored(&index));
            prop_assert_eq!(answers(&again), answers(&index));
            Ok(())
        })
        .unwrap();
}

#[test]
fn plain_documents_need_only_their_columns() {
    let world = World::new();
    let notes = world.notes();
    let plain = json!({
        "id": "a", "title": "light", "tags": ["x", "y"], "stars": 3, "price": 0.5,
        "day": "2024-05-01T12:00:00Z", "open": true, "vector": [1, 0, 0],
    });
    let other = json!({"id": "b", "stars": 3, "title": "light", "vector": [0, 1, 0]});
    let fewer = json!({"id": "c", "title": "light", "vector": [0, 1, 0], "open": false});
    put(&notes, vec![plain, other, fewer]);
    let path = world.folder.path().join("notes.parquet");
    export(&notes, &path);
    let file = std::fs::File::open(&path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
    let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
    let schema = batch.schema();
    let types: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    assert_eq!(types[0], "id Utf8");
    assert!(types.contains(&"stars Int64".to_string()), "{types:?}");
    assert!(types.contains(&"price Float64".to_string()), "{types:?}");
    let day = types.iter().find(|text| text.starts_with("day ")).unwrap();
    assert!(
        day.starts_with("day Timestamp(") && day.contains("UTC"),
        "{day}"
    );
    use arrow::array::{Array, AsArray};
    let rest = batch.column_by_name("_rest").unwrap();
    assert!(rest.is_null(0), "its columns say it all");
    assert!(rest.is_null(2));
    // Its order is its own.
    assert_eq!(
        rest.as_string::<i32>().value(1),
        r#"["id","stars","title"]"#
    );
    let told = manifest(&path).unwrap().unwrap();
    assert_eq!(told.seq, notes.view().seq);
    assert_eq!(&told.definition, notes.definition());
}

const PAGES: &str = r#"
name = "pages"
[fields.title]
type = "text"
[fields.text]
type = "text"
[embedding]
model = "tiny"
fields = ["title", "text"]
passages = { max_tokens = 16, overlap = 4 }
"#;

fn with_model() -> World {
    let world = World::with(|config| {
        config.models.folders = vec![config.data.folder.with_file_name("models")];
    });
    TinyModel::default().write(&world.folder.path().join("models/tiny"));
    world
}

fn pages() -> Vec<Value> {
    (0..30)
        .map(|i| {
            let text: Vec<String> = (0..i * 3).map(|n| format!("light {n} train.")).collect();
            json!({"id": format!("p{i}"), "title": format!("page {i}"), "text": text.join(" ")})
        })
        .chain([json!({"id": "blank", "title": " "})])
        .collect()
}

#[test]
fn passages_are_not_encoded_again_not_even_without_the_model() {
    let world = with_model();
    let index = world
        .catalog
        .create(Definition::from_toml(PAGES).unwrap())
        .unwrap();
    put(&index, pages());
    let before = texts(&index);
    assert!(
        before
            .values()
            .any(|(_, bits, _)| bits.as_ref().is_some_and(|b| b.len() > 100))
    );
    assert_eq!(before["blank"].1, None);
    let dense = |index: &Index| {
        let request = SearchRequest {
            mode: Some(Mode::Dense),
            explain: true,
            k: Some(30),
            ..words("light train")
        };
        let hits = ask(index, &request).hits;
        hits.into_iter()
            .map(|hit| (hit.id, hit.score.to_bits(), hit.passage))
            .collect::<Vec<_>>()
    };
    let found = dense(&index);
    let path = world.folder.path().join("pages.parquet");
    export(&index, &path);
    let again = load_back(&world, &path, "again");
    assert_eq!(texts(&again), before);
    assert_eq!(dense(&again), found);

    // Into an index that was made when the model was there.
    let mut empty = Definition::from_toml(PAGES).unwrap();
    empty.name = "empty".into();
    world.catalog.create(empty).unwrap();
    drop((index, again));
    let world = world.reopen();
    let models = world.folder.path().join("models");
    std::fs::rename(models.join("tiny"), models.join("gone")).unwrap();
    let index = world.catalog.get("empty").unwrap();
    let rejects = world.folder.path().join("rejects.jsonl");
    assert_eq!(
        load(&world, &index, &path, &rejects, &Progress::new()),
        None
    );
    // A blank text needs no model either.
    assert_eq!(texts(&index), before);

    // Where texts are cut otherwise, they are encoded.
    std::fs::rename(models.join("gone"), models.join("tiny")).unwrap();
    let other = PAGES.replace("name = \"pages\"", "name = \"other\"");
    let other = other.replace(
        "max_tokens = 16, overlap = 4",
        "max_tokens = 32, overlap = 0",
    );
    let other = world
        .catalog
        .create(Definition::from_toml(&other).unwrap())
        .unwrap();
    let progress = Progress::new();
    assert_eq!(load(&world, &other, &path, &rejects, &progress), None);
    assert!(progress.summary().tokens > 0);
    let ids = |index: &Index| stored(index).into_keys().collect::<Vec<_>>();
    assert_eq!(ids(&other), ids(&index));
}

#[test]
fn an_export_is_one_instant_while_writers_go_on() {
    let world = World::new();
    let notes = world.notes();
    let pair = |n: usize| {
        let title = format!("turn {n}");
        vec![note("left", &title, 10.0), note("right", &title, 80.0)]
    };
    let many = (0..600).map(|i| note(&format!("n{i}"), "light", 3.0));
    write(&notes, many.collect()).unwrap();
    write(&notes, pair(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                write(&notes, pair(n)).unwrap();
                if n.is_multiple_of(3) {
                    notes.refresh().unwrap();
                }
            }
        });
        for round in 0..6 {
            let path = world.folder.path().join("turns.parquet");
            export(&notes, &path);
            let again = load_back(&world, &path, &format!("round-{round}"));
            let title = |id: &str| again.get(id).unwrap()["title"].clone();
            assert_eq!(title("left"), title("right"));
            assert_eq!(again.view().documents, 602);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_file_that_lies_is_refused_and_a_row_that_does_is_rejected() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;

    use crate::support::files::parquet_with;
    let world = World::new();
    let notes = world.notes();
    let path = world.folder.path().join("lies.parquet");
    let honest = json!({
        "format": 1, "seq": 1, "dimensions": 0,
        "definition": {"name": "n", "fields": {"title": {"type": "text"}}},
    });
    let write = |told: &str, rest: Vec<Option<&str>>, with_rest: bool| {
        let rows = rest.len();
        let column = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
        let mut columns = vec![("id", column("a")), ("title", column("light"))];
        let rest: ArrayRef = Arc::new(StringArray::from(rest));
        if with_rest {
            columns.push(("_rest", rest));
        }
        let pairs = vec![KeyValue::new(
            "gleaner.export".to_string(),
            told.to_string(),
        )];
        let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs));
        parquet_with(&path, columns, properties.build());
    };
    let mut newer = honest.clone();
    newer["format"] = json!(2);
    for (told, with_rest) in [
        ("nonsense", true),
        ("{}", true),
        (newer.to_string().as_str(), true),
        (honest.to_string().as_str(), false),
    ] {
        write(told, vec![None], with_rest);
        let error = manifest(&path).unwrap_err();
        assert_eq!(error.problem().unwrap().code, Code::InvalidFile, "{told}");
    }
    let rows = [
        "1",
        "[1]",
        "[[1]]",
        "[[1, 2]]",
        "[\"year\"]",
        "[\"id\", \"id\"]",
    ];
    write(&honest.to_string(), rows.map(Some).to_vec(), true);
    let rejects = world.folder.path().join("rejects.jsonl");
    let progress = Progress::new();
    assert!(load(&world, &notes, &path, &rejects, &progress).is_some());
    assert_eq!(progress.summary().rejected, rows.len() as u64);
}

#[test]
fn over_rest() {
    let service = Service::new().with_notes();
    let whole = service.get("/v1/indexes/notes/export");
    assert_eq!(whole.status, 200);
    assert_eq!(
        whole.header("content-type"),
        Some("application/vnd.apache.parquet")
    );
    let world = World::new();
    let path = world.folder.path().join("sent.parquet");
    std::fs::write(&path, &whole.body).unwrap();
    let again = load_back(&world, &path, "again");
    assert_eq!(again.view().documents, 2);
    assert_eq!(again.get("a").unwrap()["title"], "night train");

    let some = service.get("/v1/indexes/notes/export?filter=stars%20%3E%203");
    std::fs::write(&path, &some.body).unwrap();
    let few = load_back(&world, &path, "few");
    assert_eq!(stored(&few).into_keys().collect::<Vec<_>>(), ["a"]);

    for (path, code) in [
        ("/v1/indexes/nobody/export", "index_not_found"),
        (
            "/v1/indexes/notes/export?filter=stars%20%3E%3C",
            "invalid_filter",
        ),
        ("/v1/indexes/notes/export?filter=%7B", "invalid_filter"),
        ("/v1/indexes/notes/export?k=1", "invalid_request"),
    ] {
        assert_eq!(service.get(path).code(), code, "{path}");
    }
}

#[test]
fn a_caller_that_leaves_keeps_nobody_waiting() {
    use std::io::{Read, Write};

    let service = Service::new().with_notes();
    let body = "lorem ipsum dolor ".repeat(4000);
    for batch in 0..20 {
        let documents: Vec<Value> = (0..50)
            .map(|i| {
                let body = format!("{batch} {i} {}", &body[i..]);
                json!({"id": format!("{batch}-{i}"), "body": body, "vector": [1, 2, i]})
            })
            .collect();
        let written = service.post("/v1/indexes/notes/documents", &json!(documents));
        assert_eq!(written.status, 200);
    }
    // More than may be sent at once: those that left gave their places back.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(90);
    let mut begun = 0;
    while begun < 5 {
        let mut socket = std::net::TcpStream::connect(service.address).unwrap();
        socket
            .write_all(b"GET /v1/indexes/notes/export HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut some = [0; 200];
        socket.read_exact(&mut some).unwrap();
        if some.starts_with(b"HTTP/1.1 200") {
            begun += 1;
        } else {
            // On a busy machine those that left may not be noticed at once.
            let said = String::from_utf8_lossy(&some);
            assert!(said.starts_with("HTTP/1.1 503"), "{said}");
            assert!(
                std::time::Instant::now() < limit,
                "places are not given back"
            );
        }
    }
    let whole = loop {
        let whole = service.get("/v1/indexes/notes/export");
        if whole.status != 503 || std::time::Instant::now() > limit {
            break whole;
        }
    };
    assert_eq!(whole.status, 200);
    assert!(whole.body.ends_with(b"PAR1"));
}

#[test]
fn from_the_command_line() {
    let place = Place::new();
    place.write("notes.toml", DEFINITION);
    place.ok(&["index", "create", "notes.toml"]);
    let rows: Vec<Value> = (0..50)
        .map(|i| note(&format!("n{i}"), "light", f64::from(i)))
        .collect();
    crate::support::files::jsonl(&place.path("notes.jsonl"), &rows);
    place.ok(&["ingest", "notes", "notes.jsonl"]);
    let said = place.json(&["export", "notes", "--to", "out.parquet"]);
    assert_eq!(
        (&said["documents"], &said["passages"]),
        (&json!(50), &json!(50))
    );
    place.refused(
        Code::InvalidRequest,
        &["export", "notes", "--to", "out.parquet"],
    );
    let some = [
        "export",
        "notes",
        "--to",
        "some.parquet",
        "--filter",
        "stars < 10",
    ];
    assert_eq!(place.json(&some)["documents"], 10);
    place.ok(&["export", "notes", "--to", "out.parquet", "--force"]);
    let left: Vec<String> = std::fs::read_dir(place.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("writing"))
        .collect();
    assert_eq!(left, [""; 0]);

    place.refused(Code::IndexNotFound, &["ingest", "again", "out.parquet"]);
    let loaded = place.json(&["ingest", "again", "out.parquet", "--create", "--quiet"]);
    assert_eq!(
        (&loaded["loaded"], &loaded["tokens"]),
        (&json!(50), &json!(0))
    );
    let before = place.look("notes", texts);
    assert_eq!(place.look("again", texts), before);
    // Once more, into the index that is there now.
    let loaded = place.json(&["ingest", "again", "out.parquet", "--create", "--quiet"]);
    assert_eq!(loaded["unchanged"], 50);
}
