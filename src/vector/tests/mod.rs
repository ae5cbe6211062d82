//! The promises, through the public interface.

mod files;
mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Strategy, *};
use crate::error::Code;
use crate::filter::OrdinalSet;

/// Reproducible noise: xorshift, values within -1..1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * n as f32) as usize % n
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|v| *v /= norm);
    vector
}

/// Unit vectors around as many centres as there are hundreds of them.
fn clustered(noise: &mut Noise, n: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let centres: Vec<Vec<f32>> = (0..n / 100 + 1)
        .map(|_| (0..dimensions).map(|_| noise.next()).collect())
        .collect();
    (0..n)
        .map(|_| {
            let centre = &centres[noise.below(centres.len())];
            unit(centre.iter().map(|c| c + 0.4 * noise.next()).collect())
        })
        .collect()
}

fn options(dimensions: usize, graph_threshold: usize) -> VectorOptions {
    VectorOptions {
        dimensions,
        graph_threshold,
        m: 8,
        ef_construction: 48,
        ..VectorOptions::new(dimensions)
    }
}

fn owner(next_ordinal: u32) -> Owner {
    Owner {
        id: "test".into(),
        next_ordinal,
        inherited: Vec::new(),
    }
}

fn query(depth: usize) -> VectorQuery {
    VectorQuery::new(depth, 48)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// What a search has to find, the slow way.
fn naive(
    documents: &BTreeMap<u32, Vec<Vec<f32>>>,
    query: &[f32],
    depth: usize,
    allowed: impl Fn(u32) -> bool,
) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = documents
        .iter()
        .filter(|(ordinal, passages)| allowed(**ordinal) && !passages.is_empty())
        .map(|(&ordinal, passages)| {
            let best = passages.iter().map(|p| dot(p, query));
            (ordinal, best.fold(f32::NEG_INFINITY, f32::max))
        })
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(depth);
    all
}

fn set(ordinals: impl IntoIterator<Item = u32>) -> OrdinalSet {
    let mut set = OrdinalSet::with_capacity(64);
    for ordinal in ordinals {
        set.insert(ordinal);
    }
    set
}

fn ordinals(hits: &VectorHits) -> Vec<u32> {
    hits.hits.iter().map(|hit| hit.ordinal).collect()
}

/// `n` documents of one passage each, published in several steps, with graphs
/// where the threshold asks for them.
fn index_of(vectors: &[Vec<f32>], graph_threshold: usize) -> VectorIndex {
    let index = VectorIndex::new(options(vectors[0].len(), graph_threshold)).unwrap();
    for (ordinal, vector) in vectors.iter().enumerate() {
        index.add(ordinal as u32, vector).unwrap();
        if ordinal % 700 == 699 {
            index.publish();
        }
    }
    index.publish();
    index.wait_for_background();
    index
}

#[test]
fn a_graph_finds_what_a_scan_finds() {
    let mut noise = Noise(11);
    let vectors = clustered(&mut noise, 2000, 16);
    let index = index_of(&vectors, 1500);
    let reader = index.reader();
    assert_eq!(reader.len(), 2000);
    assert!(reader.segments().1 >= 1, "{:?}", reader.segments());
    let (mut found, mut wanted, mut graphs) = (0, 0, 0);
    for at in (0..2000).step_by(40) {
        let target: Vec<f32> = vectors[at].iter().map(|v| v + 0.2 * noise.next()).collect();
        let target = unit(target);
        let hits = reader.search(&target, &query(10), None).unwrap();
        assert_eq!(hits.hits.len(), 10);
        assert!(hits.hits.is_sorted_by(|a, b| a.score >= b.score));
        let exact = VectorQuery {
            exact: true,
            ..query(10)
        };
        let truth = reader.search(&target, &exact, None).unwrap();
        assert_eq!((truth.strategy, truth.scored), (Strategy::Scan, 2000));
        let truth: BTreeSet<u32> = ordinals(&truth).into_iter().collect();
        found += ordinals(&hits).iter().filter(|o| truth.contains(o)).count();
        wanted += truth.len();
        graphs += usize::from(hits.strategy != Strategy::Scan);
        assert_eq!(hits, reader.search(&target, &query(10), None).unwrap());
    }
    assert!(graphs > 40, "only {graphs} searches used the graph");
    let recall = found as f64 / wanted as f64;
    assert!(recall >= 0.95, "recall {recall}");
}

#[test]
fn the_same_vectors_give_the_same_graph() {
    let vectors = clustered(&mut Noise(5), 600, 8);
    let (a, b) = (index_of(&vectors, 500), index_of(&vectors, 500));
    for vector in vectors.iter().step_by(50) {
        assert_eq!(
            a.reader().search(vector, &query(5), None).unwrap(),
            b.reader().search(vector, &query(5), None).unwrap()
        );
    }
}

#[test]
fn filters_give_what_a_filtered_scan_gives() {
    let mut noise = Noise(3);
    let vectors = clustered(&mut noise, 1500, 12);
    let documents: BTreeMap<u32, Vec<Vec<f32>>> = (0u32..)
        .zip(vectors.iter().map(|v| vec![v.clone()]))
        .collect();
    let index = index_of(&vectors, 1000);
    let reader = index.reader();
    for modulus in [1, 2, 7, 50, 400, 5000] {
        let allowed = set((0..1500).filter(|o| o % modulus == 0));
        let (mut found, mut wanted) = (0, 0);
        for at in [3usize, 500, 999, 1400] {
            let hits = reader
                .search(&vectors[at], &query(8), Some(&allowed))
                .unwrap();
            let truth = naive(&documents, &vectors[at], 8, |o| o % modulus == 0);
            assert_eq!(hits.hits.len(), truth.len(), "never short");
            assert!(hits.hits.iter().all(|hit| allowed.contains(hit.ordinal)));
            let hits = ordinals(&hits);
            found += truth.iter().filter(|(o, _)| hits.contains(o)).count();
            wanted += truth.len();
        }
        assert!(
            found * 100 >= wanted * 95,
            "modulus {modulus}: {found} of {wanted}"
        );
    }
    let none = reader
        .search(&vectors[0], &query(8), Some(&set([])))
        .unwrap();
    assert!(none.hits.is_empty());
    let elsewhere = reader
        .search(&vectors[0], &query(8), Some(&set([9999])))
        .unwrap();
    assert!(elsewhere.hits.is_empty());
}

#[test]
fn a_graph_that_cannot_fill_the_depth_is_not_the_end() {
    // Near duplicates: the worst case for the links of a graph.
    let mut noise = Noise(17);
    let vectors: Vec<Vec<f32>> = (0..900)
        .map(|i| {
            let mut vector = vec![0.0; 6];
            vector[i % 3] = 1.0;
            if i % 10 == 0 {
                vector[3] = 0.01 * noise.next();
            }
            unit(vector)
        })
        .collect();
    let index = index_of(&vectors, 500);
    let reader = index.reader();
    for depth in [1, 10, 120, 600, 900, 2000] {
        for at in [0, 1, 2, 30] {
            let hits = reader.search(&vectors[at], &query(depth), None).unwrap();
            let distinct: BTreeSet<u32> = ordinals(&hits).into_iter().collect();
            assert_eq!(hits.hits.len(), depth.min(900));
            assert_eq!(distinct.len(), hits.hits.len());
        }
    }
}

#[test]
fn what_is_published_is_seen_and_old_readers_stay() {
    let index = VectorIndex::new(options(2, 1000)).unwrap();
    assert!(index.is_empty());
    let empty = index.publish();
    index.add(4, &[1.0, 0.0]).unwrap();
    index.add(9, &[]).unwrap();
    assert!(index.reader().is_empty());
    assert_eq!(index.len(), 1);
    let one = index.publish();
    for ordinal in 5..200 {
        index.add(ordinal, &[0.0, 1.0]).unwrap();
        index.publish();
    }
    let many = index.reader();
    assert!(
        empty
            .search(&[1.0, 0.0], &query(5), None)
            .unwrap()
            .hits
            .is_empty()
    );
    let hits = one.search(&[1.0, 0.0], &query(5), None).unwrap();
    assert_eq!(ordinals(&hits), [4]);
    assert_eq!((one.len(), many.len(), index.len()), (1, 196, 196));
    assert!(many.segments().0 <= 9, "{:?}", many.segments());
    assert!(index.memory_bytes() >= 196 * 2 * 5);
    let hits = many.search(&[0.6, 0.8], &query(3), None).unwrap();
    // 195 documents tie; the lowest ordinals win.
    assert_eq!(ordinals(&hits), [5, 6, 7]);
}

#[test]
fn the_best_passage_speaks_for_its_document() {
    let index = VectorIndex::new(options(2, 1000)).unwrap();
    index.add(0, &[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]).unwrap();
    index.add(1, &[0.8, 0.6]).unwrap();
    index.add(2, &[0.0, -1.0, -1.0, 0.0]).unwrap();
    let hits = index
        .publish()
        .search(&[1.0, 0.0], &query(10), None)
        .unwrap();
    let wanted = [(0, 1, 1.0), (1, 0, 0.8), (2, 0, 0.0)];
    assert_eq!(hits.hits.len(), wanted.len());
    for (hit, (ordinal, passage, score)) in hits.hits.iter().zip(wanted) {
        assert_eq!((hit.ordinal, hit.passage), (ordinal, passage));
        assert!((hit.score - score).abs() < 1e-5, "{hit:?}");
    }
    assert_eq!((hits.strategy, hits.scored), (Strategy::Scan, 6));
}

#[test]
fn a_thousand_passages_of_one_document_do_not_hide_the_others() {
    let index = VectorIndex::new(options(4, 600)).unwrap();
    let many: Vec<f32> = (0..1000)
        .flat_map(|i| unit(vec![1.0, 0.001 * i as f32, 0.0, 0.0]))
        .collect();
    index.add(7, &many).unwrap();
    for ordinal in 8..28 {
        let far = unit(vec![0.1, 1.0, ordinal as f32, 1.0]);
        index.add(ordinal, &far).unwrap();
    }
    index.publish();
    index.wait_for_background();
    let reader = index.reader();
    assert_eq!(reader.segments(), (1, 1));
    let hits = reader
        .search(&[1.0, 0.0, 0.0, 0.0], &query(10), None)
        .unwrap();
    assert_eq!(hits.hits.len(), 10);
    assert_eq!((hits.hits[0].ordinal, hits.hits[0].passage), (7, 0));
}

#[test]
fn graphs_are_swapped_in_while_searches_go_on() {
    let vectors = clustered(&mut Noise(23), 1200, 8);
    let index = Arc::new(VectorIndex::new(options(8, 300)).unwrap());
    let seen = std::thread::scope(|scope| {
        let adder = Arc::clone(&index);
        let vectors = &vectors;
        scope.spawn(move || {
            for (ordinal, vector) in (0u32..).zip(vectors) {
                adder.add(ordinal, vector).unwrap();
                if ordinal % 50 == 49 {
                    adder.publish();
                }
            }
        });
        let mut seen = 0;
        while seen < 1200 {
            let reader = index.reader();
            assert!(reader.len() >= seen, "a published document vanished");
            seen = reader.len();
            let at = seen.saturating_sub(1);
            let hits = reader.search(&vectors[at], &query(3), None).unwrap();
            assert_eq!(hits.hits.len(), seen.min(3));
            std::thread::yield_now();
        }
        seen
    });
    index.wait_for_background();
    let (segments, graphs) = index.reader().segments();
    assert_eq!((seen, index.len()), (1200, 1200));
    assert!(
        graphs >= 1 && segments <= 12,
        "{segments} segments, {graphs} graphs"
    );
}

#[test]
fn the_dead_are_left_out_of_merges_and_graphs() {
    let vectors = clustered(&mut Noise(29), 900, 8);
    let index = VectorIndex::new(options(8, 400)).unwrap();
    for (ordinal, vector) in (0u32..).zip(&vectors[..700]) {
        index.add(ordinal, vector).unwrap();
    }
    index.publish();
    index.wait_for_background();
    assert_eq!(index.reader().segments(), (1, 1));
    let before = index.reader();

    // Half of the first 700 die; those added later are not spoken of.
    let live = Arc::new(set((0..700).filter(|o| o % 2 == 0)));
    for (ordinal, vector) in (700u32..).zip(&vectors[700..]) {
        index.add(ordinal, vector).unwrap();
    }
    index.set_live(Arc::clone(&live), 700);
    index.publish();
    index.wait_for_background();
    assert_eq!(index.len(), 350 + 200);
    assert_eq!(before.len(), 700);
    let hits = index
        .reader()
        .search(&vectors[801], &query(1), None)
        .unwrap();
    assert_eq!(ordinals(&hits), [801]);
    let hits = index
        .reader()
        .search(&vectors[1], &query(550), None)
        .unwrap();
    assert!(ordinals(&hits).iter().all(|o| o % 2 == 0 || *o >= 700));

    // Everything dies.
    index.set_live(Arc::new(set([])), 900);
    index.publish();
    index.wait_for_background();
    index.add(900, &vectors[0]).unwrap();
    let reader = index.publish();
    index.wait_for_background();
    assert!(reader.search(&vectors[0], &query(1), None).unwrap().hits[0].score > 0.99);
}

#[test]
fn a_deleted_document_is_not_found_when_the_set_leaves_it_out() {
    let index = VectorIndex::new(options(2, 10)).unwrap();
    for ordinal in 0..40 {
        index
            .add(ordinal, &unit(vec![1.0, ordinal as f32 * 0.01]))
            .unwrap();
    }
    index.publish();
    index.wait_for_background();
    let mut live = set(0..40);
    live.remove(0);
    live.remove(2);
    let hits = index
        .reader()
        .search(&[1.0, 0.0], &query(3), Some(&live))
        .unwrap();
    assert_eq!(ordinals(&hits), [1, 3, 4]);
}

#[test]
fn graphs_of_one_size_become_one() {
    let vectors = clustered(&mut Noise(31), 800, 8);
    let index = VectorIndex::new(options(8, 100)).unwrap();
    for (ordinal, vector) in (0u32..).zip(&vectors) {
        index.add(ordinal, vector).unwrap();
        if ordinal % 100 == 99 {
            index.publish();
            index.wait_for_background();
        }
    }
    let (segments, graphs) = index.reader().segments();
    assert_eq!((segments, graphs), (2, 2), "two of four hundred each");
    assert_eq!(index.reader().len(), 800);
}

#[test]
fn dropping_the_index_ends_its_thread() {
    let vectors = clustered(&mut Noise(37), 800, 8);
    let index = VectorIndex::new(options(8, 500)).unwrap();
    for (ordinal, vector) in (0u32..).zip(&vectors) {
        index.add(ordinal, vector).unwrap();
    }
    let reader = index.publish();
    drop(index);
    assert_eq!(
        reader
            .search(&vectors[3], &query(1), None)
            .unwrap()
            .hits
            .len(),
        1
    );
}

#[test]
fn bad_vectors_are_the_callers() {
    let index = VectorIndex::new(options(3, 100)).unwrap();
    let code = |error: crate::error::Error| error.problem().unwrap().code;
    for bad in [
        &[1.0, 2.0][..],
        &[f32::NAN, 0.0, 0.0],
        &[f32::INFINITY, 0.0, 0.0],
        &[1e30, 0.0, 0.0],
        &[1e-30, 0.0, 0.0],
        &[0.0; 3],
    ] {
        assert_eq!(code(index.add(0, bad).unwrap_err()), Code::InvalidVector);
        let search = index.reader().search(bad, &query(1), None);
        assert_eq!(code(search.unwrap_err()), Code::InvalidVector);
    }
    let search = index.reader().search(&[], &query(1), None);
    assert_eq!(code(search.unwrap_err()), Code::InvalidVector);
    assert_eq!(
        code(index.add(0, &vec![1.0; 3 * 65_537]).unwrap_err()),
        Code::InvalidVector
    );
    assert!(index.is_empty());
    for dimensions in [0, 4_097] {
        let made = VectorIndex::new(VectorOptions::new(dimensions));
        assert_eq!(code(made.err().unwrap()), Code::InvalidDefinition);
    }
}

#[test]
fn a_thousand_equal_vectors_are_all_found() {
    let index = VectorIndex::new(options(3, 20)).unwrap();
    for ordinal in 0..1000 {
        let y = if ordinal % 3 == 0 { 1.0 } else { 0.0 };
        index.add(ordinal, &[1.0, y, 0.0]).unwrap();
    }
    index.publish();
    index.wait_for_background();
    let reader = index.reader();
    assert_eq!(reader.segments().1, 1);
    let hits = reader.search(&[1.0, 0.0, 0.0], &query(4), None).unwrap();
    assert_eq!(ordinals(&hits), [1, 2, 4, 5]);
    let hits = reader.search(&[1.0, 0.0, 0.0], &query(700), None).unwrap();
    assert_eq!(hits.hits.len(), 700);
    let zero_deep = reader.search(&[1.0, 0.0, 0.0], &query(0), None).unwrap();
    assert!(zero_deep.hits.is_empty());
}

#[test]
fn late_interaction_sums_the_best_of_each_query_vector() {
    let index = VectorIndex::new(options(2, 1000)).unwrap();
    index.add(3, &[1.0, 0.0, 0.0, 1.0]).unwrap();
    index.add(5, &[0.6, 0.8]).unwrap();
    index.add(7, &[-1.0, 0.0, 0.8, 0.6]).unwrap();
    index.add(8, &[1.0, 0.0, 0.0, 1.0]).unwrap();
    let reader = index.publish();
    let query = [1.0, 0.0, 0.0, 1.0];
    let scores = reader
        .late_interaction(&query, &set([3, 5, 7, 8, 9]))
        .unwrap();
    let wanted = [(3, 2.0), (8, 2.0), (5, 1.4), (7, 1.4)];
    assert_eq!(scores.len(), wanted.len());
    for (found, wanted) in scores.iter().zip(wanted) {
        assert!((found.1 - wanted.1).abs() < 1e-4, "{scores:?}");
    }
    assert_eq!([scores[0].0, scores[1].0], [3, 8]);
    let few = reader.late_interaction(&query, &set([7])).unwrap();
    assert_eq!(few.len(), 1);
    for bad in [&[][..], &[1.0], &[1.0, f32::NAN], &[1.0, 0.0, 0.0, 0.0]] {
        let refused = reader.late_interaction(bad, &set([3])).unwrap_err();
        assert_eq!(refused.problem().unwrap().code, Code::InvalidVector);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever is added, published and filtered: a scan is the naive search.
    #[test]
    fn scans_are_naive_searches(
        seed in 1u64..1_000_000,
        sizes in proptest::collection::vec(0usize..5, 1..60),
        publish_every in 1usize..10,
        depth in 1usize..30,
        keep in 1u32..5,
        exact: bool,
    ) {
        let mut noise = Noise(seed);
        let index = VectorIndex::new(options(6, usize::MAX)).unwrap();
        let mut documents = BTreeMap::new();
        for (ordinal, &passages) in (0u32..).zip(&sizes) {
            let passages: Vec<Vec<f32>> = (0..passages)
                .map(|_| unit((0..6).map(|_| noise.next() + 0.001).collect()))
                .collect();
            index.add(ordinal, &passages.concat()).unwrap();
            documents.insert(ordinal, passages);
            if (ordinal as usize).is_multiple_of(publish_every) {
                index.publish();
            }
        }
        let reader = index.publish();
        let target = unit((0..6).map(|_| noise.next() + 0.001).collect());
        let how = VectorQuery { exact, ..VectorQuery::new(depth, 10) };
        let allowed = set((0..60).filter(|o| o % keep == 0));
        let hits = reader.search(&target, &how, Some(&allowed)).unwrap();
        let truth = naive(&documents, &target, depth, |o| o % keep == 0);
        prop_assert_eq!(hits.hits.len(), truth.len());
        for (hit, (ordinal, score)) in hits.hits.iter().zip(truth) {
            prop_assert!((hit.score - score).abs() < 5e-5);
            if hit.ordinal != ordinal {
                // Only where two scores differ by less than their rounding.
                let other = naive(&documents, &target, 60, |o| o == hit.ordinal)[0].1;
                prop_assert!((other - score).abs() < 5e-5);
            }
            let passage = &documents[&hit.ordinal][usize::from(hit.passage)];
            prop_assert!((dot(passage, &target) - hit.score).abs() < 5e-5);
        }
    }
}
