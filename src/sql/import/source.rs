//! Where a schema is imported from.

use std::fmt;
use std::path::PathBuf;

use super::{Imported, ReadOptions, ServerUrl, ddl, server, sqlite};
use crate::config::SchemaSource;
use crate::error::{Code, Problem, Result};
use crate::sql::{Database, Dialect};

/// Where a schema is imported from. Shown without credentials.
#[derive(Debug, Clone)]
pub enum Source {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A server of PostgreSQL, MySQL or MariaDB.
    Server(ServerUrl),
    /// DDL text.
    Ddl(String, Dialect),
    /// A schema as it is.
    Database(Box<Database>),
}

impl Source {
    /// What a configuration allows callers of the API to have imported.
    ///
    /// # Errors
    /// `invalid_configuration` where it names none or several, or the URL is not there.
    pub fn configured(source: &SchemaSource) -> Result<Source> {
        let SchemaSource {
            sqlite,
            url,
            url_env,
            url_file,
            ..
        } = source;
        match (sqlite, url, url_env, url_file) {
            (Some(path), None, None, None) => Ok(Source::Sqlite(path.clone())),
            (None, Some(url), None, None) => ServerUrl::new(url).map(Source::Server),
            (None, None, Some(name), None) => ServerUrl::from_env(name).map(Source::Server),
            (None, None, None, Some(path)) => ServerUrl::from_file(path).map(Source::Server),
            _ => Err(Problem::new(
                Code::InvalidConfiguration,
                "a source of schemas names none or several of the places it could be",
            )
            .field("schemas.sources")
            .found(&source.name)
            .expected("one of sqlite, url, url_env and url_file")
            .into()),
        }
    }

    /// Reads it, under the name it is to have.
    ///
    /// # Errors
    /// As the reader of its kind.
    pub fn read(self, name: &str, options: &ReadOptions) -> Result<Imported> {
        match self {
            Source::Sqlite(path) => sqlite(name, &path, options),
            Source::Server(url) => server(name, &url, options),
            Source::Ddl(text, dialect) => ddl(name, &text, dialect),
            Source::Database(database) => Ok(Imported::ready(Database {
                name: name.to_string(),
                ..*database
            })),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Sqlite(path) => write!(f, "{}", path.display()),
            Source::Server(url) => write!(f, "{url}"),
            Source::Ddl(..) => f.write_str("DDL text"),
            Source::Database(_) => f.write_str("JSON"),
        }
    }
}
