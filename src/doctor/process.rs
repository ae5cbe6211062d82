//! What the system says of processes: who they are, what they hold and what they may.
//!
//! All of it is read from `/proc`. Where that is not there, or another user's process may not be
//! looked at, nothing is known, which is said by `None`.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// This one.
    Own,
    /// The one of that number.
    Of(u32),
}

impl Process {
    fn folder(self) -> PathBuf {
        match self {
            Process::Own => "/proc/self".into(),
            Process::Of(number) => format!("/proc/{number}").into(),
        }
    }

    fn read(self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.folder().join(file)).ok()
    }

    /// Files that it may have open, raised as far as a server raises it; `u64::MAX` for any number.
    pub(super) fn open_files(self) -> Option<u64> {
        let limits = self.read("limits")?;
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        match line.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// Bytes of memory that it and its group may use: the least of the machine's and of what its
    /// control groups allow. Which of them that is, is said as well.
    pub(super) fn memory(self) -> Option<(u64, &'static str)> {
        let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
        let total = machine
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let total: u64 = total.split_whitespace().next()?.parse().ok()?;
        let machine = (total.saturating_mul(1024), "the machine");
        let groups = self.read("cgroup").unwrap_or_default();
        let allowed = groups.lines().filter_map(group_limit).min();
        let allowed = allowed.map(|bytes| (bytes, "its control group"));
        Some(allowed.map_or(machine, |allowed| allowed.min(machine)))
    }
}

/// What a line of `/proc/PID/cgroup` allows: version 2 (`0::PATH`), or the memory controller of
/// version 1. A limit holds for all groups below.
fn group_limit(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let root = PathBuf::from(root);
    let mut group = root.join(path.trim_start_matches('/'));
    let mut least = None;
    loop {
        let limit = std::fs::read_to_string(group.join(file)).ok();
        // "max" is no number, and stands for none.
        let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
        least = [least, limit].into_iter().flatten().min();
        if group == root || !group.pop() {
            return least;
        }
    }
}

/// What a process is called, as in `gleaner (process 4711)`.
pub(super) fn named(number: u32) -> String {
    match Process::Of(number).read("comm") {
        Some(name) => format!("{} (process {number})", name.trim()),
        None => format!("process {number}"),
    }
}

/// The process that holds a lock of the kind of `flock` on a file.
pub(super) fn locked_by(file: &File) -> Option<u32> {
    let file = file.metadata().ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder_in(line, &file))
}

/// The holder in a line of `/proc/locks`, as in
/// `1: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF`, where it is about this file.
fn holder_in(line: &str, file: &Metadata) -> Option<u32> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", process, place, ..] = parts.as_slice() else {
        return None;
    };
    let inode = place.rsplit(':').next()?;
    (inode.parse() == Ok(file.ino())).then(|| process.parse().ok())?
}

/// The process that listens on a TCP port, where it may be looked at.
pub(super) fn listening_on(port: u16) -> Option<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables
        .into_iter()
        .filter_map(|t| std::fs::read_to_string(t).ok());
    let sockets: Vec<String> = tables
        .flat_map(|table| {
            let lines = table.lines().filter_map(|line| listener_in(line, port));
            lines
                .map(|inode| format!("socket:[{inode}]"))
                .collect::<Vec<_>>()
        })
        .collect();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let open = std::fs::read_dir(entry.path().join("fd"));
        let holds = open.into_iter().flatten().flatten().any(|file| {
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        });
        if holds {
            return Some(number);
        }
    }
    None
}

/// The inode of the socket in a line of `/proc/net/tcp`, where it listens on this port.
fn listener_in(line: &str, port: u16) -> Option<u64> {
    const LISTENS: &str = "0A";
    let parts: Vec<&str> = line.split_whitespace().collect();
    let (local, state) = (parts.get(1)?, parts.get(3)?);
    let local = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    match local == port && *state == LISTENS {
        true => parts.get(9)?.parse().ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_from_connections() {
        let listener = "   0: 0100007F:1E14 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        let connection = listener.replace(" 0A ", " 01 ");
        assert_eq!(listener_in(listener, 7700), Some(4242));
        assert_eq!(listener_in(listener, 7701), None);
        assert_eq!(listener_in(&connection, 7700), None);
        assert_eq!(
            listener_in("  sl  local_address rem_address   st", 7700),
            None
        );
    }

    #[test]
    fn a_lock_is_of_the_file_that_has_its_inode() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let data = file.as_file().metadata().unwrap();
        let line =
            |kind: &str, inode: u64| format!("7: {kind}  ADVISORY  WRITE 4711 fe:01:{inode} 0 EOF");
        assert_eq!(holder_in(&line("FLOCK", data.ino()), &data), Some(4711));
        assert_eq!(holder_in(&line("FLOCK", data.ino() + 1), &data), None);
        assert_eq!(holder_in(&line("POSIX", data.ino()), &data), None);
        // Somebody who waits for it.
        let waiting = format!("7: -> FLOCK ADVISORY WRITE 4711 fe:01:{} 0 EOF", data.ino());
        assert_eq!(holder_in(&waiting, &data), None);
    }
}
