"""Messages that are moved from broker to broker: numbered per publisher, with properties of every kind; and what the target
must have of them."""

import struct
from collections import defaultdict

from raw import Delivery, long, message, short, table

OFFSET = b"x-stream-offset"
MARK = b"x-migrated-redelivered"
# The user whose name is in the user-id of some messages. What moves them logs in as another one.
USER = "shop"


def field(name: str, tag: str, value: bytes) -> bytes:
    return short(name) + tag.encode() + value


# RabbitMQ 4 sorts the headers of a message by name, though not those of tables in them.
ALL_TYPES = b"".join(sorted([
    field("bool", "t", b"\x01"), field("i8", "b", b"\xff"), field("u8", "B", b"\xff"), field("i16", "s", b"\xff\xfe"),
    field("u16", "u", b"\xff\xfe"), field("i32", "I", b"\xff\xff\xff\xfe"), field("u32", "i", b"\xff\xff\xff\xfe"),
    field("i64", "l", b"\xff" * 8), field("f32", "f", struct.pack(">f", 1.5)), field("f64", "d", struct.pack(">d", -2.5)),
    field("decimal", "D", b"\x02\x00\x00\x01\x00"), field("text", "S", long("ä".encode())), field("binary", "x", long(b"\0\xff")),
    field("time", "T", b"\0\0\0\0\x65\0\0\0"), field("nothing", "V", b""), field("array", "A", long(b"t\0S" + long(b"x") + b"V")),
    field("table", "F", table({"z": 1, "a": "first named last"})),
], key=lambda coded: coded[1 : 1 + coded[0]]))  # fmt: skip
# Properties as they are on the wire: flags, then values.
PLAIN = struct.pack(">H", 0x1000) + b"\x02"
PROPERTIES = [
    PLAIN,
    struct.pack(">H", 0x3000) + long(ALL_TYPES) + b"\x02",
    # No headers, an empty table, transient.
    struct.pack(">H", 0),
    struct.pack(">H", 0x3000) + long(b"") + b"\x02",
    # Everything; a priority, a time to live of an hour, the user id of the publisher.
    struct.pack(">H", 0xFFFC) + short("text/plain") + short("utf-8") + table({"k": "v"}) + b"\x02\x03" + short(b"\x01\x02")
    + short("answers") + short("3600000") + short("id-1") + struct.pack(">Q", 1700000000) + short("kind") + short(USER)
    + short("app") + short("cluster"),
]  # fmt: skip
# RabbitMQ stores messages of streams in AMQP 1.0's format, and its channel crashes on some of the types above.
STREAM_TYPES = b"".join([
    field("bool", "t", b"\x01"), field("i8", "b", b"\xff"), field("i32", "I", b"\xff\xff\xff\xfe"),
    field("i64", "l", b"\xff" * 8), field("text", "S", long("ä".encode())),
])  # fmt: skip
STREAM_PROPERTIES = [*PROPERTIES]
STREAM_PROPERTIES[1] = struct.pack(">H", 0x3000) + long(STREAM_TYPES) + b"\x02"


def properties(number: int, priority: int | None, queue: str = "") -> bytes:
    if priority is None:
        kinds = STREAM_PROPERTIES if queue == "events" else PROPERTIES
        return kinds[number % len(kinds)]
    return struct.pack(">H", 0x1800) + b"\x02" + bytes([priority])


def batch(publisher: str, numbers: range, exchange: str, key: str, priorities: int = 0) -> bytes:
    """The frames of messages, all of one publisher."""
    out = []
    for number in numbers:
        priority = number % priorities if priorities else None
        body = f"{publisher} {number}".encode()
        out.append(message(exchange, key, properties(number, priority, key), body))
    return b"".join(out)


def without(raw: bytes, *names: bytes) -> bytes:
    """Properties without headers of these names; a table that is empty then is dropped."""
    flags = struct.unpack(">H", raw[:2])[0]
    if not flags & 0x2000:
        return raw
    at = 2
    for flag in (0x8000, 0x4000):
        if flags & flag:
            at += 1 + raw[at]
    size = struct.unpack(">I", raw[at : at + 4])[0]
    fields, rest = raw[at + 4 : at + 4 + size], raw[at + 4 + size :]
    kept = b""
    for name in names:
        # Only fields of a fixed size are removed: 64-bit numbers and booleans.
        coded = bytes([len(name)]) + name
        start = fields.find(coded)
        if start >= 0:
            length = {b"l": 8, b"t": 1}[fields[start + len(coded) : start + len(coded) + 1]]
            fields = fields[:start] + fields[start + len(coded) + 1 + length :]
    if not fields and size:
        return struct.pack(">H", flags & ~0x2000) + raw[2:at] + rest
    return raw[:at] + long(fields + kept) + rest


class Found:
    """What the target delivers of one queue. `flags`: a message that is there again bears a mark, or is redelivered."""

    def __init__(self, flags: bool = True):
        self.flags = flags
        self.last = defaultdict(lambda: -1)
        self.seen = defaultdict(set)
        self.flagged = self.again = self.total = 0
        self.faults: list[str] = []

    def take(self, delivery: Delivery, key: bytes, exchange: bytes, expected: bytes | None, order: tuple) -> None:
        """Notes a delivery. `order` names what keeps its order; `expected` are the properties, if they are known."""
        publisher, number = delivery.body.split()
        number = int(number)
        is_marked = delivery.redelivered or MARK in delivery.properties
        self.total += 1
        self.flagged += is_marked
        if number in self.seen[publisher]:
            self.again += 1
            if self.flags and not is_marked:
                self.fault(f"{delivery.body} is there twice without a flag")
            return
        self.seen[publisher].add(number)
        if number < self.last[publisher, order]:
            self.fault(f"{delivery.body} comes after {self.last[publisher, order]}")
        self.last[publisher, order] = number
        if (delivery.exchange, delivery.routing_key) != (exchange, key):
            self.fault(f"{delivery.body} comes from {delivery.exchange} {delivery.routing_key}")
        if expected is not None and delivery.properties != expected:
            self.fault(f"{delivery.body} has the properties {delivery.properties!r}, not {expected!r}")

    def missing(self, publisher: str, count: int) -> None:
        seen = self.seen.get(publisher.encode(), set())
        if len(seen) != count or (count and max(seen) != count - 1):
            lost = [number for number in range(count) if number not in seen]
            self.fault(f"{publisher}: {len(seen)} of {count} messages are there; missing: {lost[:10]}")

    def fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(text)
