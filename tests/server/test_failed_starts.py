"""Servers that cannot start: the error gives the reason, and nothing is left running."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopwindow.server import ServerFailedToStart, TritonServer
from tests.server.launching import CONFIG, MODEL, options, processes_of, write_model


def test_the_error_names_a_failing_model_and_its_exception(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    broken = MODEL.replace("self.factor =", "raise RuntimeError('no index: build one'); self.factor =")
    write_model(tmp_path / "models", "broken", broken)
    server = TritonServer(options(tmp_path / "models"))
    with pytest.raises(ServerFailedToStart, match="RuntimeError: no index: build one") as failure, server:
        pass
    assert "failed to load 'broken'" in str(failure.value)
    assert "CudaDriverHelper" not in str(failure.value)  # Triton logs this harmless error at each start
    assert processes_of(tmp_path) == []
    assert "failed to load 'broken'" in server.log_tail(200)


def test_a_model_that_makes_the_server_hang_fails_before_the_timeout(tmp_path: Path) -> None:
    (write_model(tmp_path / "models") / "1" / "model.py").unlink()
    server = TritonServer(options(tmp_path / "models"))
    with pytest.raises(ServerFailedToStart, match="Python model file not found") as failure, server:
        pass
    assert "ready_timeout_s" not in str(failure.value)
    assert processes_of(tmp_path) == []


def test_the_error_explains_wrong_configurations_and_missing_version_folders(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (write_model(models, "misspelt") / "config.pbtxt").write_text('backend: "python" inptu []')
    batching = "max_batch_size: 4 dynamic_batching { preferred_batch_size: [9] }"
    (write_model(models, "batches") / "config.pbtxt").write_text(CONFIG + batching)
    folder = write_model(models, "scale")
    (folder / "1").rename(folder / "first")
    with pytest.raises(ServerFailedToStart) as failure, TritonServer(options(models, profile="gpu")):
        pass
    for reason in (
        'has no field named "inptu"',
        "preferred size must",
        "'scale': at least one version must be available",
    ):
        assert reason in str(failure.value)


def test_the_error_explains_a_wrong_argument(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    server = TritonServer(options(tmp_path / "models", extra_args=("--nonsense",)))
    with pytest.raises(ServerFailedToStart, match="unrecognized option '--nonsense'"), server:
        pass


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerFailedToStart, match=f"repository: {tmp_path} holds no model folders"):
        TritonServer(options(tmp_path)).start()


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "models")
    with pytest.raises(ServerFailedToStart, match=r"profile: no model of .* has a configs/cpuu\.pbtxt"):
        TritonServer(options(tmp_path / "models", profile="cpuu")).start()
