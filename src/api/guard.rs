//! What stands before every handler: whether the caller may do this, and the line in the log of
//! administrators' acts.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;

use super::around::RequestId;
use super::body::discard;
use super::connection::Peer;
use super::error::{ApiError, in_full, panic_message};
use super::extract::unreadable;
use super::routes::{Reach, Rights};
use super::state::App;
use crate::access::{Access, AuditEntry, Scope};
use crate::error::{Code, Error, Problem, Result};

/// What is read of the body of a request that is refused, in bytes.
const REFUSED_BYTES: usize = 512 << 10;

/// What is noted of an address, in characters.
const NOTED_CHARS: usize = 512;

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
        Err(_) => Err(Refused {
            key: None,
            error: unreadable(request.uri().path()).into(),
        }),
    };
    let is_act = guard.rights.scope == Some(Scope::Admin);
    match admitted {
        Ok(access) if is_act => {
            let entry = describe(&guard, &request, access.key());
            request.extensions_mut().insert(access);
            act(guard.app.clone(), entry, request, next).await
        }
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(refused) => {
            // Whoever brings no key that counts is in the server's log alone: anybody could fill
            // this one.
            let noted = (is_act && refused.key.is_some())
                .then(|| describe(&guard, &request, refused.key.as_deref()));
            // Who is still sending would lose the answer.
            let (parts, body) = request.into_parts();
            discard(body, &parts.headers, REFUSED_BYTES).await;
            let response = ApiError::from(refused.error).into_response();
            if let Some(mut entry) = noted {
                entry.status = response.status().as_u16();
                note(guard.app.clone(), entry).await;
            }
            response
        }
    }
}

/// Carries an act out and notes it, whether or not somebody waits for the answer: what has begun
/// is finished although its caller leaves, so the note has to be as well.
async fn act(app: Arc<App>, mut entry: AuditEntry, request: Request, next: Next) -> Response {
    let work = async move {
        let done = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = done.unwrap_or_else(|panic| {
            ApiError::from(Error::Bug(panic_message(panic.as_ref()))).into_response()
        });
        entry.status = response.status().as_u16();
        note(app, entry).await;
        response
    };
    match tokio::spawn(work.in_current_span()).await {
        Ok(response) => response,
        Err(error) => ApiError::from(Error::Bug(error.to_string())).into_response(),
    }
}

async fn note(app: Arc<App>, entry: AuditEntry) {
    // One at a time; whoever waits keeps no thread.
    let Ok(permit) = app.notes.enter(1).await else {
        tracing::error!(?entry, "an act was not noted: too many at once");
        return;
    };
    let work = app.clone();
    // What was done stays done; that it was not noted is for the operator.
    if let Err(error) = permit.run(move || work.audit.add(&entry)).await {
        tracing::error!(detail = in_full(&error), "an act was not noted");
    }
}

/// Why a request is refused, and by which key it came, where that is known.
struct Refused {
    key: Option<String>,
    error: Error,
}

fn admit(guard: &Guard, names: &RawPathParams, headers: &HeaderMap) -> Result<Access, Refused> {
    let Some(scope) = guard.rights.scope else {
        return Ok(Access::everything());
    };
    let unknown = |error: Error| Refused { key: None, error };
    let bearer = bearer(headers).map_err(|problem| unknown(problem.into()))?;
    let access = guard.app.keys.admit(bearer).map_err(unknown)?;
    match permitted(guard, &access, scope, names) {
        Ok(()) => Ok(access),
        Err(problem) => Err(Refused {
            key: access.key().map(str::to_string),
            error: problem.into(),
        }),
    }
}

/// Whether who sent a request with these headers may still write to what has this name: asked
/// again while a request goes on for longer than one may take.
///
/// # Errors
/// `unauthenticated`, `not_permitted`.
pub(super) fn still_allowed(app: &App, headers: &HeaderMap, name: &str) -> Result<(), Error> {
    let access = app.keys.admit(bearer(headers)?)?;
    access.require(Scope::Write)?;
    Ok(access.require_name(name)?)
}

fn permitted(
    guard: &Guard,
    access: &Access,
    scope: Scope,
    names: &RawPathParams,
) -> Result<(), Problem> {
    if access.is_token() && !guard.rights.tokens {
        return Err(
            Problem::new(Code::NotPermitted, "tokens of tenants are not taken here")
                .field("authorization")
                .found("a token")
                .expected("a key; tokens search, and read documents"),
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
            access.require_name(name)
        }
        Reach::Everything => access.require_everything(),
        Reach::Handler | Reach::Nothing => Ok(()),
    }
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

fn describe(guard: &Guard, request: &Request, key: Option<&str>) -> AuditEntry {
    let path: String = request.uri().path().chars().take(NOTED_CHARS).collect();
    let mut entry = AuditEntry::new(guard.operation, format!("{} {path}", request.method()), 0);
    entry.key = key.map(str::to_string);
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
