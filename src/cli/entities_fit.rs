//! `gleaner entities fit`: how much each measure of linking counts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::entity::{Example, FitReport, Way, Weighings, fit};
use crate::error::{Code, Error, Problem, Result};

/// Fit how much each measure counts, on what `gleaner eval entities --evidence` wrote.
#[derive(Debug, Args)]
pub(super) struct Fit {
    /// Files of evidence.
    #[arg(value_name = "FILE.jsonl", required = true)]
    evidence: Vec<PathBuf>,
    /// Where the weights are written; the configuration's entities.weights may name it.
    #[arg(long, value_name = "FILE.toml")]
    out: PathBuf,
    /// What they are fitted on, for people.
    #[arg(long, default_value = "")]
    description: String,
}

#[derive(Serialize)]
struct Fitted {
    examples: usize,
    without_generator: Way,
    with_generator: Way,
    ways: BTreeMap<Way, FitReport>,
}

impl Fit {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let mut examples = Vec::new();
        for file in &self.evidence {
            let text = super::eval_schema::text(file, "evidence")?;
            for (number, line) in text.lines().enumerate() {
                examples.push(read(line).map_err(|e| {
                    Problem::new(Code::InvalidFile, "a line is no evidence")
                        .field(format!("{}, line {}", file.display(), number + 1))
                        .found(e)
                        .expected("what `gleaner eval entities --evidence` wrote")
                })?);
            }
        }
        let generated = |example: &Example| {
            let mut candidates = example.evidence.candidates.iter();
            candidates.any(|known| known.measures.generated != 0.0)
        };
        let generator = examples.iter().any(generated);
        let mut ways = BTreeMap::new();
        let mut reports = BTreeMap::new();
        for way in Way::ALL {
            if way.generates() && !generator {
                continue;
            }
            let (weights, report) = fit(&examples, way)?;
            ways.insert(way, weights);
            reports.insert(way, report);
        }
        // Of the ways that combine, the one that says most about what it has not seen.
        let best = |among: &[Way]| {
            let known = among
                .iter()
                .filter_map(|way| Some((*way, reports.get(way)?.loss)));
            let best = known.min_by(|a, b| a.1.total_cmp(&b.1));
            best.map_or(Way::NoGenerator, |(way, _)| way)
        };
        let without_generator = best(&[Way::PriorSimilarity, Way::NoGenerator]);
        let with_generator = match generator {
            true => best(&[Way::PriorGenerator, Way::All]),
            false => without_generator,
        };
        let weighings = Weighings {
            description: self.description,
            without_generator,
            with_generator,
            ways,
        };
        let text = toml::to_string(&weighings)
            .map_err(|e| Error::Bug(format!("weights do not serialise: {e}")))?;
        std::fs::write(&self.out, text)
            .map_err(|e| Error::operator_from(format!("cannot write {}", self.out.display()), e))?;
        let fitted = Fitted {
            examples: examples.len(),
            without_generator,
            with_generator,
            ways: reports,
        };
        context.print(&fitted, in_words)
    }
}

/// An example whose numbers of candidates are there.
fn read(line: &str) -> Result<Example, String> {
    let example: Example = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let candidates = example.evidence.candidates.len();
    match example.right.iter().all(|&at| at < candidates) {
        true => Ok(example),
        false => Err("the right candidate is not there".into()),
    }
}

fn in_words(fitted: &Fitted) -> String {
    let mut lines = vec![format!(
        "{:<18}{:>10}{:>10}{:>10}{:>10}",
        "left-out fifths", "loss", "accuracy", "ECE", "penalty"
    )];
    for (way, report) in &fitted.ways {
        lines.push(format!(
            "{:<18}{:>10.4}{:>10.3}{:>10.3}{:>10}",
            way.name(),
            report.loss,
            report.accuracy,
            report.calibration.ece,
            report.penalty
        ));
    }
    lines.push(format!(
        "{} examples; without a generator {}, with one {}",
        fitted.examples,
        fitted.without_generator.name(),
        fitted.with_generator.name()
    ));
    lines.join("\n")
}
