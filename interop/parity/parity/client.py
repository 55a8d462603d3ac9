# A raw AMQP 0-9-1 client: one socket, any bytes, any number of channels.
# It reads only when a scenario waits for something, keeps one inbox per channel, and logs what a scenario takes
# from an inbox. It never reconnects or retries, and hides nothing.

import collections
import contextlib
import socket
import struct
import time

from . import wire
from .channel import WAIT_S, Channel, Stop, dashed, is_method
from .wire import Method

# The values that `Connection.handshake` offers; the broker's limits are larger or equal.
DEFAULT_TUNE = {"channel-max": 2047, "frame-max": 131072, "heartbeat": 0}
CAPABILITIES = ("publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                "consumer_cancel_notify", "connection.blocked", "authentication_failure_close")


class Ended(Exception):
    """The broker ended the socket; `how` is FIN (in good order) or RST."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


class Connection:
    """One socket and its channels. `label` names it in the transcript."""

    def __init__(self, session, label):
        self.session, self.log, self.label = session, session.transcript, label
        self.sock = socket.create_connection(session.address, timeout=WAIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.inboxes = collections.defaultdict(collections.deque)
        self.partial = {}            # channel number -> [method, body size, properties, body]
        self.channels = {}
        self.opened = False          # connection.open-ok was seen
        self.gone = False            # the socket's end was seen, or we closed it
        self.frame_size_seen = 0     # largest frame received, in octets
        self.heartbeats = []         # when each one came
        self.reset = False           # sending found the socket reset
        self.frame_max = DEFAULT_TUNE["frame-max"]

    # -- sending

    def send_bytes(self, data, what=None):
        """Send any octets; `what` describes them in the transcript."""
        if what:
            self.log.note(self.label, f"> {what}")
        try:
            self.sock.sendall(data)
        except ConnectionResetError:
            self.reset = True        # the kernel reports this once; a read would then see an orderly end
        except OSError:
            pass                     # a later read shows how the socket ended

    def send(self, name, channel=0, **fields):
        method = Method(name, dashed(fields))
        self.log.sent(self.label_of(channel), method)
        self.send_bytes(wire.frame(wire.FRAME_METHOD, channel,
                                   wire.method_payload(name, method.fields)))

    # -- receiving

    def label_of(self, number):
        return f"{self.label}.{number}" if number else self.label

    def _read_frame(self, deadline):
        """The next frame, or an 8-octet protocol header as a frame of type 0x41 ('A')."""
        while True:
            if self.buffer[:4] == b"AMQP" and len(self.buffer) >= 8:
                header, self.buffer = self.buffer[:8], self.buffer[8:]
                return wire.Frame(0x41, 0, header)
            if len(self.buffer) >= 7 and self.buffer[:1] != b"A":
                size = int.from_bytes(self.buffer[3:7], "big") + 8
                if len(self.buffer) >= size:
                    data, self.buffer = self.buffer[:size], self.buffer[size:]
                    self.frame_size_seen = max(self.frame_size_seen, size)
                    if data[-1] != wire.FRAME_END:
                        raise wire.WireError("frame end octet is not 0xCE")
                    return wire.Frame(data[0], int.from_bytes(data[1:3], "big"), data[7:-1])
            self._receive(deadline)

    def _receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            raise
        except OSError as error:
            raise Ended("RST") from error
        if not data:
            raise Ended("RST" if self.reset else "FIN")
        self.buffer += data

    def pump(self, deadline):
        """Reads one frame; a method or content that it completes goes to the inbox."""
        kind, number, payload = self._read_frame(deadline)
        inbox = self.inboxes[number]
        if kind == 0x41:
            inbox.append(payload)
        elif kind == wire.FRAME_HEARTBEAT:
            self.heartbeats.append(time.monotonic())
        elif kind == wire.FRAME_METHOD:
            method = wire.decode_method(payload)
            self.opened |= method.name == "connection.open-ok"
            if number in self.partial:
                raise wire.WireError("method frame inside content")
            if method.name in wire.CONTENT_METHODS:
                self.partial[number] = [method, None, None, b""]
            else:
                inbox.append(method)
        elif kind in (wire.FRAME_HEADER, wire.FRAME_BODY):
            self._content(kind, number, payload, inbox)
        else:
            raise wire.WireError(f"frame type {kind}")

    def _content(self, kind, number, payload, inbox):
        part = self.partial.get(number)
        if part is None or (kind == wire.FRAME_HEADER) != (part[1] is None):
            raise wire.WireError(f"content frame of type {kind} out of place")
        if kind == wire.FRAME_HEADER:
            part[1], part[2] = wire.decode_header(payload)
        else:
            part[3] += payload
        if len(part[3]) >= part[1]:
            del self.partial[number]
            content = wire.Content(part[2], part[3])
            inbox.append(part[0]._replace(content=content))

    def wait(self, number, wanted, what, seconds=WAIT_S):
        """
        The first event of channel `number` that `wanted` accepts, taken from its inbox and logged.
        Events before it stay in the inbox. A close from the broker ends the wait, too.
        """
        if self.gone:
            self.log.note(self.label_of(number), f"cannot wait for {what}: the connection is gone")
            raise Stop
        deadline = time.monotonic() + seconds
        while True:
            found = self._take(number, wanted)
            if found is not None:
                return found
            if any(is_method(event, "connection.close") for event in self.inboxes[0]):
                self._closed_by_broker()
            try:
                self.pump(deadline)
            except (Ended, TimeoutError, wire.WireError) as end:
                self._broken(number, end, what)

    def _take(self, number, wanted):
        inbox = self.inboxes[number]
        for position, event in enumerate(inbox):
            if isinstance(event, bytes):
                if wanted(event):
                    del inbox[position]
                    self.log.note(self.label_of(number), f"< protocol header {event.hex(' ')}")
                    return event
            elif wanted(event) or is_method(event, "channel.close"):
                del inbox[position]
                self.log.received(self.label_of(number), event)
                if is_method(event, "channel.close"):
                    self.channels[number].closed = True
                    self.send_bytes(wire.frame(1, number, wire.method_payload("channel.close-ok", {})))
                return event
        return None

    def _broken(self, number, end, what):
        if isinstance(end, TimeoutError):
            self.log.note(self.label_of(number), f"!! nothing came while waiting for {what}")
        elif isinstance(end, Ended):
            self.flush()
            self._socket_closed(end)
            self.close_socket()
        else:
            self.log.note(self.label_of(number), f"!! {end}")
            self.close_socket()
        raise Stop

    def _closed_by_broker(self):
        """Logs connection.close, answers it, and expects the socket to end."""
        for event in [e for e in self.inboxes[0] if is_method(e, "connection.close")]:
            self.inboxes[0].remove(event)
            self.log.received(self.label, event)
        self.send_bytes(wire.frame(1, 0, wire.method_payload("connection.close-ok", {})))
        self.await_end("connection.close-ok")
        raise Stop

    def await_end(self, after, seconds=WAIT_S):
        """Reads until the broker closes the socket; logs everything that comes before."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self.pump(deadline)
        except Ended as end:
            self.flush()
            self._socket_closed(end)
        except TimeoutError:
            self.flush()
            self.log.note(self.label, f"!! the socket stays open after {after}")
        except wire.WireError as error:
            self.log.note(self.label, f"!! {error}")
        self.close_socket()

    def _socket_closed(self, end):
        self.log.note(self.label, f"< socket closed: {end.how}")

    def stays_open(self, seconds):
        """Shows whether the broker leaves the socket open this long; logs everything that comes meanwhile."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self.pump(deadline)
        except TimeoutError:
            self.flush()
            self.log.note(self.label, f"# socket open for {seconds:g} s")
        except Ended as end:
            self.flush()
            self._socket_closed(end)
            self.close_socket()

    def reads_until_end(self, seconds):
        """Reads and drops everything until the socket ends; logs how it ends."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._receive(deadline)
                self.buffer = b""
        except TimeoutError:
            self.log.note(self.label, f"!! the socket stays open for {seconds:g} s")
        except Ended as end:
            self._socket_closed(end)
        self.close_socket()

    def flush(self):
        """Logs everything left in the inboxes, channel by channel."""
        for number in sorted(self.inboxes):
            while self.inboxes[number]:
                event = self.inboxes[number].popleft()
                if isinstance(event, bytes):
                    self.log.note(self.label_of(number), f"< protocol header {event.hex(' ')}")
                else:
                    self.log.received(self.label_of(number), event)

    def close_socket(self):
        """Closes the socket without closing the connection."""
        self.gone = True
        self.sock.close()

    def kill(self):
        """Resets the socket, as a crash of the client's machine would."""
        self.log.note(self.label, "> socket reset")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_socket()

    def finish_sending(self):
        """Closes our direction of the socket in order, and goes on reading."""
        self.log.note(self.label, "> FIN")
        self.sock.shutdown(socket.SHUT_WR)

    # -- connection-level steps that scenarios use

    def expect(self, *names, seconds=WAIT_S):
        """The next method on channel 0 that has one of these names."""
        return self.wait(0, lambda e: is_method(e, *names), " or ".join(names), seconds)

    def expect_close(self, seconds=WAIT_S):
        """Waits for connection.close and the socket's end, or only the socket's end; the scenario goes on."""
        with contextlib.suppress(Stop):
            self.wait(0, lambda e: False, "the end of the connection", seconds)

    def handshake(self, user="guest", password="guest", vhost="/", capabilities=CAPABILITIES, tune=None,
                  client_properties=None):
        """A complete, unlogged handshake; anything unexpected stops the scenario. A user or vhost other than the default is logged."""
        if (user, vhost) != ("guest", "/"):
            self.log.note(self.label, f"# user {user}, vhost {vhost}")
        with self.log.unlogged():
            self.send_bytes(wire.PROTOCOL_HEADER)
            self.expect("connection.start")
            properties = {"product": "parity", "capabilities": {name: True for name in capabilities}}
            properties.update(client_properties or {})
            self.send("connection.start-ok", client_properties=properties,
                      mechanism="PLAIN", response=f"\0{user}\0{password}", locale="en_US")
            self.expect("connection.tune")
            tune = {**DEFAULT_TUNE, **dashed(tune or {})}
            self.frame_max = tune["frame-max"]
            self.send("connection.tune-ok", **tune)
            self.send("connection.open", virtual_host=vhost)
            self.expect("connection.open-ok")
        return self

    def wait_until_blocked(self):
        """Publishes unroutable messages until connection.blocked comes: then the alarm is in force everywhere."""
        channel, deadline = self.channel(), time.monotonic() + WAIT_S
        while not any(is_method(event, "connection.blocked") for event in self.inboxes[0]):
            channel.publish("amq.direct", "parity.canary", "")
            with contextlib.suppress(TimeoutError):
                self.pump(min(deadline, time.monotonic() + 0.05))
            if time.monotonic() > deadline:
                raise OSError("the alarm does not block")

    def channel(self, number=None):
        """Opens a channel, unlogged; without a number it gets the lowest that was never used."""
        number = number or max(self.channels, default=0) + 1
        opened = self.channels[number] = Channel(self, number)
        self.send_bytes(wire.frame(1, number, wire.method_payload("channel.open", {})))
        with self.log.unlogged():
            self.wait(number, lambda e: is_method(e, "channel.open-ok"), "channel.open-ok")
        return opened

    def close(self):
        """An orderly, logged close."""
        self.send("connection.close", reply_code=200, reply_text="bye")
        self.expect("connection.close-ok")
        self.close_socket()      # RabbitMQ leaves this to the client

    def finish(self):
        """At the scenario's end: closes the connection, unlogged, and logs what the scenario never took."""
        if self.opened and not self.gone:
            self._farewell()
        if any(self.inboxes.values()):
            self.log.note(self.label, "left unread:")
            self.flush()
        self.close_socket()

    def _farewell(self):
        payload = wire.method_payload("connection.close", {"reply-code": 200})
        self.send_bytes(wire.frame(1, 0, payload))
        deadline = time.monotonic() + WAIT_S
        try:
            while not any(is_method(e, "connection.close-ok") for e in self.inboxes[0]):
                self.pump(deadline)
            self.inboxes[0].remove(next(e for e in self.inboxes[0] if is_method(e, "connection.close-ok")))
        except (Ended, TimeoutError, wire.WireError) as error:
            self.log.note(self.label, f"!! no connection.close-ok: {type(error).__name__} {error}")
