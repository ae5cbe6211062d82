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

#[test]
fn a_number_that_differs_is_no_id_and_a_name_is_read_by_its_words() {
    let place = Place::with_model("gleaner-minilm");
    // Both are distinct in every row; neither `paid` nor `price` is a key.
    let rows: String = (0..50)
        .map(|n| format!("a lamp of number {n},{n}.5,{},x{n}\n", n * 3))
        .collect();
    place.write(
        "paid.csv",
        format!("title,price,amount_paid,itemKey\n{rows}"),
    );
    let said = place
        .ok(&["ingest", "paid", "paid.csv", "--create", "--dry-run"])
        .out;
    assert_eq!(Definition::from_toml(&said).unwrap().id_field, "itemKey");
    place.write(
        "none.csv",
        format!("title,price,amount_paid,n\n{}", rows.replace(",x", ",")),
    );
    place.refused(
        Code::InvalidFile,
        &["ingest", "none", "none.csv", "--create"],
    );
    // An id that leaves nothing to search is none.
    place.write("city.csv", "city,population\nParis,2100000\nLyon,520000\n");
    place.refused(
        Code::InvalidFile,
        &["ingest", "city", "city.csv", "--create"],
    );
}

#[test]
fn rows_of_one_id_are_not_lost_in_silence() {
    let place = Place::with_model("gleaner-minilm");
    let row = |n: usize| format!("{},a lamp of number {n}\n", n % 1200);
    let rows: String = (0..1500).map(row).collect();
    place.write("lamps.csv", format!("id,title\n{rows}"));
    let said = place.ok(&["ingest", "lamps", "lamps.csv", "--create"]).err;
    assert!(
        said.contains("CAUTION: 300 rows had the id of a row before them"),
        "{said}"
    );
}

#[test]
fn what_is_no_value_of_a_field_is_kept_beside_them() {
    let place = Place::with_model("gleaner-minilm");
    let row = |n: u64| {
        json!({"id": n, "title": format!("lamp number {n} of all"), "authors": [{"name": "A"}], "flags": [true],
               "big": u64::MAX - n, "ratings": vec![1; n as usize + 1], "place": [52.5, 13.4], "Unit Price": 3})
        .to_string()
    };
    place.write(
        "lamps.jsonl",
        format!("{}\n{}\n{}\n", row(1), row(2), row(3)),
    );
    let said = place.run(&["ingest", "lamps", "lamps.jsonl", "--create"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    for part in [
        "kept and not searched",
        "authors",
        "columns read as: Unit Price = unit_price",
    ] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    let found = place.json(&["search", "lamps", "number 3"]);
    let hits = found["hits"].as_array().unwrap();
    let three = hits.iter().find(|hit| hit["id"] == "3").unwrap();
    assert_eq!(three["document"]["authors"], json!([{"name": "A"}]));
    assert_eq!(three["document"]["unit_price"], 3);
    let shown = place.ok(&["index", "show", "lamps"]).out;
    assert!(
        shown.contains("model = \"gleaner-minilm\""),
        "texts are encoded: {shown}"
    );
}

#[test]
fn strings_that_only_look_like_numbers_stay_what_they_are() {
    let place = Place::with_model("gleaner-minilm");
    place.write(
        "codes.csv",
        "id,title,code,score\n1,the first of all,12345678901234567890,1.5\n2,the second of all,12345678901234567891,NaN\n",
    );
    let loaded = place.json(&["ingest", "codes", "codes.csv", "--create"]);
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(2), &json!(0)),
        "{loaded}"
    );
    let found = place.json(&[
        "search",
        "codes",
        "all",
        "--filter",
        "code = \"12345678901234567891\"",
    ]);
    assert_eq!(found["hits"][0]["id"], "2", "{found}");
}

#[test]
fn ids_of_64_bits_and_rows_of_vectors_alone_are_loaded() {
    let place = Place::with_model("gleaner-minilm");
    let row = |n: u64| {
        json!({"id": u64::MAX - n, "title": format!("lamp number {n} of all"), "code": format!("x{n}")})
            .to_string()
    };
    place.write("large.jsonl", format!("{}\n{}\n", row(1), row(2)));
    let loaded = place.json(&["ingest", "large", "large.jsonl", "--create"]);
    assert_eq!(loaded["loaded"], 2, "{loaded}");
    let found = place.json(&["search", "large", "number 2"]);
    assert_eq!(
        found["hits"][0]["id"],
        (u64::MAX - 2).to_string(),
        "{found}"
    );
    // Nothing but numbers and vectors: found by vectors.
    let row = |n: u32| {
        json!({"docid": n, "price": n * 2, "_embedding": vec![f64::from(n); 16]}).to_string()
    };
    place.write("vectors.jsonl", format!("{}\n{}\n", row(1), row(2)));
    let said = place.ok(&[
        "ingest",
        "vectors",
        "vectors.jsonl",
        "--create",
        "--dry-run",
    ]);
    let definition = Definition::from_toml(&said.out).unwrap();
    assert_eq!(definition.id_field, "docid");
    let embedding = definition.embedding.unwrap();
    assert_eq!(embedding.vector_field.as_deref(), Some("embedding"));
    assert_eq!(
        place.json(&["ingest", "vectors", "vectors.jsonl", "--create"])["loaded"],
        2
    );
}

#[test]
fn names_that_no_field_can_have_are_read_alike_each_time() {
    let place = Place::with_model("gleaner-minilm");
    let rows =
        "Item ID,Product Name,Unit Price\ng1,A compass of brass,7\ng2,A lamp for the tent,9\n";
    place.write("gear.csv", rows);
    let load = ["ingest", "gear", "gear.csv", "--create"];
    assert_eq!(place.json(&load)["loaded"], 2);
    // Into the index that is there now, and without a word of how the columns are called.
    place.write(
        "more.csv",
        rows.replace("g1", "g3").replace("compass", "kettle"),
    );
    let loaded = place.json(&["ingest", "gear", "more.csv"]);
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(2), &json!(0)),
        "{loaded}"
    );
    let found = place.json(&[
        "search",
        "gear",
        "product_name:kettle",
        "--filter",
        "unit_price < 8",
    ]);
    assert_eq!(found["hits"][0]["id"], "g3", "{found}");
}

#[test]
fn an_id_that_a_mapping_makes_is_the_id_whatever_it_holds() {
    let place = Place::with_model("gleaner-minilm");
    place.write(
        "trips.csv",
        "city,visitors,remark\nLisbon,5,a tram up to the castle\nLisbon,5,hot steam and cold water\n",
    );
    place.write(
        "trips.toml",
        "[fields.id]\ntemplate = \"{city}: {remark}\"\n",
    );
    let load = [
        "ingest",
        "trips",
        "trips.csv",
        "--create",
        "--mapping",
        "trips.toml",
    ];
    assert_eq!(place.json(&load)["loaded"], 2);
    let found = place.json(&["search", "trips", "steam"]);
    assert_eq!(found["hits"][0]["id"], "Lisbon: hot steam and cold water");
    place.write(
        "same.toml",
        "[fields.id]\ntemplate = \"{city}-{visitors}\"\n",
    );
    let said = place.refused(
        Code::InvalidFile,
        &[
            "ingest",
            "same",
            "trips.csv",
            "--create",
            "--mapping",
            "same.toml",
        ],
    );
    assert!(
        said.contains("2 of 2 rows with one, 1 of them different"),
        "{said}"
    );
}

#[test]
fn a_row_that_cannot_be_read_costs_itself() {
    let place = Place::with_model("gleaner-minilm");
    let mut rows =
        b"id,name,what\n1,Mug,to drink out of it\n2,Caf\xe9 mug,the same for more\n".to_vec();
    rows.extend(b"3,Lamp,to see in the night\n");
    place.write("latin.csv", rows);
    let loaded = place.json(&["ingest", "latin", "latin.csv", "--create"]);
    assert_eq!(
        (&loaded["loaded"], &loaded["rejected"]),
        (&json!(2), &json!(1)),
        "{loaded}"
    );
    place.write("bad.csv", b"id,name\n1,Caf\xe9\n");
    let said = place.refused(
        Code::InvalidDocument,
        &["ingest", "bad", "bad.csv", "--create"],
    );
    assert!(said.contains("UTF-8"), "{said}");
    // Of an index that is there, a look says why each row would be rejected.
    let said = place.ok(&["ingest", "latin", "bad.csv", "--dry-run"]).out;
    assert!(
        said.contains("1 rows looked at") && said.contains("row 1: rejected"),
        "{said}"
    );
}
