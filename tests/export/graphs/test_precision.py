"""Graphs in half precision and in 8 bits: the same names and types outside, the promised types inside, and answers
that do not depend on other rows of the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from shopwindow.retrieval.embedding.onnx_towers import session_options
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow_export.errors import ExportError
from shopwindow_export.graphs.half import half_copy
from shopwindow_export.graphs.onnx_export import (
    PRODUCT_INPUTS,
    PRODUCT_OUTPUTS,
    QUERY_INPUTS,
    QUERY_OUTPUTS,
    export_product_tower,
    export_query_tower,
)
from tests.towers.small import small_towers

ISLANDS = {"LayerNormalization", "Softmax", "ReduceSum", "Div", "Sqrt"}


def query_inputs(batch: int, tokens: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = (np.arange(tokens) < rng.integers(1, tokens + 1, size=batch)[:, None]).astype(np.int32)
    return {"input_ids": rng.integers(0, 40, (batch, tokens), dtype=np.int32), "attention_mask": mask}


def product_inputs(batch: int, tokens: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    texts = query_inputs(batch, tokens, seed).values()
    pixels = rng.integers(0, 256, (batch, 16, 16, 3), dtype=np.uint8)
    present = np.array([[1, 1], [1, 0], [0, 1]], np.float32)[np.arange(batch) % 3]
    return dict(zip(PRODUCT_INPUTS, (*texts, pixels, present), strict=True))


@pytest.fixture(scope="module")
def towers() -> Towers:
    return small_towers()


@pytest.fixture(scope="module")
def graphs(towers: Towers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """query-<precision>.onnx and product-<precision>.onnx."""
    folder = tmp_path_factory.mktemp("graphs")
    queries = [query_inputs(16, 6, seed) for seed in range(4)]
    for precision in ("int8", "fp8"):
        export_query_tower(towers, folder / f"query-{precision}.onnx", precision, queries)
    products = [product_inputs(18, 9, seed) for seed in range(4)]
    for precision in ("fp16", "bf16", "int8"):
        export_product_tower(towers, folder / f"product-{precision}.onnx", precision, products)
    return folder


def types(file: Path) -> tuple[onnx.ModelProto, dict[str, int]]:
    """A graph, and the type of every value in it."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(file)), check_type=True, strict_mode=True)
    found = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
    return model, found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


@pytest.mark.parametrize("name", ["query-int8", "query-fp8", "product-fp16", "product-bf16", "product-int8"])
def test_names_and_types_outside_are_the_same_in_every_precision(graphs: Path, name: str) -> None:
    graph = onnx.load(str(graphs / f"{name}.onnx")).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    if name.startswith("query"):
        kinds = [TensorProto.INT32] * 2 + [TensorProto.FLOAT]
        assert found == dict(zip((*QUERY_INPUTS, *QUERY_OUTPUTS), kinds, strict=True))
    else:
        kinds = [TensorProto.INT32] * 2 + [TensorProto.UINT8] + [TensorProto.FLOAT] * 3
        assert found == dict(zip((*PRODUCT_INPUTS, *PRODUCT_OUTPUTS), kinds, strict=True))


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("product-fp16", TensorProto.FLOAT16),
        ("product-bf16", TensorProto.BFLOAT16),
        ("query-fp8", TensorProto.FLOAT16),
    ],
)
def test_encoders_are_in_half_precision_and_islands_in_float32(graphs: Path, name: str, half: int) -> None:
    model, found = types(graphs / f"{name}.onnx")
    trunk = {found[node.output[0]] for node in model.graph.node if node.op_type in ("MatMul", "Conv", "Gelu")}
    islands = {found[node.output[0]] for node in model.graph.node if node.op_type in ISLANDS}
    assert trunk == {half}
    assert islands == {TensorProto.FLOAT}


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (3, 5), (7, 9)])
def test_fp16_computes_nearly_what_pytorch_does(towers: Towers, graphs: Path, batch: int, tokens: int) -> None:
    inputs = product_inputs(batch, tokens)
    session = ort.InferenceSession(graphs / "product-fp16.onnx", providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = towers.product(*map(torch.from_numpy, inputs.values()))
    for array, tensor in zip(session.run(None, inputs), expected, strict=True):
        assert 0 < np.abs(array - tensor.numpy()).max() < 3e-3


def test_a_half_copy_leaves_the_tower_as_it_was(towers: Towers) -> None:
    before = {name: tensor.clone() for name, tensor in towers.state_dict().items()}
    half = half_copy(towers.product, "fp16")
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float16, torch.float32}
    assert all(torch.equal(tensor, before[name]) for name, tensor in towers.state_dict().items())
    # Float32 islands keep their weights exactly.
    norms = {name: tensor for name, tensor in half.state_dict().items() if "norm" in name}
    assert norms
    assert all(
        torch.equal(tensor, towers.product.state_dict()[name.replace(".inner", "")]) for name, tensor in norms.items()
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("query-int8", TensorProto.INT8), ("product-int8", TensorProto.INT8), ("query-fp8", TensorProto.FLOAT8E4M3FN)],
)
def test_every_layer_multiplies_in_8_bits_with_constant_scales(graphs: Path, name: str, kind: int) -> None:
    model, found = types(graphs / f"{name}.onnx")
    made_by = {node.output[0]: node for node in model.graph.node}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    eight_bits = 0
    for node in model.graph.node:
        if node.op_type != "MatMul" or made_by[node.input[1]].op_type != "DequantizeLinear":
            continue
        activation, weight = (made_by[name] for name in node.input)
        for each in (activation, weight):
            assert each.op_type == "DequantizeLinear"
            assert found[each.input[0]] == kind
            assert not constants[each.input[2]].astype(np.float32).any()  # symmetric
        assert constants[activation.input[1]].size == 1
        if kind == TensorProto.INT8:
            assert constants[weight.input[1]].size > 1  # one scale per channel
        eight_bits += 1
    blocks = 1 if name.startswith("query") else 3  # title, image, fusion
    assert eight_bits == 4 * blocks


def int8_session(graphs: Path, name: str) -> ort.InferenceSession:
    return ort.InferenceSession(graphs / f"{name}-int8.onnx", session_options(), providers=["CPUExecutionProvider"])


def test_an_int8_answer_does_not_depend_on_other_rows_of_the_batch(graphs: Path) -> None:
    for name, inputs in (("query", query_inputs(24, 6, seed=9)), ("product", product_inputs(24, 9, seed=9))):
        session = ort.InferenceSession(
            graphs / f"{name}-int8.onnx", session_options(), providers=["CPUExecutionProvider"]
        )
        together = session.run(None, inputs)[0]
        for row in range(24):
            alone = session.run(None, {key: array[row : row + 1] for key, array in inputs.items()})[0]
            assert np.abs(alone[0] - together[row]).max() < 1e-6


def test_int8_stays_near_pytorch(towers: Towers, graphs: Path) -> None:
    inputs = query_inputs(64, 6, seed=5)
    session = int8_session(graphs, "query")
    with torch.inference_mode():
        expected = towers.query(*map(torch.from_numpy, inputs.values())).numpy()
    cosines = (session.run(None, inputs)[0] * expected).sum(axis=1)
    assert 0.99 < cosines.min() < 1.0


def test_8_bits_without_real_inputs_are_refused(towers: Towers, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="calibration: int8 needs real inputs to measure its scales on, got none"):
        export_query_tower(towers, tmp_path / "query.onnx", "int8")


def test_an_unknown_precision_is_refused(towers: Towers, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision: must be one of fp32, fp16, bf16, int8, fp8, got 'int4'"):
        export_query_tower(towers, tmp_path / "query.onnx", "int4")


def test_a_text_longer_than_the_position_table_fails_at_export(tmp_path: Path) -> None:
    towers = small_towers()
    object.__setattr__(towers.config, "query_max_tokens", 7)
    object.__setattr__(towers.config, "title_max_tokens", 10)
    with pytest.raises(ExportError, match=r"^query_max_tokens: 7 tokens are more than .* position table holds"):
        export_query_tower(towers, tmp_path / "query.onnx")
    with pytest.raises(ExportError, match=r"^title_max_tokens: 10 tokens are more than .* position table holds"):
        export_product_tower(towers, tmp_path / "product.onnx")
    assert not list(tmp_path.iterdir())
