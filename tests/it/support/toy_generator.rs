//! An encoder-decoder model of a few numbers, in optimum's layout: what it says depends on every
//! token of the input and of the answer so far, and means nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::toy_graph::{FLOAT, INT64, ToyGraph};

/// Words that its tokenizer knows, the special ones first; the marks of annotations among them.
pub const WORDS: [&str; 18] = [
    "<pad>", "</s>", "<s>", "{", "}", "[", "]", ".", "red", "river", "the", "cat", "in", "x",
    "city", "Red", "River", "The",
];
const HIDDEN: usize = 4;

fn table(salt: usize) -> Vec<f32> {
    (0..WORDS.len() * HIDDEN)
        .map(|at| ((at * 7919 + salt * 104_729) % 97) as f32 / 24.0 - 2.0)
        .collect()
}

/// Writes the folder of one.
pub fn write(folder: &Path) {
    write_with(folder, |_, _| {});
}

/// The same with another configuration or tokenizer.
pub fn write_with(folder: &Path, change: impl FnOnce(&mut Value, &mut Value)) {
    std::fs::create_dir_all(folder).unwrap();
    let encoder = ToyGraph::default()
        .input("input_ids", INT64, 2)
        .input("attention_mask", INT64, 2)
        .floats("words", &[WORDS.len(), HIDDEN], &table(1))
        .node("Gather", &["words", "input_ids"], "last_hidden_state")
        .output("last_hidden_state", 3);
    let decoder = ToyGraph::default()
        .input("input_ids", INT64, 2)
        .input("encoder_attention_mask", INT64, 2)
        .input("encoder_hidden_states", FLOAT, 3)
        .floats("words", &[WORDS.len(), HIDDEN], &table(2))
        .floats("head", &[HIDDEN, WORDS.len()], &table(3))
        .integers("one", &[1])
        .integers("two", &[2])
        .node("Gather", &["words", "input_ids"], "tokens")
        .node("CumSum", &["tokens", "one"], "sums")
        .node_with("Cast", &["encoder_attention_mask"], "mask", &[("to", 1)])
        .node("Unsqueeze", &["mask", "two"], "wide")
        .node("Mul", &["encoder_hidden_states", "wide"], "masked")
        .node_with("ReduceSum", &["masked", "one"], "read", &[("keepdims", 1)])
        .node("Add", &["sums", "read"], "both")
        .node("Tanh", &["both"], "bent")
        .node("MatMul", &["bent", "head"], "logits")
        .output("logits", 3);
    let put = |name: &str, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes).unwrap();
    put("encoder_model.onnx", encoder.finish());
    put("decoder_model.onnx", decoder.finish());
    let mut config = json!({"decoder_start_token_id": 2, "eos_token_id": 1, "n_positions": 96});
    let words = WORDS.iter().enumerate();
    let vocabulary: serde_json::Map<String, serde_json::Value> = words
        .map(|(id, word)| ((*word).to_owned(), json!(id)))
        .collect();
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<pad>"},
    });
    change(&mut config, &mut tokenizer);
    put("config.json", config.to_string().into_bytes());
    put("tokenizer.json", tokenizer.to_string().into_bytes());
}
