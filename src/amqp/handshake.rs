//! From the protocol header to `connection.open-ok`: decides what to answer and when a peer is let in. Pure: bytes in,
//! bytes and the next step out; the socket, the clock, passwords and vhosts are the caller's. Each state is a value that
//! only its own next step accepts, and a connection exists only with the [`Open`] that comes out at the end.
//!
//! The caller loops: [`Handshake::advance`] with what it has read, write `out` to the socket after every call, do what
//! the [`Step`] says. Bytes that a client sends ahead stay in `input`, the first channel's among them.
//!
//! Before a client has logged in, RabbitMQ does not argue with it: whatever is wrong, it waits a while and closes the
//! socket without a word. Only once `tune-ok` was right does it send a `connection.close`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use thiserror::Error;

use super::sasl::{Credentials, MECHANISMS, Mechanism, SaslError};
use crate::wire::protocol::connection::{AMQPMethod, Close, OpenOk, Start, StartOk, Tune, TuneOk};
use crate::wire::{
    AMQPClass, AMQPValue, Fault, FieldTable, Frame, FrameError, FrameKind, MethodError,
    decode_method, encode_method, frame_text, reply_text, short_string, split,
};

/// The RabbitMQ release whose behaviour clients may expect. They read it from server-properties and want it dotted.
const COMPATIBLE_VERSION: &str = "4.2.0";
/// What is said to a peer of a neighbouring version or of AMQP 1.0: the protocol that is spoken here.
const SPOKEN_HERE: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// What RabbitMQ 4 says to all others. No client of 0-9-1 ever sees it.
const NOT_SPOKEN: &[u8; 8] = b"AMQP\x03\x01\0\0";

/// The smallest frame size that a client may ask for (RabbitMQ up to 4.0), and the largest frame before `tune-ok`.
pub const FRAME_MAX_MIN: u32 = 4096;
/// How long a refused peer is kept waiting, so that guessing passwords takes time.
pub const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);
/// How long a client may take to answer `connection.close`, unless its heartbeat is shorter.
pub const CLOSE_OK_DELAY: Duration = Duration::from_secs(30);

/// What the server says of itself and offers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest `channel-max`; at least 1.
    pub channel_max: u16,
    /// The largest `frame-max`, in bytes; at least [`FRAME_MAX_MIN`].
    pub frame_max: u32,
    /// The heartbeat to suggest, in seconds; 0 is off. The client decides.
    pub heartbeat: u16,
    /// For server-properties.
    pub cluster_name: String,
}

/// A handshake that waits for bytes.
#[derive(Debug)]
pub struct Handshake {
    settings: Arc<Settings>,
    state: State,
}

/// What the client has to send next, and what it has shown so far.
#[derive(Debug)]
enum State {
    Header,
    StartOk,
    TuneOk(Box<Client>),
    Open(Box<Client>, Tuned),
}

/// Who wants in.
#[derive(Debug)]
struct Client {
    user: String,
    mechanism: Mechanism,
    properties: FieldTable,
    capabilities: Capabilities,
}

/// What `tune-ok` settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuned {
    channel_max: u16,
    frame_max: u32,
    heartbeat: u16,
}

/// What a client says it can do: the `capabilities` table of its properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It wants a `connection.close` when its login is refused.
    pub authentication_failure_close: bool,
    /// It takes `connection.blocked` and `connection.unblocked`.
    pub connection_blocked: bool,
    /// It takes a `basic.cancel` when its queue goes away.
    pub consumer_cancel_notify: bool,
    /// It takes `basic.nack`.
    pub basic_nack: bool,
}

/// An open connection's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The name it logged in with.
    pub user: String,
    /// How it logged in.
    pub mechanism: Mechanism,
    /// The virtual host that it opened.
    pub vhost: String,
    /// The largest frame in both directions, in bytes, overhead included.
    pub frame_max: u32,
    /// How many channels may be open at once; at least 1.
    pub channel_max: u16,
    /// In seconds; 0 is off.
    pub heartbeat: u16,
    /// What the client says of itself.
    pub client_properties: FieldTable,
    /// What of that is acted upon.
    pub capabilities: Capabilities,
}

/// What the caller has to do next; `out` comes first.
#[derive(Debug)]
pub enum Step {
    /// Read more into `input` and advance again.
    Read(Handshake),
    /// Check these credentials, then tell [`AwaitLogin`].
    Login(Credentials, AwaitLogin),
    /// Look whether the user may open this vhost, then tell [`AwaitVhost`].
    Vhost(String, AwaitVhost),
    /// There will be no connection.
    End(Ending),
}

/// A handshake that waits for the outcome of a login.
#[derive(Debug)]
pub struct AwaitLogin {
    settings: Arc<Settings>,
    client: Box<Client>,
}

/// A handshake that waits to hear about the vhost.
#[derive(Debug)]
pub struct AwaitVhost {
    open: Box<Open>,
}

/// Why a vhost is not opened. Reply code 530 for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VhostRefusal {
    /// There is no such vhost.
    NotFound,
    /// The user has no permissions in it.
    NoAccess,
    /// A limit on connections is reached; the text says which.
    Limit(String),
}

/// How a handshake ends that did not lead to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What to do with the socket.
    pub how: Hangup,
    /// For the log.
    pub why: Refusal,
}

/// How to get rid of a peer, once what was written has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Close the socket.
    Now,
    /// Read no more; close the socket after this long.
    After(Duration),
    /// Wait for `connection.close-ok`, at most this long, then close the socket. Anything else that comes is ignored.
    AwaitCloseOk(Duration),
}

/// Why a peer is not let in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The first octets are not a header of AMQP 0-9-1.
    #[error("bad protocol header {}", .0.escape_ascii())]
    ProtocolHeader([u8; 8]),
    /// Bytes that are not a frame, or a frame too large for now.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A method that cannot be decoded.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A frame that may not come now. With RabbitMQ's text for it.
    #[error("unexpected frame: {0}")]
    UnexpectedFrame(String),
    /// A method that may not come now.
    #[error("unexpected method {class_id}.{method_id} in connection state {state}")]
    UnexpectedMethod {
        /// Class id.
        class_id: u16,
        /// Method id.
        method_id: u16,
        /// RabbitMQ's name of the state.
        state: &'static str,
    },
    /// The login cannot be understood.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// The caller refused the login.
    #[error("login of user '{user}' by {mechanism} was refused")]
    Login {
        /// Who it said it was.
        user: String,
        /// How it tried.
        mechanism: &'static str,
    },
    /// `tune-ok` asks for what was not on offer.
    #[error("negotiated {field} = {asked} is {than} allowed value ({allowed})")]
    Tuning {
        /// Which value.
        field: &'static str,
        /// What the client asked for.
        asked: u32,
        /// "higher than the maximum" or "lower than the minimum".
        than: &'static str,
        /// The bound.
        allowed: u32,
    },
    /// The vhost is not opened.
    #[error("{0}")]
    Vhost(String),
}

impl Handshake {
    /// A handshake that waits for the protocol header.
    pub fn new(settings: Arc<Settings>) -> Handshake {
        Handshake {
            settings,
            state: State::Header,
        }
    }

    /// Takes what it can from `input`, appends what is to be sent to `out`, and says what comes next.
    pub fn advance(mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step {
        if let State::Header = self.state {
            let Some(header) = input.first_chunk::<8>().copied() else {
                return Step::Read(self);
            };
            input.advance(header.len());
            if let Err(ending) = check_header(header, out) {
                return Step::End(ending);
            }
            encode_method(out, 0, &start(&self.settings));
            self.state = State::StartOk;
        }
        loop {
            let frame = match split(input, self.frame_max()) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Step::Read(self),
                Err(error) => return Step::End(self.end(Refusal::Frame(error), out)),
            };
            if (frame.kind, frame.channel) == (FrameKind::Heartbeat, 0) {
                continue;
            }
            self = match self.method(&frame, out) {
                Step::Read(handshake) => handshake,
                step @ (Step::Login(..) | Step::Vhost(..) | Step::End(_)) => return step,
            };
        }
    }

    /// The largest payload that is read now.
    fn frame_max(&self) -> u32 {
        match &self.state {
            State::Header | State::StartOk | State::TuneOk(_) => FRAME_MAX_MIN,
            State::Open(_, tuned) => tuned.frame_max,
        }
    }

    fn method(self, frame: &Frame, out: &mut BytesMut) -> Step {
        if (frame.kind, frame.channel) != (FrameKind::Method, 0) {
            let text = frame_text(frame.kind.octet(), &frame.payload);
            return Step::End(self.end(Refusal::UnexpectedFrame(text), out));
        }
        let method = match decode_method(&frame.payload) {
            Ok(method) => method,
            Err(error) => return Step::End(self.end(Refusal::Method(error), out)),
        };
        let Handshake { settings, state } = self;
        match (state, method) {
            (State::StartOk, AMQPClass::Connection(AMQPMethod::StartOk(start_ok))) => {
                login(settings, start_ok)
            }
            (State::TuneOk(client), AMQPClass::Connection(AMQPMethod::TuneOk(tune_ok))) => {
                tuned(settings, client, &tune_ok)
            }
            (State::Open(client, tuned), AMQPClass::Connection(AMQPMethod::Open(open))) => {
                let vhost = open.virtual_host.to_string();
                let open = Box::new(Open::new(*client, tuned, vhost.clone()));
                Step::Vhost(vhost, AwaitVhost { open })
            }
            (state, method) => {
                let refusal = Refusal::UnexpectedMethod {
                    class_id: method.get_amqp_class_id(),
                    method_id: method.get_amqp_method_id(),
                    state: state.name(),
                };
                Step::End(Handshake { settings, state }.end(refusal, out))
            }
        }
    }

    /// Ends a handshake in which the client broke the rules.
    fn end(self, why: Refusal, out: &mut BytesMut) -> Ending {
        let how = match (&self.state, close_for(&why)) {
            (_, Answer::HangUp) => Hangup::Now,
            (State::Open(_, tuned), Answer::Close(close)) => {
                encode_method(out, 0, &close);
                match &why {
                    // What follows cannot be read, so there is no close-ok to wait for.
                    Refusal::Frame(error) if !error.in_step() => Hangup::After(SILENT_CLOSE_DELAY),
                    _ => Hangup::AwaitCloseOk(close_ok_delay(tuned.heartbeat)),
                }
            }
            (_, Answer::Close(_) | Answer::Silence) => Hangup::After(SILENT_CLOSE_DELAY),
        };
        Ending { how, why }
    }
}

impl State {
    /// RabbitMQ's name for it.
    fn name(&self) -> &'static str {
        match self {
            State::Header => "handshake",
            State::StartOk => "starting",
            State::TuneOk(_) => "tuning",
            State::Open(..) => "opening",
        }
    }
}

impl AwaitLogin {
    /// The password is right: offers the terms.
    pub fn accepted(self, out: &mut BytesMut) -> Handshake {
        let AwaitLogin { settings, client } = self;
        let Settings {
            channel_max,
            frame_max,
            heartbeat,
            ..
        } = *settings;
        encode_method(
            out,
            0,
            &AMQPClass::Connection(AMQPMethod::Tune(Tune {
                channel_max,
                frame_max,
                heartbeat,
            })),
        );
        Handshake {
            settings,
            state: State::TuneOk(client),
        }
    }

    /// The login is refused, for whatever reason: the client is not told which.
    pub fn refused(self, out: &mut BytesMut) -> Ending {
        let Client {
            user,
            mechanism,
            capabilities,
            ..
        } = *self.client;
        let mechanism = mechanism.name();
        let how = if capabilities.authentication_failure_close {
            let text = format!(
                "ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            );
            encode_method(out, 0, &close(403, &text, 0, 0));
            Hangup::AwaitCloseOk(SILENT_CLOSE_DELAY)
        } else {
            Hangup::After(SILENT_CLOSE_DELAY)
        };
        Ending {
            how,
            why: Refusal::Login { user, mechanism },
        }
    }
}

impl AwaitVhost {
    /// Who asks.
    pub fn user(&self) -> &str {
        &self.open.user
    }

    /// The vhost is there and the user may use it.
    pub fn granted(self, out: &mut BytesMut) -> Open {
        encode_method(
            out,
            0,
            &AMQPClass::Connection(AMQPMethod::OpenOk(OpenOk {})),
        );
        *self.open
    }

    /// It is not, or may not.
    pub fn refused(self, refusal: VhostRefusal, out: &mut BytesMut) -> Ending {
        let Open {
            user,
            vhost,
            heartbeat,
            ..
        } = *self.open;
        let text = match refusal {
            VhostRefusal::NotFound => format!("vhost {vhost} not found"),
            VhostRefusal::NoAccess => {
                format!("access to vhost '{vhost}' refused for user '{user}'")
            }
            VhostRefusal::Limit(text) => text,
        };
        encode_method(
            out,
            0,
            &close(530, &format!("NOT_ALLOWED - {text}"), 10, 40),
        );
        Ending {
            how: Hangup::AwaitCloseOk(close_ok_delay(heartbeat)),
            why: Refusal::Vhost(text),
        }
    }
}

impl Capabilities {
    /// Read from client-properties. What is not a table, or not a boolean, counts for nothing.
    fn of(client_properties: &FieldTable) -> Capabilities {
        let Some(AMQPValue::FieldTable(table)) = client_properties.inner().get("capabilities")
        else {
            return Capabilities::default();
        };
        let has = |name: &str| matches!(table.inner().get(name), Some(AMQPValue::Boolean(true)));
        Capabilities {
            authentication_failure_close: has("authentication_failure_close"),
            connection_blocked: has("connection.blocked"),
            consumer_cancel_notify: has("consumer_cancel_notify"),
            basic_nack: has("basic.nack"),
        }
    }
}

impl Open {
    fn new(client: Client, tuned: Tuned, vhost: String) -> Open {
        let Client {
            user,
            mechanism,
            properties,
            capabilities,
        } = client;
        let Tuned {
            channel_max,
            frame_max,
            heartbeat,
        } = tuned;
        Open {
            user,
            mechanism,
            vhost,
            frame_max,
            channel_max,
            heartbeat,
            client_properties: properties,
            capabilities,
        }
    }

    /// The name that the client gave the connection, if any.
    pub fn connection_name(&self) -> Option<&str> {
        let name = self
            .client_properties
            .inner()
            .get("connection_name")?
            .as_long_string()?;
        std::str::from_utf8(name.as_bytes()).ok()
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 0-9-1, and the header of 0-9 that some clients send, which is as good.
fn check_header(header: [u8; 8], out: &mut BytesMut) -> Result<(), Ending> {
    let answer = match &header {
        b"AMQP\0\0\x09\x01" | b"AMQP\x01\x01\0\x09" => return Ok(()),
        [b'A', b'M', b'Q', b'P', 0 | 3, ..] => SPOKEN_HERE,
        _ => NOT_SPOKEN,
    };
    out.extend_from_slice(answer);
    Err(Ending {
        how: Hangup::Now,
        why: Refusal::ProtocolHeader(header),
    })
}

fn login(settings: Arc<Settings>, start_ok: StartOk) -> Step {
    let StartOk {
        client_properties,
        mechanism,
        response,
        locale: _,
    } = start_ok; // RabbitMQ takes any locale
    let parsed = Mechanism::named(mechanism.as_str())
        .and_then(|mechanism| Ok((mechanism, mechanism.credentials(response.as_bytes())?)));
    match parsed {
        Ok((mechanism, credentials)) => {
            let capabilities = Capabilities::of(&client_properties);
            let user = credentials.user.clone();
            let client = Box::new(Client {
                user,
                mechanism,
                properties: client_properties,
                capabilities,
            });
            Step::Login(credentials, AwaitLogin { settings, client })
        }
        Err(error) => Step::End(Ending {
            how: Hangup::After(SILENT_CLOSE_DELAY),
            why: Refusal::Sasl(error),
        }),
    }
}

fn tuned(settings: Arc<Settings>, client: Box<Client>, tune_ok: &TuneOk) -> Step {
    let TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    } = *tune_ok;
    let agreed = within("frame_max", frame_max, FRAME_MAX_MIN, settings.frame_max).and_then(|()| {
        within(
            "channel_max",
            channel_max.into(),
            1,
            settings.channel_max.into(),
        )
    });
    match agreed {
        Ok(()) => {
            let tuned = Tuned {
                channel_max,
                frame_max,
                heartbeat,
            };
            Step::Read(Handshake {
                settings,
                state: State::Open(client, tuned),
            })
        }
        Err(why) => Step::End(Ending {
            how: Hangup::After(SILENT_CLOSE_DELAY),
            why,
        }),
    }
}

/// 0 asks for no limit at all, which is more than any limit.
fn within(field: &'static str, asked: u32, min: u32, max: u32) -> Result<(), Refusal> {
    let refused = |than, allowed| {
        Err(Refusal::Tuning {
            field,
            asked,
            than,
            allowed,
        })
    };
    if asked == 0 || asked > max {
        refused("higher than the maximum", max)
    } else if asked < min {
        refused("lower than the minimum", min)
    } else {
        Ok(())
    }
}

/// What a client that broke the rules would be told, were it past `tune-ok`.
enum Answer {
    Close(AMQPClass),
    /// Nothing, after a delay.
    Silence,
    /// Nothing, at once.
    HangUp,
}

fn close_for(why: &Refusal) -> Answer {
    match why {
        // On a channel, any frame is one too many, whatever is wrong with it.
        Refusal::Frame(FrameError::Unknown {
            octet,
            channel: 1..,
            snippet,
        }) => Answer::Close(close(
            505,
            &format!("UNEXPECTED_FRAME - type {octet}, {snippet}"),
            0,
            0,
        )),
        Refusal::Frame(error) => Answer::Close(close(501, &format!("FRAME_ERROR - {error}"), 0, 0)),
        Refusal::Method(MethodError::Malformed {
            class_id,
            method_id,
            fault: Fault::NotUtf8,
            text,
        }) => Answer::Close(close(
            501,
            &format!("FRAME_ERROR - {text}"),
            *class_id,
            *method_id,
        )),
        Refusal::UnexpectedFrame(text) => {
            Answer::Close(close(505, &format!("UNEXPECTED_FRAME - {text}"), 0, 0))
        }
        Refusal::UnexpectedMethod {
            class_id,
            method_id,
            state,
        } => {
            let text = format!("CHANNEL_ERROR - unexpected method in connection state {state}");
            Answer::Close(close(504, &text, *class_id, *method_id))
        }
        Refusal::Method(MethodError::Unknown { .. } | MethodError::NoIds)
        | Refusal::ProtocolHeader(_) => Answer::HangUp,
        Refusal::Method(MethodError::Malformed { .. } | MethodError::Table { .. })
        | Refusal::Sasl(_)
        | Refusal::Login { .. }
        | Refusal::Tuning { .. }
        | Refusal::Vhost(_) => Answer::Silence,
    }
}

fn close(reply_code: u16, text: &str, class_id: u16, method_id: u16) -> AMQPClass {
    AMQPClass::Connection(AMQPMethod::Close(Close {
        reply_code,
        reply_text: reply_text(text),
        class_id,
        method_id,
    }))
}

/// RabbitMQ waits for close-ok no longer than the heartbeat.
fn close_ok_delay(heartbeat: u16) -> Duration {
    match heartbeat {
        0 => CLOSE_OK_DELAY,
        seconds => CLOSE_OK_DELAY.min(Duration::from_secs(seconds.into())),
    }
}

fn start(settings: &Settings) -> AMQPClass {
    AMQPClass::Connection(AMQPMethod::Start(Start {
        version_major: 0,
        version_minor: 9,
        server_properties: server_properties(settings),
        mechanisms: MECHANISMS.into(),
        locales: "en_US".into(),
    }))
}

/// As RabbitMQ has them, name for name: clients read `version` and `capabilities` before they use an extension.
fn server_properties(settings: &Settings) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        capabilities.insert(short_string(name), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, text) in [
        ("cluster_name", settings.cluster_name.as_str()),
        ("copyright", "Copyright (c) the Leveret authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("platform", "Rust"),
        ("product", "Leveret"),
        ("version", COMPATIBLE_VERSION),
        ("leveret_version", env!("CARGO_PKG_VERSION")),
    ] {
        properties.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    properties
}

#[cfg(test)]
mod tests;
