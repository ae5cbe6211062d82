//! The tools: what each is called, what it takes, and what it answers.

use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::error::Failure;
use super::super::gate::Gate;
use super::super::schemas;
use super::super::state::App;
use super::super::{CatalogList, IndexList, SchemaList, json as bodies};
use super::{entities, indexes};
use crate::access::Access;
use crate::entity::{LinkRequest, LinkResponse};
use crate::error::{Code, Error, Problem, Result};
use crate::model::Cancellation;
use crate::search::{SearchRequest, SearchResponse};
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
    /// Whether it is about databases, which may be open to some callers only: then it has the
    /// argument [`CALLER`].
    pub asks_who: bool,
    /// Whether it waits for a database that somebody makes ready, before its turn, as REST does.
    pub waits: bool,
    /// Whether it takes tokens of tenants: then it applies their filter.
    pub takes_tokens: bool,
    /// Whose turn it waits for, which is that of the same request of REST.
    pub gate: fn(&App) -> &Gate,
    pub answer: fn(&Asked<'_>, JsonObject) -> Result<Answer, Refused>,
}

/// A call: what it is answered from, and for whom.
pub(super) struct Asked<'a> {
    pub app: &'a App,
    /// What the peer may do and see.
    pub access: &'a Access,
    /// Tells that nobody waits for the answer any more.
    pub cancellation: &'a Cancellation,
    /// Whether the peer is who operates this.
    pub operator: bool,
}

/// Why a tool does not answer.
#[derive(Debug)]
pub(super) enum Refused {
    /// As REST would say it.
    Error(Error),
    /// Another process has the index of this name open.
    InUse(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Error(error)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused::Error(problem.into())
    }
}

/// What a tool answers: for the model to read, and the same or more as data.
pub(super) struct Answer {
    pub text: String,
    pub structured: Value,
}

fn searches(app: &App) -> &Gate {
    &app.searches
}

fn linkings(app: &App) -> &Gate {
    &app.linkings
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
        asks_who: true,
        waits: false,
        takes_tokens: false,
        gate: searches,
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
        asks_who: true,
        waits: true,
        takes_tokens: false,
        gate: searches,
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
        asks_who: true,
        waits: true,
        takes_tokens: false,
        gate: searches,
        answer: search_values,
    },
    Offered {
        name: "similar_questions",
        title: "Find similar questions",
        description: "Stored questions about a database that are like one, with the SQL that \
                      answers them.",
        input: for_database::<SimilarRequest>,
        output: schema_of::<SimilarAnswer>,
        asks_who: true,
        waits: false,
        takes_tokens: false,
        gate: searches,
        answer: similar_questions,
    },
    Offered {
        name: "list_indexes",
        title: "List indexes",
        description: "Names and, as far as they are open, descriptions and sizes of the indexes \
                      of documents or source code that search can be asked about.",
        input: schema_of::<indexes::ListIndexes>,
        output: schema_of::<IndexList>,
        asks_who: false,
        waits: false,
        takes_tokens: false,
        gate: searches,
        answer: indexes::list_indexes,
    },
    Offered {
        name: "search",
        title: "Search an index",
        description: "The documents of an index that are best for a query, by words and by \
                      meaning; of source code the functions and types, with path and lines. \
                      Mostly `query` and `k` are enough; `filter` narrows it by fields' values.",
        input: for_index::<SearchRequest>,
        output: schema_of::<SearchResponse>,
        asks_who: false,
        waits: false,
        takes_tokens: true,
        gate: searches,
        answer: indexes::search,
    },
    Offered {
        name: "list_catalogs",
        title: "List catalogs of entities",
        description: "Names and sizes of the catalogs of entities that link_entities can be asked \
                      about.",
        input: schema_of::<entities::ListCatalogs>,
        output: schema_of::<CatalogList>,
        asks_who: false,
        waits: false,
        takes_tokens: false,
        gate: searches,
        answer: entities::list_catalogs,
    },
    Offered {
        name: "link_entities",
        title: "Link a text to entities",
        description: "Which entities of a catalog a text speaks of: each mention with its place \
                      and the entity that it means, or that it means none of the catalog.",
        input: schema_of::<LinkRequest>,
        output: schema_of::<LinkResponse>,
        asks_who: false,
        waits: false,
        takes_tokens: false,
        gate: linkings,
        answer: entities::link_entities,
    },
];

/// The tool of this name.
pub(super) fn named(name: &str) -> Option<&'static Offered> {
    ALL.iter().find(|tool| tool.name == name)
}

impl Offered {
    /// As the protocol describes it, made once. `named` where it is settled who asks.
    pub(super) fn described(&'static self, named: bool) -> Tool {
        static MADE: [LazyLock<Vec<Tool>>; 2] = [
            LazyLock::new(|| ALL.iter().map(|tool| tool.made(false)).collect()),
            LazyLock::new(|| ALL.iter().map(|tool| tool.made(true)).collect()),
        ];
        let made = MADE[usize::from(named)].iter();
        let mut made = made.filter(|tool| tool.name == self.name);
        made.next().cloned().unwrap_or_else(|| self.made(named))
    }

    /// Nothing here changes anything.
    fn made(&self, named: bool) -> Tool {
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
        tool.output_schema = Some(Arc::new(or_failure((self.output)())));
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

fn list_databases(asked: &Asked<'_>, arguments: JsonObject) -> Result<Answer, Refused> {
    let ListDatabases { caller } = read(arguments)?;
    let mut list = schemas::summaries(asked.app, caller.as_deref())?;
    list.schemas
        .retain(|database| asked.access.reaches(&database.name));
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

fn retrieve_schema(asked: &Asked<'_>, mut arguments: JsonObject) -> Result<Answer, Refused> {
    let database = database(asked, &mut arguments)?;
    let request: RetrieveRequest = read(arguments)?;
    let focus = schemas::retrieved(asked.app, &database, &request)?;
    answer(focus.prompt.clone(), &focus)
}

fn search_values(asked: &Asked<'_>, mut arguments: JsonObject) -> Result<Answer, Refused> {
    let database = database(asked, &mut arguments)?;
    let request: ValuesRequest = read(arguments)?;
    let caller = request.caller.as_deref();
    let entry = asked.app.schemas.visible(&database, caller)?;
    let found = schemas::retriever(asked.app)?.values(&entry, &request)?;
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

fn similar_questions(asked: &Asked<'_>, mut arguments: JsonObject) -> Result<Answer, Refused> {
    let database = database(asked, &mut arguments)?;
    let request: SimilarRequest = read(arguments)?;
    let caller = request.caller.as_deref();
    let entry = asked.app.schemas.visible(&database, caller)?;
    let found = schemas::retriever(asked.app)?.similar(&entry, &request)?;
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

pub(super) fn answer(text: String, structured: &impl Serialize) -> Result<Answer, Refused> {
    // By way of its text: made into a value at once, a score would be written with the digits of
    // a number of 64 bits, and not as REST writes it.
    let structured = serde_json::from_slice(&bodies::to_bytes(structured)?)
        .map_err(|e| Error::Bug(format!("an answer is no JSON: {e}")))?;
    Ok(Answer { text, structured })
}

/// Takes the argument `database` out, which has to be within reach.
fn database(asked: &Asked<'_>, arguments: &mut JsonObject) -> Result<String, Problem> {
    let name = named_by(arguments, "database", "a name that list_databases gives")?;
    asked.access.require_name(&name)?;
    Ok(name)
}

/// Takes an argument out that names something.
pub(super) fn named_by(
    arguments: &mut JsonObject,
    argument: &str,
    expected: &str,
) -> Result<String, Problem> {
    let problem = |message: &str| {
        Problem::new(Code::InvalidRequest, message)
            .field(argument)
            .expected(expected)
    };
    match arguments.remove(argument) {
        Some(Value::String(name)) => Ok(name),
        Some(other) => Err(problem("a field has the wrong type").found(other)),
        None => Err(problem("a field is missing").found("nothing")),
    }
}

/// The arguments as a request of REST, read by the same code.
pub(super) fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T> {
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

/// What a tool answers, or why it does not: clients hold its errors to the schema as well.
fn or_failure(mut output: JsonObject) -> JsonObject {
    let required = output.remove("required").unwrap_or_else(|| json!([]));
    output.insert(
        "anyOf".into(),
        json!([{"required": required}, {"required": ["error"]}]),
    );
    if let Some(Value::Object(properties)) = output.get_mut("properties") {
        let failure = Value::Object(schema_of::<Failure>());
        properties.insert("error".into(), failure);
    }
    output
}

/// A request about a database: its fields, and which database.
fn for_database<T: JsonSchema>() -> JsonObject {
    let name = "Name of the database, as list_databases gives it.";
    about::<T>("database", name)
}

/// A request about an index: its fields, and which index.
fn for_index<T: JsonSchema>() -> JsonObject {
    let name = "Name of the index, as list_indexes gives it, or an alias.";
    about::<T>("index", name)
}

/// A request whose path names what it is about: its fields, and that name.
fn about<T: JsonSchema>(argument: &str, says: &str) -> JsonObject {
    let mut schema = schema_of::<T>();
    let mut properties = JsonObject::new();
    properties.insert(
        argument.into(),
        json!({"type": "string", "description": says}),
    );
    if let Some(Value::Object(own)) = schema.remove("properties") {
        properties.extend(own);
    }
    schema.insert("properties".into(), Value::Object(properties));
    let mut required = vec![json!(argument)];
    if let Some(Value::Array(own)) = schema.remove("required") {
        required.extend(own);
    }
    schema.insert("required".into(), Value::Array(required));
    schema
}
