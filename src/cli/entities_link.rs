//! `gleaner entities link`, `disambiguate` and `retrieve`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use crate::entity::{
    Catalogs, DisambiguateRequest, EntityLinker, LinkDegraded, LinkMethod, LinkRequest,
    LinkedMention, Mentions, RetrieveEntitiesRequest, ScoredEntity,
};
use crate::error::{Code, Error, Problem, Result};
use crate::model::Registry;

/// Which entities a text speaks of.
#[derive(Debug, Args)]
pub(super) struct Link {
    /// Name of the catalog.
    catalog: String,
    #[command(flatten)]
    text: TextFrom,
    /// How mentions are found: by the catalog's names, or by a generator that annotates the text.
    #[arg(long, value_enum, default_value = "detect")]
    method: LinkMethod,
    /// Which stretches count as mentions.
    #[arg(long, value_enum, default_value = "capitalized")]
    mentions: Mentions,
    #[command(flatten)]
    answers: Answers,
}

/// Which entity a mention means.
#[derive(Debug, Args)]
pub(super) struct Disambiguate {
    /// Name of the catalog.
    catalog: String,
    #[command(flatten)]
    text: TextFrom,
    /// The mention: where it stands in the text for the first time.
    #[arg(long)]
    mention: String,
    /// A name or an id that it may mean; may be repeated [default: what its words may mean].
    #[arg(long = "candidate", value_name = "NAME")]
    candidates: Vec<String>,
    #[command(flatten)]
    answers: Answers,
}

/// Which entities a query asks about.
#[derive(Debug, Args)]
pub(super) struct Retrieve {
    /// Name of the catalog.
    catalog: String,
    /// The query.
    query: String,
    /// Most entities.
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Draw so many names by the generator's distribution, in the place of searching.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TextFrom {
    /// The text.
    #[arg(long)]
    text: Option<String>,
    /// A file with the text; - for standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Answers {
    /// A mention whose best entity has a lower score means none of the catalog [default: what the
    /// weights were fitted with].
    #[arg(long)]
    threshold: Option<f32>,
    /// Most further entities that are told of a mention.
    #[arg(long, value_name = "N", default_value_t = 0)]
    alternatives: usize,
}

impl TextFrom {
    fn read(self) -> Result<String> {
        let Some(file) = self.file else {
            return Ok(self.text.unwrap_or_default());
        };
        if file == Path::new("-") {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|e| Error::operator_from("cannot read standard input", e))?;
            return Ok(text);
        }
        super::eval_schema::text(&file, "file")
    }
}

fn linker(context: &Context) -> Result<EntityLinker> {
    let models = &context.config.models;
    let registry = Registry::new(models.folders.clone(), models.runtime.clone());
    EntityLinker::open(&registry, &context.config.entities)
}

impl Link {
    pub(super) fn run(self, context: &Context, catalogs: &Catalogs) -> Result<()> {
        let view = catalogs.view(&self.catalog)?;
        let request = LinkRequest {
            catalog: self.catalog,
            text: self.text.read()?,
            method: self.method,
            mentions: self.mentions,
            threshold: self.answers.threshold,
            alternatives: self.answers.alternatives,
        };
        let linked = linker(context)?.link(&view, &request)?;
        context.print(&linked, |linked| {
            let lines: Vec<String> = linked.mentions.iter().map(in_words).collect();
            without(linked.degraded.as_ref(), lines.join("\n"))
        })
    }
}

impl Disambiguate {
    pub(super) fn run(self, context: &Context, catalogs: &Catalogs) -> Result<()> {
        let view = catalogs.view(&self.catalog)?;
        let text = self.text.read()?;
        let at = text
            .find(&self.mention)
            .filter(|_| !self.mention.is_empty());
        let at = at.ok_or_else(|| {
            Problem::new(Code::InvalidRequest, "the mention is not in the text")
                .field("mention")
                .found(&self.mention)
                .expected("a part of the text, as it stands there")
        })?;
        let start = text[..at].chars().count();
        let request = DisambiguateRequest {
            catalog: self.catalog,
            start,
            end: start + self.mention.chars().count(),
            text,
            candidates: self.candidates,
            threshold: self.answers.threshold,
            alternatives: Some(self.answers.alternatives),
        };
        let linked = linker(context)?.disambiguate(&view, &request)?;
        context.print(&linked, |linked| {
            without(linked.degraded.as_ref(), in_words(linked))
        })
    }
}

impl Retrieve {
    pub(super) fn run(self, context: &Context, catalogs: &Catalogs) -> Result<()> {
        let view = catalogs.view(&self.catalog)?;
        let request = RetrieveEntitiesRequest {
            catalog: self.catalog,
            query: self.query,
            k: Some(self.k),
            samples: self.samples,
        };
        let found = linker(context)?.retrieve(&view, &request)?;
        context.print(&found, |found| {
            let lines: Vec<String> = found.entities.iter().map(entity_in_words).collect();
            without(found.degraded.as_ref(), lines.join("\n"))
        })
    }
}

/// An answer with what it had to do without.
fn without(degraded: Option<&LinkDegraded>, words: String) -> String {
    match degraded {
        None => words,
        Some(LinkDegraded { lost, reason }) => format!("without the {lost}: {reason}\n{words}"),
    }
}

fn in_words(mention: &LinkedMention) -> String {
    let LinkedMention {
        start,
        end,
        mention: text,
        entity,
        none,
        alternatives,
        ..
    } = mention;
    let meant = match entity {
        Some(entity) => format!("{}; none {none:.2}", entity_in_words(entity)),
        // Something was likelier, but not likely enough.
        None if alternatives.iter().any(|other| other.score > *none) => {
            "none of the catalog: nothing is sure enough".into()
        }
        None => format!("none of the catalog, {none:.2}"),
    };
    let mut words = format!("{start}-{end} {text}: {meant}");
    for entity in alternatives {
        words.push_str(&format!("\n    or {}", entity_in_words(entity)));
    }
    words
}

fn entity_in_words(entity: &ScoredEntity) -> String {
    match entity.id == entity.name {
        true => format!("{}, {:.2}", entity.name, entity.score),
        false => format!("{} [{}], {:.2}", entity.name, entity.id, entity.score),
    }
}
