"""A case: one request of the fuzzer. Its seed and its number determine every byte of it."""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE}ModelInfer"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: Its name.
        datatype: Triton's type, such as `BYTES`.
        shape: Its shape, with the rows of the request; -1 is any number.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a server says of a model.

    Attributes:
        name: Its name.
        inputs: Its inputs.
        outputs: Its outputs.
        max_rows: The most rows of a request.
        products: Ids of some products of the index, if it can search with them.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_rows: int
    products: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Call:
    """A gRPC call.

    Attributes:
        path: The method.
        messages: The serialised messages; a unary call sends the first.
        stream: Whether it is a call of streams.
        metadata: Headers.
        deadline_s: When the caller gives up; None for the usual time.
        cancel_after_s: When the caller cancels; None if it does not.
    """

    path: str
    messages: tuple[bytes, ...]
    stream: bool = False
    metadata: tuple[tuple[str, str], ...] = ()
    deadline_s: float | None = None
    cancel_after_s: float | None = None

    @property
    def hurried(self) -> bool:
        """Whether the caller does not wait for the answer."""
        return self.deadline_s is not None or self.cancel_after_s is not None


@dataclass(frozen=True, kw_only=True)
class RawHttp:
    """Bytes for an HTTP port.

    Attributes:
        port: `http`, `metrics` or `health`.
        pieces: What to send, in separate writes.
        whole: Whether it is one complete request, so that an answer is owed.
        closed: Whether it asks for what is closed to callers.
    """

    port: str
    pieces: tuple[bytes, ...]
    whole: bool
    closed: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request of the fuzzer.

    Attributes:
        number: Its number.
        kind: What family it belongs to.
        what: How it was made.
        sent: What is sent.
    """

    number: int
    kind: str
    what: str
    sent: Call | RawHttp
