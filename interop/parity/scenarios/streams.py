# Streams over AMQP 0-9-1: consuming by offset, and refused methods and arguments.

from parity.channel import dead_letters_to
from parity.session import add, follows, scenario, slow
from parity.wire import Typed


def stream(s, count, **arguments):
    """A channel in confirm mode and a stream that holds `count` messages."""
    ch, q = s.queue(durable=True, arguments={"x-queue-type": "stream", **arguments})
    ch.confirm()
    for number in range(count):
        ch.publish("", q, str(number))
        ch.confirms()
    return ch, q


def consume(ch, q, offset=None, prefetch=10, **fields):
    if prefetch:
        ch.prefetch(prefetch)
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

for _name, _offset in {"boolean": True, "double": 1.5}.items():
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
    ch.prefetch(2, of_channel=True)
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


# ------------------------------------------------------------ where consumers begin

for _name, _offset, _expected in (
    ("last", "last", 1), ("timestamp_past", Typed("T", 1_600_000_000), 3), ("short", Typed("s", 1), 2),
    ("octet", Typed("b", 1), 2),
):
    def _run(s, offset=_offset, expected=_expected):
        ch, q = stream(s, 3)
        consume(ch, q, offset)
        ch.deliveries(expected)
    add(__name__, f"offset_{_name}", _run, f"x-stream-offset {_offset!r}.")


for _name, _offset in {
    "timestamp_future": Typed("T", 4_000_000_000), "beyond": 4, "last_empty": "last", "first_empty": "first",
    "interval_empty": "1m", "0_empty": 0,
}.items():
    def _run(s, offset=_offset, empty=_name.endswith("empty")):
        ch, q = stream(s, 0 if empty else 2)
        consume(ch, q, offset)
        for number in range(4):
            ch.publish("", q, f"new {number}")
            ch.confirms()
        ch.deliveries(2 if _name_is_beyond(offset) else 4)
    add(__name__, f"offset_{_name}", _run, f"x-stream-offset {_offset!r}, then messages come.")


def _name_is_beyond(offset):
    return offset == 4


for _name, _offset in {
    "interval_zero": "0h", "interval_unit": "1x", "interval_number": "5", "interval_upper": "1H",
    "interval_spaced": "1 h", "void": Typed("V", None),
    "table": {"a": 1}, "bytes": Typed("x", b"first"),
}.items():
    def _run(s, offset=_offset):
        ch, q = stream(s, 1)
        consume(ch, q, offset)
        ch.barrier()
    add(__name__, f"offset_{_name}", _run, f"x-stream-offset {_offset!r}.")


@scenario
def two_positions(s):
    """Consumers of one channel have their own positions."""
    ch, q = stream(s, 3)
    ch.prefetch(10)
    ch.consume(q, "a", arguments={"x-stream-offset": 2})
    ch.deliveries(1)
    ch.consume(q, "b", arguments={"x-stream-offset": 1})
    ch.deliveries(2)


# ------------------------------------------------------------ acks give credit

for _name, _answer in {
    "ack": lambda ch, tag: ch.ack(tag), "nack_requeue": lambda ch, tag: ch.nack(tag),
    "nack_discard": lambda ch, tag: ch.nack(tag, requeue=False), "reject_requeue": lambda ch, tag: ch.reject(tag),
    "reject_discard": lambda ch, tag: ch.reject(tag, requeue=False),
}.items():
    def _run(s, answer=_answer):
        ch, q = stream(s, 4)
        consume(ch, q, "first", prefetch=2)
        ch.deliveries(2)
        ch.barrier()
        answer(ch, 1)
        ch.deliveries(1)
        ch.barrier()
        answer(ch, 3)
        ch.deliveries(1)
        answer(ch, 1)
        ch.expect_close()
    add(__name__, f"credit_by_{_name}", _run, "With a prefetch of 2, each answer brings one more message.")


@scenario
def credit_by_ack_multiple(s):
    """Answering several at once brings as many."""
    ch, q = stream(s, 5)
    consume(ch, q, "first", prefetch=2)
    ch.deliveries(2)
    ch.ack(2, multiple=True)
    ch.deliveries(2)
    ch.barrier()


@scenario
def recover(s):
    """basic.recover gives credit and brings nothing again."""
    ch, q = stream(s, 4)
    consume(ch, q, "first", prefetch=2)
    ch.deliveries(2)
    ch.call("basic.recover", requeue=True)
    ch.deliveries(2)
    ch.barrier()


@scenario
def cancel_and_ack(s):
    """Answers after the consumer was cancelled are taken."""
    ch, q = stream(s, 3)
    consume(ch, q, "first", prefetch=2)
    ch.deliveries(2)
    ch.call("basic.cancel", consumer_tag="t")
    ch.ack(1)
    ch.nack(2)
    ch.barrier()
    ch.ack(1)
    ch.expect_close()


@scenario
def same_tag_again(s):
    """A consumer that is cancelled and made again begins where it says."""
    ch, q = stream(s, 2)
    consume(ch, q, "first")
    ch.deliveries(2)
    ch.call("basic.cancel", consumer_tag="t")
    consume(ch, q, 1)
    ch.deliveries(1)


@scenario
def ack_in_transaction(s):
    """Answers in a transaction are credit when it is committed."""
    ch, q = stream(s, 4)
    tx = s.channel()
    tx.call("tx.select")
    consume(tx, q, "first", prefetch=2)
    tx.deliveries(2)
    tx.ack(2, multiple=True)
    tx.barrier()
    tx.call("tx.commit")
    tx.deliveries(2)


@scenario
def publish_in_transaction(s):
    """A transaction's messages come after its commit."""
    ch, q = stream(s, 0)
    consume(ch, q, "first")
    tx = s.channel()
    tx.call("tx.select")
    tx.publish("", q, "1")
    tx.publish("", q, "2")
    tx.call("tx.commit")
    ch.deliveries(2)


# ------------------------------------------------------------ consumers: arguments refused and accepted

@scenario
def exclusive_consumers(s):
    """Exclusive consumers exclude no other consumers."""
    ch, q = stream(s, 1)
    consume(ch, q, "first", exclusive=True)
    ch.deliveries(1)
    ch.consume(q, "u", exclusive=True, arguments={"x-stream-offset": "first"})
    ch.deliveries(1)


for _name, _arguments in {
    "priority": {"x-priority": 5}, "consumer_timeout": {"x-consumer-timeout": 60000}, "unknown": {"x-anything": 1},
    "filter_number": {"x-stream-filter": 5}, "match_unfiltered_word": {"x-stream-filter": "a", "x-stream-match-unfiltered": "yes"},
    "filter_mixed": {"x-stream-filter": ["a", 5]}, "cancel_on_failover": {"x-cancel-on-ha-failover": True},
}.items():
    def _run(s, arguments=_arguments):
        ch, q = stream(s, 1)
        ch.prefetch(5)
        ch.consume(q, "t", arguments={"x-stream-offset": "first", **arguments})
    add(__name__, f"consume_with_{_name}", _run, f"basic.consume with {_arguments}.")


@scenario
def no_ack_without_prefetch(s):
    """Of two reasons to refuse, this is named."""
    ch, q = stream(s, 0)
    consume(ch, q, "first", prefetch=0, no_ack=True)


@scenario
def global_qos_besides(s):
    """A consumer with a limit of its own on a channel with global prefetch."""
    ch, q = stream(s, 0)
    ch.prefetch(2, of_channel=True)
    consume(ch, q, "first")


@scenario
def global_qos_and_no_ack(s):
    """Of two reasons to refuse, this is named."""
    ch, q = stream(s, 0)
    ch.prefetch(2, of_channel=True)
    consume(ch, q, "first", no_ack=True)


@scenario
@follows("4.3")
def bad_offset_without_prefetch(s):
    """Of two reasons to refuse, this is named."""
    ch, q = stream(s, 0)
    consume(ch, q, "middle", prefetch=0)


@scenario
def queue_goes(s):
    """Consumers are told when the stream is deleted."""
    ch, q = stream(s, 1)
    consume(ch, q, "first")
    ch.deliveries(1)
    other = s.channel()
    other.call("queue.delete", queue=q)
    ch.expect("basic.cancel")
    ch.ack(1)
    ch.barrier()


@scenario
def delete_if_unused_with_consumer(s):
    """queue.delete with if-unused while a consumer exists."""
    ch, q = stream(s, 0)
    consume(ch, q, "first")
    s.channel().call("queue.delete", queue=q, if_unused=True)
    ch.expect("basic.cancel")


@scenario
def delete_if_empty_with_messages(s):
    """queue.delete with if-empty of a stream that holds messages."""
    ch, q = stream(s, 2)
    ch.call("queue.delete", queue=q, if_empty=True)


@scenario
def delete_with_messages(s):
    """queue.delete-ok of a stream that holds messages."""
    ch, q = stream(s, 2)
    ch.call("queue.delete", queue=q)


@scenario
def consumer_count(s):
    """Consumers of a stream in queue.declare-ok."""
    ch, q = stream(s, 0)
    consume(ch, q, "first")
    s.channel().counts(q)


@slow
@scenario
def message_count(s):
    """Messages of a stream in queue.declare-ok: all that are kept, answered or not."""
    ch, q = stream(s, 3)
    consume(ch, q, "first")
    ch.deliveries(3)
    ch.ack(2, multiple=True)
    s.channel().counts_when(q, messages=3)


# ------------------------------------------------------------ filters

def filtered(s, *values):
    """A stream with one message for each value; None is none."""
    ch, q = stream(s, 0)
    for value in values:
        headers = {} if value is None else {"headers": {"x-stream-filter-value": value}}
        ch.publish("", q, str(value), **headers)
        ch.confirms()
    return ch, q


for _name, _filter, _expected in (
    ("one", "a", 2), ("several", ["a", "b"], 3), ("none_of_them", "z", 0), ("empty_list", [], 5),
):
    def _run(s, filters=_filter, expected=_expected):
        ch, q = filtered(s, "a", None, "b", "c", "a")
        ch.prefetch(10)
        ch.consume(q, "t", arguments={"x-stream-offset": "first", "x-stream-filter": filters})
        ch.deliveries(expected)
        ch.publish("", q, "end", headers={"x-stream-filter-value": "z"})
        ch.confirms()
        ch.barrier()
    add(__name__, f"filter_{_name}", _run, f"x-stream-filter {_filter!r}.")


@scenario
def filter_match_unfiltered(s):
    """Messages without a value come as well when asked for."""
    ch, q = filtered(s, "a", None, "b", None)
    ch.prefetch(10)
    ch.consume(q, "t", arguments={
        "x-stream-offset": "first", "x-stream-filter": "b", "x-stream-match-unfiltered": True})
    ch.deliveries(3)


@scenario
def filter_match_unfiltered_alone(s):
    """Without a filter x-stream-match-unfiltered means nothing."""
    ch, q = filtered(s, "a", None)
    ch.prefetch(10)
    ch.consume(q, "t", arguments={"x-stream-offset": "first", "x-stream-match-unfiltered": True})
    ch.deliveries(2)


for _name, _value in {"number": 5, "empty": "", "boolean": True}.items():
    def _run(s, value=_value):
        ch, q = filtered(s, value)
        ch.prefetch(10)
        ch.consume(q, "t", arguments={"x-stream-offset": "first"})
        ch.deliveries(1)
    add(__name__, f"filter_value_{_name}", _run, f"x-stream-filter-value {_value!r}.")


# ------------------------------------------------------------ headers of messages

@scenario
def all_properties(s):
    """All properties of a message."""
    ch, q = stream(s, 0)
    ch.publish("", q, "m", content_type="text/plain", content_encoding="gzip", delivery_mode=2, priority=3,
               correlation_id="c", reply_to="r", expiration="60000", message_id="i", timestamp=1_600_000_000,
               type="t", user_id="guest", app_id="a")
    ch.confirms()
    consume(ch, q, "first")
    ch.deliveries(1)


for _name, _value in {
    "string": "text", "integer": 5, "long": Typed("l", 5), "octet": Typed("b", 5), "short": Typed("s", 5),
    "boolean": True, "double": 1.5, "void": Typed("V", None), "timestamp": Typed("T", 1_600_000_000),
    "table": {"a": 1}, "array": ["a", 1], "bytes": Typed("x", b"ab"), "float": Typed("f", 1.5),
}.items():
    def _run(s, value=_value):
        ch, q = stream(s, 0)
        ch.publish("", q, "m", headers={"h": value, "x-h": value})
        ch.confirms()
        consume(ch, q, "first")
        ch.deliveries(1)
    add(__name__, f"header_{_name}", _run, f"A header {_value!r}.")


@scenario
def body_empty(s):
    """A message without a body."""
    ch, q = stream(s, 0)
    ch.publish("", q, "")
    ch.confirms()
    consume(ch, q, "first")
    ch.deliveries(1)


@scenario
def body_in_frames(s):
    """A body of several frames."""
    ch, q = stream(s, 0)
    ch.publish("", q, "b" * 300_000)
    ch.confirms()
    consume(ch, q, "first")
    ch.deliveries(1)


@scenario
def offset_header_published(s):
    """A publisher's x-stream-offset gives way to the real one."""
    ch, q = stream(s, 1)
    ch.publish("", q, "m", headers={"x-stream-offset": 77, "a": "b"})
    ch.confirms()
    consume(ch, q, 1)
    ch.deliveries(1)


@scenario
def fanned_out(s):
    """A message that went to a stream and to a queue: only the stream's has an offset."""
    ch, q = stream(s, 0)
    other = s.name("o")
    ch.queue(other)
    for name in (q, other):
        ch.bind(name, "amq.direct", q)
    ch.publish("amq.direct", q, "m")
    ch.confirms()
    ch.get(other)
    consume(ch, q, "first")
    ch.deliveries(1)


@scenario
def dead_letters(s):
    """A stream as the target of dead lettering."""
    ch, q = stream(s, 0)
    source = s.name("source")
    ch.queue(source, arguments=dead_letters_to(q))
    ch.publish("", source, "m")
    ch.confirms()
    ch.get(source, no_ack=False)
    ch.reject(1, requeue=False)
    consume(ch, q, "first")
    ch.deliveries(1)
