//! A few names of a query, as a trie.

use std::collections::BTreeMap;

use super::Names;

/// Names given by their tokens.
#[derive(Debug, Clone)]
pub struct Candidates {
    nodes: Vec<Place>,
    longest: usize,
}

#[derive(Debug, Clone, Default)]
struct Place {
    children: BTreeMap<u32, u32>,
    ends: bool,
}

impl Candidates {
    /// The names of these token sequences.
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Candidates {
        let mut nodes = vec![Place::default()];
        let mut longest = 0;
        for sequence in sequences {
            longest = longest.max(sequence.len());
            let mut node = 0;
            for &token in sequence {
                let next = nodes.len() as u32;
                let child = *nodes[node].children.entry(token).or_insert(next);
                if child == next {
                    nodes.push(Place::default());
                }
                node = child as usize;
            }
            nodes[node].ends = true;
        }
        Candidates { nodes, longest }
    }
}

impl Names for Candidates {
    type Node = u32;

    fn root(&self) -> u32 {
        0
    }

    fn children(&self, node: &u32, into: &mut Vec<(u32, u32)>) {
        into.clear();
        if let Some(place) = self.nodes.get(*node as usize) {
            into.extend(place.children.iter().map(|(&token, &child)| (token, child)));
        }
    }

    fn ends(&self, node: &u32) -> bool {
        self.nodes
            .get(*node as usize)
            .is_some_and(|place| place.ends)
    }

    fn longest(&self) -> usize {
        self.longest
    }
}
