# Single active consumer.

from parity.session import scenario


def queue(s, **arguments):
    """A channel in confirm mode and a queue with a single active consumer."""
    ch, q = s.queue(arguments={"x-single-active-consumer": True, **arguments})
    ch.confirm()
    return ch, q


def publish(ch, q, *bodies):
    for body in bodies:
        ch.publish("", q, body)
    ch.confirms()


@scenario
def first_gets_all(s):
    """The first consumer gets everything, the others wait."""
    ch, q = queue(s)
    ch.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1", "2", "3")
    ch.deliveries(3)
    ch.counts_when(q, messages=0, consumers=2)


@scenario
def waits_for_credit(s):
    """Without credit of the active one messages wait, though others have credit."""
    ch, q = queue(s)
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1", "2")
    ch.deliveries(1)
    ch.counts_when(q, messages=1)
    ch.barrier()
    ch.ack(1)
    ch.deliveries(1)


@scenario
def next_after_cancel(s):
    """After a cancel the next one in order of arrival becomes active."""
    ch, q = queue(s)
    for tag in "abc":
        ch.consume(q, tag)
    publish(ch, q, "1")
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="a")
    publish(ch, q, "2")
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="b")
    publish(ch, q, "3")
    ch.deliveries(1)


@scenario
def next_after_channel_close(s):
    """After the active one's channel is closed its messages go to the next one, redelivered."""
    ch, q = queue(s)
    active = ch.connection.channel()
    active.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1", "2")
    active.deliveries(2)
    active.close()
    ch.deliveries(2)


@scenario
def next_after_connection_loss(s):
    """The same when its connection is lost."""
    ch, q = queue(s)
    lost = s.connect()
    active = lost.channel()
    active.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1")
    active.deliveries(1)
    lost.close_socket()
    ch.deliveries(1)


@scenario
def cancelled_waiting_one(s):
    """A waiting consumer that is cancelled never gets its turn."""
    ch, q = queue(s)
    for tag in "abc":
        ch.consume(q, tag)
    ch.call("basic.cancel", consumer_tag="b")
    ch.call("basic.cancel", consumer_tag="a")
    publish(ch, q, "1")
    ch.deliveries(1)


@scenario
def exclusive_refused(s):
    """An exclusive consumer on such a queue."""
    ch, q = queue(s)
    ch.consume(q, "a", exclusive=True)


@scenario
def get_is_allowed(s):
    """basic.get works on a classic queue with a single active consumer."""
    ch, q = queue(s)
    publish(ch, q, "1")
    ch.get(q)


@scenario
def priority_is_ignored(s):
    """On classic queues consumer priorities choose the order of waiting; who is active stays."""
    ch, q = queue(s)
    ch.consume(q, "a")
    ch.consume(q, "high", arguments={"x-priority": 10})
    publish(ch, q, "1")
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="a")
    publish(ch, q, "2")
    ch.deliveries(1)


@scenario
def priority_among_waiting(s):
    """Which of two waiting consumers comes next."""
    ch, q = queue(s)
    ch.consume(q, "a")
    ch.consume(q, "low")
    ch.consume(q, "high", arguments={"x-priority": 10})
    ch.call("basic.cancel", consumer_tag="a")
    publish(ch, q, "1")
    ch.deliveries(1)


@scenario
def cancel_keeps_unacked(s):
    """Messages of a cancelled active consumer stay with its channel."""
    ch, q = queue(s)
    ch.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1")
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="a")
    ch.barrier()
    ch.nack(1)
    ch.deliveries(1)


@scenario
def false_is_ordinary(s):
    """x-single-active-consumer false is an ordinary queue."""
    ch, q = queue(s, **{"x-single-active-consumer": False})
    ch.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1", "2")
    ch.deliveries(2)
