"""A small AMQP 0-9-1 client that sends and shows properties as raw bytes, in large batches."""

import socket
import struct
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

CHANNEL = 1
FRAME_MAX = 131072
READ_SIZE = 1 << 20
TIMEOUT_S = 120


class Delivery(NamedTuple):
    tag: int
    redelivered: bool
    exchange: bytes
    routing_key: bytes
    properties: bytes
    body: bytes


class Closed(Exception):
    """The broker closed the channel or the connection."""


def short(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return bytes([len(raw)]) + raw


def long(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def table(fields: dict) -> bytes:
    """An encoded table of texts, integers, booleans and tables."""
    out = b""
    for name, value in fields.items():
        match value:
            case bool():
                coded = b"t" + bytes([value])
            case int():
                coded = b"l" + struct.pack(">q", value)
            case str():
                coded = b"S" + long(value.encode())
            case _:
                coded = b"F" + table(value)
        out += short(name) + coded
    return long(out)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def message(exchange: str, key: str, properties: bytes, body: bytes) -> bytes:
    """The three frames of a publish; the body fits into one."""
    method = struct.pack(">HHH", 60, 40, 0) + short(exchange) + short(key) + b"\0"
    header = struct.pack(">HHQ", 60, 0, len(body)) + properties
    return frame(1, CHANNEL, method) + frame(2, CHANNEL, header) + frame(3, CHANNEL, body)


class Peer:
    """A connection with channel 1 open."""

    def __init__(self, url: str, user: str = "", password: str = ""):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.at = b"", 0
        self.published = 0
        self.unconfirmed: set[int] = set()
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self.wait(10, 10)
        login = f"\0{user or parts.username}\0{password or parts.password}".encode()
        properties = table({"capabilities": {"basic.nack": True, "consumer_cancel_notify": True}})
        self.send(10, 11, properties + short("PLAIN") + long(login) + short("en_US"), channel=0)
        self.wait(10, 30)
        self.send(10, 31, struct.pack(">HIH", 2047, FRAME_MAX, 0), channel=0)
        self.send(10, 40, short(unquote(parts.path[1:]) or "/") + b"\0\0", channel=0)
        self.wait(10, 41)
        self.call(20, 10, b"\0", 11)

    def send(self, class_id: int, method: int, arguments: bytes, channel: int = CHANNEL) -> None:
        self.socket.sendall(frame(1, channel, struct.pack(">HH", class_id, method) + arguments))

    def call(self, class_id: int, method: int, arguments: bytes, reply: int) -> bytes:
        self.send(class_id, method, arguments)
        return self.wait(class_id, reply)

    def wait(self, class_id: int, method: int) -> bytes:
        for kind, payload in self.frames():
            if kind == 1:
                ids = struct.unpack(">HH", payload[:4])
                if ids == (class_id, method):
                    return payload[4:]
                self.note(ids, payload)
        raise Closed("the socket")

    def frames(self):
        """Frames from the broker. What is not taken stays for the next call."""
        while True:
            while len(self.buffer) - self.at >= 8:
                kind, _, size = struct.unpack_from(">BHI", self.buffer, self.at)
                end = self.at + 7 + size
                if len(self.buffer) <= end:
                    break
                payload = self.buffer[self.at + 7 : end]
                self.at = end + 1
                yield kind, payload
            got = self.socket.recv(READ_SIZE)
            if not got:
                raise Closed("the socket")
            self.buffer, self.at = self.buffer[self.at :] + got, 0

    def note(self, ids: tuple[int, int], payload: bytes) -> None:
        match ids:
            case (60, 80) | (60, 120):
                tag, multiple = struct.unpack(">QB", payload[4:13])
                if ids == (60, 120):
                    raise Closed(f"message {tag} was refused")
                if multiple & 1:
                    self.unconfirmed = {open_tag for open_tag in self.unconfirmed if open_tag > tag}
                else:
                    self.unconfirmed.discard(tag)
            case (20, 40) | (10, 50):
                code, size = struct.unpack(">HB", payload[4:7])
                raise Closed(f"{code} {payload[7 : 7 + size].decode()}")

    def declare(self, queue: str, arguments: dict) -> None:
        self.call(50, 10, b"\0\0" + short(queue) + b"\x02" + table(arguments), 11)

    def ready(self, queue: str) -> int:
        reply = self.call(50, 10, b"\0\0" + short(queue) + b"\x01" + table({}), 11)
        return struct.unpack(">I", reply[-8:-4])[0]

    def declare_exchange(self, name: str, kind: str) -> None:
        self.call(40, 10, b"\0\0" + short(name) + short(kind) + b"\x02" + table({}), 11)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        self.call(50, 20, b"\0\0" + short(queue) + short(exchange) + short(key) + b"\0" + table({}), 21)

    def select_confirms(self) -> None:
        self.call(85, 10, b"\0", 11)

    def publish(self, messages: bytes, count: int) -> None:
        self.socket.sendall(messages)
        self.unconfirmed.update(range(self.published + 1, self.published + count + 1))
        self.published += count

    def wait_confirms(self, open_max: int = 0) -> None:
        """Waits until at most `open_max` messages have no confirm."""
        while len(self.unconfirmed) > open_max:
            for kind, payload in self.frames():
                if kind == 1:
                    self.note(struct.unpack(">HH", payload[:4]), payload)
                if len(self.unconfirmed) <= open_max:
                    break

    def consume(self, queue: str, arguments: dict | None = None, no_ack: bool = True) -> None:
        bits = bytes([2 if no_ack else 0])
        self.call(60, 20, b"\0\0" + short(queue) + short("c") + bits + table(arguments or {}), 21)

    def qos(self, count: int) -> None:
        self.call(60, 10, struct.pack(">IHB", 0, count, 0), 11)

    def ack(self, tag: int, multiple: bool) -> None:
        self.send(60, 80, struct.pack(">QB", tag, multiple))

    def deliveries(self, silence_s: float):
        """Deliveries until none comes for a while."""
        method, properties, size, body = b"", b"", 0, b""
        self.socket.settimeout(silence_s)
        try:
            for kind, payload in self.frames():
                if kind == 1:
                    ids = struct.unpack(">HH", payload[:4])
                    if ids != (60, 60):
                        self.note(ids, payload)
                        continue
                    method = payload
                elif kind == 2:
                    size = struct.unpack(">Q", payload[4:12])[0]
                    properties, body = payload[12:], b""
                elif kind == 3:
                    body += payload
                if kind != 1 and len(body) == size:
                    at = 5 + method[4]
                    tag, redelivered, length = struct.unpack_from(">QBB", method, at)
                    at += 10
                    exchange = method[at : at + length]
                    key = method[at + length + 1 :]
                    yield Delivery(tag, bool(redelivered), exchange, key, properties, body)
        except TimeoutError:
            return
        finally:
            self.socket.settimeout(TIMEOUT_S)

    def close(self) -> None:
        self.socket.close()

