//! Encoders run by ONNX Runtime: texts in, vectors out; cross-encoders: pairs of a query
//! and a passage in, scores out; and classifiers of the tokens of a pair.
//!
//! **Promise.** A text's vector depends on the model, the task and the text alone: not
//! on the texts encoded beside it, nor on threads or batch sizes, up to the last bits of
//! a float. Anything that is cut off is reported; nothing in a text makes encoding fail.
//!
//! # A model is a folder
//! Either one of ours, made by [`prepare`]:
//! ```text
//! model.toml            name, kind, graph, head, pooling, normalize, max_tokens, dimensions,
//!                       licence, origin, [prompts], [experts], [files] with sha256,
//!                       [[quality]] (`Manifest` has them all)
//! model.onnx            the graph
//! head.onnx             the graph of a trained pooling (see `head`), where there is one
//! code.onnx             the network over the syntax of code (see `code`), where there is one
//! word_embeddings.bin   the word embeddings (ONNX external data)
//! tokenizer.json        Hugging Face's tokenizers
//! LICENSE, NOTICE       as published
//! ```
//! or a published one as it is: `modules.json`, `1_Pooling/config.json`,
//! `sentence_bert_config.json`, `config_sentence_transformers.json`, `tokenizer.json` and
//! `onnx/model.onnx` (or `model.onnx`); where there is no ONNX file but the weights of a
//! BERT (`model.safetensors`, `config.json`), the graph is written here.
//!
//! # The way of a text
//! [`TextEncoder::encode`] puts the task's prompt before each text, tokenises, cuts at
//! the model's limit or into windows, and puts the texts into the model's queue (`queue`).
//! Batches of at most [`RuntimeOptions::batch_tokens`] tokens hold texts of one length, from
//! all calls that wait, queries first; each runs on a session of its own, and its token
//! vectors are pooled ([`Pooling`]) and normalised (`graphs`).
//!
//! Code, of a model that reads its syntax, comes with a graph over its tokens ([`Input::Code`]);
//! what the network makes of both takes the pooling's place (`code`).
//!
//! # The way of a pair
//! [`CrossEncoder::score`] tokenises the query once, puts it before each passage in the
//! tokenizer's form for pairs, cuts the passage, and puts the pairs into a queue of the same
//! kind; the graph's logits become scores by the manifest's [`Calibration`].
//!
//! # int8
//! ONNX Runtime's dynamic quantisation takes one activation scale over a whole batch, so
//! a text's vector changes with its neighbours. Prepared int8 models instead fix every
//! activation's scale beforehand, over a built-in set of varied texts (see `graph`).

mod batch;
mod cache;
mod code;
mod compact;
mod cross_encoder;
mod encoder;
mod files;
mod generator;
mod graph;
mod graphs;
mod head;
mod layout;
mod manifest;
mod names;
mod parallel;
mod passages;
mod pooling;
mod prepare;
mod queue;
mod reference;
mod registry;
mod request;
mod runtime;
mod session;
mod token_classifier;
mod tokenizer;
mod tokens;
mod windows;

pub use cache::CacheFigures;
pub use code::CodeForm;
pub use compact::layers_base;
pub use cross_encoder::{BarePairs, CrossEncoder, Pair, PairScores, ScoreOptions};
pub use encoder::{BareSession, Embeddings, TextEncoder};
pub use generator::{Generation, Generator, Logits};
pub use manifest::{
    Calibration, Expert, MANIFEST, Manifest, ModelKind, Prompts, Quality, Recommended,
};
pub use names::NameTokenizer;
pub use pooling::Pooling;
pub use prepare::{Precision, PrepareOptions, Prepared, prepare};
pub use queue::{Counts, QueueFigures};
pub use reference::{Parity, REFERENCE, check_names, check_pairs, check_reference, check_tokens};
pub use registry::{ModelFigures, ModelSummary, Registry};
pub use request::{CancelOnDrop, Cancellation, EncodeOptions, Input, LongTexts, Prompt, Task};
pub use runtime::{Device, RuntimeOptions, loaded_library};
pub use token_classifier::{TokenClassifier, TokenPair};
pub use tokens::TokenCounter;
