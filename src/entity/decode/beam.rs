//! Beam search over names.

use super::{Names, Scorer};
use crate::error::Result;

/// How names are searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamOptions {
    /// Prefixes of each input that are followed at once. 1 or more.
    pub beams: usize,
    /// Names wanted of each input, at most. 1 or more.
    pub names: usize,
    /// Longest name, in tokens.
    pub max_tokens: usize,
    /// Names are ranked by the logarithm of their probability, divided by their number of tokens
    /// (the end counts as one) to the power of this: 1 by the mean of the tokens, as GENRE does, 0
    /// by the probability itself. Not negative.
    pub length_penalty: f32,
}

impl Default for BeamOptions {
    fn default() -> Self {
        BeamOptions {
            beams: 10,
            names: 10,
            max_tokens: 128,
            length_penalty: 1.0,
        }
    }
}

impl BeamOptions {
    /// What a name of `tokens` tokens, the end not counted, is ranked by.
    pub fn score(&self, log_probability: f32, tokens: usize) -> f32 {
        log_probability / ((tokens + 1) as f32).powf(self.length_penalty)
    }
}

/// A name that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis<N> {
    /// Where it ends.
    pub node: N,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The logarithm of its probability, the end's included.
    pub log_probability: f32,
    /// What it is ranked by; see [`BeamOptions::length_penalty`].
    pub score: f32,
}

/// A prefix that is followed.
struct Beam<N> {
    input: usize,
    node: N,
    tokens: Vec<u32>,
    log_probability: f32,
    /// Of the scorer's batch.
    row: usize,
}

/// What a prefix grows to: logarithm of the probability, place of the prefix, token, node.
type Grown<N> = (f32, usize, u32, N);

/// Writes names for every input, those of the input of the same place in `names`. Of each the
/// best come, the best first, ties by tokens; fewer where there are fewer.
///
/// A prefix is given up as soon as nothing that begins so could still be among the best: what it
/// may grow to is at most its own probability, spread over as many tokens as the longest name has.
///
/// # Errors
/// Those of the scorer.
pub fn beam_search<T: Names, S: Scorer>(
    scorer: &mut S,
    names: &[T],
    options: &BeamOptions,
) -> Result<Vec<Vec<Hypothesis<T::Node>>>> {
    let mut done: Vec<Vec<Hypothesis<T::Node>>> = names.iter().map(|_| Vec::new()).collect();
    let mut open: Vec<Beam<T::Node>> = names
        .iter()
        .enumerate()
        .map(|(input, names)| Beam {
            input,
            node: names.root(),
            tokens: Vec::new(),
            log_probability: 0.0,
            row: input,
        })
        .collect();
    if open.is_empty() {
        return Ok(done);
    }
    let end = scorer.end();
    let mut next = scorer.start()?;
    let mut children = Vec::new();
    loop {
        // By input.
        let mut grown: Vec<Vec<Grown<T::Node>>> = names.iter().map(|_| Vec::new()).collect();
        for (place, beam) in open.iter().enumerate() {
            let of = &names[beam.input];
            if of.ends(&beam.node) {
                let log_probability = beam.log_probability + next.log_probability(beam.row, end);
                let hypothesis = Hypothesis {
                    node: beam.node.clone(),
                    tokens: beam.tokens.clone(),
                    log_probability,
                    score: options.score(log_probability, beam.tokens.len()),
                };
                keep(&mut done[beam.input], hypothesis, options.names);
            }
            if beam.tokens.len() >= options.max_tokens {
                continue;
            }
            of.children(&beam.node, &mut children);
            let grown = &mut grown[beam.input];
            grown.extend(children.drain(..).map(|(token, node)| {
                let log_probability = beam.log_probability + next.log_probability(beam.row, token);
                (log_probability, place, token, node)
            }));
            // A step from the root alone brings tens of thousands.
            if grown.len() > options.beams * 4 + 64 {
                cut(grown, options.beams);
            }
        }
        let mut beams = Vec::new();
        let mut rows = Vec::new();
        for (input, mut grown) in grown.into_iter().enumerate() {
            cut(&mut grown, options.beams);
            for (log_probability, place, token, node) in grown {
                let full = done[input].len() >= options.names;
                let least = done[input].last().map(|hypothesis| hypothesis.score);
                // With every further token as likely as can be, and as many of them.
                let longest = options.max_tokens.min(names[input].longest());
                let most = options.score(log_probability, longest);
                let hopeless = full && least.is_some_and(|least| most < least);
                if hopeless || log_probability == f32::NEG_INFINITY {
                    continue;
                }
                let mut tokens = open[place].tokens.clone();
                tokens.push(token);
                rows.push((open[place].row, token));
                beams.push(Beam {
                    input,
                    node,
                    tokens,
                    log_probability,
                    row: rows.len() - 1,
                });
            }
        }
        if beams.is_empty() {
            return Ok(done);
        }
        next = scorer.advance(&rows)?;
        open = beams;
    }
}

/// Keeps the `most` likeliest; ties by the place of the prefix, then the token.
fn cut<N>(grown: &mut Vec<Grown<N>>, most: usize) {
    let order = |a: &Grown<N>, b: &Grown<N>| {
        b.0.total_cmp(&a.0)
            .then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
    };
    let most = most.max(1);
    if grown.len() > most {
        grown.select_nth_unstable_by(most - 1, order);
        grown.truncate(most);
    }
    grown.sort_unstable_by(order);
}

/// Puts a hypothesis into its place among the best.
fn keep<N>(done: &mut Vec<Hypothesis<N>>, new: Hypothesis<N>, most: usize) {
    if new.log_probability == f32::NEG_INFINITY {
        return;
    }
    let at = done.partition_point(|old| {
        old.score > new.score || (old.score == new.score && old.tokens < new.tokens)
    });
    done.insert(at, new);
    done.truncate(most.max(1));
}
