//! Errors, split by who has to act.
//!
//! * [`Error::User`]: the caller sent something that cannot be done. Carries a
//!   stable [`Code`], the field, what was found and what was expected. Changes
//!   nothing; sending the same thing again gives the same answer.
//! * [`Error::Operator`]: the machine, a file or the configuration has to be
//!   mended (disk full, model folder incomplete, library missing).
//! * [`Error::Bug`]: an invariant of ours does not hold.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong, by who has to act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's mistake.
    #[error("{0}")]
    User(Box<Problem>),
    /// The operator's: what happened and what to do about it.
    #[error("{0}")]
    Operator(Box<Fault>),
    /// Ours.
    #[error("internal error (a bug in gleaner): {0}")]
    Bug(String),
}

/// Stable codes of user errors; their spelling never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A request that is not of the documented shape.
    InvalidRequest,
    /// A document that its index's definition does not allow.
    InvalidDocument,
    /// A filter that cannot be parsed or does not fit the fields.
    InvalidFilter,
    /// A query text that cannot be parsed.
    InvalidQuery,
    /// An index definition that contradicts itself.
    InvalidDefinition,
    /// An input file that cannot be read as what it claims to be.
    InvalidFile,
    /// A vector of the wrong length, or with values that are not finite.
    InvalidVector,
    /// A model folder that lacks a file or contradicts itself.
    InvalidModel,
    /// A configuration file or flag that cannot be used.
    InvalidConfiguration,
    /// A database's schema that cannot be read or contradicts itself.
    InvalidSchema,
    /// A name that no catalog of entities can hold.
    InvalidName,
    /// No index of that name.
    IndexNotFound,
    /// There is an index of that name already.
    IndexExists,
    /// The index was built elsewhere and cannot be changed here.
    IndexReadOnly,
    /// An alias stands for the index.
    IndexAliased,
    /// The alias was moved to another index while a write was under way.
    AliasMoved,
    /// The change of a definition needs the documents indexed anew.
    ReindexNeeded,
    /// Something that takes long is being done to the index already.
    TaskRunning,
    /// No such task, or one that ended long ago.
    TaskNotFound,
    /// No such job, or one that ended long ago.
    JobNotFound,
    /// What a job is asked to do does not go with its state.
    JobState,
    /// The server's jobs may not read from there.
    SourceNotPermitted,
    /// More rows of a job were rejected than it allows.
    TooManyRejects,
    /// What a load reads is not what it was when the load was made.
    InputChanged,
    /// No document of that id.
    DocumentNotFound,
    /// No snapshot of that id.
    SnapshotNotFound,
    /// A snapshot that is not as it was written.
    SnapshotDamaged,
    /// The cursor is not held any more, or never was.
    CursorExpired,
    /// The document has another version than the one that was expected.
    VersionConflict,
    /// An idempotency key that another request was sent with.
    KeyReused,
    /// The request of an idempotency key is still being carried out.
    RequestInProgress,
    /// Fewer queries were clicked or judged than a fit needs.
    TooLittleFeedback,
    /// No database of that name in the catalogue.
    DatabaseNotFound,
    /// No example of that id.
    ExampleNotFound,
    /// The database is open to named callers only, and this is none of them.
    CallerNotPermitted,
    /// The request needs a key, and brings none that counts.
    Unauthenticated,
    /// The key may not do this, or does not reach what it names.
    NotPermitted,
    /// No API key of that id.
    KeyNotFound,
    /// The only key of an administrator, while there are others.
    LastKey,
    /// No catalog of entities of that name.
    CatalogNotFound,
    /// There is a catalog of entities of that name already.
    CatalogExists,
    /// No entity of that id in the catalog.
    EntityNotFound,
    /// No model of that name.
    ModelNotFound,
    /// The index was built with another model than the one now configured.
    ModelMismatch,
    /// No such address.
    RouteNotFound,
    /// The address exists and does not speak this method.
    MethodNotAllowed,
    /// A body, field or number past its configured limit.
    LimitExceeded,
    /// Queues are full; try again after the given time.
    Overloaded,
    /// The time budget of a request ran out.
    Timeout,
}

impl Code {
    /// The spelling used on the wire, in logs and in rejects files.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::InvalidDocument => "invalid_document",
            Code::InvalidFilter => "invalid_filter",
            Code::InvalidQuery => "invalid_query",
            Code::InvalidDefinition => "invalid_definition",
            Code::InvalidFile => "invalid_file",
            Code::InvalidVector => "invalid_vector",
            Code::InvalidModel => "invalid_model",
            Code::InvalidConfiguration => "invalid_configuration",
            Code::InvalidSchema => "invalid_schema",
            Code::InvalidName => "invalid_name",
            Code::IndexNotFound => "index_not_found",
            Code::IndexExists => "index_exists",
            Code::IndexReadOnly => "index_read_only",
            Code::IndexAliased => "index_aliased",
            Code::AliasMoved => "alias_moved",
            Code::ReindexNeeded => "reindex_needed",
            Code::TaskRunning => "task_running",
            Code::TaskNotFound => "task_not_found",
            Code::JobNotFound => "job_not_found",
            Code::JobState => "job_state",
            Code::SourceNotPermitted => "source_not_permitted",
            Code::TooManyRejects => "too_many_rejects",
            Code::InputChanged => "input_changed",
            Code::DocumentNotFound => "document_not_found",
            Code::SnapshotNotFound => "snapshot_not_found",
            Code::SnapshotDamaged => "snapshot_damaged",
            Code::CursorExpired => "cursor_expired",
            Code::VersionConflict => "version_conflict",
            Code::KeyReused => "key_reused",
            Code::RequestInProgress => "request_in_progress",
            Code::TooLittleFeedback => "too_little_feedback",
            Code::DatabaseNotFound => "database_not_found",
            Code::ExampleNotFound => "example_not_found",
            Code::CallerNotPermitted => "caller_not_permitted",
            Code::Unauthenticated => "unauthenticated",
            Code::NotPermitted => "not_permitted",
            Code::KeyNotFound => "key_not_found",
            Code::LastKey => "last_key",
            Code::CatalogNotFound => "catalog_not_found",
            Code::CatalogExists => "catalog_exists",
            Code::EntityNotFound => "entity_not_found",
            Code::ModelNotFound => "model_not_found",
            Code::ModelMismatch => "model_mismatch",
            Code::RouteNotFound => "route_not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::LimitExceeded => "limit_exceeded",
            Code::Overloaded => "overloaded",
            Code::Timeout => "timeout",
        }
    }
}

impl Code {
    /// Whether this is about a model rather than about what the caller sent: the same for
    /// every document and every query until the model is mended.
    pub fn is_about_the_model(self) -> bool {
        matches!(
            self,
            Code::ModelNotFound | Code::ModelMismatch | Code::InvalidModel
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a caller's input: the shape of every error answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable, machine-readable.
    pub code: Code,
    /// One sentence for people.
    pub message: String,
    /// The field, parameter or column concerned, as the caller spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was found there, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What would have been accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// Longest excerpt of a caller's value that an error repeats, in characters.
const FOUND_CHARS: usize = 120;

impl Problem {
    /// A problem with its code and a sentence for people.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Problem {
            code,
            message: message.into(),
            field: None,
            found: None,
            expected: None,
        }
    }

    /// Names the field, parameter or column concerned.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what was found; long values are shortened.
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        let text = found.to_string();
        self.found = Some(match text.char_indices().nth(FOUND_CHARS) {
            Some((cut, _)) => format!("{}...", &text[..cut]),
            None => text,
        });
        self
    }

    /// Says what would have been accepted.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(field) = &self.field {
            write!(f, "; field: {field}")?;
        }
        if let Some(found) = &self.found {
            write!(f, "; found: {found}")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "; expected: {expected}")?;
        }
        write!(f, " [{}]", self.code)
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::User(Box::new(problem))
    }
}

/// Something an operator has to mend.
#[derive(Debug)]
pub struct Fault {
    /// What was being done and what went wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub advice: Option<String>,
    /// The error underneath.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Whether there is no room left on a disk: known where it is the cause, and answered
    /// for as such.
    pub storage_full: bool,
}

/// Whether an error, or one underneath it, says that there is no room on a disk. Libraries
/// do not always pass the system's error on, but its words.
fn is_storage_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
            return true;
        }
        next = error.source();
    }
    error.to_string().contains("No space left on device")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, " ({advice})")?;
        }
        Ok(())
    }
}

impl Error {
    /// An operator's error with what was being done.
    pub fn operator(message: impl Into<String>) -> Self {
        Error::Operator(Box::new(Fault {
            message: message.into(),
            advice: None,
            source: None,
            storage_full: false,
        }))
    }

    /// An operator's error around the one underneath.
    pub fn operator_from(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Error::Operator(Box::new(Fault {
            message: message.into(),
            advice: None,
            storage_full: is_storage_full(&*source),
            source: Some(source),
        }))
    }

    /// Notes whether an operator's error comes of a full disk; other kinds stay as they are.
    pub fn storage_full(mut self, full: bool) -> Self {
        if let Error::Operator(fault) = &mut self {
            fault.storage_full |= full;
        }
        self
    }

    /// Whether there is no room left on a disk.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Error::Operator(fault) if fault.storage_full)
    }

    /// Adds what to do to an operator's error; other kinds stay as they are.
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        if let Error::Operator(fault) = &mut self {
            fault.advice = Some(advice.into());
        }
        self
    }

    /// The caller's problem, if it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Error::User(problem) => Some(problem),
            _ => None,
        }
    }
}
