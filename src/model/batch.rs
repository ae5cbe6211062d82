//! Batches bounded in tokens: texts of one length together, so that nothing is padding.

use std::ops::Range;
use std::sync::Arc;

use super::code::TokenGraph;

/// Rows of a batch, as indices into the list of texts; never empty.
pub(crate) type Rows = Vec<usize>;

/// Cuts texts of these lengths into batches, longest first: the tokens of a batch stay
/// within `budget`, except for a single text that is longer by itself. All texts of a batch
/// have one length. Beside padding, sums come out differently in their last bit, which in
/// int8 now and then makes a step, and a text's vector would depend on its batch; without,
/// it is the same to the bit. Nor has attention anything to mask, which is faster.
pub(crate) fn plan(lengths: &[usize], budget: usize) -> Vec<Rows> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    // Stable: texts of one length keep the caller's order, so a plan is reproducible.
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let most = (budget / lengths[first].max(1)).clamp(1, rest.len());
        let alike = rest[..most].partition_point(|&row| lengths[row] == lengths[first]);
        let (batch, tail) = rest.split_at(alike);
        batches.push(batch.to_vec());
        rest = tail;
    }
    batches
}

/// The budget with which every session gets work: never above `batch_tokens`, and less
/// when there are too few tokens for one such batch per session.
pub(crate) fn budget(lengths: &[usize], batch_tokens: usize, sessions: usize) -> usize {
    let total: usize = lengths.iter().sum();
    batch_tokens.min(total.div_ceil(sessions.max(1))).max(1)
}

/// Token ids of some texts, padded on the right to the longest of them.
pub(crate) struct Batch {
    ids: Vec<i64>,
    mask: Vec<i64>,
    lengths: Vec<usize>,
    longest: usize,
    skips: Vec<usize>,
    /// First token of the second type of each row.
    seconds: Vec<usize>,
    /// The syntax over each row's tokens, where it has one.
    graphs: Vec<Option<Arc<TokenGraph>>>,
}

impl Batch {
    /// The batch of these rows. At least one column wide, so that texts of no tokens
    /// still make a tensor.
    pub(crate) fn new(rows: &[usize], texts: &[impl AsRef<[u32]>], pad: u32) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|&r| texts[r].as_ref().len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut ids = Vec::with_capacity(rows.len() * longest);
        let mut mask = Vec::with_capacity(rows.len() * longest);
        for (&row, &length) in rows.iter().zip(&lengths) {
            ids.extend(texts[row].as_ref().iter().map(|&id| i64::from(id)));
            ids.extend(std::iter::repeat_n(i64::from(pad), longest - length));
            mask.extend((0..longest).map(|column| i64::from(column < length)));
        }
        Batch {
            ids,
            mask,
            skips: vec![0; lengths.len()],
            seconds: vec![usize::MAX; lengths.len()],
            graphs: Vec::new(),
            lengths,
            longest,
        }
    }

    /// Leaves these numbers of tokens, from the start of each row, out of the pooling.
    pub(crate) fn skipping(mut self, skips: Vec<usize>) -> Self {
        self.skips = skips;
        self
    }

    /// Tokens of each row are of the second type from these places on.
    pub(crate) fn typed(mut self, seconds: Vec<usize>) -> Self {
        self.seconds = seconds;
        self
    }

    /// The syntax over the tokens of each row.
    pub(crate) fn with_graphs(mut self, graphs: Vec<Option<Arc<TokenGraph>>>) -> Self {
        self.graphs = graphs;
        self
    }

    /// The syntax over a row's tokens.
    pub(crate) fn graph(&self, row: usize) -> Option<&TokenGraph> {
        self.graphs.get(row)?.as_deref()
    }

    /// Types of the tokens, rows x longest; padding is of the first.
    pub(crate) fn types(&self) -> Vec<i64> {
        let rows = self.lengths.iter().zip(&self.seconds);
        rows.flat_map(|(&length, &second)| {
            (0..self.longest).map(move |column| i64::from(column >= second && column < length))
        })
        .collect()
    }

    /// Tokens at the start of a row that are not pooled.
    pub(crate) fn skip(&self, row: usize) -> usize {
        self.skips.get(row).copied().unwrap_or(0)
    }

    /// 1 for a token that is pooled, 0 for others and for padding, rows x longest.
    pub(crate) fn pooling_mask(&self) -> Vec<i64> {
        let mut mask = self.mask.clone();
        for (row, columns) in mask.chunks_exact_mut(self.longest).enumerate() {
            let skip = self.skip(row).min(columns.len());
            columns[..skip].fill(0);
        }
        mask
    }

    /// Token ids, rows x longest.
    pub(crate) fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// 1 for a token, 0 for padding, rows x longest.
    pub(crate) fn mask(&self) -> &[i64] {
        &self.mask
    }

    /// Tokens of each row, padding not counted.
    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Columns.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Shape of the input tensors.
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.lengths.len(), self.longest]
    }

    /// The tokens' range of a row in an output of `width` values per token.
    pub(crate) fn tokens(&self, row: usize, width: usize) -> Range<usize> {
        let start = row * self.longest * width;
        start..start + self.lengths[row] * width
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plan_holds_every_text_once_within_the_budget(
            lengths in prop::collection::vec(0_usize..600, 0..80),
            budget in 1_usize..5000,
        ) {
            let batches = plan(&lengths, budget);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for rows in batches {
                let length = lengths[rows[0]];
                prop_assert!(rows.iter().all(|&row| lengths[row] == length));
                prop_assert!(rows.len() == 1 || rows.len() * length <= budget);
            }
        }
    }

    #[test]
    fn rows_are_padded_on_the_right() {
        let texts = [vec![5_u32, 6, 7], vec![], vec![8]];
        let batch = Batch::new(&[2, 0, 1], &texts, 9);
        assert_eq!(batch.shape(), [3, 3]);
        assert_eq!(batch.ids(), [8, 9, 9, 5, 6, 7, 9, 9, 9]);
        assert_eq!(batch.mask(), [1, 0, 0, 1, 1, 1, 0, 0, 0]);
        assert_eq!(batch.tokens(1, 2), 6..12);
        assert_eq!(batch.pooling_mask(), batch.mask());
        assert_eq!(batch.types(), [0; 9]);
        let batch = batch.typed(vec![0, 2, 9]);
        assert_eq!(batch.types(), [1, 0, 0, 0, 0, 1, 0, 0, 0]);
        let batch = batch.skipping(vec![1, 2, 9]);
        assert_eq!(batch.pooling_mask(), [0, 0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn small_work_is_shared_between_the_sessions() {
        assert_eq!(budget(&[100, 100], 4096, 2), 100);
        assert_eq!(budget(&[10_000; 4], 4096, 2), 4096);
        assert_eq!(budget(&[], 4096, 2), 1);
    }
}
