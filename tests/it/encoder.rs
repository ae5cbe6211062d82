//! A text's vector is the model's, whatever is encoded beside it; anything wrong with a
//! model folder is said by file.

use std::fs;
use std::path::{Path, PathBuf};

use gleaner::error::{Code, Error};
use gleaner::model::{
    Embeddings, Manifest, Precision, PrepareOptions, Registry, RuntimeOptions, Task, TextEncoder,
    prepare,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::plain_bert;
use crate::support::tiny_model::{Tensors, TinyModel, runtime};

/// A published model in a folder of its own.
fn published(model: &TinyModel) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    folder
}

fn open(folder: &Path) -> TextEncoder {
    TextEncoder::open(folder, &runtime()).unwrap()
}

/// The model prepared in these numbers; the folder that keeps it and the model's own.
fn prepared(model: &TinyModel, precision: Precision) -> (TempDir, PathBuf) {
    runtime();
    let source = published(model);
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("tiny");
    prepare(
        source.path(),
        &target,
        &PrepareOptions::new("tiny", precision),
    )
    .unwrap();
    (home, target)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Texts of every length from nothing to past the limit.
fn texts(count: usize) -> Vec<String> {
    let words = [
        "the river is red",
        "search the index",
        "a cat and a dog",
        "mountain wind",
        "fire;",
        "water of the earth was blue",
        "1984",
        "it is by the house!",
    ];
    (0..count)
        .map(|i| {
            let parts: Vec<&str> = (0..(i * i) % 23)
                .map(|j| words[(i + 3 * j) % words.len()])
                .collect();
            parts.join(" ")
        })
        .collect()
}

fn problem(error: Error) -> gleaner::error::Problem {
    match error {
        Error::User(problem) => *problem,
        other => panic!("not the caller's: {other}"),
    }
}

#[test]
fn the_fp32_graph_is_bert() {
    let model = TinyModel::default();
    let folder = published(&model);
    let encoder = open(folder.path());
    let texts = texts(24);
    let found = encoder.encode(Task::Document, &texts).unwrap();
    let ids = encoder.token_ids(Task::Document, &texts).unwrap();
    let tensors = model.tensors();
    for (ids, row) in ids.iter().zip(found.rows()) {
        let expected = reference(&model, &tensors, ids);
        for (a, b) in expected.iter().zip(row) {
            assert!((a - b).abs() < 1e-4, "{a} and {b} for {ids:?}");
        }
    }
}

#[test]
fn a_text_encodes_alike_alone_and_among_others() {
    let model = TinyModel::default();
    let source = published(&model);
    let (_home, int8) = prepared(&model, Precision::Int8);
    for folder in [source.path(), &int8] {
        let encoder = open(folder);
        let texts = texts(32);
        let together = encoder.encode(Task::Document, &texts).unwrap();
        for (text, row) in texts.iter().zip(together.rows()) {
            let alone = encoder.encode(Task::Document, &[text]).unwrap();
            assert!(cosine(&alone.vectors, row) > 0.9999, "{text}");
        }
    }
}

#[test]
fn int8_is_close_to_fp32() {
    let model = TinyModel::default();
    let source = published(&model);
    let (_home, int8) = prepared(&model, Precision::Int8);
    let texts = texts(32);
    let exact = open(source.path()).encode(Task::Document, &texts).unwrap();
    let close = open(&int8).encode(Task::Document, &texts).unwrap();
    for ((text, a), b) in texts.iter().zip(exact.rows()).zip(close.rows()) {
        assert!(cosine(a, b) > 0.98, "{} for {text}", cosine(a, b));
    }
}

#[test]
fn a_prepared_fp32_model_is_the_published_one() {
    let model = TinyModel {
        query_prompt: "query: ",
        ..TinyModel::default()
    };
    let source = published(&model);
    let (_home, target) = prepared(&model, Precision::Fp32);
    let texts = texts(9);
    for task in [Task::Query, Task::Document] {
        let a = open(source.path()).encode(task, &texts).unwrap();
        let b = open(&target).encode(task, &texts).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn a_published_onnx_file_is_used_as_it_is() {
    let model = TinyModel::default();
    let source = published(&model);
    let (_home, exported) = prepared(&model, Precision::Fp32);
    let onnx = source.path().join("onnx");
    fs::create_dir(&onnx).unwrap();
    for file in ["model.onnx", "word_embeddings.bin"] {
        fs::copy(exported.join(file), onnx.join(file)).unwrap();
    }
    fs::remove_file(source.path().join("model.safetensors")).unwrap();
    let encoder = open(source.path());
    assert_eq!(encoder.manifest().graph, "onnx/model.onnx");
    let texts = texts(9);
    let a = encoder.encode(Task::Query, &texts).unwrap();
    let b = open(&exported).encode(Task::Query, &texts).unwrap();
    assert_eq!(a, b);
}

#[test]
fn results_do_not_depend_on_sessions_or_batch_size() {
    let folder = published(&TinyModel::default());
    let texts = texts(40);
    let mut all: Vec<Embeddings> = Vec::new();
    for (sessions, batch_tokens) in [(1, 1), (1, 4096), (3, 100)] {
        let options = RuntimeOptions {
            sessions: Some(sessions),
            batch_tokens,
            ..runtime()
        };
        let encoder = TextEncoder::open(folder.path(), &options).unwrap();
        all.push(encoder.encode(Task::Document, &texts).unwrap());
    }
    for other in &all[1..] {
        assert_eq!(all[0].tokens, other.tokens);
        for (a, b) in all[0].vectors.iter().zip(&other.vectors) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}

#[test]
fn many_threads_share_an_encoder() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    let texts = texts(12);
    let expected = encoder.encode(Task::Query, &texts).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let encoder = encoder.clone();
                for task in [Task::Query, Task::Document].repeat(3) {
                    let found = encoder.encode(task, &texts).unwrap();
                    for (a, b) in expected.vectors.iter().zip(&found.vectors) {
                        assert!((a - b).abs() < 1e-5);
                    }
                }
            });
        }
    });
}

#[test]
fn nothing_and_noise_encode() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    let long = "x".repeat(5000);
    let texts = [
        "",
        " ",
        "\n\t\u{a0}",
        "\0\u{200b}",
        "日本語 🎉",
        "[SEP] [CLS]",
        &long,
    ];
    let found = encoder.encode(Task::Document, &texts).unwrap();
    assert_eq!(found.rows().len(), texts.len());
    for row in found.rows() {
        let length: f32 = row.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-4);
    }
    let none: [&str; 0] = [];
    let found = encoder.encode(Task::Document, &none).unwrap();
    assert!(found.vectors.is_empty() && found.tokens.is_empty());
}

#[test]
fn truncation_is_counted_and_reported() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    assert_eq!(encoder.max_tokens(), 64);
    let words = |count: usize| vec!["cat"; count].join(" ");
    let texts = [words(0), words(62), words(63), words(20_000)];
    let found = encoder.encode(Task::Document, &texts).unwrap();
    assert_eq!(found.tokens, [2, 64, 64, 64]);
    assert_eq!(found.truncated, [false, false, true, true]);
    // What was cut off plays no part, and the closing special token stays.
    let rows: Vec<&[f32]> = found.rows().collect();
    assert!(cosine(rows[1], rows[2]) > 0.99999);
    assert!(cosine(rows[1], rows[3]) > 0.99999);
    let ids = encoder.token_ids(Task::Document, &texts).unwrap();
    assert_eq!(ids[1], ids[3]);
}

#[test]
fn prompts_stand_before_the_text() {
    let plain = published(&TinyModel::default());
    let prompted = published(&TinyModel {
        query_prompt: "search: ",
        document_prompt: "document: ",
        ..TinyModel::default()
    });
    let (plain, prompted) = (open(plain.path()), open(prompted.path()));
    let text = ["the red river"];
    for (task, whole) in [
        (Task::Query, "search: the red river"),
        (Task::Document, "document: the red river"),
    ] {
        let a = prompted.encode(task, &text).unwrap();
        let b = plain.encode(task, &[whole]).unwrap();
        assert_eq!(a.tokens, b.tokens);
        assert!(cosine(&a.vectors, &b.vectors) > 0.99999);
    }
    assert_ne!(plain.fingerprint(), prompted.fingerprint());
}

#[test]
fn each_pooling_is_honoured() {
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    for pooling in [
        "pooling_mode_mean_tokens",
        "pooling_mode_cls_token",
        "pooling_mode_lasttoken",
        "pooling_mode_weightedmean_tokens",
    ] {
        let folder = published(&TinyModel {
            pooling,
            ..TinyModel::default()
        });
        let texts = ["the cat", "a dog and a bird in the tree of light"];
        let encoder = open(folder.path());
        let found = encoder.encode(Task::Document, &texts).unwrap();
        let alone = encoder.encode(Task::Document, &texts[..1]).unwrap();
        assert!(cosine(&alone.vectors, &found.vectors[..32]) > 0.9999);
        vectors.push(found.vectors);
    }
    for (i, a) in vectors.iter().enumerate() {
        for b in &vectors[..i] {
            assert!(cosine(a, b) < 0.9999);
        }
    }
}

#[test]
fn a_short_text_is_one_passage() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    for text in ["", "  ", "a cat.", "One. Two. Three."] {
        let whole = std::iter::once(0..text.len());
        assert!(encoder.passages(text, 64, 8).unwrap().into_iter().eq(whole));
    }
}

#[test]
fn passages_end_at_sentences() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    let sentence = "The cat is in the house. ";
    let text = sentence.repeat(12);
    // 7 tokens a sentence, room for 18: two whole sentences each.
    let passages = encoder.passages(&text, 20, 0).unwrap();
    assert_eq!(passages.len(), 6);
    for passage in &passages {
        assert_eq!(&text[passage.clone()], sentence.repeat(2));
    }
}

#[test]
fn impossible_passages_are_refused() {
    let folder = published(&TinyModel::default());
    let encoder = open(folder.path());
    for (max_tokens, overlap, field) in [(2, 0, "max_tokens"), (10, 8, "overlap")] {
        let error = problem(encoder.passages("a cat", max_tokens, overlap).unwrap_err());
        assert_eq!(error.code, Code::InvalidRequest);
        assert_eq!(error.field.as_deref(), Some(field));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn passages_cover_the_text_within_the_limit(
        pieces in prop::collection::vec(
            prop_oneof!["[a-z]{1,9}", "[.!?] ", " ", "\\n\\n", "[A-Zéß日🎉]{1,3}", "x{30,60}"],
            0..120,
        ),
        room in 4_usize..40,
        overlap in 0_usize..20,
    ) {
        thread_local! {
            static MODEL: (TempDir, TextEncoder) = {
                let folder = published(&TinyModel::default());
                let encoder = open(folder.path());
                (folder, encoder)
            };
        }
        let overlap = overlap.min(room - 1);
        let text = pieces.join(" ");
        let passages =
            MODEL.with(|(_, encoder)| encoder.passages(&text, room + 2, overlap)).unwrap();
        prop_assert!(!passages.is_empty());
        prop_assert_eq!(passages[0].start, 0);
        prop_assert_eq!(passages[passages.len() - 1].end, text.len());
        for passage in &passages {
            prop_assert!(text.get(passage.clone()).is_some(), "not on characters");
        }
        for pair in passages.windows(2) {
            prop_assert!(pair[1].start <= pair[0].end, "a gap");
            prop_assert!(pair[1].start > pair[0].start, "no progress");
            prop_assert!(pair[1].end > pair[0].end, "nothing new");
        }
    }
}

#[test]
fn preparing_twice_gives_the_same_files() {
    let model = TinyModel::default();
    for precision in [Precision::Int8, Precision::Fp32] {
        let (_a, first) = prepared(&model, precision);
        let (_b, second) = prepared(&model, precision);
        for file in [
            "model.onnx",
            "word_embeddings.bin",
            "tokenizer.json",
            "model.toml",
            "LICENSE",
        ] {
            let a = fs::read(first.join(file)).unwrap();
            assert!(a == fs::read(second.join(file)).unwrap(), "{file} differs");
        }
        assert_eq!(
            Manifest::read(&first).unwrap().fingerprint(),
            Manifest::read(&second).unwrap().fingerprint()
        );
    }
}

#[test]
fn preparing_replaces_a_model_and_nothing_else() {
    runtime();
    let source = published(&TinyModel::default());
    let home = tempfile::tempdir().unwrap();
    let options = PrepareOptions::new("tiny", Precision::Fp32);
    let target = home.path().join("deep/tiny");
    prepare(source.path(), &target, &options).unwrap();
    let again = PrepareOptions::new("other", Precision::Fp32);
    prepare(source.path(), &target, &again).unwrap();
    assert_eq!(open(&target).name(), "other");
    assert_eq!(fs::read_dir(home.path().join("deep")).unwrap().count(), 1);

    let letters = home.path().join("letters");
    fs::create_dir(&letters).unwrap();
    fs::write(letters.join("dear.txt"), "Dear").unwrap();
    // Before anything is built: the sources that cannot be are not even looked at.
    for source in [source.path(), &letters, &home.path().join("nothing")] {
        let error = problem(prepare(source, &letters, &options).unwrap_err());
        assert_eq!(error.code, Code::InvalidModel);
        assert_eq!(error.field.as_deref(), Some("target"));
    }
    assert_eq!(fs::read(letters.join("dear.txt")).unwrap(), b"Dear");
}

/// What to do to a model folder so that it is broken.
type Damage = fn(&Path);

#[test]
fn what_is_wrong_with_a_published_folder_is_said_by_file() {
    let options = runtime();
    let cases: [(&str, Damage); 13] = [
        ("tokenizer.json", |f| {
            fs::remove_file(f.join("tokenizer.json")).unwrap()
        }),
        ("tokenizer.json", |f| {
            fs::write(f.join("tokenizer.json"), "{}").unwrap()
        }),
        ("config.json", |f| {
            fs::remove_file(f.join("config.json")).unwrap()
        }),
        ("config.json", |f| {
            fs::write(f.join("config.json"), "{").unwrap()
        }),
        ("config.json", |f| {
            edit(f, "config.json", "\"bert\"", "\"llama\"")
        }),
        ("config.json", |f| {
            edit(
                f,
                "config.json",
                "\"num_attention_heads\": 4",
                "\"num_attention_heads\": 5",
            )
        }),
        ("modules.json", |f| {
            fs::write(f.join("modules.json"), "7").unwrap()
        }),
        ("modules.json", |f| {
            edit(f, "modules.json", "models.Normalize", "models.Dense")
        }),
        ("1_Pooling/config.json", |f| {
            fs::remove_file(f.join("1_Pooling/config.json")).unwrap()
        }),
        ("1_Pooling/config.json", |f| {
            edit(f, "1_Pooling/config.json", "mean_tokens", "max_tokens")
        }),
        ("onnx/model.onnx", |f| {
            fs::remove_file(f.join("model.safetensors")).unwrap()
        }),
        ("model.safetensors", |f| {
            fs::write(f.join("model.safetensors"), "short").unwrap()
        }),
        ("model.safetensors", |f| {
            let wide = TinyModel {
                hidden: 64,
                ..TinyModel::default()
            };
            let other = published(&wide);
            fs::copy(
                other.path().join("model.safetensors"),
                f.join("model.safetensors"),
            )
            .unwrap();
        }),
    ];
    for (number, (file, damage)) in cases.into_iter().enumerate() {
        let folder = published(&TinyModel::default());
        damage(folder.path());
        let error = problem(TextEncoder::open(folder.path(), &options).unwrap_err());
        assert_eq!(error.code, Code::InvalidModel, "case {number}");
        assert_eq!(error.field.as_deref(), Some(file), "case {number}: {error}");
    }
    let error = TextEncoder::open(Path::new("/nowhere/at/all"), &options).unwrap_err();
    assert_eq!(problem(error).code, Code::InvalidModel);
}

#[test]
fn what_is_wrong_with_a_model_folder_is_said_by_file() {
    let options = runtime();
    let cases: [(&str, Damage); 9] = [
        ("model.onnx", |f| {
            fs::remove_file(f.join("model.onnx")).unwrap()
        }),
        ("model.onnx", |f| {
            fs::write(f.join("model.onnx"), "other").unwrap()
        }),
        ("word_embeddings.bin", |f| {
            fs::remove_file(f.join("word_embeddings.bin")).unwrap()
        }),
        ("tokenizer.json", |f| {
            edit(f, "tokenizer.json", "[MASK]", "[mask]")
        }),
        ("model.toml", |f| {
            fs::write(f.join("model.toml"), "name = ").unwrap()
        }),
        ("model.toml", |f| {
            fs::write(f.join("model.toml"), [0xff, 0xfe]).unwrap()
        }),
        ("model.toml", |f| {
            edit(f, "model.toml", "dimensions = 32", "dimensions = 0")
        }),
        ("model.toml", |f| {
            edit(f, "model.toml", "max_tokens = 64", "max_tokens = 2")
        }),
        ("model.onnx", |f| {
            edit(f, "model.toml", "dimensions = 32", "dimensions = 33")
        }),
    ];
    for (number, (file, damage)) in cases.into_iter().enumerate() {
        let (_home, folder) = prepared(&TinyModel::default(), Precision::Fp32);
        damage(&folder);
        let error = problem(TextEncoder::open(&folder, &options).unwrap_err());
        assert_eq!(error.code, Code::InvalidModel, "case {number}");
        assert_eq!(error.field.as_deref(), Some(file), "case {number}: {error}");
    }
}

#[test]
fn a_file_that_is_no_graph_is_refused() {
    let folder = published(&TinyModel::default());
    fs::write(folder.path().join("model.onnx"), "not a graph").unwrap();
    let error = problem(TextEncoder::open(folder.path(), &runtime()).unwrap_err());
    assert_eq!(error.code, Code::InvalidModel);
}

#[test]
fn a_registry_opens_each_model_once_and_says_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    TinyModel::default().write(&home.path().join("first"));
    TinyModel {
        seed: 2,
        ..TinyModel::default()
    }
    .write(&home.path().join("publisher/second"));
    let broken = home.path().join("third");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("model.toml"), "name").unwrap();
    let missing = home.path().join("missing");
    let registry = Registry::new(vec![missing.clone(), home.path().to_owned()], runtime());

    let first = registry.open("first").unwrap();
    assert_eq!(first.name(), "first");
    assert_eq!(
        first.fingerprint(),
        registry.open("first").unwrap().fingerprint()
    );
    let second = registry.open("publisher/second").unwrap();
    assert_ne!(first.fingerprint(), second.fingerprint());

    let list = registry.list();
    assert_eq!(list.len(), 2);
    assert_eq!(
        (list[0].name.as_str(), list[0].dimensions),
        ("first", Some(32))
    );
    assert!(list[1].problem.is_some());

    // Other spellings of a path are no names: what is kept by name would grow without end.
    for name in [
        "fourth",
        "../first",
        "",
        "/etc",
        "first/",
        "first//",
        "first/.",
        "./first",
        "publisher//second",
        "publisher/./second",
    ] {
        let error = problem(registry.open(name).unwrap_err());
        assert_eq!(error.code, Code::ModelNotFound);
        assert!(!error.message.contains(&missing.display().to_string()));
        assert!(error.expected.unwrap().contains("first"));
    }
}

fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} does not say {from}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// BERT, mean pooling and normalisation, written down plainly.
fn reference(model: &TinyModel, tensors: &Tensors, ids: &[u32]) -> Vec<f32> {
    let x = plain_bert::states(model, tensors, ids, usize::MAX);
    let mut pooled: Vec<f32> = (0..model.hidden)
        .map(|d| x.iter().map(|t| t[d]).sum::<f32>() / x.len() as f32)
        .collect();
    let length = pooled.iter().map(|v| v * v).sum::<f32>().sqrt();
    pooled.iter_mut().for_each(|v| *v /= length);
    pooled
}
