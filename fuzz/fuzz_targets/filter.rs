//! The filter language, as text and as JSON: no input panics, and the normal form of a filter passes
//! what the filter passes.
#![no_main]

use std::sync::LazyLock;

use gleaner::document::{Document, UnknownFields, validate};
use gleaner::filter::Filter;
use gleaner_fuzz::FIELDS;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let all = [
        json!({"id": "a"}),
        json!({"id": "b", "stars": 3, "price": 1.5, "tags": ["x", "y"], "open": true}),
        json!({"id": "c", "stars": -3, "day": "2024-02-29", "author": {"name": "ada"}, "title": "x"}),
    ];
    let read = |json| validate(&FIELDS, "id", UnknownFields::Store, 1 << 20, json);
    all.map(|json| read(json).expect("a document")).into()
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parsed = match text.starts_with('{') {
        false => Filter::parse(text),
        true => match serde_json::from_str::<Value>(text) {
            Ok(json) => Filter::from_json(&json),
            Err(_) => return,
        },
    };
    let Ok(bound) = parsed.and_then(|filter| filter.bind(&FIELDS, "id")) else {
        return;
    };
    let normal = bound.clone().normalise();
    for document in DOCUMENTS.iter() {
        assert_eq!(bound.matches(document), normal.matches(document), "{text}");
    }
    assert_eq!(normal.clone().normalise(), normal, "{text}");
});
