//! `basic.publish`, from the whole content to the queues. The hot path: what follows from the method's bytes is
//! remembered (`routes`), and messages that go the same way are gathered into runs.

use std::sync::Arc;

use bytes::Bytes;

use super::super::assembly::Content;
use super::super::channel::{Channel, Cx, Handled, Mode};
use super::super::confirms::Confirms;
use super::super::error::{Code, Refusal, erlang_string};
use super::super::keep::{Properties, detach};
use super::super::limits::{RUN_BYTES_MAX, RUN_MESSAGES_MAX};
use super::super::replies::{REPLY_TO, REPLY_TO_PREFIX};
use super::super::routes::{Routes, Way};
use crate::broker::exchange::{RouteKeys, delay_ms, keep_back};
use crate::broker::queue::Queue;
use crate::broker::router::Held;
use crate::broker::users::TAG_IMPERSONATOR;
use crate::broker::vhost::REWIND_EXCHANGE;
use crate::model::{Message, Name, Origin, Ticket};
use crate::wire::{self, AMQPValue, FieldTable, PropertiesView, PublishView};

/// `basic.return`'s code for a message that no queue got.
const NO_ROUTE: u16 = 312;
/// The largest `expiration`: ten years, in milliseconds.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;

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

/// Messages in a row that go the same way, not yet given to their queues.
#[derive(Default)]
struct Run {
    messages: Vec<Arc<Message>>,
    queues: Option<Targets>,
    bytes: usize,
    /// Confirm number of the last message.
    last_seq: u64,
    /// Some are kept by no queue: their confirms do not wait for the others.
    has_fleeting: bool,
}

/// What the properties of a message say that matters here.
struct Facts {
    properties: Bytes,
    persistent: bool,
    priority: u8,
    expiration_ms: Option<u64>,
    /// `x-delay`.
    delay_ms: Option<u64>,
    /// `CC` and `BCC`.
    more_keys: Vec<Name>,
}

impl Channel {
    /// The method was not seen before on this channel.
    pub(crate) fn basic_publish(
        &mut self,
        cx: &Cx<'_>,
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
        Ok(())
    }

    /// A content is whole.
    pub(crate) fn publish_content(&mut self, cx: &mut Cx<'_>, content: Content<usize>) -> Handled {
        let index = content.publish;
        *cx.has_published = true;
        self.find_way(cx, index)?;
        let Some(route) = self.publishing.routes.get(index) else {
            return internal();
        };
        let (origin, mandatory) = (Arc::clone(&route.origin), route.mandatory);
        let queues = route.way.as_ref().and_then(|way| way.queues.clone());
        let facts = self.facts(cx, content.properties)?;
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

    /// Gives the run to its queues.
    pub(crate) fn flush_run(&mut self, cx: &mut Cx<'_>) {
        let run = &mut self.publishing.run;
        let Some(queues) = run.queues.take() else {
            return;
        };
        detach(&mut run.messages, run.bytes, cx.read_buffer);
        let (ticket, rejected) = give(&queues, &run.messages);
        cx.unsynced
            .add(run.bytes * queues.len(), &cx.shared.committer);
        if let Mode::Confirm(confirms) = &mut self.mode {
            let alike = ticket.is_none() || !run.has_fleeting;
            match alike && rejected.is_empty() {
                true => confirms.accept(run.last_seq, ticket),
                false => resolve(
                    confirms,
                    run.last_seq,
                    &run.messages,
                    ticket,
                    &rejected,
                    |message| is_kept(&queues, message),
                ),
            }
        }
        run.messages.clear();
        run.bytes = 0;
        run.has_fleeting = false;
        if run.messages.capacity() > RUN_MESSAGES_MAX {
            run.messages = Vec::new();
        }
        if let Mode::Confirm(_) = self.mode {
            self.expect_confirms(cx);
        }
    }

    fn add_to_run(&mut self, cx: &mut Cx<'_>, message: Arc<Message>, queues: Targets, seq: u64) {
        if self
            .publishing
            .run
            .queues
            .as_ref()
            .is_some_and(|current| !same(current, &queues))
        {
            self.flush_run(cx);
        }
        let kept = is_kept(&queues, &message);
        let run = &mut self.publishing.run;
        run.queues = Some(queues);
        run.bytes += message.size();
        run.last_seq = seq;
        run.has_fleeting |= !kept;
        run.messages.push(message);
        let full = run.messages.len() >= RUN_MESSAGES_MAX || run.bytes >= RUN_BYTES_MAX;
        self.mark_dirty(cx);
        if full {
            self.flush_run(cx);
        }
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

    /// Looks the route up in the virtual host, unless what was found there still holds.
    fn find_way(&mut self, cx: &mut Cx<'_>, index: usize) -> Handled {
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
        let exchange = session.check_publish(&origin.exchange, &origin.routing_key)?;
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

    /// Reads and checks the properties, in RabbitMQ's order.
    fn facts(&self, cx: &Cx<'_>, properties: Bytes) -> Result<Facts, Refusal> {
        // RabbitMQ's channel dies over properties that it cannot decode.
        let view = PropertiesView::parse(&properties).map_err(|_| broken())?;
        let expiration_ms = view.expiration().map(expiration).transpose()?;
        if let Some(user) = view.user_id() {
            check_user(cx, user)?;
        }
        let priority = view.priority().unwrap_or(0);
        let persistent = view.delivery_mode() == Some(2);
        let mut more_keys = Vec::new();
        let mut changed = None;
        let mut delay = None;
        if view.has_headers() {
            view.check_headers().map_err(|_| broken())?;
            delay = delay_ms(&view);
            if view.header("CC").is_some() || view.header("BCC").is_some() {
                let headers = view.headers().map_err(|_| broken())?;
                more_keys.extend(keys(&headers, "CC")?);
                more_keys.extend(keys(&headers, "BCC")?);
                changed = without_bcc(&view, &headers);
            }
        }
        if view.reply_to() == Some(REPLY_TO.as_bytes()) {
            let Some((_, address)) = &self.reply else {
                return Err(Refusal::new(
                    Code::PreconditionFailed,
                    "fast reply consumer does not exist",
                ));
            };
            let current = changed.as_ref().unwrap_or(&properties);
            let view = PropertiesView::parse(current).map_err(|_| broken())?;
            changed = Some(view.edit().set_reply_to(address.name()).finish());
        }
        let properties = changed.unwrap_or(properties);
        Ok(Facts {
            properties,
            persistent,
            priority,
            expiration_ms,
            delay_ms: delay,
            more_keys,
        })
    }
}

/// Notes what messages, of which `last` is the last one's number, wait for: the ticket, if they are to be kept, or a
/// nack for those rejected (in order).
fn resolve(
    confirms: &mut Confirms,
    last: u64,
    messages: &[Arc<Message>],
    ticket: Option<Ticket>,
    rejected: &[u32],
    is_kept: impl Fn(&Message) -> bool,
) {
    let first = last + 1 - messages.len() as u64;
    for ((seq, index), message) in (first..).zip(0u32..).zip(messages) {
        match rejected.binary_search(&index) {
            Ok(_) => confirms.refuse(seq),
            Err(_) => confirms.accept(seq, ticket.filter(|_| is_kept(message))),
        }
    }
}

/// Whether some of the queues would have the message again after a restart.
fn is_kept(queues: &[Arc<Queue>], message: &Message) -> bool {
    queues.iter().any(|queue| queue.keeps(message))
}

/// Gives a run to each of its queues: the ticket that all of it waits for, and what some queue refused.
fn give(queues: &[Arc<Queue>], messages: &[Arc<Message>]) -> (Option<Ticket>, Vec<u32>) {
    let mut ticket = None;
    let mut rejected = Vec::new();
    for queue in queues {
        let published = queue.publish(messages);
        ticket = ticket.max(published.ticket);
        rejected.extend(published.rejected);
    }
    if queues.len() > 1 {
        rejected.sort_unstable();
        rejected.dedup();
    }
    (ticket, rejected)
}

fn same(a: &Targets, b: &Targets) -> bool {
    Arc::ptr_eq(a, b)
        || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| Arc::ptr_eq(a, b)))
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

/// The `user-id` must be the user's own name, unless the user may speak for others.
fn check_user(cx: &Cx<'_>, claimed: &[u8]) -> Handled {
    let user = &cx.shared.session.user;
    if claimed == user.name.as_bytes() || user.has_tag(TAG_IMPERSONATOR) {
        return Ok(());
    }
    let claimed = String::from_utf8_lossy(claimed);
    let text = format!(
        "user_id property set to '{claimed}' but authenticated user was '{}'",
        user.name
    );
    Err(Refusal::new(Code::PreconditionFailed, text))
}

/// The `expiration` property: digits, in milliseconds. RabbitMQ's texts for what it is not.
fn expiration(raw: &[u8]) -> Result<u64, Refusal> {
    let refused = |why: String| {
        let text = format!(
            "invalid expiration '{}': {why}",
            String::from_utf8_lossy(raw)
        );
        Refusal::new(Code::PreconditionFailed, text)
    };
    let (negative, unsigned) = match raw {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, raw),
    };
    let digits = unsigned
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = unsigned.split_at_checked(digits).unwrap_or((unsigned, &[]));
    if number.is_empty() {
        return Err(refused("no_integer".to_owned()));
    }
    if !rest.is_empty() {
        return Err(refused(format!(
            "{{leftover_string,{}}}",
            erlang_string(rest)
        )));
    }
    let number = std::str::from_utf8(number)
        .unwrap_or_default()
        .trim_start_matches('0');
    let value = if number.is_empty() {
        Ok(0)
    } else {
        number.parse::<u64>()
    };
    match value {
        Ok(value) if negative && value > 0 => Err(refused(format!("{{value_negative,-{value}}}"))),
        Ok(value) if value <= EXPIRATION_MS_MAX => Ok(value),
        Ok(_) | Err(_) if negative => Err(refused(format!("{{value_negative,-{number}}}"))),
        Ok(_) | Err(_) => Err(refused(format!("{{value_too_large,{number}}}"))),
    }
}

/// The routing keys in a `CC` or `BCC` header. Values in the array that are no strings do not count.
fn keys(headers: &FieldTable, name: &str) -> Result<Vec<Name>, Refusal> {
    match headers.inner().get(name) {
        None => Ok(Vec::new()),
        Some(AMQPValue::FieldArray(values)) => {
            Ok(values.as_slice().iter().filter_map(key).collect())
        }
        Some(other) => {
            let found = crate::model::arguments::type_name(other);
            let text =
                format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{found}}}");
            Err(Refusal::new(Code::PreconditionFailed, text))
        }
    }
}

fn key(value: &AMQPValue) -> Option<Name> {
    match value {
        AMQPValue::LongString(key) => std::str::from_utf8(key.as_bytes()).ok().map(Name::from),
        _ => None,
    }
}

/// The properties without the `BCC` header, which nobody is to see; `None` if there is none.
fn without_bcc(view: &PropertiesView<'_>, headers: &FieldTable) -> Option<Bytes> {
    headers.inner().get("BCC")?;
    let mut kept = headers.inner().clone();
    kept.remove("BCC");
    Some(view.edit().set_headers(&FieldTable::from(kept)).finish())
}

/// What RabbitMQ says when a message makes its channel fail.
fn broken() -> Refusal {
    Refusal::new(Code::InternalError, "").about_nothing()
}

fn internal<T>() -> Result<T, Refusal> {
    Err(broken())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Body;

    fn message(persistent: bool) -> Arc<Message> {
        Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties: Bytes::new(),
            body: Body::Whole(Bytes::new()),
            persistent,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
        })
    }

    /// What is answered for four messages that follow an answered one, with `durable` on disk of ticket 1.
    fn answers(messages: &[Arc<Message>], rejected: &[u32], durable: u64) -> Vec<(u64, bool)> {
        let mut confirms = Confirms::default();
        for _ in 0..5 {
            confirms.next();
        }
        confirms.accept(1, None);
        resolve(
            &mut confirms,
            5,
            messages,
            Some(Ticket(1)),
            rejected,
            |message| message.persistent,
        );
        std::iter::from_fn(|| confirms.pop(Ticket(durable)))
            .map(|confirm| (confirm.seq, confirm.ack))
            .collect()
    }

    #[test]
    fn rejected_messages_are_nacked_and_the_others_acked() {
        let messages = vec![message(true); 4];
        let answers = |rejected| answers(&messages, rejected, 1);
        assert_eq!(answers(&[]), [(5, true)]);
        assert_eq!(answers(&[0, 1]), [(1, true), (3, false), (5, true)]);
        assert_eq!(
            answers(&[1, 3]),
            [(2, true), (3, false), (4, true), (5, false)]
        );
        assert_eq!(answers(&[0, 1, 2, 3]), [(1, true), (5, false)]);
    }

    #[test]
    fn transient_messages_do_not_wait_for_the_disk() {
        let messages = [true, false, false, true].map(message);
        assert_eq!(
            answers(&messages, &[], 0),
            [(1, true), (3, true), (4, true)]
        );
        assert_eq!(answers(&messages, &[1], 0), [(1, true), (4, true)]);
        assert_eq!(answers(&messages, &[], 1), [(5, true)]);
    }

    #[test]
    fn expirations() {
        for (raw, expected) in [
            ("0", Ok(0)),
            ("05", Ok(5)),
            ("+5", Ok(5)),
            ("-0", Ok(0)),
            ("315360000000", Ok(315_360_000_000)),
            ("315360000001", Err("{value_too_large,315360000001}")),
            (
                "99999999999999999999999999",
                Err("{value_too_large,99999999999999999999999999}"),
            ),
            ("-1", Err("{value_negative,-1}")),
            ("", Err("no_integer")),
            ("abc", Err("no_integer")),
            (" 5", Err("no_integer")),
            ("1x", Err("{leftover_string,\"x\"}")),
            ("-1x", Err("{leftover_string,\"x\"}")),
            ("1\n", Err("{leftover_string,\"\\n\"}")),
            ("1\u{1}", Err("{leftover_string,[1]}")),
        ] {
            let expected = expected.map_err(|why| format!("invalid expiration '{raw}': {why}"));
            assert_eq!(
                expiration(raw.as_bytes()).map_err(|refusal| refusal.text),
                expected,
                "{raw:?}"
            );
        }
    }
}
