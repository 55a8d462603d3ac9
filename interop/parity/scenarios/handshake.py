# Protocol header, SASL, tuning, opening and closing a connection, heartbeats.

import struct
import time

from parity import wire
from parity.channel import WAIT_S
from parity.client import CAPABILITIES, DEFAULT_TUNE
from parity.session import add, scenario, slow

# RabbitMQ delays some refusals by seconds, and gives a silent client ten.
LONG_S = 25
# With this capability a refused login is a connection.close.
SHORT = ("authentication_failure_close",)


def begin(s, mechanism="PLAIN", response="\0guest\0guest", capabilities=SHORT, locale="en_US"):
    """Header, start (not logged) and start-ok; returns the connection."""
    c = greeted(s)
    c.send("connection.start-ok", mechanism=mechanism, response=response, locale=locale,
           client_properties={"capabilities": {name: True for name in capabilities}} if capabilities else {})
    return c


def greeted(s):
    """Header and start, not logged; returns the connection."""
    c = s.socket()
    c.send_bytes(wire.PROTOCOL_HEADER)
    with s.transcript.unlogged():
        c.expect("connection.start")
    return c


def end(c):
    """Whatever is said until the socket closes."""
    c.expect_close(seconds=LONG_S)


@scenario
def start_to_close(s):
    """A whole handshake and an orderly close, with every field."""
    c = s.socket()
    c.send_bytes(wire.PROTOCOL_HEADER, "protocol header")
    c.expect("connection.start")
    c.send("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest", locale="en_US",
           client_properties={"product": "parity", "capabilities": {name: True for name in CAPABILITIES}})
    c.expect("connection.tune")
    c.send("connection.tune-ok", **{k.replace("-", "_"): v for k, v in DEFAULT_TUNE.items()})
    c.send("connection.open", virtual_host="/")
    c.expect("connection.open-ok")
    c.close()


@scenario
def pipelined(s):
    """A client may send its whole part of the handshake at once."""
    c = s.socket()
    c.send_bytes(wire.PROTOCOL_HEADER)
    c.send("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest", locale="en_US")
    c.send("connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
    c.send("connection.open", virtual_host="/")
    c.send("channel.open", channel=1)
    c.expect("connection.start")
    c.expect("connection.tune")
    c.expect("connection.open-ok")
    c.wait(1, lambda e: True, "channel.open-ok")


def _header(octets):
    def run(s):
        c = s.socket()
        c.send_bytes(octets, f"{octets!r}")
        if isinstance(c.wait(0, lambda e: True, "an answer", LONG_S), bytes):
            end(c)
    return run


for _name, _octets in {
    "0_9_1": b"AMQP\0\0\x09\x01", "0_9": b"AMQP\x01\x01\0\x09", "0_8": b"AMQP\x01\x01\x08\0",
    "0_10": b"AMQP\x01\x01\0\x0a", "0_9_2": b"AMQP\0\0\x09\x02", "0_10_0": b"AMQP\0\0\x0a\0",
    "0_0_9_0": b"AMQP\0\0\x09\0", "future_9_9": b"AMQP\x09\x09\x09\x09",
    "http": b"GET / HTTP/1.1\r\n\r\n", "lower_case": b"amqp\0\0\x09\x01", "zeros": b"\0" * 8,
    "tls_hello": bytes.fromhex("16030100c6010000"),
}.items():
    add(__name__, f"protocol_header_{_name}", _header(_octets), f"The protocol header {_octets!r}.")


@scenario
@slow
def protocol_header_short(s):
    """Seven of the eight octets: the broker waits ten seconds and drops the socket."""
    c = s.socket()
    c.send_bytes(b"AMQP\0\0\x09", "seven octets")
    end(c)


@scenario
@slow
def no_start_ok(s):
    """A client that never answers connection.start is dropped."""
    c = greeted(s)
    end(c)


@scenario
def amqplain(s):
    """Login by AMQPLAIN, a table without its length."""
    login = wire.table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]
    begin(s, "AMQPLAIN", login).expect("connection.tune")


@scenario
def amqplain_wrong_password(s):
    """AMQPLAIN with a wrong password."""
    end(begin(s, "AMQPLAIN", wire.table({"LOGIN": "guest", "PASSWORD": "no"})[4:]))


@scenario
def amqplain_without_password(s):
    """AMQPLAIN without PASSWORD."""
    end(begin(s, "AMQPLAIN", wire.table({"LOGIN": "guest"})[4:]))


@scenario
@slow
def amqplain_malformed(s):
    """AMQPLAIN with octets that are no table."""
    end(begin(s, "AMQPLAIN", "nonsense"))


@scenario
def anonymous(s):
    """Login by ANONYMOUS."""
    begin(s, "ANONYMOUS", "").expect("connection.tune")


@scenario
def wrong_password(s):
    """A wrong password is a connection.close 403 for clients that can handle it."""
    end(begin(s, response="\0guest\0wrong"))


@scenario
def unknown_user(s):
    """An unknown user looks the same as a wrong password."""
    end(begin(s, response="\0nobody\0guest"))


@scenario
def empty_password(s):
    """An empty password never logs in."""
    end(begin(s, response="\0guest\0"))


@scenario
@slow
def wrong_password_without_capability(s):
    """Without authentication_failure_close the socket is closed after some seconds, without a word."""
    end(begin(s, response="\0guest\0wrong", capabilities=()))


@scenario
@slow
def unknown_mechanism(s):
    """A mechanism that was not offered."""
    end(begin(s, mechanism="PARITY"))


@scenario
def plain_malformed(s):
    """PLAIN without the separating zeros."""
    end(begin(s, response="guest guest"))


@scenario
def plain_authorization_identity(s):
    """PLAIN with an authorization identity before the first zero."""
    end(begin(s, response="other\0guest\0guest\0more"))


@scenario
def locale_is_not_checked(s):
    """Any locale is accepted."""
    begin(s, locale="xx_YY").expect("connection.tune")


@scenario
def empty_client_properties(s):
    """Client properties may be empty."""
    c = greeted(s)
    c.send("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest")
    c.expect("connection.tune")


@scenario
@slow
def client_properties_malformed(s):
    """Client properties that are no table."""
    c = greeted(s)
    c.send("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest",
           client_properties=wire.Raw(struct.pack(">I", 6) + b"\x01aZ..."))
    end(c)


@scenario
@slow
def client_properties_capabilities_no_table(s):
    """Capabilities that are a string instead of a table."""
    c = greeted(s)
    c.send("connection.start-ok", mechanism="PLAIN", response="\0guest\0guest",
           client_properties={"capabilities": "all"})
    c.wait(0, lambda e: True, "an answer", LONG_S)


@scenario
def vhost_missing(s):
    """Opening a vhost that does not exist is a 530."""
    c = begin(s)
    c.expect("connection.tune")
    c.send("connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
    c.send("connection.open", virtual_host="no such vhost")
    end(c)


@scenario
def vhost_empty(s):
    """The empty string is a vhost name as any other."""
    c = begin(s)
    c.expect("connection.tune")
    c.send("connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
    c.send("connection.open", virtual_host="")
    end(c)


def _tune(channel_max, frame_max, heartbeat):
    def run(s):
        c = begin(s)
        c.expect("connection.tune")
        c.send("connection.tune-ok", channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)
        c.send("connection.open", virtual_host="/")
        c.expect("connection.open-ok", seconds=LONG_S)
    return slow(run)


for _name, _tuned in {
    "least": (1, 4096, 0), "same": (2047, 131072, 60), "long_heartbeat": (2047, 131072, 65535),
    "channel_max_0": (0, 131072, 0), "channel_max_above": (2048, 131072, 0),
    "frame_max_0": (2047, 0, 0), "frame_max_above": (2047, 131073, 0), "frame_max_below": (2047, 4095, 0),
}.items():
    add(__name__, f"tune_{_name}", _tune(*_tuned),
        f"tune-ok with channel-max {_tuned[0]}, frame-max {_tuned[1]}, heartbeat {_tuned[2]}.")


@scenario
@slow
def open_before_tune_ok(s):
    """connection.open when tune-ok is due."""
    c = begin(s)
    c.expect("connection.tune")
    c.send("connection.open", virtual_host="/")
    end(c)


@scenario
@slow
def tune_ok_before_start_ok(s):
    """tune-ok when start-ok is due."""
    c = greeted(s)
    c.send("connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
    end(c)


@scenario
@slow
def channel_open_before_open(s):
    """channel.open when connection.open is due."""
    c = begin(s)
    c.expect("connection.tune")
    c.send("connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
    c.send("channel.open", channel=1)
    end(c)


@scenario
@slow
def close_when_start_ok_is_due(s):
    """connection.close instead of start-ok."""
    c = greeted(s)
    c.send("connection.close", reply_code=200, reply_text="changed my mind")
    c.expect("connection.close-ok", seconds=LONG_S)


@scenario
@slow
def bad_frame_during_handshake(s):
    """A frame of unknown type when start-ok is due."""
    c = greeted(s)
    c.send_bytes(wire.frame(7, 0, b"what"), "frame of type 7")
    end(c)


@scenario
@slow
def start_ok_over_4096(s):
    """Before tuning no frame may be larger than 4,096 octets."""
    c = greeted(s)
    c.send_bytes(wire.frame(1, 0, wire.method_payload("connection.start-ok", {
        "client-properties": {"padding": "p" * 5000}, "mechanism": "PLAIN",
        "response": "\0guest\0guest", "locale": "en_US"})), "connection.start-ok with 5,000 octets of padding")
    c.wait(0, lambda e: True, "an answer", LONG_S)


@scenario
def open_twice(s):
    """A second connection.open."""
    c = s.connect()
    c.send("connection.open", virtual_host="/")
    end(c)


def _unexpected(name, fields):
    def run(s):
        c = s.connect()
        c.send(name, **fields)
        c.expect_close()
    return run


for _name, _fields in {
    "start-ok": {"mechanism": "PLAIN"}, "tune-ok": {"frame_max": 4096}, "secure-ok": {"response": "x"},
    "start": {}, "open-ok": {}, "blocked": {"reason": "x"}, "unblocked": {},
    "update-secret-ok": {}, "close-ok": {},
}.items():
    add(__name__, f"unexpected_{_name.replace('-', '_')}", _unexpected(f"connection.{_name}", _fields),
        f"connection.{_name} on an open connection.")


@scenario
def update_secret_same(s):
    """update-secret with the password in use."""
    c = s.connect()
    c.send("connection.update-secret", new_secret="guest", reason="parity")
    c.wait(0, lambda e: True, "an answer")
    c.channel().exchange("amq.direct", passive=True)


@scenario
def update_secret_other(s):
    """update-secret with another password: those kept by the broker do not expire, so it is not looked at."""
    c = s.connect()
    c.send("connection.update-secret", new_secret="wrong", reason="parity")
    c.wait(0, lambda e: True, "an answer")
    c.channel().exchange("amq.direct", passive=True)


@scenario
def close_with_open_channels(s):
    """Closing a connection needs no closing of its channels."""
    c = s.connect()
    c.channel().queue("", exclusive=True)
    c.channel().call("tx.select")
    c.close()


@scenario
def close_code_is_free(s):
    """A client may close with any code."""
    c = s.connect()
    c.send("connection.close", reply_code=541, reply_text="tired", class_id=60, method_id=40)
    c.expect("connection.close-ok")
    c.close_socket()


@scenario
def methods_after_close(s):
    """What a client sends after its connection.close is not answered."""
    c = s.connect()
    ch = c.channel()
    c.send("connection.close", reply_code=200)
    ch.send("queue.declare", queue=s.name("q"))
    c.expect("connection.close-ok")
    c.close_socket()
    s.connect().channel().counts(s.name("q"))


@scenario
@slow
def heartbeats_are_sent(s):
    """With a heartbeat of one second the broker sends heartbeat frames, empty ones on channel 0."""
    c = s.connect(tune={"heartbeat": 1})
    deadline = time.monotonic() + WAIT_S
    while len(c.heartbeats) < 2:
        c.pump(deadline)
        c.send_bytes(wire.frame(8, 0, b""))
    s.note("heartbeats came")


@scenario
@slow
def silent_client_is_dropped(s):
    """With a heartbeat of one second a silent client loses its connection, without a close frame."""
    end(s.connect(tune={"heartbeat": 1}))


@scenario
def heartbeat_without_negotiation(s):
    """A heartbeat is accepted though none were agreed on."""
    c = s.connect(tune={"heartbeat": 0})
    c.send_bytes(wire.frame(8, 0, b""), "heartbeat")
    c.channel().exchange("amq.direct", passive=True)


@scenario
def channel_max_counts_channels(s):
    """One channel more than the negotiated channel-max is a 530."""
    c = s.connect(tune={"channel_max": 3})
    for number in (1, 2, 3):
        c.channel(number)
    c.send("channel.open", channel=4)
    c.expect_close()


@scenario
def channel_number_above_channel_max(s):
    """The number itself may be above channel-max, as long as not too many channels are open."""
    c = s.connect(tune={"channel_max": 3})
    c.channel(60000).exchange("amq.direct", passive=True)
