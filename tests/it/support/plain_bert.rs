//! BERT, written down plainly (Devlin et al. 2019), to hold the graphs against.

use super::tiny_model::{Tensors, TinyModel};

/// Vectors of the tokens after the last layer; those from `second` on are of the second type.
pub fn states(model: &TinyModel, tensors: &Tensors, ids: &[u32], second: usize) -> Vec<Vec<f32>> {
    let plain = Plain { model, tensors };
    let mut x = plain.embedded(ids, second);
    for layer in 0..model.layers {
        x = plain.layer(&format!("encoder.layer.{layer}"), &x);
    }
    x
}

/// The parts of a BERT with these weights, each over all tokens of a text.
#[derive(Clone, Copy)]
pub struct Plain<'a> {
    pub model: &'a TinyModel,
    pub tensors: &'a Tensors,
}

impl Plain<'_> {
    pub fn get(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    fn row(&self, name: &str, index: usize) -> &[f32] {
        let h = self.model.hidden;
        &self.get(name)[index * h..(index + 1) * h]
    }

    pub fn norm(&self, x: &[f32], name: &str) -> Vec<f32> {
        let h = x.len() as f32;
        let mean = x.iter().sum::<f32>() / h;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / h;
        let (gamma, beta) = (
            self.get(&format!("{name}.weight")),
            self.get(&format!("{name}.bias")),
        );
        x.iter()
            .enumerate()
            .map(|(i, v)| (v - mean) / (variance + 1e-12).sqrt() * gamma[i] + beta[i])
            .collect()
    }

    pub fn dense(&self, x: &[f32], name: &str) -> Vec<f32> {
        let (weight, bias) = (
            self.get(&format!("{name}.weight")),
            self.get(&format!("{name}.bias")),
        );
        weight
            .chunks(x.len())
            .zip(bias)
            .map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b)
            .collect()
    }

    pub fn embedded(&self, ids: &[u32], second: usize) -> Vec<Vec<f32>> {
        ids.iter()
            .enumerate()
            .map(|(position, &id)| {
                let sum = add(
                    self.row("embeddings.word_embeddings.weight", id as usize),
                    self.row("embeddings.position_embeddings.weight", position),
                );
                let kind = usize::from(position >= second);
                let kind = self.row("embeddings.token_type_embeddings.weight", kind);
                self.norm(&add(&sum, kind), "embeddings.LayerNorm")
            })
            .collect()
    }

    /// Attention of `x` to `to`, where `causal` to nothing that comes later, added to `x`.
    pub fn attended(
        &self,
        name: &str,
        x: &[Vec<f32>],
        to: &[Vec<f32>],
        causal: bool,
    ) -> Vec<Vec<f32>> {
        let size = self.model.hidden / self.model.heads;
        let all = |of: &[Vec<f32>], part: &str| -> Vec<Vec<f32>> {
            let name = format!("{name}.self.{part}");
            of.iter().map(|t| self.dense(t, &name)).collect()
        };
        let (q, k, v) = (all(x, "query"), all(to, "key"), all(to, "value"));
        x.iter()
            .enumerate()
            .map(|(i, token)| {
                let mut context = vec![0.0; self.model.hidden];
                let seen = if causal { i + 1 } else { to.len() };
                for head in 0..self.model.heads {
                    let part = head * size..(head + 1) * size;
                    let scores: Vec<f32> = k[..seen]
                        .iter()
                        .map(|k| {
                            let dot: f32 = part.clone().map(|d| q[i][d] * k[d]).sum();
                            dot / (size as f32).sqrt()
                        })
                        .collect();
                    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
                    let exp: Vec<f32> = scores.iter().map(|s| (s - largest).exp()).collect();
                    let total: f32 = exp.iter().sum();
                    for (weight, v) in exp.iter().zip(&v) {
                        for d in part.clone() {
                            context[d] += weight / total * v[d];
                        }
                    }
                }
                let mixed = self.dense(&context, &format!("{name}.output.dense"));
                self.norm(&add(token, &mixed), &format!("{name}.output.LayerNorm"))
            })
            .collect()
    }

    /// The feed-forward part, added to `x`.
    pub fn fed(&self, name: &str, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
        x.iter()
            .map(|token| {
                let up: Vec<f32> = self
                    .dense(token, &format!("{name}.intermediate.dense"))
                    .iter()
                    .map(|&u| u * 0.5 * (1.0 + erf(u / std::f32::consts::SQRT_2)))
                    .collect();
                let down = self.dense(&up, &format!("{name}.output.dense"));
                self.norm(&add(token, &down), &format!("{name}.output.LayerNorm"))
            })
            .collect()
    }

    /// A layer of the encoder.
    pub fn layer(&self, name: &str, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
        self.fed(
            name,
            &self.attended(&format!("{name}.attention"), x, x, false),
        )
    }
}

pub fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// What BertForSequenceClassification says of the first token's vector, a value for each label.
pub fn logits(tensors: &Tensors, first: &[f32]) -> Vec<f32> {
    let model = &TinyModel::default();
    let plain = Plain { model, tensors };
    let pooled = plain.dense(first, "bert.pooler.dense");
    let pooled: Vec<f32> = pooled.iter().map(|v| v.tanh()).collect();
    plain.dense(&pooled, "classifier")
}

/// Abramowitz and Stegun 7.1.26, within 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = t
        * (0.254_829_6
            + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - series * (-x * x).exp()).copysign(x)
}
