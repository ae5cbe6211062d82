//! Promise: schemas of databases are imported, shown, described and removed, by the command line
//! and over REST alike; what was written about them outlives an import and a restart; and no
//! caller makes the server open what its configuration does not name.

use gleaner::config::SchemaSource;
use gleaner::error::Code;
use serde_json::{Value, json};

use crate::support::binary::Place;
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;

const DDL: &str = "CREATE TABLE customers (id INT PRIMARY KEY, name TEXT, email TEXT);
    CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT);
    INSERT INTO orders VALUES (1, 1);";

fn import(service: &Service, ddl: &str) -> Value {
    let answer = service.post("/v1/schemas", &json!({"name": "shop", "ddl": ddl}));
    assert!(matches!(answer.status, 200 | 201), "{}", answer.json());
    answer.json()
}

#[test]
fn over_rest() {
    let service = Service::new();
    assert_eq!(service.get("/v1/schemas").json(), json!({"schemas": []}));
    let answer = service.post("/v1/schemas", &json!({"name": "shop", "ddl": DDL}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(answer.header("location"), Some("/v1/schemas/shop"));
    let imported = answer.json();
    assert_eq!(
        (&imported["tables"], &imported["columns"]),
        (&json!(2), &json!(5))
    );
    assert_eq!(imported["skipped_statements"], 1);
    assert!(imported["changes"].is_null());
    let shown = service.get("/v1/schemas/shop").json();
    let key = &shown["database"]["foreign_keys"][0];
    assert_eq!(
        (&key["to_table"], &key["origin"]),
        (&json!("customers"), &json!("inferred"))
    );
    assert_eq!(shown["database"]["tables"][0]["columns"][2]["masked"], true);

    let written = json!({"description": "a shop", "tables": {"orders": {"columns":
        {"customer_id": {"description": "who ordered"}}}}});
    let answer = service.put("/v1/schemas/shop/descriptions", &written);
    assert_eq!((answer.status, answer.json()), (200, written.clone()));
    let again = import(&service, &DDL.replace("name TEXT", "name TEXT, town TEXT"));
    assert_eq!(
        again["changes"]["columns"]["added"],
        json!(["customers.town"])
    );
    let service = service.restart(|_| {});
    let shown = service.get("/v1/schemas/shop").json();
    assert_eq!(shown["written"], written);
    let orders = &shown["database"]["tables"][1];
    assert_eq!(orders["columns"][1]["description"], "who ordered");
    let list = service.get("/v1/schemas").json();
    assert_eq!(list["schemas"][0]["description"], "a shop");
    assert_eq!(list["schemas"][0]["columns"], 6);

    // What was shown can be brought again.
    let mut database = shown["database"].clone();
    database["name"] = json!("copy");
    let answer = service.post("/v1/schemas", &json!({"database": database}));
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(service.get("/v1/schemas/copy").json()["database"], database);
    assert_eq!(service.delete("/v1/schemas/copy").status, 204);
    for answer in [
        service.delete("/v1/schemas/copy"),
        service.get("/v1/schemas/copy"),
        service.put("/v1/schemas/copy/descriptions", &json!({})),
    ] {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "database_not_found")
        );
    }
}

#[test]
fn bad_requests_change_nothing() {
    let service = Service::new();
    import(&service, DDL);
    let before = service.get("/v1/schemas/shop").json();
    let database = &before["database"];
    let mut twice = database.clone();
    twice["tables"][1]["name"] = json!("customers");
    for (body, code) in [
        (json!({"name": "shop"}), "invalid_request"),
        (json!({"ddl": DDL}), "invalid_request"),
        (
            json!({"name": "shop", "ddl": DDL, "database": database}),
            "invalid_request",
        ),
        (
            json!({"name": "shop", "ddl": "CREATE TABLE x (y INT,, z INT)"}),
            "invalid_schema",
        ),
        (json!({"name": "shop", "ddl": "SELECT 1"}), "invalid_schema"),
        (json!({"name": "shop", "ddl": ""}), "invalid_schema"),
        (json!({"name": "../shop", "ddl": DDL}), "invalid_schema"),
        (
            json!({"name": "shop", "ddl": DDL, "dialect": "oracle"}),
            "invalid_request",
        ),
        (json!({"name": "shop", "database": twice}), "invalid_schema"),
        (
            json!({"name": "shop", "database": {"name": "shop"}}),
            "invalid_request",
        ),
        (
            json!({"name": "shop", "sqlite": "/etc/passwd"}),
            "invalid_request",
        ),
        (
            json!({"name": "shop", "source": "/etc/passwd"}),
            "invalid_request",
        ),
        (
            json!({"name": "shop", "url": "postgres://a:b@c/d"}),
            "invalid_request",
        ),
        (
            json!({"name": "shop", "ddl": "x".repeat(17 << 20)}),
            "limit_exceeded",
        ),
    ] {
        let answer = service.post("/v1/schemas", &body);
        let shown = body.to_string().chars().take(100).collect::<String>();
        assert_eq!(answer.code(), code, "{shown}: {}", answer.json());
    }
    let written = json!({"tables": {"nowhere": {"description": "x"}}});
    let answer = service.put("/v1/schemas/shop/descriptions", &written);
    assert_eq!(answer.code(), "invalid_schema");
    assert_eq!(answer.json()["error"]["field"], "tables.nowhere");
    assert_eq!(service.get("/v1/schemas/shop").json(), before);
    assert_eq!(service.get("/v1/schemas/..%2Fshop").status, 404);
}

#[test]
fn sources_are_those_of_the_configuration() {
    let service = Service::with(|config| {
        let missing = config.data.folder.join("not-to-be-told.sqlite");
        config.schemas.sources = vec![
            SchemaSource {
                name: "gone".into(),
                sqlite: Some(missing),
                ..SchemaSource::default()
            },
            SchemaSource {
                name: "closed".into(),
                // Nobody listens on port 1.
                url: Some("postgres://me:s3cr-et@127.0.0.1:1/shop".into()),
                ..SchemaSource::default()
            },
        ];
    });
    for name in ["gone", "closed"] {
        let answer = service.post("/v1/schemas", &json!({"source": name}));
        assert_eq!(answer.status, 500, "{}", answer.json());
        let text = answer.json().to_string();
        assert!(
            !text.contains("s3cr-et") && !text.contains("not-to-be-told"),
            "{text}"
        );
    }
    assert_eq!(service.get("/v1/schemas").json(), json!({"schemas": []}));
}

#[test]
fn by_the_command_line() {
    let place = Place::new();
    assert_eq!(place.json(&["schema", "list"]), json!([]));
    place.write("shop.sql", DDL);
    let import = ["schema", "import", "shop", "--ddl", "shop.sql"];
    let imported = place.json(&import);
    assert_eq!(imported["inferred_keys"], 1);
    assert_eq!(imported["masked_columns"], 1);
    assert!(imported["changes"].is_null());
    place.ok(&[
        "schema",
        "describe",
        "shop",
        "--table",
        "orders",
        "who bought what",
    ]);
    assert_eq!(
        place.json(&import)["changes"]["tables"]["changed"],
        json!([])
    );
    let shown = place.ok(&["schema", "show", "shop"]).out;
    assert!(shown.contains("who bought what"), "{shown}");
    assert!(
        shown.contains("orders(customer_id) -> customers(id) (inferred)"),
        "{shown}"
    );
    let table = place.json(&["schema", "show", "shop", "--table", "orders"]);
    assert_eq!(table["tables"].as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["schema", "list"])[0]["tables"], 2);

    // What it prints can be imported.
    let whole = place.ok(&["schema", "show", "shop", "--json"]).out;
    place.write("shop.json", whole);
    place.ok(&["schema", "import", "copy", "--database", "shop.json"]);
    place.ok(&["schema", "remove", "copy"]);

    place.refused(Code::DatabaseNotFound, &["schema", "show", "copy"]);
    place.refused(
        Code::InvalidFile,
        &["schema", "import", "x", "--sqlite", "nowhere.sqlite"],
    );
    place.refused(
        Code::InvalidFile,
        &["schema", "import", "x", "--ddl", "nowhere.sql"],
    );
    place.refused(
        Code::InvalidSchema,
        &["schema", "import", "A b", "--ddl", "shop.sql"],
    );
    let said = place.refused(
        Code::InvalidConfiguration,
        &[
            "schema",
            "import",
            "x",
            "--url",
            "oracle://me:s3cr-et@host/x",
        ],
    );
    assert!(!said.contains("s3cr-et"), "{said}");
    place.refused(
        Code::InvalidConfiguration,
        &["schema", "import", "x", "--url-env", "GLEANER_NOT_SET"],
    );
    assert_eq!(
        place.run(&["schema", "import", "x"]).status,
        Some(2),
        "no source is usage"
    );
    place.ok(&["schema", "remove", "shop"]);
    assert_eq!(place.json(&["schema", "list"]), json!([]));
}

#[test]
fn questions_are_answered_with_a_part() {
    let models = tempfile::tempdir().unwrap();
    TinyModel::default().write(&models.path().join("tiny"));
    let service = Service::with(|config| {
        config.models.folders = vec![models.path().into()];
        config.schemas.encoder = "tiny".into();
        config.schemas.linker = String::new();
    });
    import(&service, DDL);
    let ask = |body: Value| service.post("/v1/schemas/shop:retrieve", &body);
    let question = json!({"question": "What are the names of the customers?"});
    let answer = ask(question.clone());
    assert_eq!(answer.status, 200, "{}", answer.json());
    let whole = answer.json();
    assert_eq!(whole["strategy"], "full");
    let tokens = whole["tokens"].as_u64().unwrap();
    assert_eq!(whole["full_tokens"].as_u64(), Some(tokens));

    let mut part = question.clone();
    part["strategy"] = json!("retrieval");
    part["mode"] = json!("minimal");
    let found = ask(part.clone()).json();
    let tables: Vec<&str> = found["tables"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|table| table["name"].as_str())
        .collect();
    assert!(tables.contains(&"customers"), "{found}");
    assert_eq!(ask(part.clone()).json(), found, "asked again");
    assert!(found["prompt"].as_str().unwrap().contains("CREATE TABLE"));

    // What was made ready is not what a new import is asked by.
    import(&service, &DDL.replace("name TEXT", "name TEXT, town TEXT"));
    part["question"] = json!("In which town do customers live?");
    let found = ask(part.clone()).json();
    assert!(found["ddl"].as_str().unwrap().contains("town"), "{found}");

    for (body, code, field) in [
        (json!({"question": " "}), "invalid_request", "question"),
        (
            json!({"question": "q", "budget": 3}),
            "invalid_request",
            "budget",
        ),
        (
            json!({"question": "q", "samples": 1000}),
            "invalid_request",
            "samples",
        ),
        (
            json!({"question": "q".repeat(100_000)}),
            "limit_exceeded",
            "question",
        ),
        (
            json!({"question": "names", "token_budget": 1}),
            "invalid_request",
            "budget",
        ),
    ] {
        let answer = ask(body);
        let problem = answer.json()["error"].clone();
        assert!((400..500).contains(&answer.status), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert!(
            problem["field"].as_str().is_some_and(|f| f.contains(field)),
            "{problem}"
        );
    }
    let answer = service.post("/v1/schemas/elsewhere:retrieve", &question);
    assert_eq!(answer.json()["error"]["code"], "database_not_found");
    let answer = service.post("/v1/schemas/shop:forget", &question);
    assert_eq!(answer.status, 400);
}
