"""Runs a graph as a TensorRT engine on PyTorch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shopwindow_export.plans import build_plan, load_toolkit
from shopwindow_export.plans.profile import ShapeRange


def engine_call(
    graph: Path, feed: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor] | None = None
) -> Callable[[], None]:
    """Build an engine for exactly these shapes and bind it.

    Args:
        graph: ONNX file.
        feed: Inputs by name, on the GPU. Every call reads them again.
        outputs: Receives the tensors, by name, that every call fills.

    Returns:
        A function that starts one inference on PyTorch's current stream.

    Raises:
        PlanError: The engine could not be built.
        RuntimeError: The engine could not be loaded or started.
    """
    toolkit = load_toolkit("tensorrt")
    trt: Any = toolkit.module
    shapes = {name: tuple(tensor.shape) for name, tensor in feed.items()}
    profile = {name: ShapeRange(shape, shape, shape) for name, shape in shapes.items()}
    plan = build_plan(toolkit, graph, profile, progress=False)
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
            if outputs is not None:
                outputs[name] = output

    def call() -> None:
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream) or not kept:
            raise RuntimeError("TensorRT did not start the inference")

    return call


class EngineTower:
    """One tower as an engine of a fixed shape, for any number of rows.

    Args:
        graph: ONNX file.
        names: Names of the inputs, in the order of the arrays.
        shapes: Shape of one row of each input.
        types: Type of each input.
        rows: Rows in one batch of the engine.
    """

    def __init__(
        self, graph: Path, names: Sequence[str], shapes: Sequence[tuple[int, ...]], types: Sequence[Any], rows: int
    ) -> None:
        self._feed = {
            name: torch.ones((rows, *shape), dtype=kind, device="cuda")
            for name, shape, kind in zip(names, shapes, types, strict=True)
        }
        self._outputs: dict[str, torch.Tensor] = {}
        self._call = engine_call(graph, self._feed, self._outputs)
        self._rows = rows

    def __call__(self, arrays: Sequence[np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        """Run rows through the engine, in as many batches as needed.

        Args:
            arrays: (rows, ...) inputs in order. An array narrower than the engine's input is padded with zeros.
            wanted: Names of the outputs.
        """
        parts = []
        for start in range(0, len(arrays[0]), self._rows):
            given = [torch.from_numpy(array[start : start + self._rows]) for array in arrays]
            for bound, rows in zip(self._feed.values(), given, strict=True):
                place = (slice(len(rows)), *(slice(size) for size in rows.shape[1:]))
                bound[: len(rows)] = 0
                bound[place] = rows.to(bound)
            self._call()
            torch.cuda.synchronize()
            parts.append([self._outputs[name][: len(given[0])].cpu().numpy().copy() for name in wanted])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]
