"""Check what a model runs while it is loaded: warm-up samples, and CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator

from tritonclient.grpc.model_config_pb2 import DataType

from shopwindow_export.validation.parsing import Model
from shopwindow_export.validation.report import Problem
from shopwindow_export.validation.shapes import WILDCARD, same_shape, show_dims


def check_loading(model: Model) -> Iterator[Problem]:
    """Check that warm-up samples fit the inputs, and CUDA graphs the batches."""
    yield from _warmup(model)
    yield from _cuda_graphs(model)


def _cuda_graphs(model: Model) -> Iterator[Problem]:
    limit = model.config.max_batch_size
    for spec in model.config.optimization.cuda.graph_spec:
        if not min(1, limit) <= spec.batch_size <= limit:
            yield model.error(
                f"optimization.cuda.graph_spec: batch_size must be {min(1, limit)} to max_batch_size {limit}, got "
                f"{spec.batch_size}; Triton's TensorRT backend would not load the model"
            )


def _warmup(model: Model) -> Iterator[Problem]:
    config = model.config
    inputs = {tensor.name: tensor for tensor in config.input}
    for sample in config.model_warmup:
        where = f"model_warmup {sample.name!r}"
        if sample.batch_size > max(config.max_batch_size, 1):
            yield model.error(
                f"{where}: batch_size must be at most max_batch_size {config.max_batch_size}, got {sample.batch_size}"
            )
        for name in sorted(set(inputs) - set(sample.inputs)):
            if not inputs[name].optional:
                yield model.error(f"{where}: input {name!r} is missing; every input that is not optional needs data")
        for name, data in sorted(sample.inputs.items()):
            if name not in inputs:
                yield model.error(f"{where}: input {name!r} is none of the model's ({', '.join(inputs)}); rename it")
                continue
            declared = inputs[name]
            if data.data_type != declared.data_type:
                yield model.error(
                    f"{where}: input {name!r} must be {DataType.Name(declared.data_type)}, "
                    f"got {DataType.Name(data.data_type)}"
                )
            if WILDCARD in data.dims:
                yield model.error(f"{where}: input {name!r} needs a size for every axis, got {show_dims(data.dims)}")
            elif not same_shape(data.dims, declared.dims):
                yield model.error(
                    f"{where}: input {name!r} must have dims {show_dims(declared.dims)} (without the batch), "
                    f"got {show_dims(data.dims)}"
                )
            source = data.WhichOneof("input_data_type")
            if source is None:
                yield model.error(f"{where}: input {name!r} has no data; add zero_data: true or random_data: true")
            elif source == "input_data_file" and not (model.folder / "warmup" / data.input_data_file).is_file():
                yield model.error(
                    f"{where}: input {name!r} reads {model.name}/warmup/{data.input_data_file}, which is missing"
                )
