"""Ten thousand payments are credited exactly once, though crediting fails again and again.

A payment is a message with a unique key. The cashier's desk sends payments by HTTP in batches of sixteen; a batch is on
disk completely or refused. Tellers take payments by AMQP and credit the accounts. One attempt in five fails before the
credit, one in twenty after it: the account has the money, but the teller does not know. Either way the message is
requeued and delivered again. The ledger records each key, and a second credit with the same key changes nothing, so
"at least once" from the broker becomes exactly once in the accounts.
"""

import json
import random
import threading
import time
from collections import Counter

from support import amqp, check, create_queue, name, say, send_all, waiting

PAYMENTS = 10_000
ACCOUNTS = 50
TELLERS = 2
FAILS_BEFORE = 0.20
FAILS_AFTER = 0.05
WINDOW = 200
PATIENCE_SECONDS = 90
SEED = 20_161_111


class Fault(Exception):
    """Crediting failed; the account may or may not have the money."""


class Ledger:
    """Balances, and the keys of all credited payments."""

    def __init__(self) -> None:
        self.balances: Counter[int] = Counter()
        self.keys: set[str] = set()
        self.repeated = self.faults = 0
        self.lock = threading.Lock()
        self.chance = random.Random(SEED)

    def credit(self, payment: dict) -> None:
        with self.lock:
            luck = self.chance.random()
            if luck < FAILS_BEFORE:
                self.faults += 1
                raise Fault
            if payment["key"] in self.keys:
                self.repeated += 1
                return
            self.keys.add(payment["key"])
            self.balances[payment["account"]] += payment["cents"]
            if luck < FAILS_BEFORE + FAILS_AFTER:
                self.faults += 1
                raise Fault


def teller(queue: str, ledger: Ledger, done: threading.Event) -> None:
    """Credit payments until all are done; requeue those that fail."""
    connection = amqp()
    channel = connection.channel()
    channel.basic_qos(prefetch_count=WINDOW)
    for method, _, body in channel.consume(queue, inactivity_timeout=0.2):
        if method is None:
            if done.is_set():
                break
            continue
        try:
            ledger.credit(json.loads(body))
        except Fault:
            channel.basic_nack(method.delivery_tag, requeue=True)
        else:
            channel.basic_ack(method.delivery_tag)
    connection.close()


def main() -> None:
    queue = name("payments")
    create_queue(queue, visibilityTimeout=30)
    chance = random.Random(SEED)
    payments = [
        {"key": f"payment-{i}", "account": chance.randrange(ACCOUNTS), "cents": chance.randrange(1, 100_000)}
        for i in range(PAYMENTS)
    ]
    due: Counter[int] = Counter()
    for payment in payments:
        due[payment["account"]] += payment["cents"]

    ledger, done = Ledger(), threading.Event()
    tellers = [threading.Thread(target=teller, args=(queue, ledger, done), daemon=True) for _ in range(TELLERS)]
    for thread in tellers:
        thread.start()
    started = time.monotonic()
    send_all(queue, [json.dumps(payment) for payment in payments])
    say(f"{PAYMENTS} payments sent in {time.monotonic() - started:.1f} s")
    while len(ledger.keys) < PAYMENTS and time.monotonic() < started + PATIENCE_SECONDS:
        time.sleep(0.05)
    done.set()
    for thread in tellers:
        thread.join()

    say(f"{ledger.faults} attempts failed, {ledger.repeated} payments came again though they were credited")
    check("attempts failed, before and after crediting", ledger.faults > PAYMENTS / 5 and ledger.repeated > 0)
    check("every payment was credited", len(ledger.keys) == PAYMENTS)
    check("every account has exactly what was paid", ledger.balances == due)
    check("nothing is left in the queue", waiting(queue) == 0)


if __name__ == "__main__":
    main()
