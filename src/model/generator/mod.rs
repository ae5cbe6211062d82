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

use std::path::Path;
use std::sync::Arc;

use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, TensorRef};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;

use super::files::{invalid, read_json, read_json_if_there};
use super::runtime::RuntimeOptions;
use super::session::{builder, failed, refused};
use super::tokenizer::TextTokenizer;
use crate::error::{Error, Result};

pub(super) const ENCODER: &str = "encoder_model.onnx";
const DECODER: &str = "decoder_model.onnx";
const WITH_PAST: &str = "decoder_with_past_model.onnx";
const MERGED: &str = "decoder_model_merged.onnx";
const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";

/// Numbers of logits that scoring given answers may take at once.
const LOGITS: usize = 1 << 24;
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
    sessions: Mutex<Sessions>,
    tokenizer: TextTokenizer,
    tokenizer_sha256: String,
    /// What every answer begins with.
    prefix: Vec<u32>,
    end: u32,
    max_tokens: usize,
}

struct Sessions {
    encoder: Graph,
    decoder: Graph,
    /// What takes what is remembered; the decoder itself where it is a merged one.
    with_past: Option<Graph>,
    merged: bool,
}

/// A session with the names of its inputs.
struct Graph {
    session: Session,
    inputs: Vec<String>,
    /// Shapes of the inputs that are remembered, for heads and sizes.
    pasts: Vec<Past>,
    file: &'static str,
}

/// An input of something that is remembered.
#[derive(Debug, Clone)]
struct Past {
    input: String,
    output: String,
    of_encoder: bool,
    heads: usize,
    size: usize,
}

impl Generator {
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
        let mut settings: Settings = read_json(folder, CONFIG)?;
        if let Some(generation) = read_json_if_there::<Settings>(folder, GENERATION)? {
            settings = Settings {
                decoder_start_token_id: generation
                    .decoder_start_token_id
                    .or(settings.decoder_start_token_id),
                eos_token_id: generation.eos_token_id.or(settings.eos_token_id),
                forced_bos_token_id: generation
                    .forced_bos_token_id
                    .or(settings.forced_bos_token_id),
                ..settings
            };
        }
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
        let open = |file| Graph::open(folder, file, &options);
        let merged = folder.join(MERGED).is_file();
        let sessions = Sessions {
            encoder: open(ENCODER)?,
            decoder: open(if merged { MERGED } else { DECODER })?,
            with_past: match folder.join(WITH_PAST).is_file() && !merged {
                true => Some(open(WITH_PAST)?),
                false => None,
            },
            merged,
        };
        sessions.check()?;
        let names = super::NameTokenizer::open(folder)?;
        let positions = settings.max_position_embeddings.or(settings.n_positions);
        Ok(Generator(Arc::new(Inner {
            sessions: Mutex::new(sessions),
            tokenizer: TextTokenizer::open(folder)?,
            tokenizer_sha256: names.sha256().to_owned(),
            prefix: std::iter::once(start)
                .chain(settings.forced_bos_token_id)
                .collect(),
            end,
            max_tokens: positions.unwrap_or(MAX_TOKENS),
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

    /// The token that ends an answer.
    pub fn end(&self) -> u32 {
        self.0.end
    }

    /// Tokens of `before`, `middle` and `after`, with the special tokens around them, in at most
    /// `max_tokens`: the middle is kept whole where it fits, and of the sides what is next to it.
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
        let tokenizer = &self.0.tokenizer;
        let room = max_tokens
            .min(self.0.max_tokens)
            .saturating_sub(tokenizer.specials());
        let mut middle = tokenizer.whole("", middle)?;
        middle.truncate(room);
        let room = room - middle.len();
        let (before, after) = (tokenizer.whole("", before)?, tokenizer.whole("", after)?);
        let right = after
            .len()
            .min(room.div_ceil(2).max(room.saturating_sub(before.len())));
        let left = before.len().min(room - right);
        let (before, after) = (&before[before.len() - left..], &after[..right]);
        Ok(tokenizer.with_specials(&[before, &middle, after]))
    }

    /// Reads inputs, token ids with the special tokens around them, and is ready to write answers
    /// to them. Waits while another generation runs.
    ///
    /// # Errors
    /// An operator's error where the session fails.
    pub fn read(&self, inputs: &[Vec<u32>]) -> Result<Generation<'_>> {
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
        let mut sessions = self.0.sessions.lock();
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
        Ok(Generation {
            generator: &self.0,
            sessions,
            mask,
            longest,
            states,
            inputs: inputs.len(),
            rows: Vec::new(),
            decoder: Vec::new(),
            encoder: Vec::new(),
            spread: None,
            vocabulary: 0,
        })
    }
}

/// Numbers with their shape: rows first.
#[derive(Debug, Clone, Default)]
struct Cells {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Cells {
    /// These rows, in this order.
    ///
    /// # Errors
    /// Operator, where a graph has given fewer rows than it was asked for.
    fn gather(&self, rows: impl ExactSizeIterator<Item = usize>) -> Result<Cells> {
        let size: usize = self.shape.iter().skip(1).product();
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let mut values = Vec::with_capacity(rows.len() * size);
        for row in rows {
            let cells = self.values.get(row * size..(row + 1) * size);
            values.extend_from_slice(cells.ok_or_else(|| {
                Error::operator("a graph of the generator gives fewer rows than it was given")
                    .advice("export the model again")
            })?);
        }
        Ok(Cells { shape, values })
    }
}

/// What a graph may be given.
#[derive(Default)]
struct Feeds<'a> {
    shape: [usize; 2],
    ids: &'a [i64],
    mask: Option<([usize; 2], &'a [i64])>,
    states: Option<&'a Cells>,
    /// By the names of the inputs.
    pasts: Vec<(&'a str, &'a Cells)>,
    use_cache: bool,
}

impl Graph {
    fn open(folder: &Path, file: &'static str, options: &RuntimeOptions) -> Result<Graph> {
        let path = folder.join(file);
        if !path.is_file() {
            return Err(invalid(
                file,
                format!("the model folder {} lacks a file", folder.display()),
            )
            .found("no such file")
            .expected(format!("{file}, as optimum exports it"))
            .into());
        }
        let session = builder(options)?
            .commit_from_file(&path)
            .map_err(|e| refused(file, &e))?;
        let mut pasts = Vec::new();
        let mut inputs = Vec::new();
        for input in session.inputs() {
            inputs.push(input.name().to_owned());
            let Some(rest) = input.name().strip_prefix("past_key_values.") else {
                continue;
            };
            if input.dtype().tensor_type() != Some(TensorElementType::Float32) {
                return Err(invalid(file, "what is remembered has another type")
                    .found(format!("{}: {}", input.name(), input.dtype()))
                    .expected("a tensor of float")
                    .into());
            }
            let dimension = |at: usize| {
                let shape = input.dtype().tensor_shape();
                let size = shape.and_then(|shape| shape.get(at).copied()).unwrap_or(1);
                usize::try_from(size).unwrap_or(1).max(1)
            };
            pasts.push(Past {
                input: input.name().to_owned(),
                output: format!("present.{rest}"),
                of_encoder: rest.contains(".encoder."),
                heads: dimension(1),
                size: dimension(3),
            });
        }
        Ok(Graph {
            session,
            inputs,
            pasts,
            file,
        })
    }

    fn has_output(&self, name: &str) -> bool {
        self.session
            .outputs()
            .iter()
            .any(|output| output.name() == name)
    }

    /// Runs the graph; gives the outputs of these names, in their order.
    fn run(&mut self, feeds: &Feeds<'_>, wanted: &[&str]) -> Result<Vec<Cells>> {
        let shape = |shape: &[usize]| shape.iter().map(|&n| n as i64).collect::<Vec<i64>>();
        let ints = |dims: [usize; 2], values: &[i64]| -> Result<SessionInputValue<'static>> {
            let tensor = Tensor::from_array((shape(&dims), values.to_vec())).map_err(failed)?;
            Ok(tensor.into())
        };
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        for name in &self.inputs {
            let value: SessionInputValue<'_> = match name.as_str() {
                "input_ids" | "decoder_input_ids" => ints(feeds.shape, feeds.ids)?,
                "attention_mask" | "encoder_attention_mask" => match feeds.mask {
                    Some((dims, mask)) => ints(dims, mask)?,
                    None => continue,
                },
                "encoder_hidden_states" => match feeds.states {
                    Some(states) => floats(states)?,
                    None => continue,
                },
                "use_cache_branch" => Tensor::from_array((vec![1_i64], vec![feeds.use_cache]))
                    .map_err(failed)?
                    .into(),
                past => match feeds.pasts.iter().find(|(name, _)| *name == past) {
                    Some((_, cells)) => floats(cells)?,
                    None => continue,
                },
            };
            inputs.push((name, value));
        }
        let outputs = self.session.run(inputs).map_err(failed)?;
        wanted
            .iter()
            .map(|name| {
                let value = outputs.get(*name).ok_or_else(|| {
                    Error::from(invalid(self.file, "the graph lacks an output").expected(*name))
                })?;
                let (shape, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
                Ok(Cells {
                    shape: shape
                        .iter()
                        .map(|&n| usize::try_from(n).unwrap_or(0))
                        .collect(),
                    values: values.to_vec(),
                })
            })
            .collect()
    }
}

fn floats(cells: &Cells) -> Result<SessionInputValue<'_>> {
    let shape: Vec<i64> = cells.shape.iter().map(|&n| n as i64).collect();
    // ONNX Runtime takes no view of nothing.
    if cells.values.is_empty() {
        let empty = Tensor::from_array((shape, Vec::<f32>::new())).map_err(failed)?;
        return Ok(empty.into());
    }
    let view = TensorRef::from_array_view((shape, cells.values.as_slice())).map_err(failed)?;
    Ok(view.into())
}

impl Sessions {
    /// Refuses graphs that are not what they should be, by their inputs and outputs.
    fn check(&self) -> Result<()> {
        let lacking = |graph: &Graph, what: &str| -> Error {
            invalid(
                graph.file,
                "the graph is not one of an encoder-decoder model",
            )
            .found(graph.inputs.join(", "))
            .expected(what)
            .into()
        };
        let all = [
            Some(&self.encoder),
            Some(&self.decoder),
            self.with_past.as_ref(),
        ];
        for graph in all.into_iter().flatten() {
            if !graph.inputs.iter().any(|name| name.ends_with("input_ids")) {
                return Err(lacking(graph, "an input named input_ids"));
            }
            let output = match graph.file {
                ENCODER => "last_hidden_state",
                _ => "logits",
            };
            if !graph.has_output(output) {
                return Err(lacking(graph, &format!("an output named {output}")));
            }
        }
        if let Some(with_past) = self.remembering() {
            for past in &with_past.pasts {
                if !self.decoder.has_output(&past.output) {
                    return Err(lacking(
                        &self.decoder,
                        &format!("an output named {}", past.output),
                    ));
                }
            }
        }
        Ok(())
    }

    fn remembering(&self) -> Option<&Graph> {
        match self.merged {
            true => Some(&self.decoder),
            false => self.with_past.as_ref(),
        }
    }
}

/// Logits of rows, one after the other.
#[derive(Debug, Clone)]
pub struct Logits {
    /// `vocabulary` numbers for each row.
    pub values: Vec<f32>,
    /// Numbers of each row.
    pub vocabulary: usize,
}

/// Answers to some inputs, while they are written.
///
/// It holds a batch of beginnings of answers, its rows: [`Generation::start`] makes it an empty
/// one for each input, [`Generation::advance`] longer ones of these.
pub struct Generation<'a> {
    generator: &'a Inner,
    sessions: MutexGuard<'a, Sessions>,
    mask: Vec<i64>,
    /// Tokens of the longest input.
    longest: usize,
    states: Cells,
    inputs: usize,
    /// Of each row, the input and the tokens so far, the prefix included.
    rows: Vec<(usize, Vec<u32>)>,
    /// What is remembered of the rows.
    decoder: Vec<Cells>,
    /// What is remembered of the inputs.
    encoder: Vec<Cells>,
    /// The same for each row, with the inputs of the rows.
    spread: Option<(Vec<usize>, Vec<Cells>)>,
    vocabulary: usize,
}

impl Generation<'_> {
    /// How many inputs there are.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The token that ends an answer.
    pub fn end(&self) -> u32 {
        self.generator.end
    }

    /// One empty answer for each input, in order: what may come first.
    ///
    /// # Errors
    /// An operator's error where the session fails.
    pub fn start(&mut self) -> Result<Logits> {
        let prefix = self.generator.prefix.clone();
        self.rows = (0..self.inputs)
            .map(|input| (input, prefix.clone()))
            .collect();
        self.spread = None;
        let (logits, remembered) = self.whole()?;
        let pasts = self.pasts();
        self.decoder.clear();
        self.encoder.clear();
        for (past, cells) in pasts.iter().zip(remembered) {
            match past.of_encoder {
                true => self.encoder.push(cells),
                false => self.decoder.push(cells),
            }
        }
        Ok(logits)
    }

    /// Answers that go on from rows: which row, and the token that is added.
    ///
    /// # Errors
    /// An operator's error where the session fails; a bug for a row that there is not.
    pub fn advance(&mut self, rows: &[(usize, u32)]) -> Result<Logits> {
        let mut next = Vec::with_capacity(rows.len());
        for &(row, token) in rows {
            let (input, tokens) = self.rows.get(row).ok_or_else(|| {
                Error::Bug("an answer goes on from a row that is not there".into())
            })?;
            let mut tokens = tokens.clone();
            tokens.push(token);
            next.push((*input, tokens));
        }
        self.rows = next;
        if rows.is_empty() {
            return Ok(Logits {
                values: Vec::new(),
                vocabulary: self.vocabulary,
            });
        }
        let pasts = self.pasts();
        if pasts.is_empty() {
            return Ok(self.whole()?.0);
        }
        for cells in &mut self.decoder {
            *cells = cells.gather(rows.iter().map(|&(row, _)| row))?;
        }
        // Beams mostly stay with their inputs: what is remembered of these is spread once.
        let inputs: Vec<usize> = self.rows.iter().map(|(input, _)| *input).collect();
        if self.spread.as_ref().is_none_or(|(of, _)| *of != inputs) {
            let spread = self.encoder.iter();
            let spread = spread.map(|cells| cells.gather(inputs.iter().copied()));
            self.spread = Some((inputs.clone(), spread.collect::<Result<_>>()?));
        }
        let ids: Vec<i64> = rows.iter().map(|&(_, token)| i64::from(token)).collect();
        let mask = self.masks(&inputs);
        let merged_states = match self.sessions.merged {
            true => Some(self.states.gather(inputs.iter().copied())?),
            false => None,
        };
        let of_encoder = self.spread.as_ref().map_or(&[][..], |(_, cells)| cells);
        let mut of_decoder = self.decoder.iter();
        let mut of_encoder = of_encoder.iter();
        let mut feeds = Feeds {
            shape: [rows.len(), 1],
            ids: &ids,
            mask: Some(([rows.len(), self.longest], &mask)),
            states: merged_states.as_ref(),
            pasts: Vec::new(),
            use_cache: true,
        };
        for past in &pasts {
            let cells = match past.of_encoder {
                true => of_encoder.next(),
                false => of_decoder.next(),
            };
            feeds
                .pasts
                .extend(cells.map(|cells| (past.input.as_str(), cells)));
        }
        let wanted: Vec<&str> = std::iter::once("logits")
            .chain(
                pasts
                    .iter()
                    .filter(|past| !past.of_encoder)
                    .map(|past| past.output.as_str()),
            )
            .collect();
        let sessions = &mut *self.sessions;
        let graph = match &mut sessions.with_past {
            Some(graph) => graph,
            None => &mut sessions.decoder,
        };
        let mut outputs = graph.run(&feeds, &wanted)?.into_iter();
        let logits = outputs.next().unwrap_or_default();
        self.decoder = outputs.collect();
        Ok(self.last(logits))
    }

    /// Logits of every token of answers that are given, and of the end after them: pairs of an
    /// input and tokens; `visit` gets, for each, the logits before each token and before the end.
    ///
    /// # Errors
    /// As [`Generation::start`].
    pub fn force(
        &mut self,
        answers: &[(usize, &[u32])],
        mut visit: impl FnMut(usize, Logits),
    ) -> Result<()> {
        let prefix = self.generator.prefix.clone();
        let mut from = 0;
        while from < answers.len() {
            // As many as the logits of which fit.
            let mut longest = 0;
            let mut to = from;
            while to < answers.len() {
                let length = longest.max(answers[to].1.len() + prefix.len());
                let cells = (to + 1 - from) * length * self.vocabulary.max(1);
                if to > from && cells > LOGITS {
                    break;
                }
                longest = length;
                to += 1;
            }
            let some = &answers[from..to];
            self.rows = some
                .iter()
                .map(|(input, tokens)| (*input, [prefix.as_slice(), tokens].concat()))
                .collect();
            let logits = self.all()?.0;
            let width = logits.shape.get(1).copied().unwrap_or(0);
            let vocabulary = logits.shape.get(2).copied().unwrap_or(0);
            self.vocabulary = vocabulary;
            for (row, (_, tokens)) in some.iter().enumerate() {
                let first = (row * width + prefix.len() - 1) * vocabulary;
                let last = first + (tokens.len() + 1) * vocabulary;
                let values = logits.values.get(first..last).unwrap_or_default().to_vec();
                visit(from + row, Logits { values, vocabulary });
            }
            from = to;
        }
        Ok(())
    }

    fn pasts(&self) -> Vec<Past> {
        self.sessions
            .remembering()
            .map_or_else(Vec::new, |graph| graph.pasts.clone())
    }

    fn masks(&self, inputs: &[usize]) -> Vec<i64> {
        let of = |&input: &usize| {
            let mask = self
                .mask
                .get(input * self.longest..(input + 1) * self.longest);
            mask.unwrap_or_default()
        };
        inputs.iter().flat_map(of).copied().collect()
    }

    /// Reads the rows from their beginnings: what may come next, and what is to be remembered.
    fn whole(&mut self) -> Result<(Logits, Vec<Cells>)> {
        if self.rows.is_empty() {
            return Ok((
                Logits {
                    values: Vec::new(),
                    vocabulary: self.vocabulary,
                },
                Vec::new(),
            ));
        }
        let (logits, remembered) = self.all()?;
        Ok((self.last(logits), remembered))
    }

    /// The same with the logits of every token. Rows may differ in length: what is past the end of
    /// a row changes nothing before it.
    fn all(&mut self) -> Result<(Cells, Vec<Cells>)> {
        let width = self.rows.iter().map(|(_, tokens)| tokens.len()).max();
        let width = width.unwrap_or(0).max(1);
        let mut ids = Vec::with_capacity(self.rows.len() * width);
        for (_, tokens) in &self.rows {
            ids.extend(tokens.iter().map(|&token| i64::from(token)));
            ids.resize(
                ids.len() + width - tokens.len(),
                i64::from(self.generator.end),
            );
        }
        let inputs: Vec<usize> = self.rows.iter().map(|(input, _)| *input).collect();
        let states = self.states.gather(inputs.iter().copied())?;
        let mask = self.masks(&inputs);
        let pasts = self.pasts();
        // A merged graph wants something in the place of what is not yet remembered.
        let nothing: Vec<Cells> = match self.sessions.merged {
            false => Vec::new(),
            true => pasts
                .iter()
                .map(|past| Cells {
                    shape: vec![inputs.len(), past.heads, 1, past.size],
                    values: vec![0.0; inputs.len() * past.heads * past.size],
                })
                .collect(),
        };
        let feeds = Feeds {
            shape: [inputs.len(), width],
            ids: &ids,
            mask: Some(([inputs.len(), self.longest], &mask)),
            states: Some(&states),
            pasts: pasts
                .iter()
                .zip(&nothing)
                .map(|(past, cells)| (past.input.as_str(), cells))
                .collect(),
            use_cache: false,
        };
        let wanted: Vec<&str> = std::iter::once("logits")
            .chain(pasts.iter().map(|past| past.output.as_str()))
            .collect();
        let mut outputs = self.sessions.decoder.run(&feeds, &wanted)?.into_iter();
        Ok((outputs.next().unwrap_or_default(), outputs.collect()))
    }

    /// Of the logits of every token, those of the last.
    fn last(&mut self, logits: Cells) -> Logits {
        let [rows, width, vocabulary] = *logits.shape.as_slice() else {
            return Logits {
                values: Vec::new(),
                vocabulary: 0,
            };
        };
        self.vocabulary = vocabulary;
        let mut values = Vec::with_capacity(rows * vocabulary);
        for (row, (_, tokens)) in self.rows.iter().enumerate() {
            // With what is remembered, the rows are one token wide.
            let at = (tokens.len().min(width)).saturating_sub(1);
            let start = (row * width + at) * vocabulary;
            values.extend_from_slice(
                logits
                    .values
                    .get(start..start + vocabulary)
                    .unwrap_or_default(),
            );
        }
        Logits { values, vocabulary }
    }
}

#[cfg(test)]
mod tests;
