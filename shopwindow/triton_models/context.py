"""The files and settings of a model inside Triton."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.base.machine import usable_cores
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout, default_index
from shopwindow.retrieval.live.live_index import LiveIndex, Load, Serving

INDEX_VARIABLE = "SHOPWINDOW_INDEX"


class Context:
    """The files and settings of a model inside Triton.

    Args:
        args: the arguments that Triton passes to `initialize`.

    Attributes:
        repository: root of the model repository.
        layout: paths of the shared files in it.
        bundle: the repository's description of its towers.
        index: the index home or folder: the environment variable SHOPWINDOW_INDEX, or `index` beside the repository.
        model: name of the model.
        instance: name of this model instance, such as `retrieve_0_1`.
        max_batch_size: the largest number of rows in a batch.
        threads: this instance's share of the cores, 1 or more.
    """

    def __init__(self, args: dict[str, str]) -> None:
        # A model may be a link. Only the server's own link stays: the interpreter here cannot take a path beyond ASCII.
        given, followed = Path(args["model_repository"]), Path(args["model_repository"]).resolve()
        self.repository = (followed if str(followed).isascii() else given).parent
        self.layout = RepositoryLayout(self.repository)
        self.bundle = Bundle.read(self.repository)
        index = os.environ.get(INDEX_VARIABLE)
        self.index = Path(index) if index else default_index(followed.parent)
        self.model = args["model_name"]
        self.instance = args["model_instance_name"]
        config = json.loads(args["model_config"])
        self.max_batch_size = int(config["max_batch_size"])
        instances = sum(group["count"] for group in config["instance_group"])
        self.threads = math.ceil(usable_cores() / instances)
        self._parameters = config.get("parameters", {})
        self._live: LiveIndex[Any] | None = None

    def integer(self, name: str) -> int | None:
        """Return an integer from the config's `parameters`; None if it is not set."""
        value = self._parameters.get(name)
        return None if value is None else int(value["string_value"])

    def flag(self, name: str) -> bool:
        """Return whether the config's `parameters` set this name to "true"."""
        value = self._parameters.get(name)
        return value is not None and value["string_value"] == "true"

    def live(self, load: Load[Serving]) -> LiveIndex[Serving]:
        """Load the index with `load` and follow its home."""
        log = pb_utils.Logger
        live = LiveIndex(self.index, load, name=self.instance, say=log.log_info, complain=log.log_error)
        self._live = live
        return live

    def refused(self) -> str | None:
        """Return why the generation that CURRENT names is refused, one of `Unfit`; None if it is served."""
        refusal = self._live.refused if self._live is not None else None
        return refusal.kind if refusal is not None else None
