"""Shared by the suite scripts: options, the broker, the cache, skips, and the report.

A suite script fetches the client's own tests, runs them, and returns one result per test. Tests in `skips/SUITE.txt` do
not count. No suite's code is in this repository.
"""

import argparse
import collections
import contextlib
import fcntl
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import Callable, Iterable
from urllib.parse import urlsplit

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "lib"))

import broker  # noqa: E402
import certificates  # noqa: E402

# Separates the test's name from the reason in a line of a skips file.
SEPARATOR = " -- "


@dataclass(frozen=True)
class Result:
    """One test of a suite; `verdict` is passed, failed or skipped, `text` is the reason."""

    name: str
    verdict: str
    text: str = ""


@dataclass(frozen=True)
class Tls:
    """Where the broker accepts AMQP over TLS, and certificates that it trusts."""

    port: int
    certificates: certificates.Certificates


@dataclass(frozen=True)
class Run:
    """The parameters of a suite script: the broker, a working folder, and the tests to leave out.

    `command` starts further brokers of the same kind, and `data_dir` holds this one's data; both are
    None if the broker was given by --url. `management_port` is that of its management API. Only a Leveret that
    we start speaks TLS.
    """

    suite: str
    url: str
    command: str | None
    data_dir: str | None
    folder: pathlib.Path
    cache: pathlib.Path
    skips: dict[str, str]
    management_port: int
    tls: Tls | None

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 5672

    def log(self, command: list, **options) -> int:
        """Run a command with its output in the suite's log file; returns its status."""
        with open(self.folder / "log.txt", "ab") as log:
            return subprocess.run([str(part) for part in command], stdout=log, stderr=log, **options).returncode

    def must(self, command: list, **options) -> None:
        """Run a command that prepares the suite, and end with the log's place if it fails."""
        if self.log(command, **options) != 0:
            sys.exit(f"{self.suite}: {command[0]} failed; see {self.folder / 'log.txt'}")


def read_skips(path: pathlib.Path) -> dict[str, str]:
    """Names and reasons of the tests that are left out."""
    if not path.exists():
        return {}
    skips = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, separator, reason = line.partition(SEPARATOR)
            if not separator:
                sys.exit(f"{path}: no reason in {line!r}")
            skips[name.strip()] = reason.strip()
    return skips


def junit(path: pathlib.Path) -> Iterable[Result]:
    """Results from a JUnit file; nested suites give their names to the test's."""

    def walk(node, names):
        for child in node:
            if child.tag == "testsuite":
                yield from walk(child, [*names, child.get("name", "")])
            elif child.tag == "testcase":
                name = " > ".join([*names, child.get("name", "")])
                if child.get("file") or "." in child.get("classname", ""):
                    name = f"{child.get('classname')}::{child.get('name')}"
                yield Result(name, *verdict_of(child))

    root = ElementTree.parse(path).getroot()
    return list(walk(root, [])) if root.tag == "testsuites" else list(walk([root], []))


def verdict_of(case) -> tuple[str, str]:
    """A JUnit test's verdict and the first line of its message."""
    for tag, verdict in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (node := case.find(tag)) is not None:
            text = (node.get("message") or node.text or "").strip()
            return verdict, text.splitlines()[0] if text else ""
    return "passed", ""


def report(run: Run, results: Iterable[Result]) -> int:
    """Print failures, skips and the closing line; the script's exit status."""
    passed = failed = 0
    own_skips = collections.Counter()
    for result in results:
        if result.name in run.skips:
            continue
        if result.verdict == "skipped":
            own_skips[result.text] += 1
        elif result.verdict == "passed":
            passed += 1
        else:
            failed += 1
            print(f"FAIL {result.name}: {result.text}")
    for name, reason in run.skips.items():
        print(f"skip {name}: {reason}")
    for reason, count in own_skips.items():
        print(f"skip {count} by the suite itself: {reason}")
    if passed == 0:
        print(f"FAIL {run.suite}: no test passed; see {run.folder / 'log.txt'}")
        failed += 1
    skipped = len(run.skips) + own_skips.total()
    print(f"{run.suite}: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def main(suite: str, description: str, body: Callable[[Run], Iterable[Result]]) -> None:
    """Parse the options that every suite script has, provide a broker, run the suite, report."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", help="use this broker instead of starting one")
    parser.add_argument("--management-port", type=int, default=15672, help="that of the broker that --url names")
    parser.add_argument("--broker", default=broker.LEVERET, help="what to start instead of Leveret")
    parser.add_argument("--cache", default=str(ROOT / ".cache"), type=pathlib.Path)
    options = parser.parse_args()
    cache = options.cache.resolve()
    folder = cache / "suites" / suite
    folder.mkdir(parents=True, exist_ok=True)
    # Two runs of one suite would use the same files; the lock ends with this process.
    lock = open(folder / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"{suite}: is already running in {folder}")
    (folder / "log.txt").unlink(missing_ok=True)
    skips = read_skips(HERE / "skips" / f"{suite}.txt")
    with contextlib.ExitStack() as stack:
        own, management_port, tls = None, options.management_port, None
        if not options.url:
            management_port = broker.free_port()
            environment, ports = {"INTEROP_MANAGEMENT_PORT": str(management_port)}, [management_port]
            if options.broker == broker.LEVERET:
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="interop-tls-"))
                tls = Tls(broker.free_port(), certificates.make(pathlib.Path(made)))
                environment |= tls.certificates.broker_options(tls.port)
                ports.append(tls.port)
            own = stack.enter_context(broker.fresh(options.broker, environment, tuple(ports)))
        url = options.url or own.url
        command = None if options.url else options.broker
        run = Run(suite, url, command, own and own.data_dir, folder, cache, skips, management_port, tls)
        status = report(run, body(run))
    sys.exit(status)
