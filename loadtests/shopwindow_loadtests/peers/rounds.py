"""Rounds of measurements that outlast a failing peer, and are kept on disk as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shopwindow_loadtests.generator.reading import Reading, in_turn
from shopwindow_loadtests.peers.goals import OpenLoop
from shopwindow_loadtests.sending.launching import HarnessFailure

Key = tuple[str, str]


@dataclass
class Found:
    """What was measured so far.

    Attributes:
        file: Where `keep` writes it.
        readings: (server, load) -> a reading a round.
        left_out: Servers that were not measured, and why.
        open_loops: A round each.
    """

    file: Path
    readings: dict[Key, list[Reading]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    open_loops: list[OpenLoop] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """Those that are whole."""
        return min(map(len, self.readings.values()), default=0)

    @property
    def whole(self) -> dict[Key, list[Reading]]:
        """The readings of the whole rounds; nothing before there is one."""
        return {key: some[: self.rounds] for key, some in self.readings.items() if self.rounds}

    def leave_out(self, server: str, why: str) -> None:
        """Forget a server: a ratio needs all rounds."""
        self.left_out[server] = why
        self.readings = {key: some for key, some in self.readings.items() if key[0] != server}

    def keep(self) -> None:
        """Write all that there is, as JSON."""
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
    """Measure everything once a round, in turn, as `shopwindow_loadtests.generator.reading.interleave` does.

    Args:
        measures: (server, load) -> what measures it.
        rounds: How often.
        found: Takes the readings, and is kept after each round, and where one fails.
        peers: Those that are left out when they fail, rather than end it all -> what stops them.
        done: Called after each measurement.

    Raises:
        HarnessFailure: Something else failed.
    """
    found.readings = {key: [] for key in measures}
    for number in range(rounds):
        try:
            for key in in_turn(measures, number):
                if key in found.readings:  # else its server was left out meanwhile
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
