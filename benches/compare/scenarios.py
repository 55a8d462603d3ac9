# The scenarios: each is a call of `leveret-bench`. Its defaults are persistent messages, durable queues, publisher
# confirms with a window of 1,000 per producer, manual acknowledgements of 100 messages, prefetch 500.

import dataclasses

# The name under which the ideal log stands beside the brokers: the limit that the disk sets.
IDEAL = "ideal log"


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A row of the result."""
    name: str
    title: str
    # The table it belongs to.
    table: str
    # The words after `leveret-bench`.
    words: tuple
    # Takes long, at least with RabbitMQ: runs once with --quick.
    heavy: bool = False
    # Restarts the broker if the runner can.
    restarts: bool = False
    # The scenario of the ideal log to compare this one with.
    ideal: str | None = None
    # A scenario of the ideal log, without a broker.
    is_ideal: bool = False
    # Only leveret is measured. The words may contain {cmq}, the API with a key; {ctl}, the command line; {management},
    # the management API with a login; and {metrics}.
    ours: bool = False
    # The load goes through TLS, on brokers that were started here.
    tls: bool = False
    # Measured on clusters of three nodes, and on leveret alone.
    of_set: bool = False
    # Measured by handover.py and not by `leveret-bench`: `failover` or `handover`, and so many times.
    waits: int = 0
    # Measured by returning.py on leveret's set: the messages that a node lacks when it comes back.
    lacks: int = 0


def every(given):
    """All scenarios, with the times and counts of the options."""
    time = ("--seconds", str(given.seconds), "--warm-up", str(given.warm_up))
    # Scenarios that measure memory come first, since a broker may keep memory of earlier scenarios.
    found = [Scenario("queues", f"{given.queues:,} durable queues", "queues", ("queues", "--queues", str(given.queues)),
                      heavy=True, restarts=True)]
    found.append(Scenario("delayed", f"{given.delayed:,} messages due in an hour", "delayed",
                          ("delayed", "--count", str(given.delayed)), heavy=True, restarts=True, ours=True))
    found.extend(_due(given))
    for count in (1_000, 10_000):
        found.append(Scenario(f"idle-{count}", f"{count:,} idle connections", "connections",
                              ("connections", "--connections", str(count), "--seconds", str(given.seconds)),
                              heavy=count > 1_000))
    found += [*_throughput(given, time), *_sizes(given, time), *_tls(given, time), *_routing(time), *_latency(time), *_ideal(time)]
    backlog = ("backlog", "--count", str(given.backlog))
    found.append(Scenario("backlog", f"backlog of {given.backlog:,}", "backlog", backlog, heavy=True, restarts=True))
    found.append(Scenario("churn", "opened and closed by 4 threads", "connections",
                          ("churn", "--connections", "4", "--seconds", str(given.seconds))))
    found.extend(_ours(given, time))
    found.extend(_stress(given))
    found.extend(_sets(given, time))
    return found


def _due(given):
    # A million within a minute. Publishing at 50,000/s or more and the restart end before the first is due.
    first = max(10, given.due // 50_000)
    length = max(1, given.due * 60 // 1_000_000)
    words = ("delayed", "--count", str(given.due), "--due", f"{first}..{first + length}")
    title = f"{given.due:,} messages due at random within {length} s"
    yield Scenario("due", title, "due", words, heavy=True, ours=True)
    yield Scenario("due-restart", f"{title}, a restart before", "due", words, heavy=True, restarts=True, ours=True)


def _throughput(given, time):
    for mode, length in (("produce", time), ("consume", ("--count", str(given.drain))), ("both", time)):
        for pairs in (1, 2, 4):
            title = f"{mode}, {pairs} {'pair' if pairs == 1 else 'pairs'}"
            yield Scenario(f"{mode}-{pairs}", title, "rate", (mode, "--pairs", str(pairs), *length),
                           ideal="ideal-1KB" if mode == "produce" else None)


def _sizes(given, time):
    # A window of 1,000 large bodies would be many megabytes.
    small = ("--size", "16")
    large = ("--size", "65536", "--confirm-window", "100")
    consumers = ("--prefetch", "100", "--ack-batch", "20")
    for name, title, words, count in (("16B", "16 B", small, given.drain),
                                      ("64KB", "64 KB", large, max(given.drain // 40, 1_000))):
        for mode, length in (("produce", time), ("consume", ("--count", str(count))), ("both", time)):
            taking = () if mode == "produce" else consumers
            yield Scenario(f"{mode}-{name}", f"{mode}, {title}", "size", (mode, *words, *taking, *length),
                           ideal=f"ideal-{name}" if mode == "produce" else None)


def _tls(given, time):
    for mode, length in (("produce", time), ("consume", ("--count", str(given.drain))), ("both", time)):
        yield Scenario(f"tls-{mode}", f"{mode}, TLS 1.3", "tls", (mode, *length), tls=True)


def _routing(time):
    yield Scenario("fanout-100", "fanout to 100 queues, received", "routing",
                   ("both", "--exchange-type", "fanout", "--queues", "100", "--consumers", "4", *time))
    for bindings in (1, 10_000):
        plural = "" if bindings == 1 else "s"
        yield Scenario(f"topic-{bindings}", f"topic, {bindings:,} binding{plural}", "routing",
                       ("both", "--exchange-type", "topic", "--bindings", str(bindings), *time), heavy=bindings > 1)
    # The same load on one queue and on many: their CPU per message tells what a queue costs.
    for pairs, each in (1, "one queue with a pair, 100,000/s"), (1_000, "1,000 queues with a pair each, 100/s each"):
        yield Scenario(f"swarm-{pairs}", each, "routing",
                       ("swarm", "--pairs", str(pairs), "--rate", "100000", *time), heavy=pairs > 1)


def _latency(time):
    for rate in (1_000, 10_000):
        yield Scenario(f"latency-{rate}", f"{rate:,}/s offered", "latency", ("latency", "--rate", str(rate), *time))
    yield Scenario("lone", "lone publisher, waits for each confirm", "lone",
                   ("produce", "--confirm-window", "1", *time), ideal="ideal-lone")


def _ours(given, time):
    cmq = ("--cmq-uri", "{cmq}", "--connections", "8")
    yield Scenario("cmq-send", "CMQ over HTTP: send, batches of 16, 8 connections", "ours", ("cmq-send", *cmq, *time),
                   ours=True)
    yield Scenario("cmq-receive", "CMQ over HTTP: receive and delete, batches of 16, 8 connections", "ours",
                   ("cmq-receive", *cmq), ours=True)
    lock = ("--queue-argument", "x-visibility-timeout=30000")
    yield Scenario("locks", "both, 1 pair, locks that end after 30 s", "ours", ("both", *lock, *time), ours=True)
    yield Scenario("rewind", f"{given.backlog:,} rewound", "rewind",
                   ("rewind", "--count", str(given.backlog), "--queue-argument", "x-rewind-seconds=3600",
                    "--rewind-hook", "{ctl} rewind leveret-bench.0 --to 0"), ours=True)
    # What the web page asks for while it shows the overview and the list of queues, and Prometheus.
    pages = ("{metrics}/metrics", "{management}/api/overview?lengths_age=600&lengths_incr=5&msg_rates_age=600&msg_rates_incr=5",
             "{management}/api/queues?page=1&page_size=100&pagination=true&sort=messages&sort_reverse=true")
    yield Scenario("observed", "1,000 queues; Prometheus and the web page ask each second", "observed",
                   ("observed", "--queues", "1000", *(word for page in pages for word in ("--observe", page)), *time),
                   heavy=True, ours=True)


def _sets(given, time):
    # Memory first, as above.
    yield Scenario("set-queues", f"{given.queues:,} durable queues", "set-queues", ("queues", "--queues", str(given.queues)),
                   heavy=True, of_set=True)
    for mode, length in (("produce", time), ("consume", ("--count", str(given.drain))), ("both", time)):
        yield Scenario(f"set-{mode}", mode, "set", (mode, *length), of_set=True)
    yield Scenario("set-latency", "5,000/s offered", "set-latency", ("latency", "--rate", "5000", *time), of_set=True)
    yield Scenario("set-failover", "kill -9 of the leader", "set-waits", ("failover",), of_set=True, waits=5)
    yield Scenario("set-handover", "planned handover", "set-waits", ("handover",), of_set=True, waits=5)
    # The log that is kept has 1 GiB.
    for name, lacks in ("set-return", 500_000), ("set-snapshot", 3_000_000):
        yield Scenario(name, f"a node that lacks {lacks:,} messages", "set-returns", (), heavy=True, of_set=True, lacks=lacks)


def _stress(given):
    # The effect of a misbehaving client on a pair at 1,000/s.
    for stressor, title in (("stuck-consumer", "a consumer that never reads"), ("flood", "4 publishers without confirms"),
                            ("bulk", "1 GB/s offered, 64 KB bodies"), ("churn", "connections opened and closed")):
        yield Scenario(f"stress-{stressor}", title, "stress",
                       ("stress", "--stressor", stressor, "--seconds", str(given.stress_seconds)), heavy=True)


def _ideal(time):
    for name, size, window in (("1KB", 1024, 1000), ("16B", 16, 1000), ("64KB", 65536, 100), ("lone", 1024, 1)):
        yield Scenario(f"ideal-{name}", name, "ideal", ("ideal-log", "--size", str(size), "--confirm-window",
                                                        str(window), *time), is_ideal=True)


def chosen(given):
    """The scenarios that --rows selects, and those of the ideal log to compare them with."""
    wanted = tuple(word for word in given.rows.split(",") if word)
    found = [scenario for scenario in every(given)
             if not wanted or any(f"{scenario.name}-".startswith(f"{word}-") for word in wanted)]
    needed = {scenario.ideal for scenario in found}
    return [scenario for scenario in every(given)
            if scenario in found or scenario.name in needed]
