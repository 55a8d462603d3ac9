"""Judges a history: what was confirmed and lost, invented, out of order, there again. Pure; a timeout is unknown, never failed."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Iterator, NamedTuple

import history as h
from history import Event


# Brokers count in whole milliseconds.
CLOCK_S = 0.002


class Fault(NamedTuple):
    """One promise that was broken."""

    kind: str
    text: str


@dataclass(frozen=True)
class Queue:
    """What holds for a queue. `kind`: `work`; `stream`; `retained`, a work queue that is rewound and read at the end; `rewound`,
    one that is rewound at any time; `leased`, received from by CMQ."""

    name: str
    kind: str = "work"
    # The queue that gets its rejected messages.
    dead_letters: str = ""
    is_ordered: bool = True
    # Confirmed transient messages end with the broker that holds them.
    loses_transient: bool = False


@dataclass(frozen=True)
class Rules:
    """What a history is judged by."""

    queues: dict[str, Queue]
    # The queues that a message of a route must reach.
    routes: dict[str, tuple[str, ...]]
    # An ack is durable after this time without a fault or the end of its session.
    quiet_s: float = 1.0
    # The brokers' clocks were set, so that delays and leases may end at other times.
    clocks_are_set: bool = False
    # A transaction's messages are there together or not at all.
    atomic_transactions: bool = True


@dataclass
class Publish:
    at: float
    session: str
    number: int
    route: str
    transient: bool
    delay_ms: int
    group: str


@dataclass
class Delivery:
    at: float
    session: str
    redelivered: bool
    value: int
    # ACK, REJECT, REQUEUE, or none: what the consumer sent.
    outcome: str = ""
    outcome_at: float = 0.0
    is_certain: bool = False


@dataclass
class Index:
    """A history by message."""

    published: dict[str, Publish] = field(default_factory=dict)
    confirmed: dict[str, float] = field(default_factory=dict)
    # By queue and message, in order of time.
    deliveries: dict[tuple[str, str], list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    # By session: queue, message, delivery.
    sessions: dict[str, list[tuple[str, str, Delivery]]] = field(default_factory=lambda: defaultdict(list))
    consumes: dict[str, int] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    # Queue and session of those who read everything at the end.
    final_reads: set[tuple[str, str]] = field(default_factory=set)
    disturbed: list[tuple[float, float]] = field(default_factory=list)

    def note_reader(self, event: Event) -> None:
        if event.actor.startswith(h.FINAL) and event.queue:
            self.final_reads.add((event.queue, event.actor))

    def settled(self, rules: Rules, queue: str, message: str) -> bool:
        """Whether a consumer got it and sent its end: an ack, or a reject that leads to an ack of the dead letter."""
        where = rules.queues[queue]
        for delivery in self.deliveries.get((queue, message), []):
            if delivery.outcome == h.ACK or (delivery.outcome == h.REJECT and not where.dead_letters):
                return True
        return bool(where.dead_letters) and self.settled(rules, where.dead_letters, message)

    def is_quiet(self, begin: float, session: str, seconds: float) -> bool:
        """Whether no fault was there and the session lived, for so long after `begin`."""
        end = begin + seconds
        if self.ends.get(session, end) < end:
            return False
        return not any(start < end and stop > begin for start, stop in self.disturbed)


def index(events: list[Event]) -> Index:
    found = Index()
    fault_since: float | None = None
    for event in events:
        match event.kind:
            case h.PUBLISH:
                session, number = event.message.rsplit(" ", 1)
                found.published[event.message] = Publish(
                    event.at, session, int(number), event.queue, event.flag, event.value, event.group
                )
            case h.CONFIRM:
                found.confirmed.setdefault(event.message, event.at)
            case h.CONSUME:
                found.consumes[event.actor] = event.value
            case h.DELIVER:
                delivery = Delivery(event.at, event.actor, event.flag, event.value)
                found.deliveries[event.queue, event.message].append(delivery)
                found.sessions[event.actor].append((event.queue, event.message, delivery))
                found.note_reader(event)
            case h.ACK | h.REJECT | h.REQUEUE | h.SETTLED:
                _note_outcome(found, event)
            case h.END:
                found.ends[event.actor] = event.at
                found.note_reader(event)
            case h.FAULT:
                fault_since = event.at if fault_since is None else fault_since
            case h.HEAL if fault_since is not None:
                found.disturbed.append((fault_since, event.at))
                fault_since = None
    if fault_since is not None:
        found.disturbed.append((fault_since, float("inf")))
    return found


def _note_outcome(found: Index, event: Event) -> None:
    for delivery in reversed(found.deliveries.get((event.queue, event.message), [])):
        if delivery.session == event.actor:
            if event.kind == h.SETTLED:
                delivery.is_certain = True
            else:
                delivery.outcome, delivery.outcome_at = event.kind, event.at
            return


def check(events: list[Event], rules: Rules, is_whole: bool = True) -> list[Fault]:
    """All broken promises of a history that is in order of time. One that is not whole ends before its queues were empty."""
    found = index(events)
    at_any_time = (invented, out_of_order, again, streams, early, leases)
    at_the_end = (lost, lost_from_final_reads, transactions) if is_whole else ()
    faults = [fault for one in (*at_any_time, *at_the_end) for fault in one(found, rules)]
    return faults + list(definitions(events)) + list(noted(events))


def lost(found: Index, rules: Rules) -> Iterator[Fault]:
    """Confirmed, and no consumer has got and ended it."""
    for message in found.confirmed:
        publish = found.published[message]
        for queue in rules.routes[publish.route]:
            where = rules.queues[queue]
            if where.kind == "stream" or (publish.transient and where.loses_transient):
                continue
            if not found.settled(rules, queue, message):
                seen = found.deliveries.get((queue, message), [])
                how = "never delivered" if not seen else f"last {seen[-1].outcome or 'delivered'} at {seen[-1].at:.2f}, then never again"
                yield Fault("lost", f"{message!r} of {queue}, confirmed at {found.confirmed[message]:.2f}: {how}")


def lost_from_final_reads(found: Index, rules: Rules) -> Iterator[Fault]:
    """Confirmed, and one of those who read a whole stream or rewound queue at the end has not got it."""
    finals: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for queue, session in found.final_reads:
        finals[queue][session] = {message for where, message, _ in found.sessions.get(session, []) if where == queue}
    for message in found.confirmed:
        publish = found.published[message]
        for queue in rules.routes[publish.route]:
            where = rules.queues[queue]
            if where.kind not in ("stream", "retained") or (publish.transient and where.loses_transient):
                continue
            for session, read in finals[queue].items() or [("anyone", set())]:
                if message not in read:
                    yield Fault("lost", f"{message!r} of {queue}, confirmed at {found.confirmed[message]:.2f}: not read at the end by {session}")


def invented(found: Index, rules: Rules) -> Iterator[Fault]:
    """Delivered and never published, or not to this queue."""
    reachable = {route: _with_dead_letters(rules, queues) for route, queues in rules.routes.items()}
    for queue, message in found.deliveries:
        publish = found.published.get(message)
        if publish is None:
            yield Fault("invented", f"{message!r} is delivered from {queue} and was never published")
        elif queue not in reachable[publish.route]:
            yield Fault("invented", f"{message!r} is delivered from {queue}, which its route {publish.route} does not reach")


def _with_dead_letters(rules: Rules, queues: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for queue in queues:
        while queue and queue not in found:
            found.add(queue)
            queue = rules.queues[queue].dead_letters
    return found


def out_of_order(found: Index, rules: Rules) -> Iterator[Fault]:
    """In one consumer's session, the messages of a publisher's session that were not redelivered come in their order."""
    for session, seen in found.sessions.items():
        last: dict[tuple[str, str], int] = {}
        for queue, message, delivery in seen:
            where, publish = rules.queues[queue], found.published.get(message)
            is_final = session.startswith(h.FINAL)
            if publish is None or not where.is_ordered or (delivery.redelivered and not is_final):
                continue
            key = queue, publish.session
            if publish.number < last.get(key, -1):
                yield Fault("order", f"{session} gets {message!r} of {queue} after number {last[key]}")
            last[key] = publish.number


def again(found: Index, rules: Rules) -> Iterator[Fault]:
    """There again without `redelivered`, or though its end was durable."""
    for (queue, message), all_seen in found.deliveries.items():
        kind = rules.queues[queue].kind
        if kind == "stream":
            continue
        seen = [delivery for delivery in all_seen if kind != "retained" or not delivery.session.startswith(h.FINAL)]
        for before, now in zip(seen, seen[1:]):
            if not now.redelivered:
                yield Fault("unflagged", f"{message!r} of {queue} is there again at {now.at:.2f} without redelivered")
            if kind == "rewound" or before.outcome not in (h.ACK, h.REJECT):
                continue
            if before.is_certain and now.at > before.outcome_at:
                yield Fault("again", f"{message!r} of {queue} is there again at {now.at:.2f}; its end was answered")
            elif kind != "leased" and now.at > before.outcome_at + rules.quiet_s:
                if found.is_quiet(before.outcome_at, before.session, rules.quiet_s):
                    yield Fault("again", f"{message!r} of {queue} is there again at {now.at:.2f}; {before.outcome} at {before.outcome_at:.2f}")


def streams(found: Index, rules: Rules) -> Iterator[Fault]:
    """All readers see one log: each offset has one message, none is left out, each message is there once."""
    logs: dict[str, dict[int, str]] = defaultdict(dict)
    for session, seen in found.sessions.items():
        expected = found.consumes.get(session, -1)
        for queue, message, delivery in seen:
            if rules.queues[queue].kind != "stream":
                continue
            if expected >= 0 and delivery.value != expected:
                yield Fault("stream", f"{session} gets offset {delivery.value} of {queue} and not {expected}")
            expected = delivery.value + 1
            known = logs[queue].setdefault(delivery.value, message)
            if known != message:
                yield Fault("stream", f"offset {delivery.value} of {queue} is {known!r}, and {message!r} for {session}")
    for queue, log in logs.items():
        places: dict[str, int] = {}
        last: dict[str, int] = {}
        for offset in sorted(log):
            message = log[offset]
            if message in places:
                yield Fault("stream", f"{message!r} is in {queue} at {places[message]} and {offset}")
            places[message] = offset
            if publish := found.published.get(message):
                if publish.number < last.get(publish.session, -1):
                    yield Fault("order", f"{message!r} is in {queue} after number {last[publish.session]}")
                last[publish.session] = publish.number


def transactions(found: Index, rules: Rules) -> Iterator[Fault]:
    """The messages of a transaction are there together or not at all."""
    groups: dict[str, list[str]] = defaultdict(list)
    for message, publish in found.published.items():
        if publish.group:
            groups[publish.group].append(message)
    for group, messages in groups.items() if rules.atomic_transactions else ():
        for queue in rules.routes[found.published[messages[0]].route]:
            there = [message for message in messages if (queue, message) in found.deliveries]
            if there and len(there) < len(messages):
                yield Fault("transaction", f"{group}: {len(there)} of {len(messages)} messages are in {queue}")


def early(found: Index, rules: Rules) -> Iterator[Fault]:
    """Delivered before its delay was over."""
    if rules.clocks_are_set:
        return
    for (queue, message), seen in found.deliveries.items():
        publish = found.published.get(message)
        if publish and publish.delay_ms > 0 and seen[0].at < publish.at + publish.delay_ms / 1000 - CLOCK_S:
            yield Fault("early", f"{message!r} of {queue} is there {seen[0].at - publish.at:.3f} s after its publish, delay {publish.delay_ms} ms")


def leases(found: Index, rules: Rules) -> Iterator[Fault]:
    """Received by two while the lease of the first lasts."""
    for (queue, message), seen in found.deliveries.items():
        if rules.queues[queue].kind != "leased" or rules.clocks_are_set:
            continue
        for before, now in zip(seen, seen[1:]):
            if now.at < before.at + before.value / 1000:
                yield Fault("lease", f"{message!r} of {queue} is received at {now.at:.2f}, leased since {before.at:.2f} for {before.value} ms")


def definitions(events: list[Event]) -> Iterator[Fault]:
    """What was defined is there, what was dropped is not. Nothing is known of a name whose last request has no answer."""
    state: dict[tuple[str, str], str] = {}
    listed, is_listed = set(), False
    for event in events:
        key = (event.queue, event.message)
        match event.kind:
            case h.DEFINE | h.DROP:
                state[key] = "unknown"
            case h.DEFINED | h.DROPPED:
                state[key] = event.kind
            case h.LISTED:
                is_listed = True
                listed.add(key)
    for (kind, name), last in state.items() if is_listed else ():
        if last == h.DEFINED and (kind, name) not in listed:
            yield Fault("definition", f"{kind} {name} was answered and is not there")
        if last == h.DROPPED and (kind, name) in listed:
            yield Fault("definition", f"{kind} {name} was deleted and is there")
    for kind, name in listed - state.keys():
        if name:
            yield Fault("definition", f"{kind} {name} is there and was never declared")


def noted(events: list[Event]) -> Iterator[Fault]:
    """What a worker saw is wrong in itself."""
    for event in events:
        if event.kind == h.CORRUPT:
            yield Fault("corrupt", f"{event.queue} delivers at {event.at:.2f} {event.message}")
        if event.kind == h.HANDLE_REFUSED:
            yield Fault("handle", f"{event.queue} at {event.at:.2f}: {event.message}")


class Summary(NamedTuple):
    """Figures of a history."""

    published: int
    confirmed: int
    delivered: int
    redelivered: int
    # The longest time between two confirms of one route, which route, and when it began.
    longest_gap_s: float
    gap_at: float
    gap_route: str

    def __str__(self) -> str:
        return (
            f"{self.published} published, {self.confirmed} confirmed, {self.delivered} delivered ({self.redelivered} redelivered), "
            f"longest time without a confirm {self.longest_gap_s:.2f} s ({self.gap_route}, at {self.gap_at:.1f} s)"
        )


def summary(events: list[Event]) -> Summary:
    kinds: dict[str, int] = defaultdict(int)
    last: dict[str, float] = {}
    redelivered, gap, gap_at, gap_route = 0, 0.0, 0.0, ""
    for event in events:
        kinds[event.kind] += 1
        redelivered += event.kind == h.DELIVER and event.flag
        if event.kind == h.CONFIRM:
            before = last.get(event.queue, event.at)
            if event.at - before > gap:
                gap, gap_at, gap_route = event.at - before, before, event.queue
            last[event.queue] = event.at
    return Summary(kinds[h.PUBLISH], kinds[h.CONFIRM], kinds[h.DELIVER], redelivered, gap, gap_at, gap_route)
