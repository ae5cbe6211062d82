//! What is put into the catalogue is there, as it was, and nothing else is.

use super::*;
use crate::sql::import::ddl;
use crate::sql::{ColumnDescription, Dialect, TableDescription};

fn database(text: &str) -> Database {
    ddl("shop", text, Dialect::Sqlite).unwrap().database
}

const TEXT: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT);
    CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INT REFERENCES a);";

fn code(error: &Error) -> Code {
    error.problem().unwrap_or_else(|| panic!("{error}")).code
}

fn describe(
    schemas: &Schemas,
    name: &str,
    written: Descriptions,
) -> crate::error::Result<Arc<Entry>> {
    schemas.describe(name, |of, _| {
        *of = written;
        Ok(())
    })
}

#[test]
fn databases_are_kept_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    assert!(schemas.names().unwrap().is_empty());
    assert_eq!(
        code(&schemas.get("shop").unwrap_err()),
        Code::DatabaseNotFound
    );
    assert!(
        std::fs::read_dir(folder.path()).unwrap().next().is_none(),
        "nothing is made"
    );
    assert_eq!(
        schemas
            .put(database(TEXT), &Cells::default(), "a file")
            .unwrap(),
        None
    );
    assert_eq!(schemas.names().unwrap(), ["shop"]);
    // As another process sees it.
    for schemas in [&schemas, &Schemas::new(folder.path())] {
        let entry = schemas.get("shop").unwrap();
        assert_eq!(entry.database, database(TEXT));
        assert_eq!(entry.source, "a file");
    }
    schemas.remove("shop").unwrap();
    assert_eq!(
        code(&schemas.remove("shop").unwrap_err()),
        Code::DatabaseNotFound
    );
    assert_eq!(
        code(&schemas.get("shop").unwrap_err()),
        Code::DatabaseNotFound
    );
    assert!(schemas.names().unwrap().is_empty());
}

#[test]
fn names_lead_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.json"), "{}").unwrap();
    let schemas = Schemas::new(&folder.path().join("data"));
    for name in ["../secret", "..", "", "/etc/passwd", "A", "a/b", "a.json"] {
        assert_eq!(
            code(&schemas.get(name).unwrap_err()),
            Code::DatabaseNotFound
        );
        assert_eq!(
            code(&schemas.remove(name).unwrap_err()),
            Code::DatabaseNotFound
        );
        let named = Database {
            name: name.into(),
            ..database(TEXT)
        };
        assert_eq!(
            code(&schemas.put(named, &Cells::default(), "").unwrap_err()),
            Code::InvalidSchema
        );
    }
    assert!(folder.path().join("secret.json").is_file());
}

#[test]
fn importing_again_says_what_changed_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    schemas
        .put(database(TEXT), &Cells::default(), "one")
        .unwrap();
    let column = ColumnDescription {
        description: Some("what it is".into()),
        ..ColumnDescription::default()
    };
    let table = TableDescription {
        readable: Some("all of a".into()),
        columns: [("X".to_string(), column)].into(),
        ..TableDescription::default()
    };
    let written = Descriptions {
        description: Some("a shop".into()),
        tables: [("A".to_string(), table)].into(),
    };
    let entry = describe(&schemas, "shop", written).unwrap();
    let described = |entry: &Entry| {
        let a = entry.database.table("a").unwrap();
        let x = a.column("x").and_then(|x| x.description.clone());
        (entry.database.description.clone(), a.readable.clone(), x)
    };
    let all = (
        Some("a shop".into()),
        Some("all of a".into()),
        Some("what it is".into()),
    );
    assert_eq!(described(&entry), all);

    let same = schemas
        .put(database(TEXT), &Cells::default(), "two")
        .unwrap()
        .unwrap();
    assert!(
        same.is_empty(),
        "what was written is no change of the import: {same:?}"
    );
    let next = "CREATE TABLE a (id INTEGER PRIMARY KEY, x INT, y INT); CREATE TABLE c (z INT);";
    let changes = schemas
        .put(database(next), &Cells::default(), "two")
        .unwrap()
        .unwrap();
    assert_eq!(changes.tables.added, ["c"]);
    assert_eq!(changes.tables.changed, ["a"]);
    assert_eq!(changes.tables.removed, ["b"]);
    assert_eq!(changes.columns.added, ["a.y"]);
    assert_eq!(changes.columns.changed, ["a.x"]);
    assert!(changes.columns.removed.is_empty() && changes.foreign_keys);
    let entry = schemas.get("shop").unwrap();
    assert_eq!(described(&entry), all);
    assert_eq!(entry.source, "two");
}

#[test]
fn what_does_not_hold_together_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    schemas.put(database(TEXT), &Cells::default(), "").unwrap();
    let refuse = |change: &dyn Fn(&mut Database)| {
        let mut wrong = database(TEXT);
        change(&mut wrong);
        let error = schemas.put(wrong, &Cells::default(), "").unwrap_err();
        assert_eq!(schemas.get("shop").unwrap().database, database(TEXT));
        (
            code(&error),
            error.problem().unwrap().field.clone().unwrap(),
        )
    };
    let invalid = |field: &str| (Code::InvalidSchema, field.to_string());
    assert_eq!(refuse(&|d| d.tables.clear()), invalid("tables"));
    assert_eq!(
        refuse(&|d| d.tables[1].name = "a".into()),
        invalid("tables[1].name")
    );
    assert_eq!(
        refuse(&|d| d.tables[0].name.clear()),
        invalid("tables[0].name")
    );
    assert_eq!(
        refuse(&|d| d.tables[0].columns[1].name = "id".into()),
        invalid("tables[0].columns[1].name")
    );
    assert_eq!(
        refuse(&|d| d.tables[0].primary_key = vec!["nowhere".into()]),
        invalid("tables[0].primary_key")
    );
    assert_eq!(
        refuse(&|d| d.tables[0].samples = vec![vec![None]]),
        invalid("tables[0].samples")
    );
    assert_eq!(
        refuse(&|d| d.foreign_keys[0].to_table = "nowhere".into()),
        invalid("foreign_keys[0].to_table")
    );
    assert_eq!(
        refuse(&|d| d.foreign_keys[0].to_columns.clear()),
        invalid("foreign_keys[0].columns")
    );
    let (code, field) = refuse(&|d| d.tables[0].description = Some("x".repeat(20_000)));
    assert_eq!(
        (code, field.as_str()),
        (Code::LimitExceeded, "tables[0].description")
    );
    let of = |table: &str| Descriptions {
        tables: [(table.to_string(), TableDescription::default())].into(),
        ..Descriptions::default()
    };
    let error = describe(&schemas, "shop", of("nowhere")).unwrap_err();
    assert_eq!(
        error.problem().unwrap().field.as_deref(),
        Some("tables.nowhere")
    );
    assert!(schemas.get("shop").unwrap().written.tables.is_empty());
    assert!(describe(&schemas, "other", of("a")).is_err());
}

#[test]
fn a_damaged_file_is_said_and_replaced_by_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    schemas.put(database(TEXT), &Cells::default(), "").unwrap();
    let path = folder.path().join("schemas/shop.json");
    std::fs::write(&path, "{\"version\": 1").unwrap();
    assert!(matches!(schemas.get("shop"), Err(Error::Operator(_))));
    assert!(matches!(
        schemas.put(database(TEXT), &Cells::default(), ""),
        Err(Error::Operator(_))
    ));
    schemas.remove("shop").unwrap();
    schemas.put(database(TEXT), &Cells::default(), "").unwrap();
    // What a process leaves that ends while it writes.
    std::fs::write(path.with_extension("writing"), "{").unwrap();
    assert_eq!(schemas.names().unwrap(), ["shop"]);
    assert_eq!(schemas.get("shop").unwrap().database, database(TEXT));
}

#[test]
fn values_are_those_of_the_import_that_counts() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    let of = |value: &str| {
        let mut cells = Cells::default();
        cells.set("a", "x", vec![value.into()]);
        cells.set("gone", "x", vec!["of no table".into()]);
        cells
    };
    let first = |entry: &Entry| entry.cells().unwrap().of("a", "x").map(|v| v[0].clone());
    schemas.put(database(TEXT), &of("one"), "").unwrap();
    let one = schemas.get("shop").unwrap();
    assert_eq!(first(&one), Some("one".into()));
    assert_eq!(one.cells().unwrap().len(), 1);
    // What a process leaves that ends before its import counts.
    let stray = folder.path().join("schemas/shop.0123.cells");
    std::fs::write(&stray, "{").unwrap();
    assert_eq!(first(&schemas.get("shop").unwrap()), Some("one".into()));
    schemas.put(database(TEXT), &of("two"), "").unwrap();
    assert!(!stray.exists(), "it is swept away");
    // Whoever still holds the entry before has the values of the one that replaced it.
    assert_eq!(first(&one), Some("two".into()));
    let files = || {
        std::fs::read_dir(folder.path().join("schemas"))
            .unwrap()
            .count()
    };
    assert_eq!(files(), 3, "a lock, a database and its values");
    let entry = schemas.get("shop").unwrap();
    schemas.put(database(TEXT), &Cells::default(), "").unwrap();
    assert_eq!(files(), 2);
    assert_eq!(first(&schemas.get("shop").unwrap()), None);
    drop(entry);

    let mut masked = database(TEXT);
    masked.tables[0].columns[1].masked = true;
    schemas.put(masked, &of("secret"), "").unwrap();
    assert!(schemas.get("shop").unwrap().cells().unwrap().is_empty());
    // Lost: said, and no panic.
    let entry = schemas.get("shop").unwrap();
    for file in std::fs::read_dir(folder.path().join("schemas")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "cells") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(matches!(entry.cells(), Err(Error::Operator(_))));
    schemas.remove("shop").unwrap();
}

#[test]
fn descriptions_are_under_the_names_that_the_database_has() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    let text = "CREATE TABLE Orders (Id INTEGER PRIMARY KEY, Amount REAL);";
    let read = crate::sql::import::ddl("shop", text, crate::sql::Dialect::Sqlite).unwrap();
    schemas.put(read.database, &Cells::default(), "").unwrap();
    let of = |table: &str, column: &str, text: &str| {
        let written = serde_json::json!({"tables": {table: {
            "description": text, "columns": {column: {"description": text}}}}});
        serde_json::from_value::<Descriptions>(written).unwrap()
    };
    describe(&schemas, "shop", of("ORDERS", "amount", "one")).unwrap();
    let entry = schemas.get("shop").unwrap();
    assert_eq!(entry.written, of("Orders", "Amount", "one"));
    // Of two spellings the database's own counts.
    let mut both = of("Orders", "Amount", "two");
    both.tables.extend(of("oRDERS", "aMOUNT", "three").tables);
    describe(&schemas, "shop", both).unwrap();
    let entry = schemas.get("shop").unwrap();
    assert_eq!(entry.written, of("Orders", "Amount", "two"));
    // And what is taken away leaves nothing.
    describe(&schemas, "shop", of("Orders", "Amount", "")).unwrap();
    schemas
        .describe("shop", |written, _| {
            let table = written.tables.get_mut("Orders").unwrap();
            table.description = None;
            table.columns.get_mut("Amount").unwrap().description = None;
            Ok(())
        })
        .unwrap();
    let entry = schemas.get("shop").unwrap();
    assert_eq!(entry.written, Descriptions::default());
}

#[test]
fn what_was_left_behind_goes_with_the_next_removal() {
    let folder = tempfile::tempdir().unwrap();
    let schemas = Schemas::new(folder.path());
    let text = "CREATE TABLE a (x TEXT);";
    let read = crate::sql::import::ddl("shop", text, crate::sql::Dialect::Sqlite).unwrap();
    let mut cells = Cells::default();
    cells.set("a", "x", vec!["secret".into()]);
    schemas.put(read.database, &cells, "").unwrap();
    // As a process that ends within a removal leaves it.
    std::fs::remove_file(folder.path().join("schemas/shop.json")).unwrap();
    assert!(schemas.remove("shop").is_err());
    let files = std::fs::read_dir(folder.path().join("schemas")).unwrap();
    let names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, [".lock"]);
}
