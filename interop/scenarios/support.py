"""What the scenarios share: how to reach the broker by either face, how to wait, how to say and check what is seen."""

import os
import pathlib
import sys
import time
import uuid

import pika
from cmq.account import Account
from cmq.cmq_exception import CMQServerException
from cmq.queue import Message, QueueMeta

# Where the scenario with a web hook finds its HTTP server.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

BATCH = 16
NO_MESSAGE = 7000
DURABLE = pika.BasicProperties(delivery_mode=2)


def name(suffix: str) -> str:
    """A name that no other run uses; queues and topics of both faces share their names."""
    return f"{suffix}-{uuid.uuid4().hex[:8]}"


def amqp() -> pika.BlockingConnection:
    """A connection by AMQP."""
    return pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))


def account() -> Account:
    """An account of CMQ's API; each thread and process needs its own."""
    opened = Account(os.environ["CMQ_URL"], os.environ["CMQ_SECRET_ID"], os.environ["CMQ_SECRET_KEY"])
    opened.close_log()
    return opened


def create_queue(queue_name: str, **attributes) -> None:
    """A CMQ queue with these attributes, the rest as the SDK has them."""
    meta = QueueMeta()
    for attribute, value in attributes.items():
        setattr(meta, attribute, value)
    account().get_queue(queue_name).create(meta)


def send_all(queue_name: str, bodies: list[str]) -> None:
    """Send everything in batches of sixteen: each batch is on disk, whole, when its answer comes."""
    queue = account().get_queue(queue_name)
    for start in range(0, len(bodies), BATCH):
        queue.batch_send_message([Message(body) for body in bodies[start : start + BATCH]])


def receive(queue, wait_seconds: int = 1, at_most: int = BATCH) -> list[Message]:
    """The messages that a CMQ queue has, sixteen or fewer; none if nothing comes in time."""
    try:
        return queue.batch_receive_message(at_most, wait_seconds)
    except CMQServerException as error:
        if error.code == NO_MESSAGE:
            return []
        raise


def delete(queue, messages: list[Message]) -> None:
    queue.batch_delete_message([message.receiptHandle for message in messages])


def waiting(queue_name: str) -> int:
    """How many messages of a queue are ready, as AMQP tells it."""
    connection = amqp()
    count = connection.channel().queue_declare(queue_name, passive=True).method.message_count
    connection.close()
    return count


def eventually(what: str, probe, seconds: float = 30.0):
    """Call `probe` until it returns something true; give up with what was awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := probe():
            return seen
        time.sleep(0.05)
    sys.exit(f"not seen within {seconds:.0f} s: {what}")


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def check(what: str, holds: bool) -> None:
    """Print what was checked; a scenario ends at the first thing that does not hold."""
    if not holds:
        sys.exit(f"  WRONG: {what}")
    print(f"  ok: {what}", flush=True)
