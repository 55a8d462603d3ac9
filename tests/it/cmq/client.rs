//! A small client of CMQ's API: signs and sends forms over one connection, as the published SDKs do. Shares no code with
//! the broker but the table of errors.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use leveret::broker::secrets::Secret;
use leveret::broker::users::Users;
use leveret::cmq::error::CmqError;
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Client {
    address: SocketAddr,
    stream: TcpStream,
    id: String,
    key: String,
    pub(crate) sha256: bool,
    pub(crate) get: bool,
    pub(crate) path: String,
    /// Seconds by which the client's clock is ahead.
    pub(crate) ahead: i64,
    nonce: u64,
}

/// Creates a key for a user in a virtual host; returns its id and the key.
pub(crate) async fn secret(users: &Users, user: &str, vhost: &str) -> (String, String) {
    let secret = Secret::new(user, vhost, None);
    let pair = (secret.id.to_string(), secret.key.to_string());
    users.add_secret(secret).await.unwrap();
    pair
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, (id, key): (String, String)) -> Client {
        Client {
            address,
            stream: TcpStream::connect(address).await.unwrap(),
            id,
            key,
            sha256: false,
            get: false,
            path: "/v2/index.php".into(),
            ahead: 0,
            nonce: 0,
        }
    }

    /// Opens another connection with the same key.
    pub(crate) async fn another(&self) -> Client {
        Client::connect(self.address, (self.id.clone(), self.key.clone())).await
    }

    /// Makes the form of an action, signed now.
    pub(crate) fn form(&mut self, action: &str, parameters: &[(&str, &str)]) -> String {
        let parameters = parameters.iter();
        let parameters = parameters.map(|(name, value)| (*name, value.as_bytes()));
        self.form_of_bytes(action, &parameters.collect::<Vec<_>>())
    }

    /// As [`Client::form`], with values that may be any bytes.
    pub(crate) fn form_of_bytes(&mut self, action: &str, parameters: &[(&str, &[u8])]) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let stamp = i64::try_from(now).unwrap() + self.ahead;
        self.nonce += 1;
        // Two clients of one test must not make the same signature.
        let nonce = self.nonce * 100_000 + u64::from(self.stream.local_addr().unwrap().port());
        let mut all: Vec<(String, Vec<u8>)> = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect();
        for (name, value) in [
            ("Action", action),
            ("SecretId", &self.id),
            ("Timestamp", &stamp.to_string()),
            ("Nonce", &nonce.to_string()),
            ("RequestClient", "tests"),
        ] {
            all.push((name.to_owned(), value.as_bytes().to_vec()));
        }
        if self.sha256 {
            all.push(("SignatureMethod".to_owned(), b"HmacSHA256".to_vec()));
        }
        all.sort();
        let joined: Vec<Vec<u8>> = all
            .iter()
            .map(|(name, value)| [name.replace('_', ".").as_bytes(), b"=", value].concat())
            .collect();
        let method = if self.get { "GET" } else { "POST" };
        let text = format!("{method}{}{}?", self.address, self.path);
        let text = [text.into_bytes(), joined.join(&b"&"[..])].concat();
        let signature = match self.sha256 {
            true => {
                let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).unwrap();
                mac.update(&text);
                BASE64_STANDARD.encode(mac.finalize().into_bytes())
            }
            false => {
                let mut mac = Hmac::<Sha1>::new_from_slice(self.key.as_bytes()).unwrap();
                mac.update(&text);
                BASE64_STANDARD.encode(mac.finalize().into_bytes())
            }
        };
        all.push(("Signature".to_owned(), signature.into_bytes()));
        let encoded = all.iter().map(|(name, value)| {
            let value: String = form_urlencoded::byte_serialize(value).collect();
            format!("{name}={value}")
        });
        encoded.collect::<Vec<_>>().join("&")
    }

    /// Sends a form without reading the response.
    pub(crate) async fn send(&mut self, form: &str) {
        let (path, host) = (&self.path, self.address);
        let request = match self.get {
            true => format!("GET {path}?{form} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            false => format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{form}",
                form.len()
            ),
        };
        self.raw(request.as_bytes()).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// As [`Client::raw`], but the broker may close the connection first.
    pub(crate) async fn try_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap_or_default();
    }

    /// Waits until the broker closes the connection.
    pub(crate) async fn ended(&mut self) {
        assert!(matches!(self.stream.read(&mut [0]).await, Ok(0) | Err(_)));
    }

    /// Reads the next response, which has to be HTTP 200 with JSON.
    pub(crate) async fn answer(&mut self) -> Value {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(
            answer["requestId"].is_string() && answer["code"].is_u64(),
            "{answer}"
        );
        answer
    }

    /// Requests an action; returns the response.
    pub(crate) async fn call(&mut self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let form = self.form(action, parameters);
        self.send(&form).await;
        self.answer().await
    }

    /// Requests an action that has to succeed.
    pub(crate) async fn ok(&mut self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = self.call(action, parameters).await;
        assert_eq!(answer["code"], 0, "{action} {parameters:?}: {answer}");
        assert_eq!(answer["message"], "");
        answer
    }

    /// Requests an action that has to be refused.
    pub(crate) async fn refused(&mut self, action: &str, parameters: &[(&str, &str)]) -> Refusal {
        Refusal::of(&self.call(action, parameters).await)
    }
}

/// Code and message of a response that refuses a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: u64,
    message: String,
}

impl Refusal {
    /// Panics if the request was carried out.
    pub(crate) fn of(response: &Value) -> Refusal {
        let code = response["code"].as_u64().unwrap();
        assert_ne!(code, 0, "{response}");
        let message = response["message"].as_str().unwrap().to_owned();
        Refusal { code, message }
    }
}

impl PartialEq<CmqError> for Refusal {
    fn eq(&self, error: &CmqError) -> bool {
        self.code == u64::from(error.code()) && self.message == error.message()
    }
}
