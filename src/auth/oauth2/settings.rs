//! How tokens are checked: the resource server that they are for, and the algorithms of their signatures.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;

/// Whether a text names an algorithm of signatures.
pub fn is_algorithm(name: &str) -> bool {
    name.parse::<Algorithm>().is_ok()
}

/// This broker, as identity providers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// The audience of its tokens.
    pub id: String,
    /// The `type` of rich authorization requests for it; `None` reads no such requests.
    pub resource_server_type: Option<String>,
    pub verify_aud: bool,
    /// Whether a token without `exp` is refused.
    pub require_exp: bool,
    /// The issuer that tokens must name, if any, without a slash at its end.
    pub issuer: Option<String>,
    /// Begins the scopes that concern it.
    pub scope_prefix: String,
    /// Names of roles, and the scopes that each stands for.
    pub scope_aliases: BTreeMap<String, Vec<String>>,
    /// Paths of claims with more scopes, separated by spaces.
    pub additional_scopes_key: String,
    /// The claims that may hold the name of the user; the first one that does counts.
    pub preferred_username_claims: Vec<String>,
    /// The key of tokens that name none.
    pub default_key: Option<String>,
    /// `None` accepts every algorithm that suits the key.
    pub algorithms: Option<Vec<Algorithm>>,
}

impl ResourceServer {
    /// RabbitMQ's defaults.
    pub fn new(id: &str) -> ResourceServer {
        ResourceServer {
            id: id.to_owned(),
            resource_server_type: None,
            verify_aud: true,
            require_exp: true,
            issuer: None,
            scope_prefix: format!("{id}."),
            scope_aliases: BTreeMap::new(),
            additional_scopes_key: String::new(),
            preferred_username_claims: ["sub", "client_id"].map(str::to_owned).to_vec(),
            default_key: None,
            algorithms: None,
        }
    }
}
