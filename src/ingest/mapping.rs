//! Columns renamed and left out on the way in.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::{Code, Error, Problem};

/// How the columns of a file become fields: some renamed, some left out, the others
/// under their own name. Leaving out comes first and goes by the column's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// Column of the file -> field of the index.
    pub columns: IndexMap<String, String>,
    /// Columns to leave out. A Parquet reader does not even decode them.
    pub drop: Vec<String>,
}

impl Mapping {
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
            return Err(configuration(rename, "each field from one column"));
        }
        if self.columns.contains_key(column) {
            return Err(configuration(rename, "each column into one field"));
        }
        self.columns.insert(column.to_string(), field.to_string());
        Ok(())
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.drop.is_empty()
    }

    /// The field that a column becomes; None if it is left out.
    pub fn field<'a>(&'a self, column: &'a str) -> Option<&'a str> {
        if self.drop.iter().any(|dropped| dropped == column) {
            return None;
        }
        Some(self.columns.get(column).map_or(column, String::as_str))
    }

    /// The fields of a file with these columns, in order; None where left out.
    ///
    /// # Errors
    /// [`Code::InvalidFile`] if a renamed column is missing (a misspelling, most often)
    /// or two columns end under one name.
    pub(super) fn header(&self, columns: &[String]) -> Result<Vec<Option<String>>, Problem> {
        if let Some(missing) = self.columns.keys().find(|name| !columns.contains(*name)) {
            return Err(
                Problem::new(Code::InvalidFile, "a column to rename is not in the file")
                    .field(missing)
                    .found(columns.join(", "))
                    .expected(format!("a column named {missing}")),
            );
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

    /// The same for one object, whose keys are only known now.
    pub(super) fn apply(&self, object: Map<String, Json>) -> Result<Map<String, Json>, Problem> {
        let mut mapped = Map::with_capacity(object.len());
        for (column, value) in object {
            let Some(field) = self.field(&column) else {
                continue;
            };
            if mapped.insert(field.to_string(), value).is_some() {
                return Err(Problem::new(
                    Code::InvalidDocument,
                    "two columns of the row end under the same name",
                )
                .field(column.as_str())
                .found(field)
                .expected("different names, or one of the columns left out"));
            }
        }
        Ok(mapped)
    }
}

fn configuration(found: &str, expected: &str) -> Error {
    Problem::new(Code::InvalidConfiguration, "a column cannot be renamed so")
        .field("map")
        .found(found)
        .expected(expected)
        .into()
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
