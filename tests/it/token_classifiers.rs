//! What is said of a pair's tokens is the model's, whatever is read beside it; a model of another
//! kind, and one that does not say what its makers wrote down, is refused.

use std::fs;
use std::path::{Path, PathBuf};

use gleaner::error::{Code, Error};
use gleaner::model::{
    CrossEncoder, ModelKind, Precision, PrepareOptions, REFERENCE, Registry, TextEncoder,
    TokenClassifier, TokenPair, prepare,
};
use serde_json::json;
use tempfile::TempDir;

use crate::support::plain_bert;
use crate::support::tiny_model::{TinyModel, runtime};

fn published(model: &TinyModel) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    folder
}

fn prepared(source: &Path, precision: Precision) -> Result<(TempDir, PathBuf), Error> {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("tiny");
    let mut options = PrepareOptions::new("tiny", precision);
    options.runtime = runtime();
    prepare(source, &target, &options)?;
    Ok((home, target))
}

fn open(folder: &Path) -> TokenClassifier {
    TokenClassifier::open(folder, &runtime()).unwrap()
}

/// Pairs of every length.
fn pairs(model: &TokenClassifier) -> Vec<TokenPair> {
    let words = ["red", "river", "of the city", "a cat.", "1984", "wind"];
    (0..12)
        .map(|n| {
            let second: Vec<&str> = (0..(n * n) % 31).map(|k| words[(n + 5 * k) % 6]).collect();
            model.pair(words[n % 6], &second.join(" ")).unwrap()
        })
        .collect()
}

#[test]
fn the_fp32_graph_is_bert_with_a_classifier_of_tokens() {
    let model = TinyModel {
        labels: 3,
        ..TinyModel::linker()
    };
    let folder = published(&model);
    let classifier = open(folder.path());
    let tensors = model.tensors();
    let (weight, bias) = (
        &tensors["classifier.weight"].1,
        &tensors["classifier.bias"].1,
    );
    let (first, second) = ("the red river", "a cat in water");
    let pair = classifier.pair(first, second).unwrap();
    let [a, b] = [first, second].map(|text| classifier.first(text, 100).unwrap());
    let (cls, sep) = (2, 3);
    let ids = [&[cls], &a[..], &[sep], &b[..], &[sep]].concat();
    assert_eq!((pair.tokens(), pair.second()), (ids.len(), a.len() + 2));
    let states = plain_bert::states(&model, &tensors, &ids, a.len() + 2);
    let found = classifier.classify(&[pair]).unwrap();
    assert_eq!(found[0].len(), ids.len() * 3);
    for (state, values) in states.iter().zip(found[0].chunks(3)) {
        for (label, value) in values.iter().enumerate() {
            let row = &weight[label * model.hidden..][..model.hidden];
            let expected = bias[label] + row.iter().zip(state).map(|(w, x)| w * x).sum::<f32>();
            assert!((value - expected).abs() < 1e-4, "{value} {expected}");
        }
    }
}

#[test]
fn a_pair_is_read_alike_alone_and_beside_others() {
    let folder = published(&TinyModel::linker());
    for precision in [Precision::Fp32, Precision::Int8] {
        let (_home, target) = prepared(folder.path(), precision).unwrap();
        let classifier = open(&target);
        assert_eq!(classifier.manifest().kind, ModelKind::TokenClassifier);
        let pairs = pairs(&classifier);
        let together = classifier.classify(&pairs).unwrap();
        for (pair, values) in pairs.iter().zip(&together) {
            assert_eq!(values.len(), pair.tokens() * classifier.labels());
            let alone = classifier.classify(std::slice::from_ref(pair)).unwrap();
            for (a, b) in alone[0].iter().zip(values) {
                assert!((a - b).abs() < 1e-4, "{precision:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn what_is_too_long_is_cut_off_the_second_text() {
    let folder = published(&TinyModel::linker());
    let classifier = open(folder.path());
    let long = "red river ".repeat(500);
    let pair = classifier.pair("a cat", &long).unwrap();
    assert_eq!((pair.tokens(), pair.second()), (256, 4));
    let pair = classifier.pair(&long, &long).unwrap();
    assert_eq!((pair.tokens(), pair.second()), (256, 126 + 2));
    assert_eq!(classifier.classify(&[pair]).unwrap()[0].len(), 256 * 2);
    assert!(classifier.classify(&[]).unwrap().is_empty());
}

#[test]
fn models_of_other_kinds_are_refused() {
    let tokens = published(&TinyModel::linker());
    let encoder = published(&TinyModel::default());
    let code = |error: Error| error.problem().unwrap().code;
    let refused = TokenClassifier::open(encoder.path(), &runtime()).unwrap_err();
    assert_eq!(code(refused), Code::InvalidModel);
    let refused = TextEncoder::open(tokens.path(), &runtime()).unwrap_err();
    assert_eq!(code(refused), Code::InvalidModel);
    let refused = CrossEncoder::open(tokens.path(), &runtime()).unwrap_err();
    assert_eq!(code(refused), Code::InvalidModel);
    let home = tempfile::tempdir().unwrap();
    TinyModel::linker().write(&home.path().join("linker"));
    TinyModel::default().write(&home.path().join("encoder"));
    let registry = Registry::new(vec![home.path().to_path_buf()], runtime());
    let refused = registry.open_token_classifier("encoder").unwrap_err();
    assert_eq!(code(refused), Code::InvalidRequest);
    registry.open_token_classifier("linker").unwrap();
}

#[test]
fn a_model_has_to_say_what_its_makers_wrote_down() {
    let folder = published(&TinyModel::linker());
    let classifier = open(folder.path());
    let pair = classifier.pair("the red river", "a cat").unwrap();
    let said = classifier.classify(&[pair]).unwrap();
    let rows: Vec<&[f32]> = said[0].chunks(2).collect();
    let write = |logits: serde_json::Value| {
        let reference =
            json!({"queries": ["the red river"], "passages": ["a cat"], "logits": [logits]});
        fs::write(folder.path().join(REFERENCE), reference.to_string()).unwrap();
    };
    write(json!(rows));
    let (_home, _target) = prepared(folder.path(), Precision::Int8).unwrap();
    let other: Vec<Vec<f32>> = rows
        .iter()
        .map(|r| r.iter().map(|v| 1.0 - v).collect())
        .collect();
    for wrong in [json!(other), json!(rows[1..])] {
        write(wrong);
        let refused = prepared(folder.path(), Precision::Int8).unwrap_err();
        assert_eq!(refused.problem().unwrap().code, Code::InvalidModel);
    }
}
