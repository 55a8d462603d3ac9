"""How each client library is installed into the cache and how its runner is called.

A client is a folder of `interop/` with a file that pins versions. This file knows none of the checks.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from typing import Callable

import debian

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The list of checks that every client's runner reports.
COMMON = ("checks.txt",)
# The lists that every CMQ SDK's runner reports, and the further list of SDKs that manage queues and topics.
CMQ_COMMON = ("cmq/checks.txt",)
CMQ_WHOLE = (*CMQ_COMMON, "cmq/control.txt")


class Unavailable(Exception):
    """Raised by an installer when no registry has the library: the client is skipped, with this text as the reason."""


@dataclass(frozen=True)
class Client:
    """One client: `install(cache)` installs its packages and returns the command of its runner."""

    name: str
    checks: tuple[str, ...]
    install: Callable[[pathlib.Path], list[str]]
    folder_name: str = ""

    @property
    def folder(self) -> pathlib.Path:
        return ROOT / (self.folder_name or self.name)

    def expected(self) -> list[str]:
        """The names that the runner must report, from the client's lists of checks."""
        lines = [line for file in self.checks for line in (ROOT / file).read_text().splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def call(command: list, **options) -> None:
    """Run an installer with its output on our stderr, so that stdout keeps one line per check."""
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, **options)


def venv(cache: pathlib.Path, requirements: pathlib.Path, name: str) -> pathlib.Path:
    """Make a virtual environment with the versions that the file pins; returns its interpreter."""
    home = cache / "venv" / name
    python = home / "bin" / "python"
    if not python.exists():
        call([sys.executable, "-m", "venv", home])
    call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements])
    return python


def python_client(name: str, folder: str = "", checks: tuple[str, ...] = COMMON) -> Client:
    home = ROOT / (folder or name)

    def install(cache: pathlib.Path) -> list[str]:
        python = venv(cache, home / "requirements.txt", name)
        return [str(python), str(home / "runner.py")]

    return Client(name, checks, install, folder)


def copied(source: pathlib.Path, home: pathlib.Path, *patterns: str) -> pathlib.Path:
    """Copy a runner to the cache, for package tools that can install only beside the sources."""
    home.mkdir(parents=True, exist_ok=True)
    for pattern in patterns:
        for file in source.glob(pattern):
            (home / file.name).write_text(file.read_text())
    return home


def node_client(name: str, folder: str = "", checks: tuple[str, ...] = COMMON, preload: str = "") -> Client:
    def install(cache: pathlib.Path) -> list[str]:
        home = copied(ROOT / (folder or name), cache / name, "*.json", "*.js")
        call(["npm", "ci", "--ignore-scripts", "--silent", "--cache", cache / "npm"], cwd=home)
        preloaded = ["-r", str(home / preload)] if preload else []
        return ["node", *preloaded, str(home / "runner.js")]

    return Client(name, checks, install, folder)


def install_go(cache: pathlib.Path) -> list[str]:
    binary = cache / "amqp091-go" / "runner"
    call(["go", "build", "-o", binary, "."], cwd=ROOT / "amqp091-go", env=go_environment(cache))
    return [str(binary)]


def install_cmq_go(cache: pathlib.Path) -> list[str]:
    home = copied(ROOT / "cmq" / "go", cache / "cmq-go", "*.go", "go.mod", "go.sum")
    environment = go_environment(cache)
    # Some module proxies lack it; its repository is the second choice. `go.sum` pins its content either way.
    ways = (environment, environment | {"GOPRIVATE": "github.com/TencentCloud/*", "GIT_TERMINAL_PROMPT": "0"})
    for environment in ways:
        if subprocess.run(["go", "mod", "download"], cwd=home, env=environment, capture_output=True).returncode == 0:
            call(["go", "build", "-o", home / "runner", "."], cwd=home, env=environment)
            return [str(home / "runner")]
    raise Unavailable("the Go module proxy does not have the SDK's module, and its repository cannot be reached")


def go_environment(cache: pathlib.Path) -> dict[str, str]:
    """An environment with Go's module cache inside ours, writable so that it can be removed."""
    return os.environ | {"GOMODCACHE": str(cache / "go"), "GOFLAGS": "-modcacherw -buildvcs=false"}


def install_lapin(cache: pathlib.Path) -> list[str]:
    target = cache / "lapin"
    manifest = ROOT / "lapin" / "Cargo.toml"
    call(["cargo", "build", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", target])
    return [str(target / "debug" / "interop-lapin")]


def java_client(name: str, main: str, folder: str, checks: tuple[str, ...], quiet: str) -> Client:
    home = ROOT / folder

    def install(cache: pathlib.Path) -> list[str]:
        # Named after the pinned versions, so that a changed pin does not run with old jars.
        pins = hashlib.sha256((home / "pom.xml").read_bytes()).hexdigest()[:12]
        jars, classes = cache / folder / f"jars-{pins}", cache / folder / "classes"
        if not jars.is_dir():
            copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
            call(
                ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", f"-Dmaven.repo.local={cache / 'maven'}"]
                + [copy, f"-DoutputDirectory={jars}"],
                cwd=home,
            )
        sources = [*sorted((ROOT / "lib" / "java").glob("**/*.java")), *sorted(home.glob("src/**/*.java"))]
        call(["javac", "-XDsuppressNotes", "-d", classes, "-cp", f"{jars}/*", *sources])
        return ["java", quiet, "-cp", f"{classes}:{jars}/*", main]

    return Client(name, checks, install, folder)


LOGBACK = f"-Dlogback.configurationFile={ROOT / 'java/logback.xml'}"
LOG4J = f"-Dlog4j.configuration=file:{ROOT / 'cmq/java/log4j.properties'}"

CLIENTS = [
    python_client("pika", checks=(*COMMON, "pika/checks.txt")),
    python_client("aio-pika"),
    node_client("amqplib"),
    Client("amqp091-go", (*COMMON, "amqp091-go/checks.txt"), install_go),
    Client("lapin", COMMON, install_lapin),
    java_client("java", "interop.Checks", "java", COMMON, LOGBACK),
    java_client("perf-test", "interop.PerfTestRuns", "java", ("java/perf-test.txt",), LOGBACK),
]


def debian_tree(cache: pathlib.Path, release: str, package: str) -> pathlib.Path:
    """The files of a Debian package."""
    if not debian.available():
        raise Unavailable(f"needs Debian's apt to fetch {package}")
    return debian.unpacked(cache, release, package)


def install_rabbitmqadmin_v1(cache: pathlib.Path) -> list[str]:
    home = ROOT / "management" / "rabbitmqadmin-v1"
    script = debian_tree(cache, "trixie", "rabbitmq-server") / "usr/bin/rabbitmqadmin"
    python = venv(cache, home / "requirements.txt", "rabbitmqadmin-v1")
    return [str(python), str(home / "runner.py"), str(script)]


def install_rabbitmqadmin_v2(cache: pathlib.Path) -> list[str]:
    home, root = ROOT / "management" / "rabbitmqadmin-v2", cache / "rabbitmqadmin-v2"
    version = (home / "version").read_text().strip()
    # About 80 s on two cores when nothing is in the cache.
    install = ["cargo", "install", "rabbitmqadmin", "--version", version, "--locked", "--debug", "--quiet"]
    call([*install, "--root", root, "--target-dir", root / "target"])
    python = venv(cache, home / "requirements.txt", "rabbitmqadmin-v2")
    return [str(python), str(home / "runner.py"), str(root / "bin" / "rabbitmqadmin")]


def install_promtool(cache: pathlib.Path) -> list[str]:
    home = ROOT / "management" / "promtool"
    program = debian_tree(cache, "bookworm", "prometheus") / "usr/bin/promtool"
    python = venv(cache, home / "requirements.txt", "promtool")
    return [str(python), str(home / "runner.py"), str(program)]


def management_client(name: str) -> Client:
    """A client of the management API whose runner is in Python."""
    return python_client(name, f"management/{name}", (f"management/{name}/checks.txt",))


def installed_client(name: str, install: Callable[[pathlib.Path], list[str]]) -> Client:
    """A client of the management API with packages of its own."""
    return Client(name, (f"management/{name}/checks.txt",), install, f"management/{name}")


MANAGEMENT_CLIENTS = [
    installed_client("rabbitmqadmin-v1", install_rabbitmqadmin_v1),
    installed_client("rabbitmqadmin-v2", install_rabbitmqadmin_v2),
    management_client("pyrabbit2"),
    management_client("queries"),
    installed_client("promtool", install_promtool),
    management_client("schemathesis"),
]

CMQ_CLIENTS = [
    python_client("cmq-python", "cmq/python", (*CMQ_WHOLE, "cmq/python/checks.txt")),
    node_client("cmq-node", "cmq/node", (*CMQ_WHOLE, "cmq/node/checks.txt"), preload="redirect.js"),
    java_client("cmq-java", "interop.cmq.Checks", "cmq/java", CMQ_WHOLE, LOG4J),
    Client("cmq-go", (*CMQ_COMMON, "cmq/go/checks.txt"), install_cmq_go, "cmq/go"),
]

# The web page in headless Chromium: no client library, but installed and run as one.
BROWSER = node_client("browser", checks=("browser/checks.txt",))
