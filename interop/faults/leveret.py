"""Leveret as the set under test. LEVERET_BIN names its binary, LEVERET_OLD_BIN that of the release before."""

import json
import os
import pathlib
import subprocess

import nodes
from nodes import AMQP_PORT, API_PORT, Node, Set

CLUSTER_PORT, CMQ_PORT = 25672, 5673
SECRET = "the secret of this run"
OLD_BIN = "LEVERET_OLD_BIN"
LEVEL_S, COMPARE_S = 60.0, 300.0
ROOT = pathlib.Path(__file__).resolve().parents[2]


def program() -> str:
    return os.environ.get("LEVERET_BIN", str(ROOT / "target" / "release" / "leveret"))


def can_compare() -> bool:
    """Whether the binary is of a release that compares members."""
    return "--compare" in subprocess.run([program(), "fsck", "--help"], capture_output=True, text=True).stdout


def has_old_release() -> bool:
    return OLD_BIN in os.environ


class LeveretNode(Node):
    """A broker on its node's addresses. Alone it runs without a set."""

    def __init__(self, number: int, folder: pathlib.Path, peers: str):
        super().__init__(number, folder)
        self.peers, self.called, self.secret = peers, self.name, SECRET
        self.cluster_address = f"{self.address}:{CLUSTER_PORT}"
        self.shim = folder / "clock.so"
        if not self.shim.exists():
            source = pathlib.Path(__file__).with_name("clock.c")
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.shim, source, "-ldl"], check=True)

    @property
    def program(self) -> str:
        return os.environ[OLD_BIN] if self.is_old else program()

    @property
    def data_dir(self) -> pathlib.Path:
        return self.disk.path / "data"

    def command(self) -> list[str]:
        command = [self.program, "serve", "--data-dir", str(self.data_dir), "--amqp-listen", f"{self.address}:{AMQP_PORT}",
                   "--cmq-listen", f"{self.address}:{CMQ_PORT}", "--management-listen", f"{self.address}:{API_PORT}",
                   "--prometheus-listen", "none", "--loopback-users", "none"]  # fmt: skip
        if self.peers:
            command += ["--node-name", self.called, "--cluster-listen", self.cluster_address, "--cluster-secret", self.secret]
        if self.peers.count("=") > 1:
            command += ["--cluster-peers", self.peers]
        return command

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.shim), "FAULTS_CLOCK": str(self.clock), "RUST_BACKTRACE": "1"}

    def status(self) -> dict:
        return json.loads(self.ctl("cluster_status", "--formatter", "json"))

    def ctl_command(self) -> list[str]:
        return [self.program, "ctl", "--data-dir", str(self.data_dir)]


class LeveretSet(Set):
    """One Raft group."""

    is_leveret = True

    def __init__(self, folder: pathlib.Path, size: int):
        numbers = range(1, size + 1)
        self.peers = ",".join(f"n{number}={nodes.network.address(number)}:{CLUSTER_PORT}" for number in numbers) if size > 1 else ""
        super().__init__(folder, size)

    def node(self, number: int) -> Node:
        # A node that joins later knows itself only.
        alone = f"n{number}={nodes.network.address(number)}:{CLUSTER_PORT}"
        return LeveretNode(number, self.folder, self.peers if number <= self.size else alone)

    def leader(self) -> Node | None:
        if self.size == 1:
            return self.members[0]
        for node in self.members:
            if node.runs and not node.is_paused and nodes.asked(node, "health/checks/is-leader") is not None:
                return node
        return None

    def transfer(self, to: Node) -> None:
        to.ctl("transfer_leadership", f"leveret@{to.name}")

    def join(self) -> Node:
        node = self.node(len(self.every) + 1)
        self.every.append(node)
        node.start()
        nodes.eventually("the new node's socket", lambda: node.data_dir.joinpath("ctl.sock").exists() or node.serves())
        node.ctl("join_cluster", f"{self.wait_leader().address}:{CLUSTER_PORT}")
        self.members.append(node)
        return node

    def forget(self, node: Node) -> None:
        self.members.remove(node)

        def forgotten() -> bool:
            """A new leader refuses for some seconds: it does not know yet who is there."""
            try:
                self.wait_leader().ctl("forget_cluster_node", f"leveret@{node.name}")
            except nodes.NotReady:
                return False
            return True

        nodes.eventually(f"{node.name} is forgotten", forgotten)

    def stores_differ(self) -> str:
        """Kills all when they have applied the same, and compares what their directories hold."""
        if self.size == 1 or not can_compare():
            return ""
        nodes.eventually("all members have everything", self._have_applied_the_same, LEVEL_S)
        for node in self.members:
            node.kill()
        command = [program(), "fsck", "--compare", *(str(node.data_dir) for node in self.members)]
        compared = subprocess.run(command, capture_output=True, text=True, timeout=COMPARE_S)
        return "" if compared.returncode == 0 else compared.stdout + compared.stderr

    def _have_applied_the_same(self) -> bool:
        applied = {node.status()["set"]["applied"] for node in self.members}
        return len(applied) == 1
