"""Finds Chromium, and installs Debian's where there is none and this process may."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str:
    """The path of a Chromium: CHROMIUM's, one on the PATH, or Debian's after its installation."""
    if named := os.environ.get("CHROMIUM"):
        return named
    if found := installed():
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("browser: no Chromium; install Debian's package chromium, or name one in CHROMIUM")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-q", "--yes", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", *words], check=True, stdout=sys.stderr, env=environment)
    return installed() or sys.exit("browser: Debian's package chromium has no chromium")


def installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
