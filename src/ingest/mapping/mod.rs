//! What becomes of the columns of a file: renamed, left out, read as another type, put
//! together; and which column says what is to be done with a row.
//!
//! ```toml
//! drop = ["internal"]         # left out
//! operation = "op"            # insert, update, upsert or delete
//! where = "year >= 2020"      # other rows are not looked at
//!
//! [columns]                   # COLUMN = "FIELD", nothing else about it
//! headline = "title"
//!
//! [fields.id]                 # made of several columns
//! template = "{shop}/{number}"
//! required = true
//!
//! [fields.year]               # out of a struct, and read as something else
//! column = "published.year"
//! type = "integer"
//! default = 0
//! ```
//!
//! Columns that are not named become fields of their own names, unless `rest = false`. What
//! a `column` names is the field's, and no field of its own name any more; what a template
//! uses still is.

mod field;
mod filter;
mod operation;

use std::path::Path;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use field::{Compiled, root};
pub use field::{FieldSource, Names, ReadAs};
pub(super) use filter::Extent;
pub use filter::RowFilter;
pub(super) use operation::operation_of;

use crate::error::{Code, Error, Problem};

/// How the columns of a file become fields: see the module. Leaving out comes first and goes
/// by the column's name; a field that asks for such a column by name still gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Columns to leave out. Parquet and Arrow readers do not even decode them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// The column that says what is to be done with a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Which rows are loaded, by their columns; the others are passed over.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<RowFilter>,
    /// Whether columns that are not named become fields of their own names.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub rest: bool,
    /// Column of the file -> field of the index.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub columns: IndexMap<String, String>,
    /// Fields that are more than a column under another name.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, FieldSource>,
}

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            columns: IndexMap::new(),
            drop: Vec::new(),
            fields: IndexMap::new(),
            operation: None,
            filter: None,
            rest: true,
        }
    }
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// [`Code::InvalidConfiguration`] with the place and what is wrong there; an operator's
    /// error where the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Mapping, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::operator_from(format!("cannot read the mapping {}", path.display()), error)
        })?;
        let mapping = Mapping::from_toml(&text).map_err(|mut problem| {
            problem.message = format!("{}: {}", path.display(), problem.message);
            problem
        })?;
        Ok(mapping)
    }

    /// The same from its text.
    ///
    /// # Errors
    /// [`Code::InvalidConfiguration`].
    pub fn from_toml(text: &str) -> Result<Mapping, Problem> {
        let mapping: Mapping = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text
                    .bytes()
                    .take(span.start)
                    .filter(|&b| b == b'\n')
                    .count()
            });
            Problem::new(Code::InvalidConfiguration, "this is not a mapping")
                .field("mapping")
                .found(format!("{}, in line {line}", error.message()))
                .expected("columns, drop, fields, operation, where and rest")
        })?;
        mapping.check()?;
        Ok(mapping)
    }

    /// Whether it says what can be done.
    ///
    /// # Errors
    /// [`Code::InvalidConfiguration`] with the field.
    pub fn check(&self) -> Result<(), Problem> {
        self.compiled()?;
        for (i, field) in self.columns.values().enumerate() {
            let again = self
                .columns
                .values()
                .skip(i + 1)
                .any(|other| other == field);
            if again || self.fields.contains_key(field) {
                return Err(configuration(field, "each field from one column"));
            }
        }
        Ok(())
    }

    fn compiled(&self) -> Result<Vec<Compiled>, Problem> {
        let fields = self.fields.iter();
        fields
            .map(|(name, source)| Compiled::new(name, source))
            .collect()
    }

    /// Whether readers can carry it out by naming and leaving out columns.
    pub(super) fn is_plain(&self) -> bool {
        self.fields.is_empty() && self.operation.is_none() && self.filter.is_none() && self.rest
    }

    /// Adds a rename as the command line spells it, `COLUMN=FIELD`.
    ///
    /// # Errors
    /// [`Code::InvalidConfiguration`] if it is not of that shape, or if the column or
    /// the field has been named before.
    pub fn add(&mut self, rename: &str) -> Result<(), Error> {
        // A field's name never holds an equals sign, a column's may.
        let (column, field) = rename
            .rsplit_once('=')
            .filter(|(column, field)| !column.is_empty() && !field.is_empty())
            .ok_or_else(|| configuration(rename, "COLUMN=FIELD, such as title=headline"))?;
        if self.columns.values().any(|known| known == field) {
            return Err(configuration(rename, "each field from one column").into());
        }
        if self.columns.contains_key(column) {
            return Err(configuration(rename, "each column into one field").into());
        }
        self.columns.insert(column.to_string(), field.to_string());
        Ok(())
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.drop.is_empty() && self.is_plain()
    }

    /// The field that a column becomes; None if it is left out.
    pub fn field<'a>(&'a self, column: &'a str) -> Option<&'a str> {
        if self.drop.iter().any(|dropped| dropped == column) {
            return None;
        }
        Some(self.columns.get(column).map_or(column, String::as_str))
    }

    /// The field that a column becomes, by itself or as one that is read otherwise; None where
    /// it is left out.
    pub(super) fn becomes<'a>(&'a self, column: &'a str) -> Option<&'a str> {
        let takes = |(_, source): &(&String, &FieldSource)| {
            let names = source.column.as_slice().iter();
            names.clone().any(|path| is_within(path, column))
        };
        match self.fields.iter().find(takes) {
            Some((field, _)) => Some(field),
            None if self.rest || self.columns.contains_key(column) => self.field(column),
            None => None,
        }
    }

    /// Whether rows with these columns have a value for a field.
    pub(super) fn makes<'a>(
        &'a self,
        field: &str,
        mut columns: impl Iterator<Item = &'a str>,
    ) -> bool {
        self.fields.contains_key(field)
            || columns.any(|column| {
                let becomes = self.becomes(column);
                becomes.is_some_and(|becomes| is_within(field, becomes))
            })
    }

    /// The fields of a file with these columns, in order; None where left out. Where it is
    /// not plain, the columns that rows are made of, under their own names.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] if a renamed column is missing (a misspelling, most often)
    /// or two columns end under one name.
    pub(super) fn header(&self, columns: &[String]) -> Result<Vec<Option<String>>, Problem> {
        if let Some(missing) = self.columns.keys().find(|name| !columns.contains(*name)) {
            return Err(is_missing(
                missing,
                columns,
                "a column to rename is not in the file",
            ));
        }
        if !self.is_plain() {
            return self.needed(columns);
        }
        let mut fields: Vec<Option<String>> = Vec::with_capacity(columns.len());
        for column in columns {
            let field = self.field(column).map(str::to_string);
            if field.is_some() && fields.contains(&field) {
                return Err(
                    Problem::new(Code::InvalidFile, "two columns have the same name")
                        .field(column)
                        .found(columns.join(", "))
                        .expected("columns of different names"),
                );
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn needed(&self, columns: &[String]) -> Result<Vec<Option<String>>, Problem> {
        let mut needed = vec![false; columns.len()];
        let compiled = self.compiled()?;
        for field in &compiled {
            let mut any = false;
            let mut last = None;
            for path in field.columns() {
                match root(columns, path) {
                    Some(found) => {
                        any = true;
                        let is = columns.iter().position(|column| column == found);
                        needed[is.unwrap_or_default()] = true;
                    }
                    None => last = Some(path),
                }
            }
            // Of several columns one is enough; a template needs all.
            let lacks = if field.takes() { !any } else { last.is_some() };
            if let (Some(missing), true, false) = (last, lacks, field.is_optional()) {
                let message = format!(
                    "a column of the field {:?} is not in the file",
                    field.field()
                );
                return Err(is_missing(missing, columns, &message));
            }
        }
        if let Some(operation) = &self.operation {
            match columns.iter().position(|column| column == operation) {
                Some(found) => needed[found] = true,
                None => {
                    let message = "the column of operations is not in the file";
                    return Err(is_missing(operation, columns, message));
                }
            }
        }
        for path in self.filter.iter().flat_map(RowFilter::columns) {
            match root(columns, path) {
                Some(found) => {
                    let is = columns.iter().position(|column| column == found);
                    needed[is.unwrap_or_default()] = true;
                }
                None => {
                    let message = "a column that rows are chosen by is not in the file";
                    return Err(is_missing(path, columns, message));
                }
            }
        }
        let taken = taken(&compiled);
        let is_kept = |column: &String| {
            self.field(column).is_some()
                && (self.columns.contains_key(column)
                    || self.rest && !taken.iter().any(|path| is_within(path, column)))
        };
        let mut names: Vec<Option<String>> = Vec::with_capacity(columns.len());
        for (column, needed) in columns.iter().zip(needed) {
            let name = (needed || is_kept(column)).then(|| column.clone());
            if name.is_some() && names.contains(&name) {
                return Err(
                    Problem::new(Code::InvalidFile, "two columns have the same name")
                        .field(column)
                        .found(columns.join(", "))
                        .expected("columns of different names"),
                );
            }
            names.push(name);
        }
        Ok(names)
    }
}

/// A mapping that is ready for rows.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    mapping: Mapping,
    fields: Vec<Compiled>,
    /// Paths that belong to a field.
    taken: Vec<String>,
}

impl Applied {
    pub(super) fn new(mapping: &Mapping) -> Result<Applied, Problem> {
        let fields = mapping.compiled()?;
        Ok(Applied {
            mapping: mapping.clone(),
            taken: taken(&fields).into_iter().map(str::to_string).collect(),
            fields,
        })
    }

    /// The column of operations.
    pub(super) fn operation(&self) -> Option<&str> {
        self.mapping.operation.as_deref()
    }

    /// The field that a column becomes by itself.
    pub(super) fn field<'a>(&'a self, column: &'a str) -> Option<&'a str> {
        self.mapping.field(column)
    }

    /// Whether a row is to be loaded.
    pub(super) fn wants(&self, object: &Map<String, Json>) -> bool {
        let filter = self.mapping.filter.as_ref();
        filter.is_none_or(|filter| filter.matches(object))
    }

    /// The fields of a row.
    pub(super) fn apply(&self, object: Map<String, Json>) -> Result<Map<String, Json>, Problem> {
        let mut made = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            if let Some(value) = field.value(&object)? {
                made.push((field.field(), value));
            }
        }
        let mut mapped = Map::with_capacity(object.len() + made.len());
        let mut put = |column: &str, field: &str, value: Json| match mapped
            .insert(field.to_string(), value)
        {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                Code::InvalidDocument,
                "two columns of the row end under the same name",
            )
            .field(column)
            .found(field)
            .expected("different names, or one of the columns left out")),
        };
        for (column, value) in object {
            let Some(field) = self.mapping.field(&column) else {
                continue;
            };
            let is_named = self.mapping.columns.contains_key(&column);
            let is_taken = self.taken.iter().any(|path| is_within(path, &column));
            let is_operation = self.operation() == Some(column.as_str());
            if is_named || self.mapping.rest && !is_taken && !is_operation {
                put(&column, field, value)?;
            }
        }
        for (field, value) in made {
            put(field, field, value)?;
        }
        Ok(mapped)
    }
}

/// The paths that fields take for themselves.
fn taken(fields: &[Compiled]) -> Vec<&str> {
    let takers = fields.iter().filter(|field| field.takes());
    takers.flat_map(Compiled::columns).collect()
}

/// Whether a path is a column or leads into it.
pub(super) fn is_within(path: &str, column: &str) -> bool {
    let rest = path.strip_prefix(column);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_missing(column: &str, columns: &[String], message: &str) -> Problem {
    let alike = |other: &&String| strsim::normalized_damerau_levenshtein(column, other);
    let nearest = columns
        .iter()
        .max_by(|one, other| alike(one).total_cmp(&alike(other)))
        .filter(|nearest| alike(nearest) >= 0.5);
    Problem::new(Code::InvalidFile, message)
        .field(column)
        .found(columns.join(", "))
        .expected(match nearest {
            Some(nearest) => format!("a column named {column}; is {nearest} meant?"),
            None => format!("a column named {column}"),
        })
}

fn configuration(found: &str, expected: &str) -> Problem {
    Problem::new(Code::InvalidConfiguration, "a column cannot be renamed so")
        .field("map")
        .found(found)
        .expected(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_are_checked() {
        let mut mapping = Mapping::default();
        assert!(mapping.is_empty());
        mapping.add("headline=title").unwrap();
        assert!(mapping.add("x=title").is_err());
        assert!(mapping.add("headline=x").is_err());
        assert!(mapping.add("title").is_err());
        assert!(mapping.add("=title").is_err());
        mapping.add("a=b=c").unwrap();
        assert_eq!(mapping.field("a=b"), Some("c"));
        mapping.drop.push("id".into());
        assert_eq!(mapping.field("id"), None);
        assert_eq!(mapping.field("headline"), Some("title"));
        assert_eq!(mapping.field("other"), Some("other"));
    }

    #[test]
    fn a_collision_is_a_problem_and_a_dropped_one_is_not() {
        let columns = ["title".to_string(), "headline".to_string()];
        let mut mapping = Mapping::default();
        mapping.add("headline=title").unwrap();
        assert!(mapping.header(&columns).is_err());
        assert!(
            mapping.header(&columns[..1]).is_err(),
            "headline is missing"
        );
        mapping.drop.push("title".into());
        assert_eq!(
            mapping.header(&columns).unwrap(),
            vec![None, Some("title".to_string())]
        );
    }
}
