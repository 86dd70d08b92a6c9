"""Read a model repository from disk: the config of each model under a profile, and the texts that cannot be read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DESCRIPTOR, ModelConfig

from shopwindow.base.triton_names import model_folders, odd_name
from shopwindow_export.validation.report import Problem

GRAPH = "model.onnx"  # the plan beside it was built from this
PLAIN_PROFILE = "gpu"  # its configs are config.pbtxt; every other profile is a --model-config-name


def on_cpu(profile: str) -> bool:
    """Return whether a profile is for machines without a GPU: `cpu` and `cpu-...`."""
    return profile.split("-")[0] == "cpu"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model folder and the config it is served with.

    Attributes:
        folder: its path; the folder's name is the model's name.
        file: the config, relative to the repository.
        text: the config as written.
        config: the config as parsed.
        versions: its version folders.
    """

    folder: Path
    file: str
    text: str
    config: ModelConfig
    versions: frozenset[int]

    @property
    def name(self) -> str:
        """The model's name, which Triton takes from the folder."""
        return self.folder.name

    @property
    def is_ensemble(self) -> bool:
        """Whether it is wired from other models and runs nothing itself."""
        return bool(self.config.HasField("ensemble_scheduling")) or self.config.platform == "ensemble"

    @property
    def served_versions(self) -> frozenset[int]:
        """The version folders that the version policy picks; by default the latest one."""
        policy = self.config.version_policy
        if policy.HasField("all"):
            return self.versions
        if policy.HasField("specific"):
            return self.versions & frozenset(policy.specific.versions)
        count = policy.latest.num_versions if policy.HasField("latest") else 1
        return frozenset(sorted(self.versions)[-count:] if count else ())

    def error(self, message: str) -> Problem:
        """Return a problem that keeps Triton from serving the model correctly."""
        return Problem("error", self.name, self.file, message)

    def warning(self, message: str) -> Problem:
        """Return a problem that Triton accepts, but that is probably a mistake."""
        return Problem("warning", self.name, self.file, message)


def read_repository(repository: Path, profile: str) -> tuple[dict[str, Model | None], list[Problem]]:
    """Parse every config of a repository.

    Args:
        repository: its root.
        profile: chooses the config of each model.

    Returns:
        The models by name, None if the served config is missing or cannot be read; and the problems found on the way.
    """
    models: dict[str, Model | None] = {}
    problems: list[Problem] = []
    for folder in model_folders(repository):
        files = [*folder.glob("config.pbtxt"), *sorted(folder.glob("configs/*.pbtxt"))]
        if not files:
            problems.append(
                Problem(
                    "error",
                    folder.name,
                    folder.name,
                    "folder has no config.pbtxt, and every folder of a repository that is not hidden is a model: "
                    "move it out, or write its config",
                )
            )
            continue
        models[folder.name] = None
        served = _served_file(folder, profile)
        if served not in files:
            problems.append(
                Problem(
                    "error",
                    folder.name,
                    f"{folder.name}/config.pbtxt",
                    f"missing, and there is no configs/{profile}.pbtxt either: nothing to serve under profile "
                    f"{profile!r}; write one of them",
                )
            )
        for file in files:
            relative = file.relative_to(repository).as_posix()
            text = file.read_bytes().decode(errors="replace")
            config, found = _parse(folder.name, relative, text)
            problems += found
            if config is not None and file == served:
                models[folder.name] = Model(
                    folder=folder, file=relative, text=text, config=config, versions=frozenset(_versions(folder))
                )
    return models, problems


def check_folder_names(repository: Path) -> list[Problem]:
    """Find model folders that Triton 2.51 cannot take, because it passes their names to a shell without quotes."""
    names = (folder.name for folder in model_folders(repository))
    return [Problem("error", name, name, f"folder name: {odd}") for name in names if (odd := odd_name(name))]


def _served_file(folder: Path, profile: str) -> Path:
    named = folder / "configs" / f"{profile}.pbtxt"
    return named if profile != PLAIN_PROFILE and named.is_file() else folder / "config.pbtxt"


def _versions(folder: Path) -> Iterator[int]:
    for path in folder.iterdir():
        # Triton ignores other folders, also 01.
        if path.is_dir() and re.fullmatch(r"0|[1-9]\d*", path.name):
            yield int(path.name)


def _parse(model: str, file: str, text: str) -> tuple[ModelConfig | None, list[Problem]]:
    placeholders = [
        Problem("error", model, file, f"placeholder {match[0]} was not rendered: run 'shopwindow export' again", line)
        for line, content in enumerate(text.splitlines(), 1)
        for match in re.finditer(r"\$\{\w*\}?", content)
    ]
    if placeholders:  # they would only make the text fail to parse
        return None, placeholders
    try:
        return text_format.Parse(text, ModelConfig()), []
    except text_format.ParseError as error:
        line = error.GetLine()
        # The problem has a field for the line, so its message leaves out the position.
        message = re.sub(r"^[\d: ]+", "", str(error)).rstrip(".")
        return None, [Problem("error", model, file, f"does not parse: {message}{_hint(str(error))}", line)]


def _hint(message: str) -> str:
    """Return a suggestion for a name that protobuf does not know."""
    if match := re.search(r'Message type "([\w.]+)" has no field named "(\w+)"', message):
        known = DESCRIPTOR.pool.FindMessageTypeByName(match[1]).fields_by_name
    elif match := re.search(r'Enum type "([\w.]+)" has no value named "?(\w+)', message):
        known = DESCRIPTOR.pool.FindEnumTypeByName(match[1]).values_by_name
    else:
        return ""
    close = difflib.get_close_matches(match[2], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; one of {', '.join(sorted(known))} is expected"
