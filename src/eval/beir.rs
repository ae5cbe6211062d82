//! Folders in the layout of BEIR: `corpus.jsonl`, `queries.jsonl` and
//! `qrels/SPLIT.tsv`, any of them also with `.gz` or `.zst`.
//!
//! Unlike a load, a measurement stops at the first bad row: figures over part of a
//! collection would be figures of another collection.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::Qrels;
use crate::error::{Code, Error, Problem};
use crate::ingest::{Format, Source, SourceOptions};

/// A document of the corpus.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BeirDocument {
    /// `_id`.
    pub id: String,
    /// `title`; empty if there is none.
    pub title: String,
    /// `text`.
    pub text: String,
    /// `metadata`; empty if there is none.
    pub metadata: Map<String, Json>,
}

/// A folder whose files are known to be there.
#[derive(Debug, Clone)]
pub struct BeirFolder {
    corpus: PathBuf,
    queries: PathBuf,
    /// Splits and their files, by name.
    splits: Vec<(String, PathBuf)>,
}

impl BeirFolder {
    /// Looks for the files of a folder.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] if the folder, its corpus, its queries or its judgments are
    /// missing.
    pub fn open(folder: &Path) -> Result<BeirFolder, Error> {
        if !folder.is_dir() {
            return Err(missing(folder, "no such folder", "a BEIR folder"));
        }
        let qrels = folder.join("qrels");
        let mut splits = Vec::new();
        for entry in std::fs::read_dir(&qrels).into_iter().flatten().flatten() {
            let path = entry.path();
            let split = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| {
                    ENDINGS
                        .iter()
                        .find_map(|end| name.strip_suffix(&format!(".tsv{end}")))
                });
            if let Some(split) = split {
                splits.push((split.to_string(), path.clone()));
            }
        }
        splits.sort();
        if splits.is_empty() {
            return Err(missing(&qrels, "no judgments", "qrels/SPLIT.tsv"));
        }
        Ok(BeirFolder {
            corpus: find(folder, "corpus.jsonl")?,
            queries: find(folder, "queries.jsonl")?,
            splits,
        })
    }

    /// The splits that have judgments, by name.
    pub fn splits(&self) -> impl Iterator<Item = &str> {
        self.splits.iter().map(|(name, _)| name.as_str())
    }

    /// The file of the documents.
    pub fn corpus_path(&self) -> &Path {
        &self.corpus
    }

    /// Judgments of a split.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] if there is no such split (the message lists those there
    /// are) or its file is not in order.
    pub fn qrels(&self, split: &str) -> Result<Qrels, Error> {
        match self.splits.iter().find(|(name, _)| name == split) {
            Some((_, path)) => Qrels::read(path),
            None => Err(Problem::new(
                Code::InvalidFile,
                format!("there are no judgments for the split {split}"),
            )
            .field("split")
            .found(split)
            .expected(format!(
                "one of: {}",
                self.splits().collect::<Vec<_>>().join(", ")
            ))
            .into()),
        }
    }

    /// Texts of the queries that `qrels` judges, by id, in the order of the file.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] if a row is not a query or a judged query is not in the
    /// file.
    pub fn queries(&self, qrels: &Qrels) -> Result<IndexMap<String, String>, Error> {
        let mut queries = IndexMap::with_capacity(qrels.len());
        for row in rows(&self.queries)? {
            let document = row?;
            if qrels.get(&document.id).is_some() {
                queries.insert(document.id, document.text);
            }
        }
        match qrels.iter().find(|(id, _)| !queries.contains_key(*id)) {
            None => Ok(queries),
            Some((id, _)) => Err(Problem::new(
                Code::InvalidFile,
                format!("{} lacks a query that is judged", self.queries.display()),
            )
            .field("_id")
            .found(format!("no query {id:?}"))
            .expected("every query of the judgments")
            .into()),
        }
    }

    /// The documents, one at a time.
    ///
    /// # Errors
    /// As [`Source::open`]; an item is [`Code::InvalidFile`] with the line if a row is
    /// not a document.
    pub fn corpus(&self) -> Result<impl Iterator<Item = Result<BeirDocument, Error>>, Error> {
        rows(&self.corpus)
    }
}

const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];

fn find(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    ENDINGS
        .iter()
        .map(|end| folder.join(format!("{name}{end}")))
        .find(|path| path.is_file())
        .ok_or_else(|| missing(&folder.join(name), "no such file", name))
}

fn missing(path: &Path, found: &str, expected: &str) -> Error {
    Problem::new(
        Code::InvalidFile,
        format!("{} is not a BEIR folder's", path.display()),
    )
    .found(found)
    .expected(expected)
    .into()
}

/// Corpus and queries have the same shape.
fn rows(path: &Path) -> Result<impl Iterator<Item = Result<BeirDocument, Error>> + use<>, Error> {
    let options = SourceOptions {
        format: Some(Format::Jsonl),
        ..Default::default()
    };
    let path = path.to_path_buf();
    Ok(Source::open(&path, &options)?.map(move |row| {
        let row = row?;
        row.json.and_then(document).map_err(|mut problem| {
            problem.code = Code::InvalidFile;
            problem.message = format!(
                "{}, line {}: {}",
                path.display(),
                row.line.unwrap_or(row.number),
                problem.message
            );
            problem.into()
        })
    }))
}

fn document(json: Json) -> Result<BeirDocument, Problem> {
    let wrong = |field: &str, found: Option<&Json>, expected: &str| {
        Problem::new(Code::InvalidFile, "the row does not have BEIR's shape")
            .field(field)
            .found(found.map_or("nothing".to_string(), ToString::to_string))
            .expected(expected)
    };
    let text = |field: &str| match json.get(field) {
        Some(Json::String(text)) => Ok(Some(text.clone())),
        None | Some(Json::Null) => Ok(None),
        other => Err(wrong(field, other, "a string")),
    };
    let id = match json.get("_id") {
        Some(Json::String(id)) if !id.is_empty() => id.clone(),
        Some(Json::Number(id)) if !id.is_f64() => id.to_string(),
        other => return Err(wrong("_id", other, "a string or a whole number")),
    };
    Ok(BeirDocument {
        id,
        title: text("title")?.unwrap_or_default(),
        text: text("text")?.ok_or_else(|| wrong("text", None, "a string"))?,
        metadata: match json.get("metadata") {
            Some(Json::Object(metadata)) => metadata.clone(),
            None | Some(Json::Null) => Map::new(),
            other => return Err(wrong("metadata", other, "an object")),
        },
    })
}
