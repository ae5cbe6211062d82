//! Entities and databases.

use axum::http::Method;
use serde_json::json;

use super::super::{entities, schema_examples, schema_permissions, schemas, tasks};
use super::operation::{Doc, route};
use super::{Group, text};
use crate::access::Scope::{Admin, Search, Write};
use crate::error::Code;
use crate::{entity, sql};

pub(super) fn entities() -> Group {
    let linking = [
        Code::CatalogNotFound,
        Code::ModelNotFound,
        Code::InvalidModel,
        Code::ModelMismatch,
    ];
    let catalog = [Code::CatalogNotFound];
    Group {
        tag: "entities",
        says: "Catalogs of names, and what mentions of them mean.",
        routes: vec![
            route(
                Method::GET,
                "/v1/entities",
                Search,
                entities::list,
                Doc::new("listCatalogs", "Lists the catalogs.")
                    .paged()
                    .answers::<entities::CatalogList>(200, "Those that the key reaches."),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/entities",
                Admin,
                entities::create,
                Doc::new("createCatalog", "Builds a catalog.")
                    .takes::<entities::CatalogRequest>(json!({
                        "name": "places",
                        "names": [{"id": "Q64", "name": "Berlin"}]
                    }))
                    .answers::<entity::BuildReport>(201, "It was built.")
                    .with_header(201, "Location", "Its address.")
                    .fails(&[
                        Code::CatalogExists,
                        Code::InvalidName,
                        Code::ModelNotFound,
                        Code::InvalidModel,
                        Code::TaskRunning,
                    ]),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/entities:link",
                Search,
                entities::link,
                Doc::new(
                    "linkEntities",
                    "Finds mentions in a text, and what they mean.",
                )
                .takes::<entity::LinkRequest>(
                    json!({"catalog": "places", "text": "They met in Berlin."}),
                )
                .answers::<entity::LinkResponse>(200, "The mentions.")
                .fails(&linking),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/entities:disambiguate",
                Search,
                entities::disambiguate,
                Doc::new("disambiguateMention", "What a given mention means.")
                    .takes::<entity::DisambiguateRequest>(json!({
                        "catalog": "places", "text": "They met in Berlin.", "start": 12, "end": 18
                    }))
                    .answers::<entity::LinkedMention>(200, "The mention.")
                    .fails(&linking),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/entities:retrieve",
                Search,
                entities::retrieve,
                Doc::new("retrieveEntities", "The entities that a query is about.")
                    .takes::<entity::RetrieveEntitiesRequest>(
                        json!({"catalog": "places", "query": "the capital of Germany"}),
                    )
                    .answers::<entity::RetrieveEntitiesResponse>(200, "The likeliest first.")
                    .fails(&linking),
            )
            .checked_by_handler(),
            route(
                Method::GET,
                "/v1/entities/{name}",
                Search,
                entities::show,
                Doc::new("getCatalog", "A catalog's figures.")
                    .answers::<entity::CatalogInfo>(200, "The catalog.")
                    .fails(&catalog),
            ),
            route(
                Method::DELETE,
                "/v1/entities/{name}",
                Admin,
                entities::remove,
                Doc::new("deleteCatalog", "Removes a catalog.")
                    .answers_nothing()
                    .fails(&catalog)
                    .fails(&[Code::TaskRunning]),
            ),
            route(
                Method::POST,
                "/v1/entities/{name}/compact",
                Admin,
                entities::compact,
                Doc::new("compactCatalog", "Seals what was added to it and removed.")
                    .answers::<entity::BuildReport>(200, "It is sealed.")
                    .answers::<tasks::TaskAnswer>(202, "The task that goes on.")
                    .with_header(202, "Location", "Where to ask for the task.")
                    .fails(&catalog)
                    .fails(&[Code::TaskRunning]),
            ),
            route(
                Method::POST,
                "/v1/entities/{name}/names",
                Write,
                entities::add,
                Doc::new("addNames", "Adds names.")
                    .takes::<entities::AddNamesRequest>(
                        json!({"names": [{"id": "Q90", "name": "Paris"}]}),
                    )
                    .answers::<entity::AddReport>(200, "They were added.")
                    .fails(&catalog)
                    .fails(&[Code::InvalidName, Code::TaskRunning]),
            ),
            route(
                Method::GET,
                "/v1/entities/{name}/names/{id}",
                Search,
                entities::entity,
                Doc::new("getEntity", "The names of an entity.")
                    .answers::<entities::EntityAnswer>(200, "Its names.")
                    .fails(&catalog)
                    .fails(&[Code::EntityNotFound]),
            ),
            route(
                Method::DELETE,
                "/v1/entities/{name}/names/{id}",
                Write,
                entities::remove_entity,
                Doc::new("deleteEntity", "Removes an entity.")
                    .answers_nothing()
                    .fails(&catalog)
                    .fails(&[Code::EntityNotFound, Code::TaskRunning]),
            ),
        ],
    }
}

impl Doc {
    fn caller(self) -> Doc {
        self.query(
            "caller",
            text(),
            "Who asks, for databases that have permissions.",
        )
        .fails(&[Code::CallerNotPermitted])
    }
}

/// What any question to a database may fail with.
const ASKING: [Code; 3] = [
    Code::DatabaseNotFound,
    Code::CallerNotPermitted,
    Code::ExampleNotFound,
];

pub(super) fn schemas() -> Group {
    Group {
        tag: "schemas",
        says: "Databases, as an assistant that writes SQL needs them.",
        routes: vec![
            route(
                Method::GET,
                "/v1/schemas",
                Search,
                schemas::list,
                Doc::new("listSchemas", "Lists the databases.")
                    .paged()
                    .caller()
                    .answers::<schemas::SchemaList>(200, "Those that key and caller reach."),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/schemas",
                Admin,
                schemas::import,
                Doc::new("importSchema", "Imports the schema of a database.")
                    .takes::<schemas::SchemaRequest>(json!({
                        "name": "shop",
                        "ddl": "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);"
                    }))
                    .answers::<schemas::SchemaImported>(200, "It took the place of another.")
                    .answers::<schemas::SchemaImported>(201, "It was imported.")
                    .with_header(201, "Location", "Its address.")
                    .fails(&[
                        Code::InvalidSchema,
                        Code::SourceNotPermitted,
                        Code::DatabaseNotFound,
                    ]),
            )
            .checked_by_handler(),
            route(
                Method::POST,
                "/v1/schemas:retrieve",
                Search,
                schemas::which,
                Doc::new(
                    "whichSchema",
                    "Which database answers a question, with the part of it that is needed.",
                )
                .takes::<sql::WhichRequest>(json!({"question": "how many customers are there?"}))
                .answers::<sql::WhichAnswer>(200, "The likeliest first.")
                .fails(&ASKING),
            )
            .about_everything(),
            route(
                Method::GET,
                "/v1/schemas/{name}",
                Search,
                schemas::show,
                Doc::new("getSchema", "Its tables, columns and keys.")
                    .caller()
                    .answers::<sql::Entry>(200, "The database.")
                    .fails(&ASKING),
            ),
            route(
                Method::DELETE,
                "/v1/schemas/{name}",
                Admin,
                schemas::remove,
                Doc::new("deleteSchema", "Removes it.")
                    .answers_nothing()
                    .fails(&[Code::DatabaseNotFound]),
            ),
            route(
                Method::POST,
                "/v1/schemas/{name}",
                Search,
                schemas::act,
                vec![
                    Doc::new("retrieveSchema", "The part of it that a question needs.")
                        .at("/v1/schemas/{name}:retrieve")
                        .takes::<sql::RetrieveRequest>(
                            json!({"question": "how many customers are there?"}),
                        )
                        .answers::<sql::Focus>(200, "Tables and columns, and a prompt of them.")
                        .fails(&ASKING),
                    Doc::new("findValues", "Its cell values that a text names.")
                        .at("/v1/schemas/{name}:values")
                        .takes::<sql::ValuesRequest>(json!({"text": "orders from Berlin"}))
                        .answers::<sql::ValuesAnswer>(200, "The values.")
                        .fails(&ASKING),
                ],
            ),
            route(
                Method::PUT,
                "/v1/schemas/{name}/descriptions",
                Write,
                schemas::describe,
                Doc::new("describeSchema", "What people write about it.")
                    .takes::<sql::Descriptions>(json!({}))
                    .answers::<sql::Descriptions>(200, "They are kept.")
                    .fails(&[Code::DatabaseNotFound, Code::InvalidSchema]),
            ),
            route(
                Method::GET,
                "/v1/schemas/{name}/permissions",
                Admin,
                schema_permissions::show,
                Doc::new("getPermissions", "Who may see which tables.")
                    .answers::<Option<sql::Permissions>>(
                        200,
                        "The permissions; null where everybody may see everything.",
                    )
                    .fails(&[Code::DatabaseNotFound]),
            ),
            route(
                Method::PUT,
                "/v1/schemas/{name}/permissions",
                Admin,
                schema_permissions::put,
                Doc::new("putPermissions", "Says who may see which tables.")
                    .takes::<sql::Permissions>(json!({"callers": {}}))
                    .answers::<sql::Permissions>(200, "They count from now on.")
                    .fails(&[Code::DatabaseNotFound]),
            ),
            route(
                Method::DELETE,
                "/v1/schemas/{name}/permissions",
                Admin,
                schema_permissions::remove,
                Doc::new("deletePermissions", "Opens it to everybody.")
                    .answers_nothing()
                    .fails(&[Code::DatabaseNotFound]),
            ),
        ],
    }
}

pub(super) fn examples() -> Group {
    Group {
        tag: "examples",
        says: "Stored questions with their SQL.",
        routes: vec![
            route(
                Method::GET,
                "/v1/schemas/{name}/examples",
                Search,
                schema_examples::list,
                Doc::new("listExamples", "Lists a database's.")
                    .paged()
                    .caller()
                    .answers::<schema_examples::ExampleList>(200, "The examples.")
                    .fails(&ASKING),
            ),
            route(
                Method::POST,
                "/v1/schemas/{name}/examples",
                Write,
                schema_examples::add,
                Doc::new("addExamples", "Adds some.")
                    .takes::<schema_examples::ExamplesRequest>(json!({
                        "examples": [{
                            "question": "how many customers are there?",
                            "sql": "SELECT count(*) FROM customers"
                        }]
                    }))
                    .answers::<sql::ExamplesAdded>(200, "They are kept.")
                    .fails(&ASKING),
            ),
            route(
                Method::POST,
                "/v1/schemas/{name}/examples:similar",
                Search,
                schema_examples::similar,
                Doc::new("similarExamples", "Those that are like a question.")
                    .takes::<sql::SimilarRequest>(json!({"question": "number of customers"}))
                    .answers::<sql::SimilarAnswer>(200, "The most similar first.")
                    .fails(&ASKING),
            ),
            route(
                Method::POST,
                "/v1/schemas/{name}/examples:annotate",
                Search,
                schema_examples::annotate,
                Doc::new(
                    "annotateExamples",
                    "Which questions are worth writing SQL for.",
                )
                .takes::<sql::AnnotateRequest>(
                    json!({"questions": ["how many customers are there?", "names of customers"]}),
                )
                .answers::<sql::AnnotateAnswer>(200, "The most worthwhile first.")
                .fails(&ASKING),
            ),
            route(
                Method::DELETE,
                "/v1/schemas/{name}/examples/{id}",
                Write,
                schema_examples::remove,
                Doc::new("deleteExample", "Removes one.")
                    .caller()
                    .answers_nothing()
                    .fails(&ASKING),
            ),
        ],
    }
}
