//! The words of a schema, and which of them a question has.

use std::collections::{BTreeSet, HashMap};

use super::schema::Named;
use crate::lexical::Stems;

/// A word's place in a [`Vocabulary`].
pub(crate) type WordId = u32;

/// The stems that a schema's names and descriptions consist of.
#[derive(Default)]
pub(crate) struct Vocabulary {
    ids: HashMap<String, WordId>,
    words: Vec<Word>,
    /// Columns that were counted.
    columns: usize,
}

struct Word {
    stem: String,
    grams: Vec<u32>,
    /// Columns whose names have it, and whose descriptions have it.
    columns: u32,
    described: u32,
    /// Whether it stands in any name: only those are compared letter by letter.
    name: bool,
}

impl Vocabulary {
    /// The words of a text, new ones added.
    pub(crate) fn ids(&mut self, text: &str, stems: &Stems) -> Vec<WordId> {
        let words = stems.of(text).into_iter();
        words.map(|stem| self.id(stem)).collect()
    }

    fn id(&mut self, stem: String) -> WordId {
        if let Some(id) = self.ids.get(&stem) {
            return *id;
        }
        let id = WordId::try_from(self.words.len()).unwrap_or(WordId::MAX);
        self.ids.insert(stem.clone(), id);
        self.words.push(Word {
            grams: grams(&stem),
            stem,
            columns: 0,
            described: 0,
            name: false,
        });
        id
    }

    /// Counts in how many columns' names and descriptions each word is.
    pub(crate) fn count<'a>(&mut self, columns: impl Iterator<Item = &'a Named>) {
        for named in columns {
            self.columns += 1;
            for id in &named.words {
                let word = &mut self.words[*id as usize];
                word.columns += 1;
                word.name = true;
            }
            for id in &named.described {
                self.words[*id as usize].described += 1;
            }
        }
    }

    /// How rare a word is among the columns' names, as BM25 has it.
    pub(crate) fn rarity(&self, id: WordId) -> f32 {
        rarity(self.columns, self.words[id as usize].columns)
    }

    /// How rare it is among the columns' descriptions.
    pub(crate) fn rarity_described(&self, id: WordId) -> f32 {
        rarity(self.columns, self.words[id as usize].described)
    }

    /// Marks the words of what is no column, to be compared letter by letter as well.
    pub(crate) fn mark(&mut self, words: &[WordId]) {
        for id in words {
            self.words[*id as usize].name = true;
        }
    }

    /// How well each word is met by a text: 1 for its stem, less for letters in common.
    pub(crate) fn met(&self, text: &Text) -> Vec<f32> {
        let met = self.words.iter().map(|word| {
            if text.stems.contains(&word.stem) {
                1.0
            } else if word.name {
                text.nearest(word)
            } else {
                0.0
            }
        });
        met.collect()
    }
}

fn rarity(all: usize, with: u32) -> f32 {
    let (all, with) = (all as f32, with as f32);
    (1.0 + (all - with + 0.5).max(0.0) / (with + 0.5)).ln()
}

/// A question or its evidence as words.
#[derive(Default)]
pub(crate) struct Text {
    /// As it is, lower-cased.
    pub lower: String,
    /// Its stems in their order, with spaces around.
    pub phrase: String,
    pub stems: BTreeSet<String>,
    grams: Vec<(String, Vec<u32>)>,
    pub words: usize,
}

impl Text {
    pub(crate) fn new(text: &str, stems: &Stems) -> Text {
        let all = stems.of(text);
        let set: BTreeSet<String> = all.iter().cloned().collect();
        Text {
            lower: text.to_lowercase(),
            phrase: format!(" {} ", all.join(" ")),
            grams: set.iter().map(|s| (s.clone(), grams(s))).collect(),
            stems: set,
            words: all.len(),
        }
    }

    /// The likeness of the word that is most like another: 0.85 where one begins the other
    /// with three letters at least, otherwise Dice's coefficient of their pairs and triples of
    /// letters.
    fn nearest(&self, word: &Word) -> f32 {
        let mut best = 0f32;
        for (own, own_grams) in &self.grams {
            let short = own.len().min(word.stem.len());
            let likeness = if short >= 3
                && (own.starts_with(&word.stem) || word.stem.starts_with(own.as_str()))
            {
                0.85
            } else {
                dice(own_grams, &word.grams)
            };
            best = best.max(likeness);
        }
        best
    }

    /// Whether it has these characters as they are, with no letter or digit beside them.
    pub(crate) fn has(&self, lower: &str) -> bool {
        if lower.is_empty() {
            return false;
        }
        let alone = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        self.lower.match_indices(lower).any(|(start, found)| {
            let (before, after) = (&self.lower[..start], &self.lower[start + found.len()..]);
            alone(before.chars().next_back()) && alone(after.chars().next())
        })
    }

    /// Whether it has these stems beside each other.
    pub(crate) fn has_phrase(&self, phrases: &[String]) -> bool {
        phrases.iter().any(|phrase| self.phrase.contains(phrase))
    }
}

/// Pairs and triples of a word's letters, its ends marked, as sorted hashes.
fn grams(word: &str) -> Vec<u32> {
    let letters: Vec<char> = format!("^{word}$").chars().collect();
    let mut grams: Vec<u32> = Vec::new();
    for size in [2, 3] {
        for window in letters.windows(size) {
            // FNV-1a.
            let hash = window.iter().fold(0x811c_9dc5_u32, |hash, letter| {
                (hash ^ *letter as u32).wrapping_mul(0x0100_0193)
            });
            grams.push(hash);
        }
    }
    grams.sort_unstable();
    grams.dedup();
    grams
}

fn dice(a: &[u32], b: &[u32]) -> f32 {
    let (mut i, mut j, mut both) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                both += 1;
                i += 1;
                j += 1;
            }
        }
    }
    2.0 * both as f32 / (a.len() + b.len()).max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_met_by_stems_beginnings_and_letters() {
        let stems = Stems::english();
        let mut vocabulary = Vocabulary::default();
        let ids = vocabulary.ids("customers cust qty", &stems);
        let named = Named {
            raw: String::new(),
            phrases: Vec::new(),
            words: ids.clone(),
            described: Vec::new(),
            values: Vec::new(),
        };
        vocabulary.count(std::iter::once(&named));
        let met = vocabulary.met(&Text::new("Which customer bought a quantity?", &stems));
        assert_eq!(met[ids[0] as usize], 1.0);
        assert_eq!(met[ids[1] as usize], 0.85);
        let quantity = met[ids[2] as usize];
        assert!(quantity > 0.1 && quantity < 0.8, "{quantity}");
    }

    #[test]
    fn characters_are_found_alone_only() {
        let text = Text::new("A11 refers to `Free Meal`", &Stems::english());
        assert!(text.has("a11") && text.has("free meal"));
        assert!(!text.has("a1") && !text.has("") && !text.has("eal"));
    }
}
