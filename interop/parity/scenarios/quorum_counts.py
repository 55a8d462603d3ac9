# x-acquired-count and x-delivery-count of quorum queues in RabbitMQ 4.3, the delivery limit, and `redelivered` of dead letters.

from parity.channel import dead_letters_to
from parity.session import add, follows, scenario

QUORUM = {"x-queue-type": "quorum"}

# By name: how a channel gives back the message that it has as this tag.
BACK = {
    "nack": lambda ch, tag: ch.nack(tag),
    "reject": lambda ch, tag: ch.reject(tag),
    "recover": lambda ch, tag: ch.call("basic.recover", requeue=True),
}


def begin(s, **arguments):
    """A channel in confirm mode and a quorum queue with one message."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments={**QUORUM, **arguments})
    ch.confirm()
    ch.publish("", s.name("q"), "m")
    ch.confirms()
    return ch, s.name("q")


def _returns(ways):
    def run(s):
        ch, q = begin(s)
        for tag, way in enumerate(ways, 1):
            ch.get_when_there(q, no_ack=False)
            BACK[way](ch, tag)
        ch.get_when_there(q)
    return follows("4.3")(run)


for _ways in (("nack", "reject", "nack"), ("reject", "nack", "reject"), ("recover", "reject", "recover")):
    add(__name__, "_".join(_ways), _returns(_ways), f"The counts after {', '.join(_ways)}.")


@scenario
@follows("4.3")
def channel_close(s):
    """A closed channel raises both."""
    ch, q = begin(s)
    other = ch.connection.channel()
    other.get_when_there(q, no_ack=False)
    other.close()
    ch.get_when_there(q, no_ack=False)
    ch.nack(1)
    ch.get_when_there(q)


@scenario
@follows("4.3")
def connection_killed(s):
    """So does a connection that is lost."""
    ch, q = begin(s)
    other = s.connect().channel()
    other.get_when_there(q, no_ack=False)
    other.connection.kill()
    ch.get_when_there(q)


@scenario
@follows("4.3")
def own_headers(s):
    """A client's own headers of these names pass until the broker sets them."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments=QUORUM)
    ch.confirm()
    ch.publish("", s.name("q"), "m", headers={"x-delivery-count": "mine", "x-acquired-count": 7})
    ch.confirms()
    for tag, way in enumerate(("nack", "reject"), 1):
        ch.get_when_there(s.name("q"), no_ack=False)
        BACK[way](ch, tag)
    ch.get_when_there(s.name("q"))


def _limit(limit, ways, dies):
    def run(s):
        ch, q = begin(s, **{"x-delivery-limit": limit, **dead_letters_to(s.name("dead"))})
        ch.queue(s.name("dead"))
        for tag, way in enumerate(ways, 1):
            ch.get_when_there(q, no_ack=False)
            BACK[way](ch, tag)
        ch.get_when_there(s.name("dead") if dies else q)
        ch.get(q)
    return follows("4.3")(run)


for _limited, _ways, _dies in (
    (0, ["reject"], True), (0, ["nack"] * 3, False), (2, ["reject"] * 2, False), (2, ["reject"] * 3, True),
    (2, ["nack"] * 4, False), (1, ["reject", "nack", "nack"], False), (1, ["nack", "reject", "nack", "reject"], True),
):
    add(__name__, f"limit_{_limited}_{'_'.join(_ways)}", _limit(_limited, _ways, _dies),
        f"Limit {_limited}, given back by {', '.join(_ways)}: {'dead' if _dies else 'ready'}.")


def _letter(first, second, ways, last):
    """A dead letter after these returns: its counts and `redelivered` in the target, and after a nack there."""
    def run(s):
        ch = s.channel()
        ch.confirm()
        ch.queue(s.name("q"), durable=True, arguments={**first, **dead_letters_to(s.name("r"))})
        ch.queue(s.name("r"), durable=True, arguments=second)
        ch.publish("", s.name("q"), "m", **({"expiration": "1000"} if last == "expires" else {}))
        ch.confirms()
        tags = iter(range(1, 20))
        for way in ways:
            ch.get_when_there(s.name("q"), no_ack=False)
            BACK[way](ch, next(tags))
        if last == "expires":
            pass
        else:
            ch.get_when_there(s.name("q"), no_ack=False)
            if last == "nack":
                ch.nack(next(tags), requeue=False)
            else:
                ch.reject(next(tags), requeue=False)
        ch.get_when_there(s.name("r"), no_ack=False)
        ch.nack(next(tags))
        ch.get_when_there(s.name("r"), no_ack=False)
        ch.reject(next(tags))
        ch.get_when_there(s.name("r"))
    return follows("4.3")(run)


for _from in ("classic", "quorum"):
    for _to in ("classic", "quorum"):
        for _ways, _last in ((["reject"] * 2, "reject"), (["nack"] * 2, "reject"), (["nack"], "nack"),
                             (["reject"], "expires"), (["nack"], "expires")):
            add(__name__, f"letter_{_from}_{_to}_{'_'.join([*_ways, _last])}",
                _letter(QUORUM if _from == "quorum" else {}, QUORUM if _to == "quorum" else {}, _ways, _last),
                f"A dead letter from a {_from} to a {_to} queue: given back by {', '.join(_ways)}, at last {_last}.")


@scenario
@follows("4.3")
def letter_counts_against_the_limit(s):
    """What failed before the dead-lettering counts against the limit of the next queue."""
    ch = s.channel()
    ch.confirm()
    ch.queue(s.name("q"), durable=True, arguments={**QUORUM, **dead_letters_to(s.name("r"))})
    ch.queue(s.name("r"), durable=True, arguments={**QUORUM, "x-delivery-limit": 2, **dead_letters_to(s.name("dead"))})
    ch.queue(s.name("dead"))
    ch.publish("", s.name("q"), "m")
    ch.confirms()
    ch.get_when_there(s.name("q"), no_ack=False)
    ch.reject(1)
    ch.get_when_there(s.name("q"), no_ack=False)
    ch.reject(2, requeue=False)
    ch.get_when_there(s.name("r"), no_ack=False)
    ch.reject(3)
    ch.get_when_there(s.name("dead"))


@scenario
@follows("4.3")
def limit_letter(s):
    """A dead letter of the delivery limit: its counts in the next queue."""
    ch = s.channel()
    ch.confirm()
    ch.queue(s.name("q"), durable=True, arguments={**QUORUM, "x-delivery-limit": 1, **dead_letters_to(s.name("r"))})
    ch.queue(s.name("r"), durable=True, arguments=QUORUM)
    ch.publish("", s.name("q"), "m")
    ch.confirms()
    for tag in (1, 2):
        ch.get_when_there(s.name("q"), no_ack=False)
        ch.reject(tag)
    ch.get_when_there(s.name("r"))
