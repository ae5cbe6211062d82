//! Every route, in one table: what the router, the API's description and the check of keys are
//! made of.
//!
//! **Promises.** A route that is not in the table does not exist, and one that is in it is
//! described and guarded. `GET /openapi.json` is the description.

mod data;
mod document;
mod loads;
mod operation;
mod schemas;
mod service;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use serde_json::{Value as Json, json};

pub(super) use self::document::document;
pub(super) use self::operation::{Reach, Rights, Route};
use super::guard::{Guard, guard};
use super::state::App;
use crate::config;

/// Routes about one thing.
pub(super) struct Group {
    pub tag: &'static str,
    pub says: &'static str,
    pub routes: Vec<Route>,
}

impl Group {
    /// What a name in the path means.
    fn name_of(&self, path: &str, name: &str) -> &'static str {
        match (name, path) {
            ("id", path) if path.contains("/snapshots/") => "The id of a snapshot.",
            ("id", path) if path.contains("/examples/") => "The id of a stored question.",
            ("id", path) if path.contains("/names/") => "The id of an entity.",
            ("id", path) if path.contains("/documents/") => "The id of a document.",
            ("id", path) if path.contains("/jobs/") => "The id of a job.",
            ("id", path) if path.contains("/tasks/") => "The id of a task.",
            ("id", path) if path.contains("/keys/") => "The id of a key.",
            ("name", path) if path.contains("/models/") => "The name of a model.",
            ("name", path) if path.contains("/schemas/") => "The name of a database.",
            ("name", path) if path.contains("/entities/") => "The name of a catalog.",
            _ => "The name of an index, or an alias.",
        }
    }
}

/// All of them.
pub(super) fn groups(app: &Arc<App>, tools: &config::Mcp) -> Vec<Group> {
    let mut groups = vec![
        data::indexes(),
        data::documents(),
        data::search(),
        data::snapshots(),
        data::feedback(),
        schemas::entities(),
        schemas::schemas(),
        schemas::examples(),
        loads::jobs(),
        loads::tasks(),
        service::models(),
        service::keys(),
        service::health(),
    ];
    if tools.enabled {
        groups.push(service::tools(app, tools));
    }
    groups
}

/// The router of these routes, each behind its guard.
pub(super) fn router(groups: Vec<Group>, app: &Arc<App>) -> Router<Arc<App>> {
    let mut router = Router::new();
    for route in groups.into_iter().flat_map(|group| group.routes) {
        let guarded = Guard {
            app: app.clone(),
            rights: route.rights,
            operation: route.name(),
            // `{name}:action`, of which only the beginning is a name.
            acts: route
                .docs
                .iter()
                .any(|doc| doc.path.is_some_and(|path| path.contains("}:"))),
        };
        let methods = route
            .router
            .layer(from_fn_with_state(Arc::new(guarded), guard));
        router = router.route(route.path, methods);
    }
    router
}

fn choice(values: &[&str]) -> Json {
    json!({"type": "string", "enum": values})
}

fn text() -> Json {
    json!({"type": "string"})
}
