"""From a seed and a number to a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from shopwindow_loadtests.fuzz.requests.cases import Call, Case, Model, RawHttp
from shopwindow_loadtests.fuzz.requests.frames import mutated_frame, other_method
from shopwindow_loadtests.fuzz.requests.http_infer import http_inference
from shopwindow_loadtests.fuzz.requests.http_odd import odd_http
from shopwindow_loadtests.fuzz.requests.inference import hostile_inference, photo_request
from shopwindow_loadtests.fuzz.requests.pages import page_request

Maker = Callable[[Random, Sequence[Model]], tuple[str, Call | RawHttp]]

# Each kind, how many of a hundred requests it makes, and what makes it.
KINDS: dict[str, tuple[int, Maker]] = {
    "inference": (32, hostile_inference),
    "page": (14, page_request),
    "photo": (11, photo_request),
    "frame": (16, mutated_frame),
    "method": (5, other_method),
    "HTTP inference": (15, http_inference),
    "odd HTTP": (7, odd_http),
}


def make_case(seed: int, number: int, models: Sequence[Model], *, cancel: bool = False) -> Case:
    """Return a request of a run. The same seed, number and models give the same bytes.

    Args:
        seed: The run's seed.
        number: The request's number.
        models: The models of the server.
        cancel: Whether some calls do not wait for their answer.
    """
    rng = Random(f"{seed} {number}")
    [kind] = rng.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
    what, sent = KINDS[kind][1](rng, models)
    if isinstance(sent, Call) and not cancel:
        sent = replace(sent, deadline_s=None, cancel_after_s=None)
    return Case(number=number, kind=kind, what=what, sent=sent)
