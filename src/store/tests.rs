//! The promises, through the public interface.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rocksdb::{DB, Options};
use tempfile::TempDir;

use super::*;
use crate::error::{Code, Problem};

fn small() -> StoreOptions {
    StoreOptions {
        block_cache_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        ..StoreOptions::default()
    }
}

fn vectors(seed: u32, passages: u32) -> StoredVectors {
    StoredVectors {
        dimensions: 4,
        spans: (0..passages)
            .map(|i| PassageSpan {
                start: i * 10,
                end: i * 10 + 15,
            })
            .collect(),
        vectors: (0..passages * 4)
            .map(|i| (seed * 31 + i) as f32 * 0.25)
            .collect(),
    }
}

fn put<'a>(id: &'a str, source: &'a [u8], vectors: Option<&'a StoredVectors>) -> Operation<'a> {
    Operation::Put {
        id,
        source,
        vectors,
    }
}

/// What a machine that lost power keeps: the files as they lie on the disk.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn operator_message(result: Result<impl Sized>) -> String {
    match result {
        Err(error @ Error::Operator(_)) => error.to_string(),
        Err(other) => panic!("not an operator's error: {other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn a_put_is_found_under_its_id_and_its_ordinal() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path().join("deep/store"), &small()).unwrap();
    let passages = vectors(7, 2);
    let applied = store
        .apply(
            &[
                put("b", b"{\"x\":1}", Some(&passages)),
                put("a", b"", None),
                Operation::Delete { id: "none" },
            ],
            Durability::Synced,
        )
        .unwrap();
    assert_eq!(
        applied,
        [
            Applied {
                seq: 1,
                ordinal: Some(0),
                replaced: None
            },
            Applied {
                seq: 2,
                ordinal: Some(1),
                replaced: None
            },
            Applied {
                seq: 3,
                ordinal: None,
                replaced: None
            },
        ]
    );
    assert_eq!(store.ordinal("b").unwrap(), Some(0));
    assert_eq!(store.ordinal("none").unwrap(), None);
    assert_eq!(store.source(0).unwrap().unwrap(), b"{\"x\":1}");
    assert_eq!(store.document(1).unwrap().unwrap().id, "a");
    assert_eq!(store.vectors(0).unwrap().unwrap(), passages);
    assert_eq!(store.vectors(1).unwrap(), None);
    assert_eq!(
        store.sources(&[1, 9, 0]).unwrap(),
        [Some(vec![]), None, Some(b"{\"x\":1}".to_vec())]
    );
    assert_eq!(store.vectors_many(&[1, 0]).unwrap(), [None, Some(passages)]);
    assert_eq!(
        (store.count(), store.last_seq(), store.next_ordinal()),
        (2, 3, 2)
    );
    assert!(store.apply(&[], Durability::Synced).unwrap().is_empty());
}

#[test]
fn later_operations_of_a_batch_see_the_earlier_ones() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    let passages = vectors(1, 1);
    let applied = store
        .apply(
            &[
                put("x", b"1", Some(&passages)),
                put("x", b"2", Some(&passages)),
                Operation::Delete { id: "x" },
                Operation::Delete { id: "x" },
                put("x", b"3", None),
            ],
            Durability::Buffered,
        )
        .unwrap();
    let seen: Vec<_> = applied.iter().map(|a| (a.ordinal, a.replaced)).collect();
    assert_eq!(
        seen,
        [
            (Some(0), None),
            (Some(1), Some(0)),
            (None, Some(1)),
            (None, None),
            (Some(2), None)
        ]
    );
    // The dead are there until they are buried.
    assert_eq!(store.source(1).unwrap().unwrap(), b"2");
    assert_eq!(store.vectors(0).unwrap().unwrap(), passages);
    store.bury(&[0, 1], 5).unwrap();
    assert_eq!(
        store.sources(&[0, 1, 2]).unwrap(),
        [None, None, Some(b"3".to_vec())]
    );
    assert_eq!(store.vectors_many(&[0, 1, 2]).unwrap(), [None, None, None]);
    assert_eq!((store.oldest_seq(), store.last_seq()), (6, 5));
    assert_eq!(store.count(), 1);
}

#[test]
fn a_batch_that_cannot_be_written_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    store
        .apply(&[put("a", b"1", None)], Durability::Synced)
        .unwrap();
    let broken = StoredVectors {
        dimensions: 4,
        spans: vec![],
        vectors: vec![1.0],
    };
    let result = store.apply(
        &[
            put("b", b"2", None),
            Operation::Delete { id: "a" },
            put("c", b"3", Some(&broken)),
        ],
        Durability::Synced,
    );
    assert!(matches!(result, Err(Error::Bug(_))));
    assert_eq!(
        (store.count(), store.last_seq(), store.next_ordinal()),
        (1, 1, 1)
    );
    assert_eq!(store.ordinal("a").unwrap(), Some(0));
    assert_eq!(store.ordinal("b").unwrap(), None);
    let next = store
        .apply(&[put("b", b"2", None)], Durability::Synced)
        .unwrap();
    assert_eq!((next[0].seq, next[0].ordinal), (2, Some(1)));
}

#[test]
fn ordinals_run_out_with_an_error() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    store.counters.write().next_ordinal = u32::MAX - 1;
    let both = [put("a", b"", None), put("b", b"", None)];
    let message = operator_message(store.apply(&both, Durability::Synced));
    assert!(message.contains("ordinals"), "{message}");
    assert_eq!(store.count(), 0);
    let last = store.apply(&both[..1], Durability::Synced).unwrap();
    assert_eq!(last[0].ordinal, Some(u32::MAX - 1));
    operator_message(store.apply(&both[1..], Durability::Synced));
    store
        .apply(&[Operation::Delete { id: "a" }], Durability::Synced)
        .unwrap();
    assert_eq!(store.count(), 0);
}

#[test]
fn what_was_acknowledged_survives_a_crash() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = Store::create(&path, &small()).unwrap();
    let passages = vectors(3, 2);
    let source = vec![b'x'; 3000];
    for round in 0..40u32 {
        let ids: Vec<String> = (0..10)
            .map(|i| format!("{}", (round * 7 + i) % 90))
            .collect();
        let operations: Vec<Operation> = ids
            .iter()
            .map(|id| put(id, &source, Some(&passages)))
            .collect();
        store.apply(&operations, Durability::Synced).unwrap();
        if round % 10 == 9 {
            let crashed = dir.path().join(format!("crash{round}"));
            copy_folder(&path, &crashed);
            let copy = Store::open(&crashed, &small()).unwrap();
            assert_eq!(copy.last_seq(), store.last_seq());
            assert_eq!(copy.next_ordinal(), store.next_ordinal());
            let mut live = 0;
            copy.for_each_live(|ordinal, id| {
                live += 1;
                assert_eq!(store.ordinal(id).unwrap(), Some(ordinal));
                assert_eq!(copy.source(ordinal).unwrap().unwrap(), source);
                assert_eq!(copy.vectors(ordinal).unwrap().unwrap(), passages);
            })
            .unwrap();
            assert_eq!((live, copy.count()), (store.count(), store.count()));
        }
    }
    // Dropped without closing, as a killed process would.
    let seq = store.last_seq();
    let crashed = dir.path().join("killed");
    copy_folder(&path, &crashed);
    std::mem::forget(store);
    assert_eq!(Store::open(&crashed, &small()).unwrap().last_seq(), seq);
}

#[test]
fn a_torn_log_loses_only_whole_batches_from_its_end() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = Store::create(&path, &small()).unwrap();
    for i in 0..20 {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        store
            .apply(
                &[put(&a, b"1", None), put(&b, b"2", None)],
                Durability::Buffered,
            )
            .unwrap();
    }
    store.sync().unwrap();
    let wal = fs::read_dir(&path)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .max_by_key(|p| fs::metadata(p).unwrap().len())
        .unwrap();
    let length = fs::metadata(&wal).unwrap().len();
    let mut seen = Vec::new();
    for cut in [0, 1, 40, 100, length / 2, length - 1] {
        let torn = dir.path().join(format!("torn{cut}"));
        copy_folder(&path, &torn);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(torn.join(wal.file_name().unwrap()))
            .unwrap();
        file.set_len(length - cut).unwrap();
        drop(file);
        // Either it opens on a prefix of the batches or, with creation itself
        // torn away, says what is wrong.
        let Ok(copy) = Store::open(&torn, &small()) else {
            assert_eq!(cut, length - 1);
            continue;
        };
        let pairs = copy.count() / 2;
        assert_eq!(copy.last_seq(), pairs * 2);
        for i in 0..20 {
            let expected = i < pairs;
            assert_eq!(copy.ordinal(&format!("a{i}")).unwrap().is_some(), expected);
            assert_eq!(copy.ordinal(&format!("b{i}")).unwrap().is_some(), expected);
        }
        seen.push(pairs);
    }
    assert_eq!(seen[0], 20);
    assert_eq!(seen[1], 19);
    assert!(seen.is_sorted_by(|a, b| a >= b));
}

#[test]
fn one_process_at_a_time_and_no_second_creation() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    let message = operator_message(Store::open(dir.path(), &small()));
    assert!(message.contains("another process"), "{message}");
    drop(store);
    let message = operator_message(Store::create(dir.path(), &small()));
    assert!(message.contains("there is a store already"), "{message}");
    Store::open(dir.path(), &small()).unwrap();
    let message = operator_message(Store::open(dir.path().join("none"), &small()));
    assert!(message.contains("does not hold a store"), "{message}");
}

/// Opens the database underneath, past this module.
fn raw(path: &Path) -> DB {
    let mut families: Vec<&str> = options::FAMILIES.to_vec();
    families.push("default");
    DB::open_cf(&Options::default(), path, families).unwrap()
}

#[test]
fn a_newer_format_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(Store::create(dir.path(), &small()).unwrap());
    let mut db = raw(dir.path());
    db.create_cf("hyperlinks", &Options::default()).unwrap();
    let meta = db.cf_handle("meta").unwrap();
    db.put_cf(meta, FORMAT_KEY, 2u32.to_le_bytes()).unwrap();
    drop(db);
    let message = operator_message(Store::open(dir.path(), &small()));
    assert!(message.contains("format 2"), "{message}");
    assert!(message.contains("later"), "{message}");
}

#[test]
fn an_interrupted_creation_is_finished_on_opening() {
    let dir = TempDir::new().unwrap();
    drop(Store::create(dir.path(), &small()).unwrap());
    let db = raw(dir.path());
    let meta = db.cf_handle("meta").unwrap();
    db.delete_cf(meta, FORMAT_KEY).unwrap();
    db.delete_cf(meta, COUNTERS_KEY).unwrap();
    drop(db);
    let store = Store::open(dir.path(), &small()).unwrap();
    store
        .apply(&[put("a", b"1", None)], Durability::Synced)
        .unwrap();
    drop(store);
    let db = raw(dir.path());
    db.delete_cf(db.cf_handle("meta").unwrap(), FORMAT_KEY)
        .unwrap();
    drop(db);
    let message = operator_message(Store::open(dir.path(), &small()));
    assert!(message.contains("format version"), "{message}");
}

#[test]
fn bytes_of_somebody_else_are_an_operators_error() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    let passages = vectors(1, 1);
    store
        .apply(
            &[put("a", b"1", Some(&passages)), put("b", b"2", None)],
            Durability::Synced,
        )
        .unwrap();
    for (family, key) in [
        ("documents", codec::ordinal_key(0).to_vec()),
        ("vectors", codec::ordinal_key(0).to_vec()),
        ("ids", b"a".to_vec()),
        ("log", codec::seq_key(1).to_vec()),
    ] {
        let family = store.family(family).unwrap();
        store.db.put_cf(family, key, b"\x09garbage").unwrap();
    }
    let message = operator_message(store.source(0));
    assert!(message.contains("snapshot"), "{message}");
    operator_message(store.vectors(0));
    operator_message(store.ordinal("a"));
    operator_message(store.sources(&[1, 0]));
    operator_message(store.for_each_live(|_, _| ()));
    operator_message(store.for_each_document(|_, _, _| Ok(())));
    operator_message(store.for_each_vectors(|_, _| Ok(())));
    operator_message(store.replay(0, |_| Ok(())));
    operator_message(store.apply(&[put("a", b"3", None)], Durability::Synced));
    store.replay(1, |_| Ok(())).unwrap();
    store
        .db
        .delete_cf(store.family("log").unwrap(), codec::seq_key(2))
        .unwrap();
    operator_message(store.replay(1, |_| Ok(())));
}

#[test]
fn damaged_files_are_an_operators_error() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    let source = vec![b'y'; 50_000];
    store
        .apply(&[put("a", &source, None)], Durability::Synced)
        .unwrap();
    store.flush().unwrap();
    drop(store);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "sst") {
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().take(200).for_each(|b| *b ^= 0x5a);
            fs::write(&path, bytes).unwrap();
        }
    }
    match Store::open(dir.path(), &small()) {
        Err(error) => assert!(matches!(error, Error::Operator(_)), "{error}"),
        Ok(store) => {
            let message = operator_message(store.source(0));
            assert!(message.contains("damaged"), "{message}");
        }
    }
    fs::write(dir.path().join("CURRENT"), b"MANIFEST-999999\n").unwrap();
    operator_message(Store::open(dir.path(), &small()));
}

#[test]
fn writers_take_turns() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..25 {
                    let (own, common) = (format!("{thread}-{i}"), format!("{i}"));
                    store
                        .apply(
                            &[put(&own, b"own", None), put(&common, b"common", None)],
                            Durability::Buffered,
                        )
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(store.count(), 4 * 25 + 25);
    assert_eq!((store.last_seq(), store.next_ordinal()), (200, 200));
    let (mut puts, mut removed) = (0, 0);
    store
        .replay(0, |entry| {
            puts += u32::from(entry.put.is_some());
            removed += u32::from(entry.removed.is_some());
            Ok(())
        })
        .unwrap();
    assert_eq!((puts, removed), (200, 75));
}

#[test]
fn after_a_failed_write_none_is_taken_until_it_is_opened_again() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    store
        .apply(&[put("a", b"1", None)], Durability::Synced)
        .unwrap();
    *store.writer.lock() = Health::Failed;
    let message = operator_message(store.apply(&[put("b", b"2", None)], Durability::Synced));
    assert!(message.contains("restart"), "{message}");
    operator_message(store.put_meta("name", b""));
    operator_message(store.trim_log(1));
    assert_eq!(store.source(0).unwrap().unwrap(), b"1");
    drop(store);
    let store = Store::open(dir.path(), &small()).unwrap();
    store
        .apply(&[put("b", b"2", None)], Durability::Synced)
        .unwrap();
    assert_eq!(store.count(), 2);
}

#[test]
fn the_log_is_replayed_in_order_and_trimmed() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    let read = |store: &Store, after| {
        let mut entries = Vec::new();
        store
            .replay(after, |entry| {
                entries.push((entry.seq, entry.put, entry.removed));
                Ok(())
            })
            .map(|()| entries)
    };
    assert_eq!(read(&store, 0).unwrap(), []);
    assert_eq!(store.oldest_seq(), 1);
    store
        .apply(
            &[put("a", b"", None), put("b", b"", None)],
            Durability::Synced,
        )
        .unwrap();
    store
        .apply(
            &[put("a", b"", None), Operation::Delete { id: "b" }],
            Durability::Synced,
        )
        .unwrap();
    let all = [
        (1, Some(0), None),
        (2, Some(1), None),
        (3, Some(2), Some(0)),
        (4, None, Some(1)),
    ];
    assert_eq!(read(&store, 0).unwrap(), all);
    assert_eq!(read(&store, 2).unwrap(), all[2..]);
    assert_eq!(read(&store, 4).unwrap(), []);
    operator_message(read(&store, 5));
    operator_message(read(&store, u64::MAX));

    store.trim_log(2).unwrap();
    store.trim_log(1).unwrap();
    assert_eq!(store.oldest_seq(), 3);
    assert_eq!(read(&store, 2).unwrap(), all[2..]);
    let message = operator_message(read(&store, 1));
    assert!(message.contains("rebuild"), "{message}");
    store.trim_log(u64::MAX).unwrap();
    assert_eq!(store.oldest_seq(), 5);
    drop(store);
    let store = Store::open(dir.path(), &small()).unwrap();
    assert_eq!((store.oldest_seq(), store.last_seq()), (5, 4));
    assert_eq!(read(&store, 4).unwrap(), []);
    store
        .apply(&[put("c", b"", None)], Durability::Synced)
        .unwrap();
    assert_eq!(read(&store, 4).unwrap(), [(5, Some(3), None)]);
}

#[test]
fn an_error_of_the_reader_ends_a_scan() {
    let dir = TempDir::new().unwrap();
    let store = Store::create(dir.path(), &small()).unwrap();
    store
        .apply(
            &[put("a", b"", None), put("b", b"", None)],
            Durability::Synced,
        )
        .unwrap();
    let mut calls = 0;
    let result = store.for_each_document(|_, _, _| {
        calls += 1;
        Err(Problem::new(Code::Timeout, "enough").into())
    });
    assert_eq!(result.unwrap_err().problem().unwrap().code, Code::Timeout);
    assert_eq!(calls, 1);
}

#[test]
fn named_values_and_checkpoints() {
    let dir = TempDir::new().unwrap();
    let shared = Shared::new(1 << 20, 1 << 20);
    let options = StoreOptions {
        shared: Some(shared.clone()),
        ..small()
    };
    let store = Store::create(dir.path().join("one"), &options).unwrap();
    assert_eq!(store.meta("format").unwrap(), None);
    store.put_meta("format", b"mine").unwrap();
    store.put_meta("", b"empty").unwrap();
    store
        .apply(&[put("a", b"1", None)], Durability::Buffered)
        .unwrap();
    let copy = dir.path().join("two");
    store.checkpoint(&copy).unwrap();
    operator_message(store.checkpoint(&copy));
    store
        .apply(&[put("b", b"2", None)], Durability::Synced)
        .unwrap();
    store.delete_meta("").unwrap();
    store.compact().unwrap();
    assert_eq!(store.meta("").unwrap(), None);

    let copy = Store::open(&copy, &options).unwrap();
    assert_eq!(copy.meta("format").unwrap().unwrap(), b"mine");
    assert_eq!(copy.meta("").unwrap().unwrap(), b"empty");
    assert_eq!((copy.count(), copy.last_seq()), (1, 1));
    assert_eq!(copy.source(0).unwrap().unwrap(), b"1");
    assert!(shared.usage().1 > 0);
}

/// What the property test does to store and model alike.
#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<(u8, Option<u8>)>, bool),
    Reopen,
    Crash,
    Flush,
    Bury(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = (0u8..12, proptest::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        8 => (proptest::collection::vec(operation, 1..6), any::<bool>())
            .prop_map(|(operations, synced)| Step::Apply(operations, synced)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        1 => Just(Step::Flush),
        1 => any::<u8>().prop_map(Step::Bury),
    ];
    proptest::collection::vec(step, 1..14)
}

/// A document of the model: ordinal, source, vectors.
type Model = BTreeMap<String, (u32, Vec<u8>, Option<StoredVectors>)>;

fn apply_to_both(
    store: &Store,
    model: &mut Model,
    log: &mut Vec<LogEntry>,
    next: &mut u32,
    operations: &[(u8, Option<u8>)],
    synced: bool,
) {
    let owned: Vec<_> = operations
        .iter()
        .map(|&(id, value)| {
            let vectors = value
                .filter(|v| v % 3 != 0)
                .map(|v| vectors(u32::from(v), u32::from(v % 4)));
            (
                format!("id{id}"),
                value.map(|v| vec![v; usize::from(v)]),
                vectors,
            )
        })
        .collect();
    let batch: Vec<Operation> = owned
        .iter()
        .map(|(id, source, vectors)| match source {
            Some(source) => put(id, source, vectors.as_ref()),
            None => Operation::Delete { id },
        })
        .collect();
    let durability = if synced {
        Durability::Synced
    } else {
        Durability::Buffered
    };
    let applied = store.apply(&batch, durability).unwrap();
    for ((id, source, vectors), applied) in owned.into_iter().zip(applied) {
        let removed = model.remove(&id).map(|(ordinal, ..)| ordinal);
        let put = source.map(|source| {
            model.insert(id, (*next, source, vectors));
            *next += 1;
            *next - 1
        });
        let entry = LogEntry {
            seq: log.len() as u64 + 1,
            put,
            removed,
        };
        assert_eq!(
            applied,
            Applied {
                seq: entry.seq,
                ordinal: put,
                replaced: removed
            }
        );
        log.push(entry);
    }
}

fn check_against(store: &Store, model: &Model, log: &[LogEntry], next: u32) {
    assert_eq!(store.count(), model.len() as u64);
    assert_eq!(store.last_seq(), log.len() as u64);
    assert_eq!(store.next_ordinal(), next);
    let mut live = Vec::new();
    store
        .for_each_live(|ordinal, id| live.push((id.to_owned(), ordinal)))
        .unwrap();
    let expected: Vec<_> = model.iter().map(|(id, d)| (id.clone(), d.0)).collect();
    assert_eq!(live, expected);
    let mut by_ordinal: BTreeMap<u32, (&str, &[u8], Option<&StoredVectors>)> = BTreeMap::new();
    for (id, (ordinal, source, vectors)) in model {
        by_ordinal.insert(*ordinal, (id, source, vectors.as_ref()));
    }
    // Rows of the dead may be there as long as the log names them.
    let buried = store.oldest_seq() as usize - 1;
    let is_dead = |at: &[LogEntry], ordinal| at.iter().any(|e| e.removed == Some(ordinal));
    let mut documents = by_ordinal.iter();
    store
        .for_each_document(|ordinal, id, source| {
            if is_dead(&log[buried..], ordinal) {
                return Ok(());
            }
            let (&o, &(i, s, _)) = documents.next().unwrap();
            assert_eq!((ordinal, id, source), (o, i, s));
            Ok(())
        })
        .unwrap();
    assert!(documents.next().is_none());
    let mut with_vectors = by_ordinal.iter().filter(|(_, d)| d.2.is_some());
    store
        .for_each_vectors(|ordinal, vectors| {
            if is_dead(&log[buried..], ordinal) {
                return Ok(());
            }
            let (&o, &(_, _, v)) = with_vectors.next().unwrap();
            assert_eq!((ordinal, &vectors), (o, v.unwrap()));
            Ok(())
        })
        .unwrap();
    assert!(with_vectors.next().is_none());
    let all: Vec<u32> = (0..next + 1).collect();
    let sources = store.sources(&all).unwrap();
    let vectors = store.vectors_many(&all).unwrap();
    for ordinal in all {
        let at = ordinal as usize;
        if is_dead(&log[buried..], ordinal) {
            continue;
        }
        let expected = by_ordinal.get(&ordinal);
        assert_eq!(sources[at].as_deref(), expected.map(|d| d.1));
        assert_eq!(vectors[at].as_ref(), expected.and_then(|d| d.2));
    }
    let after = store.oldest_seq() - 1;
    let mut entries = Vec::new();
    store
        .replay(after, |entry| {
            entries.push(entry);
            Ok(())
        })
        .unwrap();
    assert_eq!(entries, log[after as usize..]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_whatever_happens(steps in steps()) {
        let dir = TempDir::new().unwrap();
        let mut path = dir.path().join("0");
        let mut store = Store::create(&path, &small()).unwrap();
        let (mut model, mut log, mut next) = (Model::new(), Vec::new(), 0);
        for (i, step) in steps.iter().enumerate() {
            match step {
                Step::Apply(operations, synced) => {
                    apply_to_both(&store, &mut model, &mut log, &mut next, operations, *synced);
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(&path, &small()).unwrap();
                }
                Step::Crash => {
                    let copy = dir.path().join(format!("{}", i + 1));
                    copy_folder(&path, &copy);
                    drop(store);
                    path = copy;
                    store = Store::open(&path, &small()).unwrap();
                }
                Step::Flush => store.flush().unwrap(),
                Step::Bury(part) => {
                    let up_to = log.len() * usize::from(*part) / 255;
                    let dead: Vec<u32> = log[..up_to].iter().filter_map(|e| e.removed).collect();
                    store.bury(&dead, up_to as u64).unwrap();
                }
            }
            check_against(&store, &model, &log, next);
        }
    }
}
