//! Partial updates and deletion by filter: changes that are made of what is there.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::once::{self, Once, Step};
use super::read::Current;
use super::{Change, Changed, How, IfVersion, Index, Still};
use crate::error::{Code, Error, Problem, Result};
use crate::filter::{BoundFilter, Filter};
use crate::store::Durability;

/// Times that an update starts over because another writer came in between.
const ATTEMPTS: usize = 32;
/// Documents deleted in one batch.
const DELETED_AT_ONCE: usize = 1000;

impl Index {
    /// Merges `patch` into the document `id` (a JSON Merge Patch, RFC 7396: members
    /// replace those of their name, null removes them, objects are merged) and writes the
    /// result, durably. Without a version to expect, an update that another writer
    /// overtakes starts over from what that one wrote. The vector that a document brought
    /// stays unless the patch brings another one; texts are encoded again.
    ///
    /// # Errors
    /// `document_not_found`; `version_conflict` where there is none although a version is
    /// expected, or where the document does not have the
    /// version `if_version`; the problem of the merged document.
    pub fn update(
        &self,
        id: &str,
        patch: &Map<String, Json>,
        if_version: Option<u64>,
        durability: Durability,
    ) -> Result<u64> {
        self.update_as(id, patch, if_version, How::plain(durability))
    }

    /// The same, in the way that `how` says; see [`Index::change_as`].
    pub fn update_as(
        &self,
        id: &str,
        patch: &Map<String, Json>,
        if_version: Option<u64>,
        how: How<'_>,
    ) -> Result<u64> {
        let id_field = &self.definition().id_field;
        let is_id = |patched: &Json| match patched {
            Json::Number(number) => number.to_string() == id,
            other => other == id,
        };
        if patch.get(id_field).is_some_and(|patched| !is_id(patched)) {
            return Err(Problem::new(
                Code::InvalidDocument,
                "an update cannot change a document's id",
            )
            .field(id_field)
            .found(&patch[id_field])
            .expected(format!("{id}, or no id"))
            .into());
        }
        for _ in 0..ATTEMPTS {
            // Keeps what is read here from being given back meanwhile.
            let _view = self.view();
            let current = match (self.current(id), if_version) {
                (Err(error), Some(wanted)) if is_not_found(&error) => {
                    return Err(version_conflict(id, wanted, None).into());
                }
                (current, _) => current?,
            };
            if let Some(wanted) = if_version
                && wanted != current.version
            {
                return Err(version_conflict(id, wanted, Some(current.version)).into());
            }
            let merged = self.merged(&current, patch)?;
            let prepared = self.prepare(merged)?;
            let encoded = self.encode(vec![prepared])?;
            let change = encoded.first().map(Change::Put).ok_or_else(no_outcome)?;
            let expected = IfVersion::Is(current.version);
            let changed = self.change_as(&[(change, expected)], how)?;
            match changed.first() {
                Some(&(Changed::Updated { version } | Changed::Created { version })) => {
                    return Ok(version);
                }
                // Another came in between: the next look says what it did.
                Some(Changed::Unmet { .. }) => {}
                _ => return Err(no_outcome()),
            }
        }
        Err(Problem::new(
            Code::Overloaded,
            format!("document {id:?} is written by others all the time"),
        )
        .into())
    }

    /// A document as it would be sent to write what a patch makes of the one that is there.
    ///
    /// # Errors
    /// `document_not_found`; operator errors of the disk.
    pub fn patched(&self, id: &str, patch: &Map<String, Json>) -> Result<Json> {
        // Keeps what is read here from being given back meanwhile.
        let _view = self.view();
        let current = self.current(id)?;
        self.merged(&current, patch)
    }

    /// The same of a document that is on its way.
    pub fn patch(&self, mut document: Json, patch: &Map<String, Json>) -> Json {
        let mut patch = patch.clone();
        patch.shift_remove(&self.definition().id_field);
        json_patch::merge(&mut document, &Json::Object(patch));
        document
    }

    /// A document as it would be sent to write what the patch makes of it.
    fn merged(&self, current: &Current, patch: &Map<String, Json>) -> Result<Json> {
        let mut merged = Json::Object(current.source.clone());
        let embedding = self.definition().embedding.as_ref();
        if let (Some(field), Json::Object(object)) =
            (embedding.and_then(|e| e.vector_field.as_ref()), &mut merged)
            && !patch.contains_key(field)
            && let Some(stored) = self.store.vectors(current.ordinal)?
            && stored.is_ready()
        {
            object.insert(field.clone(), Json::from(stored.vectors));
        }
        // The same id in another spelling changes nothing.
        Ok(self.patch(merged, patch))
    }

    /// Deletes, durably, every document that passes the filter; how many there were.
    /// Makes what was written before visible first, so that it counts. A document that is
    /// written anew meanwhile stays.
    ///
    /// # Errors
    /// `invalid_filter`, also for a filter that every document passes, which is more likely a
    /// mistake. On an operator error some may have been deleted already.
    pub fn delete_where(&self, filter: &Json) -> Result<u64> {
        let mut deleted = 0;
        self.delete_where_once(filter, &|| true, None, &mut deleted)?;
        Ok(deleted)
    }

    /// The same, as long as the writer still means this index (see [`Index::change_as`]), and
    /// as a request that is to be carried out once: one that was interrupted goes on, and
    /// counts what it deleted before as well.
    ///
    /// Adds to `deleted` as it goes; whether all of it had been done before.
    ///
    /// # Errors
    /// `alias_moved`, besides; some may have been deleted then.
    pub fn delete_where_once(
        &self,
        filter: &Json,
        still: Still<'_>,
        once: Option<&Once>,
        deleted: &mut u64,
    ) -> Result<bool> {
        if let Some(once) = once
            && let Some(last) = once.steps().last()
        {
            let so_far: Deletion = Once::read(last)?;
            *deleted = so_far.deleted;
            if so_far.done {
                return Ok(true);
            }
        }
        let definition = self.definition();
        let bound = Filter::from_json(filter)?.bind(&definition.fields, &definition.id_field)?;
        let bound = bound.normalise();
        if bound == BoundFilter::All {
            return Err(
                Problem::new(Code::InvalidFilter, "every document would be deleted")
                    .field("filter")
                    .found("a filter that leaves nothing out")
                    .expected("one that does; to delete everything, remove the index")
                    .into(),
            );
        }
        self.refresh()?;
        let view = self.view();
        let mut passing = view.words.filter(&bound)?;
        passing.and(&view.live);
        let ordinals: Vec<u32> = passing.iter().collect();
        for ordinals in ordinals.chunks(DELETED_AT_ONCE) {
            let ids = self.ids(ordinals)?;
            let changes: Vec<(Change<'_>, IfVersion)> = ids
                .iter()
                .zip(ordinals)
                .filter_map(|(id, &ordinal)| {
                    let version = IfVersion::Is(super::write::version_of(ordinal));
                    Some((Change::Delete(id.as_deref()?), version))
                })
                .collect();
            let before = *deleted;
            let answer = |changed: &[Changed]| {
                once::to_bytes(&Deletion {
                    deleted: before + count_deleted(changed),
                    done: false,
                })
                .map(Some)
            };
            let step = once.map(|once| Step::of(once, &answer));
            let how = How {
                durability: Durability::Synced,
                still,
                step: step.as_ref(),
            };
            let changed = self.change_as(&changes, how)?;
            *deleted += count_deleted(&changed);
        }
        if let Some(once) = once {
            let deleted = *deleted;
            let answer = |_: &[Changed]| {
                once::to_bytes(&Deletion {
                    deleted,
                    done: true,
                })
                .map(Some)
            };
            let how = How {
                durability: Durability::Synced,
                still,
                step: Some(&Step::of(once, &answer)),
            };
            self.change_as(&[], how)?;
        }
        Ok(false)
    }
}

/// How far a deletion by filter came.
#[derive(Serialize, Deserialize)]
struct Deletion {
    deleted: u64,
    done: bool,
}

fn count_deleted(changed: &[Changed]) -> u64 {
    changed
        .iter()
        .filter(|&&one| one == Changed::Deleted)
        .count() as u64
}

/// The caller expects another version of a document than there is.
pub fn version_conflict(id: &str, wanted: u64, current: Option<u64>) -> Problem {
    let found = match current {
        Some(version) => format!("version {version}"),
        None => "no document".into(),
    };
    let expected = match wanted {
        // Of nothing, nothing can be changed or deleted.
        0 if current.is_none() => "a version of a document, 1 or more".into(),
        0 => "no document".into(),
        wanted => format!("version {wanted}"),
    };
    let message = match current {
        Some(_) => format!("document {id:?} has another version"),
        None => format!("there is no document {id:?}"),
    };
    Problem::new(Code::VersionConflict, message)
        .field("if_version")
        .found(found)
        .expected(expected)
}

fn is_not_found(error: &Error) -> bool {
    let problem = error.problem();
    problem.is_some_and(|problem| problem.code == Code::DocumentNotFound)
}

fn no_outcome() -> Error {
    Error::Bug("a write has no outcome".into())
}
