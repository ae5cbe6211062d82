//! The schema of an SQLite file, which is only ever read.
//!
//! The file is opened read-only. One in WAL mode that nobody has open is opened as immutable,
//! because SQLite would make files beside it otherwise.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use super::read::{
    KeyColumn, LONGEST_VALUE, ReadOptions, SCANNED_ROWS, asked, collect_keys, keep, quoted, wanted,
};
use super::{Imported, block_on};
use crate::error::{Code, Error, Problem, Result};
use crate::sql::{Cells, Column, Database, Dialect, Table};

/// First bytes of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where the header says whether the file is in WAL mode (2).
const READ_VERSION: usize = 19;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;
/// Longest time to wait while somebody else writes.
const BUSY: Duration = Duration::from_secs(5);

/// Reads the schema of an SQLite file, and so much of its rows as `options` say.
///
/// # Errors
/// `invalid_file` for one that is missing or no SQLite database; an operator's error where
/// reading fails.
pub fn sqlite(name: &str, path: &Path, options: &ReadOptions) -> Result<Imported> {
    let wal = check(path)?;
    block_on(async {
        let failed = |e| failure(path, e);
        let beside = path.with_file_name(match path.file_name() {
            Some(file) => format!("{}-wal", file.to_string_lossy()),
            None => String::new(),
        });
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .immutable(wal && !beside.exists())
            .busy_timeout(BUSY)
            // Nothing that the file defines is to run with more rights than reading needs.
            .pragma("trusted_schema", "OFF")
            .pragma("query_only", "ON")
            .disable_statement_logging()
            .connect()
            .await
            .map_err(failed)?;
        let clock = Clock::default();
        clock.watch(&mut connection).await.map_err(failed)?;
        let mut reader = Reader {
            connection,
            clock,
            options,
            notes: Vec::new(),
            cells: Cells::default(),
        };
        let database = reader.read(name).await.map_err(failed)?;
        let _ = reader.connection.close().await;
        Ok(Imported {
            database,
            skipped: 0,
            notes: reader.notes,
            cells: reader.cells,
        })
    })
}

/// Whether the file is in WAL mode.
fn check(path: &Path) -> Result<bool> {
    let problem = |message: String| {
        Problem::new(Code::InvalidFile, message)
            .field("sqlite")
            .found(path.display())
            .expected("a file of SQLite 3")
    };
    if path.is_dir() {
        return Err(problem("this is a folder".into()).into());
    }
    let mut header = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(100).read_to_end(&mut header))
        .map_err(|e| problem(format!("the SQLite file cannot be read: {e}")))?;
    if !header.starts_with(MAGIC) {
        return Err(problem("this is no SQLite database".into()).into());
    }
    Ok(header.get(READ_VERSION) == Some(&2))
}

fn failure(path: &Path, error: sqlx::Error) -> Error {
    if let sqlx::Error::Database(e) = &error
        // SQLITE_CORRUPT and SQLITE_NOTADB.
        && matches!(e.code().as_deref(), Some("11" | "26"))
    {
        return Problem::new(
            Code::InvalidFile,
            format!("the SQLite file is damaged: {}", e.message()),
        )
        .field("sqlite")
        .found(path.display())
        .into();
    }
    Error::operator_from(format!("cannot read {}", path.display()), error)
}

/// Ends statements that take too long.
struct Clock {
    start: Instant,
    /// Milliseconds after the start.
    deadline: Arc<AtomicU64>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            start: Instant::now(),
            deadline: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }
}

impl Clock {
    async fn watch(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let (start, deadline) = (self.start, self.deadline.clone());
        let goes_on = move || start.elapsed().as_millis() < deadline.load(Ordering::Relaxed).into();
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, goes_on);
        Ok(())
    }

    fn allow(&self, time: Duration) {
        let end = (self.start.elapsed() + time).as_millis();
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        self.deadline.store(end, Ordering::Relaxed);
    }
}

/// Whether a statement was ended because it took too long.
fn interrupted(error: &sqlx::Error) -> bool {
    // SQLITE_INTERRUPT.
    matches!(error, sqlx::Error::Database(e) if e.code().as_deref() == Some("9"))
}

struct Reader<'a> {
    connection: SqliteConnection,
    clock: Clock,
    options: &'a ReadOptions,
    notes: Vec<String>,
    cells: Cells,
}

impl Reader<'_> {
    async fn rows(&mut self, sql: &str) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.clock.allow(self.options.statement_timeout);
        let query = sqlx::query(AssertSqlSafe(sql.to_string())).persistent(false);
        query.fetch_all(&mut self.connection).await
    }

    /// Rows of a statement that can be done without.
    async fn optional(&mut self, what: &str, sql: &str) -> Vec<SqliteRow> {
        match self.rows(sql).await {
            Ok(rows) => rows,
            Err(error) => {
                let why = match interrupted(&error) {
                    true => "it takes too long".to_string(),
                    false => error.to_string(),
                };
                self.notes.push(format!("{what} left out: {why}"));
                Vec::new()
            }
        }
    }

    async fn read(&mut self, name: &str) -> Result<Database, sqlx::Error> {
        let mut database = Database {
            name: name.to_string(),
            dialect: Dialect::Sqlite,
            ..Database::default()
        };
        let list = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' \
                    AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                    ORDER BY (SELECT m.rowid FROM sqlite_schema m WHERE m.name = pragma_table_list.name)";
        let mut keys = Vec::new();
        for row in self.rows(list).await? {
            let (table, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let Some(table) = self.table(table, kind == "view").await? else {
                continue;
            };
            if !table.view {
                self.keys(&table.name, &mut keys).await?;
            }
            database.tables.push(table);
        }
        collect_keys(keys, &mut database, &mut self.notes);
        if super::check_size(&database).is_err() {
            // It is refused as a whole.
            return Ok(database);
        }
        for table in &mut database.tables {
            self.contents(table).await?;
        }
        Ok(database)
    }

    async fn table(&mut self, name: String, view: bool) -> Result<Option<Table>, sqlx::Error> {
        let sql = format!(
            "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo({}) ORDER BY cid",
            text(&name)
        );
        let rows = match self.rows(&sql).await {
            // A view on what is not there any more.
            Err(error) if view => {
                self.notes.push(format!("view {name} left out: {error}"));
                return Ok(None);
            }
            rows => rows?,
        };
        let mut table = Table {
            name,
            view,
            ..Table::default()
        };
        let mut key: Vec<(i64, String)> = Vec::new();
        for row in rows {
            let (hidden, place): (i64, i64) = (row.try_get(4)?, row.try_get(3)?);
            // A virtual table's hidden columns are arguments; generated ones are 2 and 3.
            if hidden == 1 {
                continue;
            }
            let column = Column {
                name: row.try_get(0)?,
                data_type: row.try_get(1)?,
                nullable: row.try_get::<i64, _>(2)? == 0 && place == 0,
                generated: hidden > 1,
                ..Column::default()
            };
            if place > 0 {
                key.push((place, column.name.clone()));
            }
            table.columns.push(column);
        }
        key.sort();
        table.primary_key = key.into_iter().map(|(_, name)| name).collect();
        for column in &mut table.columns {
            column.masked = self.options.masking.names(column);
        }
        Ok(Some(table))
    }

    async fn keys(&mut self, table: &str, keys: &mut Vec<KeyColumn>) -> Result<(), sqlx::Error> {
        // SQLite lists the last one first.
        let sql = format!(
            "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list({}) \
             ORDER BY id DESC, seq",
            text(table)
        );
        for row in self.rows(&sql).await? {
            keys.push(KeyColumn {
                key: row.try_get::<i64, _>(0)?.to_string(),
                table: table.to_string(),
                to_table: row.try_get(1)?,
                column: row.try_get(2)?,
                to_column: row.try_get(3)?,
            });
        }
        Ok(())
    }

    async fn contents(&mut self, table: &mut Table) -> Result<(), sqlx::Error> {
        let from = quoted(&table.name, Dialect::Sqlite);
        if !table.view {
            let what = format!("the number of rows of {}", table.name);
            let rows = self
                .optional(&what, &format!("SELECT count(*) FROM {from}"))
                .await;
            let count = rows
                .first()
                .map(|row| row.try_get::<i64, _>(0))
                .transpose()?;
            table.rows = count.and_then(|count| u64::try_from(count).ok());
        }
        if self.options.samples > 0 && !table.columns.is_empty() {
            let columns = table.columns.iter().map(|column| match column.masked {
                true => "NULL".to_string(),
                false => clipped(&quoted(&column.name, Dialect::Sqlite)),
            });
            let sql = format!(
                "SELECT {} FROM {from} LIMIT {}",
                columns.collect::<Vec<_>>().join(", "),
                self.options.samples
            );
            let what = format!("sample rows of {}", table.name);
            for row in self.optional(&what, &sql).await {
                let values = (0..table.columns.len()).map(|i| lossy(&row, i));
                table.samples.push(values.collect::<Result<_, _>>()?);
            }
        }
        for i in 0..table.columns.len() {
            let column = &table.columns[i];
            if !wanted(table, column, self.options) {
                continue;
            }
            let name = quoted(&column.name, Dialect::Sqlite);
            let sql = format!(
                "SELECT CAST(v AS BLOB) FROM (SELECT CAST({name} AS TEXT) AS v FROM \
                 (SELECT {name} FROM {from} LIMIT {SCANNED_ROWS}) \
                 WHERE {name} IS NOT NULL AND typeof({name}) <> 'blob') \
                 WHERE length(v) BETWEEN 1 AND {LONGEST_VALUE} \
                 GROUP BY v ORDER BY count(*) DESC, v LIMIT {}",
                asked(column, self.options)
            );
            let what = format!("values of {}.{}", table.name, column.name);
            let mut values = Vec::new();
            for row in self.optional(&what, &sql).await {
                values.extend(lossy(&row, 0)?);
            }
            keep(values, table, i, self.options, &mut self.cells);
        }
        Ok(())
    }
}

/// The first characters of a value; none of bytes.
fn clipped(name: &str) -> String {
    format!(
        "CASE typeof({name}) WHEN 'blob' THEN NULL \
         ELSE CAST(substr(CAST({name} AS TEXT), 1, {LONGEST_VALUE}) AS BLOB) END"
    )
}

/// Text that need not be UTF-8.
fn lossy(row: &SqliteRow, i: usize) -> Result<Option<String>, sqlx::Error> {
    let bytes: Option<Vec<u8>> = row.try_get(i)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A text as SQL.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
