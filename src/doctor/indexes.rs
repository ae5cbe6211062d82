//! Indexes, aliases, catalogs of names and the catalogue of databases: whether they can be
//! opened, and what opening them would mend.

use super::data::at_work;
use super::models::Wanted;
use super::process::named;
use super::{Check, Finding, Patient, readable};
use crate::entity::Catalogs;
use crate::index::{Definition, Inspected, InspectedWords, Inventory, Leftover, Place};
use crate::model::ModelKind;
use crate::sql::Schemas;
use crate::store::Holder;
use crate::vector::FileState;

/// What to do about an index that cannot be opened.
const RESTORE: &str = "check the disk; restore the index from a snapshot (`gleaner snapshot restore`), or load it anew";

/// What is wrong with all of them, and the models that they need.
pub(super) fn look(patient: &Patient<'_>) -> (Vec<Finding>, Vec<Wanted>) {
    let mut wanted = Vec::new();
    let mut findings = Vec::new();
    match &patient.inventory {
        Err(error) => findings.push(Finding::of_error(
            Check::Index,
            error,
            "check the data folder and its permissions",
        )),
        Ok(inventory) => {
            for place in &inventory.places {
                findings.extend(index(patient, place, &mut wanted));
            }
            if inventory.places.is_empty() {
                findings.push(Finding::ok(Check::Index, "there is no index yet"));
            }
            findings.extend(inventory.awaited.iter().map(|name| {
                Finding::warning(
                    Check::Index,
                    "it is attached, and nothing of it has been downloaded yet",
                    "start the server, which does that, or `gleaner index attach` once; check that its snapshots can be reached",
                )
                .about(name.as_str())
            }));
            findings.extend(aliases(inventory));
            let work = inventory.leftovers.iter();
            findings.extend(work.map(|leftover| self::leftover(patient, leftover)));
        }
    }
    findings.extend(catalogs(patient));
    findings.extend(databases(patient));
    (findings, wanted)
}

fn index(patient: &Patient<'_>, place: &Place, wanted: &mut Vec<Wanted>) -> Vec<Finding> {
    let settings = &patient.settings;
    if let Some(holder) = place.holder() {
        return vec![open_elsewhere(patient, place, holder, wanted)];
    }
    let inspected = match place.inspect(settings, patient.full) {
        Ok(inspected) => inspected,
        Err(error) => {
            // Whoever has opened it meanwhile is the reason, more likely than the disk.
            return vec![match place.holder() {
                Some(holder) => open_elsewhere(patient, place, holder, wanted),
                None => Finding::of_error(Check::Index, &error, RESTORE).about(place.name.as_str()),
            }];
        }
    };
    let fingerprint = inspected.fingerprint.as_deref();
    wanted.extend(models_of(&place.name, &inspected.definition, fingerprint));
    let mut findings = vec![opened(place, &inspected, patient.full)];
    findings.extend(words(&inspected));
    findings.extend(vectors(&inspected));
    let name = place.name.as_str();
    findings
        .into_iter()
        .map(|found| found.about(name))
        .collect()
}

/// An index that somebody has open: only its definition is read.
fn open_elsewhere(
    patient: &Patient<'_>,
    place: &Place,
    holder: Holder,
    wanted: &mut Vec<Wanted>,
) -> Finding {
    let name = place.name.as_str();
    // A write at the wrong moment may make it fail, which says nothing of the index.
    if let Ok(definition) = place.definition(&patient.settings) {
        wanted.extend(models_of(name, &definition, None));
    }
    let server = patient.server.as_ref();
    let served =
        server.filter(|server| holder.process.is_none() || server.process == holder.process);
    let who = match (served, holder.process) {
        (Some(server), _) => at_work(server),
        (None, Some(process)) => format!("{} has it open", named(process)),
        (None, None) => "a process in another container has it open".into(),
    };
    let message = format!("{who}, so that its files are not looked into");
    Finding::ok(Check::Index, message).about(name)
}

fn opened(place: &Place, inspected: &Inspected, full: bool) -> Finding {
    let Inspected {
        documents,
        counted,
        lost,
        ..
    } = inspected;
    if documents != counted {
        return Finding::failed(
            Check::Index,
            format!("its counters say {counted} documents, and there are {documents}"),
            RESTORE,
        );
    }
    if *lost > 0 {
        return Finding::failed(
            Check::Index,
            format!("{lost} of its {documents} documents are not there any more"),
            RESTORE,
        );
    }
    let attached = match place.attached {
        true => ", built elsewhere",
        false => "",
    };
    let read = match full {
        true => "every byte of it was read",
        false => "it can be opened",
    };
    Finding::ok(
        Check::Index,
        format!(
            "{read}: {documents} documents, {}{attached}",
            readable(inspected.bytes)
        ),
    )
}

fn words(inspected: &Inspected) -> Option<Finding> {
    match &inspected.words {
        InspectedWords::Agree => None,
        InspectedWords::Behind(operations) => Some(Finding::ok(
            Check::Index,
            format!("its words lack the last {operations} operations, which opening it applies"),
        )),
        InspectedWords::Rebuilt(reason) => Some(Finding::warning(
            Check::Index,
            format!("its words have to be made anew of the documents: {reason}"),
            "opening it does that, and takes longer once; where no process was killed and no power was lost, check the disk",
        )),
    }
}

fn vectors(inspected: &Inspected) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut strays = 0;
    for file in &inspected.vectors {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        match &file.state {
            FileState::Sound(_) => {}
            FileState::Outdated | FileState::Unfinished => strays += 1,
            FileState::Unusable(reason) => findings.push(Finding::warning(
                Check::Index,
                format!("the vector file {name} {reason}"),
                "opening it takes the vectors from the store again and builds their graph anew, so that nothing is lost; where a file is damaged, check the disk",
            )),
        }
    }
    if strays > 0 {
        findings.push(Finding::ok(
            Check::Index,
            format!("{strays} vector files do not count any more: opening it removes them"),
        ));
    }
    findings
}

/// The models that an index needs.
fn models_of(name: &str, definition: &Definition, fingerprint: Option<&str>) -> Vec<Wanted> {
    let by = format!("index {name:?}");
    let mut models = Vec::new();
    let embedding = definition.embedding.as_ref();
    if let Some((embedding, model)) = embedding.and_then(|e| Some((e, e.model.clone()?))) {
        models.push(Wanted {
            name: model,
            expert: embedding.expert.clone(),
            kind: ModelKind::TextEncoder,
            by: by.clone(),
            fingerprint: fingerprint.map(str::to_owned),
            spare: false,
        });
    }
    let rerank = definition.search.rerank.as_ref();
    models.extend(
        rerank
            .and_then(|rerank| rerank.model.clone())
            .map(|model| Wanted {
                name: model,
                expert: None,
                kind: ModelKind::Reranker,
                by,
                fingerprint: None,
                spare: false,
            }),
    );
    models
}

fn aliases(inventory: &Inventory) -> Vec<Finding> {
    let there = |name: &str| {
        let places = inventory.places.iter();
        places
            .map(|place| &place.name)
            .chain(&inventory.awaited)
            .any(|known| known == name)
    };
    let astray = inventory.aliases.iter().filter(|(_, index)| !there(index));
    astray
        .map(|(alias, index)| {
            Finding::failed(
                Check::Aliases,
                format!("it stands for index {index:?}, which is not there"),
                "restore the index, or move or remove the alias (`gleaner index alias`)",
            )
            .about(alias.as_str())
        })
        .collect()
}

fn leftover(patient: &Patient<'_>, leftover: &Leftover) -> Finding {
    let Leftover {
        path,
        work,
        bytes,
        mended,
    } = leftover;
    let message = format!("{work} has left {} ({})", path.display(), readable(*bytes));
    match (&patient.server, mended) {
        // It may be under way.
        (Some(_), _) => Finding::ok(Check::Leftovers, format!("{message}, or is under way")),
        (None, true) => Finding::ok(
            Check::Leftovers,
            format!("{message}: it was cut short, and the next start or snapshot clears it away"),
        ),
        (None, false) => Finding::warning(
            Check::Leftovers,
            format!("{message}: it was cut short, or is under way in another process"),
            "if no gleaner command is at work on it, remove the folder, or do again what was cut short",
        ),
    }
}

fn catalogs(patient: &Patient<'_>) -> Vec<Finding> {
    let catalogs = Catalogs::new(patient.data());
    let advice = "check the disk; build the catalog anew with `gleaner entities build`";
    let names = match catalogs.names() {
        Ok(names) => names,
        Err(error) => return vec![Finding::of_error(Check::Entities, &error, advice)],
    };
    let names = names.into_iter();
    names
        .map(|name| {
            let found = match catalogs.info(&name) {
                Ok(info) => Finding::ok(
                    Check::Entities,
                    format!("{} names, {}", info.names, readable(info.bytes)),
                ),
                Err(error) => Finding::of_error(Check::Entities, &error, advice),
            };
            found.about(name)
        })
        .collect()
}

fn databases(patient: &Patient<'_>) -> Vec<Finding> {
    let schemas = Schemas::new(patient.data());
    let advice = "check the disk; import the database anew with `gleaner schema import --replace`";
    let names = match schemas.names() {
        Ok(names) => names,
        Err(error) => return vec![Finding::of_error(Check::Schemas, &error, advice)],
    };
    let mut findings = Vec::new();
    let all = names.len();
    for name in names {
        if let Err(error) = schemas.get(&name) {
            findings.push(Finding::of_error(Check::Schemas, &error, advice).about(name));
        }
    }
    if all > 0 && findings.is_empty() {
        let message = format!("all {all} databases of the catalogue can be read");
        findings.push(Finding::ok(Check::Schemas, message));
    }
    findings
}
