//! Promise: a model that is broken, gone or another one is named by file, ends what needs
//! it, and costs neither documents nor answers by words.

use std::fs;
use std::path::Path;

use gleaner::error::{Code, Error};
use gleaner::index::{Catalog, Definition, Index, Mode};
use gleaner::model::{Precision, PrepareOptions, prepare};
use gleaner::search::{SearchRequest, search};
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::files;
use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::world::{ask, ids, put, words};

const TEXTS: &str = r#"
name = "texts"
[fields.body]
type = "text"
[embedding]
model = "tiny"
fields = ["body"]
"#;

/// Files of a published folder, all of which it needs.
const PUBLISHED: [&str; 4] = [
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "1_Pooling/config.json",
];

/// A place with the index `texts` of three documents; its model is prepared, or as it was
/// published.
fn place(prepared: bool, definition: &str) -> Place {
    let place = Place::new();
    let published = place.path("published");
    TinyModel::default().write(&published);
    let model = place.path("models/tiny");
    match prepared {
        true => {
            let options = PrepareOptions {
                runtime: runtime(),
                ..PrepareOptions::new("tiny", Precision::Fp32)
            };
            prepare(&published, &model, &options).unwrap();
        }
        false => TinyModel::default().write(&model),
    }
    let catalog = Catalog::new(&place.config()).unwrap();
    let index = catalog
        .create(Definition::from_toml(definition).unwrap())
        .unwrap();
    put(&index, documents());
    drop(index);
    place
}

fn documents() -> Vec<Value> {
    vec![
        json!({"id": "a", "body": "the red river"}),
        json!({"id": "b", "body": "a green house by the river"}),
        json!({"id": "c", "body": "fish and birds"}),
    ]
}

/// What a search answers, apart from its timings.
fn answer(index: &Index, mode: Mode) -> Value {
    let request = SearchRequest {
        mode: Some(mode),
        ..words("red river")
    };
    let mut answer = serde_json::to_value(ask(index, &request)).unwrap();
    answer.as_object_mut().unwrap().remove("timings");
    answer
}

fn all_answers(place: &Place) -> Vec<Value> {
    place.look("texts", |index| {
        let mut all: Vec<Value> = [Mode::Lexical, Mode::Dense, Mode::Hybrid]
            .map(|mode| answer(index, mode))
            .into();
        all.push(serde_json::to_value(index.stats()).unwrap());
        all
    })
}

/// Without its model: words answer and say what is missing, the vectors refuse with this
/// code, a write is refused whole.
fn stands_without(place: &Place, code: Code, part: &str, before: &[Value]) {
    place.look("texts", |index| {
        assert_eq!(answer(index, Mode::Lexical), before[0]);
        let hybrid = ask(index, &words("red river"));
        assert_eq!(ids(&hybrid), ["a", "b"], "{part}");
        assert_eq!(hybrid.degraded[0].lost, "dense");
        // Callers hear of the model and not of its folder.
        let reason = &hybrid.degraded[0].reason;
        assert!(reason.contains("model"), "{reason}");
        assert!(
            !reason.contains(&*place.folder().to_string_lossy()),
            "{reason}"
        );
        let dense = SearchRequest {
            mode: Some(Mode::Dense),
            ..words("red river")
        };
        for error in [
            search(index, &dense).unwrap_err(),
            index.encoder().err().unwrap(),
            index
                .prepare(json!({"id": "d", "body": "more"}))
                .and_then(|one| index.encode(vec![one]))
                .unwrap_err(),
        ] {
            let Error::User(problem) = error else {
                panic!("{part}: {error}");
            };
            assert_eq!(problem.code, code, "{problem}");
            assert!(problem.to_string().contains(part), "{part}: {problem}");
            assert!(
                problem.field.is_some() && problem.found.is_some(),
                "{problem}"
            );
        }
    });
}

/// Breaks a file of the model, expects the one that is named, mends it, and looks again.
fn broken_and_mended(place: &Place, file: &str, named: &str, damage: impl FnOnce(&Path)) {
    let before = all_answers(place);
    let path = place.path("models/tiny").join(file);
    let kept = fs::read(&path).unwrap();
    damage(&path);
    stands_without(place, Code::InvalidModel, named, &before);
    fs::write(&path, kept).unwrap();
    assert_eq!(all_answers(place), before, "{file}");
}

#[test]
fn a_missing_file_of_a_prepared_model_is_named() {
    let place = place(true, TEXTS);
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    for file in ["model.onnx", "tokenizer.json", "word_embeddings.bin"] {
        broken_and_mended(&place, file, file, remove);
    }
    // Without its description it is taken for a published folder, which lacks another.
    broken_and_mended(&place, "model.toml", "config.json", remove);
}

#[test]
fn a_missing_file_of_a_published_model_is_named() {
    let place = place(false, TEXTS);
    for file in PUBLISHED {
        broken_and_mended(&place, file, file, |path| fs::remove_file(path).unwrap());
    }
}

#[test]
fn a_damaged_file_is_told_by_its_hash() {
    let place = place(true, TEXTS);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    for file in ["model.onnx", "tokenizer.json", "word_embeddings.bin"] {
        broken_and_mended(&place, file, file, flip);
        broken_and_mended(&place, file, file, |path| fs::write(path, "").unwrap());
    }
    let manifest = "model.toml";
    for text in ["", "name = 3", "\u{0}", "name = \"tiny\"\n"] {
        broken_and_mended(&place, manifest, manifest, |path| {
            fs::write(path, text).unwrap()
        });
    }
    // A folder that announces what it holds, and holds something that is no graph.
    let said = |file: &str, text: &str| {
        let kept = fs::read(place.path("models/tiny").join(file)).unwrap();
        let manifest = fs::read_to_string(place.path("models/tiny/model.toml")).unwrap();
        let hash = |bytes: &[u8]| -> String {
            use sha2::Digest;
            sha2::Sha256::digest(bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect()
        };
        place.write(&format!("models/tiny/{file}"), text);
        place.write(
            "models/tiny/model.toml",
            manifest.replace(&hash(&kept), &hash(text.as_bytes())),
        );
        let said = place.refused(Code::InvalidModel, &["models", "check", "tiny"]);
        place.write(&format!("models/tiny/{file}"), kept);
        place.write("models/tiny/model.toml", manifest);
        said
    };
    assert!(said("tokenizer.json", "{}").contains("tokenizer.json"));
    assert!(said("tokenizer.json", "\u{7}").contains("tokenizer.json"));
    assert!(said("model.onnx", "no graph").contains("model.onnx"));
    place.ok(&["models", "check", "tiny"]);
}

#[test]
fn a_load_without_its_model_ends_and_rejects_no_row() {
    let passages = format!("{TEXTS}passages = {{ max_tokens = 16, overlap = 4 }}\n");
    for definition in [TEXTS, &passages] {
        let place = place(true, definition);
        let before = all_answers(&place);
        let mut rows = documents();
        rows[0]["body"] = json!("something else");
        rows.push(json!({"id": "d", "body": "a new one"}));
        files::jsonl(&place.path("rows.jsonl"), &rows);

        let path = place.path("models/tiny/tokenizer.json");
        let kept = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let said = place.refused(Code::InvalidModel, &["ingest", "texts", "rows.jsonl"]);
        assert!(said.contains("tokenizer.json"), "{said}");
        // The rows are good: they must not end up among the bad ones.
        assert!(!place.path("texts-rejects.jsonl").exists());
        fs::rename(place.path("models/tiny"), place.path("models/.away")).unwrap();
        let said = place.refused(Code::ModelNotFound, &["ingest", "texts", "rows.jsonl"]);
        assert!(said.contains("found: tiny"), "{said}");
        fs::rename(place.path("models/.away"), place.path("models/tiny")).unwrap();
        assert!(!place.path("texts-rejects.jsonl").exists());

        fs::write(&path, kept).unwrap();
        assert_eq!(all_answers(&place), before);
        place.ok(&["ingest", "texts", "rows.jsonl"]);
        place.look("texts", |index| assert_eq!(index.stats().documents, 4));
    }
}

#[test]
fn another_model_of_the_same_name_is_refused() {
    let place = place(true, TEXTS);
    let before = all_answers(&place);
    fs::rename(place.path("models/tiny"), place.path("away")).unwrap();
    let other = TinyModel {
        seed: 2,
        ..TinyModel::default()
    };
    other.write(&place.path("models/tiny"));
    stands_without(&place, Code::ModelMismatch, "another version", &before);
    // What is stored as it is needs no model; anything else does.
    let changed = json!({"id": "a", "body": "the blue river"});
    files::jsonl(&place.path("rows.jsonl"), &[changed]);
    place.refused(Code::ModelMismatch, &["ingest", "texts", "rows.jsonl"]);
    // A folder of another name and the same files is the same model.
    fs::remove_dir_all(place.path("models/tiny")).unwrap();
    fs::rename(place.path("away"), place.path("models/renamed")).unwrap();
    assert_eq!(all_answers(&place), before);
}

#[test]
fn no_index_comes_of_a_model_that_cannot_be_used() {
    let place = Place::with_model("tiny");
    place.write("texts.toml", TEXTS);
    let create = ["index", "create", "texts.toml"];
    let kept = fs::read(place.path("models/tiny/model.safetensors")).unwrap();
    place.write("models/tiny/model.safetensors", &kept[..kept.len() / 2]);
    let said = place.refused(Code::InvalidModel, &create);
    assert!(said.contains("model.safetensors"), "{said}");
    place.write("models/tiny/model.safetensors", kept);
    place.write("wide.toml", format!("{TEXTS}dimensions = 7\n"));
    let said = place.refused(Code::InvalidDefinition, &["index", "create", "wide.toml"]);
    assert!(
        said.contains("found: 7") && said.contains("expected: 32"),
        "{said}"
    );
    place.write("nobody.toml", TEXTS.replace("tiny", "nobody"));
    let said = place.refused(Code::ModelNotFound, &["index", "create", "nobody.toml"]);
    assert!(
        said.contains("found: nobody") && said.contains("expected: tiny"),
        "{said}"
    );
    place.write("outside.toml", TEXTS.replace("tiny", "../models/tiny"));
    place.refused(Code::ModelNotFound, &["index", "create", "outside.toml"]);
    assert_eq!(place.json(&["index", "list"]), json!([]));
    place.ok(&create);
}
