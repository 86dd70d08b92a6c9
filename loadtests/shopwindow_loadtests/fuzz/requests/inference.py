"""Inference requests of a right form with hostile content, for every model of the repository."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from shopwindow_loadtests.fuzz.requests import values
from shopwindow_loadtests.fuzz.requests.cases import INFER, Call, Model, Tensor
from shopwindow_loadtests.fuzz.requests.filters import filter_text
from shopwindow_loadtests.fuzz.requests.pages import PAGE, like_text, page, set_value
from shopwindow_loadtests.fuzz.requests.photos import photo, sound

_DATATYPES = {"INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "UINT8": "u1", "FP64": "<f8", "BOOL": "?"}
_MANY_DATATYPES = (*_DATATYPES, "BYTES", "INT8", "UINT64", "FP16", "BF16", "STRING", "bytes", "", "TYPE_FP32", "\x00")
_DIMENSIONS = (0, -1, 1, 2, 63, 64, 65, 1_000, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))
_CONTENTS = ("bool", "int", "int64", "uint", "uint64", "fp32", "fp64", "bytes")
_RESERVED = ("timeout", "priority", "headers", "binary_data_output", "sequence_id", "sequence_start", "sequence_end")
_OWN = (
    *PAGE,
    "top_k",
    "effort",
    "filter",
    "channels",
    "fusion",
    "towers",
    "deadline_unix_ms",
    "allow_lower_effort",
)
_TRITONS = ("triton_enable_empty_final_response", "triton_final_response", "triton_", "classification", "binary_data")
_REGION = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")

Trick = Callable[[Random, pb.ModelInferRequest, Model], None]


def hostile_inference(rng: Random, models: Sequence[Model]) -> tuple[str, Call]:
    """Return a description and a call with up to three tricks."""
    model = rng.choice(models)
    message = inference(rng, model, hostile=rng.random() < 0.6)
    tricks = rng.sample(TRICKS, rng.choice((0, 1, 1, 1, 2, 3)))
    for trick in tricks:
        trick(rng, message, model)
    return _described(model, tricks), _call(rng, message)


def photo_request(rng: Random, models: Sequence[Model]) -> tuple[str, Call]:
    """Return a description and a call with one to four photos, most of them broken."""
    model = rng.choice([model for model in models if any(one.name == "image" for one in model.inputs)])
    rows = rng.choice((1, 1, 1, 2, 4))
    found = [photo(rng) for _ in range(rows)]
    columns = {"image": [data for _, data in found], "title": [values.words(rng) for _ in range(rows)]}
    message = pb.ModelInferRequest(model_name=model.name)
    for tensor in model.inputs:
        message.inputs.add(name=tensor.name, datatype="BYTES", shape=[rows, 1])
        message.raw_input_contents.append(b"".join(map(values.counted, columns[tensor.name])))
    return f"{model.name}: {', '.join(name for name, _ in found)}", _call(rng, message)


def inference(rng: Random, model: Model, *, hostile: bool) -> pb.ModelInferRequest:
    """Return a request of the right form, whose values may be hostile."""
    most = model.max_rows
    rows = rng.choice((1, 1, 1, 2, 3, most, most + 1)) if hostile else rng.choice((1, 1, 2, 4))
    message = pb.ModelInferRequest(model_name=model.name)
    length = rng.choice((1, 2, 7, 32, 64)) if not hostile else rng.choice((0, 1, 32, 65, 129, 3_000))
    # In product_index, `query` is optional, and `like` takes the place of `embedding`.
    left_out = {"query"} if rng.random() < 0.5 else set()
    left_out |= {rng.choice(("embedding", "like", "like"))} if rng.random() < 0.9 or not hostile else set()
    for tensor in model.inputs:
        if len(model.inputs) > 1 and tensor.name in left_out:
            continue
        shape = [rows, *(length if side < 0 else side for side in tensor.shape[1:])]
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        message.raw_input_contents.append(_values(rng, model, tensor, shape, hostile=hostile))
    for _ in range(rng.choice((0, 0, 1, 2))):
        _good_parameter(rng, message)
    return message


def _values(rng: Random, model: Model, tensor: Tensor, shape: list[int], *, hostile: bool) -> bytes:
    count = math.prod(shape)
    if tensor.name == "like":
        return b"".join(values.counted(like_text(rng, model.products, hostile=hostile)) for _ in range(count))
    if tensor.name == "image":
        made = [sound(rng)[1] if rng.random() < 0.5 else b"" for _ in range(count)]
        return b"".join(values.counted(values.text(rng) if hostile and rng.random() < 0.3 else one) for one in made)
    if tensor.datatype == "BYTES":
        return b"".join(values.counted(values.text(rng) if hostile else values.words(rng)) for _ in range(count))
    draws = np.random.default_rng(rng.getrandbits(64))
    kind = _DATATYPES[tensor.datatype]
    if tensor.datatype == "FP32":
        numbers = draws.standard_normal(shape).astype(np.float32)
        if tensor.name == "embedding" and not (hostile and rng.random() < 0.3):
            numbers /= np.linalg.norm(numbers, axis=-1, keepdims=True)
        if hostile and count:
            with np.errstate(over="ignore"):
                numbers.flat[draws.integers(count, size=rng.choice((1, 1, count)))] = np.float32(values.number(rng))
        return numbers.astype(kind).tobytes()
    if tensor.datatype == "UINT8":
        return draws.bytes(count)
    whole = draws.integers(0, 2 if "mask" in tensor.name else 1_000, size=shape)
    if hostile and count:
        whole.flat[draws.integers(count)] = rng.choice((-1, 1_999, 30_000, 2**31 - 1, -(2**31)))
    return whole.astype(kind).tobytes()


def _described(model: Model, tricks: Sequence[Trick]) -> str:
    return ", ".join([model.name, *(trick.__name__.strip("_") for trick in tricks)])


def _call(rng: Random, message: pb.ModelInferRequest) -> Call:
    """Return the call; one in thirty does not wait for its answer."""
    hurry = rng.random()
    return Call(
        path=INFER,
        messages=(message.SerializeToString(deterministic=True),),
        deadline_s=rng.choice((0.0005, 0.002, 0.01)) if hurry < 0.02 else None,
        cancel_after_s=rng.choice((0.0, 0.001, 0.005)) if 0.02 <= hurry < 0.035 else None,
    )


def _good_parameter(rng: Random, message: pb.ModelInferRequest) -> None:
    parameters = message.parameters
    name = rng.choice(("top_k", "top_k", "effort", "min_score", "filter", "filter", "channels", "fusion"))
    if name in ("top_k", "effort"):
        parameters[name].int64_param = rng.randint(1, 10)
    elif name == "min_score":
        parameters[name].string_param = str(round(rng.uniform(-1, 1), 3))
    elif name == "filter":
        parameters[name].string_param = filter_text(rng)
    elif name == "channels":
        parameters[name].string_param = rng.choice(("embedding", "lexical", "embedding,lexical"))
    else:
        parameters[name].string_param = rng.choice(("rrf", "weighted:0.7", "weighted:2", "weighted:nan"))


def _set(rng: Random, parameter: pb.InferParameter) -> None:
    """Give a parameter a value of any type, or none."""
    kind = rng.choice((*(field.name for field in pb.InferParameter.DESCRIPTOR.fields), None))
    if kind == "bool_param":
        parameter.bool_param = rng.random() < 0.5
    elif kind == "int64_param":
        parameter.int64_param = values.integer(rng)
    elif kind == "uint64_param":
        parameter.uint64_param = abs(values.integer(rng))
    elif kind == "double_param":
        parameter.double_param = values.number(rng)
    elif kind == "string_param":
        parameter.string_param = rng.choice((values.string(rng), str(values.integer(rng)), str(values.number(rng))))


def _odd_parameters(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    for _ in range(rng.choice((1, 1, 2, 5, 300))):
        _set(rng, message.parameters[values.name(rng, list(_OWN))])


def _own_parameter_of_any_type(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    _set(rng, message.parameters[rng.choice(_OWN)])


def _filter(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    message.parameters["filter"].string_param = filter_text(rng)


def _page(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    for name, value in page(rng, hostile=rng.random() < 0.5).items():
        set_value(message.parameters[name], value)


def _extreme_search(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    message.parameters["top_k"].int64_param = rng.choice((0, 1, 9_999, 10_000, 10_001, values.integer(rng)))
    message.parameters["effort"].int64_param = rng.choice((0, 1, 10, 11, values.integer(rng)))
    message.parameters["min_score"].double_param = values.number(rng)


def _past_deadline(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    message.parameters["deadline_unix_ms"].int64_param = rng.choice(
        (0, 1, 1_000_000_000_000, 2**53, values.integer(rng))
    )
    message.parameters["timeout"].int64_param = rng.choice((0, 1, 100, values.integer(rng)))


def _reserved_parameters(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    for name in rng.sample((*_RESERVED, *_TRITONS, *_REGION), rng.randint(1, 4)):
        _set(rng, message.parameters[name])


def _odd_outputs(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    known = [output.name for output in model.outputs]
    for _ in range(rng.choice((1, 1, 2, 40))):
        output = message.outputs.add(name=values.name(rng, known))
        if rng.random() < 0.4:
            _set(rng, output.parameters[rng.choice((*_REGION, "classification", "binary_data", values.string(rng)))])


def _classification(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    output = message.outputs.add(name=rng.choice(model.outputs).name)
    output.parameters["classification"].int64_param = rng.choice((0, 1, 3, 1_000_000, -1, 2**31, values.integer(rng)))


def _region(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    place = rng.choice(message.inputs) if message.inputs else message.outputs.add(name=model.outputs[0].name)
    place.parameters["shared_memory_region"].string_param = values.name(rng, ["region", "/dev/shm/x", "shopwindow"])
    place.parameters["shared_memory_byte_size"].int64_param = values.integer(rng)
    if rng.random() < 0.5:
        place.parameters["shared_memory_offset"].int64_param = values.integer(rng)


def _wrong_datatype(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    for one in message.inputs:
        one.datatype = rng.choice(_MANY_DATATYPES)


def _wrong_shape(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    if not message.inputs:
        return
    shape = rng.choice(message.inputs).shape
    change = rng.randrange(4)
    if change == 0 and shape:
        shape[rng.randrange(len(shape))] = rng.choice(_DIMENSIONS)
    elif change == 1:
        shape.append(rng.choice(_DIMENSIONS))
    elif change == 2 and shape:
        shape.pop()
    else:
        shape[:] = [rng.choice(_DIMENSIONS) for _ in range(rng.choice((0, 1, 2, 3, 8, 500)))]


def _drop_input(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    if message.inputs:
        place = rng.randrange(len(message.inputs))
        del message.inputs[place]
        if rng.random() < 0.7:
            del message.raw_input_contents[place : place + 1]


def _extra_input(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    message.inputs.add(name=values.string(rng), datatype=rng.choice(_MANY_DATATYPES), shape=[1, 1])
    if rng.random() < 0.7:
        message.raw_input_contents.append(values.text(rng))


def _double_input(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    if message.inputs:
        message.inputs.add().CopyFrom(rng.choice(message.inputs))
        if message.raw_input_contents:
            message.raw_input_contents.append(message.raw_input_contents[0])


def _rename_input(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    if message.inputs:
        one = rng.choice(message.inputs)
        one.name = values.name(rng, [one.name])


def _lie_about_bytes(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    """Make the content of a tensor longer, shorter, or of another inner length."""
    if not message.raw_input_contents:
        return
    place = rng.randrange(len(message.raw_input_contents))
    content = bytearray(message.raw_input_contents[place])
    change = rng.randrange(4)
    if change == 0:
        said = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(content), max(0, len(content) - 3)))
        content[:4] = said.to_bytes(4, "little")
    elif change == 1:
        del content[rng.randrange(len(content) + 1) :]
    elif change == 2:
        content += rng.randbytes(rng.choice((1, 3, 4, 1_000)))
    else:
        content[:] = values.mutated(rng, bytes(content), 2)
    message.raw_input_contents[place] = bytes(content)


def _contents_instead(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    """Send values as protobuf numbers: instead of raw bytes, or beside them."""
    if rng.random() < 0.8:
        del message.raw_input_contents[:]
    for one in message.inputs:
        field = rng.choice(_CONTENTS)
        count = rng.choice((0, 1, 1, max(0, min(2_000, math.prod(one.shape))), 3))
        given = {"bool": True, "fp32": 0.5, "fp64": values.number(rng), "bytes": values.text(rng)}.get(field, 1)
        getattr(one.contents, f"{field}_contents").extend([given] * count)


def _odd_names(rng: Random, message: pb.ModelInferRequest, model: Model) -> None:
    change = rng.randrange(3)
    if change == 0:
        message.model_name = values.name(rng, [model.name])
    elif change == 1:
        message.model_version = rng.choice(("0", "1", "2", "-1", "01", "1e9", "9" * 30, values.string(rng)))
    else:
        message.id = values.string(rng) * rng.choice((1, 1, 100))


TRICKS: tuple[Trick, ...] = (
    *(
        _odd_parameters,
        _own_parameter_of_any_type,
        _filter,
        _page,
        _extreme_search,
        _past_deadline,
        _reserved_parameters,
    ),
    *(_odd_outputs, _classification, _region),
    *(_wrong_datatype, _wrong_shape, _drop_input, _extra_input, _double_input, _rename_input, _lie_about_bytes),
    *(_contents_instead, _odd_names),
)
