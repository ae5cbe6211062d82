//! What a search sees: every leg at one log sequence.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::filter::OrdinalSet;
use crate::lexical::WordReader;
use crate::store::Store;
use crate::vector::VectorReader;

/// An immutable, consistent point in time of an index. Cheap to hold; lives as long as
/// somebody searches it, and so do the documents it sees, even those that have been
/// replaced or deleted since.
#[derive(Clone)]
pub struct View {
    /// The words.
    pub words: WordReader,
    /// The vectors, where the index has any.
    pub vectors: Option<Arc<VectorReader>>,
    /// Ordinals of the documents that exist at this point.
    pub live: Arc<OrdinalSet>,
    /// Number of documents that exist at this point.
    pub documents: u64,
    /// The last log sequence that every leg covers.
    pub seq: u64,
    /// Keeps the bytes of what died since.
    pub(super) epoch: Arc<Epoch>,
}

/// The time for which one view is the newest. An epoch ends when no view of it or of an
/// earlier one is left: then nobody can read what died before the next view, and its
/// bytes are given back.
pub(super) struct Epoch {
    store: Arc<Store>,
    ending: Mutex<Option<Ending>>,
}

/// What comes after an epoch.
struct Ending {
    /// The following epoch; held, so that epochs end in order.
    next: Arc<Epoch>,
    /// Ordinals that died between this epoch's view and the next one.
    dead: Vec<u32>,
    /// The log sequence of the next view, which every derived leg covers.
    seq: u64,
}

impl Epoch {
    pub(super) fn new(store: &Arc<Store>) -> Arc<Epoch> {
        Arc::new(Epoch {
            store: store.clone(),
            ending: Mutex::default(),
        })
    }

    /// Says what follows: the next view stands at `seq`, and `dead` died before it.
    pub(super) fn followed_by(&self, next: &Arc<Epoch>, dead: Vec<u32>, seq: u64) {
        *self.ending.lock() = Some(Ending {
            next: next.clone(),
            dead,
            seq,
        });
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        let mut ending = self.ending.get_mut().take();
        // A view held for hours may be followed by thousands of epochs that end with it:
        // one after the other here, rather than each inside the drop of the one before.
        while let Some(Ending { next, dead, seq }) = ending.take() {
            if let Err(error) = self.store.bury(&dead, seq) {
                // The log still names them: they are buried when the index is opened.
                tracing::warn!(%error, "replaced documents could not be given back");
            }
            ending = Arc::into_inner(next).and_then(|mut next| next.ending.get_mut().take());
        }
    }
}
