//! Requests to the management API, and what its refusals mean on the command line.

use std::fs;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::cells::field;
use crate::ctl::exit_code::{EX_DATAERR, EX_NOPERM, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE};
use crate::ctl::invocation::{CommandError, RemoteTarget};
use crate::ctl::outcome::Failure;

/// Bytes of an answer; a longer one is an error.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// The header with the reason for the client of a connection.
const REASON: HeaderName = HeaderName::from_static("x-reason");
/// What a segment of a path has unquoted.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A management API, with a login.
pub(in crate::ctl) struct Http {
    runtime: Runtime,
    client: Client,
    url: Url,
    username: String,
    password: String,
    timeout: Duration,
}

impl Http {
    pub(in crate::ctl) fn new(
        target: &RemoteTarget,
        password: String,
        timeout: Duration,
    ) -> Result<Http, CommandError> {
        let usage = |text: String| CommandError {
            exit: EX_USAGE,
            text,
        };
        let url = Url::parse(&target.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| {
            usage(format!(
                "Error: --url '{}' is not the address of a management API, such as https://host:15671",
                target.url
            ))
        })?;
        // Credentials go to this address only: no redirect, no proxy of the environment.
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout);
        if let Some(file) = &target.ca_file {
            let read = fs::read(file).map_err(|error| error.to_string());
            let roots = read.and_then(|pem| {
                Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
            });
            let roots = roots
                .map_err(|error| usage(format!("Error: --ca-file {}: {error}", file.display())))?;
            builder = builder.tls_certs_only(roots);
        }
        let failed = |error: String| CommandError::unavailable(format!("Error: {error}"));
        let client = builder.build().map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Http {
            runtime,
            client,
            url,
            username: target.username.clone(),
            password,
            timeout,
        })
    }

    /// The same API with another login.
    pub(super) fn whoami_as(&self, username: &str, password: &str) -> Result<bool, Failure> {
        let sent = self
            .client
            .get(self.at(&["whoami"], &[]))
            .basic_auth(username, Some(password))
            .send();
        let response = self
            .runtime
            .block_on(sent)
            .map_err(|error| self.lost(&error))?;
        Ok(response.status().is_success())
    }

    /// The name of the node that answers.
    pub(super) fn node(&self) -> Result<String, Failure> {
        let overview = self.get(&["overview"])?;
        let node = overview.get("node").and_then(Value::as_str);
        Ok(node.unwrap_or_default().to_owned())
    }

    /// The JSON at a path; `None` if there is no such object.
    pub(super) fn find(&self, path: &[&str]) -> Result<Option<Value>, Failure> {
        let answer = self.send(Method::GET, path, &[], None, None)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => answer.json().map(Some),
        }
    }

    /// The JSON at a path, which must be there.
    pub(super) fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        let found = self.find(path)?;
        found.ok_or_else(|| Failure::plain(EX_DATAERR, format!("Error: {}", no_path(path))))
    }

    /// A page that is no JSON; `None` if there is none.
    pub(super) fn text(&self, path: &[&str]) -> Result<Option<String>, Failure> {
        let answer = self.send(Method::GET, path, &[], None, None)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => answer.checked().map(|body| Some(body.into_text())),
        }
    }

    /// The result of a health check: the status, and the JSON.
    pub(super) fn check(&self, path: &[&str]) -> Result<(bool, Value), Failure> {
        let answer = self.send(Method::GET, path, &[], None, None)?;
        match answer.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                let json = serde_json::from_slice(&answer.body).unwrap_or_default();
                Ok((false, json))
            }
            _ => answer.json().map(|json| (true, json)),
        }
    }

    /// Sends JSON; false if there is no such object.
    pub(super) fn put(&self, path: &[&str], body: &Value) -> Result<bool, Failure> {
        self.change(Method::PUT, path, Some(body), None)
    }

    /// Deletes; false if there is no such object.
    pub(super) fn delete(&self, path: &[&str]) -> Result<bool, Failure> {
        self.change(Method::DELETE, path, None, None)
    }

    /// Deletes under conditions; false if there is no such object.
    pub(super) fn delete_if(&self, path: &[&str], query: &[(&str, &str)]) -> Result<bool, Failure> {
        let answer = self.send(Method::DELETE, path, query, None, None)?;
        answer.found()
    }

    /// Closes connections; the reason is for their clients.
    pub(super) fn close(&self, path: &[&str], reason: &str) -> Result<bool, Failure> {
        self.change(Method::DELETE, path, None, Some(reason))
    }

    /// Posts JSON and returns the answer's; `None` if there is no such object.
    pub(super) fn post(&self, path: &[&str], body: &Value) -> Result<Option<Value>, Failure> {
        self.post_bytes(path, body.to_string().into_bytes())
    }

    /// Posts a document. An answer without a body is null.
    pub(super) fn post_bytes(
        &self,
        path: &[&str],
        body: Vec<u8>,
    ) -> Result<Option<Value>, Failure> {
        let answer = self.send(Method::POST, path, &[], Some(body), None)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::NO_CONTENT => Ok(Some(Value::Null)),
            _ => answer.json().map(Some),
        }
    }

    fn change(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        reason: Option<&str>,
    ) -> Result<bool, Failure> {
        let body = body.map(|body| body.to_string().into_bytes());
        self.send(method, path, &[], body, reason)?.found()
    }

    /// The address of a path below `/api`.
    fn at(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        let before = url.path().trim_end_matches('/').to_owned();
        let segments = path
            .iter()
            .map(|segment| format!("/{}", utf8_percent_encode(segment, QUOTED)));
        url.set_path(&format!("{before}/api{}", segments.collect::<String>()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
        reason: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(reason) = reason.and_then(|reason| HeaderValue::from_str(reason).ok()) {
            headers.insert(REASON, reason);
        }
        let mut sent = self
            .client
            .request(method, self.at(path, query))
            .basic_auth(&self.username, Some(&self.password));
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            sent = sent.body(body);
        }
        let answered = async {
            let response = sent.headers(headers).send().await?;
            let status = response.status();
            Ok((status, bounded(response).await?))
        };
        let (status, body) = self
            .runtime
            .block_on(answered)
            .map_err(|error: reqwest::Error| self.lost(&error))?;
        let body = body.ok_or_else(|| {
            let text = format!("Error: the answer has more than {ANSWER_BYTES_MAX} bytes");
            Failure::plain(EX_UNAVAILABLE, text)
        })?;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::plain(
                EX_NOPERM,
                format!(
                    "Error: the management API at {} refuses user '{}': {}",
                    self.url,
                    self.username,
                    reason_of(&body)
                ),
            )),
            _ => Ok(Answer { status, body }),
        }
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            let millis = self.timeout.as_millis();
            let text = format!("operation timed out after {millis} ms");
            return Failure::error(EX_TEMPFAIL, text);
        }
        // The outer error names the request only; the cause is within.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Failure::plain(
            EX_UNAVAILABLE,
            format!(
                "Error: unable to perform an operation on the broker. Please see diagnostics information and \
                 suggestions below.\n\n * no management API answers at {}: {cause}",
                self.url
            ),
        )
    }
}

/// The body of an answer; `None` if it is too long.
async fn bounded(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

fn no_path(path: &[&str]) -> String {
    format!("the management API has no /api/{}", path.join("/"))
}

/// The reason of a refusal.
fn reason_of(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match (field(&json, "reason"), field(&json, "error")) {
        (Value::String(reason), _) | (_, Value::String(reason)) => reason.clone(),
        (Value::Null, Value::Null) => String::from_utf8_lossy(body).into_owned(),
        (reason, _) => reason.to_string(),
    }
}

/// What the API answered to a login that it knows.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

struct Body(Vec<u8>);

impl Body {
    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl Answer {
    fn checked(self) -> Result<Body, Failure> {
        match self.status {
            status if status.is_success() => Ok(Body(self.body)),
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Failure::error(EX_DATAERR, reason_of(&self.body)))
            }
            status => {
                let reason = reason_of(&self.body);
                Err(Failure::error(
                    EX_UNAVAILABLE,
                    format!("{status}: {reason}"),
                ))
            }
        }
    }

    fn json(self) -> Result<Value, Failure> {
        let body = self.checked()?.0;
        match body.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&body).map_err(|error| {
                let text = format!("Error: no management API: the answer is no JSON: {error}");
                Failure::plain(EX_UNAVAILABLE, text)
            }),
        }
    }

    fn found(self) -> Result<bool, Failure> {
        match self.status {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.checked().map(|_| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::invocation::Password;

    #[test]
    fn addresses_are_quoted_below_the_prefix() {
        let target = RemoteTarget {
            url: "http://h:1/prefix/".to_owned(),
            username: "u".to_owned(),
            password: Password::FromStdin,
            ca_file: None,
        };
        let http = Http::new(&target, "p".to_owned(), Duration::from_secs(1))
            .ok()
            .unwrap();
        assert_eq!(
            http.at(&["queues", "/", "a b/ü%"], &[("if-empty", "true")])
                .as_str(),
            "http://h:1/prefix/api/queues/%2F/a%20b%2F%C3%BC%25?if-empty=true"
        );
        for url in ["", "ftp://h", "h:15672"] {
            let target = RemoteTarget {
                url: url.to_owned(),
                ..target.clone()
            };
            assert!(
                Http::new(&target, "p".to_owned(), Duration::from_secs(1)).is_err(),
                "{url}"
            );
        }
    }

    #[test]
    fn reasons_are_read_from_json_and_text() {
        for (body, reason) in [
            (r#"{"error":"bad_request","reason":"why"}"#, "why"),
            (r#"{"error":"not_authorised"}"#, "not_authorised"),
            (r#"{"error":"bad_request","reason":["a",1]}"#, "bad_request"),
            ("plain", "plain"),
        ] {
            assert_eq!(reason_of(body.as_bytes()), reason);
        }
    }
}
