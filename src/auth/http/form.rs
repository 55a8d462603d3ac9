//! Questions as the parameters that the server expects. Pure.

use form_urlencoded::byte_serialize;
use reqwest::Url;

use crate::auth::login::{Credentials, Login};
use crate::auth::question::Question;
use crate::auth::user::AuthUser;

/// Parameters as they are in a form or a query.
#[derive(Debug, Default)]
pub(super) struct Form(String);

impl Form {
    pub(super) fn of_login(login: &Login<'_>) -> Form {
        let form = Form::default().with("username", login.name);
        match login.credentials {
            Credentials::Password(password) => form.with("password", password),
            Credentials::Certificate => form,
        }
    }

    pub(super) fn of_question(user: &AuthUser, question: &Question) -> Form {
        let name: &str = &user.name;
        let tags = user.tags.join(" ");
        let form = Form::default().with("username", name);
        match question {
            Question::Vhost { vhost, peer } => {
                let peer = peer.map_or_else(String::new, |peer| peer.to_canonical().to_string());
                form.with("vhost", &**vhost)
                    .with("ip", &*peer)
                    .with("tags", &*tags)
            }
            Question::Resource {
                vhost,
                kind,
                name,
                permission,
            } => form
                .with("vhost", &**vhost)
                .with("resource", kind.as_str())
                .with("name", &**name)
                .with("permission", permission.as_str())
                .with("tags", &*tags),
            Question::Topic {
                vhost,
                exchange,
                permission,
                routing_key,
            } => form
                .with("vhost", &**vhost)
                .with("resource", "topic")
                .with("name", &**exchange)
                .with("permission", permission.as_str())
                .with("tags", &*tags)
                .with("routing_key", &**routing_key)
                .with("variable_map.username", name)
                .with("variable_map.vhost", &**vhost),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The address with these parameters behind its own.
    pub(super) fn behind(&self, url: &Url) -> Url {
        let query = match url.query() {
            None | Some("") => self.0.clone(),
            Some(own) => format!("{own}&{}", self.0),
        };
        let mut url = url.clone();
        url.set_query(Some(&query));
        url
    }

    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Form {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(byte_serialize(value.as_ref()));
        self
    }
}
