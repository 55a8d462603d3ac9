"""Checks of queues, rewinding and dead letters: see ../control.txt."""

import json
import time

from cmq.queue import Message

from report import equal, eventually
import codes
from support import (
    account,
    between,
    bodies,
    delete_all,
    fresh_queue,
    meta,
    name,
    no_message,
    refused,
    send_all,
    sleep_past,
    take,
)

SHORT_VISIBILITY = 1
REWIND = 600


def queue_life_cycle():
    client = account()
    queue = client.get_queue(name("life"))
    before = int(time.time())
    queue.create(meta(visibilityTimeout=20, pollingWaitSeconds=2, maxMsgSize=2048, msgRetentionSeconds=3600))
    total, listed, _ = client.list_queue(searchWord=name("life"))
    equal("listed", (total, [entry["queueName"] for entry in listed]), (1, [queue.queue_name]))
    assert listed[0]["queueId"].startswith("queue-"), listed
    seen = queue.get_attributes()
    equal(
        "attributes",
        (seen.visibilityTimeout, seen.pollingWaitSeconds, seen.maxMsgSize, seen.msgRetentionSeconds, seen.rewindSeconds),
        (20, 2, 2048, 3600, 0),
    )
    equal("maxMsgHeapNum", seen.maxMsgHeapNum, 100_000_000)
    between("createTime", before, seen.createTime, time.time())
    queue.set_attributes(meta(visibilityTimeout=40, maxMsgHeapNum=2_000_000))
    seen = queue.get_attributes()
    equal("changed", (seen.visibilityTimeout, seen.maxMsgHeapNum, seen.maxMsgSize), (40, 2_000_000, 65536))
    between("lastModifyTime", seen.createTime, seen.lastModifyTime, time.time())
    queue.delete()
    refused(*codes.NO_SUCH_QUEUE, queue.get_attributes)
    refused(*codes.NO_SUCH_QUEUE, queue.delete)


def queue_exists():
    with fresh_queue("exists") as queue:
        refused(*codes.QUEUE_EXISTS, lambda: queue.create(meta()))
        upper = account().get_queue(queue.queue_name.upper())
        refused(*codes.QUEUE_EXISTS, lambda: upper.create(meta()))


def queue_name_refused():
    client = account()
    for bad in ("9lives", "with.dot", "ünicode", "x" * 65):
        refused(*codes.QUEUE_NAME_FORMAT, lambda bad=bad: client.get_queue(bad).create(meta()))


def attribute_out_of_range():
    queue = account().get_queue(name("range"))
    for bad in (
        {"visibilityTimeout": 0},
        {"visibilityTimeout": 43_201},
        {"pollingWaitSeconds": 31},
        {"maxMsgSize": 1_023},
        {"maxMsgSize": 1_048_577},
        {"msgRetentionSeconds": 59},
        {"msgRetentionSeconds": 1_296_001},
        {"maxMsgHeapNum": 999_999},
    ):
        refused(*codes.OUT_OF_RANGE, lambda bad=bad: queue.create(meta(**bad)))
    refused(*codes.REWIND_BEYOND_RETENTION, lambda: queue.create(meta(msgRetentionSeconds=60, rewindSeconds=61)))
    with fresh_queue("range") as queue:
        refused(*codes.OUT_OF_RANGE, lambda: queue.batch_receive_message(17, 0))
        refused(4000, (10350, 10692), lambda: queue.send_message(Message("late"), 3_601))


def polling_wait_of_queue():
    with fresh_queue("wait", pollingWaitSeconds=1) as queue:
        started = time.monotonic()
        refused(*codes.NO_MESSAGE, lambda: queue.receive_message())
        between("seconds waited by default", 0.9, time.monotonic() - started, 3)
        started = time.monotonic()
        refused(*codes.NO_MESSAGE, lambda: queue.receive_message(0))
        between("seconds waited when told not to", 0, time.monotonic() - started, 0.8)


def rewind():
    with fresh_queue("rewind", rewindSeconds=REWIND) as queue:
        early = send_all(queue, ["one", "two"])
        first = take(queue, 2)
        sleep_past(first[-1].enqueueTime + 1)
        late = send_all(queue, ["three", "four"])
        second = take(queue, 2)
        delete_all(queue, first + second)
        no_message(queue)
        equal("kept messages", queue.get_attributes().rewindmsgNum, 4)

        queue.rewindQueue(second[0].enqueueTime)
        got = take(queue, 2)
        equal("bodies since the later time", bodies(got), ["three", "four"])
        equal("ids", [message.msgId for message in got], late)
        no_message(queue)
        delete_all(queue, got)

        queue.rewindQueue(first[0].enqueueTime)
        got = take(queue, 4)
        equal("bodies since the earlier time", bodies(got), ["one", "two", "three", "four"])
        equal("ids", [message.msgId for message in got], early + late)
        delete_all(queue, got)


def rewind_refused():
    with fresh_queue("no-rewind") as queue:
        refused(*codes.NOT_REWINDABLE, lambda: queue.rewindQueue(int(time.time())))
    with fresh_queue("rewind-range", rewindSeconds=REWIND) as queue:
        now = int(time.time())
        refused(*codes.REWIND_TIME, lambda: queue.rewindQueue(now - REWIND - 60))
        send_all(queue, ["waiting"])
        refused(*codes.REWIND_TIME, lambda: queue.rewindQueue(now + 60))


def create_with_policy(queue_name: str, policy: dict | str, **attributes):
    """Create a queue with a dead-letter policy, which the SDK passes on although its objects have no field for it."""
    stated = policy if isinstance(policy, str) else json.dumps(policy)
    client = account()
    client.cmq_client.create_queue({"queueName": queue_name, "deadLetterPolicy": stated, **attributes})
    return client.get_queue(queue_name)


def dead_letter_received_too_often():
    with fresh_queue("dead") as dead:
        policy = {"deadLetterQueue": dead.queue_name, "policy": 0, "maxReceiveCount": 2}
        source = create_with_policy(name("source"), policy, visibilityTimeout=SHORT_VISIBILITY)
        try:
            sent = source.send_message(Message("poison"))
            equal("times received", [source.receive_message(5).dequeueCount for _ in range(2)], [1, 2])
            moved = dead.receive_message(5)
            equal("moved", (moved.msgBody, moved.msgId), ("poison", sent.msgId))
            no_message(source)
        finally:
            source.delete()


def dead_letter_rules():
    with fresh_queue("grave") as dead:
        grave, source_name = dead.queue_name, name("bound")
        for policy, module in (
            ("no json", 10710),
            ({"policy": 0, "maxReceiveCount": 1}, 10760),
            ({"deadLetterQueue": grave, "maxReceiveCount": 1}, 10770),
            ({"deadLetterQueue": grave, "policy": 2, "maxReceiveCount": 1}, 10770),
            ({"deadLetterQueue": grave, "policy": 0, "maxReceiveCount": 0}, 10720),
            ({"deadLetterQueue": grave, "policy": 1, "maxTimeToLive": 299}, 10720),
            ({"deadLetterQueue": name("nowhere"), "policy": 0, "maxReceiveCount": 1}, 10730),
        ):
            refused(4000, module, lambda policy=policy: create_with_policy(source_name, policy))
        source = create_with_policy(source_name, {"deadLetterQueue": grave, "policy": 1, "maxTimeToLive": 300})
        nested = {"deadLetterQueue": source_name, "policy": 0, "maxReceiveCount": 1}
        refused(*codes.DEAD_LETTER_NESTED, lambda: create_with_policy(name("nested"), nested))
        refused(*codes.DEAD_LETTER_IN_USE, dead.delete)
        client = account().cmq_client

        def sources() -> list[str]:
            answer = client.request("ListDeadLetterSourceQueues", {"deadLetterQueueName": grave})
            return [entry["queueName"] for entry in json.loads(answer.data)["queueList"]]

        equal("sources", sources(), [source_name])
        client.check_status(client.request("UnbindDeadLetterQueue", {"queueName": source_name}))
        eventually("no sources", lambda: sources() == [])
        source.delete()
