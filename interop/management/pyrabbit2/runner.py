"""Checks of the management API through pyrabbit2, a Python client: one function per name in checks.txt."""

import os
import pathlib
import sys

from pyrabbit2.api import Client, PermissionError
from pyrabbit2.http import HTTPError

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import management  # noqa: E402
from report import Report, equal, eventually  # noqa: E402

ADDRESS = f"{management.HOST}:{management.PORT}"
CLIENT = Client(ADDRESS, management.USER, management.PASSWORD, timeout=management.REQUEST_SECONDS)


def overview(vhost: str) -> None:
    equal("alive", CLIENT.is_alive(), True)
    equal("whoami", CLIENT.get_whoami()["name"], management.USER)
    shown = CLIENT.get_overview()
    for field in ("rabbitmq_version", "erlang_version", "object_totals", "queue_totals", "listeners"):
        equal(f"{field} in the overview", field in shown, True)
    equal("nodes", [node["name"] for node in CLIENT.get_nodes()], [shown["node"]])
    equal("extensions", isinstance(CLIENT.get_extensions(), list), True)
    equal("cluster name", isinstance(CLIENT.get_cluster_name()["name"], str), True)


def vhosts_and_permissions(vhost: str) -> None:
    name, user = f"{vhost}.py", f"py.{os.getpid()}"
    CLIENT.create_vhost(name)
    equal("listed", name in CLIENT.get_vhost_names(), True)
    equal("got", CLIENT.get_vhost(name)["name"], name)
    CLIENT.create_user(user, "secret", tags="management")
    CLIENT.set_vhost_permissions(name, user, "^c", "^r", "^w")
    granted = {"user": user, "vhost": name, "configure": "^c", "read": "^r", "write": "^w"}
    equal("permission", CLIENT.get_permission(name, user), granted)
    equal("permissions of the user", CLIENT.get_user_permissions(user), [granted])
    equal("permissions of the vhost", granted in CLIENT.get_vhost_permissions(name), True)
    CLIENT.delete_permission(name, user)
    CLIENT.delete_user(user)
    CLIENT.delete_vhost(name)
    equal("left", name in CLIENT.get_vhost_names(), False)


def exchanges_and_bindings(vhost: str) -> None:
    CLIENT.create_exchange(vhost, "py.ex", "direct", arguments={})
    equal("exchange", CLIENT.get_exchange(vhost, "py.ex")["type"], "direct")
    CLIENT.create_queue(vhost, "py.q", durable=True)
    CLIENT.create_binding(vhost, "py.ex", "py.q", "key")
    keys = [b["routing_key"] for b in CLIENT.get_queue_bindings(vhost, "py.q") if b["source"] == "py.ex"]
    equal("binding", keys, ["key"])
    equal("routed", CLIENT.publish(vhost, "py.ex", "key", "x"), True)
    equal("not routed", CLIENT.publish(vhost, "py.ex", "other", "x"), False)
    CLIENT.delete_binding(vhost, "py.ex", "py.q", "key")
    equal("left", len(CLIENT.get_queue_bindings(vhost, "py.q")), 1)
    CLIENT.delete_exchange(vhost, "py.ex")


def queues_and_messages(vhost: str) -> None:
    CLIENT.create_queue(vhost, "py.depth", durable=True, arguments={"x-max-length": 10})
    for number in range(3):
        CLIENT.publish(vhost, "amq.default", "py.depth", f"message {number}", properties={"delivery_mode": 2})
    eventually("the depth", lambda: CLIENT.get_queue(vhost, "py.depth").get("messages") == 3, 30)
    equal("depth", CLIENT.get_queue_depth(vhost, "py.depth"), 3)
    peeked = CLIENT.get_messages(vhost, "py.depth", count=2, requeue=True)
    equal("payloads", [m["payload"] for m in peeked], ["message 0", "message 1"])
    taken = CLIENT.get_messages(vhost, "py.depth", count=1, truncate=4)
    equal("truncated", (taken[0]["payload"], taken[0]["payload_bytes"]), ("mess", 9))
    CLIENT.purge_queue(vhost, "py.depth")
    equal("purged", CLIENT.get_messages(vhost, "py.depth"), [])
    CLIENT.delete_queue(vhost, "py.depth")
    refused("missing queue", 404, lambda: CLIENT.get_queue(vhost, "py.depth"))


def pages_of_queues(vhost: str) -> None:
    for number in range(4):
        CLIENT.create_queue(vhost, f"py.page.{number}", durable=True)
    names = [f"py.page.{number}" for number in range(4)]
    equal("by name", sorted(q["name"] for q in CLIENT.get_queues(vhost, "py.page")), names)
    equal("by pattern", [q["name"] for q in CLIENT.get_queues(vhost, "^py.page.[12]$", True)], names[1:3])


def policies(vhost: str) -> None:
    rule = {"pattern": "^x", "definition": {"max-length": 1}, "priority": 1, "apply-to": "queues"}
    CLIENT.create_policy(vhost, "py", **rule)
    equal("policy", CLIENT.get_policy(vhost, "py"), rule | {"vhost": vhost, "name": "py"})
    CLIENT.delete_policy(vhost, "py")
    equal("left", [p for p in CLIENT.get_all_policies() if p["vhost"] == vhost], [])


def connections_and_channels(vhost: str) -> None:
    with management.connection(vhost, "py closes") as opened:
        opened.channel()
        name = eventually("the connection", lambda: management.connection_named("py closes"))["name"]
        equal("user", CLIENT.get_connection(name)["user"], management.USER)
        own = f"{name} (1)"
        eventually("the channel", lambda: own in [c["name"] for c in CLIENT.get_channels()])
        equal("vhost of the channel", CLIENT.get_channel(own)["vhost"], vhost)
        CLIENT.delete_connection(name)
        management.expect_close(opened)


def definitions(vhost: str) -> None:
    exported = CLIENT.get_definitions()
    equal("users", management.USER in [user["name"] for user in exported["users"]], True)


def refusals(vhost: str) -> None:
    wrong = Client(ADDRESS, management.USER, "wrong", timeout=management.REQUEST_SECONDS)
    try:
        wrong.get_whoami()
    except PermissionError as error:
        equal("the refusal", ":401 - " in str(error), True)
    else:
        raise AssertionError("a wrong password is accepted")
    CLIENT.create_queue(vhost, "py.fixed", durable=True)
    error = refused("inequivalent", 400, lambda: CLIENT.create_queue(vhost, "py.fixed", durable=False))
    equal("reason", "inequivalent arg 'durable'" in error.detail, True)


def refused(what: str, status: int, request) -> HTTPError:
    """The error that the request must end with."""
    try:
        request()
    except HTTPError as error:
        equal(f"status of {what}", error.status, status)
        return error
    raise AssertionError(f"{what}: not refused")


CHECKS = {
    "overview": overview,
    "vhosts-and-permissions": vhosts_and_permissions,
    "exchanges-and-bindings": exchanges_and_bindings,
    "queues-and-messages": queues_and_messages,
    "pages-of-queues": pages_of_queues,
    "policies": policies,
    "connections-and-channels": connections_and_channels,
    "definitions": definitions,
    "refusals": refusals,
}


def main() -> int:
    report = Report()
    with management.vhost("pyrabbit2") as vhost:
        for name, check in CHECKS.items():
            with report.check(name):
                check(vhost)
    return report.failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
