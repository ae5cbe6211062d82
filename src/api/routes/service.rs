//! Models, keys, health, and the tools of assistants.

use std::sync::Arc;

use axum::http::Method;
use serde_json::json;

use super::super::state::App;
use super::super::{embeddings, health, keys, mcp, metrics, models, rerank};
use super::Group;
use super::operation::{Doc, route, service};
use crate::access::Scope::{Admin, Search};
use crate::access::{KeyInfo, KeyRequest, NewKey, NewToken, TokenRequest};
use crate::config;
use crate::error::Code;

pub(super) fn models() -> Group {
    let using = [Code::ModelNotFound, Code::InvalidModel, Code::ModelMismatch];
    let reranking = |id| {
        Doc::new(
            id,
            "Puts documents in order for a query, in Cohere's and Jina's shape.",
        )
        .takes::<rerank::RerankCall>(json!({
            "model": "gleaner-reranker",
            "query": "what do cats eat?",
            "documents": ["Cats eat mice.", "The harbour was paid for by a tax."],
            "top_n": 1
        }))
        .answers::<rerank::RerankAnswer>(200, "The most relevant first.")
        .fails(&using)
    };
    Group {
        tag: "models",
        says: "What texts are encoded and compared with.",
        routes: vec![
            route(
                Method::GET,
                "/v1/models",
                Search,
                models::list,
                Doc::new("listModels", "The models there are, in OpenAI's shape.")
                    .answers::<models::ModelList>(200, "The models."),
            )
            .names_nothing(),
            route(
                Method::GET,
                "/v1/models/{name}",
                Search,
                models::show,
                Doc::new("getModel", "One of them.")
                    .answers::<models::ModelEntry>(200, "The model.")
                    .fails(&using),
            )
            .names_nothing(),
            route(
                Method::POST,
                "/v1/embeddings",
                Search,
                embeddings::embed,
                Doc::new("embed", "Vectors of texts, in OpenAI's shape.")
                    .takes::<embeddings::EmbeddingsRequest>(json!({
                        "model": "gleaner-minilm",
                        "input": ["the first cat in space", "how sourdough rises"]
                    }))
                    .answers::<embeddings::EmbeddingsAnswer>(200, "One vector for each.")
                    .fails(&using),
            )
            .names_nothing(),
            route(
                Method::POST,
                "/v1/rerank",
                Search,
                rerank::rerank,
                reranking("rerank"),
            )
            .names_nothing(),
            // Where clients of Cohere's second version look for it.
            route(
                Method::POST,
                "/v2/rerank",
                Search,
                rerank::rerank,
                reranking("rerankV2"),
            )
            .names_nothing(),
        ],
    }
}

pub(super) fn keys() -> Group {
    let info = json!({
        "id": "0f3a5c7e9b1d", "name": "the website", "scopes": ["search"], "indexes": ["docs-*"],
        "created_at": "2026-01-31T02:03:04Z"
    });
    Group {
        tag: "keys",
        says: "API keys, and tokens made with them.",
        routes: vec![
            route(
                Method::GET,
                "/v1/keys",
                Admin,
                keys::list,
                Doc::new("listKeys", "Lists the keys.")
                    .paged()
                    .answers::<keys::KeyList>(200, "The oldest first.")
                    .such_as(200, json!({"keys": [info.clone()]})),
            )
            .about_everything(),
            route(
                Method::POST,
                "/v1/keys",
                Admin,
                keys::create,
                Doc::new("createKey", "Makes one.")
                    .takes::<KeyRequest>(json!({
                        "name": "the website", "scopes": ["search"], "indexes": ["docs-*"]
                    }))
                    .answers::<NewKey>(201, "The key, which is not shown again.")
                    .with_header(201, "Location", "Its address."),
            )
            .about_everything(),
            route(
                Method::GET,
                "/v1/keys/{id}",
                Admin,
                keys::show,
                Doc::new("getKey", "One of them.")
                    .answers::<KeyInfo>(200, "The key, without what opens doors.")
                    .such_as(200, info)
                    .fails(&[Code::KeyNotFound]),
            )
            .about_everything(),
            route(
                Method::DELETE,
                "/v1/keys/{id}",
                Admin,
                keys::revoke,
                Doc::new("revokeKey", "Ends a key, and the tokens made with it.")
                    .answers_nothing()
                    .fails(&[Code::KeyNotFound, Code::LastKey]),
            )
            .about_everything(),
            route(
                Method::POST,
                "/v1/tokens",
                Search,
                keys::token,
                Doc::new(
                    "createToken",
                    "Makes a token that sees what passes a filter.",
                )
                .takes::<TokenRequest>(json!({"filter": "tenant = \"acme\"", "expires_in": 600}))
                .answers::<NewToken>(201, "The token.")
                .fails(&[Code::InvalidFilter]),
            )
            .names_nothing(),
        ],
    }
}

pub(super) fn health() -> Group {
    Group {
        tag: "health",
        says: "Whether the service is up, and what it can do.",
        routes: vec![
            route(
                Method::GET,
                "/health",
                Search,
                health::health,
                Doc::new("health", "Whether the process is up.")
                    .answers::<health::HealthAnswer>(200, "It is.")
                    .such_as(200, json!({"status": "ok", "version": "0.1.0"})),
            )
            .open_to_all(),
            route(
                Method::GET,
                "/ready",
                Search,
                health::ready,
                Doc::new("ready", "Whether indexes are opened and models warmed up.")
                    .answers::<health::ReadyAnswer>(200, "They are.")
                    .answers::<health::ReadyAnswer>(503, "Not yet, and why.")
                    .such_as(
                        503,
                        json!({"ready": false, "reasons": ["the indexes are being opened"]}),
                    ),
            )
            .open_to_all(),
            route(
                Method::GET,
                "/metrics",
                Search,
                metrics::show,
                Doc::new("metrics", "Figures for Prometheus.")
                    .answers_as(200, "The exposition format.", "text/plain")
                    .or_as(200, "application/openmetrics-text"),
            )
            .about_everything(),
            route(
                Method::GET,
                "/openapi.json",
                Search,
                health::openapi,
                Doc::new("openapi", "This description.")
                    .answers::<serde_json::Map<String, serde_json::Value>>(200, "OpenAPI 3.1."),
            )
            .open_to_all(),
        ],
    }
}

/// What assistants are offered as tools over the Model Context Protocol, whose messages it
/// describes itself. Each tool looks at what the caller may see, as its route of REST does.
pub(super) fn tools(app: &Arc<App>, tools: &config::Mcp) -> Group {
    let over_http = mcp::over_http(app.clone(), tools);
    let doc = |id, summary| {
        Doc::new(id, summary)
            .answers_as(200, "Messages of the protocol.", "text/event-stream")
            .says(202, "The message was taken.")
            .says(403, "Another host or origin than the configured ones.")
            .says(404, "There is no such session.")
            .says(405, "The server keeps no sessions.")
            .says(406, "The client has to take JSON and events.")
            .says(415, "The message has to be JSON.")
            .says(422, "This is no message of the protocol.")
    };
    let methods = [
        (
            Method::POST,
            "sendMessage",
            "Sends a message of the protocol.",
        ),
        (Method::GET, "listen", "Listens to the server's messages."),
        (Method::DELETE, "endSession", "Ends a session."),
    ];
    let routes = methods.into_iter().map(|(method, id, summary)| {
        let doc = match method {
            Method::POST => doc(id, summary).takes::<serde_json::Map<String, serde_json::Value>>(
                json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
            ),
            _ => doc(id, summary),
        };
        service(method, "/mcp", Search, over_http.clone(), doc)
            .checked_by_handler()
            .takes_tokens()
    });
    Group {
        tag: "tools",
        says: "Databases, indexes and catalogs as tools of assistants, over the Model Context Protocol.",
        routes: routes.collect(),
    }
}
