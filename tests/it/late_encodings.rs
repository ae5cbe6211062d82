//! Promise: a search whose query cannot be encoded in time answers by words, and what no
//! search waits for any more is not encoded.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use gleaner::config::Config;
use gleaner::error::Code;
use gleaner::index::Definition;
use gleaner::model::{Cancellation, RuntimeOptions, Task};
use gleaner::search::{SearchRequest, search_while};
use serde_json::json;

use crate::support::tiny_model::{TinyModel, runtime};
use crate::support::world::{World, put};

fn models_of(config: &Config) -> PathBuf {
    config.data.folder.with_file_name("models")
}

#[test]
fn a_query_that_a_search_no_longer_waits_for_is_not_encoded() {
    const SEARCHES: u64 = 30;
    let world = World::with(|config| {
        config.models.folders = vec![models_of(config)];
        config.models.runtime = RuntimeOptions {
            sessions: Some(1),
            ..runtime()
        };
        config.limits.encode_ms = 1;
    });
    let model = TinyModel {
        hidden: 256,
        layers: 6,
        intermediate: 1024,
        max_tokens: 128,
        ..TinyModel::default()
    };
    model.write(&models_of(&world.config).join("slow"));
    let definition = "name = \"texts\"\nfields.body.type = \"text\"\n\
                      embedding = { model = \"slow\", fields = [\"body\"] }";
    let definition = Definition::from_toml(definition).unwrap();
    let index = world.catalog.create(definition).unwrap();
    put(&index, vec![json!({"id": "a", "body": "the blue house"})]);
    let encoder = index.encoder().unwrap();
    let before = encoder.counts();
    let long = "tree ".repeat(120);
    let left = Cancellation::default();
    thread::scope(|scope| {
        let load = scope.spawn(|| encoder.encode(Task::Document, &[long.as_str(); 400]));
        while encoder.counts().batches == before.batches {
            thread::sleep(Duration::from_millis(1));
        }
        for n in 0..SEARCHES {
            let request = json!({"query": format!("the blue house {n}"), "mode": "hybrid"});
            let request: SearchRequest = serde_json::from_value(request).unwrap();
            let found = search_while(&index, &request, &left).unwrap();
            assert!(!found.hits.is_empty());
        }
        load.join().unwrap().unwrap();
    });
    // A caller who has left: nothing is begun.
    left.cancel();
    let request = json!({"query": "a cat", "mode": "dense"});
    let request: SearchRequest = serde_json::from_value(request).unwrap();
    let error = search_while(&index, &request, &left).unwrap_err();
    assert_eq!(error.problem().unwrap().code, Code::Timeout);
    let begun = Instant::now();
    let counts = loop {
        let counts = encoder.counts();
        let seen = counts.texts - before.texts + counts.abandoned;
        if seen == 400 + SEARCHES + 1 || begun.elapsed() > Duration::from_secs(20) {
            assert_eq!(seen, 400 + SEARCHES + 1, "{counts:?}");
            break counts;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(counts.abandoned > 1, "{counts:?}");
}
