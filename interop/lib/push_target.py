"""An HTTP server that a topic pushes to: it records every push and answers with a status that the check chooses.

Independent of any broker and client library; the Python runner and the scenarios use it.
"""

import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable

NO_CONTENT = 204
UNAVAILABLE = 503


def free_port() -> int:
    """A free loopback port, for an endpoint that is down at first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Push:
    """One request as it arrived; `at` is in monotonic seconds, header names are in lower case."""

    at: float
    path: str
    headers: dict[str, str]
    body: str


class PushTarget:
    """Listens on a loopback port inside its `with` block; `answer(push)` returns the status to answer with."""

    def __init__(self, answer: Callable[[Push], int] = lambda push: NO_CONTENT, port: int = 0) -> None:
        self.answer = answer
        self._pushes: list[Push] = []
        self._taken: list[Push] = []
        self._lock = threading.Lock()
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length).decode()
                headers = {key.lower(): value for key, value in self.headers.items()}
                push = Push(time.monotonic(), self.path, headers, body)
                with target._lock:
                    target._pushes.append(push)
                status = target.answer(push)
                if 200 <= status < 300:
                    with target._lock:
                        target._taken.append(push)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                """Prints nothing: the checks print what they need."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self) -> "PushTarget":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/push") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def pushes(self) -> list[Push]:
        """All pushes so far, in order of arrival."""
        with self._lock:
            return list(self._pushes)

    @property
    def taken(self) -> list[Push]:
        """The pushes that were answered with success."""
        with self._lock:
            return list(self._taken)
