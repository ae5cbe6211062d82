//! The attached indexes of a data folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Attachment, Origin};
use crate::config;
use crate::error::{Code, Problem, Result};
use crate::index::{Catalog, Index};

/// The folder in the data folder.
const FOLDER: &str = "attached";

/// Those there are, by name.
pub(in crate::index) struct Attachments {
    folder: PathBuf,
    all: RwLock<BTreeMap<String, Arc<Attachment>>>,
}

impl Attachments {
    /// Those in a data folder.
    pub(in crate::index) fn open(data: &Path) -> Attachments {
        let folder = data.join(FOLDER);
        let all = Attachment::all(&folder).into_iter();
        let all = all.map(|one| (one.name().to_string(), Arc::new(one)));
        Attachments {
            all: RwLock::new(all.collect()),
            folder,
        }
    }

    pub(in crate::index) fn get(&self, name: &str) -> Option<Arc<Attachment>> {
        self.all.read().get(name).cloned()
    }

    pub(in crate::index) fn all(&self) -> Vec<Arc<Attachment>> {
        self.all.read().values().cloned().collect()
    }

    pub(in crate::index) fn forget(&self, name: &str) {
        self.all.write().remove(name);
    }

    /// Finds those that another process has attached or removed.
    fn find_others(&self) {
        for entry in std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if self.get(&name).is_none()
                && entry.path().join(super::FILE).exists()
                && let Some(found) = Attachment::read(&self.folder, &name)
            {
                tracing::info!(index = name, "found an index that was attached");
                self.all.write().insert(name, Arc::new(found));
            }
        }
        self.all.write().retain(|_, one| one.is_there());
    }
}

impl Catalog {
    /// Attaches those that the configuration names and that are not attached yet, without
    /// looking for them: that is left to who follows.
    pub(in crate::index) fn attach_configured(&self, wanted: &[config::Attached]) -> Result<()> {
        for one in wanted {
            let origin = Origin::of(one);
            match self.attached.get(&one.name) {
                None => drop(self.add_attachment(&one.name, origin)?),
                Some(attachment) => {
                    let before = attachment.origin();
                    if (&before.url, &before.index) != (&origin.url, &origin.index) {
                        return Err(Problem::new(
                            Code::InvalidConfiguration,
                            format!("index {:?} is attached from elsewhere", one.name),
                        )
                        .field("snapshots.attached")
                        .found(format!("{} of {}", origin.index, origin.url))
                        .expected(format!(
                            "{} of {}, or the index removed first: gleaner index delete {}",
                            before.index, before.url, one.name
                        ))
                        .into());
                    }
                    if before != origin {
                        attachment.set_origin(origin)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes an attachment under a name that is free; with the lock that keeps other processes
    /// from looking for its first version.
    ///
    /// # Errors
    /// `index_exists`; `task_running` where another process attaches it just now; operator
    /// errors of the disk.
    pub(super) fn add_attachment(
        &self,
        name: &str,
        origin: Origin,
    ) -> Result<(Arc<Attachment>, File)> {
        let _changing = self.changing.lock();
        self.check_free(name)?;
        let (made, lock) = Attachment::make(&self.attached.folder, name, origin)?;
        let made = Arc::new(made);
        let mut all = self.attached.all.write();
        all.insert(name.into(), made.clone());
        Ok((made, lock))
    }

    /// Brings what is known up to what other processes have done since.
    pub(super) fn find_attachments(&self) {
        self.attached.find_others();
        for attachment in self.attached.all() {
            let Some(_looking) = attachment.looking.try_lock() else {
                continue;
            };
            attachment.read_again();
            if let Err(error) = self.serve(&attachment) {
                tracing::warn!(index = attachment.name(), %error, "a version cannot be opened yet");
            }
            attachment.tidy_if_needed();
        }
    }
}

impl Index {
    /// Notes that it is attached: from now on nobody writes to it.
    pub(in crate::index) fn set_attached(&self, attachment: Arc<Attachment>) {
        // Set once, right after it was opened.
        let _ = self.attached.set(attachment);
    }

    /// Refuses to change an attached index.
    ///
    /// # Errors
    /// `index_read_only`.
    pub fn check_writable(&self) -> Result<(), Problem> {
        let Some(attachment) = self.attached.get() else {
            return Ok(());
        };
        let origin = attachment.origin();
        Err(Problem::new(
            Code::IndexReadOnly,
            format!(
                "index {:?} is attached: it cannot be changed here",
                self.name()
            ),
        )
        .field("index")
        .found(self.name())
        .expected(format!(
            "a change of index {:?} where it is built, and a snapshot of it sent to {}",
            origin.index, origin.url
        )))
    }
}
