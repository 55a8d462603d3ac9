"""Shared by the checks of the Python runner: accounts, temporary queues, and refusals with their codes.

Everything goes through Tencent's SDK as it is published.
"""

import contextlib
import os
import re
import time

from cmq.account import Account
from cmq.cmq_exception import CMQServerException
from cmq.queue import Message, QueueMeta

import codes
from report import eventually  # noqa: F401  (re-exported with the rest)

URL = os.environ["CMQ_URL"]
KEY = (os.environ["CMQ_SECRET_ID"], os.environ["CMQ_SECRET_KEY"])
# A key of a user without permissions.
POWERLESS_KEY = (os.environ["CMQ_POWERLESS_ID"], os.environ["CMQ_POWERLESS_KEY"])
# The factor by which the broker under test scales the waits between pushes.
PUSH_CLOCK = float(os.environ["CMQ_PUSH_CLOCK"])


def name(suffix: str) -> str:
    """A queue or topic name that no other run uses."""
    return f"py-{os.getpid()}-{suffix}"


def account(key: tuple[str, str] = KEY, url: str = URL) -> Account:
    """An account with a new connection, since threads must not share the SDK's objects."""
    opened = Account(url, *key)
    opened.close_log()
    return opened


def meta(**attributes) -> QueueMeta:
    """Queue attributes: the SDK's defaults, and those given."""
    described = QueueMeta()
    for attribute, value in attributes.items():
        assert hasattr(described, attribute), attribute
        setattr(described, attribute, value)
    return described


@contextlib.contextmanager
def fresh_queue(suffix: str, **attributes):
    """A new queue, deleted afterwards."""
    queue = account().get_queue(name(suffix))
    queue.create(meta(**attributes))
    try:
        yield queue
    finally:
        # On a new connection: a check may have left the other one broken.
        account().get_queue(name(suffix)).delete()


def refused(code: int, module: int | tuple[int, ...], action) -> CMQServerException:
    """Run `action` and assert that the service refuses it with this code and one of these module codes."""
    modules = (module,) if isinstance(module, int) else module
    try:
        action()
    except CMQServerException as error:
        stated = re.match(r"\((\d+)\)", error.message)
        got = (error.code, int(stated[1]) if stated else None)
        if got[0] != code or got[1] not in modules:
            raise AssertionError(f"got {got} {error.message!r}, want {code} with one of {modules}")
        return error
    raise AssertionError(f"not refused, want {code} with one of {modules}")


def no_message(queue) -> None:
    """Assert that the queue has no message to receive now."""
    refused(*codes.NO_MESSAGE, lambda: queue.receive_message(0))


def take(queue, count: int, wait_seconds: int = 3) -> list[Message]:
    """Receive `count` messages in as many requests as needed, without deleting them."""
    taken = []
    while len(taken) < count:
        taken += queue.batch_receive_message(min(16, count - len(taken)), wait_seconds)
    return taken


def send_all(queue, bodies: list[str]) -> list[str]:
    """Send each body in a request; returns the ids."""
    return [queue.send_message(Message(body)).msgId for body in bodies]


def bodies(messages) -> list[str]:
    return [message.msgBody for message in messages]


def delete_all(queue, messages) -> None:
    queue.batch_delete_message([message.receiptHandle for message in messages])


def sleep_past(unix_seconds: float) -> None:
    """Wait until the clock has passed a time that the service stated in whole seconds."""
    time.sleep(max(0.0, unix_seconds - time.time()) + 0.05)


def between(what: str, low: float, value: float, high: float) -> None:
    if not low <= value <= high:
        raise AssertionError(f"{what}: {value} is not within {low} to {high}")
