//! Writing answers: the batch of their beginnings, and what is remembered of them.

use super::super::request::Cancellation;
use super::graph::{Cells, Feeds, Past, Sessions};
use super::turn::Turn;
use super::{Inner, abandoned};
use crate::error::{Error, Result};

/// Numbers that scoring given answers may take at once: logits, what was read of the input, and what
/// the graph remembers whether it is asked for or not.
const AT_ONCE: usize = 1 << 25;

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
    sessions: Turn<'a, Sessions>,
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
    cancellation: Cancellation,
}

impl<'a> Generation<'a> {
    /// Of inputs that have been read: what the encoder made of them, row by row, and which of their
    /// tokens count.
    pub(super) fn new(
        generator: &'a Inner,
        sessions: Turn<'a, Sessions>,
        states: Cells,
        mask: Vec<i64>,
        inputs: usize,
        cancellation: Cancellation,
    ) -> Generation<'a> {
        Generation {
            generator,
            sessions,
            longest: mask.len() / inputs.max(1),
            mask,
            states,
            inputs,
            rows: Vec::new(),
            decoder: Vec::new(),
            encoder: Vec::new(),
            spread: None,
            vocabulary: generator.vocabulary,
            cancellation,
        }
    }

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
        self.check()?;
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
    /// input and tokens; `visit` gets, for each in some order, the logits before each token and
    /// before the end.
    ///
    /// As many go through the model at once as fit into a bounded part of memory, answers of about
    /// one length together.
    ///
    /// # Errors
    /// As [`Generation::start`]; a bug for an answer longer than [`Generator::max_answer`].
    ///
    /// [`Generator::max_answer`]: super::Generator::max_answer
    pub fn force(
        &mut self,
        answers: &[(usize, &[u32])],
        visit: impl FnMut(usize, Logits),
    ) -> Result<()> {
        self.force_within(AT_ONCE, answers, visit).map(drop)
    }

    /// The same with `room` for so many numbers; returns how often the model was run.
    pub(super) fn force_within(
        &mut self,
        room: usize,
        answers: &[(usize, &[u32])],
        mut visit: impl FnMut(usize, Logits),
    ) -> Result<usize> {
        let most = self.generator.max_answer;
        if let Some((_, long)) = answers.iter().find(|(_, tokens)| tokens.len() > most) {
            return Err(Error::Bug(format!(
                "an answer of {} tokens is to be scored by a generator that writes {most}",
                long.len()
            )));
        }
        let prefix = self.generator.prefix.clone();
        let mut order: Vec<usize> = (0..answers.len()).collect();
        order.sort_by_key(|&at| answers[at].1.len());
        let mut from = 0;
        let mut runs = 0;
        while from < order.len() {
            // Ascending: the last is the longest.
            let fit = |to: usize| {
                let length = prefix.len() + answers[order[to - 1]].1.len();
                (to - from).saturating_mul(self.numbers_of(length)) <= room
            };
            let to = (from + 2..=order.len()).take_while(|&to| fit(to)).last();
            let some = &order[from..to.unwrap_or(from + 1)];
            self.rows = some
                .iter()
                .map(|&at| {
                    let (input, tokens) = answers[at];
                    (input, [prefix.as_slice(), tokens].concat())
                })
                .collect();
            let (logits, _) = self.all(false)?;
            runs += 1;
            let width = logits.shape.get(1).copied().unwrap_or(0);
            let vocabulary = logits.shape.get(2).copied().unwrap_or(0);
            self.vocabulary = vocabulary;
            for (row, &at) in some.iter().enumerate() {
                let first = (row * width + prefix.len() - 1) * vocabulary;
                let last = first + (answers[at].1.len() + 1) * vocabulary;
                let values = logits.values.get(first..last).unwrap_or_default().to_vec();
                visit(at, Logits { values, vocabulary });
            }
            from += some.len();
        }
        Ok(runs)
    }

    /// Numbers that reading a row of `length` tokens takes.
    fn numbers_of(&self, length: usize) -> usize {
        let hidden = self.states.shape.get(2).copied().unwrap_or(0);
        let remembered = self.sessions.remembering().map_or(0, |graph| {
            let of = |past: &Past| {
                let tokens = if past.of_encoder {
                    self.longest
                } else {
                    length
                };
                tokens * past.heads * past.size
            };
            graph.pasts.iter().map(of).sum()
        });
        // The logits are there twice: as the graph's and as ours.
        2 * length * self.vocabulary + self.longest * hidden + remembered
    }

    /// Before every run: whether anybody still waits for it.
    fn check(&self) -> Result<()> {
        match self.cancellation.is_cancelled() {
            true => Err(abandoned()),
            false => Ok(()),
        }
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
        let (logits, remembered) = self.all(true)?;
        Ok((self.last(logits), remembered))
    }

    /// The same with the logits of every token; what is to be remembered where that is wanted. Rows
    /// may differ in length: what is past the end of a row changes nothing before it.
    fn all(&mut self, remember: bool) -> Result<(Cells, Vec<Cells>)> {
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
        let outputs = pasts.iter().map(|past| past.output.as_str());
        let wanted: Vec<&str> = std::iter::once("logits")
            .chain(outputs.filter(|_| remember))
            .collect();
        self.check()?;
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
