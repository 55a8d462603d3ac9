# Users, permissions, limits, virtual hosts and alarms of scenarios, by rabbitmqctl's verbs. `Command` calls any command
# that takes these verbs. RabbitMQ's own command takes seconds to start an Erlang machine, so recording keeps its program
# running (`Live`).

import json
import shlex
import subprocess
import threading
import zipfile

CALL_S = 60

# Runs in Erlang: one call per line, its words separated by tabs; answers with one line.
_LOOP = r"""
{ok, _} = application:ensure_all_started(elixir),
[application:load(A) || A <- [rabbitmqctl, rabbitmq_cli]],
io:setopts(standard_io, [binary, {encoding, latin1}]),
Loop = fun(F) ->
  case io:get_line(standard_io, '') of
    eof -> halt(0);
    Line ->
      Words = string:split(string:trim(Line, trailing, [10]), [9], all),
      Result = try 'Elixir.RabbitMQCtl':exec_command(Words, fun(R, _, _) -> R end)
               catch Class:Reason:Stack -> {Class, Reason, Stack} end,
      io:format([126,48,112,126,110], [Result]),
      F(F)
  end end,
Loop(Loop).
"""


def limits_json(limits):
    """Limits as rabbitmqctl takes them: `max_queues=1` is {"max-queues":1}."""
    return json.dumps({name.replace("_", "-"): value for name, value in limits.items()}, separators=(",", ":"))


class ControlError(Exception):
    """A call of the control command failed; the text has the call and the reason."""


class Command:
    """A command line, such as `leveret ctl --data-dir D`, to which verbs are appended."""

    def __init__(self, line):
        self._words = shlex.split(line)

    def __call__(self, *words):
        try:
            done = subprocess.run([*self._words, *words], capture_output=True, text=True, timeout=CALL_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ControlError(f"{' '.join(words)}: {error}") from error
        if done.returncode != 0:
            raise ControlError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")

    def close(self):
        pass


class Live:
    """
    rabbitmqctl's program in an Erlang machine that keeps running. `enter` is the command that runs a program where
    RabbitMQ is, `archive` its escript, `unpacked` a folder for its content (`seen_as` from inside), `node` the broker.
    """

    def __init__(self, enter, archive, unpacked, seen_as, plugins, node):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(unpacked)
        command = [*enter, f"ERL_LIBS={seen_as}:{plugins}", "/usr/bin/erl", "+S", "1:1", "+sbwt", "none",
                   "-noshell", "-hidden", "-eval", _LOOP.replace("\n", " "), "-extra", "rabbitmqctl"]
        self._node, self._lock = node, threading.Lock()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *words):
        with self._lock:
            self._process.stdin.write("\t".join(["-n", self._node, "-q", *words]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
        if not answer.startswith(("ok", "{ok,", "{stream,")):
            raise ControlError(f"{' '.join(words)}: {answer or 'no answer'}")

    def close(self):
        self._process.stdin.close()
        self._process.wait(CALL_S)
