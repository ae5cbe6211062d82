//! The file of a job's rejects, held to what its record knows of it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::index::sync_parent;
use crate::ingest::lines_of;

/// Lines that are on the disk before the record says so.
pub(super) struct RejectsFile {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl RejectsFile {
    /// Goes on behind the first `bytes` bytes; what is behind them was written by a process
    /// that ended before it could note so, and is taken off. Without any the file comes into
    /// being with the first line, in place of one that is there. Where it has been removed
    /// since, the lines to come are in a new one.
    pub(super) fn open(path: &Path, bytes: u64) -> Result<RejectsFile> {
        let path = &lines_of(path);
        let mut rejects = RejectsFile {
            path: path.clone(),
            file: None,
            bytes: 0,
        };
        if bytes == 0 {
            return Ok(rejects);
        }
        let opened = File::options().write(true).open(path).and_then(|mut file| {
            if file.metadata()?.len() < bytes {
                return Ok(None);
            }
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(Some(file))
        });
        match opened {
            Ok(Some(file)) => {
                rejects.file = Some(file);
                rejects.bytes = bytes;
            }
            Ok(None) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(rejects.failed(error)),
        }
        Ok(rejects)
    }

    /// Adds lines and waits until they are on the disk; how long the file is then.
    pub(super) fn add(&mut self, lines: &[u8]) -> Result<u64> {
        if lines.is_empty() {
            return Ok(self.bytes);
        }
        let is_new = self.file.is_none();
        let added = (|| {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(File::create(&self.path)?),
            };
            file.write_all(lines)?;
            file.sync_data()
        })();
        added.map_err(|error| self.failed(error))?;
        if is_new {
            // Else a power cut may leave a record that knows of it, and no file.
            sync_parent(&self.path)?;
        }
        self.bytes += lines.len() as u64;
        Ok(self.bytes)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let what = format!("cannot write the rejects file {}", self.path.display());
        Error::operator_from(what, error).advice("name another file, or make room on that disk")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_noted_is_taken_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejects.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        let mut rejects = RejectsFile::open(&path, 0).unwrap();
        assert_eq!(rejects.add(b"").unwrap(), 0);
        assert_eq!(std::fs::read(&path).unwrap(), b"old\n");
        assert_eq!(rejects.add(b"1\n").unwrap(), 2);
        assert_eq!(rejects.add(b"2\n").unwrap(), 4);
        let mut rejects = RejectsFile::open(&path, 2).unwrap();
        assert_eq!(rejects.add(b"3\n").unwrap(), 4);
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n3\n");
        std::fs::remove_file(&path).unwrap();
        let mut rejects = RejectsFile::open(&path, 4).unwrap();
        assert_eq!(rejects.add(b"4\n").unwrap(), 2);
        let mut rejects = RejectsFile::open(&dir.path().join("no/such"), 0).unwrap();
        assert!(matches!(rejects.add(b"x"), Err(Error::Operator(_))));
    }
}
