# Streams over AMQP 0-9-1: consuming by offset, and what streams refuse.

from parity.session import add, scenario


def stream(s, count, **arguments):
    """A channel in confirm mode and a stream that holds `count` messages."""
    ch = s.channel()
    q = s.name("q")
    ch.queue(q, durable=True, arguments={"x-queue-type": "stream", **arguments})
    ch.confirm()
    for number in range(count):
        ch.publish("", q, str(number))
        ch.confirms()
    return ch, q


def consume(ch, q, offset=None, prefetch=10, **fields):
    if prefetch:
        ch.call("basic.qos", prefetch_count=prefetch)
    arguments = {} if offset is None else {"x-stream-offset": offset}
    return ch.consume(q, "t", arguments=arguments, **fields)


for _name, _offset, _expected in (
    ("first", "first", 3), ("0", 0, 3), ("2", 2, 1), ("past_interval", "1h", 3), ("negative", -1, 3),
):
    def _run(s, offset=_offset, expected=_expected):
        ch, q = stream(s, 3)
        consume(ch, q, offset)
        ch.deliveries(expected)
    add(__name__, f"offset_{_name}", _run, f"x-stream-offset {_offset!r}.")

for _name, _offset in {"unknown": "middle", "boolean": True, "double": 1.5}.items():
    def _run(s, offset=_offset):
        ch, q = stream(s, 1)
        consume(ch, q, offset)
    add(__name__, f"offset_{_name}", _run, f"x-stream-offset {_offset!r}.")


@scenario
def offset_next(s):
    """Without an offset a consumer gets what comes after it."""
    ch, q = stream(s, 2)
    consume(ch, q)
    ch.publish("", q, "new")
    ch.deliveries(1)
    ch.confirms()


@scenario
def ack_keeps_messages(s):
    """Acknowledged messages stay; another consumer gets them again."""
    ch, q = stream(s, 2)
    consume(ch, q, "first")
    ch.deliveries(2)
    ch.ack(2, multiple=True)
    other = ch.connection.channel()
    consume(other, q, "first")
    other.deliveries(2)


@scenario
def without_prefetch(s):
    """A prefetch limit is required."""
    ch, q = stream(s, 0)
    consume(ch, q, "first", prefetch=0)


@scenario
def no_ack(s):
    """no-ack is not supported."""
    ch, q = stream(s, 0)
    consume(ch, q, "first", no_ack=True)


@scenario
def exclusive_consumer(s):
    """An exclusive consumer."""
    ch, q = stream(s, 0)
    consume(ch, q, "first", exclusive=True)


@scenario
def global_qos(s):
    """A consumer on a channel with global prefetch."""
    ch, q = stream(s, 0)
    ch.call("basic.qos", prefetch_count=2, **{"global": True})
    ch.consume(q, "t")


@scenario
def get(s):
    """basic.get is not supported."""
    ch, q = stream(s, 1)
    ch.get(q)


@scenario
def purge(s):
    """Purging is not supported."""
    ch, q = stream(s, 1)
    ch.call("queue.purge", queue=q)


for _name, _flags in {"if_empty": {"if_empty": True}, "if_unused": {"if_unused": True}, "plain": {}}.items():
    def _run(s, flags=_flags):
        ch, q = stream(s, 0)
        ch.call("queue.delete", queue=q, **flags)
    add(__name__, f"delete_{_name}", _run, f"queue.delete with {_flags}.")


@scenario
def headers_and_offset(s):
    """Deliveries carry x-stream-offset beside the headers of the message."""
    ch, q = stream(s, 0)
    ch.publish("", q, "m", headers={"mine": 1}, message_id="id", delivery_mode=1)
    ch.confirms()
    consume(ch, q, "first")
    ch.deliveries(1)


@scenario
def bound_to_exchange(s):
    """A stream takes messages through an exchange."""
    ch, q = stream(s, 0)
    ch.bind(q, "amq.direct", q)
    ch.publish("amq.direct", q, "m")
    ch.confirms()
    consume(ch, q, "first")
    ch.deliveries(1)
