//! From the protocol header to `connection.open-ok`: decides what to answer and when a peer is let in. Pure: bytes in,
//! bytes and the next step out; the socket, the clock, passwords and vhosts are the caller's. Each state is a value that
//! only its own next step accepts, and a connection exists only with the [`Open`] that comes out at the end.
//!
//! The caller loops: [`Handshake::advance`] with what it has read, write `out` to the socket after every call, do what
//! the [`Step`] says. Bytes that a client sends ahead stay in `input`, the first channel's among them.
//!
//! Before a client has logged in, RabbitMQ does not argue with it: whatever is wrong, it waits a while and closes the
//! socket without a word. Only once `tune-ok` was right does it send a `connection.close`.

mod ending;
mod open;
mod start;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::sasl::{Credentials, Mechanism};
use crate::wire::protocol::connection::{AMQPMethod, OpenOk, StartOk, Tune, TuneOk};
use crate::wire::{
    AMQPClass, FieldTable, Frame, FrameKind, decode_method, encode_method, frame_text, split,
};

use ending::{Answer, close, close_for};
use start::start;

pub(super) use ending::close_ok_delay;
pub use ending::{CLOSE_OK_DELAY, Ending, Hangup, Refusal, SILENT_CLOSE_DELAY, VhostRefusal};
pub use open::{Capabilities, Open};

/// What is said to a peer of a neighbouring version or of AMQP 1.0: the protocol that is spoken here.
const SPOKEN_HERE: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// What RabbitMQ 4 says to all others. No client of 0-9-1 ever sees it.
const NOT_SPOKEN: &[u8; 8] = b"AMQP\x03\x01\0\0";

/// The smallest frame size that a client may ask for (RabbitMQ up to 4.0), and the largest frame before `tune-ok`.
pub const FRAME_MAX_MIN: u32 = 4096;
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
    /// For server-properties: what some clients look for.
    pub product: String,
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
    /// The terms, should it be opened.
    pub fn terms(&self) -> &Open {
        &self.open
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
