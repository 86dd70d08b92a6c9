"""The repository of the demo checkpoint, compared file by file with a stored copy.

After an intended change, write the copy again and read the diff:

    UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/export/repository/test_golden.py
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow_export.repository.rendering import GpuOptions, render_models

GOLDEN = Path(__file__).with_name("golden")


def tree(repository: Path, folder: Path, gpu: GpuOptions) -> list[str]:
    """Return the name of every file of an exported repository, and the text of the configs without tower hashes."""
    render_models(folder, Bundle.read(repository), cpu_instances=2, gpu=gpu)
    names = {
        file.relative_to(root).as_posix()
        for root in (repository, folder)
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    lines: list[str] = []
    seen: dict[str, str] = {}
    for name in sorted(names):
        lines.append(f"==== {name}")
        if name.endswith(".pbtxt"):
            text = re.sub(r"\b[0-9a-f]{60,64}\b", "(tower hash)", (folder / name).read_text())
            lines += [f"as {seen[text]}"] if text in seen else text.splitlines()
            seen.setdefault(text, name)
    return lines


def compare(found: list[str], name: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("".join(f"{line}\n" for line in found))
    assert found == golden.read_text().splitlines(), (
        f"{golden} differs: the docstring of test_golden.py says how to write it again"
    )


def test_the_repository_of_the_demo_checkpoint_is_as_stored(repository: Path, tmp_path: Path) -> None:
    compare(tree(repository, tmp_path, GpuOptions(triton=(2, 51))), "demo_repository.txt")


def test_the_changes_for_a_newer_triton_and_two_kinds_of_gpu(repository: Path, tmp_path: Path) -> None:
    gpu = GpuOptions(triton=(2, 71), capabilities=("9.0", "8.9"), cuda_graphs=True, max_inflight_requests=256)
    plain = tree(repository, tmp_path / "plain", GpuOptions(triton=(2, 51)))
    newer = tree(repository, tmp_path / "newer", gpu)
    compare(list(difflib.unified_diff(plain, newer, "plain", "newer", n=2, lineterm="")), "newer_triton.diff")
