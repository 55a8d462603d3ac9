"""What the workers saw, as plain events in order of time. The checker reads them."""

import json
import pathlib
import time
from typing import NamedTuple

# A message is sent to a route. Its id is the publisher's session and a number: "p1/3 17".
PUBLISH, CONFIRM, REFUSE = "publish", "confirm", "refuse"
# A consumer's session gets a message, and what it sends about it. SETTLED: the broker has answered that it is settled.
CONSUME, DELIVER, CORRUPT = "consume", "deliver", "corrupt"
ACK, REJECT, REQUEUE, SETTLED = "ack", "reject", "requeue", "settled"
# A valid receipt handle was refused.
HANDLE_REFUSED = "handle-refused"
# The end of a session, whatever ended it. One that reads everything at the end names its queue.
END = "end"
# A thing that is defined or dropped: asked for, and done. LISTED: it is there at the end.
DEFINE, DEFINED, DROP, DROPPED, LISTED = "define", "defined", "drop", "dropped", "listed"
# Of the run: a fault begins, ends, something else that a reader of the history wants to know.
FAULT, HEAL, NOTE = "fault", "heal", "note"
# Sessions that begin with this read everything at the end of the run.
FINAL = "final"


class Event(NamedTuple):
    """One thing that a worker did or saw. `at` is in seconds of one clock for all workers."""

    at: float
    kind: str
    # The session: a worker's name and the number of its connection, as "orders/3".
    actor: str = ""
    # A queue; the route of a publish; the kind of a defined thing.
    queue: str = ""
    # A message's id, the name of a defined thing, or a text.
    message: str = ""
    # Of a delivery: redelivered. Of a publish: transient.
    flag: bool = False
    # Of deliveries from streams and retained queues: the offset. Of a publish: the delay in ms. Of a lease: its length in ms.
    value: int = -1
    # Messages of one transaction.
    group: str = ""


class History:
    """Collects events from many threads."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.events: list[Event] = []

    def now(self) -> float:
        return time.monotonic() - self.started

    def add(self, kind: str, actor: str = "", queue: str = "", message: str = "", **more) -> None:
        # Appending to a list is atomic.
        self.events.append(Event(more.pop("at", None) or self.now(), kind, actor, queue, message, **more))

    def note(self, text: str) -> None:
        self.add(NOTE, message=text)

    def in_order(self) -> list[Event]:
        return sorted(self.events, key=lambda event: event.at)

    def write(self, path: pathlib.Path) -> None:
        with open(path, "w") as out:
            for event in self.in_order():
                out.write(json.dumps(event) + "\n")


def read(path: pathlib.Path) -> list[Event]:
    return [Event(*json.loads(line)) for line in path.read_text().splitlines()]
