//! A database made ready for questions: its words counted, its texts encoded, its keys a graph.
//!
//! Tables and columns are numbered in the order of their names, so that nothing that follows
//! depends on the order of the source.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::cross::{Cross, Part};
use super::graph::Graph;
use super::words::{Vocabulary, WordId};
use crate::error::Result;
use crate::lexical::Stems;
use crate::model::{Task, TextEncoder};
use crate::sql::names::{self, written};
use crate::sql::render::Detail;
use crate::sql::vectors::Shelf;
use crate::sql::{Column, Database, Dialect, Table};

/// What a type holds, as far as a question can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Time,
    Other,
}

/// A table or a column as words.
pub(crate) struct Named {
    /// Its name, lower-cased, as it stands.
    pub raw: String,
    /// Stems of the name in words with spaces around, for phrases; and of the readable name.
    pub phrases: Vec<String>,
    /// Words of both names.
    pub words: Vec<WordId>,
    /// Words of what is said about it.
    pub described: Vec<WordId>,
    /// Values that it is known to have or that its description names, lower-cased.
    pub values: Vec<String>,
}

pub(crate) struct ColumnFacts {
    pub table: usize,
    /// Its place among the table's columns.
    pub place: usize,
    pub named: Named,
    pub kind: Kind,
    pub primary: bool,
    /// Tables that it refers to, and those whose columns refer to it.
    pub refers: Vec<usize>,
    pub referred: Vec<usize>,
    /// Which of [`SchemaIndex::same_name`] it is in.
    pub same_name: usize,
}

pub(crate) struct TableFacts {
    pub named: Named,
    /// Its columns among all of the database.
    pub columns: std::ops::Range<usize>,
    pub neighbours: Vec<usize>,
}

/// Vectors of texts, one after the other; texts that are alike share one.
#[derive(Default)]
pub(crate) struct Rows {
    vectors: Arc<Vec<f32>>,
    /// Which of the vectors is each text's.
    places: Vec<u32>,
    pub dimensions: usize,
}

impl Rows {
    pub(crate) fn dot(&self, row: usize, query: &[f32]) -> f32 {
        let place = self.places[row] as usize;
        let row = &self.vectors[place * self.dimensions..][..self.dimensions];
        // In eight sums, which the compiler keeps side by side.
        let mut sums = [0f32; 8];
        for (a, b) in row.chunks(8).zip(query.chunks(8)) {
            for (sum, (x, y)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += x * y;
            }
        }
        sums.iter().sum()
    }
}

/// A way of writing a schema down and counting its tokens: tokenizer, dialect and detail.
pub(crate) type Written = (String, Dialect, Detail);

/// A database that questions can be linked to.
pub struct SchemaIndex {
    pub(crate) database: Database,
    pub(crate) tables: Vec<TableFacts>,
    pub(crate) columns: Vec<ColumnFacts>,
    pub(crate) graph: Graph,
    pub(crate) vocabulary: Vocabulary,
    /// Columns of one name, whatever the case: every column is in one of these.
    same_name: Vec<Vec<usize>>,
    /// A row for each column: all that is known of it; and its name beside its table's.
    pub(crate) column_texts: Rows,
    pub(crate) column_names: Rows,
    /// A row for each table: its name and its columns'.
    pub(crate) table_texts: Rows,
    /// Its tables as the cross-encoder reads them; none where there is no such model.
    pub(crate) parts: Vec<Part>,
    whole_tokens: Mutex<HashMap<Written, usize>>,
}

impl SchemaIndex {
    /// Prepares a database; each of its columns is encoded twice and each table once, as far as
    /// they are not on the shelf.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(super) fn new(
        database: &Database,
        encoder: &TextEncoder,
        cross: Option<&Cross>,
        stems: &Stems,
        shelf: &Shelf<'_>,
    ) -> Result<SchemaIndex> {
        let mut index = SchemaIndex::without_vectors(database, stems);
        let column = |n: usize| {
            let facts = &index.columns[n];
            let table = &index.database.tables[facts.table];
            (table, &table.columns[facts.place])
        };
        let all = 0..index.columns.len();
        let texts: Vec<String> = all.clone().map(|n| column_text(column(n))).collect();
        let names: Vec<String> = all.map(|n| column_name(column(n))).collect();
        let tables: Vec<String> = index.database.tables.iter().map(table_text).collect();
        [index.column_texts, index.column_names, index.table_texts] =
            encoded(encoder, shelf, [texts, names, tables])?;
        if let Some(cross) = cross {
            index.parts = cross.parts(&index)?;
        }
        Ok(index)
    }

    fn without_vectors(database: &Database, stems: &Stems) -> SchemaIndex {
        let database = sorted(database);
        let graph = Graph::new(&database);
        let mut vocabulary = Vocabulary::default();
        let mut tables: Vec<TableFacts> = Vec::new();
        let mut columns: Vec<ColumnFacts> = Vec::new();
        for (number, table) in database.tables.iter().enumerate() {
            let first = columns.len();
            for (place, column) in table.columns.iter().enumerate() {
                columns.push(ColumnFacts {
                    table: number,
                    place,
                    named: named_column(column, &mut vocabulary, stems),
                    kind: kind(&column.data_type, &column.name),
                    primary: table.primary_key.contains(&column.name),
                    refers: Vec::new(),
                    referred: Vec::new(),
                    same_name: 0,
                });
            }
            tables.push(TableFacts {
                named: named_table(table, &mut vocabulary, stems),
                columns: first..columns.len(),
                neighbours: graph.neighbours(number).into_iter().collect(),
            });
        }
        for edge in &graph.edges {
            for place in &edge.from_columns {
                let column = tables[edge.from].columns.start + place;
                columns[column].refers.push(edge.to);
            }
            for place in &edge.to_columns {
                let column = tables[edge.to].columns.start + place;
                columns[column].referred.push(edge.from);
            }
        }
        let mut by_name: HashMap<String, usize> = HashMap::new();
        let mut same_name: Vec<Vec<usize>> = Vec::new();
        for (n, column) in columns.iter_mut().enumerate() {
            let group = by_name.entry(column.named.raw.clone());
            column.same_name = *group.or_insert(same_name.len());
            if column.same_name == same_name.len() {
                same_name.push(Vec::new());
            }
            same_name[column.same_name].push(n);
        }
        for table in &tables {
            vocabulary.mark(&table.named.words);
        }
        vocabulary.count(columns.iter().map(|column| &column.named));
        SchemaIndex {
            database,
            tables,
            columns,
            graph,
            vocabulary,
            same_name,
            column_texts: Rows::default(),
            column_names: Rows::default(),
            table_texts: Rows::default(),
            parts: Vec::new(),
            whole_tokens: Mutex::default(),
        }
    }

    /// The database, with tables and columns in the order of their names.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Tokens of the whole schema as it is written in some way, counted once.
    pub(crate) fn whole_tokens(
        &self,
        written: Written,
        count: impl FnOnce() -> Result<usize>,
    ) -> Result<usize> {
        // Few ways are asked for; somebody who asks for ever new ones shall not fill the memory.
        const MOST: usize = 64;
        if let Some(tokens) = self.whole_tokens.lock().get(&written) {
            return Ok(*tokens);
        }
        let tokens = count()?;
        let mut known = self.whole_tokens.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(written, tokens);
        Ok(tokens)
    }

    /// The number of a column, by its table's name and its own.
    pub(crate) fn find(&self, table: &str, column: &str) -> Option<usize> {
        let tables = &self.database.tables;
        let number = tables
            .binary_search_by(|known| known.name.as_str().cmp(table))
            .ok()?;
        let columns = &tables[number].columns;
        let place = columns
            .binary_search_by(|known| known.name.as_str().cmp(column))
            .ok()?;
        Some(self.first_column(number) + place)
    }

    /// The number of a table's first column.
    pub fn first_column(&self, table: usize) -> usize {
        self.tables[table].columns.start
    }

    /// Numbers alone, for fitting: the table of each column, the columns of the same name, which
    /// are of a primary key, and the foreign keys as `[from, to, columns, columns]`.
    pub fn shape(&self) -> serde_json::Value {
        let numbers = |table: usize, places: &[usize]| -> Vec<usize> {
            let first = self.first_column(table);
            places.iter().map(|place| first + place).collect()
        };
        let edges = self.graph.edges.iter().map(|edge| {
            serde_json::json!([
                edge.from,
                edge.to,
                numbers(edge.from, &edge.from_columns),
                numbers(edge.to, &edge.to_columns)
            ])
        });
        serde_json::json!({
            "database": self.database.name,
            "table": self.columns.iter().map(|c| c.table).collect::<Vec<_>>(),
            "tables": self.tables.len(),
            "namesakes": (0..self.columns.len()).map(|n| self.namesakes(n)).collect::<Vec<_>>(),
            "primary": self.columns.iter().map(|c| c.primary).collect::<Vec<_>>(),
            "edges": edges.collect::<Vec<_>>(),
        })
    }

    /// Other columns of the same name.
    pub(crate) fn namesakes(&self, column: usize) -> Vec<usize> {
        let same = self.same_name[self.columns[column].same_name].iter();
        same.copied().filter(|other| *other != column).collect()
    }

    /// How many those are.
    pub(crate) fn count_namesakes(&self, column: usize) -> usize {
        self.same_name[self.columns[column].same_name].len() - 1
    }

    /// For each column the greatest figure among its namesakes, and `least` where there are none
    /// or only smaller ones. Thousands of tables may have an `id`, so that no column looks at all
    /// of the others.
    pub(crate) fn best_namesakes(&self, figure: impl Fn(usize) -> f32, least: f32) -> Vec<f32> {
        let mut best = vec![least; self.columns.len()];
        for group in self.same_name.iter().filter(|group| group.len() > 1) {
            let (mut first, mut second, mut of) = (least, least, None);
            for n in group {
                let figure = figure(*n);
                if figure > first {
                    (first, second, of) = (figure, first, Some(*n));
                } else {
                    second = second.max(figure);
                }
            }
            for n in group {
                best[*n] = if of == Some(*n) { second } else { first };
            }
        }
        best
    }

    pub(crate) fn table(&self, number: usize) -> &Table {
        &self.database.tables[number]
    }

    pub(crate) fn column(&self, number: usize) -> &Column {
        let facts = &self.columns[number];
        &self.database.tables[facts.table].columns[facts.place]
    }
}

/// Encodes lists of texts. Of a column that nobody described text and name are one, and most
/// columns of most databases are like that: whatever is there twice is encoded and kept once.
fn encoded<const N: usize>(
    encoder: &TextEncoder,
    shelf: &Shelf<'_>,
    lists: [Vec<String>; N],
) -> Result<[Rows; N]> {
    let mut texts: Vec<&str> = Vec::new();
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut places: [Vec<u32>; N] = std::array::from_fn(|_| Vec::new());
    for (list, places) in lists.iter().zip(&mut places) {
        for text in list {
            let place = *known.entry(text).or_insert_with(|| {
                texts.push(text);
                // A database has fewer than 2^32 texts: its limits are far below.
                (texts.len() - 1) as u32
            });
            places.push(place);
        }
    }
    let embeddings = shelf.encode(encoder, Task::Document, &texts)?;
    let vectors = Arc::new(embeddings.vectors);
    Ok(places.map(|places| Rows {
        vectors: vectors.clone(),
        places,
        dimensions: embeddings.dimensions,
    }))
}

/// The same database in the order of names; sample rows follow their columns.
pub(crate) fn sorted(database: &Database) -> Database {
    let mut database = database.clone();
    database.tables.sort_by(|a, b| a.name.cmp(&b.name));
    for table in &mut database.tables {
        let mut order: Vec<usize> = (0..table.columns.len()).collect();
        order.sort_by(|a, b| table.columns[*a].name.cmp(&table.columns[*b].name));
        table.columns = order.iter().map(|n| table.columns[*n].clone()).collect();
        for row in &mut table.samples {
            *row = order
                .iter()
                .map(|n| row.get(*n).cloned().flatten())
                .collect();
        }
    }
    database
}

/// DFIN-SQL's text of a column, with its table before it.
fn column_text((table, column): (&Table, &Column)) -> String {
    let mut text = column_name((table, column));
    for (label, said) in [
        (" description: ", &column.description),
        (" value description: ", &column.value_description),
    ] {
        if let Some(said) = said {
            text.push_str(label);
            text.push_str(said);
        }
    }
    text
}

fn column_name((table, column): (&Table, &Column)) -> String {
    format!(
        "{}: {}",
        written(&table.name, table.readable.as_deref()),
        written(&column.name, column.readable.as_deref())
    )
}

/// A table as a text: its name, what is said of it, and its columns.
pub(crate) fn table_text(table: &Table) -> String {
    let columns = table.columns.iter();
    let names: Vec<String> = columns
        .map(|column| written(&column.name, column.readable.as_deref()))
        .collect();
    let mut text = written(&table.name, table.readable.as_deref());
    if let Some(description) = &table.description {
        text.push_str(". ");
        text.push_str(description);
    }
    format!("{text}: {}", names.join(", "))
}

fn named_column(column: &Column, vocabulary: &mut Vocabulary, stems: &Stems) -> Named {
    let mut named = named(&column.name, column.readable.as_deref(), vocabulary, stems);
    let said = [&column.description, &column.value_description];
    for said in said.into_iter().flatten() {
        named.described.extend(vocabulary.ids(said, stems));
        named.values.extend(quoted(said));
    }
    named
        .values
        .extend(column.values.iter().map(|v| v.to_lowercase()));
    tidy(&mut named);
    named
}

fn named_table(table: &Table, vocabulary: &mut Vocabulary, stems: &Stems) -> Named {
    let mut named = named(&table.name, table.readable.as_deref(), vocabulary, stems);
    if let Some(said) = &table.description {
        named.described.extend(vocabulary.ids(said, stems));
    }
    tidy(&mut named);
    named
}

fn tidy(named: &mut Named) {
    for words in [&mut named.words, &mut named.described] {
        words.sort_unstable();
        words.dedup();
    }
    // Single letters and digits are everywhere.
    named.values.retain(|value| value.chars().count() > 1);
    named.values.sort();
    named.values.dedup();
}

fn named(name: &str, readable: Option<&str>, vocabulary: &mut Vocabulary, stems: &Stems) -> Named {
    let own = names::words(name);
    let other = names::words(readable.unwrap_or_default());
    let mut words = vocabulary.ids(&own, stems);
    words.extend(vocabulary.ids(&other, stems));
    let mut phrases: Vec<String> = [own, other]
        .iter()
        .map(|text| stems.of(text).join(" "))
        .filter(|phrase| !phrase.is_empty())
        .map(|phrase| format!(" {phrase} "))
        .collect();
    phrases.dedup();
    Named {
        raw: name.to_lowercase(),
        phrases,
        words,
        described: Vec::new(),
        values: Vec::new(),
    }
}

/// What stands in quotes in a text, lower-cased.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mark in ['\'', '"'] {
        let parts: Vec<&str> = text.split(mark).collect();
        // Apostrophes break the pairs; what is long or spans sentences is no value.
        for inner in parts.iter().skip(1).step_by(2) {
            let inner = inner.trim();
            if !inner.is_empty() && inner.len() <= 60 && !inner.starts_with([',', '.']) {
                found.push(inner.to_lowercase());
            }
        }
    }
    found
}

fn kind(data_type: &str, name: &str) -> Kind {
    let lower = data_type.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let words = names::words(name);
    let named = |parts: &[&str]| words.split(' ').any(|word| parts.contains(&word));
    if has(&["date", "time", "year"]) || named(&["date", "year", "month", "time", "datetime"]) {
        Kind::Time
    } else if has(&[
        "int", "num", "real", "float", "double", "dec", "money", "serial",
    ]) {
        Kind::Number
    } else if has(&["char", "text", "string", "clob", "enum", "uuid"]) {
        Kind::Text
    } else {
        Kind::Other
    }
}

#[cfg(test)]
pub(crate) fn without_vectors(database: &Database) -> SchemaIndex {
    SchemaIndex::without_vectors(database, &Stems::english())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_of_quotes() {
        assert_eq!(
            quoted("stores codes such as 'G1', 'E2' and \"SC0\"."),
            ["g1", "e2", "sc0"]
        );
        assert!(
            quoted("the customer's name").is_empty() || quoted("the customer's name").len() == 1
        );
    }

    #[test]
    fn the_best_namesake_is_that_of_looking_at_all() {
        let columns = |names: &[&str]| -> Vec<Column> {
            let column = |name: &&str| Column {
                name: (*name).into(),
                ..Column::default()
            };
            names.iter().map(column).collect()
        };
        let table = |name: &str, names: &[&str]| Table {
            name: name.into(),
            columns: columns(names),
            ..Table::default()
        };
        let index = without_vectors(&Database {
            tables: vec![
                table("a", &["id", "x", "town"]),
                table("b", &["ID", "y", "town"]),
                table("c", &["id", "z"]),
            ],
            ..Database::default()
        });
        for seed in 0..50_u32 {
            // Few different figures, so that some are alike.
            let figures: Vec<f32> = (0..8_u32)
                .map(|n| ((seed * 31 + n * n * 7) % 5) as f32 - 1.0)
                .collect();
            let expected: Vec<f32> = (0..8)
                .map(|n| {
                    let others = index.namesakes(n).into_iter();
                    others.map(|other| figures[other]).fold(-0.5, f32::max)
                })
                .collect();
            assert_eq!(index.best_namesakes(|n| figures[n], -0.5), expected);
        }
        let counts: Vec<usize> = (0..8).map(|n| index.count_namesakes(n)).collect();
        assert_eq!(counts, [2, 1, 0, 2, 1, 0, 2, 0]);
    }

    #[test]
    fn types_say_what_they_hold() {
        for (data_type, name, expected) in [
            ("VARCHAR(20)", "city", Kind::Text),
            ("number", "age", Kind::Number),
            ("integer", "Year", Kind::Time),
            ("datetime", "x", Kind::Time),
            ("blob", "x", Kind::Other),
        ] {
            assert_eq!(kind(data_type, name), expected, "{data_type} {name}");
        }
    }
}
