"""Train a variant with `shopwindow pretrain`, in separate processes."""

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

FileHashes = dict[str, str | None]
"""Name of an input -> SHA-256 of its file; None if there is no file."""


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """The files that every variant is trained on; see `pretrain`."""

    catalog: Path
    clicks: Path
    pairs: Path | None


def train(variant: Variant, folder: Path, files: TrainingFiles, hashes: FileHashes) -> bool:
    """Train a variant unless that is done already. A stopped training goes on.

    Args:
        variant: what to train.
        folder: receives config.json and the folder `checkpoint`.
        files: what to train on.
        hashes: the hashes of these files.

    Returns:
        Whether there was anything left to do.

    Raises:
        ChildProcessError: the training failed.
    """

    def work() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.json"
        config.write_text(json.dumps(variant.settings, indent=1) + "\n")
        # Our standard output has one line per variant, so the trainer prints to standard error.
        command = _command(variant, config, folder / CHECKPOINT, files)
        done = subprocess.run(command, env=_environment(variant.processes), stdout=2)
        if done.returncode:
            raise ChildProcessError(
                f"variant {variant.name!r}: training ended with code {done.returncode}; its error is above; "
                "run the same command again to go on"
            )

    inputs = {"settings": variant.settings, "processes": variant.processes, **hashes}
    return once(folder / TRAINED, inputs, work)


def once(record: Path, inputs: dict[str, Any], work: Callable[[], None]) -> bool:
    """Do some work unless the record says that it was done with the same inputs.

    Args:
        record: JSON file that is written when the work is done.
        inputs: everything that decides the outcome, as plain values.
        work: what to do.

    Returns:
        Whether the work was done now.
    """
    inputs = json.loads(json.dumps(inputs))  # tuples become lists, as they do in the record
    if record.exists() and read_json(record) == inputs:
        return False
    record.unlink(missing_ok=True)  # before the work, so that unfinished work never counts as done
    work()
    record.write_text(json.dumps(inputs, indent=1) + "\n")
    return True


def hash_files(files: Mapping[str, Path | None]) -> FileHashes:
    """Return the SHA-256 of each file's content; None stays None."""
    hashes: FileHashes = {}
    for name, file in files.items():
        hashes[name] = None
        if file is not None:
            with file.open("rb") as content:
                hashes[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return hashes


def _command(variant: Variant, config: Path, out: Path, files: TrainingFiles) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(variant.processes)]
    # `pretrain` refuses pairs if the same-style losses have no weight.
    same_style = variant.settings.get("training", {}).get("same_style", TrainingConfig.same_style)
    pairs = files.pairs if same_style else None
    paths = {"config": config, "catalog": files.catalog, "clicks": files.clicks, "pairs": pairs, "out": out}
    options = [(f"--{name}", str(path.resolve())) for name, path in paths.items() if path is not None]
    return [
        sys.executable,
        *(torchrun if variant.processes > 1 else []),
        *("-m", "shopwindow.cli.main", "pretrain"),
        *(part for option in options for part in option),
    ]


def _environment(processes: int) -> dict[str, str]:
    """Return this process's environment with the threads divided among the processes.

    Processes that each use every core slow each other down.
    """
    threads = int(os.environ.get("OMP_NUM_THREADS", usable_cores()))
    return {
        **os.environ,
        "PYTHONPATH": python_path(),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(max(1, threads // processes)),
    }
