//! What users who have logged in may do: by the broker's own permissions, which are known, or by another system, which may
//! have to be asked.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Instant;

use super::registry::Users;
use crate::auth::{self, AuthUser, Authority, Authorizer, Decision, Question, Verdict};
use crate::broker::permissions::{AccessRefused, Permission, ResourceKind};
use crate::clock;
use crate::model::Name;

/// How long a permission holds, beyond changes of the broker's own permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Until the permission epoch changes.
    Epoch,
    /// And no longer than this.
    Until(Instant),
}

/// A permission, or its refusal.
pub type Permitted = Result<Validity, AccessRefused>;

/// Whether a user may do something.
pub enum Answer {
    Known(Permitted),
    /// A backend that is another system has to be asked.
    Asked(Pin<Box<dyn Future<Output = Permitted> + Send>>),
}

impl Validity {
    /// Whether the permission still holds, while the permission epoch is the same.
    pub fn holds(self) -> bool {
        match self {
            Validity::Epoch => true,
            Validity::Until(until) => clock::monotonic() < until,
        }
    }

    /// That of two permissions which are both needed.
    pub fn and(self, other: Validity) -> Validity {
        match (self, other) {
            (Validity::Epoch, other) => other,
            (one, Validity::Epoch) => one,
            (Validity::Until(one), Validity::Until(other)) => Validity::Until(one.min(other)),
        }
    }
}

impl Answer {
    /// Whether the user may do both.
    pub fn and(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::Known(one), Answer::Known(other)) => Answer::Known(both(one, other)),
            (one, other) => Answer::Asked(Box::pin(async move {
                let one = one.get().await;
                both(one, other.get().await)
            })),
        }
    }

    /// Waits for the answer.
    pub async fn get(self) -> Permitted {
        match self {
            Answer::Known(permitted) => permitted,
            Answer::Asked(asked) => asked.await,
        }
    }
}

impl Users {
    /// Whether `user` may open a virtual host, from this address if it is known. The caller knows that the virtual host
    /// exists.
    pub fn ask_vhost(&self, user: &AuthUser, vhost: &Name, peer: Option<IpAddr>) -> Answer {
        let refused = AccessRefused::Vhost {
            vhost: vhost.clone(),
            user: user.name.clone(),
        };
        match &user.authorizer {
            Authorizer::Internal => Answer::Known(match self.may_enter(&user.name, vhost) {
                true => Ok(Validity::Epoch),
                false => Err(refused),
            }),
            Authorizer::Broker => Answer::Known(Ok(Validity::Epoch)),
            Authorizer::External(authority) => {
                let vhost = vhost.clone();
                self.ask_backend(user, authority, Question::Vhost { vhost, peer }, refused)
            }
        }
    }

    /// Whether `user` has `permission` on a queue or exchange. The default exchange goes by
    /// [`crate::broker::permissions::DEFAULT_EXCHANGE`].
    pub fn ask(
        &self,
        user: &AuthUser,
        vhost: &Name,
        permission: Permission,
        kind: ResourceKind,
        name: &str,
    ) -> Answer {
        match &user.authorizer {
            Authorizer::Internal => {
                let checked = self.check(&user.name, vhost, permission, kind, name);
                Answer::Known(checked.map(|()| Validity::Epoch))
            }
            Authorizer::Broker => Answer::Known(Ok(Validity::Epoch)),
            Authorizer::External(authority) => {
                let name = Name::from(name);
                let refused = AccessRefused::Resource {
                    permission,
                    kind,
                    name: name.clone(),
                    vhost: vhost.clone(),
                    user: user.name.clone(),
                };
                let question = Question::Resource {
                    vhost: vhost.clone(),
                    kind,
                    name,
                    permission,
                };
                self.ask_backend(user, authority, question, refused)
            }
        }
    }

    /// Whether `user` may use all these routing keys on a topic exchange: write to publish, read to bind.
    pub fn ask_topics<'a>(
        &self,
        user: &AuthUser,
        vhost: &Name,
        exchange: &Name,
        permission: Permission,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Answer {
        let authority = match &user.authorizer {
            Authorizer::Internal => {
                let checked =
                    self.check_topics(&user.name, vhost, exchange, permission, routing_keys);
                return Answer::Known(checked.map(|()| Validity::Epoch));
            }
            Authorizer::Broker => return Answer::Known(Ok(Validity::Epoch)),
            Authorizer::External(authority) => authority,
        };
        let mut permitted = Ok(Validity::Epoch);
        let mut asked = Vec::new();
        for routing_key in routing_keys {
            let topic = Name::from(routing_key);
            let refused = AccessRefused::Topic {
                permission,
                topic: topic.clone(),
                exchange: exchange.clone(),
                vhost: vhost.clone(),
                user: user.name.clone(),
            };
            let question = Question::Topic {
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                permission,
                routing_key: topic,
            };
            match self.ask_backend(user, authority, question, refused) {
                Answer::Known(known) => permitted = both(permitted, known),
                Answer::Asked(answer) => asked.push(answer),
            }
        }
        match asked.is_empty() || permitted.is_err() {
            true => Answer::Known(permitted),
            // One after the other: a message with many keys does not take all requests for itself.
            false => Answer::Asked(Box::pin(async move {
                for answer in asked {
                    permitted = both(permitted, answer.await);
                    if permitted.is_err() {
                        break;
                    }
                }
                permitted
            })),
        }
    }

    fn ask_backend(
        &self,
        user: &AuthUser,
        authority: &Authority,
        question: Question,
        refused: AccessRefused,
    ) -> Answer {
        match self.backends.ask(user, authority, question) {
            auth::Answer::Known(decision) => Answer::Known(permitted(decision, refused)),
            auth::Answer::Asked(asked) => Answer::Asked(Box::pin(async move {
                let decision = asked.await;
                permitted(decision, refused)
            })),
        }
    }
}

fn permitted(decision: Decision, refused: AccessRefused) -> Permitted {
    match decision.verdict {
        Verdict::Allowed => Ok(decision.until.map_or(Validity::Epoch, Validity::Until)),
        Verdict::Denied => Err(refused),
        Verdict::Failed { backend, why } => Err(AccessRefused::Failed {
            refused: Box::new(refused),
            backend,
            why,
        }),
    }
}

fn both(one: Permitted, other: Permitted) -> Permitted {
    Ok(one?.and(other?))
}
