"""bundle.json: facts about the towers of an exported model repository, and hashes to check its files against."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.errors import BundleUnfit

FILE = "bundle.json"
_PLANS = "build the plans again with 'shopwindow plans'"
PHOTOS_PER_PRODUCT = 4  # of towers that do not say it
CARRIED = "bundle"  # folder inside an index folder that holds its towers


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Facts that every step of a repository must agree on.

    Attributes:
        tower_hash: hash over weights, tokenizer and preprocessor; the manifest of an index must have the same one.
        embedding_dim: length of an embedding.
        query_max_tokens: longer queries are cut.
        title_max_tokens: longer titles are cut.
        image_size: side of the square photo in pixels.
        precision: precision of the graphs, "fp32", "fp16", "bf16", "int8" or "fp8". ONNX Runtime runs fp32, fp16 and
            int8 on a CPU; bf16 and fp8 need a GPU.
        photos_per_product: how many photos of a product are read. Its vector is the normalised mean of those of its
            title with each photo.
        files: path in the repository -> SHA-256, for the towers' graphs and the tokenizers.
        calibration: which precision a score stands for; None if that was not measured. Bundles that differ only in it
            are equal, because the towers are the same.
    """

    tower_hash: str
    embedding_dim: int
    query_max_tokens: int
    title_max_tokens: int
    image_size: int
    precision: str = "fp32"
    photos_per_product: int = PHOTOS_PER_PRODUCT
    files: dict[str, str] = field(default_factory=dict)
    calibration: Calibration | None = field(default=None, compare=False)

    @classmethod
    def read(cls, repository: Path) -> Bundle:
        """Read the bundle of a repository.

        Raises:
            FileNotFoundError: the folder is not an exported repository.
            BundleUnfit: bundle.json cannot be read.
        """
        file = repository / FILE
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: make a model repository with 'shopwindow export'")
        try:
            values = json.loads(file.read_text())
            if (calibration := values.get("calibration")) is not None:
                values["calibration"] = Calibration.read(calibration, file)
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise BundleUnfit(f"{file}: not a bundle ({error}); export the repository again") from error

    def write(self, repository: Path) -> None:
        """Write bundle.json into a repository.

        The file is replaced: an index that carries these towers may link to the earlier one, and keeps it.
        """
        values = asdict(self)
        if self.calibration is None:
            del values["calibration"]  # so that earlier versions read it
        new = repository / f".{FILE}.{os.getpid()}"
        new.write_text(json.dumps(values, indent=2) + "\n")
        new.replace(repository / FILE)

    def sealed(self, repository: Path) -> Bundle:
        """Return the same bundle with the hashes of the files that are in the repository now."""
        files = RepositoryLayout(repository).shared
        return replace(self, files={file.relative_to(repository).as_posix(): _sha256(file) for file in files})

    def check(self, repository: Path, *files: Path) -> None:
        """Check that files are unchanged since the bundle was sealed.

        Args:
            repository: root of the repository.
            *files: the files to check, inside the repository; none checks all of them.

        Raises:
            BundleUnfit: a file is missing or changed, or the bundle was never sealed; names the file and both hashes.
        """
        for file in files or RepositoryLayout(repository).shared:
            name = file.relative_to(repository).as_posix()
            expected = self.files.get(name)
            if expected is None:
                raise BundleUnfit(f"{repository / FILE} has no hash of {name}: export the repository again")
            if not file.is_file():
                raise BundleUnfit(f"{file} is missing: export the repository again")
            found = _sha256(file)
            if found != expected:
                raise BundleUnfit(
                    f"{file} is not the file that was exported: {repository / FILE} names {expected[:12]}, the file is "
                    f"{found[:12]}; export the repository again, or put the exported file back"
                )


def check_plans(repository: Path) -> None:
    """Check that the TensorRT plans were built from the repository's graphs and were not changed since.

    Raises:
        BundleUnfit: a plan was built from another graph or was changed (names both hashes), or its record is missing.
    """
    graphs = Bundle.read(repository).files
    for plan in sorted(repository.glob("*/1/*.plan")):
        record = plan.with_name(f"{plan.name}.json")
        if not record.is_file():
            raise BundleUnfit(f"{record} is missing. It says which graph {plan.name} was built from: {_PLANS}")
        built = json.loads(record.read_text())
        graph = graphs.get((plan.parent / "model.onnx").relative_to(repository).as_posix(), "unknown")
        if built["onnx_sha256"] != graph:
            raise BundleUnfit(
                f"{plan} was built from a graph {built['onnx_sha256'][:12]}, but {repository / FILE} names "
                f"{graph[:12]}: {_PLANS}"
            )
        if (found := _sha256(plan)) != built["plan_sha256"]:
            raise BundleUnfit(f"{plan} is {found[:12]}, but {record.name} names {built['plan_sha256'][:12]}: {_PLANS}")


def towers_of(index: Path, repository: Path) -> Path:
    """Return the folder of the towers that belong to an index: the bundle in the index folder, else the repository."""
    carried = index / CARRIED
    return carried if carried.is_dir() else repository


def calibration_of(index: Path, repository: Path) -> Calibration | None:
    """Return the calibration of the towers that belong to an index; None if they have none.

    That of the repository comes first, if it is of the same towers: it may be newer than the one in the index folder,
    which stays as it was written.
    """
    towers = towers_of(index, repository)
    served = Bundle.read(towers)
    if towers == repository or not (repository / FILE).is_file():
        return served.calibration
    own = Bundle.read(repository)
    same = own.tower_hash == served.tower_hash and own.calibration is not None
    return own.calibration if same else served.calibration


def carry_towers(repository: Path, index: Path) -> None:
    """Put the towers into an index folder that is being written, so that servers switch to both at once.

    The files are hard links if the file system allows it, and then take no disk space.

    Args:
        repository: an exported repository, or the bundle in another index folder.
        index: an index folder that these towers filled; not served yet.

    Raises:
        FileNotFoundError: the repository is incomplete.
        BundleUnfit: its files were changed since the export.
    """
    bundle = Bundle.read(repository)
    bundle.check(repository)
    target = index / CARRIED
    for file in [repository / FILE, *RepositoryLayout(repository).shared]:
        place = target / file.relative_to(repository)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # left by an interrupted build
        try:
            os.link(file, place)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(file, place)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
