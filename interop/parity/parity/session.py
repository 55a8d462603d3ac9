# One run of one scenario: its names, its connections, and the clean-up afterwards.
# Scenarios register here with @scenario; the runner runs the catalogue.

import contextlib
import fnmatch
import importlib
import inspect
import pathlib
import time

from .channel import Stop
from .control import ControlError
from .client import Connection
from .transcript import Transcript

CATALOGUE = {}
# By resource: the verb that sets its limit, a limit that raises the alarm, and RabbitMQ's default.
ALARMS = {
    "memory": ("set_vm_memory_high_watermark", "0.00000001", "0.6"),
    "disk": ("set_disk_free_limit", "900000000000000", "50000000"),
}
PASSWORD = "secret"
# The tolerance of measured times unless a scenario sets another.
TOLERANCE = 0.25


class NoControl(Exception):
    """The scenario needs a control command, and the runner was given none."""


def scenario(function):
    """Registers `function(session)` as `<file>.<function>`; its docstring is the title of the transcript."""
    add(function.__module__, function.__name__, function, function.__doc__)
    return function


def slow(function):
    """A scenario that has to wait; the runner starts these early."""
    function.slow = 1
    return function


def slowest(function):
    """A scenario that has to wait for half a minute; the runner starts these first."""
    function.slow = 2
    return function


def alone(function):
    """A scenario that affects the whole broker, e.g. by an alarm; it runs after all others."""
    function.alone = True
    return function


def follows(series):
    """A scenario whose transcript comes from a RabbitMQ other than 4.0."""
    def mark(function):
        function.series = series
        return function
    return mark


def add(module, name, function, title):
    """Registers one row of a table of scenarios."""
    full = f"{module.split('.')[-1]}.{name}"
    if full in CATALOGUE:
        raise ValueError(f"two scenarios are called {full}")
    if not title:
        raise ValueError(f"{full} has no docstring")
    CATALOGUE[full] = (function, inspect.cleandoc(title))


def follow(module, which, *patterns):
    """Marks scenarios of a file, by shell patterns of their names, as `follows` does."""
    for pattern in patterns:
        found = fnmatch.filter(CATALOGUE, f"{module.split('.')[-1]}.{pattern}")
        if not found:
            raise ValueError(f"no scenario is called {pattern}")
        for name in found:
            CATALOGUE[name][0].series = which


def series(name):
    """The series of RabbitMQ that the scenario of this name follows."""
    return getattr(CATALOGUE[name][0], "series", "4.0")


def load():
    """Imports every file of `scenarios/`; returns the catalogue."""
    folder = pathlib.Path(__file__).parent.parent / "scenarios"
    for path in sorted(folder.glob("[!_]*.py")):
        importlib.import_module(f"scenarios.{path.stem}")
    return CATALOGUE


class Session:
    """The parameter of a scenario. `prefix` keeps the names of parallel runs apart."""

    def __init__(self, address, prefix, control=None):
        self.address, self.prefix, self.control = address, prefix, control
        self.transcript = Transcript(prefix)
        self.connections, self._queues, self._exchanges = [], [], []
        self._undo = []              # control calls for the clean-up, the last one first

    def name(self, suffix):
        """A name no other scenario and no other run uses; shown as `~suffix`."""
        return self.prefix + suffix

    def note(self, text):
        self.transcript.note("", f"# {text}")

    def socket(self):
        """A connection before its handshake."""
        opened = Connection(self, f"c{len(self.connections) + 1}")
        self.connections.append(opened)
        return opened

    def connect(self, **options):
        """A connection after its handshake, with the options of `Connection.handshake`."""
        return self.socket().handshake(**options)

    def login(self, user, vhost="/"):
        """A connection of a user that `user` made."""
        return self.connect(user=user, password=PASSWORD, vhost=vhost)

    def channel(self):
        """A new channel on the first connection, which is opened if there is none."""
        return (self.connections[0] if self.connections else self.connect()).channel()

    def queue(self, **fields):
        """A new channel on the first connection, and the queue `q` declared on it; returns both."""
        channel, name = self.channel(), self.name("q")
        channel.queue(name, **fields)
        return channel, name

    # -- the control command

    def ctl(self, *words):
        """One call of the control command, logged."""
        self.transcript.note("ctl", f"> {' '.join(repr(w) if ' ' in w or not w else w for w in words)}")
        self._control(*words)

    def _control(self, *words):
        if self.control is None:
            raise NoControl
        self.control(*words)

    def user(self, suffix="u", configure=".*", write=".*", read=".*", vhost="/", tags=()):
        """Add a user with these rights in the vhost (None: no rights there); returns its name."""
        name = self.name(suffix)
        rights = "no rights" if configure is None else f"configure '{configure}' write '{write}' read '{read}'"
        self.note(f"user {name}, {rights}{''.join(f', tag {tag}' for tag in tags)}")
        self._undo.append(("delete_user", name))
        self._control("add_user", name, PASSWORD)
        if tags:
            self._control("set_user_tags", name, *tags)
        if configure is not None:
            self._control("set_permissions", "-p", vhost, name, configure, write, read)
        return name

    def vhost(self, suffix="v", default_queue_type=None):
        """Add a virtual host in which guest has all rights; returns its name."""
        name = self.name(suffix)
        self.note(f"vhost {name}" + (f", default queue type {default_queue_type}" if default_queue_type else ""))
        self._undo.append(("delete_vhost", name))
        self._control("add_vhost", name, *(("--default-queue-type", default_queue_type) if default_queue_type else ()))
        self._control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return name

    @contextlib.contextmanager
    def alarm(self, resource="memory"):
        """An alarm (`memory` or `disk`) while the body runs."""
        if self.control is None:
            raise NoControl
        verb, on, off = ALARMS[resource]
        canary = Session(self.address, self.prefix).connect()
        self.transcript.note("ctl", f"> {resource} alarm on")
        try:
            self._control(verb, on)
            canary.wait_until_blocked()
            yield
        finally:
            self.transcript.note("ctl", f"> {resource} alarm off")
            self._control(verb, off)
            canary.close_socket()

    # -- time

    @contextlib.contextmanager
    def takes(self, seconds, tolerance=TOLERANCE):
        """Measures the body; logs the expected time, or the measured one if it differs by more than the tolerance."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.measured(time.monotonic() - started, seconds, tolerance)

    @contextlib.contextmanager
    def within(self, seconds):
        """Logs whether the body takes no longer than this."""
        started = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - started
            self.note(f"within {seconds:g} s" if took <= seconds else f"!! after {took:.2f} s, not {seconds:g} s")

    def measured(self, seconds, expected, tolerance=TOLERANCE, what="after"):
        if abs(seconds - expected) <= expected * tolerance:
            self.note(f"{what} {expected:g} s (+-{tolerance * 100:.0f} %)")
        else:
            self.note(f"!! {what} {seconds:.2f} s, not {expected:g} s (+-{tolerance * 100:.0f} %)")

    # -- clean-up

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
        except ControlError as error:
            self.note(f"!! {error}")
        finally:
            for connection in self.connections:
                connection.finish()
        return self.transcript.text()

    def tidy(self):
        """Removes everything that the scenario made, by the control command and on an unlogged connection."""
        for words in reversed(self._undo):
            with contextlib.suppress(ControlError, NoControl):
                self._control(*words)
        self._delete_declared()

    def _delete_declared(self):
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
