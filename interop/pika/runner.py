"""Checks of a broker through pika's blocking adapter: one function per name in both checks.txt."""

import datetime
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import pika  # noqa: E402
from pika import exceptions  # noqa: E402
from report import (  # noqa: E402
    Report,
    URL,
    equal,
    eventually,
    name,
    require_restart,
    restart_broker,
    url_with,
)

PERSISTENT = pika.BasicProperties(delivery_mode=2)
MESSAGES = 200


def connect(url: str = URL, heartbeat: int | None = None) -> pika.BlockingConnection:
    """A blocking connection; `heartbeat` in seconds overrides what the broker proposes."""
    params = pika.URLParameters(url)
    params.heartbeat = heartbeat
    return pika.BlockingConnection(params)


def expect_channel_close(code: int, text: str, action) -> None:
    """Run `action` and demand that the broker closes the channel with this code and text."""
    try:
        action()
    except exceptions.ChannelClosedByBroker as error:
        equal("reply code", error.reply_code, code)
        if text not in error.reply_text:
            raise AssertionError(f"reply text {error.reply_text!r} lacks {text!r}")
        return
    raise AssertionError(f"no channel error, wanted {code}")


def drain(channel, queue: str, seconds: float = 10.0) -> list:
    """Take and ack everything in `queue` with basic.get."""
    taken = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return taken
        taken.append((method, properties, body))
    raise AssertionError(f"{queue} did not run empty within {seconds} s")


def connect_auth_ok(_):
    connection = connect()
    assert connection.is_open
    connection.close()


def connect_auth_refused(_):
    try:
        connect(url_with(password="wrong")).close()
    except exceptions.ProbableAuthenticationError as error:
        assert "403" in str(error) and "ACCESS_REFUSED" in str(error), str(error)
        return
    raise AssertionError("login with a wrong password was accepted")


def connect_vhost_missing(_):
    try:
        connect(url_with(vhost="interop-none")).close()
    except exceptions.ProbableAccessDeniedError as error:
        assert "(530) 'NOT_ALLOWED - vhost interop-none not found'" in str(error), str(error)
        return
    raise AssertionError("a missing vhost was opened")


def declare_passive(connection):
    channel = connection.channel()
    queue = name("passive")
    channel.queue_declare(queue, exclusive=True)
    channel.basic_publish("", queue, b"one")
    eventually(
        "message count 1",
        lambda: channel.queue_declare(queue, passive=True).method.message_count == 1,
    )
    expect_channel_close(
        404,
        f"NOT_FOUND - no queue '{name('absent')}' in vhost '/'",
        lambda: channel.queue_declare(name("absent"), passive=True),
    )
    channel = connection.channel()
    expect_channel_close(
        404,
        f"NOT_FOUND - no exchange '{name('absent')}' in vhost '/'",
        lambda: channel.exchange_declare(name("absent"), passive=True),
    )


def declare_server_named(connection):
    channel = connection.channel()
    first = channel.queue_declare("", exclusive=True).method.queue
    second = channel.queue_declare("", exclusive=True).method.queue
    assert first.startswith("amq.gen-") and first != second, (first, second)
    # The empty name stands for the queue declared last on this channel.
    channel.basic_publish("", second, b"here")
    _, _, body = eventually("message through the empty name", lambda: got(channel, ""))
    equal("body", body, b"here")


def declare_inequivalent(connection):
    queue = name("inequivalent")
    connection.channel().queue_declare(queue, durable=True)
    try:
        expect_channel_close(
            406,
            f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': "
            "received 'false' but current is 'true'",
            lambda: connection.channel().queue_declare(queue, durable=False),
        )
        expect_channel_close(
            406,
            f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{queue}' in vhost '/': "
            "received the value '1000' of type",
            lambda: connection.channel().queue_declare(
                queue, durable=True, arguments={"x-message-ttl": 1000}
            ),
        )
    finally:
        connection.channel().queue_delete(queue)


def publish_confirm(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = name("confirm")
    channel.queue_declare(queue, durable=True)
    try:
        for i in range(MESSAGES):
            channel.basic_publish("", queue, str(i).encode(), PERSISTENT)
        count = channel.queue_declare(queue, passive=True).method.message_count
        equal("messages in the queue", count, MESSAGES)
        bodies = [body for _, _, body in drain(channel, queue)]
        equal("bodies", bodies, [str(i).encode() for i in range(MESSAGES)])
    finally:
        channel.queue_delete(queue)


def mandatory_return_before_confirm(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("", name("nowhere"), b"lost", mandatory=True)
    except exceptions.UnroutableError as error:
        # pika attaches returns to the publish only if they came before its confirm.
        equal("returned messages", len(error.messages), 1)
        returned = error.messages[0]
        equal("reply code", returned.method.reply_code, 312)
        equal("reply text", returned.method.reply_text, "NO_ROUTE")
        equal("body", returned.body, b"lost")
    else:
        raise AssertionError("nothing was returned before the confirm")
    # Without `mandatory` the same message is confirmed and dropped.
    channel.basic_publish("", name("nowhere"), b"lost")


def consume_ack(connection):
    channel = connection.channel()
    queue = name("consume")
    channel.queue_declare(queue, exclusive=True)
    properties = pika.BasicProperties(
        content_type="text/plain",
        headers={"int": 7, "text": "x", "list": [1, "a"], "table": {"k": True}},
        delivery_mode=2,
        priority=3,
        correlation_id="c1",
        reply_to="r1",
        message_id="m1",
        timestamp=1700000000,
        type="t1",
        app_id="a1",
    )
    for i in range(MESSAGES):
        channel.basic_publish("", queue, str(i).encode(), properties)
    seen = []
    for method, got, body in channel.consume(queue, inactivity_timeout=5):
        assert method is not None, f"deliveries stopped after {len(seen)}"
        equal("properties", got, properties)
        equal("redelivered", method.redelivered, False)
        equal("routing key", method.routing_key, queue)
        seen.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(seen) == MESSAGES:
            break
    channel.cancel()
    equal("order", seen, [str(i).encode() for i in range(MESSAGES)])
    channel.close()
    channel = connection.channel()
    equal("left after acks", channel.queue_declare(queue, passive=True).method.message_count, 0)
    channel.queue_delete(queue)


def body_larger_than_frame(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for size in (0, 1, 131064, 131065, 1_000_003):
        body = bytes(i % 251 for i in range(size))
        channel.basic_publish("", queue, body)
        method, _, got = channel.basic_get(queue, auto_ack=True)
        assert method is not None and got == body, f"body of {size} bytes came back different"


def nack_requeue_redelivered(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for body in (b"a", b"b"):
        channel.basic_publish("", queue, body)
    first, _, body = eventually("first message", lambda: got(channel, queue))
    equal("first body", body, b"a")
    equal("redelivered", first.redelivered, False)
    channel.basic_nack(first.delivery_tag, requeue=True)
    again, _, body = eventually("requeued message", lambda: got(channel, queue))
    equal("body at its old place", body, b"a")
    equal("redelivered", again.redelivered, True)
    channel.basic_ack(again.delivery_tag)


def got(channel, queue):
    """The answer of basic.get, or None if the queue was empty."""
    method, properties, body = channel.basic_get(queue)
    return None if method is None else (method, properties, body)


def reject_dead_letter(connection):
    channel = connection.channel()
    exchange, source = name("dlx"), name("dl-source")
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    target = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(target, exchange)
    channel.queue_declare(source, exclusive=True, arguments={"x-dead-letter-exchange": exchange})
    channel.basic_publish("", source, b"poison", pika.BasicProperties(headers={"mine": 1}))
    method, _, _ = eventually("message", lambda: got(channel, source))
    channel.basic_reject(method.delivery_tag, requeue=False)
    dead, properties, body = eventually("dead letter", lambda: got(channel, target))
    equal("body", body, b"poison")
    equal("exchange", dead.exchange, exchange)
    equal("routing key", dead.routing_key, source)
    equal("own header", properties.headers["mine"], 1)
    death = properties.headers["x-death"][0]
    equal("reason", death["reason"], "rejected")
    equal("queue", death["queue"], source)
    equal("count", death["count"], 1)
    equal("routing keys", death["routing-keys"], [source])
    equal("first reason", properties.headers["x-first-death-reason"], "rejected")


def get_and_get_empty(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    equal("empty queue", channel.basic_get(queue), (None, None, None))
    for body in (b"1", b"2"):
        channel.basic_publish("", queue, body)
    method, _, body = channel.basic_get(queue)
    equal("body", body, b"1")
    equal("messages left", method.message_count, 1)
    channel.basic_ack(method.delivery_tag)
    channel.basic_get(queue, auto_ack=True)
    equal("empty again", channel.basic_get(queue), (None, None, None))


def prefetch_bound(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    for i in range(20):
        channel.basic_publish("", queue, str(i).encode())
    channel.basic_qos(prefetch_count=5)
    tags = []
    channel.basic_consume(queue, lambda _c, method, _p, _b: tags.append(method.delivery_tag))
    settle(connection, lambda: len(tags) == 5)
    connection.process_data_events(0.3)
    equal("deliveries in flight", len(tags), 5)
    channel.basic_ack(tags[1], multiple=True)
    settle(connection, lambda: len(tags) == 7)
    connection.process_data_events(0.3)
    equal("deliveries after two acks", len(tags), 7)


def settle(connection, done, seconds: float = 10.0) -> None:
    """Serve the connection until `done()` or fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not reached within {seconds} s")
        connection.process_data_events(0.05)


def consumer_cancel_notification(connection):
    channel = connection.channel()
    queue = name("cancelled")
    channel.queue_declare(queue)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    connection.channel().queue_delete(queue)
    settle(connection, lambda: cancelled)
    equal("cancelled consumers", cancelled, [tag])
    assert channel.is_open


def heartbeat_idle(_):
    connection = connect(heartbeat=1)
    try:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        # Long enough for either side to close the connection if a heartbeat were missing.
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            connection.process_data_events(0.2)
        equal("queue after idling", channel.queue_declare(queue, passive=True).method.queue, queue)
    finally:
        if connection.is_open:
            connection.close()


def channel_error_connection_alive(connection):
    bystander = connection.channel()
    queue = bystander.queue_declare("", exclusive=True).method.queue
    failing = connection.channel()
    expect_channel_close(
        404, "NOT_FOUND", lambda: failing.queue_declare(name("absent"), passive=True)
    )
    failing = connection.channel()
    queue_for_tag = failing.queue_declare("", exclusive=True).method.queue

    def ack_unknown():
        failing.basic_ack(99)
        failing.queue_declare(queue_for_tag, passive=True)

    expect_channel_close(406, "PRECONDITION_FAILED - unknown delivery tag 99", ack_unknown)
    assert connection.is_open and bystander.is_open
    bystander.queue_declare(queue, passive=True)
    connection.channel().close()


def restart_durable(connection):
    require_restart()
    connection.close()
    exchange, queue = name("restart-x"), name("restart")
    channel = connect().channel()
    channel.confirm_delivery()
    channel.exchange_declare(exchange, "direct", durable=True)
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, exchange, "key")
    for i in range(MESSAGES):
        channel.basic_publish(exchange, "key", str(i).encode(), PERSISTENT)
    held = [eventually("message", lambda: got(channel, queue)) for _ in range(10)]
    equal("held without ack", len(held), 10)
    restart_broker()
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish(exchange, "key", b"after", PERSISTENT)
    count = channel.queue_declare(queue, passive=True).method.message_count
    equal("messages after the restart", count, MESSAGES + 1)
    bodies = [body for _, _, body in drain(channel, queue)]
    equal("bodies", bodies, [str(i).encode() for i in range(MESSAGES)] + [b"after"])
    channel.queue_delete(queue)
    channel.exchange_delete(exchange)
    connection.close()


def stream(connection, count: int, headers=lambda _: None):
    """Open a channel and declare a stream with numbered, confirmed messages."""
    channel = connection.channel()
    queue = name("stream")
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "stream", "x-max-age": "1h"})
    channel.confirm_delivery()
    for i in range(count):
        channel.basic_publish("", queue, str(i).encode(), pika.BasicProperties(headers=headers(i)))
    return channel, queue


def read(connection, queue: str, wanted: int, **arguments):
    """Ack the next deliveries, more of them than the prefetch; returns their offsets and bodies."""
    channel = connection.channel()
    channel.basic_qos(prefetch_count=5)
    found = []

    def take(_channel, method, properties, body):
        found.append((properties.headers["x-stream-offset"], int(body)))
        channel.basic_ack(method.delivery_tag)

    arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
    channel.basic_consume(queue, take, arguments=arguments)
    settle(connection, lambda: len(found) >= wanted)
    connection.process_data_events(0.2)
    channel.close()
    return found


def stream_offsets(connection):
    channel, queue = stream(connection, 30)
    numbers = [(i, i) for i in range(30)]
    equal("from the first", read(connection, queue, 30, x_stream_offset="first"), numbers)
    equal("again", read(connection, queue, 30, x_stream_offset="first"), numbers)
    equal("from 20", read(connection, queue, 10, x_stream_offset=20), numbers[20:])
    hour_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    equal("since an hour ago", read(connection, queue, 30, x_stream_offset=hour_ago), numbers)
    equal("of the last hour", read(connection, queue, 30, x_stream_offset="1h"), numbers)
    equal("what is new", read(connection, queue, 0), [])
    channel.queue_delete(queue)


def stream_filter(connection):
    kinds = ("red", "green", None)

    def headers(i):
        return {"x-stream-filter-value": kinds[i % 3]} if kinds[i % 3] else None

    channel, queue = stream(connection, 30, headers)
    wanted = [(i, i) for i in range(30) if i % 3 == 1]
    found = read(connection, queue, 10, x_stream_offset="first", x_stream_filter="green")
    # A broker may deliver further messages beside the wanted ones.
    equal("green ones", [each for each in found if each[1] % 3 == 1], wanted)
    channel.queue_delete(queue)


def stream_resumed_after_restart(connection):
    require_restart()
    _, queue = stream(connection, 30)
    before = read(connection, queue, 10, x_stream_offset="first")[:10]
    connection.close()
    restart_broker()
    connection = connect()
    after = read(connection, queue, 20, x_stream_offset=before[-1][0] + 1)
    equal("all of them", before + after, [(i, i) for i in range(30)])
    connection.channel().queue_delete(queue)
    connection.close()


CHECKS = [
    connect_auth_ok,
    connect_auth_refused,
    connect_vhost_missing,
    declare_passive,
    declare_server_named,
    declare_inequivalent,
    publish_confirm,
    mandatory_return_before_confirm,
    consume_ack,
    body_larger_than_frame,
    nack_requeue_redelivered,
    reject_dead_letter,
    get_and_get_empty,
    prefetch_bound,
    consumer_cancel_notification,
    heartbeat_idle,
    channel_error_connection_alive,
    restart_durable,
    stream_offsets,
    stream_filter,
    stream_resumed_after_restart,
]


def main() -> int:
    report = Report()
    for check in CHECKS:
        label = check.__name__.replace("_", "-")
        connection = None
        with report.check(label):
            connection = connect()
            check(connection)
        if connection is not None and connection.is_open:
            try:
                connection.close()
            except exceptions.AMQPError as error:
                print(f"closing after {label}: {error!r}", file=sys.stderr)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
