//! Tables of requests with their answers.

use serde_json::Value;

use super::Client;

/// A request without a body.
pub(crate) const NONE: Value = Value::Null;

/// Sends requests, each as method, path and body, and checks the status and a part of the answer. Refusals have the form
/// that all refusals have.
pub(crate) async fn check(client: &mut Client, cases: &[(&str, &str, Value, u16, &str)]) {
    for (method, path, body, status, part) in cases {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let reply = client.send(method, path, &body).await;
        let text = reply.text();
        assert_eq!(reply.status, *status, "{method} {path}: {text}");
        assert!(text.contains(part), "{method} {path}: {text}");
        if matches!(status, 400..500) {
            let refusal = reply.json();
            let reason = &refusal["reason"];
            let is_refusal =
                refusal["error"].is_string() && (reason.is_string() || reason.is_array());
            assert!(is_refusal, "{method} {path}: {refusal}");
        }
    }
}
