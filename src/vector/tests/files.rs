//! Sealed segments: files that answer as before, and damage that is never trusted.

use super::super::{file, graph, rows, section, segment};
use super::*;

/// An index in a folder, of documents of one or two passages.
fn sealed(folder: &std::path::Path, vectors: &[Vec<f32>], storage: Storage) -> VectorIndex {
    let options = VectorOptions {
        storage,
        ..options(vectors[0].len(), 300)
    };
    let index = VectorIndex::open(options, folder, &owner(1 << 20)).unwrap();
    let present = index.reader().documents();
    for (ordinal, vector) in (0u32..).zip(vectors) {
        if present.contains(ordinal) {
            continue;
        }
        let passages = match ordinal % 3 {
            0 => [&vector[..], &vector[..]].concat(),
            _ => vector.clone(),
        };
        index.add(ordinal, &passages).unwrap();
    }
    index.publish();
    index.wait_for_background();
    index
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_sealed_segment_answers_as_before_when_opened_again() {
    for storage in [Storage::Int8, Storage::F16, Storage::Binary] {
        let folder = tempfile::tempdir().unwrap();
        let vectors = clustered(&mut Noise(61), 500, 20);
        let index = sealed(folder.path(), &vectors, storage);
        let answers = |index: &VectorIndex| -> Vec<VectorHits> {
            let reader = index.reader();
            let ask = |v: &Vec<f32>| reader.search(v, &query(7), None).unwrap();
            vectors.iter().step_by(11).map(ask).collect()
        };
        let before = answers(&index);
        drop(index);
        assert_eq!(files(folder.path()).len(), 1);
        let index = sealed(folder.path(), &[vectors[0].clone()], storage);
        assert_eq!(index.reader().segments(), (1, 1));
        assert_eq!(index.reader().documents(), (0..500).collect());
        assert_eq!(before, answers(&index));
        // The vectors are read from the file, not held.
        assert!(index.memory_bytes() < 64);
    }
}

#[test]
fn a_damaged_file_is_never_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = clustered(&mut Noise(67), 320, 12);
    let index = sealed(folder.path(), &vectors, Storage::Int8);
    let answer = index
        .reader()
        .search(&vectors[9], &query(50), None)
        .unwrap();
    drop(index);
    let path = files(folder.path()).remove(0);
    let good = std::fs::read(&path).unwrap();
    let spoilt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let index = VectorIndex::open(options(12, 300), folder.path(), &owner(1 << 20)).unwrap();
        index.wait_for_background();
        // What is found later takes all of the file's documents with it.
        let lost = index.lost().len();
        assert!(lost == 0 || (lost == 320 && index.is_empty()), "{lost}");
        // Between the sections there is nothing that could be damaged.
        let harmless = !index.is_empty();
        if harmless {
            let hits = index
                .reader()
                .search(&vectors[9], &query(50), None)
                .unwrap();
            assert_eq!(hits, answer, "a damaged file was used");
        } else {
            // Another version's may be of use to that version.
            let other = std::fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"GLNRVEC\n\x03"));
            assert!(other || !path.exists(), "a damaged file was kept");
        }
        drop(index);
        // What it held is added again, and sealed again.
        let index = sealed(folder.path(), &vectors, Storage::Int8);
        assert_eq!(index.reader().segments(), (1, 1));
        let hits = index.reader().search(&vectors[9], &query(1), None).unwrap();
        assert_eq!(ordinals(&hits), [9]);
        drop(index);
        files(folder.path())
            .iter()
            .for_each(|f| std::fs::remove_file(f).unwrap());
        !harmless
    };
    let places: Vec<usize> = (0..good.len()).step_by(good.len() / 37).collect();
    let refused = places
        .iter()
        .filter(|&&at| spoilt(&|bytes| bytes[at] ^= 0x10));
    assert!(refused.count() * 2 > places.len());
    for at in places {
        assert!(spoilt(&|bytes| bytes.truncate(at)));
    }
    assert!(spoilt(&|bytes| bytes[8] = 3));
    assert!(spoilt(&|bytes| bytes[12..16].fill(0xff)));
    assert!(!spoilt(&|bytes| bytes.extend_from_within(..64)));

    // Of other vectors than the index has.
    std::fs::write(&path, &good).unwrap();
    let other = VectorIndex::open(options(13, 300), folder.path(), &owner(1 << 20)).unwrap();
    assert!(other.is_empty());
}

#[test]
fn a_file_of_another_history_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = clustered(&mut Noise(69), 320, 12);
    drop(sealed(folder.path(), &vectors, Storage::Int8));
    // The store knows of fewer documents than the file holds: theirs would get its vectors.
    let index = VectorIndex::open(options(12, 300), folder.path(), &owner(319)).unwrap();
    assert!(index.is_empty());
    assert!(files(folder.path()).is_empty());
    drop(index);

    // A file of another index, of the same shape.
    drop(sealed(folder.path(), &vectors, Storage::Int8));
    let other = Owner {
        id: "other".into(),
        ..owner(1 << 20)
    };
    let index = VectorIndex::open(options(12, 300), folder.path(), &other).unwrap();
    assert!(index.is_empty());
}

#[test]
fn files_of_the_index_it_was_made_from_count_up_to_then() {
    let vectors = clustered(&mut Noise(69), 320, 12);
    for counts in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        drop(sealed(folder.path(), &vectors, Storage::Int8));
        let next = next_number(folder.path()).unwrap();
        assert!(next > 1);
        let inherited = Inherited {
            id: "test".into(),
            before: if counts { next } else { 1 },
        };
        let other = Owner {
            id: "other".into(),
            inherited: vec![inherited],
            ..owner(1 << 20)
        };
        let index = VectorIndex::open(options(12, 300), folder.path(), &other).unwrap();
        assert_eq!(!index.is_empty(), counts);
    }
}

#[test]
fn links_to_rows_that_do_not_exist_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = clustered(&mut Noise(71), 400, 12);
    let mut rows = rows::RowsBuilder::new(options(12, 1).shape());
    (0u32..).zip(&vectors).for_each(|(i, v)| rows.push(i, v));
    let wild: Vec<u32> = (0..400 * 16u32)
        .map(|i| i.wrapping_mul(2_654_435_761))
        .collect();
    let made = segment::Segment {
        rows: rows.finish(),
        graph: Some(graph::Graph {
            m: 8,
            base: section::Section::copy(&wild),
            slots: section::Section::copy(&[7, 8]),
            layers: vec![section::Section::copy(&wild[5..21])],
        }),
        document_of: section::Section::default(),
        file: None,
    };
    let path = folder.path().join("00000001.vectors");
    file::write(&path, &made, made.graph().unwrap(), "test", Vec::new()).unwrap();
    let index = VectorIndex::open(options(12, 300), folder.path(), &owner(1 << 20)).unwrap();
    assert_eq!(index.len(), 400);
    for vector in &vectors {
        let hits = index.reader().search(vector, &query(5), None).unwrap();
        assert_eq!(hits.hits.len(), 5);
    }
}

#[test]
fn files_that_were_replaced_go_when_nobody_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = clustered(&mut Noise(73), 1200, 12);
    let index = VectorIndex::open(options(12, 300), folder.path(), &owner(1 << 20)).unwrap();
    let mut first = None;
    for (ordinal, vector) in (0u32..).zip(&vectors) {
        index.add(ordinal, vector).unwrap();
        if ordinal % 300 == 299 {
            index.publish();
            index.wait_for_background();
            first.get_or_insert_with(|| (index.reader(), files(folder.path())));
        }
    }
    let (old, first) = first.unwrap();
    assert_eq!(index.reader().segments(), (1, 1));
    // The merged file, and the one that the old reader still sees.
    assert_eq!(files(folder.path()).len(), 2);
    let hits = old.search(&vectors[5], &query(1), None).unwrap();
    assert_eq!(ordinals(&hits), [5]);
    // As if the process had ended here: the old file is still there, and not used.
    let copy = tempfile::tempdir().unwrap();
    for file in files(folder.path()) {
        std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    std::fs::write(copy.path().join("00000099.writing"), b"half").unwrap();
    let after = VectorIndex::open(options(12, 300), copy.path(), &owner(1 << 20)).unwrap();
    assert_eq!((after.len(), after.reader().segments()), (1200, (1, 1)));
    assert_eq!(files(copy.path()).len(), 1);
    drop(old);
    assert!(!first[0].exists());
    assert_eq!(files(folder.path()).len(), 1);
}
