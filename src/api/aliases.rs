//! `/v1/aliases`: other names of indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::error::ApiError;
use super::guard::Allowed;
use super::json;
use super::state::App;
use crate::access::Access;
use crate::error::Code;

/// The aliases there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliasesAnswer {
    /// Each with the index it stands for.
    pub aliases: BTreeMap<String, String>,
}

/// Changes to aliases, all in one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasesRequest {
    /// Each with the index it is to stand for, or null to remove it. Others stay.
    pub aliases: BTreeMap<String, Option<String>>,
}

/// Those that the caller reaches, by their own names.
fn reached(access: &Access, mut aliases: BTreeMap<String, String>) -> AliasesAnswer {
    aliases.retain(|alias, index| access.reaches(alias) && access.reaches(index));
    AliasesAnswer { aliases }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
) -> Result<Response, ApiError> {
    let aliases = reached(&access, app.catalog.aliases());
    Ok(json::answer(StatusCode::OK, &aliases)?)
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let catalog = app.catalog.clone();
    let change = move || {
        let request: AliasesRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        // What an alias stands for now counts as well: a key could take it over otherwise.
        let there = catalog.aliases();
        for (alias, index) in &request.aliases {
            access.require_name(alias)?;
            for index in index.iter().chain(there.get(alias)) {
                access.require_name(index)?;
            }
        }
        let aliases = catalog.set_aliases(&request.aliases)?;
        json::answer(StatusCode::OK, &reached(&access, aliases))
    };
    Ok(permit.run(change).await?)
}
