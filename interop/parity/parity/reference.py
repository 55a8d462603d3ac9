# The reference brokers: RabbitMQ 4.0.5 from Debian trixie, and 4.3.6 from sid for the scenarios that follow it. Each runs
# chrooted in its folder. Needs root, debootstrap, and a machine whose apt is configured for a Debian mirror. Independent of
# the scenarios.

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from typing import NamedTuple

from . import control

START_S = 180
STOP_S = 60
INSIDE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/rabbitmq", "LANG": "C.UTF-8"}


class Reference(NamedTuple):
    """One release of RabbitMQ: its version, the Debian suite that has it, the folder's name, the usual port."""

    version: str
    suite: str
    folder: str
    port: int

    def root(self):
        return cache() / self.folder

    def home(self):
        """RabbitMQ's folder as seen from inside."""
        return f"/usr/lib/rabbitmq/lib/rabbitmq_server-{self.version}"

    def built(self):
        return self.path(f"{self.home()}/sbin/rabbitmq-server").exists()

    def path(self, inside):
        """A path of the chroot as seen from outside."""
        return self.root() / inside.lstrip("/")

    def enter(self, **environment):
        """The command that runs a program inside as RabbitMQ's user, with only this environment."""
        return ["chroot", "--userspec=rabbitmq:rabbitmq", str(self.root()), "/usr/bin/env", "-i",
                *(f"{key}={value}" for key, value in {**INSIDE, **environment}.items())]


# By series, as scenarios name it.
REFERENCES = {
    "4.0": Reference("4.0.5", "trixie", "rabbitmq", 5690),
    "4.3": Reference("4.3.6", "sid", "rabbitmq-4.3", 5691),
}


def cache():
    """The folder of the systems with RabbitMQ and their state: LEVERET_PARITY_CACHE or ~/.cache/leveret-parity."""
    given = os.environ.get("LEVERET_PARITY_CACHE")
    return pathlib.Path(given) if given else pathlib.Path.home() / ".cache" / "leveret-parity"


def _mirror():
    """The Debian mirror that this machine's apt uses; this repository names none."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"],
        check=True, capture_output=True, text=True).stdout.split()
    if not found:
        raise SystemExit("apt knows no Debian mirror; run apt-get update first")
    return sorted(set(found))[0]


def ensure(which):
    """Builds the system unless its folder has RabbitMQ already."""
    if which.built():
        return
    if os.geteuid() != 0:
        raise SystemExit("recording needs root (debootstrap, chroot)")
    if not shutil.which("debootstrap"):
        raise SystemExit("debootstrap is missing: apt-get install debootstrap")
    which.root().parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", "--include=rabbitmq-server",
                    which.suite, str(which.root()), _mirror()], check=True)
    hosts = which.path("/etc/hosts")
    if not hosts.exists() or "localhost" not in hosts.read_text():
        hosts.write_text("127.0.0.1 localhost\n")
    if not which.built():
        raise SystemExit(f"{which.suite} no longer has RabbitMQ {which.version}; set the folder up by hand")


def node(port):
    """The Erlang node name of the broker that `start` starts on this port."""
    return f"parity{port}@localhost"


def control_of(which, name):
    """rabbitmqctl for the node of this name, in a program that keeps running."""
    inside = "/tmp/parity-rabbitmqctl"
    return control.Live(which.enter(), which.path(f"{which.home()}/escript/rabbitmqctl"), which.path(inside), inside,
                        f"{which.home()}/plugins", name)


def _pid_file(port):
    return cache() / f"rabbitmq-{port}.pid"


def start(which, port):
    """Starts RabbitMQ with its default configuration on a loopback port and waits until it answers."""
    inside = which.enter(
        RABBITMQ_NODENAME=node(port), RABBITMQ_NODE_PORT=port, RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_DIST_PORT=port + 20000, RABBITMQ_CONF_ENV_FILE="/dev/null")
    # The mounts are in a mount namespace that ends with the broker.
    script = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec "$@"'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(which.root()),
               *inside, f"{which.home()}/sbin/rabbitmq-server"]
    with open(cache() / f"rabbitmq-{port}.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True)
    _pid_file(port).write_text(str(process.pid))
    deadline = time.monotonic() + START_S
    while not answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"RabbitMQ did not start; see {cache()}/rabbitmq-{port}.log")
        time.sleep(0.2)


def answers(port):
    """Whether the broker answers a protocol header with connection.start."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as sock:
        sock.sendall(b"AMQP\x00\x00\x09\x01")
        return sock.recv(1) == b"\x01"
    return False


def stop(port):
    """Stops the broker that `start` started on this port in order, by its process id."""
    path = _pid_file(port)
    if not path.exists():
        raise SystemExit(f"no RabbitMQ was started on port {port}")
    leader = int(path.read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(_erlang(leader), signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while _alive(leader):
        if time.monotonic() > deadline:
            raise SystemExit(f"RabbitMQ (pid {leader}) does not stop")
        time.sleep(0.2)
    path.unlink()


def _erlang(pid):
    """The Erlang machine among the descendants of the start script; it handles SIGTERM."""
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if "beam" in pathlib.Path(f"/proc/{child}/comm").read_text():
            return int(child)
        return _erlang(child)
    return int(pid)


def _alive(pid):
    """Waits for a child; looks a broker of an earlier call up in the process table."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    return pathlib.Path(f"/proc/{pid}").exists()
