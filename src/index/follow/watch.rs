//! The thread that looks for newer versions beside a server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::index::Catalog;

/// Time between two looks whether it is time to look.
const TICK: Duration = Duration::from_millis(500);
/// How long after a failure a first version is looked for again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// Follows until it is dropped.
pub struct Following {
    stop: Option<(Sender<()>, tokio::sync::watch::Sender<bool>)>,
    thread: Option<JoinHandle<()>>,
}

impl Catalog {
    /// Looks for newer versions of attached indexes, each in its time, until what is returned
    /// is dropped; also of those that another process attaches meanwhile.
    pub fn follow_in_background(self: &Arc<Self>) -> std::io::Result<Following> {
        let catalog = Arc::downgrade(self);
        let (stop, stopped) = channel::<()>();
        let (end, ended) = tokio::sync::watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("follow".into())
            .spawn(move || {
                loop {
                    let Some(catalog) = catalog.upgrade() else {
                        return;
                    };
                    catalog.find_attachments();
                    for attachment in catalog.attached.all() {
                        if *ended.borrow() {
                            return;
                        }
                        // One index's trouble must not end following for all.
                        let looked = catch_unwind(AssertUnwindSafe(|| {
                            if attachment.is_due() {
                                // What is wrong is noted and logged there.
                                drop(catalog.look(&attachment, Some(ended.clone())));
                            }
                        }));
                        if looked.is_err() {
                            tracing::error!(index = attachment.name(), "following panicked");
                        }
                    }
                    drop(catalog);
                    if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })?;
        Ok(Following {
            stop: Some((stop, end)),
            thread: Some(thread),
        })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some((stop, end)) = self.stop.take() {
            // Nobody listens where the thread has ended.
            let _ = end.send(true);
            drop(stop);
        }
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
