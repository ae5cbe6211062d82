//! Finding the synonyms of a query's words.

use std::collections::HashMap;

use super::analysis::{analyzer, words};
use super::definition::Synonyms;
use crate::document::Analysis;

/// Synonyms made ready for looking up. Words are compared folded, without stemming.
#[derive(Debug, Clone, Default)]
pub struct SynonymTable {
    /// The others of a group, by the folded words of one of them.
    others: HashMap<Vec<String>, Vec<String>>,
    longest: usize,
    weight: f32,
}

impl SynonymTable {
    /// The table of a definition. A member that stands in several groups has the
    /// others of all of them.
    pub fn new(synonyms: &Synonyms) -> SynonymTable {
        let mut table = SynonymTable {
            weight: synonyms.weight,
            ..SynonymTable::default()
        };
        for group in &synonyms.groups {
            let keys: Vec<Vec<String>> = group.iter().map(|member| folded(member)).collect();
            for (i, key) in keys.iter().enumerate() {
                if key.is_empty() {
                    continue;
                }
                table.longest = table.longest.max(key.len());
                let others = table.others.entry(key.clone()).or_default();
                for (j, other) in group.iter().enumerate() {
                    if j != i && keys.get(j) != Some(key) && !others.contains(other) {
                        others.push(other.clone());
                    }
                }
            }
        }
        table
    }

    /// Weight of a synonym against the word itself.
    pub(super) fn weight(&self) -> f32 {
        self.weight
    }

    /// The longest run of `typed` from its start that has synonyms: how many words it
    /// takes, and what else they may be called.
    pub(super) fn longest_match(&self, typed: &[&str]) -> Option<(usize, &[String])> {
        if self.longest == 0 {
            return None;
        }
        let mut key = Vec::new();
        let mut found = None;
        for (i, word) in typed.iter().enumerate() {
            key.extend(folded(word));
            if key.len() > self.longest {
                break;
            }
            if let Some(others) = self.others.get(&key) {
                found = Some((i + 1, others.as_slice()));
            }
        }
        found
    }
}

fn folded(text: &str) -> Vec<String> {
    words(&analyzer(&Analysis::default()), text)
        .into_iter()
        .map(|w| w.text)
        .collect()
}
