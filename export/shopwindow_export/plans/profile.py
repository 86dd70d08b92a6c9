"""The shapes that a plan takes: one optimisation profile, read from the config that Triton serves the model with.

There is one profile only, because switching between several costs more than it gains (Triton server issue 8171).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from shopwindow_export.errors import PlanError
from shopwindow_export.plans.batch_sizes import middle_batch

Shape = tuple[int, ...]


class ShapeRange(NamedTuple):
    """Shapes of one input, batch axis first: the smallest, the one to tune for, the largest."""

    minimum: Shape
    optimum: Shape
    maximum: Shape


Profile = dict[str, ShapeRange]  # by the input's name


def read_profile(config: ModelConfig) -> Profile:
    """Return the profile of a model: its inputs at batches of 1, the middle size, and max_batch_size.

    Args:
        config: config of a model with batching and inputs of fixed size.

    Raises:
        PlanError: the model has no batching, or an input without a fixed size.
    """
    largest = config.max_batch_size
    if largest < 1:
        raise PlanError(f"{config.name}: max_batch_size must be at least 1, got {largest}; set it in config.pbtxt")
    profile = {}
    for tensor in config.input:
        sizes = tuple(tensor.dims)
        if not sizes or min(sizes) < 1:
            raise PlanError(
                f"{config.name}: dims of input {tensor.name!r} must be fixed sizes, got {list(sizes)}: a plan is tuned "
                "for one size and texts are padded to it; write the padded length"
            )
        profile[tensor.name] = ShapeRange((1, *sizes), (middle_batch(largest), *sizes), (largest, *sizes))
    return profile


def read_config(file: Path) -> ModelConfig:
    """Read a model's config.

    Raises:
        PlanError: the file is missing or does not parse.
    """
    if not file.is_file():
        raise PlanError(f"{file} is missing: make a model repository with 'shopwindow export'")
    try:
        return text_format.Parse(file.read_text(), ModelConfig())
    except text_format.ParseError as error:
        raise PlanError(f"{file}: does not parse: {error}; see 'shopwindow validate --profile gpu'") from None
