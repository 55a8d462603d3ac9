"""A check with kills: producers and consumers use HTTP while the broker is killed; a rewind then brings everything again."""

import itertools
import random
import threading
import time

from cmq.cmq_exception import CMQExceptionBase
from cmq.queue import Message

from report import equal, require_restart, restart_broker
from support import account, bodies, delete_all, fresh_queue

KILLS = 3
SECONDS_BETWEEN = 1.0
PRODUCERS = CONSUMERS = 2
BATCH = 16
NO_MESSAGE = 7000


class Seen:
    """The bodies that clients have sent and received. The sets only grow."""

    def __init__(self, queue_name: str) -> None:
        self.queue_name = queue_name
        self.stop = threading.Event()
        self.tried: set[str] = set()
        self.confirmed: set[str] = set()
        self.received: set[str] = set()
        self.handles: list[str] = []

    def queue(self):
        return account().get_queue(self.queue_name)

    def got(self, messages) -> None:
        self.received.update(bodies(messages))
        self.handles += [message.receiptHandle for message in messages]


def produce(seen: Seen, producer: int) -> None:
    """Send batches, some delayed; record those with an answer."""
    queue = seen.queue()
    for number in itertools.count(step=BATCH):
        if seen.stop.is_set():
            return
        batch = [f"{producer}-{number + i}" for i in range(BATCH)]
        seen.tried.update(batch)
        try:
            queue.batch_send_message([Message(body) for body in batch], random.choice((0, 0, 1)))
        except CMQExceptionBase:
            queue = seen.queue()
            time.sleep(0.05)
        else:
            seen.confirmed.update(batch)


def consume(seen: Seen) -> None:
    """Receive and delete, but let the lock of one batch in ten expire."""
    queue = seen.queue()
    while not seen.stop.is_set():
        try:
            messages = queue.batch_receive_message(BATCH, 1)
            seen.got(messages)
            if random.random() > 0.1:
                delete_all(queue, messages)
        except CMQExceptionBase as error:
            if getattr(error, "code", None) != NO_MESSAGE:
                queue = seen.queue()
                time.sleep(0.05)


def drain(queue, wait_seconds: int) -> list[Message]:
    """Receive and delete until nothing has come for this long."""
    drained = []
    while True:
        try:
            messages = queue.batch_receive_message(BATCH, wait_seconds)
        except CMQExceptionBase as error:
            equal("code", error.code, NO_MESSAGE)
            return drained
        drained += messages
        delete_all(queue, messages)


def kills_lose_nothing():
    require_restart()
    with fresh_queue("kills", visibilityTimeout=2, rewindSeconds=3600) as queue:
        seen, began = Seen(queue.queue_name), int(time.time())
        threads = [threading.Thread(target=produce, args=(seen, number)) for number in range(PRODUCERS)]
        threads += [threading.Thread(target=consume, args=(seen,)) for _ in range(CONSUMERS)]
        for thread in threads:
            thread.start()
        for _ in range(KILLS):
            time.sleep(SECONDS_BETWEEN)
            restart_broker()
        time.sleep(SECONDS_BETWEEN)
        seen.stop.set()
        for thread in threads:
            thread.join()
        queue = seen.queue()
        # Longer than any lock or delay.
        seen.got(drain(queue, 4))
        equal("confirmed and lost", sorted(seen.confirmed - seen.received), [])
        equal("received and never sent", sorted(seen.received - seen.tried), [])
        equal("handles given twice", len(seen.handles) - len(set(seen.handles)), 0)

        queue.rewindQueue(began)
        again = bodies(drain(queue, 0))
        equal("came again by rewinding", sorted(again), sorted(seen.received))
