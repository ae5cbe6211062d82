//! `/v1/schemas/{db}/permissions`: who may see which tables. For who looks after the databases,
//! not for those whom the permissions are about.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::body::JsonBody;
use super::error::ApiError;
use super::extract::Names;
use super::json;
use super::state::App;
use crate::error::{Code, Result};
use crate::sql::{Permissions, Schemas};

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.searches.enter(1).await?;
    let schemas = app.schemas.clone();
    Ok(permit.run(move || answer(&schemas, &name)).await?)
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let schemas = app.schemas.clone();
    let put = move || {
        let permissions: Permissions = json::parse(&body.bytes, Code::InvalidRequest)?;
        schemas.permit(&name, |of| {
            *of = Some(permissions);
            Ok(())
        })?;
        answer(&schemas, &name)
    };
    Ok(permit.run(put).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
) -> Result<Response, ApiError> {
    let permit = app.writes.enter(1).await?;
    let schemas = app.schemas.clone();
    permit
        .run(move || {
            schemas.permit(&name, |of| {
                *of = None;
                Ok(())
            })
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The permissions of a database, null where it is open to everybody.
fn answer(schemas: &Schemas, name: &str) -> Result<Response> {
    let entry = schemas.get(name)?;
    json::answer(StatusCode::OK, &entry.permissions())
}
