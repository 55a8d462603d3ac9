# x-delayed-retry-type, -min and -max of quorum queues in RabbitMQ 4.3: a returned message waits before its next delivery.

from parity.channel import dead_letters_to
from parity.session import add, follows, scenario, slow

from .quorum_counts import BACK

QUORUM = {"x-queue-type": "quorum"}
RETRY = {"x-delayed-retry-type": "all", "x-delayed-retry-min": 400, "x-delayed-retry-max": 1000}


def begin(s, *bodies, **arguments):
    """A channel in confirm mode and a quorum queue with these messages."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments={**QUORUM, **arguments})
    ch.confirm()
    for body in bodies or ("m",):
        ch.publish("", s.name("q"), body)
        ch.confirms()
    return ch, s.name("q")


def comes_back(s, ch, q, seconds, no_ack=False):
    """Gets the message when it is there, which must be after so many seconds."""
    with s.takes(seconds):
        return ch.get_when_there(q, no_ack=no_ack)


def _delays(arguments, ways, delays):
    def run(s):
        ch, q = begin(s, **{"x-delivery-limit": -1, **arguments})
        ch.get_when_there(q, no_ack=False)
        for tag, (way, delay) in enumerate(zip(ways, delays), 1):
            BACK[way](ch, tag)
            if delay:
                comes_back(s, ch, q, delay)
            else:
                ch.get_when_there(q, no_ack=False)
    return slow(follows("4.3")(run))


ONLY = {name: {**RETRY, "x-delayed-retry-type": name} for name in ("failed", "returned", "disabled", "sometimes", "All")}
for _name, _arguments, _ways, _seconds in (
    ("rejects", RETRY, ["reject"] * 4, [0.4, 0.8, 1.0, 1.0]),
    ("nacks", RETRY, ["nack"] * 3, [0.4, 0.4, 0.4]),
    ("recover", RETRY, ["recover"] * 2, [0.4, 0.4]),
    ("mixed", RETRY, ["reject", "nack", "reject", "nack"], [0.4, 0.4, 0.8, 0.8]),
    ("failed_only", ONLY["failed"], ["nack", "reject", "nack"], [0, 0.4, 0]),
    ("returned_only", ONLY["returned"], ["reject", "nack", "recover"], [0, 0.4, 0.4]),
    ("disabled", ONLY["disabled"], ["reject", "nack"], [0, 0]),
    ("unknown_word", ONLY["sometimes"], ["reject", "nack"], [0, 0]),
    ("other_case", ONLY["All"], ["reject", "nack"], [0, 0]),
    ("number", {**RETRY, "x-delayed-retry-type": 1}, ["reject"], [0]),
    ("without_max", {"x-delayed-retry-type": "all", "x-delayed-retry-min": 400}, ["reject"] * 2, [0.4, 0.4]),
    ("max_0", {**RETRY, "x-delayed-retry-max": 0}, ["reject"] * 2, [0.4, 0.4]),
    ("max_string", {**RETRY, "x-delayed-retry-max": "1000"}, ["reject"] * 2, [0.4, 0.4]),
    ("max_below_min", {**RETRY, "x-delayed-retry-min": 3000, "x-delayed-retry-max": 500}, ["reject"] * 2, [0.5, 0.5]),
    ("without_min", {"x-delayed-retry-type": "all", "x-delayed-retry-max": 5000}, ["reject"], [0]),
    ("min_0", {**RETRY, "x-delayed-retry-min": 0}, ["reject"], [0]),
    ("min_string", {**RETRY, "x-delayed-retry-min": "400"}, ["reject"], [0]),
):
    add(__name__, _name, _delays(_arguments, _ways, _seconds),
        f"Given back by {', '.join(_ways)} with {_name.replace('_', ' ')}.")


@scenario
@slow
@follows("4.3")
def by_channel_close(s):
    """A closed channel's messages wait, too."""
    ch, q = begin(s, **RETRY)
    other = ch.connection.channel()
    other.get_when_there(q, no_ack=False)
    other.close()
    comes_back(s, ch, q, 0.4, no_ack=True)


@scenario
@slow
@follows("4.3")
def counts(s):
    """A message that waits is in no count but that of a purge, which removes it."""
    ch, q = begin(s, "1", "2", **{**RETRY, "x-delayed-retry-min": 600})
    ch.get_when_there(q, no_ack=False)
    ch.reject(1)
    ch.get_when_there(q)
    ch.get(q)
    ch.call("queue.purge", queue=q)
    ch.connection.stays_open(1)
    ch.get(q)


@scenario
@slow
@follows("4.3")
def joins_the_returned(s):
    """When it is due it precedes a ready one of high priority."""
    ch, q = begin(s, **RETRY)
    ch.get_when_there(q, no_ack=False)
    ch.reject(1)
    ch.publish("", q, "high", priority=9)
    ch.confirms()
    ch.counts_when(q, messages=2)
    ch.drain(q, 2)


@scenario
@slow
@follows("4.3")
def in_the_order_of_their_times(s):
    """Several that wait come back in the order in which they are due."""
    ch, q = begin(s, "1", "2", **RETRY)
    for _ in range(2):
        ch.get_when_there(q, no_ack=False)
    ch.reject(1)
    ch.reject(2)
    ch.counts_when(q, messages=2)
    for _ in range(2):
        ch.get_when_there(q, no_ack=False)
    ch.reject(3)            # its second failure: 800 ms
    ch.nack(4)              # 400 ms
    ch.counts_when(q, messages=2)
    ch.drain(q, 2)


@scenario
@slow
@follows("4.3")
def to_a_consumer(s):
    """A waiting consumer gets it when it is due, and others meanwhile."""
    ch, q = begin(s, "1", "2", **RETRY)
    ch.prefetch(1)
    ch.consume(q, "a")
    ch.deliveries(1)
    ch.reject(1)
    ch.deliveries(1)
    with s.takes(0.4):
        ch.ack(2)
        ch.deliveries(1)


@scenario
@slow
@follows("4.3")
def max_length(s):
    """One that waits counts for the maximum length: the ready one is dropped."""
    ch, q = begin(s, **{**RETRY, "x-delayed-retry-min": 800, "x-max-length": 1, **dead_letters_to(s.name("dead"))})
    ch.queue(s.name("dead"))
    ch.get_when_there(q, no_ack=False)
    ch.nack(1)
    ch.publish("", q, "new")
    ch.confirms()
    ch.get_when_there(s.name("dead"))
    ch.get_when_there(q)
    ch.get(q)


@scenario
@slow
@follows("4.3")
def expires(s):
    """It expires while it waits, and not before it is due."""
    ch, q = begin(s, **{**RETRY, "x-delayed-retry-min": 1000, "x-message-ttl": 300, **dead_letters_to(s.name("dead"))})
    ch.queue(s.name("dead"))
    ch.get_when_there(q, no_ack=False)
    ch.nack(1)
    with s.takes(1.0):
        ch.get_when_there(s.name("dead"))


@scenario
@slow
@follows("4.3")
def delivery_limit(s):
    """The delivery limit comes first: the last failure waits for nothing."""
    ch, q = begin(s, **{**RETRY, "x-delivery-limit": 1, **dead_letters_to(s.name("dead"))})
    ch.queue(s.name("dead"))
    ch.get_when_there(q, no_ack=False)
    ch.reject(1)
    ch.get_when_there(q, no_ack=False)
    ch.reject(2)
    with s.within(0.3):
        ch.get_when_there(s.name("dead"))


def _redeclared(name, value):
    def run(s):
        ch, q = begin(s, **RETRY)
        ch.queue(q, durable=True, arguments={**QUORUM, **RETRY, name: value})
    return follows("4.3")(run)


for _name, _value in (("type", "failed"), ("min", 500), ("max", 2000)):
    add(__name__, f"redeclared_{_name}", _redeclared(f"x-delayed-retry-{_name}", _value),
        f"Redeclared with another {_name}.")


def _refused(kind, name):
    def run(s):
        s.channel().queue(s.name("q"), durable=True, arguments={"x-queue-type": kind, name: 1})
    return follows("4.3")(run)


for _kind in ("classic", "stream"):
    for _name in ("type", "min", "max"):
        add(__name__, f"{_kind}_{_name}", _refused(_kind, f"x-delayed-retry-{_name}"), f"{_name} on a {_kind} queue.")
    add(__name__, f"{_kind}_disconnected", _refused(_kind, "x-consumer-disconnected-timeout"),
        f"x-consumer-disconnected-timeout on a {_kind} queue.")


def _checked(name, value):
    def run(s):
        s.channel().queue(s.name("q"), durable=True, arguments={**QUORUM, name: value})
    return follows("4.3")(run)


for _case, _name, _value in (
    ("disconnected_0", "x-consumer-disconnected-timeout", 0), ("disconnected_negative", "x-consumer-disconnected-timeout", -1),
    ("disconnected_string", "x-consumer-disconnected-timeout", "1"), ("min_negative", "x-delayed-retry-min", -1),
    ("type_table", "x-delayed-retry-type", {"a": 1}),
):
    add(__name__, f"checked_{_case}", _checked(_name, _value), f"{_name} of {_value!r}.")
