"""A private folder for what a server needs only while it runs, and the removal of what killed servers left."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from shopwindow.server.processes import process_status

# In memory, so that no secret reaches a disk. Every container that shares our shared memory sees the locks too.
SHARED_MEMORY = Path("/dev/shm")
_LOCK = "lock"
_JANITOR = Path(__file__).with_name("_janitor.py")
_FOLDER = re.compile(r"shopwindow-\d+-[0-9a-f]{16}")
_REGION = re.compile(r"(shopwindow-\d+-[0-9a-f]{16})-[0-9a-f]{32}")


class RuntimeFolder:
    """A folder in /dev/shm that only this user can read, such as `/dev/shm/shopwindow-4711-5f0c6a9be2d13478`.

    A lock on a file in it says that its process lives. The kernel drops the lock when the process ends, in whatever
    way. Then a small process, the janitor, ends the server's processes and removes the folder and the shared memory
    regions. If the janitor was killed too, `sweep` removes both at the next start. Process ids cannot decide this,
    because they repeat in a PID namespace.

    Attributes:
        path: The folder.
        regions: The start of the names of the server's shared memory regions in /dev/shm. No caller may know it.
    """

    def __init__(self) -> None:
        self.path, self._lock = _locked_folder()
        self.regions = f"{self.path.name}-{secrets.token_hex(16)}"
        (self.path / "groups").mkdir()
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_JANITOR), str(self.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # so that Ctrl-C does not reach it
        )

    def add_group(self, group: int) -> None:
        """Note a process group, given by the id of its leader, that must end when this process ends."""
        (self.path / "groups" / str(group)).touch()

    def close(self) -> None:
        """Remove the folder and the regions. The processes must have ended."""
        _remove(self.path)
        os.close(self._lock)
        self._janitor.wait()


def sweep() -> None:
    """Remove the folders and the regions of servers that were killed before they could remove them."""
    for path in SHARED_MEMORY.glob("shopwindow-*"):
        if _FOLDER.fullmatch(path.name):
            # Folders of other users are left to them.
            with suppress(OSError):
                lock = os.open(path / _LOCK, os.O_RDWR)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
                finally:
                    os.close(lock)
        elif (region := _REGION.match(path.name)) and not (SHARED_MEMORY / region[1]).exists():
            with suppress(OSError):
                path.unlink()


def killed_server_ends() -> bool:
    """Return whether a server that was killed is still being removed. Its processes may hold its ports meanwhile."""
    folders = (path.name for path in SHARED_MEMORY.glob("shopwindow-*") if _FOLDER.fullmatch(path.name))
    owners = (process_status(int(name.split("-")[1])) for name in folders)
    return any(owner is None or owner.state in "ZX" for owner in owners)


def _locked_folder() -> tuple[Path, int]:
    while True:
        path = SHARED_MEMORY / f"shopwindow-{os.getpid()}-{secrets.token_hex(8)}"
        path.mkdir(mode=0o700)
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another process may have swept the folder before it was locked.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), (path / _LOCK).stat()):
                return path, lock
        os.close(lock)


def _remove(folder: Path) -> None:
    for region in SHARED_MEMORY.glob(f"{folder.name}-*"):
        with suppress(OSError):
            region.unlink()
    shutil.rmtree(folder, ignore_errors=True)
