//! ONNX graphs of a few nodes, written by hand: for heads and encoders whose vectors a test
//! can work out by itself.

use std::fs;
use std::path::Path;

use sha2::Digest;

/// Element types.
pub const FLOAT: u64 = 1;
pub const INT64: u64 = 7;

/// A graph under construction, as `onnx.proto` has it.
#[derive(Default)]
pub struct ToyGraph {
    graph: Vec<u8>,
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(value, out);
}

fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

impl ToyGraph {
    /// Declares an input; every dimension is open.
    pub fn input(mut self, name: &str, element: u64, rank: usize) -> Self {
        bytes(11, &value(name, element, rank), &mut self.graph);
        self
    }

    /// Declares an output of floats.
    pub fn output(mut self, name: &str, rank: usize) -> Self {
        bytes(12, &value(name, FLOAT, rank), &mut self.graph);
        self
    }

    /// Adds an operator with one output and no attributes.
    pub fn node(self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.node_with(op, inputs, output, &[])
    }

    /// Adds an operator with attributes that are integers.
    pub fn node_with(
        mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, u64)],
    ) -> Self {
        let mut node = Vec::new();
        for input in inputs {
            bytes(1, input.as_bytes(), &mut node);
        }
        bytes(2, output.as_bytes(), &mut node);
        bytes(4, op.as_bytes(), &mut node);
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            bytes(1, name.as_bytes(), &mut attribute);
            number(3, *value, &mut attribute);
            number(20, 2, &mut attribute);
            bytes(5, &attribute, &mut node);
        }
        bytes(1, &node, &mut self.graph);
        self
    }

    /// Adds a constant of floats.
    pub fn floats(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, FLOAT, shape, &raw)
    }

    /// Adds a list of integers.
    pub fn integers(self, name: &str, values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, INT64, &[values.len()], &raw)
    }

    fn constant(mut self, name: &str, element: u64, shape: &[usize], raw: &[u8]) -> Self {
        let mut tensor = Vec::new();
        for &size in shape {
            number(1, size as u64, &mut tensor);
        }
        number(2, element, &mut tensor);
        bytes(8, name.as_bytes(), &mut tensor);
        bytes(9, raw, &mut tensor);
        bytes(5, &tensor, &mut self.graph);
        self
    }

    /// `pooled`: the mean of `states` [texts, tokens, values] over the tokens of
    /// `pooling_mask` (floats).
    pub fn masked_mean(self, states: &str, pooled: &str) -> Self {
        self.integers("axis.1", &[1])
            .integers("axis.2", &[2])
            .node("Unsqueeze", &["pooling_mask.f", "axis.2"], "weights")
            .node("Mul", &[states, "weights"], "weighted")
            .node_with(
                "ReduceSum",
                &["weighted", "axis.1"],
                "sum",
                &[("keepdims", 0)],
            )
            .node_with(
                "ReduceSum",
                &["weights", "axis.1"],
                "count",
                &[("keepdims", 0)],
            )
            .node("Div", &["sum", "count"], pooled)
    }

    /// The serialised model.
    pub fn finish(mut self) -> Vec<u8> {
        bytes(2, b"toy", &mut self.graph);
        let mut model = Vec::new();
        number(1, 8, &mut model);
        bytes(7, &self.graph, &mut model);
        let mut opset = Vec::new();
        bytes(1, b"", &mut opset);
        number(2, 17, &mut opset);
        bytes(8, &opset, &mut model);
        model
    }
}

fn value(name: &str, element: u64, rank: usize) -> Vec<u8> {
    let mut shape = Vec::new();
    for axis in 0..rank {
        let mut dimension = Vec::new();
        bytes(2, format!("{name}.{axis}").as_bytes(), &mut dimension);
        bytes(1, &dimension, &mut shape);
    }
    let mut tensor = Vec::new();
    number(1, element, &mut tensor);
    bytes(2, &shape, &mut tensor);
    let mut kind = Vec::new();
    bytes(1, &tensor, &mut kind);
    let mut value = Vec::new();
    bytes(1, name.as_bytes(), &mut value);
    bytes(2, &kind, &mut value);
    value
}

/// The vector of a token in the toy encoder, and the embeddings of a vocabulary this large.
pub const WIDTH: usize = 4;
pub fn embedding(id: u32) -> [f32; WIDTH] {
    let id = id as f32;
    [(id * 0.7).sin(), (id * 1.3).cos(), (id * 0.2).sin(), 1.0]
}

/// An encoder that looks its tokens up, and twice as large in a second layer: outputs
/// `last_hidden_state` (the second), `hidden_states.0` and `hidden_states.1`.
pub fn encoder(vocabulary: usize) -> ToyGraph {
    let table: Vec<f32> = (0..vocabulary as u32).flat_map(embedding).collect();
    ToyGraph::default()
        .input("input_ids", INT64, 2)
        .input("attention_mask", INT64, 2)
        .floats("table", &[vocabulary, WIDTH], &table)
        .floats("two", &[1], &[2.0])
        .node("Gather", &["table", "input_ids"], "hidden_states.0")
        .node("Mul", &["hidden_states.0", "two"], "hidden_states.1")
        .node("Identity", &["hidden_states.1"], "last_hidden_state")
}

/// Writes a model folder of these files, with the tokenizer of `tokenizer_of` and this
/// description, to which the files' hashes are added.
pub fn write(folder: &Path, tokenizer_of: &Path, description: &str, files: &[(&str, Vec<u8>)]) {
    fs::create_dir_all(folder).unwrap();
    let tokenizer = fs::read(tokenizer_of.join("tokenizer.json")).unwrap();
    let mut text = format!("{description}\n[files]\n");
    for (name, contents) in files
        .iter()
        .map(|(name, contents)| (*name, contents))
        .chain([("tokenizer.json", &tokenizer)])
    {
        fs::write(folder.join(name), contents).unwrap();
        let hash: String = sha2::Sha256::digest(contents)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        text += &format!("\"{name}\" = \"{hash}\"\n");
    }
    fs::write(folder.join("model.toml"), text).unwrap();
}
