"""Clients of the workload: each is a thread that works in sessions, and begins another when one ends. What it did is in the history."""

import random
import threading
import time
import urllib.error
import zlib

import history as h
from client import Client, Confirmed, Delivery, properties
from history import History
from nodes import Set
from raw import Closed

PAUSE_S = 0.1
PUMP_S = 0.02
WINDOW = 60
# A confirm that does not come for so long is unknown, and the session is given up.
CONFIRM_S = 10.0
LINGER_S = 15.0


def body(message: str, size: int) -> bytes:
    """The body of a message: its id, and octets that depend on it."""
    head = f"{message} {size} ".encode()
    pattern = f"{zlib.crc32(head):08x}".encode()
    return head + (pattern * (max(size - len(head), 0) // 8 + 1))[: max(size - len(head), 0)]


def message_of(octets: bytes) -> str | None:
    """The id of a body; None if it is not as it was published."""
    parts = octets[:80].split(b" ", 3)
    try:
        message, size = f"{parts[0].decode()} {int(parts[1])}", int(parts[2])
    except (ValueError, IndexError):
        return None
    return message if body(message, size) == octets else None


class Worker(threading.Thread):
    """Works until it is told to stop; connects to any node that takes it."""

    def __init__(self, name: str, brokers: Set, history: History, seed: str):
        super().__init__(name=name, daemon=True)
        self.brokers, self.history = brokers, history
        self.chance = random.Random(f"{seed} {name}")
        self.stopping = threading.Event()
        self.sessions = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            self.sessions += 1
            session = f"{self.name}/{self.sessions}"
            try:
                self.attempt(session)
            except (OSError, Closed, urllib.error.HTTPError) as error:
                self.history.note(f"{session} ends: {error}")
            finally:
                self.history.add(h.END, session)
            self.stopping.wait(PAUSE_S)

    def attempt(self, session: str) -> None:
        node = self.brokers.entrance(self.chance)
        client = Client(node.address)
        try:
            self.work(client, session)
        finally:
            client.close()

    def work(self, client: Client, session: str) -> None:
        raise NotImplementedError


class Publisher(Worker):
    """Publishes at a rate with confirms, many of them open."""

    def __init__(self, *rest, route: str, exchange: str = "", rate: float = 50.0, size: int = 1024, transient: float = 0.0, delay_ms: int = 0):
        super().__init__(*rest)
        self.route, self.exchange, self.rate, self.size, self.transient = route, exchange, rate, size, transient
        self.delay_ms = delay_ms

    def work(self, client: Client, session: str) -> None:
        client.select_confirms()
        began, number = time.monotonic(), 0
        waiting: dict[int, tuple[str, float]] = {}
        while waiting or not self.stopping.is_set():
            due = (time.monotonic() - began) * self.rate
            while number < due and len(waiting) < WINDOW and not self.stopping.is_set():
                number += 1
                message = f"{session} {number}"
                waiting[self._publish(client, session, message)] = message, time.monotonic()
            for seen in client.pump(PUMP_S):
                if isinstance(seen, Confirmed):
                    for tag in seen.tags:
                        self.history.add(h.REFUSE if seen.is_refused else h.CONFIRM, session, self.route, waiting.pop(tag)[0])
            if waiting and time.monotonic() - next(iter(waiting.values()))[1] > CONFIRM_S:
                raise TimeoutError("no confirm")

    def _publish(self, client: Client, session: str, message: str) -> int:
        is_transient = self.chance.random() < self.transient
        delay = self.chance.randint(200, self.delay_ms) if self.delay_ms else 0
        self.history.add(h.PUBLISH, session, self.route, message, flag=is_transient, value=delay)
        headers = {"x-delay": delay} if delay else None
        key = "" if self.exchange else self.route
        return client.publish(self.exchange, key, properties(1 if is_transient else 2, headers), body(message, self.size))


class Transactor(Worker):
    """Publishes transactions of a few messages to one queue."""

    def __init__(self, *rest, route: str, rate: float = 10.0, messages: int = 5):
        super().__init__(*rest)
        self.route, self.rate, self.messages = route, rate, messages

    def work(self, client: Client, session: str) -> None:
        client.select_transactions()
        number = 0
        while not self.stopping.wait(1 / self.rate):
            group = f"{session} {number}"
            sent = []
            for _ in range(self.messages):
                number += 1
                sent.append(message := f"{session} {number}")
                self.history.add(h.PUBLISH, session, self.route, message, group=group)
                client.publish("", self.route, properties(2), body(message, 200))
            client.commit()
            for message in sent:
                self.history.add(h.CONFIRM, session, self.route, message)


class Consumer(Worker):
    """Acks most messages; rejects and returns some."""

    def __init__(self, *rest, queue: str, prefetch: int = 50, rejects: float = 0.0, requeues: float = 0.0):
        super().__init__(*rest)
        self.queue, self.prefetch, self.rejects, self.requeues = queue, prefetch, rejects, requeues

    def work(self, client: Client, session: str) -> None:
        self.history.add(h.CONSUME, session, self.queue)
        client.consume(self.queue, self.prefetch)
        while not self.stopping.is_set():
            for seen in client.pump(PUMP_S):
                if isinstance(seen, Delivery):
                    self._take(client, session, seen)

    def _take(self, client: Client, session: str, seen: Delivery) -> None:
        message = message_of(seen.body)
        if message is None:
            self.history.add(h.CORRUPT, session, self.queue, repr(seen.body[:60]))
            client.ack(seen.tag)
            return
        self.history.add(h.DELIVER, session, self.queue, message, flag=seen.redelivered, value=seen.offset)
        draw = self.chance.random()
        if draw < self.rejects:
            self.history.add(h.REJECT, session, self.queue, message)
            client.nack(seen.tag, requeue=False)
        elif draw < self.rejects + self.requeues:
            self.history.add(h.REQUEUE, session, self.queue, message)
            client.nack(seen.tag, requeue=True)
        else:
            self.history.add(h.ACK, session, self.queue, message)
            client.ack(seen.tag)


class StreamReader(Worker):
    """Reads a stream, and goes on after the last offset that it has."""

    def __init__(self, *rest, queue: str):
        super().__init__(*rest)
        self.queue, self.next = queue, 0

    def work(self, client: Client, session: str) -> None:
        self.history.add(h.CONSUME, session, self.queue, value=self.next)
        client.consume(self.queue, 100, {"x-stream-offset": self.next})
        while not self.stopping.is_set():
            for seen in client.pump(PUMP_S):
                if isinstance(seen, Delivery):
                    message = message_of(seen.body)
                    if message is None:
                        self.history.add(h.CORRUPT, session, self.queue, repr(seen.body[:60]))
                    else:
                        self.history.add(h.DELIVER, session, self.queue, message, value=seen.offset)
                    self.next = seen.offset + 1
                    client.ack(seen.tag)


class Rewinder(Worker):
    """Rewinds a queue now and then to what was enqueued lately."""

    def __init__(self, *rest, queue: str):
        super().__init__(*rest)
        self.queue = queue

    def work(self, client: Client, session: str) -> None:
        client.select_confirms()
        while not self.stopping.wait(self.chance.uniform(1, 4)):
            since = int((time.time() - self.chance.uniform(0.5, 3)) * 1000)
            client.publish("amq.leveret.rewind", self.queue, properties(1), f"{since}ms".encode())
            client.pump(PUMP_S)


class Definer(Worker):
    """Declares and deletes queues, and sets and clears policies. A name is used no more when a request for it has no answer, since
    that may come to pass at any time."""

    def work(self, client: Client, session: str) -> None:
        number = 0
        while not self.stopping.wait(self.chance.uniform(0.05, 0.3)):
            number += 1
            name = f"defined.{session}.{number}"
            self._step(h.DEFINE, h.DEFINED, session, "queue", name, lambda name=name: client.declare(name, {}))
            if self.chance.random() < 0.6:
                self._step(h.DROP, h.DROPPED, session, "queue", name, lambda name=name: client.delete(name))
            if number % 4 == 0:
                self._policy(session, f"defined.{session}.{number}".replace("/", "."))
            client.pump(0)

    def _policy(self, session: str, name: str) -> None:
        node = self.brokers.entrance(self.chance)
        policy = {"pattern": "^none$", "definition": {"max-length": 10}, "priority": 1}
        self._step(h.DEFINE, h.DEFINED, session, "policy", name, lambda: node.api("PUT", f"policies/%2f/{name}", policy))
        if self.chance.random() < 0.5:
            self._step(h.DROP, h.DROPPED, session, "policy", name, lambda: node.api("DELETE", f"policies/%2f/{name}"))

    def _step(self, asked: str, done: str, session: str, kind: str, name: str, action) -> None:
        self.history.add(asked, session, kind, name)
        action()
        self.history.add(done, session, kind, name)
