//! A small client of the management API: one request after the other over one connection. Shares no code with the broker.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::TestServer;

pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    login: Option<String>,
    headers: String,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The reason of a refusal with this status and kind.
    pub(crate) fn refused(&self, status: u16, error: &str) -> String {
        let json = self.json();
        assert_eq!(
            (self.status, json["error"].as_str()),
            (status, Some(error)),
            "{json}"
        );
        json["reason"].as_str().unwrap().to_owned()
    }
}

impl Client {
    /// A client that logs in as `guest`.
    pub(crate) fn guest(server: &TestServer) -> Client {
        Client::of(server, "guest", "guest")
    }

    pub(crate) fn of(server: &TestServer, user: &str, password: &str) -> Client {
        let mut client = Client::anonymous(server);
        client.login = Some(BASE64_STANDARD.encode(format!("{user}:{password}")));
        client
    }

    pub(crate) fn anonymous(server: &TestServer) -> Client {
        Client {
            address: server.management,
            stream: None,
            login: None,
            headers: String::new(),
        }
    }

    /// Adds a header to each request.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Client {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, b"").await
    }

    /// As [`Client::get`]; `None` if the broker closes the connection instead of answering.
    pub(crate) async fn try_get(&mut self, path: &str) -> Option<Reply> {
        let request = self.request("GET", path, b"");
        self.try_send_bytes(&request, false).await
    }

    /// The JSON of a path that must be there.
    pub(crate) async fn json(&mut self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    pub(crate) async fn put(&mut self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, body.to_string().as_bytes()).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, body.to_string().as_bytes()).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Reply {
        self.send("DELETE", path, b"").await
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Reply {
        let request = self.request(method, path, body);
        self.send_bytes(&request, method == "HEAD").await
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let login = self.login.as_ref();
        let login = login.map_or(String::new(), |login| {
            format!("authorization: Basic {login}\r\n")
        });
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\n{login}{}content-length: {}\r\n\r\n",
            self.headers,
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// Sends the bytes of a request and reads its answer.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8], is_head: bool) -> Reply {
        let reply = self.try_send_bytes(bytes, is_head).await;
        reply.expect("an answer")
    }

    async fn try_send_bytes(&mut self, bytes: &[u8], is_head: bool) -> Option<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.unwrap(),
        };
        // The broker may answer and close before it has read all.
        stream.write_all(bytes).await.ok();
        let reply = read_reply(&mut stream, is_head).await?;
        if reply.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Some(reply)
    }
}

/// Reads one answer. `None` if the connection ends before it.
pub(crate) async fn read_reply(stream: &mut TcpStream, is_head: bool) -> Option<Reply> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if !more(stream, &mut read).await {
            assert!(read.is_empty(), "half an answer: {read:?}");
            return None;
        }
    };
    let head = String::from_utf8(read[..head_end].to_vec()).unwrap();
    let mut body = read.split_off(head_end + 4);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let reply = |body| Reply {
        status,
        headers: headers.clone(),
        body,
    };
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    if is_head || status == 204 || status == 304 {
        return Some(reply(Vec::new()));
    }
    if header("transfer-encoding") == Some("chunked") {
        return Some(reply(read_chunks(stream, body).await));
    }
    let length: usize = header("content-length").unwrap().parse().unwrap();
    while body.len() < length {
        assert!(more(stream, &mut body).await, "an answer that ends early");
    }
    assert_eq!(body.len(), length, "more than one answer");
    Some(reply(body))
}

async fn read_chunks(stream: &mut TcpStream, mut read: Vec<u8>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            if let Some(end) = read.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            assert!(more(stream, &mut read).await, "chunks that end early");
        };
        let size = std::str::from_utf8(&read[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let whole = line + 2 + size + 2;
        while read.len() < whole {
            assert!(more(stream, &mut read).await, "a chunk that ends early");
        }
        body.extend_from_slice(&read[line + 2..line + 2 + size]);
        read.drain(..whole);
        if size == 0 {
            return body;
        }
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
    // An error if the broker has reset the connection.
    stream.read_buf(read).await.is_ok_and(|bytes| bytes > 0)
}
