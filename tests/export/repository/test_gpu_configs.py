"""The rendered GPU configs on a real tritonserver, which has no TensorRT backend here and complains only about that."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.onnx_towers import OnnxProductTower, OnnxQueryTower
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_export.repository.rendering import ENSEMBLES, GpuOptions, render_models
from shopwindow_export.validation.run import validate_repository
from tests.export.live import wait_until_live

TOWERS = ("query_tower", "product_tower")
NO_BACKEND = "unable to find backend library for backend '{}', try specifying runtime on the model configuration."
BACKENDS = {"gpu": "tensorrt", "onnxruntime": "onnxruntime"}


def options(repository: Path, index: Path, profile: str, *arguments: str) -> ServerOptions:
    return ServerOptions(
        repository=repository,
        index=index,
        profile=profile,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        stop_timeout_s=2,
        extra_args=arguments,
    )


@pytest.mark.parametrize("profile", BACKENDS)
def test_triton_complains_only_about_the_missing_backend(repository: Path, index: Path, profile: str) -> None:
    server = TritonServer(options(repository, index, profile))
    server.start()
    try:  # it tries all models and then ends; `wait_until_ready` would stop it at the first failure
        deadline = time.monotonic() + 120
        while server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.poll() not in (None, 0)
    finally:
        server.stop()
    log = server.log_tail(10_000)
    failed = dict(re.findall(r"failed to load '(\w+)' version 1: (.+?)\"?$", log, re.MULTILINE))
    reason = f"Invalid argument: {NO_BACKEND.format(BACKENDS[profile])}"
    assert failed == dict.fromkeys(TOWERS, reason), log
    for model in ("query_tokenizer", "product_preprocessor", "product_index"):
        assert f"successfully loaded '{model}'" in log
    # pipelines fail only because they lack a tower
    for ensemble in ENSEMBLES.glob("*.pbtxt"):
        assert re.search(rf"ensemble '{ensemble.stem}' depends on '\w+_tower' which has no loaded version", log), log


@pytest.fixture(scope="module")
def judge(
    repository: Path, index: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, TritonServer]]:
    """A server that loads models one by one, on request."""
    folder = tmp_path_factory.mktemp("judged")
    bundle = Bundle.read(repository)
    gpu = GpuOptions(triton=(2, 51), capabilities=("9.0", "8.9"), cuda_graphs=True)
    render_models(folder, bundle, cpu_instances=1, gpu=gpu)
    bundle.write(folder)
    server = TritonServer(options(folder, index, "gpu", "--model-control-mode=explicit"))
    server.start()
    try:
        with grpcclient.InferenceServerClient(server.grpc_url) as client:
            wait_until_live(server, client)
        yield folder, server
    finally:
        server.stop()


def verdict(server: TritonServer, model: str) -> str:
    """Load a model that fails, and return what the caller and the log are told."""
    before = len(server.log_tail(10_000))
    client = grpcclient.InferenceServerClient(server.grpc_url)
    with client, pytest.raises(InferenceServerException) as refusal:
        client.load_model(model, headers=server.owner_header, client_timeout=60)
    return f"{refusal.value}\n{server.log_tail(10_000)[before:]}"


@pytest.mark.parametrize("tower", TOWERS)
def test_triton_accepts_cuda_graphs_and_a_plan_for_each_kind_of_gpu(
    judge: tuple[Path, TritonServer], tower: str
) -> None:
    folder, server = judge
    assert "cc_model_filenames" in (text := (folder / tower / "config.pbtxt").read_text()) and "graph_spec" in text
    assert NO_BACKEND.format("tensorrt") in verdict(server, tower)


FAULTS = {
    "preferred": (
        "dynamic_batching {",
        "dynamic_batching { preferred_batch_size: 65",
        "size must be <= max batch size",
    ),
    "field": ("max_batch_size", "max_batch_sise", 'has no field named "max_batch_sise"'),
    "name": ('name: "query_tower"', 'name: "query_towel"', "directory name must equal model name"),
    "shape": ("TYPE_INT32 dims: [ 32 ] }", "TYPE_INT32 dims: [ 0 ] }", "dimension must be integer >= 1, or -1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_triton_refuses_a_wrong_config_before_it_looks_for_the_backend(
    judge: tuple[Path, TritonServer], fault: str
) -> None:
    folder, server = judge
    old, new, reason = FAULTS[fault]
    name = f"query_tower_{fault}"
    shutil.copytree(folder / "query_tower", folder / name)
    text = (folder / name / "config.pbtxt").read_text()
    assert old in text
    text = text.replace(old, new, 1).replace('name: "query_tower"', f'name: "{name}"')
    (folder / name / "config.pbtxt").write_text(text)
    found = verdict(server, name)
    assert reason in found
    assert "backend library" not in found
    shutil.rmtree(folder / name)


@pytest.mark.parametrize("profile", BACKENDS)
def test_the_rendered_repository_validates(repository: Path, profile: str) -> None:
    faults = [problem for problem in validate_repository(repository, profile=profile) if problem.severity == "error"]
    plans = {f"{tower}/1/model.plan" for tower in TOWERS} if profile == "gpu" else set()  # built on a GPU, not here
    assert {problem.file for problem in faults} == plans, faults


def test_two_instances_of_the_index_are_refused(repository: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(repository, tmp_path / "copy"))
    config = copy / "product_index" / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 2"))
    for profile in BACKENDS:
        messages = [p.message for p in validate_repository(copy, profile=profile) if p.model == "product_index"]
        assert len(messages) == 1
        assert "exactly 1 instance per device, got 2 on one GPU" in messages[0]


def test_texts_padded_to_the_plans_length_give_the_same_embeddings(repository: Path) -> None:
    """On a GPU every request is padded to one shape. The mask makes the towers ignore the padding."""
    bundle, layout = Bundle.read(repository), RepositoryLayout(repository)
    texts = TextEncoder.read(layout.query_tokenizer, bundle.query_max_tokens)
    tower = OnnxQueryTower(layout.query_tower)
    words = ["lamp", "red floral dress with long sleeves"]
    ids, mask = texts.encode(words, pad_to=bundle.query_max_tokens)
    assert ids.shape == mask.shape == (2, bundle.query_max_tokens)
    assert np.abs(tower(ids, mask) - tower(*texts.encode(words))).max() < 1e-5

    titles = TextEncoder.read(layout.title_tokenizer, bundle.title_max_tokens)
    preprocess = ProductPreprocessor(titles, bundle.image_size)
    products = OnnxProductTower(layout.product_tower)
    padded = preprocess(words, [b"", b""], pad_to=bundle.title_max_tokens)
    assert padded.title_ids.shape == (2, bundle.title_max_tokens)
    for found, expected in zip(products(padded), products(preprocess(words, [b"", b""])), strict=True):
        assert np.abs(found - expected).max() < 1e-5
