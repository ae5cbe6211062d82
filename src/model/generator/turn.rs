//! One generation at a time: whose turn it is, and no waiting for oneself.

use std::ops::{Deref, DerefMut};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::super::request::Cancellation;
use super::abandoned;
use crate::error::{Error, Result};

/// How often who waits looks whether anybody waits for it.
const LOOK: Duration = Duration::from_millis(50);

/// Something that one at a time uses.
pub(super) struct Turns<T> {
    shared: Mutex<T>,
    holder: Mutex<Option<ThreadId>>,
}

/// The use of it, until it is dropped.
pub(super) struct Turn<'a, T> {
    shared: MutexGuard<'a, T>,
    holder: &'a Mutex<Option<ThreadId>>,
}

impl<T> Turns<T> {
    pub(super) fn new(shared: T) -> Turns<T> {
        Turns {
            shared: Mutex::new(shared),
            holder: Mutex::new(None),
        }
    }

    /// Waits while another thread has it.
    ///
    /// # Errors
    /// Timeout once it is cancelled; a bug where this thread has it already, and would wait for ever.
    pub(super) fn take(&self, cancellation: &Cancellation) -> Result<Turn<'_, T>> {
        let own = std::thread::current().id();
        if *self.holder.lock() == Some(own) {
            let message = "a generation is begun while another of the same thread goes on";
            return Err(Error::Bug(message.into()));
        }
        let shared = loop {
            if cancellation.is_cancelled() {
                return Err(abandoned());
            }
            if let Some(shared) = self.shared.try_lock_for(LOOK) {
                break shared;
            }
        };
        *self.holder.lock() = Some(own);
        Ok(Turn {
            shared,
            holder: &self.holder,
        })
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        *self.holder.lock() = None;
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.shared
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_oneself_and_others_do() {
        let turns = Turns::new(0);
        {
            let mut turn = turns.take(&Cancellation::default()).unwrap();
            *turn += 1;
            assert!(matches!(
                turns.take(&Cancellation::default()),
                Err(Error::Bug(_))
            ));
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        *turns.take(&Cancellation::default()).unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(*turns.take(&Cancellation::default()).unwrap(), 4_001);
    }

    #[test]
    fn who_is_not_waited_for_waits_no_longer() {
        let turns = Turns::new(0);
        let cancellation = Cancellation::default();
        let _turn = turns.take(&Cancellation::default()).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.take(&cancellation).err());
            cancellation.cancel();
            let error = waits.join().unwrap().unwrap();
            assert_eq!(
                error.problem().map(|problem| problem.code),
                Some(crate::error::Code::Timeout)
            );
        });
    }
}
