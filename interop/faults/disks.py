"""A file system for each node, on a loop device: it can be full, stand still, and lose power. Without root it is a tmpfs, which can
only be full."""

import contextlib
import fcntl
import os
import pathlib
import struct
import subprocess

import network

# ext4's own ioctl: ends the file system and drops everything that was not synced, as a power loss does.
SHUTDOWN, DROP_UNSYNCED = 0x8004587D, 2
SPARE_BLOCK = 4096


class Disk:
    """A node's file system."""

    def __init__(self, folder: pathlib.Path, name: str, megabytes: int):
        self.image, self.path = folder / f"{name}.img", folder / name
        self.path.mkdir()
        self.megabytes = megabytes
        self.is_frozen = False
        if network.is_root():
            with open(self.image, "wb") as image:
                image.truncate(megabytes << 20)
            subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image], check=True)
        self._mount()
        self._open_to_all()

    def _mount(self) -> None:
        if network.is_root():
            network.call("mount", "-o", "loop", str(self.image), str(self.path))
        else:
            network.call("mount", "-t", "tmpfs", "-o", f"size={self.megabytes}m", "tmpfs", str(self.path))

    def _open_to_all(self) -> None:
        # A chrooted RabbitMQ runs as a user of its own.
        self.path.chmod(0o777)

    def lose_power(self) -> None:
        """Drops everything that was not synced. The node's processes are dead already."""
        self.thaw()
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", DROP_UNSYNCED))
        finally:
            os.close(folder)
        network.call("umount", str(self.path))
        self._mount()

    def freeze(self) -> None:
        """Writes and syncs stand still from now on."""
        network.call("fsfreeze", "--freeze", str(self.path))
        self.is_frozen = True

    def thaw(self) -> None:
        if self.is_frozen:
            network.call("fsfreeze", "--unfreeze", str(self.path))
            self.is_frozen = False

    def fill(self) -> None:
        """Takes all free space, although the broker takes some of it meanwhile."""
        free = os.statvfs(self.path)
        with open(self.path / "ballast", "wb", buffering=0) as ballast:
            with contextlib.suppress(OSError):
                os.posix_fallocate(ballast.fileno(), 0, max(free.f_bavail * free.f_frsize, 1))
            ballast.seek(0, os.SEEK_END)
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(SPARE_BLOCK))

    def empty(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)

    def end(self) -> None:
        """Unmounts, so that the folder can be removed."""
        subprocess.run(["umount", "--lazy", self.path], check=False)
