//! Attaching, and looking for a newer version.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch::Receiver;

use super::fetch::{Fetched, fetch, prune};
use super::{AttachedStatus, Attachment, Kept, OBJECTS, Origin, VERSIONS};
use crate::error::{Code, Error, Problem, Result};
use crate::index::open::{remove_folder, sync_parent, with_suffix};
use crate::index::remote::Remote;
use crate::index::snapshot::Snapshot;
use crate::index::{Catalog, Index, check_name};
use crate::objects::{self, Objects};

/// Longest that the list of the snapshots is waited for: what goes on answering meanwhile
/// should say soon that nobody knows whether it is the newest.
const LISTING: Duration = Duration::from_secs(20);
/// What the folder of a version is called while it is made.
const MAKING: &str = ".making";

/// The outcome of looking for a newer version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Looked {
    /// The attached index.
    pub name: String,
    /// The snapshot that answers now.
    pub snapshot: Snapshot,
    /// Whether it is another one than before.
    pub changed: bool,
    /// Objects that were downloaded.
    pub new_objects: u64,
    /// Their bytes.
    pub new_bytes: u64,
}

impl Catalog {
    /// Attaches an index, or looks for a newer version of one that is attached from there
    /// already: when this returns, the newest snapshot answers.
    ///
    /// # Errors
    /// `index_exists` where the name is taken by something else; `snapshot_not_found` where
    /// there is none; `snapshot_damaged`; `model_mismatch`; `task_running` while another process
    /// looks or attaches the same; operator errors of the disk and the object store. An index
    /// that was not attached before is not after an error.
    pub fn attach(&self, name: &str, origin: Origin) -> Result<Looked> {
        check_name(name)?;
        origin.check()?;
        match self.attached.get(name) {
            Some(attachment) => {
                let before = attachment.origin();
                if (&before.url, &before.index) != (&origin.url, &origin.index) {
                    return Err(Problem::new(
                        Code::IndexExists,
                        format!("{name:?} is attached from elsewhere"),
                    )
                    .field("url")
                    .found(format!("{} of {}", origin.index, origin.url))
                    .expected(format!(
                        "{} of {}, or the index removed first",
                        before.index, before.url
                    ))
                    .into());
                }
                if before != origin {
                    attachment.set_origin(origin)?;
                }
                self.look(&attachment, None)
            }
            None => {
                // Held until it is removed again, should that be: nobody else works in it.
                let (attachment, _lock) = self.add_attachment(name, origin)?;
                let _looking = attachment.looking.lock();
                let looked = self.look_alone(&attachment, None);
                if looked.is_err() {
                    self.attached.forget(name);
                    attachment.remove()?;
                }
                looked
            }
        }
    }

    /// What is known of the attached indexes, by name.
    pub fn attached(&self) -> Vec<(String, AttachedStatus)> {
        let all = self.attached.all();
        let status = |one: Arc<Attachment>| (one.name().to_string(), one.status());
        all.into_iter().map(status).collect()
    }

    /// Looks for a newer version, and lets it answer if there is one. `stop` ends it early.
    pub(super) fn look(
        &self,
        attachment: &Arc<Attachment>,
        stop: Option<Receiver<bool>>,
    ) -> Result<Looked> {
        let Some(_looking) = attachment.looking.try_lock() else {
            return Err(attachment.busy().into());
        };
        let _lock = match attachment.lock() {
            Ok(lock) => lock,
            // Another process looks: that is no trouble.
            Err(busy @ Error::User(_)) => return Err(busy),
            Err(error) => {
                attachment.note(Err(&error));
                return Err(error);
            }
        };
        if !attachment.is_there() {
            // Removed by another process, which held the lock until now.
            return Err(self.not_found(attachment.name()));
        }
        self.look_alone(attachment, stop)
    }

    /// The same while nobody else looks, in whatever process.
    fn look_alone(
        &self,
        attachment: &Arc<Attachment>,
        stop: Option<Receiver<bool>>,
    ) -> Result<Looked> {
        // Another process may have brought one.
        attachment.read_again();
        let looked = self.bring(attachment, stop);
        if looked.is_ok() {
            attachment.tidy();
        }
        attachment.note(looked.as_ref());
        looked
    }

    fn bring(&self, attachment: &Arc<Attachment>, stop: Option<Receiver<bool>>) -> Result<Looked> {
        let kept = attachment.kept.lock().clone();
        let store = Objects::open(&kept.origin.url)?;
        let remote = Remote {
            objects: &store,
            index: &kept.origin.index,
        };
        let name = attachment.name();
        let objects_folder = attachment.folder.join(OBJECTS);
        // A snapshot may be removed while it is fetched: then there is another newest.
        for _ in 0..3 {
            let newest = objects::wait(until(stop.clone(), async {
                let ids = tokio::time::timeout(LISTING, remote.snapshot_ids());
                ids.await.unwrap_or_else(|_| {
                    Err(Error::operator(format!(
                        "{} did not answer within {} s",
                        store.url(),
                        LISTING.as_secs()
                    )))
                })
            }))?
            .pop();
            let Some(newest) = newest else {
                return Err(Problem::new(
                    Code::SnapshotNotFound,
                    format!(
                        "there is no snapshot of {:?} at {}",
                        remote.index,
                        store.url()
                    ),
                )
                .field("index")
                .found(remote.index)
                .expected("an index of which gleaner snapshot create has sent a snapshot there")
                .into());
            };
            if let Some(snapshot) = kept.snapshot.clone().filter(|s| s.id == newest) {
                self.serve(attachment)?;
                return Ok(Looked {
                    name: name.into(),
                    snapshot,
                    changed: false,
                    new_objects: 0,
                    new_bytes: 0,
                });
            }
            let folder = attachment.folder.join(VERSIONS).join(&newest);
            let making = with_suffix(&folder, MAKING);
            let fetched = objects::wait(until(
                stop.clone(),
                fetch(&remote, &newest, &making, &objects_folder, name),
            ))?;
            let Some(fetched) = fetched else {
                continue;
            };
            return self.change_to(attachment, kept, fetched, &making, &folder, &objects_folder);
        }
        Err(Error::operator(format!(
            "snapshots of {:?} at {} are removed faster than they are fetched",
            remote.index,
            store.url()
        )))
    }

    /// Opens what was fetched and, if that can be done, lets it answer.
    fn change_to(
        &self,
        attachment: &Arc<Attachment>,
        kept: Kept,
        fetched: Fetched,
        making: &Path,
        folder: &Path,
        objects_folder: &Path,
    ) -> Result<Looked> {
        let place = || -> Result<Arc<Index>> {
            // One that could not be opened, or that did not come to count.
            remove_folder(folder)?;
            std::fs::rename(making, folder).map_err(|e| {
                Error::operator_from(format!("cannot rename {}", making.display()), e)
            })?;
            sync_parent(folder)?;
            let index = Index::open(folder, self.settings())?;
            // Without its model nobody could ask it: better the version that is there.
            if index.fingerprint().is_some() {
                index.encoder()?;
            }
            index.set_attached(attachment.clone());
            Ok(Arc::new(index))
        };
        let index = match place() {
            Ok(index) => index,
            Err(error) => {
                remove_folder(folder)?;
                return Err(error);
            }
        };
        {
            let _changing = self.changing.lock();
            attachment.keep(Kept {
                snapshot: Some(fetched.snapshot.clone()),
                ..kept
            })?;
            self.insert(index);
        }
        tracing::info!(
            index = attachment.name(),
            snapshot = fetched.snapshot.id,
            documents = fetched.snapshot.documents,
            "another version answers"
        );
        prune(objects_folder, &fetched.contents);
        Ok(Looked {
            name: attachment.name().into(),
            snapshot: fetched.snapshot,
            changed: true,
            new_objects: fetched.new_objects,
            new_bytes: fetched.new_bytes,
        })
    }

    /// Lets the version that counts answer, where another process has brought it.
    pub(super) fn serve(&self, attachment: &Arc<Attachment>) -> Result<()> {
        let open = self.open_indexes();
        let open = open.iter().find(|index| index.name() == attachment.name());
        let current = attachment.current();
        if let (Some(open), Some(current)) = (open, current)
            && open.folder() != current
        {
            let index = Index::open(&current, self.settings())?;
            index.set_attached(attachment.clone());
            let _changing = self.changing.lock();
            self.insert(Arc::new(index));
        }
        Ok(())
    }
}

/// Does something unless it is stopped first.
async fn until<T>(
    stop: Option<Receiver<bool>>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(mut stop) = stop else {
        return work.await;
    };
    tokio::select! {
        done = work => done,
        // Also where the sender is gone.
        _ = stop.wait_for(|stopped| *stopped) => Err(Error::operator("the server is stopping")),
    }
}
