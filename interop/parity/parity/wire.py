# AMQP 0-9-1 on the wire: frames, methods, tables, content headers, both ways.
# Knows no socket and no scenario. Values keep their wire type, since transcripts compare the types, too.

import struct
from collections import namedtuple

FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

# A table value with an explicit wire type, e.g. Typed("s", 5) or Typed("V", None).
Typed = namedtuple("Typed", "type value")
# A table field written as given, for malformed tables.
Raw = namedtuple("Raw", "data")

# class id, method id, name, fields (AMQP 0-9-1 section 1.7 and RabbitMQ's extensions).
_METHODS = """
10 10 connection.start version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr
10 11 connection.start-ok client-properties:table mechanism:shortstr response:longstr locale:shortstr
10 20 connection.secure challenge:longstr
10 21 connection.secure-ok response:longstr
10 30 connection.tune channel-max:short frame-max:long heartbeat:short
10 31 connection.tune-ok channel-max:short frame-max:long heartbeat:short
10 40 connection.open virtual-host:shortstr reserved-1:shortstr reserved-2:bit
10 41 connection.open-ok reserved-1:shortstr
10 50 connection.close reply-code:short reply-text:shortstr class-id:short method-id:short
10 51 connection.close-ok
10 60 connection.blocked reason:shortstr
10 61 connection.unblocked
10 70 connection.update-secret new-secret:longstr reason:shortstr
10 71 connection.update-secret-ok
20 10 channel.open reserved-1:shortstr
20 11 channel.open-ok reserved-1:longstr
20 20 channel.flow active:bit
20 21 channel.flow-ok active:bit
20 40 channel.close reply-code:short reply-text:shortstr class-id:short method-id:short
20 41 channel.close-ok
30 10 access.request realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
30 11 access.request-ok ticket:short
40 10 exchange.declare ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit no-wait:bit arguments:table
40 11 exchange.declare-ok
40 20 exchange.delete ticket:short exchange:shortstr if-unused:bit no-wait:bit
40 21 exchange.delete-ok
40 30 exchange.bind ticket:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table
40 31 exchange.bind-ok
40 40 exchange.unbind ticket:short destination:shortstr source:shortstr routing-key:shortstr no-wait:bit arguments:table
40 51 exchange.unbind-ok
50 10 queue.declare ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit arguments:table
50 11 queue.declare-ok queue:shortstr message-count:long consumer-count:long
50 20 queue.bind ticket:short queue:shortstr exchange:shortstr routing-key:shortstr no-wait:bit arguments:table
50 21 queue.bind-ok
50 30 queue.purge ticket:short queue:shortstr no-wait:bit
50 31 queue.purge-ok message-count:long
50 40 queue.delete ticket:short queue:shortstr if-unused:bit if-empty:bit no-wait:bit
50 41 queue.delete-ok message-count:long
50 50 queue.unbind ticket:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table
50 51 queue.unbind-ok
60 10 basic.qos prefetch-size:long prefetch-count:short global:bit
60 11 basic.qos-ok
60 20 basic.consume ticket:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit no-wait:bit arguments:table
60 21 basic.consume-ok consumer-tag:shortstr
60 30 basic.cancel consumer-tag:shortstr no-wait:bit
60 31 basic.cancel-ok consumer-tag:shortstr
60 40 basic.publish ticket:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit
60 50 basic.return reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr
60 60 basic.deliver consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr
60 70 basic.get ticket:short queue:shortstr no-ack:bit
60 71 basic.get-ok delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long
60 72 basic.get-empty reserved-1:shortstr
60 80 basic.ack delivery-tag:longlong multiple:bit
60 90 basic.reject delivery-tag:longlong requeue:bit
60 100 basic.recover-async requeue:bit
60 110 basic.recover requeue:bit
60 111 basic.recover-ok
60 120 basic.nack delivery-tag:longlong multiple:bit requeue:bit
85 10 confirm.select no-wait:bit
85 11 confirm.select-ok
90 10 tx.select
90 11 tx.select-ok
90 20 tx.commit
90 21 tx.commit-ok
90 30 tx.rollback
90 31 tx.rollback-ok
"""

# Content header properties in flag order, highest bit first (section 4.2.6.1, class basic).
PROPERTIES = (
    ("content-type", "shortstr"), ("content-encoding", "shortstr"), ("headers", "table"),
    ("delivery-mode", "octet"), ("priority", "octet"), ("correlation-id", "shortstr"),
    ("reply-to", "shortstr"), ("expiration", "shortstr"), ("message-id", "shortstr"),
    ("timestamp", "longlong"), ("type", "shortstr"), ("user-id", "shortstr"),
    ("app-id", "shortstr"), ("cluster-id", "shortstr"),
)

Spec = namedtuple("Spec", "class_id method_id name fields")
# A received or to-be-sent method; `content` is set for publish, return, deliver and get-ok.
Method = namedtuple("Method", "name fields content", defaults=(None,))
Content = namedtuple("Content", "properties body")
Frame = namedtuple("Frame", "type channel payload")

CONTENT_METHODS = {"basic.publish", "basic.return", "basic.deliver", "basic.get-ok"}


class WireError(Exception):
    """The broker sent bytes that are not AMQP 0-9-1."""


def _parse_methods():
    by_name, by_id = {}, {}
    for line in _METHODS.split("\n"):
        if not line.strip():
            continue
        class_id, method_id, name, *fields = line.split()
        spec = Spec(int(class_id), int(method_id), name, [tuple(f.split(":")) for f in fields])
        by_name[name] = spec
        by_id[spec.class_id, spec.method_id] = spec
    return by_name, by_id


BY_NAME, BY_ID = _parse_methods()

# ---------------------------------------------------------------- encoding

_FIXED = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q",
          "f": ">f", "d": ">d", "T": ">Q"}


def to_bytes(text):
    """Strings on the wire may be given as text or as bytes."""
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)


def shortstr(text):
    data = to_bytes(text)
    return struct.pack(">B", len(data)) + data


def longstr(text):
    data = to_bytes(text)
    return struct.pack(">I", len(data)) + data


def _default_type(value):
    if isinstance(value, bool):
        return Typed("t", value)
    if isinstance(value, int):
        return Typed("I" if -2**31 <= value < 2**31 else "l", value)
    if isinstance(value, float):
        return Typed("d", value)
    if isinstance(value, dict):
        return Typed("F", value)
    if isinstance(value, (list, tuple)):
        return Typed("A", value)
    if value is None:
        return Typed("V", None)
    return Typed("S", value)


def field_value(value):
    """One table or array element: type octet and data."""
    if isinstance(value, Raw):
        return value.data
    kind, data = value if isinstance(value, Typed) else _default_type(value)
    tag = kind.encode()
    if kind in _FIXED:
        return tag + struct.pack(_FIXED[kind], data)
    if kind == "t":
        return tag + (b"\x01" if data else b"\x00")
    if kind in "Sx":
        return tag + longstr(data)
    if kind == "F":
        return tag + table(data)
    if kind == "A":
        body = b"".join(field_value(item) for item in data)
        return tag + struct.pack(">I", len(body)) + body
    if kind == "D":
        scale, unscaled = data
        return tag + struct.pack(">BI", scale, unscaled)
    if kind == "V":
        return tag
    raise ValueError(f"no such table type: {kind}")


def table(fields):
    body = b"".join(shortstr(key) + field_value(value) for key, value in fields.items())
    return struct.pack(">I", len(body)) + body


def _plain(kind, value):
    if kind == "shortstr":
        return shortstr(value)
    if kind == "longstr":
        return longstr(value)
    if kind == "table":
        return value.data if isinstance(value, Raw) else table(value)
    return struct.pack({"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}[kind], value)


DEFAULTS = {"shortstr": "", "longstr": "", "table": {}, "bit": False}


def method_payload(name, fields):
    """Class and method id and arguments. Fields left out are zero, empty or false."""
    spec = BY_NAME[name]
    unknown = set(fields) - {field for field, _ in spec.fields}
    if unknown:
        raise ValueError(f"{name} has no field {unknown}")
    out = [struct.pack(">HH", spec.class_id, spec.method_id)]
    bits = []
    for field, kind in spec.fields + [("", "")]:
        if kind == "bit":
            bits.append(bool(fields.get(field)))
            continue
        if bits:
            out.append(bytes([sum(bit << n for n, bit in enumerate(bits))]))
            bits = []
        if kind:
            out.append(_plain(kind, fields.get(field, DEFAULTS.get(kind, 0))))
    return b"".join(out)


def header_payload(properties, size, class_id=60):
    flags, values = 0, []
    for position, (name, kind) in enumerate(PROPERTIES):
        if name in properties:
            flags |= 1 << (15 - position)
            values.append(_plain(kind, properties[name]))
    return struct.pack(">HHQH", class_id, 0, size, flags) + b"".join(values)


def frame(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


# ---------------------------------------------------------------- decoding

class Reader:
    """A cursor over one payload; every read past the end is a WireError."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at:self.at + count]
        if len(piece) != count:
            raise WireError("payload too short")
        self.at += count
        return piece

    def unpack(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self, form):
        return self.take(self.unpack(form)).decode("utf-8", "surrogateescape")

    def done(self):
        return self.at == len(self.data)

    def value(self):
        kind = self.take(1).decode("latin-1")
        if kind in _FIXED:
            return Typed(kind, self.unpack(_FIXED[kind]))
        if kind == "t":
            return Typed("t", self.unpack(">B") != 0)
        if kind == "S":
            return Typed("S", self.string(">I"))
        if kind == "x":
            return Typed("x", self.take(self.unpack(">I")))
        if kind == "F":
            return Typed("F", self.table())
        if kind == "A":
            inner, items = Reader(self.take(self.unpack(">I"))), []
            while not inner.done():
                items.append(inner.value())
            return Typed("A", items)
        if kind == "D":
            return Typed("D", (self.unpack(">B"), self.unpack(">I")))
        if kind == "V":
            return Typed("V", None)
        raise WireError(f"unknown table type {kind!r}")

    def table(self):
        inner, fields = Reader(self.take(self.unpack(">I"))), {}
        while not inner.done():
            key = inner.string(">B")
            fields[key] = inner.value()
        return fields

    def plain(self, kind):
        if kind == "table":
            return self.table()
        if kind in ("shortstr", "longstr"):
            return self.string(">B" if kind == "shortstr" else ">I")
        return self.unpack({"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}[kind])


def decode_method(payload):
    reader = Reader(payload)
    ids = reader.unpack(">H"), reader.unpack(">H")
    if ids not in BY_ID:
        raise WireError(f"unknown method {ids}")
    spec, fields, bit = BY_ID[ids], {}, 0
    octet = 0
    for field, kind in spec.fields:
        if kind != "bit":
            bit = 0
            fields[field] = reader.plain(kind)
            continue
        if bit == 0:
            octet = reader.unpack(">B")
        fields[field] = bool(octet >> bit & 1)
        bit += 1
    if not reader.done():
        raise WireError(f"octets left over after {spec.name}")
    return Method(spec.name, fields)


def decode_header(payload):
    """Returns body size and properties."""
    reader = Reader(payload)
    class_id, _weight, size, flags = (reader.unpack(f) for f in (">H", ">H", ">Q", ">H"))
    if class_id != 60:
        raise WireError(f"content header of class {class_id}")
    properties = {name: reader.plain(kind) for position, (name, kind) in enumerate(PROPERTIES)
                  if flags >> (15 - position) & 1}
    if not reader.done():
        raise WireError("octets left over after content header")
    return size, properties
