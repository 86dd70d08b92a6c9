"""Adds to a wheel what lies on top of the checkout: the templates that `shopwindow export` renders."""

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


# Not the checkout's build/: setuptools would put modules from there that were removed since into the next wheel.
with tempfile.TemporaryDirectory(prefix="shopwindow-wheel-") as scratch:
    setup(cmdclass={"build_py": BuildWithTemplates}, options={"build": {"build_base": scratch}})
