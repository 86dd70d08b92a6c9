"""Build one engine from one ONNX graph. TensorRT reports failures as None, -1 or False; here they are errors."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from shopwindow_export.errors import PlanError
from shopwindow_export.plans.profile import Profile
from shopwindow_export.plans.toolkit import BuildProgress, Toolkit

_ANY = -1

# TensorRT's reason for a failed build -> what it means or what to do.
_HINTS = {
    re.compile("broadcast dimensions must be conformable"): (
        "a text is longer than the towers' position table; lower its length in config.pbtxt to the checkpoint's"
    ),
    re.compile("out ?of ?memory", re.IGNORECASE): "free the GPU's memory, or lower max_batch_size in config.pbtxt",
}


def build_plan(
    toolkit: Toolkit, graph: Path, profile: Profile, *, timing_cache: Path | None = None, progress: bool = True
) -> bytes:
    """Build an engine for this machine's GPU, or ahead of time with TensorRT for RTX.

    The graph sets the precision, and nothing here lowers it. Matrix products in float32 run as TF32 on GPUs that have
    it, which is TensorRT's default.

    Args:
        toolkit: see `load_toolkit`.
        graph: ONNX file, with its weights inside.
        profile: shapes of every input of the graph.
        timing_cache: file of measured kernel times. It is read if it exists and fits, and then written. It makes the
            next build faster.
        progress: show a progress bar.

    Returns:
        The plan.

    Raises:
        FileNotFoundError: there is no graph.
        PlanError: the graph does not parse, the profile does not fit it, or no engine could be built.
        KeyboardInterrupt: the build was cancelled.
    """
    if not graph.is_file():
        raise FileNotFoundError(f"{graph} is missing: make the graphs with 'shopwindow export'")
    name = graph.parent.parent.name or graph.name
    with BuildProgress(toolkit, f"{name} plan", enabled=progress) as bar:
        bar.step("parsing")
        builder = toolkit.builder()
        network = toolkit.network(builder)
        parser = toolkit.parser(network)
        if not parser.parse_from_file(str(graph)):
            raise toolkit.error(
                f"{graph} does not parse; export it again", *_doubled_names(graph), *_parser_errors(parser)
            )
        config = toolkit.config(builder)
        _add_profile(toolkit, builder, config, network, profile, graph)
        if timing_cache is not None:
            _read_timings(config, timing_cache)
        bar.watch(config)
        plan = builder.build_serialized_network(network, config)
        if bar.cancelled:
            raise KeyboardInterrupt
        if plan is None:
            largest = ", ".join(f"{name} {list(shapes.maximum)}" for name, shapes in profile.items())
            logged = toolkit.logged()
            hint = next((hint for sign, hint in _HINTS.items() if sign.search(logged)), "export the graph again")
            raise toolkit.error(f"no engine could be built from {graph} at shapes up to {largest}: {hint}")
        if timing_cache is not None:
            _write_timings(config, timing_cache)
        return bytes(plan)


def _parser_errors(parser: Any) -> list[str]:
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    return [f"node {error.node_name()!r} ({error.node_operator()}): {error.desc()}" for error in errors]


def _doubled_names(file: Path) -> list[str]:
    """Return a complaint about each value that two nodes make. The parser names them only on standard error."""
    import onnx  # imported here, because manifests are also read where onnx is not installed

    try:
        graph = onnx.load(str(file)).graph
    except DecodeError:
        return ["the file is not an ONNX graph"]
    made = Counter(name for node in graph.node for name in node.output if name)
    return [f"{name!r} is the name of {count} values: rename the output" for name, count in made.items() if count > 1]


def _add_profile(toolkit: Toolkit, builder: Any, config: Any, network: Any, profile: Profile, graph: Path) -> None:
    inputs = {tensor.name: tuple(tensor.shape) for tensor in map(network.get_input, range(network.num_inputs))}
    # TensorRT accepts a profile that lacks an input, and complains only when it builds.
    if profile.keys() != inputs.keys():
        raise PlanError(
            f"profile: must give shapes for the inputs of {graph} ({', '.join(inputs)}), "
            f"got {', '.join(profile) or 'none'}; declare the graph's inputs in config.pbtxt"
        )
    optimization = builder.create_optimization_profile()
    for name, shapes in profile.items():
        for shape in shapes:
            fits = len(shape) == len(inputs[name]) and all(
                axis in (_ANY, size) for axis, size in zip(inputs[name], shape, strict=True)
            )
            if not fits:
                raise PlanError(
                    f"profile: input {name!r} of {graph} takes {list(inputs[name])} (batch first, -1 is any size), "
                    f"got {list(shape)}; correct dims in config.pbtxt"
                )
    try:
        for name, shapes in profile.items():
            optimization.set_shape(name, *shapes)
        refused = not optimization or config.add_optimization_profile(optimization) < 0
    except ValueError:  # versions differ in which of the two ways they refuse
        refused = True
    if refused:
        given = "; ".join(f"{name} {' to '.join(str(list(s)) for s in shapes)}" for name, shapes in profile.items())
        raise toolkit.error(f"profile: must rise from smallest to largest, got {given}; correct max_batch_size")


def _read_timings(config: Any, file: Path) -> None:
    saved = file.read_bytes() if file.is_file() else b""
    # TensorRT refuses times of another GPU or version. Then an empty cache replaces them.
    if not config.set_timing_cache(config.create_timing_cache(saved), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _write_timings(config: Any, file: Path) -> None:
    cache = config.get_timing_cache()
    if cache is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_bytes(bytes(cache.serialize()))
        new.replace(file)
