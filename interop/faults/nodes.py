"""A set of three nodes, each with a network, a disk and a clock of its own; how they are started, killed, paused and asked. What
differs between brokers is in leveret.py and rabbitmq.py."""

import base64
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import network
from client import Client
from disks import Disk
from raw import Closed

READY_S = 180
STOP_S = 60
API_PORT, AMQP_PORT = 15672, 5672
DISK_MB = 1536


class NotReady(Exception):
    """A set does not serve in time, or a node does not start."""


def eventually(what: str, probe: Callable, seconds: float = READY_S):
    """Polls until the probe returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not seen within {seconds:.0f} s")
        time.sleep(0.05)
    return found


class Node:
    """One broker's process and what it has."""

    def __init__(self, number: int, folder: pathlib.Path):
        self.number, self.name, self.address = number, f"n{number}", network.address(number)
        self.folder = folder
        network.add(number)
        self.disk = Disk(folder, self.name, DISK_MB)
        self.log = folder / f"{self.name}.log"
        self.process: subprocess.Popen | None = None
        self.is_paused = False
        # Whether it runs the release before.
        self.is_old = False
        self.clock = folder / f"{self.name}.clock"
        self.set_clock(0)

    def command(self) -> list[str]:
        """The words that become the broker, in this node's namespace."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*network.within(self.number), *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment()}, start_new_session=True)  # fmt: skip

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def processes(self) -> list[int]:
        """The broker's processes, children first."""
        found = [self.process.pid] if self.process else []
        for pid in found:
            try:
                found += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
        return found[::-1]

    def _signal(self, sig: signal.Signals) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """SIGKILL; returns when the processes are gone."""
        if self.runs:
            self._signal(signal.SIGKILL)
            self.disk.thaw()
            self.process.wait(STOP_S)
        self.is_paused = False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to one that does not end."""
        if not self.runs:
            return
        self.resume()
        os.kill(self.broker_process(), signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotReady(f"{self.name} does not stop on SIGTERM within {STOP_S} s") from None

    def broker_process(self) -> int:
        """The process that handles SIGTERM."""
        return self.process.pid

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        if self.is_paused:
            self._signal(signal.SIGCONT)
        self.is_paused = False

    def set_clock(self, seconds: float) -> None:
        """Shifts the broker's wall clock, if it was started with the shim."""
        octets = struct.pack("q", int(seconds * 1e9))
        if not self.clock.exists():
            self.clock.write_bytes(octets)
            return
        with open(self.clock, "r+b") as shared:
            shared.write(octets)

    def data_files(self) -> list[pathlib.Path]:
        """The files of the data directory that are not empty."""
        return sorted(path for path in self.disk.path.rglob("*") if path.is_file() and path.name != "ballast" and path.stat().st_size)

    def api(self, method: str, path: str, body: dict | None = None, seconds: float = 5.0):
        """The answer of the management API; urllib.error.HTTPError for refusals, OSError for silence."""
        request = urllib.request.Request(f"http://{self.address}:{API_PORT}/api/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        if body is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, json.dumps(body).encode() if body is not None else None, timeout=seconds) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def ctl(self, *words: str, seconds: float = 60.0) -> str:
        """Runs a verb of the broker's command line on this node; returns its output."""
        done = subprocess.run(
            [*network.within(self.number), *self.ctl_command(), *words], capture_output=True, text=True, timeout=seconds, env={**os.environ}
        )
        if done.returncode != 0:
            raise NotReady(f"{self.name} {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def ctl_command(self) -> list[str]:
        raise NotImplementedError

    def serves(self) -> bool:
        """Whether a client can log in here."""
        try:
            Client(self.address).close()
        except (OSError, Closed):
            return False
        return True


class Set:
    """The nodes of one cluster. `members` are those that belong to it now, running or not."""

    # Whether it has the queues, headers and APIs of Leveret.
    is_leveret = False
    # The kinds of faults that it cannot have.
    lacks: frozenset[str] = frozenset()

    def __init__(self, folder: pathlib.Path, size: int):
        self.folder, self.size = folder, size
        # Clients connect to the leader only, and not to any node.
        self.at_leader = False
        self.members: list[Node] = [self.node(number) for number in range(1, size + 1)]
        self.every = list(self.members)
        # Nodes whose files were damaged, the last one at the end.
        self.damaged: list[Node] = []
        # Whether its first nodes begin with the release before.
        self.are_old = False

    def node(self, number: int) -> Node:
        raise NotImplementedError

    def begin_old(self) -> None:
        """The first nodes run the release before, until they are upgraded."""
        self.are_old = True
        for node in self.members:
            node.is_old = True

    def start(self) -> None:
        """The first start of all."""
        for node in self.members:
            node.start()
        self.wait()

    def wait(self, seconds: float = READY_S) -> None:
        """Returns when clients can log in where they connect: on every member, or on the leader."""
        if self.at_leader:
            eventually("a login on the leader", lambda: (leader := self.leader()) and leader.serves(), seconds)
            if ended := [node.name for node in self.members if not node.runs]:
                raise NotReady(f"{', '.join(ended)} has ended; see the log in {self.folder}")
            return
        for node in self.members:

            def ready(node: Node = node) -> bool:
                if not node.runs:
                    raise NotReady(f"{node.name} has ended with status {node.process and node.process.returncode}; see {node.log}")
                return node.serves()

            eventually(f"a login on {node.name}", ready, seconds)

    def leader(self) -> Node | None:
        """The node that leads, as far as the others know."""
        raise NotImplementedError

    def wait_leader(self, seconds: float = 60.0) -> Node:
        return eventually("a leader", self.leader, seconds)

    def entrance(self, chance: random.Random) -> Node:
        """The node that a client connects to now."""
        if not self.at_leader:
            return chance.choice(self.members)
        if (leader := self.leader()) is None:
            raise ConnectionRefusedError("no node leads")
        return leader

    def followers(self, chance: random.Random) -> list[Node]:
        leader = self.leader()
        others = [node for node in self.members if node is not leader]
        chance.shuffle(others)
        return others

    def transfer(self, to: Node) -> None:
        """Hands the leadership over."""
        raise NotImplementedError

    def join(self) -> Node:
        """Starts a further node and makes it a member."""
        raise NotImplementedError

    def forget(self, node: Node) -> None:
        """Removes a member for ever; it runs no more."""
        raise NotImplementedError

    def heal(self) -> None:
        """Ends all faults: every member runs, is connected, and has a disk and a clock that work."""
        for node in self.every:
            node.disk.thaw()
            node.disk.empty()
            node.set_clock(0)
        self.heal_network()
        for node in self.every:
            node.resume()
        for node in self.members:
            if not node.runs:
                node.start()

    def heal_network(self) -> None:
        """Ends all cuts."""
        for node in self.every:
            for other in self.every:
                if node is not other:
                    network.heal(node.number, other.number)

    def stores_differ(self) -> str:
        """How the nodes' stores differ after all is applied; nothing if they are equal."""
        return ""

    def stop(self) -> None:
        for node in self.every:
            node.kill()
            node.disk.end()


def asked(node: Node, path: str, seconds: float = 2.0):
    """The API's answer, or None."""
    try:
        return node.api("GET", path, seconds=seconds) or {}
    except (OSError, ValueError, urllib.error.HTTPError):
        return None
