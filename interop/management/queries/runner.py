"""The requests of tools that are no library: KEDA's scaler, Terraform's provider and rabbitmq_exporter, sent as they send them.

Each check names the fields that the tool reads; a field that is missing or of another type fails it.
"""

import base64
import os
import pathlib
import sys
import threading
import urllib.request
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import management  # noqa: E402
from management import part  # noqa: E402
from report import Report, equal, eventually  # noqa: E402

NUMBER, TEXT, FLAG, LIST, OBJECT = (int, float), str, bool, list, dict


def field(value: Any, path: str) -> Any:
    """The field that a dotted path names."""
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise AssertionError(f"{path} is missing; there are {sorted(value)[:40] if isinstance(value, dict) else value!r}")
        value = value[name]
    return value


def has(value: Any, kinds: dict[str, Any]) -> None:
    """Check the types of the fields with these dotted paths."""
    for path, kind in kinds.items():
        found = field(value, path)
        if not isinstance(found, kind) or (kind is NUMBER and isinstance(found, bool)):
            raise AssertionError(f"{path} is {found!r}")


class Traffic:
    """A queue with a publisher and a consumer, so that all counters and rates exist."""

    def __init__(self, vhost: str) -> None:
        self.vhost, self.queue = vhost, "traffic"
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with management.connection(self.vhost, "traffic") as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare(self.queue, durable=True, arguments={"x-max-length": 1000})
            channel.basic_qos(prefetch_count=5)
            channel.basic_consume(self.queue, lambda ch, method, *_: ch.basic_ack(method.delivery_tag))
            while not self.ended.is_set():
                channel.basic_publish("", self.queue, b"x" * 100)
                connection.process_data_events(time_limit=0.02)

    def __enter__(self) -> "Traffic":
        self.thread.start()
        path = f"/queues/{part(self.vhost)}/{self.queue}"

        def counted() -> bool:
            answer = management.request("GET", path)
            stats = answer.body.get("message_stats", {}) if answer.status == 200 else {}
            rates = stats.get("publish_details", {}).get("rate", 0), stats.get("deliver_get_details", {}).get("rate", 0)
            return min(rates) > 0 and "messages" in answer.body

        eventually("rates of the traffic", counted, 30)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def keda_queue(traffic: Traffic) -> None:
    queue = management.get(f"/queues/{part(traffic.vhost)}/{traffic.queue}")
    has(queue, {
        "name": TEXT, "messages": NUMBER, "messages_unacknowledged": NUMBER, "messages_ready": NUMBER,
        "message_stats.publish_details.rate": NUMBER, "message_stats.deliver_get_details.rate": NUMBER,
    })  # fmt: skip
    equal("sum", isinstance(queue["messages"], int), True)


def keda_pattern(traffic: Traffic) -> None:
    query = "page=1&use_regex=true&pagination=false&name=%5Etraf&page_size=100"
    for path in (f"/queues?{query}", f"/queues/{part(traffic.vhost)}?{query}"):
        page = management.get(path)
        equal("names", [item["name"] for item in page["items"] if item["vhost"] == traffic.vhost], [traffic.queue])
        has(page["items"][0], {"messages": NUMBER, "messages_ready": NUMBER, "message_stats.publish_details.rate": NUMBER})
    equal("no such queue", management.get(f"/queues?{query.replace('%5Etraf', '%5Enone%24')}")["items"], [])


def keda_missing(traffic: Traffic) -> None:
    missing = management.request("GET", f"/queues/{part(traffic.vhost)}/none")
    equal("status", missing.status, 404)
    equal("body", missing.body, {"error": "Object Not Found", "reason": "Not Found"})


def exporter(path: str) -> Any:
    """A request as rabbitmq_exporter sends it: with an empty `sort`."""
    return management.get(f"/{path}?sort=")


def exporter_overview(traffic: Traffic) -> None:
    has(exporter("overview"), {
        "node": TEXT, "erlang_version": TEXT, "rabbitmq_version": TEXT, "cluster_name": TEXT,
        "object_totals.channels": NUMBER, "object_totals.connections": NUMBER, "object_totals.consumers": NUMBER,
        "object_totals.queues": NUMBER, "object_totals.exchanges": NUMBER, "queue_totals.messages": NUMBER,
        "queue_totals.messages_ready": NUMBER, "queue_totals.messages_unacknowledged": NUMBER,
        "message_stats.publish_details.rate": NUMBER, "message_stats.deliver_details.rate": NUMBER,
        "message_stats.deliver_no_ack_details.rate": NUMBER,
    })  # fmt: skip


def exporter_queues(traffic: Traffic) -> None:
    queue = next(q for q in exporter("queues") if (q["vhost"], q["name"]) == (traffic.vhost, traffic.queue))
    counts = ("messages", "messages_ready", "messages_unacknowledged", "messages_persistent", "consumers", "memory")
    sizes = ("message_bytes", "message_bytes_ready", "message_bytes_unacknowledged", "message_bytes_persistent")
    stats = ("publish", "deliver", "ack", "deliver_get", "redeliver", "deliver_no_ack")
    has(queue, {name: NUMBER for name in (*counts, *sizes, *(f"message_stats.{name}" for name in stats))})
    has(queue, {"durable": FLAG, "node": TEXT, "state": TEXT, "arguments.x-max-length": NUMBER})
    has(queue, {"message_stats.publish_details.rate": NUMBER, "message_stats.deliver_details.rate": NUMBER})


def exporter_exchanges(traffic: Traffic) -> None:
    default = next(e for e in exporter("exchanges") if (e["vhost"], e["name"]) == (traffic.vhost, ""))
    has(default, {"type": TEXT, "message_stats.publish_in": NUMBER, "message_stats.publish_out": NUMBER})


def exporter_connections(traffic: Traffic) -> None:
    ours = ("client_properties.connection_name", "traffic")
    found = [c for c in exporter("connections") if field(c, ours[0]) == ours[1]]
    has(found[0], {
        "name": TEXT, "vhost": TEXT, "user": TEXT, "node": TEXT, "peer_host": TEXT, "peer_port": NUMBER, "state": TEXT,
        "channels": NUMBER, "recv_oct": NUMBER, "recv_cnt": NUMBER, "send_oct": NUMBER, "send_cnt": NUMBER,
        "send_pend": NUMBER, "timeout": NUMBER, "channel_max": NUMBER, "recv_oct_details.rate": NUMBER,
    })  # fmt: skip


def exporter_nodes(traffic: Traffic) -> None:
    node = exporter("nodes")[0]
    pairs = ("mem_used", "mem_limit", "fd_used", "fd_total", "sockets_used", "sockets_total", "proc_used", "proc_total")
    has(node, {name: NUMBER for name in (*pairs, "uptime", "disk_free", "disk_free_limit", "run_queue")})
    has(node, {"name": TEXT, "running": FLAG, "mem_alarm": FLAG, "disk_free_alarm": FLAG, "partitions": LIST})
    memory = exporter(f"nodes/{node['name']}/memory")
    has(memory, {"memory": OBJECT})
    has(memory["memory"], {"total": (dict, int), "binary": NUMBER, "connection_readers": NUMBER, "queue_procs": NUMBER})


def exporter_aliveness(traffic: Traffic) -> None:
    # The exporter writes the whole of the path itself, and asks for nothing but JSON.
    credentials = base64.b64encode(f"{management.USER}:{management.PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Accept": "application/json"}
    request = urllib.request.Request(f"{management.URL}/api/aliveness-test/%2F", headers=headers)
    with urllib.request.urlopen(request, timeout=management.REQUEST_SECONDS) as answer:
        equal("answer", answer.read().decode(), '{"status":"ok"}')
        equal("type", answer.headers["content-type"], "application/json")


def exporter_absent_plugins(traffic: Traffic) -> None:
    equal("shovels", management.get("/shovels?sort="), [])
    equal("federation", management.request("GET", "/federation-links?sort=").status, 404)


def terraform_vhost(traffic: Traffic) -> None:
    name = f"{traffic.vhost}.tf"
    body = {"description": "by terraform", "default_queue_type": "quorum", "tracing": False}
    equal("made", management.request("PUT", f"/vhosts/{part(name)}", body).status, 201)
    made = management.get(f"/vhosts/{part(name)}")
    has(made, {"name": TEXT, "description": TEXT, "default_queue_type": TEXT, "tracing": FLAG})
    equal("again", management.request("PUT", f"/vhosts/{part(name)}", body | {"description": "changed"}).status, 204)
    equal("changed", management.get(f"/vhosts/{part(name)}")["description"], "changed")
    limit = f"/vhost-limits/{part(name)}/max-connections"
    equal("limit", management.request("PUT", limit, {"value": 10}).status in (201, 204), True)
    equal("limits", management.get(f"/vhost-limits/{part(name)}"), [{"vhost": name, "value": {"max-connections": 10}}])
    equal("limit removed", management.request("DELETE", limit).status, 204)
    equal("removed", management.request("DELETE", f"/vhosts/{part(name)}").status, 204)
    equal("missing", management.request("GET", f"/vhosts/{part(name)}").status, 404)


def terraform_user(traffic: Traffic) -> None:
    user = f"tf {os.getpid()}"
    path = f"/users/{part(user)}"
    equal("made", management.request("PUT", path, {"name": user, "password": "p", "tags": "administrator,management"}).status, 201)
    made = management.get(path)
    equal("fields", set(made) >= {"name", "password_hash", "hashing_algorithm", "tags", "limits"}, True)
    equal("tags", made["tags"], ["administrator", "management"])
    granted = f"/permissions/{part(traffic.vhost)}/{part(user)}"
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    equal("granted", management.request("PUT", granted, rights).status, 201)
    equal("granted again", management.request("PUT", granted, rights).status, 204)
    equal("grant", management.get(granted), rights | {"user": user, "vhost": traffic.vhost})
    topic = f"/topic-permissions/{part(traffic.vhost)}/{part(user)}"
    write = {"exchange": "amq.topic", "write": "^a", "read": "^b"}
    equal("topic granted", management.request("PUT", topic, write).status in (201, 204), True)
    equal("topic grant", management.get(topic), [write | {"user": user, "vhost": traffic.vhost}])
    equal("topic revoked", management.request("DELETE", topic).status, 204)
    equal("revoked", management.request("DELETE", granted).status, 204)
    equal("no grant", management.request("GET", granted).status, 404)
    equal("password", management.request("PUT", path, {"name": user, "password": "q", "tags": ""}).status, 204)
    equal("removed", management.request("DELETE", path).status, 204)
    equal("missing", management.request("GET", path).body["error"], "Object Not Found")


def terraform_topology(traffic: Traffic) -> None:
    place = part(traffic.vhost)
    settings = {"durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3}}
    queue, exchange = f"/queues/{place}/tf.q", f"/exchanges/{place}/tf.ex"
    equal("queue", management.request("PUT", queue, settings).status, 201)
    equal("queue again", management.request("PUT", queue, settings).status, 204)
    made = management.get(queue)
    equal("fields", {key: made[key] for key in settings}, settings)
    equal("type", made["type"], "quorum")
    kind = {"type": "topic", "durable": True, "auto_delete": False, "internal": False, "arguments": {"alternate-exchange": "x"}}
    equal("exchange", management.request("PUT", exchange, kind).status, 201)
    equal("exchange's fields", {key: management.get(exchange)[key] for key in kind}, kind)
    link = f"/bindings/{place}/e/tf.ex/q/tf.q"
    bound = management.request("POST", link, {"routing_key": "a/#", "arguments": {"k": "v"}})
    equal("binding", bound.status, 201)
    listed = next(b for b in management.get(f"/bindings/{place}") if b["source"] == "tf.ex")
    has(listed, {"destination": TEXT, "destination_type": TEXT, "routing_key": TEXT, "arguments": OBJECT, "properties_key": TEXT})
    equal("location", bound.headers["location"].endswith(part(listed["properties_key"])), True)
    one = f"{link}/{part(listed['properties_key'])}"
    equal("one binding", management.get(one)["routing_key"], "a/#")
    equal("unbound", management.request("DELETE", one).status, 204)
    equal("no binding", management.request("GET", one).status, 404)
    for path in (queue, exchange):
        equal("removed", management.request("DELETE", path).status, 204)
        equal("missing", management.request("GET", path).status, 404)


def terraform_policy(traffic: Traffic) -> None:
    for kind in ("policies", "operator-policies"):
        path = f"/{kind}/{part(traffic.vhost)}/tf"
        rule = {"pattern": "^tf", "priority": 0, "apply-to": "queues", "definition": {"max-length": 10, "expires": 60000}}
        equal("made", management.request("PUT", path, rule).status, 201)
        equal("policy", management.get(path), rule | {"vhost": traffic.vhost, "name": "tf"})
        equal("changed", management.request("PUT", path, rule | {"priority": 5}).status, 204)
        equal("list", [p["priority"] for p in management.get(f"/{kind}/{part(traffic.vhost)}")], [5])
        equal("removed", management.request("DELETE", path).status, 204)
        equal("missing", management.request("GET", path).status, 404)


CHECKS = {
    "keda-queue": keda_queue,
    "keda-pattern": keda_pattern,
    "keda-missing": keda_missing,
    "exporter-overview": exporter_overview,
    "exporter-queues": exporter_queues,
    "exporter-exchanges": exporter_exchanges,
    "exporter-connections": exporter_connections,
    "exporter-nodes": exporter_nodes,
    "exporter-aliveness": exporter_aliveness,
    "exporter-absent-plugins": exporter_absent_plugins,
    "terraform-vhost": terraform_vhost,
    "terraform-user": terraform_user,
    "terraform-topology": terraform_topology,
    "terraform-policy": terraform_policy,
}


def main() -> int:
    report = Report()
    with management.vhost("queries") as vhost, Traffic(vhost) as traffic:
        for name, check in CHECKS.items():
            with report.check(name):
                check(traffic)
    return report.failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
