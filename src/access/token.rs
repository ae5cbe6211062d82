//! Tokens of tenants: a key's right to search, narrowed by a filter, for a while.
//!
//! A token is a PASETO of version 4 for local use: encrypted and authenticated, so that who holds
//! it can neither change nor read what it narrows to. The secret that seals them is made with the
//! first token and kept in `tokens.key` of the data folder; removing that file ends all tokens.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use parking_lot::Mutex;
use pasetors::Local;
use pasetors::keys::SymmetricKey;
use pasetors::token::UntrustedToken;
use pasetors::version4::{LocalToken, V4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Patterns;
use super::keys::private;
use crate::error::{Code, Error, Problem, Result};

const FILE: &str = "tokens.key";
/// Bound to every token: one that was sealed for something else does not open here.
const PURPOSE: &[u8] = b"gleaner search token 1";
const DEFAULT_SECONDS: u64 = 3_600;
/// A day: tokens cannot be revoked one by one.
const MOST_SECONDS: u64 = 86_400;
/// Longest token that is looked at, in bytes.
const MOST_BYTES: usize = 64 << 10;

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What every document has to pass that its holder may see: a filter, as text or as an
    /// object.
    pub filter: Json,
    /// Names that it reaches, as globs, among those that the key reaches; all of these by
    /// default.
    #[serde(default)]
    pub indexes: Vec<String>,
    /// How long it counts, in seconds: 1 to 86,400; an hour by default.
    #[serde(default = "default_seconds")]
    pub expires_in: u64,
}

fn default_seconds() -> u64 {
    DEFAULT_SECONDS
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// The token, for `authorization: Bearer TOKEN`.
    pub token: String,
    /// When it ends, in UTC.
    pub expires_at: String,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The id of the key it was made with: it ends with that.
    pub key: String,
    pub filter: Json,
    pub indexes: Vec<String>,
    /// When it ends, in seconds since 1970.
    expires: i64,
}

/// Seals tokens and opens them.
pub(super) struct Sealer {
    path: PathBuf,
    secret: Mutex<Option<SymmetricKey<V4>>>,
}

impl Sealer {
    pub(super) fn new(folder: &Path) -> Sealer {
        Sealer {
            path: folder.join(FILE),
            secret: Mutex::new(None),
        }
    }

    /// The secret; made, where there is none and `make`.
    fn secret(&self, make: bool) -> Result<Option<SymmetricKey<V4>>> {
        let mut secret = self.secret.lock();
        if let Some(secret) = &*secret {
            return Ok(Some(secret.clone()));
        }
        let cannot = |e: std::io::Error| {
            Error::operator_from(format!("cannot use {}", self.path.display()), e)
                .advice("check its permissions; removing it ends all tokens")
        };
        let bytes = match std::fs::File::open(&self.path) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(cannot)?;
                bytes
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && make => {
                let bytes = random::<32>()?.to_vec();
                let beside = self.path.with_extension("writing");
                let mut file = private(&beside, true).map_err(cannot)?;
                file.write_all(&bytes)
                    .and_then(|()| file.sync_all())
                    .and_then(|()| std::fs::rename(&beside, &self.path))
                    .map_err(cannot)?;
                bytes
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(cannot(e)),
        };
        let made = SymmetricKey::from(&bytes).map_err(|_| {
            Error::operator(format!("{} is damaged", self.path.display()))
                .advice("remove it, which ends all tokens")
        })?;
        *secret = Some(made.clone());
        Ok(Some(made))
    }

    /// What a token says, if it is one of ours and has not ended.
    ///
    /// # Errors
    /// Operator where the secret cannot be read.
    pub(super) fn open_token(&self, token: &str) -> Result<Option<Claims>> {
        if token.len() > MOST_BYTES {
            return Ok(None);
        }
        let Ok(token) = UntrustedToken::<Local, V4>::try_from(token) else {
            return Ok(None);
        };
        let Some(secret) = self.secret(false)? else {
            return Ok(None);
        };
        let Ok(opened) = LocalToken::decrypt(&secret, &token, None, Some(PURPOSE)) else {
            return Ok(None);
        };
        let claims = serde_json::from_str::<Claims>(opened.payload()).ok();
        Ok(claims.filter(|claims| claims.expires > Utc::now().timestamp()))
    }
}

/// Seals a token for a key.
///
/// # Errors
/// `invalid_request` for a filter that is neither text nor object, a time out of range, or
/// patterns that are none.
pub(super) fn make(sealer: &Sealer, key: &str, request: &TokenRequest) -> Result<NewToken> {
    let wrong = |field: &str, found: String, expected: &str| {
        Problem::new(Code::InvalidRequest, "this makes no token")
            .field(field)
            .found(found)
            .expected(expected)
    };
    let is_filter = match &request.filter {
        Json::String(text) => !text.trim().is_empty(),
        Json::Object(_) => true,
        _ => false,
    };
    if !is_filter {
        let found = request.filter.to_string();
        return Err(wrong("filter", found, "a filter, as text or as an object").into());
    }
    if !(1..=MOST_SECONDS).contains(&request.expires_in) {
        let found = request.expires_in.to_string();
        return Err(wrong("expires_in", found, "1 to 86400 seconds").into());
    }
    if !request.indexes.is_empty() {
        Patterns::new(&request.indexes, "indexes")?;
    }
    let expires = Utc::now() + chrono::Duration::seconds(request.expires_in as i64);
    let claims = Claims {
        key: key.into(),
        filter: request.filter.clone(),
        indexes: request.indexes.clone(),
        expires: expires.timestamp(),
    };
    let payload = serde_json::to_vec(&claims)
        .map_err(|e| Error::Bug(format!("a token does not serialise: {e}")))?;
    let secret = sealer.secret(true)?;
    let secret = secret.ok_or_else(|| Error::Bug("no secret was made".into()))?;
    let token = LocalToken::encrypt(&secret, &payload, None, Some(PURPOSE))
        .map_err(|_| Error::operator("no token can be sealed: the system gives no random bytes"))?;
    if token.len() > MOST_BYTES {
        let found = format!("a token of {} bytes", token.len());
        return Err(wrong("filter", found, "a shorter one").into());
    }
    Ok(NewToken {
        token,
        expires_at: expires.to_rfc3339_opts(SecondsFormat::Secs, true),
    })
}

/// Bytes that nobody can guess.
///
/// # Errors
/// Operator where the system has none.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::operator(format!("the system gives no random bytes: {e}")))?;
    Ok(bytes)
}
