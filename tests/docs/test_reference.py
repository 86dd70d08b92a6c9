"""The pages of docs/reference/ and the glossary say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shopwindow.base.default_places import python_path
from tests.doc_examples import read_page

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "docs" / "_tools"
CODE = ("shopwindow", "client/shopwindow_client", "export", "loadtests", "deploy", "model_repository")
# Read from the environment by a name in the code, and none of the variables that Python or torch define.
FOREIGN = {"PYTHONPATH", "PATH", "LD_LIBRARY_PATH", "WORLD_SIZE", "RANK", "LOCAL_RANK", "TOKENIZERS_PARALLELISM"}


def test_the_pages_are_what_the_code_gives() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{TOOLS}{os.pathsep}{python_path({})}"}
    command = [sys.executable, "-m", "reference_pages", "--check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_settings_names_every_variable_that_the_code_reads() -> None:
    files = [file for folder in CODE for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".sh", ".yaml")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    own = {name for text in texts for name in re.findall(r"\bSHOPWINDOW_[A-Z_]+\b", text)}
    read = {name for text in texts for name in re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', text)}
    listed = set(re.findall(r"`([A-Z][A-Z_]+)`", read_page("reference/settings.md")))
    assert own | (read - FOREIGN) <= listed
    assert {name for name in listed if name.startswith("SHOPWINDOW_")} <= own


def test_the_glossary_explains_words_that_other_pages_use() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", read_page("glossary.md"), flags=re.MULTILINE)
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.name != "glossary.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages).lower()
    assert len(words) >= 20
    assert words == sorted(words)
    assert [word for word in words if not re.search(rf"\b{re.escape(word.removesuffix('y'))}", text)] == []


@pytest.mark.parametrize("word", ["generation", "effort", "bundle", "profile", "towers", "recipe"])
def test_the_glossary_has_the_words_that_the_commands_use(word: str) -> None:
    assert f"| **{word}** |" in read_page("glossary.md")
