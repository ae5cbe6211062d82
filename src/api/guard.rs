//! What stands before every handler: whether the caller may do this, and the line in the log of
//! administrators' acts.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::around::RequestId;
use super::body::discard;
use super::connection::Peer;
use super::error::{ApiError, in_full};
use super::extract::unreadable;
use super::routes::{Reach, Rights};
use super::state::App;
use crate::access::{Access, AuditEntry, Scope};
use crate::error::{Code, Error, Problem, Result};

/// What is read of the body of a request that is refused, in bytes.
const REFUSED_BYTES: usize = 512 << 10;

/// The guard of one route.
pub(super) struct Guard {
    pub app: Arc<App>,
    pub rights: Rights,
    /// What it is called in the log.
    pub operation: &'static str,
    /// Whether the name in the path is followed by `:` and an action.
    pub acts: bool,
}

/// Lets a request through to its handler, with its [`Access`], or refuses it.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    names: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = match &names {
        Ok(names) => admit(&guard, names, request.headers()),
        Err(_) => Err(unreadable(request.uri().path()).into()),
    };
    let is_act = guard.rights.scope == Some(Scope::Admin);
    let described = is_act.then(|| describe(&guard, &request, admitted.as_ref().ok()));
    let response = match admitted {
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(error) => {
            // Who is still sending would lose the answer.
            let (parts, body) = request.into_parts();
            discard(body, &parts.headers, REFUSED_BYTES).await;
            ApiError::from(error).into_response()
        }
    };
    if let Some(mut entry) = described {
        entry.status = response.status().as_u16();
        let app = guard.app.clone();
        let written = tokio::task::spawn_blocking(move || app.audit.add(&entry)).await;
        match written {
            Ok(Ok(())) => {}
            // What was done stays done; that it was not noted is for the operator.
            Ok(Err(error)) => tracing::error!(detail = in_full(&error), "an act was not noted"),
            Err(error) => tracing::error!(%error, "an act was not noted"),
        }
    }
    response
}

fn admit(guard: &Guard, names: &RawPathParams, headers: &HeaderMap) -> Result<Access> {
    let Some(scope) = guard.rights.scope else {
        return Ok(Access::everything());
    };
    let access = guard.app.keys.admit(bearer(headers)?)?;
    if access.is_token() && !guard.rights.tokens {
        return Err(
            Problem::new(Code::NotPermitted, "tokens of tenants are not taken here")
                .field("authorization")
                .found("a token")
                .expected("a key; tokens search, and read documents")
                .into(),
        );
    }
    access.require(scope)?;
    match guard.rights.reach {
        Reach::Path => {
            let name = names.iter().find(|(key, _)| *key == "name");
            let name = name.map_or("", |(_, value)| value);
            let name = match guard.acts {
                true => name.rsplit_once(':').map_or(name, |(name, _)| name),
                false => name,
            };
            access.require_name(name)?;
        }
        Reach::Everything => access.require_everything()?,
        Reach::Handler | Reach::Nothing => {}
    }
    Ok(access)
}

/// What follows `Bearer` in the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let wrong = || {
        Problem::new(Code::Unauthenticated, "this is no way to bring a key")
            .field("authorization")
            .found("something else")
            .expected("Bearer, a blank and a key or token; once")
    };
    if values.next().is_some() {
        return Err(wrong());
    }
    let text = value.to_str().map_err(|_| wrong())?;
    let (scheme, rest) = text.split_once(' ').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("bearer") || rest.trim().is_empty() {
        return Err(wrong());
    }
    Ok(Some(rest.trim()))
}

fn describe(guard: &Guard, request: &Request, access: Option<&Access>) -> AuditEntry {
    let address = format!("{} {}", request.method(), request.uri().path());
    let mut entry = AuditEntry::new(guard.operation, address, 0);
    entry.key = access.and_then(|access| access.key().map(str::to_string));
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    entry.peer = peer.map(|ConnectInfo(Peer(peer))| peer.to_string());
    let id = request.extensions().get::<RequestId>();
    entry.request_id = id.map(|id| id.0.clone());
    entry
}

/// What the caller may do, for handlers that ask.
pub(super) struct Allowed(pub Access);

impl<S: Send + Sync> FromRequestParts<S> for Allowed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let access = parts.extensions.get::<Access>().cloned();
        let access = access.ok_or_else(|| Error::Bug("a request came past its guard".into()))?;
        Ok(Allowed(access))
    }
}
