"""Clients of CMQ's HTTP API: they send, receive with a lease, and delete by receipt handle, some only after a while."""

import base64
import hashlib
import hmac
import http.client
import json
import random
import time
import urllib.parse

import history as h
from history import History
from layout import LEASE_S
from leveret import CMQ_PORT
from nodes import Node, Set
from workers import Worker, body, message_of

QUEUE = "leased"
PATH = "/v2/index.php"
NO_MESSAGE, ANSWER_S = 7000, 6.0
# A lease that ends within this time may have ended for the broker.
LATE_S = 1.0


class Refused(OSError):
    """The API answered with an error."""

    def __init__(self, code: int, text: str):
        super().__init__(f"{code} {text}")
        self.code = code


class Api:
    """Signed requests to one node."""

    def __init__(self, node: Node, key: tuple[str, str]):
        self.host, self.key = f"{node.address}:{CMQ_PORT}", key

    def call(self, action: str, **parameters) -> dict:
        secret_id, secret_key = self.key
        sent = {"Action": action, "Nonce": random.randrange(1 << 31), "Timestamp": int(time.time()), "SecretId": secret_id,
                "SignatureMethod": "HmacSHA256", **parameters}  # fmt: skip
        text = "POST" + self.host + PATH + "?" + "&".join(f"{name}={sent[name]}" for name in sorted(sent))
        digest = hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).digest()
        sent["Signature"] = base64.b64encode(digest).decode()
        connection = http.client.HTTPConnection(self.host, timeout=ANSWER_S)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", PATH, urllib.parse.urlencode(sent), headers)
            answer = json.loads(connection.getresponse().read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if answer.get("code") != 0:
            raise Refused(int(answer.get("code", -1)), str(answer.get("message")))
        return answer


def make_key(brokers: Set) -> tuple[str, str]:
    """A key of the user guest, and the queue."""
    shown = brokers.wait_leader().ctl("add_secret_key", "guest").split()
    key = shown[-2], shown[-1]
    Api(brokers.wait_leader(), key).call("CreateQueue", queueName=QUEUE, visibilityTimeout=LEASE_S, pollingWaitSeconds=0)
    return key


class Sender(Worker):
    """Sends; an answer is a confirm."""

    def __init__(self, *rest, key: tuple[str, str], rate: float = 20.0):
        super().__init__(*rest)
        self.key, self.rate = key, rate

    def attempt(self, session: str) -> None:
        api, number = Api(self.brokers.entrance(self.chance), self.key), 0
        while not self.stopping.wait(1 / self.rate):
            number += 1
            message = f"{session} {number}"
            self.history.add(h.PUBLISH, session, QUEUE, message)
            api.call("SendMessage", queueName=QUEUE, msgBody=body(message, 300).decode())
            self.history.add(h.CONFIRM, session, QUEUE, message)


class Receiver(Worker):
    """Receives and deletes; keeps some messages for most of their lease, so that the leader may change meanwhile."""

    def __init__(self, name: str, brokers: Set, history: History, seed: str, key: tuple[str, str]):
        super().__init__(name, brokers, history, seed)
        self.key = key
        # Session, message, handle, begin of the lease, time to delete it.
        self.kept: list[tuple[str, str, str, float, float]] = []

    def attempt(self, session: str) -> None:
        while not self.stopping.is_set():
            api = Api(self.brokers.entrance(self.chance), self.key)
            self._delete_due(api)
            self._receive(api, session)

    def _receive(self, api: Api, session: str) -> None:
        asked = time.monotonic()
        try:
            found = api.call("BatchReceiveMessage", queueName=QUEUE, numOfMsg=16, pollingWaitSeconds=0)
        except Refused as refused:
            if refused.code != NO_MESSAGE:
                raise
            self.stopping.wait(0.1)
            return
        # The lease begins after the request and not before; so much of it is certain.
        late_ms = int((time.monotonic() - asked) * 1000)
        for one in found["msgInfoList"]:
            message = message_of(one["msgBody"].encode())
            if message is None:
                self.history.add(h.CORRUPT, session, QUEUE, repr(one["msgBody"][:60]))
                continue
            self.history.add(h.DELIVER, session, QUEUE, message, flag=int(one["dequeueCount"]) > 1, value=LEASE_S * 1000 - late_ms)
            wait = self.chance.uniform(0, LEASE_S - LATE_S) if self.chance.random() < 0.2 else 0.0
            self.kept.append((session, message, one["receiptHandle"], asked, time.monotonic() + wait))

    def _delete_due(self, api: Api) -> None:
        now = time.monotonic()
        for one in [one for one in self.kept if one[4] <= now]:
            session, message, handle, began, _ = one
            self.kept.remove(one)
            self.history.add(h.ACK, session, QUEUE, message)
            try:
                api.call("DeleteMessage", queueName=QUEUE, receiptHandle=handle)
            except Refused as refused:
                # After the lease, or when the answer is that nothing serves, nothing is known.
                if is_about_handle(refused) and time.monotonic() < began + LEASE_S - LATE_S:
                    self.history.add(h.HANDLE_REFUSED, session, QUEUE, f"{message!r}: {refused}")
                elif not is_about_handle(refused):
                    raise
            else:
                self.history.add(h.SETTLED, session, QUEUE, message)


def is_about_handle(refused: Refused) -> bool:
    """Whether the API says that the handle is none, or no longer one."""
    return refused.code in (4000, 4430) and "andle" in str(refused)
