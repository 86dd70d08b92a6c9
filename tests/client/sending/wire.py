"""A network link that tests can cut: a pair of virtual interfaces to a network namespace."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000  # linux/sched.h


class Wire:
    """A link from this process to a namespace.

    Attributes:
        host: The namespace's address.
    """

    def __init__(self) -> None:
        unique = os.getpid()
        self._name = f"shopwindow-{unique}"
        self._near, self._far = f"swn{unique}", f"swf{unique}"
        network = f"10.213.{unique % 256}"
        self._here, self.host = f"{network}.1", f"{network}.2"

    def lay(self) -> None:
        """Make both ends.

        Raises:
            subprocess.CalledProcessError: This process may not make them.
        """
        _ip("netns", "add", self._name)
        _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name)
        _ip("address", "add", f"{self._here}/30", "dev", self._near)
        _ip("link", "set", self._near, "up")
        _ip("-n", self._name, "address", "add", f"{self.host}/30", "dev", self._far)
        _ip("-n", self._name, "link", "set", "lo", "up")
        _ip("-n", self._name, "link", "set", self._far, "up")

    def remove(self) -> None:
        """Remove both ends."""
        subprocess.run(["ip", "netns", "delete", self._name], capture_output=True, check=False)

    def do_there(self, work: Callable[[], None]) -> None:
        """Run `work` in the namespace. Processes that it starts stay there."""

        def enter() -> None:
            namespace = os.open(Path("/run/netns") / self._name, os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns failed")
            finally:
                os.close(namespace)
            work()

        with ThreadPoolExecutor(1) as threads:  # only this thread moves to the namespace, and it ends there
            threads.submit(enter).result()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Drop everything on the link, without telling either side."""
        _ip("-n", self._name, "link", "set", self._far, "down")
        try:
            yield
        finally:
            _ip("-n", self._name, "link", "set", self._far, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
