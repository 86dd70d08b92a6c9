"""`shopwindow bisect`: measures each step alone, the in-process limit, the fused model and the ensemble, in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shopwindow.base.machine import usable_cores
from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval import InProcessPipeline
from shopwindow_loadtests.bisect.attribution import Proposal, Stage, attribute, propose
from shopwindow_loadtests.bisect.in_process import in_process
from shopwindow_loadtests.bisect.servers import PROFILES, served
from shopwindow_loadtests.bisect.worker import STEPS
from shopwindow_loadtests.generator.driving import check_answers
from shopwindow_loadtests.generator.reading import LIMIT_BATCH, LOADS, Load, Reading, interleave, median_reading
from shopwindow_loadtests.scenario.queries import read_queries

BATCHES = (1, 8)
LIMIT = "in process"
BUSY = Load(clients=32, batch=1)  # the load that the proposals are for
_COMPARED = 32  # queries to which every server must give the same answers before anything is measured


@dataclass(frozen=True, kw_only=True)
class BisectOptions:
    """The options of a bisection.

    Attributes:
        repository: Model repository.
        index: Index folder or home.
        queries: File of queries, see `read_queries`.
        rounds: How often everything is measured.
        seconds: Length of one measurement of a server; steps take half as long.

    Raises:
        ValueError: A value is out of range.
    """

    repository: Path
    index: Path
    queries: Path
    rounds: int = 5
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if not 0.2 <= self.seconds <= 600:
            raise ValueError(f"seconds must be 0.2 to 600, got {self.seconds:g}")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The measurements and the conclusions. Keys are (name, load), such as ("cpu", "32 x 1").

    Attributes:
        steps: (step, batch) -> medians. The step LIMIT is all steps together, in one process for each core.
        served: (profile, load) -> medians.
        stages: (profile, load) -> the stages of its CPU time.
        proposals: Proposed settings.
        rounds: How often everything was measured.
    """

    steps: dict[tuple[str, int], Reading]
    served: dict[tuple[str, str], Reading]
    stages: dict[tuple[str, str], list[Stage]]
    proposals: list[Proposal]
    rounds: int


def bisect(options: BisectOptions) -> Findings:
    """Measure everything and draw the conclusions.

    Raises:
        HarnessFailure: A request failed, a server gives other answers, or a process ended.
        ServingError: Triton cannot start.
        ValueError: There are no queries.
    """
    queries = read_queries(options.queries)
    with ExitStack() as stack:
        workers = stack.enter_context(in_process(options.repository, options.index, options.queries))
        servers = {
            profile: stack.enter_context(served(options.repository, options.index, profile=profile))
            for profile in PROFILES
        }
        pipeline = InProcessPipeline(options.repository, options.index)
        for server in servers.values():
            check_answers(server.target, pipeline, queries[:_COMPARED])
        half = options.seconds / 2
        measures: dict[tuple[str, int | str], Callable[[], Reading]] = {
            **{(name, batch): partial(workers.step, name, batch, half) for name in STEPS for batch in BATCHES},
            **{(LIMIT, batch): partial(workers.limit, batch, half) for batch in BATCHES},
            **{
                (profile, load.name): partial(server.measure, load, queries=options.queries, seconds=options.seconds)
                for profile, server in servers.items()
                for load in LOADS
            },
        }
        with progress_bar(total=len(measures) * options.rounds, desc="bisect", unit="measurement") as bar:
            readings = interleave(measures, options.rounds, lambda _: bar.update())
    medians = {key: median_reading(some) for key, some in readings.items()}
    return conclude(medians, rounds=options.rounds, cores=usable_cores())


def conclude(medians: Mapping[tuple[str, int | str], Reading], *, rounds: int, cores: int) -> Findings:
    """Draw the conclusions from the medians.

    Args:
        medians: (step or LIMIT, batch) and (profile, load) -> medians over the rounds.
        rounds: Number of rounds.
        cores: Cores that the servers may use.
    """
    steps = {(name, batch): one for (name, batch), one in medians.items() if isinstance(batch, int)}
    serving = {(name, load): one for (name, load), one in medians.items() if isinstance(load, str)}
    stages = {}
    for (profile, load), reading in serving.items():
        batch = LIMIT_BATCH[load]
        alone = {name: steps[name, batch].cpu_ms for name in STEPS}
        stages[profile, load] = attribute(alone, steps[LIMIT, batch].cpu_ms, reading)
    proposals = propose(
        single_ms=steps[LIMIT, BATCHES[0]].cpu_ms,
        batched_ms=steps[LIMIT, BATCHES[-1]].cpu_ms,
        batch=BATCHES[-1],
        fused=serving["cpu", BUSY.name],
        ensemble=serving["cpu-ensemble", BUSY.name],
        cores=cores,
    )
    return Findings(steps=steps, served=serving, stages=stages, proposals=proposals, rounds=rounds)
