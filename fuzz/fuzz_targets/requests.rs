//! Bodies of requests: searches are carried out, documents prepared, definitions checked, schemas
//! imported. The first byte says which.
#![no_main]

use gleaner::api::{
    BulkOperation, EmbeddingsRequest, FeedbackRequest, JobRequest, RerankCall, SchemaRequest,
    SearchBatch,
};
use gleaner::index::Definition;
use gleaner::search::{SearchRequest, search};
use gleaner_fuzz::{WORLD, no_bug};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    match kind {
        b's' => {
            if let Ok(request) = serde_json::from_slice::<SearchRequest>(body) {
                no_bug(search(&WORLD.notes(), &request));
            }
        }
        b'm' => {
            if let Ok(batch) = serde_json::from_slice::<SearchBatch>(body) {
                let _ = serde_json::to_string(&batch);
            }
        }
        b'b' => {
            let index = WORLD.notes();
            for line in body.split(|&byte| byte == b'\n') {
                if let Ok(operation) = serde_json::from_slice::<BulkOperation>(line)
                    && let Some(document) = operation.put
                {
                    no_bug(index.prepare(Value::Object(document)));
                }
                if let Ok(document) = serde_json::from_slice::<Value>(line) {
                    no_bug(index.prepare(document));
                }
            }
        }
        b'd' => {
            if let Ok(definition) = serde_json::from_slice::<Definition>(body) {
                let _ = definition.check();
            }
        }
        b't' => {
            if let Ok(text) = std::str::from_utf8(body) {
                let _ = Definition::from_toml(text);
            }
        }
        b'q' => {
            if let Ok(text) = std::str::from_utf8(body) {
                let _ = gleaner_fuzz::imported(text);
            }
        }
        _ => {
            let _ = serde_json::from_slice::<RerankCall>(body);
            let _ = serde_json::from_slice::<EmbeddingsRequest>(body);
            let _ = serde_json::from_slice::<FeedbackRequest>(body);
            let _ = serde_json::from_slice::<SchemaRequest>(body);
            let _ = serde_json::from_slice::<JobRequest>(body);
        }
    }
});
