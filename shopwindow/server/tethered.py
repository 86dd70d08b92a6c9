"""Processes that end together with this process, in whatever way it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

from shopwindow.server.processes import kill_group

_TETHER = Path(__file__).with_name("_tether.py")


class Tethered:
    """A process, the leader of its own group, that gets SIGTERM when this process ends.

    Args:
        command: The program and its arguments.
        folder: Its current folder.
        output: The file for its standard output and standard error.
        environment: Its environment variables; None for those of this process.

    Attributes:
        pid: Its process id, which is also its group.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        output: BinaryIO,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # The kernel ends a tethered process together with the *thread* that started it, and the caller's thread may
        # end soon. So a keeper thread starts the process and lives exactly as long as it.
        started: Future[subprocess.Popen[bytes]] = Future()

        def keep() -> None:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *command],
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # in its own group, so that Ctrl-C reaches only us and we stop it
                )
            except BaseException as error:
                started.set_exception(error)
                return
            started.set_result(process)
            process.wait()

        self._keeper = threading.Thread(target=keep, daemon=True)
        self._keeper.start()
        self._process = started.result()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative if a signal ended it; None while it runs."""
        return self._process.returncode if self.wait(0) else None

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, at most `timeout_s` seconds, and return whether it has ended."""
        self._keeper.join(timeout_s)
        return not self._keeper.is_alive()

    def stop(self, timeout_s: float) -> None:
        """Ask it to end, and kill what is left of its group after `timeout_s` seconds."""
        if self.poll() is None:
            self._process.terminate()
            self.wait(timeout_s)
        kill_group(self.pid)
        self._keeper.join()
