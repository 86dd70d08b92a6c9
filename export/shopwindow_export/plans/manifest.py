"""model.plan.json beside a model.plan says what built the plan, from what, and for which shapes and GPU."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from shopwindow_export.errors import PlanError
from shopwindow_export.plans.profile import Profile, ShapeRange


@dataclass(frozen=True, kw_only=True)
class PlanKey:
    """Everything that a plan depends on. If all of it is equal, building again would change nothing.

    Attributes:
        onnx_sha256: hash of the graph.
        module: "tensorrt" or "tensorrt_rtx".
        version: version of that module. No other version loads the plan.
        compute_capability: "9.0", of the GPU that the plan was built on; "" if it was built without a GPU.
        profile: shapes that the plan takes.
        precision: precision of the graph, as the exporter calls it.
    """

    onnx_sha256: str
    module: str
    version: str
    compute_capability: str
    profile: Profile
    precision: str


@dataclass(frozen=True, kw_only=True)
class PlanManifest:
    """A key, and the plan that was built for it.

    Attributes:
        key: see `PlanKey`.
        plan_sha256: hash of the plan. The manifest says nothing about a plan with another hash.
    """

    key: PlanKey
    plan_sha256: str

    @classmethod
    def read(cls, plan: Path) -> PlanManifest:
        """Read the manifest beside a plan.

        Raises:
            PlanError: there is none, or the file is not a manifest.
        """
        file = manifest_file(plan)
        if not file.is_file():
            raise PlanError(f"has no {file.name} beside it, which would say what it was built for")
        try:
            values = json.loads(file.read_text())
            plan_sha256 = values.pop("plan_sha256")
            profile = {
                name: ShapeRange(*(tuple(shapes[field]) for field in ShapeRange._fields))
                for name, shapes in values.pop("profile").items()
            }
            return cls(key=PlanKey(profile=profile, **values), plan_sha256=plan_sha256)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"has a {file.name} beside it that is not a plan's manifest ({error!r})") from None

    def to_json(self) -> str:
        """Return the text of the file beside the plan."""
        profile = {name: shapes._asdict() for name, shapes in self.key.profile.items()}
        values = {"plan_sha256": self.plan_sha256, **asdict(self.key), "profile": profile}
        return json.dumps(values, indent=2) + "\n"


def manifest_file(plan: Path) -> Path:
    """Return the place of a plan's manifest."""
    return plan.with_name(f"{plan.name}.json")


def sha256(file: Path) -> str:
    """Return the hex digest of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_plan(plan: Path, data: bytes, key: PlanKey) -> PlanManifest:
    """Write a plan and its manifest, each completely or not at all.

    Between the two renames the new plan stands beside the old manifest, which has another hash. So a crash there leaves
    a plan that is refused and built again, never one that passes for another.
    """
    manifest = PlanManifest(key=key, plan_sha256=hashlib.sha256(data).hexdigest())
    _replace(plan, data)
    _replace(manifest_file(plan), manifest.to_json().encode())
    return manifest


def _replace(file: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            os.fchmod(opened.fileno(), 0o644)  # mkstemp lets only the owner read it; the server may be another user
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
