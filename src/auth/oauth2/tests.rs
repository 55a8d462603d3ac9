//! Tokens with real signatures against the checks, and keys that change.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::PublicKeyData;
use serde_json::{Value, json};

use super::keys::{KeySet, parse_jwks, parse_pem};
use super::{KeySource, OAuth2, OAuth2Settings, ResourceServer, Token, TokenError};
use crate::auth::backend::External;
use crate::auth::decision::Verdict;
use crate::auth::question::{Permission, Question, ResourceKind};
use crate::clock::monotonic;

/// The time of all tests.
const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// A key that signs tokens.
struct Signer {
    key: EncodingKey,
    /// The public part, with `id` as its `kid`.
    jwk: Value,
    pem: Option<String>,
}

impl Signer {
    fn hmac(id: &str) -> Signer {
        Signer {
            key: EncodingKey::from_secret(SECRET).expect("a secret"),
            jwk: json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": id}),
            pem: None,
        }
    }

    fn rsa(id: &str) -> Signer {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let private: Pkcs8V1Der = pair.as_der().expect("the private key");
        let private = pem("PRIVATE KEY", private.as_ref());
        let public = pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let n = number(public.modulus().big_endian_without_leading_zero());
        let e = number(public.exponent().big_endian_without_leading_zero());
        Signer {
            key: EncodingKey::from_rsa_pem(private.as_bytes()).expect("an RSA key"),
            jwk: json!({"kty": "RSA", "n": n, "e": e, "kid": id}),
            pem: Some(pem("RSA PUBLIC KEY", public.as_ref())),
        }
    }

    fn ec(id: &str, curve: &'static rcgen::SignatureAlgorithm) -> Signer {
        let pair = rcgen::KeyPair::generate_for(curve).expect("a key");
        let point = pair.der_bytes();
        let (x, y) = point[1..].split_at(point.len() / 2);
        let crv = format!("P-{}", x.len() * 8);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        let private = pair.serialize_pem();
        Signer {
            key: EncodingKey::from_ec_pem(private.as_bytes()).expect("an EC key"),
            jwk: json!({"kty": "EC", "crv": crv, "x": x, "y": y, "kid": id}),
            pem: Some(pair.public_key_pem()),
        }
    }

    fn ed(id: &str) -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let private = pair.serialize_pem();
        let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        Signer {
            key: EncodingKey::from_ed_pem(private.as_bytes()).expect("an Ed25519 key"),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id}),
            pem: Some(pair.public_key_pem()),
        }
    }

    fn sign(&self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> Vec<u8> {
        let header = Header {
            kid: id.map(str::to_owned),
            ..Header::new(algorithm)
        };
        let token = encode(&header, claims, &self.key).expect("a token");
        token.into_bytes()
    }

    fn keys(&self) -> KeySet {
        parse_jwks(jwks(&[self]).as_bytes()).expect("its key")
    }
}

fn jwks(signers: &[&Signer]) -> String {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    json!({ "keys": keys }).to_string()
}

fn pem(tag: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {tag}-----\n{body}\n-----END {tag}-----\n")
}

fn server() -> ResourceServer {
    ResourceServer::new("rabbitmq")
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "sub": "app",
        "aud": ["other", "rabbitmq"],
        "exp": NOW + 60,
        "scope": "rabbitmq.read:v/* rabbitmq.tag:monitoring other.write:*/*",
    });
    change(&mut claims);
    claims
}

#[test]
fn a_token_of_every_algorithm_is_checked() {
    let hmac = Signer::hmac("k");
    let rsa = Signer::rsa("k");
    let p256 = Signer::ec("k", &rcgen::PKCS_ECDSA_P256_SHA256);
    let p384 = Signer::ec("k", &rcgen::PKCS_ECDSA_P384_SHA384);
    let ed = Signer::ed("k");
    for (signer, algorithms) in [
        (
            &hmac,
            &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512][..],
        ),
        (
            &rsa,
            &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
        ),
        (&p256, &[Algorithm::ES256]),
        (&p384, &[Algorithm::ES384]),
        (&ed, &[Algorithm::EdDSA]),
    ] {
        for algorithm in algorithms {
            let mut token = signer.sign(*algorithm, Some("k"), &claims(|_| ()));
            let checked = Token::check(&token, &signer.keys(), &server(), NOW);
            let checked = checked.unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
            assert_eq!(&*checked.user, "app");
            if let Some(pem) = &signer.pem {
                let key = parse_pem(pem.as_bytes()).expect("a key in PEM format");
                let keys = KeySet::from([(Some("k".to_owned()), key)]);
                assert_eq!(
                    Token::check(&token, &keys, &server(), NOW).as_ref(),
                    Ok(&checked)
                );
            }
            let other = Token::check(&token, &Signer::rsa("k").keys(), &server(), NOW);
            assert!(matches!(
                other,
                Err(TokenError::Signature | TokenError::Algorithm)
            ));
            let first_of_signature =
                token.iter().rposition(|byte| *byte == b'.').expect("a dot") + 1;
            let byte = &mut token[first_of_signature];
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            let changed = Token::check(&token, &signer.keys(), &server(), NOW);
            assert_eq!(changed, Err(TokenError::Signature), "{algorithm:?}");
        }
    }
}

#[test]
fn a_public_key_does_not_verify_a_signature_made_with_it_as_a_secret() {
    let rsa = Signer::rsa("k");
    let public = rsa.pem.as_ref().expect("a public key");
    let forger = Signer {
        key: EncodingKey::from_secret(public.as_bytes()).expect("a secret"),
        ..Signer::hmac("k")
    };
    let token = forger.sign(Algorithm::HS256, Some("k"), &claims(|_| ()));
    let checked = Token::check(&token, &rsa.keys(), &server(), NOW);
    assert_eq!(checked, Err(TokenError::Algorithm));
}

#[test]
fn a_key_is_found_by_its_id() {
    let signer = Signer::hmac("k");
    let with_default = ResourceServer {
        default_key: Some("k".to_owned()),
        ..server()
    };
    let not_found = |id: Option<&str>| Err(TokenError::KeyNotFound(id.map(str::to_owned)));
    for (id, server, expected) in [
        (Some("k"), server(), Ok(())),
        (Some("other"), server(), not_found(Some("other"))),
        (None, server(), not_found(None)),
        (None, with_default.clone(), Ok(())),
        (Some("other"), with_default, not_found(Some("other"))),
    ] {
        let token = signer.sign(Algorithm::HS256, id, &claims(|_| ()));
        let checked = Token::check(&token, &signer.keys(), &server, NOW);
        assert_eq!(checked.map(|_| ()), expected, "{id:?}");
    }
}

#[test]
fn only_configured_algorithms_are_accepted() {
    let signer = Signer::hmac("k");
    let strict = ResourceServer {
        algorithms: Some(vec![Algorithm::HS512]),
        ..server()
    };
    for (algorithm, expected) in [
        (Algorithm::HS512, Ok(())),
        (Algorithm::HS256, Err(TokenError::Algorithm)),
    ] {
        let token = signer.sign(algorithm, Some("k"), &claims(|_| ()));
        let checked = Token::check(&token, &signer.keys(), &strict, NOW);
        assert_eq!(checked.map(|_| ()), expected);
    }
    // A token without a signature names the algorithm `none`.
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","kid":"k"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims(|_| ()).to_string());
    for token in [
        format!("{header}.{payload}."),
        "no.token".to_owned(),
        String::new(),
    ] {
        let checked = Token::check(token.as_bytes(), &signer.keys(), &server(), NOW);
        assert_eq!(checked, Err(TokenError::Malformed), "{token}");
    }
}

#[test]
fn claims_decide_whether_a_token_is_valid() {
    let signer = Signer::hmac("k");
    let any_audience = ResourceServer {
        verify_aud: false,
        ..server()
    };
    let no_expiry = ResourceServer {
        require_exp: false,
        ..server()
    };
    let issuer = ResourceServer {
        issuer: Some("https://idp".to_owned()),
        ..server()
    };
    let expired = |expired| Err(TokenError::Expired { expired, now: NOW });
    let cases: [(&str, Value, ResourceServer, Result<(), TokenError>); 22] = [
        ("exp", json!(NOW + 1), server(), Ok(())),
        ("exp", json!(NOW), server(), expired(NOW)),
        ("exp", json!(NOW - 1), server(), expired(NOW - 1)),
        ("exp", json!(1_799_999_999.9), server(), expired(NOW - 1)),
        ("exp", json!(-1), server(), expired(0)),
        (
            "exp",
            json!("soon"),
            server(),
            Err(TokenError::InvalidExpiry),
        ),
        ("exp", Value::Null, server(), Err(TokenError::NoExpiry)),
        ("exp", Value::Null, no_expiry.clone(), Ok(())),
        ("exp", json!(NOW - 1), no_expiry, expired(NOW - 1)),
        ("nbf", json!(NOW + 60), server(), Ok(())),
        (
            "nbf",
            json!(NOW + 61),
            server(),
            Err(TokenError::NotYetValid(NOW + 61)),
        ),
        ("aud", json!("rabbitmq"), server(), Ok(())),
        ("aud", json!("other rabbitmq"), server(), Ok(())),
        (
            "aud",
            json!("rabbitmq2"),
            server(),
            Err(TokenError::OtherAudience),
        ),
        ("aud", json!([]), server(), Err(TokenError::OtherAudience)),
        ("aud", Value::Null, server(), Err(TokenError::NoAudience)),
        ("aud", Value::Null, any_audience.clone(), Ok(())),
        ("aud", json!("other"), any_audience, Ok(())),
        ("iss", json!("https://idp"), issuer.clone(), Ok(())),
        ("iss", json!("https://idp/"), issuer.clone(), Ok(())),
        (
            "iss",
            json!("https://other"),
            issuer.clone(),
            Err(TokenError::OtherIssuer),
        ),
        ("iss", Value::Null, issuer, Err(TokenError::OtherIssuer)),
    ];
    for (claim, value, server, expected) in cases {
        let claims = claims(|claims| {
            let claims = claims.as_object_mut().expect("claims");
            match &value {
                Value::Null => claims.remove(claim),
                value => claims.insert(claim.to_owned(), value.clone()),
            };
        });
        let token = signer.sign(Algorithm::HS256, Some("k"), &claims);
        let checked = Token::check(&token, &signer.keys(), &server, NOW);
        assert_eq!(checked.map(|_| ()), expected, "{claim} = {value}");
    }
}

#[test]
fn a_token_names_its_user_tags_and_permissions() {
    let signer = Signer::hmac("k");
    let check = |claims: Value, server: &ResourceServer| {
        let token = signer.sign(Algorithm::HS256, Some("k"), &claims);
        Token::check(&token, &signer.keys(), server, NOW)
    };
    let token = check(claims(|_| ()), &server()).expect("a valid token");
    assert_eq!((&*token.user, token.expires), ("app", Some(NOW + 60)));
    assert_eq!(*token.tags, ["monitoring".into()]);
    let vhost = |vhost: &str| Question::Vhost {
        vhost: vhost.into(),
        peer: None,
    };
    let queue = |permission| Question::Resource {
        vhost: "v".into(),
        kind: ResourceKind::Queue,
        name: "q".into(),
        permission,
    };
    let topic = Question::Topic {
        vhost: "v".into(),
        exchange: "amq.topic".into(),
        permission: Permission::Read,
        routing_key: "key".into(),
    };
    let expired = format!(
        "\"Provided JWT token has expired at timestamp {} (validated at {})\"",
        NOW + 60,
        NOW + 60
    );
    let expired = Verdict::Failed {
        backend: External::OAuth2,
        why: expired.into(),
    };
    for (question, now, expected) in [
        (vhost("v"), NOW, Verdict::Allowed),
        (vhost("/"), NOW, Verdict::Denied),
        (queue(Permission::Read), NOW, Verdict::Allowed),
        (queue(Permission::Write), NOW, Verdict::Denied),
        (topic, NOW, Verdict::Denied),
        (queue(Permission::Read), NOW + 59, Verdict::Allowed),
        (queue(Permission::Read), NOW + 60, expired),
    ] {
        assert_eq!(
            token.decide(&question, now).verdict,
            expected,
            "{question:?} at {now}"
        );
    }
    let until = token
        .decide(&vhost("v"), NOW + 59)
        .until
        .expect("a token that expires");
    assert!(until <= monotonic() + Duration::from_secs(1));

    let preferring = ResourceServer {
        preferred_username_claims: ["user_name", "sub"].map(str::to_owned).to_vec(),
        ..server()
    };
    let long = "u".repeat(256);
    for (field, value, expected) in [
        ("user_name", json!("someone"), Ok("someone")),
        ("user_name", json!(7), Ok("app")),
        ("sub", json!(7), Ok("unknown")),
        ("sub", json!(long), Err(TokenError::LongUserName)),
    ] {
        let named = claims(|claims| claims[field] = value);
        let user = check(named, &preferring).map(|token| token.user);
        assert_eq!(user, expected.map(Into::into), "{field}");
    }
    let client = claims(|claims| {
        claims["sub"] = Value::Null;
        claims["client_id"] = json!("service");
    });
    assert_eq!(
        &*check(client, &server()).expect("a valid token").user,
        "service"
    );
}

fn backend(keys: KeySource, keys_interval: Duration) -> Arc<OAuth2> {
    let settings = OAuth2Settings {
        server: server(),
        keys,
        signing_keys: Vec::new(),
        ca: None,
        keys_interval,
    };
    Arc::new(OAuth2::new(settings).expect("a backend"))
}

fn write_keys(path: &Path, signers: &[&Signer]) {
    fs::write(path, jwks(signers)).expect("a file");
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_per_interval() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let (old, new) = (Signer::rsa("old"), Signer::rsa("new"));
    let [old_token, new_token] = [(&old, "old"), (&new, "new")]
        .map(|(signer, id)| signer.sign(Algorithm::RS256, Some(id), &claims(|_| ())));
    write_keys(&path, &[&old]);
    let eager = backend(KeySource::File(path.clone()), Duration::ZERO);
    let patient = backend(KeySource::File(path.clone()), Duration::from_secs(3600));
    let not_found = Err(TokenError::KeyNotFound(Some("new".to_owned())));
    for backend in [&eager, &patient] {
        assert!(backend.check(&old_token, NOW).await.is_ok());
        assert_eq!(backend.check(&new_token, NOW).await, not_found);
    }
    write_keys(&path, &[&new]);
    assert!(eager.check(&new_token, NOW).await.is_ok());
    let gone = eager.check(&old_token, NOW).await;
    assert_eq!(gone, Err(TokenError::KeyNotFound(Some("old".to_owned()))));
    assert_eq!(patient.check(&new_token, NOW).await, not_found);
    assert!(patient.check(&old_token, NOW).await.is_ok());
    fs::remove_file(&path).expect("the file");
    assert!(
        eager.check(&new_token, NOW).await.is_ok(),
        "an unreadable source changes nothing"
    );
}

#[tokio::test]
async fn a_refreshed_token_is_of_the_same_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let signer = Signer::hmac("k");
    write_keys(&path, &[&signer]);
    let backend = backend(KeySource::File(path), Duration::ZERO);
    let token = |user: &str| {
        let claims = claims(|claims| claims["sub"] = json!(user));
        signer.sign(Algorithm::HS256, Some("k"), &claims)
    };
    let current = backend.check(&token("app"), NOW).await.expect("a token");
    assert!(backend.refresh(&current, &token("app"), NOW).await.is_ok());
    let other = backend.refresh(&current, &token("other"), NOW).await;
    assert_eq!(other, Err(TokenError::OtherUser));
}
