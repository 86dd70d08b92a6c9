"""A stopped training's state: weights, optimiser and random numbers, so that going on equals never having stopped.

Safetensors and JSON, no pickle. The folder is written whole, so a kill at any moment leaves the previous state.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from retrieval.files import replacing

_TENSORS, _STATE = "state.safetensors", "state.json"


def save_state(
    folder: Path,
    *,
    step: int,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> None:
    """Write the state after `step` steps.

    Args:
        folder: where.
        step: steps done.
        fingerprint: identifies the run; another run's state is never gone on from.
        model: everything that is trained, memory banks included.
        optimizer: its moments.
        rng: what batches are drawn with; torch's own generator is saved too.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{number}.{name}": value for name, value in moments.items()})
    tensors["torch_rng"] = torch.get_rng_state()
    with replacing(folder, _STATE) as new:
        save_file({name: value.contiguous().clone() for name, value in tensors.items()}, new / _TENSORS)
        facts = {"step": step, "fingerprint": fingerprint, "numpy_rng": rng.bit_generator.state}
        (new / _STATE).write_text(json.dumps(facts))


def load_state(
    folder: Path,
    *,
    fingerprint: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> int:
    """Restore what `save_state` wrote; arguments as there.

    Returns:
        Steps done; 0 when there is no state, or it is another run's.
    """
    if not (folder / _STATE).is_file():
        return 0
    facts: dict[str, Any] = json.loads((folder / _STATE).read_text())
    if facts["fingerprint"] != fingerprint:
        return 0
    tensors = load_file(folder / _TENSORS)
    prefix = "model."
    model.load_state_dict({name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)})
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".")
            state["state"].setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict(state)
    torch.set_rng_state(tensors["torch_rng"])
    rng.bit_generator.state = facts["numpy_rng"]
    return int(facts["step"])
