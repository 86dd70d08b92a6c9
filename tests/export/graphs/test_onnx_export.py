"""ONNX graphs: the same numbers as PyTorch at any batch and length, and no faults that TensorRT would refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow_export.errors import ExportError
from shopwindow_export.graphs.onnx_export import (
    OPSET,
    PRODUCT_INPUTS,
    PRODUCT_OUTPUTS,
    QUERY_INPUTS,
    QUERY_OUTPUTS,
    check_graph,
)
from tests.towers.small import small_towers

CLOSE = 1e-5


@pytest.fixture(scope="module")
def towers() -> Towers:
    return small_towers()


@pytest.fixture(scope="module")
def layout(small_repository: Path) -> RepositoryLayout:
    """The exported graphs of these towers."""
    return RepositoryLayout(small_repository)


def texts(batch: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Random ids, and masks of different lengths, at least one token each."""
    rng = np.random.default_rng(batch * 100 + tokens)
    lengths = rng.integers(1, tokens + 1, size=batch)
    mask = (np.arange(tokens) < lengths[:, None]).astype(np.int32)
    return rng.integers(0, 40, size=(batch, tokens), dtype=np.int32), mask


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 6), (3, 4)])
def test_the_query_graph_matches_pytorch(towers: Towers, layout: RepositoryLayout, batch: int, tokens: int) -> None:
    ids, mask = texts(batch, tokens)
    session = ort.InferenceSession(layout.query_tower, providers=["CPUExecutionProvider"])
    (found,) = session.run(list(QUERY_OUTPUTS), dict(zip(QUERY_INPUTS, (ids, mask), strict=True)))
    with torch.inference_mode():
        expected = towers.query(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    assert found.shape == (batch, 12)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < CLOSE


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 9), (3, 5)])
@pytest.mark.parametrize("modality", [(1, 1), (1, 0), (0, 1)], ids=["both", "title", "photo"])
def test_the_product_graph_matches_pytorch(
    towers: Towers, layout: RepositoryLayout, batch: int, tokens: int, modality: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 16, 16, 3), dtype=np.uint8)
    inputs = (*texts(batch, tokens), pixels, np.array([modality] * batch, np.float32))
    session = ort.InferenceSession(layout.product_tower, providers=["CPUExecutionProvider"])
    found = session.run(list(PRODUCT_OUTPUTS), dict(zip(PRODUCT_INPUTS, inputs, strict=True)))
    with torch.inference_mode():
        expected = towers.product(*map(torch.from_numpy, inputs))
    for array, tensor in zip(found, expected, strict=True):
        assert array.shape == tensor.shape
        assert np.abs(array - tensor.numpy()).max() < CLOSE


@pytest.mark.parametrize("tower", ["query_tower", "product_tower"])
def test_a_graph_is_one_file_with_the_promised_axes(layout: RepositoryLayout, tower: str) -> None:
    file: Path = getattr(layout, tower)
    assert {other.name for other in file.parent.iterdir()} == {"model.onnx", "model.py"}  # no weights beside it
    model = onnx.load(str(file))
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param
    assert model.graph.input[0].type.tensor_type.shape.dim[1].dim_param


def model(
    *,
    output: str = "product",
    node: str = "scaling",
    batch: int | str = "batch",
    opset: int = OPSET,
    weight: str = "weight",
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a graph of two nodes: x * weight, then the absolute value. `kind` is the type of all but the weight."""
    shape = [batch, 4]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", weight], ["inner"], name=node),
            helper.make_node("Abs", ["inner"], [output], name="last"),
        ],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(output, kind, shape)],
        [helper.make_tensor(weight, TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_a_sound_graph_passes(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "tower.onnx")
    check_graph(tmp_path / "tower.onnx", ("x",), ("product",))


@pytest.mark.parametrize(
    ("made", "outputs", "named"),
    [
        (model(output="embedding", node="embedding"), ("embedding",), "output 'embedding' shares its name"),
        (model(batch=2), ("product",), "the batch axis of x is fixed; it must be dynamic"),
        (model(opset=18), ("product",), f"opset 18, expected {OPSET}"),
        (
            model(kind=TensorProto.FLOAT16),
            ("product",),
            "types or shapes do not fit.* needs a Cast wherever",
        ),
        (model(output="other"), ("product",), r"outputs are \('other',\), expected \('product',\)"),
    ],
    ids=["inner name", "fixed batch", "opset", "types meet", "renamed output"],
)
def test_a_graph_that_would_fail_later_is_refused(
    tmp_path: Path, made: onnx.ModelProto, outputs: tuple[str, ...], named: str
) -> None:
    onnx.save(made, tmp_path / "tower.onnx")
    with pytest.raises(ExportError, match=rf"^tower\.onnx: {named}"):
        check_graph(tmp_path / "tower.onnx", ("x",), outputs)


def test_inputs_with_other_names_are_refused(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "tower.onnx")
    with pytest.raises(ExportError, match=r"inputs are \('x',\), expected \('input_ids', 'attention_mask'\)"):
        check_graph(tmp_path / "tower.onnx", QUERY_INPUTS, ("product",))
