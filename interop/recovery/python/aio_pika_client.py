"""aio-pika's robust connection, which restores itself, its channels and its consumers. It knows one address."""

import asyncio
import itertools
import sys

import aio_pika
from program import QUEUE, RATE, URLS, confirmed, received, stopping


async def publish(channel: aio_pika.abc.AbstractRobustChannel) -> None:
    for number in itertools.count(1):
        if stopping.is_set():
            return
        message = aio_pika.Message(str(number).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        try:
            await channel.default_exchange.publish(message, QUEUE, timeout=5)
            confirmed(number)
        except Exception as failure:
            # The library raises many kinds while it restores itself; all mean that nothing is known of this message.
            print(f"publisher: {failure!r}", file=sys.stderr)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1 / RATE)


async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
    received(int(message.body))
    try:
        await message.ack()
    except Exception as failure:
        print(f"consumer: {failure!r}", file=sys.stderr)


async def main() -> None:
    connection = await aio_pika.connect_robust(f"{URLS[0]}?heartbeat=5", reconnect_interval=0.2, fail_fast=False)
    consuming = await connection.channel()
    await consuming.set_qos(prefetch_count=50)
    # Only declared queues are restored with their consumers.
    queue = await consuming.declare_queue(QUEUE, passive=True)
    await queue.consume(take)
    await publish(await connection.channel())
    await asyncio.Event().wait()


asyncio.run(main())
