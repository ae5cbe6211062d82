//! Schemas out of files, servers and text.

mod bird;
mod ddl;
mod mysql;
mod postgres;
mod read;
mod source;
mod sqlite;
#[cfg(test)]
mod sqlite_tests;
mod tables_json;
mod url;

use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

pub use bird::describe;
pub use ddl::{MAX_DDL_BYTES, ddl};
pub use read::ReadOptions;
pub use source::Source;
pub use sqlite::sqlite;
pub use tables_json::{Meanings, add_meanings, parse_tables_json};
pub use url::ServerUrl;

use std::path::Path;

use sqlx::{ConnectOptions, Connection};

use super::check::check_size;
use super::{Cells, Column, Database, Dialect, Masking, infer_keys};
use crate::error::{Error, Result};

/// Most values that a column's type lists (`ENUM`) and that are kept.
const MOST_ENUM_VALUES: usize = 200;

/// What an import has brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    pub database: Database,
    /// Statements of a DDL text that say nothing about the schema.
    pub skipped: usize,
    /// What was left out and why, for people.
    pub notes: Vec<String>,
    /// Values of columns of texts, to be searched.
    pub cells: Cells,
}

impl Imported {
    /// A schema that is there already.
    pub fn ready(database: Database) -> Imported {
        Imported {
            database,
            skipped: 0,
            notes: Vec::new(),
            cells: Cells::default(),
        }
    }

    /// What every import ends with: descriptions from a folder laid over, values of columns that
    /// look like secrets or personal data dropped, foreign keys inferred where `infer`, and the
    /// values to be searched held to their bounds.
    ///
    /// # Errors
    /// As [`describe`]; `limit_exceeded` for a database that is too large.
    pub fn refine(
        mut self,
        options: &ReadOptions,
        infer: bool,
        descriptions: Option<&Path>,
    ) -> Result<Imported> {
        check_size(&self.database)?;
        if let Some(folder) = descriptions {
            self.notes.extend(describe(&mut self.database, folder)?);
        }
        self.collect_cells(&options.masking);
        options.masking.apply(&mut self.database);
        if infer {
            infer_keys(&mut self.database);
        }
        self.cells = std::mem::take(&mut self.cells).within(&self.database);
        if let Some(each) = self.cells.bound(options.searched_values) {
            self.notes
                .push(format!("values to be searched: {each} of each column at most, not {}, as there are many columns", options.searched_values));
        }
        Ok(self)
    }

    /// Values that did not come with the rows (a type lists them, or somebody brought them) are
    /// searched too; a column whose values give it away is masked, however many there are.
    fn collect_cells(&mut self, masking: &Masking) {
        for table in &mut self.database.tables {
            for column in &mut table.columns {
                match self.cells.of(&table.name, &column.name) {
                    Some(values) => column.masked |= masking.tells(values),
                    None if read::is_text(&column.data_type) || names_things(column) => {
                        let values = column.values.clone();
                        self.cells.set(&table.name, &column.name, values);
                    }
                    None => {}
                }
            }
        }
    }
}

/// Whether a column of a type of its own has values in words: those of an enumeration.
fn names_things(column: &Column) -> bool {
    let in_words = |value: &String| value.chars().any(char::is_alphabetic);
    !column.data_type.to_lowercase().contains("bool") && column.values.iter().any(in_words)
}

/// Reads the schema of a database server, with the rights of the URL's user: what that user may
/// not read is not there. Nothing is written, and every statement has its time.
///
/// # Errors
/// An operator's error, without the password, for a server that does not answer in time or does
/// not let one in.
pub fn server(name: &str, url: &ServerUrl, options: &ReadOptions) -> Result<Imported> {
    block_on(async {
        match url.dialect() {
            Dialect::Mysql => mysql::mysql(name, url, options).await,
            _ => postgres::postgres(name, url, options).await,
        }
    })
}

/// Runs what has to wait for a database. Not to be called where a runtime is at work already,
/// but on its threads for blocking work.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::operator_from("cannot start a runtime", e))?
        .block_on(work)
}

/// Connects to a server in the time that there is for it.
async fn connect<O>(
    connect: sqlx::Result<O>,
    url: &ServerUrl,
    options: &ReadOptions,
) -> Result<O::Connection>
where
    O: ConnectOptions,
    O::Connection: Sized,
{
    let connect = connect.map_err(|e| cannot_read(url, &e))?;
    let connect = connect.disable_statement_logging();
    let connection = tokio::time::timeout(options.connect_timeout, connect.connect());
    let connection = connection.await.map_err(|_| {
        let seconds = options.connect_timeout.as_secs_f64();
        Error::operator(format!("{url} did not answer within {seconds} s"))
            .advice("check that the server runs and that host and port are right")
    })?;
    connection.map_err(|e| cannot_read(url, &e))
}

/// Time for a server's answer beside what it gives a statement itself: who only stops answering
/// keeps to no limit.
const GRACE: Duration = Duration::from_secs(2);

/// Waits for a server's answer to a statement.
async fn in_time<T>(
    options: &ReadOptions,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let silent = || std::io::Error::new(ErrorKind::TimedOut, "the server stopped answering");
    let answered = tokio::time::timeout(options.statement_timeout + GRACE, answer).await;
    answered.unwrap_or_else(|_| Err(silent().into()))
}

/// Parts from a server, which need not answer that.
async fn close(connection: impl Connection) {
    let _ = tokio::time::timeout(GRACE, connection.close()).await;
}

/// Whether nothing can be asked any more after this.
fn is_over(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
}

/// What a server said, without what lets one in.
fn cannot_read(url: &ServerUrl, error: &sqlx::Error) -> Error {
    let said = url.scrub(&error.to_string());
    Error::operator(format!("cannot read {url}: {said}"))
}
