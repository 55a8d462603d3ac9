//! The management API of a broker, as far as a migration needs it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::{Method, Url};
use serde_json::Value;

use super::error::MigrateError;
use super::limits::{ANSWER_MAX, ANSWER_TIMEOUT};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The part of a refusal that is shown.
const REFUSAL_SHOWN: usize = 2_000;

pub(super) struct Management {
    client: reqwest::Client,
    /// Without the login; its path ends with a slash.
    base: Url,
    pub(super) user: String,
    password: String,
}

impl Management {
    pub(super) fn new(url: &Url) -> Result<Management, MigrateError> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut base = url.clone();
        // These fail only for URLs without a host, which the options refuse.
        base.set_username("").unwrap_or_default();
        base.set_password(None).unwrap_or_default();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| MigrateError::Http {
                what: base.to_string(),
                error,
            })?;
        Ok(Management {
            client,
            base,
            user: decoded(url.username()),
            password: decoded(url.password().unwrap_or_default()),
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, MigrateError> {
        let answer = self.ask(Method::GET, path, None).await?;
        answer.ok_or_else(|| MigrateError::Answer {
            what: self.what(path),
            why: "it is empty".to_owned(),
        })
    }

    /// Posts JSON. `None` without content in the answer.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Option<Value>, MigrateError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, MigrateError> {
        let what = self.what(path);
        let failed = |error: reqwest::Error| MigrateError::Http {
            what: what.clone(),
            error: error.without_url(),
        };
        let url = self.base.join(path).map_err(|error| MigrateError::Answer {
            what: what.clone(),
            why: error.to_string(),
        })?;
        let request = self
            .client
            .request(method, url)
            .basic_auth(&self.user, Some(&self.password));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > ANSWER_MAX {
                return Err(MigrateError::TooLarge {
                    what,
                    limit: ANSWER_MAX,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let text = String::from_utf8_lossy(&bytes);
            return Err(MigrateError::Refused {
                what,
                status,
                body: text.chars().take(REFUSAL_SHOWN).collect(),
            });
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| MigrateError::Answer {
            what,
            why: error.to_string(),
        })?;
        Ok(Some(value))
    }

    fn what(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}
