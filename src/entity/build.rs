//! Names into a sealed file.
//!
//! Names are tokenised, sorted by their tokens in bounded memory, and go through the builder of
//! the trie once. The trie is laid out by levels, and what is known of the names in the same
//! order: what belongs to a level is collected apart, and the levels are put one after the other.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::catalog::BuildProgress;
use super::file;
use super::sealed::{About, AliasShape, Aliases, Groups, Sealed, hash_of};
use super::sorter::Sorter;
use super::texts::{MAX_TEXT, TextsBuilder};
use super::trie::{BitBuilder, Trie, TrieBuilder};
use super::{NameRecord, NewName};
use crate::error::{Code, Error, Problem, Result};
use crate::model::NameTokenizer;

/// Names tokenised at once.
pub(super) const BATCH: usize = 8_192;
/// Bytes that sorting takes at most, of the names and of the aliases.
const MEMORY: usize = 256 << 20;
/// Most names of one catalog: their numbers take 32 bits, some of which stand for names that were
/// added.
pub(crate) const MAX_NAMES: usize = 1 << 31;

/// What names and aliases are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameLimits {
    /// Longest name, in tokens: no more than the generator writes.
    pub tokens: usize,
    /// Longest name or alias, in bytes.
    pub bytes: usize,
    /// Most aliases that come with a name.
    pub aliases: usize,
}

impl Default for NameLimits {
    fn default() -> Self {
        NameLimits {
            tokens: 128,
            bytes: 4_096,
            aliases: 1_000,
        }
    }
}

impl NameLimits {
    /// The tokens of a name.
    ///
    /// # Errors
    /// InvalidName: an empty or too long one, one with control characters, or with characters that
    /// the tokenizer does not know.
    pub fn spell(&self, tokenizer: &NameTokenizer, name: &str) -> Result<Vec<u32>> {
        let refused = |message: &str| {
            Problem::new(Code::InvalidName, message.to_owned())
                .field("name")
                .found(name.escape_debug())
        };
        if name.trim().is_empty() {
            return Err(refused("the name is empty")
                .expected("a name with at least one character that is not white space")
                .into());
        }
        if name.len() > self.bytes {
            return Err(refused("the name is too long")
                .expected(format!("at most {} bytes, not {}", self.bytes, name.len()))
                .into());
        }
        if name.chars().any(char::is_control) {
            return Err(refused("the name has control characters")
                .expected("a name without control characters")
                .into());
        }
        let tokens = tokenizer.tokens(name)?.ok_or_else(|| {
            refused("the generator cannot spell the name").expected(
                "characters that the model's tokenizer knows, and none of its special tokens",
            )
        })?;
        if tokens.is_empty() {
            return Err(refused("the tokenizer makes nothing of the name")
                .expected("a name with characters that the model's tokenizer knows")
                .into());
        }
        if tokens.len() > self.tokens {
            return Err(refused("the name is longer than the generator may write")
                .expected(format!(
                    "at most {} tokens, not {}",
                    self.tokens,
                    tokens.len()
                ))
                .into());
        }
        Ok(tokens)
    }
}

/// What a build has not taken something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedFrom {
    /// The names, with the aliases that come with them.
    Names,
    /// The aliases that come apart.
    Aliases,
}

/// A name that was not taken, and why.
#[derive(Debug)]
pub struct RejectedName {
    /// Which one, counted from 1 in the order they came, those that could not be read counted.
    pub row: u64,
    /// Of what.
    pub from: RejectedFrom,
    /// The name or alias; empty where it could not be read.
    pub name: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What became of the names and aliases of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub names: u64,
    pub spellings: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub aliases: u64,
    pub unknown_targets: u64,
}

/// Names that an alias stands for, and how often it means each.
type Postings = Vec<(u32, u32)>;

/// Collects names and aliases, and makes a file of them.
pub(super) struct Builder<'a> {
    tokenizer: &'a NameTokenizer,
    limits: NameLimits,
    narrow: bool,
    names: Sorter,
    aliases: Sorter,
    rows: u32,
    /// Rows that aliases refer to.
    referred: bool,
    has_ids: bool,
    has_descriptions: bool,
    has_popularities: bool,
    tally: Tally,
    key: Vec<u8>,
    payload: Vec<u8>,
}

/// What an alias stands for while the numbers of the names are not known.
const OF_ROW: u8 = 0;
const OF_NAME: u8 = 1;

impl<'a> Builder<'a> {
    /// A builder that keeps what does not fit into memory in `folder`.
    pub(super) fn new(folder: &Path, tokenizer: &'a NameTokenizer, limits: NameLimits) -> Self {
        Builder {
            narrow: tokenizer.vocabulary() <= 1 << 16,
            tokenizer,
            limits,
            names: Sorter::new(folder, "names", MEMORY),
            aliases: Sorter::new(folder, "aliases", MEMORY / 2),
            rows: 0,
            referred: false,
            has_ids: false,
            has_descriptions: false,
            has_popularities: false,
            tally: Tally::default(),
            key: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Adds names; those that cannot be taken go to `rejects`.
    ///
    /// # Errors
    /// An operator's error where the disk is full; LimitExceeded past [`MAX_NAMES`].
    pub(super) fn add(
        &mut self,
        batch: &[(u64, NewName)],
        rejects: &mut dyn FnMut(RejectedName) -> Result<()>,
    ) -> Result<()> {
        let (tokenizer, limits) = (self.tokenizer, self.limits);
        let spelled: Vec<_> = batch
            .par_iter()
            .with_min_len(256)
            .map(|(_, new)| {
                check_fields(new, limits).and_then(|()| limits.spell(tokenizer, &new.name))
            })
            .collect();
        for (&(row, ref new), spelled) in batch.iter().zip(spelled) {
            match spelled {
                Err(Error::User(problem)) => {
                    self.tally.rejected += 1;
                    rejects(RejectedName {
                        row,
                        from: RejectedFrom::Names,
                        name: new.name.clone(),
                        problem: *problem,
                    })?;
                }
                Err(error) => return Err(error),
                Ok(tokens) => {
                    self.put(&tokens, new)?;
                    self.put_aliases(new, row, rejects)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a name whose tokens are known.
    pub(super) fn put(&mut self, tokens: &[u32], new: &NewName) -> Result<()> {
        if self.rows as usize >= MAX_NAMES {
            return Err(
                Problem::new(Code::LimitExceeded, "the catalog has too many names")
                    .expected(format!("at most {MAX_NAMES}"))
                    .into(),
            );
        }
        self.set_key(tokens);
        self.payload.clear();
        let id = new.id.as_deref().filter(|&id| id != new.name).unwrap_or("");
        let description = new.description.as_deref().unwrap_or("");
        self.has_ids |= !id.is_empty();
        self.has_descriptions |= !description.is_empty();
        self.has_popularities |= new.popularity.is_some();
        for text in [&new.name, id] {
            self.payload
                .extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.payload.extend_from_slice(text.as_bytes());
        }
        // Of duplicates the first row comes first, and counts.
        self.payload.extend_from_slice(&self.rows.to_be_bytes());
        let popularity = new.popularity.unwrap_or(f32::NAN);
        self.payload.extend_from_slice(&popularity.to_le_bytes());
        self.payload.extend_from_slice(description.as_bytes());
        self.rows += 1;
        self.names
            .push(&self.key, &self.payload)
            .map_err(cannot_sort)
    }

    fn put_aliases(
        &mut self,
        new: &NewName,
        row: u64,
        rejects: &mut dyn FnMut(RejectedName) -> Result<()>,
    ) -> Result<()> {
        for alias in &new.aliases {
            match self.limits.spell(self.tokenizer, alias) {
                Ok(tokens) => {
                    self.referred = true;
                    // That of the name that was put last.
                    self.put_alias(&tokens, OF_ROW, self.rows - 1, 1)?;
                }
                Err(Error::User(problem)) => {
                    self.tally.rejected += 1;
                    rejects(RejectedName {
                        row,
                        from: RejectedFrom::Names,
                        name: alias.clone(),
                        problem: problem.field("aliases"),
                    })?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn put_alias(&mut self, tokens: &[u32], kind: u8, of: u32, count: u32) -> Result<()> {
        self.set_key(tokens);
        let mut payload = [0; 9];
        payload[0] = kind;
        payload[1..5].copy_from_slice(&of.to_be_bytes());
        payload[5..].copy_from_slice(&count.to_be_bytes());
        self.aliases.push(&self.key, &payload).map_err(cannot_sort)
    }

    fn set_key(&mut self, tokens: &[u32]) {
        self.key.clear();
        for &token in tokens {
            match self.narrow {
                true => self.key.extend_from_slice(&(token as u16).to_be_bytes()),
                false => self.key.extend_from_slice(&token.to_be_bytes()),
            }
        }
    }

    /// Sorts the names and builds the trie; aliases by name can be added then.
    pub(super) fn sort_names(
        mut self,
        folder: &Path,
        progress: &mut dyn FnMut(BuildProgress),
    ) -> Result<Named<'a>> {
        let empty = Sorter::new(folder, "names", 0);
        let mut sorted = std::mem::replace(&mut self.names, empty)
            .finish()
            .map_err(cannot_sort)?;
        let mut named = Levels::default();
        // By row, where aliases need it: level, and number within the level.
        let mut places = vec![(0_u16, 0_u32); if self.referred { self.rows as usize } else { 0 }];
        // Of names that are spelled alike, which is which.
        let mut twins: Vec<(Twin, (u16, u32))> = Vec::new();
        let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
        let mut came = 0;
        while let Some((key, payload)) = sorted.next().map_err(cannot_sort)? {
            if came % (BATCH as u64) == 0 {
                progress(BuildProgress::Sorted(came));
            }
            came += 1;
            let row = Row::decode(&payload)?;
            let new_spelling = last.as_ref().is_none_or(|(before, _)| *before != key);
            let same = !new_spelling
                && last
                    .as_ref()
                    .is_some_and(|(_, before)| row.is_of(before, &payload));
            if same {
                self.tally.duplicates += 1;
            } else {
                if new_spelling {
                    named.spell(&tokens_of(&key, self.narrow));
                    self.tally.spellings += 1;
                }
                let place = named.last_place();
                if let (false, Some((_, before))) = (new_spelling, &last)
                    && twins.last().is_none_or(|(_, noted)| *noted != place)
                {
                    twins.push((Row::decode(before)?.twin(), place));
                }
                let flags = (self.has_ids, self.has_descriptions, self.has_popularities);
                named.push(&row, new_spelling, flags).map_err(cannot_sort)?;
                self.tally.names += 1;
                if !new_spelling {
                    twins.push((row.twin(), named.last_place()));
                }
            }
            if let Some(place) = places.get_mut(row.row as usize) {
                *place = named.last_place();
            }
            last = Some((key, payload));
        }
        drop(sorted);
        let (sealed, starts) = named.finish(self.narrow).map_err(cannot_sort)?;
        let number =
            |(level, number): (u16, u32)| starts.get(level as usize).copied().unwrap_or(0) + number;
        Ok(Named {
            builder: self,
            sealed,
            places: places.into_iter().map(number).collect(),
            twins: twins
                .into_iter()
                .map(|(twin, place)| (twin, number(place)))
                .collect(),
        })
    }
}

pub(super) fn check_fields(new: &NewName, limits: NameLimits) -> Result<()> {
    if let Some(id) = &new.id
        && (id.trim().is_empty() || id.len() > limits.bytes || id.chars().any(char::is_control))
    {
        return Err(Problem::new(Code::InvalidName, "the id cannot be used")
            .field("id")
            .found(id.escape_debug())
            .expected(format!(
                "1 to {} bytes without control characters",
                limits.bytes
            ))
            .into());
    }
    if new.aliases.len() > limits.aliases {
        return Err(
            Problem::new(Code::InvalidName, "the name has too many aliases")
                .field("aliases")
                .found(new.aliases.len())
                .expected(format!("at most {}", limits.aliases))
                .into(),
        );
    }
    if new
        .description
        .as_ref()
        .is_some_and(|text| text.len() > MAX_TEXT)
    {
        return Err(
            Problem::new(Code::InvalidName, "the description is too long")
                .field("description")
                .expected(format!("at most {MAX_TEXT} bytes"))
                .into(),
        );
    }
    if let Some(popularity) = new.popularity
        && !(popularity.is_finite() && popularity >= 0.0)
    {
        return Err(
            Problem::new(Code::InvalidName, "the popularity cannot be used")
                .field("popularity")
                .found(popularity)
                .expected("a finite number, 0 or more")
                .into(),
        );
    }
    Ok(())
}

fn cannot_sort(error: io::Error) -> Error {
    Error::operator_from("cannot sort the names of a catalog", error)
}

fn tokens_of(key: &[u8], narrow: bool) -> Vec<u32> {
    match narrow {
        true => key
            .chunks_exact(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .collect(),
        false => key
            .chunks_exact(4)
            .map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
            .collect(),
    }
}

/// A name as it comes out of the sorter.
struct Row<'a> {
    name: &'a str,
    id: &'a str,
    description: &'a str,
    row: u32,
    popularity: f32,
    /// Bytes of name and id, which tell names apart.
    identity: usize,
}

/// Name and id.
type Twin = (String, String);

impl<'a> Row<'a> {
    fn twin(&self) -> Twin {
        let id = if self.id.is_empty() {
            self.name
        } else {
            self.id
        };
        (self.name.to_owned(), id.to_owned())
    }

    fn decode(payload: &'a [u8]) -> Result<Row<'a>> {
        let bug = || Error::Bug("a sorted name cannot be read".into());
        let mut at = 0;
        let mut text = || {
            let length = payload.get(at..at + 4)?;
            let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
            let text = payload.get(at + 4..at + 4 + length)?;
            at += 4 + length;
            Some((std::str::from_utf8(text).ok()?, at))
        };
        let (name, _) = text().ok_or_else(bug)?;
        let (id, identity) = text().ok_or_else(bug)?;
        let rest = payload.get(identity..).unwrap_or_default();
        let ([a, b, c, d, e, f, g, h], description) = rest.split_first_chunk().ok_or_else(bug)?;
        Ok(Row {
            name,
            id,
            description: std::str::from_utf8(description).map_err(|_| bug())?,
            row: u32::from_be_bytes([*a, *b, *c, *d]),
            popularity: f32::from_le_bytes([*e, *f, *g, *h]),
            identity,
        })
    }

    /// Whether another payload is of the same name and id.
    fn is_of(&self, other: &[u8], payload: &[u8]) -> bool {
        other.get(..self.identity) == payload.get(..self.identity)
    }
}

/// What is known of the names, by the level that they end on.
#[derive(Default)]
struct Levels {
    trie: TrieBuilder,
    levels: Vec<LevelNames>,
    level: usize,
}

#[derive(Default)]
struct LevelNames {
    groups: BitBuilder,
    texts: TextsBuilder,
    ids: TextsBuilder,
    hashes: Vec<(u32, u32)>,
    descriptions: TextsBuilder,
    popularities: Vec<f32>,
    len: u32,
}

/// What there is of a file before the aliases.
pub(super) struct Parts {
    trie: Trie,
    groups: Groups,
    all: LevelNames,
}

impl Levels {
    fn spell(&mut self, tokens: &[u32]) {
        self.level = self.trie.push(tokens);
        if self.levels.len() <= self.level {
            self.levels.resize_with(self.level + 1, LevelNames::default);
        }
    }

    fn push(
        &mut self,
        row: &Row<'_>,
        new_spelling: bool,
        (ids, descriptions, popularities): (bool, bool, bool),
    ) -> io::Result<()> {
        let level = &mut self.levels[self.level];
        level.groups.push(new_spelling);
        level.texts.push(row.name)?;
        if ids {
            level.ids.push(row.id)?;
            let id = if row.id.is_empty() { row.name } else { row.id };
            level.hashes.push((hash_of(id), level.len));
        }
        if descriptions {
            level.descriptions.push(row.description)?;
        }
        if popularities {
            level.popularities.push(row.popularity);
        }
        level.len += 1;
        Ok(())
    }

    /// Level and number within it of the name that was added last.
    fn last_place(&self) -> (u16, u32) {
        let len = self.levels.get(self.level).map_or(0, |level| level.len);
        (self.level as u16, len.saturating_sub(1))
    }

    /// Everything in the order of the levels, and where each of them begins.
    fn finish(self, narrow: bool) -> io::Result<(Parts, Vec<u32>)> {
        let mut all = LevelNames::default();
        let mut starts = Vec::new();
        for level in self.levels {
            starts.push(all.len);
            all.groups.append(&level.groups);
            all.texts.append(level.texts)?;
            all.ids.append(level.ids)?;
            let hashes = level.hashes.into_iter();
            all.hashes
                .extend(hashes.map(|(hash, number)| (hash, number + all.len)));
            all.descriptions.append(level.descriptions)?;
            all.popularities.extend(level.popularities);
            all.len += level.len;
        }
        all.hashes.par_sort_unstable();
        let groups = Groups::new(std::mem::take(&mut all.groups));
        let trie = self.trie.finish(narrow);
        Ok((Parts { trie, groups, all }, starts))
    }
}

/// Names that are sorted; aliases may still be added.
pub(super) struct Named<'a> {
    builder: Builder<'a>,
    sealed: Parts,
    /// Numbers of the names by their rows, where aliases refer to rows.
    places: Vec<u32>,
    /// Numbers of the names that share their spelling with another.
    twins: HashMap<Twin, u32>,
}

/// An alias from a file: what it is, what it stands for, how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlias {
    /// The alias.
    pub alias: String,
    /// A name of the catalog.
    pub name: String,
    /// How often the alias means the name; 1 where that is not known.
    pub count: u32,
}

impl Named<'_> {
    /// Adds aliases of names that are spelled as the names of the catalog; others are counted, and
    /// go to `rejects`.
    pub(super) fn add_aliases(
        &mut self,
        batch: &[(u64, NewAlias)],
        rejects: &mut dyn FnMut(RejectedName) -> Result<()>,
    ) -> Result<()> {
        let (tokenizer, limits) = (self.builder.tokenizer, self.builder.limits);
        let spelled: Vec<_> = batch
            .par_iter()
            .with_min_len(256)
            .map(|(_, new)| {
                let alias = limits.spell(tokenizer, &new.alias)?;
                Ok((alias, tokenizer.tokens(&new.name)?))
            })
            .collect();
        for (&(row, ref new), spelled) in batch.iter().zip(spelled) {
            let mut reject = |problem: Problem| {
                rejects(RejectedName {
                    row,
                    from: RejectedFrom::Aliases,
                    name: new.alias.clone(),
                    problem,
                })
            };
            let (alias, name) = match spelled {
                Ok(spelled) => spelled,
                Err(Error::User(problem)) => {
                    self.builder.tally.rejected += 1;
                    reject(problem.field("alias"))?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let trie = &self.sealed.trie;
            let sequence = name
                .and_then(|tokens| trie.walk(&tokens))
                .and_then(|node| trie.sequence(node));
            let Some(sequence) = sequence else {
                self.builder.tally.unknown_targets += 1;
                continue;
            };
            for number in self.sealed.groups.range(sequence) {
                self.builder.put_alias(&alias, OF_NAME, number, new.count)?;
            }
        }
        Ok(())
    }

    /// The number of a name that is spelled so.
    pub(super) fn number_of(&self, tokens: &[u32], record: &NameRecord) -> Option<u32> {
        let trie = &self.sealed.trie;
        let sequence = trie.sequence(trie.walk(tokens)?)?;
        let numbers = self.sealed.groups.range(sequence);
        match numbers.len() {
            1 => Some(numbers.start),
            _ => {
                let twin = (record.name.clone(), record.id.clone());
                self.twins.get(&twin).copied()
            }
        }
    }

    /// Adds an alias whose tokens and name are known.
    pub(super) fn put_alias(&mut self, tokens: &[u32], of: u32, count: u32) -> Result<()> {
        self.builder.put_alias(tokens, OF_NAME, of, count)
    }

    /// Writes the file and opens it.
    pub(super) fn write(mut self, path: &Path) -> Result<(Sealed, Tally)> {
        let mut tally = self.builder.tally.clone();
        let aliases = self.sort_aliases()?;
        tally.aliases = aliases
            .as_ref()
            .map_or(0, |aliases| aliases.trie.len() as u64);
        let Parts { trie, groups, all } = self.sealed;
        let cannot = |e| Error::operator_from(format!("cannot write {}", path.display()), e);
        let has_ids = self.builder.has_ids;
        let has_descriptions = self.builder.has_descriptions;
        let texts = all.texts.finish().map_err(cannot)?;
        let ids = all.ids.finish().map_err(cannot)?;
        let descriptions = all.descriptions.finish().map_err(cannot)?;
        let (hashes, hashed): (Vec<u32>, Vec<u32>) = all.hashes.into_iter().unzip();
        let about = About {
            trie: trie.shape(),
            names: all.len as usize,
            aliases: aliases.as_ref().map(|aliases| AliasShape {
                trie: aliases.trie.shape(),
                postings: aliases.names.len(),
            }),
        };
        let mut sections: Vec<(String, &[u8])> = Vec::new();
        fn named<'b>(
            part: &str,
            columns: impl IntoIterator<Item = (impl AsRef<str>, &'b [u8])>,
            sections: &mut Vec<(String, &'b [u8])>,
        ) {
            let columns = columns.into_iter();
            sections
                .extend(columns.map(|(name, bytes)| (format!("{part}.{}", name.as_ref()), bytes)));
        }
        named("trie", trie.columns(), &mut sections);
        named("groups", groups.columns(), &mut sections);
        named("names", texts.columns(), &mut sections);
        if has_ids {
            named("ids", ids.columns(), &mut sections);
        }
        if has_descriptions {
            named("descriptions", descriptions.columns(), &mut sections);
        }
        sections.push(("hashes".into(), bytemuck::cast_slice(&hashes)));
        sections.push(("hashed".into(), bytemuck::cast_slice(&hashed)));
        sections.push((
            "popularities".into(),
            bytemuck::cast_slice(&all.popularities),
        ));
        if let Some(aliases) = &aliases {
            named("aliases", aliases.trie.columns(), &mut sections);
            named("alias_groups", aliases.groups.columns(), &mut sections);
            sections.push(("alias_names".into(), aliases.names.bytes()));
            sections.push(("alias_counts".into(), aliases.counts.bytes()));
        }
        file::write(path, &about, &sections).map_err(cannot)?;
        let sealed = Sealed::open(path).map_err(|e| {
            Error::operator(format!(
                "{} {e}, right after it was written",
                path.display()
            ))
            .advice("check the disk")
        })?;
        Ok((sealed, tally))
    }

    fn sort_aliases(&mut self) -> Result<Option<Aliases>> {
        let empty = Sorter::new(Path::new(""), "aliases", 0);
        let mut sorted = std::mem::replace(&mut self.builder.aliases, empty)
            .finish()
            .map_err(cannot_sort)?;
        let narrow = self.builder.narrow;
        let mut trie = TrieBuilder::default();
        let mut levels: Vec<Vec<Postings>> = Vec::new();
        let mut open: Option<(Vec<u8>, Postings)> = None;
        let mut close = |open: Option<(Vec<u8>, Postings)>| {
            let Some((key, mut postings)) = open else {
                return;
            };
            let level = trie.push(&tokens_of(&key, narrow));
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            // The same name twice: counted together.
            postings.sort_unstable();
            postings.dedup_by(|next, first| {
                let same = next.0 == first.0;
                if same {
                    first.1 = first.1.saturating_add(next.1);
                }
                same
            });
            postings.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
            levels[level].push(postings);
        };
        while let Some((key, payload)) = sorted.next().map_err(cannot_sort)? {
            let number = |at: usize| {
                let bytes = payload
                    .get(at..at + 4)
                    .and_then(|four| four.try_into().ok());
                bytes.map(u32::from_be_bytes).unwrap_or_default()
            };
            let name = match payload.first() {
                Some(&OF_ROW) => self.places.get(number(1) as usize).copied(),
                _ => Some(number(1)),
            };
            let Some(name) = name else { continue };
            let posting = (name, number(5));
            match &mut open {
                Some((same, postings)) if *same == key => postings.push(posting),
                _ => close(open.replace((key, vec![posting]))),
            }
        }
        close(open);
        if levels.is_empty() {
            return Ok(None);
        }
        let mut groups = BitBuilder::default();
        let (mut names, mut counts) = (Vec::new(), Vec::new());
        for postings in levels.into_iter().flatten() {
            for (at, (name, count)) in postings.into_iter().enumerate() {
                groups.push(at == 0);
                names.push(name);
                counts.push(count);
            }
        }
        Ok(Some(Aliases {
            trie: trie.finish(narrow),
            groups: Groups::new(groups),
            names: names.into(),
            counts: counts.into(),
        }))
    }
}
