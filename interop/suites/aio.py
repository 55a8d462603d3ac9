"""Fetches and runs the suites of aiormq and aio-pika: pytest suites in sdists on PyPI."""

import contextlib
import os
import re
import shutil
import tarfile

import containers
import suite
from clients import ROOT, venv

# TLS needs certificates and a second port, which these brokers do not have.
LEAVE_OUT = "not amqps"
# Some tests send bodies of 20 MiB, above the default limit of RabbitMQ 4 and of Leveret.
os.environ.setdefault("LEVERET_MAX_MESSAGE_SIZE", "128MiB")


def source(run: suite.Run, python, package: str):
    """The unpacked sdist of the version that the runner in `interop/aio-pika` pins."""
    pins = (ROOT / "aio-pika" / "requirements.txt").read_text()
    version = re.search(rf"^{re.escape(package)}==(\S+)", pins, re.MULTILINE).group(1)
    packed = run.folder / f"{package.replace('-', '_')}-{version}.tar.gz"
    if not packed.exists():
        download = [python, "-m", "pip", "download", "--no-deps", "--no-binary", package, "-d", run.folder]
        run.must([*download, f"{package}=={version}"])
    copy = run.folder / "source"
    shutil.rmtree(copy, ignore_errors=True)
    with tarfile.open(packed) as archive:
        archive.extractall(copy, filter="data")
    return next(copy.iterdir())


def body(run: suite.Run, package: str, needs_engine: bool):
    """Run the tests against the installed library, with a container engine if they need one."""
    python = venv(run.cache, suite.HERE / "aio-requirements.txt", "aio-suites")
    tree = source(run, python, package)
    results = run.folder / "results.xml"
    results.unlink(missing_ok=True)
    # These tests kill brokers, which is possible only with brokers that we start.
    leave_out = LEAVE_OUT if run.command else f"{LEAVE_OUT} and not test_robust_recovery"
    command = [python, "-m", "pytest", "tests", "-k", leave_out, "-p", "given_broker", "-p", "no:cacheprovider"]
    command += [f"--junitxml={results}", f"--rootdir={tree}"]
    environment = os.environ | {"AMQP_URL": run.url, "PYTHONPATH": f"{suite.HERE}:{tree}"}
    environment.pop("DOCKER_HOST", None)
    with contextlib.ExitStack() as stack:
        if needs_engine and run.command:
            environment["DOCKER_HOST"] = stack.enter_context(containers.serve(run.command))
        run.log(command, cwd=tree, env=environment)
    return suite.junit(results) if results.exists() else []
