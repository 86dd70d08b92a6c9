"""docs/client.md: every example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import shopwindow_client

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.+?)$.*?^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_runs(title: str, code: str, served: Any, repository: Path, index: Path, shop: Path) -> None:
    photo = pq.read_table(shop / "products.parquet", columns=["image"]).slice(0, 1)["image"][0].as_py()
    names = {"URL": served.grpc_url, "PHOTO": photo, "REPOSITORY": repository, "INDEX": index}
    exec(compile(code, f"docs/client.md, {title}", "exec"), names)


def test_no_example_and_no_error_is_left_out() -> None:
    assert len(EXAMPLES) == TEXT.count("```python")
    errors = {
        name
        for name, thing in vars(shopwindow_client).items()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert {name for name in errors if f"| `{name}` |" not in TEXT} == {"ShopwindowError"}
