//! The tools: what each is called, what it takes, and what it answers.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::schemas;
use super::super::state::App;
use super::super::{SchemaList, json as bodies};
use crate::error::{Code, Error, Problem, Result};
use crate::sql::{
    Focus, RetrieveRequest, SimilarAnswer, SimilarRequest, ValuesAnswer, ValuesRequest,
};

/// A tool.
pub(super) struct Offered {
    pub name: &'static str,
    title: &'static str,
    /// For the model that chooses among tools.
    description: &'static str,
    input: fn() -> JsonObject,
    output: fn() -> JsonObject,
    pub answer: fn(&App, JsonObject) -> Result<Answer>,
}

/// What a tool answers: for the model to read, and the same or more as data.
pub(super) struct Answer {
    pub text: String,
    pub structured: Value,
}

/// The argument that says who asks.
pub(super) const CALLER: &str = "caller";

/// All of them, in the order in which they are listed.
pub(super) static ALL: &[Offered] = &[
    Offered {
        name: "list_databases",
        title: "List databases",
        description: "Names, descriptions, dialects and sizes of the SQL databases whose schemas \
                      can be asked about.",
        input: schema_of::<ListDatabases>,
        output: schema_of::<SchemaList>,
        answer: list_databases,
    },
    Offered {
        name: "retrieve_schema",
        title: "Retrieve a schema",
        description: "The part of a database's schema that a question needs, as CREATE TABLE text \
                      with keys, descriptions and example values. Call it before writing SQL; \
                      repeat it with mode `conservative` where something seems to be missing.",
        input: for_database::<RetrieveRequest>,
        output: schema_of::<Focus>,
        answer: retrieve_schema,
    },
    Offered {
        name: "search_values",
        title: "Search cell values",
        description: "Values of a database's cells that are like a text, with their tables and \
                      columns: by words, by letters where it is misspelt, and by meaning. Call it \
                      to learn how a value is spelt before comparing a column with it.",
        input: for_database::<ValuesRequest>,
        output: schema_of::<ValuesAnswer>,
        answer: search_values,
    },
    Offered {
        name: "similar_questions",
        title: "Find similar questions",
        description: "Stored questions about a database that are like one, with the SQL that \
                      answers them.",
        input: for_database::<SimilarRequest>,
        output: schema_of::<SimilarAnswer>,
        answer: similar_questions,
    },
];

/// The tool of this name.
pub(super) fn named(name: &str) -> Option<&'static Offered> {
    ALL.iter().find(|tool| tool.name == name)
}

impl Offered {
    /// As the protocol describes it. Nothing here changes anything.
    /// `named` where it is settled who asks.
    pub(super) fn described(&self, named: bool) -> Tool {
        let mut input = (self.input)();
        if named && let Some(Value::Object(properties)) = input.get_mut("properties") {
            properties.remove(CALLER);
        }
        let mut tool = Tool::new(self.name, self.description, input)
            .with_title(self.title)
            .with_annotations(
                ToolAnnotations::new()
                    .read_only(true)
                    .idempotent(true)
                    .open_world(false),
            );
        tool.output_schema = Some(Arc::new((self.output)()));
        tool
    }
}

/// Nothing but who asks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListDatabases {
    /// Who asks; databases that have permissions are open to callers that they name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
}

fn list_databases(app: &App, arguments: JsonObject) -> Result<Answer> {
    let ListDatabases { caller } = read(arguments)?;
    let list = schemas::summaries(app, caller.as_deref())?;
    let lines = list.schemas.iter().map(|database| {
        let said = database.description.as_deref();
        format!(
            "{} ({} tables, {} columns){}\n",
            database.name,
            database.tables,
            database.columns,
            said.map(|said| format!(": {said}")).unwrap_or_default()
        )
    });
    let text: String = match list.schemas.is_empty() {
        true => "There are no databases yet.".into(),
        false => lines.collect(),
    };
    answer(text, &list)
}

fn retrieve_schema(app: &App, mut arguments: JsonObject) -> Result<Answer> {
    let database = database(&mut arguments)?;
    let request: RetrieveRequest = read(arguments)?;
    let focus = schemas::retrieved(app, &database, &request)?;
    answer(focus.prompt.clone(), &focus)
}

fn search_values(app: &App, mut arguments: JsonObject) -> Result<Answer> {
    let database = database(&mut arguments)?;
    let request: ValuesRequest = read(arguments)?;
    let entry = app.schemas.visible(&database, request.caller.as_deref())?;
    let found = schemas::retriever(app)?.values(&entry, &request)?;
    let lines = found.hits.iter().map(|hit| {
        format!(
            "{}.{} = {} ({:.2}, {})\n",
            hit.table, hit.column, hit.value, hit.score, hit.matched
        )
    });
    let text: String = match found.hits.is_empty() {
        true => "Nothing is like it.".into(),
        false => lines.collect(),
    };
    answer(text, &found)
}

fn similar_questions(app: &App, mut arguments: JsonObject) -> Result<Answer> {
    let database = database(&mut arguments)?;
    let request: SimilarRequest = read(arguments)?;
    let entry = app.schemas.visible(&database, request.caller.as_deref())?;
    let found = schemas::retriever(app)?.similar(&entry, &request)?;
    let lines = found
        .examples
        .iter()
        .map(|example| format!("-- {}\n{}\n", example.question, example.sql));
    let text: String = match found.examples.is_empty() {
        true => "There are no stored questions yet.".into(),
        false => lines.collect(),
    };
    answer(text, &found)
}

fn answer(text: String, structured: &impl Serialize) -> Result<Answer> {
    // By way of its text: made into a value at once, a score would be written with the digits of
    // a number of 64 bits, and not as REST writes it.
    let structured = serde_json::from_slice(&bodies::to_bytes(structured)?)
        .map_err(|e| Error::Bug(format!("an answer is no JSON: {e}")))?;
    Ok(Answer { text, structured })
}

/// Takes the argument `database` out.
fn database(arguments: &mut JsonObject) -> Result<String, Problem> {
    let problem = |message: &str| {
        Problem::new(Code::InvalidRequest, message)
            .field("database")
            .expected("a name that list_databases gives")
    };
    match arguments.remove("database") {
        Some(Value::String(name)) => Ok(name),
        Some(other) => Err(problem("a field has the wrong type").found(other)),
        None => Err(problem("a field is missing").found("nothing")),
    }
}

/// The arguments as a request of REST, read by the same code.
fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T> {
    let bytes = bodies::to_bytes(&Value::Object(arguments))?;
    Ok(bodies::parse(&bytes, Code::InvalidRequest)?)
}

/// Written out without references, which not every client follows.
fn schema_of<T: JsonSchema>() -> JsonObject {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    match settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
    {
        Value::Object(mut schema) => {
            // What the tool is for says the tool.
            schema.remove("title");
            schema.remove("description");
            schema.remove("$schema");
            // Required of a tool's schemas, and left out where there are no fields.
            schema.entry("properties").or_insert_with(|| json!({}));
            schema
        }
        _ => JsonObject::new(),
    }
}

/// A request about a database: its fields, and which database.
fn for_database<T: JsonSchema>() -> JsonObject {
    let mut schema = schema_of::<T>();
    let mut properties = JsonObject::new();
    let name = "Name of the database, as list_databases gives it.";
    properties.insert(
        "database".into(),
        json!({"type": "string", "description": name}),
    );
    if let Some(Value::Object(own)) = schema.remove("properties") {
        properties.extend(own);
    }
    schema.insert("properties".into(), Value::Object(properties));
    let mut required = vec![json!("database")];
    if let Some(Value::Array(own)) = schema.remove("required") {
        required.extend(own);
    }
    schema.insert("required".into(), Value::Array(required));
    schema
}
