//! Jobs: loads that survive anything, and can be watched, paused, resumed, called off and retried.
//!
//! What holds:
//! * **Exactly once.** How far a job is, is in the same batch of the store as the documents that
//!   it wrote, and names the place behind them in its inputs. A process that is killed at any
//!   instant leaves a job that goes on there: no row is loaded twice, none is left out, and the
//!   file of rejects is cut back to what the last batch knew of it.
//! * **Running a job again changes nothing**: what is stored as it is, is not written.
//! * A job belongs to the index that it loads into and is kept in its store: a reindexing takes
//!   it along, and one that loads through an alias goes on in the index that the alias stands
//!   for then.
//! * Jobs that come along with a snapshot are nobody's: they are told of nowhere, and no file
//!   that they name is read or written.
//! * One job at a time loads into an index, in the order in which they were created.
//! * What a job reads must not change while it is unfinished: it fails with the file's name
//!   instead of mixing two states of it.
//!
//! The command line runs a job in its own process ([`run`]); the server keeps [`Jobs`] of all
//! its indexes. Both are one implementation.

mod control;
mod record;
mod rejects;
mod run;
mod sources;

pub use control::{JobFigures, JobRows, Jobs};
pub(crate) use record::not_found;
pub use record::{
    Job, JobAction, JobError, JobOptions, JobOwner, JobReport, JobState, MaxRejects, NewJob, act,
    create, find, report, reports, unfinished_twin,
};
pub use run::{Control, Running, Wish, run};
pub use sources::Sources;
