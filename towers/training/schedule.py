"""Who learns in which step, and how fast.

Texts of a few words are learned in a few hundred large batches; after that they learn the clicks by heart. Photos are
learned from scratch and want many more. So a training may begin with texts alone, cheaply, and go on with photos that
learn to fit texts which stay as they are.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from towers.model import Towers
from towers.training.config import TrainingConfig

_WARMUP_SHARE = 0.05


class Schedule:
    """The optimiser of a training; its learning rate, and which weights learn.

    Args:
        model: everything that is trained.
        towers: those in it.
        training: how.
    """

    def __init__(self, model: nn.Module, towers: Towers, training: TrainingConfig) -> None:
        self._training = training
        self._model = model
        # The projection is the texts' too: were it to move on, they would no longer be where they were.
        self._texts = (towers.query, towers.product.title, towers.product.head)
        self._photos = towers.product.image
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )

    def start(self, step: int) -> None:
        """Set everything for a step, counted from 0."""
        training = self._training
        first, steps = (0, training.text_steps) if training.texts_only(step) else (training.text_steps, training.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step - first, training.learning_rate, steps - first)
        if training.text_steps:
            for module in self._texts:
                module.requires_grad_(training.texts_only(step))
            self._photos.requires_grad_(not training.texts_only(step))

    def end(self) -> None:
        """Leave all weights as they came: able to learn."""
        self._model.requires_grad_(True)


def learning_rate(step: int, peak: float, steps: int) -> float:
    """Linear warm-up over the first 5 % of the steps, then cosine decay to zero at the last."""
    warmup = max(1, round(_WARMUP_SHARE * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
