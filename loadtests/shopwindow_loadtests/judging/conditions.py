"""When, where and against which index a load test ran: what its report has to say beside the figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shopwindow.base.machine import usable_cores

_CPU, _MEMORY = Path("/proc/cpuinfo"), Path("/proc/meminfo")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions of one test.

    Attributes:
        began: When it began, with its time zone.
        machine: The machine that sent the load.
        generation: Generation of the index that the server served at the beginning; None if the server did not say.
    """

    began: datetime
    machine: str
    generation: int | None = None


def cpu_name() -> str:
    """Return the model name of the CPU, or "CPU" if Linux does not tell it."""
    models = (line for line in _CPU.read_text().splitlines() if line.startswith("model name"))
    return next(models, "").partition(":")[2].strip() or "CPU"


def machine_name() -> str:
    """Return CPU model, usable cores and memory of this machine, as in "AMD EPYC, 8 cores, 64 GB memory"."""
    sizes = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    gigabytes = int(sizes["MemTotal"].split()[0]) * 1024 / 1e9
    return f"{cpu_name()}, {usable_cores()} cores, {gigabytes:.0f} GB memory"
