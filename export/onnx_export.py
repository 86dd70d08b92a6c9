"""Towers to ONNX graphs.

Opset 20, strongly typed, dynamic batch and text length, fixed photo size. Inputs and outputs carry the names that
the Triton models use.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from export.errors import ExportError
from towers.config import TowerConfig
from towers.dual_encoder import DualEncoder, DualEncoderConfig
from towers.model import Towers

OPSET = 20
QUERY_INPUTS = ("input_ids", "attention_mask")
QUERY_OUTPUTS = ("query_embedding",)
PRODUCT_INPUTS = ("title_ids", "title_mask", "pixels", "modality_mask")
PRODUCT_OUTPUTS = ("product_embedding", "modality_weights")


def export_query_tower(towers: Towers | DualEncoder, file: Path) -> None:
    """Write the query tower's graph.

    Raises:
        ExportError: see `check_graph`.
    """
    ids = torch.zeros(2, 5, dtype=torch.int32)
    tokens = Dim("tokens", min=1, max=towers.config.query_max_tokens)
    shape = {0: Dim("batch"), 1: tokens}
    _export(towers.query, (ids, torch.ones_like(ids)), QUERY_INPUTS, QUERY_OUTPUTS, (shape, shape), file)


def export_product_tower(towers: Towers | DualEncoder, file: Path) -> None:
    """Write the product tower's graph.

    Raises:
        ExportError: see `check_graph`.
    """
    example = _product_example(towers.config)
    batch = Dim("batch")
    text = {0: batch, 1: Dim("tokens", min=1, max=towers.config.title_max_tokens)}
    shapes = (text, text, {0: batch}, {0: batch})
    _export(towers.product, example, PRODUCT_INPUTS, PRODUCT_OUTPUTS, shapes, file)


def _product_example(config: TowerConfig | DualEncoderConfig) -> tuple[Tensor, ...]:
    ids = torch.zeros(2, 5, dtype=torch.int32)
    pixels = torch.zeros(2, config.image_size, config.image_size, 3, dtype=torch.uint8)
    return ids, torch.ones_like(ids), pixels, torch.ones(2, 2)


def _export(
    tower: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: tuple[dict[int, Any], ...],
    file: Path,
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            tower.eval(),
            example,
            str(file),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    check_graph(file, inputs, outputs)


def check_graph(file: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Check what ONNX Runtime lets pass and TensorRT, or a later batch, does not.

    Raises:
        ExportError: wrong opset, missing or renamed tensors, an output that shares its name with an inner value,
            or a batch axis that came out fixed.
    """
    model = onnx.load(str(file))
    onnx.checker.check_model(model)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets.get("ai.onnx") != OPSET:
        raise ExportError(f"{file.name}: opset {opsets.get('ai.onnx')}, expected {OPSET}")
    for kind, wanted, found in (("inputs", inputs, model.graph.input), ("outputs", outputs, model.graph.output)):
        names = tuple(value.name for value in found)
        if names != wanted:
            raise ExportError(f"{file.name}: {kind} are {names}, expected {wanted}")
        for value in found:
            if not value.type.tensor_type.shape.dim[0].dim_param:
                raise ExportError(f"{file.name}: the batch axis of {value.name} is fixed; it must be dynamic")
    # An output is also the output of the node that makes it; any other use of its name confuses TensorRT's parser.
    made = [name for node in model.graph.node for name in node.output]
    labels = {node.name for node in model.graph.node} | {tensor.name for tensor in model.graph.initializer}
    for name in outputs:
        if made.count(name) != 1 or name in labels:
            raise ExportError(f"{file.name}: output {name!r} shares its name with an inner value; rename the output")
