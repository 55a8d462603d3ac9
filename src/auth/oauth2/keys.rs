//! The keys that sign tokens: from JSON Web Key sets and PEM files. Pure.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// Most keys of one set. Providers publish a handful.
const KEYS_MAX: usize = 1024;
/// Names that Cloud Foundry's UAA gives to algorithms.
const UAA_ALGORITHMS: [(&str, &str); 5] = [
    ("HMACSHA256", "HS256"),
    ("HMACSHA384", "HS384"),
    ("HMACSHA512", "HS512"),
    ("SHA256withRSA", "RS256"),
    ("SHA512withRSA", "RS512"),
];

/// A key, and the one algorithm that its set allows for it, if it names one.
#[derive(Clone)]
pub(super) struct SigningKey {
    pub(super) key: DecodingKey,
    pub(super) algorithm: Option<Algorithm>,
}

/// Keys by id. At most one of a set has no id.
pub(super) type KeySet = HashMap<Option<String>, SigningKey>;

/// Why a set or file of keys is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("it is no JSON Web Key set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has no list 'keys'")]
    NoKeys,
    #[error("none of its keys can verify signatures")]
    NoUsableKey,
    #[error("it has more than {KEYS_MAX} keys")]
    TooManyKeys,
    #[error("it holds no public key of a known kind in PEM format")]
    Pem,
}

/// Reads a JSON Web Key set. Leaves out keys that cannot verify signatures, such as those for encryption.
pub(super) fn parse_jwks(json: &[u8]) -> Result<KeySet, KeyError> {
    let document: Value = serde_json::from_slice(json)?;
    let keys = document.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(KeyError::NoKeys)?;
    if keys.len() > KEYS_MAX {
        return Err(KeyError::TooManyKeys);
    }
    let usable = keys.iter().filter_map(|key| {
        let id = key.get("kid").and_then(Value::as_str).map(str::to_owned);
        parse_jwk(key).map(|key| (id, key))
    });
    let set: KeySet = usable.collect();
    match set.is_empty() {
        true => Err(KeyError::NoUsableKey),
        false => Ok(set),
    }
}

/// Reads a public key or a certificate in PEM format.
pub(super) fn parse_pem(pem: &[u8]) -> Result<SigningKey, KeyError> {
    let parsers = [
        DecodingKey::from_rsa_pem,
        DecodingKey::from_ec_pem,
        DecodingKey::from_ed_pem,
    ];
    let key = parsers.iter().find_map(|parse| parse(pem).ok());
    let key = key.ok_or(KeyError::Pem)?;
    Ok(SigningKey {
        key,
        algorithm: None,
    })
}

fn parse_jwk(jwk: &Value) -> Option<SigningKey> {
    let text = |field: &str| jwk.get(field).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let key = match text("kty")? {
        "RSA" => DecodingKey::from_rsa_components(text("n")?, text("e")?),
        "EC" => DecodingKey::from_ec_components(text("x")?, text("y")?),
        "OKP" if text("crv")? == "Ed25519" => DecodingKey::from_ed_components(text("x")?),
        "oct" => DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(text("k")?).ok()?),
        "MAC" => DecodingKey::from_secret(text("value")?.as_bytes()),
        _ => return None,
    };
    let algorithm = match text("alg") {
        None => None,
        Some(name) => {
            let known = UAA_ALGORITHMS.iter().find(|(uaa, _)| *uaa == name);
            Some(known.map_or(name, |(_, name)| name).parse().ok()?)
        }
    };
    let key = key.ok()?;
    let fits = algorithm.is_none_or(|algorithm: Algorithm| algorithm.family() == key.family());
    fits.then_some(SigningKey { key, algorithm })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::AlgorithmFamily;
    use serde_json::json;

    use super::*;

    fn of(keys: Value) -> Result<KeySet, KeyError> {
        parse_jwks(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_of_all_kinds_are_read() {
        for (key, family, algorithm) in [
            (
                json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
                AlgorithmFamily::Rsa,
                None,
            ),
            (
                json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "SHA256withRSA", "use": "sig"}),
                AlgorithmFamily::Rsa,
                Some(Algorithm::RS256),
            ),
            (
                json!({"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB", "alg": "ES256"}),
                AlgorithmFamily::Ec,
                Some(Algorithm::ES256),
            ),
            (
                json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB"}),
                AlgorithmFamily::Ed,
                None,
            ),
            (
                json!({"kty": "oct", "k": "c2VjcmV0"}),
                AlgorithmFamily::Hmac,
                None,
            ),
            (
                json!({"kty": "MAC", "value": "secret", "alg": "HMACSHA256"}),
                AlgorithmFamily::Hmac,
                Some(Algorithm::HS256),
            ),
        ] {
            let set = of(json!([key])).expect("a usable key");
            let found = set.get(&None).expect("a key without id");
            assert_eq!(
                (found.key.family(), found.algorithm),
                (family, algorithm),
                "{key}"
            );
        }
    }

    #[test]
    fn keys_of_no_use_are_left_out() {
        let good = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "good"});
        for other in [
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RSA-OAEP"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "HS256"}),
            json!({"kty": "RSA", "n": "AQAB"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AQAB"}),
            json!({"kty": "oct", "k": ""}),
            json!({"kty": "other"}),
            json!({}),
            json!(7),
        ] {
            let set = of(json!([other, good])).expect("one usable key");
            let ids: Vec<_> = set.keys().cloned().collect();
            assert_eq!(ids, [Some("good".to_owned())], "{other}");
            assert!(matches!(of(json!([other])), Err(KeyError::NoUsableKey)));
        }
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        assert!(matches!(parse_jwks(b"<html>"), Err(KeyError::Json(_))));
        assert!(matches!(parse_jwks(b"{}"), Err(KeyError::NoKeys)));
        assert!(matches!(of(json!([])), Err(KeyError::NoUsableKey)));
        let many = vec![json!({"kty": "oct", "k": "c2VjcmV0"}); KEYS_MAX + 1];
        assert!(matches!(of(json!(many)), Err(KeyError::TooManyKeys)));
        assert!(matches!(parse_pem(b"not a key"), Err(KeyError::Pem)));
    }
}
