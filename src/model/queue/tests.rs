use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;

/// A vector is the text's first id and its length. An id of 13 panics, 14 is an error,
/// 15 waits until it may go on, and 12 takes longer than threads may overtake one another at
/// a mutex.
#[derive(Default)]
struct Toy {
    opened: AtomicUsize,
    held: AtomicBool,
    batches: Mutex<Vec<Vec<usize>>>,
    threads: Mutex<Vec<std::thread::ThreadId>>,
}

impl Runner for Toy {
    type Session = ();

    fn open(&self) -> Result<()> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn run(&self, (): &mut (), batch: &Batch) -> Result<Vec<f32>> {
        self.batches.lock().push(batch.lengths().to_vec());
        self.threads.lock().push(std::thread::current().id());
        let firsts: Vec<i64> = batch
            .ids()
            .chunks_exact(batch.longest())
            .map(|ids| ids[0])
            .collect();
        assert!(!firsts.contains(&13), "thirteen");
        if firsts.contains(&14) {
            return Err(Error::operator("fourteen"));
        }
        while firsts.contains(&15) && self.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if firsts.contains(&12) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let lengths = batch.lengths().iter();
        Ok(firsts
            .iter()
            .zip(lengths)
            .flat_map(|(&first, &length)| [first as f32, length as f32])
            .collect())
    }
}

fn queue(sessions: usize) -> Queue<Toy> {
    let bounds = Bounds {
        sessions,
        batch_tokens: 40,
        waiting: 5,
        pad: 0,
    };
    Queue::new(Toy::default(), (), bounds)
}

fn text(first: u32, length: usize) -> Tokenized {
    Tokenized {
        ids: vec![first; length],
        skip: 0,
        second: usize::MAX,
        truncated: false,
        graph: None,
    }
}

fn encode(queue: &Queue<Toy>, texts: &[(u32, usize)]) -> Result<Vec<f32>> {
    let texts = texts.iter().map(|&(first, length)| text(first, length));
    queue
        .encode(Task::Document, texts.collect(), Waiting::default())
        .map(|encoded| encoded.vectors)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_caller_gets_its_own_vectors_in_order(
        calls in prop::collection::vec(
            prop::collection::vec((16_u32..99, 1_usize..60), 0..12), 1..8),
        sessions in 1_usize..4,
    ) {
        let queue = queue(sessions);
        std::thread::scope(|scope| {
            for call in &calls {
                let queue = &queue;
                scope.spawn(move || {
                    let expected: Vec<f32> = call
                        .iter()
                        .flat_map(|&(first, length)| [first as f32, length as f32])
                        .collect();
                    assert_eq!(encode(queue, call).unwrap(), expected);
                });
            }
        });
        for lengths in queue.runner().batches.lock().iter() {
            prop_assert!(lengths.iter().all(|&length| length == lengths[0]));
            prop_assert!(lengths.len() == 1 || lengths.len() * lengths[0] <= 40);
        }
        prop_assert!(queue.runner().opened.load(Ordering::Relaxed) < sessions);
        let texts: usize = calls.iter().map(Vec::len).sum();
        prop_assert_eq!(queue.counts().texts, texts as u64);
        let state = queue.state.lock();
        prop_assert_eq!(state.idle.len(), state.made);
        prop_assert_eq!(state.queries.texts + state.documents.texts, 0);
    }
}

#[test]
fn a_batch_that_fails_or_panics_fails_its_callers_and_nobody_else() {
    for bad in [13, 14] {
        let queue = queue(2);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            encode(&queue, &[(20, 3), (bad, 3), (21, 9), (22, 1)])
        }));
        // Where it panicked on this caller's thread, the panic goes on.
        assert!(!matches!(failed, Ok(Ok(_))));
        assert_eq!(encode(&queue, &[(30, 2)]).unwrap(), [30.0, 2.0]);
        let state = queue.state.lock();
        assert_eq!(state.documents.texts, 0);
        assert!(state.documents.jobs.is_empty());
        assert_eq!(state.idle.len(), state.made);
    }
}

#[test]
fn those_who_wait_share_a_batch() {
    let queue = queue(1);
    queue.runner().held.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| encode(&queue, &[(15, 40)]).unwrap());
        while queue.runner().batches.lock().is_empty() {
            std::thread::yield_now();
        }
        for first in 20..28 {
            let queue = &queue;
            scope.spawn(move || {
                assert_eq!(encode(queue, &[(first, 5)]).unwrap(), [first as f32, 5.0]);
            });
        }
        let waiting = || queue.state.lock().documents.texts;
        while waiting() < 8 {
            std::thread::yield_now();
        }
        // Past the bound, those who asked to be are refused.
        let waiting = Waiting {
            refuse: true,
            ..Waiting::default()
        };
        let more = queue.encode(Task::Document, vec![text(1, 1)], waiting);
        let code = more.err().and_then(|e| e.problem().map(|p| p.code));
        assert_eq!(code, Some(Code::Overloaded));
        queue.runner().held.store(false, Ordering::Relaxed);
    });
    let batches = queue.runner().batches.lock();
    assert_eq!(*batches, [vec![40], vec![5; 8]]);
}

#[test]
fn a_session_stays_with_its_thread_until_nothing_of_that_callers_waits() {
    // The longest is first; every length is a batch of its own.
    fn texts(first: u32) -> Vec<(u32, usize)> {
        let shorter = (1..20).map(|length| (12, length));
        std::iter::once((first, 40)).chain(shorter).collect()
    }
    let queue = queue(1);
    queue.runner().held.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| encode(&queue, &texts(15)).unwrap());
        while queue.runner().batches.lock().is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            scope.spawn(|| encode(&queue, &texts(12)).unwrap());
        }
        while queue.state.lock().documents.texts < 19 + 3 * 20 {
            std::thread::yield_now();
        }
        queue.runner().held.store(false, Ordering::Relaxed);
    });
    let threads = queue.runner().threads.lock();
    let changes = threads.windows(2).filter(|two| two[0] != two[1]).count();
    assert!(threads.len() > 20, "{}", threads.len());
    assert!(changes <= 3, "{changes} of {}", threads.len());
}

#[test]
fn what_has_not_begun_by_the_deadline_is_left_out() {
    let queue = queue(1);
    queue.runner().held.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let ask = || {
            let texts = [(20, 30), (15, 40), (21, 50), (22, 30)];
            let waiting = Waiting {
                deadline: Some(Instant::now() + Duration::from_millis(50)),
                ..Waiting::default()
            };
            let texts = texts.map(|(first, length)| text(first, length));
            queue.encode(Task::Query, texts.into(), waiting).unwrap()
        };
        let asked = scope.spawn(ask);
        while queue.runner().batches.lock().len() < 2 {
            std::thread::yield_now();
        }
        // Another whose time is up before a session is free.
        let none = ask();
        assert_eq!(none.done, [false; 4]);
        assert!(none.vectors.is_empty());
        queue.runner().held.store(false, Ordering::Relaxed);
        // In the order of the texts; what was running is there.
        let found = asked.join().unwrap();
        assert_eq!(found.done, [true, true, false, false]);
        assert_eq!(found.vectors[..4], [20.0, 30.0, 15.0, 40.0]);
    });
    assert_eq!(queue.counts().abandoned, 6);
    let state = queue.state.lock();
    assert_eq!((state.queries.texts, state.idle.len()), (0, state.made));
    assert!(state.queries.jobs.is_empty());
}
