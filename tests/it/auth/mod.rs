//! Logins and permissions that other systems decide about.

mod forwarder; // counts connections
mod identity_provider; // signs tokens, and serves its keys
mod ldap;
mod oauth2;
mod slapd; // a directory server
