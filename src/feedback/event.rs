//! One event: its shape, and what makes it one.

use std::collections::HashSet;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem, Result};
use crate::lexical::MAX_QUERY_CHARS;

/// Best grade of a judgment.
pub const MAX_GRADE: u8 = 10;
/// Most documents in one impression.
pub const MAX_SHOWN: usize = 200;
/// Deepest rank that anything is shown at.
const MAX_RANK: u32 = 100_000;
/// Longest id of a document, in bytes.
const MAX_ID_BYTES: usize = 4_096;
/// Longest name of a session or an answer, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What somebody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// How relevant a document is to a query.
    Judgment,
    /// Which documents were shown for a query, and which of them were clicked so far.
    Impression,
    /// A document that was clicked, of an impression that came before.
    Click,
}

/// One event. Which members it has depends on its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackEvent {
    /// What is said.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The text that was searched for. A click may name its `answer` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Of a judgment or a click, the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Of a judgment, 0 (not relevant) to 10; a later one takes the place of an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<u8>,
    /// Of an impression, what was shown, 1 to 200 documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Vec<Shown>>,
    /// Of an impression, ids of those that were clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clicked: Option<Vec<String>>,
    /// A name of the caller's for what was shown, which clicks refer to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// A name of the caller's for who searched; never looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// When it happened, such as 2026-01-31T12:00:00Z; when it came, otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// A document that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Where, from 1.
    pub rank: u32,
}

impl FeedbackEvent {
    /// Holds an event to its shape and fills in its time; `path` begins the fields that
    /// errors name, such as `events[3]`.
    ///
    /// # Errors
    /// `invalid_request` or `limit_exceeded` with the field.
    pub fn checked(mut self, path: &str, now: DateTime<Utc>) -> Result<FeedbackEvent, Problem> {
        let check = Check { path };
        match self.kind {
            EventKind::Judgment => {
                check.query(self.query.as_deref())?;
                check.id("id", self.id.as_deref())?;
                match self.grade {
                    Some(grade) if grade <= MAX_GRADE => {}
                    grade => {
                        return Err(check
                            .wrong("grade", "a judgment needs a grade")
                            .found(grade.map_or("nothing".into(), |g| g.to_string()))
                            .expected(format!("0 to {MAX_GRADE}")));
                    }
                }
                check.absent("shown", self.shown.is_some())?;
                check.absent("clicked", self.clicked.is_some())?;
            }
            EventKind::Impression => {
                check.query(self.query.as_deref())?;
                let shown = self.shown.as_deref().unwrap_or_default();
                let clicked = self.clicked.as_deref().unwrap_or_default();
                check.shown(shown, clicked)?;
                check.absent("id", self.id.is_some())?;
                check.absent("grade", self.grade.is_some())?;
            }
            EventKind::Click => {
                check.id("id", self.id.as_deref())?;
                match (&self.query, &self.answer) {
                    (None, Some(_)) => {}
                    (query, _) => check.query(query.as_deref())?,
                }
                check.absent("grade", self.grade.is_some())?;
                check.absent("shown", self.shown.is_some())?;
                check.absent("clicked", self.clicked.is_some())?;
            }
        }
        check.name("answer", self.answer.as_deref())?;
        check.name("session", self.session.as_deref())?;
        let time = match &self.time {
            None => now,
            Some(text) => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => time.to_utc(),
                Err(_) => {
                    return Err(check
                        .wrong("time", "the time cannot be read")
                        .found(text)
                        .expected("RFC 3339, such as 2026-01-31T12:00:00Z"));
                }
            },
        };
        self.time = Some(time.to_rfc3339_opts(SecondsFormat::Millis, true));
        Ok(self)
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::Bug(format!("an event does not serialise: {e}")))
    }

    /// Reads what is kept.
    pub fn from_bytes(bytes: &[u8]) -> Result<FeedbackEvent> {
        serde_json::from_slice(bytes).map_err(|e| {
            Error::operator_from("an event of the feedback cannot be read", e)
                .advice("it was written by a newer version of gleaner, perhaps")
        })
    }
}

struct Check<'a> {
    path: &'a str,
}

impl Check<'_> {
    fn wrong(&self, field: &str, message: &str) -> Problem {
        Problem::new(Code::InvalidRequest, message).field(format!("{}.{field}", self.path))
    }

    fn query(&self, query: Option<&str>) -> Result<(), Problem> {
        let query = query.unwrap_or_default();
        if query.trim().is_empty() {
            return Err(self
                .wrong("query", "nothing says what was searched for")
                .found("nothing")
                .expected("the text of the query"));
        }
        let chars = query.chars().count();
        if chars > MAX_QUERY_CHARS {
            return Err(too_long(
                self.wrong("query", "the query is too long"),
                chars,
                MAX_QUERY_CHARS,
                "characters",
            ));
        }
        Ok(())
    }

    fn id(&self, field: &str, id: Option<&str>) -> Result<(), Problem> {
        match id {
            None | Some("") => Err(self
                .wrong(field, "nothing says which document is meant")
                .found("nothing")
                .expected("the id of a document")),
            Some(id) if id.len() > MAX_ID_BYTES => Err(too_long(
                self.wrong(field, "the id is too long"),
                id.len(),
                MAX_ID_BYTES,
                "bytes",
            )),
            Some(_) => Ok(()),
        }
    }

    fn name(&self, field: &str, name: Option<&str>) -> Result<(), Problem> {
        match name {
            Some("") => Err(self
                .wrong(field, "a name is empty")
                .found("\"\"")
                .expected("a name, or no such field")),
            Some(name) if name.len() > MAX_NAME_BYTES => Err(too_long(
                self.wrong(field, "a name is too long"),
                name.len(),
                MAX_NAME_BYTES,
                "bytes",
            )),
            _ => Ok(()),
        }
    }

    fn absent(&self, field: &str, is_there: bool) -> Result<(), Problem> {
        match is_there {
            false => Ok(()),
            true => Err(self
                .wrong(field, "an event of this type has no such field")
                .found(field)
                .expected("a judgment: query, id, grade; an impression: query, shown, clicked; a click: id, and query or answer")),
        }
    }

    fn shown(&self, shown: &[Shown], clicked: &[String]) -> Result<(), Problem> {
        if shown.is_empty() || shown.len() > MAX_SHOWN {
            return Err(self
                .wrong("shown", "an impression shows too few or too many documents")
                .found(shown.len())
                .expected(format!("1 to {MAX_SHOWN} documents")));
        }
        let (mut ids, mut ranks) = (HashSet::new(), HashSet::new());
        for (i, one) in shown.iter().enumerate() {
            self.id(&format!("shown[{i}].id"), Some(&one.id))?;
            if !(1..=MAX_RANK).contains(&one.rank) {
                return Err(self
                    .wrong(&format!("shown[{i}].rank"), "a rank is out of range")
                    .found(one.rank)
                    .expected(format!("1 to {MAX_RANK}")));
            }
            if !ids.insert(one.id.as_str()) || !ranks.insert(one.rank) {
                return Err(self
                    .wrong(
                        &format!("shown[{i}]"),
                        "a document or a rank is there twice",
                    )
                    .found(format!("{:?} at {}", one.id, one.rank))
                    .expected("each document once, at a rank of its own"));
            }
        }
        let mut seen = HashSet::new();
        for (i, id) in clicked.iter().enumerate() {
            if !ids.contains(id.as_str()) || !seen.insert(id) {
                return Err(self
                    .wrong(
                        &format!("clicked[{i}]"),
                        "what was clicked has to have been shown, and counts once",
                    )
                    .found(id)
                    .expected("the id of a document in shown"));
            }
        }
        Ok(())
    }
}

fn too_long(problem: Problem, found: usize, most: usize, of: &str) -> Problem {
    Problem {
        code: Code::LimitExceeded,
        ..problem
    }
    .found(format!("{found} {of}"))
    .expected(format!("at most {most} {of}"))
}
