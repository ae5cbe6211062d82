//! Feedback: what people say about answers, and what an index learns from it.
//!
//! What holds:
//! * Events that were acknowledged are on the disk. A request adds all of its events, or
//!   none; one of them that is not in order refuses the request and names the field.
//! * Nothing that was shown is kept but ids and ranks: what a combiner is fitted on is
//!   computed anew, by searching the index as it is when it is fitted. What has left the
//!   index since teaches nothing; another encoder or definition needs no new log.
//! * A fitted combiner is used only after it has won, by a paired test on queries that it
//!   was not fitted on; every version can be activated, and rolled back.
//! * The same log, index and build give the same combiner.

mod event;
mod export;
mod fit;
mod learn;
mod log;
mod simulate;

pub use event::{EventKind, FeedbackEvent, MAX_GRADE, MAX_SHOWN, Shown};
pub(crate) use export::write as write_feedback;
pub use export::{FEEDBACK_COLUMNS, FeedbackExport, export_feedback};
pub use fit::{FitReport, FitRequest, fit_feedback};
pub use learn::{Comparison, Impression, LearnOptions, Learned, LoggedQuery, Seen, compare, learn};
pub use log::{FeedbackCounts, FeedbackStatus, Record, counts, records, status};
pub use simulate::{SimulatedFit, Simulation, SimulationOptions, simulate};
