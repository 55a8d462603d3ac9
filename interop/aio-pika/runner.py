"""Checks of a broker through aio-pika (asyncio): one coroutine per name in checks.txt.

The restart check relies on the library's robust connection to reconnect.
"""

import asyncio
import logging
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import aio_pika  # noqa: E402
import aiormq.exceptions as amqp_errors  # noqa: E402
from aio_pika import DeliveryMode, ExchangeType, Message  # noqa: E402
from pamqp.commands import Basic  # noqa: E402
from report import (  # noqa: E402
    Report,
    URL,
    equal,
    name,
    require_restart,
    restart_broker,
    url_with,
)

MESSAGES = 200
DEADLINE = 10.0
CHECK_SECONDS = 90


def numbers() -> list[bytes]:
    return [str(i).encode() for i in range(MESSAGES)]


def persistent(body: bytes) -> Message:
    return Message(body, delivery_mode=DeliveryMode.PERSISTENT)


async def until(what: str, probe) -> None:
    """Poll until `probe()` is true, or fail with `what`."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not probe():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what}: not seen within {DEADLINE} s") from None


async def take(queue, **options):
    """One message by basic.get, awaited until the deadline."""
    async with asyncio.timeout(DEADLINE):
        while (message := await queue.get(fail=False, **options)) is None:
            await asyncio.sleep(0.02)
        return message


async def drain(queue) -> list[bytes]:
    bodies = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        bodies.append(message.body)
    return bodies


async def expect_close(error_class, text: str, action) -> None:
    """Await `action` and demand the channel error that the library maps to `error_class`."""
    try:
        await action
    except error_class as error:
        if text not in str(error):
            raise AssertionError(f"{error!s} lacks {text!r}") from None
        return
    raise AssertionError(f"no channel error, wanted {error_class.__name__}")


async def connect_auth_ok(connection):
    assert not connection.is_closed


async def connect_auth_refused(_):
    try:
        await aio_pika.connect(url_with(password="wrong"))
    except amqp_errors.ProbableAuthenticationError as error:
        assert "ACCESS_REFUSED" in str(error), str(error)
        return
    raise AssertionError("login with a wrong password was accepted")


async def connect_vhost_missing(_):
    try:
        await aio_pika.connect(url_with(vhost="interop-none"))
    except amqp_errors.AMQPError as error:
        # While it opens a connection, the library reports the method that came, without its code and text.
        assert "Connection.Close" in str(error), str(error)
        return
    raise AssertionError("a missing vhost was opened")


async def declare_passive(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("passive"), exclusive=True)
    await channel.default_exchange.publish(Message(b"one"), queue.name)
    again = await channel.declare_queue(queue.name, passive=True)
    equal("message count", again.declaration_result.message_count, 1)
    absent = name("absent")
    await expect_close(
        amqp_errors.ChannelNotFoundEntity,
        f"NOT_FOUND - no queue '{absent}' in vhost '/'",
        channel.declare_queue(absent, passive=True),
    )
    await expect_close(
        amqp_errors.ChannelNotFoundEntity,
        f"NOT_FOUND - no exchange '{absent}' in vhost '/'",
        (await connection.channel()).declare_exchange(absent, passive=True),
    )


async def declare_server_named(connection):
    channel = await connection.channel()
    first = await channel.declare_queue(exclusive=True)
    second = await channel.declare_queue(exclusive=True)
    assert first.name.startswith("amq.gen-") and first.name != second.name
    await channel.default_exchange.publish(Message(b"here"), second.name)
    equal("body", (await take(second)).body, b"here")


async def declare_inequivalent(connection):
    keeper = await connection.channel()
    queue = await keeper.declare_queue(name("inequivalent"), durable=True)
    try:
        await expect_close(
            amqp_errors.ChannelPreconditionFailed,
            f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue.name}' in vhost '/': "
            "received 'false' but current is 'true'",
            (await connection.channel()).declare_queue(queue.name, durable=False),
        )
    finally:
        await queue.delete(if_unused=False, if_empty=False)


async def publish_confirm(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("confirm"), durable=True)
    try:
        # Started in order on one channel, so they arrive in order; awaited together.
        confirms = await asyncio.gather(
            *(channel.default_exchange.publish(persistent(body), queue.name) for body in numbers())
        )
        for confirm in confirms:
            assert isinstance(confirm, Basic.Ack), confirm
        again = await channel.declare_queue(queue.name, passive=True)
        equal("messages in the queue", again.declaration_result.message_count, MESSAGES)
        equal("bodies", sorted(await drain(queue), key=int), numbers())
    finally:
        await queue.delete(if_unused=False, if_empty=False)


async def mandatory_return_before_confirm(connection):
    channel = await connection.channel(on_return_raises=True)
    try:
        await channel.default_exchange.publish(Message(b"lost"), name("nowhere"), mandatory=True)
    except aio_pika.exceptions.DeliveryError as error:
        # The library links a return to its publish only if it came before the confirm.
        delivery = error.message.delivery
        equal("reply code", delivery.reply_code, 312)
        equal("reply text", delivery.reply_text, "NO_ROUTE")
        equal("body", error.message.body, b"lost")
    else:
        raise AssertionError("nothing was returned before the confirm")
    await channel.default_exchange.publish(Message(b"lost"), name("nowhere"), mandatory=False)


async def consume_ack(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("consume"), exclusive=True)
    headers = {"int": 7, "text": "x", "list": [1, "a"], "table": {"k": True}}
    for body in numbers():
        await channel.default_exchange.publish(
            Message(body, headers=headers, message_id="m1", priority=3, expiration=60), queue.name
        )
    seen = []

    async def on_message(message):
        seen.append(message)
        await message.ack()

    await queue.consume(on_message)
    await until("every delivery", lambda: len(seen) == MESSAGES)
    equal("order", [message.body for message in seen], numbers())
    for message in seen:
        equal("headers", message.headers, headers)
        equal("message id", message.message_id, "m1")
        equal("expiration", message.expiration, 60)
        equal("redelivered", message.redelivered, False)
    await channel.close()
    again = await (await connection.channel()).declare_queue(queue.name, passive=True)
    equal("left after acks", again.declaration_result.message_count, 0)


async def body_larger_than_frame(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    for size in (0, 1, 131064, 131065, 1_000_003):
        body = bytes(i % 251 for i in range(size))
        await channel.default_exchange.publish(Message(body), queue.name)
        assert (await take(queue, no_ack=True)).body == body, f"{size} bytes came back different"


async def nack_requeue_redelivered(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    for body in (b"a", b"b"):
        await channel.default_exchange.publish(Message(body), queue.name)
    first = await take(queue)
    equal("first", (first.body, first.redelivered), (b"a", False))
    await first.nack(requeue=True)
    again = await take(queue)
    equal("again", (again.body, again.redelivered), (b"a", True))
    await again.ack()


async def reject_dead_letter(connection):
    channel = await connection.channel()
    exchange = await channel.declare_exchange(name("dlx"), ExchangeType.FANOUT, auto_delete=True)
    target = await channel.declare_queue(exclusive=True)
    await target.bind(exchange)
    source = await channel.declare_queue(
        name("dl-source"), exclusive=True, arguments={"x-dead-letter-exchange": exchange.name}
    )
    await channel.default_exchange.publish(Message(b"poison", headers={"mine": 1}), source.name)
    await (await take(source)).reject(requeue=False)
    dead = await take(target)
    equal("body", dead.body, b"poison")
    equal("route", (dead.exchange, dead.routing_key), (exchange.name, source.name))
    equal("own header", dead.headers["mine"], 1)
    death = dead.headers["x-death"][0]
    equal("death", (death["reason"], death["queue"], death["count"]), ("rejected", source.name, 1))


async def get_and_get_empty(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    equal("empty queue", await queue.get(fail=False), None)
    for body in (b"1", b"2"):
        await channel.default_exchange.publish(Message(body), queue.name)
    first = await queue.get()
    equal("first", (first.body, first.message_count), (b"1", 1))
    await first.ack()
    await queue.get(no_ack=True)
    equal("empty again", await queue.get(fail=False), None)


async def prefetch_bound(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(exclusive=True)
    for body in numbers()[:20]:
        await channel.default_exchange.publish(Message(body), queue.name)
    await channel.set_qos(prefetch_count=5)
    seen = []
    await queue.consume(seen.append)
    await until("five deliveries", lambda: len(seen) == 5)
    await asyncio.sleep(0.3)
    equal("deliveries in flight", len(seen), 5)
    await seen[1].ack(multiple=True)
    await until("two more deliveries", lambda: len(seen) == 7)
    await asyncio.sleep(0.3)
    equal("deliveries after two acks", len(seen), 7)


async def consumer_cancel_notification(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("cancelled"))
    consumer = await queue.consume(lambda _message: None)
    underlay = await channel.get_underlay_channel()
    # aiormq forgets a consumer that the broker cancels.
    assert consumer in underlay.consumers
    await (await connection.channel()).queue_delete(queue.name)
    await until("the cancel", lambda: consumer not in underlay.consumers)
    await channel.declare_queue(exclusive=True)


async def heartbeat_idle(_):
    async with await aio_pika.connect(URL, heartbeat=1) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await asyncio.sleep(6)
        assert not connection.is_closed and not channel.is_closed
        await channel.declare_queue(queue.name, passive=True)


async def channel_error_connection_alive(connection):
    bystander = await connection.channel()
    queue = await bystander.declare_queue(exclusive=True)
    failing = await connection.channel()
    await expect_close(
        amqp_errors.ChannelNotFoundEntity,
        "NOT_FOUND",
        failing.declare_queue(name("absent"), passive=True),
    )
    assert not connection.is_closed and not bystander.is_closed
    await bystander.declare_queue(queue.name, passive=True)
    await (await connection.channel()).close()


async def restart_durable(idle):
    require_restart()
    await idle.close()
    async with await aio_pika.connect_robust(URL, reconnect_interval=0.2) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(name("restart-x"), durable=True)
        queue = await channel.declare_queue(name("restart"), durable=True)
        await queue.bind(exchange, "key")
        for body in numbers():
            await exchange.publish(persistent(body), "key")
        held = [await take(queue) for _ in range(10)]
        equal("held without ack", len(held), 10)
        reconnected = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: reconnected.set())
        await asyncio.to_thread(restart_broker)
        async with asyncio.timeout(30):
            await reconnected.wait()
            await channel.ready()
        await exchange.publish(persistent(b"after"), "key")
        async with await aio_pika.connect(URL) as fresh:
            again = await (await fresh.channel()).declare_queue(queue.name, passive=True)
            equal("messages after", again.declaration_result.message_count, MESSAGES + 1)
            equal("bodies", await drain(again), [*numbers(), b"after"])
        await queue.delete(if_unused=False, if_empty=False)
        await exchange.delete()


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
]


async def main() -> int:
    report = Report()
    for check in CHECKS:
        with report.check(check.__name__.replace("_", "-")):
            connection = await aio_pika.connect(URL)
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await check(connection)
            finally:
                await connection.close()
    return 1 if report.failed else 0


if __name__ == "__main__":
    # The library logs every attempt to reconnect to a broker that a check has just killed.
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(main()))
