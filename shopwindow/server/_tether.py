"""Ask the kernel to end this process when its parent ends, and then become another program.

Run it as `python _tether.py PARENT_PID PROGRAM ARGUMENT...`, without site-packages. Popen's preexec_fn could do the
same, but it may deadlock in a process with threads, and a parent that uses gRPC has many.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Triton before 25.07 puts each chunk of an HTTP body on a thread's stack. With the usual 8 MB of stack, a body of 4 MB
# ends the server (CVE-2025-23310). This stack is enough for plain bodies of 64 MB, the limit of later versions, and for
# about twelve million chunks. An attacker can send more chunks, so do not expose HTTP to strangers on such a version.
_STACK_BYTES = 192 * 2**20


def main(parent_pid: int, program: list[str]) -> None:
    """Tie this process to its parent, raise its stack limit and turn it into `program`.

    When the parent ends, the kernel sends SIGTERM, so that the program can clean up.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # the parent died before prctl tied this process to it
        sys.exit("the process that started this server has ended")
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    soft = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
    os.execv(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
