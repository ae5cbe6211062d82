//! The combiner: one score for a document out of what the legs say about it.
//!
//! What holds:
//! * A score is a weighted mean of features, each from 0 to 1, with weights that depend on
//!   the query and add up to 1: it lies in 0..1 and is the sum of its contributions.
//! * No weight is negative: better evidence never lowers a document.
//! * Features do not depend on the scale of a leg's scores, nor on the order in which
//!   documents were written, so that a combiner fitted with one encoder serves with others.
//! * Fitting is deterministic: the same examples give the same weights.
//!
//! Pure computation: `search` gathers the evidence for serving and fitting alike.

mod clicks;
mod coupled;
mod features;
mod fit;
mod model;

pub use clicks::{Exposure, Propensities};
pub use coupled::{CoupledFit, CoupledOptions, LargestWeights, Selection, fit_coupled};
pub use features::{
    CANDIDATE_FEATURES, Evidence, Features, LEXICAL_FEATURES, QUERY_FEATURES, features, first_few,
};
pub use fit::{Example, FitOptions, fit};
pub use model::{Combiner, Weights};
