//! `/v1/keys` and `/v1/tokens`: who may do what.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::error::ApiError;
use super::extract::Names;
use super::guard::Allowed;
use super::json;
use super::page::Page;
use super::state::App;
use crate::access::{KeyInfo, KeyRequest, TokenRequest};
use crate::error::Code;
use crate::filter::Filter;

/// The keys there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// The oldest first.
    pub keys: Vec<KeyInfo>,
    /// What `after` has to be for the next page; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What opens doors is for the caller alone.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

pub(super) async fn list(State(app): State<Arc<App>>, page: Page) -> Result<Response, ApiError> {
    let (keys, next) = page.of(app.keys.list(), |key| &key.id)?;
    Ok(json::answer(StatusCode::OK, &KeyList { keys, next })?)
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let keys = app.keys.clone();
    let create = move || {
        let request: KeyRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        keys.create(request)
    };
    let made = permit.run(create).await?;
    let mut response = json::answer(StatusCode::CREATED, &made)?;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NOT_KEPT);
    // Letters and digits alone.
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/keys/{}", made.info.id)) {
        headers.insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(id): Names<String>,
) -> Result<Response, ApiError> {
    Ok(json::answer(StatusCode::OK, &app.keys.get(&id)?)?)
}

pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Names(id): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let keys = app.keys.clone();
    permit.run(move || keys.revoke(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn token(
    State(app): State<Arc<App>>,
    Allowed(access): Allowed,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let keys = app.keys.clone();
    let make = move || {
        let request: TokenRequest = json::parse(&body.bytes, Code::InvalidRequest)?;
        // Whether an index has its fields turns out there; that it can be read, here.
        Filter::from_json(&request.filter)?;
        keys.token(&access, &request)
    };
    let made = permit.run(make).await?;
    let mut response = json::answer(StatusCode::CREATED, &made)?;
    response.headers_mut().insert(CACHE_CONTROL, NOT_KEPT);
    Ok(response)
}
