//! Vectors of an index: metrics, storages, and the files they are sealed into.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gleaner::error::Code;
use gleaner::index::{Catalog, Definition, Index};
use gleaner::search::SearchRequest;
use serde_json::{Value, json};

use crate::support::world::{ask, config_in, ids, put, write};

/// Documents that an index here gets: enough for a graph.
const POINTS: usize = 600;

fn definition(embedding: &str) -> Definition {
    Definition::from_toml(&format!(
        r#"
        name = "points"
        [fields.title]
        type = "text"
        [embedding]
        vector_field = "vector"
        dimensions = 8
        {embedding}
        "#
    ))
    .unwrap()
}

fn open(folder: &Path, embedding: &str) -> (Catalog, Arc<Index>) {
    let mut config = config_in(folder);
    config.storage.graph_threshold = 200;
    let catalog = Catalog::new(&config).unwrap();
    let points = catalog
        .get("points")
        .unwrap_or_else(|_| catalog.create(definition(embedding)).unwrap());
    (catalog, points)
}

/// Points on a curve that never comes near itself, of different lengths.
fn vector(place: f64) -> Vec<f64> {
    let turns = (0..8).map(|i| (place * 0.01 * f64::from(i + 1)).sin());
    let length = 1.0 + (place * 0.37).sin().abs();
    turns.map(|x| x * length + 0.01).collect()
}

fn point(place: usize) -> Value {
    json!({"id": format!("p{place:04}"), "title": "point", "vector": vector(place as f64)})
}

fn search(points: &Index, place: f64) -> Vec<String> {
    let request = SearchRequest {
        vector: Some(vector(place).iter().map(|&x| x as f32).collect()),
        k: Some(5),
        ..SearchRequest::default()
    };
    let answer = ask(points, &request);
    ids(&answer).into_iter().map(str::to_string).collect()
}

fn sealed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("data/indexes/points/vectors")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some()).collect()
}

fn graphs(points: &Index) -> usize {
    points.view().vectors.as_ref().unwrap().segments().1
}

#[test]
fn sealed_vectors_are_read_again_and_rebuilt_where_they_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, points) = open(folder.path(), "");
    put(&points, (0..POINTS).map(point).collect());
    points.wait_for_background();
    points.refresh().unwrap();
    assert!(graphs(&points) > 0);
    // Beyond what is sealed: more, one changed and one removed.
    put(&points, vec![point(POINTS), point(POINTS + 1)]);
    let moved = json!({"id": "p0007", "title": "point", "vector": vector(900.0)});
    put(&points, vec![moved]);
    assert!(points.delete("p0100").unwrap());
    points.refresh().unwrap();
    let places = [7.0, 100.0, 300.0, 600.0, 900.0];
    let before = places.map(|place| search(&points, place));
    assert_eq!(before[4][0], "p0007");
    drop((catalog, points));

    for damage in ["none", "lost", "cut off", "changed", "another version"] {
        for file in sealed(folder.path()) {
            let mut bytes = std::fs::read(&file).unwrap();
            match damage {
                "none" => continue,
                "lost" => {
                    std::fs::remove_file(file).unwrap();
                    continue;
                }
                "cut off" => bytes.truncate(bytes.len() / 2),
                "changed" => {
                    let last = bytes.len() - 1;
                    bytes[last] ^= 1;
                }
                _ => bytes[8] += 1,
            }
            std::fs::write(file, bytes).unwrap();
        }
        let (_catalog, points) = open(folder.path(), "");
        // Damage among vectors and links is found in the background.
        points.wait_for_background();
        points.refresh().unwrap();
        points.wait_for_background();
        assert_eq!(
            places.map(|place| search(&points, place)),
            before,
            "{damage}"
        );
        assert!(graphs(&points) > 0, "{damage}");
        assert_eq!(points.view().documents as usize, POINTS + 1, "{damage}");
    }
}

#[test]
fn scores_are_those_of_the_metric() {
    let query = [0.5, -1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.25];
    let other = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, -2.0];
    let dot = 0.5 - 1.0 + 2.0 - 0.5;
    let lengths = (0.25f64 + 1.0 + 4.0 + 0.0625).sqrt() * 7f64.sqrt();
    let distance = 0.25 + 4.0 + 1.0 + 5.0625;
    for (metric, wanted) in [("cosine", dot / lengths), ("dot", dot), ("l2", -distance)] {
        for storage in ["int8", "f16", "binary"] {
            let folder = tempfile::tempdir().unwrap();
            let embedding = format!("metric = {metric:?}\nstorage = {storage:?}");
            let (_catalog, points) = open(folder.path(), &embedding);
            put(
                &points,
                vec![json!({"id": "a", "title": "x", "vector": other})],
            );
            let request = SearchRequest {
                vector: Some(query.iter().map(|&x| x as f32).collect()),
                ..SearchRequest::default()
            };
            let score = f64::from(ask(&points, &request).hits[0].score);
            assert!(
                (score - wanted).abs() < 2e-3,
                "{metric} {storage}: {score} for {wanted}"
            );
        }
    }
}

#[test]
fn vectors_that_cannot_be_compared_are_refused() {
    for metric in ["cosine", "dot", "l2"] {
        let folder = tempfile::tempdir().unwrap();
        let (_catalog, points) = open(folder.path(), &format!("metric = {metric:?}"));
        for bad in [
            json!([0, 0, 0, 0, 0, 0, 0, 0]),
            json!([1e30, 0, 0, 0, 0, 0, 0, 0]),
            json!([1e300, 0, 0, 0, 0, 0, 0, 0]),
            json!([1, 2, 3]),
            json!([1, 2, 3, 4, 5, 6, 7, null]),
        ] {
            let document = json!({"id": "a", "title": "x", "vector": bad});
            let error = write(&points, vec![document]).err().unwrap();
            assert_eq!(error.problem().unwrap().code, Code::InvalidVector, "{bad}");
        }
        assert_eq!(points.view().documents, 0);
    }
}

#[test]
fn settings_of_vectors_out_of_range_are_refused() {
    for wrong in [
        "metric = \"manhattan\"",
        "storage = \"int4\"",
        "graph = { m = 2 }",
        "graph = { ef_construction = 100000 }",
        "graph = { builder = \"faiss\" }",
    ] {
        let text = format!(
            "name = \"points\"\n[fields.title]\ntype = \"text\"\n\
             [embedding]\nvector_field = \"vector\"\ndimensions = 8\n{wrong}\n"
        );
        let error = Definition::from_toml(&text).err().unwrap();
        assert_eq!(
            error.problem().unwrap().code,
            Code::InvalidDefinition,
            "{wrong}"
        );
    }
    let large = definition("").embedding.map(|mut embedding| {
        embedding.dimensions = Some(4097);
        embedding
    });
    let definition = Definition {
        embedding: large,
        ..definition("")
    };
    assert_eq!(
        definition.check().unwrap_err().field.as_deref(),
        Some("embedding.dimensions")
    );
}
