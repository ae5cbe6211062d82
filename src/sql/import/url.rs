//! Where a database server is, with what lets one in kept out of sight.
//!
//! The URL with its password lives in memory for as long as the import runs: it is never stored,
//! logged, shown by `Debug` or part of an error.

use std::fmt;
use std::path::Path;

use crate::error::{Code, Problem, Result};
use crate::sql::Dialect;

/// The address of a PostgreSQL, MySQL or MariaDB server.
#[derive(Clone)]
pub struct ServerUrl {
    url: url::Url,
    dialect: Dialect,
}

impl ServerUrl {
    /// A URL, in which `${NAME}` stands for the value of an environment variable.
    ///
    /// # Errors
    /// `invalid_configuration`, without a word of the URL, for one that cannot be read, whose
    /// variable is not set, or of another kind of server.
    pub fn new(text: &str) -> Result<ServerUrl> {
        let expected = "postgres://USER:PASSWORD@HOST/DATABASE, mysql:// or mariadb://";
        let problem = |what: &str| {
            Problem::new(Code::InvalidConfiguration, what)
                .field("url")
                .expected(expected)
        };
        let text = expand(text.trim())?;
        let url = url::Url::parse(&text)
            .map_err(|_| problem("the URL of the database server cannot be read"))?;
        // What lets one in may be anywhere in a URL that was put together wrongly, and is shown
        // nowhere: of those with a user and a host where they belong, host and path are shown.
        let amiss = url.cannot_be_a_base()
            || !text.contains("://")
            || url.path().contains('@')
            || url.fragment().is_some();
        if amiss {
            return Err(problem(
                "the URL of the database server is put together wrongly (a / ? # or @ in a password is written as %2F %3F %23 %40)",
            )
            .into());
        }
        let dialect = match url.scheme() {
            "postgres" | "postgresql" => Dialect::Postgres,
            "mysql" | "mariadb" => Dialect::Mysql,
            // Perhaps not a scheme, but the beginning of a secret that was put here.
            _ => return Err(problem("the URL is of no known kind of database server").into()),
        };
        Ok(ServerUrl { url, dialect })
    }

    /// The URL that an environment variable holds.
    ///
    /// # Errors
    /// `invalid_configuration` where it is not set; as [`ServerUrl::new`].
    pub fn from_env(name: &str) -> Result<ServerUrl> {
        ServerUrl::new(&variable(name)?)
    }

    /// The URL that a file holds, alone on its first line.
    ///
    /// # Errors
    /// `invalid_configuration` where it cannot be read; as [`ServerUrl::new`].
    pub fn from_file(path: &Path) -> Result<ServerUrl> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Problem::new(
                Code::InvalidConfiguration,
                format!("the file with the database server's URL cannot be read: {e}"),
            )
            .field("url_file")
            .found(path.display())
        })?;
        ServerUrl::new(text.lines().next().unwrap_or_default())
    }

    /// What the server speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// For the driver's options, nothing else.
    pub(super) fn secret(&self) -> &url::Url {
        &self.url
    }

    /// A driver's message without the password, should it hold it.
    pub(super) fn scrub(&self, message: &str) -> String {
        let mut scrubbed = message.replace(self.url.as_str(), &self.to_string());
        let secrets = self.url.query_pairs().filter_map(|(name, value)| {
            name.to_lowercase()
                .contains("password")
                .then(|| value.to_string())
        });
        let password = self.url.password().unwrap_or_default();
        let decoded = percent_decoded(password);
        for secret in secrets.chain([password.to_string(), decoded]) {
            if !secret.is_empty() {
                scrubbed = scrubbed.replace(&secret, "***");
            }
        }
        scrubbed
    }
}

/// Without user, password and parameters.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.url.scheme())?;
        f.write_str(self.url.host_str().unwrap_or_default())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.url.path())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| {
        Problem::new(
            Code::InvalidConfiguration,
            "an environment variable that the database server's URL needs is not set",
        )
        .field("url")
        .found(name)
        .expected("a variable that holds the URL, or what stands for it there")
        .into()
    })
}

/// Puts the values of variables where `${NAME}` stands.
fn expand(text: &str) -> Result<String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            return Err(Problem::new(
                Code::InvalidConfiguration,
                "the URL of the database server has a ${ without its }",
            )
            .field("url")
            .into());
        };
        expanded.push_str(before);
        expanded.push_str(&variable(name)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("p={}", text.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "s3cr%40t+x";

    #[test]
    fn the_password_is_nowhere_to_be_seen() {
        let url = ServerUrl::new(&format!(
            "postgres://me:{PASSWORD}@db.example:5433/shop?sslpassword=other1"
        ))
        .unwrap();
        for shown in [format!("{url}"), format!("{url:?}"), format!("{url:#?}")] {
            assert!(!shown.contains("s3cr"), "{shown}");
            assert!(
                !shown.contains("other1") && !shown.contains("me:"),
                "{shown}"
            );
            assert!(shown.contains("db.example:5433/shop"));
        }
        let message = format!("bad: s3cr@t+x, {PASSWORD}, other1, {}", url.secret());
        let scrubbed = url.scrub(&message);
        assert!(
            !scrubbed.contains("s3cr") && !scrubbed.contains("other1"),
            "{scrubbed}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_it() {
        for text in [
            "postgres//me:s3cret@host/db",
            "s3cret",
            "oracle://me:s3cret@host/db",
            "s3cret:x",
            "postgres:/me:s3cret@host:1/db",
            "postgres:me:s3cret@host/db",
            "postgres://me:/s3cret@host/db",
            "mysql://me:12/s3cret@host/db",
            "mysql://me:12#s3cret@host/db",
            "postgres://me:s3cret@host:port/db",
            "postgres://me:s3cret${UNFINISHED@host/db",
            "postgres://me:s3cret${GLEANER_NOT_SET}@host/db",
        ] {
            let error = ServerUrl::new(text).unwrap_err();
            assert_eq!(error.problem().unwrap().code, Code::InvalidConfiguration);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
        let error = ServerUrl::from_env("GLEANER_NOT_SET").unwrap_err();
        assert!(error.to_string().contains("GLEANER_NOT_SET"));
        assert!(ServerUrl::from_file(Path::new("/nowhere/url")).is_err());
    }

    #[test]
    fn variables_and_files_are_read() {
        let url = ServerUrl::new("mysql://me:${CARGO_PKG_NAME}@host/db").unwrap();
        assert_eq!(url.secret().password(), Some("gleaner"));
        assert_eq!(url.dialect(), Dialect::Mysql);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, "postgres://a:b@c/d\n").unwrap();
        assert_eq!(
            ServerUrl::from_file(&path).unwrap().to_string(),
            "postgres://c/d"
        );
    }
}
