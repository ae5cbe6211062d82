//! Promise: a snapshot that is listed is whole, however its server ended, and holds what was
//! acknowledged before it was begun and nothing that was asked for after it was done.
//!
//! While clients write, snapshots are taken, removed and restored one after the other. After
//! each kill everything listed since is restored under another name. Clients do one thing
//! after the other, so what a snapshot holds of a client must be what was there after one of
//! its operations: none before the last that was acknowledged when the snapshot was begun,
//! and none that was asked for after it was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Findings, Model, Server, State, in_every_leg, send};

/// The index that snapshots are restored to.
const COPY: &str = "copy";
/// Snapshots that are kept, to be looked at again at the end.
const KEPT: usize = 3;

/// When a snapshot was taken: it holds an instant between the two.
#[derive(Clone, Copy)]
struct Taken {
    begun: Instant,
    done: Instant,
}

/// What is known of the snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    /// Those that were answered and not removed.
    known: BTreeMap<String, Taken>,
    /// When the one that was under way was begun.
    taking: Option<Instant>,
    /// The one whose removal was under way.
    removing: Option<String>,
    /// The one that was being restored to the copy.
    restoring: Option<String>,
    /// Those that were looked at.
    seen: BTreeSet<String>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    taken: u64,
    removed: u64,
    restored: u64,
    taken_when_killed: u64,
    restored_when_killed: u64,
    listed_though_killed: u64,
}

impl Snapshots {
    pub(super) fn figures(&self) -> Value {
        let figures = &self.figures;
        json!({
            "taken": figures.taken,
            "removed": figures.removed,
            "restored": figures.restored,
            "kills_while_taking": figures.taken_when_killed,
            "kills_while_restoring": figures.restored_when_killed,
            "listed_though_killed": figures.listed_though_killed,
        })
    }

    /// Takes, removes and restores them until nobody answers or the server is about to be
    /// killed. `taken` is set once one was taken.
    pub(super) fn run(
        &mut self,
        base: &str,
        agent: &ureq::Agent,
        stopping: &AtomicBool,
        taken: &AtomicBool,
        mut rng: StdRng,
    ) {
        let all = format!("{base}/crash/snapshots");
        while !stopping.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(rng.random_range(0..30)));
            let what = rng.random_range(0..6);
            let ids: Vec<&String> = self.known.keys().collect();
            let id = match ids.len() {
                0 => None,
                n => Some(ids[rng.random_range(0..n)].clone()),
            };
            match (what, id) {
                (0, Some(id)) => {
                    self.removing = Some(id.clone());
                    let address = format!("{all}/{id}");
                    let Some((status, body)) = send(agent, "DELETE", &address, None) else {
                        return;
                    };
                    assert!(matches!(status, 204 | 503), "{status} {body}");
                    self.removing = None;
                    if status == 204 {
                        self.known.remove(&id);
                        self.figures.removed += 1;
                    }
                }
                (1..3, Some(id)) => {
                    self.restoring = Some(id.clone());
                    let (address, name) = (format!("{all}/{id}/restore"), json!({"name": COPY}));
                    let Some((status, body)) = send(agent, "POST", &address, Some(&name)) else {
                        return;
                    };
                    assert!(matches!(status, 201 | 503), "{status} {body}");
                    if status == 201 && !remove_copy(base, agent) {
                        return;
                    }
                    self.restoring = None;
                }
                _ => {
                    let begun = Instant::now();
                    self.taking = Some(begun);
                    let Some((status, body)) = send(agent, "POST", &all, None) else {
                        return;
                    };
                    assert!(matches!(status, 201 | 503), "{status} {body}");
                    self.taking = None;
                    if status == 201 {
                        let id = body["id"].as_str().unwrap().to_string();
                        let done = Instant::now();
                        self.known.insert(id, Taken { begun, done });
                        self.figures.taken += 1;
                        taken.store(true, Ordering::SeqCst);
                    }
                }
            }
        }
    }

    /// Compares what is listed with what is known, and what it holds with what the clients
    /// know: of those that were not looked at yet, or of all.
    pub(super) fn verify(
        &mut self,
        server: &Server,
        models: &[Model],
        findings: &mut Findings,
        again: bool,
    ) {
        let (base, agent) = (&server.base, &server.agent);
        self.figures.taken_when_killed += u64::from(self.taking.is_some());
        self.figures.restored_when_killed += u64::from(self.restoring.is_some());
        self.verify_copy(server, models, findings);

        let all = format!("{base}/crash/snapshots");
        let (status, answer) = send(agent, "GET", &all, None).unwrap();
        assert_eq!(status, 200, "{answer}");
        let listed = answer["snapshots"].as_array().unwrap().iter();
        let listed: BTreeSet<String> = listed
            .map(|snapshot| snapshot["id"].as_str().unwrap().to_string())
            .collect();
        for id in self.known.keys().filter(|id| !listed.contains(*id)) {
            if self.removing.as_ref() != Some(id) {
                findings.lost.push(format!("snapshot {id}"));
            }
        }
        self.known.retain(|id, _| listed.contains(id));
        for id in &listed {
            if self.known.contains_key(id) {
                continue;
            }
            // The one that was under way, which may have been done.
            match self.taking.take() {
                Some(begun) => {
                    let done = Instant::now();
                    self.known.insert(id.clone(), Taken { begun, done });
                    self.figures.listed_though_killed += 1;
                }
                None => findings.invented.push(format!("snapshot {id}")),
            }
        }
        self.taking = None;
        self.removing = None;
        for (id, taken) in self.known.clone() {
            if !self.seen.insert(id.clone()) && !again {
                continue;
            }
            let (address, name) = (format!("{all}/{id}/restore"), json!({"name": COPY}));
            let (status, answer) = send(agent, "POST", &address, Some(&name)).unwrap();
            if status != 201 {
                findings.lost.push(format!("snapshot {id}: {answer}"));
                continue;
            }
            self.figures.restored += 1;
            compare(server, &id, taken, models, findings);
            assert!(remove_copy(base, agent));
        }
        let many = self.known.len().saturating_sub(KEPT);
        let oldest: Vec<String> = self.known.keys().take(many).cloned().collect();
        for id in oldest {
            let (status, answer) = send(agent, "DELETE", &format!("{all}/{id}"), None).unwrap();
            assert_eq!(status, 204, "{answer}");
            self.known.remove(&id);
            self.figures.removed += 1;
        }
    }

    /// A restoration that was cut short left nothing, or all of the snapshot.
    fn verify_copy(&mut self, server: &Server, models: &[Model], findings: &mut Findings) {
        let (status, answer) = send(&server.agent, "GET", &server.base, None).unwrap();
        assert_eq!(status, 200, "{answer}");
        let mut indexes = answer["indexes"].as_array().unwrap().iter();
        let is_there = indexes.any(|index| index["name"] == COPY);
        let Some(id) = self.restoring.take() else {
            assert!(!is_there, "a copy that nobody made: {answer}");
            return;
        };
        if is_there {
            let taken = self.known[&id];
            compare(server, &id, taken, models, findings);
            assert!(remove_copy(&server.base, &server.agent));
        }
    }
}

/// Removes the copy; false once nobody answers.
fn remove_copy(base: &str, agent: &ureq::Agent) -> bool {
    loop {
        match send(agent, "DELETE", &format!("{base}/{COPY}"), None) {
            None => return false,
            Some((204, _)) => return true,
            // It is being used, or opened.
            Some((status, body)) => assert_eq!(status, 503, "{body}"),
        }
    }
}

/// Looks for what the copy of a snapshot holds among what it may hold.
fn compare(server: &Server, id: &str, taken: Taken, models: &[Model], findings: &mut Findings) {
    let address = format!("{}/{COPY}/refresh", server.base);
    let started = Instant::now();
    loop {
        let (status, answer) = send(&server.agent, "POST", &address, None).unwrap();
        match status {
            200 => break,
            // It may still be opened in the background.
            503 if started.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => panic!("{status} {answer}"),
        }
    }
    let found = in_every_leg(server, COPY, findings);
    for (number, model) in models.iter().enumerate() {
        let own = format!("c{number}d");
        let own = found.iter().filter(|(id, _)| id.starts_with(&own));
        let own: BTreeMap<&str, State> = own.map(|(id, state)| (id.as_str(), *state)).collect();
        let at_least = model
            .history
            .iter()
            .rposition(|step| step.done.is_some_and(|done| done <= taken.begun));
        let at_least = at_least.map_or(0, |last| last + 1);
        let mut state: BTreeMap<&str, State> = BTreeMap::new();
        let mut matches = at_least == 0 && own.is_empty();
        for (place, step) in model.history.iter().enumerate() {
            if step.begun > taken.done {
                break;
            }
            for (id, after) in &step.changes {
                match after {
                    None => state.remove(id.as_str()),
                    Some(_) => state.insert(id, *after),
                };
                // What a request asks for is done in its order, not in one step.
                matches |= place >= at_least && state == own;
            }
            matches |= place + 1 >= at_least && state == own;
        }
        if !matches {
            let differing = state
                .iter()
                .filter(|(id, state)| own.get(*id) != Some(state));
            let differing: Vec<_> = differing.take(5).collect();
            findings.lost.push(format!(
                "snapshot {id} holds no state of client {number} since its operation {at_least}; \
                 {differing:?} are not in it as they were at its end"
            ));
        }
    }
}
