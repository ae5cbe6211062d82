//! `/v1/embeddings`: vectors of texts, in OpenAI's shape.
//!
//! Texts of all requests share batches (see `model`). A request waits on a thread of its
//! own, so there is a bound on how many do, apart for queries and documents: a load that
//! fills the one leaves the other free.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::body::JsonBody;
use super::error::ApiError;
use super::json;
use super::state::App;
use crate::config::Limits;
use crate::error::{Code, Error, Problem, Result};
use crate::model::{
    Cancellation, Embeddings, EncodeOptions, Input, LongTexts, Prompt, Registry, Task,
};

/// Bodies up to this size are parsed where they arrive; reading longer ones would hold up
/// other requests.
const PARSED_AT_ONCE: usize = 64 * 1024;

/// What to encode and how: OpenAI's fields, and behind them ours.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsRequest {
    /// Name of a text encoder (`GET /v1/models`).
    pub model: String,
    /// What to encode.
    pub input: EmbeddingsInput,
    /// Values of each vector: the first so many, brought to length 1 again. Only what the
    /// model was trained for (`matryoshka` of its manifest). Absent: all.
    #[serde(default)]
    pub dimensions: Option<usize>,
    /// How vectors are written. Absent: as numbers.
    #[serde(default)]
    pub encoding_format: Option<EncodingFormat>,
    /// Accepted and not used.
    #[serde(default)]
    pub user: Option<String>,
    /// What the texts are: decides their prompt, and queries go before documents. Absent:
    /// documents.
    #[serde(default)]
    pub task: Option<Task>,
    /// Another of the model's prompts, by its name.
    #[serde(default)]
    pub prompt_name: Option<String>,
    /// A prompt of the caller's own, such as an instruction, in place of the task's.
    #[serde(default)]
    pub prompt: Option<String>,
    /// What happens to texts longer than the model reads. Absent: as the model says.
    #[serde(default)]
    pub long_texts: Option<LongTexts>,
    /// One of the model's experts.
    #[serde(default)]
    pub expert: Option<String>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Little-endian f32 in Base64: a quarter of the bytes, and exact.
    Base64,
}

/// One or several texts, as they are or as ids of the model's own tokenizer.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[serde(untagged)]
pub enum EmbeddingsInput {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// A text's token ids.
    Tokens(Vec<u32>),
    /// Token ids of several texts.
    TokenLists(Vec<Vec<u32>>),
}

impl EmbeddingsInput {
    fn inputs(&self) -> Vec<Input<'_>> {
        match self {
            EmbeddingsInput::Text(text) => vec![Input::Text(text)],
            EmbeddingsInput::Texts(texts) => texts.iter().map(|t| Input::Text(t)).collect(),
            EmbeddingsInput::Tokens(ids) => vec![Input::Tokens(ids)],
            EmbeddingsInput::TokenLists(lists) => {
                lists.iter().map(|ids| Input::Tokens(ids)).collect()
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            EmbeddingsInput::Text(_) => false,
            EmbeddingsInput::Texts(texts) => texts.is_empty(),
            EmbeddingsInput::Tokens(ids) => ids.is_empty(),
            EmbeddingsInput::TokenLists(lists) => lists.is_empty(),
        }
    }
}

/// What `input` may be, for errors.
const INPUT: &str = "a string, a list of strings, a list of token ids, or a list of such lists";

/// One element of a list.
enum Element {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Element;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, a token id, or a list of token ids")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Element, E> {
                Ok(Element::Text(text))
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Element, E> {
                u32::try_from(id).map(Element::Id).map_err(|_| {
                    E::invalid_value(serde::de::Unexpected::Unsigned(id), &"a token id")
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Element::Ids(ids))
            }
        }
        deserializer.deserialize_any(Elements)
    }
}

impl<'de> Deserialize<'de> for EmbeddingsInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inputs;
        impl<'de> Visitor<'de> for Inputs {
            type Value = EmbeddingsInput;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(INPUT)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(EmbeddingsInput::Text(text.to_owned()))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(EmbeddingsInput::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                // The first element says what all of them are.
                let mut input = match list.next_element()? {
                    None => return Ok(EmbeddingsInput::Texts(Vec::new())),
                    Some(Element::Text(text)) => EmbeddingsInput::Texts(vec![text]),
                    Some(Element::Id(id)) => EmbeddingsInput::Tokens(vec![id]),
                    Some(Element::Ids(ids)) => EmbeddingsInput::TokenLists(vec![ids]),
                };
                while let Some(element) = list.next_element()? {
                    match (&mut input, element) {
                        (EmbeddingsInput::Texts(all), Element::Text(one)) => all.push(one),
                        (EmbeddingsInput::Tokens(all), Element::Id(one)) => all.push(one),
                        (EmbeddingsInput::TokenLists(all), Element::Ids(one)) => all.push(one),
                        _ => {
                            let found = serde::de::Unexpected::Other("a list of both");
                            return Err(A::Error::invalid_value(found, &INPUT));
                        }
                    }
                }
                Ok(input)
            }
        }
        deserializer.deserialize_any(Inputs)
    }
}

/// Vectors in the order of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EmbeddingsAnswer {
    /// Always `list`.
    pub object: &'static str,
    /// One vector for each input.
    pub data: Vec<Embedding>,
    /// The model, as it was asked for.
    pub model: String,
    /// What was encoded.
    pub usage: Usage,
    /// Inputs whose end was cut off, by their index; absent where there are none. Ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub truncated: Vec<usize>,
}

/// The vector of one input.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Embedding {
    /// Always `embedding`.
    pub object: &'static str,
    /// Which of the inputs, from 0.
    pub index: usize,
    /// The vector.
    pub embedding: Values,
}

/// A vector as it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Values {
    /// Numbers.
    Float(Vec<f32>),
    /// Little-endian f32 in Base64.
    Base64(String),
}

/// Tokens that were encoded, prompts and special tokens included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// Of all inputs.
    pub prompt_tokens: u64,
    /// The same: encoders write nothing.
    pub total_tokens: u64,
}

pub(super) async fn embed(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let most = app.limits.embedding_inputs;
    let request = if body.bytes.len() <= PARSED_AT_ONCE {
        parse(&body.bytes, most)
    } else {
        // The room for bodies bounds how many of these there are.
        let parsed = tokio::task::spawn_blocking(move || parse(&body.bytes, most)).await;
        parsed.map_err(|e| Error::Bug(format!("reading a body failed: {e}")))?
    };
    let request = request.map_err(|problem| failed(problem.into()))?;

    let gate = match request.task {
        Some(Task::Query) => &app.query_encodings,
        Some(Task::Document) | None => &app.document_encodings,
    };
    let permit = gate.enter(1).await?;
    let cancellation = Cancellation::default();
    // Dropped with this future when the caller leaves or its time is up.
    let _leaving = cancellation.on_drop();
    let (models, limits) = (app.catalog.settings().models.clone(), app.limits.clone());
    let json = permit
        .run(move || {
            let answer = answer(&models, &limits, request, cancellation)?;
            json::to_bytes(&answer)
        })
        .await
        .map_err(failed)?;
    Ok(json::answer_bytes(StatusCode::OK, json))
}

fn parse(bytes: &[u8], most: usize) -> Result<EmbeddingsRequest, Problem> {
    let request: EmbeddingsRequest = json::parse(bytes, Code::InvalidRequest)?;
    let problem = |code, message: &str, field: &str| Problem::new(code, message).field(field);
    if request.input.is_empty() {
        return Err(
            problem(Code::InvalidRequest, "there is nothing to encode", "input")
                .found("an empty list")
                .expected(INPUT),
        );
    }
    let count = request.input.inputs().len();
    if count > most {
        return Err(
            problem(Code::LimitExceeded, "there are too many inputs", "input")
                .found(count)
                .expected(format!("1 to {most} inputs")),
        );
    }
    if request.prompt.is_some() && request.prompt_name.is_some() {
        return Err(
            problem(Code::InvalidRequest, "a text has one prompt", "prompt_name")
                .found("prompt as well")
                .expected("one of prompt and prompt_name"),
        );
    }
    Ok(request)
}

fn answer(
    models: &Registry,
    limits: &Limits,
    request: EmbeddingsRequest,
    cancellation: Cancellation,
) -> Result<EmbeddingsAnswer> {
    let mut encoder = models.open_expert(&request.model, request.expert.as_deref())?;
    if let Some(dimensions) = request.dimensions {
        encoder = encoder.with_dimensions(dimensions)?;
    }
    let inputs = request.input.inputs();
    for (place, input) in inputs.iter().enumerate() {
        if let Input::Text(text) = input
            && text.len() > limits.field_bytes
        {
            return Err(Problem::new(Code::LimitExceeded, "a text is too long")
                .field(format!("input[{place}]"))
                .found(format!("{} bytes", text.len()))
                .expected(format!("at most {} bytes", limits.field_bytes))
                .into());
        }
    }
    let prompt = match (request.prompt, request.prompt_name) {
        (Some(text), _) => Some(Prompt::Text(text)),
        (None, name) => name.map(Prompt::Named),
    };
    let options = EncodeOptions {
        prompt,
        long_texts: request.long_texts,
        most_tokens: limits.embedding_tokens,
        refuse_when_full: true,
        cached: true,
        cancellation,
        ..EncodeOptions::new(request.task.unwrap_or(Task::Document))
    };
    let found = encoder.encode_with(&options, &inputs)?;
    Ok(written(
        found,
        request.model,
        request.encoding_format.unwrap_or_default(),
    ))
}

fn written(found: Embeddings, model: String, format: EncodingFormat) -> EmbeddingsAnswer {
    let tokens = found.tokens.iter().map(|&tokens| u64::from(tokens)).sum();
    let data = found
        .rows()
        .enumerate()
        .map(|(index, vector)| Embedding {
            object: "embedding",
            index,
            embedding: match format {
                EncodingFormat::Float => Values::Float(vector.to_vec()),
                EncodingFormat::Base64 => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                    Values::Base64(STANDARD.encode(bytes))
                }
            },
        })
        .collect();
    let cut = found.truncated.iter().enumerate();
    EmbeddingsAnswer {
        object: "list",
        data,
        model,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
        truncated: cut.filter(|(_, cut)| **cut).map(|(n, _)| n).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str) -> Result<EmbeddingsInput, Problem> {
        let body = format!(r#"{{"model": "m", "input": {json}}}"#);
        parse(body.as_bytes(), 3).map(|request| request.input)
    }

    #[test]
    fn every_shape_of_input_is_read() {
        let text = |t: &str| t.to_owned();
        for (json, expected) in [
            (r#""a""#, EmbeddingsInput::Text(text("a"))),
            (r#""""#, EmbeddingsInput::Text(text(""))),
            (
                r#"["a", "b"]"#,
                EmbeddingsInput::Texts(vec![text("a"), text("b")]),
            ),
            ("[1, 2, 3, 4]", EmbeddingsInput::Tokens(vec![1, 2, 3, 4])),
            (
                "[[1], [], [2, 3]]",
                EmbeddingsInput::TokenLists(vec![vec![1], vec![], vec![2, 3]]),
            ),
        ] {
            assert_eq!(input(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_none_of_them_is_said_to_be_that() {
        for json in [
            "3",
            "null",
            "{}",
            "[]",
            "[null]",
            r#"["a", 1]"#,
            r#"[1, "a"]"#,
            "[[1], 2]",
            r#"[["a"]]"#,
            "[-1]",
            "[1.5]",
            "[5000000000]",
            "[[[1]]]",
        ] {
            let problem = input(json).unwrap_err();
            assert_eq!(problem.code, Code::InvalidRequest, "{json}");
            let field = problem.field.unwrap_or_default();
            assert!(field.starts_with("input"), "{json}: {field}");
            assert!(problem.expected.is_some(), "{json}");
        }
        let many = input(r#"["a", "b", "c", "d"]"#).unwrap_err();
        assert_eq!(many.code, Code::LimitExceeded);
        let two = parse(
            br#"{"model": "m", "input": "a", "prompt": "p", "prompt_name": "q"}"#,
            3,
        );
        assert_eq!(two.unwrap_err().field.as_deref(), Some("prompt_name"));
    }
}
