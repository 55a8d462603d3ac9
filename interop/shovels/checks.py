"""The checks of a shovel between two brokers. Each uses queues of its own name."""

import contextlib
import json
import urllib.error

from ends import End, Fault, eventually
from numbered import ALL_TYPES, MARK, Found, properties
from raw import Delivery

COUNT = 2000
KILLED_COUNT = 40_000
KILLED_PREFETCH = 100
FORWARD_FIELDS = [
    b"shovelled-by", b"shovel-type", b"shovel-name", b"shovel-vhost", b"src-uri", b"dest-uri", b"src-queue", b"dest-queue",
]  # fmt: skip
MODES = ["on-confirm", "on-publish", "no-ack"]


class Way:
    """A shovel's two ends. One of them is the broker that runs it, which it reaches by a URI without a host."""

    def __init__(self, name: str, home: End, source: End, target: End):
        self.name, self.home, self.source, self.target = name, home, source, target
        self.far = target if source is home else source

    def definition(self, name: str, **more) -> dict:
        """From the queue NAME.from to the queue NAME.to. Keys with underscores mean those with hyphens; None removes one."""
        value = {
            "src-uri": self.uri(self.source), "src-queue": f"{name}.from",
            "dest-uri": self.uri(self.target), "dest-queue": f"{name}.to", "reconnect-delay": 1,
        }  # fmt: skip
        value |= {key.replace("_", "-"): term for key, term in more.items()}
        return {key: term for key, term in value.items() if term is not None}

    def uri(self, end: End) -> str:
        return "amqp://" if end is self.home else end.uri()

    def far_uri(self, uri: str) -> dict:
        """The term of a definition that sets the URI of the end that is not the shovel's home."""
        return {"src_uri" if self.far is self.source else "dest_uri": uri}

    def set(self, name: str, value: dict) -> None:
        try:
            self.home.api("PUT", f"parameters/shovel/%2f/{name}", {"value": value})
        except urllib.error.HTTPError as error:
            raise Fault(f"the definition is refused: {error.read().decode()}") from error

    @contextlib.contextmanager
    def shovel(self, name: str, **more):
        """A shovel that is gone afterwards."""
        self.set(name, self.definition(name, **more))
        try:
            yield
        finally:
            with contextlib.suppress(urllib.error.HTTPError):
                self.home.api("DELETE", f"parameters/shovel/%2f/{name}")
            # RabbitMQ 4.0 goes on to list what was broken when it was deleted.
            gone = ("", "starting", "terminated") if self.home.kind == "rabbitmq" else ("",)
            eventually("the shovel's end", lambda: self.state(name) in gone)

    def state(self, name: str) -> str:
        return self.home.shovel(name).get("state", "")

    def fill(self, name: str, count: int = COUNT, priorities: int = 0) -> None:
        self.source.declare(f"{name}.from")
        self.source.fill(f"{name}.from", range(count), priorities=priorities)

    def has_moved(self, name: str, count: int) -> None:
        """Waits until so many are at the target, and none is left."""
        eventually(f"{count} messages at the target", lambda: self.target.ready(f"{name}.to") >= count)
        self.is_empty(name)

    def is_empty(self, name: str) -> None:
        """Nothing is ready at the source, and nothing comes back."""
        eventually("an empty source", lambda: self.source.ready(f"{name}.from") == 0)


def compare(taken: list[Delivery], count: int, exchange: str, key: str, flags: bool = True, expected=None) -> Found:
    """The numbered messages from 0 to `count` are there, in order, as they were published. `expected` gives the properties of
    a number if they are not those of publishers without priorities."""
    found = Found(flags)
    for delivery in taken:
        number = int(delivery.body.split()[1])
        raw = expected(number) if expected else properties(number, None)
        found.take(delivery, key.encode(), exchange.encode(), raw, ())
    found.missing("p", count)
    if found.faults:
        raise Fault("; ".join(found.faults[:3]))
    return found


def queues(way: Way) -> None:
    """From queue to queue in each ack mode, with messages that come while it runs."""
    for mode in MODES:
        name = f"{way.name}.queues.{mode}"
        way.fill(name)
        with way.shovel(name, ack_mode=mode):
            eventually("its run", lambda name=name: way.state(name) == "running")
            way.source.fill(f"{name}.from", range(COUNT, COUNT + 500))
            way.has_moved(name, COUNT + 500)
        way.is_empty(name)
        compare(way.target.take(f"{name}.to"), COUNT + 500, "", f"{name}.to")


def exchanges(way: Way) -> None:
    """From exchange to exchange: keys stay, unless the definition has one."""
    for mode in MODES:
        for key in None, "set.key":
            name = f"{way.name}.exchanges.{mode}.{key}"
            routing_key = key or f"{name}.key"
            for end, exchange in (way.source, f"{name}.out"), (way.target, f"{name}.in"):
                peer = end.peer()
                peer.declare_exchange(exchange, "topic")
                peer.close()
            way.target.declare(f"{name}.to")
            peer = way.target.peer()
            peer.bind(f"{name}.to", f"{name}.in", "#")
            peer.close()
            ends = {"src_queue": None, "src_exchange": f"{name}.out", "src_exchange_key": f"{name}.#"}
            ends |= {"dest_queue": None, "dest_exchange": f"{name}.in", "dest_exchange_key": key}
            with way.shovel(name, ack_mode=mode, **ends):
                eventually("its run", lambda name=name: way.state(name) == "running")
                way.source.fill(f"{name}.key", range(COUNT), f"{name}.out")
                eventually("all at the target", lambda name=name: way.target.ready(f"{name}.to") == COUNT)
            compare(way.target.take(f"{name}.to"), COUNT, f"{name}.in", routing_key)


def delete_after(way: Way) -> None:
    """It deletes itself after exactly so many messages, and leaves the others."""
    for after, mode in [("queue-length", mode) for mode in MODES] + [(700, "on-confirm"), (700, "on-publish")]:
        name = f"{way.name}.delete-after.{after}.{mode}"
        moved = COUNT if after == "queue-length" else after
        way.fill(name)
        with way.shovel(name, src_delete_after=after, ack_mode=mode, src_prefetch_count=50):
            eventually("its deletion", lambda name=name: not way.home.defines(name))
            eventually("its end", lambda name=name: not way.state(name))
        compare(way.target.take(f"{name}.to"), moved, "", f"{name}.to")
        eventually("the rest", lambda name=name, left=COUNT - moved: way.source.ready(f"{name}.from") == left)


def headers(way: Way) -> None:
    """Headers that tell the way, a timestamp and set properties; what messages had stays."""
    name = f"{way.name}.headers"
    way.fill(name, 10)
    more = {"dest_add_forward_headers": True, "dest_add_timestamp_header": True, "dest_publish_properties": {"app_id": "shovel"}}
    with way.shovel(name, **more):
        way.has_moved(name, 10)
    taken = way.target.take(f"{name}.to")
    compare(taken, 10, "", f"{name}.to", expected=lambda number: None)
    for delivery in taken:
        raw = delivery.properties
        if int(delivery.body.split()[1]) % 5 == 1 and ALL_TYPES not in raw:
            raise Fault(f"the headers have changed: {raw!r}")
        if b"\x06shovel" not in raw:
            raise Fault(f"no app-id: {raw!r}")
        places = [raw.find(bytes([len(field)]) + field) for field in [b"x-shovelled", *FORWARD_FIELDS]]
        if -1 in places or places != sorted(places):
            raise Fault(f"x-shovelled has not the fields {FORWARD_FIELDS} in this order: {raw!r}")
        if b"x-shovelled-timestampl" not in raw or MARK in raw:
            raise Fault(f"no timestamp: {raw!r}")


def blocked(way: Way) -> None:
    """A target with an alarm holds the shovel back; it says so, and has no more on its way than its prefetch count."""
    if way.target is way.home and way.home.kind == "rabbitmq":
        # Alarms do not hold its connections to itself back.
        return
    name = f"{way.name}.blocked"
    way.fill(name, 10)
    with way.shovel(name, src_prefetch_count=20):
        way.has_moved(name, 10)
        with way.target.alarm():
            way.source.fill(f"{name}.from", range(10, COUNT))
            eventually("its wait", lambda: way.state(name) == "blocked")
            # More may not leave the source than its consumer may have.
            if way.source.ready(f"{name}.from") < COUNT - 10 - 20:
                raise Fault(f"{way.source.ready(f'{name}.from')} are left at the source of a blocked shovel")
        way.has_moved(name, COUNT)
        eventually("its run", lambda: way.state(name) == "running")
    compare(way.target.take(f"{name}.to"), COUNT, "", f"{name}.to")


def killed(way: Way) -> None:
    """The other broker is killed twice: nothing is lost, and what was on its way may come twice."""
    name = f"{way.name}.killed"
    # All have the priority 0, and are persistent.
    way.fill(name, KILLED_COUNT, priorities=1)
    way.target.declare(f"{name}.to")
    with way.shovel(name, src_prefetch_count=KILLED_PREFETCH):
        for part in 1, 2:
            eventually("a part", lambda part=part: way.target.ready(f"{name}.to") >= part * KILLED_COUNT // 5)
            way.far.kill()
            if way.source.ready(f"{name}.from") == 0:
                raise Fault("all was moved before the kill")
        way.is_empty(name)
        eventually("all at the target", lambda: way.target.ready(f"{name}.to") >= KILLED_COUNT)
        eventually("its run", lambda: way.state(name) == "running")
    found = compare(way.target.take(f"{name}.to", 2), KILLED_COUNT, "", f"{name}.to", False, lambda number: properties(number, 0))
    print(f"#   {found.again} messages came twice", flush=True)
    # What a killed source had been told may be lost with it, so that it sends more than these again.
    if way.far is way.target and found.again > 2 * KILLED_PREFETCH:
        raise Fault(f"{found.again} messages came twice")


def tls(way: Way) -> None:
    """amqps: with the right authority; refused with a wrong one and for a wrong name; unverified if asked."""
    authority, stranger = (way.home.certificate(name) for name in ("ca.pem", "stranger.pem"))
    verified = {"cacertfile": authority, "verify": "verify_peer", "server_name_indication": "localhost"}
    uris = {
        "verified": way.far.amqps(**verified),
        "unverified": way.far.amqps(cacertfile=stranger, verify="verify_none"),
    }
    if way.far.kind == way.home.kind == "leveret":
        files = {"certfile": way.home.certificate("client.pem"), "keyfile": way.home.certificate("client.key")}
        uris["certificate"] = way.far.amqps("", auth_mechanism="external", **verified, **files)
        # The certificate is guest's.
        way.far.api("PUT", "users/guest", {"password": "guest", "tags": "administrator,impersonator"})
    for case, uri in uris.items():
        name = f"{way.name}.tls.{case}"
        way.fill(name, 100)
        with way.shovel(name, **way.far_uri(uri)):
            way.has_moved(name, 100)
        compare(way.target.take(f"{name}.to"), 100, "", f"{name}.to")
    for case, uri, reasons in [
        ("authority", way.far.amqps(**verified | {"cacertfile": stranger}), ["issuer", "unknown_ca", "Unknown CA"]),
        ("name", way.far.amqps(**verified | {"server_name_indication": "other.example"}), ["other.example", "hostname_check_failed"]),
    ]:
        name = f"{way.name}.tls.wrong-{case}"
        way.fill(name, 10)
        with way.shovel(name, **way.far_uri(uri)):
            if way.home.kind == "leveret":
                shown = eventually("a reason", lambda name=name: way.home.shovel(name).get("reason"))
                if not any(reason.lower() in shown.lower() for reason in reasons):
                    raise Fault(f"the reason is {shown!r}")
            else:
                # RabbitMQ logs the reason, and lists no such shovel.
                eventually("a try", lambda name=name: way.state(name) in ("", "starting", "terminated"))
            if way.source.ready(f"{name}.from") != 10:
                raise Fault("messages have left the source")


def ends(way: Way) -> None:
    """Its state by the API, a restart and a deletion."""
    name = f"{way.name}.ends"
    way.fill(name, 10)
    with way.shovel(name):
        way.has_moved(name, 10)
        shown = eventually("its run", lambda: way.home.shovel(name))
        expected = {
            "name": name, "vhost": "/", "type": "dynamic", "state": "running", "blocked_status": "running",
            "src_queue": f"{name}.from", "dest_queue": f"{name}.to", "src_protocol": "amqp091", "dest_protocol": "amqp091",
        }  # fmt: skip
        wrong = {key: shown.get(key) for key, value in expected.items() if shown.get(key) != value}
        if wrong or "mover" in str(shown) or not {"node", "timestamp", "src_uri", "dest_uri"} <= shown.keys():
            raise Fault(f"it is shown as {shown}")
        way.home.api("DELETE", f"shovels/vhost/%2f/{name}/restart")
        eventually("its run", lambda: way.state(name) == "running")
        way.source.fill(f"{name}.from", range(10, 20))
        way.has_moved(name, 20)
        way.home.api("DELETE", f"shovels/vhost/%2f/{name}")
        eventually("its end", lambda: not way.state(name) and not way.home.defines(name))
    compare(way.target.take(f"{name}.to"), 20, "", f"{name}.to")


def access(way: Way) -> None:
    """By the API, its author must reach the virtual hosts of URIs without a host; what ctl and imports bring is not asked."""
    home = way.home
    home.api("PUT", "vhosts/own", {})
    home.api("PUT", "users/maker", {"password": "maker", "tags": "policymaker"})
    home.api("PUT", "permissions/own/maker", {"configure": "", "write": "", "read": ""})
    value = {"src-uri": "amqp://", "src-queue": "access.from", "dest-uri": "amqp:///own", "dest-queue": "access.to"}
    try:
        home.api("PUT", "parameters/shovel/own/access", {"value": value}, "maker")
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        if error.code != 400 or 'user \\"maker\\" may not connect to vhost \\"/\\"' not in text:
            raise Fault(f"{error.code}: {text}") from error
    else:
        raise Fault("a policymaker reaches another virtual host")
    home.api("PUT", "parameters/shovel/own/access", {"value": value | {"src-uri": "amqp:///own"}}, "maker")
    home.ctl("set_parameter", "-p", "own", "shovel", "access", json.dumps(value))
    parameter = {"vhost": "own", "component": "shovel", "name": "access", "value": value}
    home.api("POST", "definitions", {"parameters": [parameter]})
    home.api("DELETE", "vhosts/own")
    eventually("the end of its shovels", lambda: not home.shovel("access"))


ALL = [queues, exchanges, delete_after, headers, blocked, killed, tls, ends, access]
