"""Splits the CPU time of a query into stages and proposes settings. Arithmetic only: no clock, no server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shopwindow_loadtests.generator.reading import Reading
from shopwindow_loadtests.generator.server_cpu import SERVER

# Threads of an instance. Only one of them reads and answers its requests, so more threads would wait.
THREADS = 2
NEAR_BEST = 1.05  # a batch is large enough if a larger one saves no more than this
WORTH_WAITING = 1.1  # a request waits for a batch only if batches save at least this much
_LARGEST = 64  # max_batch_size of the models


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the cost of a query.

    Attributes:
        name: The work in this stage.
        cpu_ms: CPU milliseconds per query; below 0 if the server does it cheaper than the in-process batch.
        share: Share of the whole.
        loss: Whether serving adds this cost. False: the work itself.
    """

    name: str
    cpu_ms: float
    share: float
    loss: bool


def attribute(steps: Mapping[str, float], limit_ms: float, reading: Reading) -> list[Stage]:
    """Split the CPU time of a served query into the work and the cost that serving adds.

    Args:
        steps: CPU milliseconds per query of each step alone, at the batch of the in-process limit.
        limit_ms: The same for all steps together in process.
        reading: The measurement of the server.

    Returns:
        The steps, the rest of the work in process, what the Python models spend beyond it, and the server itself.
        Together they are `reading.cpu_ms`.
    """
    models = sum(took for name, took in reading.parts.items() if name != SERVER)
    parts = [(name, took, False) for name, took in steps.items()]
    parts.append(("checks and results", limit_ms - sum(steps.values()), False))
    parts.append(("Python models beyond the limit", models - limit_ms, True))
    parts.append(("server: gRPC, queues, copies", reading.cpu_ms - models, True))
    return [Stage(name=name, cpu_ms=took, share=took / reading.cpu_ms, loss=loss) for name, took, loss in parts]


def overhead_ms(stages: list[Stage]) -> float:
    """Return the cost that serving adds: CPU milliseconds per query beyond the in-process limit."""
    return sum(stage.cpu_ms for stage in stages if stage.loss)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed setting.

    Attributes:
        setting: Its name in config.pbtxt, or `profile`.
        value: The value to set.
        why: The rule, with the figures behind it.
    """

    setting: str
    value: str
    why: str


def propose(
    *, single_ms: float, batched_ms: float, batch: int, fused: Reading, ensemble: Reading, cores: int
) -> list[Proposal]:
    """Propose settings for the fused model, by simple rules.

    Args:
        single_ms: CPU milliseconds per query in process, one query at a time.
        batched_ms: The same in batches of `batch`.
        batch: Queries in a batch.
        fused: The fused model under many clients with one query each.
        ensemble: The ensemble under the same load.
        cores: Cores that the server may use.
    """
    # A batch of b queries costs fixed + b * each.
    fixed = max(0.0, (single_ms - batched_ms) * batch / (batch - 1))
    each = max(batched_ms - fixed / batch, 1e-9)
    share = (fused.cpu_ms - fused.parts.get(SERVER, 0.0)) / fused.cpu_ms
    instances = max(1, math.ceil((cores * share - 0.25) / THREADS))
    wanted = min(_LARGEST, 2 ** math.ceil(math.log2(max(1.0, fixed / (each * (NEAR_BEST - 1))))))
    saves = single_ms / batched_ms
    reached = fused.rows or 1.0
    if saves < WORTH_WAITING:
        delay, why = 0, f"a batch of {batch} saves only {saves:.2f}x, below {WORTH_WAITING:g}x: not worth a wait"
    elif reached >= min(batch, wanted) / 2:
        delay, why = 0, f"batches reach {reached:.1f} queries without waiting, because the instances are busy"
    else:
        delay = round(1e3 * fixed)
        why = f"batches reach only {reached:.1f} queries; a wait can save at most the cost of a call, {fixed:.2f} ms"
    ratio = fused.cpu_ms / ensemble.cpu_ms
    return [
        Proposal(
            setting="profile",
            value="cpu" if ratio <= 1 else "cpu-ensemble",
            why=f"the fused model takes {ratio:.2f}x the CPU time of the ensemble",
        ),
        Proposal(
            setting="instance_group count",
            value=str(instances),
            why=f"{THREADS} threads each; the Python models take {share:.0%} of the server's CPU time, which is "
            f"{cores * share:.2f} of {cores} cores; an instance covers {THREADS} cores; a rest of more than a quarter "
            "of a core adds one",
        ),
        Proposal(
            setting="preferred batch",
            value=str(wanted),
            why=f"a call costs {fixed:.2f} ms and each query {each:.2f} ms more: a batch larger than this saves at "
            f"most {NEAR_BEST - 1:.0%}",
        ),
        Proposal(setting="max_queue_delay_microseconds", value=str(delay), why=why),
    ]
