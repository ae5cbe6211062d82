//! Query texts: whatever is typed is searched for, explained and highlighted, or refused.
#![no_main]

use gleaner::index::Mode;
use gleaner::search::{SearchRequest, search};
use gleaner_fuzz::{WORLD, no_bug};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let request: SearchRequest = serde_json::from_value(serde_json::json!({
        "query": text, "explain": true, "highlight": {}, "k": 5,
    }))
    .expect("a request");
    let request = SearchRequest {
        mode: Some(Mode::Lexical),
        ..request
    };
    no_bug(search(&WORLD.notes(), &request));
});
