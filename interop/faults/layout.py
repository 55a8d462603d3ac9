"""The queues of the workload, what is declared on the broker for them, and what the checker expects of each."""

from dataclasses import dataclass

from checker import Queue, Rules

FAN = "faults.fan"
LEASE_S = 5
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": -1}


@dataclass(frozen=True)
class Laid:
    """A queue with its arguments. `bound` queues get what is published to the exchange FAN."""

    queue: Queue
    arguments: dict
    is_bound: bool = False


def laid_out(is_leveret: bool) -> list[Laid]:
    # RabbitMQ has no copies of classic queues.
    plain = {} if is_leveret else QUORUM
    dead = QUORUM | {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    if not is_leveret:
        # The default strategy of RabbitMQ may lose dead letters.
        dead |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    found = [
        Laid(Queue("orders", dead_letters="dead"), dead),
        Laid(Queue("dead", is_ordered=False), QUORUM),
        Laid(Queue("classic", loses_transient=is_leveret), plain),
        Laid(Queue("large"), plain),
        Laid(Queue("atomic"), plain),
        Laid(Queue("fan.1"), plain, is_bound=True),
        Laid(Queue("fan.2"), QUORUM, is_bound=True),
        Laid(Queue("stream", "stream"), {"x-queue-type": "stream"}, is_bound=True),
    ]
    if is_leveret:
        found += [
            Laid(Queue("delayed", is_ordered=False), {}),
            Laid(Queue("retained", "retained"), {"x-rewind-seconds": 3600}),
            Laid(Queue("rewound", "rewound", is_ordered=False), {"x-rewind-seconds": 3600}),
        ]
    return found


def rules(is_leveret: bool, clocks_are_set: bool, with_leases: bool) -> Rules:
    laid = laid_out(is_leveret)
    queues = {one.queue.name: one.queue for one in laid}
    if with_leases:
        queues["leased"] = Queue("leased", "leased", is_ordered=False)
    routes = {name: (name,) for name in queues} | {FAN: tuple(one.queue.name for one in laid if one.is_bound)}
    return Rules(queues, routes, clocks_are_set=clocks_are_set, atomic_transactions=is_leveret)
