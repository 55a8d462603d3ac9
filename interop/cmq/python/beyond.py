"""Checks with parameters that the SDK can send only raw, and of the AMQP side of queues and topics: see checks.txt."""

import json
import threading
import time

import pika
from cmq.queue import Message

from report import URL as AMQP_URL
from report import equal, eventually
import codes
from support import POWERLESS_KEY, account, bodies, fresh_queue, meta, name, no_message, refused, take
from topics import KEYS, described, fresh_topic, subscribed_queue

WAITERS = 20


def raw(client, action: str, **parameters) -> dict:
    """Send one action by the SDK's own request; parameters override the SDK's."""
    answer = client.cmq_client.request(action, parameters)
    client.cmq_client.check_status(answer)
    return json.loads(answer.data)


def timestamp_too_old():
    client = account()
    hour_ago = int(time.time()) - 3600
    refused(*codes.AUTHENTICATION, lambda: raw(client, "ListQueue", Timestamp=hour_ago))
    refused(*codes.AUTHENTICATION, lambda: raw(client, "ListQueue", Timestamp=hour_ago + 7200))
    raw(client, "ListQueue")


def batch_too_many():
    with fresh_queue("seventeen") as queue:
        refused(*codes.BATCH_SIZE, lambda: queue.batch_send_message([Message(str(i)) for i in range(17)]))
        refused(*codes.BATCH_SIZE, lambda: queue.batch_delete_message([str(i) for i in range(17)]))
        no_message(queue)


def batch_numbered_with_gap():
    with fresh_queue("gap") as queue:
        client = account()
        gap = {"queueName": queue.queue_name, "msgBody.1": "a", "msgBody.3": "c"}
        refused(*codes.NOT_CONSECUTIVE, lambda: raw(client, "BatchSendMessage", **gap))
        word = {"queueName": queue.queue_name, "msgBody.one": "a"}
        refused(*codes.KEY_FORMAT, lambda: raw(client, "BatchSendMessage", **word))
        from_zero = {"queueName": queue.queue_name, "msgBody.0": "a", "msgBody.1": "b"}
        raw(client, "BatchSendMessage", **from_zero)
        equal("bodies", bodies(take(queue, 2)), ["a", "b"])


def action_unknown():
    error = refused(4000, (10280, 10430), lambda: raw(account(), "MakeTea"))
    assert "MakeTea" in error.message, error.message


def parameter_missing():
    with fresh_queue("missing") as queue:
        client = account()
        lacking = (10010, 10320, 10390, 10400)
        refused(4000, lacking, lambda: raw(client, "SendMessage", queueName=queue.queue_name))
        refused(4000, lacking, lambda: raw(client, "ReceiveMessage"))
        refused(4000, lacking, lambda: raw(client, "BatchReceiveMessage", queueName=queue.queue_name))
        refused(*codes.WRONG_TYPE, lambda: raw(client, "BatchReceiveMessage", queueName=queue.queue_name, numOfMsg="two"))


def permission_refused():
    with fresh_queue("forbidden") as queue:
        theirs = account(POWERLESS_KEY).get_queue(queue.queue_name)
        refused(*codes.NOT_ALLOWED, lambda: theirs.send_message(Message("no")))
        refused(*codes.NOT_ALLOWED, lambda: theirs.receive_message(0))
        refused(*codes.NOT_ALLOWED, lambda: account(POWERLESS_KEY).get_queue(name("theirs")).create(meta()))
        no_message(queue)


def endpoint_forbidden():
    with fresh_topic("inside") as topic:
        subscription = account().get_subscription(topic.topicName, name("inside"))
        # The harness allows 127.0.0.0/8 only, and no other private or link-local range.
        for inside in ("http://10.1.2.3/push", "http://169.254.169.254/latest/meta-data", "http://192.168.0.1/"):
            refused(*codes.ILLEGAL_ENDPOINT, lambda inside=inside: subscription.create(described(inside, "http")))


def list_in_pages():
    client = account()
    names = [name(f"page-{i}") for i in range(5)]
    for queue_name in names:
        client.get_queue(queue_name).create(meta())
    listed = []
    for offset in (0, 2, 4):
        total, page, following = client.list_queue(searchWord=name("page-"), limit=2, offset=offset)
        equal("total", total, 5)
        listed += [entry["queueName"] for entry in page]
    equal("end of the pages", following, "")
    equal("listed", sorted(listed), names)
    for queue_name in names:
        client.get_queue(queue_name).delete()


def many_waiters_one_message():
    with fresh_queue("waiters") as queue:
        accounts = [account() for _ in range(WAITERS)]
        got = []

        def wait(waiter) -> None:
            try:
                got.append(waiter.get_queue(queue.queue_name).receive_message(3).msgBody)
            except Exception as error:
                got.append(getattr(error, "code", error))

        def all_have_asked() -> bool:
            return all(waiter.cmq_client.http.conn.request_length for waiter in accounts)

        threads = [threading.Thread(target=wait, args=(waiter,)) for waiter in accounts]
        for thread in threads:
            thread.start()
        eventually("the requests of all waiters", all_have_asked)
        queue.send_message(Message("for one of you"))
        for thread in threads:
            thread.join()
        equal("answers", sorted(got, key=str), sorted([7000] * (WAITERS - 1) + ["for one of you"], key=str))


def amqp_and_http_one_queue():
    connection = pika.BlockingConnection(pika.URLParameters(AMQP_URL))
    channel = connection.channel()
    channel.confirm_delivery()
    with fresh_queue("shared") as queue:
        channel.basic_publish("", queue.queue_name, b"by AMQP", pika.BasicProperties(delivery_mode=2))
        held = queue.receive_message(3)
        equal("body by HTTP", held.msgBody, "by AMQP")
        equal("AMQP gets what HTTP holds", channel.basic_get(queue.queue_name)[0], None)
        queue.delete_message(held.receiptHandle)

        sent = queue.send_message(Message("by HTTP"))
        method, properties, body = eventually("a message", lambda: (got := channel.basic_get(queue.queue_name))[0] and got)
        equal("body by AMQP", (body, properties.message_id), (b"by HTTP", sent.msgId))
        no_message(queue)
        channel.basic_nack(method.delivery_tag)
        again = queue.receive_message(3)
        equal("given back", (again.msgBody, again.dequeueCount), ("by HTTP", 2))
        queue.delete_message(again.receiptHandle)
    connection.close()


def amqp_to_topic():
    connection = pika.BlockingConnection(pika.URLParameters(AMQP_URL))
    channel = connection.channel()
    channel.confirm_delivery()
    with fresh_topic("exchange", KEYS) as topic, subscribed_queue(topic, "bound", keys=["a.*"]) as queue:
        channel.exchange_declare(topic.topicName, passive=True)
        channel.basic_publish(topic.topicName, "a.b", b"by AMQP", mandatory=True)
        got = queue.receive_message(3)
        equal("body", got.msgBody, "by AMQP")
        assert got.msgId, "a message without an id"
        queue.delete_message(got.receiptHandle)
    connection.close()
