//! Logins and permissions that other systems decide about.

mod auth_server; // an HTTP server that decides
mod faults; // a server that does not answer as it should
mod flood; // thousands of logins together
mod forwarder; // counts connections
mod http; // the contract of the backend `http`
mod identity_provider; // signs tokens, and serves its keys
mod ldap;
mod oauth2;
mod slapd; // a directory server
mod slowing; // of those who guess passwords
