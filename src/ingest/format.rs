//! File formats, and how a file's name tells them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Problem};

/// What a file holds, apart from its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet, any of its codecs.
    Parquet,
    /// Arrow's own format, a file or a stream; Feather of version 2 is the same.
    Arrow,
    /// One JSON object to a line.
    Jsonl,
    /// One JSON array of objects, or objects one after the other; a file of lines is
    /// recognised and read as [`Format::Jsonl`].
    Json,
    /// Comma-separated values with a header row, quoted as in RFC 4180.
    Csv,
    /// The same with tabs between the values.
    Tsv,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Format; 6] = [
        Format::Parquet,
        Format::Arrow,
        Format::Jsonl,
        Format::Json,
        Format::Csv,
        Format::Tsv,
    ];

    /// The endings of names that tell a format, for messages.
    pub(super) const ENDINGS: &str = ".parquet, .arrow, .jsonl, .ndjson, .json, .csv or .tsv, the text \
         ones also with .gz or .zst; or the format named";

    /// Its spelling on the command line and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
            Format::Jsonl => "jsonl",
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
        }
    }

    /// Whether values carry their own type. Where they do not (delimited text, where
    /// every cell is a string), [`coerce`](super::coerce) reads them by the fields of
    /// the index.
    pub fn is_typed(self) -> bool {
        !matches!(self, Format::Csv | Format::Tsv)
    }

    /// Whether files are groups of rows, each of which can be read without the others.
    pub fn has_groups(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow)
    }

    /// The format by a file's name: `.parquet`, `.arrow` (`.arrows`, `.feather`, `.ipc`),
    /// `.jsonl` or `.ndjson`, `.json`, `.csv`, `.tsv`; the text ones may end in `.gz` or `.zst` too. Case does not matter. None
    /// if the name tells nothing.
    pub fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, compressed) = match Compression::of(&name) {
            Some(_) => (name.rsplit_once('.')?.0, true),
            None => (name.as_str(), false),
        };
        match stem.rsplit_once('.')?.1 {
            "parquet" | "pq" if !compressed => Some(Format::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" if !compressed => Some(Format::Arrow),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Format, Error> {
        Format::ALL
            .into_iter()
            .find(|format| format.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                Problem::new(Code::InvalidConfiguration, "there is no such file format")
                    .field("format")
                    .found(text)
                    .expected("parquet, arrow, jsonl, json, csv or tsv")
                    .into()
            })
    }
}

/// How a text file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By the name's ending, in lower case.
    pub(super) fn of(name: &str) -> Option<Compression> {
        if name.ends_with(".gz") {
            Some(Compression::Gzip)
        } else if name.ends_with(".zst") || name.ends_with(".zstd") {
            Some(Compression::Zstd)
        } else {
            None
        }
    }

    /// By the first bytes. No text starts with these: both begin with or contain a
    /// byte that UTF-8 does not allow there.
    pub(super) fn sniff(head: &[u8]) -> Option<Compression> {
        if head.starts_with(&[0x1f, 0x8b]) {
            Some(Compression::Gzip)
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Compression::Zstd)
        } else {
            None
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("a.parquet", Some(Format::Parquet)),
            ("A.JSONL", Some(Format::Jsonl)),
            ("part-0.v2.ndjson.gz", Some(Format::Jsonl)),
            ("a.json.zst", Some(Format::Json)),
            ("a.csv", Some(Format::Csv)),
            ("a.tsv.gz", Some(Format::Tsv)),
            ("a.feather", Some(Format::Arrow)),
            ("a.arrow.gz", None),
            ("a.parquet.gz", None),
            ("a.txt", None),
            ("jsonl", None),
            (".gz", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
        for format in Format::ALL {
            assert_eq!(format.as_str().parse::<Format>().unwrap(), format);
        }
        assert!("xml".parse::<Format>().is_err());
    }
}
