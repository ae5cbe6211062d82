//! The data folder: there, ours, on a disk that suits it, with room; and who works on it.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{statfs, statvfs};

use super::process::{locked_by, named};
use super::{Check, Finding, Patient, Server, readable};

/// The file that a server locks as long as it serves.
const LOCK: &str = "server.lock";
/// Share of the disk that has to be free, in percent, and at least so much of it.
const FREE_PERCENT: u64 = 10;
const FREE_BYTES: u64 = 1 << 30;

/// The server that works on a data folder, if one does.
pub(super) fn server(folder: &Path) -> Option<Server> {
    let file = File::open(folder.join(LOCK)).ok()?;
    if let Some(process) = locked_by(&file) {
        return Some(Server {
            process: Some(process),
        });
    }
    // A server in another container is not listed. Whoever starts in the instant that this is
    // held is told that another server runs, and starts again.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(Server { process: None }),
        _ => None,
    }
}

pub(super) fn look(patient: &Patient<'_>) -> Vec<Finding> {
    let folder = patient.data();
    let mut findings = Vec::new();
    let data = match std::fs::metadata(folder) {
        Ok(data) if data.is_dir() => data,
        Ok(_) => {
            return vec![Finding::failed(
                Check::DataFolder,
                format!("{} is a file", folder.display()),
                "name a folder with data.folder, --data or GLEANER_DATA",
            )];
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return vec![missing(folder)],
        Err(e) => {
            return vec![Finding::failed(
                Check::DataFolder,
                format!("cannot look at {}: {e}", folder.display()),
                "check the permissions of the folders above it",
            )];
        }
    };
    findings.push(writable(folder, &data));
    findings.push(permissions(folder, &data));
    findings.push(file_system(folder));
    findings.push(space(folder));
    findings
}

/// A folder that the first start makes, where it can.
fn missing(folder: &Path) -> Finding {
    let mut above = folder.parent();
    while let Some(parent) = above.filter(|parent| !parent.exists()) {
        above = parent.parent();
    }
    let parent = match above {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match probe(parent) {
        Ok(()) => Finding::warning(
            Check::DataFolder,
            format!("there is no folder {} yet", folder.display()),
            "the first start makes it; if there should be indexes in it, name the right one with data.folder, --data or GLEANER_DATA",
        ),
        Err(e) => Finding::failed(
            Check::DataFolder,
            format!(
                "there is no folder {}, and it cannot be made: {e}",
                folder.display()
            ),
            "make it for the user that runs the server, or name another with data.folder, --data or GLEANER_DATA",
        ),
    }
}

/// Writes, syncs and removes a file.
pub(super) fn probe(folder: &Path) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".gleaner-doctor-")
        .tempfile_in(folder)?;
    file.write_all(b"a probe of gleaner doctor")?;
    file.as_file().sync_all()?;
    file.close()
}

fn writable(folder: &Path, data: &std::fs::Metadata) -> Finding {
    if let Err(e) = probe(folder) {
        return Finding::failed(
            Check::DataFolder,
            format!("a file cannot be written in {}: {e}", folder.display()),
            format!(
                "the server has to be able to write there: give the folder to its user (`chown`), and mount it writable; it belongs to user {}",
                data.uid()
            ),
        );
    }
    let user = rustix::process::geteuid().as_raw();
    let others: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|data| data.uid() != user))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if data.uid() != user || !others.is_empty() {
        let what = match others.is_empty() {
            true => format!("the folder belongs to user {}", data.uid()),
            false => format!("other users' files are in it: {}", others.join(", ")),
        };
        return Finding::warning(
            Check::DataFolder,
            format!(
                "{} is writable for this user ({user}), but {what}",
                folder.display()
            ),
            "run gleaner's commands, this one too, as the user that runs the server; `chown -R` mends what others left",
        );
    }
    Finding::ok(
        Check::DataFolder,
        format!("{} is there and writable", folder.display()),
    )
}

fn permissions(folder: &Path, data: &std::fs::Metadata) -> Finding {
    let mode = data.mode() & 0o777;
    let advice = format!("chmod o-rwx {}", folder.display());
    match mode & 0o007 {
        0 => Finding::ok(
            Check::Permissions,
            format!("only its user and group may look into it (mode {mode:03o})"),
        ),
        others if others & 0o002 != 0 => Finding::failed(
            Check::Permissions,
            format!("every user of the machine may change what is in it (mode {mode:03o})"),
            advice,
        ),
        _ => Finding::warning(
            Check::Permissions,
            format!("every user of the machine may read what is in it (mode {mode:03o})"),
            advice,
        ),
    }
}

/// What a kind of file system means for an index.
fn kind(magic: u64) -> Option<(&'static str, &'static str)> {
    const REMOTE: &str = "RocksDB's locks and memory maps want a local disk: a network file system may lose them, and is slow to sync; use a local disk, and snapshots to get a copy elsewhere";
    const GONE: &str = "what is in it is gone when the machine or the container is: use a folder of a disk, or a volume";
    match magic & 0xffff_ffff {
        0x6969 => Some(("NFS", REMOTE)),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some(("SMB", REMOTE)),
        0x6573_5546 => Some(("FUSE", REMOTE)),
        0x0102_1997 => Some(("9p", REMOTE)),
        0x00c3_6400 => Some(("CephFS", REMOTE)),
        0x5346_414f | 0x6b41_4653 => Some(("AFS", REMOTE)),
        0x0102_1994 => Some(("tmpfs", GONE)),
        0x8584_58f6 => Some(("ramfs", GONE)),
        0x794c_7630 => Some(("overlayfs, a container's own layer", GONE)),
        _ => None,
    }
}

fn file_system(folder: &Path) -> Finding {
    match statfs(folder) {
        Err(e) => Finding::warning(
            Check::FileSystem,
            format!("the file system of {} says nothing: {e}", folder.display()),
            "check that it is a local disk",
        ),
        // A signed number on some systems; the kinds are all of 32 bits.
        Ok(found) => match kind(found.f_type as u64) {
            None => Finding::ok(Check::FileSystem, "it is on a local file system"),
            Some((name, advice)) => {
                Finding::warning(Check::FileSystem, format!("it is on {name}"), advice)
            }
        },
    }
}

fn space(folder: &Path) -> Finding {
    let found = match statvfs(folder) {
        Ok(found) => found,
        Err(e) => {
            return Finding::warning(
                Check::DiskSpace,
                format!("the room on its disk is not known: {e}"),
                "look at `df`",
            );
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let total = found.f_blocks.saturating_mul(found.f_frsize).max(1);
    let percent = free.saturating_mul(100) / total;
    let said = format!(
        "{} of {} are free ({percent} %)",
        readable(free),
        readable(total)
    );
    let inodes = found.f_files > 0 && found.f_favail.saturating_mul(100) / found.f_files < 1;
    if free < FREE_BYTES / 16 {
        Finding::failed(
            Check::DiskSpace,
            format!("the disk is full: {said}"),
            "writes are refused when there is no room: free some, or move the data folder to a larger disk",
        )
    } else if inodes {
        Finding::warning(
            Check::DiskSpace,
            format!("{said}, but less than 1 % of its inodes"),
            "remove small files that nobody needs from this disk",
        )
    } else if percent < FREE_PERCENT || free < FREE_BYTES {
        Finding::warning(
            Check::DiskSpace,
            said,
            "merging and compacting need room beside what is there: keep a tenth of the disk and a gibibyte free; `POST /v1/indexes/NAME/compact` gives back what was deleted",
        )
    } else {
        Finding::ok(Check::DiskSpace, said)
    }
}

/// Who works on the data folder.
pub(super) fn at_work(server: &Server) -> String {
    match server.process {
        Some(process) => format!("{} serves this data folder", named(process)),
        None => "a server in another container serves this data folder".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_last_is_told_from_what_does() {
        assert_eq!(kind(0xef53), None);
        assert_eq!(kind(0x6969).map(|(name, _)| name), Some("NFS"));
        // As a signed number of 32 bits, which some systems make it.
        assert_eq!(
            kind(0xffff_ffff_ff53_4d42).map(|(name, _)| name),
            Some("SMB")
        );
    }
}
