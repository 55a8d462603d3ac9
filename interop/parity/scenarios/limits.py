# Length limits, and what happens when a queue reaches them.

from parity.session import add, scenario


def limited(s, **arguments):
    """A channel in confirm mode and a queue with these arguments."""
    ch = s.channel()
    ch.queue(s.name("dead"))
    ch.queue(s.name("q"), arguments={name.replace("_", "-"): value for name, value in arguments.items()})
    ch.confirm()
    return ch, s.name("q"), s.name("dead")


def fill(ch, q, *bodies):
    for body in bodies:
        ch.publish("", q, body)
        ch.confirms()


def dead_lettered(s):
    return {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": s.name("dead")}


@scenario
def drop_head(s):
    """By default the oldest message makes room."""
    ch, q, _ = limited(s, x_max_length=2)
    fill(ch, q, "a", "b", "c", "d")
    ch.drain(q, 2)


@scenario
def drop_head_dead_letters(s):
    """What is dropped is dead-lettered, as maxlen."""
    ch, q, dead = limited(s, x_max_length=1, **dead_lettered(s))
    fill(ch, q, "a", "b", "c")
    ch.drain(dead, 2)
    ch.drain(q, 1)


@scenario
def reject_publish(s):
    """reject-publish refuses the new message by basic.nack."""
    ch, q, _ = limited(s, x_max_length=2, x_overflow="reject-publish")
    fill(ch, q, "a", "b", "c")
    ch.drain(q, 2)


@scenario
def reject_publish_nack_fields(s):
    """The fields of that nack."""
    ch, q, _ = limited(s, x_max_length=0, x_overflow="reject-publish")
    ch.publish("", q, "a")
    ch.next()


@scenario
def reject_publish_without_confirms(s):
    """Without confirms the refused message vanishes."""
    ch, q = s.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    for body in "abc":
        ch.publish("", q, body)
    ch.drain(q, 1)


@scenario
def reject_publish_no_dead_letter(s):
    """reject-publish does not dead-letter."""
    ch, q, dead = limited(s, x_max_length=1, x_overflow="reject-publish", **dead_lettered(s))
    fill(ch, q, "a", "b")
    ch.get(dead)


@scenario
def reject_publish_dlx(s):
    """reject-publish-dlx refuses and dead-letters the new message."""
    ch, q, dead = limited(s, x_max_length=1, x_overflow="reject-publish-dlx", **dead_lettered(s))
    fill(ch, q, "a", "b")
    ch.drain(dead, 1)
    ch.drain(q, 1)


@scenario
def reject_publish_mandatory(s):
    """A refused mandatory message was routed: it is not returned."""
    ch, q, _ = limited(s, x_max_length=0, x_overflow="reject-publish")
    ch.publish("", q, "a", mandatory=True)
    ch.confirms()
    ch.barrier()


@scenario
def reject_publish_one_of_two_queues(s):
    """One queue takes it, one refuses: the publisher gets a nack."""
    ch, q, dead = limited(s, x_max_length=0, x_overflow="reject-publish")
    x = s.name("x")
    ch.exchange(x, "fanout")
    ch.bind(q, x)
    ch.bind(dead, x)
    ch.publish(x, "", "m")
    ch.confirms()
    ch.drain(dead, 1)


@scenario
def length_0_drop_head(s):
    """x-max-length 0 keeps nothing."""
    ch, q, _ = limited(s, x_max_length=0)
    fill(ch, q, "a")
    ch.get(q)


@scenario
def length_0_with_consumer(s):
    """A waiting consumer gets messages even from a queue of length 0."""
    ch, q, _ = limited(s, x_max_length=0)
    ch.consume(q, "t", no_ack=True)
    fill(ch, q, "a", "b")
    ch.deliveries(2)


@scenario
def unacked_do_not_count(s):
    """Only ready messages count."""
    ch, q, _ = limited(s, x_max_length=1)
    fill(ch, q, "a")
    ch.get(q, no_ack=False)
    fill(ch, q, "b")
    ch.counts_when(q, messages=1)
    ch.drain(q, 1)


@scenario
def requeue_over_limit(s):
    """A requeue may go over the limit; what becomes of it."""
    ch, q, dead = limited(s, x_max_length=1, **dead_lettered(s))
    fill(ch, q, "a")
    ch.get(q, no_ack=False)
    fill(ch, q, "b")
    ch.nack(1)
    ch.drain(dead, 1)
    ch.drain(q, 1)


@scenario
def bytes_limit(s):
    """x-max-length-bytes counts bodies."""
    ch, q, _ = limited(s, x_max_length_bytes=10)
    fill(ch, q, "12345", "67890")
    ch.counts_when(q, messages=2)
    fill(ch, q, "x")
    ch.drain(q, 2)


@scenario
def bytes_limit_ignores_properties(s):
    """Properties do not count."""
    ch, q, _ = limited(s, x_max_length_bytes=10)
    ch.publish("", q, "1234567890", headers={"padding": "p" * 200})
    ch.confirms()
    ch.drain(q, 1)


@scenario
def bytes_limit_large_message(s):
    """A message larger than the limit drops everything, itself included."""
    ch, q, _ = limited(s, x_max_length_bytes=10)
    fill(ch, q, "123", "12345678901")
    ch.get(q)


@scenario
def bytes_limit_reject(s):
    """With reject-publish a message is refused that would go over the limit; a smaller one still fits."""
    ch, q, _ = limited(s, x_max_length_bytes=10, x_overflow="reject-publish")
    fill(ch, q, "12345678", "12345678", "1")
    ch.drain(q, 2)


@scenario
def both_limits(s):
    """Both limits hold."""
    ch, q, _ = limited(s, x_max_length=3, x_max_length_bytes=10)
    fill(ch, q, "1", "2", "3", "4")
    ch.counts_when(q, messages=3)
    fill(ch, q, "123456789")
    ch.drain(q, 2)


@scenario
def tx_commit_over_limit(s):
    """A transaction over a reject-publish limit."""
    ch, q = s.queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.call("tx.select")
    for body in "abc":
        ch.publish("", q, body)
    ch.call("tx.commit")
    ch.drain(q, 1)


for _overflow in ("drop-head", "reject-publish"):
    def _run(s, overflow=_overflow):
        ch, q, _ = limited(s, x_max_length=2, x_max_priority=5, x_overflow=overflow)
        for priority, body in ((5, "a"), (1, "b"), (3, "c"), (1, "d")):
            ch.publish("", q, body, priority=priority)
            ch.confirms()
        ch.drain(q, 2)
    add(__name__, f"priorities_{_overflow.replace('-', '_')}", _run, f"A priority queue at its limit with {_overflow}.")
