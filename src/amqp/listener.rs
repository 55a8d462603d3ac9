//! Accepts connections, takes each through its handshake and starts its task. Knows nothing of channels.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::Connection;
use super::connection_state::Context;
use super::front::Front;
use super::handshake::{
    Handshake, HandshakeError, Hangup, Rejection, Secure, Step, Terms, VhostRefusal,
};
use super::heartbeat::Heart;
use super::limits::READ_MIN;
use super::method_id::MethodId;
use super::outbox::Outbox;
use super::sasl::Proof;
use super::task::Task;
use crate::auth::{AuthUser, Authorizer, Credentials};
use crate::broker::connections::{ConnectionInfo, Registration};
use crate::broker::limits::ConnectionPermit;
use crate::broker::session::Session;
use crate::broker::users::{Answer, LoginDoor};
use crate::broker::vhost::Vhost;
use crate::clock::monotonic;
use crate::model::TlsInfo;
use crate::net::{Listener, SocketPermit, Transport};
use crate::wire::protocol::connection::{AMQPMethod, CloseOk};
use crate::wire::{AMQPClass, Frame, FrameKind, encode_method, split};

impl Front {
    /// Accepts connections until `stopped` is true or its sender is gone. Drops connections in their
    /// handshake then, and returns when the open ones have ended;
    /// [`crate::broker::connections::Connections::close_where`] asks them to close. Dropping this future
    /// drops all of them.
    pub async fn serve(self: Arc<Front>, listener: Listener, stopped: watch::Receiver<bool>) {
        let (front, stop_seen) = (Arc::clone(&self), stopped.clone());
        let serve_one = move |stream, peer, socket_permit| {
            Arc::clone(&front).accepted(stream, peer, socket_permit, stop_seen.clone())
        };
        self.acceptor.serve(listener, stopped, serve_one).await;
    }

    /// One client, from its first byte to its last.
    async fn accepted(
        self: Arc<Front>,
        mut stream: Transport,
        peer: SocketAddr,
        socket_permit: SocketPermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%peer, %error, "cannot set the options of a socket");
        }
        let mut input = BytesMut::with_capacity(READ_MIN);
        let shaken = tokio::select! {
            shaken = self.shake_hands(&mut stream, peer, &socket_permit, &mut input, None) => shaken,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match shaken {
            // Boxed, so that a handshake does not reserve memory for the state of an open connection.
            Ok(Shaken::Open(terms, opened)) => {
                Box::pin(Arc::clone(&self).serve_open(stream, input, *terms, *opened)).await;
            }
            Ok(Shaken::Rejected(rejection)) => tokio::select! {
                () = hang_up(&mut stream, &mut input, rejection.hangup, self.settings.frame_max) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            },
            Ok(Shaken::Gone) => {}
            Err(error) => tracing::debug!(%peer, %error, "connection lost in its handshake"),
        }
        drop(socket_permit);
    }
}

impl Front {
    /// Serves a connection of the broker to itself. It acts as `user`, whatever login its handshake brings.
    pub async fn serve_inside(
        self: Arc<Front>,
        mut stream: Transport,
        peer: SocketAddr,
        user: Arc<AuthUser>,
    ) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%peer, %error, "cannot set the options of a socket");
        }
        let socket_permit = self.acceptor.admit_inside();
        let mut input = BytesMut::with_capacity(READ_MIN);
        let shaken = self
            .shake_hands(&mut stream, peer, &socket_permit, &mut input, Some(&user))
            .await;
        match shaken {
            Ok(Shaken::Open(terms, opened)) => {
                Box::pin(Arc::clone(&self).serve_open(stream, input, *terms, *opened)).await;
            }
            Ok(Shaken::Rejected(rejection)) => {
                hang_up(
                    &mut stream,
                    &mut input,
                    rejection.hangup,
                    self.settings.frame_max,
                )
                .await;
            }
            Ok(Shaken::Gone) => {}
            Err(error) => tracing::debug!(%peer, %error, "connection lost in its handshake"),
        }
        drop(socket_permit);
    }
}

/// Small frames leave immediately. Closing a socket resets it, as in RabbitMQ: output that the peer has not
/// taken is dropped, and the system keeps nothing of the connection.
fn prepare(stream: &Transport) -> std::io::Result<()> {
    stream.set_nodelay()?;
    stream.set_zero_linger()
}

/// Result of a handshake.
enum Shaken {
    Open(Box<Terms>, Box<Opened>),
    Rejected(Rejection),
    /// The peer closed its socket.
    Gone,
}

/// The broker's side of an open connection.
struct Opened {
    session: Session,
    permit: ConnectionPermit,
    outbox: Arc<Outbox>,
    info: Arc<ConnectionInfo>,
    registration: Registration,
}

impl Front {
    async fn shake_hands(
        &self,
        stream: &mut Transport,
        peer: SocketAddr,
        socket_permit: &SocketPermit,
        input: &mut BytesMut,
        inside: Option<&Arc<AuthUser>>,
    ) -> std::io::Result<Shaken> {
        let local = stream.local_addr()?;
        let mut out = BytesMut::new();
        let cluster_name = self.broker.cluster_name();
        let secure = match stream.is_secure() {
            true => Secure::Tls,
            false => Secure::Plain,
        };
        let handshake = Handshake::new(self.handshake(), cluster_name, secure);
        let mut step = Step::Read(handshake);
        let mut user = None;
        loop {
            step = match step {
                Step::Read(handshake) => {
                    send(stream, &mut out).await?;
                    if stream.read_buf(input).await? == 0 {
                        return Ok(Shaken::Gone);
                    }
                    handshake.advance(input, &mut out)
                }
                Step::Login(proof, waiting) => {
                    if let Some(known) = inside {
                        user = Some(Arc::clone(known));
                        step = Step::Read(waiting.accepted(&known.name, &mut out));
                        continue;
                    }
                    let login = self.login(stream, peer, &proof, socket_permit).await;
                    match login {
                        Ok(known) => {
                            let waiting = waiting.accepted(&known.name, &mut out);
                            user = Some(known);
                            Step::Read(waiting)
                        }
                        Err(error) => {
                            if let Some(unsaid) = self.logins_refused.passes(monotonic()) {
                                tracing::warn!(%peer, ?error, %unsaid, "login refused");
                            }
                            Step::Reject(waiting.refused(&mut out))
                        }
                    }
                }
                Step::Vhost(vhost, waiting) => {
                    let between = (peer, local);
                    let terms = waiting.terms();
                    let opened = match &user {
                        Some(user) => {
                            let tls = stream.tls_info();
                            self.open_vhost(user, &vhost, terms, between, tls, socket_permit)
                                .await
                        }
                        // No handshake gets here without a login.
                        None => Err(VhostRefusal::NotFound),
                    };
                    match opened {
                        Ok(opened) => {
                            let terms = waiting.granted(&mut out);
                            send(stream, &mut out).await?;
                            return Ok(Shaken::Open(Box::new(terms), Box::new(opened)));
                        }
                        Err(refusal) => Step::Reject(waiting.refused(refusal, &mut out)),
                    }
                }
                Step::Reject(rejection) => {
                    self.log_rejected(peer, &rejection.error);
                    if user.is_some() {
                        // A client that has logged in gets its time to answer `connection.close`.
                        socket_permit.admit();
                    }
                    send(stream, &mut out).await?;
                    return Ok(Shaken::Rejected(rejection));
                }
            };
            // The client may have sent frames ahead.
            if let Step::Read(handshake) = step {
                step = handshake.advance(input, &mut out);
            }
        }
    }

    /// Checks the client's proof. The error is for the log.
    async fn login(
        &self,
        stream: &Transport,
        peer: SocketAddr,
        proof: &Proof,
        socket_permit: &SocketPermit,
    ) -> Result<Arc<AuthUser>, String> {
        let by_certificate;
        let (name, credentials) = match proof {
            Proof::Password(proof) => (&proof.user, Credentials::Password(&proof.password)),
            Proof::Certificate => {
                let name = stream.certificate_login(self.settings.login_from);
                by_certificate = name.map_err(|error| error.to_string())?;
                (&by_certificate, Credentials::Certificate)
            }
        };
        let (users, door, address) = (self.broker.users(), LoginDoor::Amqp, peer.ip());
        users.hold_up(door, name, credentials, address).await;
        // The login may wait for others; that time is not the client's.
        socket_permit.awaits_broker();
        let login = users.login(door, name, credentials, address).await;
        socket_permit.awaits_peer();
        login.map_err(|error| error.to_string())
    }

    /// Opens the virtual host if the user may enter it and no limit is reached. Checks the permission again
    /// after the connection is registered: deleting a user or virtual host after that closes the connection.
    async fn open_vhost(
        &self,
        user: &Arc<AuthUser>,
        vhost: &str,
        terms: &Terms,
        (peer, local): (SocketAddr, SocketAddr),
        tls: Option<TlsInfo>,
        socket_permit: &SocketPermit,
    ) -> Result<Opened, VhostRefusal> {
        if !socket_permit.admit() {
            let max = socket_permit.authenticated_max();
            let text = format!("connection refused: node connection limit ({max}) is reached");
            return Err(VhostRefusal::Limit(text));
        }
        let broker = &self.broker;
        // The backend may take its time; that is not the client's.
        socket_permit.awaits_broker();
        let entered = self.may_open(user, vhost, peer.ip()).await;
        socket_permit.awaits_peer();
        let entered = entered?;
        let limits = broker.users().limits(&user.name);
        let permit = broker
            .limits()
            .open_connection(&user.name, &limits, entered.name())
            .map_err(|limit| VhostRefusal::Limit(limit.to_string()))?;
        let outbox = Arc::new(Outbox::default());
        let connection = broker.next_connection();
        let info = Arc::new(ConnectionInfo {
            id: connection,
            peer,
            local,
            user: user.name.clone(),
            vhost: entered.name().clone(),
            auth_mechanism: terms.mechanism.name().into(),
            client_properties: terms.client_properties.clone(),
            frame_max: terms.frame_max,
            channel_max: terms.channel_max,
            heartbeat_secs: terms.heartbeat,
            connected_at_ms: broker.clock().wall_ms(),
            tls: tls.map(Box::new),
        });
        let registration = broker
            .connections()
            .register(Arc::clone(&info), outbox.clone());
        let vhost = self.still_opens(user, vhost)?;
        Ok(Opened {
            // With the tags of its login, as in RabbitMQ.
            session: Session::new(Arc::clone(broker), vhost, Arc::clone(user), connection),
            permit,
            outbox,
            info,
            registration,
        })
    }

    /// The virtual host, if it exists and the user may enter it.
    async fn may_open(
        &self,
        user: &AuthUser,
        vhost: &str,
        peer: IpAddr,
    ) -> Result<Arc<Vhost>, VhostRefusal> {
        let vhost = self.still_opens(user, vhost)?;
        let answer = self
            .broker
            .users()
            .ask_vhost(user, vhost.name(), Some(peer));
        match answer.get().await {
            Ok(_) => Ok(vhost),
            Err(refused) => Err(VhostRefusal::NoAccess(refused.to_string())),
        }
    }

    /// The virtual host, if it exists and the broker's own users and permissions do not keep the user from it.
    fn still_opens(&self, user: &AuthUser, vhost: &str) -> Result<Arc<Vhost>, VhostRefusal> {
        let vhost = self.broker.vhost(vhost).ok_or(VhostRefusal::NotFound)?;
        match user.authorizer {
            Authorizer::Internal => {
                let answer = self.broker.users().ask_vhost(user, vhost.name(), None);
                match answer {
                    Answer::Known(Err(refused)) => Err(VhostRefusal::NoAccess(refused.to_string())),
                    Answer::Known(Ok(_)) | Answer::Asked(_) => Ok(vhost),
                }
            }
            Authorizer::Broker | Authorizer::External(_) => Ok(vhost),
        }
    }

    /// From `open-ok` to the end.
    async fn serve_open(
        self: Arc<Front>,
        stream: Transport,
        input: BytesMut,
        terms: Terms,
        opened: Opened,
    ) {
        let Opened {
            session,
            permit,
            outbox,
            info,
            registration,
        } = opened;
        let (name, peer) = (info.name(), info.peer.ip());
        tracing::info!(connection = %name, user = %info.user, vhost = %info.vhost, "connection opened");
        drop(info);
        let context = Context {
            name: name.as_str().into(),
            peer,
            session: Arc::new(session),
            outbox,
            committer: Arc::clone(self.broker.committer()),
            frame_max: terms.frame_max,
            channel_max: terms.channel_max,
            client: terms.capabilities,
            front: Arc::clone(&self),
        };
        let alarms = self.alarms.subscribe();
        let connection = Connection::new(context, permit, alarms, terms.heartbeat, READ_MIN);
        let heart = Heart::new(terms.heartbeat);
        Task::new(stream, input, connection, heart, registration)
            .run()
            .await;
        tracing::info!(connection = %name, "connection closed");
    }

    /// Client errors are logged at level info. Bad protocol headers come from health checks, and refused
    /// logins have been logged with their reason: both at level debug.
    fn log_rejected(&self, peer: SocketAddr, error: &HandshakeError) {
        // Quoted, since the text may repeat bytes from the peer.
        let text = error.to_string();
        match error {
            HandshakeError::ProtocolHeader(_) | HandshakeError::Login { .. } => {
                tracing::debug!(%peer, why = ?text, "connection refused");
            }
            HandshakeError::Frame(_)
            | HandshakeError::Method(_)
            | HandshakeError::UnexpectedFrame(_)
            | HandshakeError::UnexpectedMethod { .. }
            | HandshakeError::Sasl(_)
            | HandshakeError::Tuning { .. }
            | HandshakeError::Vhost(_) => {
                if let Some(unsaid) = self.peers_refused.passes(monotonic()) {
                    tracing::info!(%peer, why = ?text, %unsaid, "connection refused");
                }
            }
        }
    }
}

pub(super) async fn send(stream: &mut Transport, out: &mut BytesMut) -> std::io::Result<()> {
    stream.write_all(out).await?;
    stream.flush().await?;
    out.clear();
    Ok(())
}

/// Waits as a failed handshake requires. The caller closes the socket then.
pub(super) async fn hang_up(
    stream: &mut Transport,
    input: &mut BytesMut,
    hangup: Hangup,
    frame_max: u32,
) {
    let (delay, closed) = match hangup {
        Hangup::Now => return,
        Hangup::After(delay) => (
            delay,
            Box::pin(gone(stream)) as Pin<Box<dyn Future<Output = _> + Send>>,
        ),
        Hangup::AwaitCloseOk(delay) => (delay, Box::pin(close_ok(stream, input, frame_max)) as _),
    };
    drop(timeout(delay, closed).await);
}

/// Waits until the peer closes its socket.
async fn gone(stream: &mut Transport) -> std::io::Result<()> {
    let mut ignored = [0; READ_MIN];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Waits until the peer answers `connection.close` or closes its socket.
async fn close_ok(
    stream: &mut Transport,
    input: &mut BytesMut,
    frame_max: u32,
) -> std::io::Result<()> {
    let mut out = BytesMut::new();
    loop {
        match split(input, frame_max) {
            Ok(Some(frame)) if is_method(&frame, MethodId::CONNECTION_CLOSE_OK) => return Ok(()),
            Ok(Some(frame)) if is_method(&frame, MethodId::CONNECTION_CLOSE) => {
                encode_method(
                    &mut out,
                    0,
                    &AMQPClass::Connection(AMQPMethod::CloseOk(CloseOk {})),
                );
                send(stream, &mut out).await?;
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                if stream.read_buf(input).await? == 0 {
                    return Ok(());
                }
            }
            Err(_) => return gone(stream).await,
        }
    }
}

/// Whether this is a method of channel 0.
fn is_method(frame: &Frame, method: MethodId) -> bool {
    frame.kind == FrameKind::Method && frame.channel == 0 && MethodId::of(&frame.payload) == method
}
