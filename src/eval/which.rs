//! How often the database of a question is found among all.

use std::collections::HashMap;
use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::schema::SchemaQuestion;
use crate::error::{Code, Problem, Result};
use crate::sql::{
    CANDIDATES, Compared, Database, Linker, Question, SchemaIndex, Sketch, compare, link_compared,
    rank,
};

/// Shares of questions, 0 to 1, whose database is the first, and among the first 3 and 5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub first: f64,
    pub first_3: f64,
    pub first_5: f64,
}

/// What `gleaner eval schema --which` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhichReport {
    pub questions: usize,
    pub databases: usize,
    /// Of all databases, by what is cheap.
    pub compared: Found,
    /// After the best of those were linked, which is what is answered.
    pub linked: Found,
    /// Databases that were linked.
    pub candidates: usize,
}

/// Databases of a question that are told for fitting, the likeliest first.
const TOLD: usize = 40;

/// A question with the likeliest databases, for fitting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhichFeatures {
    /// The right one.
    pub database: String,
    pub candidates: Vec<WhichCandidate>,
}

/// One of them; those that were linked have more features.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhichCandidate {
    pub database: String,
    pub features: Vec<f32>,
}

/// Asks all databases each question.
///
/// # Errors
/// InvalidFile for a question about a database that is not among these; those of the encoder.
pub fn which_databases(
    linker: &Linker,
    databases: &[Database],
    questions: &[SchemaQuestion],
) -> Result<(WhichReport, Vec<WhichFeatures>)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut sketches: Vec<Sketch> = Vec::new();
    let mut indexes: Vec<SchemaIndex> = Vec::new();
    for (place, database) in databases.iter().enumerate() {
        places.insert(&database.name, place);
        sketches.push(Sketch::new(database, linker.encoder())?);
        indexes.push(linker.index(database)?);
    }
    let sketches: Vec<&Sketch> = sketches.iter().collect();
    let asked: Vec<Question<'_>> = questions
        .iter()
        .map(|question| Question {
            text: &question.text,
            evidence: &question.evidence,
        })
        .collect();
    let prepared = linker.prepare(&asked)?;
    let ranked: Vec<([usize; 2], WhichFeatures)> = questions
        .par_iter()
        .zip(&prepared)
        .enumerate()
        .map(|(n, (question, prepared))| -> Result<_> {
            let right = places.get(question.database.as_str()).copied();
            let right = right.ok_or_else(|| {
                Problem::new(Code::InvalidFile, "a question's database is unknown")
                    .field(format!("[{n}].db_id"))
                    .found(&question.database)
                    .expected("a database of the tables file")
            })?;
            let place = |compared: &[Compared]| {
                let place = compared.iter().position(|one| one.place == right);
                place.unwrap_or(usize::MAX)
            };
            let mut compared = compare(prepared, &sketches);
            let cheap = place(&compared);
            let rest = compared.split_off(CANDIDATES.min(compared.len()));
            for one in &mut compared {
                link_compared(linker, prepared, &indexes[one.place], one);
            }
            rank(&mut compared);
            let told = compared.iter().chain(&rest).take(TOLD);
            let candidates = told.map(|one| WhichCandidate {
                database: databases[one.place].name.clone(),
                features: one.features.clone(),
            });
            let features = WhichFeatures {
                database: question.database.clone(),
                candidates: candidates.collect(),
            };
            Ok(([cheap, place(&compared)], features))
        })
        .collect::<Result<_>>()?;
    let found = |pass: usize| {
        let within = |most: usize| {
            let found = ranked.iter().filter(|(places, _)| places[pass] < most);
            found.count() as f64 / ranked.len().max(1) as f64
        };
        Found {
            first: within(1),
            first_3: within(3),
            first_5: within(5),
        }
    };
    let report = WhichReport {
        questions: questions.len(),
        databases: databases.len(),
        compared: found(0),
        linked: found(1),
        candidates: CANDIDATES,
    };
    let features = ranked.into_iter().map(|(_, features)| features);
    Ok((report, features.collect()))
}

impl fmt::Display for WhichReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} questions, {} databases",
            self.questions, self.databases
        )?;
        for (name, found) in [("compared", self.compared), ("linked", self.linked)] {
            writeln!(
                f,
                "{name:10} first {:6.2} %   first 3 {:6.2} %   first 5 {:6.2} %",
                100.0 * found.first,
                100.0 * found.first_3,
                100.0 * found.first_5
            )?;
        }
        write!(f, "linked are the best {}", self.candidates)
    }
}
