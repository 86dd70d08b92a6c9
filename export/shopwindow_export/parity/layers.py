"""Find the layers of a graph that drift from float32, by comparing their outputs on a few real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from shopwindow.retrieval.embedding.onnx_towers import session_options

SHOWN = 10  # layers at most


@dataclass(frozen=True, kw_only=True)
class LayerDrift:
    """One layer's drift.

    Attributes:
        tower: "query" or "product".
        layer: name of the PyTorch module.
        drift: mean absolute difference of its outputs over their mean absolute value.
    """

    tower: str
    layer: str
    drift: float


def worst_layers(tower: str, reference: Path, graph: Path, inputs: Mapping[str, np.ndarray]) -> list[LayerDrift]:
    """Compare two graphs of one tower layer by layer.

    Args:
        tower: name of the tower, for the result.
        reference: the float32 graph.
        graph: the same tower in another precision that runs on the CPU.
        inputs: inputs of the graphs, by name.

    Returns:
        The layers that drift most, the worst first.
    """
    expected, found = _outputs(reference, inputs), _outputs(graph, inputs)
    drifts = [
        LayerDrift(tower=tower, layer=layer, drift=_drift(found[layer], values))
        for layer, values in expected.items()
        if layer in found
    ]
    return worst(drifts)


def worst(drifts: list[LayerDrift]) -> list[LayerDrift]:
    """Return the SHOWN layers that drift most, the worst first. A drift that is not a number is the worst."""
    return sorted(drifts, key=lambda each: -np.nan_to_num(each.drift, nan=np.inf))[:SHOWN]


def _drift(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).mean() / max(np.abs(expected).mean(), 1e-12))


def _outputs(graph: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return layer -> its output, float64, for the layers that have weights."""
    model = onnx.load(str(graph))
    weights = {tensor.name for tensor in model.graph.initializer}
    layers = {}
    for node in model.graph.node:
        # A linear layer is a product and the addition of its bias. Only the addition keeps the layer's name.
        if node.op_type in ("Add", "Conv", "Gather", "Gemm", "LayerNormalization"):
            for name in node.input:
                layer, _, kind = name.rpartition(".")
                if name in weights and kind in ("weight", "bias"):
                    layers[layer.replace(".inner.", ".")] = node.output[0]
    made = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in layers.values() if name not in made)
    session = ort.InferenceSession(model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"])
    values = session.run(list(layers.values()), dict(inputs))
    return {layer: value.astype(np.float64) for layer, value in zip(layers, values, strict=True)}
