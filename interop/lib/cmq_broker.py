"""A broker for the CMQ suites and the scenarios: its configuration, and the keys that sign requests to it."""

import contextlib

import broker

# Milliseconds that one second of the retry strategies takes: the same code runs on a faster clock.
PUSH_SECOND_MS = 20
CONFIGURATION = {
    "LEVERET_CMQ_PUSH_SECOND": str(PUSH_SECOND_MS),
    # The broker refuses endpoints in private ranges unless an operator allows them; the suites push to this machine.
    "LEVERET_CMQ_PUSH_ALLOW": "127.0.0.0/8",
}
POWERLESS = "powerless"


def key(data_dir: str, user: str) -> tuple[str, str]:
    """Make a secret id and a secret key for the user in the default virtual host."""
    shown = broker.ctl(data_dir, "add_secret_key", user).split()
    return shown[-2], shown[-1]


@contextlib.contextmanager
def fresh():
    """A Leveret broker with CMQ's API on a free port; yields the environment for runners and scenarios."""
    port = broker.free_port()
    configuration = CONFIGURATION | {"LEVERET_CMQ_LISTEN": f"127.0.0.1:{port}"}
    with broker.fresh(broker.LEVERET, configuration, (port,)) as started:
        broker.ctl(started.data_dir, "add_user", POWERLESS, POWERLESS)
        secret_id, secret_key = key(started.data_dir, "guest")
        powerless_id, powerless_key = key(started.data_dir, POWERLESS)
        yield {
            "AMQP_URL": started.url,
            "INTEROP_RESTART": started.restart,
            "CMQ_URL": f"http://127.0.0.1:{port}",
            "CMQ_SECRET_ID": secret_id,
            "CMQ_SECRET_KEY": secret_key,
            "CMQ_POWERLESS_ID": powerless_id,
            "CMQ_POWERLESS_KEY": powerless_key,
            "CMQ_PUSH_CLOCK": str(PUSH_SECOND_MS / 1000),
        }
