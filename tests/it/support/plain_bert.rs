//! BERT, written down plainly (Devlin et al. 2019), to hold the graphs against.

use super::tiny_model::{Tensors, TinyModel};

/// Vectors of the tokens after the last layer; those from `second` on are of the second type.
pub fn states(model: &TinyModel, tensors: &Tensors, ids: &[u32], second: usize) -> Vec<Vec<f32>> {
    let get = |name: &str| tensors[name].1.as_slice();
    let h = model.hidden;
    let row = |name: &str, index: usize| &get(name)[index * h..(index + 1) * h];
    let norm = |x: &[f32], name: &str| -> Vec<f32> {
        let mean = x.iter().sum::<f32>() / h as f32;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / h as f32;
        let (gamma, beta) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        x.iter()
            .enumerate()
            .map(|(i, v)| (v - mean) / (variance + 1e-12).sqrt() * gamma[i] + beta[i])
            .collect()
    };
    let dense = |x: &[f32], name: &str| -> Vec<f32> {
        let (weight, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        weight
            .chunks(x.len())
            .zip(bias)
            .map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b)
            .collect()
    };
    let add = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a + b).collect() };

    let mut x: Vec<Vec<f32>> = ids
        .iter()
        .enumerate()
        .map(|(position, &id)| {
            let sum = add(
                row("embeddings.word_embeddings.weight", id as usize),
                row("embeddings.position_embeddings.weight", position),
            );
            let kind = usize::from(position >= second);
            let sum = add(&sum, row("embeddings.token_type_embeddings.weight", kind));
            norm(&sum, "embeddings.LayerNorm")
        })
        .collect();
    let size = h / model.heads;
    for layer in 0..model.layers {
        let p = format!("encoder.layer.{layer}");
        let all = |name: &str| -> Vec<Vec<f32>> {
            x.iter().map(|t| dense(t, &format!("{p}.{name}"))).collect()
        };
        let (q, k, v) = (
            all("attention.self.query"),
            all("attention.self.key"),
            all("attention.self.value"),
        );
        x = x
            .iter()
            .enumerate()
            .map(|(i, token)| {
                let mut context = vec![0.0; h];
                for head in 0..model.heads {
                    let part = head * size..(head + 1) * size;
                    let scores: Vec<f32> = k
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
                let mixed = dense(&context, &format!("{p}.attention.output.dense"));
                let attended = norm(
                    &add(token, &mixed),
                    &format!("{p}.attention.output.LayerNorm"),
                );
                let up: Vec<f32> = dense(&attended, &format!("{p}.intermediate.dense"))
                    .iter()
                    .map(|&u| u * 0.5 * (1.0 + erf(u / std::f32::consts::SQRT_2)))
                    .collect();
                let down = dense(&up, &format!("{p}.output.dense"));
                norm(&add(&attended, &down), &format!("{p}.output.LayerNorm"))
            })
            .collect();
    }
    x
}

/// What BertForSequenceClassification says of the first token's vector, a value for each label.
pub fn logits(tensors: &Tensors, first: &[f32]) -> Vec<f32> {
    let dense = |x: &[f32], name: &str| -> Vec<f32> {
        let weight = &tensors[&format!("{name}.weight")].1;
        let bias = &tensors[&format!("{name}.bias")].1;
        let rows = weight.chunks(x.len()).zip(bias);
        rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + b)
            .collect()
    };
    let pooled: Vec<f32> = dense(first, "bert.pooler.dense")
        .iter()
        .map(|v| v.tanh())
        .collect();
    dense(&pooled, "classifier")
}

/// Abramowitz and Stegun 7.1.26, within 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = t
        * (0.254_829_6
            + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - series * (-x * x).exp()).copysign(x)
}
