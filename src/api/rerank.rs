//! `/v1/rerank`: scores of documents for a query, in the shape that Cohere's and Jina's
//! clients speak.
//!
//! Pairs of all requests share batches (see `model`). A request waits on a thread of its own,
//! so there is a bound on how many do.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::body::JsonBody;
use super::error::ApiError;
use super::json;
use super::state::App;
use crate::config::Limits;
use crate::error::{Code, Error, Problem, Result};
use crate::model::{Cancellation, PairScores, Registry, ScoreOptions, Task};

/// Bodies up to this size are parsed where they arrive; reading longer ones would hold up
/// other requests.
const PARSED_AT_ONCE: usize = 64 * 1024;

/// What to score: Cohere's fields (both versions) and Jina's.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RerankCall {
    /// Name of a reranker (`GET /v1/models`).
    pub model: String,
    /// What the documents are compared with.
    #[schemars(with = "String")]
    pub query: Json,
    /// Strings, or objects with a `text`, or with the fields that `rank_fields` names.
    #[schemars(with = "Vec<DocumentSchema>")]
    pub documents: Vec<Json>,
    /// How many of the best to return; all by default.
    #[serde(default)]
    pub top_n: Option<usize>,
    /// Fields of the documents that are read, joined by a line break, where documents are
    /// objects; `text` by default.
    #[serde(default)]
    pub rank_fields: Option<Vec<String>>,
    /// Whether results carry their document.
    #[serde(default)]
    pub return_documents: Option<bool>,
    /// Most tokens of a document that are read; what the model has room for otherwise.
    #[serde(default)]
    pub max_tokens_per_doc: Option<usize>,
    /// Accepted where it is 1: a document is read from its beginning, and not in chunks.
    #[serde(default)]
    pub max_chunks_per_doc: Option<usize>,
    /// Accepted and not used.
    #[serde(default)]
    pub priority: Option<i64>,
    /// Accepted where it is `true`, as Jina has it by default: what does not fit is cut off,
    /// and reported.
    #[serde(default)]
    pub truncation: Option<bool>,
    /// Accepted where it is `false`: documents are not returned as vectors.
    #[serde(default)]
    pub return_embeddings: Option<bool>,
}

/// The two forms of a document, for the schema alone.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // stands for the shape alone
enum DocumentSchema {
    /// A text.
    Text(String),
    /// An object with texts.
    Object(Map<String, Json>),
}

/// Results, the most relevant first.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RerankAnswer {
    /// Of this answer.
    pub id: String,
    /// Always `list`. Jina's.
    pub object: &'static str,
    /// The model, as it was asked for.
    pub model: String,
    /// One for each document, or for the best `top_n`.
    pub results: Vec<RerankResult>,
    /// Cohere's.
    pub meta: Meta,
    /// Jina's.
    pub usage: RerankUsage,
    /// Documents whose end was cut off, by their index; absent where there are none. Ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub truncated: Vec<usize>,
    /// Whether the query was longer than half of what the model reads, and cut. Ours.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub query_truncated: bool,
}

/// How relevant a document is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RerankResult {
    /// Which of the documents, from 0.
    pub index: usize,
    /// 0 to 1. It depends on the query and the document alone.
    pub relevance_score: f32,
    /// The document: as it came where it was an object, under `text` where it was a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Json>,
}

/// What Cohere's clients read of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Meta {
    /// Version of the API.
    pub api_version: ApiVersion,
    /// What would be billed.
    pub billed_units: BilledUnits,
    /// What was read.
    pub tokens: MetaTokens,
    /// What the caller should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub warnings: Vec<String>,
}

/// Version of the API.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ApiVersion {
    /// `1`.
    pub version: &'static str,
}

/// What would be billed, if anything were.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BilledUnits {
    /// Always 1.
    pub search_units: u64,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MetaTokens {
    /// Of all pairs.
    pub input_tokens: u64,
}

/// Tokens of all pairs of query and document, special tokens included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RerankUsage {
    /// Read.
    pub prompt_tokens: u64,
    /// The same: rerankers write nothing.
    pub total_tokens: u64,
}

pub(super) async fn rerank(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let most = app.limits.rerank_documents;
    let call = if body.bytes.len() <= PARSED_AT_ONCE {
        parse(&body.bytes, most)
    } else {
        // The room for bodies bounds how many of these there are.
        let parsed = tokio::task::spawn_blocking(move || parse(&body.bytes, most)).await;
        parsed.map_err(|e| Error::Bug(format!("reading a body failed: {e}")))?
    };
    let call = call.map_err(|problem| failed(problem.into()))?;
    let permit = app.rerankings.enter(1).await?;
    let cancellation = Cancellation::default();
    // Dropped with this future when the caller leaves or its time is up.
    let _leaving = cancellation.on_drop();
    let (models, limits) = (app.catalog.settings().models.clone(), app.limits.clone());
    let json = permit
        .run(move || json::to_bytes(&answer(&models, &limits, call, cancellation)?))
        .await
        .map_err(failed)?;
    Ok(json::answer_bytes(StatusCode::OK, json))
}

/// What is asked, as texts.
struct Asked {
    call: RerankCall,
    query: String,
    texts: Vec<String>,
}

fn parse(bytes: &[u8], most: usize) -> Result<Asked, Problem> {
    let call: RerankCall = json::parse(bytes, Code::InvalidRequest)?;
    let wrong =
        |message: &str, field: &str| Problem::new(Code::InvalidRequest, message).field(field);
    if call.documents.is_empty() {
        return Err(wrong("there is nothing to score", "documents")
            .found("an empty list")
            .expected("strings or objects"));
    }
    if call.documents.len() > most {
        return Err(
            Problem::new(Code::LimitExceeded, "there are too many documents")
                .field("documents")
                .found(call.documents.len())
                .expected(format!("1 to {most} documents")),
        );
    }
    let not_done = [
        (
            "max_chunks_per_doc",
            call.max_chunks_per_doc.is_some_and(|n| n != 1),
            "1, or nothing: a document is read from its beginning",
        ),
        (
            "truncation",
            call.truncation == Some(false),
            "true: what does not fit is cut off, and reported",
        ),
        (
            "return_embeddings",
            call.return_embeddings == Some(true),
            "false: /v1/embeddings makes vectors",
        ),
        ("top_n", call.top_n == Some(0), "1 or more"),
        (
            "max_tokens_per_doc",
            call.max_tokens_per_doc == Some(0),
            "1 or more",
        ),
        (
            "rank_fields",
            call.rank_fields.as_ref().is_some_and(Vec::is_empty),
            "one field or more",
        ),
    ];
    for (field, wanted, expected) in not_done {
        if wanted {
            return Err(wrong("this is not done here", field).expected(expected));
        }
    }
    let query = text_of(&call.query).ok_or_else(|| {
        wrong("the query is no text", "query")
            .found(&call.query)
            .expected("a string")
    })?;
    let query = query.to_owned();
    let fields = call.rank_fields.as_deref();
    let texts = call.documents.iter().enumerate();
    let texts = texts
        .map(|(n, document)| document_text(document, fields, n))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Asked { call, query, texts })
}

/// A string, or the `text` of an object, as Jina has it.
fn text_of(value: &Json) -> Option<&str> {
    match value {
        Json::String(text) => Some(text),
        Json::Object(object) => object.get("text")?.as_str(),
        _ => None,
    }
}

/// The text of a document that is read.
fn document_text(document: &Json, fields: Option<&[String]>, n: usize) -> Result<String, Problem> {
    let wrong = |found: &str, expected: String| {
        Problem::new(Code::InvalidRequest, "a document has no text to read")
            .field(format!("documents[{n}]"))
            .found(found)
            .expected(expected)
    };
    match (document, fields) {
        (Json::String(text), _) => Ok(text.clone()),
        (Json::Object(object), Some(fields)) => {
            let pieces = fields.iter().filter_map(|field| object.get(field));
            let pieces: Vec<String> = pieces
                .filter_map(|value| match value {
                    Json::String(text) => Some(text.clone()),
                    Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
                    _ => None,
                })
                .collect();
            match pieces.is_empty() {
                true => Err(wrong(
                    "none of the fields",
                    format!("a text in one of: {}", fields.join(", ")),
                )),
                false => Ok(pieces.join("\n")),
            }
        }
        (Json::Object(_), None) => text_of(document)
            .map(str::to_owned)
            .ok_or_else(|| wrong("no text", "a string in `text`, or rank_fields".into())),
        _ => Err(wrong(&document.to_string(), "a string or an object".into())),
    }
}

fn answer(
    models: &Registry,
    limits: &Limits,
    asked: Asked,
    cancellation: Cancellation,
) -> Result<RerankAnswer> {
    let reranker = models.open_reranker(&asked.call.model)?;
    let texts = asked.texts.iter().enumerate();
    let named = texts.map(|(n, text)| (format!("documents[{n}]"), text));
    for (field, text) in named.chain([("query".to_owned(), &asked.query)]) {
        if text.len() > limits.field_bytes {
            return Err(Problem::new(Code::LimitExceeded, "a text is too long")
                .field(field)
                .found(format!("{} bytes", text.len()))
                .expected(format!("at most {} bytes", limits.field_bytes))
                .into());
        }
    }
    let options = ScoreOptions {
        max_tokens: asked.call.max_tokens_per_doc,
        most_tokens: limits.rerank_tokens,
        task: Task::Document,
        refuse_when_full: true,
        cancellation,
        deadline: None,
    };
    let found = reranker.score(&asked.query, &asked.texts, &options)?;
    Ok(written(found, asked.call))
}

fn written(found: PairScores, call: RerankCall) -> RerankAnswer {
    let tokens = found.tokens.iter().map(|&tokens| u64::from(tokens)).sum();
    let mut best: Vec<(usize, f32)> = found
        .scores
        .iter()
        .enumerate()
        .filter_map(|(index, score)| Some((index, (*score)?)))
        .collect();
    // Equals in the caller's order.
    best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    best.truncate(call.top_n.unwrap_or(usize::MAX));
    let mut documents = call.documents;
    let wanted = call.return_documents == Some(true);
    let results = best
        .into_iter()
        .map(|(index, relevance_score)| RerankResult {
            index,
            relevance_score,
            document: wanted.then(|| match documents[index].take() {
                Json::String(text) => serde_json::json!({ "text": text }),
                object => object,
            }),
        })
        .collect();
    let cut = found.truncated.iter().enumerate();
    let truncated: Vec<usize> = cut.filter(|(_, cut)| **cut).map(|(n, _)| n).collect();
    let mut warnings = Vec::new();
    if found.query_truncated {
        warnings.push("the query was longer than half of what the model reads, and was cut".into());
    }
    RerankAnswer {
        id: uuid::Uuid::new_v4().to_string(),
        object: "list",
        model: call.model,
        results,
        meta: Meta {
            api_version: ApiVersion { version: "1" },
            billed_units: BilledUnits { search_units: 1 },
            tokens: MetaTokens {
                input_tokens: tokens,
            },
            warnings,
        },
        usage: RerankUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
        truncated,
        query_truncated: found.query_truncated,
    }
}

/// Too many texts are no body that is too large.
fn failed(error: Error) -> ApiError {
    match error {
        Error::User(problem) if problem.code == Code::LimitExceeded => {
            ApiError::with_status(StatusCode::BAD_REQUEST, *problem)
        }
        other => other.into(),
    }
}
