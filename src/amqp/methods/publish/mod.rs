//! `basic.publish`, from the whole content to the queues. The hot path: what follows from the method's bytes is
//! remembered (`routes`), and messages that go the same way are gathered into runs (`run`).

mod facts;
mod run;

use std::sync::Arc;

use crate::amqp::assembly::Content;
use crate::amqp::channel::{Channel, Mode};
use crate::amqp::cx::{Cx, Handled};
use crate::amqp::error::{Code, Refusal};
use crate::amqp::keep::Properties;
use crate::amqp::replies::REPLY_TO_PREFIX;
use crate::amqp::routes::{Routes, Way};
use crate::broker::exchange::{RouteKeys, keep_back};
use crate::broker::queue::Queue;
use crate::broker::router::Held;
use crate::broker::vhost::REWIND_EXCHANGE;
use crate::model::{Message, Name, Origin};
use crate::wire::{self, PublishView};

use facts::broken;
use run::{Run, give, is_kept, resolve};

/// `basic.return`'s code for a message that no queue got.
const NO_ROUTE: u16 = 312;
/// The queues of a message.
type Targets = Arc<[Arc<Queue>]>;
/// Those that get it later.
type HeldTargets = Held<Arc<Queue>>;

/// A channel's publishing state.
#[derive(Default)]
pub(crate) struct Publishing {
    pub(crate) routes: Routes,
    properties: Properties,
    run: Run,
    /// Room for the queues of one message; empty between calls.
    found: Vec<Arc<Queue>>,
}

impl Channel {
    /// The method was not seen before on this channel.
    pub(crate) fn basic_publish(
        &mut self,
        cx: &mut Cx<'_>,
        payload: &[u8],
        m: PublishView<'_>,
    ) -> Handled {
        let origin = Arc::new(Origin {
            exchange: m.exchange.into(),
            routing_key: m.routing_key.into(),
        });
        let room = &cx.shared.front.routes;
        let route = self
            .publishing
            .routes
            .insert(payload, origin, m.mandatory, m.immediate, room);
        self.assembly.begin(route);
        self.may_publish(cx, route)
    }

    /// A content is whole.
    pub(crate) fn publish_content(&mut self, cx: &mut Cx<'_>, content: Content<usize>) -> Handled {
        let index = content.publish;
        *cx.has_published = true;
        self.may_publish(cx, index)?;
        let Some(route) = self.publishing.routes.get(index) else {
            return internal();
        };
        let Some(way) = &route.way else {
            return internal();
        };
        let (origin, mandatory) = (Arc::clone(&route.origin), route.mandatory);
        let queues = way.queues.clone();
        let facts = self.facts(cx, way, content.properties)?;
        let (properties, body) = self
            .publishing
            .properties
            .keep(facts.properties, content.body);
        let message = Arc::new(Message {
            origin,
            properties,
            body,
            persistent: facts.persistent,
            priority: facts.priority,
            expiration_ms: facts.expiration_ms,
            delay_ms: facts.delay_ms,
            dead_lettered: false,
        });
        let (queues, held) = match queues {
            Some(queues) if facts.more_keys.is_empty() => (queues, None),
            Some(_) | None => self.route(cx, index, &message, &facts.more_keys)?,
        };
        if message.origin.exchange.is_empty() {
            self.answer_request(cx, &message, &facts.more_keys);
        }
        if let Some(held) = held {
            return self.publish_held(cx, message, queues, held);
        }
        if queues.is_empty() && *message.origin.exchange == *REWIND_EXCHANGE {
            return self.rewind_request(cx, &message);
        }
        let seq = match &mut self.mode {
            Mode::Tx(transaction) => return transaction.publish(message, queues, mandatory),
            Mode::Confirm(confirms) => confirms.next(),
            Mode::Plain => 0,
        };
        if queues.is_empty() {
            self.unroutable(cx, &message, mandatory, seq);
            return Ok(());
        }
        self.add_to_run(cx, message, queues, seq);
        Ok(())
    }

    /// A delayed exchange marks the message for some queues as kept back; others get it as it is.
    fn publish_held(
        &mut self,
        cx: &mut Cx<'_>,
        message: Arc<Message>,
        queues: Targets,
        held: HeldTargets,
    ) -> Handled {
        let kept = keep_back(&message, held.delay_ms);
        let later: Targets = held.queues.into();
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.publish(kept, later, false)?;
            return match queues.is_empty() {
                true => Ok(()),
                false => transaction.publish(message, queues, false),
            };
        }
        self.flush_run(cx);
        let (ticket, mut rejected) = give(&later, &[kept]);
        let (ticket_now, rejected_now) = give(&queues, std::slice::from_ref(&message));
        rejected.extend(rejected_now);
        rejected.truncate(1);
        let bytes = message.size() * (later.len() + queues.len());
        cx.unsynced.add(bytes, &cx.shared.committer);
        if let Mode::Confirm(confirms) = &mut self.mode {
            let seq = confirms.next();
            let is_kept = |message: &Message| is_kept(&later, message) || is_kept(&queues, message);
            resolve(
                confirms,
                seq,
                &[message],
                ticket.max(ticket_now),
                &rejected,
                is_kept,
            );
            self.expect_confirms(cx);
        }
        Ok(())
    }

    /// Nobody gets it: it comes back if that was asked for, and is confirmed.
    fn unroutable(&mut self, cx: &mut Cx<'_>, message: &Message, mandatory: bool, seq: u64) {
        if mandatory {
            // The return goes before the confirm: clients rely on it.
            put_return(cx, self.number, message);
        }
        self.flush_run(cx);
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.accept(seq, None);
            self.expect_confirms(cx);
        }
    }

    /// Whether the user may, and where it goes: looked up in the virtual host, unless what was found there still holds.
    /// Asked before a content comes, so that who may not publish has none kept, and again when it is whole.
    pub(crate) fn may_publish(&mut self, cx: &Cx<'_>, index: usize) -> Handled {
        let session = &cx.shared.session;
        let generation = session.vhost.generation();
        let epoch = session.permission_epoch();
        let Some(route) = self.publishing.routes.get(index) else {
            return internal();
        };
        if route.immediate {
            return Err(Refusal::new(Code::NotImplemented, "immediate=true"));
        }
        if route
            .way
            .as_ref()
            .is_some_and(|way| way.generation == generation && way.epoch == epoch)
        {
            return Ok(());
        }
        let origin = Arc::clone(&route.origin);
        let exchange = session.check_publish(&origin.exchange)?;
        let refused = session.check_keys(&exchange, [&*origin.routing_key]).err();
        let mut queues = None;
        if !session.vhost.needs_headers(&exchange) {
            let keys = RouteKeys {
                routing_key: &origin.routing_key,
                cc: &[],
                properties: &[],
            };
            // What delays is known only with the headers.
            let held = session
                .vhost
                .route(&exchange, &keys, &mut self.publishing.found);
            debug_assert!(held.is_none(), "a remembered route never delays");
            queues = Some(self.publishing.found.drain(..).collect());
        }
        if let Some(route) = self.publishing.routes.get_mut(index) {
            route.way = Some(Way {
                generation,
                epoch,
                exchange,
                refused: refused.map(Refusal::from),
                queues,
            });
        }
        Ok(())
    }

    /// Finds the queues of one message whose way depends on more than its routing key.
    fn route(
        &mut self,
        cx: &Cx<'_>,
        index: usize,
        message: &Message,
        more_keys: &[Name],
    ) -> Result<(Targets, Option<HeldTargets>), Refusal> {
        let Some(way) = self
            .publishing
            .routes
            .get(index)
            .and_then(|route| route.way.as_ref())
        else {
            return internal();
        };
        let origin = &message.origin;
        let cc: Vec<&str> = more_keys.iter().map(|key| &**key).collect();
        let keys = RouteKeys {
            routing_key: &origin.routing_key,
            cc: &cc,
            properties: &message.properties,
        };
        let vhost = &cx.shared.session.vhost;
        let held = vhost.route(&way.exchange, &keys, &mut self.publishing.found);
        Ok((self.publishing.found.drain(..).collect(), held))
    }

    /// Publishing to a requester of direct reply-to, which is no queue.
    fn answer_request(&self, cx: &Cx<'_>, message: &Arc<Message>, more_keys: &[Name]) {
        let first = &*message.origin.routing_key;
        for key in std::iter::once(first).chain(more_keys.iter().map(|key| &**key)) {
            if key.starts_with(REPLY_TO_PREFIX) {
                cx.shared.front.replies.answer(key, Arc::clone(message));
            }
        }
    }
}

/// Sends a message back.
pub(super) fn put_return(cx: &mut Cx<'_>, channel: u16, message: &Message) {
    let Origin {
        exchange,
        routing_key,
    } = &*message.origin;
    wire::put_return(
        cx.out.buffer(),
        channel,
        NO_ROUTE,
        "NO_ROUTE",
        exchange,
        routing_key,
    );
    super::get::put_content(
        cx.out,
        cx.shared.frame_max,
        channel,
        message,
        super::get::Extra::Nothing,
    );
}

fn internal<T>() -> Result<T, Refusal> {
    Err(broken())
}
