//! What a load reads: files, globs, folders and URLs, as a list in a fixed order.

use std::collections::HashSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Format;
use super::remote::{self, Object};
use super::text::open_file;
use crate::error::{Code, Error, Problem, Result};
use crate::objects;

/// What tells one state of a file or object from another, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// The path as it was found, or the URL.
    pub location: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed last, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<DateTime<Utc>>,
    /// What an object store calls this version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl Fingerprint {
    pub(super) fn of_file(name: &str, metadata: &Metadata) -> Fingerprint {
        Fingerprint {
            location: name.to_string(),
            bytes: metadata.len(),
            modified: metadata.modified().ok().map(DateTime::from),
            etag: None,
        }
    }
}

/// One file or object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Input {
    fingerprint: Fingerprint,
}

impl Input {
    /// A plain file.
    ///
    /// # Errors
    /// `invalid_file` where there is none, a folder, or a name that is not UTF-8; an
    /// operator's error where it cannot be looked at.
    pub fn file(path: &Path) -> Result<Input> {
        let (_, metadata) = open_file(path)?;
        let name = path.to_str().ok_or_else(|| {
            invalid(&path.to_string_lossy(), "the name is not UTF-8").expected("a name in UTF-8")
        })?;
        Ok(Input {
            fingerprint: Fingerprint::of_file(name, &metadata),
        })
    }

    fn object(object: &Object) -> Input {
        Input {
            fingerprint: object.fingerprint(),
        }
    }

    /// The same by its absolute path, where it was named from a folder.
    ///
    /// # Errors
    /// `invalid_file` where the folder's name is not UTF-8.
    pub fn below(mut self, folder: &Path) -> Result<Input> {
        if !objects::is_url(self.location()) {
            let path = folder.join(self.location());
            let name = path.to_str().ok_or_else(|| {
                invalid(&path.to_string_lossy(), "the name is not UTF-8")
                    .expected("a name in UTF-8")
            })?;
            self.fingerprint.location = name.to_string();
        }
        Ok(self)
    }

    /// The same as it is now.
    ///
    /// # Errors
    /// `invalid_file` where it is gone; operator errors of the disk, the network and the store.
    pub fn again(&self) -> Result<Input> {
        match objects::is_url(self.location()) {
            true => Ok(Input::object(&Object::open(self.location())?)),
            false => Input::file(Path::new(self.location())),
        }
    }

    /// Whether it is still what it was.
    ///
    /// # Errors
    /// `input_changed` where `now` is not the same state of it.
    pub(super) fn check_same(&self, now: &Fingerprint) -> Result<(), Problem> {
        let then = &self.fingerprint;
        // What a list did not tell of it, a look at it may.
        let is_same = now.bytes == then.bytes
            && (then.etag.is_none() || now.etag == then.etag)
            && (then.modified.is_none() || now.modified == then.modified);
        match is_same {
            true => Ok(()),
            false => Err(self.changed(format!(
                "{} bytes now, {} then, or another time of change",
                now.bytes, then.bytes
            ))),
        }
    }

    /// That it is not any more what it was.
    pub(super) fn changed(&self, found: String) -> Problem {
        Problem::new(
            Code::InputChanged,
            format!("{}: the file was changed meanwhile", self.location()),
        )
        .found(found)
        .expected("the file as it was, or a new job; what is loaded is not loaded twice")
    }

    /// The path or URL, as rejects and messages name it.
    pub fn location(&self) -> &str {
        &self.fingerprint.location
    }

    /// Its length when it was listed.
    pub fn bytes(&self) -> u64 {
        self.fingerprint.bytes
    }

    /// What tells this state of it from a later one: two inputs are equal where they are.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// The files that names stand for, in the order of the names, and those of one name in the
/// order of their paths. A name is
///
/// * a file;
/// * a folder: all files in it, at any depth, whose names tell a format;
/// * a URL: `s3://BUCKET/KEY` (`gs://`, `az://`), of an object, of the prefix that a folder is,
///   or with a pattern; `https://HOST/PATH` of one file; `file:///PATH`;
/// * a pattern: `*` and `?` stand for parts of a name, `**` for any number of folders,
///   `{a,b}` and `[a-z]` for a choice.
///
/// What begins with `.` or `_` is left out of folders and patterns, as in every tool that
/// writes `_SUCCESS` beside its files. Folders that are symbolic links are not entered. What
/// is named twice is read once, where it is named first.
///
/// With a `format`, folders give every file, whatever its name.
///
/// # Errors
/// `invalid_file` for a name that stands for nothing, or a pattern that is none; operator
/// errors of the disk.
pub fn resolve(names: &[String], format: Option<Format>) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for name in names {
        let found = match objects::is_url(name) {
            true => match path_of(name)? {
                Some(path) => local(&path, format)?,
                None => remote(name, format)?,
            },
            false => local(name, format)?,
        };
        inputs.extend(found);
    }
    let mut seen = HashSet::new();
    inputs.retain(|input| seen.insert(input.location().to_string()));
    Ok(inputs)
}

fn local(name: &str, format: Option<Format>) -> Result<Vec<Input>> {
    let path = Path::new(name);
    if path.is_dir() {
        let fits = |file: &Path| format.is_some() || Format::of(file).is_some();
        let found = walk(path, &fits)?;
        return match found.is_empty() {
            false => Ok(found),
            true => Err(invalid(name, "there is nothing to load in this folder")
                .found("no file whose name tells a format")
                .expected(format!(
                    "{}; Markdown, source code and other text load by --folder {name}",
                    Format::ENDINGS
                ))
                .into()),
        };
    }
    // A file may be called like a pattern.
    let Some((base, pattern)) = pattern(name).filter(|_| !path.exists()) else {
        return Ok(vec![Input::file(path)?]);
    };
    let matcher = matcher(name, &pattern)?;
    let fits = |file: &Path| {
        let below = file.strip_prefix(&base).unwrap_or(file);
        matcher.is_match(below)
    };
    let found = match base.is_dir() {
        true => walk(&base, &fits)?,
        false => Vec::new(),
    };
    match found.is_empty() {
        false => Ok(found),
        true => Err(invalid(name, "no file matches")
            .found("nothing there")
            .expected("a pattern that files match")
            .into()),
    }
}

/// The path that a `file:` URL means, in whatever case it is written; None for other names.
///
/// # Errors
/// `invalid_configuration` for one that is no file's.
pub(crate) fn path_of(name: &str) -> Result<Option<String>> {
    let is_file = name
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("file:"));
    if !is_file {
        return Ok(None);
    }
    // A pattern is none of a URL's own characters.
    let path = Url::parse(&name.replace('?', "%3F"))
        .ok()
        .and_then(|url| url.to_file_path().ok())
        .and_then(|path| path.to_str().map(str::to_string));
    path.map(Some).ok_or_else(|| {
        Problem::new(Code::InvalidConfiguration, "this URL is no file's")
            .field("source")
            .found(name)
            .expected("file:///PATH, in UTF-8")
            .into()
    })
}

fn remote(name: &str, format: Option<Format>) -> Result<Vec<Input>> {
    // Behind the server: `[` and `]` may stand around its address.
    let server = name.find("://").map_or(0, |at| at + 3);
    let path = name[server..]
        .find('/')
        .map_or(name.len(), |at| server + at);
    let is_web = name.starts_with("http");
    if let Some((base, pattern)) = pattern(&name[path..]).filter(|_| !is_web) {
        let base = format!("{}{}", &name[..path], base.display());
        let matcher = matcher(name, &pattern)?;
        return listed(name, &base, &|below| matcher.is_match(below));
    }
    if !name.ends_with('/') {
        match Object::open(name) {
            Err(Error::User(problem)) if problem.code == Code::InvalidFile && !is_web => {}
            found => return Ok(vec![Input::object(&found?)]),
        }
    }
    listed(name, name, &|below| {
        format.is_some() || Format::of(Path::new(below)).is_some()
    })
}

/// The objects below a folder that fit.
fn listed(name: &str, folder: &str, fits: &dyn Fn(&str) -> bool) -> Result<Vec<Input>> {
    let is_shown = |below: &str| !below.split('/').any(is_hidden);
    let found: Vec<Input> = remote::list(folder)?
        .iter()
        .filter(|(below, _)| is_shown(below) && fits(below))
        .map(|(_, object)| Input::object(object))
        .collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(invalid(name, "there is no object to load")
            .found("nothing there, or no key that tells a format")
            .expected("an object, a prefix of some, or a pattern that keys match")
            .into()),
    }
}

fn matcher(name: &str, pattern: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| {
        invalid(name, "this is no pattern")
            .found(error.kind())
            .expected("*, ?, **, {a,b} and [a-z]")
    })?;
    Ok(glob.compile_matcher())
}

/// The folder below which a pattern is looked for, and the pattern below it; None where it is
/// none.
fn pattern(name: &str) -> Option<(PathBuf, String)> {
    let first = name.find(['*', '?', '[', '{'])?;
    Some(match name[..first].rfind('/') {
        Some(0) => (PathBuf::from("/"), name[1..].to_string()),
        Some(slash) => (PathBuf::from(&name[..slash]), name[slash + 1..].to_string()),
        None => (PathBuf::from("."), name.to_string()),
    })
}

/// The files below a folder that fit, in the order of their paths.
fn walk(folder: &Path, fits: &dyn Fn(&Path) -> bool) -> Result<Vec<Input>> {
    let mut found = Vec::new();
    let entries = WalkBuilder::new(folder)
        .standard_filters(false)
        .filter_entry(|entry| {
            entry.depth() == 0 || !is_hidden(&entry.file_name().to_string_lossy())
        })
        .sort_by_file_path(Path::cmp)
        .build();
    for entry in entries {
        let entry = entry.map_err(|error| {
            Error::operator_from(format!("cannot list {}", folder.display()), error)
        })?;
        // `./a` is called `a`, as whoever names a pattern calls it.
        let path = entry.path();
        let path = path.strip_prefix(".").unwrap_or(path);
        // Through a link to a file, too.
        if entry.depth() > 0 && fits(path) && path.is_file() {
            found.push(Input::file(path)?);
        }
    }
    Ok(found)
}

/// Whether folders and patterns leave it out.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn invalid(name: &str, message: &str) -> Problem {
    Problem::new(Code::InvalidFile, format!("{name}: {message}"))
}
