//! Copying and annotating: nothing but the text and names that there are, and of those the best.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::tests::{END, Hashed, trie};
use super::*;

const MARKS: Marks = Marks {
    open: 8,
    close: 9,
    left: 10,
    right: 11,
};
const VOCABULARY: usize = 12;

/// A token, and whether a mention may begin before it and end after it.
type Token = (u32, bool, bool);

fn texts() -> impl Strategy<Value = Vec<Token>> {
    let token = (1_u32..8, any::<bool>(), any::<bool>());
    prop::collection::vec(token, 1..5)
}

fn names() -> impl Strategy<Value = BTreeSet<Vec<u32>>> {
    prop::collection::btree_set(prop::collection::vec(1_u32..8, 1..3), 1..4)
}

fn annotations(text: &[Token], names: &BTreeSet<Vec<u32>>) -> Annotations<Candidates> {
    let text = text.iter().map(|&(token, begins, ends)| Copied {
        token,
        begins,
        ends,
    });
    Annotations::new(trie(names), text, MARKS)
}

/// Every annotated text, from its first token on: put together, not searched.
fn every(text: &[Token], names: &BTreeSet<Vec<u32>>) -> Vec<Vec<u32>> {
    let Some((&(first, begins, _), rest)) = text.split_first() else {
        return vec![Vec::new()];
    };
    let mut found: Vec<Vec<u32>> = every(rest, names)
        .into_iter()
        .map(|rest| [vec![first], rest].concat())
        .collect();
    for length in 1..=text.len() {
        if !begins || !text[length - 1].2 {
            continue;
        }
        let mention: Vec<u32> = text[..length].iter().map(|token| token.0).collect();
        for name in names {
            for rest in every(&text[length..], names) {
                let mut written = vec![MARKS.open];
                written.extend(&mention);
                written.extend([MARKS.close, MARKS.left]);
                written.extend(name);
                written.push(MARKS.right);
                written.extend(rest);
                found.push(written);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_wide_beam_finds_the_best_of_all_annotations(
        text in texts(),
        names in names(),
        seed in any::<u64>(),
    ) {
        let mut model = Hashed::new(seed, 1, VOCABULARY, 6.0);
        let annotations = annotations(&text, &names);
        let options = BeamOptions { beams: 100_000, names: 1, max_tokens: 64, length_penalty: 1.0 };
        let found = beam_search(&mut model, &[&annotations], &options).unwrap().remove(0);
        let all = every(&text, &names);
        prop_assert!(all.contains(&found[0].tokens));
        let score = |written: &[u32]| options.score(model.exact(0, written) as f32, written.len());
        let best = all.iter().map(|written| score(written)).fold(f32::NEG_INFINITY, f32::max);
        prop_assert!((found[0].score - best).abs() < 1e-3, "{} {}", found[0].score, best);
    }

    #[test]
    fn whatever_is_written_is_the_text_with_names_that_there_are(
        text in texts(),
        names in names(),
        seed in any::<u64>(),
        beams in 1_usize..4,
    ) {
        let mut model = Hashed::new(seed, 1, VOCABULARY, 9.0);
        let annotations = annotations(&text, &names);
        let options = BeamOptions { beams, names: 3, max_tokens: 64, length_penalty: 1.0 };
        let found = beam_search(&mut model, &[&annotations], &options).unwrap().remove(0);
        let all: BTreeSet<Vec<u32>> = every(&text, &names).into_iter().collect();
        let trie = trie(&names);
        for hypothesis in found {
            prop_assert!(all.contains(&hypothesis.tokens));
            let mut last = 0;
            for mention in annotations.read(&hypothesis.tokens) {
                prop_assert!(mention.start >= last && mention.end > mention.start);
                prop_assert!(text[mention.start].1 && text[mention.end - 1].2);
                prop_assert!(trie.ends(&mention.name));
                last = mention.end;
            }
            let mentions = annotations.read(&hypothesis.tokens).len();
            let opened = hypothesis.tokens.iter().filter(|token| **token == MARKS.open).count();
            prop_assert_eq!(mentions, opened);
        }
    }
}

#[test]
fn marks_in_a_text_are_replaced_and_never_copied() {
    assert_eq!(Marks::replaced("a {b} [c] d"), "a (b) (c) d");
    let names = BTreeSet::from([vec![2]]);
    let text = [
        (MARKS.open, true, true),
        (1, true, true),
        (MARKS.right, true, true),
    ];
    let annotations = annotations(&text, &names);
    assert_eq!(annotations.len(), 1);
    let mut model = Hashed::new(1, 1, VOCABULARY, 6.0);
    let found = beam_search(&mut model, &[&annotations], &BeamOptions::default()).unwrap();
    let written: BTreeSet<&[u32]> = found[0].iter().map(|h| h.tokens.as_slice()).collect();
    let annotated: &[u32] = &[MARKS.open, 1, MARKS.close, MARKS.left, 2, MARKS.right];
    assert_eq!(written, BTreeSet::from([&[1][..], annotated]));
    assert_eq!(END, 0);
}
