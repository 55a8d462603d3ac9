//! Users: login, tags, limits and permissions, durable through the committer. Knows neither SASL nor reply codes, and not
//! which virtual hosts exist.

mod access; // all users and permissions in memory, and each change of them
mod attempts; // how many logins there were
mod authorise; // what users who have logged in may do
mod defaults; // users that new virtual hosts get
mod failures; // failed logins, and how long the next one waits
mod login;
mod login_gate; // verifies passwords
mod registry; // all users, and changes of them
mod renewal; // new secrets
mod rights; // permissions, asked and changed
mod shared_checks; // password checks that equal logins share
#[cfg(test)]
mod tests;
mod user;

pub use attempts::{LoginAttempts, LoginSource};
pub use authorise::{Answer, Permitted, Validity};
pub use login::{LoginDoor, LoginError};
pub use registry::Users;
pub use renewal::RenewalError;
pub use user::{PutUser, TAG_ADMINISTRATOR, TAG_IMPERSONATOR, User, UserError};
