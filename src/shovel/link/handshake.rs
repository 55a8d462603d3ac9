//! The client's side of the handshake, up to an open channel.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::CHANNEL;
use super::error::LinkError;
use super::frames::{Link, Reading};
use super::socket::{self, LocalDoor, Socket};
use crate::model::amqp_uri::{AmqpUri, Target, UriCredentials, UriMechanism};
use crate::wire::protocol::connection::{self, AMQPMethod as Method};
use crate::wire::{
    AMQPClass, AMQPValue, FieldTable, LongString, decode_method, encode_table, short_string,
};

/// The largest frame that links ask for.
const FRAME_MAX: u32 = 128 * 1024;
/// The channels that a link uses: one for messages, one for declarations that may fail.
const CHANNEL_MAX: u16 = 2;
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// What a link tells brokers about itself.
#[derive(Clone)]
pub struct Client<'a> {
    /// The name that operators see.
    pub connection_name: &'a str,
    /// For URIs without a host.
    pub local: Option<&'a dyn LocalDoor>,
}

/// Connects, logs in and opens the channel for messages.
pub async fn open(uri: &AmqpUri, client: &Client<'_>) -> Result<Link, LinkError> {
    let opening = async {
        let (socket, login) = connect(uri, client).await?;
        let mut link = Link::new(socket, FRAME_MAX);
        shake_hands(&mut link, uri, &login, client.connection_name).await?;
        link.open_channel(CHANNEL).await?;
        Ok(link)
    };
    match timeout(uri.connect_timeout, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(LinkError::Timeout("connecting")),
    }
}

async fn connect(
    uri: &AmqpUri,
    client: &Client<'_>,
) -> Result<(Socket, UriCredentials), LinkError> {
    match &uri.target {
        Target::Network {
            host,
            port,
            credentials,
            tls,
        } => {
            let socket = socket::connect(host, *port, tls.as_ref()).await?;
            Ok((socket, credentials.clone()))
        }
        Target::ThisBroker { user } => {
            let Some(door) = client.local else {
                let text = "the URI has no host, and this program is no broker";
                return Err(LinkError::Refused(text.to_owned()));
            };
            let socket = door.connect(user.as_deref()).map_err(LinkError::Connect)?;
            let nothing_to_prove = UriCredentials {
                user: String::new(),
                password: String::new(),
                // Whichever the broker offers to its clients.
                mechanisms: vec![
                    UriMechanism::Plain,
                    UriMechanism::AmqPlain,
                    UriMechanism::External,
                ],
            };
            Ok((socket, nothing_to_prove))
        }
    }
}

async fn shake_hands(
    link: &mut Link,
    uri: &AmqpUri,
    login: &UriCredentials,
    name: &str,
) -> Result<(), LinkError> {
    link.out.extend_from_slice(PROTOCOL_HEADER);
    let start = match link.next_method().await? {
        AMQPClass::Connection(Method::Start(start)) => start,
        other => return Err(unexpected(&other)),
    };
    let mechanism = choose(&login.mechanisms, &start.mechanisms)?;
    link.server_properties = start.server_properties;
    link.send_to_connection(Method::StartOk(connection::StartOk {
        client_properties: client_properties(name),
        mechanism: mechanism_name(mechanism).into(),
        response: response(mechanism, login),
        locale: "en_US".into(),
    }));
    let tune = match link.next_method().await? {
        AMQPClass::Connection(Method::Tune(tune)) => tune,
        other => return Err(unexpected(&other)),
    };
    if tune.frame_max != 0 {
        link.frame_max = FRAME_MAX.min(tune.frame_max);
    }
    let channel_max = agreed(CHANNEL_MAX, tune.channel_max);
    let heartbeat = agreed(uri.heartbeat_secs, tune.heartbeat);
    link.send_to_connection(Method::TuneOk(connection::TuneOk {
        channel_max: match uri.channel_max {
            0 => channel_max,
            asked => channel_max.min(asked),
        },
        frame_max: link.frame_max,
        heartbeat,
    }));
    link.send_to_connection(Method::Open(connection::Open {
        virtual_host: short_string(&uri.vhost),
    }));
    match link.next_method().await? {
        AMQPClass::Connection(Method::OpenOk(_)) => {}
        other => return Err(unexpected(&other)),
    }
    link.start_heartbeats(heartbeat);
    Ok(())
}

/// The lower of two values; 0 is no value.
fn agreed(ours: u16, theirs: u16) -> u16 {
    match (ours, theirs) {
        (0, other) | (other, 0) => other,
        (ours, theirs) => ours.min(theirs),
    }
}

/// The first mechanism of the URI that the broker offers. Without any in the URI, PLAIN before AMQPLAIN.
fn choose(asked: &[UriMechanism], offered: &LongString) -> Result<UriMechanism, LinkError> {
    let asked = match asked {
        [] => &[UriMechanism::Plain, UriMechanism::AmqPlain],
        asked => asked,
    };
    let offered = offered.to_string();
    let is_offered = |mechanism: &UriMechanism| {
        let name = mechanism_name(*mechanism);
        offered.split_ascii_whitespace().any(|offer| offer == name)
    };
    let chosen = asked.iter().copied().find(is_offered);
    chosen.ok_or(LinkError::NoMechanism(offered))
}

fn mechanism_name(mechanism: UriMechanism) -> &'static str {
    match mechanism {
        UriMechanism::Plain => "PLAIN",
        UriMechanism::AmqPlain => "AMQPLAIN",
        UriMechanism::External => "EXTERNAL",
    }
}

fn response(mechanism: UriMechanism, login: &UriCredentials) -> LongString {
    let UriCredentials { user, password, .. } = login;
    match mechanism {
        UriMechanism::Plain => format!("\0{user}\0{password}").into(),
        UriMechanism::AmqPlain => {
            let mut table = FieldTable::default();
            for (key, text) in [("LOGIN", user), ("PASSWORD", password)] {
                table.insert(key.into(), AMQPValue::LongString(text.as_str().into()));
            }
            let mut raw = bytes::BytesMut::new();
            encode_table(&table, &mut raw);
            // The mechanism has the fields without the length of their table.
            raw.get(4..).unwrap_or_default().to_vec().into()
        }
        UriMechanism::External => LongString::default(),
    }
}

fn client_properties(name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    for (key, text) in [
        ("product", "Leveret"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", "Rust"),
        ("connection_name", name),
    ] {
        properties.insert(key.into(), AMQPValue::LongString(text.into()));
    }
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

pub(super) fn unexpected(method: &AMQPClass) -> LinkError {
    LinkError::Protocol(format!("unexpected method {method:?}"))
}

impl Link {
    fn send_to_connection(&mut self, method: Method) {
        self.send(0, &AMQPClass::Connection(method));
    }

    /// The next method of channel 0, after the output is written.
    async fn next_method(&mut self) -> Result<AMQPClass, LinkError> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(decode_method(&frame.payload)?);
            }
            self.moved().await?;
        }
    }

    /// Waits until any byte has moved.
    pub(super) async fn moved(&mut self) -> Result<(), LinkError> {
        poll_fn(|cx| match self.poll(cx, Reading::Yes) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// Closes the connection, so that the broker has processed everything that was sent before. Gives up after `patience`.
    pub async fn close(mut self, patience: Duration) {
        self.send_to_connection(Method::Close(connection::Close {
            reply_code: 200,
            reply_text: "Goodbye".into(),
            class_id: 0,
            method_id: 0,
        }));
        let closing = async {
            loop {
                while let Some(frame) = self.next_frame()? {
                    if frame.channel == 0
                        && let AMQPClass::Connection(Method::CloseOk(_)) =
                            decode_method(&frame.payload)?
                    {
                        return Ok::<(), LinkError>(());
                    }
                }
                self.moved().await?;
            }
        };
        match timeout(patience, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a link ended while it was closed"),
            Err(_) => tracing::debug!("a broker has not answered connection.close"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offered_mechanism_of_the_uri_is_used() {
        use UriMechanism::{AmqPlain, External, Plain};
        let offered = LongString::from("ANONYMOUS PLAIN AMQPLAIN");
        assert_eq!(choose(&[], &offered).unwrap(), Plain);
        assert_eq!(choose(&[External, AmqPlain], &offered).unwrap(), AmqPlain);
        assert!(choose(&[External], &offered).is_err());
        // RabbitMQ's name begins with another's.
        assert_eq!(choose(&[], &"AMQPLAIN".into()).unwrap(), AmqPlain);
    }

    #[test]
    fn values_of_zero_ask_for_nothing() {
        for (ours, theirs, expected) in [
            (10, 60, 10),
            (60, 10, 10),
            (0, 60, 60),
            (10, 0, 10),
            (0, 0, 0),
        ] {
            assert_eq!(agreed(ours, theirs), expected);
        }
    }
}
