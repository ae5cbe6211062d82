//! Sums of decision trees, as LightGBM fits them (Ke et al. 2017).

use serde::Deserialize;

/// A sum of trees over a row of named features; through the logistic function, a probability.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trees {
    /// Names of the features, in the order of a row.
    pub features: Vec<String>,
    trees: Vec<Tree>,
}

/// A tree as it is walked: what a node needs lies together.
#[derive(Debug, Deserialize)]
#[serde(from = "Written")]
struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<f32>,
    /// Whether its lists were of one length.
    sound: bool,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    feature: u32,
    threshold: f32,
    left: i32,
    right: i32,
}

/// A tree as it is written: where a row's feature is at most the threshold the way is left,
/// otherwise right. Children below zero are leaves, -1 the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Feature, threshold, and children of each node.
    f: Vec<u32>,
    t: Vec<f32>,
    l: Vec<i32>,
    r: Vec<i32>,
    /// Values of the leaves.
    v: Vec<f32>,
}

impl From<Written> for Tree {
    fn from(tree: Written) -> Tree {
        let sound = [tree.t.len(), tree.l.len(), tree.r.len()] == [tree.f.len(); 3];
        let nodes = tree.f.iter().zip(&tree.t).zip(tree.l.iter().zip(&tree.r));
        let node = |((feature, threshold), (left, right)): ((&u32, &f32), (&i32, &i32))| Node {
            feature: *feature,
            threshold: *threshold,
            left: *left,
            right: *right,
        };
        Tree {
            nodes: nodes.map(node).collect(),
            leaves: tree.v,
            sound,
        }
    }
}

impl Trees {
    /// What is wrong with it, if anything is: every child is there and comes after its node, and
    /// the features are those of the rows.
    pub(crate) fn check(&self, features: &[String]) -> Result<(), String> {
        if self.features != features {
            return Err("the trees are over other features".into());
        }
        for (n, tree) in self.trees.iter().enumerate() {
            let child = |at: usize, child: i32| match usize::try_from(child) {
                Ok(node) => node > at && node < tree.nodes.len(),
                Err(_) => leaf(child) < tree.leaves.len(),
            };
            let mut nodes = tree.nodes.iter().enumerate();
            let sound = tree.sound
                && !tree.leaves.is_empty()
                && nodes.all(|(at, node)| {
                    (node.feature as usize) < features.len()
                        && child(at, node.left)
                        && child(at, node.right)
                });
            if !sound {
                return Err(format!("tree {n} is broken"));
            }
        }
        Ok(())
    }

    /// The probability of a row.
    pub(crate) fn probability(&self, row: &[f32]) -> f32 {
        let sum: f32 = self.trees.iter().map(|tree| tree.value(row)).sum();
        1.0 / (1.0 + (-sum).exp())
    }
}

fn leaf(child: i32) -> usize {
    // Never negative: `!child` of a negative number.
    usize::try_from(!child).unwrap_or(0)
}

impl Tree {
    fn value(&self, row: &[f32]) -> f32 {
        if self.nodes.is_empty() {
            return self.leaves[0];
        }
        let mut at = 0;
        loop {
            let node = self.nodes[at];
            let child = if row[node.feature as usize] <= node.threshold {
                node.left
            } else {
                node.right
            };
            match usize::try_from(child) {
                Ok(node) => at = node,
                Err(_) => return self.leaves[leaf(child)],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(trees: &str) -> Trees {
        serde_json::from_str(&format!(
            r#"{{"features": ["a", "b"], "trees": [{trees}]}}"#
        ))
        .unwrap()
    }

    fn names() -> Vec<String> {
        vec!["a".into(), "b".into()]
    }

    #[test]
    fn rows_go_the_way_of_their_features() {
        let trees = read(
            r#"{"f": [0, 1], "t": [1.5, 0.0], "l": [-1, -2], "r": [1, -3], "v": [-2, 0, 3]},
               {"f": [], "t": [], "l": [], "r": [], "v": [0.5]}"#,
        );
        trees.check(&names()).unwrap();
        for (row, sum) in [([1.5, 9.0], -1.5), ([2.0, 0.0], 0.5), ([2.0, 0.1], 3.5)] {
            let expected = 1.0 / (1.0 + f32::exp(-sum));
            assert!((trees.probability(&row) - expected).abs() < 1e-6, "{row:?}");
        }
    }

    #[test]
    fn broken_trees_are_refused() {
        for broken in [
            r#"{"f": [0], "t": [1], "l": [-1], "r": [0], "v": [1, 2]}"#,
            r#"{"f": [0], "t": [1], "l": [-1], "r": [-3], "v": [1, 2]}"#,
            r#"{"f": [2], "t": [1], "l": [-1], "r": [-2], "v": [1, 2]}"#,
            r#"{"f": [0], "t": [], "l": [-1], "r": [-2], "v": [1, 2]}"#,
            r#"{"f": [], "t": [], "l": [], "r": [], "v": []}"#,
        ] {
            assert!(read(broken).check(&names()).is_err(), "{broken}");
        }
        assert!(read("").check(&["a".to_string()]).is_err());
    }
}
