"""Adds to a wheel what lies on top of the checkout: the templates that `shopwindow export` renders."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TEMPLATES = ("model_repository", "ensemble_configs")


class BuildWithTemplates(build_py):
    """Copies the templates into the package that reads them; an editable install reads them where they are."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # else a module that was removed stays in the next wheel
        super().run()
        for name in TEMPLATES:
            into = Path(self.build_lib) / "shopwindow_export" / name
            shutil.copytree(name, into, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithTemplates})
