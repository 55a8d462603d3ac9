# Starts and stops brokers, and finds their processes. Every broker started here listens on loopback, on its own ports,
# and keeps its data in a folder that disappears after the run.

import atexit
import contextlib
import dataclasses
import glob
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

START_S = 120
STOP_S = 120


@dataclasses.dataclass
class Broker:
    """A broker that runs."""
    name: str
    uri: str
    # A file with its process id; none if the process is not on this machine.
    pid_file: pathlib.Path | None = None
    # A shell command that restarts it, and returns when it accepts connections.
    restart_hook: str | None = None
    # Of a leveret started here: CMQ's API with a key, and the command line.
    cmq: str | None = None
    ctl: str | None = None
    # And the management API with a login, and the metrics.
    management: str | None = None
    metrics: str | None = None
    # The same broker through TLS, if it was started here.
    tls_uri: str | None = None
    # It runs only scenarios whose names begin with this.
    only: str = ""
    # Three nodes of one cluster (sets.py), if it is such a set.
    nodes: "object | None" = None

    def pid_files(self):
        """The files with the process ids whose CPU and memory are added up."""
        if self.nodes:
            return self.nodes.pid_files()
        return [self.pid_file] if self.pid_file else []


def running(name, uri):
    """A broker that runs already. Finds its process if that is on this machine."""
    parts = urllib.parse.urlsplit(uri)
    here = parts.hostname in (None, "localhost", "127.0.0.1", "::1")
    pid = pid_listening(parts.port or 5672) if here else None
    if pid is None:
        return Broker(name, uri)
    pid_file = pathlib.Path(tempfile.gettempdir()) / f"leveret-compare-{os.getpid()}-{pid}.pid"
    pid_file.write_text(f"{pid}\n")
    atexit.register(pid_file.unlink, missing_ok=True)
    return Broker(name, uri, pid_file)


@contextlib.contextmanager
def leveret(binary, data, options, name="leveret"):
    """Leveret with its defaults, except for ports."""
    port, tls, cmq, management, metrics = (free_port() for _ in range(5))
    certificate, key = _certificate(data)
    # Variables, since an older binary ignores them where it would refuse an unknown flag.
    os.environ["LEVERET_MANAGEMENT_LISTEN"] = f"127.0.0.1:{management}"
    os.environ["LEVERET_PROMETHEUS_LISTEN"] = f"127.0.0.1:{metrics}"
    os.environ["LEVERET_AMQPS_LISTEN"] = f"127.0.0.1:{tls}"
    os.environ["LEVERET_TLS_CERT"], os.environ["LEVERET_TLS_KEY"] = str(certificate), str(key)
    command = [str(binary), "serve", "--data-dir", str(data / name), "--amqp-listen", f"127.0.0.1:{port}",
               "--cmq-listen", f"127.0.0.1:{cmq}", *options]
    with Process(command, port, data / f"{name}.log") as process:
        ctl = [str(binary), "ctl", "--data-dir", str(data / name), "--quiet"]
        shown = subprocess.run([*ctl, "add_secret_key", "guest"], stdout=subprocess.PIPE, text=True, check=True).stdout
        key = ":".join(shown.splitlines()[-1].split())
        broker = process.broker(name)
        yield dataclasses.replace(broker, cmq=f"http://{key}@127.0.0.1:{cmq}", ctl=shlex.join(ctl),
                                  management=f"http://guest:guest@127.0.0.1:{management}",
                                  metrics=f"http://127.0.0.1:{metrics}", tls_uri=_tls_uri(tls))


@contextlib.contextmanager
def rabbitmq_installed(data):
    """RabbitMQ as the system has it, with its default configuration."""
    server = server_of(pathlib.Path("/"))
    folder = data / "rabbitmq"
    folder.mkdir()
    with _rabbitmq(["env", "-i"], server, str(folder), folder, data) as broker:
        yield broker


@contextlib.contextmanager
def rabbitmq_chrooted(root, data):
    """RabbitMQ of another release, from a folder that holds a whole system."""
    server = server_of(root)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-", dir=root / "var" / "tmp"))
    # The mounts are in a namespace that ends with the broker. The hosts file is this machine's, since DNS lookups would
    # cost seconds per connection.
    script = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && mount --bind /etc/hosts "$0/etc/hosts" ' \
             '&& exec chroot "$0" /usr/bin/env -i "$@"'
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root)]
    try:
        with _rabbitmq(enter, server, "/" + str(folder.relative_to(root)), folder, data) as broker:
            yield broker
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _rabbitmq(enter, server, inside, folder, data):
    """Starts RabbitMQ with its data in a folder, which it sees as `inside`. It has its own Erlang port mapper, which stops
    with it."""
    port, distribution, mapper, tls = (free_port() for _ in range(4))
    for file in _certificate(data):
        shutil.copy(file, folder)
    (folder / "rabbitmq.conf").write_text(
        f"listeners.ssl.default = 127.0.0.1:{tls}\n"
        f"ssl_options.certfile = {inside}/server.pem\nssl_options.keyfile = {inside}/server.key\n")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": inside, "LANG": "C.UTF-8", "ERL_EPMD_PORT": mapper,
        "RABBITMQ_NODENAME": f"compare{port}@localhost", "RABBITMQ_NODE_PORT": port,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": distribution,
        "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_CONFIG_FILE": f"{inside}/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{inside}/plugins",
        "RABBITMQ_MNESIA_BASE": f"{inside}/data", "RABBITMQ_LOG_BASE": f"{inside}/log",
    }
    (folder / "plugins").write_text("[].\n")
    command = [*enter, *(f"{key}={value}" for key, value in environment.items()), server]
    version = re.search(r"rabbitmq_server-([\d.]+\d)", server).group(1)
    try:
        with Process(command, port, data / f"rabbitmq-{version}.log") as process:
            yield dataclasses.replace(process.broker(f"RabbitMQ {version}"), tls_uri=_tls_uri(tls))
    finally:
        epmd = pid_listening(mapper)
        if epmd:
            os.kill(epmd, signal.SIGTERM)


def _tls_uri(port):
    return f"amqps://guest:guest@localhost:{port}/%2f"


def _certificate(data):
    """A certificate and its key, of the kind that most servers have."""
    certificate, key = data / "server.pem", data / "server.key"
    if not certificate.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def server_of(root):
    """The path of the server script inside the root."""
    found = glob.glob(str(root / "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise SystemExit(f"no RabbitMQ under {root}: install its package, or see --help for other ways")
    return "/" + str(pathlib.Path(sorted(found)[-1]).relative_to(root))


class Process:
    """A broker's process: runs until the end of the block. A shell command can restart it."""

    def __init__(self, command, port, log, environment=None):
        self._command, self._port, self._log = command, port, log
        self._process = None
        # A restart finds the variables as they are now, whatever is set for other brokers.
        self._environment = dict(os.environ) if environment is None else environment
        self.pid_file = log.with_suffix(".pid")
        # Named pipes: after a write to `ask`, a read from `answer` returns when the broker is back.
        self._ask, self._answer = log.with_suffix(".ask"), log.with_suffix(".answer")

    def __enter__(self):
        self._start()
        for pipe in (self._ask, self._answer):
            os.mkfifo(pipe)
        threading.Thread(target=self._serve_restarts, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def broker(self, name):
        ask, answer = shlex.quote(str(self._ask)), shlex.quote(str(self._answer))
        return Broker(name, f"amqp://guest:guest@127.0.0.1:{self._port}/%2f", self.pid_file,
                      f'echo > {ask} && test "$(cat {answer})" = done')

    def _serve_restarts(self):
        while True:
            self._ask.read_text()
            try:
                self.stop()
                self._start()
                outcome = "done"
            except (SystemExit, OSError, subprocess.TimeoutExpired) as error:
                outcome = str(error)
            self._answer.write_text(outcome)

    def _start(self):
        self.spawn()
        self.wait()

    def spawn(self):
        with open(self._log, "ab") as out:
            self._process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=out)

    def wait(self):
        """Returns when it answers."""
        until(lambda: answers(self._port) or self._process.poll() is not None, START_S,
               f"{self._command[0]} does not answer")
        if self._process.poll() is not None:
            raise SystemExit(f"{' '.join(map(str, self._command))} has ended:\n{self._log.read_text()[-2000:]}")
        self.pid_file.write_text(f"{pid_listening(self._port) or self._process.pid}\n")

    def log(self):
        return self._log.read_text()

    def kill(self):
        """SIGKILL to the process that listens; returns when it and its parents are gone."""
        os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
        self._process.wait(STOP_S)

    def stop(self):
        # The Erlang machine is a child of the started process. The signal goes to it, and its parent follows.
        if self._process.poll() is None:
            os.kill(int(self.pid_file.read_text()), signal.SIGTERM)
        self._process.wait(STOP_S)


def answers(port):
    """Whether a protocol header gets a `connection.start`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"
    return False


def until(condition, seconds, otherwise):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.01)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pid_listening(port):
    """The process that listens on a port of this machine, if we may read that."""
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
