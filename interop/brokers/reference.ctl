#!/usr/bin/env python3
# Runs rabbitmqctl for the node that brokers/reference started on DATA_DIR: reference.ctl DATA_DIR VERB ...

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "parity"))

from parity import reference  # noqa: E402

series, port = (pathlib.Path(sys.argv[1]) / "reference").read_text().split()
which = reference.REFERENCES[series]
command = [*which.enter(), f"{which.home()}/sbin/rabbitmqctl", "-n", f"interop{port}@localhost", *sys.argv[2:]]
os.execvp(command[0], command)
