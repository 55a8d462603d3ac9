"""Workers crash while they process pictures, and every picture is still processed.

A web site asks for thumbnails: each request is a message in a queue, each finished thumbnail a message in another.
Workers take a request, work on it and answer. A worker holds the lock of its request for two seconds at most
(`x-visibility-timeout`). Three things happen to the workers while they hold a request:

- a worker with AMQP is killed: its connection ends, and the broker requeues its request immediately;
- a worker with CMQ's HTTP API is killed: the broker does not notice, and the lock expires;
- a worker with AMQP stops responding while its connection stays open: the lock expires, another worker gets the
  request, and the late ack of the first worker has no effect.

Every request is answered at least once, and none is left.
"""

import multiprocessing
import os
import signal
import time

from cmq.queue import Message
from support import DURABLE, account, amqp, check, eventually, name, receive, say

REQUESTS = 120
LOCK_MS = 2000
WORK_SECONDS = 0.05
SIDE = 16
# Each answer begins with the name of its worker.
AMQP_WORKERS = ("anna", "ben")
HTTP_WORKERS = ("carl", "dora")
STUCK, KILLED_AMQP, KILLED_HTTP = "anna", "ben", "carl"


def thumbnail(picture: bytes) -> bytes:
    """Every second pixel of every second line."""
    time.sleep(WORK_SECONDS)
    return b"".join(picture[line * SIDE : (line + 1) * SIDE : 2] for line in range(0, SIDE, 2))


def picture(number: int) -> bytes:
    return bytes((number + x * y) % 251 for x in range(SIDE) for y in range(SIDE))


def work(worker: str, request: str) -> str:
    number, pixels = request.split(":")
    return f"{worker}:{number}:{thumbnail(bytes.fromhex(pixels)).hex()}"


def amqp_worker(worker: str, requests: str, answers: str, ready, busy) -> None:
    """Takes requests one at a time and sends each answer before the ack."""
    channel = amqp().channel()
    channel.basic_qos(prefetch_count=1)
    channel.confirm_delivery()
    ready.set()
    for method, _, body in channel.consume(requests):
        busy.set()
        channel.basic_publish("", answers, work(worker, body.decode()).encode(), DURABLE)
        channel.basic_ack(method.delivery_tag)


def http_worker(worker: str, requests: str, answers: str, ready, busy) -> None:
    """The same by HTTP: a received request stays locked until its receipt handle deletes it."""
    client = account()
    source, target = client.get_queue(requests), client.get_queue(answers)
    ready.set()
    while True:
        for message in receive(source, at_most=1):
            busy.set()
            target.send_message(Message(work(worker, message.msgBody)))
            source.delete_message(message.receiptHandle)


def start(worker: str, requests: str, answers: str):
    """Start a worker process; returns it when it is ready, with an event that is set while it has a request."""
    ready, busy = multiprocessing.Event(), multiprocessing.Event()
    run = amqp_worker if worker in AMQP_WORKERS else http_worker
    process = multiprocessing.Process(target=run, args=(worker, requests, answers, ready, busy), daemon=True)
    process.start()
    check(f"{worker} is at work", ready.wait(30))
    return process, busy


def main() -> None:
    requests, answers = name("thumbnail-requests"), name("thumbnail-answers")
    channel = amqp().channel()
    channel.confirm_delivery()
    locked = {"x-queue-type": "quorum", "x-visibility-timeout": LOCK_MS}
    channel.queue_declare(requests, durable=True, arguments=locked)
    channel.queue_declare(answers, durable=True, arguments={"x-queue-type": "quorum"})
    workers = {worker: start(worker, requests, answers) for worker in (*AMQP_WORKERS, *HTTP_WORKERS)}
    for number in range(REQUESTS):
        channel.basic_publish("", requests, f"{number}:{picture(number).hex()}".encode(), DURABLE)
    say(f"{REQUESTS} requests, {len(workers)} workers")

    for victim, sig in ((STUCK, signal.SIGSTOP), (KILLED_AMQP, signal.SIGKILL), (KILLED_HTTP, signal.SIGKILL)):
        process, busy = workers[victim]
        busy.clear()
        check(f"{victim} has a request in hand", busy.wait(10))
        os.kill(process.pid, sig)
        say(f"{victim} got {sig.name}")

    answered: dict[int, list[str]] = {}

    def all_answered() -> bool:
        for method, _, body in channel.consume(answers, inactivity_timeout=0.2):
            if method is None:
                break
            worker, number, _ = body.decode().split(":")
            answered.setdefault(int(number), []).append(worker)
            channel.basic_ack(method.delivery_tag)
        return len(answered) == REQUESTS

    eventually("an answer to every request", all_answered)
    check("every request was answered", sorted(answered) == list(range(REQUESTS)))

    os.kill(workers[STUCK][0].pid, signal.SIGCONT)
    say(f"{STUCK} got SIGCONT, and finishes its request")
    source = account().get_queue(requests)

    def none_left() -> bool:
        attributes = source.get_attributes()
        return attributes.activeMsgNum == 0 and attributes.inactiveMsgNum == 0

    eventually("no request waiting or locked", none_left)
    check("no request is left", none_left())

    def answered_twice() -> list[int]:
        all_answered()
        return [number for number, by in answered.items() if len(by) > 1]

    twice = eventually(f"the late answer of {STUCK}", answered_twice)
    say(f"answered by more than one worker: {len(twice)} of {REQUESTS}")
    check("other workers have answered its requests", all(set(answered[number]) - {STUCK} for number in twice))
    for process, _ in workers.values():
        process.kill()
    channel.queue_delete(requests)
    channel.queue_delete(answers)


if __name__ == "__main__":
    main()
