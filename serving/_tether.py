"""Becomes the program given, after asking the kernel to end it when the parent process is gone.

Run as `python _tether.py PARENT_PID PROGRAM ARGUMENT...`, without site-packages. It stands in for Popen's
preexec_fn, which may deadlock in a process with threads, and a parent that speaks gRPC has many.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent_pid: int, program: list[str]) -> None:
    """Ties this process to its parent and turns it into `program`; SIGTERM lets the server clean up."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # the parent died before the line above could tie us to it
        sys.exit("the process that started this server is gone")
    os.execv(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
