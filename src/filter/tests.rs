//! What the filter language accepts, what it refuses, and what its normal form keeps.

use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::document::{Document, FieldDefinition, FieldType, Fields, Value};
use crate::error::{Code, Problem};

fn fields() -> Fields {
    let mut fields = Fields::new();
    for (name, kind) in [
        ("body", FieldType::Text),
        ("lang", FieldType::Keyword),
        ("tags", FieldType::Keyword),
        ("minutes", FieldType::Integer),
        ("price", FieldType::Float),
        ("published", FieldType::Date),
        ("featured", FieldType::Boolean),
    ] {
        let mut definition = FieldDefinition::new(kind);
        definition.many = matches!(name, "tags" | "price");
        fields.insert(name.to_string(), definition);
    }
    fields
}

fn bound(text: &str) -> Result<BoundFilter, Problem> {
    Filter::parse(text)?.bind(&fields(), "id")
}

fn normal(text: &str) -> String {
    bound(text).unwrap().normalise().to_string()
}

#[test]
fn text_reads_as_people_mean_it() {
    for (text, expected) in [
        ("", "ALL"),
        ("lang = en", r#""lang" IN ["en"]"#),
        ("lang=\"a \\\"b\\\" \\u00e9\"", r#""lang" IN ["a \"b\" é"]"#),
        ("lang = 'it''s'", "error"),
        (
            "lang in [en, 'fr', \"de\"]",
            r#""lang" IN ["de", "en", "fr"]"#,
        ),
        ("lang NOT IN (en)", r#"NOT "lang" IN ["en"]"#),
        ("lang starts with e", r#""lang" STARTS WITH "e""#),
        ("NOT lang STARTS WITH ''", r#"NOT EXISTS "lang""#),
        ("lang STARTS e", "error"),
        ("lang STARTS WITH", "error"),
        ("minutes STARTS WITH 3", "error"),
        ("lang IN []", "NOT ALL"),
        ("lang != en", r#"NOT "lang" IN ["en"]"#),
        ("minutes >= 3 and minutes < 10", r#""minutes" IN [3..9]"#),
        ("minutes = 3..10", r#""minutes" IN [3..10]"#),
        ("minutes = ..10", r#""minutes" IN [..10]"#),
        ("minutes = 3 ..", r#""minutes" IN [3..]"#),
        ("minutes = -3..-1", r#""minutes" IN [-3..-1]"#),
        ("minutes = 3..3", r#""minutes" IN [3]"#),
        ("minutes = 3..2", "NOT ALL"),
        ("minutes > 9223372036854775807", "NOT ALL"),
        (
            "price < 1.5 AND price > 0.5",
            r#"("price" IN [..1.5[ AND "price" IN ]0.5..])"#,
        ),
        ("exists body", r#"EXISTS "body""#),
        ("EXISTS id", "ALL"),
        ("id = 7", r#"#id IN ["7"]"#),
        ("featured = TRUE", r#""featured" IN [true]"#),
        ("NOT NOT lang = en", r#""lang" IN ["en"]"#),
        ("lang = en OR lang = fr", r#""lang" IN ["en", "fr"]"#),
        (
            "NOT (lang = en OR EXISTS tags)",
            r#"(NOT "lang" IN ["en"] AND NOT EXISTS "tags")"#,
        ),
        ("lang = en AND NOT lang = en", "NOT ALL"),
        ("(lang = en)", r#""lang" IN ["en"]"#),
        ("lang = android", r#""lang" IN ["android"]"#),
        ("lang = \"and\"", r#""lang" IN ["and"]"#),
        ("lang = c++/x-y_z:1", r#""lang" IN ["c++/x-y_z:1"]"#),
        ("lang =", "error"),
        ("lang", "error"),
        ("= en", "error"),
        ("lang = en AND", "error"),
        ("lang = en lang = fr", "error"),
        ("(lang = en", "error"),
        ("lang = en)", "error"),
        ("lang = \"en", "error"),
        ("lang = \"\\x\"", "error"),
        ("lang = and", "error"),
        ("lang IN en", "error"),
        ("lang IN [en", "error"),
        ("minutes = ..", "error"),
        ("NOT", "error"),
        ("EXISTS", "error"),
    ] {
        let found = match bound(text) {
            Ok(filter) => filter.normalise().to_string(),
            Err(problem) => {
                assert_eq!(problem.code, Code::InvalidFilter, "{text}");
                assert!(
                    problem.expected.is_some() && problem.found.is_some(),
                    "{text}"
                );
                "error".to_string()
            }
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    let problem = Filter::parse("lang = en AND (minutes ~ 3)").unwrap_err();
    assert!(problem.message.contains("character 24"), "{problem}");
    assert_eq!(problem.found.as_deref(), Some("~ 3)"));
    for (text, field, found, expected) in [
        ("nosuch = 1", "nosuch", "nosuch", "lang, tags"),
        ("minutes = soon", "minutes", "soon", "whole number"),
        ("minutes = \"3\"", "minutes", "\"3\"", "whole number"),
        ("published > soon", "published", "soon", "2024-05-01"),
        ("featured = 1", "featured", "1", "true or false"),
        ("body = word", "body", "comparison", "keyword"),
        ("lang > a", "lang", "range", "integer"),
        ("price = NaN", "price", "NaN", "finite"),
    ] {
        let problem = bound(text).unwrap_err();
        assert_eq!(problem.code, Code::InvalidFilter);
        assert_eq!(problem.field.as_deref(), Some(field));
        assert!(problem.found.unwrap().contains(found), "{text}");
        assert!(problem.expected.unwrap().contains(expected), "{text}");
    }
}

#[test]
fn json_and_text_mean_the_same() {
    for (json, text) in [
        (json!("lang = en"), "lang = en"),
        (json!({}), ""),
        (json!({"field": "lang", "eq": "en"}), "lang = en"),
        (json!({"field": "minutes", "eq": 3}), "minutes = 3"),
        (json!({"field": "tags", "in": ["a", "b"]}), "tags IN [a, b]"),
        (
            json!({"field": "minutes", "gte": 1, "lt": 4}),
            "minutes = 1..3",
        ),
        (json!({"field": "lang", "exists": false}), "NOT EXISTS lang"),
        (
            json!({"or": [{"not": "lang = en"}, {"and": ["featured = true", "minutes > 2"]}]}),
            "lang != en OR featured = true AND minutes >= 3",
        ),
    ] {
        let read = Filter::from_json(&json)
            .unwrap()
            .bind(&fields(), "id")
            .unwrap();
        assert_eq!(read.normalise().to_string(), normal(text), "{json}");
    }
    for json in [
        json!(3),
        json!([]),
        json!({"xor": []}),
        json!({"and": "lang = en"}),
        json!({"and": [], "or": []}),
        json!({"field": "lang"}),
        json!({"field": 3, "eq": 3}),
        json!({"field": "lang", "eq": ["en"]}),
        json!({"field": "lang", "eq": null}),
        json!({"field": "lang", "eq": "a", "in": ["b"]}),
        json!({"field": "minutes", "eq": 1, "gt": 0}),
        json!({"field": "minutes", "gt": 1, "gte": 0}),
        json!({"field": "lang", "exists": "yes"}),
        json!({"field": "lang", "like": "x"}),
    ] {
        let problem = Filter::from_json(&json).unwrap_err();
        assert_eq!(problem.code, Code::InvalidFilter, "{json}");
    }
}

#[test]
fn size_is_limited_before_the_stack_is() {
    for text in [
        "(".repeat(60_000),
        "NOT ".repeat(10_000) + "lang = en",
        "x".repeat(MAX_TEXT_BYTES + 1),
        format!("lang IN [{}]", vec!["a"; MAX_LIST + 1].join(",")),
        vec!["a=b"; MAX_CLAUSES + 1].join(" OR "),
    ] {
        assert_eq!(Filter::parse(&text).unwrap_err().code, Code::LimitExceeded);
    }
    let mut json = json!({"field": "lang", "eq": "en"});
    for _ in 0..MAX_DEPTH + 1 {
        json = json!({"not": json});
    }
    assert_eq!(
        Filter::from_json(&json).unwrap_err().code,
        Code::LimitExceeded
    );
    assert!(Filter::parse(&("(".repeat(60) + "lang = en" + &")".repeat(60))).is_ok());
}

#[test]
fn texts_inside_json_share_its_limits() {
    let text = |clauses: usize| json!(vec!["a=b"; clauses].join(" OR "));
    // As many as a text may hold by itself are as many in JSON.
    for (fits, filter) in [
        (true, text(MAX_CLAUSES)),
        (false, text(MAX_CLAUSES + 1)),
        (
            true,
            json!({"and": [text(MAX_CLAUSES / 2), text(MAX_CLAUSES / 2 - 1)]}),
        ),
        (
            false,
            json!({"and": [text(MAX_CLAUSES / 2), text(MAX_CLAUSES / 2)]}),
        ),
        (false, json!({"or": vec![json!(""); MAX_CLAUSES]})),
    ] {
        let read = Filter::from_json(&filter).map_err(|p| p.code);
        assert_eq!(read.err(), (!fits).then_some(Code::LimitExceeded));
    }
    let nested = |objects: usize, levels: usize| {
        let mut filter = json!(format!("{}a=b{}", "(".repeat(levels), ")".repeat(levels)));
        for _ in 0..objects {
            filter = json!({"not": filter});
        }
        Filter::from_json(&filter).map_err(|p| p.code).err()
    };
    assert_eq!(nested(0, MAX_DEPTH - 1), None);
    assert_eq!(nested(MAX_DEPTH / 2, MAX_DEPTH / 2 - 1), None);
    assert_eq!(
        nested(MAX_DEPTH / 2, MAX_DEPTH / 2),
        Some(Code::LimitExceeded)
    );
}

fn values(kind: FieldType) -> BoxedStrategy<Value> {
    match kind {
        FieldType::Keyword | FieldType::Text => {
            prop_oneof!["a", "b", "c"].prop_map(Value::Keyword).boxed()
        }
        FieldType::Integer => (0i64..4).prop_map(Value::Integer).boxed(),
        FieldType::Float => (0i32..4)
            .prop_map(|x| Value::Float(f64::from(x) / 2.0))
            .boxed(),
        FieldType::Date => (0i64..4).prop_map(Value::Date).boxed(),
        FieldType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
    }
}

fn documents() -> impl Strategy<Value = Document> {
    let list = |name: &'static str, kind, most: usize| {
        proptest::collection::vec(values(kind), 0..=most).prop_map(move |v| (name.to_string(), v))
    };
    (
        "[ab]",
        list("lang", FieldType::Keyword, 1),
        list("tags", FieldType::Keyword, 2),
        list("minutes", FieldType::Integer, 1),
        list("price", FieldType::Float, 2),
    )
        .prop_map(|(id, a, b, c, d)| Document {
            id,
            values: [a, b, c, d]
                .into_iter()
                .filter(|(_, values)| !values.is_empty())
                .collect::<IndexMap<_, _>>(),
            source: Map::new(),
        })
}

fn filters() -> impl Strategy<Value = BoundFilter> {
    let target = |name: &str| Target::Field(name.to_string());
    let one_of = |name: &'static str, kind| {
        proptest::collection::vec(values(kind), 0..3)
            .prop_map(move |v| BoundFilter::In(target(name), v))
    };
    let range = |name: &'static str, kind, many| {
        let end = || proptest::option::of((values(kind), any::<bool>()));
        (end(), end()).prop_map(move |(low, high)| BoundFilter::Range {
            target: target(name),
            bounds: Bounds { low, high },
            many,
        })
    };
    let leaf = prop_oneof![
        Just(BoundFilter::All),
        one_of("lang", FieldType::Keyword),
        one_of("tags", FieldType::Keyword),
        one_of("minutes", FieldType::Integer),
        range("minutes", FieldType::Integer, false),
        range("price", FieldType::Float, true),
        Just(BoundFilter::Exists(target("lang"))),
        "[ab]{0,2}".prop_map(move |p| BoundFilter::Prefix(target("tags"), p)),
        Just(BoundFilter::Prefix(Target::Id, "a".into())),
        Just(BoundFilter::Exists(Target::Id)),
        Just(BoundFilter::In(
            Target::Id,
            vec![Value::Keyword("a".into())]
        )),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(BoundFilter::And),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(BoundFilter::Or),
            inner.prop_map(|f| BoundFilter::Not(Box::new(f))),
        ]
    })
}

/// Another filter of the same meaning, by the laws the normal form knows.
fn reworded(filter: &BoundFilter) -> BoundFilter {
    let not = |f: BoundFilter| BoundFilter::Not(Box::new(f));
    match filter {
        BoundFilter::And(parts) => not(BoundFilter::Or(
            parts.iter().rev().map(|f| not(reworded(f))).collect(),
        )),
        BoundFilter::Or(parts) => BoundFilter::Or(vec![
            BoundFilter::Or(parts.iter().rev().map(reworded).collect()),
            BoundFilter::Or(parts.iter().map(reworded).collect()),
        ]),
        BoundFilter::In(target, values) => BoundFilter::Or(
            values
                .iter()
                .rev()
                .map(|v| BoundFilter::In(target.clone(), vec![v.clone(), v.clone()]))
                .collect(),
        ),
        other => not(not(other.clone())),
    }
}

proptest! {
    #[test]
    fn the_normal_form_keeps_the_meaning(filter in filters(), document in documents()) {
        let normal = filter.clone().normalise();
        prop_assert_eq!(normal.matches(&document), filter.matches(&document));
        prop_assert_eq!(normal.clone().normalise(), normal);
    }

    #[test]
    fn other_wordings_have_the_same_normal_form(filter in filters()) {
        prop_assert_eq!(reworded(&filter).normalise(), filter.normalise());
    }

    #[test]
    fn no_text_panics(text in "[a-c =!<>()\\[\\],\"'.0-9~\\\\]{0,40}|\\PC{0,40}") {
        let _ = Filter::parse(&text).map(|f| f.bind(&fields(), "id"));
    }
}
