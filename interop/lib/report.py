"""Shared by the Python runners: the environment, names, and one line per check.

Independent of any client library; `interop/run` reads the lines that it prints.
"""

import contextlib
import os
import subprocess
import sys
import time
from urllib.parse import urlsplit, urlunsplit

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
RESTART = os.environ.get("INTEROP_RESTART")


class Skip(Exception):
    """Raised by a check that cannot run here; the text is the reason."""


def name(suffix: str) -> str:
    """A queue or exchange name that no other run uses."""
    return f"interop.{os.path.basename(os.getcwd())}.{os.getpid()}.{suffix}"


def url_with(user: str | None = None, password: str | None = None, vhost: str | None = None) -> str:
    """The broker's URL with some of its parts replaced (`vhost` already percent-encoded)."""
    parts = urlsplit(URL)
    host = parts.hostname + (f":{parts.port}" if parts.port else "")
    netloc = f"{user or parts.username or 'guest'}:{password or parts.password or 'guest'}@{host}"
    path = parts.path if vhost is None else f"/{vhost}"
    return urlunsplit((parts.scheme, netloc, path, parts.query, ""))


def require_restart() -> None:
    """Skip the check unless the broker can be restarted."""
    if not RESTART:
        raise Skip("the broker cannot be restarted")


def restart_broker() -> None:
    """Kill the broker without warning and start it on the same data; returns once it listens."""
    subprocess.run(RESTART, shell=True, check=True, stdout=sys.stderr)


def eventually(what: str, probe, seconds: float = 10.0):
    """Call `probe` until it returns something true, or fail with `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := probe():
            return result
        time.sleep(0.02)
    raise AssertionError(f"{what}: not seen within {seconds} s")


def equal(what: str, got, want) -> None:
    """Fail with both values unless they are the same."""
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


class Report:
    """Prints results and counts failures."""

    def __init__(self) -> None:
        self.failed = 0

    @contextlib.contextmanager
    def check(self, name: str):
        """The body is one check: prints its line. A failure does not stop the runner, so that the other checks still run."""
        try:
            yield
        except Skip as skip:
            self.skip(name, str(skip))
        except Exception as error:
            self.fail(name, error)
        else:
            self.ok(name)

    def ok(self, check: str) -> None:
        print(f"ok {check}", flush=True)

    def skip(self, check: str, why: str) -> None:
        print(f"skip {check}: {why}", flush=True)

    def fail(self, check: str, error: BaseException) -> None:
        self.failed += 1
        text = " ".join(str(error).split()) or "no message"
        print(f"FAIL {check}: {type(error).__name__}: {text}", flush=True)
