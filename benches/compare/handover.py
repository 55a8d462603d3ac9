# How long a publisher waits for a confirm when the leader is killed, and when it hands over. A client that connects again to any node.

import pathlib
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "interop" / "faults"))

from client import Client, Confirmed, properties  # noqa: E402
from raw import Closed  # noqa: E402

RETRY_S = 0.02
SETTLE_S = 3.0
ANSWER_S = 60.0


class Publisher(threading.Thread):
    """Publishes one message after the other, each when the one before is confirmed, at any node that takes it. Notes the times of
    confirms."""

    def __init__(self, nodes, queue, first):
        super().__init__(daemon=True)
        self.nodes, self.queue, self.first = nodes, queue, first
        self.confirms = []
        self.stopping = False
        self.error = None

    def run(self):
        turn = self.first
        while not self.stopping:
            port = self.nodes.ports[turn % len(self.nodes.ports)]
            turn += 1
            try:
                client = Client("127.0.0.1", port)
            except (OSError, Closed):
                time.sleep(RETRY_S)
                continue
            try:
                self._publish(client)
            except (OSError, Closed) as error:
                self.error = error
            finally:
                client.close()

    def _publish(self, client):
        client.select_confirms()
        while not self.stopping:
            client.publish("", self.queue, properties(2), bytes(1024))
            while client.open:
                for seen in client.pump(0.5):
                    if isinstance(seen, Confirmed) and not seen.is_refused:
                        self.confirms.append(time.monotonic())

    def wait_for(self, when):
        """When the first confirm after this time came."""
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            found = next((at for at in self.confirms[-50:] if at > when), None)
            if found:
                return found
            time.sleep(0.002)
        raise TimeoutError(f"no confirm within {ANSWER_S:.0f} s; the last failure is {self.error!r}")


def measure(broker, kind, times):
    """One run of `kind`, which is `failover` or `handover`: the summary in the form of `leveret-bench`."""
    nodes, seconds = broker.nodes, []
    try:
        for number in range(times):
            seconds.append(_once(nodes, kind, f"compare.{kind}.{number}", number))
    except (OSError, Closed, subprocess.CalledProcessError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    return {"ok": True, "loads": [], "waits": {"seconds": seconds, "median": statistics.median(seconds), "max": max(seconds)}}


def _once(nodes, kind, queue, number):
    """Declares a queue, publishes, disturbs, and returns how long the publisher waited."""
    at = nodes.leader() if nodes.is_led_together else number % len(nodes.ports)
    client = Client("127.0.0.1", nodes.ports[at])
    client.declare(queue, {"x-queue-type": "quorum"} if nodes.words else {})
    client.close()
    publisher = Publisher(nodes, queue, at)
    publisher.start()
    publisher.wait_for(0)
    time.sleep(SETTLE_S / 3)
    began = time.monotonic()
    if kind == "failover":
        nodes.kill(at)
        waited = publisher.wait_for(time.monotonic()) - began
        nodes.start_again(at)
    else:
        nodes.hand_over(queue)
        time.sleep(SETTLE_S / 3)
        # The command takes its time, and only some of it is the client's wait.
        confirms = [began, *(at for at in publisher.confirms if at > began)]
        waited = max(after - before for before, after in zip(confirms, confirms[1:]))
    time.sleep(SETTLE_S)
    publisher.stopping = True
    publisher.join(5)
    return waited
