"""Fetches and runs the suites of aiormq and aio-pika: pytest suites in sdists on PyPI."""

import contextlib
import os
import re
import shutil
import tarfile

import containers
import suite
from clients import ROOT, venv

# For a broker without TLS.
LEAVE_OUT = "not amqps and not test_ssl_context and not test_ssl_verification_fails"
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
    tree = next(copy.iterdir())
    if run.tls:
        made, certs = run.tls.certificates, tree / "tests" / "certs"
        certs.mkdir(exist_ok=True)
        for name, file in (("ca.pem", made.authority), ("client.pem", made.client), ("client.key", made.client_key)):
            shutil.copy(file, certs / name)
    return tree


def body(run: suite.Run, package: str, needs_engine: bool):
    """Run the tests against the installed library, with a container engine if they need one."""
    python = venv(run.cache, suite.HERE / "aio-requirements.txt", "aio-suites")
    tree = source(run, python, package)
    results = run.folder / "results.xml"
    results.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "tests", "-p", "given_broker", "-p", "no:cacheprovider"]
    command += [f"--junitxml={results}", f"--rootdir={tree}"]
    environment = os.environ | {"AMQP_URL": run.url, "PYTHONPATH": f"{suite.HERE}:{tree}"}
    environment.pop("DOCKER_HOST", None)
    left_out = []
    if run.tls:
        environment["AMQPS_PORT"] = str(run.tls.port)
    else:
        left_out.append(LEAVE_OUT)
    if not run.command:
        # These tests kill brokers, which is possible only with brokers that we start.
        left_out.append("not test_robust_recovery")
    if left_out:
        command += ["-k", " and ".join(left_out)]
    with contextlib.ExitStack() as stack:
        if needs_engine and run.command:
            environment["DOCKER_HOST"] = stack.enter_context(containers.serve(run.command, run.tls and run.tls.certificates))
        run.log(command, cwd=tree, env=environment)
    return suite.junit(results) if results.exists() else []
