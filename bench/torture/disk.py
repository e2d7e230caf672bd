"""A small disk for Postgres, so that it can be full without filling the machine's.

It is a file with an ext4 in it, mounted where the cluster's data go, in a mount namespace of
this process: when this process and its children are gone, so is the mount. Where the machine
has no loop devices, memory is mounted instead, with the same limit.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SIZE_MB: Final = 6144

_CLONE_NEWNS: Final = 0x00020000


class NoDisk(Exception):
    """Nothing can be mounted on this machine by this user."""


class Disk:
    """A mounted file system of our own."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all that is free."""
        with self._ballast.open("wb") as ballast:
            size = 0
            # In ever smaller steps, until not one more block is free.
            step = 1 << 30
            while step >= 4096:
                try:
                    os.posix_fallocate(ballast.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Detach it; nothing may use it any more."""
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)


def mount(folder: Path, image: Path) -> Disk:
    """Mount a disk there. Call it in the main thread, before there are others.

    Raises: NoDisk.
    """
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise NoDisk("only root may mount a disk")
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise NoDisk(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    _run("mount", "--make-rprivate", "/")
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(NoDisk, OSError):
        with image.open("wb") as file:
            file.truncate(SIZE_MB << 20)
        # Nothing is kept back for root: full is to mean full.
        _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", str(image))
        _run("mount", "-o", "loop", str(image), str(folder))
        (folder / "lost+found").rmdir()
        return Disk(folder, "a file with an ext4 in it")
    _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "torture", str(folder))
    return Disk(folder, "memory")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoDisk(str(error)) from None
    if done.returncode != 0:
        raise NoDisk(f"{command[0]}: {done.stderr.strip()}")
