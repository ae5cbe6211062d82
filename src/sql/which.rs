//! Which database answers a question.
//!
//! All databases are compared with the question by what is cheap: the vectors of their tables and
//! the words that they are made of. The best of them are linked to it, which says how likely their
//! tables and columns are needed. Both come into one score, whose weights were fitted on the
//! training questions of Spider (`docs/schemas.md` says how).
//!
//! The promise: databases that the caller may see nothing of are in no answer, and neither is what
//! the caller may not see of the others; the order of databases changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::focus::{Focus, Strategy};
use super::keep::Mode;
use super::link::{Linker, Prepared, Question, SchemaIndex, sorted, table_text};
use super::names;
use super::retrieve::{Kept, RetrieveRequest, Retriever};
use super::vectors::{Kind, Others, Shelf};
use super::{Database, Entry};
use crate::error::{Code, Problem, Result};
use crate::lexical::Stems;
use crate::model::{Registry, Task, TextEncoder};

/// Databases that are linked to the question.
pub const CANDIDATES: usize = 8;
/// Databases of an answer where nothing is said, and at most.
const USUAL_DATABASES: usize = 3;
const MOST_DATABASES: usize = 50;
/// Most databases whose focused schema is answered.
const MOST_FOCUSED: usize = 5;
/// Tables of all databases whose vectors are kept ready, and their columns, whose words are.
pub(super) const KEPT_TABLES: usize = 500_000;
/// Words and tables that the answer gives as reasons.
const MOST_REASONS: usize = 5;

/// Weights of the first features, and of all of them, in the order of [`First::row`] and
/// [`Second::row`].
const FIRST: [f32; 5] = [13.731, 2.043, 4.02, 6.121, 1.118];
const BOTH: [f32; 9] = [4.572, 3.797, 3.756, 3.819, 0.541, 9.25, 0.325, 0.226, 0.97];

/// A question that one of many databases may answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichRequest {
    /// What somebody wants to know, 1 to 16,384 bytes.
    pub question: String,
    /// What the question's words stand for: values, formulas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// Most databases of the answer, 1 to 50; 3 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<usize>,
    /// Of so many of them, the best first, the part that the question needs is answered, 0 to 5;
    /// of one where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemas: Option<usize>,
    /// What is kept of a schema, as in a question to one database.
    #[serde(default)]
    pub strategy: Strategy,
    #[serde(default)]
    pub mode: Mode,
    /// Most tokens of each prompt; as many as there are where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_budget: Option<usize>,
    /// Who asks; needed where databases have permissions: those that open to others are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// The databases that may answer a question, the likeliest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhichAnswer {
    pub databases: Vec<RankedDatabase>,
    /// Databases that were compared.
    pub compared: usize,
}

/// A database that may answer a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RankedDatabase {
    pub database: String,
    /// How likely it is the one, 0 to 1; those of all that were linked sum to 1.
    pub score: f32,
    /// Words of the question that it has, the rarest among databases first.
    pub words: Vec<String>,
    /// Its tables that are nearest to the question, the nearest first.
    pub tables: Vec<String>,
    /// The part of it that the question needs, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Focus>,
}

/// What is cheap to compare of a database.
pub struct Sketch {
    /// Of each table: its vector, and its words as places in `words`.
    vectors: Vec<f32>,
    dimensions: usize,
    tables: Vec<(String, Vec<u32>)>,
    words: HashMap<String, u32>,
    /// Words of its own name and description.
    named: Vec<u32>,
}

impl Sketch {
    /// Makes a database ready to be compared; each of its tables is encoded.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn new(database: &Database, encoder: &TextEncoder) -> Result<Sketch> {
        Sketch::kept(database, encoder, &Shelf::none())
    }

    /// The same with the vectors of a shelf, where what is not there yet is put.
    fn kept(database: &Database, encoder: &TextEncoder, shelf: &Shelf<'_>) -> Result<Sketch> {
        let stems = Stems::english();
        // Linking has the same texts, so that each is encoded once.
        let database = sorted(database);
        let texts: Vec<String> = database.tables.iter().map(table_text).collect();
        let encoded = shelf.encode(encoder, Task::Document, &texts)?;
        let mut words: HashMap<String, u32> = HashMap::new();
        let mut ids = |texts: &mut dyn Iterator<Item = String>| {
            let mut ids = Vec::new();
            for stem in texts.flat_map(|text| stems.of(&text)) {
                let next = u32::try_from(words.len()).unwrap_or(u32::MAX);
                ids.push(*words.entry(stem).or_insert(next));
            }
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let mut tables = Vec::with_capacity(database.tables.len());
        for table in &database.tables {
            let name = [Some(names::words(&table.name)), table.readable.clone()];
            let about = [table.description.clone()];
            let columns = table.columns.iter().flat_map(|column| {
                [
                    Some(names::words(&column.name)),
                    column.readable.clone(),
                    column.description.clone(),
                ]
            });
            let mut texts = name.into_iter().chain(about).chain(columns).flatten();
            tables.push((table.name.clone(), ids(&mut texts)));
        }
        let own = [
            Some(names::words(&database.name)),
            database.description.clone(),
        ];
        let named = ids(&mut own.into_iter().flatten());
        Ok(Sketch {
            vectors: encoded.vectors,
            dimensions: encoded.dimensions,
            tables,
            words,
            named,
        })
    }

    /// Number of tables.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

/// What is cheap to tell of a question beside a database.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct First {
    /// Cosine of the nearest table, and the mean of the three nearest.
    nearest: f32,
    nearest_three: f32,
    /// Share of the question's words that the database has, that its best table has, and that are
    /// in its name or description, by their rarity among the databases.
    words: f32,
    table_words: f32,
    name_words: f32,
}

impl First {
    fn row(&self) -> [f32; 5] {
        [
            self.nearest,
            self.nearest_three,
            self.words,
            self.table_words,
            self.name_words,
        ]
    }
}

/// What linking tells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Second {
    /// Cosine of the nearest column.
    column: f32,
    /// Logits of the likeliest table's and column's probability, and of the mean of the three
    /// likeliest columns'.
    table_logit: f32,
    column_logit: f32,
    columns_logit: f32,
}

impl Second {
    fn row(&self) -> [f32; 4] {
        [
            self.column,
            self.table_logit,
            self.column_logit,
            self.columns_logit,
        ]
    }
}

fn weighted(weights: &[f32], row: &[f32]) -> f32 {
    weights
        .iter()
        .zip(row)
        .map(|(weight, value)| weight * value)
        .sum()
}

/// A database beside a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Its place among those that were compared.
    pub place: usize,
    /// Greater is likelier; of one question alone to be compared.
    pub score: f32,
    /// What went into it, for fitting.
    pub features: Vec<f32>,
    /// See [`RankedDatabase`].
    pub words: Vec<String>,
    pub tables: Vec<String>,
}

/// Compares a question with all databases by what is cheap, the likeliest first; those that are
/// as likely in the order of their places.
pub fn compare(question: &Prepared, sketches: &[&Sketch]) -> Vec<Compared> {
    let stems = question.stems();
    let having: Vec<Vec<Option<u32>>> = sketches
        .iter()
        .map(|sketch| {
            stems
                .iter()
                .map(|stem| sketch.words.get(*stem).copied())
                .collect()
        })
        .collect();
    let all = sketches.len() as f32;
    let rarity: Vec<f32> = (0..stems.len())
        .map(|n| {
            let with = having.iter().filter(|has| has[n].is_some()).count() as f32;
            match with {
                // No database has it: it tells none from the others.
                0.0 => 0.0,
                with => (1.0 + (all - with + 0.5).max(0.0) / (with + 0.5)).ln(),
            }
        })
        .collect();
    let most = rarity.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    let mut compared: Vec<Compared> = Vec::with_capacity(sketches.len());
    for (place, (sketch, has)) in sketches.iter().zip(&having).enumerate() {
        let share = |ids: &[u32]| {
            let met = has
                .iter()
                .zip(&rarity)
                .filter(|(id, _)| id.is_some_and(|id| ids.binary_search(&id).is_ok()));
            met.map(|(_, rarity)| rarity).sum::<f32>() / most
        };
        let mut nearest: Vec<(f32, usize)> = match sketch.dimensions {
            0 => Vec::new(),
            dimensions => sketch
                .vectors
                .chunks_exact(dimensions)
                .enumerate()
                .map(|(n, row)| (dot(row, question.vector()), n))
                .collect(),
        };
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let three = nearest.len().clamp(1, 3);
        let words_of = has.iter().zip(&rarity).filter(|(id, _)| id.is_some());
        let first = First {
            nearest: nearest.first().map_or(0.0, |(cosine, _)| *cosine),
            nearest_three: nearest.iter().take(3).map(|(c, _)| c).sum::<f32>() / three as f32,
            words: words_of.map(|(_, rarity)| rarity).sum::<f32>() / most,
            table_words: sketch
                .tables
                .iter()
                .map(|(_, ids)| share(ids))
                .fold(0.0, f32::max),
            name_words: share(&sketch.named),
        };
        let mut words: Vec<usize> = (0..stems.len()).filter(|n| has[*n].is_some()).collect();
        words.sort_by(|a, b| rarity[*b].total_cmp(&rarity[*a]).then(a.cmp(b)));
        let words = words.into_iter().take(MOST_REASONS);
        let tables = nearest.iter().take(MOST_REASONS);
        compared.push(Compared {
            place,
            score: weighted(&FIRST, &first.row()),
            features: first.row().to_vec(),
            words: words.map(|n| stems[n].to_string()).collect(),
            tables: tables.map(|(_, n)| sketch.tables[*n].0.clone()).collect(),
        });
    }
    sort(&mut compared);
    compared
}

/// Links the question to one of those that were compared, whose score then says both.
pub fn link(linker: &Linker, question: &Prepared, index: &SchemaIndex, compared: &mut Compared) {
    let scores = linker.score_first(index, question);
    let best = |scores: &[f32], count: usize| {
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted.truncate(count);
        sorted.iter().sum::<f32>() / sorted.len().max(1) as f32
    };
    let second = Second {
        column: linker.nearest_column(index, question),
        table_logit: logit(best(&scores.tables, 1)),
        column_logit: logit(best(&scores.columns, 1)),
        columns_logit: logit(best(&scores.columns, 3)),
    };
    compared.features.extend(second.row());
    compared.score = weighted(&BOTH, &compared.features);
}

fn sort(compared: &mut [Compared]) {
    compared.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.place.cmp(&b.place)));
}

/// Puts those that were linked into their order.
pub fn rank(linked: &mut [Compared]) {
    sort(linked);
}

fn logit(probability: f32) -> f32 {
    let probability = probability.clamp(1e-4, 1.0 - 1e-4);
    (probability / (1.0 - probability)).ln()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (sum, (x, y)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}

impl Retriever {
    /// Which of some databases answers a question, and the part of the best that it needs.
    /// `entries` are in the order of their names, each as the caller may see it.
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded with the field; those of the encoder.
    pub fn which(
        &self,
        registry: &Registry,
        entries: &[Arc<Entry>],
        request: &WhichRequest,
    ) -> Result<WhichAnswer> {
        let within = |field: &str, asked: usize, least: usize, most: usize| {
            if (least..=most).contains(&asked) {
                return Ok(asked);
            }
            Err(
                Problem::new(Code::InvalidRequest, "so many cannot be asked for")
                    .field(field)
                    .found(asked)
                    .expected(format!("{least} to {most}")),
            )
        };
        let databases = request.databases.unwrap_or(USUAL_DATABASES);
        let databases = within("databases", databases, 1, MOST_DATABASES)?;
        let schemas = within("schemas", request.schemas.unwrap_or(1), 0, MOST_FOCUSED)?;
        let question = Question {
            text: &request.question,
            evidence: &request.evidence,
        };
        let linker = self.linker();
        let prepared = linker.prepare(&[question])?;
        let Some(prepared) = prepared.first() else {
            return Err(crate::error::Error::Bug(
                "a question was not prepared".into(),
            ));
        };
        let mut sketches = Vec::with_capacity(entries.len());
        for entry in entries {
            sketches.push(self.sketch(entry)?);
        }
        let sketches: Vec<&Sketch> = sketches.iter().map(|sketch| &**sketch).collect();
        let mut compared = compare(prepared, &sketches);
        compared.truncate(CANDIDATES);
        for one in &mut compared {
            let index = self.ready(&entries[one.place])?;
            link(linker, prepared, &index, one);
        }
        rank(&mut compared);
        let most = compared.first().map_or(0.0, |one| one.score);
        let all: f32 = compared.iter().map(|one| (one.score - most).exp()).sum();
        let asked = RetrieveRequest {
            question: request.question.clone(),
            evidence: request.evidence.clone(),
            strategy: request.strategy,
            mode: request.mode,
            token_budget: request.token_budget,
            ..RetrieveRequest::default()
        };
        let mut answer = WhichAnswer {
            databases: Vec::new(),
            compared: entries.len(),
        };
        for (n, one) in compared.into_iter().take(databases).enumerate() {
            let entry = &entries[one.place];
            let schema = match n < schemas {
                true => Some(self.retrieve(registry, entry, &asked)?),
                false => None,
            };
            answer.databases.push(RankedDatabase {
                database: entry.database.name.clone(),
                score: (one.score - most).exp() / all,
                words: one.words,
                tables: one.tables,
                schema,
            });
        }
        Ok(answer)
    }

    fn sketch(&self, entry: &Arc<Entry>) -> Result<Arc<Sketch>> {
        if let Some(sketch) = self.sketches.lock().get(entry) {
            return Ok(sketch);
        }
        self.alone("sketch", entry, || {
            if let Some(sketch) = self.sketches.lock().get(entry) {
                return Ok(sketch);
            }
            self.make_sketch(entry)
        })
    }

    fn make_sketch(&self, entry: &Arc<Entry>) -> Result<Arc<Sketch>> {
        let sketch = Arc::new(Sketch::kept(
            &entry.database,
            self.encoder(),
            // Its columns' vectors are there too.
            &entry.shelf(Kind::Schema, Others::Stay),
        )?);
        let size = sketch.len();
        self.sketches.lock().put(entry, sketch.clone(), size);
        Ok(sketch)
    }
}

/// What is kept of the databases that were compared.
pub(super) type Sketches = Kept<Sketch>;
