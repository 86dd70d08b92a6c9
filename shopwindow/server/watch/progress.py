"""Tell a busy process from one that hangs, by what it did since the last look."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shopwindow.server.processes import Stub, process_status

# A process moves if it computed, or waited for a core, for this part of the time. One that has nothing to do stays far
# below: its threads wake up a few times a second.
_MOVING = 0.02
# A model that computes for this long without finishing anything hangs all the same, in an endless loop.
_LONGEST_BATCH_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What processes and models have done so far.

    Attributes:
        at: When it was taken, in seconds of `time.monotonic`.
        effort_s: For each process, the seconds that it computed or waited for a core.
        waiting: The processes that wait for a disk.
        answered: The number of successful requests of each model.
    """

    at: float
    effort_s: Mapping[int, float] = field(default_factory=dict)
    waiting: Collection[int] = ()
    answered: Mapping[str, int] = field(default_factory=dict)


class Progress:
    """What the processes of a server did between the last two samples.

    Args:
        stubs: The processes of the Python models.
        first: A sample taken before.
    """

    def __init__(self, stubs: Sequence[Stub], first: Sample) -> None:
        self._stubs = stubs
        self._before = self._now = first
        self._answered_at = dict.fromkeys((stub.model for stub in stubs), first.at)

    def add(self, sample: Sample) -> None:
        """Compare with a new sample from now on."""
        self._before, self._now = self._now, sample
        for model in self._answered_at:
            if self.answered(model) or not self.computes(model):
                self._answered_at[model] = sample.at

    def moves(self, pid: int) -> bool:
        """Return whether a process did something or waited for a core or a disk."""
        spent = self._now.effort_s.get(pid, 0.0) - self._before.effort_s.get(pid, 0.0)
        return spent >= _MOVING * (self._now.at - self._before.at) or pid in self._now.waiting

    def answered(self, model: str) -> bool:
        """Return whether a model answered a request."""
        now = self._now.answered.get(model, 0)
        return now > self._before.answered.get(model, now)

    def computes(self, model: str) -> bool:
        """Return whether a process of a model moves."""
        return any(self.moves(stub.pid) for stub in self._stubs if stub.model == model)

    def stuck_step(self, steps: Sequence[str]) -> str | None:
        """Return the step that keeps a pipeline from answering, or None if it is only busy.

        That is the first step that gets requests and does nothing, neither computes nor answers. A later step gets
        none if the one before it has not answered: then it has nothing to do.

        Args:
            steps: The models that a request passes through, in this order. The first gets the canary.
        """
        for step in steps:
            answered = self.answered(step)
            if not answered and not self.computes(step):
                return step
            if self._now.at - self._answered_at.get(step, self._now.at) > _LONGEST_BATCH_S:
                return step
            if not answered:
                return None
        return None


def take_sample(pids: Collection[int], answered: Mapping[str, int]) -> Sample:
    """Look at some processes, and add what Triton says of its models."""
    efforts: dict[int, float] = {}
    waiting = []
    for pid in pids:
        if (status := process_status(pid)) is not None:
            efforts[pid] = status.cpu_seconds + _waited_s(pid)
            if status.state == "D":
                waiting.append(pid)
    return Sample(at=time.monotonic(), effort_s=efforts, waiting=waiting, answered=answered)


def _waited_s(pid: int) -> float:
    """Return the seconds that the threads of a process waited for a core while they could have run.

    On a machine with far more work than cores, a process gets almost no time although it does not hang.
    """
    waited_ns = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, IndexError):  # the thread has ended, or the kernel does not count
            waited_ns += int(thread.read_text().split()[1])
    return waited_ns / 1e9
