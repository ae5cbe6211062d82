//! Promise: a text's vector is what the manifest and the request say (prompt, pooling, head,
//! expert, length, windows), to the bit the same whatever is encoded at the same time; and
//! whoever waits for vectors waits for no more than is fair.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gleaner::error::{Code, Error, Problem};
use gleaner::model::{
    Cancellation, Device, Embeddings, EncodeOptions, Input, LongTexts, Precision, PrepareOptions,
    Prompt, Registry, RuntimeOptions, Task, TextEncoder, prepare,
};
use tempfile::TempDir;

use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::toy_graph::{self, FLOAT, INT64, ToyGraph, WIDTH, embedding};

fn published(model: &TinyModel) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    folder
}

fn open(folder: &Path) -> TextEncoder {
    TextEncoder::open(folder, &runtime()).unwrap()
}

fn with(encoder: &TextEncoder, options: EncodeOptions, text: &str) -> Embeddings {
    encoder.encode_with(&options, &[Input::Text(text)]).unwrap()
}

fn problem(error: Error) -> Problem {
    match error {
        Error::User(problem) => *problem,
        other => panic!("not the caller's: {other}"),
    }
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

fn normalized(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.iter().map(|v| v / length).collect()
}

/// Texts of many lengths, some of which occur often.
fn texts(count: usize) -> Vec<String> {
    let words = ["river", "cat", "light", "house", "the", "tree", "blue"];
    (0..count)
        .map(|n| {
            let length = 1 + (n * 7) % 19;
            let parts: Vec<&str> = (0..length).map(|k| words[(n + k * k) % 7]).collect();
            parts.join(" ")
        })
        .collect()
}

#[test]
fn a_vector_is_the_same_to_the_bit_in_every_company() {
    let model = TinyModel::default();
    let source = published(&model);
    let home = tempfile::tempdir().unwrap();
    let int8 = home.path().join("int8");
    let mut options = PrepareOptions::new("int8", Precision::Int8);
    options.runtime = runtime();
    prepare(source.path(), &int8, &options).unwrap();
    for folder in [source.path(), &int8] {
        let encoder = open(folder);
        let texts = texts(60);
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .map(|text| encoder.encode(Task::Query, &[text]).unwrap().vectors)
            .collect();
        let together = encoder.encode(Task::Document, &texts).unwrap();
        for (one, row) in alone.iter().zip(together.rows()) {
            assert_eq!(one, row);
        }
        // Many callers at once, whose texts share batches.
        std::thread::scope(|scope| {
            for caller in 0..12 {
                let (encoder, texts, alone) = (&encoder, &texts, &alone);
                scope.spawn(move || {
                    for (n, text) in texts.iter().enumerate().skip(caller).step_by(5) {
                        let task = [Task::Query, Task::Document][n % 2];
                        let found = encoder.encode(task, &[text]).unwrap();
                        assert_eq!(found.vectors, alone[n], "{text}");
                    }
                });
            }
        });
    }
}

/// A model whose batches take a while.
fn slow() -> TinyModel {
    TinyModel {
        hidden: 256,
        layers: 6,
        intermediate: 1024,
        max_tokens: 128,
        ..TinyModel::default()
    }
}

fn on_one_session(folder: &Path) -> TextEncoder {
    let options = RuntimeOptions {
        sessions: Some(1),
        ..runtime()
    };
    TextEncoder::open(folder, &options).unwrap()
}

#[test]
fn queries_that_wait_share_a_batch_and_go_before_documents() {
    let folder = published(&slow());
    let encoder = on_one_session(folder.path());
    let long = "tree ".repeat(120);
    let loading = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let texts = [long.as_str(); 40];
            let started = Instant::now();
            encoder.encode(Task::Document, &texts).unwrap();
            loading.store(false, Ordering::Relaxed);
            started.elapsed()
        });
        while encoder.counts().batches == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = encoder.counts();
        let queries: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    encoder
                        .encode_query("the blue house", &Cancellation::default())
                        .unwrap();
                    // The load is not done, although it came first and is not small.
                    assert!(loading.load(Ordering::Relaxed));
                })
            })
            .collect();
        for query in queries {
            query.join().unwrap();
        }
        let after = encoder.counts();
        load.join().unwrap();
        // 16 queries of one length, 5 tokens each, came while one batch was running: they
        // took a few batches and not 16. The load runs at least two of its texts in one.
        let load = (after.texts - before.texts - 16).div_ceil(2);
        let queries = (after.batches - before.batches).saturating_sub(load);
        assert!(queries < 12, "{before:?} {after:?}");
    });
}

#[test]
fn a_small_load_is_not_shut_out_by_a_large_one() {
    let folder = published(&slow());
    let encoder = on_one_session(folder.path());
    let long = "tree ".repeat(120);
    let large = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            encoder
                .encode(Task::Document, &[long.as_str(); 60])
                .unwrap();
            assert!(!large.load(Ordering::Relaxed));
        });
        while encoder.counts().batches == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        encoder.encode(Task::Document, &["a cat", "a dog"]).unwrap();
        large.store(false, Ordering::Relaxed);
        load.join().unwrap();
    });
}

#[test]
fn what_nobody_waits_for_is_not_encoded() {
    let folder = published(&slow());
    let encoder = on_one_session(folder.path());
    let long = "tree ".repeat(120);
    let options = EncodeOptions::new(Task::Document);
    let leaver = EncodeOptions {
        cancellation: Cancellation::default(),
        ..options.clone()
    };
    std::thread::scope(|scope| {
        let load = scope.spawn(|| encoder.encode(Task::Document, &[long.as_str(); 12]));
        while encoder.counts().batches == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let leaving = scope.spawn(|| {
            let inputs = vec![Input::Text("a text of its own"); 500];
            encoder.encode_with(&leaver, &inputs).unwrap_err()
        });
        leaver.cancellation.cancel();
        assert_eq!(problem(leaving.join().unwrap()).code, Code::Timeout);
        load.join().unwrap().unwrap();
    });
    let counts = encoder.counts();
    assert!(counts.abandoned > 0 && counts.texts < 500, "{counts:?}");
    assert_eq!(counts.abandoned + counts.texts, 512, "{counts:?}");
    // Nothing is left behind.
    encoder.encode(Task::Document, &["a cat"]).unwrap();
}

#[test]
fn a_full_queue_refuses_those_who_asked_to_be() {
    let folder = published(&slow());
    let options = RuntimeOptions {
        sessions: Some(1),
        queue_texts: 10,
        ..runtime()
    };
    let encoder = TextEncoder::open(folder.path(), &options).unwrap();
    let long = "tree ".repeat(120);
    let refused = EncodeOptions {
        refuse_when_full: true,
        ..EncodeOptions::new(Task::Document)
    };
    std::thread::scope(|scope| {
        let load = scope.spawn(|| encoder.encode(Task::Document, &[long.as_str(); 40]));
        while encoder.counts().batches == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let error = encoder.encode_with(&refused, &[Input::Text("a cat")]);
        assert_eq!(problem(error.unwrap_err()).code, Code::Overloaded);
        // The other lane is free.
        let query = EncodeOptions {
            task: Task::Query,
            ..refused.clone()
        };
        encoder
            .encode_with(&query, &[Input::Text("a cat")])
            .unwrap();
        load.join().unwrap().unwrap();
    });
    // More than may wait at once is no reason to refuse where nothing waits.
    encoder
        .encode_with(&refused, &[Input::Text("a"); 11])
        .unwrap();
}

#[test]
fn what_was_encoded_before_is_not_encoded_again_if_wished() {
    let folder = published(&TinyModel {
        query_prompt: "search: ",
        ..TinyModel::default()
    });
    let options = RuntimeOptions {
        cache_bytes: 1 << 20,
        ..runtime()
    };
    let encoder = TextEncoder::open(folder.path(), &options).unwrap();
    let (first, _) = encoder
        .encode_query("the red river", &Cancellation::default())
        .unwrap();
    let once = encoder.counts();
    let (again, _) = encoder
        .encode_query("the red river", &Cancellation::default())
        .unwrap();
    assert_eq!((&first, encoder.counts()), (&again, once));
    // The same text for another task, and another text, are others.
    let document = EncodeOptions {
        cached: true,
        ..EncodeOptions::new(Task::Document)
    };
    assert_ne!(
        with(&encoder, document.clone(), "the red river").vectors,
        first
    );
    encoder
        .encode_query("the blue river", &Cancellation::default())
        .unwrap();
    assert_eq!(encoder.counts().texts, once.texts + 2);
    // In one call with others, in the order of the call.
    let inputs = ["a cat", "the red river", "a dog"].map(Input::Text);
    let found = encoder.encode_with(&document, &inputs).unwrap();
    assert_eq!(encoder.counts().texts, once.texts + 4);
    let fresh = open(folder.path());
    let texts = ["a cat", "the red river", "a dog"];
    assert_eq!(found, fresh.encode(Task::Document, &texts).unwrap());
}

#[test]
fn prompts_are_chosen_by_name_or_given() {
    let folder = published(&TinyModel {
        query_prompt: "search: ",
        ..TinyModel::default()
    });
    let path = folder.path().join("config_sentence_transformers.json");
    let config = r#"{"prompts": {"query": "search: ", "document": "", "title": "title of ",
                     "empty": null}}"#;
    fs::write(path, config).unwrap();
    let encoder = open(folder.path());
    let plain = |text: &str| encoder.encode(Task::Document, &[text]).unwrap();
    let prompted = |prompt: Prompt| {
        let options = EncodeOptions {
            prompt: Some(prompt),
            ..EncodeOptions::new(Task::Query)
        };
        encoder.encode_with(&options, &[Input::Text("a cat")])
    };
    let named = |name: &str| prompted(Prompt::Named(name.into()));
    assert_eq!(named("title").unwrap(), plain("title of a cat"));
    assert_eq!(named("query").unwrap(), plain("search: a cat"));
    assert_eq!(named("document").unwrap(), plain("a cat"));
    let given = prompted(Prompt::Text("which is ".into())).unwrap();
    assert_eq!(given, plain("which is a cat"));
    let error = problem(named("empty").unwrap_err());
    assert_eq!(error.field.as_deref(), Some("prompt_name"));
    assert!(error.expected.unwrap().contains("title"));
    let error = problem(prompted(Prompt::Text("cat ".repeat(70))).unwrap_err());
    assert_eq!(error.field.as_deref(), Some("prompt"));
    // Further prompts change no vector of an index.
    let without = published(&TinyModel {
        query_prompt: "search: ",
        ..TinyModel::default()
    });
    assert_eq!(open(without.path()).fingerprint(), encoder.fingerprint());
}

#[test]
fn a_prompt_may_be_attended_to_and_not_pooled() {
    let prompted = published(&TinyModel {
        query_prompt: "search: ",
        ..TinyModel::default()
    });
    let pooling = prompted.path().join("1_Pooling/config.json");
    let all = open(prompted.path());
    let config = fs::read_to_string(&pooling).unwrap();
    fs::write(
        &pooling,
        config.replacen('{', "{\"include_prompt\": false,", 1),
    )
    .unwrap();
    let part = open(prompted.path());
    assert!(!part.manifest().pool_prompt);
    assert_ne!(part.fingerprint(), all.fingerprint());
    let text = ["the red river"];
    let (a, b) = (
        all.encode(Task::Query, &text).unwrap(),
        part.encode(Task::Query, &text).unwrap(),
    );
    assert_eq!(a.tokens, b.tokens);
    assert!(!close(&a.vectors, &b.vectors));
    // Without a prompt there is nothing to leave out.
    let (a, b) = (
        all.encode(Task::Document, &text).unwrap(),
        part.encode(Task::Document, &text).unwrap(),
    );
    assert_eq!(a, b);
    // A text is not attended to apart from its prompt either.
    let bare = part.encode(Task::Document, &text).unwrap();
    let asked = part.encode(Task::Query, &text).unwrap();
    assert!(!close(&bare.vectors, &asked.vectors));
}

#[test]
fn token_ids_are_texts() {
    let folder = published(&TinyModel {
        query_prompt: "search: ",
        ..TinyModel::default()
    });
    let encoder = open(folder.path());
    let text = "the red river, and the mountain";
    let whole = encoder
        .token_ids(Task::Document, &[text])
        .unwrap()
        .remove(0);
    for task in [Task::Query, Task::Document] {
        let options = EncodeOptions::new(task);
        let expected = with(&encoder, options.clone(), text);
        for ids in [&whole[..], &whole[1..whole.len() - 1]] {
            let found = encoder.encode_with(&options, &[Input::Tokens(ids)]);
            assert_eq!(found.unwrap(), expected);
        }
    }
    let options = EncodeOptions::new(Task::Document);
    let inputs = [Input::Tokens(&[7]), Input::Tokens(&[7, 1_000_000])];
    let error = problem(encoder.encode_with(&options, &inputs).unwrap_err());
    assert_eq!(error.field.as_deref(), Some("input[1]"));
    assert_eq!(error.found.as_deref(), Some("1000000"));
    let long = vec![7; 100];
    let found = encoder.encode_with(&options, &[Input::Tokens(&long), Input::Tokens(&[])]);
    let found = found.unwrap();
    assert_eq!(
        (found.tokens, found.truncated),
        (vec![64, 2], vec![true, false])
    );
}

#[test]
fn too_many_tokens_are_refused_before_any_is_encoded() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    let options = EncodeOptions {
        most_tokens: 10,
        ..EncodeOptions::new(Task::Document)
    };
    let inputs = [Input::Text("a cat"), Input::Text("the red river is blue")];
    let error = problem(encoder.encode_with(&options, &inputs).unwrap_err());
    assert_eq!(
        (error.code, error.found.as_deref()),
        (Code::LimitExceeded, Some("11"))
    );
    assert_eq!(encoder.counts().texts, 0);
    encoder.encode_with(&options, &inputs[1..]).unwrap();
}

/// A prepared tiny model with these lines in its manifest.
fn prepared_with(lines: &str) -> (TempDir, PathBuf) {
    let source = published(&TinyModel::default());
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("tiny");
    let mut options = PrepareOptions::new("tiny", Precision::Fp32);
    options.runtime = runtime();
    prepare(source.path(), &target, &options).unwrap();
    let path = target.join("model.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{lines}\n{text}")).unwrap();
    (home, target)
}

#[test]
fn short_vectors_are_the_first_values_brought_to_length_one() {
    let (_home, folder) = prepared_with("matryoshka = [8, 16]");
    let encoder = open(&folder);
    let text = ["the red river"];
    let whole = encoder.encode(Task::Document, &text).unwrap();
    let short = encoder.with_dimensions(8).unwrap();
    let found = short.encode(Task::Document, &text).unwrap();
    assert_eq!((short.dimensions(), found.dimensions), (8, 8));
    assert!(close(&found.vectors, &normalized(&whole.vectors[..8])));
    assert_ne!(short.fingerprint(), encoder.fingerprint());
    assert_eq!(
        encoder.with_dimensions(32).unwrap().fingerprint(),
        encoder.fingerprint()
    );
    // The list itself changes no vector.
    let (_other, plain) = prepared_with("");
    assert_eq!(open(&plain).fingerprint(), encoder.fingerprint());
    for length in [0, 9, 33] {
        let error = encoder.with_dimensions(length).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("dimensions"));
        assert_eq!(error.expected.as_deref(), Some("8, 16, 32"));
    }
}

#[test]
fn long_texts_are_read_to_their_end_in_windows() {
    let folder = published(&TinyModel {
        document_prompt: "document: ",
        ..TinyModel::default()
    });
    let encoder = open(folder.path());
    let windows = EncodeOptions {
        long_texts: Some(LongTexts::Windows),
        ..EncodeOptions::new(Task::Document)
    };
    // What fits is what it is without.
    for text in ["", "the red river"] {
        assert_eq!(
            with(&encoder, windows.clone(), text),
            encoder.encode(Task::Document, &[text]).unwrap()
        );
    }
    let text = format!("{}{}", "cat dog ".repeat(60), "fire ".repeat(60));
    let found = with(&encoder, windows.clone(), &text);
    assert_eq!(found.truncated, [false]);
    // 180 tokens, 60 in a window beside [CLS], two tokens of prompt... and overlaps.
    assert!(found.tokens[0] > 190, "{:?}", found.tokens);
    let cut = encoder.encode(Task::Document, &[&text]).unwrap();
    assert_eq!(cut.truncated, [true]);
    assert!(!close(&found.vectors, &cut.vectors));
    let length: f32 = found.vectors.iter().map(|v| v * v).sum();
    assert!((length - 1.0).abs() < 1e-5);
    // The end counts.
    let other = with(&encoder, windows.clone(), &text.replace("fire", "water"));
    assert!(!close(&found.vectors, &other.vectors));
    // A text of one word over and over: every window has the vector of one.
    let same = with(&encoder, windows.clone(), &"cat ".repeat(118));
    let ids = encoder.token_ids(Task::Document, &["cat ".repeat(118)]);
    assert_eq!(ids.unwrap()[0].len(), 64);
    assert!(same.tokens[0] > 118);
    // As the manifest has it where nobody says otherwise; then it is another model.
    let (_home, ours) = prepared_with("long_texts = \"windows\"");
    let (_home, plain) = prepared_with("");
    let (ours, plain) = (open(&ours), open(&plain));
    assert_ne!(ours.fingerprint(), plain.fingerprint());
    assert_eq!(
        ours.encode(Task::Document, &[&text]).unwrap(),
        with(&plain, windows, &text)
    );
}

const TOY: &str = r#"
name = "toy"
kind = "text-encoder"
graph = "model.onnx"
normalize = false
max_tokens = 16
dimensions = 4
"#;

/// A folder with a toy encoder and these further lines and files.
fn toy(lines: &str, files: Vec<(&str, Vec<u8>)>) -> TempDir {
    let tokenizer = published(&TinyModel::default());
    let folder = tempfile::tempdir().unwrap();
    let mut all = files;
    if all.iter().all(|(name, _)| *name != "model.onnx") {
        all.push(("model.onnx", toy_encoder().finish()));
    }
    let description = format!("{TOY}{lines}\n[prompts]\nquery = \"search: \"\ndocument = \"\"");
    toy_graph::write(folder.path(), tokenizer.path(), &description, &all);
    folder
}

fn toy_encoder() -> ToyGraph {
    toy_graph::encoder(400)
        .output("last_hidden_state", 3)
        .output("hidden_states.0", 3)
        .output("hidden_states.1", 3)
}

/// The mean of the tokens' vectors, from the one at `skip` on, times `factor`.
fn mean(ids: &[u32], skip: usize, factor: f32) -> Vec<f32> {
    let pooled = &ids[skip..];
    (0..WIDTH)
        .map(|d| {
            let sum: f32 = pooled.iter().map(|&id| embedding(id)[d]).sum();
            factor * sum / pooled.len() as f32
        })
        .collect()
}

/// A head that takes the masked mean of the token vectors, times 3.
fn latent_head(mask: u64) -> Vec<u8> {
    let graph = ToyGraph::default()
        .input("token_states", FLOAT, 3)
        .input("pooling_mask", mask, 2)
        .floats("three", &[1], &[3.0]);
    let graph = match mask {
        FLOAT => graph.node("Identity", &["pooling_mask"], "pooling_mask.f"),
        _ => graph.node_with(
            "Cast",
            &["pooling_mask"],
            "pooling_mask.f",
            &[("to", FLOAT)],
        ),
    };
    graph
        .masked_mean("token_states", "mean")
        .node("Mul", &["mean", "three"], "pooled")
        .output("pooled", 2)
        .finish()
}

/// A head that takes the mean over the layers and the tokens.
fn layers_head() -> Vec<u8> {
    ToyGraph::default()
        .input("layer_states", FLOAT, 4)
        .input("pooling_mask", FLOAT, 2)
        .integers("axis.layers", &[1])
        .floats("half", &[1], &[0.5])
        .node("Identity", &["pooling_mask"], "pooling_mask.f")
        .node_with(
            "ReduceSum",
            &["layer_states", "axis.layers"],
            "layers",
            &[("keepdims", 0)],
        )
        .node("Mul", &["layers", "half"], "states")
        .masked_mean("states", "pooled")
        .output("pooled", 2)
        .finish()
}

#[test]
fn heads_pool_token_vectors_and_layers() {
    let latent = "pooling = \"latent_attention\"\nhead = \"head.onnx\"\n";
    let layers = "pooling = \"multi_layer\"\nhead = \"head.onnx\"\n";
    for (lines, head, factor) in [
        (latent, latent_head(FLOAT), 6.0),
        (latent, latent_head(INT64), 6.0),
        // Layers of one and of two times the embeddings: one and a half.
        (layers, layers_head(), 1.5),
    ] {
        for (pool_prompt, skip) in [(true, 0), (false, 3)] {
            let lines = format!("{lines}pool_prompt = {pool_prompt}");
            let folder = toy(&lines, vec![("head.onnx", head.clone())]);
            let encoder = open(folder.path());
            let texts = [
                "the red river",
                "a cat",
                "",
                "cat and dog and bird and fish",
            ];
            for task in [Task::Query, Task::Document] {
                let found = encoder.encode(task, &texts).unwrap();
                let ids = encoder.token_ids(task, &texts).unwrap();
                let skip = match task {
                    // [CLS], search, :
                    Task::Query => skip,
                    Task::Document => 0,
                };
                for (ids, row) in ids.iter().zip(found.rows()) {
                    let expected = mean(ids, skip, factor);
                    assert!(close(row, &expected), "{row:?} {expected:?}");
                }
                let alone = encoder.encode(task, &texts[..1]).unwrap();
                assert_eq!(alone.vectors, found.vectors[..WIDTH]);
            }
        }
    }
}

#[test]
fn a_fused_graph_pools_by_itself() {
    let fused = toy_graph::encoder(400)
        .input("pooling_mask", INT64, 2)
        .node_with(
            "Cast",
            &["pooling_mask"],
            "pooling_mask.f",
            &[("to", FLOAT)],
        )
        .masked_mean("last_hidden_state", "sentence_embedding")
        .output("last_hidden_state", 3)
        .output("sentence_embedding", 2)
        .finish();
    let lines = "pooling = \"latent_attention\"\npool_prompt = false";
    let folder = toy(lines, vec![("model.onnx", fused)]);
    let encoder = open(folder.path());
    let texts = ["the red river", "a cat"];
    let found = encoder.encode(Task::Query, &texts).unwrap();
    let ids = encoder.token_ids(Task::Query, &texts).unwrap();
    for (ids, row) in ids.iter().zip(found.rows()) {
        assert!(close(row, &mean(ids, 3, 2.0)));
    }
}

#[test]
fn a_head_that_does_not_fit_is_named() {
    let wide = ToyGraph::default()
        .input("token_states", FLOAT, 3)
        .input("pooling_mask", FLOAT, 2)
        .node("Identity", &["pooling_mask"], "pooling_mask.f")
        .masked_mean("token_states", "mean")
        .node_with("Concat", &["mean", "mean"], "pooled", &[("axis", 1)])
        .output("pooled", 2)
        .finish();
    let other = ToyGraph::default()
        .input("pixels", FLOAT, 3)
        .node("Identity", &["pixels"], "pooled")
        .output("pooled", 3)
        .finish();
    let headed = "pooling = \"latent_attention\"\nhead = \"head.onnx\"";
    let head = |bytes: Vec<u8>| vec![("head.onnx", bytes)];
    for (lines, files, named) in [
        (headed, head(wide), "head.onnx"),
        (headed, head(other), "head.onnx"),
        (headed, head(b"no graph".to_vec()), "head.onnx"),
        (headed, vec![], "model.toml"),
        (
            "pooling = \"mean\"\nhead = \"head.onnx\"",
            head(latent_head(FLOAT)),
            "model.toml",
        ),
        // A trained pooling, and nothing that does it.
        ("pooling = \"multi_layer\"", vec![], "model.onnx"),
        ("pooling = \"mean\"\nmatryoshka = [5]", vec![], "model.toml"),
        (
            "pooling = \"mean\"\n[experts.law]\ngraph = \"law.onnx\"",
            vec![],
            "model.toml",
        ),
    ] {
        let folder = toy(lines, files);
        let error = problem(TextEncoder::open(folder.path(), &runtime()).unwrap_err());
        assert_eq!(error.code, Code::InvalidModel, "{lines}: {error}");
        let field = error.field.as_deref().unwrap_or_default();
        assert!(field.ends_with(named), "{lines}: {error}");
    }
}

#[test]
fn experts_are_other_weights_of_one_model() {
    let law = toy_graph::encoder(400)
        .floats("ten", &[1], &[10.0])
        .node("Mul", &["last_hidden_state", "ten"], "token_embeddings")
        .output("token_embeddings", 3)
        .finish();
    let home = tempfile::tempdir().unwrap();
    let lines = "pooling = \"mean\"\n[experts.law]\ngraph = \"law.onnx\"";
    let files = vec![("law.onnx", law)];
    let tokenizer = published(&TinyModel::default());
    let mut all = vec![("model.onnx", toy_encoder().finish())];
    let plain_files = all.clone();
    all.extend(files);
    let prompts = "[prompts]\nquery = \"\"\ndocument = \"\"";
    let folder = home.path().join("toy");
    let text = format!("{TOY}{lines}\n{prompts}");
    toy_graph::write(&folder, tokenizer.path(), &text, &all);
    let alone = home.path().join("alone");
    // The same model under another name.
    let text = format!("{TOY}pooling = \"mean\"\n{prompts}").replace("\"toy\"", "\"alone\"");
    toy_graph::write(&alone, tokenizer.path(), &text, &plain_files);

    let registry = Registry::new(vec![home.path().into()], runtime());
    let listed = registry.list();
    assert!(listed.iter().any(|model| model.experts == ["law"]));
    let base = registry.open("toy").unwrap();
    let expert = registry.open_expert("toy", Some("law")).unwrap();
    let text = ["the red river"];
    let a = base.encode(Task::Document, &text).unwrap();
    let b = expert.encode(Task::Document, &text).unwrap();
    let tenfold: Vec<f32> = a.vectors.iter().map(|v| 10.0 * v).collect();
    assert!(close(&b.vectors, &tenfold));
    assert_ne!(base.fingerprint(), expert.fingerprint());
    // An expert more or less leaves the model what it is.
    assert_eq!(
        registry.open_expert("alone", None).unwrap().fingerprint(),
        base.fingerprint()
    );
    // An expert that there is not is refused before the model's files are read.
    let fresh = Registry::new(vec![home.path().into()], runtime());
    std::fs::write(folder.join("model.onnx"), "damaged").unwrap();
    let error = problem(fresh.open_expert("toy", Some("tax")).unwrap_err());
    assert_eq!(error.code, Code::ModelNotFound);
    let error = problem(fresh.open("toy").unwrap_err());
    assert_eq!(error.code, Code::InvalidModel);
    for (model, found) in [("toy", "law"), ("alone", "no expert")] {
        let error = problem(registry.open_expert(model, Some("tax")).unwrap_err());
        assert_eq!(error.code, Code::ModelNotFound);
        assert_eq!(error.field.as_deref(), Some("expert"));
        assert!(error.expected.unwrap().contains(found));
    }
}

#[test]
fn cuda_that_is_not_there_is_the_operators() {
    let folder = published(&TinyModel::default());
    let options = RuntimeOptions {
        device: Device::Cuda,
        ..runtime()
    };
    let error = TextEncoder::open(folder.path(), &options).unwrap_err();
    assert!(matches!(error, Error::Operator(_)), "{error}");
    for said in ["cuda", "onnxruntime-gpu", "models.runtime.library"] {
        assert!(error.to_string().contains(said), "{error}");
    }
    // The next one may be told to do without.
    open(folder.path()).encode(Task::Query, &["a cat"]).unwrap();
}
