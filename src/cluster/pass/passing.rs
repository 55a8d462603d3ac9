//! The end of a node that does not lead: accepts clients and passes each on to the leader.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::courtesy::{Courtesy, Hearing};
use super::header::{Door, Header, PASSED_CLIENT, WELCOME};
use super::splice::{Ended, Splice};
use crate::cluster::link::{LinkStream, Links, Peer};
use crate::net::{Acceptor, Capacity, Listener, SocketPermit, Transport};

/// Pause before a leader that did not take a client is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(25);
/// Time that a client has to take what is under way and the last word, and to close. Then its socket is reset.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(10);

/// A client that takes nothing for this long is lost, as on the leader.
const CLIENT_TAKES_WITHIN: Duration = Duration::from_secs(30);

/// What a client hears that was held when this node began to lead, or to stop.
pub(super) const NO_LEADER_CAME: &str = "this node stops passing clients on: reconnect";

/// The limits of a front door while clients are passed on.
#[derive(Clone, Copy, Debug)]
pub struct DoorLimits {
    pub door: Door,
    /// The name in the log.
    pub name: &'static str,
    /// Clients that are passed on count as authenticated: the leader decides about their logins.
    pub capacity: Capacity,
    /// Maximum time until a client is passed on.
    pub patience: Duration,
}

/// Passes clients on to the leader.
pub struct Passing {
    links: Arc<Links>,
    leader: watch::Receiver<Option<Peer>>,
    /// How long a client is held while no leader takes it.
    hold: Duration,
    courtesy: Arc<dyn Courtesy>,
    doors: HashMap<Door, Acceptor>,
}

/// Why a client that was passed on is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Ended(Ended),
    /// Another node leads now.
    Replaced,
    /// This node leads now, or stops.
    Stopped,
}

impl Passing {
    /// `leader` is the node that leads now, other than this one.
    pub fn new(
        links: Arc<Links>,
        leader: watch::Receiver<Option<Peer>>,
        hold: Duration,
        courtesy: Arc<dyn Courtesy>,
        doors: impl IntoIterator<Item = DoorLimits>,
    ) -> Passing {
        let doors = doors.into_iter().map(|limits| {
            let acceptor = Acceptor::new(limits.name, limits.capacity, limits.patience);
            (limits.door, acceptor)
        });
        Passing {
            links,
            leader,
            hold,
            courtesy,
            doors: doors.collect(),
        }
    }

    /// Accepts clients of a front door until `stopped` is true or its sender is gone, and ends their connections then.
    /// Returns when the last has ended. Dropping this future drops all of them. A door without limits takes no client.
    pub async fn serve(
        self: Arc<Passing>,
        listener: Listener,
        door: Door,
        stopped: watch::Receiver<bool>,
    ) {
        let Some(acceptor) = self.doors.get(&door) else {
            return;
        };
        let (passing, stop_seen) = (Arc::clone(&self), stopped.clone());
        let serve_one = move |client, peer, permit| {
            Arc::clone(&passing).accepted(door, client, peer, permit, stop_seen.clone())
        };
        acceptor.serve(listener, stopped, serve_one).await;
    }

    /// One client, from its first byte to its last.
    async fn accepted(
        self: Arc<Passing>,
        door: Door,
        mut client: Transport,
        peer: SocketAddr,
        permit: SocketPermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        // As the broker does with its own clients: small frames leave immediately.
        if let Err(error) = client.set_nodelay() {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        // Boxed, so that a passed client does not keep the memory of its beginning.
        let reached = tokio::select! {
            reached = Box::pin(self.reach(door, &client, peer, &permit)) => reached,
            // It is told so, in the words of its protocol, as far as the doors wait.
            _ = stopped.wait_for(|stopped| *stopped) => Err(NO_LEADER_CAME.to_owned()),
        };
        let (mut stream, leader) = match reached {
            Ok(reached) => reached,
            Err(why) => {
                return self
                    .courtesy
                    .turn_away(door, client, peer, permit, why)
                    .await;
            }
        };
        tracing::debug!(%peer, leader = leader.address, ?door, "a client is passed on");
        let mut hearing = self.courtesy.hearing(door);
        let (over, rest) = self
            .pass(&mut client, &mut stream, &leader, hearing.as_mut(), stopped)
            .await;
        drop(stream);
        let is_said = over != Over::Ended(Ended::Client) && {
            // It was heard with the rest, which comes first.
            let word = hearing.and_then(|hearing| hearing.last_word(over.text()));
            Box::pin(farewell(&mut client, rest, word)).await
        };
        // AMQP's sockets are reset, as on the leader; but what is under way to a client that takes it must arrive.
        if !is_said
            && door == Door::Amqp
            && let Err(error) = client.set_zero_linger()
        {
            tracing::debug!(%peer, %error, "a socket is not reset");
        }
        drop(permit);
    }

    /// A stream to a leader whose front door takes the client, or the reason to turn the client away. The client waits
    /// for this node meanwhile.
    async fn reach(
        &self,
        door: Door,
        client: &Transport,
        peer: SocketAddr,
        permit: &SocketPermit,
    ) -> Result<(LinkStream, Peer), String> {
        permit.awaits_broker();
        let facts = client.client_facts(peer).map_err(|error| error.to_string());
        let header = facts.and_then(|facts| {
            let header = Header { door, facts }.encode();
            header.map_err(|error| error.to_string())
        })?;
        let reached = self.ask_leaders(header).await;
        permit.awaits_peer();
        if reached.is_ok() && !permit.admit() {
            let max = permit.authenticated_max();
            return Err(format!("node connection limit ({max}) is reached"));
        }
        reached
    }

    /// Asks the leader, and the next one after it, until one takes the client or the time is over.
    async fn ask_leaders(&self, header: Bytes) -> Result<(LinkStream, Peer), String> {
        let until = Instant::now() + self.hold;
        let mut leaders = self.leader.clone();
        // What the last answer said. An attempt that the time cuts short tells less.
        let mut why = None;
        loop {
            let leader = leaders.borrow_and_update().clone();
            // Without a leader only the news of one helps.
            let mut again_at = until;
            if let Some(leader) = leader {
                match timeout_at(until, self.ask(&leader, header.clone())).await {
                    Ok(Ok(stream)) => return Ok((stream, leader)),
                    Ok(Err(because)) => why = Some(because),
                    Err(_) => {
                        let silent = || format!("no leader: {} does not answer", leader.address);
                        return Err(why.unwrap_or_else(silent));
                    }
                }
                again_at = until.min(Instant::now() + ASK_AGAIN_AFTER);
            }
            match timeout_at(again_at, leaders.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err("the node stops".to_owned()),
                Err(_) if again_at == until => {
                    let none = || "no leader: too few nodes of the set hear each other".to_owned();
                    return Err(why.unwrap_or_else(none));
                }
                Err(_) => {}
            }
        }
    }

    async fn ask(&self, leader: &Peer, header: Bytes) -> Result<LinkStream, String> {
        let opened = self.links.open(leader, PASSED_CLIENT, header).await;
        let mut stream = opened.map_err(|error| format!("no leader: {error}"))?;
        match stream.read_u8().await {
            Ok(WELCOME) => Ok(stream),
            Ok(_) | Err(_) => Err(format!(
                "no leader: {} does not serve clients now",
                leader.address
            )),
        }
    }

    /// Passes bytes until that is over. Returns what the client has not taken yet, too.
    async fn pass(
        &self,
        client: &mut Transport,
        stream: &mut LinkStream,
        leader: &Peer,
        mut hearing: Option<&mut Box<dyn Hearing>>,
        mut stopped: watch::Receiver<bool>,
    ) -> (Over, Vec<u8>) {
        let mut leaders = self.leader.clone();
        let mut splice = Splice::new(client, stream, CLIENT_TAKES_WITHIN);
        let hear = |bytes: &[u8]| {
            if let Some(hearing) = &mut hearing {
                hearing.heard(bytes);
            }
        };
        let over = tokio::select! {
            ended = splice.run(hear) => Over::Ended(ended),
            () = another_leads(&mut leaders, leader) => Over::Replaced,
            _ = stopped.wait_for(|stopped| *stopped) => Over::Stopped,
        };
        (over, splice.into_rest())
    }
}

/// Waits until another node leads. While none is known, the old one may still serve.
async fn another_leads(leaders: &mut watch::Receiver<Option<Peer>>, leader: &Peer) {
    let is_another = |now: &Option<Peer>| now.as_ref().is_some_and(|now| now != leader);
    if leaders.wait_for(is_another).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Over {
    /// For the client, in RabbitMQ's words where it has some.
    fn text(self) -> &'static str {
        match self {
            Over::Ended(Ended::Client | Ended::Leader) => "the leader of the set is lost",
            Over::Replaced => "another node leads the set now",
            Over::Stopped => "broker forced connection closure with reason 'shutdown'",
        }
    }
}

/// Passes the rest on, says the last word, and gives the client some time to take both and close. Whether it has closed its
/// side.
async fn farewell(client: &mut Transport, rest: Vec<u8>, word: Option<Bytes>) -> bool {
    let said = async {
        client.write_all(&rest).await?;
        if let Some(word) = word {
            client.write_all(&word).await?;
        }
        client.flush().await?;
        client.shutdown().await?;
        let mut ignored = [0; 1024];
        while client.read(&mut ignored).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    matches!(timeout(LAST_WORD_WITHIN, said).await, Ok(Ok(())))
}
