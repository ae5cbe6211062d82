//! Stored questions that are like a new one, and questions that are worth storing.

use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalog::Stamp;
use super::examples::{Vectors, diverse, worth_annotating};
use super::hints::Shown;
use super::link::MOST_QUESTION_BYTES;
use super::retrieve::{Retriever, limit};
use super::stored::question_id;
use super::vectors::{Kind, Others};
use super::{Entry, Example};
use crate::error::{Code, Problem, Result};
use crate::model::Task;

/// How unlike each other examples have to be where nothing is said.
const USUAL_DIVERSITY: f32 = 0.3;
/// Examples of an answer where nothing is said.
const USUAL_EXAMPLES: usize = 5;
/// Most questions to choose among, which are all compared with each other, and most bytes of all.
const MOST_CANDIDATES: usize = 2_000;
/// A question votes for this share of all, and for so many at least and at most.
const NEIGHBOURS: usize = 20;
const FEWEST_NEIGHBOURS: usize = 3;
const MOST_NEIGHBOURS: usize = 150;

/// A question whose like are looked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimilarRequest {
    /// 1 to 16,384 bytes.
    pub question: String,
    /// Most examples of the answer, 1 to 100; 5 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// 0 takes the nearest, 1 those that are most unlike each other; 0.3 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diversity: Option<f32>,
    /// Who asks; needed where the database has permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// Stored questions like the one that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimilarAnswer {
    pub database: String,
    /// In the order in which they were chosen.
    pub examples: Vec<SimilarExample>,
}

/// A stored question with its SQL and how like the question it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimilarExample {
    pub id: String,
    pub question: String,
    pub sql: String,
    /// Cosine of the questions' vectors, -1 to 1.
    pub score: f32,
}

/// Questions without SQL, some of which somebody could write it for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnotateRequest {
    /// 1 to 2,000 questions of 1 to 16,384 bytes; those that are stored already, and the second of
    /// two that are the same, are passed over.
    pub questions: Vec<String>,
    /// Most questions of the answer, 1 to 100; 5 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Who asks; needed where the database has permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
}

/// The questions that are worth writing SQL for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnnotateAnswer {
    pub database: String,
    /// The first the most.
    pub questions: Vec<WorthAnnotating>,
}

/// A question that is worth writing SQL for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorthAnnotating {
    /// Its place in the request, from 0.
    pub place: usize,
    pub question: String,
}

/// A database's examples with their vectors.
pub(super) struct Encoded {
    examples: Vec<Example>,
    vectors: Vec<f32>,
    dimensions: usize,
}

impl Retriever {
    /// Stored questions like one, and unlike each other (maximal marginal relevance).
    ///
    /// # Errors
    /// InvalidRequest or LimitExceeded with the field; an operator's error where examples cannot
    /// be read; those of the encoder.
    pub fn similar(&self, entry: &Arc<Entry>, request: &SimilarRequest) -> Result<SimilarAnswer> {
        check_question(&request.question, "question")?;
        let limit = limit(request.limit, USUAL_EXAMPLES)?;
        let diversity = request.diversity.unwrap_or(USUAL_DIVERSITY);
        if !(0.0..=1.0).contains(&diversity) {
            return Err(
                Problem::new(Code::InvalidRequest, "there is no such diversity")
                    .field("diversity")
                    .found(diversity)
                    .expected("0 to 1")
                    .into(),
            );
        }
        let encoded = self.encoded(entry)?;
        let question = request.question.trim();
        let query = self.encoder().encode(Task::Query, &[question])?;
        let rows = Vectors::new(&encoded.vectors, encoded.dimensions);
        let found = diverse(&query.vectors, rows, limit, diversity);
        let examples = found.into_iter().map(|(n, score)| {
            let example = &encoded.examples[n];
            SimilarExample {
                id: example.id.clone(),
                question: example.question.clone(),
                sql: example.sql.clone(),
                score,
            }
        });
        Ok(SimilarAnswer {
            database: entry.database.name.clone(),
            examples: examples.collect(),
        })
    }

    /// Which questions are worth annotating with SQL (vote-k).
    ///
    /// # Errors
    /// As [`Retriever::similar`].
    pub fn annotate(
        &self,
        entry: &Arc<Entry>,
        request: &AnnotateRequest,
    ) -> Result<AnnotateAnswer> {
        let limit = limit(request.limit, USUAL_EXAMPLES)?;
        let found = request.questions.len();
        if !(1..=MOST_CANDIDATES).contains(&found) {
            let code = match found {
                0 => Code::InvalidRequest,
                _ => Code::LimitExceeded,
            };
            return Err(
                Problem::new(code, "so many questions cannot be chosen among")
                    .field("questions")
                    .found(found)
                    .expected(format!("1 to {MOST_CANDIDATES}"))
                    .into(),
            );
        }
        let mut seen: HashSet<String> = HashSet::new();
        seen.extend(entry.examples()?.into_iter().map(|example| example.id));
        let mut places = Vec::new();
        for (place, question) in request.questions.iter().enumerate() {
            check_question(question, &format!("questions[{place}]"))?;
            if seen.insert(question_id(question)) {
                places.push(place);
            }
        }
        let texts: Vec<&str> = places
            .iter()
            .map(|place| request.questions[*place].trim())
            .collect();
        let vectors = self.encoder().encode(Task::Query, &texts)?;
        let rows = Vectors::new(&vectors.vectors, vectors.dimensions);
        let neighbours = (texts.len() / NEIGHBOURS).clamp(FEWEST_NEIGHBOURS, MOST_NEIGHBOURS);
        let chosen = worth_annotating(rows, neighbours, limit);
        let questions = chosen.into_iter().map(|n| WorthAnnotating {
            place: places[n],
            question: request.questions[places[n]].clone(),
        });
        Ok(AnnotateAnswer {
            database: entry.database.name.clone(),
            questions: questions.collect(),
        })
    }

    /// The examples to show beside a question.
    pub(super) fn shown(
        &self,
        entry: &Arc<Entry>,
        question: &str,
        count: usize,
    ) -> Result<Vec<Shown>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let request = SimilarRequest {
            question: question.to_string(),
            limit: Some(count),
            ..SimilarRequest::default()
        };
        let similar = self.similar(entry, &request)?.examples.into_iter();
        let shown = similar.map(|example| Shown {
            question: example.question,
            sql: example.sql,
        });
        Ok(shown.collect())
    }

    /// A database's examples that still fit it, encoded.
    fn encoded(&self, entry: &Arc<Entry>) -> Result<Arc<Encoded>> {
        // The stamp first: what changes meanwhile is read again the next time.
        let stamp = entry.examples_stamp()?;
        if let Some(kept) = self.examples.lock().get(entry)
            && kept.0 == stamp
        {
            return Ok(kept.1.clone());
        }
        self.alone("examples", entry, || self.encode_examples(entry, stamp))
    }

    fn encode_examples(&self, entry: &Arc<Entry>, stamp: Option<Stamp>) -> Result<Arc<Encoded>> {
        if let Some(kept) = self.examples.lock().get(entry)
            && kept.0 == stamp
        {
            return Ok(kept.1.clone());
        }
        let mut examples = entry.examples()?;
        examples.retain(|example| !example.stale);
        let texts: Vec<&str> = examples.iter().map(|e| e.question.as_str()).collect();
        let shelf = entry.shelf(Kind::Examples, Others::Go);
        let vectors = shelf.encode(self.encoder(), Task::Query, &texts)?;
        let size = examples.len();
        let encoded = Arc::new(Encoded {
            examples,
            dimensions: vectors.dimensions,
            vectors: vectors.vectors,
        });
        let kept = Arc::new((stamp, encoded.clone()));
        self.examples.lock().put(entry, kept, size);
        Ok(encoded)
    }
}

fn check_question(question: &str, field: &str) -> Result<(), Problem> {
    if question.trim().is_empty() {
        return Err(Problem::new(Code::InvalidRequest, "the question is empty")
            .field(field)
            .expected("some words"));
    }
    if question.len() > MOST_QUESTION_BYTES {
        return Err(Problem::new(Code::LimitExceeded, "the text is too long")
            .field(field)
            .found(format!("{} bytes", question.len()))
            .expected(format!("at most {MOST_QUESTION_BYTES} bytes")));
    }
    Ok(())
}
