//! DDL text into statements, and which of them are about the schema.
//!
//! The statements of a dump that say nothing about the schema (data, settings, functions) are
//! told by their first words and never parsed: they would be most of the work, and no parser
//! knows all that a database writes into its dumps.

use std::borrow::Cow;

use sqlparser::dialect::Dialect as Language;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use super::{Dialect, malformed};
use crate::error::Result;

/// A statement.
pub(super) struct Piece {
    pub(super) kind: Kind,
    /// Without the semicolon; comments and white space are left out.
    pub(super) tokens: Vec<TokenWithSpan>,
}

impl Piece {
    /// Where it begins.
    pub(super) fn start(&self) -> Location {
        let first = self.tokens.first();
        first.map_or(Location { line: 1, column: 1 }, |token| token.span.start)
    }
}

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    CreateTable,
    VirtualTable,
    CreateView,
    EnumType,
    AlterTable,
    RenameTable,
    Drop,
    Comment,
    Use,
    /// Not about the schema.
    Other,
}

/// First words of statements that say nothing about the schema.
const OTHER_STATEMENTS: &[&str] = &[
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMIT",
    "COPY",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DELIMITER",
    "DESCRIBE",
    "DETACH",
    "DISCARD",
    "DO",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "FLUSH",
    "GRANT",
    "HANDLER",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "NOTIFY",
    "OPEN",
    "OPTIMIZE",
    "PRAGMA",
    "PREPARE",
    "PURGE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "REPAIR",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UNLOCK",
    "UPDATE",
    "VACUUM",
    "VALUES",
    "WITH",
    "XA",
];

/// What CREATE, ALTER, DROP and COMMENT ON speak of, beside tables and views.
const OTHER_OBJECTS: &[&str] = &[
    "ACCESS",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONSTRAINT",
    "CONVERSION",
    "DATABASE",
    "DEFAULT",
    "DOMAIN",
    "EVENT",
    "EXTENSION",
    "FUNCTION",
    "GROUP",
    "INDEX",
    "INSTANCE",
    "LANGUAGE",
    "LARGE",
    "LOGFILE",
    "OPERATOR",
    "PACKAGE",
    "POLICY",
    "PROCEDURE",
    "PUBLICATION",
    "ROLE",
    "ROUTINE",
    "RULE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "SYSTEM",
    "TABLESPACE",
    "TEXT",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER",
];

/// Words between CREATE and what is created, at most: MySQL's views have an algorithm, a
/// definer and a security of their own.
const WORDS_BEFORE_OBJECT: usize = 24;

/// Cuts a text into statements.
pub(super) fn split(text: &str, dialect: Dialect, language: &dyn Language) -> Result<Vec<Piece>> {
    let text = without_client_commands(text, dialect);
    let tokens = Tokenizer::new(language, &text)
        .tokenize_with_location()
        .map_err(|e| malformed(&text, e.location, &e.message))?;
    let mut pieces = Vec::new();
    let mut current: Vec<TokenWithSpan> = Vec::new();
    let mut body = Body::default();
    for token in tokens {
        match token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon if !body.open => {
                finish(&text, std::mem::take(&mut current), &mut pieces)?;
                body = Body::default();
            }
            _ => {
                current.push(token);
                body.take(&current);
            }
        }
    }
    finish(&text, current, &mut pieces)?;
    Ok(pieces)
}

/// Whether a statement is inside of a routine's or trigger's BEGIN ... END, where semicolons
/// end statements of its own.
#[derive(Default)]
struct Body {
    routine: bool,
    depth: usize,
    open: bool,
    after_end: bool,
}

impl Body {
    fn take(&mut self, tokens: &[TokenWithSpan]) {
        let Some(word) = tokens.last().and_then(|token| word(token)) else {
            self.after_end = false;
            return;
        };
        if word.quote_style.is_some() {
            return;
        }
        let is = |name: &str| word.value.eq_ignore_ascii_case(name);
        if tokens.len() <= WORDS_BEFORE_OBJECT
            && (is("TRIGGER") || is("PROCEDURE") || is("FUNCTION") || is("EVENT"))
            && tokens.first().is_some_and(|first| is_word(first, "CREATE"))
        {
            self.routine = true;
        }
        if !self.routine {
            return;
        }
        if self.after_end && (is("IF") || is("LOOP") || is("WHILE") || is("REPEAT") || is("CASE")) {
            // END IF and the like close what did not count, except CASE, which did.
            if !is("CASE") {
                self.depth += 1;
            }
            self.after_end = false;
        } else if is("BEGIN") || is("CASE") {
            self.depth += 1;
            self.after_end = false;
        } else if is("END") {
            self.depth = self.depth.saturating_sub(1);
            self.after_end = true;
        } else {
            self.after_end = false;
        }
        self.open = self.depth > 0;
    }
}

fn finish(text: &str, tokens: Vec<TokenWithSpan>, pieces: &mut Vec<Piece>) -> Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    let kind = kind(text, &tokens)?;
    let tokens = match kind {
        // Nothing of it is read: the rows of a dump would be most of the memory.
        Kind::Other => Vec::new(),
        _ => tokens,
    };
    pieces.push(Piece { kind, tokens });
    Ok(())
}

fn kind(text: &str, tokens: &[TokenWithSpan]) -> Result<Kind> {
    let first = &tokens[0];
    let unknown = |token: &TokenWithSpan, expected: &str| {
        let message = format!("expected {expected}, found: {}", token.token);
        malformed(text, token.span.start, &message)
    };
    // A statement in parentheses is a query.
    if first.token == Token::LParen {
        return Ok(Kind::Other);
    }
    let Some(verb) = word(first).filter(|word| word.quote_style.is_none()) else {
        return Err(unknown(first, "an SQL statement"));
    };
    let verb = verb.value.to_uppercase();
    let object = |skip: usize| {
        let words = tokens.iter().skip(skip).take(WORDS_BEFORE_OBJECT);
        words
            .filter_map(|token| word(token))
            .filter(|word| word.quote_style.is_none())
            .map(|word| word.value.to_uppercase())
            .find(|word| {
                matches!(word.as_str(), "TABLE" | "VIEW" | "COLUMN")
                    || OTHER_OBJECTS.contains(&word.as_str())
            })
    };
    let says = |name: &str| {
        let words = tokens.iter().take(WORDS_BEFORE_OBJECT);
        words.into_iter().any(|token| is_word(token, name))
    };
    Ok(match verb.as_str() {
        "CREATE" => match object(1).as_deref() {
            Some("TABLE") if tokens.get(1).is_some_and(|t| is_word(t, "VIRTUAL")) => {
                Kind::VirtualTable
            }
            Some("TABLE") => Kind::CreateTable,
            Some("VIEW") => Kind::CreateView,
            Some("TYPE") if says("ENUM") => Kind::EnumType,
            Some(_) => Kind::Other,
            None => {
                let found = tokens.get(1).unwrap_or(first);
                return Err(unknown(found, "TABLE, VIEW or another object after CREATE"));
            }
        },
        "ALTER" => match object(1).as_deref() {
            Some("TABLE") => Kind::AlterTable,
            Some(_) => Kind::Other,
            None => {
                let found = tokens.get(1).unwrap_or(first);
                return Err(unknown(found, "TABLE or another object after ALTER"));
            }
        },
        "DROP" => match object(1).as_deref() {
            Some("TABLE" | "VIEW") => Kind::Drop,
            _ => Kind::Other,
        },
        "COMMENT" => match object(2).as_deref() {
            Some("TABLE" | "VIEW" | "COLUMN" | "DATABASE") => Kind::Comment,
            _ => Kind::Other,
        },
        "RENAME" if says("TABLE") => Kind::RenameTable,
        "RENAME" => Kind::Other,
        "USE" => Kind::Use,
        "SET" if tokens.get(1).is_some_and(|t| is_word(t, "search_path")) => Kind::Use,
        other if OTHER_STATEMENTS.contains(&other) => Kind::Other,
        _ => return Err(unknown(first, "an SQL statement")),
    })
}

/// The text without what clients read themselves: psql's commands and the rows that follow
/// COPY, MySQL's DELIMITER and what stands between two of them. Line numbers stay.
fn without_client_commands(text: &str, dialect: Dialect) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let concerned = match dialect {
        Dialect::Sqlite => false,
        Dialect::Postgres => text.lines().any(|line| line.starts_with('\\')),
        Dialect::Mysql => text.lines().any(is_delimiter),
    };
    if !concerned {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut skipping = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let keep = match dialect {
            Dialect::Postgres if skipping => {
                skipping = content != "\\.";
                false
            }
            Dialect::Postgres => {
                let upper = content.to_ascii_uppercase();
                skipping = upper.starts_with("COPY ") && upper.ends_with("FROM STDIN;");
                // The tokenizer would look for the rows to the end of the text.
                !skipping && !content.starts_with('\\')
            }
            _ if is_delimiter(content) => {
                skipping = content.split_whitespace().nth(1) != Some(";");
                false
            }
            _ => !skipping,
        };
        if keep {
            kept.push_str(line);
        } else if line.ends_with('\n') {
            kept.push('\n');
        }
    }
    Cow::Owned(kept)
}

fn is_delimiter(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("DELIMITER"))
}

/// The word that a token is, if it is one.
pub(super) fn word(token: &TokenWithSpan) -> Option<&Word> {
    match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// Whether a token is this unquoted word, whatever its case.
pub(super) fn is_word(token: &TokenWithSpan, name: &str) -> bool {
    word(token).is_some_and(|w| w.quote_style.is_none() && w.value.eq_ignore_ascii_case(name))
}
