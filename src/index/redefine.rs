//! Another definition for an index that is there: in place where only answers change,
//! refused where the documents would have to be indexed anew.

use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;

use super::{Definition, Index};
use crate::error::{Code, Error, Problem, Result};
use crate::lexical::SynonymTable;

/// The definitions that an open index has had, the last one in force. Earlier ones are kept
/// until the index is closed, so that whoever reads one may go on without a lock.
pub(super) struct Described {
    definition: Definition,
    synonyms: Option<Arc<SynonymTable>>,
    next: OnceLock<Box<Described>>,
}

impl Described {
    pub(super) fn new(definition: Definition) -> Described {
        let synonyms = (!definition.synonyms.groups.is_empty())
            .then(|| Arc::new(SynonymTable::new(&definition.synonyms)));
        Described {
            definition,
            synonyms,
            next: OnceLock::new(),
        }
    }

    fn last(&self) -> &Described {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        last
    }

    pub(super) fn definition(&self) -> &Definition {
        &self.last().definition
    }

    pub(super) fn synonyms(&self) -> Option<Arc<SynonymTable>> {
        self.last().synonyms.clone()
    }

    /// Puts a definition into force.
    fn follow(&self, definition: Definition) {
        let mut next = Box::new(Described::new(definition));
        // Whoever was faster is followed.
        while let Err(refused) = self.last().next.set(next) {
            next = refused;
        }
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // One after the other, rather than each inside the drop of the one before.
        let mut next = self.next.take();
        while let Some(mut one) = next {
            next = one.next.take();
        }
    }
}

impl Definition {
    /// Where another definition says something that an index of this one cannot take over
    /// as it stands: paths such as `fields.title.analysis.language`, in order. What remains,
    /// and can be changed at any time, is what only queries or later writes are held to:
    /// descriptions, search defaults, scoring, synonyms, typos, weights, `unknown_fields`,
    /// and fields that are not required any more or may hold many values from now on.
    pub fn reindex_needed_for(&self, other: &Definition) -> Vec<String> {
        let mut paths = Vec::new();
        let mut differ = |path: &str, here: Option<Json>, there: Option<Json>| {
            differences(path, here.as_ref(), there.as_ref(), &mut paths);
        };
        let json = |value: Result<Json, serde_json::Error>| value.ok();
        differ(
            "id_field",
            Some(Json::from(self.id_field.as_str())),
            Some(Json::from(other.id_field.as_str())),
        );
        let names = self.fields.keys();
        let new = other.fields.keys();
        for name in names.chain(new.filter(|name| !self.fields.contains_key(*name))) {
            let here = self.fields.get(name).cloned();
            let there = other.fields.get(name).cloned().map(|mut there| {
                if let Some(here) = &here {
                    there.weight = here.weight;
                    // What was allowed so far stays allowed: that needs nothing.
                    there.required |= here.required;
                    there.many &= here.many;
                }
                there
            });
            differ(
                &format!("fields.{name}"),
                here.map(|field| json(serde_json::to_value(field)).unwrap_or_default()),
                there.map(|field| json(serde_json::to_value(field)).unwrap_or_default()),
            );
        }
        differ(
            "embedding",
            json(serde_json::to_value(&self.embedding)),
            json(serde_json::to_value(&other.embedding)),
        );
        paths
    }
}

/// The paths at which two values differ.
fn differences(path: &str, here: Option<&Json>, there: Option<&Json>, paths: &mut Vec<String>) {
    match (here, there) {
        (Some(Json::Object(here)), Some(Json::Object(there))) => {
            let new = there.keys().filter(|name| !here.contains_key(*name));
            for name in here.keys().chain(new) {
                let path = format!("{path}.{name}");
                differences(&path, here.get(name), there.get(name), paths);
            }
        }
        (here, there) if here == there => {}
        _ => paths.push(path.into()),
    }
}

impl Index {
    /// Puts another definition into force, durably, where that needs nothing indexed anew;
    /// whether anything changed.
    ///
    /// # Errors
    /// `invalid_definition`; `reindex_needed` with the paths that differ, and then nothing
    /// changed.
    pub(super) fn redefine(&self, mut definition: Definition) -> Result<bool> {
        definition.check()?;
        let current = self.definition();
        if definition.name != self.name() {
            return Err(Problem::new(
                Code::InvalidDefinition,
                "an index cannot be given another name by its definition",
            )
            .field("name")
            .found(definition.name)
            .expected(self.name())
            .into());
        }
        let paths = current.reindex_needed_for(&definition);
        if !paths.is_empty() {
            let name = self.name();
            return Err(Problem::new(
                Code::ReindexNeeded,
                format!(
                    "the documents of index {name:?} have to be indexed anew for this: {}",
                    paths.join(", ")
                ),
            )
            .field(paths.join(", "))
            .found("a definition that differs there")
            .expected(format!(
                "the same there, or a new index of it: gleaner index reindex {name} --into NEW \
                 --definition FILE, or POST /v1/indexes/{name}/reindex"
            ))
            .into());
        }
        self.check_writable()?;
        // The word index is laid out in the order of the fields.
        let mut fields = definition.fields.clone();
        fields.sort_by_cached_key(|name, _| current.fields.get_index_of(name));
        definition.fields = fields;
        if &definition == current {
            return Ok(false);
        }
        self.keep_definition(&definition)?;
        self.described.follow(definition);
        Ok(true)
    }
}

impl Index {
    fn keep_definition(&self, definition: &Definition) -> Result<()> {
        let text = serde_json::to_vec(definition)
            .map_err(|e| Error::Bug(format!("a definition does not serialise: {e}")))?;
        self.store.put_meta(super::open::META_DEFINITION, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Definition {
        Definition::from_toml(&format!("name = \"a\"\n{text}")).unwrap()
    }

    #[test]
    fn only_what_is_indexed_needs_a_new_index() {
        let base = "[fields.title]\ntype = \"text\"\n[fields.tag]\ntype = \"keyword\"\n";
        let check = |before: &str, after: &str, expected: &[&str]| {
            let found = definition(before).reindex_needed_for(&definition(after));
            assert_eq!(found, expected, "{before} -> {after}");
        };
        check(base, base, &[]);
        for free in [
            "description = \"x\"\n",
            "unknown_fields = \"store\"\n",
            "search = { candidates = 7 }\n",
            "scoring = { k1 = 0.9 }\n",
            "typos = { enabled = true }\n",
        ] {
            if toml::from_str::<Definition>(&format!("name = \"a\"\n{free}{base}")).is_ok() {
                check(base, &format!("{free}{base}"), &[]);
            }
        }
        let tag = |more: &str| {
            format!("[fields.title]\ntype = \"text\"\n[fields.tag]\ntype = \"keyword\"\n{more}\n")
        };
        check(base, &tag("weight = 3.0"), &[]);
        check(base, &tag("many = true"), &[]);
        check(&tag("many = true"), base, &["fields.tag.many"]);
        check(base, &tag("required = true"), &["fields.tag.required"]);
        check(&tag("required = true"), base, &[]);
        check(
            base,
            "[fields.title]\ntype = \"text\"\nanalysis = { language = \"english\" }\n[fields.year]\ntype = \"integer\"\n",
            &[
                "fields.title.analysis.language",
                "fields.tag",
                "fields.year",
            ],
        );
        check(
            base,
            &tag("[embedding]\nvector_field = \"v\"\ndimensions = 3"),
            &["embedding"],
        );
        check(base, &format!("id_field = \"key\"\n{base}"), &["id_field"]);
    }

    #[test]
    fn definitions_follow_each_other_without_end() {
        let described = Described::new(definition("[fields.a]\ntype = \"text\"\n"));
        for i in 0..20_000 {
            let mut next = described.definition().clone();
            next.description = Some(i.to_string());
            described.follow(next);
        }
        assert_eq!(described.definition().description.as_deref(), Some("19999"));
    }
}
