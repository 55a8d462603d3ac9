# Alarms: which connections are blocked, from when on, and what others may do meanwhile. An alarm affects the whole broker.

from parity import wire
from parity.client import CAPABILITIES
from parity.session import add, alone, scenario, slow

# A socket is watched for this long to show that nothing comes.
WATCH_S = 0.3


def begin(s):
    """Guest's channel, which publishes nothing, with a queue."""
    watcher = s.channel()
    watcher.queue(s.name("q"))
    return watcher


@scenario
@alone
def blocked_at_first_publish(s):
    """A connection hears of the alarm when it publishes; the message waits, and is confirmed afterwards."""
    watcher, ch = begin(s), s.connect().channel()
    ch.confirm()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        ch.connection.stays_open(WATCH_S)
        watcher.counts(s.name("q"))
    ch.connection.expect("connection.unblocked")
    ch.confirms()
    watcher.counts_when(s.name("q"), messages=1)


@scenario
@alone
def not_told_before_publish(s):
    """One that does not publish hears nothing, and everything else works."""
    watcher = begin(s)
    with s.alarm():
        watcher.queue(s.name("r"))
        watcher.bind(s.name("r"), "amq.fanout")
        watcher.get(s.name("r"))
        watcher.consume(s.name("r"), "a")
        watcher.connection.stays_open(WATCH_S)
    watcher.barrier()


@scenario
@alone
def new_connection(s):
    """One that is opened during the alarm is blocked at its first publish."""
    watcher = begin(s)
    with s.alarm():
        ch = s.connect().channel()
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        watcher.counts(s.name("q"))
        ch.connection.kill()
    watcher.connection.stays_open(2 * WATCH_S)
    watcher.counts(s.name("q"))


@scenario
@alone
def many_new_connections(s):
    """Ten connections that publish one message each and leave: none gets in."""
    watcher = begin(s)
    with s.alarm():
        for _ in range(10):
            ch = s.connect().channel()
            ch.publish("", s.name("q"), "1")
            ch.connection.expect("connection.blocked")
            ch.connection.kill()
        watcher.counts(s.name("q"))
    watcher.connection.stays_open(2 * WATCH_S)
    watcher.counts(s.name("q"))


@scenario
@alone
def published_and_left(s):
    """A message that was sent before the client closed its half of the socket in good order."""
    watcher = begin(s)
    with s.alarm():
        ch = s.connect().channel()
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        ch.connection.finish_sending()
        ch.connection.stays_open(WATCH_S)
        watcher.counts(s.name("q"))
    ch.connection.expect("connection.unblocked")
    ch.connection.await_end("FIN")
    watcher.counts_when(s.name("q"), messages=1)


@scenario
@alone
def without_capability(s):
    """A client without the capability is blocked without a word."""
    watcher = begin(s)
    c = s.connect(capabilities=[name for name in CAPABILITIES if name != "connection.blocked"])
    ch = c.channel()
    ch.confirm()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        c.stays_open(WATCH_S)
        watcher.counts(s.name("q"))
    ch.confirms()


@scenario
@alone
def other_methods_wait(s):
    """What follows the publish on the same connection waits, on any channel."""
    begin(s)
    ch = s.connect().channel()
    further = ch.connection.channel()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        further.send("basic.qos", prefetch_count=1)
        ch.connection.stays_open(WATCH_S)
    ch.connection.expect("connection.unblocked")
    further.expect("basic.qos-ok")


@scenario
@alone
def consumers_go_on(s):
    """Messages that are there are delivered and acked on connections that do not publish."""
    watcher = begin(s)
    watcher.confirm()
    for body in "12":
        watcher.publish("", s.name("q"), body)
    watcher.confirms()
    with s.alarm():
        ch = s.connect().channel()
        ch.consume(s.name("q"), "a")
        ch.deliveries(2)
        ch.ack(2, multiple=True)
        ch.barrier()
        watcher.counts_when(s.name("q"), messages=0, consumers=1)


@scenario
@alone
def deliveries_to_blocked(s):
    """A blocked connection still gets deliveries; its acks wait."""
    watcher = begin(s)
    watcher.confirm()
    for body in "12":
        watcher.publish("", s.name("q"), body)
    watcher.confirms()
    ch = s.connect().channel()
    ch.prefetch(1)
    with s.alarm():
        ch.publish("amq.fanout", "", "x")
        ch.connection.expect("connection.blocked")
        reader = s.connect().channel()
        reader.get(s.name("q"), no_ack=False)
        reader.nack(1)
        reader.barrier()
    ch.connection.expect("connection.unblocked")
    ch.consume(s.name("q"), "a")
    ch.deliveries(1)


@scenario
@alone
def consumer_on_blocked(s):
    """A consumer of a blocked connection gets what comes back to its queue."""
    watcher = begin(s)
    watcher.confirm()
    watcher.publish("", s.name("q"), "1")
    watcher.confirms()
    watcher.get(s.name("q"), no_ack=False)
    ch = s.connect().channel()
    ch.consume(s.name("q"), "a")
    with s.alarm():
        ch.publish("amq.fanout", "", "x")
        ch.connection.expect("connection.blocked")
        watcher.nack(1)
        ch.deliveries(1)
        ch.ack(1)
        ch.connection.stays_open(WATCH_S)
    ch.connection.expect("connection.unblocked")
    ch.barrier()


@scenario
@alone
def get_on_other(s):
    """basic.get and basic.ack work on a connection that did not publish."""
    watcher = begin(s)
    watcher.confirm()
    watcher.publish("", s.name("q"), "1")
    watcher.confirms()
    with s.alarm():
        ch = s.connect().channel()
        ch.get(s.name("q"), no_ack=False)
        ch.ack(1)
        ch.barrier()
        ch.call("queue.purge", queue=s.name("q"))


@scenario
@alone
def transaction(s):
    """A publish in a transaction is blocked as any other; the commit waits behind it."""
    begin(s)
    ch = s.connect().channel()
    ch.call("tx.select")
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        ch.send("tx.commit")
        ch.connection.stays_open(WATCH_S)
    ch.connection.expect("connection.unblocked")
    ch.expect("tx.commit-ok")


@scenario
@alone
def transaction_of_acks(s):
    """A transaction of acks alone commits."""
    watcher = begin(s)
    watcher.publish("", s.name("q"), "1")
    watcher.counts_when(s.name("q"), messages=1)
    with s.alarm():
        ch = s.connect().channel()
        ch.call("tx.select")
        ch.get(s.name("q"), no_ack=False)
        ch.ack(1)
        ch.call("tx.commit")


@scenario
@alone
def commit_of_earlier_publish(s):
    """A commit of what was published before the alarm."""
    watcher = begin(s)
    ch = s.connect().channel()
    ch.call("tx.select")
    ch.publish("", s.name("q"), "1")
    ch.barrier()
    with s.alarm():
        ch.call("tx.commit")
        watcher.counts_when(s.name("q"), messages=1)


def _parts(method, header, title):
    """How much of a publish it takes to be blocked."""
    def run(s):
        begin(s)
        ch = s.connect().channel()
        c = ch.connection
        with s.alarm():
            if method:
                ch.send("basic.publish", routing_key=s.name("q"))
            if header:
                c.send_bytes(wire.frame(2, ch.number, wire.header_payload({}, 5)), "header of 5 octets")
            c.stays_open(WATCH_S)
        c.stays_open(WATCH_S)
        if not header:
            c.send_bytes(wire.frame(2, ch.number, wire.header_payload({}, 5)), "header of 5 octets")
        c.send_bytes(wire.frame(3, ch.number, b"hello"), "body")
        ch.get_when_there(s.name("q"))
    add(__name__, "after_method_and_header" if header else "after_method", alone(run), title)


_parts(True, False, "A publish of which only the method is there.")
_parts(True, True, "A publish of which method and header are there.")


@scenario
@alone
def body_begun_before(s):
    """A body that was begun before the alarm: the rest is read, and the message taken."""
    watcher, ch = begin(s), s.connect().channel()
    c = ch.connection
    ch.send("basic.publish", routing_key=s.name("q"))
    c.send_bytes(wire.frame(2, ch.number, wire.header_payload({}, 5)) + wire.frame(3, ch.number, b"he"),
                 "header of 5 octets, body of 2")
    c.channel().barrier()
    with s.alarm():
        c.send_bytes(wire.frame(3, ch.number, b"llo"), "body of 3")
        c.stays_open(WATCH_S)
        watcher.counts(s.name("q"))
    c.stays_open(WATCH_S)
    ch.get_when_there(s.name("q"))


@scenario
@alone
def mandatory(s):
    """A mandatory message that cannot be routed waits as well."""
    begin(s)
    ch = s.connect().channel()
    with s.alarm():
        ch.publish("amq.direct", s.name("none"), "1", mandatory=True)
        ch.connection.expect("connection.blocked")
        ch.connection.stays_open(WATCH_S)
    ch.connection.expect("connection.unblocked")
    ch.expect("basic.return")


@scenario
@alone
def without_write_right(s):
    """A publisher without the right to publish is blocked before it is refused."""
    begin(s)
    ch = s.login(s.user("u", ".*", "", ".*")).channel()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        ch.connection.stays_open(WATCH_S)
    ch.connection.stays_open(WATCH_S)


@scenario
@alone
def close_waits(s):
    """A blocked connection's close is answered when the alarm is over."""
    begin(s)
    c = s.connect()
    ch = c.channel()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        c.expect("connection.blocked")
        c.send("connection.close", reply_code=200, reply_text="bye")
        c.stays_open(WATCH_S)
    c.expect("connection.unblocked")
    c.expect("connection.close-ok")
    c.close_socket()


@scenario
@alone
def forced_close_while_blocked(s):
    """A blocked connection can be closed by the operator."""
    begin(s)
    ch = s.login(s.user()).channel()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        s.ctl("close_all_user_connections", s.name("u"), "enough")
        ch.connection.expect("connection.close")
        ch.connection.close_socket()


@scenario
@alone
@slow
def heartbeats_while_blocked(s):
    """A blocked connection gets heartbeats and is not dropped for the lack of its own."""
    begin(s)
    c = s.connect(tune={"heartbeat": 1})
    ch = c.channel()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        c.expect("connection.blocked")
        before = len(c.heartbeats)
        c.stays_open(4)
        s.note(f"heartbeats came: {len(c.heartbeats) - before > 3}")
    c.expect("connection.unblocked")


@scenario
@alone
def again(s):
    """A second alarm blocks at the next publish only."""
    watcher, ch = begin(s), s.connect().channel()
    ch.confirm()
    for body in "12":
        with s.alarm():
            ch.connection.stays_open(WATCH_S)
            ch.publish("", s.name("q"), body)
            ch.connection.expect("connection.blocked")
        ch.connection.expect("connection.unblocked")
        ch.confirms()
    watcher.counts_when(s.name("q"), messages=2)


@scenario
@alone
def order_is_kept(s):
    """Messages that waited arrive in the order in which they were sent."""
    watcher, ch = begin(s), s.connect().channel()
    ch.confirm()
    ch.publish("", s.name("q"), "0")
    ch.confirms()
    with s.alarm():
        for body in "123":
            ch.publish("", s.name("q"), body)
        ch.connection.expect("connection.blocked")
        watcher.counts(s.name("q"))
    ch.confirms()
    watcher.drain(s.name("q"), 4)


@scenario
@alone
def disk(s):
    """The disk alarm does the same for another reason."""
    watcher, ch = begin(s), s.connect().channel()
    ch.confirm()
    with s.alarm("disk"):
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        watcher.counts(s.name("q"))
    ch.connection.expect("connection.unblocked")
    ch.confirms()


@scenario
@alone
def both(s):
    """With both alarms both are named, and the connection waits for the end of both."""
    begin(s)
    ch = s.connect().channel()
    ch.confirm()
    with s.alarm("disk"):
        with s.alarm():
            ch.publish("", s.name("q"), "1")
            ch.connection.expect("connection.blocked")
        ch.connection.stays_open(WATCH_S)
    ch.connection.expect("connection.unblocked")
    ch.confirms()


@scenario
@alone
def both_the_other_way(s):
    """How they are named when memory was first."""
    begin(s)
    ch = s.connect().channel()
    with s.alarm():
        with s.alarm("disk"):
            ch.publish("", s.name("q"), "1")
            ch.connection.expect("connection.blocked")
    ch.connection.expect("connection.unblocked")


@scenario
@alone
def second_alarm_while_blocked(s):
    """A second alarm for a connection that is blocked already."""
    begin(s)
    ch = s.connect().channel()
    ch.confirm()
    with s.alarm():
        ch.publish("", s.name("q"), "1")
        ch.connection.expect("connection.blocked")
        with s.alarm("disk"):
            ch.connection.stays_open(WATCH_S)
        ch.connection.stays_open(WATCH_S)
    ch.connection.expect("connection.unblocked")
    ch.confirms()
