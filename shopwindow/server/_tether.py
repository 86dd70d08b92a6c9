"""Becomes the program given, after asking the kernel to end it when the parent process is gone.

Run as `python _tether.py PARENT_PID PROGRAM ARGUMENT...`, without site-packages. It stands in for Popen's
preexec_fn, which may deadlock in a process with threads, and a parent that speaks gRPC has many.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Triton before 25.07 puts each chunk of an HTTP body on a thread's stack: with the usual 8 MB one body of 4 MB ends the
# server (CVE-2025-23310). This much carries plain bodies of 64 MB, at which later versions refuse them, and some twelve
# million chunks; a caller who means harm can still send more, so HTTP is not for strangers on such a version.
_STACK_BYTES = 192 * 2**20


def main(parent_pid: int, program: list[str]) -> None:
    """Ties this process to its parent, deepens its stacks and turns it into `program`; SIGTERM lets it clean up."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # the parent died before the line above could tie us to it
        sys.exit("the process that started this server is gone")
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    soft = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
    os.execv(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
