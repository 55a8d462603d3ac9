//! OAuth 2: users log in with a signed token (JWT) as password. Its scopes are the user's permissions and tags, as in
//! RabbitMQ.

mod backend;
mod claims;
mod grants;
mod key_source;
mod keys;
mod rich_authorization;
mod scopes;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod wildcard;

pub use backend::{OAuth2, OAuth2Error, OAuth2Settings};
pub use jsonwebtoken::Algorithm;
pub use key_source::{KeySource, SourceError, is_safe};
pub use keys::KeyError;
pub use settings::{ResourceServer, is_algorithm};
pub use token::{Token, TokenError};
