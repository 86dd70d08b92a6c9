"""`shopwindow validate`: find what Triton would find late, or report obscurely. Needs no Triton and no GPU."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from shopwindow.retrieval.embedding.bundle import FILE as BUNDLE
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow_export.plans.machine import Server
from shopwindow_export.validation.checks import check_model
from shopwindow_export.validation.ensembles import check_ensembles
from shopwindow_export.validation.older_code import check_code
from shopwindow_export.validation.parsing import PLAIN_PROFILE, Model, check_folder_names, on_cpu, read_repository
from shopwindow_export.validation.plans import check_model_plans
from shopwindow_export.validation.report import Problem, format_json, format_report
from shopwindow_export.validation.versions import PINNED_SERVER

__all__ = ["Problem", "format_json", "format_report", "validate_repository"]


def validate_repository(
    repository: Path,
    *,
    profile: str = "cpu",
    max_version: tuple[int, int] | None = None,
    server: Server | None = None,
) -> list[Problem]:
    """Check a repository as it would be served.

    All its configs must parse. The other checks look only at the config of each model that the profile picks.

    Args:
        repository: root of the rendered repository.
        profile: "gpu" serves config.pbtxt; "cpu" and any other name serve configs/<name>.pbtxt of the models that
            have one, as --model-config-name does.
        max_version: configs may use nothing newer than this Triton (major, minor). Default: the CPU wheel's 2.51 for
            "cpu" and "cpu-...", no limit for other profiles.
        server: the TensorRT and the GPUs that plans have to fit; None skips these checks.

    Returns:
        The problems, in the order of the models; empty if there are none.
    """
    if not repository.is_dir():
        return [Problem("error", "", str(repository), "no such folder: make one with 'shopwindow export'")]
    if max_version is None and on_cpu(profile):
        max_version = PINNED_SERVER
    models, problems = read_repository(repository, profile)
    if profile not in (PLAIN_PROFILE, "cpu") and not any(repository.glob(f"*/configs/{profile}.pbtxt")):
        problems.append(Problem("error", "", ".", f"profile: no model has a configs/{profile}.pbtxt"))
    if not models:
        problems.append(Problem("error", "", ".", "holds no model folders: make them with 'shopwindow export'"))
    for model in models.values():
        if model is not None:
            problems += check_model(model, profile, max_version)
            problems += _check_graph(model)
            if not on_cpu(profile):
                problems += check_model_plans(model, profile, server or Server())
    problems += check_ensembles(models)
    problems += check_code(repository)
    problems += check_folder_names(repository)
    problems += _check_shared_files(repository, profile)
    return sorted(problems, key=lambda problem: problem.model)


def _check_graph(model: Model) -> Iterable[Problem]:
    """Check the config against the graph, if onnx is installed.

    Serving images have no onnx. There the manifest of a plan names its graph.
    """
    if find_spec("onnx") is None:
        return ()
    from shopwindow_export.validation.graphs import check_graphs

    return check_graphs(model)


def _check_shared_files(repository: Path, profile: str) -> list[Problem]:
    """Check the files that the Python models of an exported repository load. No config names them."""
    if not (repository / BUNDLE).exists():
        return []  # not made by 'shopwindow export'
    layout = RepositoryLayout(repository)
    needed = [layout.query_tokenizer, layout.title_tokenizer]
    if profile != PLAIN_PROFILE:
        needed += [layout.query_tower, layout.product_tower]
    return [
        Problem("error", file.parent.parent.name, str(file.relative_to(repository)), "missing or empty: export again")
        for file in needed
        if not file.is_file() or not file.stat().st_size
    ]
