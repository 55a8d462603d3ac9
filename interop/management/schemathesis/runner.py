"""Checks of the management API with schemathesis: random requests, made from the API's own description of itself.

SCHEMATHESIS_SECONDS is the time for all requests (90), SCHEMATHESIS_SEED chooses them. A failure's request is printed.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

import management  # noqa: E402
from management import part  # noqa: E402
from report import Report, equal, eventually  # noqa: E402

HERE = pathlib.Path(__file__).parent
PROGRAM = pathlib.Path(sys.executable).parent / "schemathesis"
SECONDS = os.environ.get("SCHEMATHESIS_SECONDS", "90")
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
DOCUMENT = "/api/openapi.json"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# The program ends the run at SECONDS; this is for its start and its last request.
GRACE_SECONDS = 200
SERVER_ERROR = "ServerError"


def furnish(vhost: str) -> dict[str, str]:
    """Make one object of each kind; returns their names by path parameter."""
    place = part(vhost)
    management.done("PUT", f"/queues/{place}/known", {"durable": True, "arguments": {"x-max-length": 100}})
    management.done("PUT", f"/exchanges/{place}/known", {"type": "topic", "durable": True})
    management.done("POST", f"/bindings/{place}/e/known/q/known", {"routing_key": "a.#"})
    management.done("PUT", f"/policies/{place}/known", {"pattern": "^k", "definition": {"max-length": 10}})
    management.done("PUT", f"/operator-policies/{place}/known", {"pattern": "^k", "definition": {"expires": 9999999}})
    for number in range(3):
        message = {"properties": {}, "routing_key": "a.b", "payload": f"m{number}", "payload_encoding": "string"}
        management.done("POST", f"/exchanges/{place}/known/publish", message)
    node = management.get("/overview")["node"]
    known = dict.fromkeys(("queue", "exchange", "name", "source", "destination"), "known")
    return known | {"vhost": place, "node": node, "props": "a.%23", "component": "vhost-limits", "destination_type": "q"}


def run(known: dict[str, str], folder: str) -> dict:
    """Run the program; returns its report."""
    report = f"{folder}/report.json"
    login = f"{management.USER}:{management.PASSWORD}"
    command = [PROGRAM, "--config-file", HERE / "schemathesis.toml", "run", management.URL + DOCUMENT]
    command += ["--url", management.URL, "--auth", login, "--checks", CHECKS]
    command += ["--phases", "examples,coverage,fuzzing", "--max-time", SECONDS, "--seed", SEED, "--no-shrink"]
    command += ["--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all", "--report", "json", "--report-json-path", report]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "KNOWN_NAMES": json.dumps(known)}
    output = f"{folder}/output"
    with open(output, "w") as written:
        ended = subprocess.run(
            command, cwd=folder, env=environment, stdout=written, stderr=written, timeout=int(SECONDS) + GRACE_SECONDS
        )
    text = pathlib.Path(output).read_text()
    if ended.returncode != 0:
        print(text, file=sys.stderr)
    if not pathlib.Path(report).exists():
        raise AssertionError(f"schemathesis ended with status {ended.returncode} and no report: {text[-500:]}")
    return json.loads(pathlib.Path(report).read_text())


def failures(report: dict, server_errors: bool) -> list[str]:
    """The failures that are server errors, or those that are not: what failed, and of which operations."""
    chosen = [failure for failure in report["failures"] if (failure["type"] == SERVER_ERROR) == server_errors]
    return [f"{failure['title']}: {', '.join(failure['operations'])}" for failure in chosen]


def every_operation_tested(report: dict) -> None:
    operations = report["operations"]
    equal("tested operations", operations["tested"], operations["total"])
    equal("errors", report["errors"], [])


def main() -> int:
    report = Report()
    with management.vhost("schemathesis") as vhost, management.connection(vhost, "schemathesis") as connection:
        channel = connection.channel()
        channel.queue_declare("consumed")
        channel.basic_consume("consumed", lambda *_: None)
        eventually("the connection", lambda: management.connection_named("schemathesis"))
        known = furnish(vhost)
        with tempfile.TemporaryDirectory() as folder:
            found = run(known, folder)
        with report.check("every-operation-tested"):
            every_operation_tested(found)
        with report.check("no-server-error"):
            equal("server errors", failures(found, True), [])
        with report.check("answers-fit-the-schema"):
            equal("failures", failures(found, False), [])
        with report.check("still-in-service"):
            equal("whoami", management.get("/whoami")["name"], management.USER)
    return report.failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
