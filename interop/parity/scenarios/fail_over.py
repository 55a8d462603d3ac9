# Single active consumer: the next consumer takes over, however the active one ends.

import time

from parity.channel import dead_letters_to
from parity.session import add, follow, scenario

KINDS = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


def queue(s, kind, **arguments):
    """Guest's channel in confirm mode and a queue with a single active consumer."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments={**KINDS[kind], "x-single-active-consumer": True, **arguments})
    ch.confirm()
    return ch


def publish(s, ch, *bodies):
    for body in bodies:
        ch.publish("", s.name("q"), body)
    ch.confirms()


def channel_close(ch):
    ch.close()


def connection_close(ch):
    ch.connection.close()


def channel_error(ch):
    ch.ack(99)
    ch.expect_close()


def connection_error(ch):
    ch.connection.send("queue.declare")
    ch.connection.expect_close()


def cancel(ch):
    ch.call("basic.cancel", consumer_tag="a")


def cancel_and_close(ch):
    ch.call("basic.cancel", consumer_tag="a")
    ch.close()


def killed(ch):
    ch.connection.kill()


def fin(ch):
    ch.connection.finish_sending()
    ch.connection.await_end("FIN")


WAYS = {"channel_close": channel_close, "connection_close": connection_close, "channel_error": channel_error,
        "connection_error": connection_error, "cancel_and_close": cancel_and_close, "killed": killed, "fin": fin}


def _order(kind, way):
    def run(s):
        owner = queue(s, kind)
        active, waiting = s.connect().channel(), s.connect().channel()
        active.prefetch(2)
        active.consume(s.name("q"), "a")
        waiting.consume(s.name("q"), "b")
        publish(s, owner, "0", "1", "2", "3")
        active.deliveries(2)
        WAYS[way](active)
        waiting.deliveries(4)
        owner.counts_when(s.name("q"), messages=0, consumers=1)
    add(__name__, f"order_{kind}_{way}", run,
        f"The active one of a {kind} queue ends ({way.replace('_', ' ')}): the next begins with what was unacked.")


for _kind in KINDS:
    for _way in WAYS:
        _order(_kind, _way)


def _same_channel(kind, way):
    """The consumers a and b of one channel end together; c waits behind them, on another connection."""
    def run(s):
        owner = queue(s, kind)
        ending, waiting = s.connect().channel(), s.connect().channel()
        ending.prefetch(2)
        ending.consume(s.name("q"), "a")
        ending.consume(s.name("q"), "b")
        waiting.consume(s.name("q"), "c")
        publish(s, owner, "0", "1", "2", "3")
        ending.deliveries(2)
        WAYS[way](ending)
        waiting.deliveries(4)
    add(__name__, f"not_through_ending_{kind}_{way}", run,
        f"Consumers that end together ({way.replace('_', ' ')}, {kind}) are passed over: nothing counts as delivered.")


for _kind in KINDS:
    for _way in ("channel_close", "connection_close", "killed"):
        _same_channel(_kind, _way)


def _dead_letter(way):
    def run(s):
        owner = queue(s, "quorum", **{"x-delivery-limit": 1, **dead_letters_to(s.name("dead"))})
        owner.queue(s.name("dead"))
        ending, waiting = s.connect().channel(), s.connect().channel()
        for tag in "abcd":
            ending.consume(s.name("q"), tag)
        waiting.consume(s.name("q"), "e")
        publish(s, owner, "0")
        ending.deliveries(1)
        WAYS[way](ending)
        waiting.deliveries(1)
        waiting.ack(1)
        waiting.barrier()
        owner.counts(s.name("dead"))
    add(__name__, f"delivery_limit_{way}", run,
        f"Four consumers that end together ({way.replace('_', ' ')}) use up one delivery of a limit of one, not four.")


for _way in ("channel_close", "connection_close", "killed"):
    _dead_letter(_way)


def leave(*channels):
    """Ends the connections without reading what closing one sends to another."""
    for ch in channels:
        ch.connection.close_socket()


def _each(kind):
    """Registers the scenario once for each kind of queue."""
    def mark(function):
        add(__name__, f"{function.__name__}_{kind}", lambda s: function(s, kind), function.__doc__ + f" ({kind})")
        return function
    return mark


def each_kind(function):
    for kind in KINDS:
        _each(kind)(function)
    return function


@each_kind
def cancel_keeps_unacked(s, kind):
    """After a cancel the unacked stay with the channel; the next gets what is behind them."""
    owner = queue(s, kind)
    active, waiting = s.connect().channel(), s.connect().channel()
    active.prefetch(2)
    active.consume(s.name("q"), "a")
    waiting.consume(s.name("q"), "b")
    publish(s, owner, "0", "1", "2", "3")
    active.deliveries(2)
    cancel(active)
    waiting.deliveries(2)
    active.ack(1)
    active.nack(2)
    waiting.deliveries(1)


@each_kind
def three_in_turn(s, kind):
    """Each in the order of arrival gets its turn."""
    owner = queue(s, kind)
    channels = [s.connect().channel() for _ in range(3)]
    for ch, tag in zip(channels, "abc"):
        ch.consume(s.name("q"), tag)
    publish(s, owner, "0", "1")
    channels[0].deliveries(2)
    channels[0].connection.kill()
    channels[1].deliveries(2)
    channels[1].close()
    channels[2].deliveries(2)


@each_kind
def waiting_one_leaves(s, kind):
    """A waiting one whose channel is closed never gets its turn."""
    owner = queue(s, kind)
    channels = [s.connect().channel() for _ in range(3)]
    for ch, tag in zip(channels, "abc"):
        ch.consume(s.name("q"), tag)
    channels[1].close()
    publish(s, owner, "0")
    channels[0].deliveries(1)
    channels[0].close()
    channels[2].deliveries(1)


@each_kind
def comes_back_last(s, kind):
    """One that leaves and comes back waits behind the others."""
    owner = queue(s, kind)
    first, second = s.connect().channel(), s.connect().channel()
    first.consume(s.name("q"), "a")
    second.consume(s.name("q"), "b")
    cancel(first)
    first.consume(s.name("q"), "a")
    publish(s, owner, "0")
    second.deliveries(1)


@each_kind
def requeue_to_itself(s, kind):
    """What the active one requeues comes to it again."""
    owner = queue(s, kind)
    first, second = s.connect().channel(), s.connect().channel()
    first.prefetch(1)
    first.consume(s.name("q"), "a")
    second.consume(s.name("q"), "b")
    publish(s, owner, "0")
    first.deliveries(1)
    first.nack(1)
    first.deliveries(1)
    leave(first, second)


@each_kind
def without_acks(s, kind):
    """An active one without acks loses nothing to the next but what was not sent."""
    owner = queue(s, kind)
    first, second = s.connect().channel(), s.connect().channel()
    first.consume(s.name("q"), "a", no_ack=True)
    second.consume(s.name("q"), "b")
    publish(s, owner, "0")
    first.deliveries(1)
    first.close()
    publish(s, owner, "1")
    second.deliveries(1)


@each_kind
def higher_priority_arrives_idle(s, kind):
    """A consumer of higher priority arrives while the active one holds nothing."""
    owner = queue(s, kind)
    low, high = s.connect().channel(), s.connect().channel()
    low.consume(s.name("q"), "low")
    high.consume(s.name("q"), "high", arguments={"x-priority": 10})
    publish(s, owner, "0")
    s.note("delivered to: " + ("high" if arrives(high, low) else "low"))
    leave(low, high)


@each_kind
def higher_priority_arrives_busy(s, kind):
    """A consumer of higher priority arrives while the active one holds a message."""
    owner = queue(s, kind)
    low, high = s.connect().channel(), s.connect().channel()
    low.consume(s.name("q"), "low")
    publish(s, owner, "0")
    low.deliveries(1)
    high.consume(s.name("q"), "high", arguments={"x-priority": 10})
    publish(s, owner, "1")
    s.note("the second is delivered to: " + ("high" if arrives(high, low) else "low"))
    low.ack(1)
    low.barrier()
    publish(s, owner, "2")
    s.note("the third is delivered to: " + ("high" if arrives(high, low) else "low"))
    leave(low, high)


@each_kind
def higher_priority_arrives_half_busy(s, kind):
    """It arrives while the active one holds two messages, of which one is acked."""
    owner = queue(s, kind)
    low, high = s.connect().channel(), s.connect().channel()
    low.prefetch(2)
    low.consume(s.name("q"), "low")
    publish(s, owner, "0", "1")
    low.deliveries(2)
    high.consume(s.name("q"), "high", arguments={"x-priority": 10})
    low.ack(1)
    low.barrier()
    publish(s, owner, "2")
    high.connection.stays_open(0.5)
    low.connection.flush()
    low.ack(2)
    high.connection.stays_open(0.5)
    low.connection.stays_open(0.1)
    leave(low, high)


def arrives(*channels):
    """Whether the next delivery comes to the first of two channels; it is taken unlogged and unacked."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for at, ch in enumerate(channels):
            try:
                ch.connection.pump(time.monotonic() + 0.02)
            except TimeoutError:
                pass
            if ch.connection.inboxes[ch.number]:
                ch.connection.inboxes[ch.number].popleft()
                return at == 0
    return False


@each_kind
def priority_among_waiting_on_loss(s, kind):
    """When the active one is lost, the waiting one of the highest priority takes over."""
    owner = queue(s, kind)
    channels = [s.connect().channel() for _ in range(3)]
    for ch, (tag, priority) in zip(channels, (("a", 10), ("low", 1), ("high", 5))):
        ch.consume(s.name("q"), tag, arguments={"x-priority": priority})
    publish(s, owner, "0", "1")
    channels[0].deliveries(2)
    channels[0].connection.kill()
    channels[2].deliveries(2)


@each_kind
def queue_deleted(s, kind):
    """When the queue is deleted both hear of it."""
    owner = queue(s, kind)
    first, second = s.connect().channel(), s.connect().channel()
    first.consume(s.name("q"), "a")
    second.consume(s.name("q"), "b")
    owner.call("queue.delete", queue=s.name("q"))
    first.expect("basic.cancel")
    second.expect("basic.cancel")


@scenario
def close_with_get_unacked(s):
    """What the channel of the active one got by basic.get goes back to its place as well."""
    owner = queue(s, "classic")
    publish(s, owner, "0", "1", "2")
    first, second = s.connect().channel(), s.connect().channel()
    first.get(s.name("q"), no_ack=False)
    first.prefetch(1)
    first.consume(s.name("q"), "a")
    first.deliveries(1)
    second.consume(s.name("q"), "b")
    first.close()
    second.deliveries(3)


# The counts of 4.3.
follow(__name__, "4.3", "*quorum*", "delivery_limit_*")
