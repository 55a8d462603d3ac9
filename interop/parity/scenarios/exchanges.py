# Exchanges: declare, re-declare, delete, names and types. Routing is in routing.py.

from parity.session import add, scenario
from parity.wire import Typed


@scenario
def redeclare_same(s):
    """Declaring an exchange twice in the same way is no error."""
    ch = s.channel()
    x = s.name("x")
    ch.exchange(x, "topic", durable=True, auto_delete=True, internal=True)
    ch.exchange(x, "topic", durable=True, auto_delete=True, internal=True)


@scenario
def redeclare_predeclared(s):
    """The predeclared exchanges can be declared as they are."""
    ch = s.channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        ch.exchange(f"amq.{kind}", kind, durable=True)
    ch.exchange("amq.match", "headers", durable=True)
    ch.exchange("amq.rabbitmq.trace", "topic", durable=True, internal=True)


def _redeclare(difference, base=None):
    def run(s):
        ch = s.channel()
        x = s.name("x")
        first = {"kind": "direct", **(base or {})}
        ch.exchange(x, **first)
        ch.exchange(x, **{**first, **difference})
    return run


for _name, _difference in {
    "type": {"kind": "fanout"},
    "durable": {"durable": True},
    "auto_delete": {"auto_delete": True},
    "internal": {"internal": True},
    "alternate_exchange": {"arguments": {"alternate-exchange": "other"}},
    "unknown_argument": {"arguments": {"x-anything": 1}},
}.items():
    add(__name__, f"redeclare_other_{_name}", _redeclare(_difference),
        f"Re-declaring an exchange with another {_name}.")

for _name, _base in {
    "durable": {"durable": True}, "auto_delete": {"auto_delete": True}, "internal": {"internal": True},
    "alternate_exchange": {"arguments": {"alternate-exchange": "other"}},
}.items():
    add(__name__, f"redeclare_without_{_name}",
        _redeclare({key: {} if key == "arguments" else False for key in _base}, _base),
        f"Re-declaring an exchange without its {_name}.")


@scenario
def redeclare_other_alternate_exchange_name(s):
    """Re-declaring with another alternate exchange is a 406 with both names."""
    ch = s.channel()
    x = s.name("x")
    ch.exchange(x, arguments={"alternate-exchange": "one"})
    ch.exchange(x, arguments={"alternate-exchange": "two"})


@scenario
def alternate_exchange_wrong_type(s):
    """alternate-exchange has to be a string."""
    ch = s.channel()
    ch.exchange(s.name("x"), arguments={"alternate-exchange": 7})


@scenario
def alternate_exchange_bad_name(s):
    """Any string may name an alternate exchange, even one that no exchange can have."""
    ch = s.channel()
    ch.exchange(s.name("x"), arguments={"alternate-exchange": "amq.nonsense"})
    ch.exchange(s.name("y"), arguments={"alternate-exchange": ""})


@scenario
def passive_existing(s):
    """A passive declare looks at the name only."""
    ch = s.channel()
    x = s.name("x")
    ch.exchange(x, "fanout", durable=True)
    ch.exchange(x, "direct", passive=True)
    ch.exchange(x, "no-such-type", passive=True, auto_delete=True)


@scenario
def passive_missing(s):
    """A passive declare of a missing exchange is a 404."""
    s.channel().exchange(s.name("x"), passive=True)


@scenario
def unknown_type(s):
    """An unknown exchange type closes the channel with 406."""
    s.channel().exchange(s.name("x"), "no-such-type")


@scenario
def empty_type(s):
    """An empty exchange type is unknown, too."""
    s.channel().exchange(s.name("x"), "")


@scenario
def declare_reserved_name(s):
    """Names that start with amq. are reserved, when there is no such exchange."""
    s.channel().exchange("amq.parity", "direct")


@scenario
def declare_default(s):
    """The default exchange cannot be declared."""
    s.channel().exchange("", "direct", durable=True)


@scenario
def declare_default_passive(s):
    """Nor looked at by a passive declare."""
    s.channel().exchange("", "direct", passive=True)


@scenario
def delete_default(s):
    """The default exchange cannot be deleted."""
    s.channel().call("exchange.delete", exchange="")


@scenario
def delete_predeclared(s):
    """A predeclared exchange cannot be deleted."""
    s.channel().call("exchange.delete", exchange="amq.direct")


@scenario
def delete_missing(s):
    """Deleting a missing exchange succeeds."""
    ch = s.channel()
    ch.call("exchange.delete", exchange=s.name("x"))
    ch.call("exchange.delete", exchange=s.name("x"), if_unused=True)
    ch.call("exchange.delete", exchange="amq.no-such-exchange")


@scenario
def delete_if_unused(s):
    """if-unused refuses while there are bindings with the exchange as source."""
    ch = s.channel()
    x, q = s.name("x"), s.name("q")
    ch.exchange(x)
    ch.queue(q)
    ch.bind(q, x, "k")
    ch.call("exchange.delete", exchange=x, if_unused=True)
    ch = s.channel()
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="k")
    ch.call("exchange.delete", exchange=x, if_unused=True)
    ch.exchange(x, passive=True)


@scenario
def delete_if_unused_as_destination(s):
    """Being only the destination of a binding is not use."""
    ch = s.channel()
    x, y = s.name("x"), s.name("y")
    ch.exchange(x)
    ch.exchange(y)
    ch.call("exchange.bind", destination=y, source=x, routing_key="k")
    ch.call("exchange.delete", exchange=y, if_unused=True)
    ch.call("exchange.delete", exchange=x, if_unused=True)


@scenario
def auto_delete_after_last_unbind(s):
    """An auto-delete exchange goes with its last binding."""
    ch = s.channel()
    x, q = s.name("x"), s.name("q")
    ch.exchange(x, auto_delete=True)
    ch.queue(q)
    ch.bind(q, x, "a")
    ch.bind(q, x, "b")
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a")
    ch.exchange(x, passive=True)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="b")
    ch.exchange(x, passive=True)


@scenario
def auto_delete_after_queue_delete(s):
    """Deleting the bound queue removes the bindings and so the auto-delete exchange."""
    ch = s.channel()
    x, q = s.name("x"), s.name("q")
    ch.exchange(x, auto_delete=True)
    ch.queue(q)
    ch.bind(q, x, "a")
    ch.call("queue.delete", queue=q)
    ch.exchange(x, passive=True)


@scenario
def auto_delete_chain(s):
    """An auto-delete exchange that goes takes the one bound before it along."""
    ch = s.channel()
    x, y, q = s.name("x"), s.name("y"), s.name("q")
    ch.exchange(x, auto_delete=True)
    ch.exchange(y, auto_delete=True)
    ch.queue(q)
    ch.call("exchange.bind", destination=y, source=x)
    ch.bind(q, y)
    ch.call("queue.delete", queue=q)
    ch.exchange(y, passive=True)
    ch = s.channel()
    ch.exchange(x, passive=True)


@scenario
def auto_delete_never_bound(s):
    """An auto-delete exchange without any binding stays."""
    ch = s.channel()
    x, q = s.name("x"), s.name("q")
    ch.exchange(x, auto_delete=True)
    ch.queue(q)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a")
    ch.exchange(x, passive=True)


@scenario
def name_line_feeds(s):
    """CR and LF are stripped from exchange names."""
    ch = s.channel()
    ch.exchange(s.name("a\r\nb"))
    ch.exchange(s.name("ab"), "fanout")


@scenario
def name_255_octets(s):
    """A name may have 255 octets."""
    ch = s.channel()
    x = s.name("n" * (255 - len(s.prefix)))
    ch.exchange(x)
    ch.exchange(x, passive=True)


@scenario
def name_unusual(s):
    """Names may hold spaces, quotes, slashes and any UTF-8."""
    ch = s.channel()
    x = s.name("it's \"a\" näme / 名 %s ~w")
    ch.exchange(x)
    ch.exchange(x, "fanout")


@scenario
def name_invalid_utf8(s):
    """A name that is not UTF-8."""
    ch = s.channel()
    x = s.name("\udcff\udcfe")
    ch.exchange(x)
    ch.exchange(x, "fanout")


@scenario
def declare_no_wait(s):
    """no-wait declares have no reply, but their errors close the channel."""
    ch = s.channel()
    x = s.name("x")
    ch.send("exchange.declare", exchange=x, type="direct", no_wait=True)
    ch.barrier()
    ch.exchange(x, passive=True)
    ch.send("exchange.declare", exchange=x, type="fanout", no_wait=True)
    ch.expect_close()


@scenario
def delete_no_wait(s):
    """no-wait deletes have no reply."""
    ch = s.channel()
    x = s.name("x")
    ch.exchange(x)
    ch.send("exchange.delete", exchange=x, no_wait=True)
    ch.barrier()
    ch.exchange(x, passive=True)


@scenario
def publish_internal(s):
    """Clients must not publish to an internal exchange."""
    ch = s.channel()
    x = s.name("x")
    ch.exchange(x, internal=True)
    ch.publish(x, "k", "body")
    ch.expect_close()


@scenario
def publish_missing(s):
    """Publishing to a missing exchange closes the channel with 404."""
    ch = s.channel()
    ch.publish(s.name("x"), "k", "body")
    ch.expect_close()


@scenario
def argument_types_kept_apart(s):
    """Arguments of every table type are accepted on an exchange."""
    s.channel().exchange(s.name("x"), arguments={
        "a": Typed("b", -1), "b": Typed("B", 200), "c": Typed("s", -300), "d": Typed("u", 60000),
        "e": Typed("I", -5), "f": Typed("i", 4000000000), "g": Typed("l", -2**40), "h": Typed("f", 1.5),
        "i": Typed("d", 2.5), "j": Typed("D", (2, 314)), "k": "text", "l": Typed("x", b"\0\1"),
        "m": True, "n": None, "o": {"inner": 1}, "p": [1, "two"], "q": Typed("T", 1000)})


@scenario
def x_local_random(s):
    """x-local-random is a known type; it routes without looking at the key, to one of its queues."""
    ch = s.channel()
    x, q, r = s.name("x"), s.name("q"), s.name("r")
    ch.exchange(x, "x-local-random")
    ch.queue(q)
    ch.bind(q, x)
    ch.publish(x, "key", "m")
    ch.drain(q, 1)
    ch.queue(r)
    ch.bind(r, x)
    with s.transcript.unlogged():
        for _ in range(20):
            ch.publish(x, "", "m")
        found = sum(ch.call("queue.delete", queue=queue).fields["message-count"] for queue in (q, r))
    s.note(f"of twenty messages {found} went to two queues")


@scenario
def x_local_random_with_key(s):
    """Bindings of x-local-random exchanges have no key."""
    ch = s.channel()
    x, q = s.name("x"), s.name("q")
    ch.exchange(x, "x-local-random")
    ch.queue(q)
    ch.bind(q, x, "one")
