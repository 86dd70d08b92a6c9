"""The saved state of a training: weights, optimiser and best validation.

A training that goes on from it gives the same result as one that never stopped. The random numbers of a step follow
from the seed, the process and the step, so none are saved. The files are Safetensors and JSON, no pickle. The folder is
written as a whole, so a kill at any moment leaves the previous state.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shopwindow.base.whole_folders import replacing
from shopwindow.towers.training.validation import Best

_TENSORS, _STATE = "state.safetensors", "state.json"


def save_state(
    folder: Path,
    *,
    step: int,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: Best,
) -> None:
    """Write the state after `step` steps.

    Args:
        folder: folder to write.
        step: number of steps done.
        fingerprint: identifies the run. Another run never goes on from this state.
        model: everything that is trained, including the memory bank.
        optimizer: the optimiser, whose moments are saved.
        best: the best validation so far.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{number}.{name}": value for name, value in moments.items()})
    tensors.update({f"best.{name}": value for name, value in best.weights.items()})
    with replacing(folder, _STATE) as new:
        save_file({name: value.contiguous().clone() for name, value in tensors.items()}, new / _TENSORS)
        facts = {"step": step, "fingerprint": fingerprint, "recall": best.recall, "since": best.since}
        (new / _STATE).write_text(json.dumps(facts))


def load_state(
    folder: Path,
    *,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: Best,
) -> int:
    """Restore a state that `save_state` wrote; arguments as there.

    Returns:
        The number of steps done; 0 if there is no state or it belongs to another run.
    """
    if not (folder / _STATE).is_file():
        return 0
    facts: dict[str, Any] = json.loads((folder / _STATE).read_text())
    if facts["fingerprint"] != fingerprint:
        return 0
    tensors = load_file(folder / _TENSORS)
    model.load_state_dict(_under("model.", tensors))
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in _under("optimizer.", tensors).items():
        number, moment = name.split(".")
        state["state"].setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict(state)
    best.recall, best.since, best.weights = facts["recall"], facts["since"], _under("best.", tensors)
    return int(facts["step"])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
