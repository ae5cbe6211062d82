//! Promise: what is said of a database is encoded once. After a restart nothing is encoded again,
//! after an import only what changed; answers are the same whether vectors were kept or made; and
//! a file of vectors that is damaged or gone costs time, not answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gleaner::model::{Registry, TextEncoder};
use gleaner::sql::{
    Cells, Dialect, Linker, NewExample, RetrieveRequest, Retriever, Schemas, SimilarRequest,
    ValuesRequest, WhichRequest, import,
};
use serde_json::json;

use crate::support::service::Service;
use crate::support::tiny_model::{TinyModel, runtime};

const DDL: &str = "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, country TEXT);
    CREATE TABLE concert (id INTEGER PRIMARY KEY, title TEXT, singer_id INTEGER REFERENCES singer(id));";

struct Catalogue {
    folder: tempfile::TempDir,
    schemas: Schemas,
}

impl Catalogue {
    fn new() -> Catalogue {
        let folder = tempfile::tempdir().unwrap();
        TinyModel::default().write(&folder.path().join("tiny"));
        let schemas = Schemas::new(folder.path());
        let catalogue = Catalogue { folder, schemas };
        catalogue.import(DDL);
        catalogue
    }

    fn import(&self, text: &str) {
        let read = import::ddl("shop", text, Dialect::Sqlite).unwrap();
        let mut cells = Cells::default();
        let countries = ["France", "Iceland"].map(String::from);
        cells.set("singer", "country", countries.to_vec());
        self.schemas.put(read.database, &cells, "").unwrap();
    }

    /// A process that has just started, and what its encoder has been given.
    fn started(&self) -> (Retriever, impl Fn() -> u64 + use<>) {
        let encoder = TextEncoder::open(&self.folder.path().join("tiny"), &runtime()).unwrap();
        let counted = encoder.clone();
        let retriever = Retriever::new(Linker::new(encoder, None).unwrap(), "tiny");
        (retriever, move || counted.counts().texts)
    }

    /// What a question is answered, and how many texts were encoded for it beside the question.
    fn asked(&self) -> (String, u64) {
        let (retriever, texts) = self.started();
        let entry = self.schemas.get("shop").unwrap();
        let request = RetrieveRequest {
            question: "Which singers come from Iceland?".into(),
            strategy: gleaner::sql::Strategy::Retrieval,
            ..RetrieveRequest::default()
        };
        let focus = retriever.retrieve_counted(&entry, &request, None).unwrap();
        (serde_json::to_string(&focus).unwrap(), texts() - 1)
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("schemas")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "vectors"));
        files.sort();
        files
    }
}

#[test]
fn only_what_changed_is_encoded_again() {
    let catalogue = Catalogue::new();
    let (first, all) = catalogue.asked();
    assert_eq!(all, 8, "two tables and six columns, which nobody described");
    assert_eq!(catalogue.asked(), (first.clone(), 0));
    catalogue.import(DDL);
    assert_eq!(catalogue.asked(), (first.clone(), 0));
    // A column more is that column and its table; and going back is its table and no column.
    catalogue.import(&DDL.replace("country TEXT", "country TEXT, age INTEGER"));
    assert_eq!(catalogue.asked().1, 2);
    catalogue.import(DDL);
    assert_eq!(catalogue.asked(), (first, 1));
}

#[test]
fn a_damaged_file_costs_time_and_no_answer() {
    let catalogue = Catalogue::new();
    let (answer, all) = catalogue.asked();
    let [file] = &catalogue.files()[..] else {
        panic!("one file is expected: {:?}", catalogue.files());
    };
    let bytes = std::fs::read(file).unwrap();
    for damaged in [
        Vec::new(),
        bytes[..bytes.len() / 2].to_vec(),
        {
            let mut other = bytes.clone();
            let last = other.len() - 3;
            other[last] ^= 64;
            other
        },
        vec![0xff; 1000],
    ] {
        std::fs::write(file, damaged).unwrap();
        assert_eq!(catalogue.asked(), (answer.clone(), all));
        assert_eq!(catalogue.asked(), (answer.clone(), 0), "it was made anew");
    }
    // Another encoder has other vectors.
    let other = TinyModel {
        seed: 7,
        ..TinyModel::default()
    };
    other.write(&catalogue.folder.path().join("tiny"));
    assert_eq!(catalogue.asked().1, all);
}

#[test]
fn values_questions_and_the_choice_of_databases_are_encoded_once() {
    let catalogue = Catalogue::new();
    let entry = catalogue.schemas.get("shop").unwrap();
    let example = NewExample {
        question: "How many singers are there?".into(),
        sql: "SELECT count(*) FROM singer".into(),
    };
    catalogue.schemas.add_examples(&entry, &[example]).unwrap();
    let registry = Registry::new(Vec::new(), runtime());
    let ask = |what: usize| {
        let (retriever, texts) = catalogue.started();
        let answer = match what {
            0 => {
                let request = WhichRequest {
                    question: "singers".into(),
                    schemas: Some(0),
                    ..WhichRequest::default()
                };
                let entries = [Arc::clone(&entry)];
                let answer = retriever.which(&registry, &entries, &request).unwrap();
                serde_json::to_string(&answer).unwrap()
            }
            1 => {
                let request = ValuesRequest {
                    text: "Iceland".into(),
                    ..ValuesRequest::default()
                };
                serde_json::to_string(&retriever.values(&entry, &request).unwrap()).unwrap()
            }
            _ => {
                let request = SimilarRequest {
                    question: "number of singers".into(),
                    ..SimilarRequest::default()
                };
                serde_json::to_string(&retriever.similar(&entry, &request).unwrap()).unwrap()
            }
        };
        (answer, texts())
    };
    for what in 0..3 {
        let (answer, first) = ask(what);
        assert!(first > 1, "{what}: {first}");
        assert_eq!(ask(what), (answer, 1), "{what}: the question alone");
    }
}

#[test]
fn vectors_go_with_their_database() {
    let catalogue = Catalogue::new();
    catalogue.asked();
    assert_eq!(catalogue.files().len(), 1);
    catalogue.schemas.remove("shop").unwrap();
    assert_eq!(catalogue.files(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_imported_over_rest_is_encoded_before_the_first_question() {
    let models = tempfile::tempdir().unwrap();
    TinyModel::default().write(&models.path().join("tiny"));
    let service = Service::with(|config| {
        config.models.folders = vec![models.path().into()];
        config.schemas.encoder = "tiny".into();
        config.schemas.linker = String::new();
    });
    let answer = service.post("/v1/schemas", &json!({"name": "shop", "ddl": DDL}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    let kept = |folder: &Path| {
        let files = std::fs::read_dir(folder).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".vectors")).count()
    };
    let folder = service.folder().join("data/schemas");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while kept(&folder) == 0 {
        assert!(std::time::Instant::now() < until, "nothing is encoded");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
