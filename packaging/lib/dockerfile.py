"""Reads a Dockerfile and carries its instructions out in Debian trees, without a container engine.

Knows the instructions and options that this repository's Dockerfile uses, and refuses others. The base images are debootstrapped
trees; Rust's has the toolchain of this machine, read-only.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass, field

import trees

# Debian's packages in the official image `rust:*-slim-*`, beside the toolchain.
RUST_SLIM = ("ca-certificates", "gcc", "libc6-dev")
TOOLCHAIN = pathlib.Path("usr/local")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Instruction:
    """One instruction with its options (`--from=build`) and the rest of its text."""

    line: int
    name: str
    options: list[str]
    text: str

    def option(self, key: str) -> list[str]:
        """The values of an option."""
        return [option.removeprefix(f"--{key}=") for option in self.options if option.startswith(f"--{key}=")]

    def words(self) -> list[str]:
        """The text as a list: JSON, or words."""
        return json.loads(self.text) if self.text.startswith("[") else self.text.split()


@dataclass
class Image:
    """A stage while it is built, and the image that comes out of the last one."""

    tree: pathlib.Path
    env: dict[str, str]
    workdir: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile."""
    found, pending, begun = [], "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not pending and not line.strip()):
            continue
        begun = begun if pending else number
        pending += line.rstrip()
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        name, _, rest = pending.strip().partition(" ")
        options = []
        while match := re.match(r"\s*(--[a-z-]+=\S+)\s*", rest):
            options.append(match.group(1))
            rest = rest[match.end() :]
        found.append(Instruction(begun, name.upper(), options, " ".join(rest.split())))
        pending = ""
    return found


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path out of the build: the last pattern that matches decides."""
    verdict = False
    for pattern in patterns:
        keeps, name = pattern.startswith("!"), pattern.lstrip("!").strip("/")
        if name == "*" or path == name or path.startswith(f"{name}/"):
            verdict = not keeps
    return verdict


class Builder:
    """Carries out the instructions of one Dockerfile, with this repository as the context."""

    def __init__(self, context: pathlib.Path, caches: pathlib.Path, scratch: list) -> None:
        self.context = context
        self.caches = caches
        # Where the trees of the stages are entered as context managers.
        self.scratch = scratch
        lines = (context / ".dockerignore").read_text().splitlines()
        self.patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self.stages: dict[str, Image] = {}
        self.image: Image | None = None

    def carry_out(self, instruction: Instruction) -> None:
        """Do what one instruction says."""
        if instruction.name == "FROM":
            self._from(instruction)
            return
        image = self.image
        assert image is not None, "an instruction before FROM"
        match instruction.name:
            case "RUN":
                self._run(instruction)
            case "COPY":
                self._copy(instruction)
            case "ENV":
                for pair in instruction.text.split():
                    key, _, value = pair.partition("=")
                    image.env[key] = value.strip('"')
            case "WORKDIR":
                image.workdir = instruction.text
                trees.inside(image.tree, ["mkdir", "-p", instruction.text])
            case "USER":
                image.user = instruction.text
            case "VOLUME":
                image.volumes += instruction.words()
            case "EXPOSE":
                image.ports += [int(port) for port in instruction.words()]
            case "ENTRYPOINT":
                image.entrypoint = instruction.words()
            case "HEALTHCHECK":
                image.healthcheck = json.loads(instruction.text.removeprefix("CMD "))
            case other:
                raise AssertionError(f"line {instruction.line}: {other} is not known here")

    def _from(self, instruction: Instruction) -> None:
        base, *name = re.split(r"\s+AS\s+", instruction.text, flags=re.IGNORECASE)
        if base == f"debian:{trees.RELEASE}-slim":
            lower, env = trees.debian(), {"PATH": PATH}
        elif match := re.fullmatch(rf"rust:(\d+\.\d+)-slim-{trees.RELEASE}", base):
            lower = trees.debian("rust", RUST_SLIM)
            env = {
                "PATH": f"/usr/local/cargo/bin:{PATH}",
                "RUSTUP_HOME": "/usr/local/rustup",
                "CARGO_HOME": "/usr/local/cargo",
                "RUSTUP_TOOLCHAIN": _toolchain(match.group(1)),
            }
        else:
            raise AssertionError(f"line {instruction.line}: no tree stands for the image {base}")
        writable = trees.writable(lower)
        tree = writable.__enter__()
        self.scratch.append(writable)
        subprocess.run(["mount", "-t", "proc", "proc", str(tree / "proc")], check=True)
        if "CARGO_HOME" in env:
            _bind(pathlib.Path.home() / ".rustup", tree / "usr/local/rustup")
            _bind(pathlib.Path.home() / ".cargo" / "bin", tree / "usr/local/cargo/bin")
        self.image = Image(tree, env)
        if name:
            self.stages[name[0]] = self.image

    def _run(self, instruction: Instruction) -> None:
        image = self.image
        mounted = []
        for mount in instruction.option("mount"):
            parts = dict(part.split("=", 1) for part in mount.split(","))
            if parts.get("type") != "cache" or set(parts) != {"type", "target"}:
                raise AssertionError(f"line {instruction.line}: --mount={mount} is not known here")
            target = image.tree / parts["target"].lstrip("/")
            _bind(self._cache(parts["target"]), target, writes=True)
            mounted.append(target)
        script = f"cd {image.workdir} && {instruction.text}"
        try:
            trees.inside(image.tree, ["/bin/sh", "-c", script], **image.env)
        finally:
            for target in mounted:
                subprocess.run(["umount", str(target)], check=True)

    def _cache(self, target: str) -> pathlib.Path:
        """The folder behind a cache mount; for cargo's downloads it is this machine's."""
        if target == "/usr/local/cargo/registry":
            return pathlib.Path.home() / ".cargo" / "registry"
        folder = self.caches / target.strip("/").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words()
        image = self.image
        into = image.tree / os.path.join(image.workdir, target).lstrip("/")
        if stages := instruction.option("from"):
            origin, patterns = self.stages[stages[0]].tree, []
        else:
            origin, patterns = self.context, self.patterns
        is_folder = len(sources) > 1 or target.endswith("/") or target in (".", "./")
        for source in sources:
            path = origin / source.lstrip("/")
            if not path.exists() or (patterns and not path.is_dir() and ignored(source, patterns)):
                raise AssertionError(f"line {instruction.line}: {source} is not in the context")
            if path.is_dir():
                skip = lambda folder, names: [  # noqa: E731
                    name for name in names if patterns and ignored(_relative(folder, name, origin), patterns)
                ]
                shutil.copytree(path, into, dirs_exist_ok=True, ignore=skip, symlinks=True)
            else:
                whole = into / path.name if is_folder else into
                whole.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, whole)
                # As docker: modes stay, the owner is root.
                os.chown(whole, 0, 0)


def _relative(folder: str, name: str, origin: pathlib.Path) -> str:
    return str((pathlib.Path(folder) / name).relative_to(origin))


def _toolchain(version: str) -> str:
    """The name of this machine's toolchain of a Rust version."""
    listed = trees.said(["rustup", "toolchain", "list"]).splitlines()
    for name in (line.split()[0] for line in listed):
        if trees.said(["rustc", f"+{name}", "--version"]).split()[1].startswith(f"{version}."):
            return name
    raise AssertionError(f"rustup has no toolchain of Rust {version} here")


def _bind(source: pathlib.Path, target: pathlib.Path, writes: bool = False) -> None:
    """Make a folder of this machine visible in a tree."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
    if not writes:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(target)], check=True)


class Container:
    """The image's program, as its user, in namespaces of its own for processes and mounts."""

    def __init__(self, image: Image, env: dict[str, str], volumes: dict[str, pathlib.Path]) -> None:
        """Starts it with more variables, and with folders in the place of its volumes."""
        self._image = image
        self._env = image.env | env | {"HOME": "/"}
        for path, folder in volumes.items():
            subprocess.run(["mount", "--bind", str(folder), str(image.tree / path.lstrip("/"))], check=True)
        self._volumes = [image.tree / path.lstrip("/") for path in volumes]
        uid, gid = image.user.split(":")
        self.log = image.tree / "container.log"
        chroot = ["chroot", f"--userspec={uid}:{gid}", "--groups=", str(image.tree)]
        run = ["sh", "-c", f'cd {image.workdir} && exec "$@"', "sh", *image.entrypoint]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={image.tree}/proc"]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen([*unshare, *chroot, *run], env=self._env, stdout=log, stderr=log)

    def is_healthy(self) -> bool:
        """Whether the image's health check passes in the container."""
        if not self._started():
            return False
        uid, gid = self._image.user.split(":")
        enter = ["nsenter", "--target", str(self._first()), "--mount", "--pid", "--root", f"--setuid={uid}", f"--setgid={gid}"]
        checked = subprocess.run([*enter, *self._image.healthcheck], env=self._env, capture_output=True)
        return checked.returncode == 0

    def user_ids(self) -> set[str]:
        """The user and group ids of the process, effective and saved ones too."""
        status = pathlib.Path(f"/proc/{self._first()}/status").read_text()
        return {id for line in status.splitlines() if line.startswith(("Uid:", "Gid:")) for id in line.split()[1:]}

    def stop(self) -> int:
        """Send SIGTERM as `docker stop` does; returns the exit status."""
        try:
            for process in self._started():
                os.kill(int(process), signal.SIGTERM)
            return self._process.wait(timeout=60)
        finally:
            self._process.kill()
            for volume in self._volumes:
                subprocess.run(["umount", str(volume)], check=True)

    def _started(self) -> list[str]:
        """The first process of the container, if it is there."""
        parent = self._process.pid
        return pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()

    def _first(self) -> int:
        return int(self._started()[0])


def programs(tree: pathlib.Path, names: tuple[str, ...]) -> list[str]:
    """Which of these programs a tree has."""
    folders = [tree / folder.lstrip("/") for folder in PATH.split(":")]
    return [name for name in names if any((folder / name).exists() for folder in folders)]


def writable_by_others(tree: pathlib.Path, user: str) -> list[str]:
    """Files of the image's program that its own user could change."""
    uid = int(user.split(":")[0])
    found = []
    for path in [*(tree / "usr/local/bin").iterdir(), *(tree / "etc/rabbitmq").rglob("*")]:
        status = path.stat()
        if status.st_uid == uid or status.st_mode & stat.S_IWOTH:
            found.append(str(path.relative_to(tree)))
    return found
