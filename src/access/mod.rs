//! Who may do what: API keys, tokens of tenants, and the log of what administrators did.
//!
//! **Promises.**
//! * A key is shown once, when it is made. What is stored is a hash of it, from which it cannot be
//!   found: keys are 32 random bytes, so a plain SHA-256 is as good as a slow hash.
//! * A key may do what its scopes say, to what its patterns name, until it is revoked or expires;
//!   a revoked one is refused from the next request on.
//! * A token is a key's right to search, narrowed by a filter and ended by a time. Nothing that
//!   does not pass the filter is told to who holds it: what cannot keep that promise does not
//!   take tokens at all.
//! * Where there was a key once, nobody is let in without one until the server is started anew.

mod audit;
mod keys;
mod token;

use std::fmt;

use globset::{Glob, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Code, Problem};

pub use audit::{AuditEntry, AuditLog};
pub use keys::{KeyInfo, KeyRequest, Keys, NewKey};
pub use token::{NewToken, TokenRequest};

/// What a key may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Searching and reading.
    Search,
    /// Writing, changing and deleting documents, names and feedback; loading.
    Write,
    /// Everything: making and removing indexes, snapshots, keys.
    Admin,
}

impl Scope {
    /// Its spelling in requests and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Search => "search",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Most patterns of a key or token.
const MOST_PATTERNS: usize = 64;

/// Names that a key reaches: globs of `*`, `?`, `[...]` and `{a,b}` over the names of indexes,
/// aliases, databases and catalogs.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    texts: Vec<String>,
    set: GlobSet,
}

impl Patterns {
    /// # Errors
    /// `invalid_request` naming `field` for none, or one that is no glob.
    pub(crate) fn new(texts: &[String], field: &str) -> Result<Patterns, Problem> {
        let wrong = |found: &str| {
            Problem::new(Code::InvalidRequest, "these are no patterns of names")
                .field(field)
                .found(found)
                .expected("globs such as \"*\" or \"docs-*\", at least one")
        };
        if texts.is_empty() {
            return Err(wrong("an empty list"));
        }
        // They are compiled for each request that comes with a token.
        if texts.len() > MOST_PATTERNS {
            return Err(wrong(&format!("{} of them", texts.len()))
                .expected(format!("at most {MOST_PATTERNS}")));
        }
        let mut builder = GlobSetBuilder::new();
        for text in texts {
            if text.is_empty() || text.len() > 256 {
                return Err(wrong(text));
            }
            builder.add(Glob::new(text).map_err(|_| wrong(text))?);
        }
        let set = builder.build().map_err(|_| wrong(&texts.join(", ")))?;
        Ok(Patterns {
            texts: texts.to_vec(),
            set,
        })
    }

    fn matches(&self, name: &str) -> bool {
        self.set.is_match(name)
    }

    fn is_everything(&self) -> bool {
        self.texts.iter().any(|text| text == "*")
    }
}

/// What the caller of a request may do.
#[derive(Debug, Clone)]
pub struct Access {
    /// The key's id; none where the server has no keys.
    key: Option<String>,
    scopes: Vec<Scope>,
    /// All of these have to match a name: the key's own, and a token's.
    patterns: Vec<Patterns>,
    filter: Option<Json>,
    is_token: bool,
}

impl Access {
    /// That of everybody, where there are no keys.
    pub fn everything() -> Access {
        Access {
            key: None,
            scopes: vec![Scope::Admin],
            patterns: Vec::new(),
            filter: None,
            is_token: false,
        }
    }

    /// The id of the key, or of the key that a token was made with.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether it comes of a token.
    pub fn is_token(&self) -> bool {
        self.is_token
    }

    /// What every document that is told has to pass, as a filter.
    pub fn filter(&self) -> Option<&Json> {
        self.filter.as_ref()
    }

    /// Whether it reaches what has this name.
    pub fn reaches(&self, name: &str) -> bool {
        self.patterns.iter().all(|patterns| patterns.matches(name))
    }

    /// Whether it reaches everything, whatever its name.
    pub fn reaches_everything(&self) -> bool {
        self.patterns.iter().all(Patterns::is_everything)
    }

    /// Whether it has this scope; that of administrators holds the others.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// # Errors
    /// `not_permitted` for a scope that it lacks.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        Err(Problem::new(Code::NotPermitted, "the key may not do this")
            .field("authorization")
            .found(format!("a key for {}", scopes.join(", ")))
            .expected(format!("a key with the scope {scope}")))
    }

    /// # Errors
    /// `not_permitted` for a name that it does not reach: the same whether there is something of
    /// that name or not.
    pub fn require_name(&self, name: &str) -> Result<(), Problem> {
        if self.reaches(name) {
            return Ok(());
        }
        Err(
            Problem::new(Code::NotPermitted, "the key does not reach this name")
                .field("authorization")
                .found(name)
                .expected("a name that one of the key's patterns matches"),
        )
    }

    /// # Errors
    /// `not_permitted` where it does not reach everything.
    pub fn require_everything(&self) -> Result<(), Problem> {
        if self.reaches_everything() {
            return Ok(());
        }
        Err(Problem::new(
            Code::NotPermitted,
            "the key does not reach everything, as this needs",
        )
        .field("authorization")
        .found("a key with patterns of names")
        .expected("a key whose patterns hold \"*\""))
    }
}

#[cfg(test)]
mod tests;
