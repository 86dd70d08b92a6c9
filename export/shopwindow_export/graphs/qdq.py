"""Matrix products of 8 bits: explicit Q/DQ nodes with static scales, placed by NVIDIA ModelOpt.

Scales are measured once, on real inputs. Dynamic quantisation would take the scale from each batch at run time, so an
answer would depend on the other rows of its batch.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

Feeds = Sequence[Mapping[str, np.ndarray]]
"""Batches of a graph's inputs by name."""


def quantise(graph: Path, precision: str, calibration: Feeds) -> None:
    """Replace a graph by one that multiplies with weights in 8 bits. Names and types stay.

    Scales are symmetric, as TensorRT requires, per tensor for activations and per channel for weights. Some parts stay
    as they are, because they cost little or would gain nothing: word embeddings, heads, attention's products of two
    activations, and convolutions, which ONNX Runtime runs no faster in 8 bits.

    Args:
        graph: the file, in the precision that `shopwindow_export.graphs.precisions.QUANTISED` names.
        precision: precision of the products, a key of QUANTISED.
        calibration: real inputs to measure the activations' ranges on; at least one batch.

    Raises:
        ValueError: nvidia-modelopt is not installed.
    """
    model = onnx.load(str(graph))
    weights = {tensor.name for tensor in model.graph.initializer}
    products = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    if not products:  # as in a query tower that takes the mean of its words
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = Path(folder) / "quantised.onnx"
        _modelopt()(
            str(graph),
            quantize_mode=precision,
            calibration_data_reader=_Reader(calibration),
            calibration_method="max",
            calibration_eps=["cpu"],
            nodes_to_quantize=[f"^{re.escape(name)}$" for name in products],
            # This would skip products that are too thin for TensorRT's tensor cores. Other runtimes have other limits.
            enable_gemv_detection_for_trt=False,
            # "fp32" leaves the rest as it is. "fp16" would turn float32 islands into half precision too: an L2 norm
            # floored at 1e-12 becomes a division by zero.
            high_precision_dtype="fp32",
            output_path=str(out),
            log_level="CRITICAL",
        )
        graph.write_bytes(out.read_bytes())


class _Reader:
    """Hands out calibration data in the way that ModelOpt and ONNX Runtime ask for it."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = [dict(feed) for feed in feeds]
        self.rewind()

    def get_first(self) -> dict[str, np.ndarray]:
        return self._feeds[0]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)

    def rewind(self) -> None:
        self._rest = iter(self._feeds)


def _modelopt() -> Any:
    try:
        from modelopt.onnx.quantization.quantize import quantize
        from onnx_graphsurgeon.logger import G_LOGGER
    except ImportError as error:
        raise ValueError(
            f"precision: 8 bits need NVIDIA ModelOpt, which cannot be imported ({error}); "
            "install the checkout with its extra: `pip install --editable '.[quantise]'`"
        ) from None
    G_LOGGER.severity = G_LOGGER.ERROR  # it warns that numpy has no type of 8-bit floats
    return quantize
