"""Towers in half precision with float32 islands.

Embeddings, convolutions and matrix products of the encoders are in half precision. Norms, softmaxes, masks, means, the
heads after them and the L2 norm stay float32, because half precision overflows there, or adds up rounding errors.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from shopwindow.towers.architecture.dual_encoder import ChineseClipText, ClipText, Photo, SiglipText
from shopwindow.towers.architecture.product_tower import ProductTower
from shopwindow.towers.architecture.query_tower import QueryTower

_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_NORMS = (nn.LayerNorm, nn.GroupNorm)


def half_copy(tower: nn.Module, precision: str) -> nn.Module:
    """Return a copy of a tower with its encoders in half precision. Inputs and outputs keep their types.

    Args:
        tower: a query or product tower of `shopwindow.towers.architecture.both_towers.Towers` or
            `shopwindow.towers.architecture.dual_encoder.DualEncoder`, float32.
        precision: one of `shopwindow_export.graphs.precisions.HALVES`.
    """
    tower = copy.deepcopy(tower)
    half = _TYPES[precision]
    for module in list(tower.modules()):
        if isinstance(module, QueryTower):
            _halve(module.text, half)
        elif isinstance(module, ProductTower):
            # Not the pixels' mean and deviation: the input of the first convolution is computed in float32.
            for part in (module.title, module.image.embed, module.image.encoder, module.fusion):
                _halve(part, half)
            module.image.register_module("embed", _CastInput(half, module.image.embed))
            for table in (module.image.positions, module.no_title, module.no_image, module.modality):
                table.data = table.data.to(half)
        elif isinstance(module, (ClipText, ChineseClipText, SiglipText, Photo)):
            _halve(module.model, half)
            projection = getattr(module, "projection", None)
            if isinstance(projection, nn.Module):
                module.projection = _CastInput(torch.float32, projection)
    return tower


class _CastInput(nn.Module):
    """Casts the input to `dtype` before it runs a module."""

    def __init__(self, dtype: torch.dtype, inner: nn.Module) -> None:
        super().__init__()
        self.dtype = dtype
        self.inner = inner

    def forward(self, states: Tensor) -> Tensor:
        """Cast the input, and run the module."""
        return cast(Tensor, self.inner(states.to(self.dtype)))


class _InFloat32(nn.Module):
    """A norm that computes in float32 and returns its input's type."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, states: Tensor) -> Tensor:
        """Normalise."""
        return cast(Tensor, self.inner(states.float())).to(states.dtype)


def _halve(module: nn.Module, half: torch.dtype) -> None:
    for parent in list(module.modules()):
        if isinstance(parent, _NORMS):
            continue
        for tensor in (*parent.parameters(recurse=False), *parent.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(half)
        for name, child in list(parent.named_children()):
            if isinstance(child, _NORMS):
                parent.register_module(name, _InFloat32(child))
