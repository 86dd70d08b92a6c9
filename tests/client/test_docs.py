"""docs/client.md: every example runs."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import shopwindow_client

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.+?)$.*?^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_runs(
    title: str, code: str, served: Any, repository: Path, index: Path, shop: Path, pems: Path, tmp_path: Path
) -> None:
    photo = pq.read_table(shop / "products.parquet", columns=["image"]).slice(0, 1)["image"][0].as_py()
    photo_file = tmp_path / "photo"
    photo_file.write_bytes(photo)
    names = {"URL": served.grpc_url, "PHOTO": photo, "PHOTO_FILE": photo_file, "REPOSITORY": repository, "INDEX": index}
    names |= {"CERTIFICATE": pems / "server.pem", "KEY": pems / "server.key"}
    exec(compile(code, f"docs/client.md, {title}", "exec"), names)


def test_every_option_and_every_call_has_an_example() -> None:
    code = "\n".join(code for _, code in EXAMPLES)
    client = shopwindow_client.RetrievalClient
    options = {*inspect.signature(client).parameters} - {"url"} | {*shopwindow_client.SearchOptions.__annotations__}
    for kind in (shopwindow_client.Hedge, shopwindow_client.Retry, shopwindow_client.Throttle, shopwindow_client.Tls):
        options |= {field.name for field in fields(kind)}
    assert {option for option in options if not re.search(rf"\b{option}=", code)} == set()
    calls = {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
    assert {call for call in calls if f".{call}(" not in code} == {"close"}  # which `with` calls
    told = {field.name for field in fields(shopwindow_client.Timings)}
    assert {name for name in told if f"| `{name}` |" not in TEXT} == set()


def test_no_example_and_no_error_is_left_out() -> None:
    assert len(EXAMPLES) == TEXT.count("```python")
    errors = {
        name
        for name, thing in vars(shopwindow_client).items()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert {name for name in errors if f"| `{name}` |" not in TEXT} == {"ShopwindowError"}
