//! Promise: a search or a definition that cannot be answered or used is refused with a
//! stable code, the field, what was found and what was expected, and changes nothing.

use gleaner::error::Code;
use gleaner::index::{Definition, Fusion, Mode};
use gleaner::search::{FilterInput, HighlightRequest, Like, SearchRequest, search};
use serde_json::json;

use crate::support::shop::{SHOP, Shop, problem};
use crate::support::world::{both, words};

#[test]
fn malformed_filters_are_refused() {
    let shop = Shop::new();
    let text = |filter: &str| FilterInput(json!(filter));
    #[rustfmt::skip]
    let filters = vec![
        text("stars"), text("stars >"), text("stars >< 3"), text("= 3"),
        text("stars = 3 AND"), text("AND stars = 3"), text("(stars = 3"), text("stars = 3)"),
        text("NOT"), text("kind = \"open"), text("kind IN"), 
        text("kind IN [\"a\""), text("stars = 3 stars = 4"), text("nobody = 3"),
        text("stars = \"many\""), text("stars = 3.5"), text("price > cheap"),
        text("day > yesterday"), text("open = perhaps"), text("title = light"),
        text("kind > 3"), text("open >= true"), text("EXISTS"), text("EXISTS nobody"),
        FilterInput(json!(3)), FilterInput(json!(null)), FilterInput(json!([])),
        FilterInput(json!({"and": 3})), FilterInput(json!({"xor": []})),
        FilterInput(json!({"field": "stars"})), FilterInput(json!({"field": 3, "eq": 3})),
        FilterInput(json!({"field": "stars", "eq": "many"})),
        FilterInput(json!({"field": "stars", "eq": [3]})),
        FilterInput(json!({"field": "stars", "eq": 3, "in": [3]})),
        FilterInput(json!({"field": "stars", "gt": 3, "gte": 3})),
        FilterInput(json!({"field": "nobody", "eq": 3})),
        FilterInput(json!({"field": "kind", "exists": "yes"})),
    ];
    for filter in filters {
        for mut request in [words("light"), both("light")] {
            request.filter = Some(filter.clone());
            let found = problem(search(&shop.index, &request).expect_err(&filter.0.to_string()));
            assert_eq!(found.code, Code::InvalidFilter, "{}: {found}", filter.0);
            assert!(found.field.is_some(), "{}: {found}", filter.0);
            assert!(
                found.found.is_some() && found.expected.is_some(),
                "{}: {found}",
                filter.0
            );
        }
    }
    for deep in [
        "(".repeat(100_000),
        "NOT ".repeat(100_000),
        format!("kind IN [{}1]", "1,".repeat(100_000)),
    ] {
        let mut request = words("light");
        request.filter = Some(text(&deep));
        let found = problem(search(&shop.index, &request).unwrap_err());
        assert!(
            matches!(found.code, Code::InvalidFilter | Code::LimitExceeded),
            "{found}"
        );
    }
    shop.is_as_before("malformed filters");
}

#[test]
fn malformed_searches_are_refused() {
    use Code::{DocumentNotFound, InvalidQuery, InvalidRequest, InvalidVector, LimitExceeded};
    let shop = Shop::new();
    let base = words("light");
    let vector = |values: &[f32]| SearchRequest {
        vector: Some(values.to_vec()),
        ..SearchRequest::default()
    };
    let like = |ids: &[&str]| SearchRequest {
        like: Some(Like {
            ids: ids.iter().map(ToString::to_string).collect(),
        }),
        ..SearchRequest::default()
    };
    let mark = |change: fn(&mut HighlightRequest)| {
        let mut highlight = HighlightRequest::default();
        change(&mut highlight);
        SearchRequest {
            highlight: Some(highlight),
            ..words("light")
        }
    };
    let fusion = |lexical: f32, dense: f32, rrf_k: f32| SearchRequest {
        fusion: Some(Fusion {
            lexical,
            dense,
            rrf_k,
            ..Fusion::default()
        }),
        ..both("light")
    };
    #[rustfmt::skip]
    let cases: Vec<(SearchRequest, Code, &str)> = vec![
        (SearchRequest { k: Some(0), ..base.clone() }, InvalidRequest, "k"),
        (SearchRequest { k: Some(1_000_000_000), ..base.clone() }, LimitExceeded, "k"),
        (SearchRequest { k: Some(usize::MAX), ..base.clone() }, LimitExceeded, "k"),
        (SearchRequest { offset: Some(usize::MAX), ..base.clone() }, LimitExceeded, "offset"),
        (SearchRequest { k: Some(1000), offset: Some(1), ..base.clone() }, LimitExceeded, "offset"),
        (SearchRequest { candidates: Some(0), ..base.clone() }, InvalidRequest, "candidates"),
        (SearchRequest { candidates: Some(10_001), ..base.clone() }, InvalidRequest, "candidates"),
        (SearchRequest { ef: Some(0), ..base.clone() }, InvalidRequest, "ef"),
        (SearchRequest { fields: Some(vec!["nobody".into()]), ..base.clone() }, InvalidRequest, "fields"),
        (SearchRequest { mode: Some(Mode::Dense), ..base.clone() }, InvalidRequest, "mode"),
        (SearchRequest::default(), InvalidRequest, "query"),
        (words(""), InvalidQuery, "query"),
        (words(" \n "), InvalidQuery, "query"),
        (vector(&[1.0, 0.0]), InvalidVector, "vector"),
        (vector(&[]), InvalidVector, "vector"),
        (vector(&[f32::NAN, 0.0, 0.0]), InvalidVector, "vector"),
        (vector(&[f32::INFINITY, 0.0, 0.0]), InvalidVector, "vector"),
        (vector(&[0.0; 3]), InvalidVector, "vector"),
        (SearchRequest { mode: Some(Mode::Lexical), ..both("light") }, InvalidRequest, "mode"),
        (SearchRequest { mode: Some(Mode::Hybrid), ..vector(&[1.0, 0.0, 0.0]) }, InvalidRequest, "mode"),
        (like(&[]), InvalidRequest, "like.ids"),
        (like(&["a"; 33]), InvalidRequest, "like.ids"),
        (like(&["nobody"]), DocumentNotFound, "like.ids"),
        (SearchRequest { query: Some("light".into()), ..like(&["a"]) }, InvalidRequest, "like"),
        (mark(|h| h.max_chars = 3), InvalidRequest, "highlight.max_chars"),
        (mark(|h| h.fields = Some(vec!["stars".into()])), InvalidRequest, "highlight.fields"),
        (fusion(-1.0, 1.0, 60.0), InvalidRequest, "fusion.lexical"),
        (fusion(0.5, f32::NAN, 60.0), InvalidRequest, "fusion.dense"),
        (fusion(0.0, 0.0, 60.0), InvalidRequest, "fusion.lexical"),
        (fusion(0.5, 0.5, 0.0), InvalidRequest, "fusion.rrf_k"),
    ];
    for (request, code, field) in cases {
        let shown = serde_json::to_string(&request).unwrap();
        let found = problem(search(&shop.index, &request).expect_err(&shown));
        assert_eq!(
            (found.code, found.field.as_deref()),
            (code, Some(field)),
            "{shown}: {found}"
        );
        assert!(
            found.found.is_some() && (found.expected.is_some() || code == DocumentNotFound),
            "{shown}: {found}"
        );
    }
    shop.is_as_before("malformed searches");
}

#[test]
fn contradictory_definitions_are_refused() {
    const TEXT: &str = "[fields.t]\ntype = \"text\"\n";
    const BRING: &str = "[embedding]\nvector_field = \"v\"\ndimensions = 3\n";
    let named = |name: &str| format!("name = \"{name}\"\n{TEXT}");
    let with = |more: &str| format!("name = \"x\"\n{TEXT}{more}\n");
    #[rustfmt::skip]
    let cases: Vec<(String, &str)> = vec![
        (named(""), "name"), (named("X"), "name"), (named("../x"), "name"), (named("-x"), "name"),
        (named(&"x".repeat(65)), "name"), (named("a b"), "name"), (named("x.removing"), "name"),
        ("name = \"x\"\n[fields]\n".into(), "fields"),
        ("name = \"x\"\nid_field = \"t\"\n[fields.t]\ntype = \"text\"\n".into(), "fields.t"),
        ("name = \"x\"\n[fields._t]\ntype = \"text\"\n".into(), "fields._t"),
        ("name = \"x\"\n[fields.\"t t\"]\ntype = \"text\"\n".into(), "fields.t t"),
        ("name = \"x\"\n[fields.t]\ntype = \"text\"\nweight = -1.0\n".into(), "fields.t"),
        ("name = \"x\"\n[fields.t]\ntype = \"text\"\nweight = nan\n".into(), "fields.t"),
        (with("[embedding]\n"), "embedding.model"),
        (with("[embedding]\nvector_field = \"v\"\n"), "embedding.model"),
        (with("[embedding]\ndimensions = 3\n"), "embedding.model"),
        (with("[embedding]\nmodel = \"tiny\"\n"), "embedding.fields"),
        (with("[embedding]\nmodel = \"tiny\"\nfields = [\"nobody\"]\n"), "embedding.fields"),
        (with("[fields.n]\ntype = \"integer\"\n[embedding]\nmodel = \"tiny\"\nfields = [\"n\"]\n"), "embedding.fields"),
        (with("[embedding]\nvector_field = \"t\"\ndimensions = 3\n"), "embedding.vector_field"),
        (with("[embedding]\nvector_field = \"id\"\ndimensions = 3\n"), "embedding.vector_field"),
        (with("[embedding]\nmodel = \"tiny\"\nfields = [\"t\"]\nlanguage_field = \"t\"\n"), "embedding.language_field"),
        (with("[embedding]\nvector_field = \"v\"\ndimensions = 0\n"), "embedding.dimensions"),
        (with("[embedding]\nvector_field = \"v\"\ndimensions = 9000\n"), "embedding.dimensions"),
        (with(&format!("{BRING}passages = {{ max_tokens = 4 }}\n")), "embedding.passages"),
        (with(&format!("{BRING}passages = {{ max_tokens = 20, overlap = 11 }}\n")), "embedding.passages"),
        (with("[search]\ncandidates = 0\n"), "search.candidates"),
        (with("[search]\ncandidates = 1000000\n"), "search.candidates"),
        (with("[search]\nef = 0\n"), "search.ef"),
        (with("[search.fusion]\nlexical = -1.0\n"), "search.fusion.lexical"),
        (with("[search.fusion]\nlexical = 0.0\ndense = 0.0\n"), "search.fusion.lexical"),
        (with("[search.fusion]\nrrf_k = 0.0\n"), "search.fusion.rrf_k"),
        (with("[scoring]\nk1 = -1.0\n"), "scoring.k1"),
        (with("[scoring]\nb = 1.5\n"), "scoring.b"),
        (with("[synonyms]\ngroups = [[\"alone\"]]\n"), "synonyms.groups[0]"),
        (with("[synonyms]\ngroups = [[\"a\", \"b\"], [\"a\", \"--\"]]\n"), "synonyms.groups[1]"),
        (with("[typos]\nmin_length_one = 9\nmin_length_two = 4\n"), "typos.min_length_two"),
        (with("[typos]\nmax_expansions = 0\n"), "typos.max_expansions"),
    ];
    let shop = Shop::new();
    for (text, field) in &cases {
        let found = problem(Definition::from_toml(text).expect_err(text));
        assert_eq!(
            (found.code, found.field.as_deref()),
            (Code::InvalidDefinition, Some(*field)),
            "{text}: {found}"
        );
        assert!(
            found.found.is_some() && found.expected.is_some(),
            "{text}: {found}"
        );
    }
    // What is not of the shape at all: the message shows the line.
    for (text, part) in [
        (
            "name = \"x\"\n[fields.t]\ntype = \"prose\"\n".to_string(),
            "prose",
        ),
        (with("[embeding]\n"), "embeding"),
        ("name = 3\n".into(), "name = 3"),
        (TEXT.into(), "name"),
        ("name = \"x\"\n".into(), "fields"),
        ("name = \"x".into(), "line 1"),
        (with("[search]\nmode = \"fuzzy\"\n"), "fuzzy"),
        (with("[search]\ncandidates = -1\n"), "candidates = -1"),
        (with("[search]\ncandidates = \"many\"\n"), "many"),
    ] {
        let found = problem(Definition::from_toml(&text).expect_err(&text));
        assert_eq!(found.code, Code::InvalidDefinition, "{text}");
        assert!(found.message.contains(part), "{text}: {found}");
    }
    // A definition made in code is held to the same when it is used.
    let mut definition = Definition::from_toml(SHOP).unwrap();
    definition.search.ef = 0;
    definition.name = "new".into();
    assert_eq!(
        problem(shop.world.catalog.create(definition).err().unwrap()).code,
        Code::InvalidDefinition
    );
    let again = Definition::from_toml(SHOP).unwrap();
    assert_eq!(
        problem(shop.world.catalog.create(again).err().unwrap()).code,
        Code::IndexExists
    );
    let modelled = with("[embedding]\nmodel = \"nobody\"\nfields = [\"t\"]\n");
    let modelled = Definition::from_toml(&modelled).unwrap();
    assert_eq!(
        problem(shop.world.catalog.create(modelled).err().unwrap()).code,
        Code::ModelNotFound
    );
    assert_eq!(shop.world.catalog.names_on_disk().unwrap(), ["shop"]);
    shop.is_as_before("refused definitions");
}
