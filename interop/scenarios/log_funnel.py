"""Log lines come ten times faster than the indexer stores them, and none is lost.

Four servers log into one queue at 8,000 lines a second; the indexer stores 800. The backlog grows on disk, but not in
memory. After the rush more indexers help, and the backlog drains. Each line arrives exactly once, and the lines of one
server arrive in order.
"""

import threading
import time

import pika
from support import amqp, check, eventually, name, say, waiting

SERVERS = 4
LINES_PER_TICK = 200
TICK_SECONDS = 0.1
RUSH_TICKS = 40
SLOWER = 10
WINDOW = 400
HELPERS = 2
LINE = "{server} {number} GET /item/{number} 200 " + "x" * 100


def server(number: int, queue: str) -> None:
    """Logs at a steady pace; a tick's lines are on disk before the next tick's are written."""
    connection = amqp()
    channel = connection.channel()
    due = time.monotonic()
    channel.tx_select()
    for tick in range(RUSH_TICKS):
        for line in range(tick * LINES_PER_TICK, (tick + 1) * LINES_PER_TICK):
            body = LINE.format(server=number, number=line)
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
        channel.tx_commit()
        due += TICK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
    connection.close()


def index(queue: str, stored: list[tuple[int, int]], slow: threading.Event, total: int) -> None:
    """Stores lines, at a tenth of the servers' pace while `slow` is set; ends when all are stored."""
    pace = LINES_PER_TICK * SERVERS // SLOWER
    connection = amqp()
    channel = connection.channel()
    channel.basic_qos(prefetch_count=WINDOW)
    taken, due = 0, time.monotonic()
    for method, _, body in channel.consume(queue, inactivity_timeout=0.2):
        if method is None:
            if len(stored) >= total:
                break
            continue
        origin, number, _ = body.decode().split(" ", 2)
        stored.append((int(origin), int(number)))
        channel.basic_ack(method.delivery_tag)
        taken += 1
        if slow.is_set() and taken % pace == 0:
            due += TICK_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))
    connection.close()


def main() -> None:
    queue, total = name("log-lines"), SERVERS * RUSH_TICKS * LINES_PER_TICK
    declared = amqp().channel()
    declared.queue_declare(queue, durable=True)
    stored: list[tuple[int, int]] = []
    slow = threading.Event()
    slow.set()
    indexer = threading.Thread(target=index, args=(queue, stored, slow, total), daemon=True)
    indexer.start()
    servers = [threading.Thread(target=server, args=(number, queue)) for number in range(SERVERS)]
    started = time.monotonic()
    for thread in servers:
        thread.start()
    for thread in servers:
        thread.join()
    rush = time.monotonic() - started
    backlog, kept_up = waiting(queue), len(stored)
    say(f"{total} lines in {rush:.1f} s; {kept_up} stored meanwhile; {backlog} wait")
    check("most of the lines are in the backlog", backlog > total / 2)

    slow.clear()
    started = time.monotonic()
    helpers = [
        threading.Thread(target=index, args=(queue, stored, slow, total), daemon=True) for _ in range(HELPERS)
    ]
    for thread in helpers:
        thread.start()
    eventually("all lines stored", lambda: len(stored) >= total, 60)
    say(f"the backlog is drained after {time.monotonic() - started:.1f} s")
    check("each line arrived exactly once", len(stored) == len(set(stored)) == total)
    early = stored[:kept_up]
    in_order = all(
        [line for line in early if line[0] == number] == sorted(line for line in early if line[0] == number)
        for number in range(SERVERS)
    )
    # The order can be checked only for the lines that one indexer has stored.
    check("the lines of each server came in order to the one indexer", in_order)
    check("nothing is left in the queue", waiting(queue) == 0)
    declared.queue_delete(queue)


if __name__ == "__main__":
    main()
