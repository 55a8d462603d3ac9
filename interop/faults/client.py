"""An AMQP 0-9-1 client for workers: many messages in flight, never blocked for longer than asked, and dead when its broker is silent."""

import pathlib
import select
import socket
import struct
import sys
import time
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from raw import Closed, frame, long, short, table  # noqa: E402

CHANNEL = 1
HEARTBEAT_S = 2
# A broker that says nothing for so long is dead for its client.
SILENCE_S = 4.0
CALL_S = 10.0
CONNECT_S = 2.0
READ_SIZE = 1 << 18
STREAM_OFFSET, OFFSET = b"\x0fx-stream-offsetl", b"\x08x-offsetl"


class Delivery(NamedTuple):
    tag: int
    redelivered: bool
    body: bytes
    # Of a stream, or of a queue that can be rewound; -1 otherwise.
    offset: int


class Confirmed(NamedTuple):
    """Messages that are confirmed, or refused."""

    tags: list[int]
    is_refused: bool


def properties(delivery_mode: int, headers: dict | None = None) -> bytes:
    """Encoded properties of a message."""
    if headers:
        return struct.pack(">H", 0x3000) + table(headers) + bytes([delivery_mode])
    return struct.pack(">H", 0x1000) + bytes([delivery_mode])


class Client:
    """A connection with one channel."""

    def __init__(self, host: str, port: int = 5672, user: str = "guest", password: str = "guest"):
        self.buffer, self.at = b"", 0
        self.published = 0
        self.open: set[int] = set()
        self.seen: list[Delivery | Confirmed] = []
        self._method, self._properties, self._size, self._body = b"", b"", 0, b""
        self._heard = self._spoke = time.monotonic()
        self.socket = socket.create_connection((host, port), CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(SILENCE_S)
        try:
            self._shake_hands(user, password)
        except BaseException:
            self.socket.close()
            raise

    def _shake_hands(self, user: str, password: str) -> None:
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self._wait(10, 10)
        capabilities = {"basic.nack": True, "consumer_cancel_notify": True, "connection.blocked": True}
        answer = table({"capabilities": capabilities}) + short("PLAIN") + long(f"\0{user}\0{password}".encode()) + short("en_US")
        self._send(10, 11, answer, channel=0)
        self._wait(10, 30)
        self._send(10, 31, struct.pack(">HIH", 100, 131072, HEARTBEAT_S), channel=0)
        self._send(10, 40, short("/") + b"\0\0", channel=0)
        self._wait(10, 41)
        self.call(20, 10, b"\0", 11)

    def call(self, class_id: int, method: int, arguments: bytes, reply: int) -> bytes:
        """A request on the channel; returns the arguments of its answer."""
        self._send(class_id, method, arguments)
        return self._wait(class_id, reply)

    def _send(self, class_id: int, method: int, arguments: bytes, channel: int = CHANNEL) -> None:
        self.write(frame(1, channel, struct.pack(">HH", class_id, method) + arguments))

    def write(self, octets: bytes) -> None:
        self._spoke = time.monotonic()
        self.socket.sendall(octets)

    def _wait(self, class_id: int, method: int) -> bytes:
        deadline = time.monotonic() + CALL_S
        while time.monotonic() < deadline:
            for kind, payload in self._frames(0.1):
                if kind == 1 and struct.unpack(">HH", payload[:4]) == (class_id, method):
                    return payload[4:]
                self._note(kind, payload)
        raise TimeoutError(f"no answer {class_id}.{method}")

    def pump(self, seconds: float) -> list[Delivery | Confirmed]:
        """What the broker has sent. Waits for so long if it has sent nothing."""
        for kind, payload in self._frames(0 if self.seen else seconds):
            self._note(kind, payload)
        now = time.monotonic()
        if now - self._heard > SILENCE_S:
            raise TimeoutError("the broker is silent")
        if now - self._spoke > HEARTBEAT_S / 2:
            self.write(frame(8, 0, b""))
        seen, self.seen = self.seen, []
        return seen

    def _frames(self, seconds: float):
        if select.select([self.socket], [], [], seconds)[0]:
            got = self.socket.recv(READ_SIZE)
            if not got:
                raise Closed("the socket")
            self._heard = time.monotonic()
            self.buffer, self.at = self.buffer[self.at :] + got, 0
        while len(self.buffer) - self.at >= 8:
            kind, _, size = struct.unpack_from(">BHI", self.buffer, self.at)
            end = self.at + 7 + size
            if len(self.buffer) <= end:
                return
            payload = self.buffer[self.at + 7 : end]
            self.at = end + 1
            yield kind, payload

    def _note(self, kind: int, payload: bytes) -> None:
        match kind:
            case 1:
                self._note_method(struct.unpack(">HH", payload[:4]), payload)
            case 2:
                self._size = struct.unpack(">Q", payload[4:12])[0]
                self._properties, self._body = payload[12:], b""
            case 3:
                self._body += payload
        if kind in (2, 3) and len(self._body) == self._size and self._method[:4] == b"\0\x3c\0\x3c":
            at = 5 + self._method[4]
            tag, redelivered = struct.unpack_from(">QB", self._method, at)
            self.seen.append(Delivery(tag, bool(redelivered), self._body, self._offset()))

    def _offset(self) -> int:
        for name in STREAM_OFFSET, OFFSET:
            found = self._properties.find(name)
            if found >= 0:
                return struct.unpack_from(">q", self._properties, found + len(name))[0]
        return -1

    def _note_method(self, ids: tuple[int, int], payload: bytes) -> None:
        match ids:
            case (60, 60) | (60, 50):
                self._method = payload
            case (60, 80) | (60, 120):
                tag, multiple = struct.unpack(">QB", payload[4:13])
                tags = sorted(one for one in self.open if one <= tag) if multiple & 1 else [tag]
                self.open.difference_update(tags)
                self.seen.append(Confirmed(tags, ids == (60, 120)))
            case (60, 30):
                raise Closed("the consumer was cancelled")
            case (20, 40) | (10, 50):
                code, size = struct.unpack(">HB", payload[4:7])
                raise Closed(f"{code} {payload[7 : 7 + size].decode()}")

    def declare(self, queue: str, arguments: dict) -> None:
        self.call(50, 10, b"\0\0" + short(queue) + b"\x02" + table(arguments), 11)

    def delete(self, queue: str) -> None:
        self.call(50, 40, b"\0\0" + short(queue) + b"\0", 41)

    def ready(self, queue: str) -> int:
        reply = self.call(50, 10, b"\0\0" + short(queue) + b"\x01" + table({}), 11)
        return struct.unpack(">I", reply[-8:-4])[0]

    def declare_fanout(self, name: str) -> None:
        self.call(40, 10, b"\0\0" + short(name) + short("fanout") + b"\x02" + table({}), 11)

    def bind(self, queue: str, exchange: str) -> None:
        self.call(50, 20, b"\0\0" + short(queue) + short(exchange) + short("") + b"\0" + table({}), 21)

    def select_confirms(self) -> None:
        self.call(85, 10, b"\0", 11)

    def select_transactions(self) -> None:
        self.call(90, 10, b"", 11)

    def commit(self) -> None:
        self.call(90, 20, b"", 21)

    def publish(self, exchange: str, key: str, raw_properties: bytes, body: bytes) -> int:
        """Publishes; returns the number that a confirm will name."""
        method = struct.pack(">HHH", 60, 40, 0) + short(exchange) + short(key) + b"\0"
        header = struct.pack(">HHQ", 60, 0, len(body)) + raw_properties
        self.published += 1
        self.open.add(self.published)
        self.write(frame(1, CHANNEL, method) + frame(2, CHANNEL, header) + frame(3, CHANNEL, body))
        return self.published

    def consume(self, queue: str, prefetch: int, arguments: dict | None = None) -> None:
        self.call(60, 10, struct.pack(">IHB", 0, prefetch, 0), 11)
        self.call(60, 20, b"\0\0" + short(queue) + short("c") + b"\0" + table(arguments or {}), 21)

    def ack(self, tag: int) -> None:
        self._send(60, 80, struct.pack(">QB", tag, 0))

    def nack(self, tag: int, requeue: bool) -> None:
        self._send(60, 120, struct.pack(">QB", tag, 2 if requeue else 0))

    def close(self) -> None:
        self.socket.close()
