//! A pair's score is the model's, whatever is scored beside it; the query is read whole; any
//! published cross-encoder is taken, and what is none is refused by file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gleaner::error::{Code, Error};
use gleaner::model::{
    Cancellation, CrossEncoder, Manifest, ModelKind, Precision, PrepareOptions, Registry,
    ScoreOptions, prepare,
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tempfile::TempDir;

use crate::support::binary::Place;
use crate::support::plain_bert;
use crate::support::tiny_model::{TinyModel, runtime};

fn tiny(labels: usize) -> TinyModel {
    TinyModel {
        labels,
        ..TinyModel::default()
    }
}

fn published(model: &TinyModel) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    folder
}

fn prepared(source: &Path, precision: Precision) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("tiny");
    let mut options = PrepareOptions::new("tiny", precision);
    options.runtime = runtime();
    prepare(source, &target, &options).unwrap();
    (home, target)
}

fn open(folder: &Path) -> CrossEncoder {
    CrossEncoder::open(folder, &runtime()).unwrap()
}

const QUERIES: [&str; 4] = ["the red river", "a", "", "search the index for a cat"];

/// Passages of every length from nothing to past the limit.
fn passages(count: usize) -> Vec<String> {
    let words = ["red", "river", "of the city", "a cat.", "1984", "wind"];
    (0..count)
        .map(|n| {
            let parts = (0..(n * n) % 31).map(|k| words[(n + 5 * k) % words.len()]);
            parts.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn score(model: &CrossEncoder, query: &str, passages: &[String]) -> Vec<f32> {
    let found = model.score(query, passages, &ScoreOptions::default());
    found.unwrap().scores.into_iter().flatten().collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    match result {
        Err(Error::User(problem)) => problem.code,
        other => panic!("not the caller's: {other:?}"),
    }
}

/// Ids as a pair has them, and where the second type begins: `[CLS] query [SEP] passage [SEP]`.
fn pair(query: &[u32], passage: &[u32]) -> (Vec<u32>, usize) {
    let (cls, sep) = (2, 3);
    let ids = [&[cls], query, &[sep], passage, &[sep]].concat();
    (ids, query.len() + 2)
}

#[test]
fn the_fp32_graph_is_bert_with_a_classifier() {
    for labels in [1, 2] {
        let model = tiny(labels);
        let folder = published(&model);
        let reranker = open(folder.path());
        let texts = ["the red river", "a", "fish 7 ."];
        let vocabulary = fs::read(folder.path().join("tokenizer.json")).unwrap();
        let vocabulary: serde_json::Value = serde_json::from_slice(&vocabulary).unwrap();
        let ids = |text: &str| -> Vec<u32> {
            let words = text.split(' ');
            words
                .map(|w| vocabulary["model"]["vocab"][w].as_u64().unwrap() as u32)
                .collect()
        };
        let tensors = model.tensors();
        for query in texts {
            for passage in texts {
                let (ids, second) = pair(&ids(query), &ids(passage));
                let states = plain_bert::states(&model, &tensors, &ids, second);
                let logits = plain_bert::logits(&tensors, &states[0]);
                let expected = match logits[..] {
                    [one] => one,
                    [other, relevant] => relevant - other,
                    _ => unreachable!(),
                };
                let found = reranker
                    .score(query, &[passage], &ScoreOptions::default())
                    .unwrap();
                let logit = found.logits[0].unwrap();
                assert!((logit - expected).abs() < 1e-4, "{logit} {expected}");
                let score = 1.0 / (1.0 + (-expected).exp());
                assert!((found.scores[0].unwrap() - score).abs() < 1e-4);
                assert_eq!(found.tokens, [ids.len() as u32]);
            }
        }
    }
}

#[test]
fn int8_is_close_to_fp32_and_a_pair_scores_alike_alone_and_among_others() {
    let source = published(&tiny(1));
    let (_home, int8) = prepared(source.path(), Precision::Int8);
    let (exact, close) = (open(source.path()), open(&int8));
    let passages = passages(40);
    for query in QUERIES {
        let (a, b) = (
            score(&exact, query, &passages),
            score(&close, query, &passages),
        );
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 0.1, "{a} {b}");
        }
        for model in [&exact, &close] {
            let together = score(model, query, &passages);
            for (passage, &among) in passages.iter().zip(&together) {
                let alone = score(model, query, std::slice::from_ref(passage))[0];
                assert!((alone - among).abs() < 1e-4, "{passage}: {alone} {among}");
            }
        }
    }
    // Nor does it matter who else asks at the same time.
    let expected: Vec<Vec<f32>> = QUERIES.map(|q| score(&close, q, &passages)).into();
    std::thread::scope(|scope| {
        for (query, expected) in QUERIES.iter().zip(&expected) {
            let (close, passages) = (&close, &passages);
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(&score(close, query, passages), expected);
                }
            });
        }
    });
}

#[test]
fn the_passage_is_cut_and_the_query_is_not() {
    let folder = published(&tiny(1));
    let model = open(folder.path());
    assert_eq!(model.max_tokens(), 64);
    assert_eq!(model.max_query_tokens(), 30);
    let long = "the red river ".repeat(50);
    let options = ScoreOptions::default();
    let found = model
        .score("a cat", &[long.as_str(), "a"], &options)
        .unwrap();
    assert_eq!(found.tokens, [64, 6]);
    assert_eq!(found.truncated, [true, false]);
    assert!(!found.query_truncated);
    // What was cut off plays no part; what the query says does.
    let cut = "the red river ".repeat(19) + "the red";
    let other = cut.clone() + " wind";
    let alike = score(&model, "a cat", &[cut.clone(), other]);
    assert_eq!(alike[0], alike[1]);
    assert_ne!(alike[0], score(&model, "a dog", &[cut])[0]);
    // A query that leaves a passage less than half of the room is cut to that, and says so.
    let found = model.score(&long, &[long.as_str(), ""], &options).unwrap();
    assert_eq!(found.tokens, [64, 33]);
    assert!(found.query_truncated);
    let few = ScoreOptions {
        max_tokens: Some(4),
        ..ScoreOptions::default()
    };
    let found = model.score("a cat", &[long.as_str(), "a"], &few).unwrap();
    assert_eq!(
        (found.tokens, found.truncated),
        (vec![9, 6], vec![true, false])
    );
    assert_eq!(
        code(model.score(
            "a",
            &["b"],
            &ScoreOptions {
                max_tokens: Some(0),
                ..ScoreOptions::default()
            }
        )),
        Code::InvalidRequest
    );
    assert_eq!(
        code(model.score(
            "a",
            &["b", "c"],
            &ScoreOptions {
                most_tokens: 9,
                ..ScoreOptions::default()
            }
        )),
        Code::LimitExceeded
    );
}

#[test]
fn whoever_leaves_or_is_late_gets_no_scores() {
    let folder = published(&tiny(1));
    let model = open(folder.path());
    let cancellation = Cancellation::default();
    cancellation.cancel();
    let left = ScoreOptions {
        cancellation,
        ..ScoreOptions::default()
    };
    assert_eq!(code(model.score("a", &["b"], &left)), Code::Timeout);
    let late = |deadline| ScoreOptions {
        deadline: Some(deadline),
        ..ScoreOptions::default()
    };
    let passages = passages(30);
    let now = Instant::now();
    let found = model.score("a", &passages, &late(now)).unwrap();
    assert!(found.scores.iter().all(Option::is_none));
    let soon = now + Duration::from_secs(60);
    let found = model.score("a", &passages, &late(soon)).unwrap();
    let found: Vec<f32> = found.scores.into_iter().flatten().collect();
    assert_eq!(found, score(&model, "a", &passages));
}

#[test]
fn two_labels_and_the_calibration_make_scores() {
    let source = published(&tiny(2));
    let (_home, folder) = prepared(source.path(), Precision::Fp32);
    let passages = passages(12);
    let plain = open(&folder);
    assert_eq!(plain.manifest().dimensions, 2);
    let logits = plain.score("a cat", &passages, &ScoreOptions::default());
    let path = folder.join("model.toml");
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find("[files]").unwrap();
    let calibration = "[calibration]\ntemperature = 2.0\noffset = 0.5\n\n";
    fs::write(
        &path,
        format!("{}{calibration}{}", &text[..at], &text[at..]),
    )
    .unwrap();
    let calibrated = open(&folder);
    for (logit, score) in logits
        .unwrap()
        .logits
        .iter()
        .zip(score(&calibrated, "a cat", &passages))
    {
        let expected = 1.0 / (1.0 + (-(logit.unwrap() - 0.5) / 2.0).exp());
        assert!((score - expected).abs() < 1e-6);
    }
    assert_ne!(plain.fingerprint(), calibrated.fingerprint());
    for wrong in ["temperature = 0.0", "temperature = nan", "heat = 1.0"] {
        let changed = calibration.replace("temperature = 2.0", wrong);
        fs::write(&path, format!("{}{changed}{}", &text[..at], &text[at..])).unwrap();
        assert_eq!(code(Manifest::read(&folder)), Code::InvalidModel, "{wrong}");
    }
}

#[test]
fn a_published_graph_is_used_as_it_is() {
    let source = published(&tiny(1));
    let (_home, built) = prepared(source.path(), Precision::Fp32);
    fs::create_dir(source.path().join("onnx")).unwrap();
    for file in ["model.onnx", "word_embeddings.bin"] {
        fs::copy(built.join(file), source.path().join("onnx").join(file)).unwrap();
    }
    fs::remove_file(source.path().join("model.safetensors")).unwrap();
    let manifest = Manifest::read(source.path()).unwrap();
    assert_eq!(manifest.kind, ModelKind::Reranker);
    assert_eq!(manifest.graph, "onnx/model.onnx");
    let passages = passages(10);
    assert_eq!(
        score(&open(source.path()), "a cat", &passages),
        score(&open(&built), "a cat", &passages)
    );
    // More classes than two are no relevance.
    let config = fs::read_to_string(source.path().join("config.json")).unwrap();
    let three = config.replace("\"id2label\": {", "\"num_labels\": 3, \"id2label\": {");
    fs::write(source.path().join("config.json"), three).unwrap();
    assert_eq!(
        code(CrossEncoder::open(source.path(), &runtime())),
        Code::InvalidModel
    );
    // Another number of labels than the graph has.
    let two = config.replace("\"id2label\": {", "\"num_labels\": 2, \"id2label\": {");
    fs::write(source.path().join("config.json"), two).unwrap();
    assert_eq!(
        code(CrossEncoder::open(source.path(), &runtime())),
        Code::InvalidModel
    );
}

#[test]
fn what_is_wrong_with_a_published_folder_is_said_by_file() {
    let folder = published(&tiny(1));
    let path = |name: &str| folder.path().join(name);
    let opened = || CrossEncoder::open(folder.path(), &runtime());
    let field = || match opened() {
        Err(Error::User(problem)) => problem.field.unwrap(),
        other => panic!("{other:?}"),
    };
    let tokenizer = fs::read_to_string(path("tokenizer.json")).unwrap();
    let mut changed: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
    // A template that leaves the second text out.
    changed["post_processor"]["pair"] = json!([{"Sequence": {"id": "A", "type_id": 0}}]);
    fs::write(path("tokenizer.json"), changed.to_string()).unwrap();
    assert_eq!(field(), "tokenizer.json");
    // Texts whose types are the wrong way round.
    changed["post_processor"]["pair"] = json!([
        {"Sequence": {"id": "A", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 0}}
    ]);
    fs::write(path("tokenizer.json"), changed.to_string()).unwrap();
    assert_eq!(field(), "tokenizer.json");
    fs::write(path("tokenizer.json"), tokenizer).unwrap();
    opened().unwrap();
    TinyModel::default().write(folder.path());
    // An encoder, whose weights lack a classifier.
    assert_eq!(field(), "model.toml");
    let config = fs::read_to_string(path("config.json")).unwrap();
    let classifier = config.replacen(
        '{',
        "{\"architectures\": [\"BertForSequenceClassification\"],",
        1,
    );
    fs::write(path("config.json"), classifier).unwrap();
    assert_eq!(field(), "model.safetensors");
}

#[test]
fn a_registry_keeps_the_kinds_apart() {
    let folder = tempfile::tempdir().unwrap();
    TinyModel::default().write(&folder.path().join("vectors"));
    tiny(1).write(&folder.path().join("scores"));
    let registry = Registry::new(vec![folder.path().into()], runtime());
    let kinds: Vec<_> = registry
        .list()
        .into_iter()
        .map(|s| (s.name, s.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("scores".to_owned(), Some(ModelKind::Reranker)),
            ("vectors".to_owned(), Some(ModelKind::TextEncoder)),
        ]
    );
    registry.open_reranker("scores").unwrap();
    registry.open("vectors").unwrap();
    let wrong = registry.open("scores").unwrap_err();
    let problem = wrong.problem().unwrap();
    assert_eq!(problem.code, Code::InvalidRequest);
    assert!(problem.expected.as_ref().unwrap().contains("vectors"));
    assert_eq!(
        code(registry.open_reranker("vectors")),
        Code::InvalidRequest
    );
    assert_eq!(code(registry.open_reranker("neither")), Code::ModelNotFound);
}

#[test]
fn a_reranker_is_added_if_it_gives_its_reference_scores() {
    let place = Place::new();
    let source = place.path("published");
    tiny(1).write(&source);
    let model = open(&source);
    let (queries, passages) = (["a cat", "the river", "fish"], ["a dog", "red water", ""]);
    let logits = |change: f32| -> Vec<f32> {
        let pairs = queries.iter().zip(passages);
        let scored = pairs.map(|(q, p)| model.score(q, &[p], &ScoreOptions::default()));
        scored
            .map(|s| s.unwrap().logits[0].unwrap() + change)
            .collect()
    };
    let reference = |change: f32| {
        let reference = json!({"queries": queries, "passages": passages, "logits": logits(change)});
        fs::write(source.join("reference.json"), reference.to_string()).unwrap();
    };
    reference(0.0);
    for precision in ["fp32", "int8"] {
        let add = ["models", "add", "published", "--precision", precision];
        let added = place.json(&[&add[..], &["--replace"]].concat());
        assert_eq!(added["kind"], "reranker");
        assert_eq!(added["reference"]["texts"], 3);
        let checked = place.json(&["models", "check", "published"]);
        assert_eq!(checked["kind"], "reranker", "{checked}");
        assert!(checked["reference"]["least_cosine"].as_f64().unwrap() > 0.9);
    }
    let words = place.ok(&["models", "list"]).out;
    assert!(
        words.contains("reranker") && words.contains("64 tokens"),
        "{words}"
    );
    let measured = place.json(&["models", "bench", "published", "--seconds", "0.1"]);
    assert!(
        measured["pairs_per_second"].as_f64().unwrap() > 0.0,
        "{measured}"
    );
    reference(0.7);
    let said = place.refused(
        Code::InvalidModel,
        &["models", "add", "published", "--replace"],
    );
    assert!(said.contains("reference.json"), "{said}");
    place.json(&["models", "remove", "published"]);
}

#[test]
fn trained_layers_and_a_classifier_are_put_together_with_their_base() {
    let place = Place::new();
    let base = place.path("base");
    TinyModel::default().write(&base);
    let trained = TinyModel { seed: 7, ..tiny(1) };
    let folder = place.path("layers");
    let about = "kind = \"reranker\"\n[calibration]\ntemperature = 1.5\noffset = 0.25\n\
                 [recommended]\nweight = 0.25\n";
    crate::model_folders::write_layers(&folder, &trained, &base, about);
    let add = [
        "models",
        "add",
        "layers",
        "--base",
        "base",
        "--precision",
        "fp32",
    ];
    let said = place.refused(Code::InvalidModel, &add);
    assert!(said.contains("head.safetensors"), "{said}");
    let tensors = trained.tensors();
    let head: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .filter(|(name, _)| name.contains("pooler") || name.starts_with("classifier"))
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name.clone(), shape.clone(), bytes)
        })
        .collect();
    let views = head.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("head.safetensors"), file).unwrap();
    let added = place.json(&add);
    assert_eq!(added["kind"], "reranker");
    assert_eq!(added["max_tokens"], 48);
    assert_eq!(
        added["calibration"],
        json!({"temperature": 1.5, "offset": 0.25})
    );
    assert_eq!(added["recommended"], json!({"weight": 0.25}));

    // The embeddings of the base, everything else of the trained one, as its int8 has it.
    let mut whole = trained.tensors();
    for (name, (shape, values)) in whole.iter_mut() {
        if let ([_, width], true) = (&shape[..], name.starts_with("encoder.")) {
            for row in values.chunks_mut(*width) {
                let scale = row.iter().fold(0.0_f32, |m, v| m.max(v.abs())) / 127.0;
                row.iter_mut()
                    .for_each(|v| *v = (*v / scale).round() * scale);
            }
        }
    }
    for (name, tensor) in TinyModel::default().tensors() {
        if name.starts_with("embeddings.") {
            whole.insert(name, tensor);
        }
    }
    let model = open(&place.path("models/layers"));
    assert_eq!(model.recommended_weight(), Some(0.25));
    let query = [5, 7];
    let passage = [77, 5, 9];
    let (ids, second) = pair(&query, &passage);
    let states = plain_bert::states(&trained, &whole, &ids, second);
    let expected = plain_bert::logits(&whole, &states[0])[0];
    let found = model.score("a b", &[". a c"], &ScoreOptions::default());
    let found = found.unwrap();
    assert_eq!(found.tokens, [8]);
    let logit = found.logits[0].unwrap();
    assert!((logit - expected).abs() < 1e-3, "{logit} {expected}");
    let calibrated = 1.0 / (1.0 + (-(logit - 0.25) / 1.5).exp());
    assert!((found.scores[0].unwrap() - calibrated).abs() < 1e-5);
    place.json(&["models", "add", "layers", "--base", "base", "--replace"]);
    // Nothing of it is left beside the models.
    assert_eq!(fs::read_dir(place.path("models")).unwrap().count(), 1);
}
