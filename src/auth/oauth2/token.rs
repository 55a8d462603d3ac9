//! Checks a token: its signature, times and audience, and what it allows. Pure: the caller brings keys and time.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::Value;

use super::claims::{Claims, words};
use super::grants::{Grants, tags};
use super::keys::KeySet;
use super::scopes::{SCOPES_MAX, TooManyScopes, scopes};
use super::settings::ResourceServer;
use crate::auth::backend::External;
use crate::auth::decision::{Decision, Verdict};
use crate::auth::question::Question;
use crate::clock::monotonic;
use crate::model::Name;

/// The longest token. RabbitMQ reads what fits into a frame.
const TOKEN_BYTES_MAX: usize = 128 * 1024;
/// The longest name of a user, as in AMQP's short strings.
const USER_NAME_BYTES_MAX: usize = 255;
/// How far the provider's clock may be ahead when a token becomes valid.
const NOT_BEFORE_LEEWAY_SECONDS: u64 = 60;
/// The user of a token that names none, as in RabbitMQ.
const UNKNOWN_USER: &str = "unknown";

/// A valid token: who it is for, and what it allows until when.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub user: Name,
    pub tags: Arc<[Name]>,
    /// Seconds since 1970; `None` does not expire.
    pub expires: Option<u64>,
    grants: Grants,
}

/// Why a token is refused, for the log. It never quotes the token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("provided token is invalid")]
    Malformed,
    #[error("no signing key with id '{}'", .0.as_deref().unwrap_or("undefined"))]
    KeyNotFound(Option<String>),
    #[error("signature_invalid")]
    Signature,
    #[error("its algorithm is not allowed")]
    Algorithm,
    #[error("Provided JWT token has expired at timestamp {expired} (validated at {now})")]
    Expired { expired: u64, now: u64 },
    #[error("Provided JWT token has an invalid exp claim: value is not a number")]
    InvalidExpiry,
    #[error("Provided JWT token has no exp claim")]
    NoExpiry,
    #[error("Provided JWT token is not valid before timestamp {0}")]
    NotYetValid(u64),
    #[error("no_aud_found")]
    NoAudience,
    #[error("no_matching_aud_found")]
    OtherAudience,
    #[error("its issuer is not the configured one")]
    OtherIssuer,
    #[error("too_many_scopes: the limit is {SCOPES_MAX}")]
    TooManyScopes,
    #[error("its user name is longer than {USER_NAME_BYTES_MAX} bytes")]
    LongUserName,
    /// Only on a refresh.
    #[error("Not allowed to change username on refreshed token")]
    OtherUser,
}

impl Token {
    /// Checks a token against the keys, at `now` in seconds since 1970.
    pub(super) fn check(
        token: &[u8],
        keys: &KeySet,
        server: &ResourceServer,
        now: u64,
    ) -> Result<Token, TokenError> {
        let claims = verify(token, keys, server)?;
        check_audience(&claims, server)?;
        let expires = check_times(&claims, server, now)?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let issuer = issuer.map(|issuer| issuer.trim_end_matches('/'));
        if server.issuer.is_some() && server.issuer.as_deref() != issuer {
            return Err(TokenError::OtherIssuer);
        }
        let scopes = scopes(&claims, server).map_err(|TooManyScopes| TokenError::TooManyScopes)?;
        let scopes = || scopes.iter().map(String::as_str);
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        let mut user = server.preferred_username_claims.iter();
        let user = user.find_map(|claim| text(claim));
        let user = user.unwrap_or(UNKNOWN_USER);
        if user.len() > USER_NAME_BYTES_MAX {
            return Err(TokenError::LongUserName);
        }
        Ok(Token {
            user: user.into(),
            tags: tags(scopes()).into_iter().map(Name::from).collect(),
            expires,
            grants: Grants::new(scopes(), text),
        })
    }

    /// Whether the token's user may do something, at `now` in seconds since 1970.
    pub fn decide(&self, question: &Question, now: u64) -> Decision {
        let until = match self.expires {
            Some(expired) if expired <= now => {
                let error = TokenError::Expired { expired, now };
                return Decision {
                    verdict: Verdict::Failed {
                        backend: External::OAuth2,
                        why: error.as_reason(),
                    },
                    until: Some(monotonic()),
                };
            }
            Some(expires) => monotonic().checked_add(Duration::from_secs(expires - now)),
            None => None,
        };
        let verdict = match self.allows(question) {
            true => Verdict::Allowed,
            false => Verdict::Denied,
        };
        Decision { verdict, until }
    }

    fn allows(&self, question: &Question) -> bool {
        match question {
            Question::Vhost { vhost, peer: _ } => self.grants.allow_vhost(vhost),
            Question::Resource {
                vhost,
                kind: _,
                name,
                permission,
            } => self.grants.allow_resource(vhost, *permission, name),
            Question::Topic {
                vhost,
                exchange,
                permission,
                routing_key,
            } => self
                .grants
                .allow_topic(vhost, *permission, exchange, routing_key),
        }
    }
}

impl TokenError {
    /// How RabbitMQ quotes it in the text of a refusal.
    pub fn as_reason(&self) -> Name {
        format!("\"{self}\"").into()
    }
}

/// The claims of a token whose signature is right.
fn verify(token: &[u8], keys: &KeySet, server: &ResourceServer) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    let id = header.kid.or_else(|| server.default_key.clone());
    let Some(key) = keys.get(&id) else {
        return Err(TokenError::KeyNotFound(id));
    };
    let algorithm = header.alg;
    let configured = server.algorithms.as_ref();
    let is_allowed = configured.is_none_or(|allowed| allowed.contains(&algorithm))
        && key.algorithm.is_none_or(|own| own == algorithm)
        && key.key.family() == algorithm.family();
    if !is_allowed {
        return Err(TokenError::Algorithm);
    }
    // Signature only: the claims are checked here, by RabbitMQ's rules.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let verified = decode::<Claims>(token, &key.key, &validation);
    verified
        .map(|token| token.claims)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
            _ => TokenError::Malformed,
        })
}

/// A token without audience is refused too, unless the audience is not verified.
fn check_audience(claims: &Claims, server: &ResourceServer) -> Result<(), TokenError> {
    let audience = claims.get("aud");
    match audience {
        _ if !server.verify_aud => Ok(()),
        None => Err(TokenError::NoAudience),
        Some(_) if words(audience).contains(&server.id) => Ok(()),
        Some(_) => Err(TokenError::OtherAudience),
    }
}

/// When the token expires, if it is valid at `now`.
fn check_times(
    claims: &Claims,
    server: &ResourceServer,
    now: u64,
) -> Result<Option<u64>, TokenError> {
    if let Some(from) = claims.get("nbf").and_then(seconds)
        && from > now.saturating_add(NOT_BEFORE_LEEWAY_SECONDS)
    {
        return Err(TokenError::NotYetValid(from));
    }
    match claims.get("exp") {
        None if server.require_exp => Err(TokenError::NoExpiry),
        None => Ok(None),
        Some(expiry) => match seconds(expiry) {
            None => Err(TokenError::InvalidExpiry),
            Some(expired) if expired <= now => Err(TokenError::Expired { expired, now }),
            Some(expires) => Ok(Some(expires)),
        },
    }
}

/// Whole seconds of a number. Negative ones count as 0, the year 1970.
fn seconds(value: &Value) -> Option<u64> {
    let number = value.as_number()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest integer that there is"
    )]
    let truncated = |number: f64| number as u64;
    number.as_u64().or_else(|| number.as_f64().map(truncated))
}
