//! Promise: every command does what its help says; with `--json` it prints one document
//! on standard output and nothing else, and its exit status tells scripts how it went.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use gleaner::error::Code;
use gleaner::eval::{Measure, Qrels, Run, evaluate};
use gleaner::index::Mode;
use gleaner::model::{Manifest, Pooling, Task, TextEncoder};
use gleaner::search::SearchRequest;
use serde_json::{Value, json};

use crate::support::binary::{Place, one_document};
use crate::support::files;
use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::world::{ask, ids};

/// Texts that the encoder named `tiny` encodes.
const PAGES: &str = r#"
name = "pages"
[fields.title]
type = "text"
required = true
analysis = { language = "english" }
[fields.body]
type = "text"
[fields.section]
type = "keyword"
[fields.stars]
type = "integer"
[embedding]
model = "tiny"
fields = ["title", "body"]
"#;

/// The same without an encoder.
const WORDS: &str = r#"
name = "words"
[fields.title]
type = "text"
[fields.stars]
type = "integer"
"#;

fn pages() -> Vec<Value> {
    [
        ("p1", "the red river", "water from the mountain", "nature", 5),
        ("p2", "the green city", "a house by the river", "travel", 3),
        ("p3", "cat and dog", "the cat is in the house", "home", 4),
        ("p4", "river fish", "fish are in the water", "nature", 2),
        ("p5", "search with an index", "query and document", "science", 5),
    ]
    .map(|(id, title, body, section, stars)| {
        json!({"id": id, "title": title, "body": body, "section": section, "stars": stars})
    })
    .to_vec()
}

/// A place whose index `pages` holds [`pages`].
fn place_with_pages() -> Place {
    let place = Place::with_model("tiny");
    place.write("pages.toml", PAGES);
    files::jsonl(&place.path("pages.jsonl"), &pages());
    place.ok(&["index", "create", "pages.toml"]);
    place.ok(&["ingest", "pages", "pages.jsonl"]);
    place
}

fn hits(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["id"].as_str().unwrap()).collect()
}

#[test]
fn the_life_of_an_index() {
    let place = Place::new();
    place.write("words.toml", WORDS);
    let none = place.ok(&["index", "list"]);
    assert!(none.out.contains("gleaner index create"), "{}", none.out);
    assert_eq!(place.json(&["index", "list"]), json!([]));

    let made = place.ok(&["index", "create", "words.toml"]);
    assert_eq!(made.out, "created words\n");
    let other = place.json(&["index", "create", "words.toml", "--name", "other"]);
    assert_eq!(other["name"], "other");
    assert_eq!(other["definition"]["name"], "other");
    let same = place.ok(&["index", "create", "words.toml"]);
    assert_eq!(same.out, "words is of this definition already\n");

    place.write("one.jsonl", "{\"id\": 1, \"title\": \"light\"}\n");
    place.ok(&["ingest", "words", "one.jsonl"]);
    let list = place.json(&["index", "list"]);
    let names = |list: &Value| -> Vec<(String, u64)> {
        let rows = list.as_array().unwrap();
        rows.iter()
            .map(|row| {
                let documents = row["stats"]["documents"].as_u64().unwrap();
                (row["name"].as_str().unwrap().to_string(), documents)
            })
            .collect()
    };
    assert_eq!(names(&list), [("other".into(), 0), ("words".into(), 1)]);
    let list = place.ok(&["index", "list"]).out;
    assert!(list.contains("words  1 documents"), "{list}");

    let shown = place.json(&["index", "show", "words"]);
    assert_eq!(shown["definition"]["fields"]["stars"]["type"], "integer");
    assert_eq!(shown["stats"]["documents"], 1);
    // In words it is a definition that can be used again.
    let shown = place.ok(&["index", "show", "words"]).out;
    let (_, definition) = shown.split_once("\n\n").unwrap();
    place.write("again.toml", definition);
    let again = place.json(&["index", "create", "again.toml", "--name", "again"]);
    let first = place.json(&["index", "show", "words"]);
    assert_eq!(again["definition"]["fields"], first["definition"]["fields"]);

    assert_eq!(
        place.ok(&["index", "delete", "words"]).out,
        "removed words\n"
    );
    let removed = place.json(&["index", "delete", "other"]);
    assert_eq!(removed, json!({"removed": "other"}));
    place.refused(Code::IndexNotFound, &["index", "delete", "words"]);
    assert_eq!(
        names(&place.json(&["index", "list"])),
        [("again".into(), 0)]
    );
    // The name is free again, and nothing of the old index is left in it.
    place.ok(&["index", "create", "words.toml"]);
    assert_eq!(
        place.json(&["index", "show", "words"])["stats"]["documents"],
        0
    );
}

#[test]
fn ingest_says_what_it_loaded() {
    let place = place_with_pages();
    let mut rows = pages();
    for row in &mut rows {
        row["title"] = json!("another title for all of the pages");
    }
    rows[1]["stars"] = json!("many");
    files::jsonl(&place.path("more.jsonl"), &rows);
    let loaded = place.json(&["ingest", "pages", "more.jsonl"]);
    for (key, value) in [
        ("index", json!("pages")),
        ("files", json!(1)),
        ("rows", json!(5)),
        ("loaded", json!(4)),
        ("replaced", json!(4)),
        ("unchanged", json!(0)),
        ("state", json!("done")),
        ("rejected", json!(1)),
        ("passages", json!(4)),
        ("truncated", json!(0)),
        ("rejects", json!("pages-rejects.jsonl")),
    ] {
        assert_eq!(loaded[key], value, "{key} of {loaded}");
    }
    assert!(loaded["tokens"].as_u64().unwrap() > 20, "{loaded}");
    assert!(loaded["documents_per_second"].as_f64().unwrap() > 0.0);
    assert!(place.path("pages-rejects.jsonl").is_file());

    let words = place.ok(&["ingest", "pages", "more.jsonl", "--rejects", "bad.jsonl"]);
    assert!(
        words
            .out
            .contains("4 documents loaded (0 replaced, 4 unchanged)"),
        "{}",
        words.out
    );
    assert!(words.out.contains("bad.jsonl"), "{}", words.out);
    assert!(place.path("bad.jsonl").is_file());
    // Without a bad row there is no rejects file, and none is named.
    let clean = place.json(&["ingest", "pages", "pages.jsonl", "--rejects", "none.jsonl"]);
    assert_eq!(clean.get("rejects"), None);
    assert!(!place.path("none.jsonl").exists());
}

#[test]
fn search_answers_as_the_library_does() {
    let place = place_with_pages();
    let base = SearchRequest {
        query: Some("river water".into()),
        k: Some(3),
        ..SearchRequest::default()
    };
    let cases: Vec<(Vec<&str>, SearchRequest)> = vec![
        (vec!["river water", "-k", "3"], base.clone()),
        (
            vec!["river water", "-k", "3", "--mode", "lexical"],
            SearchRequest {
                mode: Some(Mode::Lexical),
                ..base.clone()
            },
        ),
        (
            vec!["river water", "-k", "3", "--mode", "dense"],
            SearchRequest {
                mode: Some(Mode::Dense),
                ..base.clone()
            },
        ),
        (
            vec![
                "river water",
                "-k",
                "3",
                "--mode",
                "hybrid",
                "--offset",
                "1",
            ],
            SearchRequest {
                offset: Some(1),
                ..base.clone()
            },
        ),
        (
            vec![
                "river water",
                "-k",
                "3",
                "--filter",
                "section = \"nature\" AND stars > 2",
            ],
            SearchRequest {
                filter: Some("section = \"nature\" AND stars > 2".into()),
                ..base.clone()
            },
        ),
        (
            vec!["--like", "p1", "--like", "p4", "-k", "3"],
            SearchRequest {
                query: None,
                like: Some(gleaner::search::Like {
                    ids: vec!["p1".into(), "p4".into()],
                }),
                ..base.clone()
            },
        ),
    ];
    let printed: Vec<Value> = cases
        .iter()
        .map(|(args, _)| place.json(&[&["search", "pages"], &args[..]].concat()))
        .collect();
    place.look("pages", |index| {
        for ((args, request), printed) in cases.iter().zip(&printed) {
            let answer = ask(index, request);
            assert_eq!(hits(printed), ids(&answer), "{args:?}");
            assert!(!answer.hits.is_empty(), "{args:?}");
            let text = serde_json::to_string(&answer).unwrap();
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            let mut printed = printed.clone();
            for one in [&mut expected, &mut printed] {
                one.as_object_mut().unwrap().remove("timings");
            }
            assert_eq!(printed, expected, "{args:?}");
        }
    });
    assert_eq!(hits(&printed[4]), ["p1"]);
    assert!(!hits(&printed[5]).contains(&"p1"));
    assert_eq!(printed[4]["short"]["asked"], 3);
}

#[test]
fn search_explains_and_marks() {
    let place = place_with_pages();
    let plain = place.json(&["search", "pages", "river"]);
    let hit = &plain["hits"][0];
    assert_eq!(
        (hit.get("explanation"), hit.get("highlights")),
        (None, None)
    );

    let whole = place.json(&["search", "pages", "river", "--explain", "--highlight"]);
    assert_eq!(hits(&whole), hits(&plain));
    for hit in whole["hits"].as_array().unwrap() {
        let fusion = &hit["explanation"]["fusion"];
        assert_eq!(fusion["score"], hit["score"], "{hit}");
        let parts = fusion["learned"]["features"].as_array().unwrap();
        let sum: f64 = parts
            .iter()
            .map(|part| part["contribution"].as_f64().unwrap())
            .sum();
        assert!((sum - hit["score"].as_f64().unwrap()).abs() < 1e-6, "{hit}");
    }
    let p4 = whole["hits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hit| hit["id"] == "p4")
        .unwrap();
    assert_eq!(p4["highlights"]["title"][0], "<em>river</em> fish");

    // In words: places, ids, titles, the marked words, and the time.
    let words = place
        .ok(&["search", "pages", "river", "-k", "2", "--explain"])
        .out;
    for part in [
        "  1. ",
        "  2. ",
        "[river]",
        "\"lexical\"",
        "5 documents in ",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
}

#[test]
fn with_json_there_is_one_document_and_the_log_is_beside_it() {
    let place = place_with_pages();
    place.write("words.toml", WORDS);
    beir(&place, "beir");
    TinyModel::default().write(&place.path("models/gleaner-minilm"));
    TinyModel::default().write(&place.path("published"));
    let commands: [&[&str]; 10] = [
        &["index", "create", "words.toml"],
        &["index", "list"],
        &["index", "show", "pages"],
        &["ingest", "pages", "pages.jsonl"],
        &["search", "pages", "river"],
        &["eval", "retrieval", "--beir", "beir"],
        &["models", "list"],
        &["models", "add", "published", "--precision", "fp32"],
        &["models", "check", "tiny"],
        &["index", "delete", "words"],
    ];
    for (number, args) in commands.into_iter().enumerate() {
        let mut args = args.to_vec();
        // Global flags may stand before and after a command.
        let at = if number % 2 == 0 { 0 } else { args.len() };
        args.splice(at..at, ["--json", "--log", "debug"]);
        let said = place.ok(&args);
        one_document(&said.out);
        if ["index", "ingest", "search", "eval"].contains(&commands[number][0]) {
            assert!(
                said.err.contains("INFO") || said.err.contains("DEBUG"),
                "{args:?}"
            );
        }
    }
    // A refusal has nothing on standard output, not even half a document.
    place.refused(Code::IndexNotFound, &["search", "nobody", "x", "--json"]);
}

/// A small collection in the BEIR layout.
fn beir(place: &Place, name: &str) {
    let folder = place.path(name);
    std::fs::create_dir_all(folder.join("qrels")).unwrap();
    let document =
        |id: &str, title: &str, text: &str| json!({"_id": id, "title": title, "text": text});
    files::jsonl(
        &folder.join("corpus.jsonl"),
        &[
            document("d1", "river", "the red river from the mountain"),
            document("d2", "city", "a green house in the city"),
            document("d3", "cat", "the cat and the dog"),
            document("d4", "fish", "fish in the river water"),
            document("d5", "", "search with a query in an index"),
            document("q3", "itself", "document vector word"),
        ],
    );
    let query = |id: &str, text: &str| json!({"_id": id, "text": text});
    files::jsonl(
        &folder.join("queries.jsonl"),
        &[
            query("q1", "river water"),
            query("q2", "house of the cat"),
            query("q3", "document vector word"),
            query("unjudged", "green"),
        ],
    );
    place.write(
        &format!("{name}/qrels/test.tsv"),
        "query-id\tcorpus-id\tscore\nq1\td4\t2\nq1\td1\t1\nq2\td3\t1\nq2\td2\t1\nq3\td5\t1\n",
    );
    place.write(
        &format!("{name}/qrels/dev.tsv"),
        "query-id\tcorpus-id\tscore\nq1\td4\t1\n",
    );
}

fn measured_again(folder: &Path, qrels: &Path, mode: &str) -> Vec<(String, f64)> {
    let run = Run::read(&folder.join(format!("{mode}.trec"))).unwrap();
    let qrels = Qrels::read(qrels).unwrap();
    let evaluation = evaluate(&qrels, &run, &Measure::USUAL);
    let names = evaluation.measures.iter().map(ToString::to_string);
    names.zip(evaluation.means.iter().copied()).collect()
}

#[test]
fn eval_retrieval_measures_every_mode() {
    let place = Place::with_model("gleaner-minilm");
    beir(&place, "beir");
    let report = place.json(&["eval", "retrieval", "--beir", "beir", "--run-dir", "runs"]);
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["modes", "documents", "queries"]);
    assert_eq!(
        (&report["documents"], &report["queries"]),
        (&json!(6), &json!(3))
    );
    let modes: Vec<&String> = report["modes"].as_object().unwrap().keys().collect();
    assert_eq!(modes, ["lexical", "dense", "hybrid"]);
    for mode in ["lexical", "dense", "hybrid"] {
        for measure in ["ndcg@10", "recall@100", "mrr@10"] {
            let value = report["modes"][mode][measure].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&value), "{mode} {measure}: {value}");
        }
        let again = measured_again(
            &place.path("runs"),
            &place.path("beir/qrels/test.tsv"),
            mode,
        );
        assert_eq!(
            again.len(),
            report["modes"][mode].as_object().unwrap().len()
        );
        for (name, value) in again {
            let told = report["modes"][mode][&name].as_f64().unwrap();
            assert!(
                (told - value).abs() < 1e-12,
                "{mode} {name}: {told} {value}"
            );
        }
        // A document of a query's own id is no answer to it.
        let run = std::fs::read_to_string(place.path(&format!("runs/{mode}.trec"))).unwrap();
        assert!(!run.contains("q3 Q0 q3"), "{run}");
        assert!(run.contains("q1 Q0 d4"), "{run}");
    }
    // Every document is a hit of the dense mode: all that is relevant is found.
    assert_eq!(report["modes"]["dense"]["recall@100"], 1.0);

    let table = place
        .ok(&["eval", "retrieval", "--beir", "beir", "--modes", "lexical"])
        .out;
    assert!(
        table.starts_with("6 documents, 3 queries\nmode "),
        "{table}"
    );
    assert!(!table.contains("hybrid"), "{table}");
}

#[test]
fn eval_takes_split_definition_weights_and_a_kept_index() {
    let place = Place::with_model("gleaner-minilm");
    beir(&place, "beir");
    let eval = |more: &[&str]| -> Value {
        place.json(&[&["eval", "retrieval", "--beir", "beir"], more].concat())
    };
    let kept = eval(&["--keep", "kept"]);
    // The second time nothing is encoded: the answers come from what was kept.
    std::fs::remove_file(place.path("beir/corpus.jsonl")).unwrap();
    place.write("beir/corpus.jsonl", "");
    assert_eq!(eval(&["--keep", "kept"]), kept);
    let words = eval(&[
        "--keep",
        "kept",
        "--lexical-weight",
        "1",
        "--modes",
        "lexical,hybrid",
    ]);
    // The words decide; the vectors only add what no word finds.
    let mrr = |mode: &str| words["modes"][mode]["mrr@10"].as_f64().unwrap();
    assert!(mrr("hybrid") >= mrr("lexical"), "{words}");
    assert_eq!(words["modes"]["hybrid"]["recall@100"], 1.0);
    let vectors = eval(&[
        "--keep",
        "kept",
        "--lexical-weight",
        "0",
        "--modes",
        "dense,hybrid",
    ]);
    assert_eq!(vectors["modes"]["hybrid"], vectors["modes"]["dense"]);
    let ranks = eval(&[
        "--keep",
        "kept",
        "--rrf",
        "--candidates",
        "2",
        "--modes",
        "hybrid",
    ]);
    assert_eq!(ranks["queries"], 3);
    assert_eq!(eval(&["--keep", "kept", "--split", "dev"])["queries"], 1);
    let said = place.refused(
        Code::InvalidFile,
        &["eval", "retrieval", "--beir", "beir", "--split", "train"],
    );
    assert!(said.contains("dev, test"), "{said}");

    beir(&place, "beir");
    place.write(
        "body.toml",
        "name = \"body\"\nid_field = \"key\"\n[fields.body]\ntype = \"text\"\n",
    );
    let words = eval(&["--index", "body.toml", "--modes", "lexical"]);
    assert_eq!(words["documents"], 6);
    assert!(
        words["modes"]["lexical"]["ndcg@10"].as_f64().unwrap() > 0.3,
        "{words}"
    );
    let without = place.refused(
        Code::InvalidRequest,
        &[
            "eval",
            "retrieval",
            "--beir",
            "beir",
            "--index",
            "body.toml",
        ],
    );
    assert!(without.contains("no vectors"), "{without}");
    // A bad row ends a measurement: half a collection is another one.
    place.write(
        "beir/corpus.jsonl",
        "{\"_id\": \"d1\", \"text\": \"x\"}\n{\"text\": 3}\n",
    );
    let bad = place.refused(Code::InvalidFile, &["eval", "retrieval", "--beir", "beir"]);
    assert!(bad.contains("line 2") && bad.contains("_id"), "{bad}");
}

#[test]
fn models_are_added_listed_and_checked() {
    let place = Place::new();
    TinyModel::default().write(&place.path("Published"));
    let none = place.ok(&["models", "list"]);
    assert!(none.out.starts_with("no models in models"), "{}", none.out);

    let fp32 = place.json(&["models", "add", "Published", "--precision", "fp32"]);
    assert_eq!(fp32["name"], "published");
    let int8 = place.json(&[
        "models",
        "add",
        "Published",
        "--name",
        "small",
        "--licence",
        "CC0-1.0",
        "--origin",
        "a test",
    ]);
    assert_eq!(
        (&int8["name"], &int8["licence"]),
        (&json!("small"), &json!("CC0-1.0"))
    );
    let elsewhere = place.ok(&[
        "models",
        "add",
        "Published",
        "--into",
        "more",
        "--name",
        "third",
    ]);
    assert!(
        elsewhere.out.contains("added third to more/third"),
        "{}",
        elsewhere.out
    );

    let list = place.json(&["models", "list", "--models-dir", "more"]);
    let named: Vec<(&str, &Value)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["name"].as_str().unwrap(), &model["dimensions"]))
        .collect();
    assert_eq!(
        named,
        [
            ("third", &json!(32)),
            ("published", &json!(32)),
            ("small", &json!(32))
        ]
    );
    let list = place.ok(&["models", "list"]).out;
    assert!(
        list.contains("small  32 dimensions, up to 64 tokens, CC0-1.0"),
        "{list}"
    );
    assert!(!list.contains("third"), "{list}");

    let open =
        |name: &str| TextEncoder::open(&place.path("models").join(name), &runtime()).unwrap();
    let text = ["the river is in the city"];
    let vector = |name: &str| open(name).encode(Task::Document, &text).unwrap().vectors;
    for name in ["published", "small"] {
        let checked = place.json(&["models", "check", name]);
        assert_eq!(checked["fingerprint"], open(name).fingerprint());
        assert_eq!(
            (&checked["dimensions"], &checked["max_tokens"]),
            (&json!(32), &json!(64))
        );
        assert!(checked["encode_ms"].as_f64().unwrap() > 0.0);
    }
    let said = place.ok(&["models", "check", "small"]).out;
    assert!(said.starts_with("small: good; 32 dimensions"), "{said}");
    let cosine: f32 = vector("published")
        .iter()
        .zip(vector("small"))
        .map(|(a, b)| a * b)
        .sum();
    assert!(cosine > 0.98, "{cosine}");
    let manifest = Manifest::read(&place.path("models/small")).unwrap();
    assert_eq!(
        (manifest.pooling, manifest.origin.as_deref()),
        (Pooling::Mean, Some("a test"))
    );

    place.refused(Code::ModelNotFound, &["models", "check", "third"]);
    place.write("models/small/tokenizer.json", "{}");
    let wrong = place.refused(Code::InvalidModel, &["models", "check", "small"]);
    assert!(
        wrong.contains("tokenizer.json") && wrong.contains("sha256"),
        "{wrong}"
    );
    place.write("models/broken/model.toml", "name = 3");
    let list = place.ok(&["models", "list"]).out;
    assert!(list.contains("broken  cannot be used: "), "{list}");
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_answers_until_it_is_told_to_stop() {
    let place = place_with_pages();
    let server = std::process::Command::new(env!("CARGO_BIN_EXE_gleaner"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(place.folder())
        .env("GLEANER_MODELS", place.path("models"))
        .env("GLEANER_DATA", place.path("data"))
        .env_remove("GLEANER_CONFIG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Running(server);
    let mut log = BufReader::new(server.0.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "it ended: {:?}",
            server.0.wait()
        );
        if let Some((_, address)) = line.split_once("listening address=") {
            break address.trim().to_string();
        }
    };
    let found: Value = ureq::post(format!("http://{address}/v1/indexes/pages/search"))
        .send_json(json!({"query": "river", "mode": "lexical"}))
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap();
    assert_eq!(found["total"]["value"], 3);
    // The index is this server's: a load beside it is refused rather than mixed in.
    let beside = place.run(&["ingest", "pages", "pages.jsonl"]);
    assert_eq!(beside.status, Some(1), "{beside:?}");
    assert!(
        beside.err.contains("in use") || beside.err.contains("lock"),
        "{beside:?}"
    );

    let stop = std::process::Command::new("kill")
        .args(["-TERM", &server.0.id().to_string()])
        .status()
        .unwrap();
    assert!(stop.success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0), "{rest}");
    let mut out = String::new();
    server
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(out, "");
    place.ok(&["ingest", "pages", "pages.jsonl"]);
}
