//! Promise: encoder-decoder models load as optimum exports them, and say what PyTorch says of the
//! same weights. `make test-generators` exports some.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gleaner::entity::decode::{BeamOptions, Candidates, beam_search, teacher_force};
use gleaner::entity::{
    BuildInput, BuildOptions, Catalogs, DisambiguateRequest, EntityLinker, NewName,
    RetrieveEntitiesRequest, View, Weighings,
};
use gleaner::error::Code;
use gleaner::model::{Generator, TextEncoder};
use serde_json::Value;

use crate::support::tiny_model::{TinyModel, runtime};

/// Exports and `expected.json` of tests/generators/export.py.
#[test]
#[ignore = "needs exported models: make test-generators"]
fn exported_models_say_what_pytorch_says() {
    let folder = PathBuf::from(std::env::var_os("GLEANER_GENERATORS").expect("a folder"));
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let ids = |value: &Value| -> Vec<u32> {
        let ids = value.as_array().unwrap().iter();
        ids.map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let inputs: Vec<Vec<u32>> = expected["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(ids)
        .collect();
    let answers: Vec<(usize, Vec<u32>)> = expected["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| (answer[0].as_u64().unwrap() as usize, ids(&answer[1])))
        .collect();
    let answers: Vec<(usize, &[u32])> = answers.iter().map(|(i, a)| (*i, a.as_slice())).collect();
    let models = expected["models"].as_object().unwrap();
    assert!(models.len() >= 3);
    for (name, scores) in models {
        let exact: Vec<f32> = scores
            .as_array()
            .unwrap()
            .iter()
            .map(|tokens| {
                tokens
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|t| t.as_f64().unwrap())
                    .sum::<f64>() as f32
            })
            .collect();
        for kind in ["", "-merged"] {
            let path = folder.join(format!("{name}{kind}"));
            let generator = Generator::open(&path, &runtime()).unwrap();
            let mut generation = generator.read(&inputs).unwrap();
            // All tokens at once.
            let forced = teacher_force(&mut generation, &answers).unwrap();
            for (forced, exact) in forced.iter().zip(&exact) {
                let found = forced.log_probability;
                assert!(
                    (found - exact).abs() < 2e-3,
                    "{name}{kind}: {found} and {exact}"
                );
            }
            // A token at a time, with what is remembered.
            let tries: Vec<Candidates> = (0..inputs.len())
                .map(|input| {
                    let own = answers.iter().filter(|(of, _)| *of == input);
                    Candidates::new(own.map(|(_, answer)| *answer))
                })
                .collect();
            let found = beam_search(&mut generation, &tries, &BeamOptions::default()).unwrap();
            for ((input, answer), exact) in answers.iter().zip(&exact) {
                let hypothesis = found[*input].iter().find(|h| h.tokens == *answer).unwrap();
                let found = hypothesis.log_probability;
                assert!(
                    (found - exact).abs() < 2e-3,
                    "{name}{kind}: {found} and {exact}"
                );
            }
            assert_eq!(found.iter().map(Vec::len).sum::<usize>(), answers.len());
        }
    }
}

/// A catalog of these names, spelled by the tokenizer of a folder.
fn catalog(data: &Path, name: &str, model: &Path, names: &[&str]) -> View {
    let catalogs = Catalogs::new(data);
    catalogs
        .build(
            name,
            &BuildOptions {
                model: "small".into(),
                model_folder: model.to_path_buf(),
                max_tokens: 16,
                after_space: false,
                replace: false,
            },
            BuildInput {
                names: &mut names.iter().map(|name| {
                    Ok(NewName {
                        name: (*name).to_owned(),
                        ..NewName::default()
                    })
                }),
                aliases: &mut std::iter::empty(),
                rejects: &mut |rejected| panic!("{rejected:?}"),
                progress: &mut |_| {},
            },
        )
        .unwrap();
    catalogs.view(name).unwrap()
}

#[test]
#[ignore = "needs exported models: make test-generators"]
fn entities_are_written_by_an_exported_model() {
    let folder = PathBuf::from(std::env::var_os("GLEANER_GENERATORS").expect("a folder"));
    let data = tempfile::tempdir().unwrap();
    let tiny = data.path().join("tiny");
    TinyModel::default().write(&tiny);
    let names = ["w20 w21", "w20", "w22 w23 w24", "w30"];
    for model in ["bart", "t5-merged"] {
        let path = folder.join(model);
        let view = catalog(data.path(), model, &path, &names);
        let generator = Generator::open(&path, &runtime()).unwrap();
        let encoder = TextEncoder::open(&tiny, &runtime()).unwrap();
        let linker = EntityLinker::new(encoder, Some(generator), &Weighings::shipped().unwrap());
        let request = RetrieveEntitiesRequest {
            catalog: String::new(),
            query: "w5 w6 w7".into(),
            k: Some(10),
            samples: None,
        };
        let found = linker.retrieve(&view, &request).unwrap().entities;
        let written: BTreeSet<&str> = found.iter().map(|entity| entity.name.as_str()).collect();
        assert_eq!(written, BTreeSet::from(names));
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        let request = DisambiguateRequest {
            catalog: String::new(),
            text: "w5 w6 w7".into(),
            start: 3,
            end: 5,
            candidates: vec!["w20".into(), "w30".into()],
            threshold: Some(0.0),
            alternatives: None,
        };
        let answer = linker.disambiguate(&view, &request).unwrap();
        assert_eq!(answer.alternatives.len(), 1);
        // Names in another tokenizer's tokens are not written: said, or refused where nothing else
        // can answer.
        let other = catalog(data.path(), &format!("{model}-other"), &tiny, &["cat"]);
        let query = RetrieveEntitiesRequest {
            catalog: String::new(),
            query: "w5".into(),
            k: None,
            samples: None,
        };
        let found = linker.retrieve(&other, &query).unwrap();
        assert_eq!(
            found.degraded.map(|degraded| degraded.lost),
            Some("generator".into())
        );
        let query = RetrieveEntitiesRequest {
            samples: Some(5),
            ..query
        };
        let error = linker.retrieve(&other, &query).unwrap_err();
        assert_eq!(error.problem().map(|p| p.code), Some(Code::ModelMismatch));
    }
}
