//! Encoder-decoder models: an input in, the tokens of an answer out, one after the other.
//!
//! A model is a folder as optimum exports it, with names of inputs and outputs taken from the
//! graphs:
//! ```text
//! encoder_model.onnx              input_ids, attention_mask -> last_hidden_state
//! decoder_model.onnx              the whole answer so far -> logits, and what to remember of it
//! decoder_with_past_model.onnx    one more token, and what was remembered -> the same
//! decoder_model_merged.onnx       both in one, in place of the two
//! config.json, generation_config.json, tokenizer.json
//! ```
//! What is remembered are keys and values of attention (`present.*`, given back as
//! `past_key_values.*`): of the decoder, longer with every token, and of the encoder, which stay
//! as they are. Without a graph that takes them, the whole answer is read again for every token.

mod generation;
mod graph;
mod turn;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::files::{invalid, read_json, read_json_if_there};
use super::request::Cancellation;
use super::runtime::RuntimeOptions;
use super::tokenizer::TextTokenizer;
use crate::error::{Code, Error, Problem, Result};
pub use generation::{Generation, Logits};
use graph::{Cells, Feeds, Sessions};
use turn::Turns;

pub(super) const ENCODER: &str = "encoder_model.onnx";
pub(super) const DECODER: &str = "decoder_model.onnx";
pub(super) const WITH_PAST: &str = "decoder_with_past_model.onnx";
const MERGED: &str = "decoder_model_merged.onnx";
const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";

/// What stands around a mention that a generator is asked about (GENRE).
const OPEN: &str = "[START_ENT]";
const CLOSE: &str = "[END_ENT]";

/// Longest input in tokens where the model does not say.
const MAX_TOKENS: usize = 512;

/// What `config.json` and `generation_config.json` say; of the latter what is there counts.
#[derive(Debug, Clone, Default, Deserialize)]
struct Settings {
    decoder_start_token_id: Option<u32>,
    eos_token_id: Option<Ids>,
    forced_bos_token_id: Option<u32>,
    max_position_embeddings: Option<usize>,
    n_positions: Option<usize>,
    max_target_positions: Option<usize>,
    vocab_size: Option<usize>,
    /// Ours: see [`Generator::window`].
    beginning_tokens: Option<usize>,
}

/// One id or several, of which the first is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

/// An encoder-decoder model. Cheap to clone; one generation runs at a time, on all threads.
#[derive(Clone)]
pub struct Generator(Arc<Inner>);

struct Inner {
    sessions: Turns<Sessions>,
    tokenizer: TextTokenizer,
    /// The same for what callers write: special tokens are no more than characters to it.
    plain: TextTokenizer,
    tokenizer_sha256: String,
    /// What every answer begins with.
    prefix: Vec<u32>,
    end: u32,
    max_tokens: usize,
    max_answer: usize,
    /// Numbers of a token's logits.
    vocabulary: usize,
    /// Tokens of a text's beginning that stay in a window.
    beginning: usize,
}

impl Settings {
    /// What the files of a folder say.
    fn read(folder: &Path) -> Result<Settings> {
        let settings: Settings = read_json(folder, CONFIG)?;
        let Some(generation) = read_json_if_there::<Settings>(folder, GENERATION)? else {
            return Ok(settings);
        };
        Ok(Settings {
            decoder_start_token_id: generation
                .decoder_start_token_id
                .or(settings.decoder_start_token_id),
            eos_token_id: generation.eos_token_id.or(settings.eos_token_id),
            forced_bos_token_id: generation
                .forced_bos_token_id
                .or(settings.forced_bos_token_id),
            ..settings
        })
    }

    /// Longest answer in tokens, with neither what every answer begins with nor the end; of models
    /// that learn a vector for every place, as many as have one.
    fn max_answer(&self) -> usize {
        let prefix = 1 + usize::from(self.forced_bos_token_id.is_some());
        let places = self.max_target_positions.or(self.max_position_embeddings);
        places.map_or(usize::MAX, |places| places.saturating_sub(prefix))
    }
}

impl Generator {
    /// Longest answer in tokens of the generator in a folder, as [`Generator::max_answer`]; None
    /// where there is none in it.
    ///
    /// # Errors
    /// InvalidModel for files that cannot be read.
    pub(crate) fn max_answer_in(folder: &Path) -> Result<Option<usize>> {
        match Generator::is_one(folder) {
            true => Ok(Some(Settings::read(folder)?.max_answer())),
            false => Ok(None),
        }
    }

    /// Whether a folder is laid out as one of these.
    pub(super) fn is_one(folder: &Path) -> bool {
        folder.join(ENCODER).is_file()
    }

    /// Loads a folder.
    ///
    /// # Errors
    /// InvalidModel for a file that is missing, broken or not what it should be; an operator's
    /// error where ONNX Runtime cannot be loaded.
    pub fn open(folder: &Path, options: &RuntimeOptions) -> Result<Generator> {
        if !Generator::is_one(folder) {
            let message = format!("the model in {} is no generator", folder.display());
            return Err(invalid(ENCODER, message)
                .found("no such file")
                .expected("an encoder-decoder model as optimum exports it")
                .into());
        }
        let settings = Settings::read(folder)?;
        let max_answer = settings.max_answer();
        let lacking = |what: &'static str| {
            invalid(
                CONFIG,
                "the model does not say how an answer begins and ends",
            )
            .expected(what)
        };
        let start = settings
            .decoder_start_token_id
            .ok_or_else(|| lacking("decoder_start_token_id"))?;
        let end = match settings.eos_token_id {
            Some(Ids::One(end)) => Some(end),
            Some(Ids::Many(ends)) => ends.first().copied(),
            None => None,
        };
        let end = end.ok_or_else(|| lacking("eos_token_id"))?;
        // One generation at a time has all the threads that several sessions would share.
        let options = RuntimeOptions {
            threads_per_session: options.session_count() * options.threads_per_session.max(1),
            ..options.clone()
        };
        let names = super::NameTokenizer::open(folder)?;
        let positions = settings.max_position_embeddings.or(settings.n_positions);
        let sessions = Sessions::open(folder, &options)?;
        let tokenizer = TextTokenizer::open(folder)?;
        let vocabulary = sessions.decoder.width_of("logits").or(settings.vocab_size);
        Ok(Generator(Arc::new(Inner {
            vocabulary: vocabulary.unwrap_or_else(|| tokenizer.vocabulary()),
            sessions: Turns::new(sessions),
            plain: TextTokenizer::open(folder)?.without_special_tokens(),
            tokenizer,
            tokenizer_sha256: names.sha256().to_owned(),
            prefix: std::iter::once(start)
                .chain(settings.forced_bos_token_id)
                .collect(),
            end,
            max_tokens: positions.unwrap_or(MAX_TOKENS),
            max_answer,
            beginning: settings.beginning_tokens.unwrap_or(0),
        })))
    }

    /// Hash of the `tokenizer.json`, in hexadecimal.
    pub fn tokenizer_sha256(&self) -> &str {
        &self.0.tokenizer_sha256
    }

    /// Longest input in tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.0.max_tokens
    }

    /// Longest answer in tokens, with neither what every answer begins with nor the end;
    /// `usize::MAX` where nothing bounds it.
    pub fn max_answer(&self) -> usize {
        self.0.max_answer
    }

    /// The token that ends an answer.
    pub fn end(&self) -> u32 {
        self.0.end
    }

    /// Tokens of `before`, `middle` and `after`, with the special tokens around them, in at most
    /// `max_tokens`: the middle is kept whole where it fits, and of the sides what is next to it.
    /// Where `config.json` says so (`beginning_tokens`), the first tokens of `before` stay as well,
    /// with the end's token behind them, if there is room for twice as many: what a text is about is
    /// said there. What looks like a special token is read as any other characters are.
    ///
    /// # Errors
    /// InvalidRequest for a text that the tokenizer refuses.
    pub fn window(
        &self,
        before: &str,
        middle: &str,
        after: &str,
        max_tokens: usize,
    ) -> Result<Vec<u32>> {
        let plain = |text: &str| self.0.plain.whole("", text);
        self.fit(plain(before)?, plain(middle)?, plain(after)?, max_tokens)
    }

    fn fit(
        &self,
        before: Vec<u32>,
        mut middle: Vec<u32>,
        after: Vec<u32>,
        max_tokens: usize,
    ) -> Result<Vec<u32>> {
        let tokenizer = &self.0.tokenizer;
        let room = max_tokens
            .min(self.0.max_tokens)
            .saturating_sub(tokenizer.specials());
        middle.truncate(room);
        let room = room - middle.len();
        let right = after
            .len()
            .min(room.div_ceil(2).max(room.saturating_sub(before.len())));
        let left = before.len().min(room - right);
        let after = &after[..right];
        let beginning = self.0.beginning;
        if beginning == 0 || left == before.len() || left <= 2 * beginning {
            let before = &before[before.len() - left..];
            return Ok(tokenizer.with_specials(&[before, &middle, after]));
        }
        let next = &before[before.len() - (left - beginning - 1)..];
        let parts = [&before[..beginning], &[self.0.end], next, &middle, after];
        Ok(tokenizer.with_specials(&parts))
    }

    /// As [`Generator::window`] with the middle marked, as a mention: `[START_ENT]` before it and
    /// `[END_ENT]` behind. Nothing else is: what the text has of such marks and of other special
    /// tokens is read as any other characters are.
    ///
    /// # Errors
    /// As [`Generator::window`].
    pub fn marked_window(
        &self,
        before: &str,
        mention: &str,
        after: &str,
        max_tokens: usize,
    ) -> Result<Vec<u32>> {
        let plain = |text: &str| self.0.plain.whole("", text);
        let id = |mark| self.0.tokenizer.special(mark);
        let (Some(open), Some(close)) = (id(OPEN), id(CLOSE)) else {
            // The marks are spelled like any text: there must be no others.
            let [before, mention, after] = [before, mention, after].map(without_marks);
            let middle = plain(&format!(" {OPEN} {mention} {CLOSE} "))?;
            return self.fit(plain(&before)?, middle, plain(&after)?, max_tokens);
        };
        let space = plain(" ")?;
        let mention = plain(&format!(" {mention} "))?;
        let middle = [&space, &[open][..], &mention, &[close], &space].concat();
        self.fit(plain(before)?, middle, plain(after)?, max_tokens)
    }

    /// Reads inputs, token ids with the special tokens around them, and is ready to write answers
    /// to them. Waits while another thread's generation runs.
    ///
    /// # Errors
    /// An operator's error where the session fails; a bug where this thread has a generation that
    /// it has not dropped.
    pub fn read(&self, inputs: &[Vec<u32>]) -> Result<Generation<'_>> {
        self.read_while(inputs, &Cancellation::default())
    }

    /// The same as long as somebody waits for it.
    ///
    /// # Errors
    /// As [`Generator::read`]; Timeout, here or of the generation, once it is cancelled.
    pub fn read_while(
        &self,
        inputs: &[Vec<u32>],
        cancellation: &Cancellation,
    ) -> Result<Generation<'_>> {
        let longest = inputs.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let pad = i64::from(self.0.tokenizer.pad());
        let mut ids = Vec::with_capacity(inputs.len() * longest);
        let mut mask = Vec::with_capacity(inputs.len() * longest);
        for input in inputs {
            ids.extend(input.iter().map(|&id| i64::from(id)));
            ids.resize(ids.len() + longest - input.len(), pad);
            mask.resize(mask.len() + input.len(), 1_i64);
            mask.resize(mask.len() + longest - input.len(), 0);
        }
        let mut sessions = self.0.sessions.take(cancellation)?;
        let mut states = Cells::default();
        if !inputs.is_empty() {
            let shape = [inputs.len(), longest];
            let feeds = Feeds {
                shape,
                ids: &ids,
                mask: Some((shape, &mask)),
                ..Feeds::default()
            };
            let encoder = &mut sessions.encoder;
            let mut outputs = encoder.run(&feeds, &["last_hidden_state"])?;
            states = outputs.pop().unwrap_or_default();
        }
        Ok(Generation::new(
            &self.0,
            sessions,
            states,
            mask,
            inputs.len(),
            cancellation.clone(),
        ))
    }
}

/// A text whose marks are none any more, whatever their case.
fn without_marks(text: &str) -> Cow<'_, str> {
    let upper = text.to_ascii_uppercase();
    let marks = [OPEN, CLOSE].into_iter();
    let mut found: Vec<usize> = marks
        .flat_map(|mark| upper.match_indices(mark))
        .map(|(at, _)| at)
        .collect();
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_unstable();
    let mut without = String::with_capacity(text.len());
    let mut from = 0;
    for at in found {
        without.push_str(&text[from..at]);
        without.push('(');
        from = at + 1;
    }
    without.push_str(&text[from..]);
    Cow::Owned(without)
}

fn abandoned() -> Error {
    Problem::new(Code::Timeout, "nobody waits for this text any more").into()
}

#[cfg(test)]
mod tests;
