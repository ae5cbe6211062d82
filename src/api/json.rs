//! JSON in and out. Going in, an error says which field, what was found and what was
//! expected; serde knows all three and says them in one sentence, which is taken apart
//! here.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use crate::error::{Code, Error, Problem, Result};

/// Media type of every answer.
pub(super) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/json");

/// Reads a JSON object as `T`. `code` is for an object of the wrong shape; what is not
/// JSON at all is `invalid_request`.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], code: Code) -> Result<T, Problem> {
    // A derived `Deserialize` would take a list for an object, its fields in order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(code, "the body has the wrong type")
            .found("a list")
            .expected("an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        match error.inner().classify() {
            Category::Data => shape(code, &path, &message(error.inner())),
            // Where one of several words is expected, serde calls anything but a text a
            // fault of syntax.
            _ if is_json(bytes) => Problem::new(code, "a field has the wrong type")
                .field(&path)
                .found("something else than a text")
                .expected("one of its choices, as a text"),
            _ => malformed(error.inner()),
        }
    })?;
    reader.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn is_json(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes);
    text.is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// What is not JSON.
pub(super) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::InvalidRequest, "the body is not valid JSON")
        .found(error)
        .expected("JSON in UTF-8")
}

/// An answer with a JSON body.
pub(super) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Result<Response<Body>> {
    Ok(answer_bytes(status, to_bytes(value)?))
}

/// Serialises an answer.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::Bug(format!("an answer does not serialise: {error}")))
}

/// An answer whose JSON is written already.
pub(super) fn answer_bytes(status: StatusCode, json: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    response
}

/// Serde's sentence without the position, which says little in a body on one line.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Takes serde's sentence about a value of the wrong shape apart.
fn shape(code: Code, path: &str, message: &str) -> Problem {
    let path = if path == "." { "" } else { path };
    let problem = |sentence: &str| Problem::new(code, sentence);
    let at = |problem: Problem| {
        if path.is_empty() {
            problem
        } else {
            problem.field(path)
        }
    };
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, expected) = found_and_expected(rest);
        return problem("there is no such field")
            .field(child(path, &name))
            .found(name)
            .expected(expected.unwrap_or_else(|| "no field here".into()));
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        let name = rest.trim_matches('`');
        return problem("a field is missing")
            .field(child(path, name))
            .found("nothing")
            .expected(format!("the field {name}"));
    }
    if let Some(rest) = message.strip_prefix("duplicate field ") {
        let name = rest.trim_matches('`');
        return problem("a field is there twice")
            .field(child(path, name))
            .found("it again")
            .expected("it once");
    }
    for (prefix, sentence) in [
        ("invalid type: ", "a field has the wrong type"),
        ("invalid value: ", "a field has a value that cannot be used"),
        ("invalid length ", "a field has the wrong length"),
        (
            "unknown variant ",
            "a field has a value that is not one of its choices",
        ),
    ] {
        if let Some(rest) = message.strip_prefix(prefix) {
            let (found, expected) = found_and_expected(rest);
            let problem = at(problem(sentence)).found(plainly(&found));
            return match expected {
                Some(expected) => problem.expected(plainly(&expected)),
                None => problem,
            };
        }
    }
    at(problem(message))
}

/// `X, expected Y`; what was found may hold the word itself, so the last one counts.
fn found_and_expected(rest: &str) -> (String, Option<String>) {
    match rest.rfind(", expected ") {
        Some(at) => {
            let expected = rest[at + ", expected ".len()..].replace('`', "");
            (unquoted(&rest[..at]), Some(expected))
        }
        None => (unquoted(rest), None),
    }
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        Some(inner) => inner.to_string(),
        None => text.replace('`', ""),
    }
}

/// Rust's and serde's words for types in the caller's.
fn plainly(text: &str) -> String {
    let plain = match text {
        "usize" | "u8" | "u16" | "u32" | "u64" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "an object",
        "a boolean" => "true or false",
        "string or map" => "a string",
        _ if text.starts_with("struct ") => "an object",
        _ => text,
    };
    plain.to_string()
}

/// The path of a field within `path`. Serde names a key that it does not know as the
/// place already.
fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_string()
    } else if path == name || path.ends_with(&format!(".{name}")) {
        path.to_string()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        k: usize,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        choice: Option<Choice>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        weight: f32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Choice {
        Left,
        Right,
    }

    fn problem(text: &str) -> (Option<String>, Option<String>, Option<String>) {
        let problem = parse::<Outer>(text.as_bytes(), Code::InvalidRequest).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest);
        (problem.field, problem.found, problem.expected)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn errors_name_field_found_and_expected() {
        assert_eq!(
            problem(r#"{"k": "three"}"#),
            (
                some("k"),
                some("string \"three\""),
                some("a whole number, 0 or more")
            )
        );
        assert_eq!(
            problem(r#"{"k": -1}"#),
            (
                some("k"),
                some("integer -1"),
                some("a whole number, 0 or more")
            )
        );
        assert_eq!(
            problem(r#"{"k": 1, "inner": [{"weight": 1}, {"weight": ", expected x"}]}"#),
            (
                some("inner[1].weight"),
                some("string \", expected x\""),
                some("a number")
            )
        );
        assert_eq!(
            problem(r#"{"kk": 1}"#),
            (some("kk"), some("kk"), some("one of k, inner, choice"))
        );
        assert_eq!(
            problem(r#"{"k": 1, "inner": [{"wait": 1}]}"#),
            (some("inner[0].wait"), some("wait"), some("weight"))
        );
        assert_eq!(
            problem("{}"),
            (some("k"), some("nothing"), some("the field k"))
        );
        assert_eq!(
            problem(r#"{"k": 1, "choice": "up"}"#),
            (some("choice"), some("up"), some("left or right"))
        );
        assert_eq!(
            problem(r#"{"k": 1, "inner": {"weight": 1}}"#),
            (some("inner"), some("an object"), some("a list"))
        );
        assert_eq!(problem("[1]"), (None, some("a list"), some("an object")));
    }

    #[test]
    fn what_is_not_json_is_said_to_be_that() {
        for text in ["", "{", "{\"k\": 1} x", "{\"k\": 1,}", "nonsense"] {
            let problem = parse::<Outer>(text.as_bytes(), Code::InvalidDefinition).unwrap_err();
            assert_eq!(problem.code, Code::InvalidRequest, "{text}");
        }
        let problem = parse::<Outer>(b"{\"\xff\": 1}", Code::InvalidDefinition).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest);
    }
}
