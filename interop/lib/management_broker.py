"""A broker for the management clients: its API and its metrics on free ports."""

import contextlib

import broker


@contextlib.contextmanager
def fresh(command: str, settings: dict[str, str] | None = None):
    """A broker on an empty data directory, with these variables; yields the environment for runners."""
    api, metrics = broker.free_port(), broker.free_port()
    ports = {"INTEROP_MANAGEMENT_PORT": str(api), "INTEROP_METRICS_PORT": str(metrics)}
    with broker.fresh(command, ports | (settings or {}), (api, metrics)) as started:
        yield environment(started.url, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{metrics}")


def environment(url: str, management: str, metrics: str) -> dict[str, str]:
    """What a runner reads; these ports are up while it runs."""
    return {"AMQP_URL": url, "MANAGEMENT_URL": management, "METRICS_URL": metrics}
