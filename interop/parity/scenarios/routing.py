# Routing: every exchange type, alternate exchanges, CC and BCC.

from parity.session import add, scenario
from parity.wire import Typed


def mandatory(ch, exchange, key, body="m", **properties):
    """Publishes with confirm, so that all routing is done when this returns."""
    ch.publish(exchange, key, body, mandatory=True, **properties)
    ch.confirms()


def setup(s, kind, **arguments):
    """A channel in confirm mode, an exchange and a queue."""
    ch = s.channel()
    ch.exchange(s.name("x"), kind, **arguments)
    ch.queue(s.name("q"))
    ch.confirm()
    return ch, s.name("x"), s.name("q")


@scenario
def default_exchange(s):
    """The default exchange routes to the queue of that name, and only to an existing one."""
    ch, q = s.queue()
    ch.publish("", q, "m")
    ch.publish("", s.name("other"), "lost")
    ch.drain(q, 1)


@scenario
def direct(s):
    """A direct exchange compares keys exactly."""
    ch, x, q = setup(s, "direct")
    ch.bind(q, x, "a.b")
    ch.bind(q, x, "")
    for key in ("a.b", "a.B", "a", "a.*", "#", ""):
        mandatory(ch, x, key, key)
    ch.drain(q, 2)
    ch.barrier()


@scenario
def direct_many_queues(s):
    """Every queue bound with the key gets the message."""
    ch, x, q = setup(s, "direct")
    r = s.name("r")
    ch.queue(r)
    for queue in (q, r):
        ch.bind(queue, x, "k")
    mandatory(ch, x, "k")
    ch.drain(q, 1)
    ch.drain(r, 1)


@scenario
def fanout(s):
    """A fanout exchange looks at nothing."""
    ch, x, q = setup(s, "fanout")
    ch.bind(q, x, "some key", arguments={"x-match": "all", "a": 1})
    mandatory(ch, x, "any key")
    ch.drain(q, 1)


def get_all(s, ch, q):
    """Gets every message of the queue, unlogged."""
    messages = []
    while True:
        with s.transcript.unlogged():
            reply = ch.get(q)
        if reply.name != "basic.get-ok":
            return messages
        messages.append(reply)


def _topic(pattern, keys):
    def run(s):
        ch, x, q = setup(s, "topic")
        ch.bind(q, x, pattern)
        for key in keys:
            ch.publish(x, key, key)
        ch.confirms()
        found = [message.fields["routing-key"] for message in get_all(s, ch, q)]
        s.note(f"pattern {pattern!r} matched {found}")
    return run


for _name, (_pattern, _keys) in {
    "exact": ("a.b", ("a.b", "a", "a.b.c", "A.B", "")),
    "star": ("*", ("a", "", "a.b", ".", "a.")),
    "star_end": ("a.*", ("a", "a.", "a.b", "a.b.c", ".b")),
    "star_start": ("*.b", ("b", ".b", "a.b", "a.a.b")),
    "star_middle": ("a.*.c", ("a.b.c", "a..c", "a.c", "a.b.b.c")),
    "star_star": ("*.*", ("a", "a.b", ".", "..", "a.b.c")),
    "hash": ("#", ("", "a", "a.b", ".", "...")),
    "hash_end": ("a.#", ("a", "a.", "a.b", "a.b.c", "b.a")),
    "hash_start": ("#.b", ("b", ".b", "a.b", "a.a.b", "a.b.c")),
    "hash_middle": ("a.#.c", ("a.c", "a.b.c", "a.b.b.c", "a..c", "a")),
    "hash_hash": ("#.#", ("", "a", "a.b", "a.b.c")),
    "hash_star": ("#.*", ("", "a", "a.b", ".")),
    "star_hash": ("*.#", ("", "a", "a.b", ".")),
    "hash_star_hash": ("#.*.#", ("", "a", "a.b.c")),
    "hash_twice": ("a.#.b.#", ("a.b", "a.x.b", "a.b.x", "a.x.b.y.z", "a.x")),
    "empty": ("", ("", "a", ".")),
    "empty_words": ("a..b", ("a..b", "a.b", "a.x.b")),
    "dot": (".", (".", "", "..")),
    "stars_in_words": ("a*.b#", ("a*.b#", "ax.bx", "a.b")),
}.items():
    add(__name__, f"topic_{_name}", _topic(_pattern, _keys), f"The topic pattern {_pattern!r}.")


@scenario
def topic_unbind_one_of_two(s):
    """After removing one of two overlapping patterns the other still matches."""
    ch, x, q = setup(s, "topic")
    ch.bind(q, x, "a.#")
    ch.bind(q, x, "a.*")
    mandatory(ch, x, "a.b", "both match, one copy")
    ch.drain(q, 1)
    ch.call("queue.unbind", queue=q, exchange=x, routing_key="a.#")
    mandatory(ch, x, "a.b", "one matches")
    mandatory(ch, x, "a.b.c", "none matches")
    ch.drain(q, 1)
    ch.barrier()


def _headers(binding, cases):
    def run(s):
        ch, x, q = setup(s, "headers")
        ch.bind(q, x, arguments=binding)
        for number, headers in enumerate(cases):
            properties = {} if headers is None else {"headers": headers}
            ch.publish(x, "", str(number), **properties)
        ch.confirms()
        found = [int(message.content.body) for message in get_all(s, ch, q)]
        s.note("matched: " + " ".join(map(str, found)))
    return run


for _name, (_binding, _cases) in {
    "all": ({"x-match": "all", "a": 1, "b": "two"},
            ({"a": 1, "b": "two"}, {"a": 1}, {"a": 1, "b": "two", "c": 3}, {}, None, {"a": 2, "b": "two"})),
    "default_is_all": ({"a": 1, "b": 2}, ({"a": 1, "b": 2}, {"a": 1}, {"b": 2}, {})),
    "any": ({"x-match": "any", "a": 1, "b": 2}, ({"a": 1}, {"b": 2}, {"a": 2, "b": 1}, {}, None, {"c": 1})),
    "all_empty": ({"x-match": "all"}, ({}, {"a": 1}, None)),
    "any_empty": ({"x-match": "any"}, ({}, {"a": 1}, None)),
    "no_arguments": ({}, ({}, {"a": 1}, None)),
    "void_is_presence": ({"a": None}, ({"a": 1}, {"a": "x"}, {"a": None}, {"b": 1})),
    "void_any": ({"x-match": "any", "a": None, "b": None}, ({"a": 1}, {"b": 1}, {"c": 1})),
    "void_in_message": ({"a": 1}, ({"a": None},)),
    "integer_widths": ({"a": Typed("I", 5)},
                       tuple({"a": Typed(kind, 5)} for kind in "bBsuIil")),
    "integer_and_double": ({"a": 1}, ({"a": 1.0}, {"a": Typed("f", 1.0)}, {"a": "1"}, {"a": True}, {"a": Typed("T", 1)})),
    "double": ({"a": 1.5}, ({"a": 1.5}, {"a": Typed("f", 1.5)}, {"a": 1})),
    "boolean": ({"a": True}, ({"a": True}, {"a": False}, {"a": "true"}, {"a": 1})),
    "string_and_octets": ({"a": "x"}, ({"a": "x"}, {"a": Typed("x", b"x")}, {"a": "X"})),
    "table": ({"a": {"b": 1}}, ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": Typed("l", 1)}}, {"a": {}})),
    "array": ({"a": [1, 2]}, ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [Typed("l", 1), 2]})),
    "x_keys_ignored": ({"x-match": "all", "x-a": 1, "b": 2}, ({"b": 2}, {"x-a": 1, "b": 2}, {"x-a": 1})),
    "x_keys_ignored_any": ({"x-match": "any", "x-a": 1, "b": 2}, ({"b": 2}, {"x-a": 1})),
    "x_keys_only": ({"x-a": 1}, ({}, {"x-a": 1}, {"x-a": 2})),
    "all_with_x": ({"x-match": "all-with-x", "x-a": 1, "b": 2}, ({"b": 2}, {"x-a": 1, "b": 2}, {"x-a": 1})),
    "any_with_x": ({"x-match": "any-with-x", "x-a": 1, "b": 2}, ({"b": 2}, {"x-a": 1}, {"x-a": 2})),
    "decimal": ({"a": Typed("D", (2, 100))}, ({"a": Typed("D", (2, 100))}, {"a": Typed("D", (0, 1))}, {"a": 1})),
    "timestamp": ({"a": Typed("T", 5)}, ({"a": Typed("T", 5)}, {"a": 5})),
}.items():
    add(__name__, f"headers_{_name}", _headers(_binding, _cases),
        f"A headers binding {_binding}; the messages' headers: " + "; ".join(
            f"{n} {c}" for n, c in enumerate(_cases)) + ".")


@scenario
def headers_exchange_ignores_key(s):
    """A headers exchange does not look at routing keys."""
    ch, x, q = setup(s, "headers")
    ch.bind(q, x, "some key", arguments={"a": 1})
    mandatory(ch, x, "other key", "m", headers={"a": 1})
    ch.drain(q, 1)


# ------------------------------------------------------------ alternate exchanges

@scenario
def alternate_exchange(s):
    """What no queue is bound for goes to the alternate exchange; the delivery names the first exchange."""
    ch = s.channel()
    x, y, q, r = (s.name(n) for n in "xyqr")
    ch.exchange(y, "fanout")
    ch.exchange(x, "direct", arguments={"alternate-exchange": y})
    ch.queue(q)
    ch.queue(r)
    ch.bind(q, x, "k")
    ch.bind(r, y)
    ch.confirm()
    mandatory(ch, x, "k", "routed")
    mandatory(ch, x, "other", "alternate")
    ch.drain(q, 1)
    ch.drain(r, 1)


@scenario
def alternate_exchange_missing(s):
    """A missing alternate exchange is as none."""
    ch, x, _ = setup(s, "direct", arguments={"alternate-exchange": s.name("missing")})
    mandatory(ch, x, "k")
    ch.barrier()


@scenario
def alternate_exchange_chain(s):
    """Alternate exchanges may have alternate exchanges, in a circle too."""
    ch = s.channel()
    x, y, q = s.name("x"), s.name("y"), s.name("q")
    ch.exchange(x, "direct", arguments={"alternate-exchange": y})
    ch.exchange(y, "direct", arguments={"alternate-exchange": x})
    ch.queue(q)
    ch.bind(q, y, "k")
    ch.confirm()
    mandatory(ch, x, "k", "by y")
    mandatory(ch, x, "none", "by nobody")
    ch.drain(q, 1)
    ch.barrier()


@scenario
def alternate_exchange_not_for_exchange_binding(s):
    """A binding to an exchange that routes nowhere does not count as unrouted."""
    ch = s.channel()
    x, y, z, q = (s.name(n) for n in "xyzq")
    ch.exchange(y, "fanout")
    ch.exchange(z, "direct")
    ch.exchange(x, "fanout", arguments={"alternate-exchange": y})
    ch.queue(q)
    ch.bind(q, y)
    ch.call("exchange.bind", source=x, destination=z, routing_key="k")
    ch.confirm()
    mandatory(ch, x, "k", "m")
    ch.get(q)
    ch.barrier()


@scenario
def alternate_exchange_default(s):
    """The default exchange may be the alternate one."""
    ch, x, q = setup(s, "topic", arguments={"alternate-exchange": ""})
    mandatory(ch, x, q, "by queue name")
    ch.get(q)


# ------------------------------------------------------------ CC and BCC

@scenario
def cc_and_bcc(s):
    """CC and BCC add routing keys; only BCC is removed."""
    ch = s.channel()
    a, b, c = (s.name(n) for n in "abc")
    for queue in (a, b, c):
        ch.queue(queue)
    ch.publish("", a, "m", headers={"CC": [b], "BCC": [c], "other": 1})
    for queue in (a, b, c):
        ch.get_when_there(queue)


@scenario
def bcc_only(s):
    """With BCC as the only header, what remains is an empty table."""
    ch = s.channel()
    a, b = s.name("a"), s.name("b")
    ch.queue(a)
    ch.queue(b)
    ch.publish("", a, "m", headers={"BCC": [b]})
    ch.get_when_there(a)
    ch.get_when_there(b)


@scenario
def cc_same_queue(s):
    """A queue reached by several keys gets one copy."""
    ch, q = s.queue()
    ch.publish("", q, "m", headers={"CC": [q, q], "BCC": [q]})
    ch.drain(q, 1)


@scenario
def cc_makes_routable(s):
    """CC alone can make a message routable."""
    ch, q = s.queue()
    ch.confirm()
    mandatory(ch, "", s.name("nowhere"), "m", headers={"CC": [q]})
    ch.drain(q, 1)
    ch.barrier()


@scenario
def cc_topic(s):
    """CC keys are matched as routing keys by the exchange."""
    ch, x, q = setup(s, "topic")
    ch.bind(q, x, "a.*")
    mandatory(ch, x, "z", "m", headers={"CC": ["a.b"]})
    ch.drain(q, 1)


for _name, _headers_value in {
    "cc_string": {"CC": "q"}, "cc_number": {"CC": 1}, "bcc_string": {"BCC": "q"}, "cc_void": {"CC": None},
    "cc_array_of_numbers": {"CC": [1, 2]}, "cc_array_mixed": {"CC": ["q", 1]}, "cc_empty": {"CC": []},
    "cc_lower_case": {"cc": "q"},
}.items():
    def _run(s, headers=_headers_value):
        ch = s.channel()
        ch.publish("amq.direct", "nowhere", "m", headers=headers)
        ch.exchange("amq.direct", passive=True)
    add(__name__, _name, _run, f"Published with headers {_headers_value}.")
