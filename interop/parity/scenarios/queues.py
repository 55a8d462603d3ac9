# Queues: declare, re-declare, names, exclusive and auto-delete, delete, purge. Arguments are in queue_arguments.py.

from parity.session import add, scenario


def _redeclare(difference, base):
    def run(s):
        ch, q = s.queue(**base)
        ch.queue(q, **{**base, **difference})
    return run


for _name, _base, _difference in (
    ("same", {"durable": True}, {}),
    ("same_exclusive", {"exclusive": True, "auto_delete": True}, {}),
    ("durable", {}, {"durable": True}),
    ("not_durable", {"durable": True}, {"durable": False}),
    ("auto_delete", {}, {"auto_delete": True}),
    ("not_auto_delete", {"auto_delete": True}, {"auto_delete": False}),
    ("exclusive", {}, {"exclusive": True}),
    ("not_exclusive", {"exclusive": True}, {"exclusive": False}),
    ("unknown_argument", {}, {"arguments": {"x-anything": 1}}),
    ("all_flags", {}, {"durable": True, "auto_delete": True}),
):
    add(__name__, f"redeclare_{_name}", _redeclare(_difference, _base),
        f"Declared as {_base}, then with {_difference or 'the same'}.")


@scenario
def passive_ignores_flags(s):
    """A passive declare looks at the name only and answers with the counts."""
    ch, q = s.queue(durable=True)
    ch.queue(q, passive=True, auto_delete=True, arguments={"x-max-length": 3})


@scenario
def passive_missing(s):
    """A passive declare of a missing queue is a 404."""
    s.channel().queue(s.name("q"), passive=True)


@scenario
def passive_missing_with_exclusive(s):
    """The same with the exclusive flag."""
    s.channel().queue(s.name("q"), passive=True, exclusive=True)


@scenario
def redeclare_counts(s):
    """declare-ok carries ready messages and consumers; unacknowledged messages do not count."""
    ch, q = s.queue()
    for body in "abc":
        ch.publish("", q, body)
    ch.get(q, no_ack=False)
    ch.queue(q)
    ch.prefetch(1)
    ch.consume(q, "t")
    ch.deliveries(1)
    ch.queue(q)


@scenario
def server_named(s):
    """An empty name makes the broker choose one; it is the last declared queue of the channel."""
    ch = s.channel()
    ch.queue("", exclusive=True)
    ch.publish("", "", "to nowhere")
    ch.call("queue.purge", queue="")
    ch.queue("", passive=True)
    ch.bind("", "amq.direct", "")
    ch.get("")


@scenario
def server_named_is_new_each_time(s):
    """Two declares without a name make two queues."""
    ch = s.channel()
    ch.queue("", exclusive=True)
    ch.queue("", exclusive=True)


@scenario
def last_declared_is_remembered(s):
    """The empty name stands for the last declared queue, a passive declare included."""
    ch = s.channel()
    a, b = s.name("a"), s.name("b")
    ch.queue(a)
    ch.queue(b)
    ch.queue(a, passive=True)
    ch.publish("", a, "in a")
    ch.get("")
    ch.call("queue.delete", queue="")
    ch.get("")


def _no_last_queue(name, fields):
    def run(s):
        s.channel().call(name, **fields)
    return run


for _name, _fields in {
    "queue.bind": {"exchange": "amq.direct"}, "queue.unbind": {"exchange": "amq.direct"},
    "queue.purge": {}, "queue.delete": {}, "basic.get": {}, "basic.consume": {},
    "queue.declare": {"passive": True},
}.items():
    add(__name__, f"no_last_queue_{_name.replace('.', '_')}", _no_last_queue(_name, _fields),
        f"{_name} with an empty queue name on a channel that declared none.")


@scenario
def default_binding_key_is_queue_name(s):
    """queue.bind with neither queue nor key uses the last queue's name as the key."""
    ch = s.channel()
    q, x = s.name("q"), s.name("x")
    ch.exchange(x)
    ch.queue(q)
    ch.bind("", x, "")
    ch.publish(x, q, "by name")
    ch.publish(x, "", "by empty key")
    ch.drain(q, 1)


@scenario
def reserved_name(s):
    """Names that start with amq. are reserved."""
    s.channel().queue("amq.parity")


@scenario
def reserved_name_of_generated_form(s):
    """Even names that look generated."""
    s.channel().queue("amq.gen-AAAAAAAAAAAAAAAAAAAAAA", exclusive=True)


@scenario
def reserved_name_passive(s):
    """A passive declare of a reserved name that is missing is only not found."""
    s.channel().queue("amq.parity", passive=True)


@scenario
def name_line_feeds(s):
    """CR and LF are stripped from names when declaring."""
    ch = s.channel()
    ch.queue(s.name("a\r\nb"))
    ch.queue(s.name("ab"), passive=True)
    ch.queue(s.name("\nab\r"), passive=True)


for _name, _call in {
    "publish": lambda ch, s: ch.publish("", s.name("a\nb"), "m", mandatory=True),
    "get": lambda ch, s: ch.get(s.name("a\nb")),
    "consume": lambda ch, s: ch.consume(s.name("a\nb"), "t"),
    "purge": lambda ch, s: ch.call("queue.purge", queue=s.name("a\nb")),
    "delete": lambda ch, s: ch.call("queue.delete", queue=s.name("a\nb")),
    "bind": lambda ch, s: ch.bind(s.name("a\nb"), "amq.direct", s.name("k")),
    "bind_exchange": lambda ch, s: ch.bind(s.name("ab"), "amq.dir\nect", s.name("k")),
    "unbind": lambda ch, s: ch.call("queue.unbind", queue=s.name("a\nb"), exchange="amq.direct"),
}.items():
    def _run(s, call=_call):
        ch = s.channel()
        ch.queue(s.name("ab"))
        call(ch, s)
        ch.barrier()
    add(__name__, f"name_line_feeds_{_name}", _run, f"{_name} with a name that has a line feed in it.")


@scenario
def name_255_octets(s):
    """A name may have 255 octets."""
    ch = s.channel()
    q = s.name("n" * (255 - len(s.prefix)))
    ch.queue(q)
    ch.counts(q)


@scenario
def name_unusual(s):
    """Names may hold spaces, quotes and any UTF-8; error texts show them as they are."""
    ch = s.channel()
    q = s.name("it's \"a\" näme / 名 %s ~w")
    ch.queue(q)
    ch.queue(q, durable=True)


@scenario
def name_invalid_utf8(s):
    """A queue name that is not UTF-8."""
    s.channel().queue(s.name("\udcff\udcfe"))


@scenario
def declare_no_wait(s):
    """no-wait declares have no reply, but their errors close the channel."""
    ch = s.channel()
    q = s.name("q")
    ch.send("queue.declare", queue=q, no_wait=True)
    ch.barrier()
    ch.send("queue.declare", queue=q, durable=True, no_wait=True)
    ch.expect_close()


def _locked(act):
    """Another connection touches an exclusive queue."""
    def run(s):
        q = s.name("q")
        s.connect().channel().queue(q, exclusive=True)
        act(s.connect().channel(), q)
    return run


for _name, _act in {
    "declare": lambda ch, q: ch.queue(q, exclusive=True),
    "declare_not_exclusive": lambda ch, q: ch.queue(q),
    "passive": lambda ch, q: ch.counts(q),
    "consume": lambda ch, q: ch.consume(q),
    "get": lambda ch, q: ch.get(q),
    "purge": lambda ch, q: ch.call("queue.purge", queue=q),
    "delete": lambda ch, q: ch.call("queue.delete", queue=q),
    "bind": lambda ch, q: ch.bind(q, "amq.direct", q),
    "unbind": lambda ch, q: ch.call("queue.unbind", queue=q, exchange="amq.direct", routing_key=q),
}.items():
    add(__name__, f"exclusive_from_other_connection_{_name}", _locked(_act),
        f"{_name} of another connection's exclusive queue.")


@scenario
def exclusive_from_other_channel(s):
    """The other channels of the same connection may use an exclusive queue."""
    c = s.connect()
    q = s.name("q")
    c.channel().queue(q, exclusive=True)
    other = c.channel()
    other.queue(q, exclusive=True)
    other.publish("", q, "m")
    other.get(q)


@scenario
def exclusive_publish_from_other_connection(s):
    """Anyone may publish to an exclusive queue."""
    q = s.name("q")
    owner = s.connect().channel()
    owner.queue(q, exclusive=True)
    other = s.connect().channel()
    other.publish("", q, "from outside")
    other.barrier()
    owner.get_when_there(q)


@scenario
def exclusive_goes_with_connection(s):
    """An exclusive queue is gone before close-ok; its name is free at once."""
    q = s.name("q")
    owner = s.connect()
    owner.channel().queue(q, exclusive=True, durable=True)
    owner.close()
    s.connect().channel().queue(q, passive=True)


@scenario
def exclusive_survives_channel(s):
    """An exclusive queue belongs to the connection, not to the channel."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q, exclusive=True)
    ch.close()
    c.channel().counts(q)


@scenario
def auto_delete_after_last_consumer(s):
    """An auto-delete queue goes when its last consumer is cancelled."""
    ch, q = s.queue(auto_delete=True)
    ch.consume(q, "a")
    ch.consume(q, "b")
    ch.call("basic.cancel", consumer_tag="a")
    ch.counts(q)
    ch.call("basic.cancel", consumer_tag="b")
    ch.counts(q)


@scenario
def auto_delete_after_channel_close(s):
    """Closing the consumer's channel counts as cancelling."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q, auto_delete=True)
    ch.consume(q, "a")
    ch.close()
    c.channel().poll(lambda r: r.name == "channel.close", "queue.declare", queue=q, passive=True)


@scenario
def auto_delete_never_consumed(s):
    """Without any consumer it stays, whatever else happens."""
    ch, q = s.queue(auto_delete=True)
    ch.publish("", q, "m")
    ch.get(q)
    ch.call("queue.purge", queue=q)
    ch.counts(q)


@scenario
def delete_counts_messages(s):
    """delete-ok carries the number of ready messages."""
    ch, q = s.queue()
    for body in "abc":
        ch.publish("", q, body)
    ch.get(q, no_ack=False)
    ch.call("queue.delete", queue=q)
    ch.counts(q)


@scenario
def delete_missing(s):
    """Deleting a missing queue succeeds, whatever the conditions."""
    ch = s.channel()
    ch.call("queue.delete", queue=s.name("q"))
    ch.call("queue.delete", queue=s.name("q"), if_unused=True, if_empty=True)


@scenario
def delete_if_empty(s):
    """if-empty refuses while there are ready messages; unacknowledged ones do not count."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q)
    ch.publish("", q, "m")
    ch.call("queue.delete", queue=q, if_empty=True)
    ch = c.channel()
    ch.get(q, no_ack=False)
    ch.call("queue.delete", queue=q, if_empty=True)


@scenario
def delete_if_unused(s):
    """if-unused refuses while there are consumers."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q)
    ch.consume(q, "t")
    c.channel().call("queue.delete", queue=q, if_unused=True)
    ch.call("basic.cancel", consumer_tag="t")
    ch.call("queue.delete", queue=q, if_unused=True)


@scenario
def delete_removes_bindings(s):
    """A queue that is declared again has none of its old bindings."""
    ch = s.channel()
    q, x = s.name("q"), s.name("x")
    ch.exchange(x, "fanout")
    ch.queue(q)
    ch.bind(q, x)
    ch.call("queue.delete", queue=q)
    ch.queue(q)
    ch.publish(x, "", "m", mandatory=True)
    ch.expect("basic.return")


@scenario
def delete_no_wait(s):
    """no-wait deletes have no reply."""
    ch, q = s.queue()
    ch.send("queue.delete", queue=q, no_wait=True)
    ch.barrier()
    ch.counts(q)


@scenario
def purge(s):
    """Purging removes ready messages only and answers with their number."""
    ch, q = s.queue()
    for body in "abc":
        ch.publish("", q, body)
    ch.get(q, no_ack=False)
    ch.call("queue.purge", queue=q)
    ch.reject(1)
    ch.get(q)
    ch.call("queue.purge", queue=q)


@scenario
def purge_missing(s):
    """Purging a missing queue is a 404."""
    s.channel().call("queue.purge", queue=s.name("q"))


@scenario
def purge_no_wait(s):
    """no-wait purges have no reply."""
    ch, q = s.queue()
    ch.publish("", q, "m")
    ch.send("queue.purge", queue=q, no_wait=True)
    ch.get(q)


@scenario
def messages_survive_publisher(s):
    """A message outlives the connection that published it."""
    q = s.name("q")
    publisher = s.connect()
    ch = publisher.channel()
    ch.queue(q)
    ch.publish("", q, "m")
    publisher.close()
    s.connect().channel().get_when_there(q)
