# One channel as scenarios use it: methods by name, waiting, confirms, polling, barriers.
# The transcript gets everything that is sent and everything that a scenario takes; of polling, only the last round.

import time

from . import wire
from .wire import Method

# The longest wait for something that the broker should send.
WAIT_S = 10.0
POLL_S = 0.02
# Replies whose names are not that of the method plus "-ok".
REPLY = {"basic.get": ("basic.get-ok", "basic.get-empty")}


class Stop(Exception):
    """The scenario cannot go on; the transcript already has the reason."""


def dashed(fields):
    """Field names as Python keywords, turned into the specification's spelling."""
    return {name.replace("_", "-"): value for name, value in fields.items()}


def dead_letters_to(queue):
    """The arguments of a queue whose dead letters go to another queue through the default exchange."""
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}


def is_method(event, *names):
    return isinstance(event, Method) and event.name in names


class Channel:
    def __init__(self, connection, number):
        self.connection, self.number, self.log = connection, number, connection.log
        self.label = connection.label_of(number)
        self.closed = False
        self.unconfirmed, self.published = None, 0      # set of sequence numbers under confirm mode

    # -- sending and waiting

    def send(self, name, **fields):
        """A method without waiting for anything."""
        self._usable()
        self._track(name, fields)
        if self.connection.gone:
            raise Stop
        self.connection.send(name, self.number, **fields)

    def call(self, name, **fields):
        """A method and its reply, or the channel.close that came instead."""
        self.send(name, **fields)
        reply = self._reply(name)
        if name == "queue.declare" and is_method(reply, "queue.declare-ok"):
            self.connection.session.made_queue(reply.fields["queue"])
        return reply

    def _reply(self, name):
        names = REPLY.get(name, (name + "-ok",))
        # Matched by name: deliveries, returns and confirms stay in the inbox.
        return self.connection.wait(self.number, lambda e: is_method(e, *names), names[0])

    def _usable(self):
        if self.closed:
            self.log.note(self.label, "the scenario ends: its channel is closed")
            raise Stop

    def _track(self, name, fields):
        if name == "queue.declare" and fields.get("queue"):
            self.connection.session.made_queue(fields["queue"])
        if name == "exchange.declare":
            self.connection.session.made_exchange(fields["exchange"])

    def next(self, seconds=WAIT_S):
        """The next event of any kind."""
        return self.connection.wait(self.number, lambda e: True, "anything", seconds)

    def expect(self, *names, seconds=WAIT_S):
        """The next event with one of these names."""
        self._usable()
        return self.connection.wait(self.number, lambda e: is_method(e, *names), " or ".join(names), seconds)

    def expect_close(self):
        return self.expect("channel.close")

    def deliveries(self, count=1, seconds=WAIT_S):
        """The next `count` basic.deliver in order."""
        return [self.expect("basic.deliver", seconds=seconds) for _ in range(count)]

    # -- methods scenarios use most

    def queue(self, name="", **fields):
        return self.call("queue.declare", queue=name, **fields)

    def exchange(self, name, kind="direct", **fields):
        return self.call("exchange.declare", exchange=name, type=kind, **fields)

    def bind(self, queue, exchange, key="", **fields):
        return self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key, **fields)

    def consume(self, queue, tag="", **fields):
        return self.call("basic.consume", queue=queue, consumer_tag=tag, **fields)

    def prefetch(self, count, of_channel=False):
        """basic.qos: limits each new consumer, or all consumers of the channel together."""
        return self.call("basic.qos", prefetch_count=count, **({"global": True} if of_channel else {}))

    def get(self, queue, no_ack=True):
        return self.call("basic.get", queue=queue, no_ack=no_ack)

    def ack(self, tag, multiple=False):
        self.send("basic.ack", delivery_tag=tag, multiple=multiple)

    def nack(self, tag, multiple=False, requeue=True):
        self.send("basic.nack", delivery_tag=tag, multiple=multiple, requeue=requeue)

    def reject(self, tag, requeue=True):
        self.send("basic.reject", delivery_tag=tag, requeue=requeue)

    def publish(self, exchange, key, body=b"", mandatory=False, immediate=False, **properties):
        """Publish a message, its body split to the negotiated frame size."""
        self._usable()
        if self.connection.gone:
            raise Stop
        body = wire.to_bytes(body)
        content = wire.Content(dashed(properties), body)
        fields = {"exchange": exchange, "routing-key": key, "mandatory": mandatory, "immediate": immediate}
        self.log.sent(self.label, Method("basic.publish", fields, content))
        out = [wire.frame(1, self.number, wire.method_payload("basic.publish", fields)),
               wire.frame(2, self.number, wire.header_payload(content.properties, len(body)))]
        step = self.connection.frame_max - 8
        out += [wire.frame(3, self.number, body[at:at + step]) for at in range(0, len(body), step)]
        self.connection.send_bytes(b"".join(out))
        if self.unconfirmed is not None:
            self.published += 1
            self.unconfirmed.add(self.published)

    # -- confirms

    def confirm(self):
        reply = self.call("confirm.select")
        self.unconfirmed = set() if self.unconfirmed is None else self.unconfirmed
        return reply

    def confirms(self):
        """Waits until every publish is confirmed. Brokers may fold confirms, so only the outcome is logged."""
        acked, refused = [], []
        kept = self.log.lines[:]
        while self.unconfirmed:
            event = self.expect("basic.ack", "basic.nack")
            if self.closed:
                return
            tag, multiple = event.fields["delivery-tag"], event.fields["multiple"]
            settled = {n for n in self.unconfirmed if n == tag or (multiple and (n <= tag or tag == 0))}
            if not settled:
                self.log.note(self.label, f"!! {event.name} {tag} settles nothing")
                raise Stop
            self.unconfirmed -= settled
            (acked if event.name == "basic.ack" else refused).extend(settled)
            self.log.lines[:] = kept
        for word, numbers in (("confirmed", acked), ("refused", refused)):
            if numbers:
                self.log.note(self.label, f"< {word} {' '.join(map(str, sorted(numbers)))}")

    # -- looking at a queue without sleeping

    def poll(self, done, name, **fields):
        """Repeats a call until `done(reply)`; logs only the last round."""
        deadline = time.monotonic() + WAIT_S
        while True:
            kept = self.log.lines[:]
            reply = self.call(name, **fields)
            if self.closed or done(reply):
                return reply
            if time.monotonic() > deadline:
                self.log.note(self.label, "!! gave up polling")
                raise Stop
            self.log.lines[:] = kept
            time.sleep(POLL_S)

    def get_when_there(self, queue, no_ack=True):
        """basic.get as soon as there is something to get."""
        return self.poll(lambda r: r.name == "basic.get-ok", "basic.get", queue=queue, no_ack=no_ack)

    def counts_when(self, queue, messages=None, consumers=None):
        """A passive declare as soon as it shows these counts."""
        def done(reply):
            return (messages in (None, reply.fields["message-count"])
                    and consumers in (None, reply.fields["consumer-count"]))
        return self.poll(done, "queue.declare", queue=queue, passive=True)

    def counts(self, queue):
        """
        Ready messages and consumers, by passive declare. RabbitMQ's queues may answer before they have handled
        earlier publishes and acks, so after those use `counts_when`.
        """
        return self.call("queue.declare", queue=queue, passive=True)

    def drain(self, queue, count):
        """Waits until the queue holds `count` messages, gets them, and shows that there is no more."""
        kept, deadline = self.log.lines[:], time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            reply = self.call("queue.declare", queue=queue, passive=True)
            if self.closed:
                return
            if reply.fields["message-count"] >= count:
                break
            time.sleep(POLL_S)
        self.log.lines[:] = kept
        for _ in range(count):
            self.get_when_there(queue)
        self.get(queue)

    def barrier(self):
        """
        An unlogged round trip; then logs all that came before its reply. It shows that nothing was sent, provided
        that the queue has done its work before, e.g. has confirmed.
        """
        self._usable()
        kept = self.log.lines[:]
        self.call("exchange.declare", exchange="amq.direct", passive=True)
        if self.closed:
            return
        self.log.lines[:] = kept
        inbox = self.connection.inboxes[self.number]
        if not inbox:
            self.log.note(self.label, "< (nothing)")
        while inbox:
            self.log.received(self.label, inbox.popleft())

    def close(self):
        reply = self.call("channel.close", reply_code=200, reply_text="bye")
        self.closed = True
        return reply
