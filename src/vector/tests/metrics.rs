//! Metrics, storages, ways of searching and builders: each finds the nearest.

use super::super::{file, rows, segment};
use super::*;

/// The best by the metric, the slow way.
fn nearest(vectors: &[Vec<f32>], target: &[f32], metric: Metric, depth: usize) -> Vec<u32> {
    let length = |v: &[f32]| dot(v, v).sqrt();
    let score = |v: &[f32]| match metric {
        Metric::Cosine => dot(v, target) / length(v) / length(target),
        Metric::Dot => dot(v, target),
        Metric::L2 => -v
            .iter()
            .zip(target)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f32>(),
    };
    let mut all: Vec<(f32, u32)> = vectors.iter().map(|v| score(v)).zip(0..).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter()
        .take(depth)
        .map(|(_, ordinal)| ordinal)
        .collect()
}

/// The share of the nearest that a reader finds.
fn recall(
    reader: &VectorReader,
    vectors: &[Vec<f32>],
    targets: &[Vec<f32>],
    metric: Metric,
    how: &VectorQuery,
    allowed: Option<&OrdinalSet>,
) -> f64 {
    let mut found = 0;
    for target in targets {
        let hits = ordinals(&reader.search(target, how, allowed).unwrap());
        assert_eq!(hits.len(), how.depth);
        let mut truth = nearest(vectors, target, metric, vectors.len());
        truth.retain(|&ordinal| allowed.is_none_or(|set| set.contains(ordinal)));
        found += truth[..how.depth]
            .iter()
            .filter(|o| hits.contains(o))
            .count();
    }
    found as f64 / (targets.len() * how.depth) as f64
}

/// Vectors of different lengths.
fn stretched(noise: &mut Noise, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut stretch = || 0.5 + (noise.next() + 1.0);
    let by = |v: &Vec<f32>, by: f32| v.iter().map(|x| x * by).collect();
    vectors.iter().map(|v| by(v, stretch())).collect()
}

#[test]
fn every_metric_in_every_storage_finds_the_nearest() {
    let mut noise = Noise(41);
    let all = clustered(&mut noise, 1540, 64);
    let all = stretched(&mut noise, &all);
    let (vectors, targets) = all.split_at(1500);
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        for storage in [Storage::Int8, Storage::F16, Storage::Binary] {
            let index = VectorIndex::new(VectorOptions {
                metric,
                storage,
                ..options(64, 1000)
            })
            .unwrap();
            for (ordinal, vector) in (0u32..).zip(vectors) {
                index.add(ordinal, vector).unwrap();
            }
            index.publish();
            index.wait_for_background();
            let reader = index.reader();
            assert_eq!(reader.segments(), (1, 1));
            // Bits tell the members of these clusters apart badly: a wider beam.
            let (ef, floor) = match storage {
                Storage::Binary => (400, 0.75),
                _ => (100, 0.95),
            };
            for way in [Way::Walk, Way::Scan] {
                let how = VectorQuery {
                    way: Some(way),
                    ..VectorQuery::new(10, ef)
                };
                let recall = recall(&reader, vectors, targets, metric, &how, None);
                assert!(recall >= floor, "{metric:?} {storage:?} {way:?}: {recall}");
            }
            let exact = VectorQuery {
                exact: true,
                ..query(10)
            };
            let recall = recall(&reader, vectors, targets, metric, &exact, None);
            assert!(recall >= 0.98, "{metric:?} {storage:?} exact: {recall}");
        }
    }
}

#[test]
fn every_way_of_filtering_finds_the_nearest() {
    let mut noise = Noise(43);
    let all = clustered(&mut noise, 3050, 24);
    let (vectors, targets) = all.split_at(3000);
    let reader = index_of(vectors, 2000).reader();
    assert!(reader.segments().1 >= 1);
    for modulus in [1, 2, 5, 10] {
        let allowed = set((0..3000).filter(|o| o % modulus == 0));
        for way in [None, Some(Way::Scan), Some(Way::Walk), Some(Way::Hop)] {
            let how = VectorQuery { way, ..query(10) };
            let metric = Metric::Cosine;
            let recall = recall(&reader, vectors, targets, metric, &how, Some(&allowed));
            assert!(recall >= 0.93, "1 in {modulus} {way:?}: {recall}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let vectors = clustered(&mut Noise(47), 1200, 16);
    let graph = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let rows = {
                let mut rows = rows::RowsBuilder::new(options(16, 1).shape());
                (0u32..).zip(&vectors).for_each(|(i, v)| rows.push(i, v));
                rows.finish()
            };
            let cancelled = std::sync::atomic::AtomicBool::new(false);
            let options = options(16, 1);
            let made = segment::Segment::with_graph(
                rows,
                options.builder(),
                &options.graph(),
                None,
                &cancelled,
            );
            let made = made.unwrap();
            let path = folder.path().join("1.vectors");
            file::write(&path, &made, made.graph().unwrap(), "test", Vec::new()).unwrap();
            std::fs::read(path).unwrap()
        })
    };
    let one = graph(1);
    assert!(one == graph(2) && one == graph(5), "graphs differ");
}

#[test]
fn hnsw_rs_builds_a_graph_as_good() {
    let mut noise = Noise(53);
    let all = clustered(&mut noise, 1540, 24);
    let (vectors, targets) = all.split_at(1500);
    for metric in [Metric::Cosine, Metric::L2] {
        let index = VectorIndex::new(VectorOptions {
            metric,
            builder: Builder::HnswRs,
            ..options(24, 1000)
        })
        .unwrap();
        for (ordinal, vector) in (0u32..).zip(vectors) {
            index.add(ordinal, vector).unwrap();
        }
        index.publish();
        index.wait_for_background();
        let reader = index.reader();
        assert_eq!(reader.segments(), (1, 1));
        let how = VectorQuery {
            way: Some(Way::Walk),
            ..VectorQuery::new(10, 100)
        };
        let recall = recall(&reader, vectors, targets, metric, &how, None);
        assert!(recall >= 0.9, "{metric:?}: {recall}");
    }
}

#[test]
fn merging_goes_on_from_the_graph_that_is_there() {
    let mut noise = Noise(59);
    let mut vectors = clustered(&mut noise, 2000, 24);
    let targets = clustered(&mut noise, 1, 24);
    let targets = [&targets[..], &vectors[..30]].concat();
    let index = VectorIndex::new(options(24, 500)).unwrap();
    let metric = Metric::Cosine;
    for (ordinal, vector) in (0u32..).zip(&vectors) {
        index.add(ordinal, vector).unwrap();
        if ordinal % 500 == 499 {
            index.publish();
            index.wait_for_background();
        }
    }
    assert_eq!(index.reader().segments(), (1, 1), "four graphs became one");
    let how = VectorQuery {
        way: Some(Way::Walk),
        ..query(10)
    };
    let before = recall(&index.reader(), &vectors, &targets, metric, &how, None);
    assert!(before >= 0.95, "{before}");

    // Half are deleted and as many inserted.
    let live = (0..2000).filter(|o| o % 2 == 0).chain(2000..3000);
    let live = Arc::new(set(live));
    for ordinal in 2000..3000u32 {
        let near = &vectors[(ordinal as usize - 2000) * 2 + 1];
        let vector = unit(near.iter().map(|v| v + 0.1 * noise.next()).collect());
        index.add(ordinal, &vector).unwrap();
        vectors.push(vector);
    }
    index.set_live(Arc::clone(&live), 3000);
    index.publish();
    index.wait_for_background();
    assert_eq!(index.len(), 2000, "the dead are gone");
    let after = recall(
        &index.reader(),
        &vectors,
        &targets,
        metric,
        &how,
        Some(&live),
    );
    assert!(after >= before - 0.02, "{before}, then {after}");
}

#[test]
fn distances_far_from_the_origin_are_exact_when_asked_for() {
    let mut noise = Noise(83);
    let far = |noise: &mut Noise| (0..32).map(|_| 100.0 + noise.next()).collect();
    let vectors: Vec<Vec<f32>> = (0..800).map(|_| far(&mut noise)).collect();
    let targets: Vec<Vec<f32>> = (0..5).map(|_| far(&mut noise)).collect();
    for storage in [Storage::Int8, Storage::Binary] {
        let index = VectorIndex::new(VectorOptions {
            metric: Metric::L2,
            storage,
            ..options(32, usize::MAX)
        })
        .unwrap();
        for (ordinal, vector) in (0u32..).zip(&vectors) {
            index.add(ordinal, vector).unwrap();
        }
        let reader = index.publish();
        let exact = VectorQuery {
            exact: true,
            ..query(10)
        };
        let recall = recall(&reader, &vectors, &targets, Metric::L2, &exact, None);
        assert!(recall >= 0.95, "{storage:?}: {recall}");
    }
}
