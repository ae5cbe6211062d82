//! What was changed in a catalog since its names were sealed, as a file that only grows.
//!
//! A change is a line: eight hexadecimal digits of a CRC-32, a space, JSON. It is synced before it
//! counts. A line that a crash cut short, before its end, was never acknowledged: readers stop before
//! it, the next writer removes it. A whole line that is not what was written is damage, the last one
//! too; one that was written so and says something unknown is of another version.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::NewName;
use crate::error::{Error, Result};

/// A change, which is made whole or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Add(Vec<NewName>),
    Remove(Removal),
}

/// The names of an id, or one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Removal {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Length of a log in bytes; 0 where there is none yet.
pub(super) fn len(path: &Path) -> Result<u64> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
        metadata => Ok(metadata.map_err(|e| cannot_read(path, e))?.len()),
    }
}

/// The changes from a place of a log on, and the place after the last whole one.
///
/// # Errors
/// An operator's error for a log that cannot be read or is damaged.
pub(super) fn read(path: &Path, from: u64) -> Result<(Vec<Change>, u64)> {
    let bytes = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        file => {
            let mut bytes = Vec::new();
            file.and_then(|mut file| {
                file.seek(SeekFrom::Start(from))?;
                file.read_to_end(&mut bytes)
            })
            .map_err(|e| cannot_read(path, e))?;
            bytes
        }
    };
    let mut changes = Vec::new();
    let mut at = 0;
    while let Some(line) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
            break;
        };
        let place = from + at as u64;
        let json = checked(&line[..end]).ok_or_else(|| {
            Error::operator(format!("{} is damaged at byte {place}", path.display()))
                .advice("build the catalog again from its names")
        })?;
        changes.push(serde_json::from_slice(json).map_err(|e| {
            let message = format!("{} has a change at byte {place} that", path.display());
            Error::operator_from(format!("{message} this version does not know"), e)
                .advice("use the version that wrote it, or build the catalog again from its names")
        })?);
        at += end + 1;
    }
    Ok((changes, from + at as u64))
}

/// The change of a line, where it is what was written.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (sum, json) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(json)).then_some(json)
}

/// Writes changes behind the place `end`, where the last whole one ends, and syncs them; returns
/// the place after the last.
///
/// # Errors
/// An operator's error; nothing of the changes counts then.
pub(super) fn append(path: &Path, end: u64, changes: &[Change]) -> Result<u64> {
    let cannot = |e: io::Error| Error::operator_from(format!("cannot write {}", path.display()), e);
    let mut lines = Vec::new();
    for change in changes {
        let json = serde_json::to_vec(change)
            .map_err(|e| Error::Bug(format!("a change does not serialise: {e}")))?;
        lines.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
        lines.extend_from_slice(&json);
        lines.push(b'\n');
    }
    let new = !path.exists();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(cannot)?;
    let written = file
        .set_len(end)
        .and_then(|()| file.seek(SeekFrom::Start(end)))
        .and_then(|_| file.write_all(&lines))
        .and_then(|()| file.sync_all());
    if let Err(e) = written {
        // As much of it as was written must not be taken for a change later.
        let _ = file.set_len(end);
        return Err(cannot(e));
    }
    if new {
        crate::index::sync_parent(path)?;
    }
    Ok(end + lines.len() as u64)
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::operator_from(format!("cannot read {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str) -> Change {
        Change::Add(vec![NewName {
            name: name.into(),
            ..NewName::default()
        }])
    }

    #[test]
    fn a_log_cut_anywhere_gives_the_changes_before_the_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = append(&path, 0, &[add("one")]).unwrap();
        let all = append(&path, first, &[add("two"), add("three")]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, all);
        let whole: Vec<usize> = (0..=bytes.len())
            .filter(|&at| at == 0 || bytes[at - 1] == b'\n')
            .collect();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (changes, end) = read(&path, 0).unwrap();
            let count = whole.iter().filter(|&&end| end <= cut).count() - 1;
            assert_eq!(changes.len(), count, "cut at {cut}");
            assert_eq!(end, whole[count] as u64);
            // What was cut short is gone when the next change comes.
            append(&path, end, &[add("four")]).unwrap();
            assert_eq!(read(&path, 0).unwrap().0.len(), count + 1);
        }
    }

    #[test]
    fn a_log_changed_in_the_middle_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, 0, &[add("one"), add("two")]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(read(&path, 0), Err(Error::Operator(_))));
    }

    #[test]
    fn a_last_line_that_is_whole_is_never_taken_for_one_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = append(&path, 0, &[add("one")]).unwrap() as usize;
        append(&path, first as u64, &[add("two")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in first..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let error = read(&path, 0).unwrap_err();
            assert!(error.to_string().contains("damaged"), "byte {at}: {error}");
        }
        // What a later version may write.
        let json = br#"{"rename":{"id":"q1"}}"#;
        let line = format!("{:08x} ", crc32fast::hash(json)).into_bytes();
        let bytes = [&whole[..], &line, json, b"\n"].concat();
        std::fs::write(&path, &bytes).unwrap();
        let error = read(&path, 0).unwrap_err();
        assert!(matches!(error, Error::Operator(_)));
        assert!(error.to_string().contains("does not know"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
