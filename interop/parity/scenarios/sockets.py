# How sockets end: which side closes them, when, and whether in order (FIN) or by a reset (RST).

import time

from parity import wire
from parity.session import add, scenario, slow, slowest
from scenarios.handshake import LONG_S, begin, greeted

CLOSE = wire.frame(1, 0, wire.method_payload("connection.close", {"reply-code": 200}))


def close(c):
    """A close and its answer; the socket stays ours."""
    c.send("connection.close", reply_code=200, reply_text="bye")
    c.expect("connection.close-ok")


@scenario
@slow
def open_after_close_ok(s):
    """After connection.close-ok the broker leaves the socket to the client."""
    c = s.connect()
    close(c)
    c.stays_open(3)


@scenario
@slow
def open_after_close_ok_with_heartbeats(s):
    """With a heartbeat of 2 s, and any below 30 s, the socket is left for as long as that."""
    c = s.connect(tune={"heartbeat": 2})
    with s.takes(2, 0.35):
        close(c)
        c.await_end("close-ok")


@scenario
@slowest
def open_after_close_ok_no_longer(s):
    """After 30 s the broker ends the socket of a client that does not."""
    c = s.connect()
    with s.takes(30, 0.15):
        close(c)
        c.await_end("close-ok", 40)


@scenario
@slow
def open_after_close_ok_with_channels(s):
    """With channels, consumers and unacked messages, too; they are gone by then."""
    owner = s.channel()
    owner.queue(s.name("q"))
    owner.publish("", s.name("q"), "1")
    c = s.connect()
    ch = c.channel()
    ch.queue(s.name("own"), exclusive=True)
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    close(c)
    owner.get_when_there(s.name("q"))
    owner.counts(s.name("own"))
    c.stays_open(2)


@scenario
@slow
def open_after_close_ok_while_idle(s):
    """A connection without any channel."""
    c = s.connect()
    close(c)
    c.stays_open(2)


@scenario
def methods_after_close_ok(s):
    """What is sent after close-ok is not answered, and does not end the socket."""
    c = s.connect()
    close(c)
    c.send("channel.open", channel=1)
    c.send_bytes(wire.frame(7, 0, b"what"), "frame of type 7")
    c.stays_open(1)


@scenario
def fin_after_close_ok(s):
    """The client's FIN after close-ok ends the socket."""
    c = s.connect()
    close(c)
    c.finish_sending()
    c.await_end("FIN")


@scenario
def fin_after_close(s):
    """A FIN right behind connection.close: close-ok still comes."""
    c = s.connect()
    c.send("connection.close", reply_code=200, reply_text="bye")
    c.finish_sending()
    c.expect("connection.close-ok")
    c.await_end("FIN")


@scenario
def fin_without_close(s):
    """A FIN without connection.close."""
    c = s.connect()
    c.finish_sending()
    c.await_end("FIN")


@scenario
def fin_with_channels(s):
    """A FIN without connection.close while channels are open: its exclusive queue goes."""
    owner, ch = s.channel(), s.connect().channel()
    ch.queue(s.name("q"), exclusive=True)
    ch.connection.finish_sending()
    ch.connection.await_end("FIN")
    owner.counts(s.name("q"))


@scenario
def fin_inside_a_frame(s):
    """A FIN in the middle of a frame."""
    c = s.connect()
    c.send_bytes(CLOSE[:9], "half a frame")
    c.finish_sending()
    c.await_end("FIN")


@scenario
def fin_with_unacked(s):
    """What was unacked goes back, redelivered."""
    owner, ch = s.channel(), s.connect().channel()
    owner.queue(s.name("q"))
    owner.publish("", s.name("q"), "1")
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.connection.finish_sending()
    ch.connection.await_end("FIN")
    owner.get_when_there(s.name("q"))


@scenario
def reset_with_unacked(s):
    """A reset by the client, too."""
    owner, ch = s.channel(), s.connect().channel()
    owner.queue(s.name("q"))
    owner.publish("", s.name("q"), "1")
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    ch.connection.kill()
    owner.get_when_there(s.name("q"))


@scenario
def fin_after_publishes(s):
    """What was published before a FIN is taken."""
    owner, ch = s.channel(), s.connect().channel()
    owner.queue(s.name("q"))
    for body in "123":
        ch.publish("", s.name("q"), body)
    ch.connection.finish_sending()
    ch.connection.await_end("FIN")
    owner.drain(s.name("q"), 3)


@scenario
def fin_with_half_a_publish(s):
    """A publish whose body is cut off by a FIN is not taken."""
    owner, ch = s.channel(), s.connect().channel()
    owner.queue(s.name("q"))
    ch.publish("", s.name("q"), "1")
    ch.send("basic.publish", routing_key=s.name("q"))
    ch.connection.send_bytes(wire.frame(2, ch.number, wire.header_payload({}, 5)) + wire.frame(3, ch.number, b"12"),
                             "header of 5 octets, body of 2")
    ch.connection.finish_sending()
    ch.connection.await_end("FIN")
    owner.drain(s.name("q"), 1)


@scenario
def fin_before_header(s):
    """A FIN instead of a protocol header."""
    c = s.socket()
    c.finish_sending()
    c.await_end("FIN")


@scenario
def fin_after_start(s):
    """A FIN instead of start-ok."""
    c = greeted(s)
    c.finish_sending()
    c.await_end("FIN", LONG_S)


@scenario
def fin_after_tune(s):
    """A FIN instead of tune-ok."""
    c = begin(s)
    c.expect("connection.tune")
    c.finish_sending()
    c.await_end("FIN", LONG_S)


# -- the broker's own close


def broken(c):
    """The connection after the broker closed it, with the answer still due; the close is logged."""
    c.send("queue.declare")
    for _ in range(100):
        if c.inboxes[0]:
            break
        c.pump(time.monotonic() + 10)
    c.flush()
    return c


@scenario
@slow
def open_until_close_ok(s):
    """After its connection.close the broker waits for close-ok."""
    c = broken(s.connect())
    c.stays_open(3)
    c.send("connection.close-ok")
    c.await_end("close-ok")


@scenario
def end_at_close_ok(s):
    """And ends the socket as soon as that comes."""
    c = broken(s.connect())
    c.send("connection.close-ok")
    with s.within(1.5):
        c.await_end("close-ok")


@scenario
def fin_instead_of_close_ok(s):
    """Or at a FIN."""
    c = broken(s.connect())
    c.finish_sending()
    c.await_end("FIN")


@scenario
def close_crosses_close(s):
    """A connection.close that crosses the broker's is answered, and the socket stays until close-ok."""
    c = broken(s.connect())
    c.send("connection.close", reply_code=200, reply_text="bye")
    c.expect("connection.close-ok")
    c.stays_open(1)


@scenario
def methods_after_error(s):
    """Other methods after the broker's close are not answered."""
    c = broken(s.connect())
    c.send("channel.open", channel=1)
    c.send("queue.declare", channel=1, queue=s.name("q"))
    c.stays_open(1)
    s.connect().channel().counts(s.name("q"))


@scenario
@slowest
def no_close_ok(s):
    """A client that never answers the broker's close loses its socket after 30 s."""
    c = broken(s.connect())
    with s.takes(30, 0.15):
        c.await_end("30 s", 40)


@scenario
@slow
def no_close_ok_with_heartbeats(s):
    """With a heartbeat of 2 s after 2 s."""
    c = broken(s.connect(tune={"heartbeat": 2}))
    with s.takes(2, 0.35):
        c.await_end("2 s")


@scenario
@slowest
def reader_that_stops(s):
    """A consumer that reads nothing for 30 s of pending output is reset; its messages return to the queue."""
    owner = s.channel()
    owner.queue(s.name("q"))
    slow_one = s.connect()
    ch = slow_one.channel()
    ch.consume(s.name("q"), "a")
    with s.transcript.unlogged():
        for _ in range(40):
            owner.publish("", s.name("q"), b"x" * 500_000)
    s.note("40 messages of 500,000 octets")
    with s.transcript.unlogged():
        started = time.monotonic()
        while owner.counts(s.name("q")).fields["consumer-count"] and time.monotonic() < started + 50:
            time.sleep(0.2)
    s.measured(time.monotonic() - started, 30, 0.25)
    slow_one.reads_until_end(5)
    owner.counts_when(s.name("q"), messages=40, consumers=0)


# -- refusals, with the time they take


def _refusal(seconds, tolerance, **login):
    def run(s):
        c = begin(s, **login)
        with s.takes(seconds, tolerance):
            c.expect_close(LONG_S)
    return slow(run)


for _name, _seconds, _login, _title in (
    ("wrong_password_without_capability", 3, {"response": "\0guest\0no", "capabilities": ()},
     "A wrong password without authentication_failure_close"),
    ("unknown_user_without_capability", 3, {"response": "\0nobody\0no", "capabilities": ()},
     "An unknown user without authentication_failure_close"),
    ("amqplain_without_capability", 3,
     {"mechanism": "AMQPLAIN", "response": wire.table({"LOGIN": "guest", "PASSWORD": "no"})[4:], "capabilities": ()},
     "A wrong password by AMQPLAIN without authentication_failure_close"),
    ("unknown_mechanism", 3, {"mechanism": "PARITY"}, "An unknown mechanism"),
    ("malformed_response", 3, {"response": "guest guest"}, "A response to PLAIN without zeros"),
):
    add(__name__, f"refused_{_name}", _refusal(_seconds, 0.6, **_login), f"{_title}: a reset after {_seconds} s.")


@scenario
@slow
def refused_tune(s):
    """A tune-ok that breaks the limits: a reset after 3 s."""
    c = begin(s)
    c.expect("connection.tune")
    c.send("connection.tune-ok", channel_max=0, frame_max=131072, heartbeat=0)
    with s.takes(3, 0.25):
        c.expect_close(LONG_S)


def _silent(step):
    def run(s):
        c = s.socket()
        if step == "half a header":
            c.send_bytes(b"AMQP\0\0", "six octets")
        elif step != "header":
            c = begin(s) if step == "tune" or step == "open" else greeted(s)
        if step in ("tune", "open"):
            c.expect("connection.tune")
        if step == "open":
            c.send("connection.tune-ok", channel_max=10, frame_max=4096, heartbeat=0)
        with s.takes(10, 0.25):
            c.expect_close(LONG_S)
    return slow(run)


for _name, _step in (("header", "header"), ("half_header", "half a header"), ("start_ok", "start-ok"),
                     ("tune_ok", "tune"), ("open", "open")):
    add(__name__, f"handshake_stops_before_{_name}", _silent(_step),
        f"A client that stops during the handshake ({_name.replace('_', ' ')} is due) has 10 s.")


@scenario
def wrong_header_at_once(s):
    """A wrong protocol header is answered and the socket closed at once."""
    c = s.socket()
    c.send_bytes(b"AMQP\0\0\x09\0", "protocol header 0-0-9-0")
    with s.within(1.5):
        c.wait(0, lambda e: True, "an answer")
        c.expect_close()


def _unreadable(data, title):
    def run(s):
        c = s.connect()
        c.channel()
        c.send_bytes(data, title)
        with s.takes(3) if "ends with" in title else s.within(1.5):
            c.expect_close(LONG_S)
    return slow(run)


for _name, _data, _title in (
    ("unknown_class", wire.frame(1, 1, b"\0\x63\0\x0a"), "a method of class 99"),
    ("unknown_method", wire.frame(1, 1, b"\0\x32\0\x63"), "method 99 of class queue"),
    ("bad_end_octet", wire.frame(8, 0, b"", 0xCD), "a heartbeat that ends with 0xCD"),
    ("unknown_frame_type", wire.frame(7, 0, b"what"), "a frame of type 7"),
):
    add(__name__, _name, _unreadable(_data, _title), f"How the socket ends after {_title}.")


@scenario
def killed_by_operator(s):
    """close_all_connections: a close with 320, then the end of the socket at close-ok."""
    v = s.vhost()
    c = s.connect(vhost=v)
    s.ctl("close_all_connections", "--vhost", v, "enough")
    c.expect_close()


@scenario
def killed_by_operator_by_user(s):
    """close_all_user_connections."""
    c = s.login(s.user())
    s.ctl("close_all_user_connections", s.name("u"), "enough")
    c.expect_close()


@scenario
def killed_by_operator_while_consuming(s):
    """What was unacked goes back at once, before close-ok."""
    owner, ch = s.channel(), s.login(s.user()).channel()
    owner.queue(s.name("q"))
    owner.publish("", s.name("q"), "1")
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    s.ctl("close_all_user_connections", s.name("u"), "enough")
    owner.get_when_there(s.name("q"))
    ch.connection.expect_close()
