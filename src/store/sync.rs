//! Group commit: many writers, one sync.
//!
//! A writer appends its batch to the log and lets the next one append before it waits for
//! the disk. Whoever finds nobody syncing syncs everything that was appended so far, also
//! for those who came meanwhile; they wait for that, and one of those it came too early for
//! goes on (DeWitt et al., "Implementation techniques for main memory database systems",
//! 1984).

use parking_lot::{Condvar, Mutex};

use super::{Health, Store, fault};
use crate::error::{Error, Result};

/// How far the log is on the disk.
#[derive(Default)]
pub(super) struct Syncs {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// Everything up to this sequence number is on the disk, as far as it is known.
    durable: u64,
    /// Somebody is syncing.
    running: bool,
    /// A sync failed: what reached the disk is unknown, and the system may have dropped
    /// what did not (as Linux does), so that no later sync could tell.
    failed: Option<Health>,
}

impl Syncs {
    /// Whether a sync failed, after which none is tried.
    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().failed.is_some()
    }
}

impl Store {
    /// Returns once every operation up to `seq`, which were applied with
    /// [`Durability::Buffered`](super::Durability::Buffered), is on the disk, together with
    /// whatever others wait for.
    ///
    /// Errors: operator's where the disk fails, after which every write is refused until the
    /// store is opened again.
    pub fn sync_to(&self, seq: u64) -> Result<()> {
        let mut state = self.syncs.state.lock();
        loop {
            if state.durable >= seq {
                return Ok(());
            }
            if let Some(health) = state.failed {
                return Err(Error::operator(format!(
                    "the store {} cannot be synced since that failed once",
                    self.path.display()
                ))
                .advice("mend the disk or free space on it, then restart")
                .storage_full(health == Health::Full));
            }
            if !state.running {
                break;
            }
            self.syncs.ended.wait(&mut state);
        }
        state.running = true;
        drop(state);
        // Whatever was appended before the sync begins.
        let appended = self.last_seq();
        let synced = self.db.flush_wal(true).map_err(|e| {
            let error = fault(format!("cannot sync the store {}", self.path.display()), e);
            let mut health = self.writer.lock();
            if *health == Health::Sound {
                *health = Health::after(&error);
            }
            // A write that found no room fails the syncs after it, which do not say why.
            error.storage_full(*health == Health::Full)
        });
        let mut state = self.syncs.state.lock();
        state.running = false;
        match &synced {
            Ok(()) => state.durable = state.durable.max(appended),
            Err(error) => state.failed = Some(Health::after(error)),
        }
        self.syncs.ended.notify_all();
        synced
    }

    /// The sequence number up to which everything is known to be on the disk.
    pub fn durable_seq(&self) -> u64 {
        self.syncs.state.lock().durable
    }

    /// Puts every write so far on the disk, buffered ones included.
    pub fn sync(&self) -> Result<()> {
        self.sync_to(self.last_seq())
    }
}
