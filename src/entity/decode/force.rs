//! Scoring given names exactly, without search.

use super::Scorer;
use crate::error::Result;

/// The probability of a given name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forced {
    /// The logarithm of it, the end's included.
    pub log_probability: f32,
    /// Tokens of the name, the end not counted.
    pub tokens: usize,
}

/// Scores every one of these names for an input: pairs of an input and the tokens of a name. All
/// of them go through the model at once, so it is for tens or hundreds of names, not thousands.
///
/// What the names of an entity have together is its probability; what all names have together is
/// how sure the model is that it is any of them ([`log_sum_exp`]).
///
/// # Errors
/// Those of the scorer.
pub fn teacher_force<S: Scorer>(scorer: &mut S, names: &[(usize, &[u32])]) -> Result<Vec<Forced>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let scores = scorer.force(names)?;
    Ok(scores
        .iter()
        .zip(names)
        .map(|(scores, (_, tokens))| Forced {
            log_probability: scores.iter().sum(),
            tokens: tokens.len(),
        })
        .collect())
}

/// The logarithm of the sum of what these are the logarithms of; that of 0 for none.
pub fn log_sum_exp(values: impl IntoIterator<Item = f32> + Clone) -> f32 {
    let most = values.clone().into_iter().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() {
        return most;
    }
    let sum: f64 = values
        .into_iter()
        .map(|value| f64::from(value - most).exp())
        .sum();
    most + sum.ln() as f32
}
