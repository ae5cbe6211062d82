//! What the inputs of the dense layers look like: the fp32 graph is run over a built-in
//! set of varied texts and the range of every channel is recorded.

use std::collections::BTreeMap;

use super::bert::{self, Arithmetic, Site, tap};
use super::weights::{BertConfig, BertWeights};
use crate::error::{Error, Result};
use crate::model::batch::{self, Batch};
use crate::model::runtime::RuntimeOptions;
use crate::model::session::EncoderSession;
use crate::model::tokenizer::{TextTokenizer, Tokenized};

/// One text per line: queries, prose of many fields, code, tables, other scripts, noise.
const TEXTS: &str = include_str!("calibration.txt");
/// Lines put together to make paragraphs, and to make texts of the full length.
const PARAGRAPH: usize = 6;
const PAGE: usize = 14;
/// Tokens of a query, at most, where pairs are calibrated.
const QUERY: usize = 16;
/// Tokens per calibration batch: every dense layer's input is kept for one batch.
const BATCH_TOKENS: usize = 1024;

/// What was seen of every channel of a dense layer's input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelRange {
    /// Smallest value, at most 0.
    pub low: Vec<f32>,
    /// Largest value, at least 0.
    pub high: Vec<f32>,
    /// Mean square.
    pub power: Vec<f32>,
}

/// The ranges of all dense layers' inputs.
pub(crate) struct Calibration {
    ranges: BTreeMap<(usize, Site), ChannelRange>,
}

impl Calibration {
    /// Range of a dense layer's input.
    ///
    /// # Errors
    /// Bug, when that layer was not calibrated.
    pub(crate) fn range(&self, layer: usize, site: Site) -> Result<&ChannelRange> {
        self.ranges
            .get(&(layer, site))
            .ok_or_else(|| Error::Bug(format!("layer {layer} {site:?} was not calibrated")))
    }

    /// Runs the fp32 graph over the built-in texts.
    ///
    /// # Errors
    /// Operator, when ONNX Runtime cannot be loaded or fails.
    pub(crate) fn run(
        config: &BertConfig,
        weights: &BertWeights,
        tokenizer: &TextTokenizer,
        max_tokens: usize,
        options: &RuntimeOptions,
    ) -> Result<Self> {
        let (model, _) = bert::build(config, weights, Arithmetic::Tapped, None)?;
        // One thread: sums are then taken in one order on every machine of a kind.
        let mut session = EncoderSession::from_memory(&model, options.library.as_deref())?;
        drop(model);
        let encoded = match weights.classifier {
            None => texts()
                .iter()
                .map(|text| tokenizer.encode("", text, max_tokens))
                .collect::<Result<Vec<_>>>()?,
            Some(_) => pairs(tokenizer, max_tokens)?,
        };
        let lengths: Vec<usize> = encoded.iter().map(|text| text.ids.len()).collect();
        let mut ranges = BTreeMap::new();
        for rows in batch::plan(&lengths, BATCH_TOKENS) {
            let seconds = rows.iter().map(|&row| encoded[row].second).collect();
            let batch = Batch::new(&rows, &encoded, tokenizer.pad()).typed(seconds);
            for layer in 0..config.layers {
                for site in Site::ALL {
                    let width = match site {
                        Site::Down => config.intermediate,
                        _ => config.hidden,
                    };
                    ranges
                        .entry((layer, site))
                        .or_insert_with(|| ChannelRange::nothing(width));
                }
            }
            session.run(&batch, |name, values| {
                for (&(layer, site), range) in &mut ranges {
                    if tap(layer, site) == name {
                        range.widen(&batch, values);
                    }
                }
            })?;
        }
        let tokens: usize = lengths.iter().sum();
        for range in ranges.values_mut() {
            for power in &mut range.power {
                *power /= tokens.max(1) as f32;
            }
        }
        Ok(Calibration { ranges })
    }
}

impl ChannelRange {
    fn nothing(width: usize) -> Self {
        ChannelRange {
            low: vec![0.0; width],
            high: vec![0.0; width],
            power: vec![0.0; width],
        }
    }

    /// Takes in the values of a batch (rows x longest x width), without the padding; the
    /// power is still a sum.
    fn widen(&mut self, batch: &Batch, values: &[f32]) {
        let width = self.low.len();
        let texts = values.chunks_exact((batch.longest() * width).max(1));
        for (text, &length) in texts.zip(batch.lengths()) {
            for token in text.chunks_exact(width).take(length) {
                let channels = self.low.iter_mut().zip(&mut self.high).zip(&mut self.power);
                for (((low, high), power), &value) in channels.zip(token) {
                    *low = low.min(value);
                    *high = high.max(value);
                    *power += value * value;
                }
            }
        }
    }
}

/// Each of the texts behind two queries: one that it begins with, and one out of another.
fn pairs(tokenizer: &TextTokenizer, max_tokens: usize) -> Result<Vec<Tokenized>> {
    let template = tokenizer.pair_template()?;
    let room = max_tokens.saturating_sub(template.specials());
    let texts = texts();
    let mut pairs = Vec::with_capacity(2 * texts.len());
    for (n, text) in texts.iter().enumerate() {
        let (passage, _) = tokenizer.first(text, room.max(1))?;
        let other = tokenizer.first(&texts[(n + 7) % texts.len()], QUERY)?.0;
        for query in [&passage, &other] {
            let query = &query[..query.len().min(QUERY).min(room / 2)];
            let rest = &passage[..passage.len().min(room - query.len())];
            pairs.push(template.join(query, rest, false));
        }
    }
    Ok(pairs)
}

/// The calibration texts: lines, paragraphs and pages made of them, and nothing at all.
fn texts() -> Vec<String> {
    let lines: Vec<&str> = TEXTS
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let mut texts: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    texts.push(String::new());
    texts.extend(lines.chunks(PARAGRAPH).map(|chunk| chunk.join(" ")));
    for start in (0..lines.len()).step_by(20) {
        // Strides of 7 mix fields that the file keeps together.
        let page: Vec<&str> = (0..PAGE)
            .filter_map(|step| lines.get((start + 7 * step) % lines.len()).copied())
            .collect();
        texts.push(page.join(" "));
    }
    texts
}
