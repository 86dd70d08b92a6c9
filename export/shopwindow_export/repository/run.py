"""`shopwindow export`: make a complete, checked model repository from a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from shopwindow.base.machine import usable_cores
from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.whole_folders import replacing
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.retrieval.embedding.bundle import FILE as BUNDLE
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.architecture.checkpoint import Checkpoint, load_checkpoint
from shopwindow_export.errors import ExportError, ParityError
from shopwindow_export.graphs.onnx_export import export_product_tower, export_query_tower
from shopwindow_export.graphs.precisions import PRECISIONS, QUANTISED, RUNS_ON_CPU
from shopwindow_export.parity import ParityReport, ParitySample, measure_parity, read_sample
from shopwindow_export.parity.layers import LayerDrift, worst, worst_layers
from shopwindow_export.parity.report_page import HTML_FILE, JSON_FILE, write_report
from shopwindow_export.parity.sample import SAMPLE_PRODUCTS
from shopwindow_export.parity.scale_inputs import product_feeds, query_feeds
from shopwindow_export.parity.speed import Speed, measure_speed
from shopwindow_export.plans import build_plans, can_build_plans
from shopwindow_export.repository.rendering import ENSEMBLE_PROFILE, ONNXRUNTIME_PROFILE, GpuOptions, render_models
from shopwindow_export.validation.run import validate_repository

PROFILES = ("cpu", ENSEMBLE_PROFILE, ONNXRUNTIME_PROFILE, "gpu")
PLAN = "model.plan"  # may be built later, on the serving GPU
UNMEASURED = "not measured: ONNX Runtime has no CPU kernels for it, so its parity can only be measured on a GPU"


def export_repository(
    checkpoint_folder: Path,
    repository: Path,
    sample: Path,
    *,
    precision: str = "fp32",
    cpu_instances: int | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
    sample_size: int | None = SAMPLE_PRODUCTS,
    reading: CatalogOptions | None = None,
    report_folder: Path | None = None,
    gpu: GpuOptions | None = None,
) -> ParityReport | None:
    """Export a checkpoint. An earlier repository at `repository` is replaced only if everything succeeds.

    On a machine with a GPU and TensorRT the repository also holds plans. Plans of the earlier one that still fit are
    kept.

    Args:
        checkpoint_folder: see `shopwindow.towers.architecture.checkpoint`. A calibration.json in it goes into the
            bundle.
        repository: folder to write.
        sample: a catalogue. Its products serve to measure the scales of 8-bit graphs, and then parity.
        precision: precision of the graphs, one of `shopwindow_export.graphs.precisions.PRECISIONS`.
        cpu_instances: number of processes that answer `retrieve` on a CPU. They share the cores that a server may use.
            Default: one for every two cores of this machine.
        queries: parquet with query_id, text. Default: the second halves of the sample's titles.
        qrels: parquet with query_id, product_id, relevance. If given, recall is compared, too.
        sample_size: at most this many products of the sample; None takes all of them.
        reading: how the files of the sample are read; None for the defaults.
        report_folder: receives parity.json and parity.html, also if parity fails. Default: `parity` beside the
            repository, which keeps a copy of parity.json.
        gpu: options of the GPU profiles.

    Returns:
        The report; None if the precision cannot be measured on a CPU.

    Raises:
        ValueError: unknown precision, or qrels that do not fit the queries.
        FileNotFoundError: the checkpoint is incomplete.
        FileExistsError: `repository` holds something that is not a model repository.
        CatalogError: the sample is unreadable or too small.
        BundleUnfit: calibration.json is unreadable, or of other towers.
        ParityError: the graphs do not rank as PyTorch does.
        PlanError: TensorRT cannot build a plan.
        ExportError: a graph is unfit, or the rendered repository does not validate.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    report_folder = report_folder or repository.resolve().parent / "parity"
    with progress_bar(total=7, desc="export", unit="step") as bar, replacing(repository, BUNDLE) as target:
        checkpoint = load_checkpoint(checkpoint_folder)
        config = checkpoint.towers.config
        bundle = Bundle(
            tower_hash=checkpoint.tower_hash,
            embedding_dim=config.embedding_dim,
            query_max_tokens=config.query_max_tokens,
            title_max_tokens=config.title_max_tokens,
            image_size=config.image_size,
            precision=precision,
            photos_per_product=config.photos_per_product,
            calibration=Calibration.beside(checkpoint_folder, checkpoint.tower_hash),
        )
        render_models(target, bundle, cpu_instances=cpu_instances or math.ceil(usable_cores() / 2), gpu=gpu)
        layout = RepositoryLayout(target)
        for place in (layout.query_tokenizer, layout.title_tokenizer):
            shutil.copyfile(checkpoint_folder / "tokenizer.json", place)
        bar.update()
        bar.set_postfix_str("sample")
        titles = TextEncoder.read(layout.title_tokenizer, config.title_max_tokens)
        preprocess = ProductPreprocessor(titles, config.image_size)
        inputs = read_sample(sample, preprocess, sample_size, reading=reading, queries=queries, qrels=qrels)
        bar.update()
        bar.set_postfix_str("query tower")
        quantised = precision in QUANTISED
        tokenizer = TextEncoder.read(layout.query_tokenizer, config.query_max_tokens)
        feeds = query_feeds(inputs, tokenizer) if quantised else ()
        export_query_tower(checkpoint.towers, layout.query_tower, precision, feeds)
        bar.update()
        bar.set_postfix_str("product tower")
        feeds = product_feeds(inputs) if quantised else ()
        export_product_tower(checkpoint.towers, layout.product_tower, precision, feeds)
        bundle.sealed(target).write(target)
        bar.update()
        bar.set_postfix_str("parity")
        report = _check_parity(checkpoint, target, inputs, precision, report_folder)
        bar.update()
        bar.set_postfix_str("plans")
        if can_build_plans():
            build_plans(target, earlier=repository, progress=False)
        bar.update()
        bar.set_postfix_str("validation")
        problems = [
            f"profile {profile}: {problem}"
            for profile in PROFILES
            for problem in validate_repository(target, profile=profile)
            if problem.severity == "error" and not problem.file.endswith(PLAN)
        ]
        if problems:
            raise ExportError("the rendered repository does not validate:\n" + "\n".join(problems))
        bar.update()
        bar.set_postfix_str("")
    return report


def export_fastest(checkpoint_folder: Path, repository: Path, sample: Path, **options: Any) -> ParityReport | None:
    """Export in int8 if it keeps its budget and is fast enough on this CPU, else in float32.

    Arguments, result and errors are those of `export_repository`.
    """
    try:
        report = export_repository(checkpoint_folder, repository, sample, precision="int8", **options)
    except ParityError:
        report = None
    if report is not None and report.speed is not None and report.speed.worthwhile:
        return report
    return export_repository(checkpoint_folder, repository, sample, precision="fp32", **options)


def _check_parity(
    checkpoint: Checkpoint, repository: Path, sample: ParitySample, precision: str, report_folder: Path
) -> ParityReport | None:
    """Measure parity, write the report, and raise ParityError if the budget is not kept."""
    copy = repository / JSON_FILE
    if precision not in RUNS_ON_CPU:
        copy.write_text(json.dumps({"precision": precision, "passed": None, "note": UNMEASURED}, indent=2) + "\n")
        return None
    report = measure_parity(checkpoint, InProcessPipeline(repository, threads=usable_cores()), sample, precision)
    if not report.passed and precision != "fp32":
        report = dataclasses.replace(report, layers=_find_layers(checkpoint, repository, sample))
    if report.passed and precision in QUANTISED:
        report = dataclasses.replace(report, speed=_measure_speed(checkpoint, repository, sample))
    write_report(report_folder, report)
    if not report.passed:
        raise ParityError(
            f"the {precision} graphs do not rank as PyTorch does, nothing was written: "
            f"{'; '.join(report.shortfalls)} (report: {report_folder / HTML_FILE})"
        )
    shutil.copyfile(report_folder / JSON_FILE, copy)
    return report


def _measure_speed(checkpoint: Checkpoint, repository: Path, sample: ParitySample) -> Speed:
    """Measure the throughput relative to float32 graphs of the same towers."""
    with tempfile.TemporaryDirectory() as folder:
        layout = RepositoryLayout(Path(folder))
        for file, export in ((layout.query_tower, export_query_tower), (layout.product_tower, export_product_tower)):
            file.parent.mkdir(parents=True)
            export(checkpoint.towers, file)
        return measure_speed(Path(folder), repository, sample, checkpoint.towers.config.query_max_tokens)


def _find_layers(checkpoint: Checkpoint, repository: Path, sample: ParitySample) -> tuple[LayerDrift, ...]:
    """Return the layers of both towers that drift most from float32, on a few products and queries."""
    layout = RepositoryLayout(repository)
    tokenizer = TextEncoder.read(layout.query_tokenizer, checkpoint.towers.config.query_max_tokens)
    with tempfile.TemporaryDirectory() as folder:
        query, product = Path(folder) / "query.onnx", Path(folder) / "product.onnx"
        export_query_tower(checkpoint.towers, query)
        export_product_tower(checkpoint.towers, product)
        drifts = [
            *worst_layers("query", query, layout.query_tower, query_feeds(sample, tokenizer)[0]),
            *worst_layers("product", product, layout.product_tower, product_feeds(sample)[0]),
        ]
    return tuple(worst(drifts))
