"""Fetches packages of a Debian release by apt with a configuration of its own, so that the system's does not change."""

import os
import pathlib
import shutil
import subprocess
import sys

SOURCES = pathlib.Path("/etc/apt/sources.list.d/debian.sources")


def available() -> bool:
    """Whether this machine has Debian's apt and its sources."""
    return SOURCES.exists() and shutil.which("apt-get") is not None


def _codename() -> str:
    release = pathlib.Path("/etc/os-release").read_text().splitlines()
    return next(line.split("=")[1].strip('"') for line in release if line.startswith("VERSION_CODENAME="))


def updated(folder: pathlib.Path, release: str, kind: str = "deb") -> list[str]:
    """Fetch the lists of packages of a release (`kind` is deb or deb-src); returns the options that make apt use them."""
    for part in ("sources", "lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    sources = SOURCES.read_text().replace("Types: deb\n", f"Types: {kind}\n").replace(_codename(), release)
    (folder / "sources" / "debian.sources").write_text(sources)
    options = [
        "-oDir::Etc::sourcelist=/dev/null",
        f"-oDir::Etc::sourceparts={folder / 'sources'}",
        f"-oDir::State::lists={folder / 'lists'}",
        f"-oDir::Cache={folder / 'cache'}",
        # apt downloads as root into a folder that its own user may not enter.
        "-oAPT::Sandbox::User=root",
    ]
    subprocess.run(["apt-get", *options, "-qq", "update"], check=True, stdout=sys.stderr)
    return options


def unpacked(cache: pathlib.Path, release: str, package: str) -> pathlib.Path:
    """The files of a package of a release, unpacked in the cache and not installed. Fetched once."""
    home = cache / "debian" / release
    tree = home / package
    if tree.exists():
        return tree
    options = updated(home / "apt", release)
    fetched = home / f"{package}.fetched"
    shutil.rmtree(fetched, ignore_errors=True)
    fetched.mkdir()
    subprocess.run(["apt-get", *options, "-qq", "download", package], cwd=fetched, check=True, stdout=sys.stderr)
    unfinished = home / f"{package}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", next(fetched.glob("*.deb")), unfinished], check=True)
    shutil.rmtree(fetched)
    os.rename(unfinished, tree)
    return tree
