//! A schema from DDL text: what its statements, one after the other, leave behind.
//!
//! * Tables, views, their columns, keys and comments, as SQLite, PostgreSQL and MySQL (MariaDB)
//!   write them, in files of one's own and in dumps.
//! * Statements that are not about the schema are skipped and counted.
//! * What cannot be parsed is an error with its line and column, and nothing is imported.
//! * No text makes this overflow the stack: nesting is bounded by the parser, chains of
//!   operators by [`LONGEST_CHAIN`], and both run on a stack that is large enough.

mod split;
mod state;
mod view;

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::dialect::{Dialect as Language, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use self::split::{Kind, Piece, is_word, split};
use self::state::State;
use super::Imported;
use crate::error::{Code, Error, Problem, Result};
use crate::sql::Dialect;

/// Longest DDL text, in bytes (16 MiB): the schemas of the largest applications come to one or
/// two; a dump with its data should be made without (`--schema-only`, `--no-data`).
pub const MAX_DDL_BYTES: usize = 16 << 20;

/// What may follow the columns of a table first.
const OPTIONS: &[&str] = &[
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARACTER",
    "CHARSET",
    "CHECKSUM",
    "COLLATE",
    "COMMENT",
    "DEFAULT",
    "ENGINE",
    "KEY_BLOCK_SIZE",
    "ON",
    "PARTITION",
    "ROW_FORMAT",
    "SERVER",
    "STRICT",
    "TABLESPACE",
    "USING",
    "WITH",
    "WITHOUT",
];

/// What is not among a table's options: a query or parents, which say more of its columns, and
/// the beginning of a statement, before which a semicolon is missing.
const NO_OPTIONS: &[&str] = &[
    "AS", "SELECT", "INHERITS", "CREATE", "ALTER", "DROP", "INSERT",
];

/// Most tokens, literals aside, between the commas of a list of columns. An expression is as
/// deep as its operators are many, and has to be dropped recursively.
const LONGEST_CHAIN: usize = 10_000;

/// Stack of the thread that parses, in bytes: enough for [`LONGEST_CHAIN`], and mapped only as
/// far as it is used.
const STACK_BYTES: usize = 128 << 20;

/// Reads the schema that DDL text describes.
///
/// # Errors
/// `invalid_schema` with line and column for what cannot be parsed, for a table that is created
/// twice and for a text without tables; `limit_exceeded` for one that is too long.
pub fn ddl(name: &str, text: &str, dialect: Dialect) -> Result<Imported> {
    if text.len() > MAX_DDL_BYTES {
        return Err(
            Problem::new(Code::LimitExceeded, "the DDL text is too long")
                .field("ddl")
                .found(format!("{} bytes", text.len()))
                .expected(format!(
                    "at most {MAX_DDL_BYTES} bytes; dump the schema without its data"
                ))
                .into(),
        );
    }
    let read = || read(name, text, dialect);
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("ddl".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, read)
            .map_err(|e| Error::operator_from("cannot start a thread to parse with", e))?
            .join()
            .unwrap_or_else(|_| Err(Error::Bug("the parser of DDL text gave up".into())))
    })
}

fn read(name: &str, text: &str, dialect: Dialect) -> Result<Imported> {
    let language: &dyn Language = match dialect {
        Dialect::Sqlite => &SQLiteDialect {},
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::Mysql => &MySqlDialect {},
    };
    let mut state = State::new(dialect);
    for piece in split(text, dialect, language)? {
        if piece.kind == Kind::Other {
            state.skipped += 1;
            continue;
        }
        let start = piece.start();
        take(&mut state, piece, language)
            .map_err(|e| malformed(text, e.location.unwrap_or(start), &e.message))?;
        state.check_size()?;
    }
    state.finish(name)
}

/// What is wrong with a statement; without a place it is the statement as a whole.
struct Wrong {
    message: String,
    location: Option<Location>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Wrong {
        Wrong {
            message: message.into(),
            location: None,
        }
    }
}

impl From<ParserError> for Wrong {
    fn from(error: ParserError) -> Wrong {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => {
                return Wrong::new("nested deeper than can be read");
            }
        };
        // The parser has the place in its text only.
        let place = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            let location = Location {
                line: line.trim().parse().ok()?,
                column: column.trim().parse().ok()?,
            };
            Some((message.to_string(), location))
        });
        match place {
            Some((message, location)) => Wrong {
                message,
                location: Some(location),
            },
            None => Wrong::new(text),
        }
    }
}

fn take(state: &mut State, piece: Piece, language: &dyn Language) -> Result<(), Wrong> {
    check_chains(&piece)?;
    let Piece { kind, mut tokens } = piece;
    match kind {
        Kind::Other => return Ok(()),
        Kind::Use => {
            state.select_schema(&tokens);
            return Ok(());
        }
        Kind::EnumType => return state.enumeration(&tokens),
        Kind::VirtualTable => return state.virtual_table(&tokens),
        _ => {}
    }
    let mut comment = None;
    if kind == Kind::CreateTable {
        if partition_of(&tokens) {
            // The rows of a table that is in the schema already.
            return Ok(());
        }
        comment = cut_options(&mut tokens);
    }
    if matches!(kind, Kind::CreateTable | Kind::CreateView) {
        cut_filling(&mut tokens);
    }
    let droppable = kind == Kind::AlterTable && !changes_columns(&tokens);
    let mut parser = Parser::new(language).with_tokens_with_locations(tokens);
    let statement = parser.parse_statement().and_then(|statement| {
        let next = parser.peek_token();
        match next.token {
            Token::EOF => Ok(statement),
            _ => Err(ParserError::ParserError(format!(
                "Expected: the end of the statement, found: {}{}",
                next.token, next.span.start
            ))),
        }
    });
    match statement {
        Ok(statement) => state.statement(statement, comment),
        // A setting of the table that the parser has not heard of.
        Err(_) if droppable => {
            state.skipped += 1;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses expressions so long that they would be too deep.
fn check_chains(piece: &Piece) -> Result<(), Wrong> {
    // Items are told apart by the commas of the column list of a table, and by those outside of
    // every parenthesis anywhere else.
    let level = usize::from(piece.kind == Kind::CreateTable);
    let (mut depth, mut chain) = (0usize, 0usize);
    for token in &piece.tokens {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth <= level => chain = 0,
            Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) => {}
            _ => chain += 1,
        }
        if chain > LONGEST_CHAIN {
            return Err(Wrong {
                message: format!("an expression of more than {LONGEST_CHAIN} parts"),
                location: Some(token.span.start),
            });
        }
    }
    Ok(())
}

/// Whether this is `CREATE TABLE name PARTITION OF parent ...`.
fn partition_of(tokens: &[TokenWithSpan]) -> bool {
    let head = tokens
        .iter()
        .take_while(|token| token.token != Token::LParen);
    let head: Vec<_> = head.collect();
    head.windows(2)
        .any(|pair| is_word(pair[0], "PARTITION") && is_word(pair[1], "OF"))
}

/// Takes away what follows a table's columns (engine, storage, partitions: each version of a
/// database has more of it), and the server of a foreign table; gives the comment that is there.
fn cut_options(tokens: &mut Vec<TokenWithSpan>) -> Option<String> {
    if tokens.get(1).is_some_and(|token| is_word(token, "FOREIGN")) {
        tokens.remove(1);
    }
    let mut depth = 0usize;
    let mut end = None;
    for (i, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    end = Some(i + 1);
                    break;
                }
            }
            // `CREATE TABLE name AS SELECT ...`: the parentheses are the query's.
            _ if depth == 0 && (is_word(token, "AS") || is_word(token, "SELECT")) => return None,
            _ => {}
        }
    }
    let end = end?;
    let options = &tokens[end..];
    let comment = options.iter().position(|token| is_word(token, "COMMENT"));
    let comment = comment.and_then(|at| {
        let mut after = options[at + 1..].iter().filter(|t| t.token != Token::Eq);
        match after.next().map(|token| &token.token) {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => {
                Some(text.clone())
            }
            _ => None,
        }
    });
    let options_alone = options.first().is_none_or(|first| {
        OPTIONS.iter().any(|word| is_word(first, word))
            && !options
                .iter()
                .any(|token| NO_OPTIONS.iter().any(|word| is_word(token, word)))
    });
    // Anything else is needed, or a mistake, for the parser to point to.
    if options_alone {
        tokens.truncate(end);
    }
    comment
}

/// Takes away `WITH [NO] DATA` behind a query.
fn cut_filling(tokens: &mut Vec<TokenWithSpan>) {
    if tokens.last().is_some_and(|token| is_word(token, "DATA")) {
        let no = tokens.len().saturating_sub(2);
        let no = tokens.get(no).is_some_and(|token| is_word(token, "NO"));
        let with = tokens.len().saturating_sub(if no { 3 } else { 2 });
        if tokens.get(with).is_some_and(|token| is_word(token, "WITH")) {
            tokens.truncate(with);
        }
    }
}

/// Whether an ALTER TABLE says anything about columns, keys or names.
fn changes_columns(tokens: &[TokenWithSpan]) -> bool {
    let words = [
        "ADD", "DROP", "RENAME", "CHANGE", "MODIFY", "TYPE", "ATTACH",
    ];
    // What a column's number or default comes from is no matter.
    let no_matter = ["GENERATED", "DEFAULT", "IDENTITY"];
    // After ALTER TABLE and the name.
    let rest = tokens.get(3..).unwrap_or_default();
    rest.iter().enumerate().any(|(i, token)| {
        let next = rest.get(i + 1);
        words.iter().any(|word| is_word(token, word))
            && !next.is_some_and(|next| no_matter.iter().any(|word| is_word(next, word)))
    })
}

/// How names are read: which schema is the default one, and what happens to their case.
pub(super) struct Names {
    dialect: Dialect,
    /// The schema that tables without one are in, where that is not the default one.
    schema: Option<String>,
}

impl Names {
    /// A name; PostgreSQL folds those without quotes.
    fn ident(&self, ident: &Ident) -> String {
        if self.dialect == Dialect::Postgres && ident.quote_style.is_none() {
            ident.value.to_lowercase()
        } else {
            ident.value.clone()
        }
    }

    /// A table's name, with its schema in front where that is not the default one.
    fn object(&self, name: &ObjectName) -> String {
        let parts = name.0.iter().filter_map(|part| part.as_ident());
        let parts: Vec<String> = parts.map(|ident| self.ident(ident)).collect();
        self.parts(&parts)
    }

    fn parts(&self, parts: &[String]) -> String {
        let Some((table, schemas)) = parts.split_last() else {
            return String::new();
        };
        let schema = schemas.last().map(String::as_str);
        let default = match self.dialect {
            Dialect::Sqlite => "main",
            Dialect::Postgres => "public",
            // The database that is in use.
            Dialect::Mysql => self.schema.as_deref().unwrap_or_default(),
        };
        let schema = match (schema, self.dialect) {
            (None, Dialect::Postgres) => self.schema.as_deref(),
            (schema, _) => schema,
        };
        match schema {
            Some(schema) if schema != default => format!("{schema}.{table}"),
            _ => table.clone(),
        }
    }

    /// Whether two names, as they are kept here, mean the same.
    fn same(&self, a: &str, b: &str) -> bool {
        match self.dialect {
            Dialect::Postgres => a == b,
            _ => crate::sql::database::same_name(a, b),
        }
    }
}

/// The error for a place in the text.
fn malformed(text: &str, location: Location, message: &str) -> Error {
    let line = usize::try_from(location.line.saturating_sub(1)).unwrap_or(0);
    let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(0);
    let found = text.lines().nth(line).unwrap_or_default();
    let found: String = found.chars().skip(column).collect();
    let message = message.trim_end_matches(['.', ' ']);
    let mut problem = Problem::new(
        Code::InvalidSchema,
        format!(
            "the DDL text cannot be read at line {}, column {}: {message}",
            location.line.max(1),
            location.column.max(1)
        ),
    )
    .field("ddl");
    if !found.trim().is_empty() {
        problem = problem.found(found.trim());
    }
    problem.into()
}

#[cfg(test)]
mod tests;
