"""Checks of the metrics with Prometheus' own promtool: their format, and every query of RabbitMQ's Overview dashboard."""

import pathlib
import re
import subprocess
import sys
import tempfile

import pika

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import management  # noqa: E402
import overview  # noqa: E402
from report import Report, equal, eventually  # noqa: E402

PROMTOOL = sys.argv[1]
# The status of promtool when it has only advice on names. RabbitMQ's names, which dashboards use, need some.
ONLY_ADVICE = 3
FAMILIES = (
    "queue_coarse_metrics", "queue_metrics", "queue_consumer_count", "connection_coarse_metrics", "connection_metrics",
    "channel_metrics", "vhost_status", "exchange_names", "connection_churn_metrics", "node_metrics",
)  # fmt: skip
SIZES = (50, 500, 5_000, 50_000, 500_000, 5_000_000)


def well_formed(text: str) -> None:
    """promtool must parse the text, and may advise on RabbitMQ's own names only."""
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True)
    advice = (checked.stdout + checked.stderr).splitlines()
    if checked.returncode not in (0, ONLY_ADVICE):
        raise AssertionError(f"status {checked.returncode}: {' '.join(advice[:5])}")
    equal("advice on our own names", [line for line in advice if line.startswith("leveret_")], [])


def metrics(vhost: str) -> None:
    well_formed(management.metrics())


def per_object(vhost: str) -> None:
    text = management.metrics("/metrics/per-object")
    well_formed(text)
    equal("a sample of the queue", 'queue="promtool"' in text, True)


def detailed(vhost: str) -> None:
    for family in FAMILIES:
        well_formed(management.metrics(f"/metrics/detailed?family={family}"))
    text = management.metrics(f"/metrics/detailed?family=queue_coarse_metrics&vhost={management.part(vhost)}")
    queues = re.findall(r'^rabbitmq_detailed_queue_messages_ready\{.*queue="([^"]+)".*\}', text, re.M)
    equal("queues of the virtual host", sorted(queues), ["promtool", "promtool.auto"])


def no_duplicates(vhost: str) -> None:
    for path in ("/metrics", "/metrics/per-object", "/metrics/detailed?family=queue_coarse_metrics"):
        names = [line.rpartition(" ")[0] for line in management.metrics(path).splitlines() if not line.startswith("#")]
        equal(f"series of {path} written twice", sorted({n for n in names if n and names.count(n) > 1}), [])


class Client:
    """A connection that leaves a ready and an unacknowledged message behind, and makes every counter move."""

    def __init__(self, connection: pika.BlockingConnection, vhost: str) -> None:
        self.connection, self.vhost = connection, vhost
        self.channel = connection.channel()
        self.channel.confirm_delivery()
        self.channel.queue_declare("promtool", durable=True)
        self.channel.queue_declare("promtool.auto", durable=True)

    def turn(self) -> None:
        """One of everything that the dashboard counts."""
        for size in SIZES:
            self.publish("promtool", b"x" * size)
        self.publish("nowhere", b"dropped")
        try:
            self.channel.basic_publish("", "nowhere", b"returned", mandatory=True)
        except pika.exceptions.UnroutableError:
            pass
        self.consume_with_acks()
        self.consume_without_acks()
        self.get()
        self.open_and_close()

    def publish(self, queue: str, body: bytes) -> None:
        self.channel.basic_publish("", queue, body)

    def consume_with_acks(self) -> None:
        """Read all messages with acks, the first of them twice."""
        for method, _, _ in self.channel.consume("promtool", inactivity_timeout=1):
            if method is None:
                break
            if method.redelivered or method.delivery_tag % 3:
                self.channel.basic_ack(method.delivery_tag)
            else:
                self.channel.basic_nack(method.delivery_tag)
        self.channel.cancel()

    def consume_without_acks(self) -> None:
        self.publish("promtool.auto", b"auto")
        for method, _, _ in self.channel.consume("promtool.auto", auto_ack=True, inactivity_timeout=1):
            if method is None:
                break
        self.channel.cancel()

    def get(self) -> None:
        self.channel.basic_get("promtool.auto", auto_ack=True)
        self.publish("promtool.auto", b"got")
        self.channel.basic_get("promtool.auto", auto_ack=True)
        self.publish("promtool.auto", b"got")
        method, _, _ = self.channel.basic_get("promtool.auto")
        self.channel.basic_ack(method.delivery_tag)

    def open_and_close(self) -> None:
        self.channel.queue_declare("promtool.short")
        self.channel.queue_delete("promtool.short")
        with management.connection(self.vhost, "promtool short") as short:
            short.channel().close()

    def hold(self) -> None:
        """Leave a consumer with an unacknowledged message, and a ready message behind it."""
        self.channel.basic_qos(prefetch_count=1)
        for _ in range(2):
            self.publish("promtool", b"held")
        self.channel.basic_consume("promtool", lambda *_: None)
        self.connection.process_data_events(time_limit=1)


def overview_dashboard(vhost: str) -> None:
    with management.connection(vhost, "promtool") as connection, tempfile.TemporaryDirectory() as folder:
        client = Client(connection, vhost)
        client.turn()
        # RabbitMQ gathers what it shows every five seconds.
        eventually("the counts of the first turn", lambda: counted("queues_deleted_total") > 0, 30)
        before = management.metrics()
        client.turn()
        client.hold()
        ready = 'rabbitmq_queue_messages_unacked'
        eventually("the unacknowledged message", lambda: gauge(ready) > 0 and gauge("rabbitmq_queue_messages_ready") > 0, 30)
        left = counted("queues_deleted_total", before)
        eventually("the counts of the second turn", lambda: counted("queues_deleted_total") > left, 30)
        lacking = overview.failures(PROMTOOL, pathlib.Path(folder), before, management.metrics())
        equal("queries without their value", lacking, [])


def gauge(name: str, text: str | None = None) -> float:
    """The sum of the samples of this name."""
    samples = overview.samples(text or management.metrics())
    return sum(float(value) for series, value in samples.items() if series.startswith(f"{name}{{"))


def counted(name: str, text: str | None = None) -> float:
    return gauge(f"rabbitmq_{name}", text)


CHECKS = {
    "metrics": metrics,
    "per-object": per_object,
    "detailed": detailed,
    "no-duplicates": no_duplicates,
    "overview-dashboard": overview_dashboard,
}


def main() -> int:
    report = Report()
    with management.vhost("promtool") as vhost:
        with management.connection(vhost, "promtool queues") as connection:
            for queue in ("promtool", "promtool.auto"):
                connection.channel().queue_declare(queue, durable=True)
        eventually("the queues' metrics", lambda: 'queue="promtool"' in management.metrics("/metrics/per-object"), 30)
        for name, check in CHECKS.items():
            with report.check(name):
                check(vhost)
    return report.failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
