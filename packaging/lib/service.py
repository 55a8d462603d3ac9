"""The broker as a check sees it: its service in a booted tree, and one message through its management API."""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
from typing import NamedTuple

from trees import PACKAGING, ROOT, Machine, inside

sys.path.insert(0, str(ROOT / "interop" / "lib"))

import management  # noqa: E402
from broker import answers  # noqa: E402
from report import equal, eventually  # noqa: E402

UNIT = "leveret.service"
AMQP_PORT = 5672
DATA_DIR = "/var/lib/leveret"
READY_SECONDS = 60
VHOST = "%2F"


def binary(wanted: str | None) -> pathlib.Path:
    """The binary to check: the wanted one, else the release build, else the debug build."""
    candidates = [pathlib.Path(wanted)] if wanted else [ROOT / "target" / kind / "leveret" for kind in ("release", "debug")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        sys.exit("no binary: `cargo build --release` first")
    return found


def install_by_hand(tree: pathlib.Path, program: pathlib.Path) -> None:
    """Put the service into a tree without the package: program, unit, configuration, user."""
    inside(tree, ["adduser", "--system", "--group", "--quiet", "--no-create-home", "--home", DATA_DIR, "leveret"])
    shutil.copy(program, tree / "usr/bin/leveret")
    shutil.copy(PACKAGING / "systemd" / UNIT, tree / "usr/lib/systemd/system" / UNIT)
    (tree / "etc/leveret").mkdir()
    shutil.copy(PACKAGING / "debian" / "leveret.toml", tree / "etc/leveret/leveret.toml")


@contextlib.contextmanager
def changed(machine: Machine, *settings: str):
    """Runs the service with other settings of its unit, in a drop-in."""
    folder = machine.tree / f"etc/systemd/system/{UNIT}.d"
    folder.mkdir(parents=True)
    (folder / "check.conf").write_text("\n".join(["[Service]", *settings, ""]))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        machine.run("systemctl", "daemon-reload")


def is_active(machine: Machine) -> bool:
    """Whether the service runs and its broker answers."""
    return machine.show(UNIT, "ActiveState") == "active" and answers(AMQP_PORT)


def serves(machine: Machine) -> None:
    """Fail unless the service runs soon and its broker answers."""
    eventually("an active service", lambda: is_active(machine), READY_SECONDS)


class Account(NamedTuple):
    """Who asks the management API."""

    user: str = "guest"
    password: str = "guest"


def ask(method: str, path: str, body: object = None, account: Account = Account()) -> management.Answer:
    """Send a request to the management API."""
    return management.request(method, path, body, account.user, account.password)


def put_message(queue: str, body: str, account: Account = Account()) -> None:
    """Declare a durable queue and publish a persistent message to it."""
    ask("PUT", f"/queues/{VHOST}/{queue}", {"durable": True}, account)
    message = {"properties": {"delivery_mode": 2}, "routing_key": queue, "payload": body, "payload_encoding": "string"}
    equal("routed", ask("POST", f"/exchanges/{VHOST}/amq.default/publish", message, account).body, {"routed": True})


def take_message(queue: str, account: Account = Account()) -> str:
    """Take the only message of a queue."""
    asked = {"count": 2, "ackmode": "ack_requeue_false", "encoding": "auto"}
    messages = ask("POST", f"/queues/{VHOST}/{queue}/get", asked, account).body
    equal("number of messages", len(messages), 1)
    return messages[0]["payload"]


@contextlib.contextmanager
def silent_client():
    """An AMQP connection that is opened and then never answers, so that closing it takes the whole grace."""
    with socket.create_connection(("127.0.0.1", AMQP_PORT), timeout=10) as peer:
        peer.sendall(b"AMQP\x00\x00\x09\x01")
        peer.recv(4096)  # connection.start
        plain = _short("PLAIN") + _long("\x00guest\x00guest") + _short("en_US")
        peer.sendall(_method(b"\x00\x0a\x00\x0b" + b"\x00\x00\x00\x00" + plain))
        peer.recv(4096)  # connection.tune
        peer.sendall(_method(b"\x00\x0a\x00\x1f" + b"\x07\xff" + b"\x00\x02\x00\x00" + b"\x00\x00"))
        peer.sendall(_method(b"\x00\x0a\x00\x28" + _short("/") + b"\x00\x00"))
        peer.recv(4096)  # connection.open-ok
        yield peer


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _long(text: str) -> bytes:
    return len(text).to_bytes(4, "big") + text.encode()


def _method(payload: bytes) -> bytes:
    return b"\x01\x00\x00" + len(payload).to_bytes(4, "big") + payload + b"\xce"


def open_files(machine: Machine) -> list[str]:
    """Files of the data directory that others than its owner could read."""
    found = subprocess.run(
        ["find", str(machine.tree / DATA_DIR.lstrip("/")), "-perm", "/077"], capture_output=True, text=True, check=True
    )
    return found.stdout.split()
