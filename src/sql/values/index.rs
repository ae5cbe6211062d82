//! Values by their words, and words by their letters.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::meaning::Meaning;
use super::{Cells, Matched, ValueHit};
use crate::error::Result;
use crate::lexical::Stems;
use crate::model::TextEncoder;
use crate::sql::vectors::Shelf;

/// Least likeness of letters at which a word counts as another, misspelt.
const ALIKE: f32 = 0.4;
/// A word that begins with another one, of three letters at least, is as like it.
const BEGINS: f32 = 0.85;
/// What words are worth against the text as it is, letters against words, and meaning.
const WORDS: f32 = 0.95;
const LETTERS: f32 = 0.85;
const MEANING: f32 = 0.8;
/// Least cosine of a value that is found by its meaning: below, things have nothing in common.
const LEAST_COSINE: f32 = 0.25;
/// Most words of the vocabulary that one misspelt word may stand for.
const MOST_ALIKE: usize = 20;

/// A word's place in the vocabulary.
pub(super) type WordId = u32;
/// A value's place among all.
pub(super) type ValueId = u32;

pub(super) struct Value {
    /// Its column's place.
    pub column: u32,
    pub text: Box<str>,
    /// Its stems; those of words that say nothing ("the") are left out.
    pub stems: Box<[WordId]>,
}

/// A stem, with the values that have it.
pub(super) struct Stem {
    pub values: Vec<ValueId>,
}

/// Values of one database, ready to be searched.
pub struct ValueIndex {
    /// Table and column.
    pub(super) columns: Vec<(String, String)>,
    pub(super) values: Vec<Value>,
    /// By all their words, in lower case and without accents.
    pub(super) whole: HashMap<Box<str>, Vec<ValueId>>,
    stem_ids: HashMap<Box<str>, WordId>,
    pub(super) stems: Vec<Stem>,
    /// Words as they stand, with their stem, for those that are misspelt.
    words: Vec<(Box<str>, WordId, u32)>,
    /// Words by pairs and triples of their letters.
    grams: HashMap<u32, Vec<u32>>,
    pub(super) plain: Stems,
    pub(super) english: Stems,
    meaning: Mutex<Option<std::sync::Arc<Meaning>>>,
}

impl ValueIndex {
    /// Makes values ready.
    pub fn new(cells: &Cells) -> ValueIndex {
        let mut index = ValueIndex {
            columns: Vec::new(),
            values: Vec::new(),
            whole: HashMap::new(),
            stem_ids: HashMap::new(),
            stems: Vec::new(),
            words: Vec::new(),
            grams: HashMap::new(),
            plain: Stems::plain(),
            english: Stems::english(),
            meaning: Mutex::default(),
        };
        // A word to its stem, if it has one.
        let mut known: HashMap<String, Option<WordId>> = HashMap::new();
        for (table, column, values) in cells.columns() {
            let place = u32::try_from(index.columns.len()).unwrap_or(u32::MAX);
            index.columns.push((table.into(), column.into()));
            for text in values {
                index.add(place, text, &mut known);
            }
        }
        index
    }

    fn add(&mut self, column: u32, text: &str, known: &mut HashMap<String, Option<WordId>>) {
        let id = ValueId::try_from(self.values.len()).unwrap_or(ValueId::MAX);
        let words: Vec<String> = self.plain.of(text);
        let mut stems = Vec::new();
        for word in &words {
            let stem = match known.get(word) {
                Some(stem) => *stem,
                None => {
                    let stem = self.learn(word);
                    known.insert(word.clone(), stem);
                    stem
                }
            };
            if let Some(stem) = stem
                && !stems.contains(&stem)
            {
                stems.push(stem);
                self.stems[stem as usize].values.push(id);
            }
        }
        let whole: Box<str> = match words.is_empty() {
            // Nothing but signs.
            true => text.trim().into(),
            false => words.join(" ").into(),
        };
        self.whole.entry(whole).or_default().push(id);
        self.values.push(Value {
            column,
            text: text.into(),
            stems: stems.into(),
        });
    }

    /// A new word, and its stem.
    fn learn(&mut self, word: &str) -> Option<WordId> {
        let stem = self.english.of(word).into_iter().next()?;
        let id = match self.stem_ids.get(stem.as_str()) {
            Some(id) => *id,
            None => {
                let id = WordId::try_from(self.stems.len()).unwrap_or(WordId::MAX);
                self.stem_ids.insert(stem.into(), id);
                self.stems.push(Stem { values: Vec::new() });
                id
            }
        };
        let grams = grams(word);
        let place = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        let count = u32::try_from(grams.len()).unwrap_or(u32::MAX);
        self.words.push((word.into(), id, count));
        for gram in grams {
            self.grams.entry(gram).or_default().push(place);
        }
        Some(id)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The place of a stem.
    pub(super) fn stem(&self, stem: &str) -> Option<WordId> {
        self.stem_ids.get(stem).copied()
    }

    /// How rare a stem is among the values, as BM25 has it; None is in no value.
    pub(super) fn rarity(&self, stem: Option<WordId>) -> f32 {
        let with = stem.map_or(0, |stem| self.stems[stem as usize].values.len()) as f32;
        (1.0 + (self.values.len() as f32 - with + 0.5).max(0.0) / (with + 0.5)).ln()
    }

    /// Stems of the words that are most like a word, with how like they are, 0 to 1: words that
    /// begin with it or that it begins with, and words that have most of its letters, by Dice's
    /// coefficient of their pairs and triples.
    pub(super) fn alike(&self, word: &str) -> Vec<(WordId, f32)> {
        let own = grams(word);
        let mut common: HashMap<u32, u32> = HashMap::new();
        for gram in &own {
            for place in self.grams.get(gram).into_iter().flatten() {
                *common.entry(*place).or_default() += 1;
            }
        }
        let letters = word.chars().count();
        let mut best: HashMap<WordId, f32> = HashMap::new();
        for (place, common) in common {
            let (other, stem, count) = &self.words[place as usize];
            let dice = 2.0 * common as f32 / (own.len() as f32 + *count as f32).max(1.0);
            let shorter = letters.min(other.chars().count());
            let begins = shorter >= 3 && (other.starts_with(word) || word.starts_with(&**other));
            let alike = if begins { dice.max(BEGINS) } else { dice };
            if alike >= ALIKE {
                let known = best.entry(*stem).or_default();
                *known = known.max(alike);
            }
        }
        let mut best: Vec<(WordId, f32)> = best.into_iter().collect();
        best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        best.truncate(MOST_ALIKE);
        best
    }

    /// The values that are most like a text, the best first; by meaning as well where there is an
    /// encoder, which is asked for the values' vectors the first time.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(crate) fn search(
        &self,
        text: &str,
        limit: usize,
        encoder: Option<(&TextEncoder, &Shelf<'_>)>,
    ) -> Result<Vec<ValueHit>> {
        let words: Vec<String> = self.plain.of(text);
        let whole = match words.is_empty() {
            true => text.trim().to_string(),
            false => words.join(" "),
        };
        let mut found: HashMap<ValueId, (f32, Matched)> = HashMap::new();
        self.by_words(&words, &mut found);
        for id in self.whole.get(whole.as_str()).into_iter().flatten() {
            found.insert(*id, (1.0, Matched::Exact));
        }
        if let Some((encoder, shelf)) = encoder {
            let meaning = self.meaning(encoder, shelf)?;
            let nearest = meaning.nearest(encoder, text, limit)?.into_iter();
            for (id, likeness) in nearest.filter(|(_, cosine)| *cosine >= LEAST_COSINE) {
                let score = MEANING * likeness.clamp(0.0, 1.0);
                let known = found.entry(id).or_insert((score, Matched::Meaning));
                if score > known.0 {
                    *known = (score, Matched::Meaning);
                }
            }
        }
        let mut hits: Vec<(ValueId, f32, Matched)> = found
            .into_iter()
            .map(|(id, (score, matched))| (id, score, matched))
            .collect();
        // Columns are in the order of their names, and each one's values by frequency.
        hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        hits.truncate(limit);
        let hit = |(id, score, matched)| {
            let value = &self.values[id as usize];
            let (table, column) = &self.columns[value.column as usize];
            ValueHit {
                table: table.clone(),
                column: column.clone(),
                value: value.text.to_string(),
                score,
                matched,
            }
        };
        Ok(hits.into_iter().map(hit).collect())
    }

    /// Values that share words with the text, or words like its words: what is met of the text
    /// and what is met of the value, by the rarity of the words, half each.
    fn by_words(&self, words: &[String], found: &mut HashMap<ValueId, (f32, Matched)>) {
        struct Met {
            text: f32,
            value: f32,
            letters: bool,
        }
        let mut met: HashMap<ValueId, Met> = HashMap::new();
        let mut all = 0.0;
        let mut seen: HashSet<String> = HashSet::new();
        for word in words {
            let Some(stem) = self.english.of(word).into_iter().next() else {
                continue;
            };
            if !seen.insert(stem.clone()) {
                continue;
            }
            let known = self.stem(&stem);
            let rarity = self.rarity(known);
            all += rarity;
            let meant: Vec<(WordId, f32)> = match known {
                Some(stem) => vec![(stem, 1.0)],
                None => self.alike(word),
            };
            // The best of what a word may stand for counts, once for each value.
            let mut best: HashMap<ValueId, (WordId, f32)> = HashMap::new();
            for (stem, alike) in meant {
                for id in &self.stems[stem as usize].values {
                    best.entry(*id).or_insert((stem, alike));
                }
            }
            for (id, (stem, alike)) in best {
                let met = met.entry(id).or_insert(Met {
                    text: 0.0,
                    value: 0.0,
                    letters: false,
                });
                met.text += rarity * alike;
                met.value += self.rarity(Some(stem)) * alike;
                met.letters |= known.is_none();
            }
        }
        for (id, met) in met {
            let own = self.values[id as usize].stems.iter();
            let own: f32 = own.map(|stem| self.rarity(Some(*stem))).sum();
            let share = 0.5 * met.text / all.max(f32::MIN_POSITIVE)
                + 0.5 * (met.value / own.max(f32::MIN_POSITIVE)).min(1.0);
            let (worth, matched) = match met.letters {
                true => (LETTERS, Matched::Ngrams),
                false => (WORDS, Matched::Words),
            };
            found.insert(id, (worth * share, matched));
        }
    }

    /// The values' vectors, made the first time.
    fn meaning(&self, encoder: &TextEncoder, shelf: &Shelf<'_>) -> Result<std::sync::Arc<Meaning>> {
        let mut made = self.meaning.lock();
        if let Some(meaning) = &*made {
            return Ok(meaning.clone());
        }
        let meaning = std::sync::Arc::new(Meaning::new(&self.values, encoder, shelf)?);
        *made = Some(meaning.clone());
        Ok(meaning)
    }
}

/// Pairs and triples of a word's letters, its ends marked, as hashes, each once.
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
