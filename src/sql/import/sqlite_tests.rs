//! What is read from SQLite files, and that they stay as they are.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::*;
use crate::error::Code;
use crate::sql::{Masking, Table};

fn make(path: &Path, sql: &str, mode: SqliteJournalMode) {
    block_on(async {
        let options = SqliteConnectOptions::new().filename(path);
        let options = options.create_if_missing(true).journal_mode(mode);
        let mut connection = options.connect().await.unwrap();
        let sql = AssertSqlSafe(sql.to_string());
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Ok(())
    })
    .unwrap();
}

const SHOP: &str = r#"
    CREATE TABLE "Größen & more" (a INT, "b ""c""" TEXT, PRIMARY KEY (a, "b ""c""")) WITHOUT ROWID;
    CREATE TABLE cities (id INTEGER PRIMARY KEY, name TEXT NOT NULL, picture BLOB, email TEXT,
        name_length INT GENERATED ALWAYS AS (length(name)) VIRTUAL, area REAL);
    CREATE TABLE parts (x INT, y TEXT, city INT REFERENCES cities, twin INT REFERENCES cities(id),
        FOREIGN KEY (x, y) REFERENCES "Größen & more");
    CREATE VIEW big AS SELECT name, area * 2 AS twice FROM cities;
    CREATE VIEW broken AS SELECT x FROM nowhere;
    CREATE VIRTUAL TABLE notes USING fts5(title);
    INSERT INTO cities (name, picture, email, area) VALUES
        ('Fremont', x'00ff', 'a@b.org', 1.5), ('Fremont', NULL, NULL, 2.5), ('Ulm', NULL, 'c@d.org', 3.5);
    INSERT INTO cities (name, area) VALUES (CAST(x'c3' AS TEXT), 4.5);
"#;

/// Every file in a folder with what is in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|p| (p.clone(), std::fs::read(&p).unwrap()))
        .collect();
    files.sort();
    files
}

fn sample<'a>(table: &'a Table, column: &str) -> Vec<Option<&'a str>> {
    let place = table.columns.iter().position(|c| c.name == column).unwrap();
    table
        .samples
        .iter()
        .map(|row| row[place].as_deref())
        .collect()
}

#[test]
fn files_are_read_and_left_alone() {
    for mode in [SqliteJournalMode::Delete, SqliteJournalMode::Wal] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop & co.sqlite");
        make(&path, SHOP, mode);
        let before = files(folder.path());
        let imported = sqlite("shop", &path, &ReadOptions::default()).unwrap();
        assert_eq!(files(folder.path()), before);
        let database = imported.database;
        let all: Vec<&str> = database.tables.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(all, ["Größen & more", "cities", "parts", "big", "notes"]);
        assert_eq!(database.tables[0].primary_key, ["a", "b \"c\""]);
        let cities = database.table("cities").unwrap();
        assert_eq!(cities.rows, Some(4));
        assert!(cities.column("name_length").unwrap().generated);
        assert!(!cities.column("name").unwrap().nullable);
        assert_eq!(
            cities.column("name").unwrap().values,
            ["Fremont", "Ulm", "\u{fffd}"]
        );
        assert_eq!(
            sample(cities, "name"),
            [Some("Fremont"), Some("Fremont"), Some("Ulm")]
        );
        assert_eq!(
            sample(cities, "picture"),
            [None, None, None],
            "bytes are no text"
        );
        assert_eq!(sample(cities, "email"), [None, None, None], "masked");
        assert!(cities.column("email").unwrap().masked);
        assert_eq!(cities.column("area").unwrap().values.len(), 4);
        let keys: Vec<String> = database
            .foreign_keys
            .iter()
            .map(|k| format!("{:?} {} {:?}", k.columns, k.to_table, k.to_columns))
            .collect();
        assert_eq!(
            keys,
            [
                r#"["city"] cities ["id"]"#,
                r#"["twin"] cities ["id"]"#,
                r#"["x", "y"] Größen & more ["a", "b \"c\""]"#,
            ]
        );
        let view = database.table("big").unwrap();
        assert!(view.view && view.rows.is_none());
        assert_eq!(sample(view, "twice")[0], Some("3.0"));
        assert!(
            imported.notes.iter().any(|note| note.contains("broken")),
            "{:?}",
            imported.notes
        );
    }
}

#[test]
fn reading_rows_is_bounded_and_a_choice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sqlite");
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, measure INT, long TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO t SELECT i, 'w' || (i % 500), i, printf('%.*c', 300, 'x') FROM n;
        CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
            SELECT max(i) AS most FROM n;";
    make(&path, sql, SqliteJournalMode::Delete);
    let options = ReadOptions {
        values: 20,
        samples: 2,
        statement_timeout: std::time::Duration::from_millis(300),
        ..ReadOptions::default()
    };
    let started = std::time::Instant::now();
    let imported = sqlite("d", &path, &options).unwrap();
    assert!(
        started.elapsed().as_secs() < 10,
        "an endless view is given up"
    );
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("endless") && note.contains("too long"))
    );
    let table = &imported.database.tables[0];
    assert_eq!(table.samples.len(), 2);
    let values = |name: &str| table.column(name).unwrap().values.len();
    assert_eq!(
        (values("word"), values("measure"), values("long")),
        (20, 0, 0)
    );
    assert_eq!(sample(table, "long")[0].unwrap().len(), 100);
    let nothing = ReadOptions {
        samples: 0,
        values: 0,
        ..options
    };
    let table = &sqlite("d", &path, &nothing).unwrap().database.tables[0];
    assert!(table.samples.is_empty() && table.columns.iter().all(|c| c.values.is_empty()));
    let all = ReadOptions {
        masking: Masking::new(["word"], false),
        ..ReadOptions::default()
    };
    let table = &sqlite("d", &path, &all).unwrap().database.tables[0];
    assert!(table.column("word").unwrap().values.is_empty());
}

#[test]
fn what_is_no_database_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let code = |path: &Path| {
        let error = sqlite("d", path, &ReadOptions::default()).unwrap_err();
        error.problem().unwrap_or_else(|| panic!("{error}")).code
    };
    assert_eq!(
        code(&folder.path().join("nowhere.sqlite")),
        Code::InvalidFile
    );
    assert_eq!(code(folder.path()), Code::InvalidFile);
    let path = folder.path().join("text.sqlite");
    std::fs::write(&path, "hello").unwrap();
    assert_eq!(code(&path), Code::InvalidFile);
    std::fs::write(&path, "").unwrap();
    assert_eq!(code(&path), Code::InvalidFile);
    std::fs::write(
        &path,
        [b"SQLite format 3\0".as_slice(), &[7; 5000]].concat(),
    )
    .unwrap();
    assert_eq!(code(&path), Code::InvalidFile);
    assert_eq!(files(folder.path()).len(), 1, "nothing is made");
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_only_so_long() {
    // Somebody listens, and never says a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = ReadOptions {
        connect_timeout: std::time::Duration::from_millis(300),
        ..ReadOptions::default()
    };
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://me:s3cret@127.0.0.1:{port}/shop");
        let url = ServerUrl::new(&url).unwrap();
        let started = std::time::Instant::now();
        let error = server("shop", &url, &options).unwrap_err();
        assert!(started.elapsed().as_secs() < 5);
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("did not answer") && !text.contains("s3cret"),
            "{text}"
        );
    }
    drop(listener);
    let url = ServerUrl::new(&format!("postgres://me:s3cret@127.0.0.1:{port}/shop")).unwrap();
    let error = server("shop", &url, &options).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}

/// A PostgreSQL server that lets anybody in and then says nothing more.
fn lets_in_and_falls_silent(listener: &std::net::TcpListener) {
    use std::io::{Read, Write};
    let (mut peer, _) = listener.accept().unwrap();
    let mut asked = [0; 1024];
    // What it is asked first may be whether there is TLS.
    let mut length = peer.read(&mut asked).unwrap();
    if length == 8 {
        peer.write_all(b"N").unwrap();
        length = peer.read(&mut asked).unwrap();
    }
    assert!(length > 8, "{:?}", &asked[..length]);
    // Authentication is done, and it is ready for a query.
    peer.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
    while peer.read(&mut asked).is_ok_and(|length| length > 0) {}
}

#[test]
fn a_server_that_falls_silent_is_waited_for_only_so_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || lets_in_and_falls_silent(&listener));
    let options = ReadOptions {
        statement_timeout: std::time::Duration::from_millis(100),
        ..ReadOptions::default()
    };
    let url = ServerUrl::new(&format!("postgres://me:s3cret@127.0.0.1:{port}/shop")).unwrap();
    let started = std::time::Instant::now();
    let error = server("shop", &url, &options).unwrap_err();
    assert!(started.elapsed().as_secs() < 10);
    let text = format!("{error} {error:?}");
    assert!(text.contains("stopped answering"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    served.join().unwrap();
}
