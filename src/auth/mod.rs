//! Logins and permissions that other systems decide: the chain of backends, a cache of their answers, and each backend.
//! The broker's own users are the backend `internal`, which `broker::users` has; here it is only named.

mod aging; // how long decisions hold
mod backend; // the chain, and the names of its backends
mod backends; // asks them
mod cache; // their answers, for a while
mod decision;
mod http; // the backend that asks an HTTP server
pub mod ldap; // the backend that asks a directory
mod login; // what a backend learns of a login, and what it answers
pub mod oauth2; // the backend that checks tokens
mod question; // what a user may do
mod user;

pub use backend::{Backend, Chain, External, InvalidChain, Link};
pub use backends::{Backends, OpenError, Settings};
pub use decision::{Answer, Decision, Verdict};
pub use http::{HttpMethod, HttpSettings};
pub use login::{Authenticated, Credentials, Login, Refused};
pub use question::{Permission, Question, ResourceKind};
pub use reqwest::Url;
pub use user::{AuthUser, Authority, Authorizer};
