//! An index that knows what it said, so that a test can tell that nothing was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gleaner::error::{Error, Problem};
use gleaner::index::{Definition, Index, Stats};
use gleaner::ingest::{Progress, Reject, SourceOptions, Summary, load_files};
use serde_json::{Value, json};

use super::world::{World, ask, both, words, write};

pub const SHOP: &str = r#"
name = "shop"
[fields.title]
type = "text"
required = true
[fields.kind]
type = "keyword"
[fields.tags]
type = "keyword"
many = true
[fields.stars]
type = "integer"
[fields.price]
type = "float"
[fields.day]
type = "date"
[fields.open]
type = "boolean"
[embedding]
vector_field = "vector"
dimensions = 3
"#;

pub fn good(id: &str) -> Value {
    json!({"id": id, "title": format!("light {id}"), "kind": "lamp", "stars": 3,
           "vector": [1.0, 0.5, 0.0]})
}

/// An index with three documents, and what it says as long as nothing is lost.
pub struct Shop {
    pub world: World,
    pub index: Arc<Index>,
    pub before: Kept,
}

#[derive(Debug, PartialEq)]
pub struct Kept {
    pub stats: Stats,
    pub answers: Vec<Value>,
    pub documents: Vec<Value>,
}

impl Shop {
    pub fn new() -> Shop {
        let world = World::new();
        let index = world
            .catalog
            .create(Definition::from_toml(SHOP).unwrap())
            .unwrap();
        write(&index, ["a", "b", "c"].map(good).to_vec()).unwrap();
        index.refresh().unwrap();
        let before = kept(&index);
        Shop {
            world,
            index,
            before,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.world.folder.path().join(name)
    }

    /// Loads a file; what happened, and the rows that were rejected.
    pub fn load(&self, file: &Path) -> (Result<Summary, Error>, Vec<Reject>) {
        let rejects = self.path("rejects.jsonl");
        let _ = fs::remove_file(&rejects);
        let progress = Progress::new();
        let loaded = load_files(
            &self.index,
            &[file.to_path_buf()],
            &SourceOptions {
                max_row_bytes: 20 << 20,
                ..SourceOptions::default()
            },
            &self.world.config.ingest,
            &rejects,
            &progress,
        );
        let text = fs::read_to_string(&rejects).unwrap_or_default();
        let rows = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (loaded.map(|_| progress.summary()), rows.collect())
    }

    pub fn is_as_before(&self, what: &str) {
        self.index.refresh().unwrap();
        assert_eq!(kept(&self.index), self.before, "{what}");
    }
}

pub fn kept(index: &Index) -> Kept {
    let mut filtered = both("light");
    filtered.filter = Some("stars = 3 AND kind = lamp".into());
    let answers = [words("light"), both("light c"), filtered].map(|mut request| {
        request.explain = true;
        let mut answer = serde_json::to_value(ask(index, &request)).unwrap();
        answer.as_object_mut().unwrap().remove("timings");
        answer
    });
    Kept {
        stats: index.stats(),
        answers: answers.into(),
        documents: ["a", "b", "c"]
            .map(|id| Value::Object(index.get(id).unwrap()))
            .into(),
    }
}

pub fn problem(error: Error) -> Problem {
    match error {
        Error::User(problem) => *problem,
        other => panic!("not the caller's: {other}"),
    }
}
