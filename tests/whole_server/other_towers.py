"""Make a second bundle of towers from the first one, without training."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout

OUTPUTS = ("query_embedding", "product_embedding")


def copied(repository: Path, target: Path) -> Path:
    """Copy a repository to another place."""
    return Path(shutil.copytree(repository, target, ignore=shutil.ignore_patterns("__pycache__")))


def swapped_towers(repository: Path, target: Path) -> Path:
    """Copy a repository and reverse the order of the embeddings' dimensions, so that they do not fit the old towers."""
    copied(repository, target)
    layout = RepositoryLayout(target)
    for file in (layout.query_tower, layout.product_tower):
        _reverse(file)
    bundle = replace(Bundle.read(target), tower_hash="5eed" * 16)
    bundle.sealed(target).write(target)
    return target


def _reverse(file: Path) -> None:
    model = onnx.load(str(file))
    output = next(each for each in model.graph.output if each.name in OUTPUTS)
    dim = output.type.tensor_type.shape.dim[1].dim_value
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == output.name:
                node.output[place] = "before_reversal"
        for place, name in enumerate(node.input):
            if name == output.name:
                node.input[place] = "before_reversal"
    order = numpy_helper.from_array(np.arange(dim)[::-1].astype(np.int64), "reversal")
    model.graph.initializer.append(order)
    model.graph.node.append(helper.make_node("Gather", ["before_reversal", "reversal"], [output.name], axis=1))
    onnx.save(model, str(file))
