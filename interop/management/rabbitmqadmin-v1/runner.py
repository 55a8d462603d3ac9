"""Checks of the management API through rabbitmqadmin v1, RabbitMQ's Python script: one function per name in checks.txt."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import management  # noqa: E402
from report import Report, equal, eventually  # noqa: E402

SCRIPT = sys.argv[1]
LISTABLE = (
    "connections", "channels", "consumers", "exchanges", "queues", "bindings", "users", "vhosts", "permissions",
    "nodes", "parameters", "policies", "operator_policies", "vhost_limits",
)  # fmt: skip
FORMATS = ("raw_json", "pretty_json", "kvp", "tsv", "long", "table", "bash")


def started(*words: str, password: str = management.PASSWORD, stdin: str = "") -> subprocess.CompletedProcess:
    """Run the script with these words; its status is not checked."""
    login = ["-H", management.HOST, "-P", str(management.PORT), "-u", management.USER, "-p", password]
    return subprocess.run([sys.executable, "-I", "-S", SCRIPT, *login, *words], capture_output=True, text=True, input=stdin)


def admin(*words: str, stdin: str = "") -> str:
    """Run the script, which must succeed; returns what it prints."""
    ended = started(*words, stdin=stdin)
    if ended.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: status {ended.returncode}: {ended.stderr}")
    return ended.stdout.strip()


def refused(*words: str, password: str = management.PASSWORD) -> str:
    """Run the script, which must fail with status 1; returns its message."""
    ended = started(*words, password=password)
    equal("the script's status", ended.returncode, 1)
    return ended.stderr.strip()


def listed(kind: str, *words: str) -> list[dict]:
    return json.loads(admin("-f", "raw_json", *words, "list", kind))


def names(kind: str, *words: str) -> list[str]:
    return [item["name"] for item in listed(kind, *words)]


def show_overview(vhost: str) -> None:
    shown = json.loads(admin("-f", "raw_json", "show", "overview"))[0]
    for field in ("rabbitmq_version", "cluster_name", "queue_totals", "object_totals", "node", "listeners"):
        if field not in shown:
            raise AssertionError(f"overview lacks {field}")
    table = admin("show", "overview").splitlines()[1]
    equal("columns", [c.strip() for c in table.strip("|").split("|")],
          ["rabbitmq_version", "cluster_name", "queue_totals.messages", "object_totals.queues"])  # fmt: skip


def list_everything(vhost: str) -> None:
    with management.connection(vhost, "list-everything") as connection:
        channel = connection.channel()
        channel.queue_declare("listed")
        channel.basic_consume("listed", lambda *_: None, consumer_tag="listed")
        eventually("the connection", lambda: management.connection_named("list-everything"))
        eventually("the channel", lambda: listed("channels"))
        for kind in LISTABLE:
            admin("list", kind)
        one = next(item for item in listed("consumers", "-V", vhost))
        equal("consumer's queue", one["queue"]["name"], "listed")
        equal("consumer's tag", one["consumer_tag"], "listed")
        equal("user of the channel", listed("channels")[0]["user"], management.USER)


def formats(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=formats")
    for form in FORMATS:
        shown = admin("-V", vhost, "-f", form, "list", "queues", "name", "messages")
        if "formats" not in shown:
            raise AssertionError(f"{form}: {shown}")
    deep = admin("-V", vhost, "-f", "long", "-d", "3", "list", "queues")
    if "durable: True" not in deep:
        raise AssertionError(deep)


def sort_and_columns(vhost: str) -> None:
    for name in ("sort.b", "sort.c", "sort.a"):
        admin("-V", vhost, "declare", "queue", f"name={name}")
    shown = admin("-V", vhost, "-f", "tsv", "-S", "name", "-R", "list", "queues", "name", "durable").splitlines()
    equal("header", shown[0].split("\t"), ["name", "durable"])
    found = [line.split("\t")[0] for line in shown[1:] if line.startswith("sort.")]
    equal("order", found, ["sort.c", "sort.b", "sort.a"])
    only = json.loads(admin("-V", vhost, "-f", "raw_json", "list", "queues", "name"))
    equal("fields", set(only[0]), {"name"})


def vhost_life(vhost: str) -> None:
    name = f"{vhost}.v1"
    equal("declare", admin("declare", "vhost", f"name={name}", "default_queue_type=quorum"), "vhost declared")
    shown = next(item for item in listed("vhosts") if item["name"] == name)
    equal("default queue type", shown["default_queue_type"], "quorum")
    equal("delete", admin("delete", "vhost", f"name={name}"), "vhost deleted")
    equal("left", name in names("vhosts"), False)


def user_life(vhost: str) -> None:
    name = f"user {os.getpid()}"
    equal("declare", admin("declare", "user", f"name={name}", "password=p:1", "tags=monitoring,policymaker"), "user declared")
    shown = next(item for item in listed("users") if item["name"] == name)
    equal("tags", shown["tags"], ["monitoring", "policymaker"])
    whoami = management.request("GET", "/whoami", user=name, password="p:1")
    equal("whoami", (whoami.status, whoami.body["name"]), (200, name))
    hashed = shown["password_hash"]
    admin("declare", "user", f"name={name}", f"password_hash={hashed}", f"hashing_algorithm={shown['hashing_algorithm']}", "tags=")
    shown = next(item for item in listed("users") if item["name"] == name)
    equal("hash and tags", (shown["password_hash"], shown["tags"]), (hashed, []))
    equal("delete", admin("delete", "user", f"name={name}"), "user deleted")
    equal("left", name in names("users"), False)


def permission(vhost: str) -> None:
    name = f"permitted {os.getpid()}"
    admin("declare", "user", f"name={name}", "password=p", "tags=management")
    words = ("configure=^c", "write=^w", "read=")
    equal("declare", admin("declare", "permission", f"vhost={vhost}", f"user={name}", *words), "permission declared")
    shown = next(item for item in listed("permissions") if item["user"] == name)
    equal("permission", shown, {"user": name, "vhost": vhost, "configure": "^c", "write": "^w", "read": ""})
    admin("delete", "permission", f"vhost={vhost}", f"user={name}")
    equal("left", [item for item in listed("permissions") if item["user"] == name], [])
    admin("delete", "user", f"name={name}")


def exchange(vhost: str) -> None:
    words = ("auto_delete=true", "durable=false", "internal=true", 'arguments={"alternate-exchange":"amq.fanout"}')
    equal("declare", admin("-V", vhost, "declare", "exchange", "name=ex", "type=topic", *words), "exchange declared")
    shown = next(item for item in listed("exchanges", "-V", vhost) if item["name"] == "ex")
    fields = {key: shown[key] for key in ("type", "auto_delete", "durable", "internal", "arguments", "vhost")}
    equal("exchange", fields, {"type": "topic", "auto_delete": True, "durable": False, "internal": True,
                               "arguments": {"alternate-exchange": "amq.fanout"}, "vhost": vhost})  # fmt: skip
    message = refused("-V", vhost, "declare", "exchange", "name=ex", "type=direct")
    equal("inequivalent", "inequivalent arg" in message, True)
    equal("delete", admin("-V", vhost, "delete", "exchange", "name=ex"), "exchange deleted")
    equal("left", "ex" in names("exchanges", "-V", vhost), False)


def queue(vhost: str) -> None:
    words = ("auto_delete=true", "durable=true", 'arguments={"x-max-length":5}')
    equal("declare", admin("-V", vhost, "declare", "queue", "name=q", *words), "queue declared")
    equal("declare again", admin("-V", vhost, "declare", "queue", "name=q", *words), "queue declared")
    shown = next(item for item in listed("queues", "-V", vhost) if item["name"] == "q")
    fields = {key: shown[key] for key in ("auto_delete", "durable", "exclusive", "type", "vhost")}
    expected = {"auto_delete": True, "durable": True, "exclusive": False, "type": "classic", "vhost": vhost}
    equal("queue", fields, expected)
    # RabbitMQ adds the type that it chose.
    equal("arguments", shown["arguments"].get("x-max-length"), 5)
    equal("inequivalent", "inequivalent arg" in refused("-V", vhost, "declare", "queue", "name=q"), True)
    equal("delete", admin("-V", vhost, "delete", "queue", "name=q"), "queue deleted")
    equal("left", "q" in names("queues", "-V", vhost), False)


def queue_types(vhost: str) -> None:
    for kind in ("classic", "quorum", "stream"):
        admin("-V", vhost, "declare", "queue", f"name=type.{kind}", f"queue_type={kind}")
        shown = management.get(f"/queues/{management.part(vhost)}/type.{kind}")
        equal("type", shown["type"], kind)
        equal("argument", shown["arguments"]["x-queue-type"], kind)


def binding(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=bound")
    admin("-V", vhost, "declare", "exchange", "name=fan", "type=fanout")
    source = ("-V", vhost, "declare", "binding", "source=amq.topic")
    equal("declare", admin(*source, "destination=bound", "routing_key=a.#", 'arguments={"n":1}'), "binding declared")
    admin(*source, "destination=fan", "destination_type=exchange", "routing_key=b/ c")
    found = [item for item in listed("bindings", "-V", vhost) if item["source"] == "amq.topic"]
    kinds = sorted((item["destination_type"], item["destination"], item["routing_key"]) for item in found)
    equal("bindings", kinds, [("exchange", "fan", "b/ c"), ("queue", "bound", "a.#")])
    for item in found:
        words = (f"source={item['source']}", f"destination={item['destination']}")
        kind, key = f"destination_type={item['destination_type']}", f"properties_key={item['properties_key']}"
        equal("delete", admin("-V", vhost, "delete", "binding", *words, kind, key), "binding deleted")
    equal("left", [i for i in listed("bindings", "-V", vhost) if i["source"] == "amq.topic"], [])


def policy(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=ruled")
    words = ("name=rule", "pattern=^ruled$", 'definition={"max-length":7}', "priority=3", "apply-to=queues")
    equal("declare", admin("-V", vhost, "declare", "policy", *words), "policy declared")
    shown = next(item for item in listed("policies") if item["vhost"] == vhost)
    equal("policy", shown, {"vhost": vhost, "name": "rule", "pattern": "^ruled$", "definition": {"max-length": 7},
                            "priority": 3, "apply-to": "queues"})  # fmt: skip
    path = f"/queues/{management.part(vhost)}/ruled"
    eventually("the policy on the queue", lambda: management.get(path).get("policy") == "rule")
    equal("effective", management.get(path)["effective_policy_definition"], {"max-length": 7})
    equal("delete", admin("-V", vhost, "delete", "policy", "name=rule"), "policy deleted")
    eventually("no policy on the queue", lambda: management.get(path).get("policy") is None, 30)


def operator_policy(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=bounded")
    words = ("name=bound", "pattern=^bounded$", 'definition={"message-ttl":60000}', "priority=1", "apply-to=queues")
    equal("declare", admin("-V", vhost, "declare", "operator_policy", *words), "operator_policy declared")
    shown = next(item for item in listed("operator_policies") if item["vhost"] == vhost)
    equal("definition", shown["definition"], {"message-ttl": 60000})
    path = f"/queues/{management.part(vhost)}/bounded"
    eventually("the policy on the queue", lambda: management.get(path).get("operator_policy") == "bound")
    admin("-V", vhost, "delete", "operator_policy", "name=bound")
    equal("left", [item for item in listed("operator_policies") if item["vhost"] == vhost], [])


def vhost_limit(vhost: str) -> None:
    admin("declare", "vhost_limit", f"vhost={vhost}", "name=max-queues", "value=1000")
    shown = next(item for item in listed("vhost_limits") if item["vhost"] == vhost)
    equal("limits", shown["value"], {"max-queues": 1000})
    admin("delete", "vhost_limit", f"vhost={vhost}", "name=max-queues")
    equal("left", [item["value"] for item in listed("vhost_limits") if item["vhost"] == vhost and item["value"]], [])


def got(vhost: str, queue: str, *words: str) -> list[dict]:
    return json.loads(admin("-V", vhost, "-f", "raw_json", "get", f"queue={queue}", *words))


def publish_and_get(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=letters")
    properties = {"delivery_mode": 2, "content_type": "text/plain", "headers": {"n": 1, "t": [True, "x"]}, "priority": 4}
    words = ("routing_key=letters", "payload=first", f"properties={json.dumps(properties)}")
    equal("publish", admin("-V", vhost, "publish", *words), "Message published")
    equal("from stdin", admin("-V", vhost, "publish", "routing_key=letters", stdin="zwei é"), "Message published")
    admin("-V", vhost, "publish", "routing_key=letters", "payload=/wA=", "payload_encoding=base64")
    seen = got(vhost, "letters", "count=5")
    equal("payloads", [m["payload"] for m in seen], ["first", "zwei é", "/wA="])
    equal("encodings", [m["payload_encoding"] for m in seen], ["string", "string", "base64"])
    equal("properties", seen[0]["properties"], properties)
    equal("exchange and key", (seen[0]["exchange"], seen[0]["routing_key"]), ("", "letters"))
    equal("counts", [m["message_count"] for m in seen], [2, 1, 0])
    equal("redelivered", [m["redelivered"] for m in seen], [False] * 3)
    equal("sizes", [m["payload_bytes"] for m in seen], [5, 7, 2])
    taken = got(vhost, "letters", "count=1", "ackmode=ack_requeue_false")
    equal("redelivered after a requeue", taken[0]["redelivered"], True)
    equal("left", [m["payload"] for m in got(vhost, "letters", "count=5")], ["zwei é", "/wA="])


def publish_unroutable(vhost: str) -> None:
    equal("publish", admin("-V", vhost, "publish", "routing_key=nowhere", "payload=x"), "Message published but NOT routed")


def get_to_file(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=filed")
    admin("-V", vhost, "publish", "routing_key=filed", "payload=content of a file")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "payload"
        admin("-V", vhost, "get", "queue=filed", f"payload_file={path}")
        equal("file", path.read_text(), "content of a file")


def purge(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=purged")
    admin("-V", vhost, "publish", "routing_key=purged", "payload=x")
    equal("purge", admin("-V", vhost, "purge", "queue", "name=purged"), "queue purged")
    equal("left", got(vhost, "purged"), [])


def close_connection(vhost: str) -> None:
    with management.connection(vhost, "to be closed") as opened:
        name = eventually("the connection", lambda: management.connection_named("to be closed"))["name"]
        equal("close", admin("close", "connection", f"name={name}"), "connection closed")
        management.expect_close(opened)
    eventually("the end of the connection", lambda: management.connection_named("to be closed") is None)


def described(vhost: str) -> dict:
    """What a virtual host holds, in a form that two exports share."""
    place = management.part(vhost)
    queues = {q["name"]: (q["durable"], q["auto_delete"], q["arguments"]) for q in management.get(f"/queues/{place}")}
    policies = {p["name"]: p["definition"] for p in management.get(f"/policies/{place}")}
    keys = ("source", "destination", "destination_type", "routing_key", "arguments")
    bindings = sorted(str([b[key] for key in keys]) for b in management.get(f"/bindings/{place}"))
    exchanges = {e["name"]: (e["type"], e["arguments"]) for e in management.get(f"/exchanges/{place}")}
    return {"queues": queues, "policies": policies, "bindings": bindings, "exchanges": exchanges}


def furnish(vhost: str) -> None:
    admin("-V", vhost, "declare", "queue", "name=kept", 'arguments={"x-message-ttl":5000}')
    admin("-V", vhost, "declare", "queue", "name=kept.quorum", "queue_type=quorum")
    admin("-V", vhost, "declare", "exchange", "name=kept.ex", "type=headers")
    admin("-V", vhost, "declare", "binding", "source=kept.ex", "destination=kept", 'arguments={"x-match":"any","a":1}')
    admin("-V", vhost, "declare", "policy", "name=kept", "pattern=^kept", 'definition={"max-length":9}')


def export_and_import(vhost: str) -> None:
    own = f"{vhost}.exported"
    admin("declare", "vhost", f"name={own}")
    admin("declare", "permission", f"vhost={own}", f"user={management.USER}", "configure=.*", "write=.*", "read=.*")
    furnish(own)
    before = described(own)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/definitions.json"
        equal("export", admin("export", path).startswith("Exported definitions"), True)
        admin("delete", "vhost", f"name={own}")
        equal("import", admin("import", path).startswith("Uploaded definitions"), True)
    equal("after the import", described(own), before)
    admin("delete", "vhost", f"name={own}")


def export_and_import_of_vhost(vhost: str) -> None:
    own, other = f"{vhost}.one", f"{vhost}.two"
    for name in (own, other):
        admin("declare", "vhost", f"name={name}")
        admin("declare", "permission", f"vhost={name}", f"user={management.USER}", "configure=.*", "write=.*", "read=.*")
    furnish(own)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/definitions.json"
        admin("-V", own, "export", path)
        admin("-V", other, "import", path)
    equal("the other virtual host", described(other), described(own))
    for name in (own, other):
        admin("delete", "vhost", f"name={name}")


def names_of_all_kinds(vhost: str) -> None:
    for name in ("a/b", "%2F", "hé ☃", "a+b?c#d&e", "x" * 255, "<img src=x>", "a:b@c", " "):
        admin("-V", vhost, "declare", "queue", f"name={name}")
        equal("listed", name in names("queues", "-V", vhost), True)
        admin("-V", vhost, "publish", f"routing_key={name}", "payload=x")
        equal("got", len(got(vhost, name)), 1)
        admin("-V", vhost, "delete", "queue", f"name={name}")
    refused("-V", vhost, "declare", "queue", f"name={'x' * 256}")
    equal("too long", "x" * 256 in names("queues", "-V", vhost), False)


def wrong_password(vhost: str) -> None:
    equal("message", refused("list", "queues", password="wrong"), "*** Access refused: /api/queues?columns=name,messages")


def not_found(vhost: str) -> None:
    place = management.part(vhost)
    equal("queue", refused("-V", vhost, "delete", "queue", "name=none"), f"*** Not found: /api/queues/{place}/none")
    equal("get", refused("-V", vhost, "get", "queue=none"), f"*** Not found: /api/queues/{place}/none/get")
    equal("policy", refused("-V", vhost, "delete", "policy", "name=none"), f"*** Not found: /api/policies/{place}/none")


def bad_request(vhost: str) -> None:
    words = ("name=bad", "pattern=x", 'definition={"nonsense":1}')
    equal("policy", "nonsense" in refused("-V", vhost, "declare", "policy", *words), True)
    equal("argument", "x-message-ttl" in refused("-V", vhost, "declare", "queue", "name=bad", 'arguments={"x-message-ttl":-1}'), True)
    equal("exchange type", "exchange type" in refused("-V", vhost, "declare", "exchange", "name=bad", "type=none"), True)
    equal("left", "bad" in names("queues", "-V", vhost), False)


CHECKS = {
    "show-overview": show_overview,
    "list-everything": list_everything,
    "formats": formats,
    "sort-and-columns": sort_and_columns,
    "vhost": vhost_life,
    "user": user_life,
    "permission": permission,
    "exchange": exchange,
    "queue": queue,
    "queue-types": queue_types,
    "binding": binding,
    "policy": policy,
    "operator-policy": operator_policy,
    "vhost-limit": vhost_limit,
    "publish-and-get": publish_and_get,
    "publish-unroutable": publish_unroutable,
    "get-to-file": get_to_file,
    "purge": purge,
    "close-connection": close_connection,
    "export-and-import": export_and_import,
    "export-and-import-of-vhost": export_and_import_of_vhost,
    "names": names_of_all_kinds,
    "wrong-password": wrong_password,
    "not-found": not_found,
    "bad-request": bad_request,
}


def main() -> int:
    report = Report()
    with management.vhost("rabbitmqadmin-v1") as vhost:
        for name, check in CHECKS.items():
            with report.check(name):
                check(vhost)
    return report.failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
