"""The calls as an editor and help() show them: every option by name, with its default and an explanation."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from shopwindow_client import AsyncRetrievalClient, CallOptions, RetrievalClient, SearchOptions

SEARCHES = {"retrieve", "retrieve_similar", "retrieve_by_embedding", "retrieve_composed", "retrieve_like"}
OTHERS = {"embed_query", "embed_product", "info", "health"}


def calls(client: type) -> dict[str, inspect.Signature]:
    """The public calls of a client, except `close`."""
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") and name != "close"
    }


def test_both_clients_have_the_same_calls() -> None:
    assert calls(RetrievalClient) == calls(AsyncRetrievalClient)
    assert calls(RetrievalClient).keys() == SEARCHES | OTHERS


@pytest.mark.parametrize("name", sorted(SEARCHES | OTHERS))
def test_a_call_shows_and_explains_its_options(name: str) -> None:
    options: Any = SearchOptions if name in SEARCHES else CallOptions
    shown = {
        parameter.name: (parameter.annotation, parameter.default)
        for parameter in calls(RetrievalClient)[name].parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in ("title", "image")
    }
    expected = {option: kind.__forward_arg__ for option, kind in options.__annotations__.items()}
    assert {option: annotation for option, (annotation, _) in shown.items()} == expected
    assert {default for _, default in shown.values()} <= {None, False}

    text = inspect.getdoc(getattr(RetrievalClient, name)) or ""
    explained = text + (inspect.getdoc(RetrievalClient.retrieve) or "" if "those of `retrieve`" in text else "")
    parameters = calls(RetrievalClient)[name].parameters.keys() - {"self"}
    assert {parameter for parameter in parameters if f"\n    {parameter}: " not in explained} == set()


def test_the_constructor_explains_its_options() -> None:
    for client in (RetrievalClient, AsyncRetrievalClient):
        text = inspect.getdoc(client.__init__) or ""
        assert {name for name in inspect.signature(client).parameters if f"\n    {name}: " not in text} == set()


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with RetrievalClient() as client, pytest.raises(TypeError, match="unexpected keyword argument 'topk'"):
        client.retrieve("red dress", topk=3)  # type: ignore[call-arg]
