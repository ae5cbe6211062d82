use std::time::Duration;

use chrono::Utc;
use serde_json::json;

use super::*;
use crate::error::Error;

fn request(scopes: &[Scope], indexes: &[&str]) -> KeyRequest {
    KeyRequest {
        name: "of a test".into(),
        scopes: scopes.to_vec(),
        indexes: indexes.iter().map(|&name| name.into()).collect(),
        expires_at: None,
    }
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().and_then(|e| e.problem().map(|p| p.code))
}

#[test]
fn without_keys_everybody_may_do_everything_and_with_the_first_nobody_may() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    assert!(keys.admit(None).unwrap().has(Scope::Admin));
    let made = keys.create(request(&[Scope::Admin], &["*"])).unwrap();
    assert_eq!(code(keys.admit(None)), Some(Code::Unauthenticated));
    assert!(keys.admit(Some(&made.key)).unwrap().has(Scope::Write));
    // The last one is revoked: the door stays shut until somebody starts the server anew.
    keys.revoke(&made.info.id).unwrap();
    assert_eq!(code(keys.admit(None)), Some(Code::Unauthenticated));
    assert_eq!(
        code(keys.admit(Some(&made.key))),
        Some(Code::Unauthenticated)
    );
    let again = Keys::open(folder.path()).unwrap();
    assert!(!again.are_required());
}

#[test]
fn a_key_is_stored_hashed_and_readable_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Search], &["*"])).unwrap();
    let secret = made.key.rsplit('_').next().unwrap();
    assert_eq!(secret.len(), 64);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(secret), "{} holds the key", path.display());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }
}

#[test]
fn another_secret_with_the_same_id_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Search], &["*"])).unwrap();
    let (head, secret) = made.key.rsplit_once('_').unwrap();
    let other: String = secret.chars().rev().collect();
    for wrong in [
        format!("{head}_{other}"),
        format!("{head}_"),
        head.into(),
        "glk_".into(),
    ] {
        assert_eq!(code(keys.admit(Some(&wrong))), Some(Code::Unauthenticated));
    }
}

#[test]
fn scopes_and_patterns_bound_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Write], &["docs-*", "shop"]));
    let access = keys.admit(Some(&made.unwrap().key)).unwrap();
    assert!(access.require(Scope::Write).is_ok());
    for scope in [Scope::Search, Scope::Admin] {
        assert_eq!(access.require(scope).unwrap_err().code, Code::NotPermitted);
    }
    assert!(access.reaches("docs-1") && access.reaches("shop"));
    assert!(!access.reaches("shops") && !access.reaches("docs"));
    assert!(access.require_everything().is_err());
    for (scopes, indexes) in [
        (&[][..], &["*"][..]),
        (&[Scope::Search], &[]),
        (&[Scope::Search], &["[a"]),
    ] {
        let refused = code(keys.create(request(scopes, indexes)));
        assert_eq!(refused, Some(Code::InvalidRequest));
    }
}

#[test]
fn keys_of_another_process_are_seen_and_so_is_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = Keys::open(folder.path()).unwrap();
    let command = Keys::open(folder.path()).unwrap();
    let made = command.create(request(&[Scope::Admin], &["*"])).unwrap();
    let wait = || std::thread::sleep(Duration::from_millis(600));
    wait();
    assert!(server.admit(Some(&made.key)).is_ok());
    assert_eq!(code(server.admit(None)), Some(Code::Unauthenticated));
    // Both write: neither undoes what the other did.
    let second = server.create(request(&[Scope::Search], &["*"])).unwrap();
    let third = command.create(request(&[Scope::Search], &["*"])).unwrap();
    let ids = |keys: &Keys| keys.list().into_iter().map(|k| k.id).collect::<Vec<_>>();
    let all = [made.info.id, second.info.id.clone(), third.info.id.clone()];
    assert_eq!(ids(&command), all);
    command.revoke(&third.info.id).unwrap();
    wait();
    assert_eq!(
        code(server.admit(Some(&third.key))),
        Some(Code::Unauthenticated)
    );
    assert_eq!(ids(&server), all[..2]);
}

#[test]
fn a_damaged_file_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Admin], &["*"])).unwrap();
    std::fs::write(folder.path().join("keys.json"), "{").unwrap();
    assert!(matches!(Keys::open(folder.path()), Err(Error::Operator(_))));
    std::thread::sleep(Duration::from_millis(600));
    // Who runs goes on with what was known.
    assert!(keys.admit(Some(&made.key)).is_ok());
    assert_eq!(code(keys.admit(None)), Some(Code::Unauthenticated));
}

#[test]
fn the_last_administrator_stays_while_there_are_others() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let admin = keys.create(request(&[Scope::Admin], &["*"])).unwrap();
    let other = keys.create(request(&[Scope::Search], &["*"])).unwrap();
    assert_eq!(code(keys.revoke(&admin.info.id)), Some(Code::LastKey));
    assert_eq!(code(keys.revoke("nobody")), Some(Code::KeyNotFound));
    keys.revoke(&other.info.id).unwrap();
    keys.revoke(&admin.info.id).unwrap();
}

#[test]
fn keys_end_when_they_said() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let mut short = request(&[Scope::Search], &["*"]);
    short.expires_at = Some(Utc::now() + chrono::Duration::milliseconds(300));
    let made = keys.create(short.clone()).unwrap();
    assert!(keys.admit(Some(&made.key)).is_ok());
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(
        code(keys.admit(Some(&made.key))),
        Some(Code::Unauthenticated)
    );
    assert_eq!(code(keys.create(short)), Some(Code::InvalidRequest));
}

fn token(filter: Json) -> TokenRequest {
    TokenRequest {
        filter,
        indexes: Vec::new(),
        expires_in: 60,
    }
}

#[test]
fn a_token_narrows_its_key_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Admin], &["docs-*"])).unwrap();
    let admin = keys.admit(Some(&made.key)).unwrap();
    let mut wanted = token(json!("tenant = \"a\""));
    wanted.indexes = vec!["*-1".into()];
    let narrow = keys.token(&admin, &wanted).unwrap().token;
    let access = keys.admit(Some(&narrow)).unwrap();
    assert_eq!(access.filter(), Some(&json!("tenant = \"a\"")));
    assert!(access.is_token() && access.has(Scope::Search));
    assert!(!access.has(Scope::Write) && !access.has(Scope::Admin));
    assert!(access.reaches("docs-1") && !access.reaches("docs-2") && !access.reaches("x-1"));
    // A token makes no token.
    assert_eq!(code(keys.token(&access, &wanted)), Some(Code::NotPermitted));
    // Another server of the same folder takes it; one of another folder does not.
    assert!(
        Keys::open(folder.path())
            .unwrap()
            .admit(Some(&narrow))
            .is_ok()
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Keys::open(elsewhere.path()).unwrap();
    let key = other.create(request(&[Scope::Admin], &["*"])).unwrap();
    let access = other.admit(Some(&key.key)).unwrap();
    other.token(&access, &token(json!("a = 1"))).unwrap();
    assert_eq!(
        code(other.admit(Some(&narrow))),
        Some(Code::Unauthenticated)
    );
    keys.revoke(&made.info.id).unwrap();
    assert_eq!(code(keys.admit(Some(&narrow))), Some(Code::Unauthenticated));
}

#[test]
fn no_changed_token_counts() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Search], &["*"])).unwrap();
    let access = keys.admit(Some(&made.key)).unwrap();
    let whole = keys
        .token(&access, &token(json!("tenant = \"a\"")))
        .unwrap();
    assert!(!whole.token.contains("tenant"));
    let bytes = whole.token.into_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        if let Ok(text) = String::from_utf8(changed) {
            assert_eq!(
                code(keys.admit(Some(&text))),
                Some(Code::Unauthenticated),
                "{at}"
            );
        }
    }
}

#[test]
fn tokens_end_and_requests_that_make_none_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(folder.path()).unwrap();
    let made = keys.create(request(&[Scope::Search], &["*"])).unwrap();
    let access = keys.admit(Some(&made.key)).unwrap();
    let mut short = token(json!({"a": 1}));
    short.expires_in = 1;
    let ends = keys.token(&access, &short).unwrap().token;
    assert!(keys.admit(Some(&ends)).is_ok());
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(code(keys.admit(Some(&ends))), Some(Code::Unauthenticated));
    let field = |request: &TokenRequest| {
        let error = keys.token(&access, request).unwrap_err();
        error.problem().unwrap().field.clone().unwrap()
    };
    assert_eq!(field(&token(json!(3))), "filter");
    assert_eq!(field(&token(json!(" "))), "filter");
    short.expires_in = 86_401;
    assert_eq!(field(&short), "expires_in");
    let mut none = token(json!("a = 1"));
    none.indexes = vec![String::new()];
    assert_eq!(field(&none), "indexes");
}

#[test]
fn acts_are_lines_that_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::new(folder.path(), None);
    for status in [200, 403] {
        log.add(&AuditEntry::new(
            "createKey",
            "POST /v1/keys".into(),
            status,
        ))
        .unwrap();
    }
    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let lines: Vec<AuditEntry> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[1].status, lines[1].operation.as_str()),
        (403, "createKey")
    );
}
