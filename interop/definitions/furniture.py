"""Makes objects of all kinds, some with odd names, in a broker whose management API is given as a function."""

from urllib.parse import quote

RIGHTS = {"configure": ".*", "write": ".*", "read": ".*"}
ODD = "ö/%2F a"


def part(name: str) -> str:
    return quote(name, safe="")


def furnish(api) -> None:
    users(api)
    virtual_hosts(api)
    for vhost in ("/", "shop/eu"):
        objects(api, part(vhost))


def users(api) -> None:
    api("PUT", "/users/admin", {"password": "secret", "tags": "administrator,monitoring"})
    api("PUT", f"/users/{part(ODD)}", {"password": "päss:word", "tags": ""})
    api("PUT", "/users/limited", {"password": "x", "tags": "management"})
    api("PUT", "/user-limits/limited/max-connections", {"value": 7})
    api("PUT", "/global-parameters/of-the-shop", {"value": {"list": [1, "two", None, {"three": 3.5}]}})


def virtual_hosts(api) -> None:
    body = {"description": "The shop", "tags": "eu,production", "default_queue_type": "quorum"}
    api("PUT", "/vhosts/shop%2Feu", body)
    api("PUT", "/vhost-limits/shop%2Feu/max-queues", {"value": 100})
    api("PUT", "/vhost-limits/shop%2Feu/max-connections", {"value": 1000})
    for user in ("guest", "admin", ODD):
        api("PUT", f"/permissions/shop%2Feu/{part(user)}", RIGHTS)
    api("PUT", f"/permissions/%2F/{part(ODD)}", {"configure": "^$", "write": "^a", "read": ""})
    api("PUT", "/topic-permissions/shop%2Feu/admin", {"exchange": "amq.topic", "write": "^a", "read": "^b"})


def objects(api, vhost: str) -> None:
    durable = {"durable": True, "auto_delete": False}
    arguments = {"x-queue-type": "classic", "x-message-ttl": 60000, "x-dead-letter-exchange": "dlx", "x-max-priority": 5}
    api("PUT", f"/queues/{vhost}/orders", durable | {"arguments": arguments})
    api("PUT", f"/queues/{vhost}/quorum", durable | {"arguments": {"x-queue-type": "quorum", "x-delivery-limit": 5}})
    api("PUT", f"/queues/{vhost}/stream", durable | {"arguments": {"x-queue-type": "stream", "x-max-age": "1h"}})
    api("PUT", f"/queues/{vhost}/{part(ODD)}", durable | {"arguments": {"x-queue-type": "classic"}})
    for name, kind in (("dlx", "fanout"), ("topic", "topic"), ("headers", "headers"), (ODD, "direct")):
        api("PUT", f"/exchanges/{vhost}/{part(name)}", durable | {"type": kind, "internal": kind == "headers"})
    api("PUT", f"/exchanges/{vhost}/alternate", durable | {"type": "direct", "arguments": {"alternate-exchange": "dlx"}})
    api("POST", f"/bindings/{vhost}/e/topic/q/orders", {"routing_key": "a.#", "arguments": {"n": 1, "s": "x"}})
    api("POST", f"/bindings/{vhost}/e/topic/e/dlx", {"routing_key": ODD})
    api("POST", f"/bindings/{vhost}/e/headers/q/{part(ODD)}", {"arguments": {"x-match": "any", "k": True}})
    rule = {"pattern": "^orders", "definition": {"max-length": 10, "overflow": "reject-publish"}, "priority": 2}
    api("PUT", f"/policies/{vhost}/{part(ODD)}", rule | {"apply-to": "queues"})
    api("PUT", f"/operator-policies/{vhost}/bound", {"pattern": ".*", "definition": {"max-length": 5}, "apply-to": "queues"})
