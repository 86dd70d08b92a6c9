"""Checks what callers give and turns it into model requests. Pure functions, no connection."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Protocol, Union, runtime_checkable

import numpy as np
import numpy.typing as npt

from .errors import InvalidRequest
from .filters import Filter
from .numbers import is_finite, is_whole

RETRIEVE = "retrieve"
RETRIEVE_SIMILAR = "retrieve_similar"
EMBED_QUERY = "embed_query"
EMBED_PRODUCT = "embed_product"
PRODUCT_INDEX = "product_index"
MODELS = (RETRIEVE, RETRIEVE_SIMILAR, EMBED_QUERY, EMBED_PRODUCT, PRODUCT_INDEX)

RESULT_OUTPUTS = ("product_ids", "scores")
CHANNELS_OUTPUT = "channels"
KEYS_OUTPUT = "product_keys"
GENERATION_OUTPUT = "generation"
MAX_EMBEDDING_DIM = 2**14
_NO_PNG = ("CMYK", "YCbCr")  # modes of a JPEG that a PNG does not have

Array = npt.NDArray[Any]
Parameters = dict[str, Union[str, int, float]]
Reply = dict[str, Array]
FilterLike = Union[Filter, Mapping[str, Any], str]


@runtime_checkable
class SavableImage(Protocol):
    """The part of a PIL image that the client uses."""

    @property
    def mode(self) -> str: ...

    @property
    def info(self) -> Mapping[Any, Any]: ...

    def load(self) -> Any: ...

    def convert(self, mode: str) -> SavableImage: ...

    def save(self, fp: io.BytesIO, format: str, **options: Any) -> None: ...


ImageSource = Union[bytes, str, "os.PathLike[str]", SavableImage]


@dataclass(frozen=True)
class Product:
    """A product to search with or to embed: a title, an image, or both.

    Attributes:
        title: The title in words, or None.
        image: An encoded JPEG, PNG or WebP as bytes, the path of such a file, or a PIL image (sent as PNG, with its
            EXIF data). The server turns all of them as their EXIF data say.
    """

    title: str | None = None
    image: ImageSource | None = None


@dataclass(frozen=True)
class ModelRequest:
    """One call of one model.

    Attributes:
        model: The model's name.
        inputs: Input name -> array; the first axis of each is the batch.
        outputs: The names of the outputs to ask for.
        parameters: Request parameters.
        positions: The position of each row in the caller's list. None: the request holds the whole list, in order.
    """

    model: str
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    parameters: Parameters
    positions: Sequence[int] | None = None

    @property
    def rows(self) -> int:
        """The number of rows in the batch."""
        return len(next(iter(self.inputs.values())))

    def split(self, max_rows: int) -> list[ModelRequest]:
        """Split along the batch axis into requests of at most `max_rows` rows, in order."""
        positions = range(self.rows) if self.positions is None else self.positions
        return [
            replace(
                self,
                inputs={name: array[start : start + max_rows] for name, array in self.inputs.items()},
                positions=positions[start : start + max_rows],
            )
            for start in range(0, self.rows, max_rows)
        ]


def encode_queries(queries: str | Sequence[str]) -> dict[str, Array]:
    """Return the `query` input, (n, 1) bytes objects.

    Raises:
        InvalidRequest: There are no queries, or one is not a string or has no words.
    """
    if isinstance(queries, str):
        queries = [queries]
    rows = _listed("queries", queries, "a string or a list of strings")
    for row, query in enumerate(rows):
        if not isinstance(query, str) or not query.strip():
            raise InvalidRequest(f"queries[{row}] must be a string with at least one word, got {query!r}", position=row)
    return {"query": _bytes_column([_utf8(f"queries[{row}]", query, row) for row, query in enumerate(rows)])}


def encode_products(products: Product | Sequence[Product]) -> dict[str, Array]:
    """Return the `title` and `image` inputs, (n, 1) bytes objects each. A missing one is empty.

    Raises:
        InvalidRequest: There are no products, one has neither title nor image, or an image cannot be read.
    """
    if isinstance(products, Product):
        products = [products]
    rows = _listed("products", products, "a Product or a list of Products")
    titles, images = [], []
    for row, product in enumerate(rows):
        field = f"products[{row}]"
        if not isinstance(product, Product):
            raise InvalidRequest(f"{field} must be a Product, got {type(product).__name__}", position=row)
        if product.title is not None and not isinstance(product.title, str):
            raise InvalidRequest(f"{field}.title must be a string, got {type(product.title).__name__}", position=row)
        title = _utf8(f"{field}.title", (product.title or "").strip(), row)
        image = b"" if product.image is None else _image_bytes(f"{field}.image", product.image, row)
        if not title and not image:
            raise InvalidRequest(f"{field} must have a title or an image, got neither", position=row)
        titles.append(title)
        images.append(image)
    return {"title": _bytes_column(titles), "image": _bytes_column(images)}


def encode_embeddings(embeddings: npt.ArrayLike) -> dict[str, Array]:
    """Return the `embedding` input, (n, d) float32, from (n, d) or (d,) numbers.

    Raises:
        InvalidRequest: The array is empty, has more than two axes, or holds anything but finite numbers.
    """
    try:
        array = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"embeddings must be numbers of shape (n, d) or (d,): {error}") from error
    if array.ndim != 2 or array.size == 0:
        raise InvalidRequest(f"embeddings must have shape (n, d) or (d,) and not be empty, got {array.shape}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidRequest(f"embeddings must be finite, got nan or infinity in embeddings[{row}]", position=row)
    return {"embedding": np.ascontiguousarray(array)}


def encode_parameters(
    *,
    top_k: int | None = None,
    effort: int | None = None,
    filter: FilterLike | None = None,
    min_score: float | str | None = None,
    channels: str | None = None,
    fusion: str | None = None,
    allow_lower_effort: bool = False,
    towers: str | None = None,
) -> Parameters:
    """Return the request parameters that were given. The server checks limits and column names.

    Raises:
        InvalidRequest: A value has the wrong type.
    """
    parameters: Parameters = {}
    for name, value in (("top_k", top_k), ("effort", effort)):
        if value is not None:
            parameters[name] = check_whole(name, value)
    if filter is not None:
        parameters["filter"] = _filter_json(filter)
    if isinstance(min_score, str):
        parameters["min_score"] = check_text("min_score", min_score)
    elif min_score is not None:
        if not is_finite(min_score):
            raise InvalidRequest(
                f"min_score must be a finite number, got {min_score!r}; or a text: 'best*0.85', 'precision:0.8'"
            )
        parameters["min_score"] = float(min_score)
    if not isinstance(allow_lower_effort, bool):
        raise InvalidRequest(f"allow_lower_effort must be True or False, got {allow_lower_effort!r}")
    if allow_lower_effort:
        parameters["allow_lower_effort"] = True
    for name, text in (("channels", channels), ("fusion", fusion), ("towers", towers)):
        if text is not None:
            parameters[name] = check_text(name, text)
    return parameters


def wants_words(parameters: Parameters) -> bool:
    """Return whether the search uses any channel but the embedding."""
    return str(parameters.get("channels", "embedding")).strip() != "embedding" or "fusion" in parameters


def check_whole(name: str, value: int) -> int:
    """Return `value`, or raise InvalidRequest unless it is a whole number of 64 bits."""
    if not is_whole(value):
        raise InvalidRequest(f"{name} must be a whole number, got {value!r}")
    if abs(value) >= 2**63:
        raise InvalidRequest(f"{name} must fit into 64 bits, got {value!r}")
    return int(value)


def check_text(name: str, text: str) -> str:
    """Return `text`, or raise InvalidRequest unless it is a string that UTF-8 can hold."""
    if not isinstance(text, str):
        raise InvalidRequest(f"{name} must be a string, got {text!r}")
    _utf8(name, text, None)
    return text


def json_text(name: str, value: Any) -> str:
    """Return `value` as JSON. It may hold filters, dates and numbers of numpy.

    Raises:
        InvalidRequest: No JSON can say it.
    """
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{name} cannot be written as JSON ({error}), got {value!r}") from error
    except RecursionError:
        raise InvalidRequest(f"{name} cannot be written as JSON: it holds itself, or too many levels") from None


def _plain(value: Any) -> Any:
    """Return what JSON knows in place of `value`."""
    if isinstance(value, Filter):
        return value.tree
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, date):  # a datetime, too
        return value.isoformat()
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _listed(field: str, values: Any, wanted: str) -> list[Any]:
    if isinstance(values, (bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise InvalidRequest(f"{field} must be {wanted}, got {type(values).__name__}")
    rows = list(values)
    if not rows:
        raise InvalidRequest(f"{field} must hold at least one row, got an empty {type(values).__name__}")
    return rows


def _bytes_column(values: Sequence[bytes]) -> Array:
    # np.array(values) would use a fixed-width type and lose trailing zero bytes.
    column = np.empty((len(values), 1), dtype=np.object_)
    column[:, 0] = values
    return column


def _utf8(field: str, text: str, row: int | None) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"{field} cannot be written as UTF-8 ({error.reason}), got {text!r}"
        raise InvalidRequest(message, position=row) from error


def _image_bytes(field: str, image: ImageSource, row: int) -> bytes:
    if isinstance(image, bytes):
        encoded = image
    elif isinstance(image, (str, os.PathLike)):
        try:
            encoded = Path(image).read_bytes()
        except OSError as error:
            message = f"{field}: cannot read {os.fspath(image)!r}: {error.strerror}"
            raise InvalidRequest(message, position=row) from error
    elif isinstance(image, SavableImage):
        try:
            encoded = _png(image)
        except (OSError, ValueError) as error:
            message = f"{field} cannot be saved as PNG ({error}). Convert it to RGB first."
            raise InvalidRequest(message, position=row) from error
    else:
        message = f"{field} must be bytes, a path or a PIL image, got {type(image).__name__}"
        raise InvalidRequest(message, position=row)
    if not encoded:
        message = f"{field} must be an encoded JPEG, PNG or WebP, got 0 bytes. Use None for no image."
        raise InvalidRequest(message, position=row)
    return encoded


def _png(image: SavableImage) -> bytes:
    """Return the image as PNG. That is lossless: the server sees the caller's pixels."""
    image.load()  # the EXIF data of a PNG may stand behind its pixels
    exif = image.info.get("exif")  # by which the server turns it, as it turns a file
    if image.mode in _NO_PNG:
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def _filter_json(filter: FilterLike) -> str:
    if isinstance(filter, str):
        return check_text("filter", filter)
    tree = filter.tree if isinstance(filter, Filter) else filter
    if isinstance(tree, bool):  # what Python makes of condition == False
        raise InvalidRequest(f"filter must be a condition, got {tree}. Compare columns, not conditions; ~ negates one.")
    if not isinstance(tree, Mapping):
        raise InvalidRequest(f"filter must be a field() condition, a mapping or JSON, got {type(tree).__name__}")
    return json_text("filter", tree)
