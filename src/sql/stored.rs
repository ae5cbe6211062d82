//! Stored examples: questions about a database with the SQL that answers them.
//!
//! The promise: an example that was answered for is on the disk; a question is there once; its SQL
//! could be read and names tables that the database had when it was stored. Examples outlive an
//! import, and nothing of the database outlives its removal.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::catalog::{Stamp, read_whole, stamp, write_whole};
use super::link::MOST_QUESTION_BYTES;
use super::{Database, Entry, Schemas, Table, gold};
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
    /// The same for the same question, whatever its case, spaces and marks at its end, and for
    /// the same sight of the database.
    pub id: String,
    pub question: String,
    pub sql: String,
    /// Tables that the SQL uses.
    pub tables: Vec<String>,
    /// Columns of them that it uses, as `table.column`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The database does not have these tables or columns any more: it is shown to nobody who asks.
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
        self.check(database, "", question_id(&self.question))
            .map(|_| ())
    }

    /// The example that it makes of a database.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded, with the field below `at`.
    fn check(&self, database: &Database, at: &str, id: String) -> Result<Example, Problem> {
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
            id,
            question: self.question.trim().to_string(),
            sql: self.sql.trim().to_string(),
            columns: used
                .columns
                .iter()
                .map(|(table, column)| format!("{table}.{column}"))
                .collect(),
            tables: used.tables.into_iter().collect(),
            stale: false,
        })
    }
}

/// Tables and columns of a database, to look examples up in.
struct Uses<'d> {
    tables: HashMap<&'d str, HashSet<&'d str>>,
}

impl<'d> Uses<'d> {
    fn of(database: &'d Database) -> Uses<'d> {
        let columns = |table: &'d Table| table.columns.iter().map(|c| c.name.as_str()).collect();
        let tables = database.tables.iter();
        Uses {
            tables: tables.map(|t| (t.name.as_str(), columns(t))).collect(),
        }
    }

    /// Whether all that an example uses is there.
    fn all_of(&self, example: &Example) -> bool {
        let column = |column: &String| {
            // A table's name may have points of its own.
            let mut places = column.match_indices('.');
            places.any(|(n, _)| {
                let table = self.tables.get(&column[..n]);
                table.is_some_and(|columns| columns.contains(&column[n + 1..]))
            })
        };
        example
            .tables
            .iter()
            .all(|t| self.tables.contains_key(t.as_str()))
            && example.columns.iter().all(column)
    }
}

/// What tells a question from others.
pub(super) fn question_id(question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    let text = words.join(" ").to_lowercase();
    digest(text.trim_end_matches(|c: char| c.is_ascii_punctuation() || c == ' '))
}

fn digest(text: &str) -> String {
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
        let uses = Uses::of(&self.database);
        for example in &mut examples {
            example.stale = !uses.all_of(example);
        }
        if self.restricted {
            // Gone or not to be seen: a caller cannot tell.
            examples.retain(|example| !example.stale);
        }
        Ok(examples)
    }

    /// The id of a question's example. What a caller may not see has others, so that nobody comes
    /// upon it by asking the same.
    fn example_id(&self, question: &str) -> String {
        let id = question_id(question);
        if !self.restricted {
            return id;
        }
        digest(&format!("{}\0{id}", self.key()))
    }

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
            let id = entry.example_id(&example.question);
            checked.push(example.check(&entry.database, &at, id)?);
        }
        let name = &entry.database.name;
        let uses = Uses::of(&entry.database);
        self.change_examples(name, |examples| {
            let mut added = ExamplesAdded::default();
            // One that the caller may not see is not replaced and not counted.
            let mut places: HashMap<String, usize> = HashMap::new();
            let mut visible = 0;
            for (n, example) in examples.iter().enumerate() {
                if !entry.restricted || uses.all_of(example) {
                    visible += 1;
                    let question = question_id(&example.question);
                    // Of several of one question the one that this caller would store.
                    if example.id == entry.example_id(&example.question)
                        || !places.contains_key(&question)
                    {
                        places.insert(question, n);
                    }
                }
            }
            for example in checked {
                let question = question_id(&example.question);
                if let Some(place) = places.get(&question) {
                    added.replaced += 1;
                    let id = std::mem::take(&mut examples[*place].id);
                    added.ids.push(id.clone());
                    examples[*place] = Example { id, ..example };
                } else {
                    added.added += 1;
                    added.ids.push(example.id.clone());
                    places.insert(question, examples.len());
                    examples.push(example);
                }
            }
            added.total = visible + added.added;
            if examples.len() > MOST_EXAMPLES {
                let problem =
                    Problem::new(Code::LimitExceeded, "the database has too many examples")
                        .field("examples")
                        .expected(format!("at most {MOST_EXAMPLES}"));
                // How many others there are is not for everybody.
                return Err(match entry.restricted {
                    true => problem,
                    false => problem.found(examples.len()),
                }
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
