# Brokers to measure: starts and stops them, finds their processes. Every broker that is started here listens on
# loopback, on ports of its own, and keeps its data in a folder that goes with the run.

import contextlib
import dataclasses
import glob
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

START_S = 120
STOP_S = 120


@dataclasses.dataclass
class Broker:
    """A broker that runs."""
    name: str
    uri: str
    pid: int | None
    # Where it keeps its data, if that is known.
    data: pathlib.Path | None = None


def running(name, uri):
    """A broker that somebody else has started; its process is found if it is on this machine."""
    parts = urllib.parse.urlsplit(uri)
    return Broker(name, uri, _pid_listening(parts.port or 5672))


@contextlib.contextmanager
def leveret(binary, data, options):
    """Leveret with its defaults."""
    port = _free_port()
    command = [str(binary), "serve", "--data-dir", str(data), "--amqp-listen", f"127.0.0.1:{port}", *options]
    with _process(command, port, data.with_suffix(".log")) as process:
        yield Broker("leveret", f"amqp://guest:guest@127.0.0.1:{port}/%2f", process.pid, data)


@contextlib.contextmanager
def rabbitmq_installed(data):
    """RabbitMQ as the system has it, with its default configuration."""
    server = _server(pathlib.Path("/"))
    folder = data / "rabbitmq"
    folder.mkdir()
    with _rabbitmq(["env", "-i"], server, str(folder), folder, data) as broker:
        yield broker


@contextlib.contextmanager
def rabbitmq_chrooted(root, data):
    """RabbitMQ of another release, from a folder that holds a whole system."""
    server = _server(root)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-", dir=root / "var" / "tmp"))
    # The mounts live in a mount namespace of their own and end with the broker.
    script = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" /usr/bin/env -i "$@"'
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root)]
    try:
        with _rabbitmq(enter, server, "/" + str(folder.relative_to(root)), folder, data) as broker:
            yield broker
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _rabbitmq(enter, server, inside, folder, data):
    """Starts RabbitMQ with its data in a folder, which it sees as `inside`. Its Erlang has a port mapper of its own,
    which is stopped with it."""
    port, distribution, mapper = _free_port(), _free_port(), _free_port()
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": inside, "LANG": "C.UTF-8", "ERL_EPMD_PORT": mapper,
        "RABBITMQ_NODENAME": f"compare{port}@localhost", "RABBITMQ_NODE_PORT": port,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": distribution,
        "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{inside}/plugins",
        "RABBITMQ_MNESIA_BASE": f"{inside}/data", "RABBITMQ_LOG_BASE": f"{inside}/log",
    }
    (folder / "plugins").write_text("[].\n")
    command = [*enter, *(f"{key}={value}" for key, value in environment.items()), server]
    try:
        with _process(command, port, data / "rabbitmq.log"):
            version = re.search(r"rabbitmq_server-([\d.]+\d)", server).group(1)
            uri = f"amqp://guest:guest@127.0.0.1:{port}/%2f"
            yield Broker(f"RabbitMQ {version}", uri, _pid_listening(port), folder)
    finally:
        epmd = _pid_listening(mapper)
        if epmd:
            os.kill(epmd, signal.SIGTERM)


def _server(root):
    """The server script, as it is called inside the root."""
    found = glob.glob(str(root / "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise SystemExit(f"no RabbitMQ under {root}: install its package, or see --help for other ways")
    return "/" + str(pathlib.Path(sorted(found)[-1]).relative_to(root))


@contextlib.contextmanager
def _process(command, port, log):
    """Runs a broker until the end of the block."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        _until(lambda: _answers(port) or process.poll() is not None, START_S, f"{command[0]} does not answer")
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(command)} has ended:\n{log.read_text()[-2000:]}")
        yield process
    finally:
        # The Erlang machine is a child of the process that was started: it is told, and the rest follows.
        listener = _pid_listening(port) or process.pid
        if process.poll() is None:
            os.kill(listener, signal.SIGTERM)
        process.wait(STOP_S)


def _answers(port):
    """Whether a protocol header gets a `connection.start`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"
    return False


def _until(condition, seconds, otherwise):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.1)


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _pid_listening(port):
    """The process that listens on a port of this machine, if we may know."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                # State 0A is LISTEN.
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) in inodes:
                return int(link.split("/")[2])
    return None
