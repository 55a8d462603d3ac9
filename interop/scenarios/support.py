"""Shared by the scenarios: connecting by AMQP and by CMQ, waiting, printing and checking."""

import os
import pathlib
import sys
import time
import uuid

import pika
from cmq.account import Account
from cmq.cmq_exception import CMQServerException
from cmq.queue import Message, QueueMeta

# For the HTTP server of the scenario with a web hook.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

BATCH = 16
NO_MESSAGE = 7000
DURABLE = pika.BasicProperties(delivery_mode=2)


def name(suffix: str) -> str:
    """A name that no other run uses. AMQP and CMQ see the same queues and topics."""
    return f"{suffix}-{uuid.uuid4().hex[:8]}"


def amqp() -> pika.BlockingConnection:
    """A connection by AMQP."""
    return pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))


def account() -> Account:
    """An account of CMQ's API; each thread and process needs one."""
    opened = Account(os.environ["CMQ_URL"], os.environ["CMQ_SECRET_ID"], os.environ["CMQ_SECRET_KEY"])
    opened.close_log()
    return opened


def create_queue(queue_name: str, **attributes) -> None:
    """Create a CMQ queue with these attributes and the SDK's defaults."""
    meta = QueueMeta()
    for attribute, value in attributes.items():
        setattr(meta, attribute, value)
    account().get_queue(queue_name).create(meta)


def send_all(queue_name: str, bodies: list[str]) -> None:
    """Send everything in batches of sixteen; each batch is on disk when its answer comes."""
    queue = account().get_queue(queue_name)
    for start in range(0, len(bodies), BATCH):
        queue.batch_send_message([Message(body) for body in bodies[start : start + BATCH]])


def receive(queue, wait_seconds: int = 1, at_most: int = BATCH) -> list[Message]:
    """Receive up to sixteen messages of a CMQ queue; an empty list if none comes in time."""
    try:
        return queue.batch_receive_message(at_most, wait_seconds)
    except CMQServerException as error:
        if error.code == NO_MESSAGE:
            return []
        raise


def delete(queue, messages: list[Message]) -> None:
    queue.batch_delete_message([message.receiptHandle for message in messages])


def waiting(queue_name: str) -> int:
    """The number of ready messages of a queue, by AMQP."""
    connection = amqp()
    count = connection.channel().queue_declare(queue_name, passive=True).method.message_count
    connection.close()
    return count


def eventually(what: str, probe, seconds: float = 30.0):
    """Call `probe` until it returns something true; fail with `what` after a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := probe():
            return seen
        time.sleep(0.05)
    sys.exit(f"not seen within {seconds:.0f} s: {what}")


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def check(what: str, holds: bool) -> None:
    """Print the check; the scenario ends if it does not hold."""
    if not holds:
        sys.exit(f"  WRONG: {what}")
    print(f"  ok: {what}", flush=True)
