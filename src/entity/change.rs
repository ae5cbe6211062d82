//! Changes of a catalog: names that are added and removed.
//!
//! A change is checked first, then written to the log, then made; what was checked can be made.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build::{NameLimits, check_fields};
use super::log::{Change, Removal};
use super::overlay::Added;
use super::view::View;
use super::{NameRecord, NewName};
use crate::error::{Code, Error, Problem, Result};

/// What came of adding names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddReport {
    /// Names that are new.
    pub added: usize,
    /// Names that were there with the same id: what came with them now is in the place of what was
    /// known, what did not come stays, and aliases are added to those that there were.
    pub replaced: usize,
}

/// Whether a change can be made.
///
/// # Errors
/// `invalid_name` for a name or alias that cannot be added, by its place; `entity_not_found` for one
/// that cannot be removed.
pub(super) fn check(view: &View, change: &Change, limits: NameLimits) -> Result<()> {
    match change {
        Change::Add(names) => names.iter().enumerate().try_for_each(|(index, new)| {
            spell(view, new, limits)
                .map(drop)
                .map_err(|error| match error {
                    Error::User(problem) => {
                        let field = problem.field.clone().unwrap_or_default();
                        problem.field(format!("names[{index}].{field}")).into()
                    }
                    other => other,
                })
        }),
        Change::Remove(removal) => match named(view, removal)?.is_empty() {
            true => Err(no_entity(removal.name.as_deref().unwrap_or(&removal.id))),
            false => Ok(()),
        },
    }
}

/// Makes a change that was checked. Where it was written by another process, what it removes may be
/// gone by now.
///
/// # Errors
/// An operator's error where names cannot be read; the view is of no use then.
pub(super) fn apply(view: &mut View, change: &Change, limits: NameLimits) -> Result<AddReport> {
    match change {
        Change::Add(names) => add(view, names, limits),
        Change::Remove(removal) => remove(view, removal),
    }
}

/// Makes a change that a log has.
///
/// # Errors
/// An operator's error where it cannot be made: the log is not of these names.
pub(super) fn replay(
    view: &mut View,
    change: &Change,
    limits: NameLimits,
    log: &Path,
) -> Result<()> {
    match apply(view, change, limits) {
        Ok(_) => Ok(()),
        Err(Error::User(problem)) => Err(Error::operator(format!(
            "{} has a change that cannot be made: {problem}",
            log.display()
        ))
        .advice("build the catalog again from its names")),
        Err(error) => Err(error),
    }
}

/// Tokens of a name and of its aliases.
fn spell(view: &View, new: &NewName, limits: NameLimits) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
    check_fields(new, limits)?;
    let tokens = limits.spell(&view.tokenizer, &new.name)?;
    let mut aliases = Vec::new();
    let mut known = HashSet::new();
    for alias in &new.aliases {
        let spelled = limits.spell(&view.tokenizer, alias);
        let tokens = spelled.map_err(|error| match error {
            Error::User(problem) => problem.field("aliases").into(),
            other => other,
        })?;
        if known.insert(tokens.clone()) {
            aliases.push(tokens);
        }
    }
    Ok((tokens, aliases))
}

fn add(view: &mut View, names: &[NewName], limits: NameLimits) -> Result<AddReport> {
    let mut report = AddReport::default();
    // What was checked once is not refused where the limit is another one by now.
    let limits = NameLimits {
        aliases: usize::MAX,
        ..limits
    };
    for new in names {
        let (tokens, mut aliases) = spell(view, new, limits)?;
        let id = new.id.clone().unwrap_or_else(|| new.name.clone());
        let before = view.name_of_id(&id, &new.name, &tokens)?;
        let known = match before {
            Some(number) => view.record(number)?,
            None => None,
        };
        let (described, popular) =
            known.map_or((None, None), |known| (known.description, known.popularity));
        let sealed = view.sealed.clone();
        let overlay = Arc::make_mut(&mut view.overlay);
        match before {
            None => report.added += 1,
            Some(number) => {
                report.replaced += 1;
                match number.checked_sub(sealed.len() as u32) {
                    None => {
                        overlay.moves_to_next(number);
                        overlay.remove_sealed(&sealed, number, &tokens);
                    }
                    Some(what) => {
                        let of = overlay.added.get(what as usize);
                        let kept = of.map_or_else(Vec::new, |added| added.aliases.clone());
                        aliases.extend(kept);
                        aliases.sort();
                        aliases.dedup();
                        overlay.replaced_by_next(what);
                        overlay.remove_added(what);
                    }
                }
            }
        }
        overlay.add(Added {
            record: NameRecord {
                name: new.name.clone(),
                id,
                // An empty one takes it away.
                description: new
                    .description
                    .clone()
                    .or(described)
                    .filter(|text| !text.is_empty()),
                popularity: new.popularity.or(popular),
            },
            tokens,
            aliases,
            removed: false,
        });
    }
    Ok(report)
}

/// Numbers and tokens of the names that a removal is about.
fn named(view: &View, removal: &Removal) -> Result<Vec<(u32, Vec<u32>)>> {
    let mut found = Vec::new();
    for number in view.names_of_id(&removal.id)? {
        let Some(record) = view.record(number)? else {
            continue;
        };
        if removal
            .name
            .as_ref()
            .is_none_or(|name| *name == record.name)
        {
            let tokens = view.tokenizer.tokens(&record.name)?;
            found.push((number, tokens.unwrap_or_default()));
        }
    }
    Ok(found)
}

fn remove(view: &mut View, removal: &Removal) -> Result<AddReport> {
    let gone = named(view, removal)?;
    let sealed = view.sealed.clone();
    let overlay = Arc::make_mut(&mut view.overlay);
    for (number, tokens) in &gone {
        match number.checked_sub(sealed.len() as u32) {
            None => overlay.remove_sealed(&sealed, *number, tokens),
            Some(what) => overlay.remove_added(what),
        }
    }
    Ok(AddReport {
        added: 0,
        replaced: gone.len(),
    })
}

pub(super) fn no_entity(id: &str) -> Error {
    Problem::new(
        Code::EntityNotFound,
        "there is no entity of this id in the catalog",
    )
    .field("id")
    .found(id)
    .into()
}
