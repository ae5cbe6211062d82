//! What a model folder holds: `model.toml`, or what is read from a published folder
//! (see [`super::layout`]).

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{check_inside, invalid, read, sha256_of, sha256_of_file};
use super::layout;
use super::pooling::Pooling;
use crate::error::Result;

/// File that describes a model folder of ours.
pub const MANIFEST: &str = "model.toml";

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Texts to vectors.
    TextEncoder,
}

/// Put before a text, as the model was trained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// Before a query.
    pub query: String,
    /// Before a document.
    pub document: String,
}

/// A measured quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// What it was measured on.
    pub dataset: String,
    /// Which measure, as in `ndcg@10`.
    pub measure: String,
    /// The value.
    pub value: f64,
}

/// A model folder's description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name by which indexes and requests refer to the model.
    pub name: String,
    /// What the model does.
    pub kind: ModelKind,
    /// File of the graph, relative to the folder: ONNX, or `model.safetensors` of a BERT.
    pub graph: String,
    /// How token vectors become one vector.
    pub pooling: Pooling,
    /// Vectors are scaled to length 1.
    pub normalize: bool,
    /// Longest input in tokens, special tokens included; longer texts are cut.
    pub max_tokens: usize,
    /// Values per vector.
    pub dimensions: usize,
    /// Licence of the weights, as an SPDX identifier where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the weights come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Put before queries and documents.
    #[serde(default)]
    pub prompts: Prompts,
    /// sha256 of every file the model consists of, by its path inside the folder.
    pub files: BTreeMap<String, String>,
    /// How well it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<Quality>,
}

impl Manifest {
    /// Reads a folder: its `model.toml` with every file's hash checked, or the layout of
    /// sentence-transformers or optimum with the hashes taken.
    ///
    /// # Errors
    /// InvalidModel naming the file that is missing, broken or not the one announced;
    /// Operator when a file cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.join(MANIFEST).is_file() {
            return layout::read(folder, true);
        }
        let manifest = Self::peek(folder)?;
        for (file, announced) in &manifest.files {
            let found = sha256_of_file(folder, file)?;
            if !found.eq_ignore_ascii_case(announced) {
                return Err(
                    invalid(file, "the file is not the one the model was made with")
                        .found(format!("sha256 {found}"))
                        .expected(format!("sha256 {announced}, by {MANIFEST}"))
                        .into(),
                );
            }
        }
        Ok(manifest)
    }

    /// The description alone: no hash is taken or checked.
    pub(crate) fn peek(folder: &Path) -> Result<Self> {
        if !folder.join(MANIFEST).is_file() {
            return layout::read(folder, false);
        }
        let bytes = read(folder, MANIFEST)?;
        let broken = |e: &dyn std::fmt::Display| {
            invalid(
                MANIFEST,
                format!(
                    "{} is not a model's description",
                    folder.join(MANIFEST).display()
                ),
            )
            .found(e)
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| broken(&e))?;
        let manifest: Manifest = toml::from_str(text).map_err(|e| broken(&e.message()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        if self.name.trim().is_empty() {
            return Err(invalid(MANIFEST, "`name` is empty").into());
        }
        for (key, value) in [
            ("max_tokens", self.max_tokens),
            ("dimensions", self.dimensions),
        ] {
            if value == 0 {
                return Err(invalid(MANIFEST, format!("`{key}` is zero"))
                    .expected("1 or more")
                    .into());
            }
        }
        for file in self.files.keys() {
            check_inside(file)?;
        }
        for file in [self.graph.as_str(), super::tokenizer::TOKENIZER] {
            if !self.files.contains_key(file) {
                return Err(invalid(MANIFEST, format!("`files` lacks {file}"))
                    .expected("the sha256 of every file the model consists of")
                    .into());
            }
        }
        Ok(())
    }

    /// Identity of the vectors: sha256 over the files' hashes and over everything that
    /// changes a text's vector. Two folders of one fingerprint encode alike, whatever
    /// they are called.
    pub fn fingerprint(&self) -> String {
        let identity = serde_json::json!({
            "graph": self.graph,
            "files": self.files,
            "pooling": self.pooling,
            "normalize": self.normalize,
            "max_tokens": self.max_tokens,
            "dimensions": self.dimensions,
            "prompts": self.prompts,
        });
        sha256_of(identity.to_string().as_bytes())
    }
}
