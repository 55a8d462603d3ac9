//! Translates the options about a set of nodes, and refuses those that do not fit together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::error::StartError;
use crate::cluster::link::{Secret, Trust};
use crate::config::{ClusterPeer, Config, Durability};
use crate::net::{ClientCertificates, Tls, TlsSettings, TlsVersion};
use crate::node;

/// An election timeout has room for this many heartbeats: one that comes late elects no leader.
const HEARTBEATS_PER_ELECTION: u32 = 3;
/// Number of nodes in `cluster-peers`: an even number has no more majorities than one node less. Without peers a node
/// begins by itself.
const FIRST_SIZES: [usize; 4] = [0, 1, 3, 5];
/// Certificates of nodes may have this many others between them and their authority.
const CERTIFICATES_DEPTH: usize = 10;

/// What the options say of this node's set.
#[derive(Clone)]
pub(super) struct SetSettings {
    pub(super) listen: SocketAddr,
    pub(super) name: String,
    /// Where the others reach this node.
    pub(super) address: String,
    /// The other members by name and address.
    pub(super) peers: Vec<(String, String)>,
    pub(super) trust: Trust,
}

fn refused(text: impl Into<String>) -> StartError {
    StartError::Cluster(text.into())
}

/// The name of this node without `leveret@`.
pub(super) fn node_name(config: &Config) -> String {
    let name = config.node_name.as_ref().map(ToString::to_string);
    name.unwrap_or_else(node::host_name)
}

/// The settings of the set; `None` for a node by itself.
pub(super) fn set_settings(config: &Config) -> Result<Option<SetSettings>, StartError> {
    let peers = &config.cluster_peers;
    let Some(listen) = config.cluster_listen else {
        let needless = [
            ("cluster-peers", !peers.is_empty()),
            ("cluster-secret", config.cluster_secret.is_some()),
            ("cluster-secret-file", config.cluster_secret_file.is_some()),
            ("cluster-tls-cert", config.cluster_tls_cert.is_some()),
            ("cluster-tls-key", config.cluster_tls_key.is_some()),
            ("cluster-tls-ca", config.cluster_tls_ca.is_some()),
        ];
        return match needless.iter().find(|(_, is_set)| *is_set) {
            None => Ok(None),
            Some((option, _)) => Err(refused(format!("{option} needs cluster-listen"))),
        };
    };
    if !FIRST_SIZES.contains(&peers.len()) {
        return Err(refused(format!(
            "cluster-peers has {} nodes: a set begins with one, three or five",
            peers.len()
        )));
    }
    if config.cluster_secret.is_some() && config.cluster_secret_file.is_some() {
        return Err(refused(
            "cluster-secret and cluster-secret-file: only one of them can be the secret",
        ));
    }
    if config.cluster_election_timeout < config.cluster_heartbeat * HEARTBEATS_PER_ELECTION {
        return Err(refused(format!(
            "cluster-election-timeout is {HEARTBEATS_PER_ELECTION} times cluster-heartbeat at least"
        )));
    }
    if config.durability != Durability::Sync {
        return Err(refused(
            "in a set of nodes a confirm waits for a majority's disks: durability write does not go with cluster-listen",
        ));
    }
    let name = node_name(config);
    let is_own = |peer: &&ClusterPeer| *peer.name == *name;
    let (own, others): (Vec<&ClusterPeer>, Vec<&ClusterPeer>) = peers.iter().partition(is_own);
    let mut addresses = BTreeSet::new();
    let mut names = BTreeSet::new();
    for peer in peers {
        if !names.insert(&peer.name) {
            return Err(refused(format!("cluster-peers has {} twice", peer.name)));
        }
        if !addresses.insert(&peer.address) {
            return Err(refused(format!(
                "cluster-peers has the address {} twice",
                peer.address
            )));
        }
    }
    let address = match (own.first(), peers.is_empty()) {
        (Some(own), _) => own.address.to_string(),
        (None, true) => reachable(listen),
        (None, false) => {
            return Err(refused(format!(
                "cluster-peers does not have this node, {name}: add {name}=HOST:PORT, or set node-name"
            )));
        }
    };
    Ok(Some(SetSettings {
        listen,
        address,
        peers: others
            .iter()
            .map(|peer| (peer.name.to_string(), peer.address.to_string()))
            .collect(),
        trust: trust(config)?,
        name,
    }))
}

/// The address of a listener, as others reach it: by the host's name if it listens on all interfaces.
fn reachable(listen: SocketAddr) -> String {
    match listen.ip().is_unspecified() {
        true => format!("{}:{}", node::host_name(), listen.port()),
        false => listen.to_string(),
    }
}

fn trust(config: &Config) -> Result<Trust, StartError> {
    let secret = match (&config.cluster_secret_file, &config.cluster_secret) {
        (Some(path), _) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| StartError::Unreadable {
                path: path.clone(),
                error,
            })?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, secret) => secret.as_ref().map(ToString::to_string),
    };
    let secret = secret
        .map(|secret| Secret::new(secret.as_bytes()))
        .transpose();
    let secret = secret.map_err(|error| refused(error.to_string()))?;
    let files = (
        &config.cluster_tls_cert,
        &config.cluster_tls_key,
        &config.cluster_tls_ca,
    );
    let tls = match files {
        (None, None, None) => None,
        (Some(certificate), Some(key), Some(authorities)) => {
            let settings = TlsSettings {
                certificate: certificate.clone(),
                key: key.clone(),
                authorities: Some(authorities.clone()),
                clients: ClientCertificates::Required,
                depth: CERTIFICATES_DEPTH,
                versions: vec![TlsVersion::V1_3],
            };
            Some(Arc::new(Tls::load(settings)?))
        }
        _ => {
            return Err(refused(
                "cluster-tls-cert, cluster-tls-key and cluster-tls-ca belong together",
            ));
        }
    };
    Trust::new(secret, tls).map_err(|_| {
        refused(
            "cluster-listen is never open to strangers: set cluster-secret, cluster-secret-file, or cluster-tls-cert with \
             cluster-tls-key and cluster-tls-ca",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    /// The configuration that these lines of a file make.
    fn config(lines: &str) -> Config {
        let table: toml::Table = lines.parse().unwrap();
        let texts = |value: &toml::Value| match value {
            toml::Value::String(text) => vec![text.clone()],
            other => vec![other.to_string()],
        };
        let mut raw = RawConfig::default();
        raw.add_flags(|key| table.get(key).map(texts));
        Config::from_raw(&raw).unwrap()
    }

    const SECRET: &str = "cluster-secret = 'sixteen bytes ...'\n";
    const PEERS: &str = "cluster-peers = 'a=h:1,b=h:2,c=h:3'\n";
    const LISTEN: &str = "cluster-listen = '127.0.0.1:7'\nnode-name = 'b'\n";

    #[test]
    fn a_node_knows_its_own_address_and_the_other_members() {
        let settings = set_settings(&config(&format!("{LISTEN}{SECRET}{PEERS}")));
        let settings = settings.unwrap().unwrap();
        assert_eq!((&*settings.name, &*settings.address), ("b", "h:2"));
        let others = [("a", "h:1"), ("c", "h:3")].map(|(n, a)| (n.to_owned(), a.to_owned()));
        assert_eq!(settings.peers, others);
        let alone = set_settings(&config(&format!("{LISTEN}{SECRET}")))
            .unwrap()
            .unwrap();
        assert_eq!((&*alone.address, alone.peers.len()), ("127.0.0.1:7", 0));
        assert!(set_settings(&config("")).unwrap().is_none());
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_a_reason() {
        let listen = "cluster-listen = '127.0.0.1:7'\n";
        for (lines, reason) in [
            (PEERS.to_owned(), "cluster-peers needs cluster-listen"),
            (
                LISTEN.to_owned(),
                "cluster-listen is never open to strangers",
            ),
            (
                format!("{listen}{SECRET}{PEERS}node-name = 'x'"),
                "cluster-peers does not have this node, x",
            ),
            (
                format!("{LISTEN}{SECRET}cluster-peers = 'a=h:1,b=h:2'"),
                "cluster-peers has 2 nodes: a set begins with one, three or five",
            ),
            (
                format!("{LISTEN}{SECRET}cluster-secret-file = '/nowhere'"),
                "cluster-secret and cluster-secret-file",
            ),
            (SECRET.to_owned(), "cluster-secret needs cluster-listen"),
            (
                "cluster-tls-ca = '/c'".to_owned(),
                "cluster-tls-ca needs cluster-listen",
            ),
            (
                format!("{LISTEN}{SECRET}cluster-peers = 'a=h:3,b=h:1,b=h:2'"),
                "cluster-peers has b twice",
            ),
            (
                format!("{LISTEN}{SECRET}cluster-peers = 'a=h:2,b=h:1,c=h:1'"),
                "cluster-peers has the address h:1 twice",
            ),
            (
                format!("{LISTEN}{SECRET}cluster-heartbeat = 200"),
                "cluster-election-timeout is 3 times",
            ),
            (
                format!("{LISTEN}{SECRET}durability = 'write'"),
                "in a set of nodes a confirm waits",
            ),
            (
                format!("{LISTEN}{SECRET}cluster-tls-cert = '/c'"),
                "cluster-tls-cert, cluster-tls-key and cluster-tls-ca belong together",
            ),
            (
                format!("{LISTEN}cluster-secret-file = '/nowhere'"),
                "cannot read /nowhere",
            ),
        ] {
            let error = set_settings(&config(&lines)).err().unwrap().to_string();
            assert!(error.starts_with(reason), "{lines}: {error}");
        }
    }
}
