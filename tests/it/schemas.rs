//! Promise: what `schemas/` and `config.toml` say is what the code does.
//!
//! `make schemas` writes the files anew.

use std::collections::BTreeSet;
use std::path::Path;

use gleaner::config::Config;
use gleaner::error::Problem;
use gleaner::index::Definition;
use gleaner::search::{SearchRequest, SearchResponse};
use schemars::Schema;

fn generated() -> Vec<(&'static str, Schema)> {
    vec![
        ("index", schemars::schema_for!(Definition)),
        ("config", schemars::schema_for!(Config)),
        (
            "embeddings-request",
            schemars::schema_for!(gleaner::api::EmbeddingsRequest),
        ),
        (
            "rerank-request",
            schemars::schema_for!(gleaner::api::RerankCall),
        ),
        (
            "feedback-request",
            schemars::schema_for!(gleaner::api::FeedbackRequest),
        ),
        (
            "feedback-fit",
            schemars::schema_for!(gleaner::feedback::FitReport),
        ),
        (
            "schema-request",
            schemars::schema_for!(gleaner::api::SchemaRequest),
        ),
        ("schema", schemars::schema_for!(gleaner::sql::Entry)),
        (
            "schema-retrieve-request",
            schemars::schema_for!(gleaner::sql::RetrieveRequest),
        ),
        (
            "schema-retrieve-response",
            schemars::schema_for!(gleaner::sql::Focus),
        ),
        (
            "schema-descriptions",
            schemars::schema_for!(gleaner::sql::Descriptions),
        ),
        (
            "schema-which-request",
            schemars::schema_for!(gleaner::sql::WhichRequest),
        ),
        (
            "schema-which-response",
            schemars::schema_for!(gleaner::sql::WhichAnswer),
        ),
        (
            "schema-values-request",
            schemars::schema_for!(gleaner::sql::ValuesRequest),
        ),
        (
            "schema-values-response",
            schemars::schema_for!(gleaner::sql::ValuesAnswer),
        ),
        (
            "schema-examples-request",
            schemars::schema_for!(gleaner::api::ExamplesRequest),
        ),
        (
            "schema-examples",
            schemars::schema_for!(gleaner::api::ExampleList),
        ),
        (
            "schema-similar-request",
            schemars::schema_for!(gleaner::sql::SimilarRequest),
        ),
        (
            "schema-similar-response",
            schemars::schema_for!(gleaner::sql::SimilarAnswer),
        ),
        (
            "schema-annotate-request",
            schemars::schema_for!(gleaner::sql::AnnotateRequest),
        ),
        (
            "schema-annotate-response",
            schemars::schema_for!(gleaner::sql::AnnotateAnswer),
        ),
        (
            "schema-permissions",
            schemars::schema_for!(gleaner::sql::Permissions),
        ),
        (
            "entities-link-request",
            schemars::schema_for!(gleaner::entity::LinkRequest),
        ),
        (
            "entities-link-response",
            schemars::schema_for!(gleaner::entity::LinkResponse),
        ),
        (
            "entities-disambiguate-request",
            schemars::schema_for!(gleaner::entity::DisambiguateRequest),
        ),
        (
            "entities-retrieve-request",
            schemars::schema_for!(gleaner::entity::RetrieveEntitiesRequest),
        ),
        (
            "entities-retrieve-response",
            schemars::schema_for!(gleaner::entity::RetrieveEntitiesResponse),
        ),
        (
            "entities-catalog-request",
            schemars::schema_for!(gleaner::api::CatalogRequest),
        ),
        (
            "entities-add-request",
            schemars::schema_for!(gleaner::api::AddNamesRequest),
        ),
        (
            "entities-disambiguate-response",
            schemars::schema_for!(gleaner::entity::LinkedMention),
        ),
        (
            "entities-build-response",
            schemars::schema_for!(gleaner::entity::BuildReport),
        ),
        (
            "entities-add-response",
            schemars::schema_for!(gleaner::entity::AddReport),
        ),
        (
            "entities-catalog",
            schemars::schema_for!(gleaner::entity::CatalogInfo),
        ),
        (
            "entities-catalogs",
            schemars::schema_for!(gleaner::api::CatalogList),
        ),
        (
            "entities-names",
            schemars::schema_for!(gleaner::api::EntityAnswer),
        ),
        (
            "job-request",
            schemars::schema_for!(gleaner::api::JobRequest),
        ),
        ("job", schemars::schema_for!(gleaner::jobs::JobReport)),
        ("search-request", schemars::schema_for!(SearchRequest)),
        ("search-response", schemars::schema_for!(SearchResponse)),
        ("problem", schemars::schema_for!(Problem)),
    ]
}

#[test]
fn schemas_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let write = std::env::var_os("GLEANER_REGENERATE").is_some();
    for (name, schema) in generated() {
        let path = folder.join(format!("{name}.schema.json"));
        let json = schema.to_value();
        let text = serde_json::to_string_pretty(&json).unwrap() + "\n";
        if write {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not what the code says; run `make schemas`",
            path.display()
        );
    }
}

/// The columns of an export of feedback, for whoever reads one.
#[test]
fn the_columns_of_exported_feedback_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/feedback-export.json");
    let columns: Vec<serde_json::Value> = gleaner::feedback::FEEDBACK_COLUMNS
        .iter()
        .map(|(name, kind, holds)| {
            serde_json::json!({"name": name, "type": kind, "description": holds})
        })
        .collect();
    let text = serde_json::to_string_pretty(&serde_json::json!({
        "title": "Feedback exported as Parquet: a row for each document of each event",
        "columns": columns,
    }))
    .unwrap()
        + "\n";
    if std::env::var_os("GLEANER_REGENERATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the code says; run `make schemas`",
        path.display()
    );
}

#[test]
fn shipped_definitions_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("indexes");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let definition = Definition::from_file(&path).unwrap();
        assert_eq!(
            path.file_stem().unwrap().to_str().unwrap(),
            definition.name,
            "a definition's file bears its name"
        );
        let text = definition.to_toml().unwrap();
        assert_eq!(Definition::from_toml(&text).unwrap(), definition);
        // 0.1 is not 0.10000000149011612.
        assert!(!text.contains("00000"), "{text}");
        seen += 1;
    }
    assert!(seen >= 2);
}

/// Every key of a table, as `section.key`.
fn keys(prefix: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            toml::Value::Table(inner) => keys(&path, inner, into),
            _ => {
                into.insert(path);
            }
        }
    }
}

#[test]
fn the_configuration_file_names_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let written: Config = toml::from_str(&text).unwrap();
    let defaults = Config::default();
    // Keys whose default depends on the machine are written commented out; uncommented,
    // the file must still be a configuration.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("#: ") {
            Some(setting) => format!("{setting}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let _: Config = toml::from_str(&all).unwrap();
    assert_eq!(written, defaults, "a value differs from the default");

    let mut named = BTreeSet::new();
    keys("", &toml::from_str(&all).unwrap(), &mut named);
    let schema = schemars::schema_for!(Config).to_value();
    let mut known = BTreeSet::new();
    schema_keys("", &schema, &schema, &mut known);
    assert_eq!(named, known, "config.toml and the code name different keys");
}

fn schema_keys(
    prefix: &str,
    node: &serde_json::Value,
    root: &serde_json::Value,
    into: &mut BTreeSet<String>,
) {
    let node = match node["$ref"].as_str() {
        Some(path) => root.pointer(path.trim_start_matches('#')).unwrap(),
        None => node,
    };
    match node["properties"].as_object() {
        Some(properties) => {
            for (name, property) in properties {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                schema_keys(&path, property, root, into);
            }
        }
        None => {
            into.insert(prefix.to_string());
        }
    }
}
