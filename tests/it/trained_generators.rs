//! Promise: a generator that is kept as its trained layers beside a base becomes a folder in
//! optimum's layout, which writes what its weights say, by a plain computation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gleaner::entity::decode::{BeamOptions, Candidates, beam_search, teacher_force};
use gleaner::error::Code;
use gleaner::model::{
    Generator, ModelKind, NameTokenizer, Precision, PrepareOptions, REFERENCE, Registry, prepare,
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use sha2::Digest;

use crate::support::plain_bert::{Plain, add};
use crate::support::tiny_model::{Tensors, TinyModel, runtime};

const LAYERS: usize = 2;
/// The encoder's layers from here on are its own.
const MARKED: usize = 1;

/// Weights of the decoder, and of the encoder's last layer.
fn trained(model: &TinyModel) -> (Tensors, Tensors) {
    let (h, f) = (model.hidden, model.intermediate);
    let of_encoder = TinyModel {
        seed: 7,
        ..model.clone()
    };
    let own = format!("encoder.layer.{MARKED}.");
    let mut layers = of_encoder.tensors();
    layers.retain(|name, _| name.starts_with(&own));
    let mut drawn: u32 = 1;
    let mut next = || {
        drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (drawn >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut head = Tensors::new();
    let mut put = |name: String, shape: &[usize], centre: f32, spread: f32| {
        let values = (0..shape.iter().product()).map(|_| centre + spread * next());
        head.insert(name, (shape.to_vec(), values.collect()));
    };
    let mut dense = Vec::new();
    let mut norms = vec!["cls.predictions.transform.LayerNorm".to_owned()];
    dense.push(("cls.predictions.transform.dense".to_owned(), h, h));
    for layer in 0..LAYERS {
        let p = format!("decoder.layer.{layer}");
        for attention in ["attention", "crossattention"] {
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                dense.push((format!("{p}.{attention}.{part}"), h, h));
            }
            norms.push(format!("{p}.{attention}.output.LayerNorm"));
        }
        dense.push((format!("{p}.intermediate.dense"), f, h));
        dense.push((format!("{p}.output.dense"), h, f));
        norms.push(format!("{p}.output.LayerNorm"));
    }
    for (name, outputs, inputs) in dense {
        let spread = 1.5 / (inputs as f32).sqrt();
        put(format!("{name}.weight"), &[outputs, inputs], 0.0, spread);
        put(format!("{name}.bias"), &[outputs], 0.0, 0.1);
    }
    for name in norms {
        put(format!("{name}.weight"), &[h], 0.6, 0.2);
        put(format!("{name}.bias"), &[h], 0.0, 0.2);
    }
    let words = model.tensors()["embeddings.word_embeddings.weight"].0[0];
    put("cls.predictions.bias".to_owned(), &[words], 0.0, 0.5);
    put("mention".to_owned(), &[h], 0.0, 1.0);
    put("copied".to_owned(), &[h], 0.3, 0.3);
    (layers, head)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes a base and, beside it, trained layers as the repository keeps them, in fp32.
fn write(place: &Path, model: &TinyModel) -> (Tensors, Tensors) {
    let base = place.join("base");
    model.write(&base);
    let (layers, head) = trained(model);
    let folder = place.join("gleaner-generator");
    fs::create_dir_all(&folder).unwrap();
    let weights = sha256(&fs::read(base.join("model.safetensors")).unwrap());
    let mut files = BTreeMap::new();
    for (file, tensors) in [("layers.safetensors", &layers), ("head.safetensors", &head)] {
        let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                (name.as_str(), shape.as_slice(), bytes)
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
            (*name, view)
        });
        let about = [("base_sha256".to_owned(), weights.clone())];
        let bytes = safetensors::serialize(views, Some(about.into())).unwrap();
        files.insert(file, sha256(&bytes));
        fs::write(folder.join(file), bytes).unwrap();
    }
    let text = format!(
        "name = \"gleaner-generator\"\nformat = \"gleaner-layers-1\"\nkind = \"generator\"\n\
         base = \"base\"\nmax_tokens = 40\nlicence = \"MIT\"\n\
         [generator]\nlayers = {LAYERS}\nmarked = {MARKED}\nbegin = \"[CLS]\"\nend = \"[SEP]\"\n\
         opening = [\"[START_ENT]\", \"!\"]\nclosing = [\"[END_ENT]\", \"?\"]\nbeginning = 4\n\
         [files]\n\"layers.safetensors\" = \"{}\"\n\"head.safetensors\" = \"{}\"\n",
        files["layers.safetensors"], files["head.safetensors"]
    );
    fs::write(folder.join("trained.toml"), text).unwrap();
    (layers, head)
}

fn options(place: &Path) -> PrepareOptions {
    PrepareOptions {
        base: Some(place.join("base")),
        runtime: runtime(),
        ..PrepareOptions::new("gleaner-generator", Precision::Int8)
    }
}

/// Logarithm of the probability of writing these tokens and the end.
fn plainly(plain: &Plain<'_>, input: &[u32], marks: [u32; 2], name: &[u32], ends: [u32; 2]) -> f64 {
    let embedded = plain.embedded(input, input.len());
    let mut x = embedded.clone();
    for layer in 0..plain.model.layers {
        if layer == MARKED {
            let place = |mark| input.iter().position(|&id| id == mark).unwrap();
            for state in &mut x[place(marks[0])..=place(marks[1])] {
                *state = add(state, plain.get("mention"));
            }
        }
        x = plain.layer(&format!("encoder.layer.{layer}"), &x);
    }
    for (state, embedded) in x.iter_mut().zip(&embedded) {
        let copied = plain.get("copied").iter().zip(embedded);
        let copied: Vec<f32> = copied.map(|(a, b)| a * b).collect();
        *state = add(state, &copied);
    }
    let read = x;
    let given = [&ends[..1], name].concat();
    let mut x = plain.embedded(&given, given.len());
    for layer in 0..LAYERS {
        let p = format!("decoder.layer.{layer}");
        x = plain.attended(&format!("{p}.attention"), &x, &x, true);
        x = plain.attended(&format!("{p}.crossattention"), &x, &read, false);
        x = plain.fed(&p, &x);
    }
    let words = plain.get("embeddings.word_embeddings.weight");
    let bias = plain.get("cls.predictions.bias");
    let transform = "cls.predictions.transform";
    x.iter()
        .zip(name.iter().chain(&ends[1..]))
        .map(|(state, &wanted)| {
            let state = plain.dense(state, &format!("{transform}.dense"));
            let state = plain.norm(&state, &format!("{transform}.LayerNorm"));
            let logits: Vec<f64> = words
                .chunks(state.len())
                .zip(bias)
                .map(|(w, b)| {
                    let dot: f32 = w.iter().zip(&state).map(|(w, s)| w * s).sum();
                    f64::from(dot + b)
                })
                .collect();
            let all: f64 = logits.iter().map(|l| l.exp()).sum();
            logits[wanted as usize] - all.ln()
        })
        .sum()
}

#[test]
fn names_are_written_as_the_weights_say() {
    let place = tempfile::tempdir().unwrap();
    let model = TinyModel::default();
    let (layers, head) = write(place.path(), &model);
    let target = place.path().join("models/gleaner-generator");
    let prepared = prepare(
        &place.path().join("gleaner-generator"),
        &target,
        &options(place.path()),
    )
    .unwrap();
    assert_eq!(prepared.manifest.kind, ModelKind::Generator);
    assert_eq!(prepared.manifest.max_tokens, 40);

    let registry = Registry::new(vec![place.path().join("models")], runtime());
    let listed = registry.list();
    assert_eq!(listed[0].kind, Some(ModelKind::Generator));
    assert_eq!(listed[0].problem, None);
    assert!(registry.open("gleaner-generator").is_err());
    let generator = registry.open_generator("gleaner-generator").unwrap();
    let names = NameTokenizer::open(&target).unwrap();
    let tokens = |name: &str| names.tokens(name).unwrap().unwrap();

    let texts = [
        ("the cat of ", "Red River", " and a city"),
        ("", "dog", " is in the house . it was red , green and blue"),
        ("tree", "b", ""),
    ];
    let window = |(before, mention, after): (&str, &str, &str)| {
        generator.marked_window(before, mention, after, 40).unwrap()
    };
    let inputs: Vec<Vec<u32>> = texts.into_iter().map(window).collect();
    let written: Vec<Vec<u32>> = ["red river", "river", "house of fire", "xyz"]
        .into_iter()
        .map(tokens)
        .collect();
    let answers: Vec<(usize, &[u32])> = (0..inputs.len())
        .flat_map(|input| written.iter().map(move |name| (input, name.as_slice())))
        .collect();
    let mut generation = generator.read(&inputs).unwrap();
    let forced = teacher_force(&mut generation, &answers).unwrap();

    let mut tensors = model.tensors();
    tensors.extend(layers);
    tensors.extend(head);
    let plain = Plain {
        model: &model,
        tensors: &tensors,
    };
    // Of two tokens that were spare, and of the ends of every text.
    let (first, second) = (inputs[2][0], *inputs[2].last().unwrap());
    let marks = [inputs[1][1], inputs[1][3]];
    assert_eq!(generator.end(), second);
    for ((input, name), forced) in answers.iter().zip(&forced) {
        let expected = plainly(&plain, &inputs[*input], marks, name, [first, second]);
        let found = f64::from(forced.log_probability);
        assert!((found - expected).abs() < 1e-3, "{found} and {expected}");
    }

    // Token by token, with what is remembered, the same.
    let tries = vec![Candidates::new(written.iter().map(Vec::as_slice)); inputs.len()];
    let found = beam_search(&mut generation, &tries, &BeamOptions::default()).unwrap();
    for ((input, name), forced) in answers.iter().zip(&forced) {
        let hypothesis = found[*input].iter().find(|h| h.tokens == *name).unwrap();
        let apart = (hypothesis.log_probability - forced.log_probability).abs();
        assert!(apart < 1e-3, "{apart}");
    }
}

#[test]
fn a_long_texts_beginning_stays() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &TinyModel::default());
    let source = place.path().join("gleaner-generator");
    let target = place.path().join("model");
    prepare(&source, &target, &options(place.path())).unwrap();
    let generator = Generator::open(&target, &runtime()).unwrap();
    let words = "cat dog bird fish tree light water fire earth wind city house ";
    let ids = generator.window(words, " river ", "", 40).unwrap();
    assert_eq!(ids.len(), 15);
    let long = words.repeat(10);
    let cut = generator.window(&long, " river ", &long, 40).unwrap();
    assert_eq!(cut.len(), 40);
    // The first four words, the end's token, what is next to the mention.
    assert_eq!(cut[..5], ids[..5]);
    assert_eq!(cut[5], generator.end());
    let middle = cut.iter().position(|id| *id == ids[13]).unwrap();
    assert_eq!(cut[middle - 12..=middle], ids[1..=13]);
    // No room for both: what is next to the mention.
    let cut = generator.window(&long, " river ", &long, 16).unwrap();
    assert!(!cut[..15].contains(&generator.end()));
}

#[test]
fn a_reference_that_is_not_met_is_refused() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &TinyModel::default());
    let source = place.path().join("gleaner-generator");
    let target = place.path().join("model");
    let mut reference = json!({
        "before": ["the "], "mentions": ["cat"], "after": [" of a city"],
        "names": [["red river", "dog"]], "log_probabilities": [[-1.0, -2.0]],
    });
    let put = |reference: &serde_json::Value| {
        fs::write(source.join(REFERENCE), reference.to_string()).unwrap();
    };
    put(&reference);
    let error = prepare(&source, &target, &options(place.path())).unwrap_err();
    assert_eq!(error.problem().map(|p| p.code), Some(Code::InvalidModel));
    assert!(error.to_string().contains("cat |"), "{error}");
    assert!(!target.exists());
    reference["names"] = json!([]);
    put(&reference);
    assert!(prepare(&source, &target, &options(place.path())).is_err());

    // Without its table, a base without the spare tokens, or with files of another model.
    fs::remove_file(source.join(REFERENCE)).unwrap();
    let text = fs::read_to_string(source.join("trained.toml")).unwrap();
    for (from, to) in [
        ("[generator]", "[other]"),
        ("\"!\"", "\"[unused0]\""),
        ("layers = 2", "layers = 3"),
    ] {
        fs::write(source.join("trained.toml"), text.replace(from, to)).unwrap();
        let error = prepare(&source, &target, &options(place.path())).unwrap_err();
        assert_eq!(
            error.problem().map(|p| p.code),
            Some(Code::InvalidModel),
            "{to}"
        );
    }
    fs::write(source.join("trained.toml"), text).unwrap();
    prepare(&source, &target, &options(place.path())).unwrap();
}
