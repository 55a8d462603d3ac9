# Quorum queues: delivery limits and x-delivery-count, refused arguments, and differences from classic queues.

from parity.channel import dead_letters_to
from parity.session import add, follow, scenario


def queue(s, name="q", **arguments):
    """A channel in confirm mode and a quorum queue."""
    ch = s.channel()
    ch.queue(s.name(name), durable=True, arguments={"x-queue-type": "quorum", **arguments})
    ch.confirm()
    return ch, s.name(name)


def publish(ch, q, *bodies, **properties):
    for body in bodies:
        ch.publish("", q, body, **properties)
        ch.confirms()


def dead_lettered(s, ch, **arguments):
    """Declares the queue for dead letters; returns the arguments that send them there."""
    ch.queue(s.name("dead"))
    return {**dead_letters_to(s.name("dead")), **arguments}


@scenario
def deliver_and_ack(s):
    """Publish, confirm, deliver, acknowledge."""
    ch, q = queue(s)
    publish(ch, q, "a", "b", delivery_mode=2)
    ch.consume(q, "t")
    ch.deliveries(2)
    ch.ack(2, multiple=True)
    ch.counts_when(q, messages=0, consumers=1)


@scenario
def get(s):
    """basic.get counts down."""
    ch, q = queue(s)
    publish(ch, q, "a", "b")
    ch.drain(q, 2)


@scenario
def delivery_mode_kept(s):
    """Properties come back as they were, a transient delivery mode included."""
    ch, q = queue(s)
    publish(ch, q, "m", delivery_mode=1, headers={"a": 1}, priority=3)
    ch.get_when_there(q)


@scenario
def delivery_count(s):
    """The counts are absent first; a nack raises x-acquired-count."""
    ch, q = queue(s)
    publish(ch, q, "m", headers={"mine": 1})
    for tag in (1, 2, 3):
        ch.get_when_there(q, no_ack=False)
        ch.nack(tag)
    ch.get_when_there(q)


@scenario
def delivery_count_by_reject(s):
    """The same with basic.reject and no headers."""
    ch, q = queue(s)
    publish(ch, q, "m")
    for tag in (1, 2):
        ch.get_when_there(q, no_ack=False)
        ch.reject(tag)
    ch.get_when_there(q)


@scenario
def delivery_count_by_channel_close(s):
    """Closing the channel raises both."""
    ch, q = queue(s)
    publish(ch, q, "m")
    ch.get_when_there(q, no_ack=False)
    ch.close()
    ch = s.channel()
    ch.get_when_there(q)


@scenario
def delivery_count_by_recover(s):
    """recover counts as nack does."""
    ch, q = queue(s)
    publish(ch, q, "m")
    ch.get_when_there(q, no_ack=False)
    ch.call("basic.recover", requeue=True)
    ch.get_when_there(q)


@scenario
def delivery_count_from_client(s):
    """A client's own x-delivery-count."""
    ch, q = queue(s)
    publish(ch, q, "m", headers={"x-delivery-count": 7})
    ch.get_when_there(q, no_ack=False)
    ch.nack(1)
    ch.get_when_there(q)


@scenario
def delivery_limit(s):
    """Past the limit a message is dead-lettered as delivery_limit."""
    ch = s.channel()
    arguments = dead_lettered(s, ch, **{"x-delivery-limit": 2})
    ch, q = queue(s, **arguments)
    publish(ch, q, "m")
    for tag in (1, 2, 3):
        ch.get_when_there(q, no_ack=False)
        ch.reject(tag)
    ch.get_when_there(s.name("dead"))
    ch.get(q)


@scenario
def delivery_limit_0(s):
    """Limit 0: the first failure is the last."""
    ch = s.channel()
    arguments = dead_lettered(s, ch, **{"x-delivery-limit": 0})
    ch, q = queue(s, **arguments)
    publish(ch, q, "m")
    ch.get_when_there(q, no_ack=False)
    ch.reject(1)
    ch.get_when_there(s.name("dead"))


@scenario
def delivery_limit_default(s):
    """Without x-delivery-limit it is 20."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch))
    publish(ch, q, "m")
    with s.transcript.unlogged():
        for tag in range(1, 21):
            ch.get_when_there(q, no_ack=False)
            ch.reject(tag)
    s.note("twenty times got and requeued")
    ch.get_when_there(q, no_ack=False)
    ch.reject(21)
    ch.get_when_there(s.name("dead"))


@scenario
def delivery_limit_off(s):
    """With -1 there is none."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch, **{"x-delivery-limit": -1}))
    publish(ch, q, "m")
    with s.transcript.unlogged():
        for tag in range(1, 26):
            ch.get_when_there(q, no_ack=False)
            ch.reject(tag)
    s.note("25 times got and requeued")
    ch.get_when_there(q)


@scenario
def delivery_limit_without_dead_letters(s):
    """Without a dead letter exchange such a message vanishes."""
    ch, q = queue(s, **{"x-delivery-limit": 1})
    publish(ch, q, "m")
    for tag in (1, 2):
        ch.get_when_there(q, no_ack=False)
        ch.reject(tag)
    ch.get(q)


@scenario
def requeue_position(s):
    """Returned messages are delivered before new ones."""
    ch, q = queue(s)
    publish(ch, q, "1", "2", "3")
    ch.get_when_there(q, no_ack=False)
    ch.get_when_there(q, no_ack=False)
    ch.nack(2)
    ch.nack(1)
    ch.drain(q, 3)


@scenario
def requeue_multiple_position(s):
    """Several returned at once keep their order."""
    ch, q = queue(s)
    publish(ch, q, "1", "2", "3")
    ch.get_when_there(q, no_ack=False)
    ch.get_when_there(q, no_ack=False)
    ch.nack(2, multiple=True)
    ch.drain(q, 3)


@scenario
def rejected(s):
    """A dead letter of a quorum queue."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch))
    publish(ch, q, "m", message_id="id", headers={"mine": 1})
    ch.get_when_there(q, no_ack=False)
    ch.reject(1, requeue=False)
    ch.get_when_there(s.name("dead"))


@scenario
def rejected_after_requeue(s):
    """What becomes of x-delivery-count in a dead letter."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch))
    publish(ch, q, "m")
    ch.get_when_there(q, no_ack=False)
    ch.nack(1)
    ch.get_when_there(q, no_ack=False)
    ch.reject(2, requeue=False)
    ch.get_when_there(s.name("dead"))


@scenario
def expired(s):
    """x-message-ttl on a quorum queue."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch, **{"x-message-ttl": 50}))
    publish(ch, q, "m")
    ch.get_when_there(s.name("dead"))
    ch.get(q)


@scenario
def expired_message(s):
    """expiration on a quorum queue."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch))
    publish(ch, q, "m", expiration="50")
    ch.get_when_there(s.name("dead"))


@scenario
def max_length(s):
    """drop-head dead-letters what it drops."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch, **{"x-max-length": 1}))
    publish(ch, q, "a", "b", "c")
    ch.drain(s.name("dead"), 2)
    ch.drain(q, 1)


@scenario
def at_least_once(s):
    """Dead lettering at least once."""
    ch = s.channel()
    ch, q = queue(s, **dead_lettered(s, ch, **{"x-dead-letter-strategy": "at-least-once",
                                               "x-overflow": "reject-publish"}))
    publish(ch, q, "m")
    ch.get_when_there(q, no_ack=False)
    ch.reject(1, requeue=False)
    ch.get_when_there(s.name("dead"))


@scenario
def single_active_consumer(s):
    """The first consumer is active; after its cancel the next one."""
    ch, q = queue(s, **{"x-single-active-consumer": True})
    ch.consume(q, "a")
    ch.consume(q, "b")
    publish(ch, q, "1")
    ch.deliveries(1)
    ch.ack(1)
    ch.call("basic.cancel", consumer_tag="a")
    publish(ch, q, "2")
    ch.deliveries(1)


@scenario
def single_active_consumer_priority(s):
    """A consumer of higher priority takes over."""
    ch, q = queue(s, **{"x-single-active-consumer": True})
    ch.consume(q, "a")
    ch.consume(q, "high", arguments={"x-priority": 5})
    publish(ch, q, "1")
    ch.deliveries(1)


@scenario
def single_active_consumer_get(s):
    """basic.get on a quorum queue with a single active consumer is a 405."""
    ch, q = queue(s, **{"x-single-active-consumer": True})
    ch.get(q)


@scenario
def global_qos(s):
    """A consumer on a channel with global prefetch ends the connection."""
    ch, q = queue(s)
    ch.prefetch(2, of_channel=True)
    ch.consume(q, "t")


@scenario
def exclusive_consumer(s):
    """What an exclusive consumer means to others on a quorum queue."""
    ch, q = queue(s)
    ch.consume(q, "t", exclusive=True)
    ch.connection.channel().consume(q, "u")


@scenario
def consumer_priority(s):
    """Consumer priorities."""
    ch, q = queue(s)
    ch.prefetch(1)
    ch.consume(q, "low")
    ch.consume(q, "high", arguments={"x-priority": 5})
    publish(ch, q, "1")
    ch.deliveries(1)
    publish(ch, q, "2")
    ch.deliveries(1)


for _name, _flags in {"if_empty": {"if_empty": True}, "if_unused": {"if_unused": True},
                      "both": {"if_empty": True, "if_unused": True}, "plain": {}}.items():
    def _run(s, flags=_flags):
        ch, q = queue(s)
        ch.call("queue.delete", queue=q, **flags)
    add(__name__, f"delete_{_name}", _run, f"queue.delete with {_flags}.")


@scenario
def purge(s):
    """Purging answers with the number of messages."""
    ch, q = queue(s)
    publish(ch, q, "a", "b")
    ch.counts_when(q, messages=2)
    ch.call("queue.purge", queue=q)
    ch.get(q)


@scenario
def cancel_notification(s):
    """Deleting the queue cancels its consumers."""
    ch, q = queue(s)
    ch.consume(q, "t")
    ch.connection.channel().call("queue.delete", queue=q)
    ch.expect("basic.cancel")


@scenario
def priorities(s):
    """Higher priorities first."""
    ch, q = queue(s)
    for number, priority in enumerate((1, 4, 5, 9, 6, None)):
        publish(ch, q, f"{number} ({priority})", **({} if priority is None else {"priority": priority}))
    ch.drain(q, 6)


@scenario
def tx(s):
    """Transactions on quorum queues."""
    ch, q = s.queue(durable=True, arguments={"x-queue-type": "quorum"})
    ch.call("tx.select")
    ch.publish("", q, "m")
    ch.call("tx.commit")
    ch.get_when_there(q)


@scenario
def prefetch(s):
    """Prefetch limits a consumer; multiple acks free it."""
    ch, q = queue(s)
    publish(ch, q, "1", "2", "3", "4")
    ch.prefetch(2)
    ch.consume(q, "t")
    ch.deliveries(2)
    ch.counts_when(q, messages=2)
    ch.barrier()
    ch.ack(2, multiple=True)
    ch.deliveries(2)


@scenario
def unknown_tag(s):
    """Unknown delivery tags are the channel's business."""
    ch, q = queue(s)
    ch.ack(5)
    ch.expect_close()


@scenario
def exclusive_flag_redeclare(s):
    """Re-declaring with the exclusive flag."""
    ch, q = queue(s)
    ch.queue(q, durable=True, exclusive=True, arguments={"x-queue-type": "quorum"})


# The counts, priorities and returned messages of 4.3.
follow(__name__, "4.3", "at_least_once", "delivery_*", "priorities", "rejected*", "requeue_*")
