//! A look at a file before it is loaded: which columns seem to be which fields, and what the
//! first documents would be.
//!
//! Nothing is written. What is proposed follows from names, types and lengths in the first
//! rows; where a mapping is given already, that one is shown at work.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use super::coerce::coerce_row;
use super::columns::{Look, Seen, look};
use super::mapping::{FieldSource, Names};
use super::{Format, Input, Mapping, Operation, Position, Row, Source, SourceOptions};
use crate::document::{FieldType, UnknownFields};
use crate::error::{Error, Problem, Result};
use crate::index::{Definition, Index};

/// Documents that are shown.
const SHOWN: usize = 10;
/// How alike two names have to be, from 0 to 1, to be taken for the same.
const ALIKE: f64 = 0.8;
/// Longest list of a document that is shown whole; of a vector its first values do.
const SHOWN_ITEMS: usize = 8;

/// What a load would do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Proposal {
    /// The file that was looked at.
    pub file: String,
    /// Rows that were looked at.
    pub rows: u64,
    /// What is found in each column, and what becomes of it.
    pub columns: Vec<ProposedColumn>,
    /// Fields that every document needs, the id among them, for which there is no column.
    pub missing: Vec<String>,
    /// The mapping, as a file of mappings would have it.
    pub mapping: Mapping,
    /// The first documents.
    pub preview: Vec<Preview>,
}

/// One column of a file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ProposedColumn {
    /// Its name.
    pub column: String,
    /// What is in it.
    pub found: String,
    /// The field it becomes; none where it is left out or only kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Why.
    pub why: String,
}

/// A row as it would be loaded, or the reason why it would not.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// Its number, from 1.
    pub row: u64,
    /// What would be done.
    pub operation: Operation,
    /// The document; long lists are cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Json>,
    /// Why the row would be rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Looks at an input and says how it would be loaded.
///
/// # Errors
/// As [`Source::open`]; operator errors of the model, where the index has one.
pub fn propose(index: &Index, input: &Input, options: &SourceOptions) -> Result<Proposal> {
    let definition = index.definition();
    // Columns that are left out are not even looked at: one that cannot be read would hide the
    // others of its rows.
    let only_left_out = Mapping {
        drop: options.mapping.drop.clone(),
        ..Mapping::default()
    };
    let as_they_are = SourceOptions {
        mapping: only_left_out.clone(),
        ..options.clone()
    };
    let Look { seen, rows, .. } = look(input, &as_they_are)?;
    let guess = Guess::of(definition, &seen, rows);
    let mapping = match options.mapping == only_left_out {
        true => guess.mapping(definition, &seen, only_left_out),
        false => options.mapping.clone(),
    };
    let options = SourceOptions {
        mapping: mapping.clone(),
        ..options.clone()
    };
    let mut preview = Vec::new();
    let source = Source::open_at(input, &options, Position::default())?;
    let format = source.format();
    for row in source.take(SHOWN) {
        preview.push(shown(index, format, row?)?);
    }
    Ok(Proposal {
        file: input.location().to_string(),
        rows,
        columns: guess.columns(definition, &seen, &mapping),
        missing: guess.missing(definition, &seen, &mapping),
        mapping,
        preview,
    })
}

/// A row, checked as a load checks it.
fn shown(index: &Index, format: Format, row: Row) -> Result<Preview> {
    let definition = index.definition();
    let (number, operation) = (row.number, row.operation);
    let outcome = row.json.map_err(Error::from).and_then(|mut json| {
        coerce_row(format, definition, &mut json);
        match operation {
            Operation::Upsert => index.prepare(json.clone()).map(|_| json),
            Operation::Update | Operation::Delete => Ok(json),
        }
    });
    let (document, problem) = match outcome {
        Ok(json) => (Some(shortened(json)), None),
        Err(Error::User(problem)) if !problem.code.is_about_the_model() => (None, Some(*problem)),
        Err(error) => return Err(error),
    };
    Ok(Preview {
        row: number,
        operation,
        document,
        problem,
    })
}

fn shortened(json: Json) -> Json {
    match json {
        Json::Array(items) => {
            let (all, cut) = (items.len(), items.len() > SHOWN_ITEMS);
            let kept = items.into_iter().take(SHOWN_ITEMS).map(shortened);
            let more = cut.then(|| Json::from(format!("... {all} in all")));
            Json::Array(kept.chain(more).collect())
        }
        Json::Object(object) => {
            let members = object.into_iter();
            Json::Object(
                members
                    .map(|(name, value)| (name, shortened(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

fn vector_field(definition: &Definition) -> Option<&str> {
    definition.embedding.as_ref()?.vector_field.as_deref()
}

/// Field of each column, and why.
struct Guess {
    fields: IndexMap<String, (String, String)>,
}

impl Guess {
    fn of(definition: &Definition, seen: &IndexMap<String, Seen>, rows: u64) -> Guess {
        let mut guess = Guess {
            fields: IndexMap::new(),
        };
        let id = definition.id_field.as_str();
        let mut wanted: Vec<&str> = vec![id];
        wanted.extend(definition.fields.keys().map(String::as_str));
        wanted.extend(vector_field(definition));
        let has = |name: &str| {
            seen.keys()
                .any(|column| super::mapping::is_within(name, column))
        };
        wanted.retain(|field| !has(field));
        for field in wanted.iter().copied() {
            let alike = seen.keys().map(|column| (likeness(column, field), column));
            let best = alike
                .filter(|(likeness, column)| {
                    *likeness >= ALIKE && guess.is_free(definition, column)
                })
                .max_by(|one, other| one.0.total_cmp(&other.0));
            if let Some((_, column)) = best {
                let column = column.clone();
                guess.take(column, field, "its name is much like the field's");
            }
        }
        if wanted.contains(&id) && !guess.has(id) {
            let mut keys = seen
                .iter()
                .filter(|(column, seen)| seen.is_key(rows) && guess.is_free(definition, column));
            // What is called like one first.
            let named = keys.clone().find(|(column, _)| {
                let words = column.to_lowercase();
                ["id", "key", "uuid", "url"]
                    .iter()
                    .any(|word| words.ends_with(word))
            });
            if let Some((column, _)) = named.or_else(|| keys.next()) {
                let column = column.clone();
                guess.take(column, id, "each row has another value");
            }
        }
        if let Some(field) = vector_field(definition).filter(|field| wanted.contains(field)) {
            let dimensions = definition.embedding.as_ref().and_then(|e| e.dimensions);
            let found = seen.iter().find(|(column, seen)| {
                seen.is_vector(dimensions) && guess.is_free(definition, column)
            });
            if let Some((column, _)) = found {
                let column = column.clone();
                guess.take(column, field, "it holds vectors of the right length");
            }
        }
        // The longest strings are the text, if one is looked for.
        let encoded = definition.embedding.iter().flat_map(|e| &e.fields);
        let text = encoded
            .map(String::as_str)
            .chain(definition.fields.iter().filter_map(|(name, field)| {
                (field.kind == FieldType::Text && field.required).then_some(name.as_str())
            }))
            .find(|field| wanted.contains(field) && !guess.has(field));
        if let Some(field) = text {
            let longest = seen
                .iter()
                .filter(|(column, seen)| seen.texts > 0 && guess.is_free(definition, column))
                .max_by_key(|(_, seen)| seen.bytes / seen.texts.max(1));
            if let Some((column, _)) = longest {
                let column = column.clone();
                guess.take(column, field, "its strings are the longest");
            }
        }
        guess
    }

    fn has(&self, field: &str) -> bool {
        self.fields.values().any(|(taken, _)| taken == field)
    }

    /// Whether nothing is known of a column yet.
    fn is_free(&self, definition: &Definition, column: &str) -> bool {
        !self.fields.contains_key(column) && !is_known(definition, column)
    }

    fn take(&mut self, column: String, field: &str, why: &str) {
        self.fields
            .insert(column, (field.to_string(), why.to_string()));
    }

    /// What is to be written into a file of mappings.
    fn mapping(
        &self,
        definition: &Definition,
        seen: &IndexMap<String, Seen>,
        mut mapping: Mapping,
    ) -> Mapping {
        for (column, found) in seen {
            let known = is_known(definition, column).then_some(column);
            let taken = self.fields.get(column).map(|(field, _)| field);
            let Some(field) = known.or(taken) else {
                if definition.unknown_fields == UnknownFields::Reject {
                    mapping.drop.push(column.clone());
                }
                continue;
            };
            let kind = definition.fields.get(field).map(|field| field.kind);
            let read = kind.and_then(|kind| found.read_as(kind));
            if read.is_some() {
                let source = FieldSource {
                    column: Names::One(column.clone()),
                    kind: read,
                    ..FieldSource::default()
                };
                mapping.fields.insert(field.clone(), source);
            } else if field != column {
                mapping.columns.insert(column.clone(), field.clone());
            }
        }
        mapping
    }

    fn columns(
        &self,
        definition: &Definition,
        seen: &IndexMap<String, Seen>,
        mapping: &Mapping,
    ) -> Vec<ProposedColumn> {
        let columns = seen.iter().map(|(column, found)| {
            let by_mapping = mapping.becomes(column);
            let (field, why) = match (self.fields.get(column), by_mapping) {
                _ if mapping.operation.as_ref() == Some(column) => {
                    (None, "it says what is done with a row".into())
                }
                (Some((field, why)), Some(to)) if field == to => (Some(field.clone()), why.clone()),
                (_, Some(to)) if to == column && is_known(definition, column) => {
                    (Some(to.to_string()), "it has the field's name".into())
                }
                (_, Some(to)) if to == column => (
                    None,
                    match definition.unknown_fields {
                        UnknownFields::Reject => "no field has its name: rows with it are rejected",
                        UnknownFields::Store => "no field has its name: it is kept beside them",
                        UnknownFields::Ignore => "no field has its name: it is ignored",
                    }
                    .into(),
                ),
                (_, Some(to)) => (Some(to.to_string()), "the mapping says so".into()),
                (_, None) => (None, "left out".into()),
            };
            ProposedColumn {
                column: column.clone(),
                found: found.in_words(),
                field,
                why,
            }
        });
        columns.collect()
    }

    /// What every document needs and does not get.
    fn missing(
        &self,
        definition: &Definition,
        seen: &IndexMap<String, Seen>,
        mapping: &Mapping,
    ) -> Vec<String> {
        let required = definition.fields.iter();
        let required = required.filter_map(|(name, field)| field.required.then_some(name));
        let needs_vector = definition
            .embedding
            .as_ref()
            .is_some_and(|e| e.model.is_none());
        let vector = definition
            .embedding
            .as_ref()
            .and_then(|e| e.vector_field.as_ref());
        std::iter::once(&definition.id_field)
            .chain(required)
            .chain(vector.filter(|_| needs_vector))
            .filter(|field| !mapping.makes(field, seen.keys().map(String::as_str)))
            .cloned()
            .collect()
    }
}

/// Whether the definition has something of this name, or inside of it.
fn is_known(definition: &Definition, column: &str) -> bool {
    column == definition.id_field
        || vector_field(definition) == Some(column)
        || definition
            .fields
            .keys()
            .any(|field| super::mapping::is_within(field, column))
}

/// How alike two names are, whatever they do with case and underscores, from 0 to 1.
fn likeness(one: &str, other: &str) -> f64 {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let (one, other) = (plain(one), plain(other));
    // Two letters have something in common with every short name.
    match one == other {
        true => 1.0,
        false if one.len().min(other.len()) < 4 => 0.0,
        false => strsim::jaro_winkler(&one, &other),
    }
}

/// The proposal as text: the columns, the mapping to keep in a file, the first documents.
pub fn proposal_in_words(proposal: &Proposal) -> String {
    let mut text = format!("{}: {} rows looked at\n\n", proposal.file, proposal.rows);
    let width = proposal
        .columns
        .iter()
        .map(|c| c.column.chars().count())
        .max();
    for column in &proposal.columns {
        let field = column.field.as_deref().unwrap_or("-");
        text += &format!(
            "  {:width$}  -> {field}  ({}; {})\n",
            column.column,
            column.found,
            column.why,
            width = width.unwrap_or(0)
        );
    }
    for field in &proposal.missing {
        text += &format!("  nothing found for {field}, which every document needs\n");
    }
    let mapping = toml::to_string(&proposal.mapping).unwrap_or_default();
    text += &format!("\n# The mapping; keep it in a file for --mapping.\n{mapping}\n");
    for one in &proposal.preview {
        text += &match (&one.document, &one.problem) {
            (Some(document), _) if one.operation == Operation::Upsert => {
                format!("row {}: {document}\n", one.row)
            }
            (Some(document), operation) => {
                let operation = format!("{operation:?}").to_lowercase();
                format!("row {}, {operation}: {document}\n", one.row)
            }
            (None, Some(problem)) => format!("row {}: rejected: {problem}\n", one.row),
            (None, None) => String::new(),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::ingest::mapping::ReadAs;

    fn guess(definition: &str, rows: &[Json]) -> (Mapping, Vec<String>) {
        let definition = Definition::from_toml(definition).unwrap();
        let mut seen: IndexMap<String, Seen> = IndexMap::new();
        for row in rows {
            let row: &Map<String, Json> = row.as_object().unwrap();
            for (column, value) in row {
                seen.entry(column.clone()).or_default().see(value);
            }
        }
        let guess = Guess::of(&definition, &seen, rows.len() as u64);
        let mapping = guess.mapping(&definition, &seen, Mapping::default());
        let missing = guess.missing(&definition, &seen, &mapping);
        (mapping, missing)
    }

    const SHOP: &str = r#"
        name = "shop"
        [fields.title]
        type = "text"
        required = true
        [fields.year]
        type = "integer"
        [embedding]
        vector_field = "vector"
        dimensions = 3
    "#;

    #[test]
    fn columns_are_recognised_by_names_types_and_lengths() {
        let row = |n: usize| {
            json!({"product_id": format!("p{n}"), "Title": "a lamp", "Year": "2020", "junk": true,
                   "emb": [0.5, 1.0, 2.0]})
        };
        let (mapping, missing) = guess(SHOP, &[row(1), row(2), row(3)]);
        let toml = toml::to_string(&mapping).unwrap();
        assert_eq!(mapping.columns["product_id"], "id", "{toml}");
        assert_eq!(mapping.columns["Title"], "title", "{toml}");
        assert_eq!(mapping.columns["emb"], "vector", "{toml}");
        assert_eq!(mapping.fields["year"].kind, Some(ReadAs::Integer), "{toml}");
        assert_eq!(mapping.drop, ["junk"], "{toml}");
        assert_eq!(missing, [] as [&str; 0], "{toml}");
        // It is what a file of mappings is.
        assert_eq!(Mapping::from_toml(&toml).unwrap(), mapping);
    }

    #[test]
    fn what_fits_already_needs_no_mapping() {
        let row = |n: u64| json!({"id": n, "title": "x", "year": 2020, "vector": [1, 2, 3]});
        let (mapping, missing) = guess(SHOP, &[row(1), row(2)]);
        assert!(mapping.is_empty(), "{mapping:?}");
        assert!(missing.is_empty());
    }

    #[test]
    fn what_is_missing_is_told() {
        let row = |n: u64| json!({"number": n, "same": "x"});
        let (mapping, missing) = guess(SHOP, &[row(1), row(2)]);
        assert_eq!(mapping.columns["number"], "id");
        assert_eq!(
            mapping.columns["same"], "title",
            "the only strings there are"
        );
        assert_eq!(missing, ["vector"]);
    }
}
