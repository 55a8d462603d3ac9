# Malformed and unusual frames, methods and content. All of these happen on an open connection.

import struct

from parity import wire
from parity.session import add, scenario
from parity.wire import Raw


def publish_frames(number, exchange, key, size):
    """Method and header frame of a publish whose body is still to come."""
    method = wire.method_payload("basic.publish", {"exchange": exchange, "routing-key": key})
    return wire.frame(1, number, method) + wire.frame(2, number, wire.header_payload({}, size))


def _octets(make, what):
    """A scenario: an open channel, then octets, then whatever ends the connection, or a round trip."""
    def run(s):
        c = s.connect()
        ch = c.channel()
        c.send_bytes(make(), what)
        ch.exchange("amq.direct", passive=True)
    return run


_METHOD = wire.method_payload("exchange.declare", {"exchange": "amq.direct", "type": "direct", "passive": True})
_PUBLISH = wire.method_payload("basic.publish", {"exchange": "amq.direct", "routing-key": "nowhere"})

for _name, (_what, _make) in {
    "type_0": ("frame of type 0", lambda: wire.frame(0, 1, b"")),
    "type_4": ("frame of type 4", lambda: wire.frame(4, 1, b"data")),
    "type_9": ("frame of type 9 on channel 0", lambda: wire.frame(9, 0, b"")),
    "type_255": ("frame of type 255", lambda: wire.frame(255, 1, b"x" * 20)),
    "end_octet": ("method frame that ends with 0xCD", lambda: wire.frame(1, 1, _METHOD, end=0xCD)),
    "end_octet_zero": ("heartbeat that ends with 0", lambda: wire.frame(8, 0, b"", end=0)),
    "method_empty": ("method frame without payload", lambda: wire.frame(1, 1, b"")),
    "method_3_octets": ("method frame of three octets", lambda: wire.frame(1, 1, b"\0\x3c\0")),
    "class_unknown": ("method 99.10", lambda: wire.frame(1, 1, struct.pack(">HH", 99, 10))),
    "method_unknown": ("method 60.33", lambda: wire.frame(1, 1, struct.pack(">HH", 60, 33))),
    "method_unknown_channel_0": ("method 10.99 on channel 0",
                                 lambda: wire.frame(1, 0, struct.pack(">HH", 10, 99))),
    "method_truncated": ("exchange.declare cut after ten octets", lambda: wire.frame(1, 1, _METHOD[:10])),
    "method_trailing": ("exchange.declare with an octet too many",
                        lambda: wire.frame(1, 1, _METHOD + b"\0")),
    "header_without_method": ("content header out of the blue",
                              lambda: wire.frame(2, 1, wire.header_payload({}, 3))),
    "body_without_method": ("body frame out of the blue", lambda: wire.frame(3, 1, b"abc")),
    "body_for_header": ("basic.publish, then a body frame",
                        lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(3, 1, b"abc")),
    "method_for_header": ("basic.publish, then a method",
                          lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(1, 1, _METHOD)),
    "method_for_body": ("basic.publish and header, then a method",
                        lambda: publish_frames(1, "amq.direct", "k", 3) + wire.frame(1, 1, _METHOD)),
    "header_for_body": ("basic.publish and two headers",
                        lambda: publish_frames(1, "amq.direct", "k", 3)
                        + wire.frame(2, 1, wire.header_payload({}, 3))),
    "header_of_other_class": ("basic.publish, header of class 50",
                              lambda: wire.frame(1, 1, _PUBLISH)
                              + wire.frame(2, 1, wire.header_payload({}, 0, class_id=50))),
    "header_truncated": ("basic.publish, header of ten octets",
                         lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0")),
    "header_properties_truncated": ("basic.publish, header that lacks its content-type",
                                    lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                                        2, 1, struct.pack(">HHQH", 60, 0, 0, 0x8000))),
    "header_properties_cut": ("basic.publish, header whose content-type is cut",
                              lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                                  2, 1, struct.pack(">HHQH", 60, 0, 0, 0x8000) + b"\x20text")),
    "header_trailing": ("basic.publish, header with octets left over",
                        lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                            2, 1, struct.pack(">HHQH", 60, 0, 0, 0) + b"more")),
    "header_weight": ("basic.publish, header with weight 7",
                      lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                          2, 1, struct.pack(">HHQH", 60, 7, 0, 0))),
    "header_flag_continuation": ("basic.publish, header with the continuation flag",
                                 lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                                     2, 1, struct.pack(">HHQHH", 60, 0, 0, 1, 0))),
    "header_flag_undefined": ("basic.publish, header with the undefined flag 0x0002",
                              lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                                  2, 1, struct.pack(">HHQH", 60, 0, 0, 2))),
    "headers_table_bad_type": ("basic.publish, headers with type octet Z",
                               lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                                   2, 1, wire.header_payload({"headers": Raw(b"\0\0\0\4\1aZ\0")}, 0))),
    "headers_table_cut": ("basic.publish, headers longer than the frame",
                          lambda: wire.frame(1, 1, _PUBLISH) + wire.frame(
                              2, 1, wire.header_payload({"headers": Raw(b"\0\0\1\0\1aI\0\0\0\1")}, 0))),
    "body_too_long": ("basic.publish, three octets announced, five sent",
                      lambda: publish_frames(1, "amq.direct", "k", 3) + wire.frame(3, 1, b"abcde")),
    "body_for_empty": ("basic.publish with body size 0, then a body frame",
                       lambda: publish_frames(1, "amq.direct", "k", 0) + wire.frame(3, 1, b"a")),
    "heartbeat_on_channel": ("heartbeat on channel 1", lambda: wire.frame(8, 1, b"")),
    "heartbeat_on_unopened_channel": ("heartbeat on channel 7", lambda: wire.frame(8, 7, b"")),
    "heartbeat_with_payload": ("heartbeat with a payload", lambda: wire.frame(8, 0, b"payload")),
    "header_on_channel_0": ("content header on channel 0",
                            lambda: wire.frame(2, 0, wire.header_payload({}, 0))),
    "body_on_channel_0": ("body frame on channel 0", lambda: wire.frame(3, 0, b"abc")),
    "body_on_unopened_channel": ("body frame on channel 9", lambda: wire.frame(3, 9, b"abc")),
    "protocol_header_again": ("a second protocol header", lambda: wire.PROTOCOL_HEADER),
}.items():
    add(__name__, _name, _octets(_make, _what), f"On an open channel: {_what}.")


def _table(arguments):
    def run(s):
        s.channel().call("queue.declare", exclusive=True, arguments=Raw(arguments))
    return run


def _sized(body):
    return struct.pack(">I", len(body)) + body


for _name, (_what, _arguments) in {
    "unknown_type": ("has the unknown type octet Z", _sized(b"\1aZ\0")),
    "no_type": ("ends after a key", _sized(b"\1a")),
    "key_cut": ("has a key longer than the table", _sized(b"\x20a")),
    "value_cut": ("has a value longer than the table", _sized(b"\1aI\0\0")),
    "longer_than_frame": ("is longer than its frame", struct.pack(">I", 1000) + b"\1aI\0\0\0\1"),
    "string_cut": ("has a string longer than the table", _sized(b"\1aS\0\0\1\0abc")),
    "nested_cut": ("has a nested table longer than itself", _sized(b"\1aF\0\0\1\0\1bI\0\0\0\1")),
    "array_bad_item": ("has an array with an item of unknown type", _sized(b"\1aA\0\0\0\2Z\0")),
    "duplicate_key": ("has a key twice", _sized(b"\1aI\0\0\0\1\1aI\0\0\0\2")),
    "empty_key": ("has an empty key", _sized(b"\0I\0\0\0\1")),
    "uppercase_l": ("has type octet L", _sized(b"\1aL\0\0\0\0\0\0\0\1")),
    "type_n": ("has type octet n", _sized(b"\1an")),
    "bool_7": ("has a boolean of 7", _sized(b"\1at\7")),
    "key_no_utf8": ("has a key that is not UTF-8", _sized(b"\2\xff\xfeI\0\0\0\1")),
    "string_no_utf8": ("has a string that is not UTF-8", _sized(b"\1aS\0\0\0\2\xff\xfe")),
}.items():
    add(__name__, f"table_{_name}", _table(_arguments), f"A queue.declare whose table {_what}.")


@scenario
def table_deep(s):
    """A table nested a hundred times is fine."""
    value = 1
    for _ in range(100):
        value = {"t": value}
    c = s.connect()
    ch = c.channel()
    payload = wire.method_payload("exchange.declare", {"exchange": s.name("x"), "type": "direct",
                                                       "arguments": {"a": value}})
    c.send_bytes(wire.frame(1, 1, payload), "exchange.declare with a table nested a hundred times")
    ch.expect("exchange.declare-ok")
    s.made_exchange(s.name("x"))


@scenario
def frame_of_frame_max(s):
    """The largest frame allowed is frame-max, its eight octets of header and end included."""
    c = s.connect(tune={"frame_max": 4096})
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    ch.publish("", q, "x" * 9000)
    ch.get(q)
    s.note(f"largest frame received is at most frame-max: {c.frame_size_seen <= 4096}")


def _too_large(excess):
    def run(s):
        c = s.connect(tune={"frame_max": 4096})
        ch = c.channel()
        c.send_bytes(publish_frames(1, "amq.direct", "k", 4096 - 8 + excess)
                     + wire.frame(3, 1, b"x" * (4096 - 8 + excess)),
                     f"publish with a body frame of frame-max and {excess} octets")
        ch.exchange("amq.direct", passive=True)
    return run


for _excess in (1, 8, 9, 5000):
    add(__name__, f"frame_over_frame_max_by_{_excess}", _too_large(_excess),
        f"A body frame that is {_excess} octets over frame-max 4096.")


@scenario
def octet_by_octet(s):
    """Frames may arrive in pieces of any size."""
    c = s.connect()
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    data = publish_frames(1, "", q, 3) + wire.frame(3, 1, b"abc")
    s.note("a publish, octet by octet")
    for octet in data:
        c.send_bytes(bytes([octet]))
    ch.get(q)


@scenario
def body_in_many_frames(s):
    """A body may come in frames of any size, empty ones among them."""
    c = s.connect()
    ch = c.channel()
    q = s.name("q")
    ch.queue(q)
    pieces = [b"a", b"", b"bc", b"", b"d"]
    c.send_bytes(publish_frames(1, "", q, 4) + b"".join(wire.frame(3, 1, p) for p in pieces),
                 "publish with body frames a, empty, bc, empty, d")
    ch.get(q)


@scenario
def content_interleaved(s):
    """Content of two channels may be interleaved frame by frame, with heartbeats in between."""
    c = s.connect()
    one, two = c.channel(), c.channel()
    q = s.name("q")
    one.queue(q)
    method = wire.method_payload("basic.publish", {"routing-key": q})
    c.send_bytes(
        wire.frame(1, 1, method) + wire.frame(1, 2, method) + wire.frame(8, 0, b"")
        + wire.frame(2, 2, wire.header_payload({"message-id": "two"}, 2))
        + wire.frame(2, 1, wire.header_payload({"message-id": "one"}, 2))
        + wire.frame(3, 1, b"1") + wire.frame(8, 0, b"") + wire.frame(3, 2, b"2")
        + wire.frame(3, 2, b"2") , "publishes on two channels, interleaved; that on channel 2 complete")
    two.get(q)
    c.send_bytes(wire.frame(3, 1, b"1"), "the rest of that on channel 1")
    one.get(q)


@scenario
def pipelined_methods(s):
    """Many methods in one segment are answered in order."""
    c = s.connect()
    ch = c.channel()
    q = s.name("q")
    s.made_queue(q)
    methods = [("queue.declare", {"queue": q}), ("queue.purge", {"queue": q}),
               ("basic.qos", {"prefetch-count": 5}), ("queue.delete", {"queue": q}),
               ("channel.close", {"reply-code": 200})]
    c.send_bytes(b"".join(wire.frame(1, 1, wire.method_payload(*m)) for m in methods),
                 "declare, purge, qos, delete, close at once")
    for _ in methods:
        ch.next()
