# The reference broker: RabbitMQ 4.0.5 from Debian trixie, in a folder of its own, run chrooted.
# Needs root, debootstrap, and a machine whose apt is configured for a Debian mirror. Knows no scenario.

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

SUITE = "trixie"
VERSION = "4.0.5"
START_S = 90
STOP_S = 60


def cache():
    """Where the system with RabbitMQ and its state lie: LEVERET_PARITY_CACHE or ~/.cache/leveret-parity."""
    given = os.environ.get("LEVERET_PARITY_CACHE")
    return pathlib.Path(given) if given else pathlib.Path.home() / ".cache" / "leveret-parity"


def root():
    return cache() / "rabbitmq"


def _mirror():
    """The Debian mirror this machine's apt uses; another one never stands in this repository."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"],
        check=True, capture_output=True, text=True).stdout.split()
    if not found:
        raise SystemExit("apt knows no Debian mirror; run apt-get update first")
    return sorted(set(found))[0]


def ensure():
    """Builds the folder unless RabbitMQ is already in it."""
    if _server():
        return
    if os.geteuid() != 0:
        raise SystemExit("recording needs root (debootstrap, chroot)")
    if not shutil.which("debootstrap"):
        raise SystemExit("debootstrap is missing: apt-get install debootstrap")
    root().parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", "--include=rabbitmq-server",
                    SUITE, str(root()), _mirror()], check=True)
    hosts = root() / "etc" / "hosts"
    if not hosts.exists() or "localhost" not in hosts.read_text():
        hosts.write_text("127.0.0.1 localhost\n")
    if not _server():
        raise SystemExit(f"{SUITE} no longer has RabbitMQ {VERSION}; set the folder up by hand")


def _server():
    """The server script as seen from inside the folder, if it is there."""
    path = f"usr/lib/rabbitmq/lib/rabbitmq_server-{VERSION}/sbin/rabbitmq-server"
    return "/" + path if (root() / path).exists() else None


def _pid_file(port):
    return cache() / f"rabbitmq-{port}.pid"


def start(port):
    """Starts RabbitMQ with its default configuration on a loopback port and waits until it answers."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/rabbitmq", "LANG": "C.UTF-8",
        "RABBITMQ_NODENAME": f"parity{port}@localhost", "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(port + 20000),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
    }
    # The mounts live in a mount namespace of their own and end with the broker.
    script = ('mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && '
              'exec chroot --userspec=rabbitmq:rabbitmq "$0" /usr/bin/env -i "$@"')
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root()),
               *(f"{key}={value}" for key, value in environment.items()), _server()]
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
    """Whether a protocol header gets a connection.start."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as sock:
        sock.sendall(b"AMQP\x00\x00\x09\x01")
        return sock.recv(1) == b"\x01"
    return False


def stop(port):
    """Stops the broker that `start` started on this port, orderly, by its process id."""
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
    """The Erlang machine among the descendants of the start script; it is who heeds SIGTERM."""
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if "beam" in pathlib.Path(f"/proc/{child}/comm").read_text():
            return int(child)
        return _erlang(child)
    return int(pid)


def _alive(pid):
    """Waits for our own child; looks at the process table for a broker of an earlier call."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    return pathlib.Path(f"/proc/{pid}").exists()
