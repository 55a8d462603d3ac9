//! Logins and permission checks by a directory.

use std::time::Duration;

use tracing::warn;

use super::directory::{Connection, DirectoryError};
use super::evaluate::{Directory, Evaluation, Filter, QueryError, Scope};
use super::pattern::Variables;
use super::pool::{LdapError, Leased, Pool};
use super::query::Query;
use super::settings::{Bind, DnLookup, LdapSettings};
use super::user::LdapUser;
use crate::auth::backend::External;
use crate::auth::decision::Verdict;
use crate::auth::login::{Credentials, Login, Refused};
use crate::auth::question::Question;
use crate::clock::monotonic;
use crate::model::Name;
use crate::seldom::Seldom;

/// Asks for entries without their attributes.
const NO_ATTRIBUTE: &str = "1.1";

/// The servers, and how they are asked.
pub struct Ldap {
    settings: LdapSettings,
    pool: Pool,
}

/// Why the directory gives no answer.
enum Failure {
    /// The user, or the question, is refused.
    Denied(String),
    /// The servers cannot be asked.
    Failed(String),
}

impl Ldap {
    pub fn new(settings: LdapSettings) -> Result<Ldap, LdapError> {
        let pool = Pool::new(&settings)?;
        Ok(Ldap { settings, pool })
    }

    /// The user, with its tags.
    pub async fn authenticate(&self, login: Login<'_>) -> Result<(LdapUser, Vec<Name>), Refused> {
        let timeout = self.settings.timeout;
        let known = tokio::time::timeout(timeout, self.log_in(login)).await;
        known
            .unwrap_or_else(|_| Err(timed_out(timeout)))
            .map_err(|failure| match failure {
                Failure::Denied(why) => Refused::Denied(why.into()),
                Failure::Failed(why) => Refused::Failed(why.into()),
            })
    }

    /// Whether a user may do something.
    pub async fn allows(&self, name: &str, user: &LdapUser, question: &Question) -> Verdict {
        static DENIED: Seldom = Seldom::new(5, Duration::from_secs(10));
        let timeout = self.settings.timeout;
        let (query, variables) = self.query(name, user, question);
        let answer = tokio::time::timeout(timeout, self.answer(query, &variables, user)).await;
        match answer.unwrap_or_else(|_| Err(timed_out(timeout))) {
            Ok(true) => Verdict::Allowed,
            Ok(false) => Verdict::Denied,
            Err(Failure::Denied(why)) => {
                if let Some(unsaid) = DENIED.passes(monotonic()) {
                    warn!(user = name, %unsaid, "an LDAP query has no answer, which is a refusal: {why}");
                }
                Verdict::Denied
            }
            Err(Failure::Failed(why)) => Verdict::Failed {
                backend: External::Ldap,
                why: why.into(),
            },
        }
    }

    async fn log_in(&self, login: Login<'_>) -> Result<(LdapUser, Vec<Name>), Failure> {
        let invalid = || Failure::Denied(format!("user '{}' - invalid credentials", login.name));
        let variables = Variables::of_user(login.name);
        let (leased, user) = match login.credentials {
            Credentials::Certificate => (
                None,
                LdapUser {
                    dn: self.dn_without_password(&variables).await?,
                    password: None,
                },
            ),
            // A bind with a name and no password succeeds, and proves nothing (RFC 4513, section 5.1.2).
            Credentials::Password(b"") => {
                let why = format!("user '{}' - unauthenticated bind not allowed", login.name);
                return Err(Failure::Denied(why));
            }
            Credentials::Password(password) => {
                let password = std::str::from_utf8(password).map_err(|_| invalid())?;
                let (leased, dn) = self
                    .bind_user(&variables, password)
                    .await?
                    .ok_or_else(invalid)?;
                (
                    Some(leased),
                    LdapUser {
                        dn,
                        password: Some(password.to_owned()),
                    },
                )
            }
        };
        let mut leased = match (leased, &self.settings.other_bind) {
            (Some(leased), Bind::AsUser) => leased,
            (leased, Bind::AsUser | Bind::Anonymous | Bind::Dn { .. }) => {
                if let Some(leased) = leased {
                    self.pool.give_back(leased);
                }
                self.bind_other(&user).await?
            }
        };
        let tags = self.tags(&mut leased, variables, &user).await?;
        self.pool.give_back(leased);
        Ok((user, tags))
    }

    /// Binds as the user and finds its entry. `None` if the password is wrong.
    async fn bind_user(
        &self,
        variables: &Variables,
        password: &str,
    ) -> Result<Option<(Leased, String)>, Failure> {
        let pattern = &self.settings.user_dn_pattern;
        match &self.settings.dn_lookup {
            Some(lookup) if lookup.bind != Bind::AsUser => {
                let dn = self.look_up_as_other(lookup, variables).await?;
                let leased = self.pool.bound(&dn, password).await?;
                Ok(leased.map(|leased| (leased, dn)))
            }
            lookup => {
                let bind_pattern = self.settings.user_bind_pattern.as_ref().unwrap_or(pattern);
                let bind_name = variables.fill_dn(bind_pattern);
                // A bind without a name succeeds, whatever the password is.
                if bind_name.is_empty() {
                    return Ok(None);
                }
                let Some(mut leased) = self.pool.bound(&bind_name, password).await? else {
                    return Ok(None);
                };
                let dn = match lookup {
                    Some(lookup) => self.look_up(&mut leased, lookup, variables).await?,
                    None => variables.fill_dn(pattern),
                };
                Ok(Some((leased, dn)))
            }
        }
    }

    /// The entry of a user who has proved its name already.
    async fn dn_without_password(&self, variables: &Variables) -> Result<String, Failure> {
        match &self.settings.dn_lookup {
            Some(lookup) if lookup.bind != Bind::AsUser => {
                self.look_up_as_other(lookup, variables).await
            }
            Some(_) | None => Ok(variables.fill_dn(&self.settings.user_dn_pattern)),
        }
    }

    async fn look_up_as_other(
        &self,
        lookup: &DnLookup,
        variables: &Variables,
    ) -> Result<String, Failure> {
        let (dn, password) = match &lookup.bind {
            Bind::Dn { dn, password } => (dn.as_str(), password.as_str()),
            Bind::Anonymous | Bind::AsUser => ("", ""),
        };
        let mut leased = self
            .pool
            .bound(dn, password)
            .await?
            .ok_or_else(wrong_bind)?;
        let dn = self.look_up(&mut leased, lookup, variables).await?;
        self.pool.give_back(leased);
        Ok(dn)
    }

    /// The one entry that a search for the user finds, or else the one that the pattern names.
    async fn look_up(
        &self,
        connection: &mut Connection,
        lookup: &DnLookup,
        variables: &Variables,
    ) -> Result<String, Failure> {
        let value = variables.fill(&self.settings.user_dn_pattern);
        let filter = Filter::Equal {
            attribute: &lookup.attribute,
            value: &value,
        };
        let found = connection.search(&lookup.base, Scope::Subtree, filter, NO_ATTRIBUTE);
        match found.await?.as_deref() {
            Some([entry]) => Ok(entry.dn.clone()),
            Some([]) | None => Ok(variables.fill_dn(&self.settings.user_dn_pattern)),
            Some(several) => {
                let count = several.len();
                warn!(
                    "a search for the LDAP user '{value}' finds {count} entries, and none is taken"
                );
                Ok(variables.fill_dn(&self.settings.user_dn_pattern))
            }
        }
    }

    /// A connection that asks queries about a user.
    async fn bind_other(&self, user: &LdapUser) -> Result<Leased, Failure> {
        let (dn, password) = match (&self.settings.other_bind, &user.password) {
            (Bind::AsUser, Some(password)) => (user.dn.as_str(), password.as_str()),
            (Bind::AsUser, None) => {
                let why = "'other_bind' set to 'as_user' but no password supplied";
                return Err(Failure::Denied(why.to_owned()));
            }
            (Bind::Anonymous, _) => ("", ""),
            (Bind::Dn { dn, password }, _) => (dn.as_str(), password.as_str()),
        };
        self.pool.bound(dn, password).await?.ok_or_else(wrong_bind)
    }

    async fn tags(
        &self,
        connection: &mut Connection,
        mut variables: Variables,
        user: &LdapUser,
    ) -> Result<Vec<Name>, Failure> {
        variables.set("user_dn", &user.dn);
        let mut tags = Vec::new();
        for (tag, query) in &self.settings.tags {
            match self.evaluate(connection, query, &variables).await {
                Ok(true) => tags.push(tag.as_str().into()),
                Ok(false) | Err(Failure::Denied(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
        Ok(tags)
    }

    async fn answer(
        &self,
        query: &Query,
        variables: &Variables,
        user: &LdapUser,
    ) -> Result<bool, Failure> {
        if let Query::Constant(answer) = query {
            return Ok(*answer);
        }
        let mut leased = self.bind_other(user).await?;
        let answer = self.evaluate(&mut leased, query, variables).await?;
        self.pool.give_back(leased);
        Ok(answer)
    }

    async fn evaluate(
        &self,
        connection: &mut Connection,
        query: &Query,
        variables: &Variables,
    ) -> Result<bool, Failure> {
        let lookup = self.settings.dn_lookup.as_ref();
        let group_lookup_base = self.settings.group_lookup_base.as_deref();
        let mut evaluation = Evaluation {
            directory: connection,
            variables,
            group_lookup_base: group_lookup_base.or(lookup.map(|lookup| lookup.base.as_str())),
        };
        let answer = evaluation.answer(query).await;
        answer.map_err(|error| match error {
            QueryError::Directory(error) => error.into(),
            no_answer => Failure::Denied(no_answer.to_string()),
        })
    }

    /// The query for a question, and what its variables are.
    fn query(&self, name: &str, user: &LdapUser, question: &Question) -> (&Query, Variables) {
        let mut variables = Variables::of_user(name);
        variables.set("user_dn", &user.dn);
        let query = match question {
            Question::Vhost { vhost, peer: _ } => {
                variables.set("vhost", vhost);
                &self.settings.vhost_access
            }
            Question::Resource {
                vhost,
                kind,
                name,
                permission,
            } => {
                for (variable, value) in [
                    ("vhost", &**vhost),
                    ("resource", kind.as_str()),
                    ("name", name),
                    ("permission", permission.as_str()),
                ] {
                    variables.set(variable, value);
                }
                &self.settings.resource_access
            }
            Question::Topic {
                vhost,
                exchange,
                permission,
                routing_key,
            } => {
                for (variable, value) in [
                    ("vhost", &**vhost),
                    ("resource", "topic"),
                    ("name", exchange),
                    ("permission", permission.as_str()),
                    ("routing_key", routing_key),
                    ("variable_map.username", name),
                    ("variable_map.vhost", vhost),
                ] {
                    variables.set(variable, value);
                }
                &self.settings.topic_access
            }
        };
        (query, variables)
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

fn timed_out(timeout: Duration) -> Failure {
    Failure::Failed(format!("no answer within {} ms", timeout.as_millis()))
}

/// The password of the configuration is wrong, which is no fault of the user.
fn wrong_bind() -> Failure {
    Failure::Failed("the server refuses the configured bind".to_owned())
}
