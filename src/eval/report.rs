//! What `gleaner eval retrieval` says.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Evaluation;

/// Means by measure, such as `"ndcg@10": 0.71`, in the order in which they are shown.
pub type Measures = IndexMap<String, f64>;

impl From<&Evaluation> for Measures {
    fn from(evaluation: &Evaluation) -> Measures {
        evaluation
            .measures
            .iter()
            .map(ToString::to_string)
            .zip(evaluation.means.iter().copied())
            .collect()
    }
}

/// A set of queries answered in one or several modes. As JSON it is
/// `{"modes": {"hybrid": {"ndcg@10": .., ..}}, "documents": n, "queries": n}`; shown, a
/// table with a row for each mode.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RetrievalReport {
    /// Measures by mode, in the order in which the modes were run.
    pub modes: IndexMap<String, Measures>,
    /// Documents in the index.
    pub documents: u64,
    /// Queries that count: those with a relevant document.
    pub queries: u64,
}

impl fmt::Display for RetrievalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} documents, {} queries", self.documents, self.queries)?;
        // Modes may differ in their measures: every measure that any mode has.
        let mut columns: Vec<&str> = Vec::new();
        for name in self.modes.values().flat_map(IndexMap::keys) {
            if !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
        let first = self.modes.keys().map(|mode| mode.chars().count()).max();
        let first = first.unwrap_or(0).max("mode".len());
        write!(f, "{:first$}", "mode")?;
        for name in &columns {
            write!(f, "  {name:>6}")?;
        }
        writeln!(f)?;
        for (mode, measures) in &self.modes {
            write!(f, "{mode:first$}")?;
            for name in &columns {
                let width = name.chars().count().max(6);
                match measures.get(*name) {
                    Some(value) => write!(f, "  {value:>width$.4}")?,
                    None => write!(f, "  {:>width$}", "-")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_table_have_their_fixed_shape() {
        let mut report = RetrievalReport {
            documents: 3,
            queries: 2,
            ..Default::default()
        };
        let measures = |values: &[(&str, f64)]| -> Measures {
            values
                .iter()
                .map(|&(name, v)| (name.to_string(), v))
                .collect()
        };
        report.modes.insert(
            "hybrid".into(),
            measures(&[("ndcg@10", 0.5), ("mrr@10", 1.0)]),
        );
        report
            .modes
            .insert("dense".into(), measures(&[("ndcg@10", 0.25)]));
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            "{\"modes\":{\"hybrid\":{\"ndcg@10\":0.5,\"mrr@10\":1.0},\
             \"dense\":{\"ndcg@10\":0.25}},\"documents\":3,\"queries\":2}"
        );
        assert_eq!(
            report.to_string(),
            "3 documents, 2 queries\n\
             mode    ndcg@10  mrr@10\n\
             hybrid   0.5000  1.0000\n\
             dense    0.2500       -\n"
        );
    }
}
