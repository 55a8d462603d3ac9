//! Users and what they may do: login, tags, limits and permissions, durable through the committer. Knows
//! neither SASL nor reply codes; which virtual hosts exist is the broker's to know.

mod access; // all users and permissions in memory, and each change of them
mod login;
mod registry; // who there is, and changes of it
mod rights; // permissions, asked and changed
#[cfg(test)]
mod tests;
mod user;

pub use login::LoginError;
pub use registry::Users;
pub use user::{TAG_ADMINISTRATOR, TAG_IMPERSONATOR, User, UserError};
