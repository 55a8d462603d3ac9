"""A pytest plugin that makes the tests of aiormq and aio-pika use the broker of AMQP_URL.

aiormq's sdist lacks the file that defines these two fixtures. aio-pika defines them and requests a broker from a
container engine; this plugin replaces that client unless DOCKER_HOST is set.
"""

import os
from types import SimpleNamespace

import pytest
from yarl import URL

GIVEN = URL(os.environ["AMQP_URL"])
# Port 1 refuses connections: some tests need such a port, the others of TLS are left out then.
PORTS = {"5672/tcp": GIVEN.port, "5671/tcp": int(os.environ.get("AMQPS_PORT", "1"))}


@pytest.fixture(scope="session")
def rabbitmq_container():
    return SimpleNamespace(id="given", host=GIVEN.host, ports=PORTS)


@pytest.fixture(scope="session")
def amqp_direct_url(rabbitmq_container):
    return URL.build(
        scheme="amqp",
        user=GIVEN.user,
        password=GIVEN.password,
        host=rabbitmq_container.host,
        port=rabbitmq_container.ports["5672/tcp"],
        path="//",
    )


def replace_engine() -> None:
    """Make every container that the tests request the broker of AMQP_URL."""
    try:
        import tests.docker_client as engine
    except ImportError:
        return
    container = engine.ContainerInfo("given", PORTS, GIVEN.host)
    engine.check_docker_available = lambda: engine.DockerHostInfo(True, host=GIVEN.host, port=GIVEN.port)
    engine.DockerClient.run = lambda *_arguments, **_options: container
    engine.DockerClient.kill = engine.DockerClient.remove = lambda *_arguments: None


# At import, before the tests import names from the engine's client. DOCKER_HOST means that containers.py serves.
if "DOCKER_HOST" not in os.environ:
    replace_engine()
