//! The graphs of functions in an Arrow file, for training: made by the code that serves them.
//!
//! | column | type | holds |
//! |---|---|---|
//! | `id`, `language` | string | as they came |
//! | `tokens` | list of uint32 | what the encoder reads, special tokens included |
//! | `kinds` | list of uint16 | node types, below the `vocabulary` of the schema's metadata |
//! | `parents` | list of uint32 | the edges: of node i to `parents[i]`; the root's is its own |
//! | `children` | list of uint32 | numbers of children |
//! | `first_token`, `end_token` | list of uint32 | the tokens that a node covers, `end_token` not included; none where the encoder does not read so far |

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ListBuilder, RecordBatch, StringBuilder, UInt16Builder, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_ipc::writer::FileWriter;
use serde::{Deserialize, Serialize};

use crate::code::{CodeGraph, GraphLimits, Language, vocabulary_size};
use crate::error::{Code, Error, Problem, Result};
use crate::model::TokenCounter;

/// Functions in a batch of the file.
const BATCH: usize = 1_024;
/// Longest line that is read.
const LINE_BYTES: u64 = 4 << 20;

/// What is written of each function.
#[derive(Debug, Clone, Copy)]
pub struct FeatureOptions {
    /// Most tokens, special ones included.
    pub max_tokens: usize,
    /// How large a graph may be.
    pub graph: GraphLimits,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FeatureSummary {
    /// Functions.
    pub functions: u64,
    /// Nodes of all of them.
    pub nodes: u64,
    /// Nodes that were left out of graphs that are too large.
    pub left_out: u64,
    /// Functions that were not parsed, and are not in the file.
    pub unparsed: u64,
    /// How many numbers stand for types of nodes.
    pub vocabulary: usize,
}

#[derive(Deserialize)]
struct Function {
    id: String,
    language: String,
    code: String,
}

/// Writes the features of the functions in JSON lines, `{"id", "language", "code"}`.
///
/// # Errors
/// `invalid_file` with the line for one that is no such object; an operator's error where `to`
/// cannot be written.
pub fn write_features(
    from: &Path,
    to: &Path,
    tokenizer: &TokenCounter,
    options: &FeatureOptions,
) -> Result<FeatureSummary> {
    let file = File::open(from).map_err(|e| wrong(from, 0, format!("it cannot be read: {e}")))?;
    let mut lines = BufReader::new(file);
    let schema = Arc::new(schema());
    let disk =
        |e: &dyn std::fmt::Display| Error::operator(format!("cannot write {}: {e}", to.display()));
    let out = File::create(to).map_err(|e| disk(&e))?;
    let mut writer = FileWriter::try_new(BufWriter::new(out), &schema).map_err(|e| disk(&e))?;
    let mut columns = Columns::default();
    let mut summary = FeatureSummary {
        vocabulary: vocabulary_size(),
        ..FeatureSummary::default()
    };
    let mut number = 0;
    loop {
        number += 1;
        let mut line = Vec::new();
        let mut limited = std::io::Read::take(&mut lines, LINE_BYTES);
        limited
            .read_until(b'\n', &mut line)
            .map_err(|e| wrong(from, number, e.to_string()))?;
        if line.is_empty() {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let function: Function =
            serde_json::from_slice(&line).map_err(|e| wrong(from, number, e.to_string()))?;
        let language: Language = function.language.parse()?;
        let Ok(graph) = CodeGraph::new(language, &function.code, &options.graph) else {
            summary.unparsed += 1;
            continue;
        };
        let tokens = tokenizer.tokens(&function.code, options.max_tokens)?;
        summary.functions += 1;
        summary.nodes += graph.len() as u64;
        summary.left_out += graph.left_out as u64;
        columns.push(&function, &graph, &tokens);
        if columns.rows == BATCH {
            let batch = std::mem::take(&mut columns).finish(&schema)?;
            writer.write(&batch).map_err(|e| disk(&e))?;
        }
    }
    if columns.rows > 0 {
        let batch = columns.finish(&schema)?;
        writer.write(&batch).map_err(|e| disk(&e))?;
    }
    writer.finish().map_err(|e| disk(&e))?;
    let mut out = writer.into_inner().map_err(|e| disk(&e))?;
    out.flush().map_err(|e| disk(&e))?;
    Ok(summary)
}

fn wrong(file: &Path, line: u64, found: String) -> Problem {
    Problem::new(
        Code::InvalidFile,
        format!("{} cannot be read, at line {line}", file.display()),
    )
    .field("file")
    .found(found)
    .expected("a JSON object a line: {\"id\": \"1\", \"language\": \"python\", \"code\": \"..\"}")
}

fn schema() -> Schema {
    let list = |name: &str, kind: DataType| {
        let item = Arc::new(Field::new("item", kind, true));
        Field::new(name, DataType::List(item), false)
    };
    let fields = vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("language", DataType::Utf8, false),
        list("tokens", DataType::UInt32),
        list("kinds", DataType::UInt16),
        list("parents", DataType::UInt32),
        list("children", DataType::UInt32),
        list("first_token", DataType::UInt32),
        list("end_token", DataType::UInt32),
    ];
    let metadata = [("vocabulary".to_string(), vocabulary_size().to_string())];
    Schema::new(fields).with_metadata(metadata.into())
}

#[derive(Default)]
struct Columns {
    rows: usize,
    id: StringBuilder,
    language: StringBuilder,
    kinds: ListBuilder<UInt16Builder>,
    tokens: ListBuilder<UInt32Builder>,
    parents: ListBuilder<UInt32Builder>,
    children: ListBuilder<UInt32Builder>,
    first_token: ListBuilder<UInt32Builder>,
    end_token: ListBuilder<UInt32Builder>,
}

impl Columns {
    fn push(
        &mut self,
        function: &Function,
        graph: &CodeGraph,
        tokens: &[(u32, std::ops::Range<usize>)],
    ) {
        self.rows += 1;
        self.id.append_value(&function.id);
        self.language.append_value(&function.language);
        let all = |list: &mut ListBuilder<UInt32Builder>, values: &mut dyn Iterator<Item = u32>| {
            values.for_each(|value| list.values().append_value(value));
            list.append(true);
        };
        let spans: Vec<_> = tokens.iter().map(|(_, span)| span.clone()).collect();
        let covered = graph.tokens(&spans);
        all(&mut self.tokens, &mut tokens.iter().map(|(id, _)| *id));
        all(&mut self.parents, &mut graph.parents.iter().copied());
        all(&mut self.children, &mut graph.children.iter().copied());
        all(
            &mut self.first_token,
            &mut covered.iter().map(|tokens| tokens.start),
        );
        all(
            &mut self.end_token,
            &mut covered.iter().map(|tokens| tokens.end),
        );
        self.kinds.values().append_slice(&graph.kinds);
        self.kinds.append(true);
    }

    fn finish(mut self, schema: &Arc<Schema>) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.id.finish()),
            Arc::new(self.language.finish()),
            Arc::new(self.tokens.finish()),
            Arc::new(self.kinds.finish()),
            Arc::new(self.parents.finish()),
            Arc::new(self.children.finish()),
            Arc::new(self.first_token.finish()),
            Arc::new(self.end_token.finish()),
        ];
        RecordBatch::try_new(schema.clone(), columns)
            .map_err(|e| Error::Bug(format!("columns of features do not fit: {e}")))
    }
}
