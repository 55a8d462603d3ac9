"""Checks of the message actions and of the signature: see ../checks.txt."""

import threading
import time

from cmq.queue import Message

from report import equal, require_restart, restart_broker
import codes
from support import (
    KEY,
    account,
    between,
    bodies,
    delete_all,
    fresh_queue,
    name,
    no_message,
    refused,
    send_all,
    sleep_past,
    take,
)

BATCH = 16
# Longer than the check takes, so that only the handle ends the lock.
VISIBILITY = 30
SHORT_VISIBILITY = 1


def send_receive_delete():
    with fresh_queue("basic", visibilityTimeout=VISIBILITY) as queue:
        before = int(time.time())
        sent = queue.send_message(Message("hello"))
        got = queue.receive_message(3)
        now = int(time.time())
        equal("body", got.msgBody, "hello")
        equal("message id", got.msgId, sent.msgId)
        equal("times received", got.dequeueCount, 1)
        assert sent.msgId.isdecimal() and got.receiptHandle.isdecimal(), (sent.msgId, got.receiptHandle)
        between("enqueueTime", before, got.enqueueTime, now)
        between("firstDequeueTime", before, got.firstDequeueTime, now)
        between("nextVisibleTime", before + VISIBILITY, got.nextVisibleTime, now + VISIBILITY + 1)
        no_message(queue)
        queue.delete_message(got.receiptHandle)
        no_message(queue)
        seen = queue.get_attributes()
        equal("active and inactive messages", (seen.activeMsgNum, seen.inactiveMsgNum), (0, 0))


def text_of_any_kind():
    texts = ["你好，世界", "a+b&c=d/%e?f#g", "line one\r\nline two\ttab", ' "quoted" \\ {"json": [1]} ', "😀", "a_b.c~d*e"]
    with fresh_queue("texts") as queue:
        send_all(queue, texts)
        equal("bodies", bodies(take(queue, len(texts))), texts)


def body_begins_with_at():
    with fresh_queue("at") as queue:
        send_all(queue, ["@first"])
        queue.batch_send_message([Message("@second"), Message("third"), Message("@")])
        equal("bodies", bodies(take(queue, 4)), ["@first", "@second", "third", "@"])


def signed_with(method: str):
    def check():
        with fresh_queue(f"sign-{method}") as queue:
            queue.cmq_client.set_sign_method(method)
            send_all(queue, [method])
            equal("body", queue.receive_message(3).msgBody, method)

    return check


def get_method():
    with fresh_queue("get") as queue:
        queue.cmq_client.set_method("GET")
        send_all(queue, ["a b+c&d=é"])
        equal("body", queue.receive_message(3).msgBody, "a b+c&d=é")
        queue.cmq_client.set_method("POST")


def batch_of_sixteen():
    with fresh_queue("batch") as queue:
        texts = [f"number {i}" for i in range(BATCH)]
        sent = queue.batch_send_message([Message(text) for text in texts])
        equal("ids", len({message.msgId for message in sent}), BATCH)
        got = queue.batch_receive_message(BATCH, 3)
        equal("bodies", bodies(got), texts)
        equal("ids received", [message.msgId for message in got], [message.msgId for message in sent])
        delete_all(queue, got)
        no_message(queue)


def batch_delete_partial():
    with fresh_queue("partial", visibilityTimeout=SHORT_VISIBILITY) as queue:
        send_all(queue, ["one", "two", "three"])
        got = take(queue, 3)
        queue.delete_message(got[1].receiptHandle)
        error = refused(*codes.DELETE_PARTLY_FAILED, lambda: delete_all(queue, got))
        failed = error.data["errorList"]
        equal("handles that failed", [entry["receiptHandle"] for entry in failed], [got[1].receiptHandle])
        equal("code of the handle", failed[0]["code"], 4430)
        # The valid handles have deleted their messages: none comes back when the locks would have expired.
        sleep_past(max(message.nextVisibleTime for message in got))
        refused(*codes.NO_MESSAGE, lambda: queue.receive_message(1))


def batch_delete_all_bad():
    with fresh_queue("all-bad") as queue:
        send_all(queue, ["one", "two"])
        got = take(queue, 2)
        delete_all(queue, got)
        error = refused(*codes.DELETE_FAILED, lambda: delete_all(queue, got))
        equal("entries", [entry["code"] for entry in error.data["errorList"]], [4430, 4430])


def receive_empty():
    with fresh_queue("empty") as queue:
        refused(*codes.NO_MESSAGE, lambda: queue.receive_message(0))
        refused(*codes.NO_MESSAGE, lambda: queue.batch_receive_message(BATCH, 0))


def long_poll_wakes():
    with fresh_queue("wakes") as queue:
        sender = account().get_queue(queue.queue_name)
        timer = threading.Timer(0.5, lambda: sender.send_message(Message("now")))
        started = time.monotonic()
        timer.start()
        got = queue.receive_message(10)
        waited = time.monotonic() - started
        timer.join()
        equal("body", got.msgBody, "now")
        between("seconds until the message came", 0.4, waited, 3)


def long_poll_ends():
    with fresh_queue("ends") as queue:
        started = time.monotonic()
        refused(*codes.NO_MESSAGE, lambda: queue.receive_message(1))
        between("seconds waited", 0.9, time.monotonic() - started, 3)


def delay():
    with fresh_queue("delay") as queue:
        sent_at = time.time()
        queue.send_message(Message("later"), 1)
        no_message(queue)
        equal("delayed messages", queue.get_attributes().delayMsgNum, 1)
        got = queue.receive_message(5)
        equal("body", got.msgBody, "later")
        between("seconds of delay", 0.95, time.time() - sent_at, 3)
        equal("delayed messages", queue.get_attributes().delayMsgNum, 0)


def older_handle():
    with fresh_queue("older", visibilityTimeout=SHORT_VISIBILITY) as queue:
        send_all(queue, ["again"])
        first = queue.receive_message(3)
        second = queue.receive_message(5)
        equal("message id", second.msgId, first.msgId)
        equal("times received", second.dequeueCount, 2)
        equal("first received", second.firstDequeueTime, first.firstDequeueTime)
        assert second.receiptHandle != first.receiptHandle, first.receiptHandle
        refused(*codes.INVALID_HANDLE, lambda: queue.delete_message(first.receiptHandle))
        queue.delete_message(second.receiptHandle)
        refused(*codes.NO_MESSAGE, lambda: queue.receive_message(2))


def expired_handle():
    with fresh_queue("expired", visibilityTimeout=SHORT_VISIBILITY) as queue:
        send_all(queue, ["slow"])
        got = queue.receive_message(3)
        sleep_past(got.nextVisibleTime + 1)
        # The handle is invalid although no other client has received the message.
        refused(*codes.INVALID_HANDLE, lambda: queue.delete_message(got.receiptHandle))
        equal("body", queue.receive_message(3).msgBody, "slow")


def delete_twice():
    with fresh_queue("twice") as queue:
        send_all(queue, ["once"])
        got = queue.receive_message(3)
        queue.delete_message(got.receiptHandle)
        refused(*codes.INVALID_HANDLE, lambda: queue.delete_message(got.receiptHandle))


def handle_malformed():
    with fresh_queue("malformed") as queue:
        refused(*codes.RECEIPT_HANDLE_FORMAT, lambda: queue.delete_message("no handle"))


def queue_missing():
    queue = account().get_queue(name("nowhere"))
    refused(*codes.NO_SUCH_QUEUE, lambda: queue.send_message(Message("lost")))
    refused(*codes.NO_SUCH_QUEUE, lambda: queue.batch_send_message([Message("lost")]))
    refused(*codes.NO_SUCH_QUEUE, lambda: queue.receive_message(0))
    refused(*codes.NO_SUCH_QUEUE, lambda: queue.batch_receive_message(1, 0))
    refused(*codes.NO_SUCH_QUEUE, lambda: queue.delete_message("1"))


def body_empty():
    with fresh_queue("nothing") as queue:
        refused(*codes.EMPTY_BODY, lambda: queue.send_message(Message("")))
        # One invalid entry: the whole batch is refused.
        refused(*codes.EMPTY_BODY, lambda: queue.batch_send_message([Message("good"), Message("")]))
        no_message(queue)


def body_too_long():
    with fresh_queue("long", maxMsgSize=1024) as queue:
        send_all(queue, ["x" * 1024])
        refused(*codes.MESSAGE_TOO_LARGE, lambda: queue.send_message(Message("x" * 1025)))
        # The limit counts bytes, not characters.
        refused(*codes.MESSAGE_TOO_LARGE, lambda: queue.send_message(Message("好" * 342)))


def wrong_key():
    client = account((KEY[0], KEY[1] + "x"))
    refused(*codes.AUTHENTICATION, lambda: client.list_queue())


def unknown_key():
    client = account(("AKIDnobodyhasthisidentifier000000000", KEY[1]))
    refused(*codes.NO_SUCH_SECRET_ID, lambda: client.list_queue())


def restart_keeps_lease():
    require_restart()
    with fresh_queue("restart", visibilityTimeout=VISIBILITY) as queue:
        send_all(queue, ["held", "waiting"])
        held = queue.receive_message(3)
        equal("body", held.msgBody, "held")
        restart_broker()
        # A new connection: the old one ended with the broker.
        again = account().get_queue(queue.queue_name)
        equal("body", again.receive_message(3).msgBody, "waiting")
        again.delete_message(held.receiptHandle)
        refused(*codes.INVALID_HANDLE, lambda: again.delete_message(held.receiptHandle))
