"""Which weights learn in which step, and at which rate.

The towers learn short texts in a few hundred large batches. After that they overfit to the clicks. Photos are learned
from scratch and need many more steps. So a training may begin with texts alone, which is cheap, and go on with photos
that learn to fit the texts, while the texts change little or not at all.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.training.config import TrainingConfig

_WARMUP_SHARE = 0.05


class Schedule:
    """The optimiser of a training, its learning rates, and which weights learn.

    Args:
        model: everything that is trained.
        towers: the towers in the model.
        training: the settings.
    """

    def __init__(self, model: nn.Module, towers: Towers, training: TrainingConfig) -> None:
        self._training = training
        # The projection counts as part of the texts. If it kept moving, the embeddings of the texts would move with it.
        modules = (towers.query, towers.product.title, towers.product.head)
        texts = {id(parameter) for module in modules for parameter in module.parameters()}
        self._texts = [parameter for parameter in model.parameters() if id(parameter) in texts]
        self._photos = list(towers.product.image.parameters())
        others = [parameter for parameter in model.parameters() if id(parameter) not in texts]
        self.optimizer = torch.optim.AdamW(
            [{"params": self._texts}, {"params": others}], lr=training.learning_rate, weight_decay=training.weight_decay
        )

    def start(self, step: int) -> None:
        """Set the learning rates and the learning weights for a step, counted from 0."""
        training = self._training
        texts_only = training.texts_only(step)
        first, steps = (0, training.text_steps) if texts_only else (training.text_steps, training.steps)
        rate = learning_rate(step - first, training.learning_rate, steps - first)
        texts, others = self.optimizer.param_groups
        others["lr"] = rate
        texts["lr"] = rate if texts_only or not training.text_steps else rate * training.text_rate
        _set_learning(self._texts, texts["lr"] > 0)
        _set_learning(self._photos, not texts_only)

    def end(self) -> None:
        """Let all weights learn again, as before the training."""
        _set_learning(self._texts + self._photos, True)


def _set_learning(parameters: list[nn.Parameter], learn: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(learn)


def learning_rate(step: int, peak: float, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up over the first 5 % of the steps, then cosine decay to zero."""
    warmup = max(1, round(_WARMUP_SHARE * steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
