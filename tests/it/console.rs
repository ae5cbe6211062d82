//! Promise: the console comes out of the program whole, the same for everybody, and may reach
//! nothing but the server it came from.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::json;

use crate::support::service::Service;

/// The addresses that a file names, with its own to tell where they are from.
fn named(path: &str, text: &str) -> Vec<String> {
    let marks = Regex::new(r##"(?:src|href)="(/[^"#]+)""##).unwrap();
    let imports = Regex::new(r#"(?:from|import)\s*\(?\s*["'](\.[^"']+|/[^"']+)["']"#).unwrap();
    let base = url::Url::parse("http://x").unwrap().join(path).unwrap();
    let found = marks.captures_iter(text).chain(imports.captures_iter(text));
    found
        .map(|one| base.join(&one[1]).unwrap().path().to_string())
        .collect()
}

#[test]
fn every_file_that_the_console_names_is_served() {
    let service = Service::new();
    let mut open = vec!["/".to_string()];
    let mut seen = BTreeSet::new();
    let away = Regex::new(r"https?://[^\s\x22'`)]+").unwrap();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = service.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let kind = answer.header("content-type").unwrap();
        let expected = match path.rsplit_once('.') {
            None => "text/html",
            Some((_, "js")) => "text/javascript",
            Some((_, "css")) => "text/css",
            Some((_, "svg")) => "image/svg+xml",
            Some((_, other)) => panic!("{path}: what is {other}?"),
        };
        assert!(kind.starts_with(expected), "{path}: {kind}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let text = String::from_utf8(answer.body).unwrap();
        open.extend(named(&path, &text));
        // Namespaces are names, not places.
        for place in away.find_iter(&text) {
            assert!(
                place.as_str().starts_with("http://www.w3.org/"),
                "{path} names {}",
                place.as_str()
            );
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let service = Service::new();
    let first = service.get("/");
    let tag = first.header("etag").unwrap().to_string();
    let again = service.send("GET", "/", &[("if-none-match", &tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = service.send("GET", "/", &[("if-none-match", "\"x\"")], b"");
    assert_eq!((other.status, other.body), (200, first.body));
}

#[test]
fn nothing_but_its_files_is_there() {
    let service = Service::new();
    for path in [
        "/Cargo.toml",
        "/../Cargo.toml",
        "/js/../../Cargo.toml",
        "/js/..%2f..%2fCargo.toml",
        "/js/",
        "/js",
    ] {
        let answer = service
            .raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(answer.contains("route_not_found"), "{path}: {answer}");
    }
    let posted = service.post("/", &json!({}));
    assert_eq!(
        (posted.status, posted.code()),
        (404, "route_not_found".into())
    );
}

#[test]
fn it_needs_no_key_where_what_it_asks_for_does() {
    let service = Service::new();
    let admin = json!({"name": "admin", "scopes": ["admin"]});
    assert_eq!(service.post("/v1/keys", &admin).status, 201);
    assert_eq!(service.get("/").status, 200);
    assert_eq!(service.get("/v1/indexes").status, 401);
}

#[test]
fn it_can_be_turned_off() {
    let service = Service::with(|config| config.server.console = false);
    let answer = service.get("/");
    assert_eq!(
        (answer.status, answer.code()),
        (404, "route_not_found".into())
    );
}
