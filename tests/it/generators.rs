//! Promise: encoder-decoder models load as optimum exports them, and say what PyTorch says of the
//! same weights. `make test-generators` exports some.

use std::path::PathBuf;

use gleaner::entity::decode::{BeamOptions, Candidates, beam_search, teacher_force};
use gleaner::model::Generator;
use serde_json::Value;

use crate::support::tiny_model::runtime;

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
