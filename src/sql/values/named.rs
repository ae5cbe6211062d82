//! The values that a question names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Matched;
use super::index::{ValueId, ValueIndex, WordId};

/// Most words of a value that a question names as it stands.
const LONGEST: usize = 12;
/// A word that so many values have tells none of them from the others.
const FREQUENT: usize = 1_000;
/// Least share of a value's words, by their rarity, that has to stand in the question.
const COVERED: f32 = 0.5;
/// Least likeness of a misspelt word; of one that is written like a name, and of any other.
const NAME_ALIKE: f32 = 0.6;
const ALIKE: f32 = 0.75;
/// Fewest letters of a word that may be misspelt, and most words that are looked up by letters,
/// which takes longest.
const FEWEST: usize = 4;
const MOST_MISSPELT: usize = 40;
/// A value of one word: written like a name or in quotes, like any word, and like a word that
/// tables or columns are called by.
const LIKE_A_NAME: f32 = 1.0;
const LIKE_A_WORD: f32 = 0.8;
const LIKE_THE_SCHEMA: f32 = 0.4;
/// Words that questions ask and order with, beside those that say nothing in any text.
const ASKING: &[&str] = &[
    "who", "whose", "whom", "what", "which", "when", "where", "why", "how", "many", "much", "show",
    "list", "give", "find", "tell", "return", "display", "count", "number", "all", "any", "each",
    "every", "both", "more", "most", "less", "least", "than", "between", "first", "last", "total",
    "average", "sum", "have", "has", "had", "do", "does", "did", "were", "been", "from", "please",
    "me", "us", "name", "names", "about", "whether", "them", "its", "you", "can", "could",
];
/// Most values of one column for one place in the question.
const EACH: usize = 2;

/// A place in a text, in characters (Unicode scalar values) from 0; `end` is behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// A value of the database that the question names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatchedValue {
    pub table: String,
    pub column: String,
    pub value: String,
    /// 0 to 1: how much of the value stands there, and how much like a value.
    pub score: f32,
    pub matched: Matched,
    /// Where in the question; nothing where the evidence names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

/// A word of the question.
struct Token {
    word: String,
    bytes: Range<usize>,
    /// None says nothing ("the").
    stem: Option<String>,
    id: Option<WordId>,
    /// Written with a capital inside of a sentence, in capitals, or in quotes.
    name: bool,
    /// Tables or columns are called by it.
    schema: bool,
}

struct Found {
    id: ValueId,
    score: f32,
    matched: Matched,
    tokens: Range<usize>,
}

impl ValueIndex {
    /// The values that a text names, the surest first, `limit` at most. `schema` are the stems of
    /// words that tables and columns are called by, which are less likely to be values.
    pub fn named(&self, text: &str, schema: &HashSet<String>, limit: usize) -> Vec<MatchedValue> {
        let tokens = self.tokens(text, schema);
        let mut found = self.exact(&tokens);
        let mut covered = covered(&tokens, &found);
        let words = self.parts(&tokens, &covered);
        for one in &words {
            covered[one.tokens.clone()].fill(true);
        }
        found.extend(words);
        found.extend(self.misspelt(&tokens, &covered));
        found.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then(a.tokens.start.cmp(&b.tokens.start))
                .then(a.id.cmp(&b.id))
        });
        let mut each: HashMap<(u32, usize), usize> = HashMap::new();
        found.retain(|one| {
            let column = self.values[one.id as usize].column;
            let count = each.entry((column, one.tokens.start)).or_default();
            *count += 1;
            *count <= EACH
        });
        found.truncate(limit);
        let chars = |bytes: usize| text[..bytes].chars().count();
        let found = found.into_iter().map(|one| {
            let value = &self.values[one.id as usize];
            let (table, column) = &self.columns[value.column as usize];
            let (first, last) = (&tokens[one.tokens.start], &tokens[one.tokens.end - 1]);
            MatchedValue {
                table: table.clone(),
                column: column.clone(),
                value: value.text.to_string(),
                score: one.score,
                matched: one.matched,
                span: Some(Span {
                    start: chars(first.bytes.start),
                    end: chars(last.bytes.end),
                }),
            }
        });
        found.collect()
    }

    fn tokens(&self, text: &str, schema: &HashSet<String>) -> Vec<Token> {
        let mut sentence = true;
        let mut before = 0;
        let mut tokens = Vec::new();
        for (word, bytes) in self.plain.places(text) {
            let between = &text[before.min(bytes.start)..bytes.start];
            sentence |= between.contains(['.', '?', '!', ':']);
            let own = &text[bytes.clone()];
            let capital = own.starts_with(char::is_uppercase);
            let capitals =
                own.chars().count() > 1 && own.chars().all(|c| c.is_uppercase() || c.is_numeric());
            let quoted = text[..bytes.start].ends_with(['\'', '"', '“', '‘', '`'])
                || text[bytes.end..].starts_with(['"', '”', '`']);
            let name = capital && !sentence || capitals || quoted;
            let asking = !name && ASKING.contains(&word.as_str());
            let stem = self.english.of(&word).into_iter().next();
            let stem = stem.filter(|_| !asking);
            tokens.push(Token {
                id: stem.as_deref().and_then(|stem| self.stem(stem)),
                schema: stem.as_ref().is_some_and(|stem| schema.contains(stem)),
                name,
                stem,
                word,
                bytes: bytes.clone(),
            });
            sentence = false;
            before = bytes.end;
        }
        tokens
    }

    /// Values that stand there as they are, the longest at each place.
    fn exact(&self, tokens: &[Token]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let mut ends = 0;
        for start in 0..tokens.len() {
            let mut key = String::new();
            let mut longest = None;
            for end in start..tokens.len().min(start + LONGEST) {
                if end > start {
                    key.push(' ');
                }
                key.push_str(&tokens[end].word);
                if let Some(ids) = self.whole.get(key.as_str())
                    && let Some(score) = score(&tokens[start..=end])
                {
                    longest = Some((end + 1, score, ids));
                }
            }
            // What stands inside of a longer value is part of it.
            if let Some((end, score, ids)) = longest.filter(|(end, ..)| *end > ends) {
                ends = end;
                found.extend(ids.iter().map(|id| Found {
                    id: *id,
                    score,
                    matched: Matched::Exact,
                    tokens: start..end,
                }));
            }
        }
        found
    }

    /// Values of which a good part stands there, its words beside each other.
    fn parts(&self, tokens: &[Token], covered: &[bool]) -> Vec<Found> {
        let mut places: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        for (place, token) in tokens.iter().enumerate() {
            let Some(id) = token.id.filter(|_| !covered[place]) else {
                continue;
            };
            let values = &self.stems[id as usize].values;
            if values.len() <= FREQUENT {
                for value in values {
                    places.entry(*value).or_default().push(place);
                }
            }
        }
        let mut found = Vec::new();
        for (value, places) in places {
            let best = runs(&places, tokens)
                .into_iter()
                .map(|run| {
                    let worth = worth(&tokens[run.clone()]);
                    let words = run.clone().filter(|place| places.contains(place));
                    let stems = words.filter_map(|place| tokens[place].id);
                    (
                        run,
                        worth * self.share(value, stems.map(|stem| (stem, 1.0))),
                    )
                })
                .max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((tokens, score)) = best.filter(|(_, score)| *score >= COVERED) {
                found.push(Found {
                    id: value,
                    // Whole by its stems is nearly what it is by its letters.
                    score: score.min(0.95),
                    matched: Matched::Words,
                    tokens,
                });
            }
        }
        found
    }

    /// Values that a misspelt word stands for.
    fn misspelt(&self, tokens: &[Token], covered: &[bool]) -> Vec<Found> {
        let mut found = Vec::new();
        let mut looked_up = 0;
        for (place, token) in tokens.iter().enumerate() {
            let numbers = token.word.chars().any(|c| c.is_ascii_digit());
            if covered[place]
                || token.stem.is_none()
                || token.id.is_some()
                || token.schema
                || numbers
            {
                continue;
            }
            if token.word.chars().count() < FEWEST {
                continue;
            }
            looked_up += 1;
            if looked_up > MOST_MISSPELT {
                break;
            }
            let least = if token.name { NAME_ALIKE } else { ALIKE };
            for (stem, alike) in self.alike(&token.word) {
                let values = &self.stems[stem as usize].values;
                if alike < least || values.len() > FREQUENT {
                    continue;
                }
                for value in values {
                    let score = self.share(*value, std::iter::once((stem, alike)));
                    if score >= COVERED {
                        found.push(Found {
                            id: *value,
                            score: score * LIKE_A_WORD,
                            matched: Matched::Ngrams,
                            tokens: place..place + 1,
                        });
                    }
                }
            }
        }
        found
    }

    /// The share of a value's words that these are, by their rarity and how like they are.
    fn share(&self, value: ValueId, stems: impl Iterator<Item = (WordId, f32)>) -> f32 {
        let own = &self.values[value as usize].stems;
        let all: f32 = own.iter().map(|stem| self.rarity(Some(*stem))).sum();
        let mut seen: Vec<WordId> = Vec::new();
        let mut met = 0.0;
        for (stem, alike) in stems {
            if own.contains(&stem) && !seen.contains(&stem) {
                seen.push(stem);
                met += alike * self.rarity(Some(stem));
            }
        }
        met / all.max(f32::MIN_POSITIVE)
    }
}

/// How much like a value a text is written that is one; None is none by itself.
fn score(tokens: &[Token]) -> Option<f32> {
    match tokens {
        [token] if token.name && (token.word.chars().count() > 1 || token.stem.is_some()) => {
            Some(LIKE_A_NAME)
        }
        [token] if token.stem.is_none() || token.word.chars().count() < 2 => None,
        [token] if token.schema => Some(LIKE_THE_SCHEMA),
        [_] => Some(LIKE_A_WORD),
        tokens if tokens.iter().all(|token| token.stem.is_none()) => None,
        tokens if tokens.iter().all(|token| token.schema && !token.name) => Some(LIKE_THE_SCHEMA),
        _ => Some(LIKE_A_NAME),
    }
}

/// The same of a part of a value: a lone word of the schema says nothing.
fn worth(tokens: &[Token]) -> f32 {
    if tokens.iter().all(|token| token.schema && !token.name) {
        LIKE_THE_SCHEMA
    } else if tokens.len() == 1 && !tokens[0].name {
        LIKE_A_WORD
    } else {
        LIKE_A_NAME
    }
}

/// Places beside each other, with nothing between them but words that say nothing.
fn runs(places: &[usize], tokens: &[Token]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(run) if tokens[run.end..*place].iter().all(|t| t.stem.is_none()) => {
                run.end = place + 1;
            }
            _ => runs.push(*place..place + 1),
        }
    }
    runs
}

/// Which words are part of a value that is likely meant.
fn covered(tokens: &[Token], found: &[Found]) -> Vec<bool> {
    let mut covered = vec![false; tokens.len()];
    for one in found {
        covered[one.tokens.clone()].fill(true);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Cells;

    fn index() -> ValueIndex {
        let mut cells = Cells::default();
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        cells.set(
            "cities",
            "name",
            texts(&["Fremont", "San José", "New York", "York"]),
        );
        cells.set(
            "schools",
            "district",
            texts(&["Fremont Unified", "Oakland Unified", "Visalia Unified"]),
        );
        cells.set(
            "schools",
            "kind",
            texts(&["school", "Fire Department", "The Who", "M"]),
        );
        ValueIndex::new(&cells)
    }

    fn named(text: &str) -> Vec<(String, String, Matched)> {
        let schema = ["school", "citi", "name"].map(String::from).into();
        let found = index().named(text, &schema, 10);
        found
            .into_iter()
            .map(|found| {
                let span = found.span.unwrap();
                let words = text.chars().skip(span.start).take(span.end - span.start);
                (found.value, words.collect(), found.matched)
            })
            .collect()
    }

    fn one(value: &str, words: &str, matched: Matched) -> (String, String, Matched) {
        (value.into(), words.into(), matched)
    }

    #[test]
    fn values_are_found_where_they_stand() {
        for (text, value, words, matched) in [
            ("Schools in FREMONT?", "Fremont", "FREMONT", Matched::Exact),
            (
                "¿Who lives in san jose, today?",
                "San José",
                "san jose",
                Matched::Exact,
            ),
            (
                "the fire departments of it",
                "Fire Department",
                "fire departments",
                Matched::Words,
            ),
            (
                "people of Visalia",
                "Visalia Unified",
                "Visalia",
                Matched::Words,
            ),
            (
                "people of Visallia",
                "Visalia Unified",
                "Visallia",
                Matched::Ngrams,
            ),
            ("those marked 'M'", "M", "M", Matched::Exact),
        ] {
            assert_eq!(
                named(text).first(),
                Some(&one(value, words, matched)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_longest_value_at_a_place_is_meant() {
        let found = named("trains to New York");
        assert_eq!(found, [one("New York", "New York", Matched::Exact)]);
    }

    #[test]
    fn words_of_the_schema_and_words_that_say_nothing_are_no_values() {
        assert!(named("who is the tallest").is_empty());
        let schema = ["school"].map(String::from).into();
        let found = index().named("how many schools are there, school by school", &schema, 10);
        assert!(found.iter().all(|found| found.score < 0.5), "{found:?}");
        assert!(named("").is_empty() && named("?!").is_empty());
    }

    #[test]
    fn what_is_searched_for_comes_first() {
        use crate::sql::ValueHit;
        let index = index();
        let search = |text: &str| index.search(text, 3, None).unwrap();
        let first = |hits: &[ValueHit]| (hits[0].value.clone(), hits[0].matched);
        assert_eq!(
            first(&search("fremont")),
            ("Fremont".into(), Matched::Exact)
        );
        assert_eq!(
            first(&search("Visalia")),
            ("Visalia Unified".into(), Matched::Words)
        );
        assert_eq!(
            first(&search("Fremnt")),
            ("Fremont".into(), Matched::Ngrams)
        );
        assert_eq!(first(&search("firefighters")).0, "Fire Department");
        assert!(search("zzz").is_empty());
        let scores: Vec<f32> = search("Fremont").iter().map(|hit| hit.score).collect();
        assert!(
            scores.is_sorted_by(|a, b| a >= b) && scores[0] == 1.0,
            "{scores:?}"
        );
    }
}
