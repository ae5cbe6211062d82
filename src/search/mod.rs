//! Queries: planning, the legs, fusion, re-ranking, highlighting, explanation.
//!
//! What holds for every answer:
//! * The same question on the same view gives the same answer; ties break by document id.
//! * How deep the legs go and how they are fused comes from the definition or the
//!   request, never from `k`: asking for more hits never reorders the first ones. Hits
//!   deeper than the fused candidates follow them.
//! * An order of fields' values ([`Sort`]), groups ([`Collapse`]) and pages that others' writes
//!   do not touch ([`CursorRequest`]) keep these promises; see `ranking` and `cursor`.
//! * Fewer than `k` hits come with the reason. A leg that failed is named in `degraded`.
//! * Every score can be taken apart ([`Explanation`]).

mod cursor;
mod facets;
mod fusion;
mod learned;
mod legs;
mod options;
mod page;
mod passage;
mod ranking;
mod request;
mod rerank;
mod response;
mod run;
mod short;
mod similar;

pub use facets::FacetCount;
pub use fusion::{Candidate, LegHit, fuse};
pub use options::{Collapse, CursorRequest, Missing, Sort, SortOrder};
pub use passage::{Passage, Place};
pub use request::{FilterInput, HighlightRequest, Like, SearchRequest};
pub use rerank::{RerankRequest, RerankSettings};
pub use response::{
    Degraded, Explanation, FeatureExplanation, FusionExplanation, Hit, InnerHit,
    LearnedExplanation, LegExplanation, RerankExplanation, RerankSummary, SearchResponse,
    Shortfall, Timings, Total, TotalCounts, Work,
};
pub use run::{Candidates, candidates, search, search_while};
