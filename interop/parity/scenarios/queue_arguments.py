# Queue arguments: type, range and equivalence of each. Their effects are in the files named after them.

from parity.session import add, follow, scenario
from parity.wire import Typed

YEAR10_MS = 315_360_000_000


def _declare(arguments, **flags):
    def run(s):
        s.channel().queue(s.name("q"), arguments=arguments, **flags)
    return run


def _case(name, arguments, **flags):
    shown = ", ".join(f"{key}={value}" for key, value in arguments.items())
    add(__name__, name, _declare(arguments, **flags), f"queue.declare {flags or ''} with {shown}.")


QUORUM = {"x-queue-type": "quorum"}
STREAM = {"x-queue-type": "stream"}

# Whole numbers: which of them are in range.
for _key, _values in {
    "x-message-ttl": (0, 1, -1, YEAR10_MS, YEAR10_MS + 1, 2**63 - 1),
    "x-expires": (1, 0, -1, YEAR10_MS, YEAR10_MS + 1),
    "x-max-length": (0, 1, -1, 2**63 - 1),
    "x-max-length-bytes": (0, 1, -1),
    "x-max-priority": (0, 1, 255, 256, -1),
}.items():
    for _value in _values:
        _case(f"{_key[2:].replace('-', '_')}_{str(_value).replace('-', 'minus_')}", {_key: _value})

# Whole numbers: any other type is refused, any width accepted.
for _key in ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority"):
    for _kind, _value in {
        "string": "100", "boolean": True, "double": 100.0, "void": None, "table": {}, "array": [],
        "timestamp": Typed("T", 100), "decimal": Typed("D", (0, 100)), "float": Typed("f", 100.0),
    }.items():
        if _key == "x-message-ttl" or _kind in ("string", "double"):
            _case(f"{_key[2:].replace('-', '_')}_{_kind}", {_key: _value})
for _kind in "bBsuIil":
    add(__name__, f"integer_type_{'lower' if _kind.islower() else 'upper'}_{_kind.lower()}",
        _declare({"x-message-ttl": Typed(_kind, 100), "x-max-priority": Typed(_kind, 5)}),
        f"Whole numbers as table type {_kind}.")

# Strings.
for _name, _arguments in {
    "dead_letter_exchange_missing": {"x-dead-letter-exchange": "no such exchange"},
    "dead_letter_exchange_empty": {"x-dead-letter-exchange": ""},
    "dead_letter_exchange_number": {"x-dead-letter-exchange": 5},
    "dead_letter_exchange_octets": {"x-dead-letter-exchange": Typed("x", b"x")},
    "dead_letter_routing_key_alone": {"x-dead-letter-routing-key": "k"},
    "dead_letter_routing_key_number": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": 5},
    "dead_letter_routing_key_empty": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": ""},
    "dead_letter_strategy_on_classic": {"x-dead-letter-strategy": "at-least-once"},
    "overflow_drop_head": {"x-overflow": "drop-head"},
    "overflow_reject_publish": {"x-overflow": "reject-publish"},
    "overflow_reject_publish_dlx": {"x-overflow": "reject-publish-dlx"},
    "overflow_unknown": {"x-overflow": "drop-tail"},
    "overflow_number": {"x-overflow": 1},
    "queue_mode_default": {"x-queue-mode": "default"},
    "queue_mode_lazy": {"x-queue-mode": "lazy"},
    "queue_mode_unknown": {"x-queue-mode": "eager"},
    "queue_mode_number": {"x-queue-mode": 1},
    "queue_version_1": {"x-queue-version": 1},
    "queue_version_2": {"x-queue-version": 2},
    "queue_version_3": {"x-queue-version": 3},
    "queue_version_string": {"x-queue-version": "2"},
    "queue_type_classic": {"x-queue-type": "classic"},
    "queue_type_unknown": {"x-queue-type": "fast"},
    "queue_type_empty": {"x-queue-type": ""},
    "queue_type_number": {"x-queue-type": 1},
    "queue_type_upper_case": {"x-queue-type": "Classic"},
    "queue_type_module": {"x-queue-type": "rabbit_classic_queue"},
    "single_active_consumer": {"x-single-active-consumer": True},
    "single_active_consumer_string": {"x-single-active-consumer": "true"},
    "single_active_consumer_number": {"x-single-active-consumer": 1},
    "master_locator": {"x-queue-master-locator": "client-local"},
    "master_locator_unknown": {"x-queue-master-locator": "moon"},
    "leader_locator": {"x-queue-leader-locator": "balanced"},
    "leader_locator_unknown": {"x-queue-leader-locator": "moon"},
    "leader_locator_number": {"x-queue-leader-locator": 1},
    "consumer_timeout": {"x-consumer-timeout": 60000},
    "consumer_timeout_0": {"x-consumer-timeout": 0},
    "consumer_timeout_minus_1": {"x-consumer-timeout": -1},
    "consumer_timeout_string": {"x-consumer-timeout": "soon"},
    "delivery_limit_on_classic": {"x-delivery-limit": 5},
    "max_age_on_classic": {"x-max-age": "1h"},
    "initial_group_size_on_classic": {"x-quorum-initial-group-size": 1},
    "ha_policy": {"x-ha-policy": "all"},
    "no_x_argument": {"anything": 5, "else": [1, 2]},
    "two_faults": {"x-message-ttl": -1, "x-max-length": "no"},
}.items():
    _case(_name, _arguments)

# Quorum queues.
for _name, _arguments in {
    "plain": {}, "max_priority": {"x-max-priority": 5}, "queue_mode": {"x-queue-mode": "lazy"},
    "queue_version": {"x-queue-version": 2},
    "reject_publish_dlx": {"x-overflow": "reject-publish-dlx"}, "reject_publish": {"x-overflow": "reject-publish"},
    "overflow_unknown": {"x-overflow": "no"},
    "delivery_limit_0": {"x-delivery-limit": 0}, "delivery_limit_minus_1": {"x-delivery-limit": -1},
    "delivery_limit_minus_2": {"x-delivery-limit": -2},
    "delivery_limit_string": {"x-delivery-limit": "5"},
    "group_size_0": {"x-quorum-initial-group-size": 0}, "group_size_1": {"x-quorum-initial-group-size": 1},
    "group_size_string": {"x-quorum-initial-group-size": "1"},
    "target_group_size_0": {"x-quorum-target-group-size": 0},
    "message_ttl_minus_1": {"x-message-ttl": -1}, "expires_0": {"x-expires": 0},
    "max_length_minus_1": {"x-max-length": -1}, "max_length_bytes_string": {"x-max-length-bytes": "5"},
    "in_memory": {"x-max-in-memory-length": 5, "x-max-in-memory-bytes": 5},
    "in_memory_string": {"x-max-in-memory-length": "5"},
    "strategy_at_most_once": {"x-dead-letter-strategy": "at-most-once"},
    "strategy_at_least_once": {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
                               "x-dead-letter-exchange": ""},
    "strategy_at_least_once_without_exchange": {"x-dead-letter-strategy": "at-least-once"},
    "strategy_unknown": {"x-dead-letter-strategy": "perhaps"},
    "dead_letter_routing_key_alone": {"x-dead-letter-routing-key": "k"},
    "single_active_consumer": {"x-single-active-consumer": True},
    "max_age": {"x-max-age": "1h"}, "consumer_timeout": {"x-consumer-timeout": 60000},
    "consumer_timeout_minus_1": {"x-consumer-timeout": -1},
    "leader_locator_unknown": {"x-queue-leader-locator": "moon"},
    "unknown": {"x-anything": 1},
}.items():
    _case(f"quorum_{_name}", {**QUORUM, **_arguments}, durable=True)
_case("quorum_not_durable", QUORUM)
_case("quorum_exclusive", QUORUM, durable=True, exclusive=True)
_case("quorum_auto_delete", QUORUM, durable=True, auto_delete=True)

# Streams.
for _name, _arguments in {
    "plain": {}, "max_age_1h": {"x-max-age": "1h"}, "max_age_bad_unit": {"x-max-age": "1x"},
    "max_age_number": {"x-max-age": 5},
    "max_length": {"x-max-length": 5}, "max_length_bytes": {"x-max-length-bytes": 1000},
    "max_length_bytes_minus_1": {"x-max-length-bytes": -1},
    "segment_size": {"x-stream-max-segment-size-bytes": 1000000},
    "segment_size_0": {"x-stream-max-segment-size-bytes": 0},
    "segment_size_string": {"x-stream-max-segment-size-bytes": "1"},
    "filter_size_16": {"x-stream-filter-size-bytes": 16}, "filter_size_15": {"x-stream-filter-size-bytes": 15},
    "filter_size_256": {"x-stream-filter-size-bytes": 256},
    "cluster_size_0": {"x-initial-cluster-size": 0},
    "message_ttl": {"x-message-ttl": 5}, "expires": {"x-expires": 5000}, "max_priority": {"x-max-priority": 5},
    "dead_letter_exchange": {"x-dead-letter-exchange": ""}, "overflow": {"x-overflow": "drop-head"},
    "single_active_consumer": {"x-single-active-consumer": True}, "delivery_limit": {"x-delivery-limit": 5},
    "max_age_0": {"x-max-age": "0s"}, "max_age_number_only": {"x-max-age": "10"},
    "max_age_years": {"x-max-age": "1Y"}, "max_age_hours_upper": {"x-max-age": "1H"},
    "segment_size_largest": {"x-stream-max-segment-size-bytes": 3_000_000_000},
    "segment_size_too_large": {"x-stream-max-segment-size-bytes": 3_000_000_001},
    "segment_size_negative": {"x-stream-max-segment-size-bytes": -1},
    "filter_size_string": {"x-stream-filter-size-bytes": "x"}, "filter_size_255": {"x-stream-filter-size-bytes": 255},
    "cluster_size_string": {"x-initial-cluster-size": "1"}, "cluster_size_3": {"x-initial-cluster-size": 3},
    "leader_locator": {"x-queue-leader-locator": "balanced"}, "leader_locator_unknown": {"x-queue-leader-locator": "moon"},
    "queue_mode": {"x-queue-mode": "lazy"}, "queue_version": {"x-queue-version": 2},
    "dead_letter_strategy": {"x-dead-letter-strategy": "at-most-once"}, "group_size": {"x-quorum-initial-group-size": 1},
    "dead_letter_routing_key": {"x-dead-letter-routing-key": "k"}, "unknown": {"x-anything": 1},
    "consumer_timeout": {"x-consumer-timeout": 60000}, "in_memory": {"x-max-in-memory-length": 5},
}.items():
    _case(f"stream_{_name}", {**STREAM, **_arguments}, durable=True)
_case("stream_not_durable", STREAM)
_case("stream_exclusive", STREAM, durable=True, exclusive=True)
_case("stream_auto_delete", STREAM, durable=True, auto_delete=True)


def _server_named(kind):
    def run(s):
        s.channel().queue("", durable=True, arguments={"x-queue-type": kind})
    return run


for _kind in ("quorum", "stream"):
    add(__name__, f"{_kind}_server_named", _server_named(_kind), f"A {_kind} queue has to be named by the client.")


# ------------------------------------------------------------ equivalence

def _redeclare(first, second, durable=False):
    def run(s):
        ch, q = s.queue(durable=durable, arguments=first)
        ch.queue(q, durable=durable, arguments=second)
    return run


TTL = {"x-message-ttl": 1000}
for _name, (_first, _second) in {
    "value": (TTL, {"x-message-ttl": 2000}), "removed": (TTL, {}), "added": ({}, TTL),
    "other_width": (TTL, {"x-message-ttl": Typed("l", 1000)}),
    "smaller_width": (TTL, {"x-message-ttl": Typed("s", 1000)}),
    "added_as_long": ({}, {"x-message-ttl": Typed("l", 1000)}),
    "added_as_octet": ({}, {"x-message-ttl": Typed("B", 100)}),
    "added_as_short": ({}, {"x-message-ttl": Typed("s", 100)}),
    "added_as_unsigned_short": ({}, {"x-message-ttl": Typed("u", 100)}),
    "added_as_signed_octet": ({}, {"x-message-ttl": Typed("b", 100)}),
    "added_as_unsigned": ({}, {"x-message-ttl": Typed("i", 100)}),
    "expires": ({"x-expires": 60000}, {"x-expires": 50000}),
    "max_length": ({"x-max-length": 5}, {"x-max-length": 6}),
    "max_length_bytes": ({"x-max-length-bytes": 5}, {"x-max-length-bytes": 6}),
    "max_priority": ({"x-max-priority": 5}, {"x-max-priority": 6}),
    "max_priority_removed": ({"x-max-priority": 5}, {}),
    "overflow": ({"x-overflow": "drop-head"}, {"x-overflow": "reject-publish"}),
    "overflow_default_spelled_out": ({}, {"x-overflow": "drop-head"}),
    "dead_letter_exchange": ({"x-dead-letter-exchange": "a"}, {"x-dead-letter-exchange": "b"}),
    "dead_letter_exchange_added": ({}, {"x-dead-letter-exchange": "b"}),
    "dead_letter_routing_key": ({"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "b"},
                                {"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "c"}),
    "single_active_consumer": ({"x-single-active-consumer": True}, {"x-single-active-consumer": False}),
    "single_active_consumer_added": ({}, {"x-single-active-consumer": True}),
    "queue_mode": ({"x-queue-mode": "lazy"}, {"x-queue-mode": "default"}),
    "queue_version": ({"x-queue-version": 1}, {"x-queue-version": 2}),
    "queue_type_spelled_out": ({}, {"x-queue-type": "classic"}),
    "queue_type_left_out": ({"x-queue-type": "classic"}, {}),
    "unknown_changed": ({"x-anything": 1}, {"x-anything": 2}),
    "invalid": (TTL, {"x-message-ttl": "no"}),
    "consumer_timeout": ({"x-consumer-timeout": 60000}, {"x-consumer-timeout": 70000}),
    "master_locator": ({"x-queue-master-locator": "client-local"}, {"x-queue-master-locator": "min-masters"}),
}.items():
    add(__name__, f"redeclare_{_name}", _redeclare(_first, _second),
        f"Declared with {_first}, then with {_second}.")

for _name, (_first, _second) in {
    "quorum_as_classic": (QUORUM, {}), "classic_as_quorum": ({}, QUORUM),
    "quorum_same": (QUORUM, QUORUM), "stream_as_quorum": (STREAM, QUORUM),
    "quorum_delivery_limit": ({**QUORUM, "x-delivery-limit": 5}, {**QUORUM, "x-delivery-limit": 6}),
    "quorum_delivery_limit_added": (QUORUM, {**QUORUM, "x-delivery-limit": 20}),
    "quorum_group_size": (QUORUM, {**QUORUM, "x-quorum-initial-group-size": 3}),
    "quorum_max_length_removed": ({**QUORUM, "x-max-length": 5}, QUORUM),
    "stream_max_age": ({**STREAM, "x-max-age": "1h"}, {**STREAM, "x-max-age": "2h"}),
    "stream_max_age_other_words": ({**STREAM, "x-max-age": "1h"}, {**STREAM, "x-max-age": "60m"}),
    "stream_as_classic": (STREAM, {}), "stream_same": (STREAM, STREAM),
    "stream_max_length_bytes": ({**STREAM, "x-max-length-bytes": 5}, {**STREAM, "x-max-length-bytes": 6}),
    "stream_segment_size": ({**STREAM, "x-stream-max-segment-size-bytes": 1000},
                            {**STREAM, "x-stream-max-segment-size-bytes": 2000}),
    "stream_filter_size": ({**STREAM, "x-stream-filter-size-bytes": 16}, {**STREAM, "x-stream-filter-size-bytes": 17}),
    "stream_cluster_size": ({**STREAM, "x-initial-cluster-size": 1}, STREAM),
    "stream_several": (
        {**STREAM, "x-stream-max-segment-size-bytes": 1000, "x-max-age": "1h", "x-max-length-bytes": 5,
         "x-initial-cluster-size": 1, "x-stream-filter-size-bytes": 16},
        {**STREAM, "x-stream-max-segment-size-bytes": 2000, "x-max-age": "2h", "x-max-length-bytes": 6,
         "x-initial-cluster-size": 2, "x-stream-filter-size-bytes": 17}),
    "stream_max_length": (STREAM, {**STREAM, "x-max-length": 5}),
}.items():
    add(__name__, f"redeclare_{_name}", _redeclare(_first, _second, durable=True),
        f"Declared with {_first}, then with {_second}.")


@scenario
def redeclare_flags_before_arguments(s):
    """When flags and arguments differ, the flag is named."""
    ch, q = s.queue(arguments=TTL)
    ch.queue(q, durable=True, arguments={"x-message-ttl": 7})


@scenario
def redeclare_first_difference_is_named(s):
    """When several arguments differ, one is named."""
    ch, q = s.queue(arguments={"x-message-ttl": 1, "x-max-length": 1, "x-expires": 60000})
    ch.queue(q, arguments={"x-message-ttl": 2, "x-max-length": 2, "x-expires": 60001})


# 4.3 checks it.
follow(__name__, "4.3", "quorum_consumer_timeout_minus_1")
