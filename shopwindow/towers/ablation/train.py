"""Training of a variant, in processes of its own, as `shopwindow pretrain` does it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopwindow.base.default_places import python_path
from shopwindow.base.machine import usable_cores
from shopwindow.towers.ablation.spec import Variant
from shopwindow.towers.architecture.config import read_json
from shopwindow.towers.training.config import TrainingConfig

CHECKPOINT, TRAINED = "checkpoint", "trained.json"

Identities = dict[str, str | None]
"""What a file is for -> SHA-256 of its content; None where there is no file."""


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """What every variant is trained on; see `pretrain`."""

    catalog: Path
    clicks: Path
    pairs: Path | None


def train(variant: Variant, folder: Path, files: TrainingFiles, identities: Identities) -> bool:
    """Train a variant unless that was done; a training that was stopped goes on.

    Args:
        variant: what to train.
        folder: receives config.json and the folder `checkpoint`.
        files: what to train on.
        identities: of the files.

    Returns:
        Whether there was anything left to do.

    Raises:
        ChildProcessError: the training failed.
    """

    def work() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.json"
        config.write_text(json.dumps(variant.settings, indent=1) + "\n")
        # The trainer's standard output joins standard error, where its progress is: ours is one line a variant.
        command = _command(variant, config, folder / CHECKPOINT, files)
        done = subprocess.run(command, env=_environment(variant.processes), stdout=2)
        if done.returncode:
            raise ChildProcessError(
                f"variant {variant.name!r}: training ended with code {done.returncode}, its error is above; "
                "the same command goes on from there"
            )

    inputs = {"settings": variant.settings, "processes": variant.processes, **identities}
    return once(folder / TRAINED, inputs, work)


def once(record: Path, inputs: dict[str, Any], work: Callable[[], None]) -> bool:
    """Do some work unless the record says that it was done with the same inputs.

    Args:
        record: JSON file, written when the work is done.
        inputs: everything that decides the outcome, as plain values.
        work: to do.

    Returns:
        Whether the work was done now.
    """
    inputs = json.loads(json.dumps(inputs))  # tuples become lists, as they do in the record
    if record.exists() and read_json(record) == inputs:
        return False
    record.unlink(missing_ok=True)  # before the work: half of it must not pass for all of it
    work()
    record.write_text(json.dumps(inputs, indent=1) + "\n")
    return True


def identify(files: Mapping[str, Path | None]) -> Identities:
    """SHA-256 of the content of files; None stays None."""
    found: Identities = {}
    for name, file in files.items():
        found[name] = None
        if file is not None:
            with file.open("rb") as content:
                found[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return found


def _command(variant: Variant, config: Path, out: Path, files: TrainingFiles) -> list[str]:
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(variant.processes)]
    # A variant without same-style losses has no use for pairs, and `pretrain` would say so.
    wanted = variant.settings.get("training", {}).get("same_style", TrainingConfig.same_style)
    pairs = files.pairs if wanted else None
    places = {"config": config, "catalog": files.catalog, "clicks": files.clicks, "pairs": pairs, "out": out}
    given = [(f"--{name}", str(place.resolve())) for name, place in places.items() if place is not None]
    return [
        sys.executable,
        *(many if variant.processes > 1 else []),
        *("-m", "shopwindow.cli.main", "pretrain"),
        *(part for option in given for part in option),
    ]


def _environment(processes: int) -> dict[str, str]:
    """This process's, with its threads shared out: processes that each take every core slow each other down."""
    threads = int(os.environ.get("OMP_NUM_THREADS", usable_cores()))
    return {
        **os.environ,
        "PYTHONPATH": python_path(),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(max(1, threads // processes)),
    }
