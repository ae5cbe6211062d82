//! Promise: a file of rows can be loaded and searched without a definition written before; what is
//! decided of its columns is told, and is a definition like any other.

use gleaner::error::Code;
use gleaner::index::Definition;
use serde_json::json;

use crate::support::binary::Place;

const LAMPS: &str = "\
sku,Name,description,colour,price,stock,made,dimmable,zip,tags,note
L-1,Arc,A tall floor lamp with a marble foot,black,149.90,3,2021-03-01,true,01067,floor|tall,
L-2,Dot,A small round lamp for the night table,white,19.50,40,2023-11-15,false,10115,table|small|night,
L-3,Ray,A desk lamp that follows your hand,black,64,12,2020-07-09,true,04103,desk|work,
";

const DEFINED: [&str; 4] = ["ingest", "lamps", "lamps.csv", "--create"];

#[test]
fn a_table_becomes_an_index_of_its_columns() {
    let place = Place::with_model("gleaner-minilm");
    place.write("lamps.csv", LAMPS);
    // Looked at first: nothing is made.
    let mut dry = DEFINED.to_vec();
    dry.push("--dry-run");
    let said = place.ok(&dry).out;
    let definition = Definition::from_toml(&said).unwrap();
    place.refused(Code::IndexNotFound, &["index", "show", "lamps"]);
    assert_eq!(definition.id_field, "sku");
    let kinds: Vec<(String, String)> = definition
        .fields
        .iter()
        .map(|(name, field)| {
            (
                name.clone(),
                format!("{}{}", field.kind, if field.many { "s" } else { "" }),
            )
        })
        .collect();
    let kinds: Vec<(&str, &str)> = kinds
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("Name", "text"),
            ("description", "text"),
            ("colour", "keyword"),
            ("price", "float"),
            ("stock", "integer"),
            ("made", "date"),
            ("dimmable", "boolean"),
            // Its zeros are part of it.
            ("zip", "keyword"),
            ("tags", "keywords"),
        ]
    );
    assert_eq!(definition.fields["Name"].weight, 2.0);

    let loaded = place.json(&DEFINED);
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(3), &json!(0)),
        "{loaded}"
    );
    let hits = |query: &str, filter: &str| {
        let found = place.json(&["search", "lamps", query, "--filter", filter]);
        let hits = found["hits"].as_array().unwrap().clone();
        hits.iter()
            .map(|hit| hit["id"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        hits("follows hand", "price > 20 AND dimmable = true")[0],
        "L-3"
    );
    assert_eq!(hits("lamp", "zip = \"01067\""), ["L-1"]);
    assert_eq!(
        hits("lamp", "tags = \"night\" AND made >= 2023-01-01"),
        ["L-2"]
    );

    // Again: into what is there now.
    assert_eq!(place.json(&DEFINED)["unchanged"], 3);
}

#[test]
fn what_is_made_is_told() {
    let place = Place::with_model("gleaner-minilm");
    place.write("lamps.csv", LAMPS);
    let said = place.ok(&DEFINED).err;
    for part in [
        "made index lamps with the id sku",
        "text: Name, description",
        "encoded: Name, description",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let shown = place.ok(&["index", "show", "lamps"]).out;
    assert!(shown.contains("id_field = \"sku\""), "{shown}");
}

#[test]
fn vectors_that_come_along_are_used() {
    let place = Place::new();
    let row = |n: u32| {
        json!({"id": n, "title": format!("row {n} of some"), "vector": [n, 1, 0.5]}).to_string()
    };
    place.write("rows.jsonl", format!("{}\n{}\n", row(1), row(2)));
    place.json(&["ingest", "rows", "rows.jsonl", "--create"]);
    let shown = place.ok(&["index", "show", "rows"]).out;
    assert!(
        shown.contains("vector_field = \"vector\"") && shown.contains("dimensions = 3"),
        "{shown}"
    );
}

#[test]
fn rows_that_cannot_be_told_apart_are_no_index() {
    let place = Place::with_model("gleaner-minilm");
    place.write(
        "same.csv",
        "shop,item,text\na,1,the first of two rows\na,1,the second of two rows\n",
    );
    let problem = place.refused(
        Code::InvalidFile,
        &["ingest", "same", "same.csv", "--create"],
    );
    assert!(format!("{problem:?}").contains("template"), "{problem:?}");
    place.refused(Code::IndexNotFound, &["index", "show", "same"]);
    // With an id of two columns.
    place.write(
        "more.csv",
        "shop,item,text\na,1,the first of two rows\na,2,the second of two rows\n",
    );
    place.write("more.toml", "[fields.id]\ntemplate = \"{shop}-{item}\"\n");
    let loaded = place.json(&[
        "ingest",
        "more",
        "more.csv",
        "--create",
        "--mapping",
        "more.toml",
    ]);
    assert_eq!(loaded["loaded"], 2, "{loaded}");
    let found = place.json(&["search", "more", "second"]);
    assert_eq!(found["hits"][0]["id"], "a-2", "{found}");
}
