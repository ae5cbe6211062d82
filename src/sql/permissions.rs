//! Who may see which tables of a database.
//!
//! The promise: what a caller may not see is in nothing that is answered to that caller, because
//! answers are made of a database that does not have it: not its name, columns, keys, joins,
//! values or examples, and nothing that was counted or compared with it. A database that has
//! permissions is open to nobody whom they do not name.
//!
//! Who calls is what the application in front says; nobody checks it here.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::Patterns;
use super::{Database, Descriptions, Entry};
use crate::error::{Code, Error, Problem, Result};

/// Most callers of a database, patterns of each, and bytes of a pattern or a name.
const MOST_CALLERS: usize = 10_000;
const MOST_PATTERNS: usize = 1_000;
const LONGEST: usize = 1_024;

/// Callers of a database, by the names that requests give them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    pub callers: BTreeMap<String, Access>,
}

/// The tables that a caller may see: those that `allow` names and `deny` does not. Patterns are
/// compared whatever the case; `*` stands for any characters, `?` for one, `[ab]` for one of some
/// and `{a,b}` for one of several texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub allow: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

impl Permissions {
    /// Checks names and patterns.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded with the field.
    pub fn check(&self) -> Result<(), Problem> {
        let most = |field: String, found: usize, most: usize| match found > most {
            false => Ok(()),
            true => Err(Problem::new(Code::LimitExceeded, "there are too many")
                .field(field)
                .found(found)
                .expected(format!("at most {most}"))),
        };
        most("callers".into(), self.callers.len(), MOST_CALLERS)?;
        for (name, access) in &self.callers {
            if name.trim().is_empty() || name.len() > LONGEST {
                return Err(
                    Problem::new(Code::InvalidRequest, "a caller's name cannot be used")
                        .field("callers")
                        .found(name)
                        .expected(format!("1 to {LONGEST} bytes")),
                );
            }
            for (list, patterns) in [("allow", &access.allow), ("deny", &access.deny)] {
                let field = format!("callers.{name}.{list}");
                most(field.clone(), patterns.len(), MOST_PATTERNS)?;
                Patterns::new(patterns).map_err(|e| {
                    Problem::new(Code::InvalidRequest, "a pattern cannot be read")
                        .field(field)
                        .found(e)
                        .expected("a name of tables in which * stands for any characters")
                })?;
            }
        }
        Ok(())
    }

    /// What a caller may see.
    ///
    /// # Errors
    /// `caller_not_permitted` for none and for one that is not named.
    pub(super) fn of(&self, database: &str, caller: Option<&str>) -> Result<&Access, Problem> {
        let access = caller.and_then(|caller| self.callers.get(caller));
        access.ok_or_else(|| not_permitted(database, caller))
    }
}

impl Access {
    /// Patterns, of both lists, that no table of the database has.
    pub fn idle<'p>(&'p self, database: &Database) -> Vec<&'p str> {
        let none = |pattern: &&String| {
            let pattern = Patterns::new(std::slice::from_ref(*pattern));
            let mut tables = database.tables.iter();
            pattern.is_ok_and(|pattern| !tables.any(|table| pattern.matches(&table.name)))
        };
        let all = self.allow.iter().chain(&self.deny);
        all.filter(none).map(String::as_str).collect()
    }

    /// Names of the tables that may be seen.
    ///
    /// # Errors
    /// A bug for patterns that were not checked.
    pub(super) fn tables<'d>(&self, database: &'d Database) -> Result<BTreeSet<&'d str>> {
        let unchecked = |e: String| Error::Bug(format!("a pattern was not checked: {e}"));
        let allow = Patterns::new(&self.allow).map_err(unchecked)?;
        let deny = Patterns::new(&self.deny).map_err(unchecked)?;
        let sees = |table: &str| allow.matches(table) && !deny.matches(table);
        let tables = database.tables.iter().map(|table| table.name.as_str());
        Ok(tables.filter(|&table| sees(table)).collect())
    }
}

/// A database, and what was written about it, with these tables alone.
pub(super) fn restrict(entry: &Entry, tables: &BTreeSet<&str>) -> (Database, Descriptions) {
    let whole = &entry.database;
    let sees = |table: &String| tables.contains(table.as_str());
    let kept = whole.tables.iter().filter(|table| sees(&table.name));
    let keys = whole.foreign_keys.iter();
    let database = Database {
        name: whole.name.clone(),
        dialect: whole.dialect,
        description: whole.description.clone(),
        tables: kept.cloned().collect(),
        foreign_keys: keys
            .filter(|key| sees(&key.table) && sees(&key.to_table))
            .cloned()
            .collect(),
    };
    let mut written = entry.written.clone();
    // Written names may be spelt otherwise than the tables'; what they are about decides.
    written
        .tables
        .retain(|name, _| whole.table(name).is_some_and(|table| sees(&table.name)));
    (database, written)
}

/// A caller who may see nothing, or is not known.
pub(super) fn not_permitted(database: &str, caller: Option<&str>) -> Problem {
    let (message, found) = match caller {
        None => ("the database is open to named callers only", ""),
        Some(caller) => ("the caller may see no table of the database", caller),
    };
    let problem = Problem::new(Code::CallerNotPermitted, message)
        .field("caller")
        .expected(format!(
            "a caller whom the permissions of {database} let see tables"
        ));
    match found {
        "" => problem,
        found => problem.found(found),
    }
}
