//! Takes accepted connections through the handshake, and on to their own task. Knows nothing of channels.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::{Connection, Context};
use super::handshake::{self, Ending, Handshake, Hangup, Open, Refusal, Step, VhostRefusal};
use super::limits::{ASSEMBLING_BYTES_MAX, READ_MIN, REFUSALS_LOGGED_EVERY, REFUSALS_LOGGED_MAX};
use super::outbox::Outbox;
use super::replies::Replies;
use super::room::Room;
use super::routes::RouteRoom;
use crate::accept::{Capacity, Place, Places};
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::broker::connections::{ConnectionInfo, Registration};
use crate::broker::limits::{ConnectionPermit, UserLimits};
use crate::broker::session::Session;
use crate::broker::users::User;
use crate::broker::vhost::Vhost;
use crate::clock::monotonic;
use crate::seldom::Seldom;
use crate::wire::protocol::connection::{AMQPMethod, CloseOk};
use crate::wire::{AMQPClass, Frame, FrameKind, encode_method, split};

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
    /// What clients are told as the product's name.
    pub server_product: String,
}

/// What all connections share, over all listeners.
pub struct Front {
    pub(super) broker: Arc<Broker>,
    alarms: Arc<Alarms>,
    pub(super) settings: Settings,
    pub(super) replies: Arc<Replies>,
    pub(super) routes: Arc<RouteRoom>,
    pub(super) assembling: Arc<Room>,
    handshake: Arc<handshake::Settings>,
    places: Places,
    logins_refused: Seldom,
    peers_refused: Seldom,
}

impl Front {
    /// A front door to the broker, which stops publishers while one of the alarms is on.
    pub fn new(broker: Arc<Broker>, alarms: Arc<Alarms>, settings: Settings) -> Arc<Front> {
        let handshake = Arc::new(handshake::Settings {
            channel_max: settings.channel_max,
            frame_max: settings.frame_max,
            heartbeat: settings.heartbeat_secs,
            cluster_name: settings.cluster_name.clone(),
            product: settings.server_product.clone(),
        });
        let places = Places::new("AMQP", settings.connections, settings.handshake_timeout);
        let message_max = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
        Arc::new(Front {
            assembling: Room::new(ASSEMBLING_BYTES_MAX, message_max),
            broker,
            alarms,
            settings,
            replies: Arc::default(),
            routes: Arc::default(),
            handshake,
            places,
            logins_refused: Seldom::new(REFUSALS_LOGGED_MAX, REFUSALS_LOGGED_EVERY),
            peers_refused: Seldom::new(REFUSALS_LOGGED_MAX, REFUSALS_LOGGED_EVERY),
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
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%peer, %error, "cannot set the options of a socket");
        }
        let mut input = BytesMut::with_capacity(READ_MIN);
        let shaken = tokio::select! {
            shaken = self.shake_hands(&mut stream, peer, &place, &mut input) => shaken,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match shaken {
            // Boxed, so that the large state of an open connection is not part of every handshake.
            Ok(Shaken::Open(open, opened)) => {
                Box::pin(Arc::clone(&self).serve_open(stream, input, *open, *opened)).await;
            }
            Ok(Shaken::Refused(ending)) => tokio::select! {
                () = hang_up(&mut stream, &mut input, &ending, self.settings.frame_max) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            },
            Ok(Shaken::Gone) => {}
            Err(error) => tracing::debug!(%peer, %error, "connection lost in its handshake"),
        }
        drop(place);
    }
}

/// Small frames leave at once; and as RabbitMQ does, a socket that is closed is reset: what the peer has not taken by
/// then it does not get, and nothing of a connection stays in the system.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_zero_linger()
}

/// What a handshake leads to.
enum Shaken {
    Open(Box<Open>, Box<Opened>),
    Refused(Ending),
    /// The peer has closed its socket.
    Gone,
}

/// What a connection has of the broker from its handshake on.
struct Opened {
    session: Session,
    permit: ConnectionPermit,
    outbox: Arc<Outbox>,
    info: Arc<ConnectionInfo>,
    registration: Registration,
}

impl Front {
    /// The handshake.
    async fn shake_hands(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        place: &Place,
        input: &mut BytesMut,
    ) -> std::io::Result<Shaken> {
        let local = stream.local_addr()?;
        let mut out = BytesMut::new();
        let mut step = Step::Read(Handshake::new(Arc::clone(&self.handshake)));
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
                            if let Some(unsaid) = self.logins_refused.passes(monotonic()) {
                                let error = error.to_string();
                                tracing::warn!(%peer, ?error, %unsaid, "login refused");
                            }
                            Step::End(waiting.refused(&mut out))
                        }
                    }
                }
                Step::Vhost(vhost, waiting) => {
                    let opened = user
                        .as_ref()
                        .ok_or(VhostRefusal::NoAccess)
                        .and_then(|user| {
                            let between = (peer, local);
                            self.open_vhost(user, &vhost, waiting.terms(), between, place)
                        });
                    match opened {
                        Ok(opened) => {
                            let open = waiting.granted(&mut out);
                            send(stream, &mut out).await?;
                            return Ok(Shaken::Open(Box::new(open), Box::new(opened)));
                        }
                        Err(refusal) => Step::End(waiting.refused(refusal, &mut out)),
                    }
                }
                Step::End(ending) => {
                    self.log_refused(peer, &ending.why);
                    if user.is_some() {
                        // It has logged in: it may take its time to answer `connection.close`.
                        place.admit();
                    }
                    send(stream, &mut out).await?;
                    return Ok(Shaken::Refused(ending));
                }
            };
            // The peer may have sent ahead.
            if let Step::Read(handshake) = step {
                step = handshake.advance(input, &mut out);
            }
        }
    }

    /// Opens the virtual host, if the user may as of now and no limit is reached. Everything is looked at once more when
    /// the connection has been entered: what is deleted after that finds it, and closes it.
    fn open_vhost(
        &self,
        user: &Arc<User>,
        vhost: &str,
        terms: &Open,
        (peer, local): (SocketAddr, SocketAddr),
        place: &Place,
    ) -> Result<Opened, VhostRefusal> {
        if !place.admit() {
            let max = place.known_max();
            let text = format!("connection refused: node connection limit ({max}) is reached");
            return Err(VhostRefusal::Limit(text));
        }
        let broker = &self.broker;
        let (limits, entered) = self.may_open(&user.name, vhost)?;
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
        });
        let registration = broker
            .connections()
            .register(Arc::clone(&info), outbox.clone());
        let (_, vhost) = self.may_open(&user.name, vhost)?;
        Ok(Opened {
            // With the tags of its login, as in RabbitMQ.
            session: Session::new(Arc::clone(broker), vhost, Arc::clone(user), connection),
            permit,
            outbox,
            info,
            registration,
        })
    }

    /// The user's limits and the virtual host, if the user is there and may enter it.
    fn may_open(&self, user: &str, vhost: &str) -> Result<(UserLimits, Arc<Vhost>), VhostRefusal> {
        let vhost = self.broker.vhost(vhost).ok_or(VhostRefusal::NotFound)?;
        let users = self.broker.users();
        match users.get(user) {
            Some(user) if users.may_enter(&user.name, vhost.name()) => Ok((user.limits, vhost)),
            Some(_) | None => Err(VhostRefusal::NoAccess),
        }
    }

    /// From `open-ok` to the end.
    async fn serve_open(
        self: Arc<Front>,
        stream: TcpStream,
        input: BytesMut,
        open: Open,
        opened: Opened,
    ) {
        let Opened {
            session,
            permit,
            outbox,
            info,
            registration,
        } = opened;
        let name = info.name();
        tracing::info!(connection = %name, user = %info.user, vhost = %info.vhost, "connection opened");
        drop(info);
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

    /// What clients do wrong is no surprise to the broker. Health checks send anything in place of a header, and a login
    /// has been logged with its reason.
    fn log_refused(&self, peer: SocketAddr, why: &Refusal) {
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
            | Refusal::Vhost(_) => {
                if let Some(unsaid) = self.peers_refused.passes(monotonic()) {
                    tracing::info!(%peer, why = ?text, %unsaid, "connection refused");
                }
            }
        }
    }
}

async fn send(stream: &mut TcpStream, out: &mut BytesMut) -> std::io::Result<()> {
    stream.write_all(out).await?;
    out.clear();
    Ok(())
}

/// Ends a handshake that led nowhere, as its outcome says: however that goes, the socket is closed then.
async fn hang_up(stream: &mut TcpStream, input: &mut BytesMut, ending: &Ending, frame_max: u32) {
    let (delay, closed) = match ending.how {
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
async fn gone(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut ignored = [0; READ_MIN];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Waits until the peer answers `connection.close`, or closes its socket.
async fn close_ok(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    frame_max: u32,
) -> std::io::Result<()> {
    let mut out = BytesMut::new();
    loop {
        match split(input, frame_max) {
            Ok(Some(frame)) if is_connection(&frame, CLOSE_OK) => return Ok(()),
            Ok(Some(frame)) if is_connection(&frame, CLOSE) => {
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

/// Method ids of class `connection`.
const CLOSE: u8 = 50;
/// See [`CLOSE`].
const CLOSE_OK: u8 = 51;

fn is_connection(frame: &Frame, method: u8) -> bool {
    frame.kind == FrameKind::Method
        && frame.channel == 0
        && frame.payload.starts_with(&[0, 10, 0, method])
}
