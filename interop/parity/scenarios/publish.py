# Publishing: properties and bodies as they arrive, mandatory and immediate, confirms, user-id, limits.

from parity import wire
from parity.session import add, scenario
from parity.wire import Raw, Typed

# RabbitMQ's max_message_size.
MAX_BODY = 16 * 2**20

ALL_PROPERTIES = {
    "content_type": "text/plain", "content_encoding": "gzip", "headers": {"a": 1}, "delivery_mode": 2,
    "priority": 3, "correlation_id": "c-1", "reply_to": "somewhere", "expiration": "600000",
    "message_id": "m-1", "timestamp": 1234567890, "type": "t", "user_id": "guest", "app_id": "app",
    "cluster_id": "cluster",
}


def _round_trip(**properties):
    """A scenario: a message with these properties, published and got."""
    def run(s):
        ch = s.channel()
        ch.queue(s.name("q"))
        ch.publish("", s.name("q"), "body", **properties)
        ch.get_when_there(s.name("q"))
    return run


add(__name__, "properties_none", _round_trip(), "No properties at all.")
add(__name__, "properties_all", _round_trip(**ALL_PROPERTIES), "All fourteen properties.")
for _name, _value in ALL_PROPERTIES.items():
    add(__name__, f"property_{_name}", _round_trip(**{_name: _value}), f"Only {_name.replace('_', '-')}.")
for _name, _properties in {
    "empty_strings": {"content_type": "", "message_id": "", "type": ""},
    "headers_empty": {"headers": {}},
    "delivery_mode_0": {"delivery_mode": 0}, "delivery_mode_3": {"delivery_mode": 3},
    "priority_255": {"priority": 255}, "timestamp_max": {"timestamp": 2**64 - 1},
    "strings_of_255": {"message_id": "m" * 255, "type": "t" * 255},
    "utf8": {"content_type": "tëxt/plain", "app_id": "名前"},
}.items():
    add(__name__, f"property_{_name}", _round_trip(**_properties), f"{_name.replace('_', ' ')}.")

# Every table type comes back as it went in.
_TYPES = {
    "t": (True, False), "b": (-128, 127), "B": (0, 255), "s": (-32768, 32767), "u": (0, 65535),
    "I": (-2**31, 2**31 - 1), "i": (0, 2**32 - 1), "l": (-2**63, 2**63 - 1), "f": (0.0, -1.5, 0.1),
    "d": (0.0, -1.5, 0.1, 1e300), "D": ((0, 0), (2, 314), (255, 4294967295)), "T": (0, 1234567890, 2**63),
    "S": ("", "text", "ünï", "\udcff\udcfe"), "x": (b"", b"\0\xff"), "V": (None,), "F": ({}, {"a": {"b": None}}),
    "A": ([], [1, "two", [3], {"four": 4}, None]),
}
for _kind, _values in _TYPES.items():
    _case = "upper" if _kind.isupper() else "lower"
    add(__name__, f"header_type_{_case}_{_kind.lower()}",
        _round_trip(headers={f"k{n}": Typed(_kind, value) for n, value in enumerate(_values)}),
        f"Headers of table type {_kind}.")
add(__name__, "header_type_upper_l", _round_trip(headers=Raw(b"\0\0\0\x0b\1aL\0\0\0\0\0\0\0\1")),
    "Headers of table type L, which some clients use for unsigned 64 bit integers.")
add(__name__, "header_key_twice", _round_trip(headers=Raw(b"\0\0\0\x0e\1aI\0\0\0\1\1aI\0\0\0\2")),
    "Headers with one key twice.")
add(__name__, "header_key_128", _round_trip(headers={"k" * 128: 1}), "A header with a key of 128 octets.")
add(__name__, "header_key_255", _round_trip(headers={"k" * 255: 1}), "A header with a key of 255 octets.")


def _body(size):
    def run(s):
        ch = s.channel()
        ch.queue(s.name("q"))
        ch.publish("", s.name("q"), bytes(n * 31 % 251 for n in range(size)))
        ch.get_when_there(s.name("q"))
    return run


for _size in (0, 1, 4095, 4096, 131064, 131065, 1_000_000):
    add(__name__, f"body_{_size}", _body(_size), f"A body of {_size} octets.")


@scenario
def body_at_limit(s):
    """A body of 16 MiB is accepted."""
    ch = s.channel()
    ch.publish("amq.direct", "nowhere", b"x" * MAX_BODY)
    ch.exchange("amq.direct", passive=True)


@scenario
def body_over_limit(s):
    """A body of one octet more is refused, once it has come whole; the connection stays."""
    c = s.connect()
    ch = c.channel()
    ch.publish("amq.direct", "nowhere", b"x" * (MAX_BODY + 1))
    ch.expect_close()
    c.channel().exchange("amq.direct", passive=True)


@scenario
def body_size_over_limit_announced(s):
    """A body size over the limit alone is no error, and other channels work meanwhile."""
    c = s.connect()
    c.channel()
    c.send_bytes(wire.frame(1, 1, wire.method_payload("basic.publish", {"exchange": "amq.direct"}))
                 + wire.frame(2, 1, wire.header_payload({}, MAX_BODY + 1)) + wire.frame(3, 1, b"x" * 1000),
                 "publish of 16 MiB and an octet, and its first thousand octets")
    c.channel().exchange("amq.direct", passive=True)


# ------------------------------------------------------------ routing results

@scenario
def mandatory_unroutable(s):
    """An unroutable mandatory message comes back whole."""
    ch = s.channel()
    ch.publish("amq.direct", s.name("nowhere"), "body", mandatory=True, **ALL_PROPERTIES)
    ch.expect("basic.return")


@scenario
def mandatory_default_exchange(s):
    """The same for the default exchange."""
    ch = s.channel()
    ch.publish("", s.name("nowhere"), "", mandatory=True)
    ch.expect("basic.return")


@scenario
def mandatory_routed(s):
    """A routable mandatory message is not returned."""
    ch = s.channel()
    ch.queue(s.name("q"))
    ch.confirm()
    ch.publish("", s.name("q"), "m", mandatory=True)
    ch.confirms()
    ch.barrier()


@scenario
def mandatory_large_body(s):
    """A returned body of several frames."""
    ch = s.channel()
    ch.publish("amq.fanout", s.name("k"), "x" * 300_000, mandatory=True)
    ch.expect("basic.return")


@scenario
def not_mandatory_unroutable(s):
    """Without mandatory an unroutable message vanishes."""
    ch = s.channel()
    ch.publish("amq.direct", s.name("nowhere"), "m")
    ch.barrier()


@scenario
def immediate(s):
    """immediate is not implemented."""
    ch = s.channel()
    ch.publish("amq.direct", "k", "m", immediate=True)
    ch.connection.expect_close()


@scenario
def return_before_ack(s):
    """Under confirms the return comes before the ack."""
    ch = s.channel()
    ch.call("confirm.select")
    ch.publish("amq.direct", s.name("nowhere"), "m", mandatory=True)
    ch.next()
    ch.next()


# ------------------------------------------------------------ confirms

@scenario
def confirm_select_twice(s):
    """confirm.select may be repeated."""
    ch = s.channel()
    ch.confirm()
    ch.publish("amq.direct", s.name("nowhere"), "m")
    ch.confirms()
    ch.confirm()
    ch.publish("amq.direct", s.name("nowhere"), "m")
    ch.confirms()


@scenario
def confirm_select_no_wait(s):
    """confirm.select with no-wait has no reply."""
    ch = s.channel()
    ch.send("confirm.select", no_wait=True)
    ch.publish("amq.direct", s.name("nowhere"), "m")
    ch.next()


@scenario
def confirm_counts_from_select(s):
    """Sequence numbers start with the first publish after confirm.select."""
    ch = s.channel()
    ch.publish("amq.direct", s.name("nowhere"), "before")
    ch.call("confirm.select")
    ch.publish("amq.direct", s.name("nowhere"), "after")
    ch.next()


@scenario
def confirm_many(s):
    """A hundred messages to a queue are all confirmed, persistent and transient ones."""
    ch, q = s.queue(durable=True)
    ch.confirm()
    with s.transcript.unlogged():
        for number in range(100):
            ch.publish("", q, str(number), delivery_mode=1 + number % 2)
    s.note("a hundred publishes")
    ch.confirms()
    ch.counts_when(q, messages=100)


@scenario
def confirm_several_queues(s):
    """A message to several queues is confirmed once."""
    ch = s.channel()
    x = s.name("x")
    ch.exchange(x, "fanout")
    for name in "qr":
        ch.queue(s.name(name), durable=name == "q")
        ch.bind(s.name(name), x)
    ch.confirm()
    ch.publish(x, "", "m", delivery_mode=2)
    ch.confirms()
    ch.barrier()


@scenario
def confirm_missing_exchange(s):
    """A publish to a missing exchange closes the channel without a confirm."""
    ch = s.channel()
    ch.confirm()
    ch.publish(s.name("x"), "k", "m")
    ch.next()


@scenario
def confirm_after_tx(s):
    """A transactional channel cannot be switched to confirms."""
    ch = s.channel()
    ch.call("tx.select")
    ch.call("confirm.select")


@scenario
def tx_after_confirm(s):
    """Nor the other way."""
    ch = s.channel()
    ch.call("confirm.select")
    ch.call("tx.select")


@scenario
def confirm_queue_deleted(s):
    """Messages are confirmed even if their queue was deleted meanwhile."""
    ch, q = s.queue()
    ch.confirm()
    ch.publish("", q, "one")
    ch.call("queue.delete", queue=q)
    ch.publish("", q, "two")
    ch.confirms()


# ------------------------------------------------------------ checks on properties

def _checked(**properties):
    def run(s):
        ch = s.channel()
        ch.publish("amq.direct", "nowhere", "m", **properties)
        ch.exchange("amq.direct", passive=True)
    return run


for _name, _properties in {
    "user_id_other": {"user_id": "root"}, "user_id_empty": {"user_id": ""},
    "expiration_text": {"expiration": "soon"}, "expiration_negative": {"expiration": "-1"},
    "expiration_empty": {"expiration": ""}, "expiration_fraction": {"expiration": "1.5"},
    "expiration_space": {"expiration": " 5"}, "expiration_plus": {"expiration": "+5"},
    "expiration_limit": {"expiration": "315360000000"}, "expiration_over_limit": {"expiration": "315360000001"},
    "expiration_trailing": {"expiration": "5s"}, "expiration_0": {"expiration": "0"},
    "expiration_leading_zeros": {"expiration": "0005"}, "expiration_long": {"expiration": "9" * 50},
    "expiration_hexadecimal": {"expiration": "0x10"},
    "property_not_utf8": {"content_type": "\udcff"},
}.items():
    add(__name__, f"check_{_name}", _checked(**_properties), f"Published with {_properties!a}.")


@scenario
def check_before_exchange(s):
    """A bad user-id and a missing exchange at once."""
    ch = s.channel()
    ch.publish(s.name("x"), "k", "m", user_id="other")
    ch.expect_close()


@scenario
def check_expiration_without_route(s):
    """A bad expiration and a bad user-id at once."""
    ch = s.channel()
    ch.publish("amq.direct", "k", "m", user_id="other", expiration="no")
    ch.expect_close()


@scenario
def routing_key_255(s):
    """A routing key of 255 octets."""
    ch = s.channel()
    ch.queue(s.name("q"))
    key = "k" * 255
    ch.bind(s.name("q"), "amq.direct", key)
    ch.publish("amq.direct", key, "m")
    ch.get_when_there(s.name("q"))
    ch.call("queue.unbind", queue=s.name("q"), exchange="amq.direct", routing_key=key)


@scenario
def routing_key_not_utf8(s):
    """A routing key that is not UTF-8."""
    ch = s.channel()
    ch.publish("amq.direct", "\udcff", "m")
    ch.exchange("amq.direct", passive=True)


@scenario
def publish_to_reply_queue_name(s):
    """Publishing to a reply-to name without a consumer is unroutable."""
    ch = s.channel()
    ch.publish("", "amq.rabbitmq.reply-to.nonsense", "m", mandatory=True)
    ch.next()
