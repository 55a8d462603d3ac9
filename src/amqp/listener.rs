//! Takes accepted connections through the handshake, and on to their own task. Knows nothing of channels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::{Connection, Context};
use super::handshake::{self, Ending, Handshake, Hangup, Open, Refusal, Step, VhostRefusal};
use super::limits::READ_MIN;
use super::outbox::Outbox;
use super::replies::Replies;
use super::routes::RouteRoom;
use crate::accept::{Capacity, Place, Places};
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::broker::connections::ConnectionInfo;
use crate::broker::limits::ConnectionPermit;
use crate::broker::session::Session;
use crate::broker::users::User;
use crate::wire::{Frame, FrameKind, split};

/// What an operator may set about connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest `channel-max` that a client may ask for.
    pub channel_max: u16,
    /// The largest frame, in bytes.
    pub frame_max: u32,
    /// The heartbeat suggested to clients, in seconds; 0 is none.
    pub heartbeat_secs: u16,
    /// The largest message body, in bytes.
    pub message_bytes_max: u64,
    /// How long a delivery may stay unanswered, in milliseconds; `None` is for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// Connections that may be open, and those in their handshakes.
    pub connections: Capacity,
    /// From the accepted socket to `connection.open-ok`.
    pub handshake_timeout: Duration,
    /// The cluster's name, told to clients.
    pub cluster_name: String,
}

/// What all connections share, over all listeners.
pub struct Front {
    pub(super) broker: Arc<Broker>,
    alarms: Arc<Alarms>,
    pub(super) settings: Settings,
    pub(super) replies: Arc<Replies>,
    pub(super) routes: Arc<RouteRoom>,
    handshake: Arc<handshake::Settings>,
    places: Places,
}

impl Front {
    /// A front door to the broker, which stops publishers while one of the alarms is on.
    pub fn new(broker: Arc<Broker>, alarms: Arc<Alarms>, settings: Settings) -> Arc<Front> {
        let handshake = Arc::new(handshake::Settings {
            channel_max: settings.channel_max,
            frame_max: settings.frame_max,
            heartbeat: settings.heartbeat_secs,
            cluster_name: settings.cluster_name.clone(),
        });
        let places = Places::new("AMQP", settings.connections, settings.handshake_timeout);
        Arc::new(Front {
            broker,
            alarms,
            settings,
            replies: Arc::default(),
            routes: Arc::default(),
            handshake,
            places,
        })
    }

    /// Accepts connections until `stopped` is true (or its sender is gone), then returns when the last connection has
    /// ended: they are asked to close with [`crate::broker::connections::Connections::close_where`]. Those still in
    /// their handshake are dropped. Dropping this future drops all of them.
    pub async fn serve(self: Arc<Front>, listener: TcpListener, stopped: watch::Receiver<bool>) {
        let serve_one =
            |stream, peer, place| Arc::clone(&self).accepted(stream, peer, place, stopped.clone());
        self.places
            .serve(listener, stopped.clone(), serve_one)
            .await;
    }

    /// One client, from its first byte to its last.
    async fn accepted(
        self: Arc<Front>,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        mut stopped: watch::Receiver<bool>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let mut input = BytesMut::with_capacity(READ_MIN);
        let shaken = tokio::select! {
            shaken = self.shake_hands(&mut stream, peer, &place, &mut input) => shaken,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let (open, opened) = match shaken {
            Ok(Some(opened)) => opened,
            Ok(None) => return,
            Err(error) => {
                return tracing::debug!(%peer, %error, "connection lost in its handshake");
            }
        };
        // Boxed, so that the large state of an open connection is not part of every handshake.
        Box::pin(Arc::clone(&self).serve_open(stream, peer, input, open, opened)).await;
        drop(place);
    }
}

/// What a connection has of the broker from its handshake on.
struct Opened {
    session: Session,
    permit: ConnectionPermit,
}

impl Front {
    /// The handshake. `None` if it did not lead to a connection; the socket may be closed then.
    async fn shake_hands(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        place: &Place,
        input: &mut BytesMut,
    ) -> std::io::Result<Option<(Open, Opened)>> {
        let mut out = BytesMut::new();
        let mut step = Step::Read(Handshake::new(Arc::clone(&self.handshake)));
        let mut user = None;
        loop {
            step = match step {
                Step::Read(handshake) => {
                    send(stream, &mut out).await?;
                    if stream.read_buf(input).await? == 0 {
                        return Ok(None);
                    }
                    handshake.advance(input, &mut out)
                }
                Step::Login(credentials, waiting) => {
                    let users = self.broker.users();
                    // It may be the broker's turn for long, if many log in.
                    place.waits();
                    let login = users
                        .login(&credentials.user, &credentials.password, peer.ip())
                        .await;
                    place.heard();
                    match login {
                        Ok(known) => {
                            user = Some(known);
                            Step::Read(waiting.accepted(&mut out))
                        }
                        Err(error) => {
                            tracing::warn!(%peer, error = ?error.to_string(), "login refused");
                            Step::End(waiting.refused(&mut out))
                        }
                    }
                }
                Step::Vhost(vhost, waiting) => {
                    let opened = user.as_ref();
                    match opened.map(|user| self.open_vhost(user, &vhost, place)) {
                        Some(Ok(opened)) => {
                            let open = waiting.granted(&mut out);
                            send(stream, &mut out).await?;
                            return Ok(Some((open, opened)));
                        }
                        Some(Err(refusal)) => Step::End(waiting.refused(refusal, &mut out)),
                        None => Step::End(waiting.refused(VhostRefusal::NoAccess, &mut out)),
                    }
                }
                Step::End(ending) => {
                    log_refused(peer, &ending.why);
                    send(stream, &mut out).await?;
                    hang_up(stream, input, &ending, self.settings.frame_max).await?;
                    return Ok(None);
                }
            };
            // The peer may have sent ahead.
            if let Step::Read(handshake) = step {
                step = handshake.advance(input, &mut out);
            }
        }
    }

    /// Opens the virtual host, if the user may and no limit is reached.
    fn open_vhost(
        &self,
        user: &Arc<User>,
        vhost: &str,
        place: &Place,
    ) -> Result<Opened, VhostRefusal> {
        if !place.admit() {
            let max = place.known_max();
            let text = format!("connection refused: node connection limit ({max}) is reached");
            return Err(VhostRefusal::Limit(text));
        }
        let broker = &self.broker;
        let vhost = broker.vhost(vhost).ok_or(VhostRefusal::NotFound)?;
        if !broker.users().may_enter(&user.name, vhost.name()) {
            return Err(VhostRefusal::NoAccess);
        }
        let permit = broker
            .limits()
            .open_connection(&user.name, &user.limits, vhost.name())
            .map_err(|limit| VhostRefusal::Limit(limit.to_string()))?;
        let session = broker.session(vhost, Arc::clone(user), broker.next_connection());
        Ok(Opened { session, permit })
    }

    /// From `open-ok` to the end.
    async fn serve_open(
        self: Arc<Front>,
        stream: TcpStream,
        peer: SocketAddr,
        input: BytesMut,
        open: Open,
        opened: Opened,
    ) {
        let Opened { session, permit } = opened;
        let local = match stream.local_addr() {
            Ok(local) => local,
            Err(error) => return tracing::debug!(%peer, %error, "connection lost"),
        };
        let outbox = Arc::new(Outbox::default());
        let info = ConnectionInfo {
            id: session.connection,
            peer,
            local,
            user: Arc::clone(&session.user.name),
            vhost: Arc::clone(session.vhost.name()),
            auth_mechanism: open.mechanism.name().into(),
            client_properties: open.client_properties.clone(),
            frame_max: open.frame_max,
            channel_max: open.channel_max,
            heartbeat_secs: open.heartbeat,
            connected_at_ms: self.broker.clock().wall_ms(),
        };
        let name = info.name();
        tracing::info!(connection = %name, user = %info.user, vhost = %info.vhost, "connection opened");
        let registration = self.broker.connections().register(info, outbox.clone());
        let context = Context {
            name: name.as_str().into(),
            session: Arc::new(session),
            outbox,
            committer: Arc::clone(self.broker.committer()),
            frame_max: open.frame_max,
            channel_max: open.channel_max,
            client: open.capabilities,
            front: Arc::clone(&self),
        };
        let alarms = self.alarms.subscribe();
        Connection::new(stream, input, &open, context, permit, registration, alarms)
            .run()
            .await;
        tracing::info!(connection = %name, "connection closed");
    }
}

async fn send(stream: &mut TcpStream, out: &mut BytesMut) -> std::io::Result<()> {
    stream.write_all(out).await?;
    out.clear();
    Ok(())
}

/// Ends a handshake that led nowhere, as its outcome says. The handshake's own deadline applies as well.
async fn hang_up(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    ending: &Ending,
    frame_max: u32,
) -> std::io::Result<()> {
    match ending.how {
        Hangup::Now => {}
        Hangup::After(delay) => tokio::time::sleep(delay).await,
        Hangup::AwaitCloseOk(delay) => {
            let closed = async {
                loop {
                    match split(input, frame_max) {
                        Ok(Some(frame)) if is_close_ok(&frame) => return,
                        Ok(Some(_)) => {}
                        Ok(None) => match stream.read_buf(input).await {
                            Ok(0) | Err(_) => return,
                            Ok(_) => {}
                        },
                        Err(_) => return,
                    }
                }
            };
            // Whether it answers or not, the socket is closed.
            drop(timeout(delay, closed).await);
        }
    }
    Ok(())
}

fn is_close_ok(frame: &Frame) -> bool {
    frame.kind == FrameKind::Method
        && frame.channel == 0
        && frame.payload.starts_with(&[0, 10, 0, 51])
}

/// What clients do wrong is no surprise to the broker. Health checks send anything in place of a header, and a login
/// has been logged with its reason.
fn log_refused(peer: SocketAddr, why: &Refusal) {
    // Quoted, since it may repeat what the peer has sent.
    let text = why.to_string();
    match why {
        Refusal::ProtocolHeader(_) | Refusal::Login { .. } => {
            tracing::debug!(%peer, why = ?text, "connection refused");
        }
        Refusal::Frame(_)
        | Refusal::Method(_)
        | Refusal::UnexpectedFrame(_)
        | Refusal::UnexpectedMethod { .. }
        | Refusal::Sasl(_)
        | Refusal::Tuning { .. }
        | Refusal::Vhost(_) => tracing::info!(%peer, why = ?text, "connection refused"),
    }
}
