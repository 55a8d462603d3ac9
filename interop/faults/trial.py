"""One case from the start of its set to the verdict: workload, faults, healing, draining, final reads, the checker."""

import argparse
import contextlib
import pathlib
import random
import shutil
import subprocess
import threading
import time
import traceback

import checker
import history as h
import leases
import network
import workers
from cases import Case
from client import Client, Delivery
from history import History
from injections import FAULTS, possible
from layout import FAN, LEASE_S, laid_out, rules
from leveret import LeveretSet, has_old_release
from nodes import Node, NotReady, Set, eventually
from rabbitmq import RabbitSet
from raw import Closed
from workers import Consumer, Definer, Publisher, Rewinder, StreamReader, Transactor, Worker, message_of

DRAIN_S = 120.0
BACK_S = 120.0
# Confirms must come again this soon after the end of a fault.
SERVE_S = 30.0
SHOWN_FAULTS = 15
ENDS = {"leveret": LeveretSet, "rabbitmq": RabbitSet}


class Trial:
    """A case with its set, workers and history."""

    def __init__(self, options: argparse.Namespace, case: Case, folder: pathlib.Path, chance: random.Random, number: int):
        self.options, self.case, self.folder, self.chance = options, case, folder, chance
        # One network for all cases; each has its own numbers of nodes from 1.
        if number:
            network.clear()
        self.history = History()
        self.brokers: Set = ENDS[options.broker](folder, options.nodes)
        self.brokers.at_leader = options.at == "leader"
        if case.begins_old:
            self.brokers.begin_old()
        self.publishers: list[Worker] = []
        self.consumers: list[Worker] = []
        self.problems: list[str] = []
        self.faults_done: set[str] = set()
        self.with_leases = False
        self.is_whole = False

    def run(self) -> str:
        """`ok`, `FAIL`, or `skip` if none of its faults can be had here."""
        if self.case.begins_old and not (self.brokers.is_leveret and has_old_release()):
            return "skip"
        if self.case.faults and not any(possible(name, self.brokers) for name in self.case.faults):
            return "skip"
        try:
            self.brokers.start()
            self._declare()
            self._begin_workers()
            self._break_things()
            self._finish()
            self.is_whole = True
        except (NotReady, OSError, Closed, subprocess.SubprocessError) as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        except Exception:
            self.problems.append(traceback.format_exc())
        finally:
            for worker in [*self.publishers, *self.consumers]:
                worker.stopping.set()
            self.brokers.stop()
        return "ok" if self._judge() else "FAIL"

    def _declare(self) -> None:
        client = Client(self.brokers.wait_leader().address)
        client.declare_fanout(FAN)
        for laid in laid_out(self.brokers.is_leveret):
            client.declare(laid.queue.name, laid.arguments)
            if laid.is_bound:
                client.bind(laid.queue.name, FAN)
        client.close()

    def _begin_workers(self) -> None:
        rest = self.brokers, self.history, str(self.options.seed)
        rate = self.options.rate

        def publish(name: str, **more) -> None:
            self.publishers.append(Publisher(name, *rest, **more))

        def consume(name: str, **more) -> None:
            self.consumers.append(Consumer(name, *rest, **more))

        for number in 1, 2:
            publish(f"orders{number}", route="orders", rate=40 * rate, transient=0.3)
            consume(f"orders-c{number}", queue="orders", rejects=0.05, requeues=0.05)
            publish(f"classic{number}", route="classic", rate=40 * rate, transient=0.3)
            consume(f"classic-c{number}", queue="classic", requeues=0.05)
            self.consumers.append(StreamReader(f"reader{number}", *rest, queue="stream"))
        publish("large", route="large", rate=4 * rate, size=65536)
        publish("fan", route=FAN, exchange=FAN, rate=30 * rate, size=300)
        publish("stream", route="stream", rate=30 * rate)
        self.publishers.append(Transactor("transactor", *rest, route="atomic", rate=5 * rate))
        self.publishers.append(Definer("definer", *rest))
        for queue in "dead", "large", "atomic", "fan.1", "fan.2":
            consume(f"{queue}-c", queue=queue)
        if self.brokers.is_leveret:
            self._begin_leveret_workers(rest, publish, consume, rate)
        for worker in [*self.publishers, *self.consumers]:
            worker.start()

    def _begin_leveret_workers(self, rest: tuple, publish, consume, rate: float) -> None:
        publish("delayed", route="delayed", rate=20 * rate, delay_ms=3000)
        publish("retained", route="retained", rate=30 * rate)
        publish("rewound", route="rewound", rate=15 * rate)
        for queue in "delayed", "retained", "rewound":
            consume(f"{queue}-c", queue=queue)
        self.publishers.append(Rewinder("rewinder", *rest, queue="rewound"))
        key = leases.make_key(self.brokers)
        self.with_leases = True
        self.publishers.append(leases.Sender("sender", *rest, key=key, rate=15 * rate))
        self.consumers += [leases.Receiver(f"receiver{number}", *rest, key=key) for number in (1, 2)]

    def _break_things(self) -> None:
        time.sleep(2)
        for name in self._schedule():
            if not possible(name, self.brokers):
                print(f"#  {name}: not with this set or these rights", flush=True)
                continue
            self._one_fault(name)
        time.sleep(2)

    def _schedule(self):
        if self.case.name == "calm":
            time.sleep(min(self.options.seconds, 20))
        elif self.case.faults:
            yield from self.case.faults
        else:
            deadline = time.monotonic() + self.options.seconds
            names = [name for name in FAULTS if possible(name, self.brokers)]
            while time.monotonic() < deadline:
                yield self.chance.choice(names)

    def _one_fault(self, name: str) -> None:
        self.faults_done.add(name)
        began = time.monotonic()
        self.history.add(h.FAULT, message=name)
        to_whom = FAULTS[name][0](self.brokers, self.chance)
        time.sleep(self.chance.uniform(*self.case.hold_s))
        self.brokers.heal()
        self.brokers.wait(BACK_S)
        healed = self.history.now()
        confirmed = self._next_confirm(healed)
        self.history.add(h.HEAL, message=name)
        print(f"#  {began - self.history.started:6.1f} s {name} ({to_whom}), back after {time.monotonic() - began:.1f} s, "
              f"a confirm {confirmed - healed:.2f} s later", flush=True)  # fmt: skip
        time.sleep(self.chance.uniform(*self.case.gap_s))

    def _next_confirm(self, since: float) -> float:
        """When a message that was published since then was confirmed."""

        def found() -> float | None:
            sent = set()
            for event in self.history.events[-4000:]:
                if event.kind == h.PUBLISH and event.at > since:
                    sent.add(event.message)
                elif event.kind == h.CONFIRM and event.message in sent:
                    return event.at
            return None

        return eventually("a confirm after the end of a fault", found, SERVE_S)

    def _finish(self) -> None:
        """Stops the publishers, drains, reads all again at the end."""
        for worker in self.publishers:
            worker.stopping.set()
        _join(self.publishers)
        self._drain()
        for worker in self.consumers:
            worker.stopping.set()
        _join(self.consumers)
        time.sleep(1.5)
        self._look_again()
        for node in self._readers():
            self._read_all(node)
        self._list()
        if differ := self.brokers.stores_differ():
            self.problems.append(f"the nodes' stores differ: {differ}")

    def _drain(self) -> None:
        silence = LEASE_S + 2 if self.with_leases else 3
        queues = [laid.queue.name for laid in laid_out(self.brokers.is_leveret) if laid.queue.kind != "stream"]

        def drained() -> bool:
            last = next((event.at for event in reversed(self.history.events) if event.kind == h.DELIVER), 0.0)
            if self.history.now() - last < silence:
                return False
            client = Client(self.brokers.wait_leader().address)
            try:
                return all(client.ready(queue) == 0 for queue in queues)
            finally:
                client.close()

        eventually("empty queues at the end", drained, DRAIN_S)

    def _look_again(self) -> None:
        """Whatever is still in a work queue is delivered once more, and judged."""
        for laid in laid_out(self.brokers.is_leveret):
            if laid.queue.kind != "stream":
                self._read(self.brokers.wait_leader(), f"last/{laid.queue.name}", laid.queue.name, None, 0.3)

    def _readers(self) -> list[Node]:
        """All nodes, where the leadership can be handed to each in turn."""
        if self.options.nodes == 1 or not self.brokers.is_leveret:
            return [self.brokers.wait_leader()]
        return list(self.brokers.members)

    def _read_all(self, node: Node) -> None:
        """Reads streams and rewound queues whole with this node as the leader."""
        if self.brokers.wait_leader() is not node:
            self.brokers.transfer(node)
            eventually(f"{node.name} as the leader", lambda: self.brokers.leader() is node, 60)
        self._read(node, f"{h.FINAL}/{node.name}/stream", "stream", 0, 3.0)
        if self.brokers.is_leveret:
            client = Client(node.address)
            client.select_confirms()
            client.publish("amq.leveret.rewind", "retained", workers.properties(1), b"0")
            eventually("the confirm of a rewind", lambda: client.pump(0.1), 20)
            client.close()
            self._read(node, f"{h.FINAL}/{node.name}/retained", "retained", None, 3.0)

    def _read(self, node: Node, session: str, queue: str, offset: int | None, silence_s: float) -> None:
        """Takes and acks everything until nothing comes for a while."""
        client = Client(node.address)
        if offset is not None:
            self.history.add(h.CONSUME, session, queue, value=offset)
        client.consume(queue, 500, {} if offset is None else {"x-stream-offset": offset})
        last = time.monotonic()
        while time.monotonic() - last < silence_s:
            for seen in client.pump(0.05):
                if isinstance(seen, Delivery):
                    last = time.monotonic()
                    message = message_of(seen.body)
                    if message is None:
                        self.history.add(h.CORRUPT, session, queue, repr(seen.body[:60]))
                    else:
                        self.history.add(h.DELIVER, session, queue, message, flag=seen.redelivered, value=seen.offset)
                        self.history.add(h.ACK, session, queue, message)
                    client.ack(seen.tag)
        client.close()
        self.history.add(h.END, session, queue)

    def _list(self) -> None:
        leader = self.brokers.wait_leader()
        self.history.add(h.LISTED, queue="queue")
        for kind, path in ("queue", "queues/%2f?columns=name"), ("policy", "policies/%2f"):
            for one in leader.api("GET", path, seconds=30):
                if one["name"].startswith("defined."):
                    self.history.add(h.LISTED, queue=kind, message=one["name"])

    def _judge(self) -> bool:
        events = self.history.in_order()
        clocks_are_set = "clock-step" in self.faults_done
        faults = checker.check(events, rules(self.brokers.is_leveret, clocks_are_set, self.with_leases), self.is_whole)
        print(f"#  {checker.summary(events)}", flush=True)
        counts: dict[str, int] = {}
        for fault in faults:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
            if counts[fault.kind] <= SHOWN_FAULTS:
                print(f"!  {fault.kind}: {fault.text}", flush=True)
        for problem in self.problems:
            print(f"!  {problem}", flush=True)
        if counts:
            print(f"!  {', '.join(f'{count} x {kind}' for kind, count in counts.items())}", flush=True)
        is_passed = not faults and not self.problems
        if not is_passed and self.options.keep:
            self._keep(self.options.keep / self.case.name)
        return is_passed

    def _keep(self, target: pathlib.Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        self.history.write(target / "history.jsonl")
        for node in self.brokers.every:
            with contextlib.suppress(OSError):
                shutil.copyfile(node.log, target / node.log.name)


def _join(threads: list[threading.Thread]) -> None:
    deadline = time.monotonic() + workers.LINGER_S
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.1))
