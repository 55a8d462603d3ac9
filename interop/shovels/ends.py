"""The brokers at the ends of shovels: their addresses, management API and alarms; messages that are put into them and taken out."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import broker
from certificates import Certificates
from numbered import USER, batch
from raw import Closed, Delivery, Peer

# The user of shovels that come over the network. It passes messages on that others have published.
MOVER = "mover"
WAIT_S = 60
BATCH = 500


class Fault(Exception):
    """Why a check fails."""


def eventually(what: str, probe, seconds: float = WAIT_S):
    """Polls until the probe returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise Fault(f"{what}: not seen within {seconds} s")
        time.sleep(0.05)
    return found


class End:
    """A running broker."""

    def __init__(self, kind: str, started: broker.Broker, command: str, api_port: int, amqps_port: int, certificates: pathlib.Path):
        self.kind, self.started, self.command = kind, started, command
        self.api_port, self.amqps_port, self.certificates = api_port, amqps_port, certificates
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        for user, tags in (USER, ""), (MOVER, "impersonator"):
            self.api("PUT", f"users/{user}", {"password": user, "tags": tags})
            self.api("PUT", f"permissions/%2f/{user}", everything)

    def uri(self) -> str:
        return self.started.url.replace("guest:guest", f"{MOVER}:{MOVER}")

    def amqps(self, login: str = f"{MOVER}:{MOVER}@", **parameters: str | pathlib.Path) -> str:
        query = urllib.parse.urlencode({name: str(value) for name, value in parameters.items()})
        return f"amqps://{login}localhost:{self.amqps_port}/%2f?{query}"

    def api(self, method: str, path: str, body: dict | None = None, user: str = "guest"):
        """The JSON of the answer; urllib.error.HTTPError for refusals."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}/api/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode())
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def ctl(self, *words: str) -> str:
        command = [f"{self.command}.ctl", self.started.data_dir, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault(f"{words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def kill(self) -> None:
        """Kills the broker and starts it again on its data."""
        subprocess.run(self.started.restart, shell=True, check=True)

    @contextlib.contextmanager
    def alarm(self):
        """Publishers wait within."""
        self.ctl("set_vm_memory_high_watermark", "0.0000001")
        try:
            yield
        finally:
            self.ctl("set_vm_memory_high_watermark", "0.6")

    def peer(self) -> Peer:
        return Peer(self.started.url, USER, USER)

    def declare(self, *queues: str) -> None:
        peer = self.peer()
        for queue in queues:
            peer.declare(queue, {})
        peer.close()

    def fill(self, key: str, numbers: range, exchange: str = "", priorities: int = 0) -> None:
        """Publishes with confirms. With priorities all messages are persistent, otherwise most are."""
        peer = self.peer()
        peer.select_confirms()
        for start in range(numbers.start, numbers.stop, BATCH):
            part = range(start, min(start + BATCH, numbers.stop))
            peer.publish(batch("p", part, exchange, key, priorities), len(part))
        peer.wait_confirms()
        peer.close()

    def ready(self, queue: str) -> int:
        """The number of ready messages; 0 if there is no such queue."""
        peer = self.peer()
        try:
            return peer.ready(queue)
        except Closed as closed:
            if "404" in str(closed):
                return 0
            raise
        finally:
            peer.close()

    def take(self, queue: str, silence_s: float = 0.5) -> list[Delivery]:
        """Takes everything that is in a queue."""
        peer = self.peer()
        peer.consume(queue)
        taken = list(peer.deliveries(silence_s))
        peer.close()
        return taken

    def shovel(self, name: str) -> dict:
        """What the API tells of a shovel; nothing if there is none."""
        found = [shovel for shovel in self.api("GET", "shovels") if shovel["name"] == name]
        return found[0] if found else {}

    def defines(self, name: str) -> bool:
        with contextlib.suppress(urllib.error.HTTPError):
            return bool(self.api("GET", f"parameters/shovel/%2f/{name}"))
        return False

    def certificate(self, name: str) -> str:
        """A file of the certificates as this broker, not this process, sees it."""
        return str(self.certificates / name)


@contextlib.contextmanager
def start(kind: str, command: str, certificates: Certificates, settings: dict[str, str], seen_in: str | None):
    """Starts a broker with its API and TLS. `seen_in` is where it sees the certificates, with {port} for that of AMQP."""
    api, amqps = broker.free_port(), broker.free_port()
    folder = certificates.authority.parent
    environment = {"INTEROP_MANAGEMENT_PORT": str(api), "INTEROP_AMQPS_PORT": str(amqps), "INTEROP_CERTIFICATES": str(folder)}
    if command == broker.LEVERET:
        environment |= certificates.broker_options(amqps)
    with broker.fresh(command, environment | settings, (api, amqps)) as started:
        port = urllib.parse.urlsplit(started.url).port
        where = pathlib.Path(seen_in.format(port=port)) if seen_in else folder
        yield End(kind, started, command, api, amqps, where)


def rabbitmq(series: str, certificates: Certificates):
    os.environ["INTEROP_REFERENCE"] = series
    command = str(broker.ROOT / "brokers" / "reference")
    plugins = {"INTEROP_PLUGINS": "rabbitmq_shovel rabbitmq_shovel_management"}
    return start("rabbitmq", command, certificates, plugins, "/tmp/interop-{port}/certificates")


def leveret(certificates: Certificates):
    return start("leveret", broker.LEVERET, certificates, {}, None)
