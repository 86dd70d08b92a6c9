"""A repository whose files were not exported together is refused, with the file and both hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.bundle import Bundle, check_plans
from shopwindow.retrieval.errors import BundleUnfit
from tests.whole_server.other_towers import copied


def test_a_file_changed_after_the_export_is_refused_with_both_hashes(repository: Path, tmp_path: Path) -> None:
    copy = copied(repository, tmp_path / "model_repository")
    tokenizer = copy / "query_tokenizer" / "1" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    with pytest.raises(
        BundleUnfit, match=r"query_tokenizer/1/tokenizer.json .* names [0-9a-f]{12}, the file is [0-9a-f]{12}"
    ):
        InProcessPipeline(copy)
    tokenizer.unlink()
    with pytest.raises(BundleUnfit, match=r"tokenizer.json is missing"):
        InProcessPipeline(copy)


def test_a_plan_of_another_graph_is_refused_with_both_hashes(repository: Path, tmp_path: Path) -> None:
    copy = copied(repository, tmp_path / "model_repository")
    for left in copy.glob("*/1/*.plan*"):
        left.unlink()
    graph = Bundle.read(copy).files["query_tower/1/model.onnx"]
    plan = copy / "query_tower" / "1" / "model.plan"
    plan.write_bytes(b"a plan")
    record = plan.with_name("model.plan.json")
    whole = {"onnx_sha256": graph, "plan_sha256": hashlib.sha256(b"a plan").hexdigest()}
    record.write_text(json.dumps(whole))
    check_plans(copy)
    for name, words in (
        ("onnx_sha256", f"built from a graph beefbeefbeef, but .* {graph[:12]}"),
        ("plan_sha256", "names beef"),
    ):
        record.write_text(json.dumps({**whole, name: "beef" * 16}))
        with pytest.raises(BundleUnfit, match=f"{words}.*shopwindow plans"):
            check_plans(copy)
