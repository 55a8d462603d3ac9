# Quorum queues and messages that are always requeued; counts and `redelivered` after dead lettering.

from parity.channel import dead_letters_to
from parity.session import add, follow, scenario

QUORUM = {"x-queue-type": "quorum"}


def begin(s, *bodies, **arguments):
    """A channel in confirm mode and a quorum queue with these messages."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments={**QUORUM, **arguments})
    ch.confirm()
    for body in bodies:
        ch.publish("", s.name("q"), body)
    ch.confirms()
    return ch


def _rotates(arguments, way, title, name, deliveries=6):
    """Whether what is behind a message that always comes back is reached, with a prefetch of one."""
    def run(s):
        ch = begin(s, "poison", "1", "2", **arguments)
        ch.prefetch(1)
        ch.consume(s.name("q"), "a")
        for _ in range(deliveries):
            delivery = ch.expect("basic.deliver")
            tag = delivery.fields["delivery-tag"]
            if delivery.content.body != b"poison":
                ch.ack(tag)
            elif way == "nack":
                ch.nack(tag)
            else:
                ch.reject(tag)
        ch.connection.close_socket()
    add(__name__, name, run, title)


_rotates({"x-delivery-limit": -1}, "nack", "Nacked again and again without a limit.", "nacked_without_limit")
_rotates({"x-delivery-limit": -1}, "reject", "Rejected again and again without a limit.", "rejected_without_limit")
_rotates({}, "nack", "Nacked again and again with the default limit.", "nacked_with_default_limit")
_rotates({"x-delivery-limit": 2}, "nack", "Nacked again and again with a limit of 2.", "nacked_with_limit_2", 5)


@scenario
def all_nacked_without_limit(s):
    """Three messages of which each is nacked come round in order."""
    ch = begin(s, "1", "2", "3", **{"x-delivery-limit": -1})
    ch.prefetch(1)
    ch.consume(s.name("q"), "a")
    for tag in range(1, 7):
        ch.deliveries(1)
        ch.nack(tag)
    ch.connection.close_socket()


@scenario
def two_nacked_together_without_limit(s):
    """Two that are nacked together come back before or behind the third."""
    ch = begin(s, "1", "2", "3", **{"x-delivery-limit": -1})
    ch.prefetch(2)
    ch.consume(s.name("q"), "a")
    ch.deliveries(2)
    ch.nack(2, multiple=True)
    ch.deliveries(2)


@scenario
def channel_close_without_limit(s):
    """What a closed channel gives back without a limit."""
    ch = begin(s, "1", "2", "3", **{"x-delivery-limit": -1})
    leaving = s.connect().channel()
    leaving.prefetch(2)
    leaving.consume(s.name("q"), "a")
    leaving.deliveries(2)
    leaving.close()
    ch.counts_when(s.name("q"), messages=3)
    ch.consume(s.name("q"), "b")
    ch.deliveries(3)


@scenario
def limit_0(s):
    """A limit of zero: the first return is the last."""
    dead = dead_letters_to(s.name("d"))
    ch = begin(s, "1", **{"x-delivery-limit": 0, **dead})
    ch.queue(s.name("d"))
    ch.get_when_there(s.name("q"), no_ack=False)
    ch.reject(1)
    ch.get_when_there(s.name("d"))


def _through(first, second, how):
    """A message that was delivered from one queue and dead-lettered to another: its count and redelivered."""
    def run(s):
        ch = s.channel()
        ch.confirm()
        ch.queue(s.name("q"), durable=True, arguments={
            **first, **dead_letters_to(s.name("r"))})
        ch.queue(s.name("r"), durable=True, arguments=second)
        ch.publish("", s.name("q"), "1")
        ch.confirms()
        ch.get_when_there(s.name("q"), no_ack=False)
        if how == "twice":
            ch.nack(1)
            ch.get_when_there(s.name("q"), no_ack=False)
            ch.reject(2, requeue=False)
        else:
            ch.reject(1, requeue=False)
        ch.get_when_there(s.name("r"), no_ack=False)
        ch.nack(3 if how == "twice" else 2)
        ch.get_when_there(s.name("r"), no_ack=False)
    return run


for _from, _to in (("classic", "classic"), ("classic", "quorum"), ("quorum", "classic"), ("quorum", "quorum")):
    for _how in ("once", "twice"):
        add(__name__, f"{_from}_to_{_to}_{_how}",
            _through(QUORUM if _from == "quorum" else {}, QUORUM if _to == "quorum" else {}, _how),
            f"Delivered {_how} from a {_from} queue, dead-lettered to a {_to} queue, and requeued there.")


@scenario
def there_and_back(s):
    """Dead-lettered from one quorum queue to another and back: what is counted."""
    ch = s.channel()
    ch.confirm()
    for here, there in (("q", "r"), ("r", "q")):
        ch.queue(s.name(here), durable=True, arguments={
            **QUORUM, **dead_letters_to(s.name(there))})
    ch.publish("", s.name("q"), "1")
    ch.confirms()
    for tag, here in enumerate("qrqr", 1):
        ch.get_when_there(s.name(here), no_ack=False)
        ch.reject(tag, requeue=False)
    ch.get_when_there(s.name("q"))


@scenario
def expired_after_return(s):
    """A returned message that expires in a quorum queue: its count and redelivered in the dead letter queue."""
    ch = begin(s, "1", **{"x-message-ttl": 400, **dead_letters_to(s.name("d"))})
    ch.queue(s.name("d"))
    ch.get_when_there(s.name("q"), no_ack=False)
    ch.nack(1)
    ch.get_when_there(s.name("d"))


@scenario
def own_header_of_that_name(s):
    """A publisher's own x-delivery-count."""
    ch = begin(s)
    ch.publish("", s.name("q"), "1", headers={"x-delivery-count": 7})
    ch.confirms()
    ch.get_when_there(s.name("q"), no_ack=False)
    ch.nack(1)
    ch.get_when_there(s.name("q"))


# The counts of 4.3, where all returned messages come first.
follow(__name__, "4.3", "*")
