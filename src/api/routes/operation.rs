//! What a route does, as data: the router, the API's description and the check of keys are all
//! made of it, so that none of them knows a route that the others do not.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on, on_service};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value as Json, json};
use tower_service::Service;

use super::super::page::MOST;
use super::super::state::App;
use crate::access::Scope;
use crate::error::Code;

/// How what an operation names is held to the patterns of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Reach {
    /// `{name}` in the path has to match.
    Path,
    /// The handler asks, because the name is in the body, or there are several.
    Handler,
    /// It names nothing that patterns are about.
    Nothing,
    /// It is about everything: keys with patterns may not.
    Everything,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Rights {
    /// The scope that is needed; none where no key is.
    pub scope: Option<Scope>,
    /// How names are checked.
    pub reach: Reach,
    /// Whether tokens of tenants are taken: then the handler applies their filter.
    pub tokens: bool,
}

/// A route of one method: its address, its handler, who may call it and what is said of it.
pub(in crate::api) struct Route {
    pub path: &'static str,
    pub method: Method,
    pub rights: Rights,
    /// One for each address it is described by: an address that ends in an action is one route
    /// and several operations.
    pub docs: Vec<Doc>,
    pub router: MethodRouter<Arc<App>>,
}

impl Route {
    /// Names are checked by the handler.
    pub fn checked_by_handler(mut self) -> Route {
        self.rights.reach = Reach::Handler;
        self
    }

    /// It names nothing that patterns are about.
    pub fn names_nothing(mut self) -> Route {
        self.rights.reach = Reach::Nothing;
        self
    }

    /// Only keys that reach everything may.
    pub fn about_everything(mut self) -> Route {
        self.rights.reach = Reach::Everything;
        self
    }

    /// Takes tokens of tenants; the handler applies their filter.
    pub fn takes_tokens(mut self) -> Route {
        self.rights.tokens = true;
        self
    }

    /// Needs no key.
    pub fn open_to_all(mut self) -> Route {
        self.rights.scope = None;
        self.rights.reach = Reach::Nothing;
        self
    }

    /// The name under which it is logged.
    pub fn name(&self) -> &'static str {
        self.docs.first().map_or("", |doc| doc.id)
    }
}

/// A route of a handler.
pub(in crate::api) fn route<H, T>(
    method: Method,
    path: &'static str,
    scope: Scope,
    handler: H,
    docs: impl Into<Vec<Doc>>,
) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let router = on(filter(&method), handler);
    made(method, path, scope, router, docs.into())
}

/// A route of a service.
pub(in crate::api) fn service<S>(
    method: Method,
    path: &'static str,
    scope: Scope,
    service: S,
    docs: impl Into<Vec<Doc>>,
) -> Route
where
    S: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Response: IntoResponse + 'static,
    S::Future: Send + 'static,
{
    let router = on_service(filter(&method), service);
    made(method, path, scope, router, docs.into())
}

fn made(
    method: Method,
    path: &'static str,
    scope: Scope,
    router: MethodRouter<Arc<App>>,
    docs: Vec<Doc>,
) -> Route {
    let reach = match path.contains("/{name}") {
        true => Reach::Path,
        // Safe until somebody thinks about it.
        false => Reach::Everything,
    };
    Route {
        path,
        method,
        rights: Rights {
            scope: Some(scope),
            reach,
            tokens: false,
        },
        docs,
        router,
    }
}

fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

/// Where a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Place {
    Query,
    Header,
}

/// A parameter beside the names in the path.
pub(in crate::api) struct Parameter {
    pub place: Place,
    pub name: &'static str,
    pub says: &'static str,
    pub schema: Json,
}

/// The schema of a type, made with the generator of the whole document.
pub(in crate::api) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What is sent or answered, of one media type.
pub(in crate::api) struct Content {
    pub media_type: &'static str,
    /// None for bytes and text that JSON Schema has no say in.
    pub schema: Option<MakeSchema>,
    pub example: Option<Json>,
}

/// An answer.
pub(in crate::api) struct Answer {
    pub says: &'static str,
    pub contents: Vec<Content>,
    /// Headers, each with what it says.
    pub headers: Vec<(&'static str, &'static str)>,
}

/// What the API's description says of an operation.
pub(in crate::api) struct Doc {
    /// Its name, which generated clients give to their functions.
    pub id: &'static str,
    pub summary: &'static str,
    /// The address, where it is not the route's.
    pub path: Option<&'static str>,
    pub parameters: Vec<Parameter>,
    pub bodies: Vec<Content>,
    pub body_required: bool,
    pub answers: BTreeMap<u16, Answer>,
    /// Codes beyond those that every operation of its kind may answer.
    pub errors: Vec<Code>,
}

const JSON: &str = "application/json";
pub(in crate::api) const NDJSON: &str = "application/x-ndjson";

impl Doc {
    pub fn new(id: &'static str, summary: &'static str) -> Doc {
        Doc {
            id,
            summary,
            path: None,
            parameters: Vec::new(),
            bodies: Vec::new(),
            body_required: true,
            answers: BTreeMap::new(),
            errors: Vec::new(),
        }
    }

    /// Described by another address than the route's.
    pub fn at(mut self, path: &'static str) -> Doc {
        self.path = Some(path);
        self
    }

    /// Takes a JSON body, for example this.
    pub fn takes<T: JsonSchema>(mut self, example: Json) -> Doc {
        self.bodies.push(Content {
            media_type: JSON,
            schema: Some(schema_of::<T>),
            example: Some(example),
        });
        self
    }

    /// Takes a body of another type as well.
    pub fn takes_as(mut self, media_type: &'static str, example: Json) -> Doc {
        self.bodies.push(Content {
            media_type,
            schema: None,
            example: Some(example),
        });
        self
    }

    /// The body may be left out.
    pub fn body_optional(mut self) -> Doc {
        self.body_required = false;
        self
    }

    /// Answers with JSON.
    pub fn answers<T: JsonSchema>(mut self, status: u16, says: &'static str) -> Doc {
        let content = Content {
            media_type: JSON,
            schema: Some(schema_of::<T>),
            example: None,
        };
        self.answers.insert(
            status,
            Answer {
                says,
                contents: vec![content],
                headers: Vec::new(),
            },
        );
        self
    }

    /// Answers with bytes or text of this type.
    pub fn answers_as(mut self, status: u16, says: &'static str, media_type: &'static str) -> Doc {
        let content = Content {
            media_type,
            schema: None,
            example: None,
        };
        self.answers.insert(
            status,
            Answer {
                says,
                contents: vec![content],
                headers: Vec::new(),
            },
        );
        self
    }

    /// Answers with another type for who asks for it.
    pub fn or_as(mut self, status: u16, media_type: &'static str) -> Doc {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer.contents.push(Content {
                media_type,
                schema: None,
                example: None,
            });
        }
        self
    }

    /// Answers with nothing that JSON Schema has a say in.
    pub fn says(mut self, status: u16, says: &'static str) -> Doc {
        self.answers.insert(
            status,
            Answer {
                says,
                contents: Vec::new(),
                headers: Vec::new(),
            },
        );
        self
    }

    /// Answers 204.
    pub fn answers_nothing(self) -> Doc {
        self.says(204, "Done; there is nothing to say.")
    }

    /// An example of the answer that was described last.
    pub fn such_as(mut self, status: u16, example: Json) -> Doc {
        if let Some(answer) = self.answers.get_mut(&status)
            && let Some(content) = answer.contents.first_mut()
        {
            content.example = Some(example);
        }
        self
    }

    /// A header of an answer.
    pub fn with_header(mut self, status: u16, name: &'static str, says: &'static str) -> Doc {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer.headers.push((name, says));
        }
        self
    }

    /// A parameter after the question mark.
    pub fn query(mut self, name: &'static str, schema: Json, says: &'static str) -> Doc {
        self.parameters.push(Parameter {
            place: Place::Query,
            name,
            says,
            schema,
        });
        self
    }

    /// A header of the request.
    pub fn header(mut self, name: &'static str, schema: Json, says: &'static str) -> Doc {
        self.parameters.push(Parameter {
            place: Place::Header,
            name,
            says,
            schema,
        });
        self
    }

    /// A list that is answered a page at a time.
    pub fn paged(self) -> Doc {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": MOST});
        let after = json!({"type": "string"});
        self.query("limit", limit, "Most entries of this page.")
            .query("after", after, "The `next` of the page before.")
    }

    /// Codes of errors that are its own.
    pub fn fails(mut self, codes: &[Code]) -> Doc {
        self.errors.extend_from_slice(codes);
        self
    }
}

impl From<Doc> for Vec<Doc> {
    fn from(doc: Doc) -> Vec<Doc> {
        vec![doc]
    }
}
