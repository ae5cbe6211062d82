//! How good retrieval is: TREC runs and judgments, measures, BEIR folders, reports.
//!
//! The promise: the figures are those of `trec_eval`, so that they can be held against
//! published ones. A run is ranked before it comes here; nothing is ranked again.

mod beir;
mod cascade;
mod entities;
mod fusion;
mod judgments;
mod measures;
mod plot;
mod report;
mod retrieval;
mod run;
mod schema;
mod significance;
mod tune;
mod which;

pub use beir::{BeirDocument, BeirFolder};
pub use cascade::{CascadePoint, CascadeReport, Traces, trace};
pub use entities::{
    CandidateTable, EntityReport, EntityScores, JudgedTexts, LinkingReport, LinkingScores,
    MarkedDocument, MarkedMention, comparable, judge_found, judge_marked, marked_documents,
    measure_found, measure_marked,
};
pub use fusion::{FusionReport, FusionRow, JudgedQuery, balanced, judged_queries, measure_fusions};
pub use judgments::{Judgments, Qrels};
pub use measures::{Evaluation, Measure, evaluate};
pub use plot::{Answered, interpolated_precision, plot};
pub use report::{Measures, RetrievalReport};
pub use retrieval::{EvalMode, load_corpus, measure};
pub use run::{Hit, Run};
pub use schema::{
    CurvePoint, Linked, Needs, PromptTokens, Read, SchemaOptions, SchemaQuestion, SchemaReport,
    SchemaSet, UnreadQuestion, schema_questions,
};
pub(crate) use significance::split_mix;
pub use significance::{bootstrap_interval, randomisation_test};
pub use tune::{Reranked, Setting, TuneReport, TuneRow, tune};
pub use which::{Found, WhichCandidate, WhichFeatures, WhichReport, which_databases};
