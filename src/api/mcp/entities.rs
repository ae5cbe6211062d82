//! The tools about catalogs of entities: which there are, and linking a text to one.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::entities;
use super::tools::{Answer, Asked, Refused, answer, read};
use crate::entity::{LinkRequest, LinkedMention, ScoredEntity};
use crate::error::Result;

/// Nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListCatalogs {}

pub(super) fn list_catalogs(asked: &Asked<'_>, arguments: JsonObject) -> Result<Answer, Refused> {
    let ListCatalogs {} = read(arguments)?;
    let names = entities::reached(asked.app, asked.access)?;
    let list = entities::CatalogList {
        catalogs: entities::infos(asked.app, names),
        next: None,
    };
    let lines = list
        .catalogs
        .iter()
        .map(|catalog| format!("{} ({} names)\n", catalog.catalog, catalog.names));
    let text: String = match list.catalogs.is_empty() {
        true => "There are no catalogs of entities yet.".into(),
        false => lines.collect(),
    };
    answer(text, &list)
}

pub(super) fn link_entities(asked: &Asked<'_>, arguments: JsonObject) -> Result<Answer, Refused> {
    let request: LinkRequest = read(arguments)?;
    let found = entities::linking(
        asked.app,
        asked.access,
        &request.catalog,
        asked.cancellation,
        |linker, view| linker.link(view, &request),
    )?;
    let mut text: String = found.mentions.iter().map(in_words).collect();
    if found.mentions.is_empty() {
        text += "Nothing of the catalog is mentioned.\n";
    }
    if let Some(lost) = &found.degraded {
        text += &format!("Without the {}: {}\n", lost.lost, lost.reason);
    }
    answer(text, &found)
}

fn in_words(mention: &LinkedMention) -> String {
    let meant = match &mention.entity {
        Some(entity) => entity_in_words(entity),
        None => format!("none of the catalog ({:.2})", mention.none),
    };
    let mut text = format!(
        "{}-{} {:?} is {meant}\n",
        mention.start, mention.end, mention.mention
    );
    for other in &mention.alternatives {
        text += &format!("   or {}\n", entity_in_words(other));
    }
    text
}

fn entity_in_words(entity: &ScoredEntity) -> String {
    match entity.id == entity.name {
        true => format!("{} ({:.2})", entity.name, entity.score),
        false => format!("{} [{}] ({:.2})", entity.name, entity.id, entity.score),
    }
}
