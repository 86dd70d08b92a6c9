"""Reads what a server sends, and checks all of it: only what was asked for passes, in the form that callers expect."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from .._values import page as pages
from .._values import requests as names
from .._values.errors import ServerFault
from .._values.options import MAX_REPLY_BYTES
from .._values.requests import Array, ModelRequest, Reply
from .._values.results import PADDING_ID
from .page_replies import PAGE_OUTPUTS, Untrue, read_page

_MAX_TOP_K = 10_000  # the contract's, for searches that leave top_k to the server
_ENVELOPE_BYTES = 64 * 2**10  # of a reply: names, parameters
_DESCRIPTION_BYTES = 4 * 2**20  # of a reply without tensors, such as a configuration
_EVERY_CHANNEL = 3
_ADVICE = "Check that the server and this client have the same version. The server's log may say more."


class _Output(NamedTuple):
    """What an output must be.

    Attributes:
        datatype: Triton's name of the type.
        kind: The same for numpy. None: text.
        width: Columns. None: `top_k` of the request for results, and any number for others.
        most_bytes: The most bytes of a row; for results, of each product in it.
        usual_bytes: What to expect instead where the most is as good as unlimited. 0: the most.
    """

    datatype: str
    kind: np.dtype[Any] | None
    width: int | None
    most_bytes: int
    usual_bytes: int = 0


_ANY_BYTES = 2**31  # more than gRPC takes, which has a limit of its own
_INT64, _FP32 = np.dtype("<i8"), np.dtype("<f4")
_RESULTS = (
    *(*names.RESULT_OUTPUTS, names.CHANNELS_OUTPUT, names.KEYS_OUTPUT),
    *(pages.ATTRIBUTES_OUTPUT, pages.SIZES_OUTPUT, pages.MEMBERS_OUTPUT),
)
_OUTPUTS = {
    "product_ids": _Output("INT64", _INT64, None, 8),
    "scores": _Output("FP32", _FP32, None, 4),
    "channels": _Output("INT64", _INT64, None, 8),
    "product_keys": _Output("BYTES", None, None, 4 + 512),  # its length, and the longest text id of the contract
    "embedding": _Output("FP32", _FP32, None, 4 * names.MAX_EMBEDDING_DIM),
    "modality_weights": _Output("FP32", _FP32, 2, 8),
    "towers": _Output("BYTES", None, 1, 1_024),
    "generation": _Output("INT64", _INT64, 1, 8),
    "effort": _Output("INT64", _INT64, 1, 8),
    "attributes": _Output("BYTES", None, None, _ANY_BYTES, usual_bytes=1_024),
    "group_sizes": _Output("INT64", _INT64, None, 8),
    "group_members": _Output("BYTES", None, None, _ANY_BYTES, usual_bytes=512),
    "total": _Output("INT64", _INT64, 1, 8),
    "facets": _Output("BYTES", None, 1, _ANY_BYTES, usual_bytes=64 * 2**10),
    "timings_us": _Output("INT64", _INT64, None, 1_024),  # `Timings` knows how many columns it has
}


def most_bytes(request: ModelRequest) -> int:
    """Return the size of the largest reply to a request."""
    return _ENVELOPE_BYTES + request.rows * _row_bytes(request)


def most_rows(request: ModelRequest) -> int:
    """Return how many rows a part of a request may have so that the client takes its largest reply, at least 1.

    Attributes and facets may be of any size. Then it is the largest usual reply.
    """
    return max(1, (MAX_REPLY_BYTES - _ENVELOPE_BYTES) // _row_bytes(request, usual=True))


def read_message(method: str, data: bytes, about: str, most: int = _DESCRIPTION_BYTES) -> Any:
    """Return the message that a server sent.

    Args:
        method: The method of Triton's protocol that was called.
        data: What the server sent.
        about: Who answered, for the error.
        most: The size of the largest such message. Taking a message apart can cost a hundred times its size.

    Raises:
        ServerFault: It is no such message, or larger.
    """
    if len(data) > most:
        raise ServerFault(f"{about} sent {len(data):,} bytes, more than the {most:,} that were asked for. {_ADVICE}")
    try:
        return getattr(service_pb2, f"{method}Response").FromString(data)
    except DecodeError:
        raise ServerFault(f"{about} sent {len(data):,} bytes that are no {method}Response. {_ADVICE}") from None


def read_reply(data: bytes, request: ModelRequest) -> Reply:
    """Return the outputs that `request` asked for.

    Raises:
        ServerFault: An output is missing, has another type or shape than was asked for, or cannot be true: scores that
            rise unless a page may reorder them, products that repeat, a score without a product, numbers that are
            none, or text that is no JSON.
    """
    response = read_message("ModelInfer", data, request.model, most_bytes(request))
    contents = response.raw_output_contents
    given = {output.name: (output, content) for output, content in zip(response.outputs, contents)}
    if not len(given) == len(contents) == len(response.outputs):
        raise _fault(request, f"{len(response.outputs)} outputs with {len(contents)} contents", "its reply")
    reply = {}
    for name in request.outputs:
        if name not in given and name == names.KEYS_OUTPUT:  # a server whose ids are whole numbers may leave it out
            reply[name] = np.empty((request.rows, 0), np.object_)
            continue
        if name not in given:
            raise _fault(request, "nothing", name)
        reply[name] = _array(name, *given[name], request)
    if "product_ids" in reply:
        _check_results(reply, request)
        if any(name in reply for name in PAGE_OUTPUTS):
            try:
                read_page(reply, request)
            except Untrue as untrue:
                raise _fault(request, *untrue.args) from None
    for name in ("embedding", "modality_weights"):
        if name in reply and not np.isfinite(reply[name]).all():
            raise _fault(request, "nan or infinity", name)
    return reply


def join(replies: Sequence[Reply], model: str) -> Reply:
    """Join the replies to the parts of one request.

    Raises:
        ServerFault: They differ in their columns, as when replicas have different towers or another default `top_k`.
    """
    for name in replies[0]:
        widths = {reply[name].shape[1] for reply in replies}
        if len(widths) > 1:
            raise ServerFault(
                f"{model} answered the parts of one call with {' and '.join(map(str, sorted(widths)))} columns in "
                f"{name}. Check that all replicas behind the address serve the same models and settings."
            )
    return {name: np.concatenate([reply[name] for reply in replies]) for name in replies[0]}


def _row_bytes(request: ModelRequest, *, usual: bool = False) -> int:
    """Return the size of one row of the largest reply to a request, at least 1."""
    top_k = max(0, min(int(request.parameters.get("top_k", _MAX_TOP_K)), _MAX_TOP_K))
    size = 1
    for name in request.outputs:
        output = _OUTPUTS[name]
        each = output.usual_bytes if usual and output.usual_bytes else output.most_bytes
        size += each * (top_k if name in _RESULTS else 1)
    return size


def _array(name: str, output: Any, content: bytes, request: ModelRequest) -> Array:
    wanted, shape = _OUTPUTS[name], tuple(output.shape)
    if name == names.KEYS_OUTPUT and shape == (request.rows, 0) and not content:
        return np.empty(shape, np.object_)
    width = request.parameters.get("top_k") if name in _RESULTS else wanted.width
    # A Python backend whose numpy does not fit its stub answers with empty outputs and no error.
    if len(shape) != 2 or shape[0] != request.rows or shape[1] < 1 or (width is not None and shape[1] != width):
        raise _fault(request, f"shape {shape}", name, "" if width is None else f" of {width} columns")
    if output.datatype != wanted.datatype:
        raise _fault(request, output.datatype, name, f" of {wanted.datatype}")
    if wanted.kind is None:
        texts = _texts(content, shape[0] * shape[1])
        if texts is None:
            raise _fault(request, "lengths that do not fit", name)
        column = np.empty(shape, np.object_)
        column.ravel()[:] = texts
        return column
    if len(content) != wanted.kind.itemsize * shape[0] * shape[1]:
        raise _fault(request, f"{len(content)} bytes for shape {shape}", name)
    return np.frombuffer(content, wanted.kind).reshape(shape)


def _texts(content: bytes, count: int) -> list[str] | None:
    """Return texts, each of which stands after its length. None: the lengths or the texts are wrong."""
    if content.isascii() and count and len(content) % count == 0:
        # Ids are often of one length. All at once take a fifth of the time.
        lengths = np.frombuffer(content, np.uint8).reshape(count, -1)[:, :4]
        stride = len(content) // count
        if stride >= 4 and lengths.tobytes() == (stride - 4).to_bytes(4, "little") * count:
            text = content.decode()
            return [text[start : start + stride - 4] for start in range(4, len(content) + 4, stride)]
    texts, end = [], 0
    try:
        for _ in range(count):
            start = end + 4
            end = start + struct.unpack_from("<I", content, end)[0]
            texts.append(content[start:end].decode())
    except (struct.error, UnicodeDecodeError):
        return None
    return texts if end == len(content) else None


def _check_results(reply: Reply, request: ModelRequest) -> None:
    ids, scores = reply["product_ids"], reply["scores"]
    keys = reply.get(names.KEYS_OUTPUT)
    if keys is not None and not keys.shape[1]:  # the ids of the index are whole numbers
        keys = None
    held = [reply[name] for name in _RESULTS if name in reply and (name != names.KEYS_OUTPUT or keys is not None)]
    if any(array.shape != ids.shape for array in held):
        shapes = " and ".join(str(array.shape) for array in held)
        raise _fault(request, f"shapes {shapes}", "its results")
    rows, width = ids.shape
    padding = ids == PADDING_ID
    padded = np.count_nonzero(padding)
    if any(name in request.parameters for name in pages.MAY_REORDER):
        _check_scores_in_any_order(scores, padding, request)
    else:
        # Every call pays for these steps, and most have one row: a list is then faster than a column in numpy. A
        # comparison with nan is never true, so the first two find it, too.
        if not all(score < math.inf for score in scores[:, 0].tolist()):
            raise _fault(request, "nan or infinity", "scores")
        if np.count_nonzero(scores[:, :-1] >= scores[:, 1:]) != rows * (width - 1):
            raise _fault(request, "scores that rise or are nan", "scores")
        unscored = -math.inf in scores[:, -1].tolist()  # scores do not rise, so the last is the lowest
        if (padded or unscored) and not np.array_equal(padding, scores == -math.inf):
            raise _fault(request, "products without scores, or scores without products,", "its results")
    ordered = np.sort(ids, axis=1)
    repeated = np.count_nonzero(ordered[:, 1:] == ordered[:, :-1])
    # Padding repeats, too: n padded places in a row are n - 1 repetitions.
    if repeated and repeated != padded - np.count_nonzero(padding.any(axis=1)):
        raise _fault(request, "products that repeat within a row", "product_ids")
    blank = 0 if keys is None else keys.ravel().tolist().count("")
    if keys is not None and (blank or padded) and not np.array_equal(keys == "", padding):
        raise _fault(request, "ids without products, or products without ids,", names.KEYS_OUTPUT)
    if names.CHANNELS_OUTPUT in reply:
        channels = reply[names.CHANNELS_OUTPUT]
        if channels.min() < 0 or channels.max() > _EVERY_CHANNEL or not np.array_equal(channels == 0, padding):
            raise _fault(request, "unknown channels", names.CHANNELS_OUTPUT)


def _check_scores_in_any_order(scores: Array, padding: Array, request: ModelRequest) -> None:
    """Check scores that need not fall."""
    if not (scores < math.inf).all():
        raise _fault(request, "nan or infinity", "scores")
    if not np.array_equal(padding, scores == -math.inf):
        raise _fault(request, "products without scores, or scores without products,", "its results")
    if (padding[:, :-1] > padding[:, 1:]).any():
        raise _fault(request, "padding before products", "its results")


def _fault(request: ModelRequest, got: str, name: str, instead: str = "") -> ServerFault:
    return ServerFault(f"{request.model} answered {request.rows} rows{instead} with {got} in {name}. {_ADVICE}")
