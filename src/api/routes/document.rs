//! The API's description in OpenAPI 3.1, made of the table of routes.

use std::collections::{BTreeMap, BTreeSet};

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, HttpMethod, InfoBuilder, OpenApiBuilder, PathItem,
    Paths, Ref, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder, Schema,
};

use super::super::error::{ErrorAnswer, INTERNAL, OPERATOR_ERROR, STORAGE_FULL, status_of};
use super::Group;
use super::operation::{Content, Doc, Place, Reach, Rights, Route};
use crate::access::Scope;
use crate::error::{Code, Error, Result};

/// Name of the security scheme.
const KEY: &str = "key";
const SCHEMAS: &str = "/components/schemas";

/// The description as JSON.
///
/// # Errors
/// Bug, where the table holds what no description can say.
pub(in crate::api) fn document(groups: &[Group]) -> Result<Json> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut paths = Paths::new();
    for group in groups {
        for route in &group.routes {
            for doc in &route.docs {
                let path = doc.path.unwrap_or(route.path);
                let operation = operation(&mut generator, group, route, doc, path)?;
                let method = match route.method.as_str() {
                    "POST" => HttpMethod::Post,
                    "PUT" => HttpMethod::Put,
                    "PATCH" => HttpMethod::Patch,
                    "DELETE" => HttpMethod::Delete,
                    _ => HttpMethod::Get,
                };
                let item = PathItem::new(method, operation);
                match paths.paths.get_mut(path) {
                    Some(there) => there.merge_operations(item),
                    None => {
                        paths.paths.insert(path.to_string(), item);
                    }
                }
            }
        }
    }
    let mut components = Components::new();
    components.add_security_scheme(
        KEY,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "An API key, or where an operation says so a token made with one. Needed only \
                     where the server has keys.",
                ))
                .build(),
        ),
    );
    let tags = groups.iter().map(|group| {
        TagBuilder::new()
            .name(group.tag)
            .description(Some(group.says))
            .build()
    });
    let described = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Gleaner")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Search by words and by meaning at once: indexes, documents, searches, \
                     embeddings, re-ranking, entities and database schemas.",
                ))
                .build(),
        )
        .paths(paths)
        .components(Some(components))
        .tags(Some(tags))
        .build();
    let mut json = serde_json::to_value(described).map_err(wrong)?;
    // The schemas are schemars': all of JSON Schema, which utoipa's types do not hold.
    let schemas: Map<String, Json> = generator.take_definitions(true);
    json["components"]["schemas"] = Json::Object(schemas);
    Ok(json)
}

fn wrong(error: serde_json::Error) -> Error {
    Error::Bug(format!("the API cannot be described: {error}"))
}

fn operation(
    generator: &mut SchemaGenerator,
    group: &Group,
    route: &Route,
    doc: &Doc,
    path: &str,
) -> Result<utoipa::openapi::path::Operation> {
    let mut operation = OperationBuilder::new()
        .tag(group.tag)
        .operation_id(Some(doc.id))
        .summary(Some(doc.summary))
        .description(Some(rights(&route.rights)));
    for name in names(path) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(group.name_of(path, name)))
                .schema(Some(inline(json!({"type": "string", "minLength": 1}))?))
                .build(),
        );
    }
    for parameter in &doc.parameters {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(parameter.name)
                .parameter_in(match parameter.place {
                    Place::Query => ParameterIn::Query,
                    Place::Header => ParameterIn::Header,
                })
                .description(Some(parameter.says))
                .schema(Some(inline(parameter.schema.clone())?))
                .build(),
        );
    }
    if !doc.bodies.is_empty() {
        let required = match doc.body_required {
            true => Required::True,
            false => Required::False,
        };
        let mut body = RequestBodyBuilder::new().required(Some(required));
        for content in &doc.bodies {
            body = body.content(content.media_type, described(generator, content)?);
        }
        operation = operation.request_body(Some(body.build()));
    }
    if route.rights.scope.is_some() {
        operation = operation.security(SecurityRequirement::new(KEY, [] as [&str; 0]));
        // Where the server has none, none is needed.
        operation = operation.security(SecurityRequirement::default());
    }
    let mut responses = ResponsesBuilder::new();
    for (status, answer) in &doc.answers {
        let mut response = ResponseBuilder::new().description(answer.says);
        for content in &answer.contents {
            response = response.content(content.media_type, described(generator, content)?);
        }
        for (name, says) in &answer.headers {
            let header = HeaderBuilder::new()
                .schema(Some(inline(json!({"type": "string"}))?))
                .description(Some(*says));
            response = response.header(*name, header.build());
        }
        responses = responses.response(status.to_string(), response.build());
    }
    for (status, response) in failures(generator, route, doc, path)? {
        // 503 with reasons is an answer of its own.
        if !doc.answers.contains_key(&status) {
            responses = responses.response(status.to_string(), response);
        }
    }
    Ok(operation.responses(responses.build()).build())
}

/// Who may call it, for people.
fn rights(rights: &Rights) -> String {
    let Some(scope) = rights.scope else {
        return "Needs no key.".into();
    };
    let mut text = format!("Needs a key with the scope `{scope}` where the server has keys");
    match rights.reach {
        Reach::Everything => text.push_str(", whose patterns hold `*`"),
        Reach::Path | Reach::Handler => text.push_str(", whose patterns reach what it names"),
        Reach::Nothing => {}
    }
    text.push_str(match rights.tokens {
        true => "; takes tokens of tenants.",
        false => ".",
    });
    text
}

/// The names between braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
}

fn inline(schema: Json) -> Result<RefOr<Schema>> {
    serde_json::from_value(schema).map_err(wrong)
}

fn described(
    generator: &mut SchemaGenerator,
    content: &Content,
) -> Result<utoipa::openapi::Content> {
    let schema = match content.schema {
        Some(make) => {
            let schema = make(generator).to_value();
            match schema.get("$ref").and_then(Json::as_str) {
                Some(path) => RefOr::Ref(Ref::new(path)),
                None => inline(schema)?,
            }
        }
        None => inline(json!({"type": "string"}))?,
    };
    let builder = ContentBuilder::new().schema(Some(schema));
    Ok(builder.example(content.example.clone()).build())
}

/// What it may be refused with, by status.
fn failures(
    generator: &mut SchemaGenerator,
    route: &Route,
    doc: &Doc,
    path: &str,
) -> Result<Vec<(u16, RefOr<Response>)>> {
    let mut codes: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    let mut add = |status: u16, code: &'static str| {
        codes.entry(status).or_default().insert(code);
    };
    for &code in &doc.errors {
        add(status_of(code).as_u16(), code.as_str());
    }
    let mut usual = vec![Code::InvalidRequest, Code::Overloaded, Code::Timeout];
    if route.rights.scope.is_some() {
        usual.extend([Code::Unauthenticated, Code::NotPermitted]);
    }
    if path.contains("/indexes/{name}") {
        usual.push(Code::IndexNotFound);
    }
    if !doc.bodies.is_empty() {
        usual.push(Code::LimitExceeded);
        add(415, Code::InvalidRequest.as_str());
    }
    for code in usual {
        add(status_of(code).as_u16(), code.as_str());
    }
    add(500, OPERATOR_ERROR);
    add(500, INTERNAL);
    if route
        .rights
        .scope
        .is_some_and(|scope| scope != Scope::Search)
    {
        add(507, STORAGE_FULL);
    }
    let answer = generator.subschema_for::<ErrorAnswer>().to_value();
    let answer = answer["$ref"].as_str().unwrap_or_default().to_string();
    let responses = codes.into_iter().map(|(status, codes)| {
        let codes: Vec<&str> = codes.into_iter().collect();
        let example = json!({
            "error": {"code": codes.first(), "message": "what went wrong, for people"},
            "request_id": "5f0c0a5e0f0b4c6f8b1f2f3c4d5e6f70"
        });
        let content = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::new(answer.clone()))))
            .example(Some(example))
            .build();
        let mut response = ResponseBuilder::new()
            .description(format!("`{}`", codes.join("`, `")))
            .content("application/json", content);
        let header = match status {
            503 => Some(("Retry-After", "Seconds after which to try again.")),
            401 => Some(("WWW-Authenticate", "How to bring a key.")),
            _ => None,
        };
        if let Some((name, says)) = header {
            let header = HeaderBuilder::new()
                .schema(Some(inline(json!({"type": "string"}))?))
                .description(Some(says));
            response = response.header(name, header.build());
        }
        Ok((status, RefOr::T(response.build())))
    });
    responses.collect()
}
