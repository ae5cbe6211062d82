//! Values by their vectors.

use std::collections::HashMap;

use super::index::{Value, ValueId};
use crate::error::Result;
use crate::model::{Task, TextEncoder};
use crate::sql::vectors::Shelf;

/// Most different values that are encoded, of each column as many: a vector costs what a hundred
/// comparisons of words do.
const MOST_ENCODED: usize = 10_000;
/// Longest value that is encoded, in bytes: what is longer is a text, and found by its words.
const LONGEST: usize = 80;

/// Vectors of the most frequent values that have words.
pub(super) struct Meaning {
    /// A row for each different text, with the values that it is.
    values: Vec<Vec<ValueId>>,
    vectors: Vec<f32>,
    dimensions: usize,
}

impl Meaning {
    /// What is not on the shelf is encoded.
    pub(super) fn new(
        values: &[Value],
        encoder: &TextEncoder,
        shelf: &Shelf<'_>,
    ) -> Result<Meaning> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut texts: Vec<&str> = Vec::new();
        let mut of: Vec<Vec<ValueId>> = Vec::new();
        for id in in_turn(values) {
            let text = &*values[id as usize].text;
            if text.len() > LONGEST || !text.chars().any(char::is_alphabetic) {
                continue;
            }
            if let Some(place) = places.get(text) {
                of[*place].push(id);
            } else if texts.len() < MOST_ENCODED {
                places.insert(text, texts.len());
                texts.push(text);
                of.push(vec![id]);
            }
        }
        let encoded = shelf.encode(encoder, Task::Document, &texts)?;
        Ok(Meaning {
            values: of,
            dimensions: encoded.dimensions,
            vectors: encoded.vectors,
        })
    }

    /// The values nearest to a text, at least `count` where there are as many, the nearest first.
    pub(super) fn nearest(
        &self,
        encoder: &TextEncoder,
        text: &str,
        count: usize,
    ) -> Result<Vec<(ValueId, f32)>> {
        let query = encoder.encode(Task::Query, &[text])?;
        let Some(query) = query.rows().next().filter(|_| self.dimensions > 0) else {
            return Ok(Vec::new());
        };
        let rows = self.vectors.chunks_exact(self.dimensions).enumerate();
        let mut order: Vec<(usize, f32)> = rows
            .map(|(n, row)| (n, row.iter().zip(query).map(|(a, b)| a * b).sum()))
            .collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut found = Vec::new();
        for (row, likeness) in order {
            if found.len() >= count {
                break;
            }
            found.extend(self.values[row].iter().map(|id| (*id, likeness)));
        }
        Ok(found)
    }
}

/// The first value of each column, then the second ones, and so on.
fn in_turn(values: &[Value]) -> Vec<ValueId> {
    let mut ranked: Vec<(u32, u32, ValueId)> = Vec::with_capacity(values.len());
    let (mut column, mut rank) = (None, 0);
    for (id, value) in (0..).zip(values) {
        if column != Some(value.column) {
            (column, rank) = (Some(value.column), 0);
        }
        ranked.push((rank, value.column, id));
        rank += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(.., id)| id).collect()
}
