# Full queues whose dead letters return to themselves or go in a cycle; messages with a time to live of zero.

from parity.channel import dead_letters_to
from parity.session import add, follow, scenario

KINDS = {"classic": {}, "quorum": {"x-queue-type": "quorum"}}


def begin(s, **arguments):
    """A channel in confirm mode and a durable queue with these arguments."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments=arguments)
    ch.confirm()
    return ch


def publish(s, ch, *bodies, **properties):
    for body in bodies:
        ch.publish("", s.name("q"), body, **properties)
    ch.confirms()


def to_itself(s, **arguments):
    return {**dead_letters_to(s.name("q")), **arguments}


def _full(kind, overflow, length, bodies):
    def run(s):
        arguments = {**KINDS[kind], "x-max-length": length, **to_itself(s)}
        if overflow:
            arguments["x-overflow"] = overflow
        ch = begin(s, **arguments)
        publish(s, ch, *bodies)
        ch.counts_when(s.name("q"), messages=min(length, len(bodies)))
        for _ in range(length):
            ch.get_when_there(s.name("q"))
        ch.get(s.name("q"))
    return run


for _kind in KINDS:
    for _overflow in (None, "drop-head", "reject-publish", "reject-publish-dlx"):
        # A quorum queue learns late that it is full, and does not have reject-publish-dlx.
        if _kind == "quorum" and (_overflow or "").startswith("reject"):
            continue
        for _length in (1, 2):
            add(__name__, f"full_{_kind}_{(_overflow or 'default').replace('-', '_')}_{_length}",
                _full(_kind, _overflow, _length, "123"[:_length + 1]),
                f"A full {_kind} queue of {_length} that is its own dead letter queue, x-overflow {_overflow}.")


def _rejected(kind, overflow):
    def run(s):
        ch = begin(s, **{**KINDS[kind], "x-max-length": 1, "x-overflow": overflow, **to_itself(s)})
        publish(s, ch, "1")
        ch.get_when_there(s.name("q"), no_ack=False)
        ch.reject(1, requeue=False)
        ch.get_when_there(s.name("q"))
        ch.get(s.name("q"))
    return run


def _rejected_behind(kind, overflow):
    def run(s):
        ch = begin(s, **{**KINDS[kind], "x-max-length": 2, "x-overflow": overflow, **to_itself(s)})
        publish(s, ch, "1", "2")
        ch.get_when_there(s.name("q"), no_ack=False)
        ch.reject(1, requeue=False)
        ch.counts_when(s.name("q"), messages=2)
        ch.get_when_there(s.name("q"))
        ch.get_when_there(s.name("q"))
        ch.get(s.name("q"))
    return run


for _kind in KINDS:
    for _overflow in ("drop-head", "reject-publish"):
        add(__name__, f"rejected_{_kind}_{_overflow.replace('-', '_')}", _rejected(_kind, _overflow),
            f"A message that a consumer rejects goes back to its own {_kind} queue of one, x-overflow {_overflow}.")
        add(__name__, f"rejected_first_{_kind}_{_overflow.replace('-', '_')}", _rejected_behind(_kind, _overflow),
            f"The first of two goes behind the second, x-overflow {_overflow}, {_kind}.")


def _expired(kind):
    def run(s):
        ch = begin(s, **{**KINDS[kind], "x-max-length": 1, "x-message-ttl": 50, **to_itself(s)})
        publish(s, ch, "1")
        ch.counts_when(s.name("q"), messages=0)
        ch.get(s.name("q"))
    return run


for _kind in KINDS:
    add(__name__, f"expired_{_kind}", _expired(_kind),
        f"A message that expires in its own dead letter queue ({_kind}) is a cycle without a reject, and is dropped.")


@scenario
def ring_of_three(s):
    """Three full queues of one, each the dead letter queue of the one before: a push goes round once."""
    ch = s.channel()
    ch.confirm()
    for here, there in (("q", "r"), ("r", "t"), ("t", "q")):
        ch.queue(s.name(here), arguments={"x-max-length": 1, **dead_letters_to(s.name(there))})
    for here in "qrt":
        ch.publish("", s.name(here), here)
        ch.confirms()
    ch.publish("", s.name("q"), "push")
    ch.confirms()
    ch.connection.stays_open(0.7)
    for here in "qrt":
        ch.get_when_there(s.name(here))


@scenario
def two_by_fanout(s):
    """Two full queues of one that dead-letter to a fanout of both."""
    ch = s.channel()
    ch.confirm()
    ch.exchange(s.name("x"), "fanout")
    for here in "qr":
        ch.queue(s.name(here), arguments={"x-max-length": 1, "x-dead-letter-exchange": s.name("x")})
        ch.bind(s.name(here), s.name("x"))
    ch.publish("", s.name("q"), "1")
    ch.confirms()
    ch.publish("", s.name("q"), "2")
    ch.confirms()
    ch.counts_when(s.name("q"), messages=1)
    ch.counts_when(s.name("r"), messages=1)


@scenario
def reject_publish_of_the_target(s):
    """A full target that refuses publishes refuses dead letters: they are lost."""
    ch = s.channel()
    ch.confirm()
    ch.queue(s.name("target"), arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.publish("", s.name("target"), "there")
    ch.confirms()
    ch.queue(s.name("q"), arguments=dead_letters_to(s.name("target")))
    publish(s, ch, "1")
    ch.get(s.name("q"), no_ack=False)
    ch.reject(1, requeue=False)
    ch.barrier()
    ch.get(s.name("target"))
    ch.get(s.name("target"))


@scenario
def drop_head_of_the_target(s):
    """A full target that drops its head takes the dead letter instead."""
    ch = s.channel()
    ch.confirm()
    ch.queue(s.name("dropped"))
    ch.queue(s.name("target"), arguments={"x-max-length": 1, **dead_letters_to(s.name("dropped"))})
    ch.publish("", s.name("target"), "there")
    ch.confirms()
    ch.queue(s.name("q"), arguments=dead_letters_to(s.name("target")))
    publish(s, ch, "1")
    ch.get(s.name("q"), no_ack=False)
    ch.reject(1, requeue=False)
    ch.get_when_there(s.name("dropped"))
    ch.get_when_there(s.name("target"))


# -- a time to live of zero


GIVING_BACK = {
    "nack": lambda ch: ch.nack(1),
    "reject": lambda ch: ch.reject(1),
    "recover": lambda ch: ch.call("basic.recover", requeue=True),
    "channel_close": lambda ch: ch.close(),
    "connection_close": lambda ch: ch.connection.close(),
    "killed": lambda ch: ch.connection.kill(),
}


def _ttl_0(kind, of, way):
    """A message with a time to live of zero reaches a waiting consumer, and is dead when it comes back."""
    def run(s):
        arguments = {**KINDS[kind], **dead_letters_to(s.name("dead"))}
        properties = {}
        if of == "queue":
            arguments["x-message-ttl"] = 0
        else:
            properties["expiration"] = "0"
        owner = begin(s, **arguments)
        owner.queue(s.name("dead"))
        ch = s.connect().channel()
        ch.consume(s.name("q"), "a")
        publish(s, owner, "1", **properties)
        ch.deliveries(1)
        GIVING_BACK[way](ch)
        owner.get_when_there(s.name("dead"))
        owner.counts(s.name("q"))
    add(__name__, f"ttl_0_{kind}_of_{of}_{way}", run,
        f"A message with a time to live of 0 ({kind}, of the {of}) that comes back by {way.replace('_', ' ')} is dead.")


for _way in GIVING_BACK:
    _ttl_0("classic", "queue", _way)
for _way in ("nack", "killed"):
    _ttl_0("classic", "message", _way)
    _ttl_0("quorum", "queue", _way)
    _ttl_0("quorum", "message", _way)


@scenario
def ttl_0_to_another_consumer(s):
    """Nor does it go to another consumer that waits."""
    owner = begin(s, **{"x-message-ttl": 0})
    first, second = s.connect().channel(), s.connect().channel()
    first.consume(s.name("q"), "a")
    publish(s, owner, "1")
    first.deliveries(1)
    second.consume(s.name("q"), "b")
    first.nack(1)
    first.barrier()
    owner.counts_when(s.name("q"), messages=0)
    second.barrier()


@scenario
def ttl_0_many(s):
    """A hundred that are requeued together are all dead."""
    owner = begin(s, **{"x-message-ttl": 0, **dead_letters_to(s.name("dead"))})
    owner.queue(s.name("dead"))
    ch = s.connect().channel()
    ch.consume(s.name("q"), "a")
    with s.transcript.unlogged():
        publish(s, owner, *(str(number) for number in range(100)))
        ch.deliveries(100)
    ch.nack(100, multiple=True)
    owner.counts_when(s.name("dead"), messages=100)
    ch.barrier()


# In 4.3 a message that a consumer rejected, or lost with its channel, comes to its next queue as redelivered.
follow(__name__, "4.3", "drop_head_of_the_target", "rejected_*", "ttl_0_*")
