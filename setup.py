"""Add to a wheel the templates that `shopwindow export` renders.

They lie in the root of the checkout, outside all packages.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TEMPLATES = ("model_repository", "ensemble_configs")


class BuildWithTemplates(build_py):
    """Copies the templates into the package that reads them. An editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in TEMPLATES:
            into = Path(self.build_lib) / "shopwindow_export" / name
            shutil.copytree(name, into, ignore=shutil.ignore_patterns("__pycache__"))


# Build in a temporary folder. In the checkout's build/, setuptools would find modules that were removed since, and put
# them into the wheel.
with tempfile.TemporaryDirectory(prefix="shopwindow-wheel-") as scratch:
    setup(cmdclass={"build_py": BuildWithTemplates}, options={"build": {"build_base": scratch}})
