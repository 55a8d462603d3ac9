//! The backend that asks an HTTP server, by the contract of RabbitMQ's `rabbitmq_auth_backend_http`: a path for each kind
//! of question, its parameters in the query or in a form, and `allow` or `deny` as the answer.

mod form; // questions as parameters
mod reply; // what the server answers
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use reqwest::redirect;
use reqwest::{Certificate, Client, StatusCode, Url};
use tokio::sync::Semaphore;

use super::backend::External;
use super::decision::Verdict;
use super::login::{Authenticated, Login, Refused};
use super::question::Question;
use super::user::{AuthUser, Authority};
use form::Form;
use reply::{Reply, UserReply};

/// Maximum number of requests that run at the same time. Each has a connection.
const REQUESTS_AT_ONCE: usize = 64;
/// Maximum length of an answer.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Connections that stay open for later requests, and how long.
const IDLE_CONNECTIONS_MAX: usize = 16;
const IDLE_CONNECTION_LIFE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// The parameters are in the query.
    Get,
    /// The parameters are in a form.
    Post,
}

#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub user: Url,
    pub vhost: Url,
    pub resource: Url,
    pub topic: Url,
    pub method: HttpMethod,
    /// The longest that a request takes, connecting included.
    pub timeout: Duration,
    /// Certificates in PEM that alone vouch for the server; `None` trusts those of the system.
    pub ca: Option<Vec<u8>>,
}

/// The server, and the connections to it.
pub(super) struct Http {
    client: Client,
    settings: HttpSettings,
    permits: Semaphore,
}

/// Why there is no answer. Names no parameter, since passwords are among them.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{0}")]
    Request(String),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("an answer of more than {REPLY_BYTES_MAX} bytes")]
    TooLong,
    #[error("neither allow nor deny")]
    BadReply,
}

impl Http {
    pub(super) fn open(settings: HttpSettings) -> Result<Http, reqwest::Error> {
        let mut builder = Client::builder()
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_LIFE)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = &settings.ca {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem)?);
        }
        Ok(Http {
            client: builder.build()?,
            settings,
            permits: Semaphore::new(REQUESTS_AT_ONCE),
        })
    }

    /// Checks a login. The server may give the user tags.
    pub(super) async fn authenticate(&self, login: &Login<'_>) -> Result<Authenticated, Refused> {
        let form = Form::of_login(login);
        let reply = match self.ask(&self.settings.user, &form).await {
            Ok(body) => UserReply::parse(&body).ok_or(AskError::BadReply),
            Err(error) => Err(error),
        };
        match reply {
            Ok(UserReply::Allow(tags)) => Ok(Authenticated {
                name: login.name.into(),
                tags: tags.into(),
                authority: Authority::Http,
            }),
            Ok(UserReply::Deny(reason)) => {
                if let Some(reason) = reason {
                    tracing::info!(user = login.name, ?reason, "denied by the HTTP backend");
                }
                Err(Refused::Denied("Denied by the backing HTTP service".into()))
            }
            Err(error) => Err(Refused::Failed(error.to_string().into())),
        }
    }

    pub(super) async fn allows(&self, user: &AuthUser, question: &Question) -> Verdict {
        let url = match question {
            Question::Vhost { .. } => &self.settings.vhost,
            Question::Resource { .. } => &self.settings.resource,
            Question::Topic { .. } => &self.settings.topic,
        };
        let form = Form::of_question(user, question);
        let reply = match self.ask(url, &form).await {
            Ok(body) => Reply::parse(&body).ok_or(AskError::BadReply),
            Err(error) => Err(error),
        };
        match reply {
            Ok(Reply::Allow) => Verdict::Allowed,
            Ok(Reply::Deny(reason)) => {
                if let Some(reason) = reason {
                    tracing::info!(user = %user.name, ?question, ?reason, "denied by the HTTP backend");
                }
                Verdict::Denied
            }
            Err(error) => Verdict::Failed {
                backend: External::Http,
                why: error.to_string().into(),
            },
        }
    }

    /// The body of the answer to one request.
    async fn ask(&self, url: &Url, form: &Form) -> Result<String, AskError> {
        // Never closed, so there is always a permit at some time.
        let _permit = self.permits.acquire().await;
        let request = match self.settings.method {
            HttpMethod::Get => self.client.get(form.behind(url)),
            HttpMethod::Post => self
                .client
                .post(url.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.text().to_owned()),
        };
        let mut response = request.send().await?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {}
            status => return Err(AskError::Status(status)),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > REPLY_BYTES_MAX {
                return Err(AskError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|_| AskError::BadReply)
    }
}

impl From<reqwest::Error> for AskError {
    fn from(error: reqwest::Error) -> AskError {
        if error.is_timeout() {
            return AskError::Request("timeout".to_owned());
        }
        // The innermost cause says most: that a connection is refused, or a certificate unknown.
        let error = error.without_url();
        let mut cause: &dyn Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        AskError::Request(cause.to_string())
    }
}
