"""`shopwindow export`: a checkpoint to a complete, checked model repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from export.errors import ExportError
from export.onnx_export import export_product_tower, export_query_tower
from export.parity import ParityReport, measure_parity, read_sample
from export.render import ENSEMBLE_PROFILE, render_models
from export.validate import validate_repository
from retrieval.bundle import FILE as BUNDLE
from retrieval.bundle import Bundle
from retrieval.cores import usable_cores
from retrieval.files import replacing
from retrieval.pipeline import InProcessPipeline
from retrieval.progress import progress_bar
from retrieval.repository_layout import RepositoryLayout
from towers.checkpoint import load_checkpoint

PRECISIONS = ("fp32",)
PARITY_FILE = "parity.json"
PROFILES = ("cpu", ENSEMBLE_PROFILE, "gpu")
PLAN = "model.plan"  # built on the GPU that serves it, not here


def export_repository(
    checkpoint_folder: Path,
    repository: Path,
    sample: Path,
    *,
    precision: str = "fp32",
    cpu_instances: int | None = None,
) -> ParityReport:
    """Export a checkpoint. A repository that stands at `repository` is replaced only when all went well.

    Args:
        checkpoint_folder: see `towers.checkpoint`.
        repository: folder to write.
        sample: a catalogue on whose products the parity report is measured, which is kept as parity.json in the
            repository.
        precision: of the graphs; "fp32".
        cpu_instances: processes that answer `retrieve` on a CPU; default one a usable core.

    Raises:
        ValueError: unknown precision.
        FileNotFoundError: the checkpoint is incomplete.
        FileExistsError: `repository` holds something that is not a model repository.
        ExportError: a graph is unfit, the sample is too small, parity fails, or the rendered repository does not
            validate.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    with progress_bar(total=5, desc="export", unit="step") as bar, replacing(repository, BUNDLE) as target:
        checkpoint = load_checkpoint(checkpoint_folder)
        config = checkpoint.towers.config
        bundle = Bundle(
            tower_hash=checkpoint.tower_hash,
            embedding_dim=config.embedding_dim,
            query_max_tokens=config.query_max_tokens,
            title_max_tokens=config.title_max_tokens,
            image_size=config.image_size,
            precision=precision,
        )
        render_models(target, bundle, cpu_instances=cpu_instances or usable_cores())
        bundle.write(target)
        layout = RepositoryLayout(target)
        for place in (layout.query_tokenizer, layout.title_tokenizer):
            shutil.copyfile(checkpoint_folder / "tokenizer.json", place)
        bar.update()
        bar.set_postfix_str("query tower")
        export_query_tower(checkpoint.towers, layout.query_tower)
        bar.update()
        bar.set_postfix_str("product tower")
        export_product_tower(checkpoint.towers, layout.product_tower)
        bar.update()
        bar.set_postfix_str("parity")
        pipeline = InProcessPipeline(target)
        report = measure_parity(checkpoint, pipeline, read_sample(sample, pipeline.preprocessor))
        (target / PARITY_FILE).write_text(json.dumps(report.to_json(), indent=2) + "\n")
        if not report.passed:
            raise ExportError(f"the graphs do not rank as PyTorch does, nothing was written: {report.to_json()}")
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
