# Three nodes of one cluster on this machine: Leveret's set, RabbitMQ's cluster with quorum queues, RabbitMQ's with mirrored queues.

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import returning
from brokers import Broker, Process, free_port, pid_listening, server_of, until

SIZE = 3
JOIN_S = 120
SECRET = "only for this comparison"
# The names under which they stand in the tables.
LEVERET, QUORUM, MIRRORED = "leveret, 3 nodes", "RabbitMQ {version}, 3 nodes, quorum", "RabbitMQ {version}, 3 nodes, mirrored"


class Nodes:
    """The running nodes. The leader is asked for before each run."""

    # Whether one node leads all queues.
    is_led_together = False
    # Whether a command moves the leadership while the node runs.
    hands_over = True
    # The words for `leveret-bench` that make its queues replicated ones.
    words = ("--queue-argument", "x-queue-type=quorum")

    def __init__(self, processes, ports):
        self.processes, self.ports = processes, ports

    def pid_files(self):
        return [process.pid_file for process in self.processes]

    def start(self):
        for process in self.processes:
            process.spawn()
        for process in self.processes:
            process.wait()

    def leader(self, _queue=None):
        """The index of the node that leads (a queue)."""
        raise NotImplementedError

    def hand_over(self, queue):
        """Moves the leadership (of a queue) to another node."""
        raise NotImplementedError

    def uri(self):
        return f"amqp://guest:guest@127.0.0.1:{self.ports[self.leader()]}/%2f"

    def kill(self, number):
        self.processes[number].kill()

    def start_again(self, number):
        self.processes[number].spawn()
        self.processes[number].wait()


class LeveretNodes(Nodes):
    is_led_together = True

    def __init__(self, processes, ports, management, ctl):
        super().__init__(processes, ports)
        self.management, self.ctl = management, ctl

    def leader(self, _queue=None):
        found = []

        def one_leads():
            found[:] = [number for number, port in enumerate(self.management) if _is_well(port, "is-leader")]
            return found
        until(one_leads, JOIN_S, "no node of the set leads")
        return found[0]

    def log(self, number):
        """What a node has logged."""
        return self.processes[number].log()

    def has_everything(self, number):
        """Whether a node runs and lacks nothing, as the leader knows."""
        shown = subprocess.run([*self.ctl[self.leader()], "cluster_status"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return returning.is_whole(shown, f"n{number + 1}")

    def delete_queue(self, number, queue):
        subprocess.run([*self.ctl[number], "delete_queue", queue], check=True, stdout=subprocess.DEVNULL)

    def hand_over(self, queue):
        to = (self.leader() + 1) % SIZE
        subprocess.run([*self.ctl[to], "transfer_leadership", f"leveret@n{to + 1}"], check=True, stdout=subprocess.DEVNULL)


def _is_well(port, check):
    """Whether a health check of the management API says yes."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/health/checks/{check}")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    with contextlib.suppress(OSError, urllib.error.URLError):
        return urllib.request.urlopen(request, timeout=2).status == 200
    return False


class RabbitNodes(Nodes):
    """The leader of a queue is the node at which it was declared: node 0 for the runs of `leveret-bench`."""

    def __init__(self, processes, ports, ctl, is_mirrored):
        super().__init__(processes, ports)
        self.ctl = ctl
        if is_mirrored:
            self.words, self.hands_over = (), False

    def start(self):
        super().start()
        running = "length(rabbit_nodes:list_running())." if self.words else "length(rabbit_nodes:all_running())."
        until(lambda: self._ask(0, "eval", running) == str(SIZE), JOIN_S, "RabbitMQ's nodes do not find each other")
        if not self.words:
            self._ask(0, "set_policy", "all", ".*", '{"ha-mode":"all"}')

    def _ask(self, number, *words):
        return subprocess.run([*self.ctl[number], *words], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def leader(self, queue=None):
        if queue is None:
            return 0
        column = "leader" if self.words else "pid"
        shown = self._ask(0, "list_queues", "--quiet", "--no-table-headers", "name", column)
        of = next(line.split("\t")[1] for line in shown.splitlines() if line.startswith(queue + "\t"))
        return int(re.search(r"node(\d)-", of).group(1)) - 1

    def hand_over(self, queue):
        other = (self.leader(queue) + 1) % SIZE
        name = self._ask(other, "eval", "node().").strip("'")
        resource = f'rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)'
        self._ask(other, "eval", f"{{ok, Q}} = rabbit_amqqueue:lookup({resource}), rabbit_quorum_queue:transfer_leadership(Q, '{name}').")


@contextlib.contextmanager
def leveret(binary, data, options):
    """Leveret's set with its defaults, except for addresses."""
    ports = [[free_port() for _ in range(3)] for _ in range(SIZE)]
    peers = ",".join(f"n{number}=127.0.0.1:{node[2]}" for number, node in enumerate(ports, 1))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LEVERET_")}
    processes, ctl = [], []
    for number, (amqp, management, cluster) in enumerate(ports, 1):
        folder = data / f"set-{number}"
        command = [str(binary), "serve", "--data-dir", str(folder), "--amqp-listen", f"127.0.0.1:{amqp}",
                   "--management-listen", f"127.0.0.1:{management}", "--prometheus-listen", "none", "--cmq-listen", "none",
                   "--node-name", f"n{number}", "--cluster-listen", f"127.0.0.1:{cluster}", "--cluster-peers", peers,
                   "--cluster-secret", SECRET, *options]
        processes.append(Process(command, amqp, data / f"set-{number}.log", environment))
        ctl.append([str(binary), "ctl", "--data-dir", str(folder), "--quiet"])
    nodes = LeveretNodes(processes, [node[0] for node in ports], [node[1] for node in ports], ctl)
    yield from _run(nodes, LEVERET, shlex.join(ctl[0]))


@contextlib.contextmanager
def rabbitmq(root, data, is_mirrored):
    """RabbitMQ's cluster, from a folder that holds a whole system."""
    server = server_of(root)
    version = re.search(r"rabbitmq_server-([\d.]+\d)", server).group(1)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-", dir=root / "var" / "tmp"))
    folder.chmod(0o755)
    script = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && mount --bind /etc/hosts "$0/etc/hosts" ' \
             '&& exec chroot "$0" /usr/bin/env -i "$@"'
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(root)]
    mapper = free_port()
    ports = [[free_port() for _ in range(2)] for _ in range(SIZE)]
    names = [f"node{number}-{node[0]}@localhost" for number, node in enumerate(ports, 1)]
    processes, ctl = [], []
    for number, ((amqp, distribution), name) in enumerate(zip(ports, names, strict=True), 1):
        home = folder / f"node{number}"
        home.mkdir()
        inside = "/" + str(home.relative_to(root))
        (home / "rabbitmq.conf").write_text("\n".join(
            ["cluster_formation.peer_discovery_backend = classic_config",
             *(f"cluster_formation.classic_config.nodes.{n} = {one}" for n, one in enumerate(names, 1))]) + "\n")
        (home / "plugins").write_text("[].\n")
        (home / ".erlang.cookie").write_text("COMPARE")
        (home / ".erlang.cookie").chmod(0o400)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": inside, "LANG": "C.UTF-8", "ERL_EPMD_PORT": mapper,
            "RABBITMQ_NODENAME": name, "RABBITMQ_NODE_PORT": amqp, "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": distribution, "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{inside}/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{inside}/plugins",
            "RABBITMQ_MNESIA_BASE": f"{inside}/data", "RABBITMQ_LOG_BASE": f"{inside}/log",
        }
        words = [*enter, *(f"{key}={value}" for key, value in environment.items())]
        processes.append(Process([*words, server], amqp, data / f"rabbitmq-{version}-{number}.log"))
        ctl.append([*words, server.replace("rabbitmq-server", "rabbitmqctl"), "-n", name])
    nodes = RabbitNodes(processes, [node[0] for node in ports], ctl, is_mirrored)
    try:
        yield from _run(nodes, (MIRRORED if is_mirrored else QUORUM).format(version=version))
    finally:
        epmd = pid_listening(mapper)
        if epmd:
            os.kill(epmd, signal.SIGTERM)
        time.sleep(0.5)
        shutil.rmtree(folder, ignore_errors=True)


def _run(nodes, name, ctl=None):
    try:
        nodes.start()
        yield Broker(name, nodes.uri(), ctl=ctl, nodes=nodes)
    finally:
        for process in nodes.processes:
            process.stop()
