"""Check a tower's config against its ONNX graph, which Triton loads or a plan is built from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from tritonclient.grpc.model_config_pb2 import DataType

from shopwindow_export.validation.parsing import GRAPH, Model
from shopwindow_export.validation.report import Problem
from shopwindow_export.validation.shapes import WILDCARD, same_shape, show_dims

_PLATFORMS = ("tensorrt_plan", "onnxruntime_onnx")
_BACKENDS = ("tensorrt", "onnxruntime")
_TYPES = {
    onnx.TensorProto.FLOAT: DataType.TYPE_FP32,
    onnx.TensorProto.FLOAT16: DataType.TYPE_FP16,
    onnx.TensorProto.BFLOAT16: DataType.TYPE_BF16,
    onnx.TensorProto.UINT8: DataType.TYPE_UINT8,
    onnx.TensorProto.INT8: DataType.TYPE_INT8,
    onnx.TensorProto.INT32: DataType.TYPE_INT32,
    onnx.TensorProto.INT64: DataType.TYPE_INT64,
}


def check_graphs(model: Model) -> Iterator[Problem]:
    """Check that a config's tensors have the names, types and sizes of the graph beside it, if there is one."""
    if model.config.platform not in _PLATFORMS and model.config.backend not in _BACKENDS:
        return
    for version in sorted(model.served_versions):
        file = model.folder / str(version) / GRAPH
        if not file.is_file():
            continue
        try:
            graph = onnx.load(str(file), load_external_data=False).graph
        except DecodeError:
            yield Problem(
                "error",
                model.name,
                f"{model.name}/{version}/{GRAPH}",
                "is not an ONNX graph: export the repository again",
            )
            continue
        yield from _tensors(model, "input", model.config.input, graph.input)
        yield from _tensors(model, "output", model.config.output, graph.output)


def _tensors(model: Model, kind: str, declared: Any, found: Any) -> Iterator[Problem]:
    tensors = {value.name: value.type.tensor_type for value in found}
    missing = sorted(tensors.keys() - {tensor.name for tensor in declared}) if kind == "input" else []
    for name in missing:
        yield model.error(f"input {name!r}: the graph needs it and the config lacks it; declare it")
    for tensor in declared:
        if tensor.name not in tensors:
            yield model.error(f"{kind} {tensor.name!r}: is none of the graph's ({', '.join(tensors)}); rename it")
            continue
        tensor_type = tensors[tensor.name]
        if (data_type := _TYPES.get(tensor_type.elem_type)) not in (None, tensor.data_type):
            yield model.error(
                f"{kind} {tensor.name!r}: data_type must be {DataType.Name(data_type)} as in the graph, "
                f"got {DataType.Name(tensor.data_type)}"
            )
        shape = [axis.dim_value or WILDCARD for axis in tensor_type.shape.dim]
        dims = [WILDCARD, *tensor.dims] if model.config.max_batch_size else list(tensor.dims)
        if not same_shape(shape, dims):
            yield model.error(
                f"{kind} {tensor.name!r}: dims must fit the graph's {show_dims(shape)}, got {show_dims(dims)} "
                "(batch axis included)"
            )
