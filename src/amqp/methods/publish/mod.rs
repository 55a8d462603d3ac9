//! `basic.publish`, from the complete content to the queues. The steps of each message: check the right to
//! publish (`route`), check the properties (`properties`), find the queues (`route`), then add the message to
//! the run for these queues. Replies of direct reply-to (`reply`), delayed messages (`delayed`) and rewind
//! requests leave that way. Restored messages (`restore`) say themselves where they were published.

mod delayed;
mod properties;
mod reply;
mod restore;
mod route;
mod unroutable;

use std::sync::Arc;

use crate::amqp::assembly::Content;
use crate::amqp::channel::{Channel, Mode, Phase};
use crate::amqp::connection_state::{ConnectionState, then};
use crate::amqp::detach::detach_run;
use crate::amqp::error::{Handled, Refusal};
use crate::amqp::publishing::CheckedMessage;
use crate::amqp::route_cache::Targets;
use crate::amqp::run::Published;
use crate::broker::users::{Answer, Validity};
use crate::broker::vhost::REWIND_EXCHANGE;
use crate::model::{Message, Name, Origin, RESTORE_EXCHANGE};
use crate::wire::PublishView;

use reply::reply_addresses;
use route::{Destinations, RouteCheck};

impl Channel {
    /// Handles a publish method that is not in the cache.
    pub(crate) fn basic_publish(
        &mut self,
        connection: &mut ConnectionState,
        payload: &[u8],
        m: PublishView<'_>,
    ) -> Handled {
        let origin = Arc::new(Origin {
            exchange: m.exchange.into(),
            routing_key: m.routing_key.into(),
        });
        let quota = &connection.shared.front.routes;
        let routes = &mut self.publishing.routes;
        let index = routes.insert(payload, origin, m.mandatory, m.immediate, quota);
        self.assembly.begin(index);
        self.begin_publish(connection, index)
    }

    /// Publishes a complete content.
    pub(crate) fn publish_content(
        &mut self,
        connection: &mut ConnectionState,
        content: Content<usize>,
    ) -> Handled {
        connection.has_published = true;
        let index = content.publish;
        match self.check_route(connection, index)? {
            RouteCheck::Current => self.publish_permitted(connection, content),
            RouteCheck::Asked(asked) => {
                connection.wait_for(self, async move {
                    let route = asked.await;
                    then(move |channel, connection| {
                        let is_current = channel.put_route(connection, index, route)?;
                        match (channel.phase, is_current) {
                            (Phase::Open, true) => channel.publish_permitted(connection, content),
                            (Phase::Open, false) => channel.publish_content(connection, content),
                            // The broker has closed the channel meanwhile.
                            (Phase::Closing | Phase::Crossed, _) => Ok(()),
                        }
                    })
                });
                Ok(())
            }
        }
    }

    /// Publishes a complete content whose route is current.
    fn publish_permitted(
        &mut self,
        connection: &mut ConnectionState,
        content: Content<usize>,
    ) -> Handled {
        let index = content.publish;
        let (checked, further_keys, keys) = self.check_content(connection, content)?;
        connection.when_permitted(self, keys, move |channel, connection| {
            channel.publish_checked(connection, index, checked, further_keys)
        })
    }

    /// Finds the queues of a message and publishes it.
    fn publish_checked(
        &mut self,
        connection: &mut ConnectionState,
        index: usize,
        checked: CheckedMessage,
        further_keys: Vec<Name>,
    ) -> Handled {
        match self.try_route(connection, index, &checked.message, &further_keys) {
            Some(destinations) => {
                self.publish_routed(connection, index, checked, &further_keys, destinations)
            }
            None => self.route_in_pieces(connection, index, checked, further_keys),
        }
    }

    /// Publishes a message whose queues have just been found.
    fn publish_routed(
        &mut self,
        connection: &mut ConnectionState,
        index: usize,
        checked: CheckedMessage,
        further_keys: &[Name],
        destinations: Destinations,
    ) -> Handled {
        if let Some(publish) = self.publishing.routes.get(index)
            && let Some(route) = &publish.route
        {
            let copies = destinations.copies();
            self.publishing.counts.add(&route.exchange.stats, copies);
            if route.is_traced {
                let queues = destinations.queues();
                self.trace_publish(connection, &checked.message, further_keys, queues);
            }
        }
        self.publish_to(connection, checked, destinations)
    }

    /// Checks the properties of a content. Returns the message, its routing keys in `CC` and `BCC`, and whether the user
    /// may use these keys.
    fn check_content(
        &mut self,
        connection: &ConnectionState,
        content: Content<usize>,
    ) -> Result<(CheckedMessage, Vec<Name>, Answer), Refusal> {
        let publish = self.publishing.routes.get(content.publish);
        let publish = publish.ok_or_else(Refusal::crash)?;
        let route = publish.route.as_ref().ok_or_else(Refusal::crash)?;
        let (origin, mandatory) = (Arc::clone(&publish.origin), publish.mandatory);
        if *origin.exchange == *RESTORE_EXCHANGE {
            let restored = self.check_restored(content.properties, content.body, mandatory)?;
            return Ok((restored, Vec::new(), Answer::Known(Ok(Validity::Epoch))));
        }
        let checked = self.check_properties(connection, route, content.properties)?;
        let (properties, body) = self
            .publishing
            .last_properties
            .detach_small(checked.properties, content.body);
        let message = Arc::new(Message {
            origin,
            properties,
            body,
            persistent: checked.persistent,
            priority: checked.priority,
            expiration_ms: checked.expiration_ms,
            delay_ms: checked.delay_ms,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        });
        let checked_message = CheckedMessage {
            reply_addresses: reply_addresses(&message.origin, &checked.further_keys),
            message,
            mandatory,
        };
        Ok((checked_message, checked.further_keys, checked.keys))
    }

    /// Publishes a message whose queues are known.
    fn publish_to(
        &mut self,
        connection: &mut ConnectionState,
        checked: CheckedMessage,
        destinations: Destinations,
    ) -> Handled {
        self.count_publish(connection, &checked, &destinations);
        let Destinations { now, delayed } = destinations;
        if let Some(delayed) = delayed {
            return self.publish_delayed(connection, checked.message, now, delayed);
        }
        if now.is_empty() && *checked.message.origin.exchange == *REWIND_EXCHANGE {
            return self.rewind_request(connection, &checked.message);
        }
        let seq = match &mut self.mode {
            Mode::Tx(transaction) => return transaction.publish(checked, now),
            Mode::Confirm(confirms) => confirms.next(),
            Mode::Plain => 0,
        };
        if !checked.reply_addresses.is_empty() {
            return self.reply_and_publish(connection, checked, now, seq);
        }
        if now.is_empty() {
            self.publish_unroutable(connection, &checked, seq);
        } else {
            self.add_to_run(connection, checked.message, now, seq);
        }
        Ok(())
    }

    /// Counts a message when its queues are known.
    fn count_publish(
        &mut self,
        connection: &mut ConnectionState,
        checked: &CheckedMessage,
        destinations: &Destinations,
    ) {
        let bytes = checked.message.body.len();
        let is_confirmed = matches!(self.mode, Mode::Confirm(_));
        let copies = destinations.copies();
        connection.published.add(bytes, copies, is_confirmed);
        self.message_stats.publish += 1;
        self.mark_dirty(connection);
    }

    /// Adds a message to the run for its queues.
    fn add_to_run(
        &mut self,
        connection: &mut ConnectionState,
        message: Arc<Message>,
        targets: Targets,
        seq: u64,
    ) {
        if !self.publishing.run.takes(&targets) {
            self.flush_run(connection);
        }
        let run = &mut self.publishing.run;
        run.push(message, targets, seq);
        let is_full = run.is_full();
        self.mark_dirty(connection);
        if is_full {
            self.flush_run(connection);
        }
    }

    /// Publishes the run to its queues.
    pub(crate) fn flush_run(&mut self, connection: &mut ConnectionState) {
        let run = &mut self.publishing.run;
        let Some(targets) = run.targets.take() else {
            return;
        };
        detach_run(&mut run.messages, run.bytes, connection.read_buffer);
        let published = Published::to_all(&targets, &run.messages);
        let bytes = run.bytes * targets.len();
        connection.hold_back(published.full.as_ref());
        connection.unsynced.add(bytes, &connection.shared.committer);
        if let Mode::Confirm(confirms) = &mut self.mode {
            run.confirm(confirms, &targets, &published);
        }
        run.clear();
        if let Mode::Confirm(_) = self.mode {
            self.expect_confirms(connection);
        }
    }
}
