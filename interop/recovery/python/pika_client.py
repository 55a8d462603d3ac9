"""pika's blocking adapter with three addresses, as its documentation recommends: connect again to any of them."""

import sys
import threading
import time

import pika
from pika.exceptions import AMQPError
from program import QUEUE, RATE, URLS, confirmed, received, stopping

PARAMETERS = [pika.URLParameters(f"{url}?heartbeat=5&connection_attempts=1&socket_timeout=3") for url in URLS]
FAILURES = (AMQPError, OSError)


def publish() -> None:
    number = 0
    while not stopping.is_set():
        try:
            channel = pika.BlockingConnection(PARAMETERS).channel()
            channel.confirm_delivery()
            while not stopping.is_set():
                number += 1
                channel.basic_publish("", QUEUE, str(number).encode(), pika.BasicProperties(delivery_mode=2))
                confirmed(number)
                time.sleep(1 / RATE)
        except FAILURES as failure:
            print(f"publisher: {failure!r}", file=sys.stderr)
            time.sleep(0.1)


def consume() -> None:
    def take(channel, method, _properties, body):
        received(int(body))
        channel.basic_ack(method.delivery_tag)

    while True:
        try:
            channel = pika.BlockingConnection(PARAMETERS).channel()
            channel.basic_qos(prefetch_count=50)
            channel.basic_consume(QUEUE, take)
            channel.start_consuming()
        except FAILURES as failure:
            print(f"consumer: {failure!r}", file=sys.stderr)
            time.sleep(0.1)


threading.Thread(target=consume, daemon=True).start()
publish()
stopping.finish()
