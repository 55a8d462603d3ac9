"""A day's sales are counted again by rewinding the queue that carried them.

Sales go through a queue to the books; each is deleted when it is booked. The queue can bring deleted messages back for
an hour (`rewindSeconds`). In the evening the books are short: the program that writes them has dropped some sales of one
shop. The queue is rewound to the beginning of the day: all sales since then come again, in order, and are added up
again. The sums of all shops now agree with their tills. Sales of the day before do not come again.
"""

import json
import random
import time
from collections import Counter

from support import account, check, create_queue, delete, name, receive, say, send_all

SHOPS = ("Berlin", "Lima", "Osaka", "Perth")
FORGOTTEN_SHOP = "Lima"
YESTERDAY, TODAY = 400, 2_000
KEEP_SECONDS = 3600
SEED = 1815


def sales(day: str, count: int) -> list[dict]:
    chance = random.Random(f"{SEED} {day}")
    return [
        {"id": f"{day}-{i}", "shop": chance.choice(SHOPS), "cents": chance.randrange(1, 50_000)} for i in range(count)
    ]


def sums(sold: list[dict]) -> Counter:
    totals: Counter[str] = Counter()
    for sale in sold:
        totals[sale["shop"]] += sale["cents"]
    return totals


def take_all(queue) -> tuple[list[dict], list[int]]:
    """Receive and delete everything in the queue; returns the messages and the times at which they were sent."""
    sold, times = [], []
    while messages := receive(queue, 0):
        sold += [json.loads(message.msgBody) for message in messages]
        times += [message.enqueueTime for message in messages]
        delete(queue, messages)
    return sold, times


def main() -> None:
    queue_name = name("sales")
    create_queue(queue_name, rewindSeconds=KEEP_SECONDS, visibilityTimeout=30)
    queue = account().get_queue(queue_name)
    send_all(queue_name, [json.dumps(sale) for sale in sales("yesterday", YESTERDAY)])
    take_all(queue)
    # Send times are whole seconds, so the day begins with a new second.
    time.sleep(1.1)
    day_began = int(time.time())
    tills = sales("today", TODAY)
    send_all(queue_name, [json.dumps(sale) for sale in tills])

    booked, times = take_all(queue)
    check("everything of the day came", len(booked) == TODAY and min(times) >= day_began)
    books = [sale for i, sale in enumerate(booked) if sale["shop"] != FORGOTTEN_SHOP or i % 10]
    short = {shop: sums(tills)[shop] - sums(books)[shop] for shop in SHOPS if sums(tills)[shop] != sums(books)[shop]}
    say(f"the books are short, in cents: {short}")
    check("one shop's sum does not agree", list(short) == [FORGOTTEN_SHOP])

    started = time.monotonic()
    queue.rewindQueue(day_began)
    say(f"rewound to the beginning of the day in {(time.monotonic() - started) * 1000:.0f} ms")
    again, _ = take_all(queue)
    check("what comes again is the day, whole and in order", [s["id"] for s in again] == [s["id"] for s in tills])
    for shop in SHOPS:
        check(f"{shop}: {sums(again)[shop]} cents, as the tills have it", sums(again)[shop] == sums(tills)[shop])
    check("the books agree but for what was dropped", {s["id"] for s in books} < {s["id"] for s in again})
    check("the queue is empty again", receive(queue, 0) == [])
    queue.delete()


if __name__ == "__main__":
    main()
