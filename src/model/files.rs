//! Reading a model folder's files: what is missing or broken is named.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{Code, Error, Problem, Result};

/// Most bytes that a compressed file may stand for.
const MOST_UNPACKED: u64 = 4 << 30;

/// A model folder's problem, naming the file (relative to the folder) it is in.
pub(crate) fn invalid(file: &str, message: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidModel, message).field(file)
}

/// The error for a file of a model folder that could not be read: missing files are
/// the caller's mistake, everything else is the machine's.
pub(crate) fn unreadable(folder: &Path, file: &str, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return invalid(
            file,
            format!("the model folder {} lacks a file", folder.display()),
        )
        .found("no such file")
        .expected(format!("a readable {file}"))
        .into();
    }
    Error::operator_from(
        format!("cannot read {}", folder.join(file).display()),
        error,
    )
    .advice("check the permissions of the model folder and the disk")
}

/// Whole contents of a file of the folder.
pub(crate) fn read(folder: &Path, file: &str) -> Result<Vec<u8>> {
    std::fs::read(folder.join(file)).map_err(|e| unreadable(folder, file, e))
}

/// Whole contents of a file of the folder that may lie there compressed, as `NAME.gz`.
///
/// # Errors
/// InvalidModel where neither is there, or both are, or the compressed one is damaged or larger than 4 GiB.
pub(crate) fn read_packed(folder: &Path, file: &str) -> Result<Vec<u8>> {
    let packed = format!("{file}.gz");
    match (folder.join(file).is_file(), folder.join(&packed).is_file()) {
        (_, false) => return read(folder, file),
        (true, true) => {
            return Err(
                invalid(file, "it is there twice, and which is meant cannot be told")
                    .found(format!("{file} and {packed}"))
                    .expected("one of them")
                    .into(),
            );
        }
        (false, true) => {}
    }
    let bytes = read(folder, &packed)?;
    let mut contents = Vec::new();
    let unpacked = MultiGzDecoder::new(bytes.as_slice())
        .take(MOST_UNPACKED + 1)
        .read_to_end(&mut contents);
    let broken = |why: String| Error::from(invalid(&packed, "it cannot be unpacked").found(why));
    match unpacked {
        Ok(length) if length as u64 > MOST_UNPACKED => Err(broken("more than 4 GiB".into())),
        Ok(_) => Ok(contents),
        Err(e) => Err(broken(e.to_string())),
    }
}

/// A JSON file of the folder; unknown keys are the exporter's business.
pub(crate) fn read_json<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<T> {
    let bytes = read(folder, file)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        invalid(
            file,
            format!("{} is not what it should be", folder.join(file).display()),
        )
        .found(e)
        .expected("JSON as sentence-transformers writes it")
        .into()
    })
}

/// A JSON file that may be absent.
pub(crate) fn read_json_if_there<T: DeserializeOwned>(
    folder: &Path,
    file: &str,
) -> Result<Option<T>> {
    if folder.join(file).is_file() {
        read_json(folder, file).map(Some)
    } else {
        Ok(None)
    }
}

/// Lowercase hexadecimal sha256 of a file's bytes, read in chunks.
pub(crate) fn sha256_of_file(folder: &Path, file: &str) -> Result<String> {
    let wrap = |e| unreadable(folder, file, e);
    let mut reader = File::open(folder.join(file)).map_err(wrap)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0_u8; 1 << 20];
    loop {
        let read = reader.read(&mut chunk).map_err(wrap)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&chunk[..read]);
    }
}

/// Lowercase hexadecimal sha256 of bytes.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a name is the one way to spell its path: names that go by `/`, without `.`, `..`
/// and slashes that add nothing.
pub(crate) fn is_plain(name: &str) -> bool {
    let mut parts = Vec::new();
    for component in Path::new(name).components() {
        match component {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy()),
            _ => return false,
        }
    }
    !parts.is_empty() && parts.join("/") == name
}

/// Refuses a file name that would leave the model folder.
pub(crate) fn check_inside(file: &str) -> Result<()> {
    let path = Path::new(file);
    let inside = !file.is_empty()
        && path
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)));
    if inside {
        Ok(())
    } else {
        Err(invalid(file, "a model's files lie inside its folder")
            .expected("a relative path without `..`")
            .into())
    }
}
