"""Checks of the management API through rabbitmqadmin v2, the Rust crate: one function per name in checks.txt."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import management  # noqa: E402
from report import Report, equal, eventually  # noqa: E402

PROGRAM = sys.argv[1]
# The exit status of a refused log-in and of a missing object (EX_DATAERR).
REFUSED = 65
LISTABLE = (
    "nodes", "users", "vhosts", "permissions", "connections", "channels", "queues", "exchanges", "bindings", "consumers",
    "parameters", "policies", "operator_policies", "vhost_limits", "user_limits", "feature_flags", "deprecated_features",
    "deprecated_features_in_use",
)  # fmt: skip


def started(*words: str, stdin: str = "", password: str = management.PASSWORD) -> subprocess.CompletedProcess:
    """Run the program with these words; its status is not checked."""
    login = ["-H", management.HOST, "-P", str(management.PORT), "-u", management.USER, "-p", password]
    environment = os.environ | {"RABBITMQADMIN_NON_INTERACTIVE_MODE": "true"}
    command = [PROGRAM, *login, *words]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, env=environment)


def admin(*words: str, stdin: str = "") -> str:
    """Run the program, which must succeed; returns what it prints."""
    ended = started(*words, stdin=stdin)
    if ended.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: status {ended.returncode}: {ended.stderr}{ended.stdout}")
    return ended.stdout


def rows(*words: str) -> list[list[str]]:
    """The cells of the table that the program prints, which are two spaces apart."""
    return [[cell.strip() for cell in line.split("  ")] for line in admin(*words).splitlines() if line.strip()]


def first_cells(*words: str) -> list[str]:
    return [row[0] for row in rows(*words)]


def shown(vhost: str, kind: str, name: str):
    """What the API says of an object in the virtual host."""
    return management.get(f"/{kind}/{management.part(vhost)}/{management.part(name)}")


def absent(vhost: str, kind: str, name: str) -> None:
    path = f"/{kind}/{management.part(vhost)}/{management.part(name)}"
    equal(f"status of {path}", management.request("GET", path).status, 404)


def show(vhost: str) -> None:
    overview = admin("show", "overview")
    for line in ("Product name", "RabbitMQ version", "Queues and streams (total)", "Publishing (ingress) rate (global)"):
        equal(f"{line} in the overview", line in overview, True)
    equal("churn", "Queues and streams created" in admin("show", "churn"), True)


def list_everything(vhost: str) -> None:
    with management.connection(vhost, "v2 lists") as connection:
        channel = connection.channel()
        channel.queue_declare("listed")
        channel.basic_consume("listed", lambda *_: None)
        name = eventually("the connection", lambda: management.connection_named("v2 lists"))["name"]
        eventually("the channel", lambda: management.get("/channels"))
        for kind in LISTABLE:
            words = ["-V", vhost] if kind != "permissions" else []
            admin(*words, "list", kind)
        equal("the connection is listed", name in admin("list", "connections"), True)
        equal("the user's connections", name in admin("list", "user_connections", "--username", "guest"), True)


def nodes(vhost: str) -> None:
    node = management.get("/overview")["node"]
    equal("listed", node in first_cells("list", "nodes"), True)
    for unit in ("bytes", "percent"):
        admin("nodes", f"memory_breakdown_in_{unit}", "--node", node)
    admin("plugins", "list_all")
    admin("plugins", "list_on_node", "--node", node)
    admin("auth_attempts", "stats", "--node", node)


def vhosts(vhost: str) -> None:
    name = f"{vhost}.v2"
    words = ("--name", name, "--description", "of v2", "--default-queue-type", "quorum")
    admin("declare", "vhost", *words)
    made = management.get(f"/vhosts/{management.part(name)}")
    equal("vhost", (made["description"], made["default_queue_type"]), ("of v2", "quorum"))
    equal("listed", name in first_cells("list", "vhosts"), True)
    admin("delete", "vhost", "--name", name)
    equal("left", name in first_cells("list", "vhosts"), False)


def users(vhost: str) -> None:
    name = f"v2.{os.getpid()}"
    admin("declare", "user", "--name", name, "--password", "secret", "--tags", "monitoring,policymaker")
    equal("tags", management.get(f"/users/{name}")["tags"], ["monitoring", "policymaker"])
    patterns = ("--configure", "^c", "--read", "^r", "--write", "^w")
    admin("-V", vhost, "declare", "permissions", "--username", name, *patterns)
    granted = shown(vhost, "permissions", name)
    equal("permissions", [granted[key] for key in ("configure", "read", "write")], ["^c", "^r", "^w"])
    admin("-V", vhost, "delete", "permissions", "--username", name)
    hashed = admin("passwords", "salt_and_hash", "from a hash").split()[-1]
    admin("declare", "user", "--name", name, "--password-hash", hashed, "--tags", "management")
    whoami = management.request("GET", "/whoami", user=name, password="from a hash")
    equal("log-in with the hashed password", (whoami.status, whoami.body), (200, whoami.body | {"name": name}))
    admin("declare", "user_limit", "--username", name, "--name", "max-channels", "--value", "7")
    equal("limits", management.get(f"/user-limits/{name}"), [{"user": name, "value": {"max-channels": 7}}])
    admin("delete", "user_limit", "--username", name, "--name", "max-channels")
    admin("delete", "user", "--name", name)
    equal("left", name in first_cells("list", "users"), False)


def exchanges_and_bindings(vhost: str) -> None:
    admin("-V", vhost, "declare", "exchange", "--name", "v2.ex", "--type", "topic", "--durable", "true")
    admin("-V", vhost, "declare", "queue", "--name", "v2.q", "--type", "classic")
    equal("type", shown(vhost, "exchanges", "v2.ex")["type"], "topic")
    link = ("--source", "v2.ex", "--destination-type", "queue", "--destination", "v2.q", "--routing-key", "a.#")
    admin("-V", vhost, "declare", "binding", *link, "--arguments", '{"n":1}')
    bound = management.get(f"/bindings/{management.part(vhost)}/e/v2.ex/q/v2.q")
    equal("binding", [(b["routing_key"], b["arguments"]) for b in bound], [("a.#", {"n": 1})])
    equal("listed", "v2.ex" in admin("-V", vhost, "list", "bindings"), True)
    admin("-V", vhost, "delete", "binding", *link, "--arguments", '{"n":1}')
    equal("left", management.get(f"/bindings/{management.part(vhost)}/e/v2.ex/q/v2.q"), [])
    admin("-V", vhost, "delete", "exchange", "--name", "v2.ex")
    absent(vhost, "exchanges", "v2.ex")


def queues_and_streams(vhost: str) -> None:
    for kind in ("classic", "quorum", "stream"):
        name = f"v2.{kind}"
        admin("-V", vhost, "declare", "queue", "--name", name, "--type", kind, "--arguments", '{"x-max-length-bytes":1000000}')
        equal("type", shown(vhost, "queues", name)["type"], kind)
        equal("shown", name in admin("-V", vhost, "queues", "show", "--name", name), True)
        admin("-V", vhost, "delete", "queue", "--name", name)
        absent(vhost, "queues", name)
    admin("-V", vhost, "declare", "stream", "--name", "v2.stream", "--expiration", "1h", "--max-length-bytes", "1000000")
    equal("age", shown(vhost, "queues", "v2.stream")["arguments"]["x-max-age"], "1h")
    admin("-V", vhost, "delete", "stream", "--name", "v2.stream")
    absent(vhost, "queues", "v2.stream")


def paging(vhost: str) -> None:
    own = f"{vhost}.pages"
    admin("declare", "vhost", "--name", own)
    admin("-V", own, "declare", "permissions", "--username", "guest", "--configure", ".*", "--read", ".*", "--write", ".*")
    names = [f"page.{number}" for number in range(5)]
    for name in names:
        admin("-V", own, "declare", "queue", "--name", name, "--type", "classic")
    pages = [first_cells("-V", own, "list", "queues", "--page", str(n), "--page-size", "2") for n in (1, 2, 3)]
    equal("sizes of the pages", [len(page) for page in pages], [2, 2, 1])
    equal("queues", sorted(sum(pages, [])), names)
    admin("delete", "vhost", "--name", own)


def policies(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "--name", "v2.ruled", "--type", "classic")
    for kind, path in (("policy", "policies"), ("operator_policy", "operator-policies")):
        name = f"v2.{kind}"
        words = ("--name", name, "--pattern", "^v2.ruled$", "--apply-to", "queues", "--priority", "2")
        admin("-V", vhost, "declare", kind, *words, "--definition", '{"max-length":9}')
        equal("definition", shown(vhost, path, name)["definition"], {"max-length": 9})
    eventually("the policy on the queue", lambda: shown(vhost, "queues", "v2.ruled").get("policy") == "v2.policy")
    matching = ("policies", "list_matching_object", "--name", "v2.ruled", "--type", "queues")
    equal("matching", "v2.policy" in admin("-V", vhost, *matching), True)
    admin("-V", vhost, "policies", "patch", "--name", "v2.policy", "--definition", '{"message-ttl":1000}')
    equal("patched", shown(vhost, "policies", "v2.policy")["definition"], {"max-length": 9, "message-ttl": 1000})
    for kind, path in (("policy", "policies"), ("operator_policy", "operator-policies")):
        admin("-V", vhost, "delete", kind, "--name", f"v2.{kind}")
        absent(vhost, path, f"v2.{kind}")


def limits_and_parameters(vhost: str) -> None:
    admin("-V", vhost, "declare", "vhost_limit", "--name", "max-queues", "--value", "500")
    limits = [item["value"] for item in management.get(f"/vhost-limits/{management.part(vhost)}")]
    equal("limits", limits, [{"max-queues": 500}])
    admin("-V", vhost, "delete", "vhost_limit", "--name", "max-queues")
    name = f"v2-{os.getpid()}"
    admin("global_parameters", "set", "--name", name, "--value", '{"a":1}')
    equal("global parameter", management.get(f"/global-parameters/{name}")["value"], {"a": 1})
    equal("listed", name in first_cells("global_parameters", "list"), True)
    admin("global_parameters", "clear", "--name", name)
    equal("left", management.request("GET", f"/global-parameters/{name}").status, 404)


def publish_and_get(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "--name", "v2.letters", "--type", "classic")
    properties = json.dumps({"content_type": "text/plain", "delivery_mode": 2})
    for payload in ("one", "two"):
        admin("-V", vhost, "publish", "message", "-k", "v2.letters", "-m", payload, "-p", properties)
    words = ("-V", vhost, "get", "messages", "-q", "v2.letters", "-c", "5")
    peeked = admin(*words, "-a", "ack_requeue_true")
    equal("both", "one" in peeked and "two" in peeked and "text/plain" in peeked, True)
    taken = admin(*words, "-a", "ack_requeue_false")
    equal("both again", "one" in taken and "two" in taken, True)
    equal("left", "one" in admin(*words, "-a", "ack_requeue_false"), False)


def purge(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "--name", "v2.purged", "--type", "classic")
    admin("-V", vhost, "publish", "message", "-k", "v2.purged", "-m", "x")
    admin("-V", vhost, "purge", "queue", "--name", "v2.purged")
    equal("left", "v2.purged" in admin("-V", vhost, "get", "messages", "-q", "v2.purged", "-c", "1"), False)


def close_connections(vhost: str) -> None:
    with management.connection(vhost, "v2 closes") as opened:
        name = eventually("the connection", lambda: management.connection_named("v2 closes"))["name"]
        admin("close", "connection", "--name", name)
        management.expect_close(opened)
        eventually("its end", lambda: management.connection_named("v2 closes") is None)


def definitions(vhost: str) -> None:
    own, other = f"{vhost}.one", f"{vhost}.two"
    for name in (own, other):
        admin("declare", "vhost", "--name", name)
        words = ("--username", "guest", "--configure", ".*", "--read", ".*", "--write", ".*")
        admin("-V", name, "declare", "permissions", *words)
    admin("-V", own, "declare", "queue", "--name", "kept", "--type", "quorum", "--arguments", '{"x-max-length":3}')
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/definitions.json"
        admin("-V", own, "definitions", "export_from_vhost", "--file", path)
        admin("-V", other, "definitions", "import_into_vhost", "--file", path)
        equal("imported", shown(other, "queues", "kept")["arguments"], shown(own, "queues", "kept")["arguments"])
        admin("definitions", "export", "--file", path)
        admin("delete", "vhost", "--name", own)
        admin("definitions", "import", "--file", path)
    equal("whole", shown(own, "queues", "kept")["arguments"]["x-max-length"], 3)
    whole = json.loads(admin("definitions", "export", "--stdout"))
    equal("stdout", own in [item["name"] for item in whole["vhosts"]], True)
    for name in (own, other):
        admin("delete", "vhost", "--name", name)


def health_checks(vhost: str) -> None:
    for check in ("local_alarms", "cluster_wide_alarms", "node_is_quorum_critical"):
        admin("health_check", check)
    port = str(management.urlsplit(management.AMQP_URL).port)
    admin("health_check", "port_listener", "--port", port)
    admin("health_check", "protocol_listener", "--protocol", "amqp")
    equal("a closed port", started("health_check", "port_listener", "--port", "1").returncode != 0, True)


def feature_flags(vhost: str) -> None:
    admin("list", "feature_flags")
    admin("feature_flags", "enable_all")


def refusals(vhost: str) -> None:
    equal("missing queue", started("-V", vhost, "delete", "queue", "--name", "none").returncode, REFUSED)
    admin("-V", vhost, "delete", "queue", "--name", "none", "--idempotently")
    ended = started("list", "queues", password="wrong")
    equal("wrong password", (ended.returncode, "Authorized" in ended.stderr), (REFUSED, True))


CHECKS = {
    "show": show,
    "list-everything": list_everything,
    "nodes": nodes,
    "vhosts": vhosts,
    "users": users,
    "exchanges-and-bindings": exchanges_and_bindings,
    "queues-and-streams": queues_and_streams,
    "paging": paging,
    "policies": policies,
    "limits-and-parameters": limits_and_parameters,
    "publish-and-get": publish_and_get,
    "purge": purge,
    "close-connections": close_connections,
    "definitions": definitions,
    "health-checks": health_checks,
    "feature-flags": feature_flags,
    "refusals": refusals,
}


def main() -> int:
    report = Report()
    with management.vhost("rabbitmqadmin-v2") as vhost:
        for name, check in CHECKS.items():
            with report.check(name):
                check(vhost)
    return report.failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
