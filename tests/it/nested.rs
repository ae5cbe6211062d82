//! Promise: a field inside of objects, and of lists of objects, is a field like any other:
//! searched, filtered, counted, sorted by and returned, however the document came.

use std::sync::Arc;

use gleaner::error::Code;
use gleaner::index::{Definition, Index, Mode};
use gleaner::ingest::{Progress, SourceOptions, load_files};
use gleaner::search::{Collapse, HighlightRequest, SearchRequest};
use gleaner::store::Durability;
use serde_json::{Map, Value, json};

use crate::support::files;
use crate::support::shop::problem;
use crate::support::world::{World, ask, ids, put, words, write};

const BOOKS: &str = r#"
name = "books"
[fields.title]
type = "text"
[fields."author.name"]
type = "keyword"
many = true
[fields."author.life.born"]
type = "integer"
many = true
[fields."author.bio"]
type = "text"
many = true
[fields."shelf.row"]
type = "integer"
[fields."shelf.open"]
type = "boolean"
[embedding]
vector_field = "vector"
dimensions = 2
"#;

fn books(world: &World) -> Arc<Index> {
    world
        .catalog
        .create(Definition::from_toml(BOOKS).unwrap())
        .unwrap()
}

fn shelf() -> Vec<Value> {
    vec![
        json!({"id": "1", "title": "tides", "vector": [1, 0],
            "author": {"name": "ada", "life": {"born": 1900}, "bio": "a sailor"},
            "shelf": {"row": 2, "open": true}}),
        json!({"id": "2", "title": "tides", "vector": [0.9, 0.1],
            "author": [
                {"name": "bob", "life": {"born": 1950}, "bio": "a miller"},
                {"name": ["cleo", "kleo"], "life": [{"born": 1960}, {"born": [1961]}]},
                null, {"name": null},
            ],
            "shelf": [{"row": 1}, {"open": false}]}),
        json!({"id": "3", "title": "tides", "vector": [0.8, 0.2], "author": null, "shelf": {}}),
    ]
}

#[test]
fn everything_that_fields_do_nested_ones_do() {
    let world = World::new();
    let books = books(&world);
    put(&books, shelf());
    let filtered = |filter: Value| {
        let lexical = SearchRequest {
            filter: Some(gleaner::search::FilterInput(filter)),
            ..words("tides")
        };
        let dense = SearchRequest {
            query: None,
            mode: Some(Mode::Dense),
            vector: Some(vec![1.0, 0.0]),
            ..lexical.clone()
        };
        let (lexical, dense) = (ask(&books, &lexical), ask(&books, &dense));
        assert_eq!(ids(&lexical), ids(&dense));
        ids(&lexical).join("")
    };
    for (filter, expected) in [
        (json!("author.name = ada"), "1"),
        (json!("author.name IN [kleo, ada]"), "12"),
        (json!({"field": "author.name", "eq": "bob"}), "2"),
        (json!("author.life.born >= 1950"), "2"),
        (json!("author.life.born = 1961"), "2"),
        (json!("EXISTS author.name"), "12"),
        (json!("NOT EXISTS shelf.row"), "3"),
        (json!("shelf.row < 2 AND shelf.open = false"), "2"),
        // Of the document, not of one element of the list.
        (json!("author.name = bob AND author.life.born = 1960"), "2"),
        (json!("author.name STARTS WITH a"), "1"),
    ] {
        assert_eq!(filtered(filter.clone()), expected, "{filter}");
    }
    for (query, expected) in [
        ("sailor", "1"),
        ("author.bio:miller", "2"),
        ("tides author.name:cleo", "2"),
        ("title:sailor", ""),
    ] {
        let request = SearchRequest {
            highlight: Some(HighlightRequest::default()),
            ..words(query)
        };
        let answer = ask(&books, &request);
        assert_eq!(ids(&answer).join(""), expected, "{query}");
        if query == "author.bio:miller" {
            let marked = answer.hits[0].highlights.as_ref().unwrap();
            assert_eq!(marked["author.bio"], json!(["a <em>miller</em>"]));
        }
    }
    let request = SearchRequest {
        facets: [("author.name".to_string(), 9), ("shelf.row".to_string(), 9)].into(),
        sort: Some(vec!["shelf.row".into()]),
        collapse: Some(Collapse {
            field: "shelf.open".into(),
            inner: 0,
        }),
        fields: Some(
            ["author.name", "author.life", "shelf.row"]
                .map(Into::into)
                .to_vec(),
        ),
        ..words("tides")
    };
    let answer = ask(&books, &request);
    assert_eq!(ids(&answer), ["2", "1", "3"]);
    assert_eq!(answer.facets["author.name"].len(), 4);
    assert_eq!(answer.facets["shelf.row"].len(), 2);
    let document = |i: usize| Value::Object(answer.hits[i].document.clone());
    assert_eq!(
        document(0),
        json!({
            "author": [
                {"name": "bob", "life": {"born": 1950}},
                {"name": ["cleo", "kleo"], "life": [{"born": 1960}, {"born": [1961]}]},
                {"name": null},
            ],
            "shelf": [{"row": 1}],
        })
    );
    assert_eq!(
        document(1),
        json!({"author": {"name": "ada", "life": {"born": 1900}}, "shelf": {"row": 2}})
    );
    assert_eq!(answer.hits[0].sort, Some(vec![json!(1)]));
}

#[test]
fn documents_that_do_not_fit_are_refused_with_the_path() {
    let world = World::new();
    let books = books(&world);
    let with = |name: &str, value: Value| {
        let mut book = json!({"id": "1", "vector": [1, 0]});
        book[name] = value;
        book
    };
    for (book, field) in [
        (with("author", json!("ada")), "author"),
        (with("author", json!([{"name": "ada"}, "bob"])), "author"),
        (with("author", json!([[{"name": "ada"}]])), "author"),
        (with("author", json!({"nmae": "ada"})), "author.nmae"),
        (with("author", json!({"life": 1900})), "author.life"),
        (
            with("author", json!({"life": {"born": "then"}})),
            "author.life.born",
        ),
        (
            with("author", json!({"name": {"first": "ada"}})),
            "author.name",
        ),
        (with("shelf", json!([{"row": 1}, {"row": 2}])), "shelf.row"),
        (with("shelf", json!({"row": [1]})), "shelf.row"),
        (with("author.nmae", json!("ada")), "author.nmae"),
        (
            json!({"id": "1", "vector": [1, 0], "shelf.row": 1, "shelf": {"row": 1}}),
            "shelf.row",
        ),
    ] {
        let found = problem(write(&books, vec![book.clone()]).expect_err(&book.to_string()));
        assert_eq!(found.code, Code::InvalidDocument, "{book}: {found}");
        assert_eq!(found.field.as_deref(), Some(field), "{book}: {found}");
        assert!(found.found.is_some() && found.expected.is_some(), "{found}");
    }
    for (more, field) in [
        ("[fields.author]\ntype = \"text\"\n", "fields.author.name"),
        (
            "[fields.\"title.short\"]\ntype = \"text\"\n",
            "fields.title.short",
        ),
        (
            "[fields.\"id.short\"]\ntype = \"text\"\n",
            "fields.id.short",
        ),
        (
            "[fields.\"vector.first\"]\ntype = \"float\"\n",
            "fields.vector.first",
        ),
        ("[fields.\"a..b\"]\ntype = \"text\"\n", "fields.a..b"),
        ("[fields.\"a.\"]\ntype = \"text\"\n", "fields.a."),
        ("[fields.\".a\"]\ntype = \"text\"\n", "fields..a"),
    ] {
        let found = problem(Definition::from_toml(&format!("{BOOKS}{more}")).expect_err(more));
        assert_eq!(found.code, Code::InvalidDefinition, "{more}: {found}");
        assert_eq!(found.field.as_deref(), Some(field), "{more}: {found}");
    }
}

#[test]
fn unknown_members_are_stored_or_dropped_inside_of_objects_too() {
    let world = World::new();
    let book = json!({"id": "1", "vector": [1, 0], "extra": 1,
        "author": [{"name": "ada", "age": 3}, {"age": 4}], "shelf": "none"});
    for (unknown, expected) in [
        (
            "store",
            json!({"id": "1", "extra": 1, "shelf": "none",
            "author": [{"name": "ada", "age": 3}, {"age": 4}]}),
        ),
        ("ignore", json!({"id": "1", "author": [{"name": "ada"}]})),
    ] {
        let text = BOOKS.replace(
            "\"books\"",
            &format!("\"{unknown}\"\nunknown_fields = \"{unknown}\""),
        );
        let index = world
            .catalog
            .create(Definition::from_toml(&text).unwrap())
            .unwrap();
        put(&index, vec![book.clone()]);
        assert_eq!(Value::Object(index.get("1").unwrap()), expected);
        let request = SearchRequest {
            filter: Some("author.name = ada".into()),
            sort: Some(vec!["id".into()]),
            ..SearchRequest::default()
        };
        assert_eq!(ids(&ask(&index, &request)), ["1"]);
    }
}

#[test]
fn patches_files_and_restarts_lead_to_the_same_fields() {
    let world = World::new();
    let index = books(&world);
    let bare = |id: &str, more: Value| {
        let mut book = json!({"id": id, "title": "tides", "vector": [1, 0]});
        book.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        book
    };
    let nested = json!({"author": {"name": "ada"}, "shelf": {"row": 7}});
    put(
        &index,
        vec![bare("patched", json!({"shelf": {"open": true}}))],
    );
    let patch: Map<String, Value> = nested.as_object().unwrap().clone();
    index
        .update("patched", &patch, None, Durability::Synced)
        .unwrap();
    let folder = world.folder.path();
    let csv = "id,title,vector,author.name,shelf.row\ncsv,tides,\"[1, 0]\",ada|eve,7\n";
    let lists = json!({"author": [{"name": "ada"}, {"name": "eve"}], "shelf": {"row": 7}});
    let sources = vec![
        files::jsonl(&folder.join("a.jsonl"), &[bare("jsonl", nested.clone())]),
        files::parquet_of(
            &folder.join("b.parquet"),
            &[
                bare("parquet", nested.clone()),
                bare("struct", json!({"author": {"name": "eve"}})),
            ],
        ),
        files::parquet_of(&folder.join("c.parquet"), &[bare("lists", lists)]),
        files::bytes(&folder.join("d.csv"), csv),
    ];
    let progress = Progress::new();
    load_files(
        &index,
        &sources,
        &SourceOptions::default(),
        &world.config.ingest,
        &folder.join("rejects.jsonl"),
        &progress,
    )
    .unwrap();
    let rejects = std::fs::read_to_string(folder.join("rejects.jsonl")).unwrap_or_default();
    assert_eq!(rejects, "");
    index.refresh().unwrap();
    let request = SearchRequest {
        filter: Some("author.name = ada AND shelf.row = 7".into()),
        sort: Some(vec!["id".into()]),
        ..SearchRequest::default()
    };
    let all = ["csv", "jsonl", "lists", "parquet", "patched"];
    assert_eq!(ids(&ask(&index, &request)), all);
    assert_eq!(
        index.get("patched").unwrap()["shelf"],
        json!({"row": 7, "open": true})
    );

    // The words are made anew from the stored documents.
    drop(index);
    let words = folder.join("data/indexes/books/words");
    let world = {
        let World {
            folder,
            config,
            catalog,
        } = world;
        drop(catalog);
        std::fs::remove_dir_all(&words).unwrap();
        let catalog = Arc::new(gleaner::index::Catalog::new(&config).unwrap());
        World {
            folder,
            config,
            catalog,
        }
    };
    let index = world.catalog.get("books").unwrap();
    assert_eq!(ids(&ask(&index, &request)), all);
}
