# The right (configure, write, read) that each method needs, and on which name.

from parity import wire
from parity.session import add, follows, scenario

ALL, NONE = ".*", ""


def begin(s, configure=ALL, write=ALL, read=ALL):
    """Guest's channel, and one of a user with these rights."""
    return s.channel(), s.login(s.user("u", configure, write, read)).channel()


def owned(owner, s):
    """A queue, two exchanges and a message, made by guest."""
    owner.queue(s.name("q"))
    owner.exchange(s.name("x"), "fanout")
    owner.exchange(s.name("y"), "fanout")
    owner.confirm()
    owner.publish("", s.name("q"), "1")
    owner.confirms()


METHODS = {
    "queue_declare": lambda ch, s: ch.queue(s.name("new")),
    "queue_declare_existing": lambda ch, s: ch.queue(s.name("q")),
    "queue_declare_server_named": lambda ch, s: ch.queue("", exclusive=True),
    "queue_delete": lambda ch, s: ch.call("queue.delete", queue=s.name("q")),
    "queue_delete_missing": lambda ch, s: ch.call("queue.delete", queue=s.name("none")),
    "queue_purge": lambda ch, s: ch.call("queue.purge", queue=s.name("q")),
    "queue_purge_missing": lambda ch, s: ch.call("queue.purge", queue=s.name("none")),
    "queue_bind": lambda ch, s: ch.bind(s.name("q"), s.name("x")),
    "queue_bind_missing_queue": lambda ch, s: ch.bind(s.name("none"), s.name("x")),
    "queue_bind_missing_exchange": lambda ch, s: ch.bind(s.name("q"), s.name("none")),
    "queue_unbind": lambda ch, s: ch.call("queue.unbind", queue=s.name("q"), exchange=s.name("x")),
    "exchange_declare": lambda ch, s: ch.exchange(s.name("new")),
    "exchange_declare_existing": lambda ch, s: ch.exchange(s.name("x"), "fanout"),
    "exchange_declare_predeclared": lambda ch, s: ch.exchange("amq.direct", durable=True),
    "exchange_delete": lambda ch, s: ch.call("exchange.delete", exchange=s.name("x")),
    "exchange_delete_missing": lambda ch, s: ch.call("exchange.delete", exchange=s.name("none")),
    "exchange_bind": lambda ch, s: ch.call("exchange.bind", destination=s.name("x"), source=s.name("y")),
    "exchange_unbind": lambda ch, s: ch.call("exchange.unbind", destination=s.name("x"), source=s.name("y")),
    "basic_get": lambda ch, s: ch.get(s.name("q")),
    "basic_get_missing": lambda ch, s: ch.get(s.name("none")),
    "basic_consume": lambda ch, s: ch.consume(s.name("q"), "a"),
    "basic_consume_missing": lambda ch, s: ch.consume(s.name("none"), "a"),
    "basic_consume_reply_to": lambda ch, s: ch.consume("amq.rabbitmq.reply-to", "a", no_ack=True),
    "basic_publish": lambda ch, s: (ch.publish(s.name("x"), "", "p"), ch.barrier()),
    "basic_publish_missing": lambda ch, s: (ch.publish(s.name("none"), "", "p"), ch.barrier()),
    "basic_publish_mandatory": lambda ch, s: (ch.publish(s.name("x"), "", "p", mandatory=True), ch.barrier()),
    "basic_publish_default": lambda ch, s: (ch.publish("", s.name("q"), "p"), ch.barrier()),
    "declare_dead_letter": lambda ch, s: ch.queue(s.name("new"), arguments={"x-dead-letter-exchange": s.name("x")}),
    "declare_dead_letter_default": lambda ch, s: ch.queue(s.name("new"), arguments={"x-dead-letter-exchange": ""}),
    "declare_dead_letter_missing": lambda ch, s: ch.queue(
        s.name("new"), arguments={"x-dead-letter-exchange": s.name("none")}),
    "declare_alternate": lambda ch, s: ch.exchange(s.name("new"), arguments={"alternate-exchange": s.name("x")}),
}


def _without(right, method):
    def run(s):
        owner, ch = begin(s, **{right: NONE})
        owned(owner, s)
        METHODS[method](ch, s)
    return run


# Without the right that the method needs, and with only that right if it needs one.
for _method, _rights in {
    "queue_declare": "configure", "queue_declare_existing": "configure", "queue_declare_server_named": "configure",
    "queue_delete": "configure", "queue_delete_missing": "configure", "queue_purge": "read",
    "queue_purge_missing": "read", "queue_bind": "write read", "queue_bind_missing_queue": "write",
    "queue_bind_missing_exchange": "read", "queue_unbind": "write read", "exchange_declare": "configure",
    "exchange_declare_existing": "configure", "exchange_declare_predeclared": "configure",
    "exchange_delete": "configure", "exchange_delete_missing": "configure", "exchange_bind": "write read",
    "exchange_unbind": "write read", "basic_get": "read", "basic_get_missing": "read", "basic_consume": "read",
    "basic_consume_missing": "read", "basic_consume_reply_to": "read", "basic_publish": "write",
    "basic_publish_missing": "write", "basic_publish_mandatory": "write", "basic_publish_default": "write",
    "declare_dead_letter": "write read", "declare_dead_letter_default": "write", "declare_dead_letter_missing": "write",
    "declare_alternate": "write read",
}.items():
    for _right in _rights.split():
        add(__name__, f"{_method}_without_{_right}", _without(_right, _method),
            f"{_method.replace('_', ' ')} by a user without the right to {_right}.")


def _only(rights, method):
    def run(s):
        owner, ch = begin(s, **{right: ALL if right in rights else NONE for right in ("configure", "write", "read")})
        owned(owner, s)
        METHODS[method](ch, s)
    return run


for _method, _rights in {
    "queue_declare": "configure", "queue_delete": "configure", "queue_purge": "read", "queue_bind": "write read",
    "queue_unbind": "write read", "exchange_declare": "configure", "exchange_delete": "configure",
    "exchange_bind": "write read", "basic_get": "read", "basic_consume": "read", "basic_publish": "write",
}.items():
    add(__name__, f"{_method}_with_just_enough", _only(_rights.split(), _method),
        f"{_method.replace('_', ' ')} by a user who has no other right than to {' and '.join(_rights.split())}.")


def _passive(rights, kind):
    def run(s):
        owner, ch = begin(s, **{right: ALL if right == rights else NONE for right in ("configure", "write", "read")})
        owned(owner, s)
        if kind == "queue":
            ch.queue(s.name("q"), passive=True)
        elif kind == "exchange":
            ch.exchange(s.name("x"), passive=True)
        else:
            ch.queue(s.name("none"), passive=True)
    return follows("4.3")(run)


for _kind, _names in {"queue": "queue", "exchange": "exchange", "missing": "missing queue"}.items():
    for _rights in ("no", "configure", "write", "read"):
        add(__name__, f"passive_{_kind}_with_{_rights}", _passive(_rights, _kind),
            f"A passive declare of a {_names} by a user with {_rights} right{' at all' if _rights == 'no' else ' only'}.")


@scenario
def sides_of_queue_bind(s):
    """queue.bind needs write on the queue and read on the exchange, and nothing else."""
    q, x = s.name("q"), s.name("x")
    owner, ch = begin(s, configure=NONE, write="q$", read="x$")
    owned(owner, s)
    ch.bind(q, x)
    ch.call("queue.unbind", queue=q, exchange=x)


@scenario
def sides_of_queue_bind_swapped(s):
    """Write on the exchange and read on the queue are the wrong way round."""
    owner, ch = begin(s, write="x$", read="q$")
    owned(owner, s)
    ch.bind(s.name("q"), s.name("x"))


@scenario
def sides_of_exchange_bind(s):
    """exchange.bind needs write on the destination and read on the source."""
    owner, ch = begin(s, configure=NONE, write="x$", read="y$")
    owned(owner, s)
    ch.call("exchange.bind", destination=s.name("x"), source=s.name("y"))


@scenario
def sides_of_exchange_bind_swapped(s):
    """The wrong way round."""
    owner, ch = begin(s, write="y$", read="x$")
    owned(owner, s)
    ch.call("exchange.bind", destination=s.name("x"), source=s.name("y"))


@scenario
def names_of_dead_letter(s):
    """A queue with a dead letter exchange needs read on the queue and write on that exchange."""
    owner, ch = begin(s, configure="new$", write="x$", read="new$")
    owned(owner, s)
    ch.queue(s.name("new"), arguments={"x-dead-letter-exchange": s.name("x")})


@scenario
def names_of_alternate(s):
    """An exchange with an alternate needs read on itself and write on the alternate."""
    owner, ch = begin(s, configure="new$", write="x$", read="new$")
    owned(owner, s)
    ch.exchange(s.name("new"), arguments={"alternate-exchange": s.name("x")})


@scenario
def names_of_default_exchange(s):
    """The default exchange goes by amq.default; the right on the queue's name is not asked for."""
    owner, ch = begin(s, write="^amq.default$")
    owned(owner, s)
    ch.publish("", s.name("q"), "2")
    owner.counts_when(s.name("q"), messages=2)


@scenario
def names_of_default_exchange_wrong(s):
    """The right to write to the queue is none to publish to it by the default exchange."""
    owner, ch = begin(s, write="q$")
    owned(owner, s)
    ch.publish("", s.name("q"), "2")
    ch.expect_close()


@scenario
def pattern_is_not_anchored(s):
    """A pattern matches anywhere in a name."""
    _, ch = begin(s, configure="iddl")
    ch.queue(s.name("the-middle-of"))


@scenario
def pattern_is_anchored(s):
    """Unless it says otherwise."""
    _, ch = begin(s, configure="^iddl")
    ch.queue(s.name("the-middle-of"))


@scenario
def pattern_alternatives(s):
    """Alternatives and classes work as in Perl."""
    _, ch = begin(s, configure=r"\.(one|two[0-9]+)$")
    ch.queue(s.name("two22"))
    ch.queue(s.name("one"))
    ch.queue(s.name("two"))


@scenario
def pattern_case(s):
    """Patterns heed case."""
    _, ch = begin(s, configure="Q$")
    ch.queue(s.name("q"))


@scenario
def exclusive_of_another_and_no_right(s):
    """Another connection's exclusive queue and no right to read it: which of the two is told."""
    owner, ch = begin(s, read=NONE)
    owner.queue(s.name("q"), exclusive=True)
    ch.get(s.name("q"))


@scenario
def acks_need_no_right(s):
    """Rights are asked for when a consumer starts; its acks and its cancel need none."""
    owner, ch = begin(s)
    owned(owner, s)
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    s.ctl("clear_permissions", s.name("u"))
    ch.ack(1)
    ch.call("basic.cancel", consumer_tag="a")
    owner.counts_when(s.name("q"), messages=0, consumers=0)


@scenario
def alternate_is_not_asked_for(s):
    """A publish that takes the alternate exchange needs no right on it."""
    owner, ch = begin(s, write="new$")
    owned(owner, s)
    owner.bind(s.name("q"), s.name("x"))
    owner.exchange(s.name("new"), "direct", arguments={"alternate-exchange": s.name("x")})
    ch.publish(s.name("new"), "nowhere", "2")
    owner.counts_when(s.name("q"), messages=2)


@scenario
def further_exchange_is_not_asked_for(s):
    """Nor does one that passes through a binding to another exchange."""
    owner, ch = begin(s, write="y$")
    owned(owner, s)
    owner.bind(s.name("q"), s.name("x"))
    owner.call("exchange.bind", destination=s.name("x"), source=s.name("y"))
    ch.publish(s.name("y"), "", "2")
    owner.counts_when(s.name("q"), messages=2)


@scenario
def dead_letter_is_not_asked_for(s):
    """A reject dead-letters to an exchange on which the user has no right."""
    owner, ch = begin(s, write=NONE)
    owner.queue(s.name("q"))
    owner.exchange(s.name("x"), "fanout")
    owner.bind(s.name("q"), s.name("x"))
    owner.queue(s.name("first"), arguments={"x-dead-letter-exchange": s.name("x")})
    owner.publish("", s.name("first"), "1")
    owner.counts_when(s.name("first"), messages=1)
    ch.get(s.name("first"), no_ack=False)
    ch.reject(1, requeue=False)
    owner.counts_when(s.name("q"), messages=1)


@scenario
def publish_in_transaction(s):
    """In a transaction a publish without the right is refused at once."""
    _, ch = begin(s, write=NONE)
    ch.call("tx.select")
    ch.publish("amq.fanout", "", "1")
    ch.expect_close()


@scenario
def publish_with_confirms(s):
    """With confirms, too: the channel ends, and there is no nack."""
    _, ch = begin(s, write=NONE)
    ch.confirm()
    ch.publish("amq.fanout", "", "1")
    ch.expect_close()


@scenario
def publish_refused_with_its_body(s):
    """A publish without the right is refused by the time that all of its body is there."""
    _, ch = begin(s, write=NONE)
    ch.send("basic.publish", exchange="amq.fanout", routing_key="")
    ch.connection.send_bytes(wire.frame(2, ch.number, wire.header_payload({}, 5)), "header of 5 octets")
    ch.connection.send_bytes(wire.frame(3, ch.number, b"hello"), "body")
    ch.expect_close()


@scenario
def revoked_on_new_channel(s):
    """A channel opened afterwards lacks the right."""
    _, ch = begin(s)
    ch.publish("amq.fanout", "", "1")
    ch.barrier()
    s.ctl("set_permissions", s.name("u"), ALL, NONE, ALL)
    further = ch.connection.channel()
    further.publish("amq.fanout", "", "2")
    further.expect_close()


@scenario
def revoked_for_other_names(s):
    """What the channel never asked for is asked for anew."""
    _, ch = begin(s)
    ch.publish("amq.fanout", "", "1")
    ch.barrier()
    s.ctl("set_permissions", s.name("u"), ALL, NONE, ALL)
    ch.publish("amq.direct", "", "2")
    ch.expect_close()


@scenario
def granted_while_open(s):
    """A right that was refused and is granted meanwhile holds on the same connection."""
    _, ch = begin(s, write=NONE)
    ch.publish("amq.fanout", "", "1")
    ch.expect_close()
    s.ctl("set_permissions", s.name("u"), ALL, ALL, ALL)
    further = ch.connection.channel()
    further.publish("amq.fanout", "", "2")
    further.barrier()


@scenario
def cleared_while_open(s):
    """All rights in the vhost are cleared: the connection stays, and each method is refused."""
    _, ch = begin(s)
    s.ctl("clear_permissions", s.name("u"))
    ch.queue(s.name("q"))
    ch.connection.channel().queue(s.name("q"))


@scenario
def consumer_after_revoke(s):
    """A consumer that runs goes on when the right to read is revoked."""
    owner, ch = begin(s)
    owner.queue(s.name("q"))
    ch.consume(s.name("q"), "a", no_ack=True)
    s.ctl("set_permissions", s.name("u"), ALL, ALL, NONE)
    owner.publish("", s.name("q"), "1")
    ch.deliveries(1)


@scenario
@follows("4.3")
def consumer_after_update_secret(s):
    """update-secret looks rights up again, and cancels the consumers that lost theirs."""
    owner, ch = begin(s)
    owner.queue(s.name("q"))
    ch.consume(s.name("q"), "a", no_ack=True)
    s.ctl("set_permissions", s.name("u"), ALL, ALL, NONE)
    ch.connection.send("connection.update-secret", new_secret="secret", reason="parity")
    ch.connection.expect("connection.update-secret-ok")
    ch.expect("basic.cancel")
    owner.counts_when(s.name("q"), consumers=0)
