"""Check one model: its name, files, tensors, batching and instances."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import DataType, ModelInstanceGroup, ModelQueuePolicy

from shopwindow.base.triton_names import odd_name
from shopwindow_export.validation.loading import check_loading
from shopwindow_export.validation.parsing import Model, on_cpu
from shopwindow_export.validation.report import Problem
from shopwindow_export.validation.shapes import WILDCARD, show_dims
from shopwindow_export.validation.versions import check_version

# Backend -> the platform that goes with it, and the file it loads by default.
_BACKENDS = {
    "tensorrt": ("tensorrt_plan", "model.plan"),
    "onnxruntime": ("onnxruntime_onnx", "model.onnx"),
    "pytorch": ("pytorch_libtorch", "model.pt"),
    "python": (None, "model.py"),
}
_PLATFORMS = {platform: backend for backend, (platform, _) in _BACKENDS.items() if platform}

# The answers of these models depend on request parameters, which the key of the response cache lacks.
_NEVER_CACHED = ("retrieve", "retrieve_similar", "product_index")

# This model may have one process per device only, because each holds the whole index.
_ONE_PER_DEVICE = "product_index"

_LONGEST_SANE_DELAY_US = 100_000


def check_model(model: Model, profile: str, max_version: tuple[int, int] | None) -> Iterator[Problem]:
    """Check everything about a model that needs no other model.

    Args:
        model: the model.
        profile: the profile that `model.config` belongs to.
        max_version: the config may use nothing newer than this Triton; None for no limit.
    """
    yield from _identity(model)
    yield from _names(model)
    yield from check_version(model, max_version)
    yield from _versions(model, profile)
    yield from _tensors(model)
    yield from _batching(model)
    yield from _cache(model)
    if not model.is_ensemble:
        yield from _instances(model, profile)
        yield from check_loading(model)


def _identity(model: Model) -> Iterator[Problem]:
    config = model.config
    if config.name and config.name != model.name:
        yield model.error(
            f"name: must be the folder's name {model.name!r}, got {config.name!r}; rename one, or leave name out"
        )
    if model.is_ensemble:
        return
    if not config.platform and not config.backend:
        yield model.error(
            "neither platform nor backend is set: Triton would guess from the files; name one, "
            'as platform: "tensorrt_plan" or backend: "python"'
        )
    elif not config.backend and config.platform not in _PLATFORMS:
        close = difflib.get_close_matches(config.platform, [*_PLATFORMS, "ensemble"], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        yield model.error(f"platform: must be one of ensemble, {', '.join(_PLATFORMS)}, got {config.platform!r}{hint}")
    elif config.backend and config.backend not in _BACKENDS:
        yield model.warning(
            f"backend: {config.backend!r} is none of {', '.join(_BACKENDS)}; is its library in the backend folder?"
        )
    elif config.backend:
        platform, _ = _BACKENDS[config.backend]
        if platform and config.platform not in ("", platform):
            yield model.error(
                f"platform: must be {platform!r} with backend {config.backend!r}, got {config.platform!r}; drop one"
            )


def _names(model: Model) -> Iterator[Problem]:
    """Check the names in the config that reach a shell. `check_folder_names` checks the folder's."""
    for field, name in (
        ("default_model_filename", model.config.default_model_filename),
        *(("instance_group.name", group.name) for group in model.config.instance_group),
    ):
        if model.config.backend == "python" and (odd := odd_name(name)):
            yield model.error(f"{field}: {odd}")


def _versions(model: Model, profile: str) -> Iterator[Problem]:
    config = model.config
    if not model.versions:
        also = "; Triton needs an empty one even for an ensemble" if model.is_ensemble else ""
        yield model.error(f"no version folder (1, 2, ...) in {model.name}/: make {model.name}/1{also}")
        return
    named = frozenset(config.version_policy.specific.versions)
    for version in sorted(named - model.versions):
        yield model.warning(f"version_policy: names version {version}, but there is no folder {model.name}/{version}")
    if not model.served_versions:
        has = ", ".join(map(str, sorted(model.versions)))
        yield model.error(f"version_policy: picks none of the version folders ({has}); name one of them")
    if not model.is_ensemble:
        for version in sorted(model.served_versions):
            for field, name in sorted(needed_files(model, profile)):
                if state := _unusable(model.folder / str(version) / name):
                    yield Problem(
                        "error",
                        model.name,
                        f"{model.name}/{version}/{name}",
                        f"{state}, and {field} of {model.file} needs it: {_remedy(name, state)}",
                    )


def _remedy(name: str, state: str) -> str:
    if name.endswith(".plan"):
        return "build it on the serving GPU with 'shopwindow plans'"
    if name.endswith(".py") and state == "missing":
        return "export the repository again; Triton 2.51 hangs while it loads such a model"
    return "export the repository again"


def needed_files(model: Model, profile: str) -> Iterator[tuple[str, str]]:
    """Yield the files that each version folder needs, each with the field that names it."""
    config = model.config
    if config.cc_model_filenames and not on_cpu(profile):
        for capability, name in config.cc_model_filenames.items():
            yield f"cc_model_filenames[{capability!r}]", name
        return
    backend = config.backend or _PLATFORMS.get(config.platform, "")
    if config.default_model_filename:
        yield "default_model_filename", config.default_model_filename
    elif backend in _BACKENDS:
        yield f"backend {backend!r}", _BACKENDS[backend][1]


def _unusable(path: Path) -> str:
    if not path.exists():
        return "missing"
    # An ONNX model with external weights may be a folder.
    empty = not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
    return "empty" if empty else ""


def _tensors(model: Model) -> Iterator[Problem]:
    for kind, tensors in (("input", model.config.input), ("output", model.config.output)):
        for name, count in Counter(tensor.name for tensor in tensors).items():
            if count > 1:
                yield model.error(f"{kind} {name!r}: declared {count} times; each name may appear once")
        for position, tensor in enumerate(tensors):
            where = f"{kind} {tensor.name!r}" if tensor.name else f"{kind}[{position}]"
            if not tensor.name:
                yield model.error(f"{where}: name is missing")
            if tensor.data_type == DataType.TYPE_INVALID:
                yield model.error(f"{where}: data_type is missing; set one, as TYPE_FP32")
            if not tensor.dims:
                yield model.error(f"{where}: dims are missing; give every axis but the batch, as dims: [ 64 ]")
            for dims, field in ((tensor.dims, "dims"), (tensor.reshape.shape, "reshape")):
                if any(dim < 1 and dim != WILDCARD for dim in dims):
                    yield model.error(f"{where}: {field} must be 1 or more, or -1 for any size, got {show_dims(dims)}")


def _batching(model: Model) -> Iterator[Problem]:
    config = model.config
    limit = config.max_batch_size
    if limit < 0:
        yield model.error(f"max_batch_size: must be 0 (no batches) or more, got {limit}")
        return
    if not config.HasField("dynamic_batching"):
        return
    batching = config.dynamic_batching
    if limit == 0:
        yield model.warning(
            "dynamic_batching: has no effect with max_batch_size 0; set max_batch_size, or leave dynamic_batching out"
        )
    for size in batching.preferred_batch_size:
        if not 1 <= size <= limit:
            yield model.error(
                f"dynamic_batching.preferred_batch_size: must be 1 to max_batch_size {limit}, got {size}; "
                "lower it, or raise max_batch_size"
            )
    delay = batching.max_queue_delay_microseconds
    if delay > _LONGEST_SANE_DELAY_US:
        yield model.warning(
            f"dynamic_batching.max_queue_delay_microseconds: {delay} us lets every request wait {delay / 1e6:g} s for "
            f"others (more than {_LONGEST_SANE_DELAY_US} us is rarely meant); is it in microseconds?"
        )
    levels = batching.priority_levels
    if levels and not 1 <= batching.default_priority_level <= levels:
        yield model.error(
            f"dynamic_batching.default_priority_level: must be 1 to priority_levels {levels}, "
            f"got {batching.default_priority_level}"
        )
    if batching.preserve_ordering and levels > 1:
        yield model.error(f"dynamic_batching.preserve_ordering: must be off with {levels} priority_levels; drop one")
    policies = {"default_queue_policy": batching.default_queue_policy}
    for level, policy in batching.priority_queue_policy.items():
        policies[f"priority_queue_policy[{level}]"] = policy
        if levels and not 1 <= level <= levels:
            yield model.error(
                f"dynamic_batching.priority_queue_policy: keys must be 1 to priority_levels {levels}, got {level}"
            )
    for field, policy in policies.items():
        timeout = policy.default_timeout_microseconds
        if not timeout:
            continue
        if batching.preserve_ordering and policy.timeout_action == ModelQueuePolicy.DELAY:
            yield model.error(
                f"dynamic_batching.{field}.timeout_action: DELAY breaks preserve_ordering; use REJECT, or drop one"
            )
        if timeout <= delay:
            yield model.warning(
                f"dynamic_batching.{field}.default_timeout_microseconds: {timeout} is not above "
                f"max_queue_delay_microseconds {delay}: requests expire while they wait for a batch; raise it"
            )


def _cache(model: Model) -> Iterator[Problem]:
    if model.name in _NEVER_CACHED and model.config.response_cache.enable:
        yield model.error(
            f"response_cache.enable: must be off for {model.name}: the cache's key lacks request parameters, so "
            "a request with another top_k or filter would get the answer of an earlier one"
        )


def _instances(model: Model, profile: str) -> Iterator[Problem]:
    config = model.config
    groups = config.instance_group
    without_gpu = on_cpu(profile)
    if without_gpu and (config.backend == "tensorrt" or config.platform == "tensorrt_plan"):
        yield model.error(f"platform: tensorrt_plan needs a GPU, {profile!r} has none; write configs/{profile}.pbtxt")
    # A missing count also reads as 0, and Triton takes it for 1.
    writes_zero = re.search(r"\bcount\s*:\s*0\b", model.text) is not None
    for group in groups:
        if group.count < 0 or (group.count == 0 and writes_zero):
            yield model.error(f"instance_group.count: must be 1 or more, got {group.count}; Triton would start 1")
        if group.kind == ModelInstanceGroup.KIND_GPU and without_gpu:
            yield model.error(
                f"instance_group.kind: KIND_GPU needs a GPU, profile {profile!r} has none; "
                f"write KIND_CPU in configs/{profile}.pbtxt"
            )
        if group.gpus and group.kind in (ModelInstanceGroup.KIND_CPU, ModelInstanceGroup.KIND_MODEL):
            yield model.error(
                f"instance_group.gpus: {ModelInstanceGroup.Kind.Name(group.kind)} must not name GPUs, "
                f"got {show_dims(group.gpus)}; leave them out, or use KIND_GPU"
            )
    if model.name == _ONE_PER_DEVICE and not without_gpu:
        yield from _one_per_device(model)


def _one_per_device(model: Model) -> Iterator[Problem]:
    on_cpu = on_every_gpu = 0
    on_gpu: Counter[int] = Counter()
    for group in model.config.instance_group:
        count = max(group.count, 1)
        if group.kind in (ModelInstanceGroup.KIND_CPU, ModelInstanceGroup.KIND_MODEL):
            on_cpu += count
        elif group.gpus:
            on_gpu.update(dict.fromkeys(group.gpus, count))
        else:
            on_every_gpu += count
    for device, count in (("the CPU", on_cpu), ("one GPU", on_every_gpu + max(on_gpu.values(), default=0))):
        if count > 1:
            yield model.error(
                f"instance_group.count: {model.name} must have exactly 1 instance per device, got {count} on {device}: "
                "each is a process with its own copy of the index; set count: 1 and rely on batches"
            )
