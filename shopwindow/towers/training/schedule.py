"""Who learns in which step, and how fast.

Texts of a few words are learned in a few hundred large batches; after that they learn the clicks by heart. Photos are
learned from scratch and want many more. So a training may begin with texts alone, cheaply, and go on with photos that
learn to fit texts which move little or not at all.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.training.config import TrainingConfig

_WARMUP_SHARE = 0.05


class Schedule:
    """The optimiser of a training; its learning rates, and which weights learn.

    Args:
        model: everything that is trained.
        towers: those in it.
        training: how.
    """

    def __init__(self, model: nn.Module, towers: Towers, training: TrainingConfig) -> None:
        self._training = training
        # The projection is the texts' too: were it to move on, they would no longer be where they were.
        modules = (towers.query, towers.product.title, towers.product.head)
        texts = {id(parameter) for module in modules for parameter in module.parameters()}
        self._texts = [parameter for parameter in model.parameters() if id(parameter) in texts]
        self._photos = list(towers.product.image.parameters())
        others = [parameter for parameter in model.parameters() if id(parameter) not in texts]
        self.optimizer = torch.optim.AdamW(
            [{"params": self._texts}, {"params": others}], lr=training.learning_rate, weight_decay=training.weight_decay
        )

    def start(self, step: int) -> None:
        """Set everything for a step, counted from 0."""
        training = self._training
        texts_only = training.texts_only(step)
        first, steps = (0, training.text_steps) if texts_only else (training.text_steps, training.steps)
        rate = learning_rate(step - first, training.learning_rate, steps - first)
        texts, others = self.optimizer.param_groups
        others["lr"] = rate
        texts["lr"] = rate if texts_only or not training.text_steps else rate * training.text_rate
        _let_learn(self._texts, texts["lr"] > 0)
        _let_learn(self._photos, not texts_only)

    def end(self) -> None:
        """Leave all weights as they came: able to learn."""
        _let_learn(self._texts + self._photos, True)


def _let_learn(parameters: list[nn.Parameter], learn: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(learn)


def learning_rate(step: int, peak: float, steps: int) -> float:
    """Linear warm-up over the first 5 % of the steps, then cosine decay to zero at the last."""
    warmup = max(1, round(_WARMUP_SHARE * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
