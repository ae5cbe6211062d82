//! A bulk body cut into its documents, without building any of them: where each lies.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::json::malformed;
use crate::error::{Code, Problem, Result};

/// The byte ranges of the lines of an NDJSON body; blank lines are none. What a line
/// holds is not looked at here.
pub(super) fn lines(body: &[u8], most: usize) -> Result<Vec<Range<usize>>, Problem> {
    let mut items = Vec::new();
    let mut start = 0;
    for line in body.split_inclusive(|&b| b == b'\n') {
        let item = start..start + line.len();
        start = item.end;
        if !line.trim_ascii().is_empty() {
            push(&mut items, item, most)?;
        }
    }
    Ok(items)
}

/// The byte ranges of the elements of a JSON list.
///
/// # Errors
/// `invalid_request` for a body that is no JSON list as a whole. An element may still
/// turn out unusable by itself: text that is not UTF-8, a number no float can hold.
pub(super) fn list(body: &[u8], most: usize) -> Result<Vec<Range<usize>>, Problem> {
    serde_json::from_slice::<IgnoredAny>(body).map_err(|error| malformed(&error))?;
    let start = body.len() - body.trim_ascii_start().len();
    if body.get(start) != Some(&b'[') {
        return Err(
            Problem::new(Code::InvalidRequest, "the body has the wrong type")
                .found("JSON that is not a list")
                .expected("a list of documents, or one document a line as application/x-ndjson"),
        );
    }
    // The whole is valid JSON, so brackets outside strings balance, and commas at depth 1
    // are what separates the elements.
    let mut items = Vec::new();
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut from = start + 1;
    for (at, &byte) in body.iter().enumerate().skip(start) {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends = depth == 0 || (depth == 1 && byte == b',');
        if ends {
            // Only an empty list has an element without a character.
            if body
                .get(from..at)
                .is_some_and(|i| !i.trim_ascii().is_empty())
            {
                push(&mut items, from..at, most)?;
            }
            from = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    Ok(items)
}

fn push(items: &mut Vec<Range<usize>>, item: Range<usize>, most: usize) -> Result<(), Problem> {
    if items.len() == most {
        return Err(
            Problem::new(Code::LimitExceeded, "the body holds too many documents")
                .found(format!("more than {most} documents"))
                .expected(format!("at most {most} documents in one request")),
        );
    }
    items.push(item);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    fn texts(body: &[u8], items: Vec<Range<usize>>) -> Vec<String> {
        items
            .into_iter()
            .map(|r| String::from_utf8_lossy(&body[r]).trim().to_string())
            .collect()
    }

    #[test]
    fn lines_are_cut_at_line_feeds() {
        let body = b"{\"a\":1}\r\n\n  \n{\"b\":2}\nno json";
        let items = lines(body, 10).unwrap();
        assert_eq!(texts(body, items), [r#"{"a":1}"#, r#"{"b":2}"#, "no json"]);
        assert!(lines(b"", 10).unwrap().is_empty());
        assert_eq!(lines(b"1\n2\n3", 2).unwrap_err().code, Code::LimitExceeded);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for body in ["", "[", "[1,]", "[1] x", "{\"a\": [1]}", "\"[1]\"", "[1}"] {
            let problem = list(body.as_bytes(), 10).unwrap_err();
            assert_eq!(problem.code, Code::InvalidRequest, "{body}");
        }
        assert!(list(b" [ ] ", 10).unwrap().is_empty());
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            "[\\[\\]{}\",\\\\a-c\u{e9}\n ]{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::hash_map("[a\"\\[,]{0,4}", inner, 0..4)
                    .prop_map(|m| Json::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn elements_are_found_where_they_lie(
            elements in proptest::collection::vec(json(), 0..6),
            pretty: bool,
        ) {
            let whole = Json::from(elements.clone());
            let body = if pretty {
                serde_json::to_vec_pretty(&whole).unwrap()
            } else {
                serde_json::to_vec(&whole).unwrap()
            };
            let found: Vec<Json> = list(&body, 10).unwrap()
                .into_iter()
                .map(|r| serde_json::from_slice(&body[r]).unwrap())
                .collect();
            prop_assert_eq!(found, elements);
        }

        #[test]
        fn no_body_is_a_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = list(&body, 8);
            let _ = lines(&body, 8);
        }
    }
}
