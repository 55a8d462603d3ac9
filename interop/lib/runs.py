"""Installs clients, runs their runners and counts the results; knows neither brokers nor checks."""

import pathlib
import subprocess
import sys
import threading

from clients import Client, Unavailable

RUNNER_SECONDS = 300


class Tally:
    """Counts the results that the runners report."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    def line(self, client: str, verdict: str, text: str) -> None:
        match verdict:
            case "ok":
                self.passed += 1
            case "skip":
                self.skipped += 1
            case _:
                self.failed += 1
        print(f"{client:<16} {verdict:<4} {text}", flush=True)

    def close(self) -> int:
        """Print the closing line; returns the exit status."""
        skipped = f" ({self.skipped} skipped)" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 1 if self.failed else 0


def install(clients: list[Client], cache: pathlib.Path, tally: Tally) -> list[tuple[Client, list[str]]]:
    """Install each client; returns those that can run, with their commands. A client that cannot be installed has failed."""
    runnable = []
    for client in clients:
        try:
            runnable.append((client, client.install(cache)))
        except Unavailable as reason:
            tally.line(client.name, "skip", f"install: {reason}")
        except (subprocess.CalledProcessError, OSError) as error:
            tally.line(client.name, "FAIL", f"install: {error}")
    return runnable


def run_client(
    client: Client, command: list[str], environment: dict[str, str], tally: Tally, expected: list[str] | None = None
) -> None:
    """Run one runner and pass its lines on. A check of the client, or of `expected`, that it does not report counts as failed."""
    failed_before = tally.failed
    missing = client.expected() if expected is None else expected
    # The runner names its queues after its folder; it shares our stderr.
    with subprocess.Popen(
        command, cwd=client.folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as runner:
        timer = threading.Timer(RUNNER_SECONDS, runner.kill)
        timer.start()
        try:
            for line in runner.stdout:
                verdict, _, text = line.rstrip("\n").partition(" ")
                if verdict not in ("ok", "FAIL", "skip"):
                    print(line, end="", file=sys.stderr)
                    continue
                check = text.split(":")[0]
                if check in missing:
                    missing.remove(check)
                tally.line(client.name, verdict, text)
            status = runner.wait()
        finally:
            timer.cancel()
    for check in missing:
        tally.line(client.name, "FAIL", f"{check}: not reported by the runner")
    if status != 0 and tally.failed == failed_before:
        tally.line(client.name, "FAIL", f"runner: exit status {status}")
