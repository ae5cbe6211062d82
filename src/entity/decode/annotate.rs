//! Copying a text and annotating it: the constraint of end-to-end linking (GENRE, section 3.2).
//!
//! What is written is the text itself, with `{ mention } [ Name ]` in the place of a mention. Three
//! states: outside, where the text goes on or a mention begins; in a mention, where the text goes
//! on or the mention ends; in a name, where a catalog's names say what may come next. A text is
//! written as such [`Names`] are, so that beams and probabilities are the same.

use super::Names;
use crate::error::Result;
use crate::model::NameTokenizer;

/// Tokens around mentions and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Before a mention, `{`.
    pub open: u32,
    /// After it, `}`.
    pub close: u32,
    /// Before a name, `[`.
    pub left: u32,
    /// After it, `]`.
    pub right: u32,
}

impl Marks {
    /// Those of a tokenizer, as they are spelled between words; None where one of them is no single
    /// token.
    ///
    /// # Errors
    /// As [`NameTokenizer::text_tokens`].
    pub fn of(tokenizer: &NameTokenizer) -> Result<Option<Marks>> {
        // A tokenizer that counts the space before a word to it has other tokens at the beginning.
        const BETWEEN: &str = "a { a } a [ a ] a";
        let tokens = tokenizer.text_tokens(BETWEEN)?;
        // One that makes a token of the space alone spells a mark with two.
        if tokens.iter().any(|(_, (start, end))| start == end) {
            return Ok(None);
        }
        let mut found = [0; 4];
        for (mark, place) in ["{", "}", "[", "]"].iter().zip(&mut found) {
            let spelled = tokens.iter();
            let mut spelled = spelled.filter(|(_, (start, end))| &BETWEEN[*start..*end] == *mark);
            match (spelled.next(), spelled.next()) {
                (Some(&(token, _)), None) => *place = token,
                _ => return Ok(None),
            }
        }
        // What is not known is spelled alike.
        if (1..4).any(|at| found[..at].contains(&found[at])) {
            return Ok(None);
        }
        let [open, close, left, right] = found;
        Ok(Some(Marks {
            open,
            close,
            left,
            right,
        }))
    }

    /// Whether a token is one of them.
    pub fn has(&self, token: u32) -> bool {
        [self.open, self.close, self.left, self.right].contains(&token)
    }

    /// A text without the characters of the marks, of the same length: round brackets in their
    /// place.
    pub fn replaced(text: &str) -> String {
        let replace = |c| match c {
            '{' | '[' => '(',
            '}' | ']' => ')',
            other => other,
        };
        text.chars().map(replace).collect()
    }
}

/// A token of a text to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The token; none of the marks.
    pub token: u32,
    /// Whether a mention may begin before it.
    pub begins: bool,
    /// Whether a mention may end after it.
    pub ends: bool,
}

/// The ways to annotate a text with names.
#[derive(Debug, Clone)]
pub struct Annotations<T> {
    names: T,
    text: Vec<Copied>,
    marks: Marks,
}

/// What has been written of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<N> {
    /// Tokens of the text that are copied.
    copied: usize,
    state: State<N>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State<N> {
    Outside,
    /// In a mention that began at a token.
    Mention(usize),
    /// After it, before its name.
    Between,
    /// In its name.
    Name(N),
}

/// A mention that was annotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotated<N> {
    /// Its first token of the text.
    pub start: usize,
    /// The token after its last.
    pub end: usize,
    /// Where its name ends.
    pub name: N,
}

impl<T: Names> Annotations<T> {
    /// Of a text. Tokens that are marks must have been replaced: they are left out.
    pub fn new(names: T, text: impl IntoIterator<Item = Copied>, marks: Marks) -> Annotations<T> {
        let text = text.into_iter().filter(|copied| !marks.has(copied.token));
        Annotations {
            names,
            text: text.collect(),
            marks,
        }
    }

    /// Tokens of the text.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is nothing to copy.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The mentions of what was written, in order.
    pub fn read(&self, written: &[u32]) -> Vec<Annotated<T::Node>> {
        let mut found = Vec::new();
        let mut place = self.root();
        let mut start = 0;
        let mut children = Vec::new();
        for &token in written {
            self.children(&place, &mut children);
            let next = children.iter().find(|(child, _)| *child == token);
            let Some((_, next)) = next else { break };
            match (&place.state, &next.state) {
                (State::Outside, State::Mention(at)) => start = *at,
                (State::Name(name), State::Outside) => found.push(Annotated {
                    start,
                    end: place.copied,
                    name: name.clone(),
                }),
                _ => {}
            }
            place = next.clone();
        }
        found
    }
}

impl<T: Names> Names for Annotations<T> {
    type Node = Place<T::Node>;

    fn root(&self) -> Self::Node {
        Place {
            copied: 0,
            state: State::Outside,
        }
    }

    fn children(&self, node: &Self::Node, into: &mut Vec<(u32, Self::Node)>) {
        into.clear();
        let copied = node.copied;
        let place = |copied, state| Place { copied, state };
        let next = self.text.get(copied);
        match &node.state {
            State::Outside => {
                if let Some(next) = next {
                    into.push((next.token, place(copied + 1, State::Outside)));
                    if next.begins {
                        into.push((self.marks.open, place(copied, State::Mention(copied))));
                    }
                }
            }
            State::Mention(from) => {
                if let Some(next) = next {
                    into.push((next.token, place(copied + 1, State::Mention(*from))));
                }
                if copied > *from && self.text[copied - 1].ends {
                    into.push((self.marks.close, place(copied, State::Between)));
                }
            }
            State::Between => {
                let name = State::Name(self.names.root());
                into.push((self.marks.left, place(copied, name)));
            }
            State::Name(name) => {
                let mut further = Vec::new();
                self.names.children(name, &mut further);
                // A name that goes on with what ends names cannot be told from one that ends.
                further.retain(|(token, _)| *token != self.marks.right);
                into.extend(
                    further
                        .into_iter()
                        .map(|(token, name)| (token, place(copied, State::Name(name)))),
                );
                if self.names.ends(name) {
                    into.push((self.marks.right, place(copied, State::Outside)));
                }
            }
        }
        into.sort_unstable_by_key(|(token, _)| *token);
    }

    fn ends(&self, node: &Self::Node) -> bool {
        node.state == State::Outside && node.copied == self.text.len()
    }
}
