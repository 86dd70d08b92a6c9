"""docs/reference/parameters.md, from the code that reads request parameters and filters."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from reference_pages.markdown import code, docstring, prose, table
from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request import filter_reading, parameters
from shopwindow.retrieval.request.page.page_request import PLACES, PageRequest
from shopwindow.retrieval.request.parameters import RequestParameters, parse_parameters
from shopwindow.retrieval.search.fusion import RRF_K

# The one parameter that another field holds. The meaning of the field is not that of the parameter.
_NAME_OF = {"embedding_weight": "fusion"}
# Attributes that hold no parameter of their own: the page, and other forms of `min_score`.
_NO_PARAMETER = ("page", "min_score_of_best", "min_precision", "min_similarity")
_FUSION = (
    f"how two channels are merged. `rrf`: each channel that found a product adds 1 / ({RRF_K} + place). `weighted:W`: "
    "the scores of each channel are stretched to 0 to 1. Those of the embedding channel have the weight W, the others "
    "1 - W."
)
_VALUES = {
    "top_k": f"1 to {parameters.MAX_TOP_K:,}",
    "effort": f"1 to {parameters.MAX_EFFORT}",
    "filter": "JSON object, see [filters](#filters)",
    "min_score": "a finite number, `best*` and a number up to 1, or `precision:` and a number up to 1",
    "channels": "`embedding`, `lexical` or `embedding,lexical`",
    "fusion": "`rrf`, or `weighted:` and a number from 0 to 1",
    "allow_lower_effort": "true or false",
    "deadline_unix_ms": "milliseconds since 1970",
    "towers": "text",
    "fields": '`["title", "price"]`',
    "offset": f"0 to {PLACES:,}, with `top_k` at most {PLACES:,}",
    "generation": "a whole number",
    "facets": '`{"colour": 20, "price": {"ranges": [0, 25, 50, null]}}`',
    "facet_over": f"1 to {PLACES:,}",
    "collapse": '`style`, or `{"by": "style", "members": 5}`',
    "boost": '`[{"if": {"in_stock": true}, "add": 0.05}]`',
    "sort": '`{"by": "price", "order": "desc", "among": 500}`',
    "diversity": "above 0 to 1",
}
_DEFAULTS = {
    "top_k": str(parameters.DEFAULT_TOP_K),
    "effort": str(parameters.DEFAULT_EFFORT),
    "channels": "`embedding`",
    "fusion": "`rrf`",
    "allow_lower_effort": "false",
}
_WRONG: list[dict[str, Any]] = [
    {"top_k": 0},
    {"effort": "hard"},
    {"min_score": "nan"},
    {"min_score": "precision:80"},
    {"channels": "title"},
    {"fusion": "weighted:0.7"},
    {"filter": '{"price": {"under": 50}}'},
    {"filter": '{"price": '},
    {"sort": '{"by": "price", "order": "down"}'},
    {"topk": 5},
]
_OPERATORS = {
    "eq": ('{"colour": {"eq": "red"}}, {"colour": "red"}', "equals the value"),
    "ne": ('{"colour": {"ne": "red"}}', "does not equal the value"),
    "in": ('{"brand": {"in": ["Nordvale", "Kesto"]}}', "is one of the values"),
    "not_in": ('{"brand": {"not_in": ["Nordvale", "Kesto"]}}', "is none of the values"),
    "contains_all": ('{"sizes": {"contains_all": ["S", "M"]}}', "is a list that has all the values"),
    "lt": ('{"price": {"lt": 50}}', "is below"),
    "lte": ('{"price": {"lte": 50}}', "is below or equal"),
    "gt": ('{"price": {"gt": 10}}', "is above"),
    "gte": ('{"price": {"gte": 10, "lt": 50}}', "is above or equal; two sides of a range go into one condition"),
    "exists": ('{"stock": {"exists": true}}', "is there; with false: is missing"),
}
_INTRODUCTION = """# Request parameters

A request to a model that searches may carry these parameters, beside its inputs. Numbers may come as decimal text,
because not every gRPC client can send a floating-point parameter. `shopwindow_client` has an argument of the same name
for each, except `deadline_unix_ms`, which it sends when the client was made with `clocks_synchronised=True`. Values
that are JSON are sent as text. [A result page in one call](../search.md) shows those of a page at work.
"""
_WRONG_TEXT = """
Triton's own names (`priority`, `timeout`, `headers`, names that begin with `triton_`, and others) are left alone.

## Wrong values

A wrong value gets INVALID_ARGUMENT (HTTP 400). The message names the field, the limit and the value. The other requests
of the same batch are answered.
"""
_FILTERS = """
## Filters

The keys of a filter are attribute columns of the catalogue. All conditions must hold.
"""


def page() -> str:
    """Return the page.

    Raises:
        KeyError: the code knows a parameter or an operator that has no text here.
    """
    texts = {**docstring(RequestParameters).items["Attributes"], **docstring(PageRequest).items["Attributes"]}
    texts["embedding_weight"] = _FUSION
    held = [each.name for each in (*fields(RequestParameters), *fields(PageRequest)) if each.name not in _NO_PARAMETER]
    names = [_NAME_OF.get(name, name) for name in held]
    if set(names) != set(parameters._KNOWN):
        raise KeyError(f"parameters without a text: {set(parameters._KNOWN) ^ set(names)}")
    rows = [
        (code(name), _VALUES[name], _DEFAULTS.get(name, "none"), prose(_plain(texts[field])))
        for field, name in zip(held, names, strict=True)
    ]
    operators = [(code(name), code(_OPERATORS[name][0]), _OPERATORS[name][1]) for name in filter_reading._OPERATORS]
    return "\n".join(
        [
            _INTRODUCTION,
            table(("parameter", "values", "default", "meaning"), rows),
            _WRONG_TEXT,
            table(("parameter given", "message"), [_wrong(given) for given in _WRONG]),
            _FILTERS,
            table(("operator", "example", "holds for products whose value"), operators),
            "A product with a list of values passes a test if one of its values does. `ne` and `not_in` ask that none\n"
            "does. Dates are written as in ISO 8601, see [filter](../how-to/filter.md#dates).\n",
            '`{"and": [...]}`, `{"or": [...]}` and `{"not": {...}}` combine filters.\n',
            "A product without a value fails `eq`, `in` and the ranges. It passes `ne`, `not_in` and `not` of these.\n"
            "To leave such products out as well, write\n"
            '`{"colour": {"ne": "red", "exists": true}}`.\n',
            table(
                ("limit", "value"),
                [
                    ("length of the JSON text", f"{filter_reading.MAX_FILTER_BYTES:,} bytes"),
                    ("different conditions", f"{filter_reading.MAX_CONDITIONS}"),
                    ("values of `in`, `not_in` and `contains_all`", f"{filter_reading.MAX_IN_VALUES:,}"),
                    ("depth of `and`, `or` and `not`", f"{filter_reading.MAX_DEPTH}"),
                ],
            ),
        ]
    )


def _plain(text: str) -> str:
    for name in ("MAX_TOP_K", "MAX_EFFORT"):
        text = text.replace(name, f"{getattr(parameters, name):,}")
    return text


def _wrong(given: dict[str, Any]) -> tuple[str, str]:
    (name,) = given
    try:
        parse_parameters(given)
    except InvalidRequest as error:
        return code(f"{name} = {given[name]}"), prose(str(error))
    raise ValueError(f"{given} is not wrong: give another example")
