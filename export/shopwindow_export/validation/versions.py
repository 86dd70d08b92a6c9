"""Check for settings that an older Triton does not know, or handles badly."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from shopwindow_export.validation.parsing import Model
from shopwindow_export.validation.report import Problem

Version = tuple[int, int]  # major, minor

# The server of the nvidia-pytriton wheel, which runs the CPU profiles, and the fields of newer protobufs that it
# does not know.
PINNED_SERVER = (2, 51)
_UNKNOWN_TO_PINNED_SERVER = frozenset({"max_inflight_requests", "model_metrics"})

# The first server (26.03) on which a step of an ensemble may refuse requests because its queue is full.
QUEUE_BOUNDS_SINCE = (2, 67)


def check_version(model: Model, max_version: Version | None) -> Iterator[Problem]:
    """Check that a server of this version serves the config as meant; None is the newest."""
    if max_version is not None:
        yield from _newer_fields(model, max_version)
        yield from _queue_bounds(model, max_version)


def show_version(version: Version) -> str:
    """Return the version as text: `2.51`."""
    return ".".join(map(str, version))


def _newer_fields(model: Model, max_version: Version) -> Iterator[Problem]:
    if max_version > PINNED_SERVER:
        return
    for name in sorted(_used_fields(model.config) & _UNKNOWN_TO_PINNED_SERVER):
        yield model.error(
            f"{name}: unknown to Triton {show_version(PINNED_SERVER)}, which then refuses the whole config; "
            "leave it out of this profile, or serve with a newer Triton"
        )


def _used_fields(message: Message) -> set[str]:
    names = set()
    for field, value in message.ListFields():
        names.add(field.name)
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in [value] if isinstance(value, Message) else value:
            names |= _used_fields(part)
    return names


def _queue_bounds(model: Model, max_version: Version) -> Iterator[Problem]:
    if max_version >= QUEUE_BOUNDS_SINCE:
        return
    batching = model.config.dynamic_batching
    for policy in (batching.default_queue_policy, *batching.priority_queue_policy.values()):
        if policy.max_queue_size or policy.allow_timeout_override:
            yield model.warning(
                "dynamic_batching: max_queue_size and allow_timeout_override of a queue policy make random requests "
                f"wait half a second under Triton {show_version(PINNED_SERVER)}, and pipelines hang before "
                f"{show_version(QUEUE_BOUNDS_SINCE)} when a step refuses a request; leave them out"
            )
            return
