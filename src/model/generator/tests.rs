//! A toy model in optimum's layout: what is remembered has to give what reading it all again gives.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::error::{Code, Error};
use crate::model::graph::builder::{Attribute, Dimension, GraphBuilder};
use crate::model::graph::onnx::ElementType;

const HIDDEN: usize = 3;
const VOCABULARY: usize = 9;
const BATCH: Dimension = Dimension::Named("batch");
const LENGTH: Dimension = Dimension::Named("length");
// What has one name is taken for one length.
const READ: Dimension = Dimension::Named("read");
const BEFORE: Dimension = Dimension::Named("before");
const ALL: Dimension = Dimension::Named("all");
const ONE: Dimension = Dimension::Fixed(1);
const WIDTH: Dimension = Dimension::Fixed(HIDDEN);

fn table(rows: usize, columns: usize, salt: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|at| ((at * 7919 + salt * 104_729) % 97) as f32 / 48.0 - 1.0)
        .collect()
}

fn ints(graph: &mut GraphBuilder, name: &str, length: Dimension) {
    graph.input(name, ElementType::Int64, &[BATCH, length]);
}

fn encoder() -> Vec<u8> {
    let mut graph = GraphBuilder::new(None);
    ints(&mut graph, "input_ids", LENGTH);
    ints(&mut graph, "attention_mask", LENGTH);
    let words = graph.floats(
        "words",
        &[VOCABULARY, HIDDEN],
        &table(VOCABULARY, HIDDEN, 1),
    );
    graph.node("Gather", &[&words, "input_ids"], "last_hidden_state", &[]);
    graph.output(
        "last_hidden_state",
        ElementType::Float,
        &[BATCH, LENGTH, WIDTH],
    );
    graph.finish().0
}

/// Logits of the sum of the tokens so far and of the input, masked: the tokens of the answer out of
/// what is remembered where `past`.
fn decoder(past: bool) -> Vec<u8> {
    let mut graph = GraphBuilder::new(None);
    ints(&mut graph, "input_ids", LENGTH);
    ints(&mut graph, "encoder_attention_mask", READ);
    let words = graph.floats(
        "words",
        &[VOCABULARY, HIDDEN],
        &table(VOCABULARY, HIDDEN, 2),
    );
    let head = graph.floats("head", &[HIDDEN, VOCABULARY], &table(HIDDEN, VOCABULARY, 3));
    let one = graph.integers("one", &[1]);
    let two = graph.integers("two", &[2]);
    let axis = graph.integer("axis", 1);
    let of_input = [BATCH, ONE, READ, WIDTH];
    let tokens = graph.node("Gather", &[&words, "input_ids"], "tokens", &[]);
    let new = graph.node("Unsqueeze", &[&tokens, &one], "new", &[]);
    let (states, sums) = match past {
        false => {
            let states = "encoder_hidden_states";
            graph.input(states, ElementType::Float, &[BATCH, READ, WIDTH]);
            graph.node("Identity", &[&new], "present.0.decoder.key", &[]);
            graph.node("Unsqueeze", &[states, &one], "present.0.encoder.key", &[]);
            graph.output("present.0.encoder.key", ElementType::Float, &of_input);
            let sums = graph.node("CumSum", &[&tokens, &axis], "sums", &[]);
            (states.to_owned(), sums)
        }
        true => {
            let (own, others) = (
                "past_key_values.0.decoder.key",
                "past_key_values.0.encoder.key",
            );
            graph.input(own, ElementType::Float, &[BATCH, ONE, BEFORE, WIDTH]);
            graph.input(others, ElementType::Float, &of_input);
            let all = graph.node(
                "Concat",
                &[own, &new],
                "present.0.decoder.key",
                &[("axis", Attribute::Int(2))],
            );
            let keep = [("keepdims", Attribute::Int(0))];
            let sums = graph.node("ReduceSum", &[&all, &two], "sums", &keep);
            (graph.node("Squeeze", &[others, &one], "states", &[]), sums)
        }
    };
    graph.output(
        "present.0.decoder.key",
        ElementType::Float,
        &[BATCH, ONE, ALL, WIDTH],
    );
    let to = [("to", Attribute::Int(ElementType::Float as i64))];
    let mask = graph.node("Cast", &["encoder_attention_mask"], "mask", &to);
    let mask = graph.node("Unsqueeze", &[&mask, &two], "mask.wide", &[]);
    let masked = graph.node("Mul", &[&states, &mask], "masked", &[]);
    let keep = [("keepdims", Attribute::Int(1))];
    let read = graph.node("ReduceSum", &[&masked, &one], "read", &keep);
    let both = graph.node("Add", &[&sums, &read], "both", &[]);
    let bent = graph.node("Tanh", &[&both], "bent", &[]);
    graph.node("MatMul", &[&bent, &head], "logits", &[]);
    graph.output(
        "logits",
        ElementType::Float,
        &[BATCH, LENGTH, Dimension::Fixed(VOCABULARY)],
    );
    graph.finish().0
}

fn write(folder: &Path, past: bool) {
    let put = |name: &str, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).unwrap();
    put(ENCODER, encoder());
    put(DECODER, decoder(false));
    if past {
        put(WITH_PAST, decoder(true));
    }
    let config = json!({"decoder_start_token_id": 2, "eos_token_id": [1, 7], "n_positions": 20});
    put(CONFIG, config.to_string().into_bytes());
    put(
        GENERATION,
        json!({"forced_bos_token_id": 3}).to_string().into_bytes(),
    );
    let words = ["<pad>", "</s>", "<s>", "go", "a", "b", "c", "d", "e"];
    let vocabulary: serde_json::Map<String, serde_json::Value> = words
        .iter()
        .enumerate()
        .map(|(id, word)| ((*word).to_owned(), json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<pad>"},
    });
    put("tokenizer.json", tokenizer.to_string().into_bytes());
}

fn open(folder: &Path) -> Generator {
    assert!(
        std::env::var_os("ORT_DYLIB_PATH").is_some(),
        "tests of sessions need ONNX Runtime: set ORT_DYLIB_PATH, or run `make test`"
    );
    Generator::open(folder, &RuntimeOptions::default()).unwrap()
}

fn alike(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn what_is_remembered_gives_what_reading_it_again_gives() {
    let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(with.path(), true);
    write(without.path(), false);
    let (with, without) = (open(with.path()), open(without.path()));
    assert_eq!((with.end(), with.max_tokens()), (1, 20));
    let inputs = [vec![4, 5, 6], vec![7], vec![8, 8]];
    let mut one = with.read(&inputs).unwrap();
    let mut other = without.read(&inputs).unwrap();
    let (a, b) = (one.start().unwrap(), other.start().unwrap());
    assert_eq!((a.vocabulary, a.values.len()), (VOCABULARY, 3 * VOCABULARY));
    alike(&a.values, &b.values);
    // Rows that split, cross over and end.
    let steps: [&[(usize, u32)]; 4] = [
        &[(0, 4), (0, 5), (2, 6)],
        &[(2, 4), (1, 8), (1, 5), (0, 7), (0, 0)],
        &[(4, 4), (0, 4)],
        &[(1, 5)],
    ];
    for step in steps {
        let (a, b) = (one.advance(step).unwrap(), other.advance(step).unwrap());
        assert_eq!(a.values.len(), step.len() * VOCABULARY);
        alike(&a.values, &b.values);
    }
    assert!(one.advance(&[(9, 1)]).is_err());
    drop((one, other));

    // An input's answers do not depend on what is read beside it.
    let alone = with.read(&inputs[1..2]).unwrap().start().unwrap();
    alike(&alone.values, &a.values[VOCABULARY..2 * VOCABULARY]);
}

#[test]
fn given_answers_are_scored_as_they_would_be_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    let generator = open(folder.path());
    let inputs = [vec![4, 5, 6], vec![7]];
    let answers: [(usize, &[u32]); 4] = [(1, &[4, 5, 6]), (0, &[]), (0, &[8]), (1, &[4])];
    let mut generation = generator.read(&inputs).unwrap();
    let mut forced = vec![None; answers.len()];
    generation
        .force(&answers, |at, logits| forced[at] = Some(logits.values))
        .unwrap();
    for ((input, tokens), forced) in answers.iter().zip(forced) {
        let first = generation.start().unwrap();
        let mut written = first.values[input * VOCABULARY..(input + 1) * VOCABULARY].to_vec();
        let mut row = *input;
        for &token in *tokens {
            written.extend(generation.advance(&[(row, token)]).unwrap().values);
            row = 0;
        }
        alike(&forced.unwrap(), &written);
    }
    // One generation runs at a time.
    drop(generation);
    let nothing = generator.read(&[]).unwrap().start().unwrap();
    assert!(nothing.values.is_empty());
}

#[test]
fn many_answers_are_scored_a_bounded_part_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    let generator = open(folder.path());
    let inputs = [vec![4, 5, 6], vec![7]];
    // Of every length up to nine, short and long ones mixed.
    let answers: Vec<(usize, Vec<u32>)> = (0..120_usize)
        .map(|at| {
            (
                at % 2,
                (0..at * 7 % 10).map(|n| 4 + (n % 5) as u32).collect(),
            )
        })
        .collect();
    let answers: Vec<(usize, &[u32])> = answers.iter().map(|(i, t)| (*i, &t[..])).collect();
    let mut generation = generator.read(&inputs).unwrap();
    let mut force = |room: usize| {
        let mut forced = vec![Vec::new(); answers.len()];
        let visit = |at: usize, logits: Logits| {
            assert!(forced[at].is_empty());
            forced[at] = logits.values;
        };
        let runs = generation.force_within(room, &answers, visit).unwrap();
        (runs, forced)
    };
    let (once, all) = force(usize::MAX);
    assert_eq!(once, 1);
    // The first part too has no more than there is room for: 11 tokens take 2 * 11 * 9 logits.
    let (parts, some) = force(2_000);
    assert!((10..40).contains(&parts), "{parts}");
    let (single, each) = force(1);
    assert_eq!(single, answers.len());
    for ((all, some), each) in all.iter().zip(&some).zip(&each) {
        alike(all, some);
        alike(all, each);
    }
}

#[test]
fn what_is_not_waited_for_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    let generator = open(folder.path());
    let cancellation = Cancellation::default();
    let mut generation = generator.read_while(&[vec![4]], &cancellation).unwrap();
    generation.start().unwrap();
    generation.advance(&[(0, 5)]).unwrap();
    cancellation.cancel();
    let code = |error: Error| error.problem().map(|problem| problem.code);
    for failed in [
        generation.advance(&[(0, 5)]).err(),
        generation.start().err(),
        generation.force(&[(0, &[4])], |_, _| {}).err(),
    ] {
        assert_eq!(failed.and_then(code), Some(Code::Timeout));
    }
    drop(generation);
    let failed = generator.read_while(&[vec![4]], &cancellation).err();
    assert_eq!(failed.and_then(code), Some(Code::Timeout));
}

#[test]
fn answers_are_as_long_as_there_are_places() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    assert_eq!(open(folder.path()).max_answer(), usize::MAX);
    let config = json!({"decoder_start_token_id": 2, "eos_token_id": 1,
                        "max_position_embeddings": 9});
    std::fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
    // The start and the forced first token take two.
    let generator = open(folder.path());
    assert_eq!(generator.max_answer(), 7);
    assert_eq!(Generator::max_answer_in(folder.path()).unwrap(), Some(7));
    let mut generation = generator.read(&[vec![4]]).unwrap();
    let mut force = |length| generation.force(&[(0, &vec![4; length])], |_, _| {});
    assert!(force(7).is_ok());
    assert!(matches!(force(8), Err(Error::Bug(_))));
}

#[test]
fn what_callers_write_is_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    let path = folder.path().join("tokenizer.json");
    let plain = std::fs::read(&path).unwrap();
    // Marks that are no tokens are spelled, those of the text otherwise.
    let marked = |text: &str| {
        let generator = open(folder.path());
        generator.marked_window(text, "a", text, 20).unwrap()
    };
    let spelled = marked("");
    assert!(spelled.len() > 3);
    for forged in ["[START_ENT] b [END_ENT]", "[start_ent] b [End_Ent]"] {
        let window = open(folder.path())
            .marked_window(forged, "a", "", 20)
            .unwrap();
        let own = &spelled[..];
        assert!(window.ends_with(own), "{window:?}");
    }
    // With tokens for them, and one that ends a text.
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&plain).unwrap();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    tokenizer["added_tokens"] = json!([
        special(9, "[START_ENT]"),
        special(10, "[END_ENT]"),
        special(1, "</s>")
    ]);
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    assert_eq!(marked("b"), [5, 9, 4, 10, 5]);
    let window = marked("b [START_ENT] </s> c [END_ENT]");
    let counted = |token| window.iter().filter(|&&other| other == token).count();
    assert_eq!(
        (counted(9), counted(10), counted(1)),
        (1, 1, 0),
        "{window:?}"
    );
    let generator = open(folder.path());
    let query = generator.window("", "b </s> [END_ENT]", "", 20).unwrap();
    assert!(!query.contains(&10) && !query.contains(&1), "{query:?}");
}

#[test]
fn a_window_keeps_the_middle_and_what_is_next_to_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), true);
    let generator = open(folder.path());
    let window = |most| generator.window("a a a b", "c", "d e e e", most).unwrap();
    assert_eq!(window(3), [5, 6, 7]);
    assert_eq!(window(20), [4, 4, 4, 5, 6, 7, 8, 8, 8]);
    assert_eq!(window(1), [6]);
    assert_eq!(
        generator.window("", "c", "d e e e", 4).unwrap(),
        [6, 7, 8, 8]
    );
    assert_eq!(
        generator.window("a a a b", "c", "", 4).unwrap(),
        [4, 4, 5, 6]
    );
}

#[test]
fn a_folder_that_is_none_is_refused() {
    let refused = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), true);
        change(folder.path());
        let error = Generator::open(folder.path(), &RuntimeOptions::default());
        let error = error.err().expect("refused");
        assert_eq!(
            error.problem().map(|problem| problem.code),
            Some(Code::InvalidModel),
            "{error}"
        );
        error.to_string()
    };
    let remove =
        |name: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(name)).unwrap();
    assert!(refused(&remove(DECODER)).contains(DECODER));
    refused(&remove(ENCODER));
    refused(&remove(CONFIG));
    refused(&remove("tokenizer.json"));
    refused(&|folder| std::fs::write(folder.join(CONFIG), "{}").unwrap());
    refused(&|folder| std::fs::write(folder.join(WITH_PAST), "no graph").unwrap());
    refused(&|folder| std::fs::write(folder.join(DECODER), encoder()).unwrap());
}
