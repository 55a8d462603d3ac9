#!/usr/bin/env python3
"""Starts, kills, restarts and stops the broker under test, from any process.

`broker.py start|restart|stop STATE`: STATE is a JSON file with `command` (an executable called as
`COMMAND DATA_DIR PORT`, which must become the broker rather than its parent), `environment` (added to
this process's), `data_dir`, `port` (for AMQP), `further_ports` (the broker is ready when they listen,
too) and `log`; this script adds `pid`. Runners get `broker.py restart STATE` as INTEROP_RESTART.
"""

import contextlib
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
LEVERET = str(ROOT / "brokers" / "leveret")

READY_SECONDS = 180
STOP_SECONDS = 60
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_METHOD = b"\x01"


def free_port() -> int:
    """A free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether an AMQP 0-9-1 broker greets on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as peer:
            peer.sendall(PROTOCOL_HEADER)
            return peer.recv(1) == FRAME_METHOD
    except OSError:
        return False


def listens(port: int) -> bool:
    """Whether anything accepts connections on the port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def running(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    stat = state.stdout.strip()
    return stat != "" and not stat.startswith("Z")


def wait_until(what: str, seconds: float, probe) -> None:
    """Poll `probe`; end the program with a message if the deadline passes."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            sys.exit(f"broker: {what} not seen within {seconds} s")
        time.sleep(0.05)


def start(path: pathlib.Path) -> None:
    """Start the broker detached from this process and return once it greets."""
    state = json.loads(path.read_text())
    with open(state["log"], "ab") as log:
        broker = subprocess.Popen(
            [*state["command"], state["data_dir"], str(state["port"])],
            env=os.environ | state["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    state["pid"] = broker.pid
    path.write_text(json.dumps(state))

    def ready() -> bool:
        if broker.poll() is not None:
            sys.exit(f"broker: ended during its start with status {broker.returncode}; see {state['log']}")
        return answers(state["port"]) and all(listens(port) for port in state["further_ports"])

    wait_until("a greeting", READY_SECONDS, ready)


def end(path: pathlib.Path, sig: signal.Signals) -> None:
    """Signal the broker's process group and wait until the process is gone."""
    pid = json.loads(path.read_text()).get("pid")
    if pid is None or not running(pid):
        return
    os.killpg(pid, sig)
    wait_until(f"the end of process {pid}", STOP_SECONDS, lambda: not running(pid))


def build_leveret() -> None:
    """Build the release binary that brokers/leveret runs, unless LEVERET_BIN names another one."""
    if "LEVERET_BIN" not in os.environ:
        command = ["cargo", "build", "--release", "--quiet"]
        subprocess.run(command, cwd=ROOT.parent, check=True, stdout=sys.stderr)


class Broker(NamedTuple):
    """A running broker: its URL, the shell command that restarts it, and its data directory."""

    url: str
    restart: str
    data_dir: str


def describe(
    folder: pathlib.Path, command: str, environment: dict[str, str] | None = None, further_ports: tuple[int, ...] = ()
) -> tuple[pathlib.Path, int]:
    """Write the state file of a broker before its start; returns the file and the broker's port."""
    state, port = folder / "broker.json", free_port()
    described = {
        "command": [command],
        "environment": environment or {},
        "data_dir": f"{folder}/data",
        "port": port,
        "further_ports": further_ports,
        "log": f"{folder}/broker.log",
    }
    state.write_text(json.dumps(described))
    return state, port


@contextlib.contextmanager
def fresh(command: str, environment: dict[str, str] | None = None, further_ports: tuple[int, ...] = ()):
    """A broker on an empty data directory, stopped and removed afterwards; yields a `Broker`."""
    if command == LEVERET:
        build_leveret()
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        state, port = describe(pathlib.Path(folder), command, environment, further_ports)
        control = [sys.executable, __file__]
        try:
            subprocess.run([*control, "start", str(state)], check=True)
            restart = shlex.join([*control, "restart", str(state)])
            yield Broker(f"amqp://guest:guest@127.0.0.1:{port}/%2f", restart, f"{folder}/data")
        finally:
            subprocess.run([*control, "stop", str(state)], check=True)


def ctl(data_dir: str, *words: str) -> str:
    """Run `leveret ctl` for the broker on this data directory; returns its output."""
    command = [f"{LEVERET}.ctl", data_dir, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(verb: str, state: str) -> None:
    path = pathlib.Path(state)
    match verb:
        case "start":
            start(path)
        case "restart":
            end(path, signal.SIGKILL)
            start(path)
        case "stop":
            end(path, signal.SIGTERM)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
