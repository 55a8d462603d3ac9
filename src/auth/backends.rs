//! Asks the backends that are other systems, and keeps their answers for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::aging::{Decided, State, earlier_or};
use super::backend::{Backend, Chain, External};
use super::cache::{Cache, Kept};
use super::decision::{Answer, Decision, Verdict};
use super::http::{Http, HttpSettings};
use super::ldap::{Ldap, LdapError, LdapSettings};
use super::login::{Authenticated, Credentials, Login, Refused};
use super::oauth2::{OAuth2, OAuth2Error, OAuth2Settings, TokenError};
use super::question::Question;
use super::user::{AuthUser, Authority, Authorizer};
use crate::clock::{self, Clock};
use crate::model::Name;

/// What the chain is, and its backends.
#[derive(Clone, Debug)]
pub struct Settings {
    pub chain: Chain,
    /// How long an answer is kept.
    pub cache_ttl: Duration,
    /// Whether refusals are kept, too.
    pub caches_refusals: bool,
    /// Of use with `http` in the chain.
    pub http: HttpSettings,
    /// Of use with `oauth2` in the chain.
    pub oauth2: OAuth2Settings,
    /// Of use with `ldap` in the chain.
    pub ldap: LdapSettings,
}

/// Why the backends cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the settings of the HTTP backend: {0}")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    OAuth2(#[from] OAuth2Error),
    #[error(transparent)]
    Ldap(#[from] LdapError),
}

/// The chain of backends, with those that are other systems.
pub struct Backends {
    chain: Chain,
    http: Option<Arc<Http>>,
    oauth2: Option<Arc<OAuth2>>,
    ldap: Option<Arc<Ldap>>,
    /// Tokens expire by the wall clock.
    clock: Arc<Clock>,
    cache_ttl: Duration,
    caches_refusals: bool,
    logins: Arc<Cache<LoginKey, Result<Authenticated, Refused>>>,
    decisions: Arc<Cache<DecisionKey, Decided>>,
    /// Digests of passwords are made with it, so that they are of no use elsewhere.
    digest_key: [u8; 32],
}

/// A login, without its password.
#[derive(Clone, PartialEq, Eq, Hash)]
struct LoginKey([u8; 32]);

#[derive(Clone, PartialEq, Eq, Hash)]
struct DecisionKey {
    backend: External,
    user: Name,
    tags: Arc<[Name]>,
    question: Question,
}

impl Default for Backends {
    /// The broker's own users only.
    fn default() -> Backends {
        Backends {
            chain: Chain::default(),
            http: None,
            oauth2: None,
            ldap: None,
            clock: Arc::default(),
            cache_ttl: Duration::ZERO,
            caches_refusals: false,
            logins: Arc::default(),
            decisions: Arc::default(),
            digest_key: rand::random(),
        }
    }
}

impl Backends {
    /// Opens the backends that the chain names.
    pub fn open(settings: Settings, clock: Arc<Clock>) -> Result<Backends, OpenError> {
        let names = |backend| settings.chain.names(Backend::External(backend));
        let http = names(External::Http).then(|| Http::open(settings.http));
        let oauth2 = names(External::OAuth2).then(|| OAuth2::new(settings.oauth2));
        let ldap = names(External::Ldap).then(|| Ldap::new(settings.ldap));
        Ok(Backends {
            http: http.transpose()?.map(Arc::new),
            oauth2: oauth2.transpose()?.map(Arc::new),
            ldap: ldap.transpose()?.map(Arc::new),
            clock,
            cache_ttl: settings.cache_ttl,
            caches_refusals: settings.caches_refusals,
            chain: settings.chain,
            ..Backends::default()
        })
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Checks a login with one backend.
    pub async fn authenticate(
        &self,
        backend: External,
        login: Login<'_>,
    ) -> Result<Authenticated, Refused> {
        let kept = self.login_key(backend, &login);
        let owned = OwnedLogin::of(&login);
        match backend {
            External::Http => {
                let http = self.http.clone().ok_or_else(not_configured)?;
                let ask = async move { http.authenticate(&owned.borrow()).await };
                self.cached_login(kept, ask).await
            }
            External::Ldap => {
                let ldap = self.ldap.clone().ok_or_else(not_configured)?;
                let ask = async move {
                    let (user, tags) = ldap.authenticate(owned.borrow()).await?;
                    Ok(Authenticated {
                        name: owned.name,
                        tags: tags.into(),
                        authority: Authority::Ldap(Arc::new(user)),
                    })
                };
                self.cached_login(kept, ask).await
            }
            // A token carries all that there is to know, so its login is not kept.
            External::OAuth2 => {
                let oauth2 = self.oauth2.as_ref().ok_or_else(not_configured)?;
                let token = oauth2.log_in(login, self.now_seconds()).await;
                token.map(Authenticated::of_token)
            }
        }
    }

    /// What the backend keeps of a user whom another one has authenticated, and the tags that it adds.
    pub async fn authorise(
        &self,
        backend: External,
        login: Login<'_>,
    ) -> Result<(Authority, Arc<[Name]>), Refused> {
        match backend {
            // They are asked as for a login, and add no tags.
            External::Http | External::OAuth2 => {
                let known = self.authenticate(backend, login).await?;
                Ok((known.authority, [].into()))
            }
            External::Ldap => {
                let known = self.authenticate(backend, login).await?;
                Ok((known.authority, known.tags))
            }
        }
    }

    /// Asks whether `user` may do something.
    pub fn ask(&self, user: &AuthUser, authority: &Authority, question: Question) -> Answer {
        match (authority, &self.http, &self.ldap) {
            (Authority::Http, Some(http), _) => {
                let (http, asker) = (Arc::clone(http), user.clone());
                let key = DecisionKey::new(External::Http, user, &question);
                self.cached_decision(key, async move { http.allows(&asker, &question).await })
            }
            (Authority::Ldap(known), _, Some(ldap)) => {
                let (ldap, name, known) = (Arc::clone(ldap), user.name.clone(), Arc::clone(known));
                let key = DecisionKey::new(External::Ldap, user, &question);
                let ask = async move { ldap.allows(&name, &known, &question).await };
                self.cached_decision(key, ask)
            }
            (Authority::OAuth2(token), _, _) => token.decide(&question, self.now_seconds()).into(),
            (Authority::Http, None, _) => failed(External::Http, NOT_CONFIGURED).into(),
            (Authority::Ldap(_), _, None) => failed(External::Ldap, NOT_CONFIGURED).into(),
        }
    }

    /// The user with a new secret in place of the one that may expire. Other users stay as they are.
    pub async fn renew(&self, user: &AuthUser, secret: &[u8]) -> Result<AuthUser, TokenError> {
        let Authorizer::External(Authority::OAuth2(current)) = &user.authorizer else {
            return Ok(user.clone());
        };
        let oauth2 = self.oauth2.as_ref().ok_or(TokenError::Malformed)?;
        let token = oauth2.refresh(current, secret, self.now_seconds()).await?;
        Ok(AuthUser {
            tags: Arc::clone(&token.tags),
            authorizer: Authorizer::External(Authority::OAuth2(Arc::new(token))),
            ..user.clone()
        })
    }

    /// The wall clock in seconds since 1970.
    fn now_seconds(&self) -> u64 {
        self.clock.wall_ms() / 1000
    }

    fn login_key(&self, backend: External, login: &Login<'_>) -> LoginKey {
        let (kind, password): (&[u8], &[u8]) = match login.credentials {
            Credentials::Password(password) => (b"p", password),
            Credentials::Certificate => (b"c", b""),
        };
        let digest = Sha256::new()
            .chain_update(self.digest_key)
            .chain_update(backend.module())
            .chain_update(kind)
            .chain_update(login.name.len().to_be_bytes())
            .chain_update(login.name)
            .chain_update(password);
        LoginKey(digest.finalize().into())
    }

    async fn cached_login(
        &self,
        key: LoginKey,
        ask: impl Future<Output = Result<Authenticated, Refused>> + Send + 'static,
    ) -> Result<Authenticated, Refused> {
        let (ttl, caches_refusals) = (self.cache_ttl, self.caches_refusals);
        let ask = async move {
            let value = ask.await;
            let is_kept = match &value {
                Ok(_) => true,
                Err(Refused::Denied(_)) => caches_refusals,
                Err(Refused::Failed(_)) => false,
            };
            Kept {
                value,
                until: is_kept.then(|| clock::monotonic() + ttl),
            }
        };
        match Arc::clone(&self.logins).get(key, ask).await {
            Some(kept) => kept.value,
            None => Err(Refused::Failed(TOO_MANY.into())),
        }
    }

    fn cached_decision(
        &self,
        key: DecisionKey,
        ask: impl Future<Output = Verdict> + Send + 'static,
    ) -> Answer {
        let cache = Arc::clone(&self.decisions);
        let now = clock::monotonic();
        let (refreshed_until, earlier) = match cache.any(&key) {
            None => (None, None),
            Some(kept) => match State::of(&kept, now, self.cache_ttl) {
                State::Fresh(until) => return known(kept.value.verdict, until),
                State::Aging(until) => (Some(until), Some(kept.value)),
                State::Over => (None, Some(kept.value)),
            },
        };
        let verdict = earlier.as_ref().map(|earlier| earlier.verdict.clone());
        let (ttl, caches_refusals) = (self.cache_ttl, self.caches_refusals);
        let backend = key.backend;
        let ask = async move {
            let verdict = ask.await;
            let now = clock::monotonic();
            let value = earlier_or(earlier, verdict, now);
            let is_kept = match &value.verdict {
                Verdict::Allowed => true,
                Verdict::Denied => caches_refusals,
                Verdict::Failed { .. } => false,
            };
            Kept {
                value,
                until: is_kept.then(|| now + ttl),
            }
        };
        if let (Some(until), Some(verdict)) = (refreshed_until, verdict) {
            cache.refresh(key, ask);
            return known(verdict, until);
        }
        Answer::Asked(Box::pin(async move {
            match cache.get(key, ask).await {
                Some(kept) => Decision {
                    verdict: kept.value.verdict,
                    // What is not kept holds for what was asked only.
                    until: Some(kept.until.unwrap_or_else(clock::monotonic)),
                },
                None => failed(backend, TOO_MANY),
            }
        }))
    }
}

const NOT_CONFIGURED: &str = "it is not configured";
const TOO_MANY: &str = "too many requests wait for it";

impl DecisionKey {
    fn new(backend: External, user: &AuthUser, question: &Question) -> DecisionKey {
        DecisionKey {
            backend,
            user: user.name.clone(),
            tags: Arc::clone(&user.tags),
            question: question.clone(),
        }
    }
}

/// A login that outlives its client.
struct OwnedLogin {
    name: Name,
    password: Option<Vec<u8>>,
}

impl OwnedLogin {
    fn of(login: &Login<'_>) -> OwnedLogin {
        OwnedLogin {
            name: login.name.into(),
            password: match login.credentials {
                Credentials::Password(password) => Some(password.to_vec()),
                Credentials::Certificate => None,
            },
        }
    }

    fn borrow(&self) -> Login<'_> {
        let password = self.password.as_deref();
        Login {
            name: &self.name,
            credentials: password.map_or(Credentials::Certificate, Credentials::Password),
        }
    }
}

fn not_configured() -> Refused {
    Refused::Failed(NOT_CONFIGURED.into())
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Answer {
        Answer::Known(decision)
    }
}

fn known(verdict: Verdict, until: Instant) -> Answer {
    Answer::Known(Decision {
        verdict,
        until: Some(until),
    })
}

fn failed(backend: External, why: &str) -> Decision {
    Decision {
        verdict: Verdict::Failed {
            backend,
            why: why.into(),
        },
        until: Some(clock::monotonic()),
    }
}
