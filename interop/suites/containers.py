"""Replaces the container engine with which some suites start their brokers.

Serves the few requests that those suites send, over HTTP on a loopback port (DOCKER_HOST). Each new container is a
broker process on an empty data directory; the image is ignored. Calls of rabbitmqctl in a container go to the broker's
control script.
"""

import contextlib
import http.server
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

from suite import broker, certificates


class Containers:
    """The brokers of all containers, by number; `close` stops them. With certificates they speak TLS, too."""

    def __init__(self, command: str, made: certificates.Certificates | None) -> None:
        self.command = command
        self.certificates = made
        # State file, port of AMQP, port of AMQP over TLS.
        self.brokers: dict[str, tuple[pathlib.Path, int, int]] = {}
        self.executions: list[tuple[list[str], int | None]] = []
        self.folder = tempfile.TemporaryDirectory(prefix="interop-containers-")

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        """One request's status and body."""
        if method == "POST" and path.startswith("/images/create"):
            return 200, {}
        if method == "POST" and path == "/containers/create":
            number = str(len(self.brokers) + 1)
            folder = pathlib.Path(self.folder.name) / number
            folder.mkdir()
            tls = broker.free_port()
            if self.certificates:
                options = self.certificates.broker_options(tls)
                self.brokers[number] = *broker.describe(folder, self.command, options, (tls,)), tls
            else:
                self.brokers[number] = *broker.describe(folder, self.command), tls
            return 201, {"Id": number}
        if match := re.fullmatch(r"/exec/(\d+)/(start|json)", path):
            return self.execution(int(match[1]), match[2])
        match = re.fullmatch(r"/containers/(\d+)(?:/(\w+))?(?:\?.*)?", path)
        if match is None or match[1] not in self.brokers:
            return 404, {"message": f"{method} {path} is not served here"}
        if match[2] == "exec":
            return self.prepare(self.brokers[match[1]][0], body["Cmd"])
        return self.act(method, match[2], *self.brokers[match[1]])

    def prepare(self, state: pathlib.Path, command: list[str]) -> tuple[int, dict]:
        """Register a command for a container; it gets a number, and starts later."""
        if command[0] != "rabbitmqctl":
            return 501, {"message": f"{command[0]} is not served here"}
        self.executions.append(([f"{self.command}.ctl", str(state.parent / "data"), *command[1:]], None))
        return 201, {"Id": str(len(self.executions) - 1)}

    def execution(self, number: int, verb: str) -> tuple[int, dict]:
        """Run a registered command to its end, or return its exit code."""
        command, status = self.executions[number]
        if verb == "start":
            self.executions[number] = (command, subprocess.run(command, stdout=sys.stderr).returncode)
            return 200, {}
        return 200, {"Running": status is None, "ExitCode": status}

    def act(self, method: str, verb: str | None, state: pathlib.Path, port: int, tls: int) -> tuple[int, dict]:
        """A request about one container."""
        match method, verb:
            case "GET", "json":
                ports = {f"{inner}/tcp": [{"HostPort": str(outer)}] for inner, outer in ((5672, port), (5671, tls))}
                return 200, {"NetworkSettings": {"Ports": ports}}
            case "POST", "start":
                broker.start(state)
            case "POST", "stop":
                broker.end(state, signal.SIGTERM)
            case ("POST", "kill") | ("DELETE", None):
                broker.end(state, signal.SIGKILL)
            case _:
                return 501, {"message": f"{method} {verb} is not served here"}
        return 204, {}

    def close(self) -> None:
        for state, *_ in self.brokers.values():
            broker.end(state, signal.SIGKILL)
        self.folder.cleanup()


@contextlib.contextmanager
def serve(command: str, made: certificates.Certificates | None):
    """Serve requests in a thread; yields the value of DOCKER_HOST."""
    containers = Containers(command, made)

    class Handler(http.server.BaseHTTPRequestHandler):
        def respond(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, body = containers.answer(self.command, self.path, json.loads(sent or b"{}"))
            except SystemExit as failed:  # from lib/broker.py, when a broker does not start or end
                status, body = 500, {"message": str(failed)}
            payload = json.dumps(body).encode() if status != 204 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = respond

        def log_message(self, *_) -> None:
            """Print nothing: failures reach the suite in the answer."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        containers.close()
