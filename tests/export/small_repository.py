"""A rendered repository with small random towers, from which plans can be built."""

from __future__ import annotations

from pathlib import Path

import onnx

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow_export.graphs.onnx_export import export_product_tower, export_query_tower
from shopwindow_export.repository.rendering import GpuOptions, render_models
from tests.towers.small import small_towers


def write_repository(folder: Path, gpu: GpuOptions | None = None) -> Path:
    """Export the towers of `tests.towers.small` into a repository with every profile."""
    towers = small_towers()
    bundle = Bundle(
        tower_hash="c0ffee" * 10,
        embedding_dim=towers.config.embedding_dim,
        query_max_tokens=towers.config.query_max_tokens,
        title_max_tokens=towers.config.title_max_tokens,
        image_size=towers.config.image_size,
    )
    render_models(folder, bundle, cpu_instances=1, gpu=gpu)
    bundle.write(folder)
    layout = RepositoryLayout(folder)
    export_query_tower(towers, layout.query_tower)
    export_product_tower(towers, layout.product_tower)
    return folder


def rename_output(graph: Path, name: str, node: str) -> None:
    """Give the first output of a graph another name, which a node also has."""
    model = onnx.load(str(graph))
    old = model.graph.output[0].name
    for each in model.graph.node:
        for place, output in enumerate(each.output):
            if output == old:
                each.output[place] = name
    model.graph.output[0].name = name
    assert any(node in each.output for each in model.graph.node)
    onnx.save(model, str(graph))
