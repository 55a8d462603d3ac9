"""Checks of topics and their subscriptions by queues: see ../control.txt."""

import contextlib
import time

from cmq.subscription import SubscriptionMeta
from cmq.topic import Message, TopicMeta

from report import equal
import codes
from support import account, between, bodies, fresh_queue, name, no_message, refused, take

TAGS, KEYS = 1, 2
TAGS_MAX = 5
DOTS_MAX = 15


def topic_meta(filter_type: int = TAGS) -> TopicMeta:
    described = TopicMeta()
    described.filterType = filter_type
    return described


@contextlib.contextmanager
def fresh_topic(suffix: str, filter_type: int = TAGS):
    """A new topic, deleted afterwards; its subscriptions must be gone by then."""
    topic = account().get_topic(name(suffix))
    topic.create(topic_meta(filter_type))
    try:
        yield topic
    finally:
        topic.delete()


def described(endpoint: str, protocol: str = "queue", tags=(), keys=(), **attributes) -> SubscriptionMeta:
    """The attributes of a subscription; a queue gets the simplified format only."""
    wanted = SubscriptionMeta()
    wanted.Endpoint, wanted.Protocal = endpoint, protocol
    wanted.NotifyContentFormat = "SIMPLIFIED" if protocol == "queue" else "JSON"
    wanted.FilterTag, wanted.bindingKey = list(tags), list(keys)
    for attribute, value in attributes.items():
        assert hasattr(wanted, attribute), attribute
        setattr(wanted, attribute, value)
    return wanted


@contextlib.contextmanager
def subscribed(topic, suffix: str, wanted: SubscriptionMeta):
    """A subscription, deleted afterwards."""
    subscription = account().get_subscription(topic.topicName, name(suffix))
    subscription.create(wanted)
    try:
        yield subscription
    finally:
        subscription.delete()


@contextlib.contextmanager
def subscribed_queue(topic, suffix: str, tags=(), keys=()):
    """A queue that is subscribed with these tags or keys."""
    with fresh_queue(suffix) as queue:
        with subscribed(topic, suffix, described(queue.queue_name, tags=tags, keys=keys)):
            yield queue


def topic_life_cycle():
    client = account()
    topic = client.get_topic(name("life"))
    before = int(time.time())
    topic.create(topic_meta(KEYS))
    refused(*codes.TOPIC_EXISTS, lambda: topic.create(topic_meta(KEYS)))
    total, listed, _ = client.list_topic(searchWord=name("life"))
    equal("listed", (total, [entry["topicName"] for entry in listed]), (1, [topic.topicName]))
    assert listed[0]["topicId"].startswith("topic-"), listed
    seen = topic.get_attributes()
    equal(
        "attributes",
        (seen.filterType, seen.maxMsgSize, seen.msgRetentionSeconds, seen.msgCount),
        (KEYS, 65536, 86400, 0),
    )
    between("createTime", before, seen.createTime, time.time())
    changed = topic_meta()
    changed.maxMsgSize = 2048
    topic.set_attributes(changed)
    seen = topic.get_attributes()
    equal("changed", (seen.maxMsgSize, seen.filterType), (2048, KEYS))
    with subscribed_queue(topic, "life-sub", keys=["#"]):
        refused(*codes.TOPIC_IN_USE, topic.delete)
        refused(*codes.MESSAGE_TOO_LARGE, lambda: topic.publish_message(Message("x" * 2049), "a"))
    topic.delete()
    refused(*codes.NO_SUCH_TOPIC, topic.get_attributes)
    refused(*codes.NO_SUCH_TOPIC, lambda: topic.publish_message(Message("lost"), "a"))
    refused(*codes.TOPIC_NAME_FORMAT, lambda: client.get_topic("with.dot").create(topic_meta()))


def topic_without_subscription():
    with fresh_topic("lonely") as topic:
        refused(*codes.NO_SUBSCRIPTION, lambda: topic.publish_message(Message("lost")))
        with subscribed_queue(topic, "picky", tags=["red"]) as queue:
            refused(*codes.NO_MATCH, lambda: topic.publish_message(Message("lost", ["green"])))
            refused(*codes.NO_MATCH, lambda: topic.publish_message(Message("lost")))
            no_message(queue)


def topic_tags():
    with (
        fresh_topic("tags") as topic,
        subscribed_queue(topic, "any") as anything,
        subscribed_queue(topic, "warm", tags=["red", "orange"]) as warm,
    ):
        ids = [
            topic.publish_message(Message(body, tags)).msgId
            for body, tags in (
                ("both", ["red", "blue"]),
                ("cold", ["blue"]),
                ("plain", []),
                ("once", ["red", "orange"]),
            )
        ]
        got = take(anything, 4)
        equal("without a filter", bodies(got), ["both", "cold", "plain", "once"])
        equal("ids", [message.msgId for message in got], ids)
        equal("with a filter", bodies(take(warm, 2)), ["both", "once"])
        no_message(warm)
        many = [f"tag{i}" for i in range(TAGS_MAX + 1)]
        refused(*codes.TOO_MANY_MESSAGE_TAGS, lambda: topic.publish_message(Message("many", many)))


def topic_keys():
    with (
        fresh_topic("keys", KEYS) as topic,
        subscribed_queue(topic, "star", keys=["order.*.paid", "refund"]) as star,
        subscribed_queue(topic, "hash", keys=["order.#"]) as hashed,
    ):
        for key in ("order.cn.paid", "order", "refund", "order.cn.sent.paid"):
            topic.publish_message(Message(key), key)
        equal("by star", bodies(take(star, 2)), ["order.cn.paid", "refund"])
        equal("by hash", bodies(take(hashed, 3)), ["order.cn.paid", "order", "order.cn.sent.paid"])
        no_message(star)
        no_message(hashed)
        refused(*codes.NO_MATCH, lambda: topic.publish_message(Message("lost"), "elsewhere"))
        refused(*codes.NO_ROUTING_KEY, lambda: topic.publish_message(Message("keyless")))
        dots = "." * (DOTS_MAX + 1)
        refused(*codes.TOO_MANY_DELIMITERS, lambda: topic.publish_message(Message("dots"), dots))
        bare = account().get_subscription(topic.topicName, name("bare"))
        refused(*codes.NO_BINDING_KEY, lambda: bare.create(described(star.queue_name)))


def topic_batch():
    with fresh_topic("many") as topic, subscribed_queue(topic, "batch", tags=["t"]) as queue:
        texts = [f"number {i}" for i in range(16)]
        sent = topic.batch_publish_message([Message(text) for text in texts], ["t"])
        got = take(queue, 16)
        equal("bodies", bodies(got), texts)
        equal("ids", [message.msgId for message in got], [message.msgId for message in sent])
        refused(*codes.EMPTY_BODY, lambda: topic.batch_publish_message([Message("good"), Message("")], ["t"]))
        no_message(queue)


def subscription_attributes():
    with fresh_topic("described") as topic, fresh_queue("described") as queue:
        wanted = described(queue.queue_name, tags=["one", "two"])
        with subscribed(topic, "described", wanted) as subscription:
            refused(*codes.SUBSCRIPTION_EXISTS, lambda: subscription.create(wanted))
            seen = subscription.get_attributes()
            equal(
                "attributes",
                (sorted(seen.FilterTag), seen.NotifyContentFormat, seen.bindingKey),
                (["one", "two"], "SIMPLIFIED", []),
            )
            total, listed, _ = topic.list_subscription()
            equal(
                "listed",
                (total, [(entry["subscriptionName"], entry["protocol"], entry["endpoint"]) for entry in listed]),
                (1, [(subscription.subscriptionName, "queue", queue.queue_name)]),
            )
            changed = described(queue.queue_name, tags=["three"], NotifyStrategy="BACKOFF_RETRY")
            subscription.set_attributes(changed)
            seen = subscription.get_attributes()
            equal("changed", (seen.FilterTag, seen.NotifyStrategy), (["three"], "BACKOFF_RETRY"))
            topic.publish_message(Message("by the new tag", ["three"]))
            equal("bodies", bodies(take(queue, 1)), ["by the new tag"])
            subscription.clearFilterTags()
            equal("cleared", subscription.get_attributes().FilterTag, [])
            topic.publish_message(Message("by no tag"))
            equal("bodies", bodies(take(queue, 1)), ["by no tag"])
        refused(*codes.NO_SUCH_TOPIC, lambda: account().get_topic(name("nowhere")).list_subscription())
        gone = account().get_subscription(topic.topicName, name("described"))
        refused(4440, (10100, 10600), gone.get_attributes)


def subscription_refused():
    with fresh_topic("refusing") as topic:
        target = "http://127.0.0.1:9/push"
        subscription = account().get_subscription(topic.topicName, name("refused"))
        for wanted, code, module in (
            (described(target, "smtp"), *codes.UNDEFINED_PROTOCOL),
            (described("ftp://127.0.0.1/push", "http"), *codes.ENDPOINT_FORMAT),
            (described("http://127.0.0.1/a push", "http"), *codes.BLANK_IN_ENDPOINT),
            (described(target, "http", NotifyStrategy="NEVER"), *codes.UNDEFINED_STRATEGY),
            (described(target, "http", NotifyContentFormat="XML"), *codes.UNDEFINED_FORMAT),
            (described(target, "http", tags=[f"tag{i}" for i in range(TAGS_MAX + 1)]), 4000, (10490, 10670)),
        ):
            refused(code, module, lambda wanted=wanted: subscription.create(wanted))
        equal("subscriptions", topic.list_subscription()[0], 0)
