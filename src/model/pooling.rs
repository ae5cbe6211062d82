//! From token vectors to one vector per text. Padding never counts, nor do the tokens of a
//! prompt where the manifest says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the token vectors of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean of all tokens, special tokens included.
    Mean,
    /// The first token.
    Cls,
    /// The last token that is not padding.
    Last,
    /// Mean weighted by position, 1 for the first token (SGPT, Muennighoff 2022).
    WeightedMean,
    /// Attention of the tokens to trained latents (NV-Embed, arXiv 2405.17428), by the head
    /// or the graph.
    LatentAttention,
    /// Attention of trained latents to a vector of every layer (arXiv 2409.02727), by the
    /// head or the graph.
    MultiLayer,
    /// Any other trained pooling, by the head or the graph.
    Head,
}

impl Pooling {
    /// Whether it was trained: then a graph does it, not this module.
    pub(crate) fn is_trained(self) -> bool {
        matches!(
            self,
            Pooling::LatentAttention | Pooling::MultiLayer | Pooling::Head
        )
    }

    /// Pools one text. `tokens` is `length` rows of `pooled.len()` values, without
    /// padding; a text of no tokens pools to zeros. The first `skip` tokens count in no
    /// mean (sentence-transformers' `include_prompt = false`): positions keep their weights,
    /// and the first and the last token are what they are.
    pub(crate) fn pool(self, tokens: &[f32], skip: usize, pooled: &mut [f32]) {
        let dimensions = pooled.len();
        pooled.fill(0.0);
        if dimensions == 0 {
            return;
        }
        let mut rows = tokens.chunks_exact(dimensions);
        match self {
            // Held to by `encoder`: these never get here.
            Pooling::LatentAttention | Pooling::MultiLayer | Pooling::Head => {}
            Pooling::Cls => {
                if let Some(row) = rows.next() {
                    pooled.copy_from_slice(row);
                }
            }
            Pooling::Last => {
                if let Some(row) = rows.next_back() {
                    pooled.copy_from_slice(row);
                }
            }
            Pooling::Mean => {
                let rows = rows.skip(skip);
                let count = rows.len().max(1) as f32;
                for row in rows {
                    for (sum, value) in pooled.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
                scale(pooled, 1.0 / count);
            }
            Pooling::WeightedMean => {
                let mut total = 0.0_f32;
                for (position, row) in rows.enumerate().skip(skip) {
                    let weight = (position + 1) as f32;
                    total += weight;
                    for (sum, value) in pooled.iter_mut().zip(row) {
                        *sum += weight * value;
                    }
                }
                scale(pooled, 1.0 / total.max(1.0));
            }
        }
    }
}

fn scale(vector: &mut [f32], factor: f32) {
    for value in vector {
        *value *= factor;
    }
}

/// Scales a vector to length 1 (L2); a vector of zeros stays as it is.
pub(crate) fn normalize(vector: &mut [f32]) {
    let squares: f32 = vector.iter().map(|v| v * v).sum();
    if squares > 0.0 {
        scale(vector, 1.0 / squares.sqrt());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 8.0, 0.0];

    fn pooled(pooling: Pooling) -> [f32; 2] {
        let mut out = [9.0; 2];
        pooling.pool(&TOKENS, 0, &mut out);
        out
    }

    #[test]
    fn a_prompt_is_left_out_of_means_and_positions_keep_their_weights() {
        let mut out = [9.0; 2];
        Pooling::Mean.pool(&TOKENS, 1, &mut out);
        assert_eq!(out, [5.5, 2.0]);
        Pooling::WeightedMean.pool(&TOKENS, 1, &mut out);
        assert!((out[0] - 30.0 / 5.0).abs() < 1e-6);
        assert!((out[1] - 8.0 / 5.0).abs() < 1e-6);
        // Nothing but a prompt: there is nothing to pool.
        Pooling::Mean.pool(&TOKENS, 7, &mut out);
        assert_eq!(out, [0.0; 2]);
    }

    #[test]
    fn each_pooling_is_its_formula() {
        assert_eq!(pooled(Pooling::Mean), [4.0, 2.0]);
        assert_eq!(pooled(Pooling::Cls), [1.0, 2.0]);
        assert_eq!(pooled(Pooling::Last), [8.0, 0.0]);
        let weighted = pooled(Pooling::WeightedMean);
        assert!((weighted[0] - 31.0 / 6.0).abs() < 1e-6);
        assert!((weighted[1] - 10.0 / 6.0).abs() < 1e-6);
    }

    #[test]
    fn no_tokens_pool_to_zeros() {
        for pooling in [
            Pooling::Mean,
            Pooling::Cls,
            Pooling::Last,
            Pooling::WeightedMean,
        ] {
            let mut out = [1.0; 2];
            pooling.pool(&[], 0, &mut out);
            assert_eq!(out, [0.0; 2]);
            normalize(&mut out);
            assert_eq!(out, [0.0; 2]);
        }
    }

    #[test]
    fn normalised_vectors_have_length_one() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
    }
}
