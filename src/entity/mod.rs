//! Entities by generating their names (GENRE, arXiv 2010.00904).
//!
//! An entity is retrieved by writing its name token by token, and only names that exist can be
//! written. What exists is a **catalog** of names:
//!
//! * [`Catalogs`] are those of a data folder; [`Catalogs::build`] makes one of names, which are
//!   sorted in bounded memory, so that millions take little.
//! * A [`View`] of one is a trie of the names in the generator's own tokens: which tokens may
//!   follow a prefix is answered in less than two microseconds, out of a file of a few bytes a
//!   name. Names that are added or removed later are seen at once.

mod build;
mod catalog;
mod change;
mod column;
mod compact;
pub mod decode;
mod export;
mod file;
mod generation;
mod link;
mod log;
mod overlay;
mod sealed;
mod sorter;
mod texts;
mod trie;
mod view;

pub use build::{NameLimits, NewAlias, RejectedFrom, RejectedName};
pub use catalog::{
    BuildInput, BuildOptions, BuildProgress, BuildReport, CatalogInfo, Catalogs, Incoming,
    MAX_ADDED, check_catalog_name,
};
pub use change::AddReport;
pub use link::{
    Calibration, CalibrationBin, CandidateMeasures, DisambiguateRequest, EntityLinker, Evidence,
    Example, FitReport, FoundMention, Known, LinkDegraded, LinkMethod, LinkRequest, LinkResponse,
    LinkedMention, MAX_ANNOTATED, MAX_CANDIDATES, MAX_TEXT, Mentions, NoneMeasures, Origin,
    RetrieveEntitiesRequest, RetrieveEntitiesResponse, ScoredEntity, Shares, Thresholds, Way,
    Weighings, Weights, fit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use view::{Node, View};

/// A name to be put into a catalog.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewName {
    /// What the generator writes.
    pub name: String,
    /// The entity that is called so; several names may have the same. The name where it is not
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What else the entity is called: by these it is found in texts, they are not written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How often it is meant, beside others: a count, or anything that grows with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub popularity: Option<f32>,
}

/// What a catalog knows of a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NameRecord {
    /// What the generator writes.
    pub name: String,
    /// The entity.
    pub id: String,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How often it is meant, beside others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub popularity: Option<f32>,
}

/// A name that an alias stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// Number of the name.
    pub name: u32,
    /// How often the alias means it.
    pub count: u32,
}
