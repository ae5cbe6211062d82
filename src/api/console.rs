//! `/`: the console, pages of the program itself.
//!
//! **Promises.** What a browser needs for it is in the program, and nothing on the page may reach
//! another place, run a script that is not among the files, or be framed. The files are the same
//! for everybody and say nothing of what is stored: what the pages show they ask the API for, as
//! any caller, with a key where one is needed.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rust_embed::RustEmbed;

use super::server::no_route;

/// The files, by their addresses below `/`.
#[derive(RustEmbed)]
#[folder = "console/"]
struct Files;

/// The page that the others are parts of.
const INDEX: &str = "index.html";
/// Images may be written into a style; everything else is a file of ours.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; object-src 'none'",
);
/// Asked for again each time, and answered 304 where nothing has changed: a new version of the
/// program is seen at once.
const KEPT: HeaderValue = HeaderValue::from_static("no-cache");
const SAFE: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (CACHE_CONTROL, KEPT),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// A file of the console, or `route_not_found`.
pub(super) async fn file_or_no_route(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let path = if path.is_empty() { INDEX } else { path };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let Some(file) = Files::get(path).filter(|_| reads) else {
        return no_route(request).await.into_response();
    };
    let hash = BASE64_URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash());
    let tag = HeaderValue::from_str(&format!("\"{hash}\"")).ok();
    let has_it = tag.is_some() && request.headers().get(IF_NONE_MATCH) == tag.as_ref();
    let mut response = match has_it {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Response::new(Body::from(file.data)),
    };
    let headers = response.headers_mut();
    headers.extend(SAFE);
    if let Some(tag) = tag {
        headers.insert(ETAG, tag);
    }
    if !has_it && let Ok(kind) = HeaderValue::from_str(file.metadata.mimetype()) {
        headers.insert(CONTENT_TYPE, kind);
    }
    response
}
