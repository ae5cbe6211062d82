//! The names of a catalog that are sealed in a file.
//!
//! A name has a **number**: names are in the order of the nodes of the trie that they end at,
//! several that are spelled alike (in the tokenizer's eyes) next to each other.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::column::Column;
use super::file::{self, Part, Sections, Unusable};
use super::texts::{TextReader, Texts};
use super::trie::{BitBuilder, Bits, Columns, Shape, Trie};
use super::{Alias, NameRecord};
use crate::error::{Error, Result};

/// What a file says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub trie: Shape,
    pub names: usize,
    pub aliases: Option<AliasShape>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct AliasShape {
    pub trie: Shape,
    pub postings: usize,
}

/// Which names begin a new spelling: numbers of a trie's sequences to ranges of what they have.
pub(super) struct Groups(Bits);

impl Groups {
    pub(super) fn new(bits: BitBuilder) -> Groups {
        Groups(bits.finish())
    }

    fn open(part: &Part<'_>, groups: usize, len: usize) -> Option<Groups> {
        let bits = Bits::new(
            part.words("words")?,
            part.wide("counts")?,
            part.wide("samples")?,
            len,
            groups,
        )?;
        Some(Groups(bits))
    }

    pub(super) fn columns(&self) -> [(&'static str, &[u8]); 3] {
        self.0.columns()
    }

    #[inline]
    pub(super) fn range(&self, group: u32) -> std::ops::Range<u32> {
        let start = self.0.select(group as usize);
        start as u32..self.0.next_one(start + 1) as u32
    }
}

/// Names with the aliases that stand for them.
pub(super) struct Aliases {
    pub trie: Trie,
    pub groups: Groups,
    /// Numbers of names, the one that is meant most often first.
    pub names: Column<u32>,
    /// How often each is meant.
    pub counts: Column<u32>,
}

/// Names in a file.
pub(super) struct Sealed {
    pub trie: Trie,
    groups: Groups,
    texts: Texts,
    /// Ids where they are not the names; an empty one is the name.
    ids: Option<Texts>,
    /// By ascending hash of the ids: the hashes, and the numbers of the names.
    hashes: Column<u32>,
    hashed: Column<u32>,
    descriptions: Option<Texts>,
    popularities: Column<f32>,
    aliases: Option<Aliases>,
    len: usize,
    bytes: u64,
}

/// What ids are found by.
pub(super) fn hash_of(id: &str) -> u32 {
    crc32fast::hash(id.as_bytes())
}

impl Sealed {
    /// Opens a file, once it has been found to be what was written.
    pub(super) fn open(path: &Path) -> Result<Sealed, Unusable> {
        let file::Opened { about, sections } = file::open::<About>(path)?;
        assemble(&about, &sections).ok_or(Unusable::Damaged("sections do not fit each other"))
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Size of the file in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the file that are not mapped but read when they are asked for.
    pub(super) fn unmapped_bytes(&self) -> u64 {
        let all = [
            Some(&self.texts),
            self.ids.as_ref(),
            self.descriptions.as_ref(),
        ];
        all.into_iter().flatten().map(Texts::packed_bytes).sum()
    }

    /// The names that are spelled by a sequence of the trie.
    pub(super) fn names_of(&self, sequence: u32) -> std::ops::Range<u32> {
        self.groups.range(sequence)
    }

    /// What is known of a name.
    pub(super) fn record(&self, number: u32) -> Result<Option<NameRecord>> {
        let read = |texts: &Texts| texts.get(number).map_err(unreadable);
        let Some(name) = read(&self.texts)? else {
            return Ok(None);
        };
        let optional = |texts: &Option<Texts>| texts.as_ref().map(read).transpose();
        let id = optional(&self.ids)?.flatten();
        let description = optional(&self.descriptions)?.flatten();
        Ok(Some(self.put_together(number, name, id, description)))
    }

    fn put_together(
        &self,
        number: u32,
        name: String,
        id: Option<String>,
        description: Option<String>,
    ) -> NameRecord {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        NameRecord {
            id: filled(id).unwrap_or_else(|| name.clone()),
            name,
            description: filled(description),
            popularity: self.popularity(number),
        }
    }

    /// How popular a name is, where that is known.
    pub(super) fn popularity(&self, number: u32) -> Option<f32> {
        let popularity = self.popularities.get(number as usize).copied();
        popularity.filter(|popularity| !popularity.is_nan())
    }

    /// Whether ids are something else than names.
    pub(super) fn has_ids(&self) -> bool {
        self.ids.is_some()
    }

    /// Numbers of names whose id may be this one; none where ids are names.
    pub(super) fn maybe_of_id(&self, id: &str) -> &[u32] {
        let hash = hash_of(id);
        let start = self.hashes.partition_point(|&other| other < hash);
        let equal = self.hashes[start..].partition_point(|&other| other == hash);
        self.hashed.get(start..start + equal).unwrap_or_default()
    }

    /// The trie of aliases and what they stand for.
    pub(super) fn aliases(&self) -> Option<&Aliases> {
        self.aliases.as_ref()
    }

    /// Reads many records.
    pub(super) fn reader(&self) -> RecordReader<'_> {
        RecordReader {
            names: self,
            texts: self.texts.reader(),
            ids: self.ids.as_ref().map(Texts::reader),
            descriptions: self.descriptions.as_ref().map(Texts::reader),
        }
    }
}

impl Aliases {
    /// What the alias of a number stands for.
    pub(super) fn of(&self, sequence: u32) -> impl Iterator<Item = Alias> + '_ {
        self.groups.range(sequence).filter_map(|at| {
            Some(Alias {
                name: *self.names.get(at as usize)?,
                count: *self.counts.get(at as usize)?,
            })
        })
    }
}

/// See [`Sealed::reader`].
pub(super) struct RecordReader<'a> {
    names: &'a Sealed,
    texts: TextReader<'a>,
    ids: Option<TextReader<'a>>,
    descriptions: Option<TextReader<'a>>,
}

impl RecordReader<'_> {
    /// As [`Sealed::record`].
    pub(super) fn get(&mut self, number: u32) -> Result<Option<NameRecord>> {
        let Some(name) = self.texts.get(number).map_err(unreadable)? else {
            return Ok(None);
        };
        let optional = |texts: &mut Option<TextReader<'_>>| {
            let text = texts
                .as_mut()
                .map(|texts| texts.get(number).map_err(unreadable));
            text.transpose().map(Option::flatten)
        };
        let id = optional(&mut self.ids)?;
        let description = optional(&mut self.descriptions)?;
        Ok(Some(self.names.put_together(number, name, id, description)))
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::operator_from("cannot read names of the catalog", error)
        .advice("build the catalog again from its names")
}

fn assemble(about: &About, sections: &Sections) -> Option<Sealed> {
    let texts = |name: &str| {
        let part = Part(sections, name);
        let packed = sections.range(&format!("{name}.packed"))?;
        Texts::new(
            sections.file.clone(),
            packed.start as u64,
            packed.len() as u64,
            part.wide("firsts")?,
            part.words("ends")?,
        )
    };
    let optional = |name: &str| match sections.range(&format!("{name}.packed")) {
        None => Some(None),
        Some(_) => texts(name).map(Some),
    };
    let trie = Trie::open(about.trie, &Part(sections, "trie"))?;
    let aliases = match about.aliases {
        None => None,
        Some(shape) => {
            let trie = Trie::open(shape.trie, &Part(sections, "aliases"))?;
            Some(Aliases {
                groups: Groups::open(&Part(sections, "alias_groups"), trie.len(), shape.postings)?,
                names: sections.column("alias_names")?,
                counts: sections.column("alias_counts")?,
                trie,
            })
        }
    };
    let sealed = Sealed {
        groups: Groups::open(&Part(sections, "groups"), trie.len(), about.names)?,
        trie,
        texts: texts("names")?,
        ids: optional("ids")?,
        hashes: sections.column("hashes")?,
        hashed: sections.column("hashed")?,
        descriptions: optional("descriptions")?,
        popularities: sections.column("popularities")?,
        aliases,
        len: about.names,
        bytes: sections.bytes(),
    };
    let postings = |aliases: &Aliases| {
        let shape = about.aliases.map_or(0, |shape| shape.postings);
        aliases.names.len() == shape && aliases.counts.len() == shape
    };
    let fits = sealed.hashes.len() == sealed.hashed.len()
        && [0, about.names].contains(&sealed.popularities.len())
        && sealed.aliases.as_ref().is_none_or(postings);
    fits.then_some(sealed)
}
