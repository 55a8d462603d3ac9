"""Debian trees to try packages in. One is debootstrapped into the cache; each check gets a writable copy that vanishes with it.

Needs root and Debian's debootstrap. Checks run in namespaces of their own: nothing that they mount or start outlives them,
and their loopback network is theirs alone, so the broker can have its usual ports.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

PACKAGING = pathlib.Path(__file__).resolve().parents[1]
ROOT = PACKAGING.parent
CACHE = PACKAGING / ".cache"
RELEASE = "trixie"
MIRROR = "http://deb.debian.org/debian"
# What the service needs around it: systemd as the first process, and what Debian's package scripts call.
WITH_SYSTEMD = ("systemd", "systemd-sysv", "dbus", "adduser", "init-system-helpers", "procps", "man-db", "bash-completion")
ISOLATED = "LEVERET_CHECK_ISOLATED"
# The flag of unshare(2) for a new network.
CLONE_NEWNET = 0x4000_0000
BOOT_SECONDS = 60


def require_root() -> None:
    """End the program unless it can make trees and namespaces."""
    if os.geteuid() != 0:
        sys.exit("needs root: it makes a Debian tree and namespaces")
    missing = [tool for tool in ("debootstrap", "unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"needs {', '.join(missing)} (Debian: apt-get install debootstrap util-linux iproute2)")


def debian(name: str = "base", packages: tuple[str, ...] = (), release: str = RELEASE) -> pathlib.Path:
    """A debootstrapped tree of a release with these packages, made once."""
    tree = CACHE / f"{release}-{name}"
    if tree.exists():
        return tree
    unfinished = tree.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    CACHE.mkdir(exist_ok=True)
    if name == "base":
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", release, str(unfinished), MIRROR]
        subprocess.run(command, check=True, stdout=sys.stderr)
    else:
        subprocess.run(["cp", "-a", str(debian(release=release)), str(unfinished)], check=True)
        install = ["apt-get", "install", "-qq", "--no-install-recommends", *packages]
        for command in (["apt-get", "-qq", "update"], install, ["apt-get", "clean"]):
            inside(unfinished, command, DEBIAN_FRONTEND="noninteractive")
    os.rename(unfinished, tree)
    return tree


def isolate() -> None:
    """Continue with mounts and processes of this program's own. The program starts again as the parent of all of them."""
    if ISOLATED not in os.environ:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"]
        os.environ[ISOLATED] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def leave_network() -> None:
    """Continue with a network of this program's own, which has nothing but loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@contextlib.contextmanager
def writable(tree: pathlib.Path):
    """A copy of the tree that keeps its changes in memory."""
    with tempfile.TemporaryDirectory(prefix="leveret-tree-") as name:
        home = pathlib.Path(name)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", name], check=True)
        for part in ("upper", "work", "tree"):
            (home / part).mkdir()
        options = f"lowerdir={tree},upperdir={home / 'upper'},workdir={home / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(home / "tree")], check=True)
        try:
            yield home / "tree"
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", name], check=True)


def inside(tree: pathlib.Path, command: list[str], **environment: str) -> str:
    """Run a command with the tree as its root; returns its output. Fails with the output if the command fails."""
    clean = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    return said(["chroot", str(tree), *command], env=clean | environment)


def said(command: list[str], **options) -> str:
    """The output of a command. Fails with the output if the command fails."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if ran.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit status {ran.returncode}: {ran.stdout.strip()[-2000:]}")
    return ran.stdout


class Machine:
    """A tree that systemd runs: the first process of namespaces of its own."""

    def __init__(self, tree: pathlib.Path, init: int) -> None:
        self.tree = tree
        self._enter = ["nsenter", "--target", str(init), "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--root", "--wd"]

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the machine; returns its output. With `fails` it may fail."""
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""}
        whole = [*self._enter, "env", "-i", *(f"{key}={value}" for key, value in clean.items()), *command]
        if fails:
            return subprocess.run(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        return said(whole)

    def show(self, unit: str, key: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", unit, "--property", key, "--value").strip()

    def log(self, unit: str) -> str:
        """What the journal has of a unit: its own lines and systemd's."""
        return self.run("journalctl", "--unit", unit, "--no-pager", "--output", "cat")

    def log_of_the_service(self, unit: str) -> list[str]:
        """The lines that the processes of a unit have logged."""
        own = f"_SYSTEMD_UNIT={unit}"
        return self.run("journalctl", own, "--no-pager", "--output", "cat").splitlines()


@contextlib.contextmanager
def booted(tree: pathlib.Path):
    """Boots the tree with systemd, and ends it with all its processes."""
    with tempfile.TemporaryDirectory(prefix="leveret-cgroup-") as cgroups:
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", cgroups], check=True)
        own = pathlib.Path(cgroups) / f"leveret-check-{time.monotonic_ns()}"
        own.mkdir()
        with open(tree / "boot.log", "wb") as log:
            boot = subprocess.Popen(
                [str(PACKAGING / "lib" / "boot"), str(tree), str(own)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield Machine(tree, _first_process(boot, tree))
        finally:
            boot.kill()
            boot.wait()
            _remove(own)
            subprocess.run(["umount", cgroups], check=True)


def _first_process(boot: subprocess.Popen, tree: pathlib.Path) -> int:
    """Waits until the machine is up; returns the id of its first process."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and boot.poll() is None:
        children = pathlib.Path(f"/proc/{boot.pid}/task/{boot.pid}/children").read_text().split()
        if children:
            machine = Machine(tree, int(children[0]))
            # It is degraded when a unit failed that a container cannot have, such as the one for kernel modules.
            if machine.run("systemctl", "is-system-running", fails=True).strip() in ("running", "degraded"):
                return int(children[0])
        time.sleep(0.1)
    sys.exit(f"systemd does not come up: {(tree / 'boot.log').read_text()[-2000:]}")


def _remove(cgroup: pathlib.Path) -> None:
    """Removes a tree of control groups, once its processes have ended."""
    deadline = time.monotonic() + BOOT_SECONDS
    while cgroup.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        time.sleep(0.05)
