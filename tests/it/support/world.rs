//! A data folder of its own for each test, with an index that brings its vectors along,
//! so that no encoder is needed.

use std::path::Path;
use std::sync::Arc;

use gleaner::config::Config;
use gleaner::error::Error;
use gleaner::index::{Catalog, Definition, Encoded, Index, Written};
use gleaner::search::{SearchRequest, SearchResponse, search};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Three dimensions are enough to tell neighbours apart by hand.
pub const DEFINITION: &str = r#"
name = "notes"
[fields.title]
type = "text"
analysis = { language = "english" }
[fields.body]
type = "text"
analysis = { language = "english" }
[fields.section]
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

pub struct World {
    pub folder: TempDir,
    pub config: Config,
    pub catalog: Arc<Catalog>,
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    /// With settings of its own, which it keeps when it is opened again.
    pub fn with(change: impl FnOnce(&mut Config)) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config_in(folder.path());
        change(&mut config);
        World::over(folder, config)
    }

    fn over(folder: TempDir, config: Config) -> World {
        let catalog = Arc::new(Catalog::new(&config).unwrap());
        World {
            folder,
            config,
            catalog,
        }
    }

    /// Closes everything and opens it again, as a restart does.
    pub fn reopen(self) -> World {
        let World {
            folder,
            config,
            catalog,
        } = self;
        drop(catalog);
        World::over(folder, config)
    }

    /// The index of [`DEFINITION`], created where it is not there yet.
    pub fn notes(&self) -> Arc<Index> {
        self.catalog.get("notes").unwrap_or_else(|_| {
            self.catalog
                .create(Definition::from_toml(DEFINITION).unwrap())
                .unwrap()
        })
    }
}

pub fn config_in(folder: &Path) -> Config {
    let mut config = Config::default();
    config.data.folder = folder.join("data");
    config.server.listen = "127.0.0.1:0".into();
    config
}

/// Writes documents without making them visible.
pub fn write(index: &Index, documents: Vec<Value>) -> Result<Vec<Written>, Error> {
    let prepared = documents
        .into_iter()
        .map(|json| index.prepare(json))
        .collect::<Result<Vec<_>, _>>()?;
    let encoded: Vec<Encoded> = index.encode(prepared)?;
    index.write(&encoded)
}

/// Writes documents and makes them visible.
pub fn put(index: &Index, documents: Vec<Value>) {
    write(index, documents).unwrap();
    index.refresh().unwrap();
}

/// A note with a vector at this angle in the first plane.
pub fn note(id: &str, title: &str, degrees: f64) -> Value {
    let radians = degrees.to_radians();
    json!({
        "id": id,
        "title": title,
        "section": if degrees < 45.0 { "near" } else { "far" },
        "stars": degrees as i64,
        "vector": [radians.cos(), radians.sin(), 0.0],
    })
}

/// A search by words and by a vector along the first axis.
pub fn both(query: &str) -> SearchRequest {
    SearchRequest {
        query: Some(query.into()),
        vector: Some(vec![1.0, 0.0, 0.0]),
        ..SearchRequest::default()
    }
}

/// A search by words.
pub fn words(query: &str) -> SearchRequest {
    SearchRequest {
        query: Some(query.into()),
        ..SearchRequest::default()
    }
}

pub fn ask(index: &Index, request: &SearchRequest) -> SearchResponse {
    search(index, request).unwrap()
}

pub fn ids(response: &SearchResponse) -> Vec<&str> {
    response.hits.iter().map(|hit| hit.id.as_str()).collect()
}
