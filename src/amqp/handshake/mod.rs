//! The handshake, from the protocol header to `connection.open-ok`. Pure: bytes in, bytes and the next step
//! out; the caller has the socket, the clock, passwords and virtual hosts. Each state is a value that only
//! its own next step accepts, and a connection exists only with the [`Terms`] of a completed handshake.
//!
//! The caller loops: it calls [`Handshake::advance`] with its input, writes `out` to the socket after every
//! call, and does what the [`Step`] says. Bytes that a client sends ahead stay in `input`.
//!
//! RabbitMQ sends no error to a client that has not logged in: it waits a while and closes the socket. Only
//! after `tune-ok` does it send a `connection.close`.

mod rejection;
mod server;
mod terms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::error::Code;
use super::method_id::MethodId;
use super::sasl::{Mechanism, Proof, SaslError};
use crate::wire::protocol::connection::{AMQPMethod, OpenOk, StartOk, Tune, TuneOk};
use crate::wire::{AMQPClass, Frame, FrameKind, decode_method, encode_method, frame_text, split};

use rejection::{Reply, reply_to};
use server::start;
use terms::{Client, Tuned};

pub(super) use rejection::{
    HandshakeError, Hangup, Rejection, SILENT_CLOSE_DELAY, VhostRefusal, close, close_ok_delay,
};
use server::START_OK_FRAME_MAX;
pub(super) use server::{FRAME_MAX_MIN, Secure, Settings};
pub(super) use terms::{Capabilities, Terms};

/// The protocol header sent to peers of a neighbouring version or of AMQP 1.0: the version spoken here.
const SPOKEN_HERE: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// The protocol header that RabbitMQ 4 sends to all other peers. Clients of 0-9-1 never see it.
const NOT_SPOKEN: &[u8; 8] = b"AMQP\x03\x01\0\0";

/// A handshake that waits for bytes.
#[derive(Debug)]
pub(in crate::amqp) struct Handshake {
    settings: Arc<Settings>,
    secure: Secure,
    state: State,
}

/// The method that the client has to send next, with everything learned of the client so far.
#[derive(Debug)]
enum State {
    Header { cluster_name: String },
    StartOk,
    TuneOk(Box<Client>),
    Open(Box<Client>, Tuned),
}

/// The caller's next action, after it has written `out`.
#[derive(Debug)]
pub(in crate::amqp) enum Step {
    /// Read more into `input` and advance again.
    Read(Handshake),
    /// Check this proof and pass the result to [`AwaitLogin`].
    Login(Proof, AwaitLogin),
    /// Check whether the user may open this virtual host and pass the result to [`AwaitVhost`].
    Vhost(String, AwaitVhost),
    /// The handshake has failed.
    Reject(Rejection),
}

/// A handshake that waits for the result of a login.
#[derive(Debug)]
pub(in crate::amqp) struct AwaitLogin {
    settings: Arc<Settings>,
    secure: Secure,
    client: Box<Client>,
}

/// A handshake that waits for a virtual host.
#[derive(Debug)]
pub(in crate::amqp) struct AwaitVhost {
    terms: Box<Terms>,
}

impl Handshake {
    /// A handshake that waits for the protocol header. Clients see the name of the cluster.
    pub(in crate::amqp) fn new(
        settings: Arc<Settings>,
        cluster_name: String,
        secure: Secure,
    ) -> Handshake {
        Handshake {
            settings,
            secure,
            state: State::Header { cluster_name },
        }
    }

    /// Takes complete frames from `input` and appends the replies to `out`.
    pub(in crate::amqp) fn advance(mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step {
        if let State::Header { cluster_name } = &self.state {
            let Some(header) = input.first_chunk::<8>().copied() else {
                return Step::Read(self);
            };
            input.advance(header.len());
            if let Err(rejection) = check_header(header, out) {
                return Step::Reject(rejection);
            }
            encode_method(out, 0, &start(&self.settings, cluster_name, self.secure));
            self.state = State::StartOk;
        }
        loop {
            let frame = match split(input, self.frame_max()) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Step::Read(self),
                Err(error) => return Step::Reject(self.reject(HandshakeError::Frame(error), out)),
            };
            if (frame.kind, frame.channel) == (FrameKind::Heartbeat, 0) {
                continue;
            }
            self = match self.method(&frame, out) {
                Step::Read(handshake) => handshake,
                step @ (Step::Login(..) | Step::Vhost(..) | Step::Reject(_)) => return step,
            };
        }
    }

    /// The largest frame that is read now.
    fn frame_max(&self) -> u32 {
        match &self.state {
            State::Header { .. } | State::TuneOk(_) => FRAME_MAX_MIN,
            State::StartOk => START_OK_FRAME_MAX,
            State::Open(_, tuned) => tuned.frame_max,
        }
    }

    fn method(self, frame: &Frame, out: &mut BytesMut) -> Step {
        if (frame.kind, frame.channel) != (FrameKind::Method, 0) {
            let text = frame_text(frame.kind.octet(), &frame.payload);
            return Step::Reject(self.reject(HandshakeError::UnexpectedFrame(text), out));
        }
        let method = match decode_method(&frame.payload) {
            Ok(method) => method,
            Err(error) => return Step::Reject(self.reject(HandshakeError::Method(error), out)),
        };
        let Handshake {
            settings,
            secure,
            state,
        } = self;
        match (state, method) {
            (State::StartOk, AMQPClass::Connection(AMQPMethod::StartOk(start_ok))) => {
                login(settings, secure, start_ok)
            }
            (State::TuneOk(client), AMQPClass::Connection(AMQPMethod::TuneOk(tune_ok))) => {
                tuned(settings, secure, client, &tune_ok)
            }
            (State::Open(client, tuned), AMQPClass::Connection(AMQPMethod::Open(open))) => {
                let vhost = open.virtual_host.to_string();
                let terms = Box::new(Terms::new(*client, tuned, vhost.clone()));
                Step::Vhost(vhost, AwaitVhost { terms })
            }
            (state, method) => {
                let error = HandshakeError::UnexpectedMethod {
                    class_id: method.get_amqp_class_id(),
                    method_id: method.get_amqp_method_id(),
                    state: state.name(),
                };
                let handshake = Handshake {
                    settings,
                    secure,
                    state,
                };
                Step::Reject(handshake.reject(error, out))
            }
        }
    }

    /// Ends a handshake because of a protocol error.
    fn reject(self, error: HandshakeError, out: &mut BytesMut) -> Rejection {
        let hangup = match (&self.state, reply_to(&error)) {
            (_, Reply::HangUp) => Hangup::Now,
            (State::Open(_, tuned), Reply::Close(close)) => {
                encode_method(out, 0, &close);
                match &error {
                    // Further frames cannot be decoded, so no close-ok can arrive.
                    HandshakeError::Frame(frame) if !frame.in_step() => {
                        Hangup::After(SILENT_CLOSE_DELAY)
                    }
                    _ => Hangup::AwaitCloseOk(close_ok_delay(tuned.heartbeat)),
                }
            }
            (_, Reply::Close(_) | Reply::Silence) => Hangup::After(SILENT_CLOSE_DELAY),
        };
        Rejection { hangup, error }
    }
}

impl State {
    /// RabbitMQ's name of the state.
    fn name(&self) -> &'static str {
        match self {
            State::Header { .. } => "handshake",
            State::StartOk => "starting",
            State::TuneOk(_) => "tuning",
            State::Open(..) => "opening",
        }
    }
}

impl AwaitLogin {
    /// The login was accepted: sends `tune`. From here on the user has the name that it is known by.
    pub(in crate::amqp) fn accepted(self, user: &str, out: &mut BytesMut) -> Handshake {
        let AwaitLogin {
            settings,
            secure,
            mut client,
        } = self;
        user.clone_into(&mut client.user);
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
            secure,
            state: State::TuneOk(client),
        }
    }

    /// The login was refused. The client does not learn the reason.
    pub(in crate::amqp) fn refused(self, out: &mut BytesMut) -> Rejection {
        let Client {
            user,
            mechanism,
            capabilities,
            ..
        } = *self.client;
        let mechanism = mechanism.name();
        let hangup = if capabilities.authentication_failure_close {
            let text = format!(
                "Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            );
            encode_method(out, 0, &close(Code::AccessRefused, &text, MethodId::NONE));
            Hangup::AwaitCloseOk(SILENT_CLOSE_DELAY)
        } else {
            Hangup::After(SILENT_CLOSE_DELAY)
        };
        Rejection {
            hangup,
            error: HandshakeError::Login { user, mechanism },
        }
    }
}

impl AwaitVhost {
    pub(in crate::amqp) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The user may open the virtual host.
    pub(in crate::amqp) fn granted(self, out: &mut BytesMut) -> Terms {
        encode_method(
            out,
            0,
            &AMQPClass::Connection(AMQPMethod::OpenOk(OpenOk {})),
        );
        *self.terms
    }

    /// The virtual host is not opened.
    pub(in crate::amqp) fn refused(self, refusal: VhostRefusal, out: &mut BytesMut) -> Rejection {
        let Terms {
            vhost, heartbeat, ..
        } = *self.terms;
        let not_allowed = (Code::NotAllowed, MethodId::CONNECTION_OPEN);
        let ((code, about), text) = match refusal {
            VhostRefusal::NotFound => (not_allowed, format!("vhost {vhost} not found")),
            VhostRefusal::NoAccess(text) | VhostRefusal::Limit(text) => (not_allowed, text),
            VhostRefusal::NotServed(text) => ((Code::ConnectionForced, MethodId::NONE), text),
        };
        encode_method(out, 0, &close(code, &text, about));
        Rejection {
            hangup: Hangup::AwaitCloseOk(close_ok_delay(heartbeat)),
            error: HandshakeError::Vhost(text),
        }
    }
}

/// Accepts the header of 0-9-1, and that of 0-9, which some clients send.
fn check_header(header: [u8; 8], out: &mut BytesMut) -> Result<(), Rejection> {
    let reply = match &header {
        b"AMQP\0\0\x09\x01" | b"AMQP\x01\x01\0\x09" => return Ok(()),
        [b'A', b'M', b'Q', b'P', 0 | 3, ..] => SPOKEN_HERE,
        _ => NOT_SPOKEN,
    };
    out.extend_from_slice(reply);
    Err(Rejection {
        hangup: Hangup::Now,
        error: HandshakeError::ProtocolHeader(header),
    })
}

fn login(settings: Arc<Settings>, secure: Secure, start_ok: StartOk) -> Step {
    let StartOk {
        client_properties,
        mechanism,
        response,
        locale: _,
    } = start_ok; // RabbitMQ takes any locale
    let parsed = Mechanism::named(mechanism.as_str()).and_then(|mechanism| {
        match settings.offers(mechanism, secure) {
            true => Ok((mechanism, mechanism.proof(response.as_bytes())?)),
            false => Err(SaslError::NotOffered(mechanism.name())),
        }
    });
    match parsed {
        Ok((mechanism, proof)) => {
            let capabilities = Capabilities::of(&client_properties);
            let user = match &proof {
                Proof::Password(credentials) => credentials.user.clone(),
                // Known when the caller has read the certificate.
                Proof::Certificate => String::new(),
            };
            let client = Box::new(Client {
                user,
                mechanism,
                properties: client_properties,
                capabilities,
            });
            let waiting = AwaitLogin {
                settings,
                secure,
                client,
            };
            Step::Login(proof, waiting)
        }
        Err(error) => Step::Reject(Rejection {
            hangup: Hangup::After(SILENT_CLOSE_DELAY),
            error: HandshakeError::Sasl(error),
        }),
    }
}

fn tuned(settings: Arc<Settings>, secure: Secure, client: Box<Client>, tune_ok: &TuneOk) -> Step {
    let TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    } = *tune_ok;
    let agreed =
        check_range("frame_max", frame_max, FRAME_MAX_MIN, settings.frame_max).and_then(|()| {
            check_range(
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
                secure,
                state: State::Open(client, tuned),
            })
        }
        Err(error) => Step::Reject(Rejection {
            hangup: Hangup::After(SILENT_CLOSE_DELAY),
            error,
        }),
    }
}

/// Checks a value of `tune-ok`. 0 asks for no limit, which exceeds any maximum.
fn check_range(field: &'static str, value: u32, min: u32, max: u32) -> Result<(), HandshakeError> {
    let refused = |than, allowed| {
        Err(HandshakeError::Tuning {
            field,
            value,
            than,
            allowed,
        })
    };
    if value == 0 || value > max {
        refused("higher than the maximum", max)
    } else if value < min {
        refused("lower than the minimum", min)
    } else {
        Ok(())
    }
}
