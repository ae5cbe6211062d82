//! A part of a schema as `CREATE TABLE` text.
//!
//! The promise: the text is SQL of the dialect. Whatever names, comments and values are, it
//! parses, and to the names that were put in.

use std::fmt::Write;

use super::keep::Kept;
use super::link::SchemaIndex;
use super::names::words;
use super::{Column, Dialect, Table};

/// What is written beside names, types and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Detail {
    /// Readable names and descriptions, as comments.
    pub comments: bool,
    /// Most characters of each of them.
    pub comment_chars: usize,
    /// Most sample rows of each table.
    pub samples: usize,
    /// Most frequent values of each column.
    pub values: usize,
}

impl Default for Detail {
    fn default() -> Self {
        Detail {
            comments: true,
            comment_chars: 200,
            samples: 3,
            values: 3,
        }
    }
}

/// Most characters of a value.
const MOST_VALUE: usize = 60;

/// `CREATE TABLE` text of what is kept, tables and columns in the order of their names.
pub fn render(index: &SchemaIndex, kept: &Kept, dialect: Dialect, detail: Detail) -> String {
    let mut text = String::new();
    for table in &kept.tables {
        if !text.is_empty() {
            text.push('\n');
        }
        write_table(&mut text, index, kept, *table, dialect, detail);
    }
    text
}

fn write_table(
    text: &mut String,
    index: &SchemaIndex,
    kept: &Kept,
    number: usize,
    dialect: Dialect,
    detail: Detail,
) {
    let table = index.table(number);
    let first = index.first_column(number);
    let numbered = table.columns.iter().enumerate();
    let (places, columns): (Vec<usize>, Vec<&Column>) = numbered
        .filter(|(place, _)| kept.columns[first + place].is_some())
        .unzip();
    if detail.comments
        && let Some(comment) = comment(
            &table.name,
            [table.readable.as_deref(), table.description.as_deref()],
            detail.comment_chars,
        )
    {
        line(text, &format!("-- {comment}"));
    }
    line(
        text,
        &format!("CREATE TABLE {} (", qualified(&table.name, dialect)),
    );
    let mut lines: Vec<(String, Option<String>)> = Vec::new();
    for (place, column) in places.iter().zip(&columns) {
        let named = kept
            .values
            .get(&(first + place))
            .map_or(&[][..], Vec::as_slice);
        lines.push(written_column(column, named, dialect, detail));
    }
    let has = |name: &String| columns.iter().any(|column| column.name == *name);
    let names = |names: &[String]| -> String {
        let quoted: Vec<String> = names.iter().map(|name| quote(name, dialect)).collect();
        quoted.join(", ")
    };
    if !table.primary_key.is_empty() && table.primary_key.iter().all(has) {
        lines.push((format!("PRIMARY KEY ({})", names(&table.primary_key)), None));
    }
    for edge in index.graph.edges.iter().filter(|edge| edge.from == number) {
        let own: Vec<String> = name_all(table, &edge.from_columns);
        let other = index.table(edge.to);
        let theirs = name_all(other, &edge.to_columns);
        let first = index.first_column(edge.to);
        let there = edge
            .to_columns
            .iter()
            .all(|place| kept.columns[first + place].is_some());
        if kept.tables.contains(&edge.to) && there && own.iter().all(has) {
            lines.push((
                format!(
                    "FOREIGN KEY ({}) REFERENCES {} ({})",
                    names(&own),
                    qualified(&other.name, dialect),
                    names(&theirs)
                ),
                None,
            ));
        }
    }
    let last = lines.len().saturating_sub(1);
    for (n, (part, comment)) in lines.iter().enumerate() {
        let comma = if n < last { "," } else { "" };
        let comment = comment.as_ref().map(|comment| format!(" -- {comment}"));
        line(
            text,
            &format!("  {part}{comma}{}", comment.unwrap_or_default()),
        );
    }
    line(text, ");");
    write_samples(text, table, &columns, detail.samples);
}

fn name_all(table: &Table, places: &[usize]) -> Vec<String> {
    places
        .iter()
        .map(|place| table.columns[*place].name.clone())
        .collect()
}

/// A column and what stands beside it; values that the question names come first.
fn written_column(
    column: &Column,
    named: &[String],
    dialect: Dialect,
    detail: Detail,
) -> (String, Option<String>) {
    let mut part = quote(&column.name, dialect);
    let data_type = data_type(&column.data_type);
    if !data_type.is_empty() {
        part.push(' ');
        part.push_str(&data_type);
    }
    if !column.nullable {
        part.push_str(" NOT NULL");
    }
    let mut notes = Vec::new();
    if detail.comments {
        notes.extend(comment(
            &column.name,
            [column.readable.as_deref(), column.description.as_deref()],
            detail.comment_chars,
        ));
        notes.extend(
            column
                .value_description
                .as_deref()
                .map(|text| short(text, detail.comment_chars)),
        );
    }
    let others = column.values.iter().filter(|value| !named.contains(value));
    let others = others.take(detail.values.saturating_sub(named.len()));
    let values: Vec<String> = named
        .iter()
        .chain(others)
        .map(|value| format!("'{}'", short(value, MOST_VALUE).replace('\'', "''")))
        .collect();
    if !values.is_empty() {
        notes.push(format!("values: {}", values.join(", ")));
    }
    (part, (!notes.is_empty()).then(|| notes.join("; ")))
}

/// Sample rows in a comment, tab between values.
fn write_samples(text: &mut String, table: &Table, columns: &[&Column], most: usize) {
    let rows: Vec<&Vec<Option<String>>> = table.samples.iter().take(most).collect();
    if rows.is_empty() || columns.is_empty() {
        return;
    }
    let cell = |value: &str| {
        short(value, MOST_VALUE)
            .replace("*/", "* /")
            .replace("/*", "/ *")
    };
    let places: Vec<usize> = columns
        .iter()
        .filter_map(|column| {
            table
                .columns
                .iter()
                .position(|other| other.name == column.name)
        })
        .collect();
    let names: Vec<String> = columns.iter().map(|column| cell(&column.name)).collect();
    line(text, "/* sample rows");
    line(text, &names.join("\t"));
    for row in rows {
        let cells: Vec<String> = places
            .iter()
            .map(|place| match row.get(*place) {
                Some(Some(value)) => cell(value),
                // Nobody shall take it for empty.
                _ if table.columns[*place].masked => "(masked)".to_string(),
                _ => "NULL".to_string(),
            })
            .collect();
        line(text, &cells.join("\t"));
    }
    line(text, "*/");
}

fn line(text: &mut String, content: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{content}");
}

/// What is said of a thing beside its name, on one line; None where nothing is.
fn comment(name: &str, parts: [Option<&str>; 2], most: usize) -> Option<String> {
    let own = words(name);
    let said = parts.iter().flatten().map(|text| short(text, most));
    let said: Vec<String> = said
        .filter(|text| !text.is_empty() && words(text) != own)
        .collect();
    (!said.is_empty()).then(|| said.join(": "))
}

/// A text on one line, cut after so many characters.
fn short(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(most) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}

/// A type as its source writes it, where that is a type: words, digits, one pair of brackets.
fn data_type(data_type: &str) -> String {
    let sound = |c: char| c.is_ascii_alphanumeric() || " _(),".contains(c);
    let text = data_type.trim();
    let opened = text.matches('(').count();
    let closed = text.matches(')').count();
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && text.chars().all(sound) && opened == closed && opened < 2 {
        text.to_string()
    } else {
        String::new()
    }
}

/// A table's name; a schema before it is a name of its own.
fn qualified(name: &str, dialect: Dialect) -> String {
    match (dialect, name.split_once('.')) {
        (Dialect::Postgres | Dialect::Mysql, Some((schema, table))) => {
            format!("{}.{}", quote(schema, dialect), quote(table, dialect))
        }
        _ => quote(name, dialect),
    }
}

/// A name as the dialect takes it: in quotes where it would be read otherwise, or folded.
pub(crate) fn quote(name: &str, dialect: Dialect) -> String {
    let letters = |c: char| match dialect {
        Dialect::Postgres => c.is_ascii_lowercase(),
        Dialect::Sqlite | Dialect::Mysql => c.is_ascii_alphabetic(),
    };
    let plain = name.starts_with(|c| letters(c) || c == '_')
        && name
            .chars()
            .all(|c| letters(c) || c.is_ascii_digit() || c == '_')
        && !is_keyword(name);
    if plain {
        return name.to_string();
    }
    let mark = if dialect == Dialect::Mysql { '`' } else { '"' };
    let doubled = name.replace(mark, &format!("{mark}{mark}"));
    format!("{mark}{doubled}{mark}")
}

/// Any word that some dialect gives a meaning to: quotes too many do no harm.
fn is_keyword(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    sqlparser::keywords::ALL_KEYWORDS
        .binary_search(&upper.as_str())
        .is_ok()
        && !HARMLESS.contains(&upper.as_str())
}

/// Words with a meaning that are common names of columns, and that every dialect takes as such.
const HARMLESS: &[&str] = &[
    "ID", "NAME", "TYPE", "YEAR", "DATE", "STATUS", "CODE", "TITLE", "LOCATION", "VERSION",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sqlparser::ast::{Statement, TableConstraint};
    use sqlparser::dialect::{Dialect as Grammar, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
    use sqlparser::parser::Parser;

    use super::*;
    use crate::sql::keep::{Choice, choose, complete};
    use crate::sql::link::{Scores, without_vectors};
    use crate::sql::{Database, ForeignKey};

    fn parsed(text: &str, dialect: Dialect) -> Vec<Statement> {
        let grammar: &dyn Grammar = match dialect {
            Dialect::Sqlite => &SQLiteDialect {},
            Dialect::Postgres => &PostgreSqlDialect {},
            Dialect::Mysql => &MySqlDialect {},
        };
        Parser::parse_sql(grammar, text).unwrap_or_else(|e| panic!("{e} in\n{text}"))
    }

    fn two(name: &str, other: &str, comment: &str, value: &str) -> Database {
        let column = |name: &str| Column {
            name: name.into(),
            data_type: "VARCHAR(20)".into(),
            description: Some(comment.into()),
            values: vec![value.into()],
            nullable: true,
            ..Column::default()
        };
        let table = |name: &str| Table {
            name: name.into(),
            description: Some(comment.into()),
            columns: vec![column(other), column("plain")],
            primary_key: vec![other.into()],
            samples: vec![vec![Some(value.into()), None]],
            ..Table::default()
        };
        Database {
            tables: vec![table(name), table("zz second")],
            foreign_keys: vec![ForeignKey {
                table: "zz second".into(),
                columns: vec!["plain".into()],
                to_table: name.into(),
                to_columns: vec![other.into()],
                ..ForeignKey::default()
            }],
            ..Database::default()
        }
    }

    fn everything(database: &Database) -> (SchemaIndex, Kept) {
        let index = without_vectors(database);
        let scores = Scores {
            columns: vec![0.0; index.columns.len()],
            tables: vec![0.0; index.tables.len()],
        };
        let mut kept = choose(&index, &scores, Choice::All);
        complete(&index, &mut kept);
        (index, kept)
    }

    proptest! {
        #[test]
        fn whatever_names_and_comments_are_the_text_parses_to_them(
            name in "[a-zA-Z \"`'é_-]{1,8}|select|Order|group|user|table",
            other in "[a-zA-Z0-9 \"`'\\[\\]_;-]{1,8}|from|Key|values",
            comment in "[a-z'\"*/\n\r;-]{0,20}",
            value in "[a-z'\"*/\n\t;-]{0,20}",
        ) {
            prop_assume!(!other.eq_ignore_ascii_case("plain") && !name.trim().is_empty());
            let (index, kept) = everything(&two(&name, &other, &comment, &value));
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
                let text = render(&index, &kept, dialect, Detail::default());
                let statements = parsed(&text, dialect);
                prop_assert_eq!(statements.len(), 2);
                let mut names = Vec::new();
                for statement in &statements {
                    let Statement::CreateTable(table) = statement else {
                        panic!("{statement}");
                    };
                    names.push(table.name.0[0].as_ident().unwrap().value.clone());
                    let columns: Vec<&str> =
                        table.columns.iter().map(|c| c.name.value.as_str()).collect();
                    let mut expected = vec![other.as_str(), "plain"];
                    expected.sort_unstable();
                    prop_assert_eq!(columns, expected);
                }
                let mut expected = vec![name.as_str(), "zz second"];
                expected.sort_unstable();
                prop_assert_eq!(names, expected);
                let second = statements.iter().find_map(|statement| match statement {
                    Statement::CreateTable(table)
                        if table.name.to_string().contains("zz second") => Some(table),
                    _ => None,
                });
                let foreign = |c: &TableConstraint| matches!(c, TableConstraint::ForeignKey(_));
                prop_assert!(second.unwrap().constraints.iter().any(foreign));
            }
        }
    }

    #[test]
    fn comments_that_repeat_the_name_are_left_out() {
        let both = |readable, description| comment("singer_ID", [readable, description], 200);
        assert_eq!(both(Some("singer id"), None), None);
        assert_eq!(
            both(Some("singer id"), Some("who sings")).as_deref(),
            Some("who sings")
        );
        assert_eq!(
            both(Some("artist"), Some("who\nsings")).as_deref(),
            Some("artist: who sings")
        );
    }

    #[test]
    fn what_is_not_kept_is_not_written() {
        let (index, mut kept) = everything(&two("a", "id", "", "v"));
        let place = index.first_column(1) + 1;
        kept.columns[place] = None;
        let detail = Detail {
            comments: false,
            samples: 0,
            values: 0,
            ..Detail::default()
        };
        let text = render(&index, &kept, Dialect::Sqlite, detail);
        assert_eq!(
            text,
            "CREATE TABLE a (\n  id VARCHAR(20),\n  \"plain\" VARCHAR(20),\n  PRIMARY KEY (id)\n);\n\n\
             CREATE TABLE \"zz second\" (\n  id VARCHAR(20),\n  PRIMARY KEY (id)\n);\n"
        );
    }
}
