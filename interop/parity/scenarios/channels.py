# Opening, closing and misusing channels.

import struct

from parity import wire
from parity.session import add, scenario


@scenario
def method_on_unopened_channel(s):
    """A method on a channel that was never opened ends the connection with 504."""
    c = s.connect()
    c.send("basic.qos", channel=5, prefetch_count=1)
    c.expect_close()


@scenario
def open_twice(s):
    """Opening an open channel ends the connection with 504."""
    c = s.connect()
    c.channel(1)
    c.send("channel.open", channel=1)
    c.expect_close()


@scenario
def open_ok_fields(s):
    """channel.open-ok as it comes."""
    c = s.connect()
    c.send("channel.open", channel=1)
    c.wait(1, lambda e: True, "channel.open-ok")


@scenario
def open_on_channel_0(s):
    """channel.open on channel 0."""
    c = s.connect()
    c.send("channel.open", channel=0)
    c.expect_close()


@scenario
def number_65535(s):
    """The highest channel number, when channel-max allows no such number, is judged by count only."""
    c = s.connect()
    c.channel(65535).exchange("amq.direct", passive=True)


@scenario
def connection_method_on_channel(s):
    """A connection method on a channel other than 0."""
    c = s.connect()
    c.channel(1)
    c.send("connection.close", channel=1, reply_code=200)
    c.expect_close()


@scenario
def connection_open_on_channel(s):
    """connection.open on channel 1."""
    c = s.connect()
    c.channel(1)
    c.send("connection.open", channel=1, virtual_host="/")
    c.expect_close()


def _on_channel_0(name, fields):
    def run(s):
        c = s.connect()
        c.send(name, channel=0, **fields)
        c.expect_close()
    return run


for _name, _fields in {
    "queue.declare": {"queue": "parity"}, "basic.publish": {}, "channel.close": {"reply_code": 200},
    "tx.select": {}, "basic.ack": {"delivery_tag": 1},
}.items():
    add(__name__, f"channel_0_{_name.replace('.', '_')}", _on_channel_0(_name, _fields),
        f"{_name} on channel 0.")


def _from_server(name, fields):
    def run(s):
        ch = s.channel()
        ch.send(name, **fields)
        ch.exchange("amq.direct", passive=True)
    return run


for _name, _fields in {
    "channel.open-ok": {}, "queue.declare-ok": {"queue": "q"}, "exchange.declare-ok": {},
    "basic.consume-ok": {"consumer_tag": "t"}, "basic.get-empty": {}, "tx.select-ok": {},
    "confirm.select-ok": {}, "basic.recover-ok": {}, "access.request-ok": {"ticket": 1},
    "basic.cancel-ok": {"consumer_tag": "t"}, "channel.flow-ok": {"active": True},
}.items():
    add(__name__, f"client_sends_{_name.replace('.', '_').replace('-', '_')}",
        _from_server(_name, _fields), f"A client that sends {_name}.")


def _content_from_server(name, fields):
    def run(s):
        c = s.connect()
        ch = c.channel()
        payload = wire.method_payload(name, fields)
        c.send_bytes(wire.frame(1, 1, payload) + wire.frame(2, 1, wire.header_payload({}, 0)),
                     f"{name} with empty content")
        ch.exchange("amq.direct", passive=True)
    return run


for _name, _fields in {
    "basic.deliver": {"consumer-tag": "t"}, "basic.return": {"reply-code": 312}, "basic.get-ok": {},
}.items():
    add(__name__, f"client_sends_{_name.replace('.', '_').replace('-', '_')}",
        _content_from_server(_name, _fields), f"A client that sends {_name}.")


@scenario
def close_and_reopen(s):
    """A number can be used again after close-ok; delivery tags and modes start anew."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel(1)
    ch.queue(q)
    ch.call("confirm.select")
    ch.publish("", q, "one")
    ch.publish("", q, "two")
    ch.unconfirmed = {1, 2}
    ch.confirms()
    ch.get(q, no_ack=False)
    ch.close()
    ch = c.channel(1)
    ch.call("tx.select")
    ch.counts_when(q, messages=2)
    ch.get(q)


@scenario
def close_requeues(s):
    """Closing a channel puts its unacknowledged messages back in order, redelivered."""
    c = s.connect()
    q = s.name("q")
    ch = c.channel()
    ch.queue(q)
    for body in "abc":
        ch.publish("", q, body)
    ch.get(q, no_ack=False)
    ch.get(q, no_ack=False)
    ch.close()
    ch = c.channel()
    ch.counts_when(q, messages=3)
    ch.drain(q, 3)


@scenario
def close_with_half_a_publish(s):
    """A close may not come in the middle of content."""
    c = s.connect()
    ch = c.channel()
    c.send_bytes(wire.frame(1, 1, wire.method_payload("basic.publish", {"routing-key": "k"})),
                 "basic.publish without content")
    ch.send("channel.close", reply_code=200)
    c.expect_close()


@scenario
def close_code_is_free(s):
    """A client may close a channel with any code and text."""
    ch = s.channel()
    ch.call("channel.close", reply_code=406, reply_text="I refuse", class_id=60, method_id=70)


@scenario
def error_then_more_methods(s):
    """After a channel error, everything up to close-ok is ignored; then the number is free."""
    c = s.connect()
    ch = c.channel(1)
    q = s.name("q")
    ch.send("queue.declare", queue=s.name("missing"), passive=True)
    ch.send("queue.declare", queue=q)
    ch.publish("", q, "ignored")
    ch.expect_close()
    c.channel(1).counts(q)


@scenario
def error_leaves_other_channels(s):
    """A channel error does not touch the other channels."""
    c = s.connect()
    one, two = c.channel(), c.channel()
    one.counts(s.name("missing"))
    two.queue(s.name("q"))


@scenario
def error_crosses_close(s):
    """When both sides close at once, the client gets its close-ok."""
    c = s.connect()
    ch = c.channel()
    ch.send("queue.declare", queue=s.name("missing"), passive=True)
    ch.send("channel.close", reply_code=200)
    for _ in range(2):
        ch.connection.wait(1, lambda e: True, "close or close-ok")


@scenario
def close_ok_unasked(s):
    """channel.close-ok on an open channel."""
    c = s.connect()
    ch = c.channel()
    ch.send("channel.close-ok")
    c.send("basic.qos", channel=1, prefetch_count=1)
    c.wait(1, lambda e: True, "an answer")


@scenario
def close_ok_on_unopened(s):
    """channel.close-ok on a channel that was never opened."""
    c = s.connect()
    c.send("channel.close-ok", channel=3)
    c.wait(3, lambda e: True, "an answer")


@scenario
def close_on_unopened(s):
    """channel.close on a channel that was never opened."""
    c = s.connect()
    c.send("channel.close", channel=3, reply_code=200)
    c.wait(3, lambda e: True, "an answer")


@scenario
def flow_on(s):
    """channel.flow(active=true) is answered."""
    s.channel().call("channel.flow", active=True)


@scenario
def flow_off(s):
    """channel.flow(active=false) is not implemented."""
    c = s.connect()
    c.channel().send("channel.flow", active=False)
    c.expect_close()


@scenario
def access_request(s):
    """access.request is answered for the sake of old clients."""
    s.channel().call("access.request", realm="/data", exclusive=False, passive=True, active=True,
                     write=True, read=True)


@scenario
def tickets_are_ignored(s):
    """The ticket field of methods may hold anything."""
    ch, q = s.queue(ticket=77)
    ch.call("basic.get", queue=q, ticket=65535)


@scenario
def many_channels(s):
    """Ten channels work side by side."""
    c = s.connect()
    q = s.name("q")
    channels = [c.channel() for _ in range(10)]
    channels[0].queue(q)
    for ch in channels:
        ch.send("basic.qos", prefetch_count=3)
    for ch in reversed(channels):
        ch.expect("basic.qos-ok")


@scenario
def unknown_method_of_known_class_after_error(s):
    """A method id that does not exist drops the connection even on a second channel."""
    c = s.connect()
    c.channel(1)
    ch = c.channel(2)
    c.send_bytes(wire.frame(1, 2, struct.pack(">HH", 50, 99)), "method 50.99 on channel 2")
    ch.exchange("amq.direct", passive=True)
