"""A network of its own: this process and each node are in a network namespace, joined by a bridge. Cuts lose packets silently, one
way at a time. Everything ends with the namespaces."""

import os
import subprocess
import sys

INSIDE = "LEVERET_FAULTS_INSIDE"
HERE = "10.77.0.254"


def enter() -> None:
    """Starts this program again in namespaces of its own: its network, mounts and processes. Without root in a user namespace."""
    if os.environ.get(INSIDE):
        _prepare()
        return
    command = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    os.environ[INSIDE] = "user" if os.geteuid() != 0 else "root"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


def is_root() -> bool:
    """Whether file systems can be made and mounted; a user namespace has only tmpfs."""
    return os.environ[INSIDE] == "root"


def call(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def _prepare() -> None:
    # A file system that is unmounted here goes from the nodes' mount namespaces too, else it would live on.
    call("mount", "--make-rshared", "/")
    call("mount", "-t", "tmpfs", "tmpfs", "/run")
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", "br0", "type", "bridge")
    call("ip", "address", "add", f"{HERE}/24", "dev", "br0")
    call("ip", "link", "set", "br0", "up")


def clear() -> None:
    """Removes the namespaces of all nodes."""
    names = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.split()
    for name in names:
        if name.startswith("n"):
            # The namespace itself ends later; its link would keep the name.
            call("ip", "link", "delete", f"v{name[1:]}")
            call("ip", "netns", "delete", name)


def address(number: int) -> str:
    return f"10.77.0.{number}"


def _mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def add(number: int) -> None:
    """The namespace of a node: n1 with 10.77.0.1, and so on. Nodes know the way to each other without asking."""
    name = f"n{number}"
    call("ip", "netns", "add", name)
    call("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
    call("ip", "link", "set", f"v{number}", "master", "br0", "up")
    inside = ["ip", "-n", name]
    call(*inside, "link", "set", "lo", "up")
    call(*inside, "link", "set", "eth0", "address", _mac(number))
    call(*inside, "address", "add", f"{address(number)}/24", "dev", "eth0")
    call(*inside, "link", "set", "eth0", "up")


def within(number: int) -> list[str]:
    """The words that run a command in a node's namespace."""
    return ["ip", "netns", "exec", f"n{number}"]


def cut(source: int, target: int) -> None:
    """Loses all packets from one node to the other: they go to a station that is not there."""
    call("ip", "-n", f"n{source}", "neighbour", "replace", address(target), "lladdr", "02:00:00:00:ff:ff", "nud", "permanent", "dev", "eth0")


def heal(source: int, target: int) -> None:
    call("ip", "-n", f"n{source}", "neighbour", "replace", address(target), "lladdr", _mac(target), "nud", "permanent", "dev", "eth0")
