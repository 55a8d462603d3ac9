//! `basic.publish`, from the whole content to the queues. The hot path: what follows from the method's bytes is
//! remembered (`routes`), and messages that go the same way are gathered into runs (`run`).

mod answer;
mod facts;
mod run;
mod way;

use std::sync::Arc;

use crate::amqp::assembly::Content;
use crate::amqp::channel::{Channel, Mode};
use crate::amqp::cx::{Cx, Handled};
use crate::amqp::error::Refusal;
use crate::amqp::keep::Properties;
use crate::amqp::routes::Routes;
use crate::broker::exchange::delay_message;
use crate::broker::queue::Queue;
use crate::broker::routing::DelayedRoute;
use crate::broker::vhost::REWIND_EXCHANGE;
use crate::model::{Message, Name, Origin};
use crate::wire::{self, PublishView};

use answer::requesters;
use facts::broken;
use run::{Run, give, is_kept, resolve};

/// `basic.return`'s code for a message that no queue got.
const NO_ROUTE: u16 = 312;
/// The queues of a message.
type Targets = Arc<[Arc<Queue>]>;
/// Those that get it later.
type HeldTargets = DelayedRoute<Arc<Queue>>;

/// A channel's publishing state.
#[derive(Default)]
pub(crate) struct Publishing {
    pub(crate) routes: Routes,
    properties: Properties,
    run: Run,
}

/// A message that has been checked.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) message: Arc<Message>,
    /// It comes back if nobody gets it.
    pub(super) mandatory: bool,
    /// The names of requesters of direct reply-to that it is for, each once.
    pub(super) requesters: Vec<Name>,
}

impl Ready {
    /// A message for queues only, which are known.
    fn plain(message: Arc<Message>) -> Ready {
        Ready {
            message,
            mandatory: false,
            requesters: Vec::new(),
        }
    }
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
            failures: 0,
        });
        let ready = Ready {
            requesters: requesters(&message.origin, &facts.more_keys),
            message,
            mandatory,
        };
        match self.targets(cx, index, &ready.message, &facts.more_keys) {
            Some((queues, held)) => self.publish_to(cx, ready, queues, held),
            None => self.find_targets(cx, index, ready, facts.more_keys),
        }
    }

    /// It is known where a message goes.
    fn publish_to(
        &mut self,
        cx: &mut Cx<'_>,
        ready: Ready,
        queues: Targets,
        held: Option<HeldTargets>,
    ) -> Handled {
        if let Some(held) = held {
            return self.publish_held(cx, ready.message, queues, held);
        }
        if queues.is_empty() && *ready.message.origin.exchange == *REWIND_EXCHANGE {
            return self.rewind_request(cx, &ready.message);
        }
        let seq = match &mut self.mode {
            Mode::Tx(transaction) => return transaction.publish(ready, queues),
            Mode::Confirm(confirms) => confirms.next(),
            Mode::Plain => 0,
        };
        if !ready.requesters.is_empty() {
            let Ready {
                message,
                requesters,
                ..
            } = ready;
            let answer = Arc::clone(&message);
            return self.answer(cx, &answer, &requesters, move |channel, cx| {
                match queues.is_empty() {
                    true => channel.confirm_at_once(cx, seq),
                    false => channel.add_to_run(cx, message, queues, seq),
                }
                Ok(())
            });
        }
        if queues.is_empty() {
            if ready.mandatory {
                // The return goes before the confirm: clients rely on it.
                put_return(cx, self.number, &ready.message);
            }
            self.confirm_at_once(cx, seq);
            return Ok(());
        }
        self.add_to_run(cx, ready.message, queues, seq);
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
        let kept = delay_message(&message, held.delay_ms);
        let later: Targets = held.queues.into();
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.publish(Ready::plain(kept), later)?;
            return match queues.is_empty() {
                true => Ok(()),
                false => transaction.publish(Ready::plain(message), queues),
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

    /// No queue keeps it: its confirm waits for nothing.
    fn confirm_at_once(&mut self, cx: &mut Cx<'_>, seq: u64) {
        self.flush_run(cx);
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.accept(seq, None);
            self.expect_confirms(cx);
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
