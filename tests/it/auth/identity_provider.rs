//! An identity provider: it signs tokens, and serves its keys over HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The permissions of most tests.
pub(super) const ALL: &str = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*";

/// A provider at an address of its own.
pub(super) struct IdentityProvider {
    pub(super) issuer: String,
    served: Arc<Mutex<Served>>,
    key: EncodingKey,
    key_id: String,
    task: JoinHandle<()>,
}

/// What it answers.
pub(super) enum Behaviour {
    Keys(Value),
    Text(String),
    /// It accepts the request and says nothing.
    Silence,
}

struct Served {
    behaviour: Behaviour,
    /// How many times the keys were asked for.
    requests: usize,
}

impl IdentityProvider {
    pub(super) async fn start() -> IdentityProvider {
        let (key, jwk) = new_key("first");
        let served = Arc::new(Mutex::new(Served {
            behaviour: Behaviour::Keys(json!({"keys": [jwk]})),
            requests: 0,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://{address}/realms/test");
        let discovery = json!({"issuer": issuer, "jwks_uri": format!("http://{address}/keys")});
        let router = Router::new()
            .route(
                "/realms/test/.well-known/openid-configuration",
                get(|| async move { discovery.to_string() }),
            )
            .route("/keys", get(keys))
            .with_state(Arc::clone(&served));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        IdentityProvider {
            issuer,
            served,
            key,
            key_id: "first".to_owned(),
            task,
        }
    }

    /// Serves the keys over TLS, too. Returns the address, and the server's certificate in PEM format.
    pub(super) async fn serve_tls(&self) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Arc::clone(&self.served);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that does not trust the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                // A socket that closes with unread bytes resets the connection, and the answer is lost.
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let body = keys(State(Arc::clone(&served))).await;
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.ok();
            }
        });
        (format!("https://localhost:{port}/keys"), certificate.pem())
    }

    /// Signs with a new key from now on, and serves it in place of the old one.
    pub(super) fn rotate(&mut self, id: &str) {
        let (key, jwk) = new_key(id);
        self.key = key;
        self.key_id = id.to_owned();
        self.behave(Behaviour::Keys(json!({"keys": [jwk]})));
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        self.served.lock().behaviour = behaviour;
    }

    pub(super) fn requests(&self) -> usize {
        self.served.lock().requests
    }

    /// A token of the user `app` for a minute.
    pub(super) fn token(&self, scope: &str) -> String {
        self.token_with(scope, |_| ())
    }

    pub(super) fn token_with(&self, scope: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "sub": "app",
            "aud": "rabbitmq",
            "exp": seconds_from_now(60),
            "scope": scope,
        });
        change(&mut claims);
        let header = Header {
            kid: Some(self.key_id.clone()),
            ..Header::new(Algorithm::RS256)
        };
        encode(&header, &claims, &self.key).unwrap()
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Wall-clock time in seconds since 1970.
pub(super) fn seconds_from_now(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().saturating_add_signed(seconds)
}

async fn keys(State(served): State<Arc<Mutex<Served>>>) -> String {
    let answer = {
        let mut served = served.lock();
        served.requests += 1;
        match &served.behaviour {
            Behaviour::Keys(keys) => Some(keys.to_string()),
            Behaviour::Text(text) => Some(text.clone()),
            Behaviour::Silence => None,
        }
    };
    match answer {
        Some(answer) => answer,
        None => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            String::new()
        }
    }
}

/// A key, and its public part as a JSON Web Key.
fn new_key(id: &str) -> (EncodingKey, Value) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der = pair.as_der().unwrap();
    let body = BASE64_STANDARD.encode(private.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let public = pair.public_key();
    let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": id,
        "n": number(public.modulus().big_endian_without_leading_zero()),
        "e": number(public.exponent().big_endian_without_leading_zero()),
    });
    (EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), jwk)
}
