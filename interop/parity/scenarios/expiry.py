# Message TTL and queue expiry. No scenario sleeps: each waits for an effect of the expiry.

import time

from parity.channel import POLL_S, WAIT_S, dead_letters_to
from parity.session import add, scenario


def with_dead_letters(s, **arguments):
    """A channel in confirm mode, a queue that dead-letters to a second one, and that second one."""
    ch = s.channel()
    q, dead = s.name("q"), s.name("dead")
    ch.queue(dead)
    ch.queue(q, arguments={**dead_letters_to(dead), **arguments})
    ch.confirm()
    return ch, q, dead


@scenario
def queue_ttl(s):
    """Messages of a queue with x-message-ttl expire; dead-lettering shows it."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 50})
    ch.publish("", q, "m")
    ch.confirms()
    ch.get_when_there(dead)
    ch.get(q)


@scenario
def message_ttl(s):
    """The expiration property does the same; the dead letter loses it, x-death keeps it."""
    ch, q, dead = with_dead_letters(s)
    ch.publish("", q, "m", expiration="50")
    ch.confirms()
    ch.get_when_there(dead)
    ch.get(q)


@scenario
def both_smaller_wins_queue(s):
    """Of queue's and message's TTL the smaller one counts."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 50})
    ch.publish("", q, "m", expiration="600000")
    ch.confirms()
    ch.get_when_there(dead)


@scenario
def both_smaller_wins_message(s):
    """The other way round."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 600000})
    ch.publish("", q, "m", expiration="50")
    ch.confirms()
    ch.get_when_there(dead)


@scenario
def queue_ttl_0_with_consumer(s):
    """With TTL 0 a message that a waiting consumer can take is delivered."""
    ch, q = s.queue(arguments={"x-message-ttl": 0})
    ch.consume(q, "t", no_ack=True)
    ch.confirm()
    ch.publish("", q, "m")
    ch.deliveries(1)
    ch.confirms()


@scenario
def queue_ttl_0_without_consumer(s):
    """Without a consumer it expires at once."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 0})
    ch.publish("", q, "m")
    ch.confirms()
    ch.get_when_there(dead)
    ch.get(q)


@scenario
def message_ttl_0_with_consumer(s):
    """expiration 0 with a waiting consumer."""
    ch, q = s.queue()
    ch.consume(q, "t", no_ack=True)
    ch.publish("", q, "m", expiration="0")
    ch.deliveries(1)


@scenario
def message_ttl_0_without_consumer(s):
    """expiration 0 without one."""
    ch, q, dead = with_dead_letters(s)
    ch.publish("", q, "m", expiration="0")
    ch.confirms()
    ch.get_when_there(dead)
    ch.get(q)


@scenario
def expiration_is_delivered(s):
    """A message that has not expired still has its expiration property, unchanged."""
    ch, q = s.queue()
    ch.publish("", q, "m", expiration="0600000")
    ch.get_when_there(q)


@scenario
def expires_at_head_only(s):
    """A message behind one that lives longer is not expired before it comes to the head."""
    ch, q, dead = with_dead_letters(s)
    ch.publish("", q, "long", expiration="600000")
    ch.publish("", q, "short", expiration="1")
    ch.publish("", q, "mark")
    ch.confirms()
    probe = s.name("probe")
    ch.queue(probe, arguments={"x-message-ttl": 50, **dead_letters_to(dead)})
    ch.publish("", probe, "probe")
    ch.confirms()
    ch.get_when_there(dead)
    ch.counts_when(q, messages=3)
    ch.get(q)
    ch.get_when_there(dead)
    ch.get(q)


@scenario
def unacked_does_not_expire(s):
    """A message that is delivered and not acknowledged does not expire until it is requeued."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 100})
    ch.publish("", q, "held")
    ch.get(q, no_ack=False)
    ch.publish("", q, "ready")
    ch.confirms()
    ch.get_when_there(dead)
    ch.get(dead)
    ch.nack(1)
    ch.get_when_there(dead)


@scenario
def several_expire_in_order(s):
    """Messages that expire are dead-lettered in order."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 50})
    for body in "abc":
        ch.publish("", q, body)
    ch.confirms()
    ch.drain(dead, 3)


@scenario
def without_dead_letter_exchange(s):
    """Without a dead letter exchange expired messages vanish."""
    ch, q = s.queue(arguments={"x-message-ttl": 50})
    ch.confirm()
    ch.publish("", q, "m")
    ch.confirms()
    ch.counts_when(q, messages=0)
    ch.get(q)


@scenario
def expired_not_delivered_to_late_consumer(s):
    """A consumer that comes late does not see what has expired."""
    ch, q, dead = with_dead_letters(s, **{"x-message-ttl": 30})
    ch.publish("", q, "m")
    ch.confirms()
    ch.get_when_there(dead)
    ch.consume(q, "t")
    ch.barrier()


# ------------------------------------------------------------ queue expiry

def _gone(s, ch, q):
    """Waits until the queue is gone, without touching it: by its binding, through a mandatory publish."""
    kept = s.transcript.lines[:]
    ch.call("confirm.select")
    event, deadline = None, time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        ch.publish("amq.direct", q, "", mandatory=True)
        event = ch.next()
        if event.name == "basic.return":
            ch.next()
            break
        time.sleep(POLL_S)
    s.transcript.lines[:] = kept
    s.note("the queue is gone" if event.name == "basic.return" else "the queue stays")


@scenario
def queue_expires(s):
    """An unused queue is deleted after x-expires."""
    ch, q = s.queue(arguments={"x-expires": 100})
    ch.bind(q, "amq.direct", q)
    _gone(s, ch, q)
    ch.counts(q)


@scenario
def queue_expires_not_while_consumed(s):
    """With a consumer it stays; it goes after the cancel."""
    ch = s.channel()
    q, other = s.name("q"), s.name("other")
    ch.queue(q, arguments={"x-expires": 100})
    ch.bind(q, "amq.direct", q)
    ch.consume(q, "t", no_ack=True)
    ch.queue(other, arguments={"x-expires": 200})
    ch.bind(other, "amq.direct", other)
    watch = ch.connection.channel()
    _gone(s, watch, other)
    watch.counts(q)
    ch.call("basic.cancel", consumer_tag="t")
    _gone(s, watch, q)


@scenario
def queue_expires_with_messages(s):
    """Ready messages do not keep a queue; they are not dead-lettered either."""
    ch = s.channel()
    q, dead = s.name("q"), s.name("dead")
    ch.queue(dead)
    ch.queue(q, arguments={"x-expires": 100, **dead_letters_to(dead)})
    ch.bind(q, "amq.direct", q)
    ch.publish("", q, "m")
    _gone(s, ch, q)
    ch.get(dead)


for _name, _touch in {
    "declare": lambda ch, q: ch.queue(q, arguments={"x-expires": 60000}),
    "passive": lambda ch, q: ch.counts(q),
    "get": lambda ch, q: ch.get(q),
}.items():
    def _run(s, touch=_touch):
        ch, q = s.queue(arguments={"x-expires": 60000})
        touch(ch, q)
        ch.counts(q)
    add(__name__, f"queue_with_expires_{_name}", _run, f"{_name} on a queue with x-expires.")
