//! `/v1/indexes/{name}/export`: a whole index as a Parquet file.
//!
//! The file is sent while it is made, a row group at a time: a caller that reads slowly
//! slows it down, and one that leaves ends it. What goes wrong after the beginning breaks
//! the answer off, and a Parquet file without its end is recognised as none.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use futures::stream;
use serde_json::Value as Json;
use tokio::sync::mpsc::{Sender, channel};
use tracing::{error, info};

use super::error::{ApiError, in_full};
use super::extract::Names;
use super::gate::Permit;
use super::state::App;
use crate::error::{Code, Problem, Result};
use crate::ingest::{Export, Progress};

/// Media type of the file.
pub(super) const MEDIA_TYPE: &str = "application/vnd.apache.parquet";
/// Bytes that are sent at once.
const PIECE: usize = 64 << 10;
/// Pieces that wait to be sent.
const PIECES: usize = 8;

pub(super) async fn export(
    State(app): State<Arc<App>>,
    Names(name): Names<String>,
    parameters: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let filter = filter(parameters.ok().map(|Query(pairs)| pairs))?;
    let permit = app.exports.enter(1).await?;
    let catalog = app.catalog.clone();
    let (export, index) = permit
        .run(move || {
            let index = catalog.get(&name)?;
            let name = index.name().to_string();
            Ok((Export::new(index, filter.as_ref())?, name))
        })
        .await?;
    Ok(send(permit, index, move |pieces| {
        let documents = export.documents();
        let mut pieces = export.write(pieces, &Progress::new())?;
        // Whoever has left does not miss it.
        let _ = pieces.flush();
        Ok(documents)
    }))
}

/// Answers with a Parquet file of this name while it is made; `write` says how many rows it
/// has.
pub(super) fn send(
    permit: Permit,
    name: String,
    write: impl FnOnce(Pieces) -> Result<u64> + Send + 'static,
) -> Response {
    let (send, receive) = channel::<io::Result<Bytes>>(PIECES);
    let disposition = format!("attachment; filename=\"{name}.parquet\"");
    let work = async move {
        let broken = send.clone();
        let pieces = Pieces {
            send,
            piece: Vec::with_capacity(PIECE),
        };
        match permit.run(move || write(pieces)).await {
            Ok(rows) => info!(name, rows, "exported"),
            Err(_) if broken.is_closed() => {
                info!(name, "a caller left in the middle of an export")
            }
            Err(e) => {
                error!(name, detail = in_full(&e), "an export broke off");
                let _ = broken.send(Err(io::Error::other("broken off"))).await;
            }
        }
    };
    tokio::spawn(work);
    let pieces = stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|piece| (piece, receive))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    // An index's name consists of letters, digits, `-` and `_`.
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The filter among the parameters: text, or JSON that begins with a brace.
fn filter(pairs: Option<Vec<(String, String)>>) -> Result<Option<Json>, Problem> {
    let wrong = |message: &str| {
        Problem::new(Code::InvalidRequest, message)
            .field("query")
            .expected("filter, once")
    };
    let pairs = pairs.ok_or_else(|| wrong("the parameters cannot be read"))?;
    let mut filter = None;
    for (name, value) in pairs {
        if name != "filter" || filter.is_some() {
            return Err(wrong("there is no such parameter, or it is there twice").found(name));
        }
        let json = match value.trim_start().starts_with('{') {
            true => serde_json::from_str(&value).map_err(|error| {
                Problem::new(Code::InvalidFilter, "the filter is not valid JSON")
                    .field("filter")
                    .found(error)
                    .expected("a filter in either of its notations")
            })?,
            false => Json::from(value),
        };
        filter = Some(json);
    }
    Ok(filter)
}

/// Hands what is written to whoever sends it.
pub(super) struct Pieces {
    send: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send
            .blocking_send(Ok(Bytes::from(piece)))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
