"""What two exports of definitions must agree in."""

import json

KINDS = (
    "users", "vhosts", "permissions", "topic_permissions", "parameters", "global_parameters", "policies", "queues",
    "exchanges", "bindings",
)  # fmt: skip
# Of the broker itself and not of what operators define.
OWN_PARAMETERS = ("internal_cluster_id", "cluster_name", "cluster_tags", "node_tags")


def compared(first: dict, second: dict) -> list[tuple[str, list, list]]:
    """Kind by kind, what the exports have of it in one order; guest's password is each broker's own."""
    return [(kind, of_kind(first, kind), of_kind(second, kind)) for kind in KINDS if kind in first]


def of_kind(export: dict, kind: str) -> list:
    kept = [item for item in export.get(kind, []) if keep(kind, item)]
    return sorted((plain(kind, item) for item in kept), key=lambda item: json.dumps(item, sort_keys=True))


def keep(kind: str, item: dict) -> bool:
    if kind == "global_parameters":
        return item["name"] not in OWN_PARAMETERS
    return kind != "users" or item["name"] != "guest"


def plain(kind: str, item: dict) -> dict:
    item = dict(item)
    if kind == "queues":
        # Beside the arguments from 4.3 on; an import reads the arguments.
        item.pop("type", None)
    if kind == "exchanges":
        # Left out from 4.3 on, as are internal exchanges.
        item.pop("internal", None)
    if kind == "vhosts":
        # Tags and description stand in the metadata, too.
        item = {key: item[key] for key in ("name", "description", "tags", "default_queue_type") if key in item}
        # Without a type, queues are classic; RabbitMQ writes it out.
        item.setdefault("default_queue_type", "classic")
    return item
