"""RabbitMQ 4.3 as the set under test, to try the checks on the reference: quorum queues and streams on three nodes. It runs in the
folder that interop/parity/record keeps, and needs root."""

import os
import pathlib
import sys
import time
from collections import Counter

import network
import nodes
from nodes import AMQP_PORT, API_PORT, Node, Set

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "parity"))

from parity import reference  # noqa: E402

DISTRIBUTION_PORT = 25672
# Before the chroot: its own /proc and /dev, the nodes' names, and the node's disk as /tmp/faults.
SCRIPT = """mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && mount --bind "$1" "$0/etc/hosts" && mkdir -p "$0/tmp/faults" &&
mount --bind "$2" "$0/tmp/faults" && shift 2 && exec "$@" """
COOKIE = "FAULTS"


class RabbitNode(Node):
    """A node on its own disk, which it sees as /tmp/faults."""

    which = reference.REFERENCES["4.3"]

    def __init__(self, number: int, folder: pathlib.Path, size: int):
        super().__init__(number, folder)
        self.size = size
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{network.address(n)} n{n}\n" for n in range(1, 10)))

    def _configure(self) -> None:
        lines = [f"listeners.tcp.default = {self.address}:{AMQP_PORT}", "loopback_users = none",
                 f"management.tcp.ip = {self.address}", f"management.tcp.port = {API_PORT}"]  # fmt: skip
        if 1 < self.size >= self.number:
            lines.append("cluster_formation.peer_discovery_backend = classic_config")
            lines += [f"cluster_formation.classic_config.nodes.{n} = rabbit@n{n}" for n in range(1, self.size + 1)]
        (self.disk.path / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.disk.path / "enabled_plugins").write_text("[rabbitmq_management].\n")
        cookie = self.disk.path / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)
        user = self.which.path("/etc/passwd").read_text().split("rabbitmq:x:")[1].split(":")
        os.chown(cookie, int(user[0]), int(user[1]))

    def _enter(self) -> list[str]:
        environment = self.which.enter(
            HOME="/tmp/faults", RABBITMQ_NODENAME=f"rabbit@{self.name}", RABBITMQ_DIST_PORT=DISTRIBUTION_PORT,
            RABBITMQ_CONF_ENV_FILE="/dev/null", RABBITMQ_CONFIG_FILE="/tmp/faults/rabbitmq.conf",
            RABBITMQ_ENABLED_PLUGINS_FILE="/tmp/faults/enabled_plugins", RABBITMQ_MNESIA_BASE="/tmp/faults/data",
            RABBITMQ_LOG_BASE="/tmp/faults/log",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none")  # fmt: skip
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", SCRIPT, str(self.which.root()),
                str(self.hosts), str(self.disk.path), *environment]  # fmt: skip

    def command(self) -> list[str]:
        self._configure()
        return [*self._enter(), f"{self.which.home()}/sbin/rabbitmq-server"]

    def ctl_command(self) -> list[str]:
        return [*self._enter(), f"{self.which.home()}/sbin/rabbitmqctl", "-n", f"rabbit@{self.name}"]

    def broker_process(self) -> int:
        machines = [pid for pid in self.processes() if "beam" in pathlib.Path(f"/proc/{pid}/comm").read_text()]
        return machines[-1] if machines else self.process.pid


class RabbitSet(Set):
    """A cluster."""

    # It runs without the shim, is no subject for damage, and a new member would get no replicas by itself.
    lacks = frozenset({"clock", "damage", "member"})

    def __init__(self, folder: pathlib.Path, size: int):
        reference.ensure(RabbitNode.which)
        super().__init__(folder, size)

    def node(self, number: int) -> Node:
        return RabbitNode(number, self.folder, self.size)

    def start(self) -> None:
        super().start()
        nodes.eventually("a cluster of all", lambda: self._running() == self.size)

    def _running(self) -> int:
        found = nodes.asked(self.members[0], "nodes") or []
        return sum(bool(node.get("running")) for node in found)

    def leader(self) -> Node | None:
        """The node that leads most queues."""
        for node in self.members:
            if not node.runs or node.is_paused:
                continue
            found = nodes.asked(node, "queues?columns=leader,name")
            leaders = Counter(queue["leader"].removeprefix("rabbit@") for queue in found or [] if queue.get("leader"))
            for name, _ in leaders.most_common():
                for other in self.members:
                    if other.name == name and other.runs and not other.is_paused:
                        return other
            if found is not None:
                return node
        return None

    def wait(self, seconds: float = nodes.READY_S) -> None:
        super().wait(seconds)
        # Nodes that come back take their replicas up one after the other.
        time.sleep(1)

    def transfer(self, to: Node) -> None:
        queues = "Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue"
        to.ctl("eval", f"[rabbit_quorum_queue:transfer_leadership(Q, 'rabbit@{to.name}') || {queues}].")
