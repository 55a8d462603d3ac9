"""The checks of `interop/auth/run`: `checks.py PRIVATE-KEY AMQP-URL MANAGEMENT-URL`."""

import base64
import json
import sys
import urllib.error
import urllib.request

import pika
import pika.exceptions
from tokens import ALL, Provider

REFUSED = "Login was refused using authentication mechanism PLAIN"
NO_VHOST = "NOT_ALLOWED - access to vhost '/' refused for user 'app'"


class Broker:
    """A broker with the two addresses, and a provider that it trusts."""

    def __init__(self, private: str, amqp: str, management: str) -> None:
        self.provider, self.amqp, self.management = Provider(private), amqp, management

    def connect(self, token: str, user: str = "") -> pika.BlockingConnection:
        parameters = pika.URLParameters(self.amqp)
        parameters.credentials = pika.PlainCredentials(user, token)
        return pika.BlockingConnection(parameters)

    def whoami(self, authorization: str) -> tuple[int, dict]:
        request = urllib.request.Request(f"{self.management}/api/whoami", headers={"Authorization": authorization})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())


def refusal(action) -> str:
    """The text of the error that an action ends with."""
    try:
        action()
    except pika.exceptions.AMQPError as error:
        return getattr(error, "reply_text", str(error))
    return "no refusal"


def expect(text: str, action) -> None:
    found = refusal(action)
    assert text in found, f"{found!r} instead of {text!r}"


def wait(connection: pika.BlockingConnection) -> None:
    """Waits until the broker closes the connection."""
    while True:
        connection.process_data_events(1)


def any_name(broker: Broker) -> None:
    assert broker.connect(broker.provider.token()).is_open
    assert broker.connect(broker.provider.token(), "whoever").is_open


def refused_tokens(broker: Broker) -> None:
    provider = broker.provider
    for token in [provider.token(seconds=-1), provider.token(aud=None), provider.token(aud="x"), "x.y.z"]:
        expect(REFUSED, lambda token=token: broker.connect(token))


def scopes(broker: Broker) -> None:
    for scope in ["", "rabbitmq.read:v/*", "other.read:*/*"]:
        expect(NO_VHOST, lambda scope=scope: broker.connect(broker.provider.token(scope)))
    readers = broker.connect(broker.provider.token("rabbitmq.read:*/*"))
    text = "ACCESS_REFUSED - configure access to queue 'auth' in vhost '/' refused for user 'app'"
    expect(text, lambda: readers.channel().queue_declare("auth"))
    channel = broker.connect(broker.provider.token(f"{ALL} rabbitmq.write:*/*/a.*")).channel()
    channel.confirm_delivery()
    channel.basic_publish("amq.topic", "a.b", b"")
    text = "ACCESS_REFUSED - write access to topic 'b' in exchange 'amq.topic' in vhost '/' refused for user 'app'"
    expect(text, lambda: channel.basic_publish("amq.topic", "b", b""))


def expiry(broker: Broker) -> None:
    text = "CONNECTION_FORCED - credential expired"
    expect(text, lambda: wait(broker.connect(broker.provider.token(seconds=2))))
    renewed = broker.connect(broker.provider.token())
    renewed.update_secret(broker.provider.token(seconds=2), "check")
    expect(text, lambda: wait(renewed))


def renewal(broker: Broker) -> None:
    connection = broker.connect(broker.provider.token(seconds=2))
    connection.update_secret(broker.provider.token(), "check")
    connection.sleep(3)
    channel, cancelled = connection.channel(), []
    channel.add_on_cancel_callback(cancelled.append)
    channel.queue_declare("auth")
    channel.basic_consume("auth", lambda *_: None)
    connection.update_secret(broker.provider.token("rabbitmq.configure:*/*"), "check")
    connection.process_data_events(1)
    channel.queue_delete("auth")
    assert len(cancelled) == 1, cancelled


def refused_renewal(broker: Broker) -> None:
    provider = broker.provider
    for token, text in [
        (provider.token(sub="other"), "NOT_ALLOWED - New secret was refused by one of the backends"),
        ("nonsense", "NOT_ALLOWED - Secret update failed"),
        (provider.token("rabbitmq.read:v/*"), NO_VHOST),
        (provider.token(seconds=-1), f"{NO_VHOST}, backend rabbit_auth_backend_oauth2 returned an error: "),
    ]:
        connection = broker.connect(provider.token())
        expect(text, lambda: connection.update_secret(token, "check"))


def management(broker: Broker) -> None:
    token = broker.provider.token(f"{ALL} rabbitmq.tag:administrator")
    expected = (200, {"name": "app", "tags": ["administrator"], "is_internal_user": False})
    basic = base64.b64encode(f"whoever:{token}".encode()).decode()
    assert broker.whoami(f"Bearer {token}") == expected
    assert broker.whoami(f"Basic {basic}") == expected
    refused = {"error": "not_authorised", "reason": "Not management user"}
    assert broker.whoami(f"Bearer {broker.provider.token()}") == (401, refused)
    assert broker.whoami(f"Bearer {broker.provider.token(seconds=-1)}")[0] == 401


def main(*addresses: str) -> int:
    broker, failures = Broker(*addresses), 0
    for check in [any_name, refused_tokens, scopes, expiry, renewal, refused_renewal, management]:
        try:
            check(broker)
            print(f"ok {check.__name__}", flush=True)
        except Exception as fault:  # noqa: BLE001
            failures += 1
            print(f"FAIL {check.__name__}: {type(fault).__name__} {fault}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
