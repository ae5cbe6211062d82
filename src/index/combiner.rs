//! The combiners of an index: the one that is shipped, and those fitted from its feedback.
//!
//! What is kept is one named value of the store, replaced as a whole: the versions, which of
//! them is in use, and which were before. It travels with snapshots and reindexings.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Index;
use crate::combine::Combiner;
use crate::error::{Code, Error, Problem, Result};
use crate::store::Store;

const META_COMBINERS: &str = "combiners";
/// Versions that are kept, the one in use and those it took the place of included.
const KEPT: usize = 20;

/// The combiner that searches use.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveCombiner {
    /// Its version among the index's own; 0 for the one that is shipped.
    pub version: u32,
    /// Its weights.
    pub combiner: Combiner,
}

/// A combiner fitted from the index's feedback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CombinerVersion {
    /// Its number, from 1.
    pub version: u32,
    /// When it was fitted, in UTC.
    pub fitted: String,
    /// What came of fitting it, as it was reported.
    pub report: serde_json::Value,
    /// Its weights.
    pub combiner: Combiner,
}

/// Which combiner an index uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CombinerStatus {
    /// The one in use; 0 for the one that is shipped.
    pub active: u32,
    /// Those that were in use before it, the latest last: where rolling back goes.
    pub before: Vec<u32>,
    /// The versions that are kept.
    pub versions: Vec<u32>,
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Combiners {
    active: u32,
    before: Vec<u32>,
    /// Numbers given so far.
    last: u32,
    versions: Vec<CombinerVersion>,
}

impl Combiners {
    fn read(store: &Store) -> Result<Combiners> {
        match store.meta(META_COMBINERS)? {
            None => Ok(Combiners::default()),
            Some(text) => serde_json::from_slice(&text).map_err(|e| {
                Error::operator_from("the index's combiners cannot be read", e)
                    .advice("they were written by a newer version of gleaner, perhaps")
            }),
        }
    }

    fn write(&self, store: &Store) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::Bug(format!("combiners do not serialise: {e}")))?;
        store.put_meta(META_COMBINERS, &text)
    }

    /// The one in use. One that another build has fitted, on other features, is not.
    fn active(&self) -> Result<ActiveCombiner> {
        let own = self.versions.iter().find(|one| one.version == self.active);
        if let Some(own) = own {
            match own.combiner.check() {
                Ok(()) => {
                    return Ok(ActiveCombiner {
                        version: own.version,
                        combiner: own.combiner.clone(),
                    });
                }
                Err(reason) => tracing::warn!(
                    version = own.version,
                    reason,
                    "the index's combiner cannot be used; fit one anew"
                ),
            }
        }
        Ok(ActiveCombiner {
            version: 0,
            combiner: Combiner::shipped()?,
        })
    }

    /// Forgets old versions, but none that is or was in use.
    fn prune(&mut self) {
        while self.versions.len() > KEPT {
            let unused = self
                .versions
                .iter()
                .position(|one| one.version != self.active && !self.before.contains(&one.version));
            match (unused, self.before.is_empty()) {
                (Some(place), _) => drop(self.versions.remove(place)),
                (None, false) => drop(self.before.remove(0)),
                (None, true) => return,
            }
        }
    }
}

/// The combiner that a store's index uses.
pub(super) fn active(store: &Store) -> Result<ActiveCombiner> {
    Combiners::read(store)?.active()
}

impl Index {
    /// The combiner that searches use.
    pub fn combiner(&self) -> Arc<ActiveCombiner> {
        self.combiner.load_full()
    }

    /// Lets searches use a combiner until the index is opened again: for measuring one.
    pub fn try_combiner(&self, combiner: Combiner) {
        self.combiner.store(Arc::new(ActiveCombiner {
            version: 0,
            combiner,
        }));
    }

    /// Which combiner is in use, and which there are.
    pub fn combiner_status(&self) -> Result<CombinerStatus> {
        let kept = Combiners::read(&self.store)?;
        Ok(CombinerStatus {
            active: self.combiner().version,
            before: kept.before,
            versions: kept.versions.iter().map(|one| one.version).collect(),
        })
    }

    /// The combiners that were fitted, the latest last.
    pub fn combiner_versions(&self) -> Result<Vec<CombinerVersion>> {
        Ok(Combiners::read(&self.store)?.versions)
    }

    /// Keeps a combiner; its number. It is not used yet.
    pub fn keep_combiner(&self, combiner: Combiner, report: serde_json::Value) -> Result<u32> {
        self.check_writable()?;
        let _changing = self.combiners_changing.lock();
        let mut kept = Combiners::read(&self.store)?;
        kept.last += 1;
        let version = kept.last;
        kept.versions.push(CombinerVersion {
            version,
            fitted: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            report,
            combiner,
        });
        kept.prune();
        kept.write(&self.store)?;
        Ok(version)
    }

    /// Lets searches use a version from now on; 0 for the one that is shipped.
    ///
    /// # Errors
    /// `invalid_request` for a version that there is not.
    pub fn activate_combiner(&self, version: u32) -> Result<CombinerStatus> {
        self.change_combiners(|kept| {
            if version != 0 && kept.versions.iter().all(|one| one.version != version) {
                let known: Vec<String> = kept
                    .versions
                    .iter()
                    .map(|one| one.version.to_string())
                    .collect();
                return Err(Problem::new(
                    Code::InvalidRequest,
                    "the index has no combiner of that version",
                )
                .field("version")
                .found(version)
                .expected(format!(
                    "0 for the one that is shipped, or one of: {}",
                    known.join(", ")
                ))
                .into());
            }
            if kept.active != version {
                kept.before.push(kept.active);
                kept.active = version;
            }
            Ok(())
        })
    }

    /// Goes back to the version that was used before the one in use.
    ///
    /// # Errors
    /// `invalid_request` where none was.
    pub fn roll_back_combiner(&self) -> Result<CombinerStatus> {
        self.change_combiners(|kept| match kept.before.pop() {
            Some(before) => {
                kept.active = before;
                Ok(())
            }
            None => Err(Problem::new(
                Code::InvalidRequest,
                "there is nothing to go back to: the combiner in use is the first one",
            )
            .field("version")
            .found(kept.active)
            .expected("an index that another combiner was activated in")
            .into()),
        })
    }

    fn change_combiners(
        &self,
        change: impl FnOnce(&mut Combiners) -> Result<()>,
    ) -> Result<CombinerStatus> {
        self.check_writable()?;
        {
            let _changing = self.combiners_changing.lock();
            let mut kept = Combiners::read(&self.store)?;
            change(&mut kept)?;
            kept.prune();
            kept.write(&self.store)?;
            self.combiner.store(Arc::new(kept.active()?));
        }
        self.combiner_status()
    }

    /// Takes over the combiners and the feedback of an index that this one takes the place
    /// of, those that it does not have yet.
    pub(super) fn take_over_feedback(&self, from: &Index) -> Result<()> {
        const AT_ONCE: usize = 1_000;
        let mut some: Vec<(u64, Vec<u8>)> = Vec::new();
        let have = self.store.feedback_numbers()?.map_or(0, |(_, last)| last);
        from.store.for_each_feedback(have, |number, event| {
            some.push((number, event.to_vec()));
            if some.len() == AT_ONCE {
                self.store.take_feedback(&std::mem::take(&mut some))?;
            }
            Ok(())
        })?;
        if !some.is_empty() {
            self.store.take_feedback(&some)?;
        }
        let _changing = self.combiners_changing.lock();
        let kept = Combiners::read(&from.store)?;
        if kept != Combiners::read(&self.store)? {
            kept.write(&self.store)?;
            self.combiner.store(Arc::new(kept.active()?));
        }
        Ok(())
    }
}
