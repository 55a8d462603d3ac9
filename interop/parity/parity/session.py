# One run of one scenario: its names, its connections, and the tidying afterwards.
# Scenarios register here with @scenario; the catalogue is what the runner runs.

import contextlib
import importlib
import inspect
import pathlib

from .channel import Stop
from .client import Connection
from .transcript import Transcript

CATALOGUE = {}


def scenario(function):
    """Registers `function(session)` as `<file>.<function>`; its docstring says what it shows."""
    add(function.__module__, function.__name__, function, function.__doc__)
    return function


def slow(function):
    """A scenario that has to wait; the runner starts these first."""
    function.slow = True
    return function


def add(module, name, function, title):
    """Registers one row of a table of scenarios."""
    full = f"{module.split('.')[-1]}.{name}"
    if full in CATALOGUE:
        raise ValueError(f"two scenarios are called {full}")
    if not title:
        raise ValueError(f"{full} has no docstring")
    CATALOGUE[full] = (function, inspect.cleandoc(title))


def load():
    """Imports every file of `scenarios/`; returns the catalogue."""
    folder = pathlib.Path(__file__).parent.parent / "scenarios"
    for path in sorted(folder.glob("[!_]*.py")):
        importlib.import_module(f"scenarios.{path.stem}")
    return CATALOGUE


class Session:
    """What a scenario is given. `prefix` keeps names of parallel runs apart."""

    def __init__(self, address, prefix):
        self.address, self.prefix = address, prefix
        self.transcript = Transcript(prefix)
        self.connections, self._queues, self._exchanges = [], [], []

    def name(self, suffix):
        """A name no other scenario and no other run uses; shown as `~suffix`."""
        return self.prefix + suffix

    def note(self, text):
        self.transcript.note("", f"# {text}")

    def socket(self):
        """A connection on which nothing has been said."""
        opened = Connection(self, f"c{len(self.connections) + 1}")
        self.connections.append(opened)
        return opened

    def connect(self, **options):
        """A connection past its handshake, for the options of `Connection.handshake`."""
        return self.socket().handshake(**options)

    def channel(self):
        """A new channel on the first connection, which is opened when there is none."""
        return (self.connections[0] if self.connections else self.connect()).channel()

    def made_queue(self, name):
        if name not in self._queues and (name.startswith(self.prefix) or name.startswith("amq.gen-")):
            self._queues.append(name)

    def made_exchange(self, name):
        if name not in self._exchanges and name.startswith(self.prefix):
            self._exchanges.append(name)

    def run(self, function):
        """Runs the scenario; returns its transcript."""
        try:
            function(self)
        except Stop:
            pass
        finally:
            for connection in self.connections:
                connection.finish()
        return self.transcript.text()

    def tidy(self):
        """Deletes all the scenario declared, on a connection that is in no transcript."""
        if not self._queues and not self._exchanges:
            return
        tidier = Session(self.address, self.prefix)
        connection = tidier.connect()
        channel = connection.channel()
        steps = [("queue.delete", {"queue": name}) for name in self._queues]
        steps += [("exchange.delete", {"exchange": name}) for name in self._exchanges]
        for method, fields in steps:
            with contextlib.suppress(Stop):
                channel.call(method, **fields)
            if connection.gone:
                return
            if channel.closed:
                channel = connection.channel()
        connection.finish()
