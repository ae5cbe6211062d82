//! Sealing anew what is sealed, added and removed: the same names, in one file.

use std::collections::HashMap;
use std::path::Path;

use super::build::{BATCH, Builder, NameLimits, Tally};
use super::catalog::BuildProgress;
use super::generation::NAMES;
use super::view::View;
use super::{NameRecord, NewName};
use crate::error::Result;

/// Writes the names of a view into `folder`.
pub(super) fn compact(
    view: &View,
    folder: &Path,
    limits: NameLimits,
    progress: &mut dyn FnMut(BuildProgress),
) -> Result<Tally> {
    let View {
        sealed,
        overlay,
        tokenizer,
    } = view;
    let mut builder = Builder::new(folder, tokenizer, limits);
    // Names keep neither numbers nor rows: their aliases find them by what they are.
    let mut records = sealed.reader();
    let mut sequences = sealed.trie.sequences();
    let mut count = 0;
    while let Some((tokens, sequence)) = sequences.next() {
        for number in sealed.names_of(sequence) {
            if !overlay.is_removed(number)
                && let Some(record) = records.get(number)?
            {
                builder.put(tokens, &as_new(record))?;
                count += 1;
                if count % (BATCH as u64) == 0 {
                    progress(BuildProgress::Names(count));
                }
            }
        }
    }
    let live = || overlay.added.iter().filter(|added| !added.removed);
    for added in live() {
        builder.put(&added.tokens, &as_new(added.record.clone()))?;
    }
    let mut named = builder.sort_names(folder, progress)?;
    let mut count = 0;
    let mut numbers: HashMap<u32, Option<u32>> = HashMap::new();
    if let Some(aliases) = sealed.aliases() {
        let mut sequences = aliases.trie.sequences();
        while let Some((tokens, sequence)) = sequences.next() {
            for alias in aliases.of(sequence).filter_map(|alias| view.live(alias)) {
                let number = match numbers.get(&alias.name) {
                    Some(number) => *number,
                    None => {
                        let record = match view.record(alias.name)? {
                            Some(record) => record,
                            None => continue,
                        };
                        let spelled = tokenizer.tokens(&record.name)?.unwrap_or_default();
                        let number = named.number_of(&spelled, &record);
                        numbers.insert(alias.name, number);
                        number
                    }
                };
                if let Some(number) = number {
                    named.put_alias(tokens, number, alias.count)?;
                    count += 1;
                    if count % (BATCH as u64) == 0 {
                        progress(BuildProgress::Aliases(count));
                    }
                }
            }
        }
    }
    for added in live() {
        let Some(number) = named.number_of(&added.tokens, &added.record) else {
            continue;
        };
        for alias in &added.aliases {
            named.put_alias(alias, number, 1)?;
        }
    }
    progress(BuildProgress::Writing);
    named.write(&folder.join(NAMES)).map(|(_, tally)| tally)
}

pub(super) fn as_new(record: NameRecord) -> NewName {
    NewName {
        id: (record.id != record.name).then_some(record.id),
        name: record.name,
        aliases: Vec::new(),
        description: record.description,
        popularity: record.popularity,
    }
}
