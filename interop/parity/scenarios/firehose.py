# The firehose: with tracing on, a virtual host's publishes and deliveries are copied to amq.rabbitmq.trace.

from parity.channel import dead_letters_to
from parity.session import add, follow, scenario
from parity.wire import Typed

TRACE = "amq.rabbitmq.trace"


class Traced:
    """A virtual host with tracing on, a channel that works in it, and one that reads what was traced."""

    def __init__(self, s, key="#", on=True, **trace_queue):
        self.s, self.vhost, self.trace = s, s.vhost(), s.name("trace")
        self.watch = s.connect(vhost=self.vhost).channel()
        self.watch.queue(self.trace, **trace_queue)
        self.watch.bind(self.trace, TRACE, key)
        if on:
            s.ctl("trace_on", "-p", self.vhost)
        self.work = s.connect(vhost=self.vhost).channel()

    def queue(self, suffix="q", **fields):
        self.work.queue(self.s.name(suffix), **fields)
        return self.s.name(suffix)

    def shows(self, count):
        """Shows `count` traced messages, and that there are no more."""
        self.watch.drain(self.trace, count)


@scenario
def publish_and_deliver(s):
    """A message that is published and delivered is traced twice."""
    t = Traced(s)
    q = t.queue()
    t.work.consume(q, "t", no_ack=True)
    t.work.publish("", q, "body")
    t.work.deliveries(1)
    t.shows(2)


@scenario
def get(s):
    """basic.get delivers, too; an empty one is not traced."""
    t = Traced(s)
    q = t.queue()
    t.work.get(q)
    t.work.publish("", q, "body")
    t.work.get_when_there(q)
    t.shows(2)


@scenario
def properties(s):
    """All properties are in a table; the traced message has only headers."""
    t = Traced(s)
    q = t.queue()
    headers = {"a": "text", "n": 1, "b": True, "d": 1.5, "void": None, "t": {"x": [1, "2", {}]},
               "s": Typed("s", -3), "big": Typed("l", 1 << 40), "T": Typed("T", 5), "bytes": Typed("x", b"\0\1")}
    t.work.publish("", q, "body", content_type="text/plain", content_encoding="utf-8", headers=headers, delivery_mode=2,
                   priority=7, correlation_id="c", reply_to="r", expiration="600000", message_id="m",
                   timestamp=1_700_000_000, type="t", user_id="guest", app_id="a", cluster_id="x")
    t.work.get_when_there(q)
    t.shows(2)


@scenario
def late_timestamp(s):
    """A timestamp of more than 31 bits."""
    t = Traced(s)
    t.work.publish("", "nowhere", "body", timestamp=0x1_8000_0002)
    t.shows(1)


@scenario
def empty_headers(s):
    """A message with an empty table of headers, and with a property of no length."""
    t = Traced(s)
    t.work.publish("", "nowhere", "", headers={}, content_type="")
    t.shows(1)


@scenario
def unroutable(s):
    """A message without a queue is traced as published, a mandatory one as well; its return is not."""
    t = Traced(s)
    t.work.publish("", "nowhere", "dropped")
    t.work.publish("amq.topic", "nowhere", "returned", mandatory=True)
    t.work.expect("basic.return")
    t.shows(2)


@scenario
def several_queues(s):
    """The queues of a message are named."""
    t = Traced(s)
    for suffix in "ab":
        t.work.bind(t.queue(suffix), "amq.fanout")
    t.work.publish("amq.fanout", "key", "body")
    for suffix in "ab":
        t.work.get_when_there(s.name(suffix))
    t.shows(3)


@scenario
def exchange_to_exchange(s):
    """The exchange is the one of the publish."""
    t = Traced(s)
    t.work.call("exchange.bind", destination="amq.fanout", source="amq.topic", routing_key="a.#")
    t.work.bind(t.queue(), "amq.fanout")
    t.work.publish("amq.topic", "a.b", "body")
    t.work.get_when_there(s.name("q"))
    t.shows(2)


@scenario
def alternate_exchange(s):
    """By an alternate exchange."""
    t = Traced(s)
    t.work.exchange(s.name("x"), arguments={"alternate-exchange": "amq.fanout"})
    t.work.bind(t.queue(), "amq.fanout")
    t.work.publish(s.name("x"), "k", "body")
    t.work.get_when_there(s.name("q"))
    t.shows(2)


@scenario
def copies(s):
    """CC adds routing keys."""
    t = Traced(s)
    q, copied = t.queue(), t.queue("copied")
    t.work.publish("", q, "body", headers={"CC": [copied, "nowhere"], "a": "b"})
    t.work.get_when_there(q)
    t.work.get_when_there(copied)
    t.shows(3)


@scenario
def blind_copies(s):
    """BCC is not in the properties."""
    t = Traced(s)
    q, blind = t.queue(), t.queue("blind")
    t.work.publish("", q, "body", headers={"CC": ["nowhere"], "BCC": [blind], "a": "b"})
    t.work.get_when_there(q)
    t.work.get_when_there(blind)
    t.shows(3)


@scenario
def off_again(s):
    """Nothing is traced after trace_off, on open channels neither."""
    t = Traced(s)
    q = t.queue()
    t.work.publish("", q, "1")
    t.work.barrier()
    s.ctl("trace_off", "-p", t.vhost)
    t.work.publish("", q, "2")
    t.work.get_when_there(q)
    t.shows(1)


@scenario
def on_while_open(s):
    """trace_on holds for channels that are open, publish and consume."""
    t = Traced(s, on=False)
    q = t.queue()
    t.work.consume(q, "t", no_ack=True)
    t.work.publish("", q, "1")
    t.work.deliveries(1)
    s.ctl("trace_on", "-p", t.vhost)
    t.work.publish("", q, "2")
    t.work.deliveries(1)
    t.shows(2)


@scenario
def on_twice(s):
    """Both verbs may be repeated."""
    t = Traced(s)
    s.ctl("trace_on", "-p", t.vhost)
    t.work.publish("", "nowhere", "1")
    t.work.barrier()
    s.ctl("trace_off", "-p", t.vhost)
    s.ctl("trace_off", "-p", t.vhost)
    t.shows(1)


@scenario
def other_vhost(s):
    """What happens in another virtual host is not traced."""
    t = Traced(s)
    other = s.connect(vhost=s.vhost("w")).channel()
    other.queue(s.name("q"))
    other.publish("", s.name("q"), "body")
    other.get_when_there(s.name("q"))
    t.shows(0)


@scenario
def traced_messages(s):
    """What was traced is not traced again, however it is read."""
    t = Traced(s)
    t.work.publish("", "nowhere", "1")
    t.work.consume(t.trace, "t", no_ack=True)
    t.work.deliveries(1)
    t.work.call("basic.cancel", consumer_tag="t")
    t.work.publish("", "nowhere", "2")
    t.shows(1)


def taken_twice(t, q, give_back):
    t.work.get_when_there(q, no_ack=False)
    give_back(1)
    t.work.get_when_there(q)
    t.shows(3)


@scenario
def requeued(s):
    """A redelivery is marked."""
    t = Traced(s)
    q = t.queue()
    t.work.publish("", q, "body")
    taken_twice(t, q, t.work.nack)


@scenario
def quorum(s):
    """A quorum queue counts the deliveries of a message."""
    t = Traced(s)
    q = t.queue(durable=True, arguments={"x-queue-type": "quorum"})
    t.work.publish("", q, "body", headers={"a": 1})
    taken_twice(t, q, t.work.reject)


@scenario
def stream(s):
    """A stream's messages are traced with their offset."""
    t = Traced(s)
    q = t.queue(durable=True, arguments={"x-queue-type": "stream"})
    t.work.confirm()
    t.work.publish("", q, "body", headers={"a": 1})
    t.work.confirms()
    t.work.prefetch(10)
    t.work.consume(q, "t", arguments={"x-stream-offset": "first"})
    t.work.deliveries(1)
    t.shows(2)


@scenario
def dead_letter(s):
    """The broker's own publish of a dead letter is not traced, its delivery is."""
    t = Traced(s)
    dead = t.queue("dead")
    q = t.queue(arguments=dead_letters_to(dead))
    t.work.publish("", q, "body")
    t.work.get_when_there(q, no_ack=False)
    t.work.reject(1, requeue=False)
    t.work.get_when_there(dead)
    t.shows(3)


@scenario
def dead_letter_with_copies(s):
    """The routing keys of a dead letter are those that its queue gave it."""
    t = Traced(s)
    dead = t.queue("dead")
    q = t.queue(arguments=dead_letters_to(dead))
    t.work.publish("", q, "body", headers={"CC": ["nowhere"]})
    t.work.get_when_there(q, no_ack=False)
    t.work.reject(1, requeue=False)
    t.work.get_when_there(dead)
    t.shows(3)


@scenario
def dead_letter_with_its_own_keys(s):
    """A dead letter that keeps its routing keys."""
    t = Traced(s)
    t.work.bind(t.queue("dead"), "amq.fanout")
    q = t.queue(arguments={"x-dead-letter-exchange": "amq.fanout"})
    t.work.publish("", q, "body", headers={"CC": ["nowhere"]})
    t.work.get_when_there(q, no_ack=False)
    t.work.reject(1, requeue=False)
    t.work.get_when_there(s.name("dead"))
    t.shows(3)


@scenario
def transaction(s):
    """A publish of a transaction is traced when it is made, not when it is committed."""
    t = Traced(s)
    q = t.queue()
    t.work.call("tx.select")
    t.work.publish("", q, "1")
    t.work.barrier()
    t.shows(1)
    t.work.call("tx.rollback")
    t.work.publish("", q, "2")
    t.work.call("tx.commit")
    t.work.get_when_there(q)
    t.shows(2)


@scenario
def rejected_by_the_queue(s):
    """A message that its queue rejects is traced."""
    t = Traced(s)
    q = t.queue(arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    t.work.confirm()
    t.work.publish("", q, "body")
    t.work.confirms()
    t.shows(1)


@scenario
def full_trace_queue(s):
    """A queue that rejects traced messages does not make the message refused."""
    t = Traced(s, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    t.work.confirm()
    for body in "12":
        t.work.publish("", "nowhere", body)
        t.work.confirms()
    t.shows(1)


@scenario
def refused(s):
    """Publishes that are refused are not traced."""
    t = Traced(s)
    t.work.publish(s.name("none"), "k", "body")
    t.work.expect_close()
    second = t.work.connection.channel()
    second.publish(TRACE, "publish.x", "body")
    second.expect_close()
    third = t.work.connection.channel()
    third.publish("", "k", "body", expiration="x")
    third.expect_close()
    t.shows(0)


@scenario
def channel_and_user(s):
    """The channel's number and the user's name."""
    t = Traced(s)
    u = s.user(vhost=t.vhost)
    c = s.login(u, t.vhost)
    c.channel()
    ch = c.channel()
    ch.queue(s.name("q"))
    ch.publish("", s.name("q"), "body")
    ch.get_when_there(s.name("q"))
    t.shows(2)


for _name, _key in (("publish", "publish.amq.topic"), ("deliver", "deliver.#"), ("default_exchange", "publish."),
                    ("all_publishes", "publish.#")):
    def _run(s, key=_key):
        t = Traced(s, key)
        q = t.queue()
        t.work.bind(q, "amq.topic", "k")
        t.work.publish("amq.topic", "k", "1")
        t.work.get_when_there(q)
        t.work.publish("", q, "2")
        t.work.get_when_there(q)
        t.shows(2 if key in ("deliver.#", "publish.#") else 1)
    add(__name__, f"bound_by_{_name}", _run, f"A binding with the key {_key}.")


@scenario
def trace_exchange_bound_to(s):
    """The trace exchange may be the destination of a binding; those messages are the client's own."""
    t = Traced(s)
    t.work.call("exchange.bind", destination=TRACE, source="amq.topic", routing_key="#")
    t.work.publish("amq.topic", "k", "body")
    t.work.barrier()
    for _ in range(3):
        t.watch.get_when_there(t.trace)


@scenario
def quorum_trace_queue(s):
    """Traced messages in a quorum queue."""
    t = Traced(s, durable=True, arguments={"x-queue-type": "quorum"})
    t.work.publish("", "nowhere", "body", delivery_mode=2)
    t.shows(1)


@scenario
def large(s):
    """A body of several frames."""
    t = Traced(s)
    t.work.publish("", "nowhere", b"x" * 300_000)
    t.shows(1)


@scenario
def name_too_long(s):
    """A queue whose name leaves no room for the prefix in a routing key."""
    t = Traced(s)
    q = "q" * 250
    t.work.queue(q, exclusive=True)
    t.work.publish("", q, "body")
    t.work.get_when_there(q)
    t.shows(2)


def _request(s, t):
    """A requester's channel and the address in its request, both traced."""
    service = t.queue("service")
    t.work.consume("amq.rabbitmq.reply-to", "replies", no_ack=True)
    t.work.publish("", service, "request", reply_to="amq.rabbitmq.reply-to")
    server = s.connect(vhost=t.vhost).channel()
    got = server.get_when_there(service)
    return server, got.content.properties["reply-to"]


@scenario
def reply(s):
    """A reply of direct reply-to."""
    t = Traced(s)
    server, address = _request(s, t)
    t.shows(2)
    server.publish("", address, "reply")
    t.work.deliveries(1)
    t.watch.get_when_there(t.trace)
    t.watch.get_when_there(t.trace)


# What 4.3 changed of dead letters, counts and replies shows here, too.
follow(__name__, "4.3", "dead_letter*", "quorum", "reply")
