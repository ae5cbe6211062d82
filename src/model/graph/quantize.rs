//! int8 weights and fixed scales for the activations.
//!
//! An activation is quantised to u8 with one scale and zero point that were fixed when
//! the model was prepared, so a text's vector cannot depend on the texts beside it. A
//! few channels of a transformer's activations are much larger than the rest
//! (Dettmers et al. 2022); they are shrunk, and their rows of the weights enlarged by as
//! much, before either is quantised (after SmoothQuant, Xiao et al. 2023, equation 3).
//! The factors are powers of two, so that moving them is exact. How many channels are
//! shrunk is decided for each layer by the noise that rounding adds to its output.
//!
//! Weights use 7 of their 8 bits: the processors that multiply u8 by i8 in pairs and
//! add the pair in 16 bits would otherwise saturate (2 x 255 x 127 > 32,767), and a
//! vector would depend on the processor.

use super::calibrate::ChannelRange;
use super::weights::Dense;

/// Largest magnitude of a quantised weight: 2 x 255 x 64 fits in 16 bits.
const WEIGHT_MAX: f32 = 64.0;
/// Largest magnitude of a quantised embedding, which is only stored, not multiplied.
const ROW_MAX: f32 = 127.0;
/// Largest activation that is left, as a part of the largest there is.
const CAPS: [f32; 4] = [2.0, 4.0, 8.0, 16.0];
/// Shrinking costs a pass over the activations: it has to save this much of the noise.
const WORTHWHILE: f32 = 0.75;

/// A dense layer with integer weights.
pub(crate) struct QuantizedDense {
    /// inputs x outputs, row-major, within +-64.
    pub weights: Vec<i8>,
    /// One per output.
    pub scales: Vec<f32>,
    /// Factors on the input's channels before it is quantised; none where they are all 1.
    pub factors: Option<Vec<f32>>,
    /// Step of the input's quantisation, positive.
    pub input_scale: f32,
    /// The integer that stands for 0.
    pub input_zero: u8,
}

/// Quantises a dense layer whose input was seen in `range`.
pub(crate) fn dense(dense: &Dense, range: &ChannelRange) -> QuantizedDense {
    let columns = dense.outputs.max(1);
    let shrink = smoothing(dense, range);
    let (step, zero) = grid(range, &shrink);
    let scales = weight_scales(dense, &shrink);
    let weights = dense
        .weight
        .chunks_exact(columns)
        .zip(&shrink)
        .flat_map(|(row, factor)| {
            row.iter().zip(&scales).map(move |(w, scale)| {
                // Row c of the weights takes back what channel c of the input has lost.
                let integer = (w * factor / scale).round();
                integer.clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8
            })
        })
        .collect();
    QuantizedDense {
        weights,
        scales,
        factors: shrink
            .iter()
            .any(|&factor| factor != 1.0)
            .then(|| shrink.iter().map(|factor| 1.0 / factor).collect()),
        input_scale: step,
        input_zero: zero,
    }
}

/// Step and zero point of the activations once every channel is divided by its factor.
fn grid(range: &ChannelRange, shrink: &[f32]) -> (f32, u8) {
    let (mut low, mut high) = (0.0_f32, 0.0_f32);
    for ((&l, &h), factor) in range.low.iter().zip(&range.high).zip(shrink) {
        low = low.min(l / factor);
        high = high.max(h / factor);
    }
    let step = positive((high - low) / 255.0);
    (step, (-low / step).round().clamp(0.0, 255.0) as u8)
}

/// Step of each column of the weights once every row is multiplied by its factor.
fn weight_scales(dense: &Dense, shrink: &[f32]) -> Vec<f32> {
    let columns = dense.outputs.max(1);
    let mut largest = vec![0.0_f32; columns];
    for (row, factor) in dense.weight.chunks_exact(columns).zip(shrink) {
        for (max, w) in largest.iter_mut().zip(row) {
            *max = max.max(w.abs() * factor);
        }
    }
    largest
        .iter()
        .map(|max| positive(max / WEIGHT_MAX))
        .collect()
}

/// By how much each input channel is shrunk: powers of two, 1 for most.
fn smoothing(dense: &Dense, range: &ChannelRange) -> Vec<f32> {
    let plain = vec![1.0; dense.inputs];
    let reach: Vec<f32> = range
        .low
        .iter()
        .zip(&range.high)
        .map(|(low, high)| low.abs().max(high.abs()))
        .collect();
    let largest = reach.iter().copied().fold(0.0, f32::max);
    if !largest.is_normal() {
        return plain;
    }
    let bound = WORTHWHILE * noise(dense, range, &plain);
    CAPS.iter()
        .map(|cap| {
            let shrink: Vec<f32> = reach
                .iter()
                .map(|r| (r * cap / largest).max(1.0).log2().ceil().exp2())
                .collect();
            (noise(dense, range, &shrink), shrink)
        })
        .filter(|(noise, _)| *noise < bound)
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or(plain, |(_, shrink)| shrink)
}

/// Power that rounding adds to a layer's output for one token, the rounding errors
/// taken as uniform and independent: those of the activations through the weights, and
/// those of the weights through the activations.
fn noise(dense: &Dense, range: &ChannelRange, shrink: &[f32]) -> f32 {
    let (step, _) = grid(range, shrink);
    let weights: f32 = dense
        .weight
        .chunks_exact(dense.outputs.max(1))
        .zip(shrink)
        .map(|(row, factor)| factor * factor * row.iter().map(|w| w * w).sum::<f32>())
        .sum();
    let steps: f32 = weight_scales(dense, shrink).iter().map(|s| s * s).sum();
    let activations: f32 = range
        .power
        .iter()
        .zip(shrink)
        .map(|(power, factor)| power / (factor * factor))
        .sum();
    (step * step * weights + steps * activations) / 12.0
}

/// Quantises each row with its own scale: the integers and one scale per row.
pub(crate) fn rows(values: &[f32], columns: usize) -> (Vec<i8>, Vec<f32>) {
    let mut integers = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len() / columns.max(1));
    for row in values.chunks_exact(columns.max(1)) {
        let largest = row.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let scale = positive(largest / ROW_MAX);
        integers.extend(
            row.iter()
                .map(|v| (v / scale).round().clamp(-ROW_MAX, ROW_MAX) as i8),
        );
        scales.push(scale);
    }
    (integers, scales)
}

/// A scale that can be divided by.
fn positive(scale: f32) -> f32 {
    if scale.is_normal() && scale > 0.0 {
        scale
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two inputs, three outputs.
    fn layer(weight: [f32; 6]) -> Dense {
        Dense {
            weight: weight.to_vec(),
            bias: vec![0.0; 3],
            inputs: 2,
            outputs: 3,
        }
    }

    fn range(low: [f32; 2], high: [f32; 2]) -> ChannelRange {
        ChannelRange {
            low: low.to_vec(),
            high: high.to_vec(),
            power: vec![1.0; 2],
        }
    }

    /// What the integers compute for an input.
    fn product(layer: &QuantizedDense, x: [f32; 2]) -> Vec<f32> {
        let ones = vec![1.0; 2];
        let factors = layer.factors.as_ref().unwrap_or(&ones);
        let zero = f32::from(layer.input_zero);
        let q: Vec<f32> = x
            .iter()
            .zip(factors)
            .map(|(x, f)| (x * f / layer.input_scale + zero).round().clamp(0.0, 255.0) - zero)
            .collect();
        (0..3)
            .map(|n| {
                let sum: f32 = (0..2)
                    .map(|c| q[c] * f32::from(layer.weights[3 * c + n]))
                    .sum();
                sum * layer.input_scale * layer.scales[n]
            })
            .collect()
    }

    #[test]
    fn integers_compute_nearly_the_same() {
        let weight = [0.5, -1.0, 0.25, 1.0, 0.75, -0.5];
        let x = [0.8, -0.3];
        let exact: Vec<f32> = (0..3)
            .map(|n| x[0] * weight[n] + x[1] * weight[3 + n])
            .collect();
        for high in [1.0, 40.0] {
            let quantized = dense(&layer(weight), &range([-1.0, -0.5], [1.0, high]));
            for (a, b) in exact.iter().zip(product(&quantized, x)) {
                assert!((a - b).abs() < 0.1, "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_loud_channel_is_shrunk_and_its_weights_enlarged() {
        let quiet_row = [1.0, 1.0, 1.0];
        let weight = [1.0, 1.0, 1.0, 0.01, 0.01, 0.01];
        let quantized = dense(&layer(weight), &range([-1.0, -30.0], [1.0, 30.0]));
        let factors = quantized
            .factors
            .as_ref()
            .expect("the second channel is loud");
        assert_eq!(factors[0], 1.0);
        assert!(factors[1] <= 0.125 && factors[1].log2().fract() == 0.0);
        for (a, b) in quiet_row.iter().zip(product(&quantized, [1.0, 0.0])) {
            assert!((a - b).abs() < 0.05, "{a} and {b}");
        }
    }

    #[test]
    fn even_channels_are_left_alone() {
        let quantized = dense(&layer([1.0; 6]), &range([-1.0; 2], [1.0; 2]));
        assert!(quantized.factors.is_none());
    }

    #[test]
    fn silence_has_a_scale_too() {
        let quantized = dense(&layer([0.0; 6]), &range([0.0; 2], [0.0; 2]));
        assert_eq!((quantized.input_scale, quantized.input_zero), (1.0, 0));
        assert_eq!(product(&quantized, [5.0, 5.0]), [0.0; 3]);
    }

    #[test]
    fn pairs_of_products_fit_in_16_bits() {
        const { assert!(2.0 * 255.0 * WEIGHT_MAX <= 32_767.0) };
    }
}
