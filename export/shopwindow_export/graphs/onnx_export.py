"""Export the towers as ONNX graphs.

A graph is strongly typed, in one of five precisions. Batch and text length are dynamic, the photo size is fixed. Inputs
and outputs have the names that the Triton models use, and the same types in every precision.
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

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.architecture.dual_encoder import DualEncoder, DualEncoderConfig
from shopwindow_export.errors import ExportError
from shopwindow_export.graphs.half import half_copy
from shopwindow_export.graphs.precisions import HALVES, PRECISIONS, QUANTISED
from shopwindow_export.graphs.qdq import Feeds, quantise

OPSET = 20
BF16_OPSET = 22  # the first opset whose Conv takes bfloat16
QUERY_INPUTS = ("input_ids", "attention_mask")
QUERY_OUTPUTS = ("query_embedding",)
PRODUCT_INPUTS = ("title_ids", "title_mask", "pixels", "modality_mask")
PRODUCT_OUTPUTS = ("product_embedding", "modality_weights")


def export_query_tower(
    towers: Towers | DualEncoder, file: Path, precision: str = "fp32", calibration: Feeds = ()
) -> None:
    """Write the query tower's graph.

    Args:
        towers: the towers, in float32.
        file: the file to write.
        precision: one of `shopwindow_export.graphs.precisions.PRECISIONS`.
        calibration: batches of real inputs by name, for int8 and fp8.

    Raises:
        ExportError: the tower cannot read as many tokens as its config promises, or the graph fails `check_graph`.
        ValueError: unknown precision, no calibration where it is needed, or nvidia-modelopt is not installed.
    """
    limit = towers.config.query_max_tokens
    _check_length(towers.query, (_tokens(1, limit), _tokens(1, limit)), "query_max_tokens", limit)
    shape = {0: Dim("batch"), 1: Dim("tokens", min=1, max=limit)}
    example = _tokens(2, 5), _tokens(2, 5)  # one tensor for both would be exported as one input
    shapes = (shape, shape)
    _export(towers.query, example, QUERY_INPUTS, QUERY_OUTPUTS, shapes, file, precision, calibration)


def export_product_tower(
    towers: Towers | DualEncoder, file: Path, precision: str = "fp32", calibration: Feeds = ()
) -> None:
    """Write the product tower's graph; see `export_query_tower`."""
    limit = towers.config.title_max_tokens
    _check_length(towers.product, _product_example(towers.config, 1, limit), "title_max_tokens", limit)
    batch = Dim("batch")
    text = {0: batch, 1: Dim("tokens", min=1, max=limit)}
    shapes = (text, text, {0: batch}, {0: batch})
    example = _product_example(towers.config, 2, 5)
    _export(towers.product, example, PRODUCT_INPUTS, PRODUCT_OUTPUTS, shapes, file, precision, calibration)


def _tokens(batch: int, tokens: int) -> Tensor:
    """Return ones: ids that every vocabulary has, or a mask without padding."""
    return torch.ones(batch, tokens, dtype=torch.int32)


def _product_example(config: TowerConfig | DualEncoderConfig, batch: int, tokens: int) -> tuple[Tensor, ...]:
    pixels = torch.zeros(batch, config.image_size, config.image_size, 3, dtype=torch.uint8)
    return _tokens(batch, tokens), _tokens(batch, tokens), pixels, torch.ones(batch, 2)


def _check_length(tower: nn.Module, longest: tuple[Tensor, ...], field: str, limit: int) -> None:
    """Run the longest text. If the position table were shorter, the export would succeed and fail at run time."""
    try:
        with torch.inference_mode():
            tower.eval()(*longest)
    except (RuntimeError, IndexError) as error:
        raise ExportError(
            f"{field}: {limit} tokens are more than the tower's position table holds "
            f"({str(error).splitlines()[0]}); lower {field} in the checkpoint's config.json"
        ) from error


def _export(
    tower: nn.Module,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: tuple[dict[int, Any], ...],
    file: Path,
    precision: str,
    calibration: Feeds,
) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision in QUANTISED and not calibration:
        raise ValueError(f"calibration: {precision} needs real inputs to measure its scales on, got none")
    opset = BF16_OPSET if precision == "bf16" else OPSET
    unquantised = QUANTISED.get(precision, precision)  # precision of the parts that are not quantised
    if unquantised in HALVES:
        tower = half_copy(tower, unquantised)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            tower.eval(),
            example,
            str(file),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=opset,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    if precision in QUANTISED:
        quantise(file, precision, calibration)
    check_graph(file, inputs, outputs, opset=opset)


def check_graph(file: Path, inputs: tuple[str, ...], outputs: tuple[str, ...], *, opset: int = OPSET) -> None:
    """Check for faults that ONNX Runtime accepts, but TensorRT or a later batch does not.

    Args:
        file: the graph.
        inputs, outputs: names that the graph must have.
        opset: opset that the graph must have.

    Raises:
        ExportError: wrong opset, types that meet without a Cast, missing or renamed tensors, an output that shares
            its name with an inner value, or a batch axis that came out fixed.
    """
    model = onnx.load(str(file))
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(
            f"{file.name}: types or shapes do not fit; a strongly typed graph needs a Cast wherever types differ: "
            f"{error}"
        ) from error
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets.get("ai.onnx") != opset:
        raise ExportError(f"{file.name}: opset {opsets.get('ai.onnx')}, expected {opset}")
    for kind, expected, found in (("inputs", inputs, model.graph.input), ("outputs", outputs, model.graph.output)):
        names = tuple(value.name for value in found)
        if names != expected:
            raise ExportError(f"{file.name}: {kind} are {names}, expected {expected}")
        for value in found:
            if not value.type.tensor_type.shape.dim[0].dim_param:
                raise ExportError(f"{file.name}: the batch axis of {value.name} is fixed; it must be dynamic")
    # An output is also the output of the node that makes it; any other use of its name confuses TensorRT's parser.
    made = [name for node in model.graph.node for name in node.output]
    labels = {node.name for node in model.graph.node} | {tensor.name for tensor in model.graph.initializer}
    for name in outputs:
        if made.count(name) != 1 or name in labels:
            raise ExportError(f"{file.name}: output {name!r} shares its name with an inner value; rename the output")
