# What a node that was away costs those who publish meanwhile: it gets what it lacks from the leader's log, or a snapshot of everything.

import json
import re
import subprocess
import threading
import time

from brokers import until

RATE = 5_000
# Length of the runs of a load while the node catches up. Longer ones tell less of a short time.
WINDOW_S = 3.0
BACK_WITHIN_S = 600
LOOK_S = 0.25
# Entries that are on their way under the load.
BEHIND_MAX = 100
FILLED = "compare-filled"
MESSAGE_BYTES = 1024


class Return(threading.Thread):
    """Starts a node, and notes how long it takes until it has everything."""

    def __init__(self, nodes, number):
        super().__init__(daemon=True)
        self.nodes, self.number = nodes, number
        self.seconds = None

    def run(self):
        began = time.monotonic()
        self.nodes.start_again(self.number)
        while time.monotonic() - began < BACK_WITHIN_S:
            if self.nodes.has_everything(self.number):
                self.seconds = time.monotonic() - began
                return
            time.sleep(LOOK_S)


def measure(broker, generator, count):
    """Kills a follower, publishes so many messages that stay, and starts it again under a load. The summary is in the form of
    `leveret-bench`."""
    nodes = broker.nodes
    leader = nodes.leader()
    away = (leader + 1) % len(nodes.ports)
    sent = nodes.log(leader).count("a snapshot was sent")
    try:
        before = _load(broker, generator)
        nodes.kill(away)
        _bench(broker, generator, "produce", "--keep", "--count", str(count), "--prefix", FILLED)
        back = Return(nodes, away)
        back.start()
        during = [_load(broker, generator)]
        while back.is_alive():
            during.append(_load(broker, generator))
        after = _load(broker, generator)
        until(lambda: nodes.leader() == leader, BACK_WITHIN_S, "another node leads")
        nodes.delete_queue(leader, f"{FILLED}.0")
    except (OSError, subprocess.CalledProcessError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    if back.seconds is None:
        return {"ok": False, "error": f"the node lacks something after {BACK_WITHIN_S} s"}
    worst = max(during, key=lambda load: load["confirm_ms"]["p99"])
    returns = {"seconds": back.seconds, "mb_per_second": count * MESSAGE_BYTES / 1e6 / back.seconds,
               "by": "a snapshot" if nodes.log(leader).count("a snapshot was sent") > sent else "the log",
               "before": _confirms(before), "during": _confirms(worst), "after": _confirms(after)}
    return {"ok": True, "loads": [], "returns": returns}


def is_whole(status, name):
    """Whether the output of `cluster_status` says that a node runs and lacks nothing."""
    line = next((line for line in status.splitlines() if f"leveret@{name}," in line), "")
    behind = re.search(r"behind by (\d+) entr", line)
    return ", running" in line and behind is not None and int(behind.group(1)) <= BEHIND_MAX


def _load(broker, generator):
    return _bench(broker, generator, "latency", "--rate", str(RATE), "--seconds", str(WINDOW_S), "--warm-up", "0.3")["loads"][0]


def _bench(broker, generator, *words):
    command = [str(generator), *words, "--json", "--quiet", *broker.nodes.words, "--uri", broker.nodes.uri()]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def _confirms(load):
    return {"p50": load["confirm_ms"]["p50"], "p99": load["confirm_ms"]["p99"], "rate": load["rate"]}
