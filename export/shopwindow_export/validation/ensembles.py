"""Check how ensembles wire models together.

The checks follow Triton's own rules (core: model_config_utils.cc and ensemble_utils.cc). They report all faults instead
of the first, and also faults that Triton finds only at a request.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from shopwindow_export.validation.parsing import Model
from shopwindow_export.validation.report import Problem
from shopwindow_export.validation.shapes import WILDCARD, same_shape, show_dims

Step = Any  # ModelEnsembling.Step, generated at import


@dataclass(frozen=True)
class _End:
    """One end of a wire.

    Attributes:
        owner: the step or the ensemble's tensor at this end, in words.
        data_type: as in `DataType`.
        dims: without the batch axis; empty if they are unknown, because the tensor is declared wrongly or not at all.
            Other checks report that.
        batching: whether a batch axis comes before dims.
    """

    owner: str
    data_type: int = DataType.TYPE_INVALID
    dims: tuple[int, ...] = ()
    batching: bool = False

    @property
    def known(self) -> bool:
        sizes_fit = all(dim > 0 or dim == WILDCARD for dim in self.dims)
        return bool(self.data_type != DataType.TYPE_INVALID and self.dims and sizes_fit)

    @property
    def full_dims(self) -> tuple[int, ...]:
        return (WILDCARD, *self.dims) if self.batching else self.dims


_Ends = dict[str, list[_End]]  # by the name of the ensemble's tensor


def check_ensembles(models: Mapping[str, Model | None]) -> Iterator[Problem]:
    """Check the wiring of every ensemble.

    Args:
        models: all models of the repository, None for those whose config could not be read.
    """
    ensembles = [model for model in models.values() if model is not None and model.is_ensemble]
    for ensemble in ensembles:
        yield from _form(ensemble)
        for step in ensemble.config.ensemble_scheduling.step:
            yield from _step(ensemble, step, models)
        yield from _wires(ensemble, models)
    graph = {
        ensemble.name: [step.model_name for step in ensemble.config.ensemble_scheduling.step] for ensemble in ensembles
    }
    if cycle := _cycle(graph):
        first = models[cycle[0]]
        assert first is not None  # only ensembles have edges, and those were read
        yield first.error(f"ensemble_scheduling: ensembles call each other in a circle: {' -> '.join(cycle)}")


def _form(ensemble: Model) -> Iterator[Problem]:
    config = ensemble.config
    if config.platform != "ensemble":
        yield ensemble.error(f'platform: must be "ensemble" beside ensemble_scheduling, got {config.platform!r}')
    if config.backend:
        yield ensemble.error(f"backend: must be empty for an ensemble, got {config.backend!r}")
    if not config.ensemble_scheduling.step:
        yield ensemble.error("ensemble_scheduling.step: an ensemble needs at least one step, got none")
    for field in ("instance_group", "model_warmup"):
        if getattr(config, field):
            yield ensemble.error(f"{field}: an ensemble may have none; set it in the models it is made of")
    if config.HasField("optimization"):
        yield ensemble.error("optimization: an ensemble may have none; set it in the models it is made of")


def _step(ensemble: Model, step: Step, models: Mapping[str, Model | None]) -> Iterator[Problem]:
    where = f"step {step.model_name!r}"
    if step.model_name not in models:
        yield ensemble.error(f"{where}: no such model in the repository{_hint(step.model_name, models)}")
        return
    model = models[step.model_name]
    if model is None:  # its own problem is reported already
        return
    if step.model_version != -1 and model.served_versions and step.model_version not in model.served_versions:
        has = ", ".join(map(str, sorted(model.served_versions)))
        got = "0 or nothing" if step.model_version == 0 else step.model_version
        yield ensemble.error(
            f"{where}: model_version must be -1 (the latest) or a served one ({has}), got {got}; write -1"
        )
    limit, batch = model.config.max_batch_size, ensemble.config.max_batch_size
    if 0 < limit < batch:
        yield ensemble.error(
            f"max_batch_size: must be at most the {limit} of {where}, got {batch}; lower it, or raise the step's"
        )
    if model.config.model_transaction_policy.decoupled:
        yield ensemble.warning(
            f"{where}: is decoupled, which makes the whole ensemble decoupled: it then answers streams only, "
            "and refuses plain requests"
        )
    inputs = {tensor.name: tensor for tensor in model.config.input}
    outputs = {tensor.name for tensor in model.config.output}
    meant = set()  # a misspelt input leaves a right one unmapped; one report is enough
    for key in sorted(set(step.input_map) - set(inputs)):
        meant.add(_closest(key, inputs))
        yield ensemble.error(f"{where}: input_map names input {key!r}, which the model lacks{_hint(key, inputs)}")
    for name, tensor in inputs.items():
        if name not in step.input_map and not tensor.optional and name not in meant:
            yield ensemble.error(f"{where}: input {name!r} is not mapped; add it to input_map, or make it optional")
    for key in sorted(set(step.output_map) - outputs):
        yield ensemble.error(f"{where}: output_map names output {key!r}, which the model lacks{_hint(key, outputs)}")


def _wires(ensemble: Model, models: Mapping[str, Model | None]) -> Iterator[Problem]:
    config = ensemble.config
    sources: _Ends = defaultdict(list)
    sinks: _Ends = defaultdict(list)
    for ends, role, tensors in ((sources, "input", config.input), (sinks, "output", config.output)):
        for tensor in tensors:
            # Inside the ensemble, the ensemble's tensors have their reshaped form.
            dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            owner = f"the ensemble's {role}"
            ends[tensor.name].append(_End(owner, tensor.data_type, tuple(dims), config.max_batch_size != 0))
    waits_for: dict[str, list[str]] = defaultdict(list)
    for step in config.ensemble_scheduling.step:
        step_config = model.config if (model := models.get(step.model_name)) else ModelConfig()
        for ends, mapping, tensors in (
            (sinks, step.input_map, step_config.input),
            (sources, step.output_map, step_config.output),
        ):
            declared = {tensor.name: tensor for tensor in tensors}
            for key, name in mapping.items():
                end = _End(f"step {step.model_name!r}")
                if key in declared:
                    tensor = declared[key]
                    end = _End(end.owner, tensor.data_type, tuple(tensor.dims), step_config.max_batch_size != 0)
                ends[name].append(end)
        for made in step.output_map.values():
            waits_for[made].extend(step.input_map.values())

    yield from _connections(ensemble, sources, sinks)
    for name in sources:
        for sink in sinks.get(name, ()):
            if len(sources[name]) == 1 and sources[name][0].known and sink.known:
                yield from _agree(ensemble, name, sources[name][0], sink)
    if cycle := _cycle(waits_for):
        yield ensemble.error(
            f"ensemble_scheduling: tensors wait for each other in a circle: {' -> '.join(cycle)}; no step could start"
        )


def _connections(ensemble: Model, sources: _Ends, sinks: _Ends) -> Iterator[Problem]:
    meant = set()  # a misspelt name leaves a right one unused; one report is enough
    for name, ends in sinks.items():
        if name not in sources:
            meant.add(_closest(name, sources))
            yield ensemble.error(
                f"tensor {name!r}: {ends[0].owner} needs it and it comes from nowhere{_hint(name, sources)}"
            )
    for name, ends in sources.items():
        if len(ends) > 1:
            owners = " and ".join(end.owner for end in ends)
            yield ensemble.error(f"tensor {name!r}: comes from {owners}; it may come from one place only, rename one")
        if name not in sinks and name not in meant:
            # An error, not a warning: Triton refuses to load it.
            yield ensemble.error(
                f"tensor {name!r}: comes from {ends[0].owner} and is used by nothing; drop it from there, or use it"
            )


def _agree(ensemble: Model, name: str, source: _End, sink: _End) -> Iterator[Problem]:
    between = f"tensor {name!r}: {source.owner} gives"
    if source.data_type != sink.data_type:
        yield ensemble.error(
            f"{between} {DataType.Name(source.data_type)}, {sink.owner} takes {DataType.Name(sink.data_type)}; "
            "make them equal"
        )
    if same_shape(source.full_dims, sink.full_dims):
        return
    if not same_shape(source.dims, sink.dims):
        yield ensemble.error(
            f"{between} {show_dims(source.full_dims)}, {sink.owner} takes {show_dims(sink.full_dims)} "
            "(batch axis included); make them fit"
        )
    elif source.batching != sink.batching and ensemble.config.max_batch_size > 1:
        # Triton loads this, because the dims without the batch agree, and fails at the first larger request.
        unbatched = sink if source.batching else source
        yield ensemble.error(
            f"{between} {show_dims(source.full_dims)}, {sink.owner} takes {show_dims(sink.full_dims)}: this works for "
            f"a batch of 1 only; give {unbatched.owner} a max_batch_size of at least {ensemble.config.max_batch_size}, "
            "or a leading -1 in its dims"
        )


def _cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names along a circle, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def _closest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _hint(name: str, known: Iterable[str]) -> str:
    closest = _closest(name, known)
    return f"; did you mean {closest!r}?" if closest else ""
