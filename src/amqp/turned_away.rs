//! Clients of a node that cannot serve them: each is taken through its handshake to the point where it can be told why.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::front::Settings;
use super::handshake::{Handshake, Rejection, Secure, Step, VhostRefusal};
use super::limits::READ_MIN;
use super::listener::{hang_up, send};
use super::sasl::Proof;
use crate::net::Transport;

/// Tells a client that nothing is served: `connection.open` is answered by a close with 320. Logins are not checked, so
/// the client learns nothing about them. The caller limits the time until the client has asked.
pub async fn turn_away(settings: &Settings, cluster_name: &str, mut client: Transport, why: &str) {
    let mut input = BytesMut::with_capacity(READ_MIN);
    let rejected = to_rejection(settings, cluster_name, &mut client, &mut input, why).await;
    match rejected {
        Ok(Some(rejection)) => {
            let frame_max = settings.frame_max;
            hang_up(&mut client, &mut input, rejection.hangup, frame_max).await;
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a client that is turned away was lost"),
    }
}

/// `None` if the client has closed its socket.
async fn to_rejection(
    settings: &Settings,
    cluster_name: &str,
    client: &mut Transport,
    input: &mut BytesMut,
    why: &str,
) -> std::io::Result<Option<Rejection>> {
    let secure = match client.is_secure() {
        true => Secure::Tls,
        false => Secure::Plain,
    };
    let settings = Arc::new(settings.handshake());
    let mut out = BytesMut::new();
    let mut step = Step::Read(Handshake::new(settings, cluster_name.to_owned(), secure));
    loop {
        step = match step {
            Step::Read(handshake) => match handshake.advance(input, &mut out) {
                Step::Read(handshake) => {
                    send(client, &mut out).await?;
                    if client.read_buf(input).await? == 0 {
                        return Ok(None);
                    }
                    Step::Read(handshake)
                }
                step @ (Step::Login(..) | Step::Vhost(..) | Step::Reject(_)) => step,
            },
            Step::Login(proof, waiting) => {
                let user = match &proof {
                    Proof::Password(password) => password.user.as_str(),
                    Proof::Certificate => "",
                };
                Step::Read(waiting.accepted(user, &mut out))
            }
            Step::Vhost(_, waiting) => {
                let refusal = VhostRefusal::NotServed(why.to_owned());
                Step::Reject(waiting.refused(refusal, &mut out))
            }
            Step::Reject(rejection) => {
                send(client, &mut out).await?;
                return Ok(Some(rejection));
            }
        };
    }
}
