"""Rounds of measurements. They go on if a peer fails, and every round is saved to disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shopwindow_loadtests.generator.reading import Reading, in_turn
from shopwindow_loadtests.peers.goals import OpenLoop
from shopwindow_loadtests.scenario.errors import HarnessFailure

Key = tuple[str, str]


@dataclass
class Found:
    """The results so far.

    Attributes:
        file: The file that `keep` writes.
        readings: (server, load) -> a reading for each round.
        left_out: Servers that were not measured, and why.
        open_loops: One for each round.
    """

    file: Path
    readings: dict[Key, list[Reading]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    open_loops: list[OpenLoop] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Number of complete rounds."""
        return min(map(len, self.readings.values()), default=0)

    @property
    def whole(self) -> dict[Key, list[Reading]]:
        """The readings of the complete rounds; empty before the first one."""
        return {key: some[: self.rounds] for key, some in self.readings.items() if self.rounds}

    def leave_out(self, server: str, why: str) -> None:
        """Drop a server and its readings, because a ratio needs all rounds."""
        self.left_out[server] = why
        self.readings = {key: some for key, some in self.readings.items() if key[0] != server}

    def keep(self) -> None:
        """Write all results as JSON."""
        readings = [
            {"server": name, "load": load, "rounds": [asdict(one) for one in some]}
            for (name, load), some in self.readings.items()
        ]
        raw = {"readings": readings, "open_loops": list(map(asdict, self.open_loops)), "left_out": self.left_out}
        self.file.write_text(json.dumps(raw, indent=1) + "\n")


def measure_rounds(
    measures: Mapping[Key, Callable[[], Reading]],
    rounds: int,
    found: Found,
    *,
    peers: Mapping[str, ExitStack],
    done: Callable[[], object],
) -> None:
    """Measure everything once in each round, as `shopwindow_loadtests.generator.reading.interleave` does.

    Args:
        measures: (server, load) -> its measurement.
        rounds: Number of rounds.
        found: Takes the readings. It is saved after each round, and also if a round fails.
        peers: Peer -> the stack that stops it. A peer that fails is left out; any other failure ends the run.
        done: Called after each measurement.

    Raises:
        HarnessFailure: A measurement failed that is not of a peer.
    """
    found.readings = {key: [] for key in measures}
    for number in range(rounds):
        try:
            for key in in_turn(measures, number):
                if key in found.readings:  # otherwise its server was left out meanwhile
                    _measure(key, measures[key], found, peers, number)
                done()
        finally:
            found.keep()


def _measure(
    key: Key, measure: Callable[[], Reading], found: Found, peers: Mapping[str, ExitStack], number: int
) -> None:
    server, load = key
    try:
        found.readings[key].append(measure())
    except HarnessFailure as failure:
        if server not in peers:
            raise
        found.leave_out(server, f"it failed in round {number + 1}, {load}: {str(failure).splitlines()[0]}")
        peers[server].close()
