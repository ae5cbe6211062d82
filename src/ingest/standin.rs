//! Inputs and places in them, as long as the readers do not have them themselves.

use std::path::Path;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Format, Row, Source, SourceOptions};
use crate::error::{Code, Problem, Result};

/// What tells one state of a file from another, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// The path.
    pub location: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed last, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<DateTime<Utc>>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Input {
    fingerprint: Fingerprint,
}

impl Input {
    /// A plain file.
    ///
    /// # Errors
    /// `invalid_file`.
    pub fn file(path: &Path) -> Result<Input> {
        super::text::open_file(path)?;
        let metadata = path.metadata().map_err(|e| super::stream_error(path, e))?;
        let name = path.to_str().ok_or_else(|| {
            Problem::new(Code::InvalidFile, format!("{}: not UTF-8", path.display()))
        })?;
        Ok(Input {
            fingerprint: Fingerprint {
                location: name.to_string(),
                bytes: metadata.len(),
                modified: metadata.modified().ok().map(DateTime::from),
            },
        })
    }

    /// The path.
    pub fn location(&self) -> &str {
        &self.fingerprint.location
    }

    /// Its length when it was listed.
    pub fn bytes(&self) -> u64 {
        self.fingerprint.bytes
    }
}

/// A place in a file.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct Position {
    /// The group, from 0; always 0 in text formats.
    pub row_group: u64,
    /// Rows of the group that lie before, good or not.
    pub row: u64,
}

/// The files that names stand for.
///
/// # Errors
/// `invalid_file`.
pub fn resolve(names: &[String], _format: Option<Format>) -> Result<Vec<Input>> {
    names
        .iter()
        .map(|name| Input::file(Path::new(name)))
        .collect()
}

/// Opens an input at a place.
pub(super) fn open_at(input: &Input, options: &SourceOptions, from: Position) -> Result<Source> {
    let mut source = Source::open(Path::new(input.location()), options)?;
    for _ in 0..from.row {
        if source.next().transpose()?.is_none() {
            break;
        }
    }
    Ok(source)
}

/// Where reading goes on behind a row.
pub(super) fn next_of(row: &Row) -> Position {
    Position {
        row_group: 0,
        row: row.number,
    }
}
