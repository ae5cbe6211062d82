//! Promise: `gleaner models` adds a model only if it makes the vectors that its makers
//! computed, says how fast it is, and removes none that an index needs.

use std::fs;
use std::path::Path;

use gleaner::error::Code;
use gleaner::model::{Precision, PrepareOptions, Task, TextEncoder, prepare};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use sha2::Digest;

use crate::support::binary::Place;
use crate::support::files::gzip;
use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::toy_graph::{FLOAT, ToyGraph};

const TEXTS: [&str; 3] = ["the red river", "a cat and a dog", "search the index"];

/// Writes the vectors that the model in `of` makes as the reference of the folder.
fn write_reference(folder: &Path, of: &Path, change: f32) {
    let encoder = TextEncoder::open(of, &runtime()).unwrap();
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    let tasks = [Task::Document, Task::Query, Task::Document];
    for (text, task) in TEXTS.iter().zip(tasks) {
        let mut vector = encoder.encode(task, &[text]).unwrap().vectors;
        // Another length, and another direction by this much.
        vector.iter_mut().for_each(|v| *v *= 3.0);
        vector[0] += change;
        vectors.push(vector);
    }
    let reference = json!({"texts": TEXTS, "vectors": vectors, "tasks": tasks});
    fs::write(folder.join("reference.json"), reference.to_string()).unwrap();
}

#[test]
fn a_model_is_added_if_it_makes_its_reference_vectors() {
    let place = Place::new();
    let source = place.path("published");
    TinyModel {
        query_prompt: "search: ",
        ..TinyModel::default()
    }
    .write(&source);
    write_reference(&source, &source, 0.0);
    for precision in ["fp32", "int8"] {
        let add = ["models", "add", "published", "--precision", precision];
        let added = place.json(&[&add[..], &["--replace"]].concat());
        let least = added["reference"]["least_cosine"].as_f64().unwrap();
        assert!(least > 0.99, "{added}");
        let checked = place.json(&["models", "check", "published"]);
        assert_eq!(checked["reference"]["texts"], 3);
        let required = if precision == "fp32" { 0.999 } else { 0.99 };
        assert_eq!(checked["reference"]["required"], required);
    }
    let said = place.refused(Code::InvalidModel, &["models", "add", "published"]);
    assert!(said.contains("--replace"), "{said}");
    for name in ["../evil", "", ".hidden", "a b", "a/b"] {
        let args = ["models", "add", "published", "--name", name];
        let said = place.refused(Code::InvalidModel, &args);
        assert!(said.contains("field: name"), "{name}: {said}");
    }
    assert!(!place.path("evil").exists());
    // Off by more than an angle of 8 degrees: not the model that it says it is.
    write_reference(&source, &source, 0.6);
    let before = fs::read(place.path("models/published/model.toml")).unwrap();
    for precision in ["fp32", "int8"] {
        let args = [
            "models",
            "add",
            "published",
            "--replace",
            "--precision",
            precision,
        ];
        let said = place.refused(Code::InvalidModel, &args);
        assert!(
            said.contains("reference.json") && said.contains("cosine"),
            "{said}"
        );
    }
    // The one that was there still is, and nothing lies beside it.
    assert_eq!(
        fs::read(place.path("models/published/model.toml")).unwrap(),
        before
    );
    assert_eq!(fs::read_dir(place.path("models")).unwrap().count(), 1);
    for wrong in [
        json!({"texts": ["a"], "vectors": []}),
        json!({"texts": [], "vectors": []}),
        json!({"texts": ["a"], "vectors": [[1.0, 2.0]]}),
        json!({"texts": ["a"], "vectors": [[1.0, 2.0]], "least": 0.5}),
        json!({"vectors": [[1.0]]}),
        json!([]),
    ] {
        fs::write(source.join("reference.json"), wrong.to_string()).unwrap();
        let said = place.refused(
            Code::InvalidModel,
            &["models", "add", "published", "--replace"],
        );
        assert!(said.contains("reference.json"), "{wrong}: {said}");
    }
}

#[test]
fn a_graph_is_added_as_it_was_published() {
    let place = Place::new();
    let source = place.path("published");
    TinyModel::default().write(&source);
    let built = place.path("built");
    let mut options = PrepareOptions::new("built", Precision::Fp32);
    options.runtime = runtime();
    prepare(&source, &built, &options).unwrap();
    // As optimum lays it out: no weights, a graph with its data beside it.
    fs::create_dir(source.join("onnx")).unwrap();
    for file in ["model.onnx", "word_embeddings.bin"] {
        fs::copy(built.join(file), source.join("onnx").join(file)).unwrap();
    }
    fs::rename(
        source.join("onnx/word_embeddings.bin"),
        source.join("onnx/model.onnx.data"),
    )
    .unwrap();
    let graph = fs::read(source.join("onnx/model.onnx")).unwrap();
    // The name of the data is as long as before, so that the message stays whole.
    let graph = replaced(&graph, b"word_embeddings.bin", b"././model.onnx.data");
    fs::write(source.join("onnx/model.onnx"), graph).unwrap();
    fs::remove_file(source.join("model.safetensors")).unwrap();

    let added = place.json(&["models", "add", "published", "--name", "copy"]);
    assert_eq!(added["graph"], "onnx/model.onnx");
    assert!(
        added["files"]["onnx/model.onnx.data"].is_string(),
        "{added}"
    );
    place.ok(&["models", "check", "copy"]);
    let open = |folder: &Path| TextEncoder::open(folder, &runtime()).unwrap();
    let (copy, original) = (open(&place.path("models/copy")), open(&built));
    assert_eq!(
        copy.encode(Task::Query, &TEXTS).unwrap(),
        original.encode(Task::Query, &TEXTS).unwrap()
    );
    // One of ours is added again under another name, and is the same model.
    let again = place.json(&["models", "add", "models/copy", "--name", "again"]);
    assert_eq!(again["name"], "again");
    let again = place.json(&["models", "check", "again"]);
    let copy = place.json(&["models", "check", "copy"]);
    assert_eq!(again["fingerprint"], copy["fingerprint"]);
    // What is to be computed in int8 needs weights.
    place.refused(
        Code::InvalidModel,
        &["models", "add", "published", "--precision", "int8"],
    );
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    for at in 0..out.len() - from.len() {
        if out[at..].starts_with(from) {
            out[at..at + to.len()].copy_from_slice(to);
        }
    }
    out
}

fn hash(bytes: &[u8]) -> String {
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes trained layers as `training/README.md` lays them out: those of `trained`, for the
/// embeddings of the base's weights.
pub(crate) fn write_layers(folder: &Path, trained: &TinyModel, base: &Path, about: &str) {
    fs::create_dir_all(folder).unwrap();
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, (shape, values)) in trained.tensors() {
        if !name.starts_with("encoder.") {
            continue;
        }
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        if let [rows, width] = shape[..] {
            let mut scales = Vec::new();
            let mut integers = Vec::new();
            for row in values.chunks(width) {
                let largest = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                let scale = largest / 127.0;
                scales.push(scale);
                integers.extend(row.iter().map(|v| (v / scale).round() as i8 as u8));
            }
            tensors.push((
                format!("{name}.scale"),
                Dtype::F32,
                vec![rows],
                bytes(&scales),
            ));
            tensors.push((name, Dtype::I8, shape, integers));
        } else {
            tensors.push((name, Dtype::F32, shape, bytes(&values)));
        }
    }
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, kind, shape, bytes)| {
            (
                name.as_str(),
                TensorView::new(*kind, shape.clone(), bytes).unwrap(),
            )
        })
        .collect();
    let weights = fs::read(base.join("model.safetensors")).unwrap();
    let metadata = [
        ("format".to_owned(), "gleaner-layers-1".to_owned()),
        ("base".to_owned(), "all-MiniLM-L6-v2".to_owned()),
        ("base_sha256".to_owned(), hash(&weights)),
    ];
    let file = safetensors::serialize(views, Some(metadata.into())).unwrap();
    let text = format!(
        "name = \"trained\"\nformat = \"gleaner-layers-1\"\nbase = \"all-MiniLM-L6-v2\"\n\
         pooling = \"mean\"\nnormalize = true\nmax_tokens = 48\ndimensions = 32\n\
         licence = \"MIT\"\n{about}\n[files]\n\"layers.safetensors\" = \"{}\"\n",
        hash(&file)
    );
    fs::write(folder.join("layers.safetensors"), file).unwrap();
    fs::write(folder.join("trained.toml"), text).unwrap();
}

#[test]
fn trained_layers_are_put_together_with_their_base() {
    let place = Place::new();
    let base = place.path("cache/sources/all-MiniLM-L6-v2");
    let original = TinyModel::default();
    original.write(&base);
    let trained = TinyModel {
        seed: 7,
        ..TinyModel::default()
    };
    let about = "[prompts]\nquery = \"search: \"\ndocument = \"\"\n\
                 [[quality]]\ndataset = \"scifact\"\nmeasure = \"ndcg@10\"\nvalue = 0.7";
    write_layers(&place.path("layers"), &trained, &base, about);
    let cache = place.path("cache");
    let add = |more: &[&str]| {
        let args = [&["models", "add", "layers", "--replace", "--json"], more].concat();
        crate::support::binary::Said::of(
            place.command(&args).env("GLEANER_CACHE", cache.as_os_str()),
        )
    };
    let said = add(&["--precision", "fp32"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    let added: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(added["max_tokens"], 48);
    assert_eq!(added["licence"], "MIT");
    assert_eq!(added["prompts"]["query"], "search: ");
    assert_eq!(added["quality"][0]["value"], 0.7);
    assert!(place.path("models/layers/LICENSE").is_file());

    // The embeddings of the base, the layers of the trained one.
    let whole = place.path("whole");
    original.write(&whole);
    let mut tensors = original.tensors();
    for (name, tensor) in trained.tensors() {
        if name.starts_with("encoder.") {
            tensors.insert(name, tensor);
        }
    }
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(whole.join("model.safetensors"), file).unwrap();
    let open = |folder: &Path| TextEncoder::open(folder, &runtime()).unwrap();
    let found = open(&place.path("models/layers")).encode(Task::Document, &TEXTS);
    let expected = open(&whole).encode(Task::Document, &TEXTS).unwrap();
    for (a, b) in found.unwrap().rows().zip(expected.rows()) {
        let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "{cosine}");
    }
    assert_eq!(add(&[]).status, Some(0));

    // Nothing of it is left beside the models.
    assert_eq!(fs::read_dir(place.path("models")).unwrap().count(), 1);
    let other = place.path("other");
    trained.write(&other);
    for (more, part) in [
        (&["--base", "other"][..], "layers.safetensors"),
        (&["--base", "nowhere"], "model.safetensors"),
    ] {
        let said = add(more);
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(said.err.contains(part), "{said:?}");
    }
    let said = place.refused(
        Code::InvalidModel,
        &["models", "add", "layers", "--replace"],
    );
    assert!(said.contains("all-MiniLM-L6-v2"), "{said}");
    // Compressed it is the same model.
    let plain = fs::read(place.path("layers/layers.safetensors")).unwrap();
    let packed = gzip(&plain);
    let about = place.path("layers/trained.toml");
    let text = fs::read_to_string(&about).unwrap();
    let (was, is) = (
        format!("\"layers.safetensors\" = \"{}\"", hash(&plain)),
        format!("\"layers.safetensors.gz\" = \"{}\"", hash(&packed)),
    );
    assert!(text.contains(&was), "{text}");
    let weights = fs::read(place.path("models/layers/model.onnx")).unwrap();
    fs::write(&about, text.replace(&was, &is)).unwrap();
    fs::write(place.path("layers/layers.safetensors.gz"), &packed).unwrap();
    fs::remove_file(place.path("layers/layers.safetensors")).unwrap();
    assert_eq!(add(&[]).status, Some(0));
    assert!(fs::read(place.path("models/layers/model.onnx")).unwrap() == weights);
    // Which of two is meant nobody can tell.
    fs::write(place.path("layers/layers.safetensors"), b"another").unwrap();
    assert!(add(&[]).err.contains("twice"));
    fs::remove_file(place.path("layers/layers.safetensors")).unwrap();
    let cut = &packed[..packed.len() / 2];
    fs::write(place.path("layers/layers.safetensors.gz"), cut).unwrap();
    let broken = text.replace(&was, &is.replace(&hash(&packed), &hash(cut)));
    fs::write(&about, broken).unwrap();
    assert!(add(&[]).err.contains("layers.safetensors.gz"));
    fs::remove_file(place.path("layers/layers.safetensors.gz")).unwrap();
    fs::write(place.path("layers/layers.safetensors"), plain).unwrap();
    fs::write(about, text).unwrap();

    let path = place.path("layers/layers.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    assert!(add(&[]).err.contains("layers.safetensors"));
}

#[test]
fn layers_with_a_head_over_all_of_them_are_put_together() {
    let place = Place::new();
    let base = place.path("base");
    TinyModel::default().write(&base);
    let trained = TinyModel {
        seed: 7,
        ..TinyModel::default()
    };
    for pooling in ["mean", "multi_layer"] {
        let folder = place.path(pooling);
        write_layers(&folder, &trained, &base, "");
        let path = folder.join("trained.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("\"mean\"", &format!("{pooling:?}"))).unwrap();
    }
    let args = ["--base", "base", "--precision", "fp32"];
    place.ok(&[&["models", "add", "mean"][..], &args].concat());
    let add = [&["models", "add", "multi_layer"][..], &args].concat();
    assert!(
        place
            .refused(Code::InvalidModel, &add)
            .contains("head.onnx")
    );
    // A head that takes the mean over the tokens of the last of three states: the mean.
    let head = ToyGraph::default()
        .input("layer_states", FLOAT, 4)
        .input("pooling_mask", FLOAT, 2)
        .integers("last", &[2])
        .integers("axis.layers", &[1])
        .node("Identity", &["pooling_mask"], "pooling_mask.f")
        .node_with("Gather", &["layer_states", "last"], "one", &[("axis", 1)])
        .node("Squeeze", &["one", "axis.layers"], "states")
        .masked_mean("states", "pooled")
        .output("pooled", 2)
        .finish();
    fs::write(place.path("multi_layer/head.onnx"), head).unwrap();
    place.ok(&add);
    let encode = |name: &str| {
        let encoder = TextEncoder::open(&place.path("models").join(name), &runtime()).unwrap();
        encoder.encode(Task::Document, &TEXTS).unwrap()
    };
    let (mean, headed) = (encode("mean"), encode("multi_layer"));
    for (a, b) in mean.vectors.iter().zip(&headed.vectors) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    place.ok(&[
        "models",
        "add",
        "multi_layer",
        "--base",
        "base",
        "--replace",
    ]);
}

#[test]
fn what_is_listed_is_what_opens() {
    let place = Place::new();
    TinyModel::default().write(&place.path("published"));
    place.ok(&["models", "add", "published", "--name", "one"]);
    // A copy, whose description still has the name of the first; sorted before it.
    let (from, to) = (place.path("models/one"), place.path("models/a-copy"));
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let listed = place.json(&["models", "list"]);
    let listed: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["name"].as_str().unwrap(), m["folder"].as_str().unwrap()))
        .collect();
    let [("a-copy", copy), ("one", one)] = listed[..] else {
        panic!("{listed:?}");
    };
    assert!(copy.ends_with("a-copy") && one.ends_with("one"));
    for (name, _) in listed {
        place.ok(&["models", "check", name]);
    }
}

#[test]
fn a_model_that_reads_less_than_it_says_is_found_out() {
    let place = Place::new();
    TinyModel::default().write(&place.path("published"));
    place.ok(&["models", "add", "published", "--name", "one"]);
    let path = place.path("models/one/model.toml");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text
        .lines()
        .map(|line| match line.starts_with("max_tokens") {
            true => "max_tokens = 9999",
            false => line,
        });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let said = place.refused(Code::InvalidModel, &["models", "check", "one"]);
    assert!(said.contains("max_tokens"), "{said}");
}

#[test]
fn speed_is_measured() {
    let place = Place::with_model("tiny");
    let measured = place.json(&["models", "bench", "tiny", "--seconds", "0.1"]);
    for name in [
        "query_ms_p50",
        "query_ms_p99",
        "texts_per_second",
        "tokens_per_second",
    ] {
        assert!(measured[name].as_f64().unwrap() > 0.0, "{measured}");
    }
    assert_eq!(
        (&measured["model"], &measured["device"]),
        (&json!("tiny"), &json!("cpu"))
    );
    let words = place.ok(&["models", "bench", "tiny", "--seconds", "0"]).out;
    assert!(
        words.contains("tokens a second") || words.contains("texts of"),
        "{words}"
    );
    place.refused(Code::ModelNotFound, &["models", "bench", "nobody"]);
    place.refused(
        Code::InvalidRequest,
        &["models", "bench", "tiny", "--seconds=-1"],
    );
}

#[test]
fn a_model_that_an_index_needs_is_not_removed() {
    let place = Place::with_model("tiny");
    place.write(
        "notes.toml",
        "name = \"notes\"\n[fields.body]\ntype = \"text\"\n\
         [embedding]\nmodel = \"tiny\"\nfields = [\"body\"]\n",
    );
    place.write(
        "words.toml",
        "name = \"words\"\n[fields.body]\ntype = \"text\"\n",
    );
    place.ok(&["index", "create", "notes.toml"]);
    place.ok(&["index", "create", "words.toml"]);
    TinyModel::default().write(&place.path("models/other"));
    let removed = place.json(&["models", "remove", "other"]);
    assert_eq!(removed["removed"], "other");
    assert!(!place.path("models/other").exists());
    let said = place.refused(Code::InvalidRequest, &["models", "remove", "tiny"]);
    assert!(said.contains("index notes"), "{said}");
    assert!(place.path("models/tiny").is_dir());
    place.ok(&["models", "remove", "tiny", "--force"]);
    assert_eq!(place.json(&["models", "list"]), json!([]));
    assert_eq!(fs::read_dir(place.path("models")).unwrap().count(), 0);
    for name in ["tiny", "../models", "", "/tmp"] {
        place.refused(Code::ModelNotFound, &["models", "remove", name, "--force"]);
    }
}
