//! ONNX Runtime, and the models that are named by the configuration, indexes and catalogs.

use std::collections::BTreeMap;

use super::{Check, Finding, Outcome, Patient, readable};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{
    Manifest, ModelKind, Registry, ScoreOptions, Task, check_reference, loaded_library,
};

/// A model that somebody needs, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub name: String,
    pub expert: Option<String>,
    pub kind: ModelKind,
    /// Who needs it, in words.
    pub by: String,
    /// What the vectors that are there were made with.
    pub fingerprint: Option<String>,
    /// Nobody asked for it by name, and nothing that is there needs it: a default.
    pub spare: bool,
}

/// Loads ONNX Runtime as the server would.
pub(super) fn runtime(patient: &Patient<'_>) -> Vec<Finding> {
    let options = &patient.config.models.runtime;
    vec![match loaded_library(options) {
        Ok((path, build)) => Finding::ok(
            Check::OnnxRuntime,
            format!("{} loads ({build})", path.display()),
        ),
        Err(error) => Finding::of_error(
            Check::OnnxRuntime,
            &error,
            "install ONNX Runtime and name its library in ORT_DYLIB_PATH",
        ),
    }]
}

/// The models that the configuration names.
fn configured(patient: &Patient<'_>) -> Vec<Wanted> {
    let (config, defaults) = (patient.config, Config::default());
    let there = |folder: &str| {
        let entries = std::fs::read_dir(patient.data().join(folder));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    };
    let (databases, catalogs) = (there("schemas"), there("entities"));
    let wanted = |name: &str, kind, by: &str, spare| Wanted {
        name: name.to_owned(),
        expert: None,
        kind,
        by: by.to_owned(),
        fingerprint: None,
        spare,
    };
    let encoder = ModelKind::TextEncoder;
    let mut all = vec![
        wanted(
            &config.schemas.encoder,
            encoder,
            "schemas.encoder of the configuration",
            !databases && config.schemas.encoder == defaults.schemas.encoder,
        ),
        wanted(
            &config.entities.encoder,
            encoder,
            "entities.encoder of the configuration",
            !catalogs && config.entities.encoder == defaults.entities.encoder,
        ),
    ];
    // None where the name is empty.
    if !config.schemas.linker.is_empty() {
        all.push(wanted(
            &config.schemas.linker,
            ModelKind::TokenClassifier,
            "schemas.linker of the configuration",
            !databases && config.schemas.linker == defaults.schemas.linker,
        ));
    }
    if let Some(generator) = &config.entities.generator {
        all.push(wanted(
            generator,
            ModelKind::Generator,
            "entities.generator of the configuration",
            false,
        ));
    }
    all
}

/// Looks at all models that somebody needs, each once.
pub(super) fn look(patient: &Patient<'_>, of_indexes: Vec<Wanted>) -> Vec<Finding> {
    let registry = &patient.settings.models;
    let mut by_model: BTreeMap<(String, Option<String>), Vec<Wanted>> = BTreeMap::new();
    for wanted in configured(patient).into_iter().chain(of_indexes) {
        let key = (wanted.name.clone(), wanted.expert.clone());
        by_model.entry(key).or_default().push(wanted);
    }
    let models = by_model.into_iter();
    models
        .map(|((name, expert), wanted)| {
            let subject = match &expert {
                None => name.clone(),
                Some(expert) => format!("{name}, expert {expert}"),
            };
            let mut by: Vec<&str> = wanted.iter().map(|wanted| wanted.by.as_str()).collect();
            by.dedup();
            let by = by.join(", ");
            let found = match check(registry, &name, expert.as_deref(), &wanted) {
                Ok(said) => match patient
                    .full
                    .then(|| run(registry, &name, expert.as_deref(), &wanted))
                {
                    None => Finding::ok(Check::Model, format!("{said}; for {by}")),
                    Some(Ok(())) => {
                        Finding::ok(Check::Model, format!("{said}, and runs; for {by}"))
                    }
                    Some(Err(error)) => fault(&error, &by),
                },
                Err(error) => fault(&error, &by),
            };
            let spare = wanted.iter().all(|wanted| wanted.spare);
            let found = match found.outcome == Outcome::Failed && spare {
                true => Finding {
                    outcome: Outcome::Warning,
                    message: format!("{}; nothing that is there needs it yet", found.message),
                    ..found
                },
                false => found,
            };
            found.about(subject)
        })
        .collect()
}

fn fault(error: &Error, by: &str) -> Finding {
    let finding = Finding::of_error(
        Check::Model,
        error,
        "add the model with `gleaner models add`, or put its folder back, into one of models.folders; `gleaner models list` shows what there is",
    );
    Finding {
        message: format!("{}; needed for {by}", finding.message),
        ..finding
    }
}

/// Whether the files of a model are those it was made with, and it does what it is needed for.
fn check(
    registry: &Registry,
    name: &str,
    expert: Option<&str>,
    wanted: &[Wanted],
) -> Result<String> {
    let folder = registry.folder(name)?;
    let listed = registry.list().into_iter().find(|m| m.folder == folder);
    if listed.is_some_and(|model| model.kind.is_none() && model.problem.is_none()) {
        // A generator as it was exported, without a description to hold its files to.
        return Ok(format!("it is in {}", folder.display()));
    }
    let manifest = Manifest::read(&folder)?;
    if let Some(other) = wanted.iter().find(|wanted| wanted.kind != manifest.kind) {
        return Err(Error::operator(format!(
            "{name} is a {}, and a {} is needed for {}",
            manifest.kind.as_str(),
            other.kind.as_str(),
            other.by
        ))
        .advice("name a model of the right kind"));
    }
    let one = manifest.of_expert(expert)?;
    let fingerprint = one.fingerprint();
    let differs = |wanted: &&Wanted| {
        // Shortened vectors have their length behind it.
        let made_with = wanted.fingerprint.as_deref();
        made_with.is_some_and(|made| made.split('/').next() != Some(fingerprint.as_str()))
    };
    if let Some(index) = wanted.iter().find(differs) {
        return Err(Error::operator(format!(
            "{} was filled with another version of {name}: its vectors cannot be compared with this one's",
            index.by
        ))
        .advice("put the version back that it was filled with, or make it anew: `gleaner index reindex`"));
    }
    let bytes: u64 = one
        .files
        .keys()
        .filter_map(|file| std::fs::metadata(folder.join(file)).ok())
        .map(|data| data.len())
        .sum();
    Ok(format!(
        "its {} files ({}) are as they were made",
        one.files.len(),
        readable(bytes)
    ))
}

/// Loads a model and runs it once.
fn run(registry: &Registry, name: &str, expert: Option<&str>, wanted: &[Wanted]) -> Result<()> {
    let options = ScoreOptions::default();
    match wanted.first().map(|wanted| wanted.kind) {
        Some(ModelKind::TextEncoder) => {
            let encoder = registry.open_expert(name, expert)?;
            encoder.encode(Task::Query, &["a probe"])?;
            if expert.is_none() {
                check_reference(&registry.folder(name)?, &encoder)?;
            }
        }
        Some(ModelKind::Reranker) => {
            let reranker = registry.open_reranker(name)?;
            reranker.score("a probe", &["of a passage"], &options)?;
        }
        Some(ModelKind::TokenClassifier) => {
            let classifier = registry.open_token_classifier(name)?;
            classifier.classify(&[classifier.pair("a probe", "of a table")?])?;
        }
        Some(ModelKind::Generator) => {
            let generator = registry.open_generator(name)?;
            let read = generator.window("a", " probe ", "of it", generator.max_tokens())?;
            generator.read(&[read])?.start()?;
        }
        None => {}
    }
    Ok(())
}
