"""validate_repository on how ensembles wire models together, one fault at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopwindow_export.validation.run import validate_repository
from tests.export.validation.sound_repository import INDEX, RETRIEVE, TOKENIZER, Breakage, both, cases, edit, expect_one

WIRING = {
    "no such model": (
        edit(RETRIEVE, ('model_name: "product_index"', 'model_name: "products_index"')),
        RETRIEVE,
        ("'products_index'", "did you mean 'product_index'"),
    ),
    "version not written": (
        edit(RETRIEVE, ('"product_index" model_version: -1', '"product_index"')),
        RETRIEVE,
        ("'product_index'", "model_version", "write -1"),
    ),
    "version not served": (
        edit(RETRIEVE, ('"product_index" model_version: -1', '"product_index" model_version: 7')),
        RETRIEVE,
        ("model_version", "(1)", "7"),
    ),
    "misspelt input": (
        edit(RETRIEVE, ('input_map { key: "embedding"', 'input_map { key: "embeding"')),
        RETRIEVE,
        ("'embeding'", "did you mean 'embedding'"),
    ),
    "input not mapped": (
        edit(
            RETRIEVE,
            ('input_map { key: "attention_mask" value: "token_mask" }', ""),
            ('output_map { key: "attention_mask" value: "token_mask" }', ""),
        ),
        RETRIEVE,
        ("'query_tower'", "'attention_mask' is not mapped"),
    ),
    "misspelt output": (
        edit(RETRIEVE, ('output_map { key: "scores"', 'output_map { key: "score"')),
        RETRIEVE,
        ("'score'", "did you mean 'scores'"),
    ),
    "dangling tensor": (
        edit(
            RETRIEVE,
            ('input_map { key: "embedding" value: "embedding"', 'input_map { key: "embedding" value: "embeding"'),
        ),
        RETRIEVE,
        ("'embeding'", "comes from nowhere", "did you mean 'embedding'"),
    ),
    "output that nobody makes": (
        edit(RETRIEVE, ('output_map { key: "scores" value: "scores" }', "")),
        RETRIEVE,
        ("'scores'", "the ensemble's output", "comes from nowhere"),
    ),
    "tensor made twice": (
        edit(RETRIEVE, ('value: "scores" }', 'value: "scores" }\noutput_map { key: "generation" value: "scores" }')),
        RETRIEVE,
        ("'scores'", "one place only"),
    ),
    "unused tensor": (
        edit(
            RETRIEVE, ('value: "scores" }', 'value: "scores" }\noutput_map { key: "generation" value: "generation" }')
        ),
        RETRIEVE,
        ("'generation'", "used by nothing"),
    ),
    "unused input of the ensemble": (
        edit(RETRIEVE, ("output [", 'input [ { name: "locale" data_type: TYPE_STRING dims: [ 1 ] } ]\noutput [')),
        RETRIEVE,
        ("'locale'", "used by nothing"),
    ),
    "circle of tensors": (
        both(
            edit(TOKENIZER, ("output [", 'input [ { name: "hint" data_type: TYPE_FP32 dims: [ -1 ] } ]\noutput [')),
            edit(
                RETRIEVE,
                (
                    'input_map { key: "query" value: "query" }',
                    'input_map { key: "query" value: "query" }\ninput_map { key: "hint" value: "scores" }',
                ),
            ),
        ),
        RETRIEVE,
        ("circle", "scores", "embedding"),
    ),
    "other type": (
        edit(INDEX, ('"embedding" data_type: TYPE_FP32', '"embedding" data_type: TYPE_FP16')),
        RETRIEVE,
        ("'embedding'", "'query_tower' gives TYPE_FP32", "'product_index' takes TYPE_FP16"),
    ),
    "other size": (
        edit(INDEX, ("dims: [ 64 ]", "dims: [ 128 ]")),
        RETRIEVE,
        ("'embedding'", "[ -1, 64 ]", "[ -1, 128 ]"),
    ),
    "other rank": (edit(INDEX, ("dims: [ 64 ]", "dims: [ 64, 1 ]")), RETRIEVE, ("[ -1, 64 ]", "[ -1, 64, 1 ]")),
    "other type of an ensemble input": (
        edit(RETRIEVE, ("TYPE_STRING", "TYPE_INT32")),
        RETRIEVE,
        ("the ensemble's input gives TYPE_INT32", "TYPE_STRING"),
    ),
    "larger batch than a step": (
        edit(INDEX, ("max_batch_size: 64", "max_batch_size: 32")),
        RETRIEVE,
        ("max_batch_size", "32", "64", "'product_index'"),
    ),
    "instances of an ensemble": (
        edit(RETRIEVE, ("ensemble_scheduling {", "instance_group [ { count: 2 } ]\nensemble_scheduling {")),
        RETRIEVE,
        ("instance_group",),
    ),
    "no steps": (
        lambda root: (root / RETRIEVE).write_text('name: "retrieve"\nplatform: "ensemble"\nensemble_scheduling { }'),
        RETRIEVE,
        ("at least one step",),
    ),
}


@pytest.mark.parametrize(("breakage", "file", "words"), cases(WIRING))
def test_one_fault_is_one_problem(repository: Path, breakage: Breakage, file: str, words: tuple[str, ...]) -> None:
    breakage(repository)
    expect_one(repository, file, words)


def unbatched_index(input_dims: str, output_dims: str) -> Breakage:
    return edit(
        INDEX,
        ("max_batch_size: 64", "max_batch_size: 0"),
        ("dynamic_batching { default_queue_policy { timeout_action: REJECT } }", ""),
        ("dims: [ 64 ]", f"dims: {input_dims}"),
        ("dims: [ -1 ]", f"dims: {output_dims}"),
        ('"scores" data_type: TYPE_FP32 dims: [ -1 ]', f'"scores" data_type: TYPE_FP32 dims: {output_dims}'),
    )


def test_a_step_without_batching_fits_if_its_dims_have_a_batch_axis(repository: Path) -> None:
    unbatched_index("[ -1, 64 ]", "[ -1, -1 ]")(repository)
    assert validate_repository(repository) == []


def test_a_step_without_batching_and_batch_axis_is_refused(repository: Path) -> None:
    """Triton loads this and answers single queries; a batch of two fails."""
    unbatched_index("[ 64 ]", "[ -1 ]")(repository)
    problems = validate_repository(repository)
    assert [(problem.file, "batch of 1 only" in problem.message) for problem in problems] == [(RETRIEVE, True)] * 3


def test_a_wildcard_fits_any_size(repository: Path) -> None:
    edit(INDEX, ("dims: [ 64 ]", "dims: [ -1 ]"))(repository)
    assert validate_repository(repository) == []


def test_ensembles_that_call_each_other_are_refused(repository: Path) -> None:
    # Each is sound by itself: an ensemble of the other one.
    for name, other in (("front", "back"), ("back", "front")):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(f"""
            platform: "ensemble"
            max_batch_size: 8
            input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }} ]
            output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }} ]
            ensemble_scheduling {{ step [ {{
              model_name: "{other}" model_version: -1
              input_map {{ key: "x" value: "x" }}
              output_map {{ key: "y" value: "y" }}
            }} ] }}
        """)
    problems = validate_repository(repository)
    assert len(problems) == 1
    assert "circle" in problems[0].message
