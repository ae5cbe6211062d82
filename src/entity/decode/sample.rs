//! Aligned sampling: ASAp (arXiv 2405.21047).
//!
//! Sampling with the tokens masked that are not allowed distorts the model's distribution: a
//! prefix that is likely and leads to little that exists is taken as often as if all of what the
//! model has in mind there existed. ASAp remembers, for every prefix it has seen, how much of the
//! model's mass below it leads to names, at first all of it; samples by probability times that; and
//! corrects it on the way back. What it says converges from above, and the samples to the model's
//! distribution given that a name is written.

use super::{Names, Scorer};
use crate::error::{Error, Result};

/// A name that was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<N> {
    /// Where it ends.
    pub node: N,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The logarithm of its probability in the model, the end's included.
    pub log_probability: f32,
}

/// What has been learned of the prefixes of one input.
pub struct Asap<T: Names> {
    names: T,
    seen: Vec<Seen<T::Node>>,
    random: SplitMix,
    aligned: bool,
}

/// A prefix that has been seen.
struct Seen<N> {
    /// How much of the mass below leads to names, as far as is known.
    valid: f64,
    /// Of what may come next: the token, its probability in the model, where it leads, and the
    /// prefix once it has been seen.
    next: Vec<Next<N>>,
}

struct Next<N> {
    /// None for the end.
    token: Option<u32>,
    log_probability: f32,
    node: N,
    seen: Option<usize>,
}

impl<T: Names> Asap<T> {
    /// A sampler of names; the same seed draws the same.
    pub fn new(names: T, seed: u64) -> Asap<T> {
        Asap {
            names,
            seen: Vec::new(),
            random: SplitMix(seed),
            aligned: true,
        }
    }

    /// A sampler that only masks, and learns nothing: what others do, to compare with.
    pub fn masking(names: T, seed: u64) -> Asap<T> {
        Asap {
            aligned: false,
            ..Asap::new(names, seed)
        }
    }

    /// How much of the model's mass leads to names, as far as is known: 1 at first, and never less
    /// than it is.
    pub fn valid_mass(&self) -> f64 {
        self.seen.first().map_or(1.0, |root| root.valid)
    }

    /// Draws a name; None where the model gives none of them any probability. `scorer` is of one
    /// input, always the same.
    ///
    /// # Errors
    /// Those of the scorer.
    pub fn sample<S: Scorer>(&mut self, scorer: &mut S) -> Result<Option<Sample<T::Node>>> {
        // Prefixes passed, the tokens between them, and how many of these the scorer has been told.
        let mut path = Vec::new();
        let mut tokens: Vec<u32> = Vec::new();
        let mut told = None;
        let mut log_probability = 0.0;
        let mut at = match self.seen.is_empty() {
            true => {
                let root = self.names.root();
                self.see(root, scorer, &tokens, &mut told)?
            }
            false => 0,
        };
        let ended = loop {
            path.push(at);
            let Some(choice) = self.draw(at) else {
                break None;
            };
            let next = &self.seen[at].next[choice];
            log_probability += next.log_probability;
            let node = next.node.clone();
            let Some(token) = next.token else {
                break Some(node);
            };
            tokens.push(token);
            at = match next.seen {
                Some(seen) => seen,
                None => {
                    let seen = self.see(node, scorer, &tokens, &mut told)?;
                    self.seen[at].next[choice].seen = Some(seen);
                    seen
                }
            };
        };
        for &place in path.iter().rev() {
            self.seen[place].valid = self.valid(place);
        }
        Ok(ended.map(|node| Sample {
            node,
            tokens,
            log_probability,
        }))
    }

    /// What the mass below a prefix comes to.
    fn valid(&self, at: usize) -> f64 {
        self.seen[at]
            .next
            .iter()
            .map(|next| self.weight(next))
            .sum()
    }

    fn weight(&self, next: &Next<T::Node>) -> f64 {
        let valid = match next.seen {
            Some(seen) if self.aligned => self.seen[seen].valid,
            _ => 1.0,
        };
        f64::from(next.log_probability).exp() * valid
    }

    fn draw(&mut self, at: usize) -> Option<usize> {
        let total = self.valid(at);
        if total <= 0.0 || !total.is_finite() {
            return None;
        }
        let mut left = self.random.unit() * total;
        let mut last = None;
        for (choice, next) in self.seen[at].next.iter().enumerate() {
            let weight = self.weight(next);
            if weight <= 0.0 {
                continue;
            }
            last = Some(choice);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Asks the scorer about a prefix.
    fn see<S: Scorer>(
        &mut self,
        node: T::Node,
        scorer: &mut S,
        tokens: &[u32],
        told: &mut Option<usize>,
    ) -> Result<usize> {
        let mut scores = None;
        if told.is_none() {
            scores = Some(scorer.start()?);
            *told = Some(0);
        }
        let from = told.unwrap_or_default();
        for &token in &tokens[from..] {
            scores = Some(scorer.advance(&[(0, token)])?);
        }
        *told = Some(tokens.len());
        let scores = scores.ok_or_else(|| Error::Bug("a prefix was looked at twice".to_owned()))?;
        let mut children = Vec::new();
        self.names.children(&node, &mut children);
        let mut next: Vec<Next<T::Node>> = children
            .into_iter()
            .map(|(token, node)| Next {
                token: Some(token),
                log_probability: scores.log_probability(0, token),
                node,
                seen: None,
            })
            .collect();
        if self.names.ends(&node) {
            next.push(Next {
                token: None,
                log_probability: scores.log_probability(0, scorer.end()),
                node,
                seen: None,
            });
        }
        self.seen.push(Seen { valid: 1.0, next });
        let at = self.seen.len() - 1;
        self.seen[at].valid = self.valid(at);
        Ok(at)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    /// At least 0, below 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
