"""Checks of pushes to HTTP endpoints: see ../control.txt.

The broker runs with loopback endpoints allowed and with the waits between pushes scaled down by configuration.
"""

import json
import time

from cmq.topic import Message

from push_target import NO_CONTENT, UNAVAILABLE, PushTarget, free_port
from report import equal, eventually, require_restart, restart_broker
from support import PUSH_CLOCK, account, between, name
from topics import described, fresh_topic, subscribed, topic_meta

# The longest delay of a push on a busy machine, in seconds.
LATENESS = 1.5
BACKOFF_RETRIES = 3
BACKOFF_WAIT = (10.0, 20.0)
DECAY_WAITS = (1, 2, 4, 8, 16)


def pushes_to(target: PushTarget, count: int, seconds: float = 10.0):
    """Wait for `count` pushes; returns them."""
    return eventually(f"{count} pushes", lambda: len(target.pushes) >= count and target.pushes, seconds)[:count]


def gaps(pushes) -> list[float]:
    """Seconds between one push and the next."""
    return [later.at - earlier.at for earlier, later in zip(pushes, pushes[1:])]


def push_json():
    with PushTarget() as target, fresh_topic("push-json") as topic:
        with subscribed(topic, "json", described(target.url("/in?x=1"), "http")) as subscription:
            before = int(time.time())
            sent = topic.publish_message(Message('say "你好"', ["a", "b"]))
            [push] = pushes_to(target, 1)
            equal("path", push.path, "/in?x=1")
            equal("content type", push.headers["content-type"], "text/plain")
            equal("agent", push.headers["user-agent"], "Qcloud Notification Service Agent")
            equal("message id", push.headers["x-cmq-message-id"], sent.msgId)
            equal("tags", push.headers["x-cmq-message-tag"], "a, b")
            assert push.headers["x-cmq-request-id"], push.headers
            said = json.loads(push.body)
            between("publishTime", before, said.pop("publishTime"), time.time())
            assert "TopicOwner" in said, said
            del said["TopicOwner"]
            equal(
                "body",
                said,
                {
                    "topicName": topic.topicName,
                    "subscriptionName": subscription.subscriptionName,
                    "msgId": sent.msgId,
                    "msgBody": 'say "你好"',
                },
            )
            time.sleep(LATENESS)
            equal("pushes", len(target.pushes), 1)


def push_simplified():
    with PushTarget() as target, fresh_topic("push-plain") as topic:
        wanted = described(target.url(), "http", tags=["t"], NotifyContentFormat="SIMPLIFIED")
        with subscribed(topic, "plain", wanted):
            topic.batch_publish_message([Message("one 一"), Message("two\n")], ["t"])
            got = pushes_to(target, 2)
            equal("bodies", sorted(push.body for push in got), ["one 一", "two\n"])


def push_backoff_retry():
    def answer(push) -> int:
        return UNAVAILABLE if push.body == "refused" else NO_CONTENT

    with PushTarget(answer) as target, fresh_topic("backoff") as topic:
        wanted = described(
            target.url(), "http", NotifyContentFormat="SIMPLIFIED", NotifyStrategy="BACKOFF_RETRY"
        )
        with subscribed(topic, "backoff", wanted):
            for body in ("refused", "taken"):
                topic.publish_message(Message(body))
            got = pushes_to(target, BACKOFF_RETRIES + 2)
            # One message after another: each is given up before the next is pushed.
            equal("order", [push.body for push in got], ["refused"] * (BACKOFF_RETRIES + 1) + ["taken"])
            for gap in gaps(got[: BACKOFF_RETRIES + 1]):
                low, high = (wait * PUSH_CLOCK for wait in BACKOFF_WAIT)
                between("seconds between pushes", low * 0.95, gap, high + LATENESS)
            time.sleep(BACKOFF_WAIT[1] * PUSH_CLOCK + LATENESS)
            equal("pushes in the end", len(target.pushes), BACKOFF_RETRIES + 2)


def push_exponential_decay_retry():
    failures = len(DECAY_WAITS)

    def answer(_) -> int:
        return UNAVAILABLE if len(target.pushes) <= failures else NO_CONTENT

    with PushTarget(answer) as target, fresh_topic("decay") as topic:
        wanted = described(
            target.url(), "http", NotifyContentFormat="SIMPLIFIED", NotifyStrategy="EXPONENTIAL_DECAY_RETRY"
        )
        with subscribed(topic, "decay", wanted):
            topic.publish_message(Message("insist"))
            got = pushes_to(target, failures + 1)
            for wait, gap in zip(DECAY_WAITS, gaps(got), strict=True):
                between(f"seconds after {wait}", wait * PUSH_CLOCK * 0.95, gap, wait * PUSH_CLOCK + LATENESS)
            time.sleep(LATENESS)
            equal("pushes in the end", len(target.pushes), failures + 1)


def push_slow_endpoint():
    def dawdle(_) -> int:
        time.sleep(3)
        return NO_CONTENT

    with PushTarget(dawdle) as slow, PushTarget() as quick, fresh_topic("slow") as topic:
        with (
            subscribed(topic, "slow", described(slow.url(), "http")),
            subscribed(topic, "quick", described(quick.url(), "http")),
        ):
            started = time.monotonic()
            for i in range(20):
                topic.publish_message(Message(f"number {i}"))
            pushes_to(quick, 20)
            between("seconds for the quick endpoint", 0, time.monotonic() - started, 2.5)
            equal("answered by the slow one", len(slow.pushes) > 0, True)


def push_after_restart():
    require_restart()
    port = free_port()
    topic = account().get_topic(name("outage"))
    topic.create(topic_meta())
    endpoint = f"http://127.0.0.1:{port}/"
    subscription = account().get_subscription(topic.topicName, name("outage"))
    subscription.create(described(endpoint, "http", NotifyContentFormat="SIMPLIFIED"))
    with PushTarget(lambda _: UNAVAILABLE, port=port) as target:
        sent = topic.publish_message(Message("pending"))
        pushes_to(target, 1)
    restart_broker()
    with PushTarget(port=port) as target:
        [push] = pushes_to(target, 1)
        equal("body and id", (push.body, push.headers["x-cmq-message-id"]), ("pending", sent.msgId))
        time.sleep(LATENESS)
        equal("pushes", len(target.pushes), 1)
    account().get_subscription(topic.topicName, name("outage")).delete()
    account().get_topic(topic.topicName).delete()
