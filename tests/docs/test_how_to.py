"""docs/how-to/ and docs/search.md: the examples of each page run, in the order of the page."""

from __future__ import annotations

import argparse
import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import COMMANDS
from shopwindow.server import TritonServer
from tests.doc_examples import ROOT, ask_over_http, blocks, command_lines, easier, read_page, run_command

HOW_TO = (ROOT / "docs" / "how-to").glob("*.md")
PAGES = ["search", *sorted(f"how-to/{page.stem}" for page in HOW_TO if page.stem != "index")]
# These train, export or serve for long, or need what is not here: only their options are checked. Other tests run them.
LONG = {"ablate", "adapt", "bisect", "evaluate", "export", "milvus", "mine", "plans", "pretrain", "serve"}

# What must have happened before a page helps.
BEFORE = {"how-to/when-an-index-is-refused": ["update", "--changes", "changes.parquet", "--index", "build/mine/index"]}


@pytest.fixture
def checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Path, repository: Path, index: Path
) -> Iterator[Path]:
    """A folder with what the pages take for granted: a catalogue, changes, a photo, a repository and an index."""
    monkeypatch.chdir(tmp_path)
    products = pq.read_table(shop / "products.parquet")
    Path("mug.jpg").write_bytes(products["image"][0].as_py())
    for folder in ("build/demo", "build/mine"):
        Path(folder).mkdir(parents=True)
    links = {"build/demo/shop": shop, "build/model_repository": repository, "build/index": index}
    links["build/mine/model_repository"] = repository
    for name, target in links.items():
        Path(name).symlink_to(target)
    shutil.copytree(index, "build/mine/index")
    shutil.copyfile(shop / "products.parquet", "my_catalogue.parquet")
    changes = {"product_id": products["product_id"][:3], "price": pa.array([1.0, 2.0, 3.0])}
    pq.write_table(pa.table(changes), "changes.parquet")
    yield tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, checkout: Path, served: TritonServer) -> None:
    if page in BEFORE:
        run_command(BEFORE[page], served.grpc_url)
    names = {"URL": served.grpc_url, "PHOTO": Path("mug.jpg").read_bytes()}
    for block in blocks(read_page(f"{page}.md")):
        if block.file:
            Path(block.file).write_text(easier(block.text) if block.file == "slo.yaml" else block.text)
        elif block.language == "python":
            exec(compile(block.text, f"docs/{page}.md", "exec"), dict(names))
        elif block.language == "sh":
            for words in command_lines(block.text, "shopwindow"):
                if words[0] not in LONG and not {"--ray", "gpu"} & set(words):
                    run_command(words, served.grpc_url)
            for words in command_lines(block.text, "curl"):
                assert ask_over_http(words, served.http_url)["outputs"]


def parse(words: list[str]) -> None:
    """Let a command read its options, and run nothing."""
    room, _ = COMMANDS[words[0]]
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"shopwindow.cli.{room}.{words[0]}").add_arguments(parser)
    parser.parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_a_page_exists(page: str) -> None:
    commands = [
        words for block in blocks(read_page(f"{page}.md"), "sh") for words in command_lines(block.text, "shopwindow")
    ]
    assert commands or page == "index"
    for words in commands:
        parse(words)
