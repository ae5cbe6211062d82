//! Encoder-decoder models as scorers.

use super::{NextTokens, Scorer};
use crate::error::Result;
use crate::model::{Generation, Logits};

impl From<Logits> for NextTokens {
    fn from(logits: Logits) -> Self {
        NextTokens::new(logits.values, logits.vocabulary)
    }
}

impl Scorer for Generation<'_> {
    fn inputs(&self) -> usize {
        Generation::inputs(self)
    }

    fn end(&self) -> u32 {
        Generation::end(self)
    }

    fn start(&mut self) -> Result<NextTokens> {
        Generation::start(self).map(NextTokens::from)
    }

    fn advance(&mut self, rows: &[(usize, u32)]) -> Result<NextTokens> {
        Generation::advance(self, rows).map(NextTokens::from)
    }

    fn force(&mut self, sequences: &[(usize, &[u32])]) -> Result<Vec<Vec<f32>>> {
        let end = Generation::end(self);
        let mut results = vec![Vec::new(); sequences.len()];
        Generation::force(self, sequences, |at, logits| {
            let next = NextTokens::from(logits);
            let tokens = sequences[at].1.iter().copied().chain([end]);
            results[at] = tokens
                .enumerate()
                .map(|(row, token)| next.log_probability(row, token))
                .collect();
        })?;
        Ok(results)
    }
}
