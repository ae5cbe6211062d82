//! Stored examples: questions about a database with the SQL that answers them.
//!
//! The promise: an example that was answered for is on the disk; a question is there once; its SQL
//! could be read and names tables that the database had when it was stored. Examples outlive an
//! import, and nothing of the database outlives its removal.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::catalog::{Stamp, read_whole, stamp, write_whole};
use super::link::MOST_QUESTION_BYTES;
use super::{Database, Entry, Schemas, gold};
use crate::error::{Code, Error, Problem, Result};

/// Most examples of a database: they are read into memory, with a vector each.
pub const MOST_EXAMPLES: usize = 10_000;

/// A question with its SQL, to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExample {
    /// 1 to 16,384 bytes.
    pub question: String,
    /// One query, 1 to 16,384 bytes, that uses tables and columns of the database.
    #[serde(alias = "query", alias = "SQL")]
    pub sql: String,
}

/// A stored question with its SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Example {
    /// The same for the same question, whatever its case, spaces and marks at its end.
    pub id: String,
    pub question: String,
    pub sql: String,
    /// Tables that the SQL uses.
    pub tables: Vec<String>,
    /// The database does not have these tables any more: it is shown to nobody who asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// What storing has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExamplesAdded {
    /// Ids, in the order of the request.
    pub ids: Vec<String>,
    /// Questions that are new, and those that were there and have new SQL or the same.
    pub added: usize,
    pub replaced: usize,
    /// All that there are now.
    pub total: usize,
}

impl NewExample {
    /// Whether it can be stored for a database.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded, with the field.
    pub fn fits(&self, database: &Database) -> Result<(), Problem> {
        self.check(database, "").map(|_| ())
    }

    /// The example that it makes of a database.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded, with the field below `at`.
    fn check(&self, database: &Database, at: &str) -> Result<Example, Problem> {
        for (field, text) in [("question", &self.question), ("sql", &self.sql)] {
            let field = format!("{at}{field}");
            if text.trim().is_empty() {
                return Err(Problem::new(Code::InvalidRequest, "the text is empty")
                    .field(field)
                    .expected("some words"));
            }
            if text.len() > MOST_QUESTION_BYTES {
                return Err(Problem::new(Code::LimitExceeded, "the text is too long")
                    .field(field)
                    .found(format!("{} bytes", text.len()))
                    .expected(format!("at most {MOST_QUESTION_BYTES} bytes")));
            }
        }
        let used = gold(&self.sql, database).map_err(|unread| {
            let message = format!("the SQL cannot be an example: {unread}");
            Problem::new(Code::InvalidRequest, message)
                .field(format!("{at}sql"))
                .found(&self.sql)
                .expected("one query over tables and columns of the database")
        })?;
        Ok(Example {
            id: question_id(&self.question),
            question: self.question.trim().to_string(),
            sql: self.sql.trim().to_string(),
            tables: used.tables.into_iter().collect(),
            stale: false,
        })
    }
}

/// What tells a question from others.
pub(super) fn question_id(question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    let text = words.join(" ").to_lowercase();
    let text = text.trim_end_matches(|c: char| c.is_ascii_punctuation() || c == ' ');
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

impl Entry {
    /// Stored questions that use what may be seen, in the order in which they came.
    ///
    /// # Errors
    /// An operator's error where they cannot be read.
    pub fn examples(&self) -> Result<Vec<Example>> {
        let stored: Option<Vec<Example>> = read_whole(&self.beside.examples())?;
        let mut examples = stored.unwrap_or_default();
        for example in &mut examples {
            let there = |name: &String| self.database.tables.iter().any(|t| t.name == *name);
            example.stale = !example.tables.iter().all(there);
        }
        if self.restricted {
            // Gone or not to be seen: a caller cannot tell.
            examples.retain(|example| !example.stale);
        }
        Ok(examples)
    }
}

impl Entry {
    /// What tells one state of the stored questions from the next; None where there are none.
    pub(super) fn examples_stamp(&self) -> Result<Option<Stamp>> {
        let path = self.beside.examples();
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::operator_from(
                format!("cannot read {}", path.display()),
                e,
            )),
            Ok(metadata) => Ok(Some(stamp(&metadata))),
        }
    }
}

impl Schemas {
    /// Stores examples, all or none; one of a question that is there takes its place. `entry` is
    /// the database as the caller may see it.
    ///
    /// # Errors
    /// `database_not_found`; InvalidRequest or LimitExceeded with the field; an operator's error
    /// where they cannot be written.
    pub fn add_examples(&self, entry: &Entry, new: &[NewExample]) -> Result<ExamplesAdded> {
        let mut checked = Vec::with_capacity(new.len());
        for (n, example) in new.iter().enumerate() {
            let at = match new.len() {
                1 => String::new(),
                _ => format!("examples[{n}]."),
            };
            checked.push(example.check(&entry.database, &at)?);
        }
        let name = &entry.database.name;
        self.change_examples(name, |examples| {
            let mut added = ExamplesAdded::default();
            let mut places: HashMap<String, usize> = HashMap::new();
            for (n, example) in examples.iter().enumerate() {
                places.insert(example.id.clone(), n);
            }
            for example in checked {
                added.ids.push(example.id.clone());
                if let Some(place) = places.get(&example.id) {
                    added.replaced += 1;
                    examples[*place] = example;
                } else {
                    added.added += 1;
                    places.insert(example.id.clone(), examples.len());
                    examples.push(example);
                }
            }
            added.total = examples.len();
            if examples.len() > MOST_EXAMPLES {
                return Err(Problem::new(
                    Code::LimitExceeded,
                    "the database has too many examples",
                )
                .field("examples")
                .found(examples.len())
                .expected(format!("at most {MOST_EXAMPLES}"))
                .into());
            }
            Ok(added)
        })
    }

    /// Removes an example of those that the caller may see.
    ///
    /// # Errors
    /// `database_not_found`; `example_not_found`; an operator's error where it cannot be written.
    pub fn remove_example(&self, entry: &Entry, id: &str) -> Result<()> {
        let not_found = || {
            Problem::new(Code::ExampleNotFound, "there is no example of this id")
                .field("id")
                .found(id)
                .expected("one that gleaner schema examples list names")
        };
        if !entry.examples()?.iter().any(|example| example.id == id) {
            return Err(not_found().into());
        }
        self.change_examples(&entry.database.name, |examples| {
            let place = examples.iter().position(|example| example.id == id);
            examples.remove(place.ok_or_else(not_found)?);
            Ok(())
        })
    }

    fn change_examples<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<Example>) -> Result<T>,
    ) -> Result<T> {
        let _lock = self.lock()?;
        // As it is now: the database may have been removed and imported since.
        let path = self.get(name)?.beside.examples();
        let stored: Option<Vec<Example>> = read_whole(&path)?;
        let mut examples = stored.unwrap_or_default();
        let changed = change(&mut examples)?;
        write_whole(&path, &examples)?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Cells, Dialect, import::ddl};

    fn database(text: &str) -> Database {
        ddl("shop", text, Dialect::Sqlite).unwrap().database
    }

    const TEXT: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT); CREATE TABLE b (y INT);";

    fn example(question: &str, sql: &str) -> NewExample {
        NewExample {
            question: question.into(),
            sql: sql.into(),
        }
    }

    #[test]
    fn a_question_is_there_once_and_outlives_an_import() {
        let folder = tempfile::tempdir().unwrap();
        let schemas = Schemas::new(folder.path());
        let none = Cells::default();
        schemas.put(database(TEXT), &none, "").unwrap();
        let entry = schemas.get("shop").unwrap();
        assert!(entry.examples().unwrap().is_empty());
        let first = example("How many x?", "SELECT count(x) FROM a");
        let both = [first.clone(), example("All y", "SELECT y FROM B;")];
        let added = schemas.add_examples(&entry, &both).unwrap();
        assert_eq!((added.added, added.replaced, added.total), (2, 0, 2));
        let again = example(" how  many X ", "SELECT count(*) FROM a");
        let replaced = schemas.add_examples(&entry, &[again]).unwrap();
        assert_eq!(
            (replaced.added, replaced.replaced, replaced.total),
            (0, 1, 2)
        );
        assert_eq!(replaced.ids[0], added.ids[0]);

        schemas.put(database(TEXT), &none, "").unwrap();
        let found = schemas.get("shop").unwrap().examples().unwrap();
        assert_eq!(found[0].sql, "SELECT count(*) FROM a");
        assert_eq!(found[1].tables, ["b"]);
        // A table goes and comes back.
        schemas
            .put(database("CREATE TABLE a (x INT)"), &none, "")
            .unwrap();
        let found = schemas.get("shop").unwrap().examples().unwrap();
        assert_eq!(
            found.iter().map(|e| e.stale).collect::<Vec<_>>(),
            [false, true]
        );

        let entry = schemas.get("shop").unwrap();
        schemas.remove_example(&entry, &added.ids[1]).unwrap();
        let gone = schemas.remove_example(&entry, &added.ids[1]).unwrap_err();
        assert_eq!(gone.problem().unwrap().code, Code::ExampleNotFound);

        // Another database of the name has none of it.
        schemas.remove("shop").unwrap();
        schemas.put(database(TEXT), &none, "").unwrap();
        assert!(schemas.get("shop").unwrap().examples().unwrap().is_empty());
        let files = std::fs::read_dir(folder.path().join("schemas")).unwrap();
        assert_eq!(files.count(), 2, "a lock and a database");
    }

    #[test]
    fn what_is_no_example_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let schemas = Schemas::new(folder.path());
        schemas.put(database(TEXT), &Cells::default(), "").unwrap();
        let entry = schemas.get("shop").unwrap();
        let good = example("q", "SELECT x FROM a");
        for (bad, code, field) in [
            (
                example("", "SELECT x FROM a"),
                Code::InvalidRequest,
                "question",
            ),
            (example("q", " "), Code::InvalidRequest, "sql"),
            (
                example("q", "SELECT x FROM nowhere"),
                Code::InvalidRequest,
                "sql",
            ),
            (example("q", "SELECT z FROM a"), Code::InvalidRequest, "sql"),
            (example("q", "DROP TABLE a"), Code::InvalidRequest, "sql"),
            (
                example("q", "SELECT FROM WHERE"),
                Code::InvalidRequest,
                "sql",
            ),
            (
                example("q", &"x".repeat(20_000)),
                Code::LimitExceeded,
                "sql",
            ),
        ] {
            let error = schemas
                .add_examples(&entry, std::slice::from_ref(&bad))
                .unwrap_err();
            let problem = error.problem().unwrap();
            assert_eq!(
                (problem.code, problem.field.as_deref()),
                (code, Some(field)),
                "{bad:?}"
            );
            let error = schemas
                .add_examples(&entry, &[good.clone(), bad])
                .unwrap_err();
            let at = error.problem().unwrap().field.clone().unwrap();
            assert_eq!(at, format!("examples[1].{field}"));
        }
        assert!(entry.examples().unwrap().is_empty());
    }
}
