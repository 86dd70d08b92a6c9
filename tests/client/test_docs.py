"""docs/client.md and client/README.md: every example runs."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import shopwindow_client
from tests.doc_examples import ROOT, blocks, read_page

TEXT = read_page("client.md")
README = (ROOT / "client" / "README.md").read_text(encoding="utf-8")
EXAMPLES = [(block.heading, block.text) for block in blocks(TEXT, "python")]
README_EXAMPLES = [("README", block.text.replace('"localhost:8001"', "URL")) for block in blocks(README, "python")]


@pytest.mark.parametrize(
    ("title", "code"), EXAMPLES + README_EXAMPLES, ids=[title for title, _ in EXAMPLES + README_EXAMPLES]
)
def test_an_example_runs(
    title: str,
    code: str,
    served: Any,
    repository: Path,
    index: Path,
    shop: Path,
    pems: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = pq.read_table(shop / "products.parquet", columns=["image"]).slice(0, 1)["image"][0].as_py()
    photo_file = tmp_path / "mug.jpg"
    photo_file.write_bytes(photo)
    names = {"URL": served.grpc_url, "PHOTO": photo, "PHOTO_FILE": photo_file, "REPOSITORY": repository, "INDEX": index}
    names |= {"CERTIFICATE": pems / "server.pem", "KEY": pems / "server.key"}
    exec(compile(code, f"example of {title}", "exec"), names)


def test_both_documents_have_examples_and_begin_with_how_to_install() -> None:
    assert len(EXAMPLES) == TEXT.count("```python") > 0
    assert len(README_EXAMPLES) == README.count("```python") > 0
    for text in (TEXT, README):
        assert text.index("pip install ./client") < text.index("```python")


def test_every_option_and_every_call_has_an_example() -> None:
    code = "\n".join(code for _, code in EXAMPLES)
    client = shopwindow_client.RetrievalClient
    options = {*inspect.signature(client).parameters} - {"url"} | {*shopwindow_client.SearchOptions.__annotations__}
    for kind in (shopwindow_client.Hedge, shopwindow_client.Retry, shopwindow_client.Throttle, shopwindow_client.Tls):
        options |= {field.name for field in fields(kind)}
    assert {option for option in options if not re.search(rf"\b{option}=", code)} == set()
    calls = {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
    assert {call for call in calls if f".{call}(" not in code} == {"close"}  # `with` calls it
    columns = {field.name for field in fields(shopwindow_client.Timings)}
    assert {name for name in columns if f"| `{name}` |" not in TEXT} == set()


def test_every_error_is_explained() -> None:
    errors = {
        name
        for name, thing in vars(shopwindow_client).items()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert {name for name in errors if f"| `{name}` |" not in TEXT} == {"ShopwindowError"}
