"""Keep a process from running without its state saying so, as if it hangs: run `python -m tests.server.suspending PID`.

It attaches to every thread as a debugger does. The state becomes `t`, not the `T` of SIGSTOP. The process goes on when
this one ends.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ATTACH = 16  # PTRACE_ATTACH
_WALL = 0x40000000  # __WALL: threads too

ROOT = Path(__file__).parents[2]


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Suspend a process inside the block."""
    command = [sys.executable, "-m", "tests.server.suspending", str(pid)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdin is not None and tracer.stdout is not None
        try:
            assert tracer.stdout.readline() == "suspended\n"
            yield
        finally:
            tracer.kill()


def _suspend(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for task in Path(f"/proc/{pid}/task").iterdir():
        if libc.ptrace(_ATTACH, int(task.name), None, None) != 0:
            raise OSError(ctypes.get_errno(), f"cannot attach to thread {task.name}")
        os.waitpid(int(task.name), _WALL)
    print("suspended", flush=True)
    while True:  # until it was killed: its parent can reap it only after the debugger has
        try:
            os.waitpid(-1, _WALL)
        except ChildProcessError:
            return


if __name__ == "__main__":
    _suspend(int(sys.argv[1]))
