"""A graph as a TensorRT engine over PyTorch's tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from export.plans import build_plan, load_toolkit
from export.plans.profile import ShapeRange


def engine_call(graph: Path, feed: dict[str, torch.Tensor]) -> Callable[[], None]:
    """Build an engine for exactly these shapes and bind it.

    Args:
        graph: ONNX file.
        feed: inputs by name, on the GPU.

    Returns:
        Starts one inference on PyTorch's current stream.

    Raises:
        PlanError: it could not be built.
        RuntimeError: it could not be loaded or started.
    """
    trt: Any = importlib.import_module("tensorrt")
    shapes = {name: tuple(tensor.shape) for name, tensor in feed.items()}
    profile = {name: ShapeRange(shape, shape, shape) for name, shape in shapes.items()}
    plan = build_plan(load_toolkit("tensorrt"), graph, profile, progress=False)
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    context = engine.create_execution_context() if engine is not None else None
    if context is None:
        raise RuntimeError(f"TensorRT {trt.__version__} could not load the engine it built from {graph.name}")
    kept = [runtime, engine, *feed.values()]  # the context borrows all of them
    for name, tensor in feed.items():
        context.set_input_shape(name, shapes[name])
        context.set_tensor_address(name, tensor.data_ptr())
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        if name not in feed:
            output = torch.empty(tuple(context.get_tensor_shape(name)), dtype=torch.float32, device="cuda")
            context.set_tensor_address(name, output.data_ptr())
            kept.append(output)

    def call() -> None:
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream) or not kept:
            raise RuntimeError("TensorRT did not start the inference")

    return call
