# Where RabbitMQ 4.3 differs from 4.0, and Leveret follows 4.3.

from parity.session import add, follows, scenario


@scenario
@follows("4.3")
def reply_tags_count(s):
    """The delivery tags of replies count from one, together with the channel's others."""
    ch, server = s.channel(), s.connect().channel()
    ch.queue(s.name("own"), exclusive=True)
    ch.consume("amq.rabbitmq.reply-to", "r", no_ack=True)
    ch.consume(s.name("own"), "o", no_ack=True)
    token = address(s, ch, server)
    server.publish("", token, "1")
    ch.deliveries(1)
    server.publish("", s.name("own"), "2")
    ch.deliveries(1)
    server.publish("", token, "3")
    ch.deliveries(1)


def address(s, ch, server):
    """The reply address of the channel, as a server sees it."""
    with s.transcript.unlogged():
        server.queue(s.name("requests"))
        ch.publish("", s.name("requests"), "", reply_to="amq.rabbitmq.reply-to")
        token = server.get_when_there(s.name("requests")).content.properties["reply-to"]
    return token


def _copies(headers_of):
    def run(s):
        ch, server = s.channel(), s.connect().channel()
        ch.consume("amq.rabbitmq.reply-to", "r", no_ack=True)
        token = address(s, ch, server)
        server.confirm()
        server.publish("", token, "1", headers=headers_of(token))
        server.confirms()
        server.publish("", token, "2")
        server.confirms()
        ch.deliveries(2)
        ch.barrier()
    return follows("4.3")(run)


for _name, _headers, _title in (
    ("cc", lambda token: {"CC": [token]}, "A reply address that is repeated in CC gets the reply once."),
    ("cc_twice", lambda token: {"CC": [token, token]}, "Repeated twice in CC as well."),
    ("bcc", lambda token: {"BCC": [token]}, "Repeated in BCC as well."),
    ("cc_and_bcc", lambda token: {"CC": [token], "BCC": [token]}, "Repeated in both as well."),
):
    add(__name__, f"reply_repeated_in_{_name}", _copies(_headers), _title)


@scenario
@follows("4.3")
def reply_by_cc_only(s):
    """An address that stands in CC alone, beside a queue."""
    ch, server = s.channel(), s.connect().channel()
    ch.consume("amq.rabbitmq.reply-to", "r", no_ack=True)
    token = address(s, ch, server)
    server.queue(s.name("q"))
    server.confirm()
    server.publish("", s.name("q"), "1", headers={"CC": [token]})
    server.confirms()
    ch.deliveries(1)
    server.get_when_there(s.name("q"))


@scenario
@follows("4.3")
def reply_to_two_by_cc(s):
    """Two requesters get one reply, one by the key and one by CC."""
    one, two, server = s.channel(), s.connect().channel(), s.connect().channel()
    for ch in (one, two):
        ch.consume("amq.rabbitmq.reply-to", "r", no_ack=True)
    tokens = [address(s, ch, server) for ch in (one, two)]
    server.publish("", tokens[0], "1", headers={"CC": [tokens[1]]})
    one.deliveries(1)
    two.deliveries(1)


def _stream(arguments):
    def run(s):
        s.channel().queue(s.name("q"), durable=True, arguments={"x-queue-type": "stream", **arguments})
    return follows("4.3")(run)


for _name, _value in {"empty": "", "unit_only": "h", "number_only": "10", "unknown_unit": "10x", "negative": "-1h",
                      "spaced": "1 h", "two": "1h30m", "word": "long", "fraction": "1.5h"}.items():
    add(__name__, f"max_age_{_name}", _stream({"x-max-age": _value}), f"A stream with x-max-age {_value!r}.")


def _offset(value):
    def run(s):
        ch = s.channel()
        ch.queue(s.name("q"), durable=True, arguments={"x-queue-type": "stream"})
        ch.prefetch(1)
        ch.consume(s.name("q"), "a", arguments={"x-stream-offset": value})
    return follows("4.3")(run)


for _name, _value in {"capital": "First", "unit_only": "h", "empty": "", "word": "middle", "unknown_unit": "10x",
                      "spaced": "1 h", "number": "10", "line_feed": "first\n"}.items():
    add(__name__, f"offset_{_name}", _offset(_value), f"A stream's consumer with x-stream-offset {_value!r}.")


@scenario
@follows("4.3")
def offset_unreadable_leaves_the_connection(s):
    """An offset that cannot be read ends the channel and no more."""
    ch = s.channel()
    ch.queue(s.name("q"), durable=True, arguments={"x-queue-type": "stream"})
    ch.prefetch(1)
    ch.consume(s.name("q"), "a", arguments={"x-stream-offset": "middle"})
    ch.connection.channel().counts(s.name("q"))


def modulus(s, queues, **fields):
    """An exchange of type x-modulus-hash with this many queues bound."""
    ch = s.channel()
    ch.exchange(s.name("x"), "x-modulus-hash", **fields)
    for number in range(queues):
        ch.queue(s.name(f"q{number}"))
        ch.bind(s.name(f"q{number}"), s.name("x"), str(number))
    ch.confirm()
    return ch


@scenario
@follows("4.3")
def modulus_hash_one_queue(s):
    """An x-modulus-hash exchange sends to one of its queues, whatever the key."""
    ch = modulus(s, 1)
    for key in ("a", "b", ""):
        ch.publish(s.name("x"), key, key, mandatory=True)
    ch.confirms()
    ch.drain(s.name("q0"), 3)


@scenario
@follows("4.3")
def modulus_hash_same_key(s):
    """The same key always goes to the same queue, and to one only."""
    ch = modulus(s, 4)
    for _ in range(5):
        ch.publish(s.name("x"), "key", "1", mandatory=True)
    ch.confirms()
    counts = [ch.counts(s.name(f"q{number}")).fields["message-count"] for number in range(4)]
    s.note(f"all in one queue: {sorted(counts) == [0, 0, 0, 5]}")


@scenario
@follows("4.3")
def modulus_hash_spreads(s):
    """Many keys reach every queue, each message once."""
    ch = modulus(s, 4)
    with s.transcript.unlogged():
        for number in range(200):
            ch.publish(s.name("x"), f"key {number}", "1", mandatory=True)
        ch.confirms()
        counts = [ch.counts(s.name(f"q{number}")).fields["message-count"] for number in range(4)]
    s.note(f"200 messages in all: {sum(counts) == 200}; each queue has some: {min(counts) > 10}")


@scenario
@follows("4.3")
def modulus_hash_without_queues(s):
    """Without queues a message cannot be routed."""
    ch = modulus(s, 0)
    ch.publish(s.name("x"), "a", "1", mandatory=True)
    ch.confirms()
    ch.barrier()


@scenario
@follows("4.3")
def modulus_hash_declared_otherwise(s):
    """The type takes part in equivalence."""
    ch = modulus(s, 0)
    ch.exchange(s.name("x"), "direct")


@scenario
@follows("4.3")
def modulus_hash_distribution(s):
    """Each of ten keys reaches one of three queues."""
    ch = modulus(s, 3)
    with s.transcript.unlogged():
        where = []
        for number in range(10):
            ch.publish(s.name("x"), f"k{number}", "1")
            ch.confirms()
            found = [at for at in range(3) if ch.get(s.name(f"q{at}")).name == "basic.get-ok"]
            where.append(found)
    s.note(f"one queue each: {all(len(found) == 1 for found in where)}")
