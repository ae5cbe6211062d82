//! The sessions of one model: as many batches run at once as there are sessions.

use std::ops::{Deref, DerefMut};

use parking_lot::{Condvar, Mutex};

use super::encoder::Task;
use super::runtime::RuntimeOptions;
use super::session::{EncoderSession, GraphSource};
use crate::error::Result;

/// Sessions over one graph. They are made when they are first needed: a process that
/// encodes one query at a time holds the weights once.
pub(crate) struct SessionPool {
    source: GraphSource,
    options: RuntimeOptions,
    size: usize,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<EncoderSession>,
    /// Sessions that exist or are being made.
    made: usize,
    queries: Line,
    documents: Line,
}

/// First come, first served: without it a thread that encodes batch after batch would
/// take back its own session before anybody who waits has woken up.
#[derive(Default)]
struct Line {
    arrived: u64,
    served: u64,
}

impl Line {
    fn join(&mut self) -> u64 {
        self.arrived += 1;
        self.arrived - 1
    }

    fn is_empty(&self) -> bool {
        self.arrived == self.served
    }
}

impl State {
    fn line(&mut self, task: Task) -> &mut Line {
        match task {
            Task::Query => &mut self.queries,
            Task::Document => &mut self.documents,
        }
    }
}

impl SessionPool {
    /// A pool with its first session.
    ///
    /// # Errors
    /// As [`EncoderSession::open`].
    pub(crate) fn open(source: GraphSource, options: &RuntimeOptions) -> Result<Self> {
        let first = EncoderSession::open(
            &source,
            options.library.as_deref(),
            options.threads_per_session,
        )?;
        Ok(SessionPool {
            source,
            options: options.clone(),
            size: options.session_count(),
            state: Mutex::new(State {
                idle: vec![first],
                made: 1,
                queries: Line::default(),
                documents: Line::default(),
            }),
            returned: Condvar::new(),
        })
    }

    /// Most sessions there will be.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Takes a session; waits while all are in use, in the order of arrival. Queries
    /// go before documents: somebody is waiting for their answer.
    ///
    /// # Errors
    /// Operator, when a further session cannot be made.
    pub(crate) fn take(&self, task: Task) -> Result<PooledSession<'_>> {
        let mut state = self.state.lock();
        let turn = state.line(task).join();
        loop {
            let there = !state.idle.is_empty() || state.made < self.size;
            let first = state.line(task).served == turn
                && (task == Task::Query || state.queries.is_empty());
            if there && first {
                break;
            }
            self.returned.wait(&mut state);
        }
        state.line(task).served += 1;
        let idle = state.idle.pop();
        if idle.is_none() {
            state.made += 1;
        }
        drop(state);
        // Whoever is next in line may find another session.
        self.returned.notify_all();
        match idle {
            Some(session) => Ok(PooledSession {
                pool: self,
                session: Some(session),
            }),
            None => self.make(),
        }
    }

    fn make(&self) -> Result<PooledSession<'_>> {
        let opened = EncoderSession::open(
            &self.source,
            self.options.library.as_deref(),
            self.options.threads_per_session,
        );
        match opened {
            Ok(session) => Ok(PooledSession {
                pool: self,
                session: Some(session),
            }),
            Err(error) => {
                self.state.lock().made -= 1;
                // Whoever waits may have to try in our place.
                self.returned.notify_all();
                Err(error)
            }
        }
    }
}

/// A session on loan; it goes back when this is dropped.
pub(crate) struct PooledSession<'a> {
    pool: &'a SessionPool,
    session: Option<EncoderSession>,
}

impl Deref for PooledSession<'_> {
    type Target = EncoderSession;

    fn deref(&self) -> &EncoderSession {
        self.session.as_ref().expect("taken out only by drop")
    }
}

impl DerefMut for PooledSession<'_> {
    fn deref_mut(&mut self) -> &mut EncoderSession {
        self.session.as_mut().expect("taken out only by drop")
    }
}

impl Drop for PooledSession<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.pool.state.lock().idle.push(session);
            self.pool.returned.notify_all();
        }
    }
}
