"""Stands in for the container engine that some suites start their brokers with.

Speaks the few requests those suites send, over HTTP on a loopback port (DOCKER_HOST), and answers each
new container with a broker process of its own on an empty data directory. Images are not looked at.
"""

import contextlib
import http.server
import json
import pathlib
import re
import signal
import tempfile
import threading

from suite import broker


class Containers:
    """The brokers that were asked for, by number; every one of them is ended by `close`."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.brokers: dict[str, tuple[pathlib.Path, int]] = {}
        self.folder = tempfile.TemporaryDirectory(prefix="interop-containers-")

    def answer(self, method: str, path: str) -> tuple[int, dict]:
        """One request's status and body."""
        if method == "POST" and path.startswith("/images/create"):
            return 200, {}
        if method == "POST" and path == "/containers/create":
            number = str(len(self.brokers) + 1)
            folder = pathlib.Path(self.folder.name) / number
            folder.mkdir()
            self.brokers[number] = broker.describe(folder, self.command)
            return 201, {"Id": number}
        match = re.fullmatch(r"/containers/(\d+)(?:/(\w+))?(?:\?.*)?", path)
        if match is None or match[1] not in self.brokers:
            return 404, {"message": f"{method} {path} is not served here"}
        return self.act(method, match[2], *self.brokers[match[1]])

    def act(self, method: str, verb: str | None, state: pathlib.Path, port: int) -> tuple[int, dict]:
        """A request about one container."""
        match method, verb:
            case "GET", "json":
                # TLS is not offered; suites are told to leave it out, but read its port.
                ports = {f"{inner}/tcp": [{"HostPort": str(outer)}] for inner, outer in ((5672, port), (5671, 1))}
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
        for state, _ in self.brokers.values():
            broker.end(state, signal.SIGKILL)
        self.folder.cleanup()


@contextlib.contextmanager
def serve(command: str):
    """Serve requests in a thread; yields the value for DOCKER_HOST."""
    containers = Containers(command)

    class Handler(http.server.BaseHTTPRequestHandler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, body = containers.answer(self.command, self.path)
            except SystemExit as failed:  # how lib/broker.py says that a broker did not start or end
                status, body = 500, {"message": str(failed)}
            payload = json.dumps(body).encode() if status != 204 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = respond

        def log_message(self, *_) -> None:
            """Requests are not worth a line; what fails reaches the suite as its answer."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        containers.close()
