"""For the runners of management clients: the broker's addresses, a plain HTTP client, and virtual hosts and connections.

Independent of the clients under test; the environment names a broker whose administrator is guest/guest.
"""

import base64
import contextlib
import json
import os
import urllib.error
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

URL = os.environ.get("MANAGEMENT_URL", "http://127.0.0.1:15672")
METRICS_URL = os.environ.get("METRICS_URL", "http://127.0.0.1:15692")
AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
USER, PASSWORD = "guest", "guest"
HOST, PORT = urlsplit(URL).hostname, urlsplit(URL).port
REQUEST_SECONDS = 30


class Answer(NamedTuple):
    """Status, headers and body of an answer; the body is what its JSON says, or text."""

    status: int
    headers: Any
    body: Any


def part(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def request(method: str, path: str, body: Any = None, user: str = USER, password: str = PASSWORD) -> Answer:
    """Send one request to a path under `/api` and return the answer, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{URL}/api{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=REQUEST_SECONDS) as answer:
            return _answer(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return _answer(refused)


def _answer(answer) -> Answer:
    text = answer.read().decode()
    try:
        return Answer(answer.status, answer.headers, json.loads(text))
    except ValueError:
        return Answer(answer.status, answer.headers, text)


def done(method: str, path: str, body: Any = None) -> Any:
    """Send a request that must succeed; returns the body."""
    answer = request(method, path, body)
    if not 200 <= answer.status < 300:
        raise AssertionError(f"{method} {path}: {answer.status} {answer.body}")
    return answer.body


def get(path: str) -> Any:
    return done("GET", path)


def metrics(path: str = "/metrics") -> str:
    """The text of the metrics under a path."""
    with urllib.request.urlopen(METRICS_URL + path, timeout=REQUEST_SECONDS) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def vhost(client: str):
    """A virtual host that no other run uses, open to guest, and deleted afterwards; yields its name."""
    # rabbitmqadmin v1 sends a space in its -V as a plus sign, which RabbitMQ takes as such.
    name = f"interop/{client}.{os.getpid()}"
    done("PUT", f"/vhosts/{part(name)}")
    done("PUT", f"/permissions/{part(name)}/{USER}", {"configure": ".*", "write": ".*", "read": ".*"})
    try:
        yield name
    finally:
        request("DELETE", f"/vhosts/{part(name)}")


def amqp_url(vhost_name: str) -> str:
    """The broker's AMQP URL with another virtual host."""
    return urlsplit(AMQP_URL)._replace(path=f"/{part(vhost_name)}").geturl()


@contextlib.contextmanager
def connection(vhost_name: str, name: str):
    """An open AMQP connection with a name that clients give; yields pika's connection."""
    import pika

    parameters = pika.URLParameters(amqp_url(vhost_name))
    parameters.client_properties = {"connection_name": name}
    # Checks read from it only now and then.
    parameters.heartbeat = 0
    opened = pika.BlockingConnection(parameters)
    try:
        yield opened
    finally:
        with contextlib.suppress(pika.exceptions.AMQPError):
            opened.close()


def connection_named(name: str) -> dict[str, Any] | None:
    """What the API lists for the connection that its client gave this name."""
    for listed in get("/connections"):
        if listed.get("client_properties", {}).get("connection_name") == name:
            return listed
    return None


def expect_close(opened) -> None:
    """Read what the broker has sent to pika's connection, which must be that it closes it as an operator asked."""
    import pika

    try:
        opened.process_data_events(time_limit=REQUEST_SECONDS)
        opened.channel()
    except pika.exceptions.ConnectionClosed as closed:
        if closed.reply_code == 320 and closed.reply_text.startswith("CONNECTION_FORCED"):
            return
        raise
    raise AssertionError("the connection is still open")
