# Runs scenarios side by side against one broker and compares them with the stored transcripts. Knows the files of
# transcripts and deviations, and no AMQP.

import concurrent.futures
import difflib
import fnmatch
import os
import pathlib
import time
import tomllib
import traceback

from . import session

ROOT = pathlib.Path(__file__).parent.parent
TRANSCRIPTS = ROOT / "transcripts"
DEVIATIONS = ROOT / "deviations.toml"
# Scenarios with known faults, one a line; the file goes when the last fault is fixed.
JOBS = 24


def select(pattern, series=None):
    """Names of the scenarios that match (and follow the RabbitMQ `series`), slow ones first."""
    catalogue = session.load()
    names = [name for name in fnmatch.filter(sorted(catalogue), pattern) if series in (None, session.series(name))]
    return sorted(names, key=lambda name: -getattr(catalogue[name][0], "slow", 0))


def perform(address, names, jobs=JOBS, control=None):
    """
    Runs the scenarios; those marked `alone` run last, one by one. Returns {name: (transcript, seconds)}; the
    transcript is None if a scenario needs the control command and there is none.
    """
    run_id = os.urandom(3).hex()
    prefixes = {name: f"lp{run_id}{number:04d}." for number, name in enumerate(names)}
    last = [name for name in names if getattr(session.CATALOGUE[name][0], "alone", False)]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {name: pool.submit(_one, address, prefixes[name], name, control)
                   for name in names if name not in last}
        results = {name: future.result() for name, future in waiting.items()}
    return results | {name: _one(address, prefixes[name], name, control) for name in last}


def _one(address, prefix, name, control):
    function, title = session.CATALOGUE[name]
    current = session.Session(address, prefix, control)
    started = time.monotonic()
    try:
        text = current.run(function)
    except session.NoControl:
        text = None
    except OSError as error:
        text = current.transcript.text() + f"!! {error}\n"
    except Exception:       # a fault of the scenario: shown as a difference
        text = current.transcript.text() + "!! " + traceback.format_exc()
    seconds = time.monotonic() - started
    try:
        current.tidy()
    except OSError as error:
        text = f"{text or ''}!! tidying: {error}\n"
    if text is None:
        return None, seconds
    head = "".join(f"# {line}\n" for line in title.splitlines())
    if session.series(name) != "4.0":
        head += f"# As in RabbitMQ {session.series(name)}.\n"
    return head + "\n" + text, seconds


def stored(name):
    """The recorded transcript, or None."""
    path = TRANSCRIPTS / f"{name}.txt"
    return path.read_text() if path.exists() else None


def difference(expected, got):
    """Unified diff, empty if equal."""
    return "".join(difflib.unified_diff(expected.splitlines(True), got.splitlines(True),
                                        "recorded", "this broker", n=3))


def accepted():
    """{scenario: deviation} from deviations.toml; a reason is required."""
    listed = {}
    if DEVIATIONS.exists():
        for entry in tomllib.loads(DEVIATIONS.read_text()).get("deviation", []):
            names = entry.get("scenarios") or [entry["scenario"]]
            if not entry.get("reason", "").strip():
                raise SystemExit(f"deviations.toml: {names} has no reason")
            for name in names:
                if name in listed:
                    raise SystemExit(f"deviations.toml: {name} is listed twice")
                listed[name] = entry
    return listed


def verdict(name, got, deviation):
    """
    ('passed' | 'failed' | 'skipped' | 'left out', text to print). An accepted deviation is skipped; a scenario that needs
    the missing control command is left out.
    """
    if got is None:
        return "left out", ""
    expected = stored(name)
    if expected is None:
        return "failed", "no recorded transcript\n" + got
    diff = difference(expected, got)
    if deviation is None:
        return ("failed", diff) if diff else ("passed", "")
    if not diff:
        return "failed", "listed in deviations.toml, but it does not deviate\n"
    pinned = deviation.get("diff")
    if pinned is not None and _changes(pinned) != _changes(diff):
        return "failed", "deviates, but not as deviations.toml has it\n" + diff
    return "skipped", ""


def _changes(diff):
    """The added and removed lines only."""
    return [line for line in diff.splitlines()
            if line.startswith(("+", "-")) and line[:3] not in ("+++", "---")]
