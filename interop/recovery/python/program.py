"""What the Python programs share: the environment, the lines that they print, and when to stop publishing."""

import os
import sys
import threading

URLS = os.environ["AMQP_URLS"].split()
QUEUE = os.environ["QUEUE"]
RATE = float(os.environ["RATE"])


def confirmed(number: int) -> None:
    os.write(1, f"confirmed {number}\n".encode())


def received(number: int) -> None:
    os.write(1, f"received {number}\n".encode())


class Stopping(threading.Event):
    """Set when the first line comes on stdin: no more is published. The end of stdin is the end of the program."""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        sys.stdin.readline()
        self.set()
        sys.stdin.readline()
        os._exit(0)

    def finish(self) -> None:
        """Consumers go on until the program is ended."""
        threading.Event().wait()


stopping = Stopping()
