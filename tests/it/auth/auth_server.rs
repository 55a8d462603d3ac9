//! An HTTP server that decides about logins and permissions, by a rule of the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use leveret::wire::AMQPClass;
use leveret::wire::protocol::queue;
use parking_lot::Mutex;

use crate::support::{TestServer, declare};

/// Maximum length of a form.
const FORM_BYTES_MAX: usize = 4096;

/// A question as the server gets it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) parameters: BTreeMap<String, String>,
}

impl Asked {
    /// A parameter; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// What the server does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Text(&'static str),
    Status(u16),
    /// It never answers.
    Hang,
    /// It sends many bytes.
    Flood(usize),
}

pub(super) const ALLOW: Answer = Answer::Text("allow");
pub(super) const DENY: Answer = Answer::Text("deny");

type Rule = Box<dyn Fn(&Asked) -> Answer + Send>;

/// A server that decides by a rule, and remembers what it was asked.
#[derive(Clone)]
pub(super) struct AuthServer {
    address: String,
    rule: Arc<Mutex<Rule>>,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
}

impl AuthServer {
    pub(super) async fn start(rule: impl Fn(&Asked) -> Answer + Send + 'static) -> AuthServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = AuthServer {
            address: format!("http://{}", listener.local_addr().unwrap()),
            rule: Arc::new(Mutex::new(Box::new(rule))),
            asked: Arc::default(),
        };
        let answers = server.clone();
        let router = Router::new().fallback(move |request| async move {
            let asked = parse(request).await;
            let answer = (answers.rule.lock())(&asked);
            answers.asked.lock().push(asked);
            respond(answer).await
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(super) fn rule(&self, rule: impl Fn(&Asked) -> Answer + Send + 'static) {
        *self.rule.lock() = Box::new(rule);
    }

    /// What it was asked since the last call.
    pub(super) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock())
    }

    /// A broker whose chain is this server.
    pub(super) async fn broker(&self) -> TestServer {
        self.broker_with(&["http"], &[]).await
    }

    /// A broker with this chain and these further options. It keeps answers for a minute unless they say otherwise.
    pub(super) async fn broker_with(&self, chain: &[&str], further: &[(&str, &str)]) -> TestServer {
        let urls = ["user", "vhost", "resource", "topic"].map(|kind| {
            let option = format!("auth-http-{kind}-url");
            (option, format!("{}/auth/{kind}", self.address))
        });
        let mut options: Vec<(&str, &str)> = further.to_vec();
        let is_set =
            |options: &[(&str, &str)], name: &str| options.iter().any(|(own, _)| *own == name);
        for (name, url) in &urls {
            if !is_set(&options, name) {
                options.push((name, url));
            }
        }
        if !is_set(&options, "auth-cache-ttl") {
            options.push(("auth-cache-ttl", "60000"));
        }
        options.extend(chain.iter().map(|link| ("auth-backends", *link)));
        TestServer::start_with_logins(&options).await
    }
}

pub(super) fn declare_queue(name: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(declare(name)))
}

async fn parse(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, FORM_BYTES_MAX).await.unwrap();
    let query = parts.uri.query().unwrap_or("").as_bytes();
    let fields = form_urlencoded::parse(query).chain(form_urlencoded::parse(&body));
    Asked {
        path: parts.uri.path().to_owned(),
        parameters: fields
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
    }
}

async fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Text(text) => text.into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Hang => std::future::pending().await,
        Answer::Flood(bytes) => Body::from(vec![b'a'; bytes]).into_response(),
    }
}
