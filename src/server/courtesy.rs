//! What the front doors say to a client of a node that does not lead, when no leader serves it.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;

use super::settings;
use crate::cluster::pass::{Courtesy, Door, Hearing};
use crate::config::Config;
use crate::files::Shares;
use crate::net::{SocketPermit, Transport};
use crate::{amqp, cmq, management, node};

/// The words of this broker's front doors.
pub struct DoorCourtesy {
    amqp: amqp::Settings,
    /// As the leader would say it, unless an operator has changed it since the start.
    cluster_name: String,
}

impl DoorCourtesy {
    pub fn new(config: &Config, shares: &Shares) -> DoorCourtesy {
        let configured = config.cluster_name.as_ref().map(ToString::to_string);
        DoorCourtesy {
            amqp: settings::amqp(config, shares),
            cluster_name: configured.unwrap_or_else(node::name),
        }
    }
}

impl Courtesy for DoorCourtesy {
    fn turn_away(
        &self,
        door: Door,
        client: Transport,
        peer: SocketAddr,
        permit: SocketPermit,
        why: String,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (amqp, cluster_name) = (self.amqp.clone(), self.cluster_name.clone());
        Box::pin(async move {
            match door {
                Door::Amqp => amqp::turn_away(&amqp, &cluster_name, client, &why).await,
                Door::Cmq => cmq::turn_away(client).await,
                Door::Management | Door::Metrics => {
                    return management::turn_away(client, peer, permit, why).await;
                }
            }
            drop(permit);
        })
    }

    fn hearing(&self, door: Door) -> Option<Box<dyn Hearing>> {
        match door {
            Door::Amqp => Some(Box::new(AmqpHearing::default())),
            Door::Cmq | Door::Management | Door::Metrics => None,
        }
    }
}

#[derive(Default)]
struct AmqpHearing(amqp::LastWord);

impl Hearing for AmqpHearing {
    fn heard(&mut self, bytes: &[u8]) {
        self.0.heard(bytes);
    }

    fn last_word(&self, why: &str) -> Option<Bytes> {
        self.0.say(why)
    }
}
