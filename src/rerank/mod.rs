//! Re-ranking: which pairs a cross-encoder is to score, and one order out of its scores and
//! the first stage's.
//!
//! * [`blend`] makes one score out of two.
//! * [`Gate`] tells from the first stage's scores alone how likely it is that the
//!   cross-encoder would put a document among the first ten, so that the pairs that cannot
//!   change the answer need not be scored.

mod blend;
mod gate;

pub use blend::{Blended, below, blend};
pub use gate::{FEATURES, FirstStage, Gate, features};

/// Hits that the gate asks about: whether a document would be among so many.
pub const TOP: usize = 10;
