//! The place of snapshots: reachable, and writable.

use std::path::Path;
use std::time::Duration;

use super::data::probe;
use super::{Check, Finding, Patient};
use crate::error::{Error, Result};
use crate::objects::{self, Objects};

/// Longest time that a probe of an object store may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn look(patient: &Patient<'_>) -> Vec<Finding> {
    let location = match &patient.config.snapshots.location {
        // Checked with the data folder.
        None => {
            return vec![Finding::ok(
                Check::Snapshots,
                "snapshots are kept in the data folder: they protect from mistakes, not from the loss of the disk",
            )];
        }
        Some(location) => location,
    };
    let probed = match objects::is_url(location) {
        true => probe_store(location),
        false => probe_folder(Path::new(location)),
    };
    let found = match probed {
        Ok(()) => Finding::ok(
            Check::Snapshots,
            format!("a file could be written, read and removed in {location}"),
        ),
        Err(error) => Finding::of_error(
            Check::Snapshots,
            &error,
            "check snapshots.location, and the credentials and endpoint in the environment (docs/snapshots.md)",
        ),
    };
    vec![found]
}

fn probe_folder(folder: &Path) -> Result<()> {
    // The first snapshot makes the folder; what it needs is one that can be written above it.
    let mut there = folder;
    while !there.exists() {
        match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => there = parent,
            _ => {
                there = Path::new(".");
                break;
            }
        }
    }
    probe(there).map_err(|e| {
        Error::operator_from(
            format!("a file cannot be written in {}", there.display()),
            e,
        )
        .advice("give the folder of snapshots to the user that runs the server")
    })
}

fn probe_store(url: &str) -> Result<()> {
    let objects = Objects::open(url)?;
    let name = format!(".gleaner-doctor-{}", uuid::Uuid::new_v4());
    objects::wait(async {
        let probing = async {
            let written = b"a probe of gleaner doctor".to_vec();
            objects.create(&name, written.clone()).await?;
            let read = objects.get(&name).await?;
            objects.remove(vec![name.clone()]).await?;
            match read == Some(written) {
                true => Ok(()),
                false => Err(Error::operator(format!(
                    "{url} does not give back what was written to it"
                ))),
            }
        };
        match tokio::time::timeout(PATIENCE, probing).await {
            Ok(probed) => probed,
            Err(_) => Err(Error::operator(format!(
                "{url} did not answer within {} seconds",
                PATIENCE.as_secs()
            ))),
        }
    })
}
