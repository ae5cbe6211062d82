//! The log, read back: events, and clicks joined with what was shown.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{EventKind, FeedbackEvent};
use crate::error::Result;
use crate::index::{CombinerStatus, Index};

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number: grows by 1 with each event of the index.
    pub number: u64,
    /// The event.
    pub event: FeedbackEvent,
}

/// What an index knows from feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedbackStatus {
    /// The index.
    pub index: String,
    /// What is kept.
    pub events: FeedbackCounts,
    /// Its combiners.
    pub combiner: CombinerStatus,
}

/// Events that are kept, by type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FeedbackCounts {
    /// Judgments.
    pub judgments: u64,
    /// Impressions.
    pub impressions: u64,
    /// Clicks that came by themselves.
    pub clicks: u64,
    /// Numbers of the oldest and the newest event; 0 where there is none.
    pub oldest: u64,
    /// See above.
    pub newest: u64,
}

/// Counts the events that are kept.
pub fn counts(index: &Index) -> Result<FeedbackCounts> {
    let mut counts = FeedbackCounts::default();
    index.for_each_feedback(|number, bytes| {
        match FeedbackEvent::from_bytes(bytes)?.kind {
            EventKind::Judgment => counts.judgments += 1,
            EventKind::Impression => counts.impressions += 1,
            EventKind::Click => counts.clicks += 1,
        }
        if counts.oldest == 0 {
            counts.oldest = number;
        }
        counts.newest = number;
        Ok(())
    })?;
    Ok(counts)
}

/// What an index knows from feedback, and which combiner it uses.
pub fn status(index: &Index) -> Result<FeedbackStatus> {
    Ok(FeedbackStatus {
        index: index.name().into(),
        events: counts(index)?,
        combiner: index.combiner_status()?,
    })
}

/// All events, the oldest first. A click is added to the latest impression before it that
/// showed its document: of the same answer where it names one, else of the same query and
/// session. One that finds none stays by itself.
pub fn records(index: &Index) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    // Places of the latest impression of an answer, and of a query in a session.
    let mut answers: HashMap<String, usize> = HashMap::new();
    let mut sessions: HashMap<(String, Option<String>), usize> = HashMap::new();
    index.for_each_feedback(|number, bytes| {
        let event = FeedbackEvent::from_bytes(bytes)?;
        let query = event.query.as_deref().map(str::trim).map(String::from);
        match event.kind {
            EventKind::Judgment => {}
            EventKind::Impression => {
                if let Some(answer) = &event.answer {
                    answers.insert(answer.clone(), records.len());
                }
                if let Some(query) = query {
                    sessions.insert((query, event.session.clone()), records.len());
                }
            }
            EventKind::Click => {
                let place = match (&event.answer, query) {
                    (Some(answer), _) => answers.get(answer),
                    (None, Some(query)) => sessions.get(&(query, event.session.clone())),
                    (None, None) => None,
                };
                if let Some(&place) = place
                    && let Some(id) = &event.id
                    && add_click(&mut records[place].event, id)
                {
                    return Ok(());
                }
            }
        }
        records.push(Record { number, event });
        Ok(())
    })?;
    Ok(records)
}

/// Whether the impression shows the document, which is then clicked.
fn add_click(impression: &mut FeedbackEvent, id: &str) -> bool {
    let shown = impression.shown.as_deref().unwrap_or_default();
    if !shown.iter().any(|one| one.id == id) {
        return false;
    }
    let clicked = impression.clicked.get_or_insert_default();
    if !clicked.iter().any(|known| known == id) {
        clicked.push(id.into());
    }
    true
}
