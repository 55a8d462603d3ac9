"""Orders go to three systems, and one of them is down for a while.

A shop publishes every order to a topic, with a key such as `order.fr.paid`; half of them by HTTP, half by AMQP, where
the topic is an exchange. Three systems subscribe:

- the warehouse: a queue, read by HTTP, with the orders that are paid (`order.*.paid`);
- the analysts: a queue, read by AMQP, with every order (`order.#`);
- a partner in France: a web hook, to which the broker pushes the French orders (`order.fr.*`).

The partner's server is off when the orders come, then answers that it is busy, then accepts them. The other systems are
not affected, and the partner gets every order.
"""

import itertools
import json
import time

from cmq.subscription import SubscriptionMeta
from cmq.topic import Message, TopicMeta
from support import DURABLE, account, amqp, check, create_queue, delete, eventually, name, receive, say

import pathlib
import sys
from push_target import NO_CONTENT, UNAVAILABLE, PushTarget, free_port

ORDERS = 60
COUNTRIES = ("fr", "de", "it")
STATES = ("paid", "open")
BY_BINDING_KEY = 2
OUTAGE_SECONDS = 1.5
BUSY_ANSWERS = 3


def subscribe(topic_name: str, subscriber: str, protocol: str, endpoint: str, keys: list[str]):
    """Subscribe an endpoint to these keys."""
    meta = SubscriptionMeta()
    meta.Protocal, meta.Endpoint, meta.bindingKey = protocol, endpoint, keys
    meta.NotifyContentFormat = "SIMPLIFIED"
    meta.NotifyStrategy = "EXPONENTIAL_DECAY_RETRY"
    subscription = account().get_subscription(topic_name, subscriber)
    subscription.create(meta)
    return subscription


def publish(topic_name: str, orders: list[dict]) -> None:
    """Publish one half by HTTP, the other by AMQP."""
    topic = account().get_topic(topic_name)
    connection = amqp()
    channel = connection.channel()
    channel.confirm_delivery()
    for order in orders:
        key, body = f"order.{order['country']}.{order['state']}", json.dumps(order)
        if order["id"] % 2:
            topic.publish_message(Message(body), key)
        else:
            channel.basic_publish(topic_name, key, body, DURABLE, mandatory=True)
    connection.close()


def received_by_http(queue_name: str, count: int) -> list[int]:
    queue, seen = account().get_queue(queue_name), []
    while len(seen) < count and (messages := receive(queue, 2)):
        seen += [json.loads(message.msgBody)["id"] for message in messages]
        delete(queue, messages)
    return seen


def received_by_amqp(queue_name: str, count: int) -> list[int]:
    connection = amqp()
    channel, seen = connection.channel(), []
    for method, _, body in channel.consume(queue_name, inactivity_timeout=2):
        if method is None:
            break
        seen.append(json.loads(body)["id"])
        channel.basic_ack(method.delivery_tag)
        if len(seen) == count:
            break
    connection.close()
    return seen


def main() -> None:
    topic_name, warehouse, analysts = name("orders"), name("warehouse"), name("analysts")
    meta = TopicMeta()
    meta.filterType = BY_BINDING_KEY
    account().get_topic(topic_name).create(meta)
    create_queue(warehouse)
    create_queue(analysts)
    port = free_port()
    subscriptions = [
        subscribe(topic_name, "warehouse", "queue", warehouse, ["order.*.paid"]),
        subscribe(topic_name, "analysts", "queue", analysts, ["order.#"]),
        subscribe(topic_name, "partner", "http", f"http://127.0.0.1:{port}/orders", ["order.fr.*"]),
    ]
    kinds = itertools.cycle(itertools.product(COUNTRIES, STATES))
    orders = [{"id": i, "country": country, "state": state} for i, (country, state) in zip(range(ORDERS), kinds)]
    paid = [order["id"] for order in orders if order["state"] == "paid"]
    french = [order["id"] for order in orders if order["country"] == "fr"]

    started = time.monotonic()
    publish(topic_name, orders)
    say(f"{ORDERS} orders published; the partner's server is off")
    check("the warehouse has the paid orders, in order", received_by_http(warehouse, len(paid)) == paid)
    everything = [order["id"] for order in orders]
    check("the analysts have all orders, in order", received_by_amqp(analysts, ORDERS) == everything)
    time.sleep(max(0.0, started + OUTAGE_SECONDS - time.monotonic()))

    def answer(_) -> int:
        return UNAVAILABLE if len(partner.pushes) <= BUSY_ANSWERS else NO_CONTENT

    with PushTarget(answer, port) as partner:
        say("the partner's server is on, and busy")

        def taken() -> list[int]:
            return sorted(json.loads(push.body)["id"] for push in partner.taken)

        eventually("all pushes", lambda: len(taken()) >= len(french), 30)
        refused = len(partner.pushes) - len(partner.taken)
        check(f"{refused} pushes were refused while it was busy", refused >= BUSY_ANSWERS)
        check("the partner has its orders, each of them once", taken() == french)
    for subscription in subscriptions:
        subscription.delete()
    account().get_topic(topic_name).delete()
    for queue_name in (warehouse, analysts):
        account().get_queue(queue_name).delete()


if __name__ == "__main__":
    main()
