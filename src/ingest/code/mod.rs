//! A folder of source code into an index of functions, types and what is around them.
//!
//! The promise: after a load the index holds of the folder what the folder holds, and only that;
//! what did not change is neither encoded nor written, what went away is removed, and whatever
//! was not indexed is counted with its reason. Documents of other repositories stay, and so does what is
//! indexed where a folder seems to be another one of the same name.

mod document;
mod features;
mod load;
mod units;
mod walk;

pub use features::{FeatureOptions, FeatureSummary, write_features};
pub use load::{CodeOptions, CodeSummary, Loading, check_repository, load_code, preview_code};
pub use units::{UnitSummary, write_units};
pub use walk::{Skipped, WalkLimits, check_folder};
