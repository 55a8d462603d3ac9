"""celery with three brokers: a worker that acks late, and a client that waits for the confirm of each task."""

import itertools
import os
import pathlib
import subprocess
import sys
import time

from celery import Celery
from kombu.exceptions import OperationalError

app = Celery("celery_client", broker=[*os.environ["AMQP_URLS"].split()])
app.conf.update(
    broker_transport_options={"confirm_publish": True, "confirm_timeout": 5},
    broker_connection_retry_on_startup=True, broker_connection_max_retries=None, broker_heartbeat=4, broker_connection_timeout=3,
    task_acks_late=True, task_ignore_result=True, task_default_queue=os.environ["QUEUE"], task_default_queue_type="quorum",
    task_default_exchange_type="direct", worker_prefetch_multiplier=4, worker_enable_remote_control=False, worker_detect_quorum_queues=True,
    task_publish_retry=False,
)  # fmt: skip


@app.task(name="receive")
def receive(number: int) -> None:
    os.write(1, f"received {number}\n".encode())


def main() -> None:
    from program import RATE, confirmed, stopping

    here = str(pathlib.Path(__file__).parent)
    words = ["-A", "celery_client", "worker", "--pool", "threads", "--concurrency", "2", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    subprocess.Popen([sys.executable, "-m", "celery", *words], cwd=here, stdin=subprocess.DEVNULL)
    for number in itertools.count(1):
        if stopping.is_set():
            break
        try:
            receive.apply_async((number,))
            confirmed(number)
        except (OperationalError, OSError) as failure:
            print(f"client: {failure!r}", file=sys.stderr)
        time.sleep(1 / RATE)
    stopping.finish()


if __name__ == "__main__":
    main()
