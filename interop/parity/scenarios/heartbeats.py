# Heartbeats: when the broker sends them, and when a silent client loses its connection. These scenarios measure times.

import time

from parity import wire
from parity.session import scenario, slow

BEAT = wire.frame(8, 0, b"")
WAIT_S = 15


def gaps(c, count):
    """The times between the next `count` heartbeats and the moment of the call; ours are sent with each."""
    times = [time.monotonic()]
    before = len(c.heartbeats)
    while len(c.heartbeats) < before + count:
        c.pump(times[0] + WAIT_S)
        c.send_bytes(BEAT)
    times += c.heartbeats[before:]
    return [later - earlier for earlier, later in zip(times, times[1:])]


@scenario
@slow
def every_half_interval(s):
    """An idle connection with a heartbeat of 2 s gets one every second, none left out."""
    c = s.connect(tune={"heartbeat": 2})
    for gap in gaps(c, 4):
        s.measured(gap, 1, 0.35, "heartbeat after")


@scenario
@slow
def every_half_interval_with_channels(s):
    """Idle channels and consumers change nothing."""
    c = s.connect(tune={"heartbeat": 2})
    ch = c.channel()
    ch.queue("", exclusive=True)
    ch.consume("", "a")
    gaps(c, 1)
    for gap in gaps(c, 3):
        s.measured(gap, 1, 0.35, "heartbeat after")


@scenario
@slow
def client_decides(s):
    """The client's number counts, not the 60 s that the broker proposed: with 4 s a heartbeat comes every 2 s."""
    c = s.connect(tune={"heartbeat": 4})
    for gap in gaps(c, 2):
        s.measured(gap, 2, 0.25, "heartbeat after")


@scenario
@slow
def zero_means_none(s):
    """With 0 none is sent."""
    c = s.connect(tune={"heartbeat": 0})
    c.stays_open(3)
    s.note(f"heartbeats: {len(c.heartbeats)}")


@scenario
@slow
def silent_client(s):
    """A client that sends nothing loses its connection after three intervals, by a reset and without a close frame."""
    c = s.connect(tune={"heartbeat": 1})
    with s.takes(3, 0.35):
        c.expect_close()


@scenario
@slow
def silent_consumer(s):
    """Deliveries do not keep a silent consumer alive; what it held goes to another."""
    owner = s.channel()
    owner.queue(s.name("q"))
    owner.publish("", s.name("q"), "1")
    ch = s.connect(tune={"heartbeat": 1}).channel()
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)
    with s.takes(3, 0.35):
        ch.connection.expect_close()
    owner.get_when_there(s.name("q"))


@scenario
@slow
def methods_keep_alive(s):
    """Any frame counts: a client that calls a method a second needs no heartbeats."""
    c = s.connect(tune={"heartbeat": 1})
    ch = c.channel()
    deadline = time.monotonic() + 5
    with s.transcript.unlogged():
        while time.monotonic() < deadline:
            ch.prefetch(1)
            pause(c, 0.6)
    c.stays_open(0.1)


@scenario
@slow
def octets_keep_alive(s):
    """So does a part of a frame: octets count, not whole frames."""
    c = s.connect(tune={"heartbeat": 1})
    for octet in wire.frame(1, 1, wire.method_payload("channel.open", {})):
        c.send_bytes(bytes([octet]))
        pause(c, 0.4)
    c.wait(1, lambda e: True, "channel.open-ok")


def pause(c, seconds):
    """Reads what comes for a while."""
    deadline = time.monotonic() + seconds
    try:
        while True:
            c.pump(deadline)
    except TimeoutError:
        pass


@scenario
@slow
def only_one_heartbeat(s):
    """A client that sends heartbeats for a while and then falls silent is dropped as well."""
    c = s.connect(tune={"heartbeat": 1})
    gaps(c, 3)
    with s.takes(2.5, 0.4):
        c.expect_close()


@scenario
@slow
def silent_client_reset_frees_exclusive(s):
    """The exclusive queue of a client that was dropped is gone."""
    owner = s.channel()
    ch = s.connect(tune={"heartbeat": 1}).channel()
    ch.queue(s.name("q"), exclusive=True)
    ch.connection.expect_close()
    owner.counts(s.name("q"))
