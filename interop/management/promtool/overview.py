"""The queries of queries.txt as a unit test of promtool: two scrapes are its samples, a minute apart."""

import json
import pathlib
import re
import subprocess
from typing import NamedTuple

QUERIES = pathlib.Path(__file__).parent / "queries.txt"
JOIN = (
    "* on(instance, job) group_left(rabbitmq_cluster, rabbitmq_node) "
    'rabbitmq_identity_info{rabbitmq_cluster=~".+", namespace="test", rabbitmq_endpoint="aggregated"}'
)
# What a Prometheus server adds to every sample.
TARGET = 'instance="here:15692",job="leveret",namespace="test"'
LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")


class Query(NamedTuple):
    """A query of the dashboard, and whether its value must be positive."""

    title: str
    expression: str
    positive: bool

    def test(self) -> str:
        """A query with exactly the value 1 if this one has a value, and a positive one where it must be."""
        if self.positive:
            return f"sum({self.expression}) > bool 0"
        return f"count({self.expression}) > bool 0"


def queries() -> list[Query]:
    found = []
    for line in QUERIES.read_text().splitlines():
        if line and not line.startswith("#"):
            title, _, expression = line[2:].partition(" | ")
            found.append(Query(title, expression.replace("@", JOIN), line[0] == "+"))
    return found


def samples(text: str) -> dict[str, str]:
    """The series of a scrape, with the labels that a server adds, and their values."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = LINE.fullmatch(line.strip()).groups()
            found[f"{name}{{{','.join(filter(None, [server_bucket(labels or ''), TARGET]))}}}"] = value
    return found


def server_bucket(labels: str) -> str:
    """The upper bound of a bucket as a Prometheus 3 server writes it, whatever the broker wrote."""

    def written(match: re.Match) -> str:
        bound = float(match[1])
        return f'le="{bound:.0e}"' if bound >= 1e6 else f'le="{bound}"'

    return re.sub(r'le="([0-9.e+]+)"', written, labels)


def unit_test(before: str, after: str, asked: list[Query]) -> dict:
    """promtool's file of tests, which is YAML and so may be JSON."""
    first, second = samples(before), samples(after)
    series = [{"series": name, "values": f"{first.get(name, '_')} {value}"} for name, value in second.items()]
    tests = [{"expr": q.test(), "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 1}]} for q in asked]
    return {"evaluation_interval": "1m", "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}


def failures(promtool: str, folder: pathlib.Path, before: str, after: str) -> list[str]:
    """The titles of the queries that lack their value."""
    path = folder / "overview.json"

    def passes(asked: list[Query]) -> bool:
        path.write_text(json.dumps(unit_test(before, after, asked)))
        return subprocess.run([promtool, "test", "rules", path], capture_output=True).returncode == 0

    return [] if passes(queries()) else [query.title for query in queries() if not passes([query])]
