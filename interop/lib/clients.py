"""How each client library is installed into the cache and how its runner is called.

A client is a folder of `interop/` with a file that pins versions; nothing here knows what is checked.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from typing import Callable

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What every client's runner reports.
COMMON = ("checks.txt",)


@dataclass(frozen=True)
class Client:
    """One client: `install(cache)` gets what it needs and returns the command of its runner."""

    name: str
    checks: tuple[str, ...]
    install: Callable[[pathlib.Path], list[str]]
    folder_name: str = ""

    @property
    def folder(self) -> pathlib.Path:
        return ROOT / (self.folder_name or self.name)

    def expected(self) -> list[str]:
        """The names that the runner has to report, from the client's lists of checks."""
        lines = [line for file in self.checks for line in (ROOT / file).read_text().splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def call(command: list, **options) -> None:
    """Run an installer with its output on our stderr, so that stdout keeps one line per check."""
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, **options)


def venv(cache: pathlib.Path, requirements: pathlib.Path, name: str) -> pathlib.Path:
    """A virtual environment with what the file pins; returns its interpreter."""
    home = cache / "venv" / name
    python = home / "bin" / "python"
    if not python.exists():
        call([sys.executable, "-m", "venv", home])
    call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements])
    return python


def python_client(name: str) -> Client:
    def install(cache: pathlib.Path) -> list[str]:
        python = venv(cache, ROOT / name / "requirements.txt", name)
        return [str(python), str(ROOT / name / "runner.py")]

    return Client(name, COMMON, install)


def install_amqplib(cache: pathlib.Path) -> list[str]:
    # npm installs beside package.json only, so the pinned files and the runner are copied to the cache.
    home = cache / "amqplib"
    home.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json", "runner.js"):
        (home / file).write_text((ROOT / "amqplib" / file).read_text())
    call(["npm", "ci", "--ignore-scripts", "--silent", "--cache", cache / "npm"], cwd=home)
    return ["node", str(home / "runner.js")]


def install_go(cache: pathlib.Path) -> list[str]:
    binary = cache / "amqp091-go" / "runner"
    call(["go", "build", "-o", binary, "."], cwd=ROOT / "amqp091-go", env=go_environment(cache))
    return [str(binary)]


def go_environment(cache: pathlib.Path) -> dict[str, str]:
    """The environment with Go's module cache inside ours, writable so that it can be removed."""
    return os.environ | {"GOMODCACHE": str(cache / "go"), "GOFLAGS": "-modcacherw -buildvcs=false"}


def install_lapin(cache: pathlib.Path) -> list[str]:
    target = cache / "lapin"
    manifest = ROOT / "lapin" / "Cargo.toml"
    call(["cargo", "build", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", target])
    return [str(target / "debug" / "interop-lapin")]


def install_java(main: str) -> Callable[[pathlib.Path], list[str]]:
    def install(cache: pathlib.Path) -> list[str]:
        # Named after what is pinned, so that a changed pin does not run with old jars.
        pins = hashlib.sha256((ROOT / "java/pom.xml").read_bytes()).hexdigest()[:12]
        jars, classes = cache / "java" / f"jars-{pins}", cache / "java" / "classes"
        if not jars.is_dir():
            copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
            call(
                ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", f"-Dmaven.repo.local={cache / 'maven'}"]
                + [copy, f"-DoutputDirectory={jars}"],
                cwd=ROOT / "java",
            )
        call(["javac", "-d", classes, "-cp", f"{jars}/*", *sorted((ROOT / "java/src/interop").iterdir())])
        quiet = f"-Dlogback.configurationFile={ROOT / 'java/logback.xml'}"
        return ["java", quiet, "-cp", f"{classes}:{jars}/*", f"interop.{main}"]

    return install


CLIENTS = [
    python_client("pika"),
    python_client("aio-pika"),
    Client("amqplib", COMMON, install_amqplib),
    Client("amqp091-go", (*COMMON, "amqp091-go/checks.txt"), install_go),
    Client("lapin", COMMON, install_lapin),
    Client("java", COMMON, install_java("Checks")),
    Client("perf-test", ("java/perf-test.txt",), install_java("PerfTestRuns"), folder_name="java"),
]
