# Consumers: tags, flags, prefetch, cancelling, exclusive use, priorities.

from parity.session import add, scenario


def filled(s, count, **fields):
    """A channel and a queue that holds `count` messages, all confirmed."""
    ch, q = s.queue(**fields)
    ch.confirm()
    for number in range(1, count + 1):
        ch.publish("", q, str(number))
    ch.confirms()
    return ch, q


@scenario
def deliver(s):
    """What was there is delivered in order, then what comes."""
    ch, q = filled(s, 2)
    ch.consume(q, "t")
    ch.deliveries(2)
    ch.publish("", q, "3", message_id="m")
    ch.deliveries(1)
    ch.confirms()


@scenario
def generated_tag(s):
    """Without a tag the broker makes one."""
    ch, q = filled(s, 1)
    ch.consume(q)
    ch.deliveries(1)


@scenario
def duplicate_tag(s):
    """The same tag twice on one channel ends the connection with 530."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    ch.consume(q, "t")


@scenario
def same_tag_on_two_channels(s):
    """Tags belong to a channel."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    ch.connection.channel().consume(q, "t")


@scenario
def tag_reused_after_cancel(s):
    """A cancelled tag is free."""
    ch, q = filled(s, 1)
    ch.consume(q, "t", no_ack=True)
    ch.deliveries(1)
    ch.call("basic.cancel", consumer_tag="t")
    ch.consume(q, "t")


@scenario
def tag_unusual(s):
    """Tags may hold anything, amq. included."""
    ch, q = filled(s, 0)
    ch.consume(q, "amq.mine\r\n ünï")


@scenario
def missing_queue(s):
    """Consuming a missing queue is a 404."""
    s.channel().consume(s.name("q"), "t")


@scenario
def no_ack(s):
    """With no-ack nothing is left to acknowledge."""
    ch, q = filled(s, 2)
    ch.consume(q, "t", no_ack=True)
    ch.deliveries(2)
    ch.ack(1)
    ch.expect_close()


@scenario
def no_local_is_ignored(s):
    """no-local has no effect."""
    ch, q = filled(s, 1)
    ch.consume(q, "t", no_local=True)
    ch.deliveries(1)


@scenario
def no_wait(s):
    """no-wait consumes have no reply, but deliveries."""
    ch, q = filled(s, 1)
    ch.send("basic.consume", queue=q, consumer_tag="t", no_wait=True)
    ch.next()
    ch.barrier()


@scenario
def no_wait_without_tag(s):
    """no-wait without a tag: the client learns the tag from a delivery."""
    ch, q = filled(s, 1)
    ch.send("basic.consume", queue=q, no_wait=True)
    ch.next()


@scenario
def unknown_arguments(s):
    """Unknown arguments of consumers are ignored."""
    ch, q = filled(s, 0)
    ch.consume(q, "t", arguments={"x-anything": 1, "else": [2]})


for _name, _value in {
    "0": 0, "negative": -5, "large": 2**40, "string": "1", "boolean": True, "double": 1.0, "void": None,
}.items():
    def _run(s, value=_value):
        ch = s.channel()
        ch.queue(s.name("q"))
        ch.consume(s.name("q"), "t", arguments={"x-priority": value})
    add(__name__, f"priority_argument_{_name}", _run, f"x-priority {_value!r}.")

for _name, _key, _value in (
    ("cancel_on_ha_failover", "x-cancel-on-ha-failover", True), ("credit", "x-credit", {"credit": 5, "drain": False}),
    ("consumer_timeout", "x-consumer-timeout", 60000), ("consumer_timeout_string", "x-consumer-timeout", "soon"),
    ("stream_offset_on_classic", "x-stream-offset", "first"),
):
    def _run(s, arguments={_key: _value}):
        ch, q = filled(s, 1)
        ch.consume(q, "t", arguments=arguments)
        ch.deliveries(1)
    add(__name__, f"argument_{_name}", _run, f"Consumer argument {_key} {_value!r} on a classic queue.")


# ------------------------------------------------------------ exclusive

@scenario
def exclusive_then_other(s):
    """An exclusive consumer keeps all others out."""
    ch, q = filled(s, 0)
    ch.consume(q, "t", exclusive=True)
    ch.connection.channel().consume(q, "u")


@scenario
def exclusive_second(s):
    """A consumer cannot be exclusive when there is another one."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    ch.connection.channel().consume(q, "u", exclusive=True)


@scenario
def exclusive_after_cancel(s):
    """After its cancel others may consume."""
    ch, q = filled(s, 0)
    ch.consume(q, "t", exclusive=True)
    ch.call("basic.cancel", consumer_tag="t")
    ch.consume(q, "u")


# ------------------------------------------------------------ round robin and prefetch

@scenario
def round_robin(s):
    """Consumers of equal priority take turns."""
    ch, q = filled(s, 0)
    for tag in "abc":
        ch.consume(q, tag)
    for number in range(6):
        ch.publish("", q, str(number))
    ch.deliveries(6)
    ch.confirms()


@scenario
def prefetch_limits(s):
    """No more than prefetch-count messages are unacknowledged per consumer."""
    ch, q = filled(s, 5)
    ch.prefetch(2)
    ch.consume(q, "t")
    ch.deliveries(2)
    ch.counts_when(q, messages=3)
    ch.barrier()
    ch.ack(1)
    ch.deliveries(1)
    ch.counts_when(q, messages=2)
    ch.barrier()
    ch.ack(3, multiple=True)
    ch.deliveries(2)


@scenario
def prefetch_is_per_consumer(s):
    """Without global, each consumer has its own limit."""
    ch, q = filled(s, 6)
    ch.prefetch(2)
    ch.consume(q, "a")
    ch.deliveries(2)
    ch.consume(q, "b")
    ch.deliveries(2)
    ch.counts_when(q, messages=2)
    ch.barrier()


@scenario
def prefetch_for_later_consumers(s):
    """A qos without global applies to consumers that come after it."""
    ch, q = filled(s, 6)
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.prefetch(3)
    ch.barrier()
    ch.consume(q, "b")
    ch.deliveries(3)
    ch.counts_when(q, messages=2)
    ch.barrier()


@scenario
def prefetch_global(s):
    """With global, all consumers of the channel share the limit."""
    ch, q = filled(s, 6)
    ch.prefetch(3, of_channel=True)
    ch.consume(q, "a")
    ch.deliveries(3)
    ch.consume(q, "b")
    ch.counts_when(q, messages=3)
    ch.barrier()
    ch.ack(3, multiple=True)
    ch.deliveries(3)


@scenario
def prefetch_global_raised(s):
    """Raising a global limit lets more through at once."""
    ch, q = filled(s, 4)
    ch.prefetch(1, of_channel=True)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.prefetch(3, of_channel=True)
    ch.deliveries(2)
    ch.prefetch(0, of_channel=True)
    ch.deliveries(1)


@scenario
def prefetch_both(s):
    """Both limits hold at once."""
    ch, q = filled(s, 8)
    ch.prefetch(2)
    ch.prefetch(3, of_channel=True)
    ch.consume(q, "a")
    ch.deliveries(2)
    ch.consume(q, "b")
    ch.deliveries(1)
    ch.counts_when(q, messages=5)
    ch.barrier()


@scenario
def prefetch_0_is_unlimited(s):
    """prefetch-count 0 means no limit."""
    ch, q = filled(s, 20)
    ch.prefetch(0)
    ch.consume(q, "t")
    ch.deliveries(20)


@scenario
def prefetch_ignored_for_no_ack(s):
    """Prefetch means nothing for no-ack consumers."""
    ch, q = filled(s, 4)
    ch.prefetch(1)
    ch.consume(q, "t", no_ack=True)
    ch.deliveries(4)


@scenario
def prefetch_size(s):
    """prefetch-size is not implemented."""
    s.channel().call("basic.qos", prefetch_size=1000, prefetch_count=1)


@scenario
def prefetch_65535(s):
    """The largest prefetch-count."""
    s.channel().prefetch(65535)


# ------------------------------------------------------------ cancel

@scenario
def cancel_unknown(s):
    """Cancelling an unknown tag succeeds."""
    s.channel().call("basic.cancel", consumer_tag="nobody")


@scenario
def cancel_of_other_channel(s):
    """A tag of another channel is unknown."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    ch.connection.channel().call("basic.cancel", consumer_tag="t")
    ch.counts_when(q, consumers=1)


@scenario
def cancel_keeps_unacked(s):
    """What was delivered to a cancelled consumer can still be acknowledged or requeued."""
    ch, q = filled(s, 2)
    ch.consume(q, "t")
    ch.deliveries(2)
    ch.call("basic.cancel", consumer_tag="t")
    ch.ack(1)
    ch.nack(2)
    ch.drain(q, 1)


@scenario
def cancel_no_wait(s):
    """A cancel with no-wait has no reply."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    ch.send("basic.cancel", consumer_tag="t", no_wait=True)
    ch.counts_when(q, consumers=0)
    ch.publish("", q, "m")
    ch.confirms()
    ch.barrier()
    ch.drain(q, 1)


@scenario
def cancel_notification(s):
    """When a queue is deleted its consumers get basic.cancel, if their client can take it."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    other = ch.connection.channel()
    other.call("queue.delete", queue=q)
    ch.expect("basic.cancel")
    ch.consume(q, "t")


@scenario
def cancel_notification_same_channel(s):
    """The same when the consuming channel deletes the queue."""
    ch, q = filled(s, 0)
    ch.consume(q, "t")
    ch.consume(q, "u")
    ch.call("queue.delete", queue=q)
    ch.expect("basic.cancel")
    ch.expect("basic.cancel")


@scenario
def cancel_notification_without_capability(s):
    """A client without the capability is told nothing."""
    c = s.connect(capabilities=())
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    ch.consume(q, "t")
    c.channel().call("queue.delete", queue=q)
    ch.barrier()


@scenario
def cancel_notification_auto_delete(s):
    """Cancelling the last consumer of an auto-delete queue sends no notification."""
    ch, q = filled(s, 0, auto_delete=True)
    ch.consume(q, "t")
    ch.call("basic.cancel", consumer_tag="t")
    ch.barrier()


@scenario
def ack_after_queue_delete(s):
    """Acknowledging a message of a deleted queue is no error."""
    ch, q = filled(s, 1)
    ch.consume(q, "t")
    ch.deliveries(1)
    ch.call("queue.delete", queue=q)
    ch.expect("basic.cancel")
    ch.ack(1)
    ch.barrier()


# ------------------------------------------------------------ priorities of consumers

@scenario
def priority_higher_first(s):
    """A consumer of higher priority gets everything while it has credit."""
    ch, q = filled(s, 0)
    ch.prefetch(2)
    ch.consume(q, "low", arguments={"x-priority": -1})
    ch.consume(q, "none")
    ch.consume(q, "high", arguments={"x-priority": 10})
    for number in range(1, 7):
        ch.publish("", q, str(number))
    ch.deliveries(6)
    ch.confirms()


@scenario
def priority_credit_returns(s):
    """As soon as the higher one has credit again, it is served first."""
    ch, q = filled(s, 0)
    ch.prefetch(1)
    ch.consume(q, "high", arguments={"x-priority": 5})
    ch.prefetch(10)
    ch.consume(q, "low")
    ch.publish("", q, "1")
    ch.publish("", q, "2")
    ch.deliveries(2)
    ch.confirms()
    ch.ack(1)
    ch.counts_when(q, messages=0)
    ch.get(q)
    ch.publish("", q, "3")
    ch.deliveries(1)
    ch.confirms()


@scenario
def deliveries_stop_with_connection(s):
    """A dropped socket requeues what its consumers had, in order."""
    ch, q = filled(s, 3)
    c = s.connect()
    other = c.channel()
    other.prefetch(2)
    other.consume(q, "t")
    other.deliveries(2)
    c.close_socket()
    ch.counts_when(q, messages=3, consumers=0)
    ch.drain(q, 3)
