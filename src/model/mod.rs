//! Encoders run by ONNX Runtime: texts in, vectors out.
//!
//! **Promise.** A text's vector depends on the model, the task and the text alone: not
//! on the texts encoded beside it, nor on threads or batch sizes, up to the last bits of
//! a float. Anything that is cut off is reported; nothing in a text makes encoding fail.
//!
//! # A model is a folder
//! Either one of ours, made by [`prepare`]:
//! ```text
//! model.toml            name, kind, graph, pooling, normalize, max_tokens, dimensions,
//!                       licence, origin, [prompts], [files] with sha256, [[quality]]
//! model.onnx            the graph
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
//! the model's limit, sorts by length into batches of at most
//! [`RuntimeOptions::batch_tokens`] tokens, runs them over a pool of sessions, and pools
//! and normalises the token vectors ([`Pooling`]) back into the caller's order.
//!
//! # int8
//! ONNX Runtime's dynamic quantisation takes one activation scale over a whole batch, so
//! a text's vector changes with its neighbours. Prepared int8 models instead fix every
//! activation's scale beforehand, over a built-in set of varied texts (see `graph`).

mod batch;
mod encoder;
mod files;
mod graph;
mod layout;
mod manifest;
mod parallel;
mod passages;
mod pool;
mod pooling;
mod prepare;
mod registry;
mod runtime;
mod session;
mod tokenizer;

pub use encoder::{BareSession, Embeddings, Task, TextEncoder};
pub use manifest::{MANIFEST, Manifest, ModelKind, Prompts, Quality};
pub use pooling::Pooling;
pub use prepare::{Precision, PrepareOptions, prepare};
pub use registry::{ModelSummary, Registry};
pub use runtime::RuntimeOptions;
