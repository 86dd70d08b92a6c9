"""docs/reference/python-api.md, from the public names of the packages and their docstrings."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
from types import ModuleType
from typing import Any, get_args, get_origin

from reference_pages.markdown import docstring, prose, table

_PACKAGES = {
    "shopwindow_client": "what a caller installs; [the client](../client.md) has examples",
    "shopwindow.retrieval": "the retrieval library: search in one process, without a server",
    "shopwindow_loadtests": "load tests; [load tests](../loadtests.md) has examples",
    "shopwindow.server": "start, watch and stop a Triton server",
}
# Calls that stand with another class already.
_SAME_CALLS = {"AsyncRetrievalClient": "RetrievalClient"}
_SHORT = re.compile(r"\b(?:[a-z_0-9]+\.)+(?=[A-Za-z])")


def page() -> str:
    """Return the page.

    Raises:
        ValueError: a public class or function has no docstring.
    """
    parts = ["# Python API\n", "Names that other code may use. Names that begin with `_` may change at any time.\n"]
    parts.append(
        table(("package", "what it is"), [(f"[{name}](#{_anchor(name)})", text) for name, text in _PACKAGES.items()])
    )
    for name in _PACKAGES:
        parts += _package(name, importlib.import_module(name))
    return "\n".join(parts)


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _package(name: str, module: ModuleType) -> list[str]:
    names = sorted(module.__all__, key=lambda each: (_SAME_CALLS.get(each, each), each in _SAME_CALLS))
    things = {each: getattr(module, each) for each in names}
    errors = [each for each in things.values() if inspect.isclass(each) and issubclass(each, Exception)]
    parts = [f"## {name}\n", prose(docstring(module).text) + "\n"]
    for each, thing in things.items():
        if thing not in errors:
            parts += _thing(each, thing)
    if errors:
        rows = [(f"`{each.__name__}`", f"`{each.__bases__[0].__name__}`", _first(each)) for each in errors]
        parts += [f"### Errors of {name}\n", table(("error", "is a", "meaning"), rows)]
    return parts


def _thing(name: str, thing: object) -> list[str]:
    if not inspect.getdoc(thing):
        raise ValueError(f"{name} has no docstring")
    parts = [f"### {name}\n"]
    if inspect.isclass(thing):
        if not issubclass(thing, (enum.Enum, dict)):
            parts.append(_signature(name, thing))
    elif callable(thing):
        parts.append(_signature(name, thing))
    parts += _described(thing)
    if name in _SAME_CALLS:
        parts.append(f"Its calls are those of [{_SAME_CALLS[name]}](#{_SAME_CALLS[name].lower()}).\n")
    if inspect.isclass(thing) and not issubclass(thing, enum.Enum):
        parts += [part for method in _methods(thing) for part in method]
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        parts.append(table(("value", "number or text"), [(f"`{each.name}`", f"`{each.value}`") for each in thing]))
    return parts


def _methods(owner: type) -> list[list[str]]:
    found = []
    for name, method in inspect.getmembers(owner):
        if name.startswith("_") or issubclass(owner, dict) or name not in _own_names(owner):
            continue
        if owner.__name__ in _SAME_CALLS and name not in vars(owner):
            continue
        raw = inspect.getattr_static(owner, name)
        if isinstance(raw, property):
            found.append([f"**`{name}`** (property)\n", *_described(raw)])
        elif inspect.isroutine(method) and inspect.getdoc(method):
            signature = _filled_in(owner, _signature(name, method))
            found.append([f"**`{owner.__name__}.{name}`**\n", signature, *_described(method)])
    return found


def _filled_in(owner: type, text: str) -> str:
    """Return a signature with what a class fills in for the type variables of its base."""
    for base in getattr(owner, "__orig_bases__", ()):
        variables = getattr(get_origin(base), "__parameters__", ())
        for variable, filled in zip(variables, get_args(base), strict=False):
            shown = "NDArray[float32]" if get_origin(filled) is not None else _type(filled)
            text = re.sub(rf"\b{variable.__name__}\b", shown, text)
    return text


def _own_names(owner: type) -> set[str]:
    """Return the names that our own classes define, not those of the standard library."""
    ours = [each for each in owner.__mro__ if each.__module__.startswith("shopwindow")]
    return {name for each in ours for name in vars(each)}


def _signature(name: str, thing: object) -> str:
    signature = inspect.signature(thing)  # type: ignore[arg-type]
    shown = []
    star = False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            shown.append("*")
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        shown.append(_parameter(parameter))
    result = (
        ""
        if inspect.isclass(thing) or signature.return_annotation is signature.empty
        else (f" -> {_type(signature.return_annotation)}")
    )
    line = f"{name}({', '.join(shown)}){result}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {each},\n" for each in shown) + f"){result}"
    return f"```python\n{line}\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    text = str(parameter).split(parameter.name)[0] + parameter.name  # its stars come first
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {_default(parameter.default)}"
    return text


def _default(value: object) -> str:
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
        return "..."
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    kind: Any = type(value)
    if dataclasses.is_dataclass(value) and value == kind():
        return f"{kind.__name__}()"
    if callable(value):
        return str(getattr(value, "__name__", "..."))
    text = repr(value)
    return "..." if " object at 0x" in text or "/" in text else text


def _type(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _SHORT.sub("", text).replace("'", "")


def _described(thing: object) -> list[str]:
    found = docstring(thing)
    parts = [_text(found.text) + "\n"] if found.text else []
    for section, head in (("Args", "argument"), ("Attributes", "attribute"), ("Raises", "raises")):
        if items := found.items.get(section):
            parts.append(table((head, "meaning"), [(f"`{name}`", prose(text)) for name, text in items.items()]))
    if found.returns:
        parts.append(f"Returns: {prose(found.returns)}\n")
    return parts


def _text(text: str) -> str:
    """Return a docstring's text; indented blocks stay code."""
    return "\n\n".join(part if part.startswith("    ") else prose(part) for part in re.split(r"\n{2,}", text))


def _first(thing: object) -> str:
    return prose(docstring(thing).text.split("\n\n")[0])
