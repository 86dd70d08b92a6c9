"""bundle.json: what an exported model repository says of its towers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "bundle.json"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Facts that every step of a repository must agree on.

    Attributes:
        tower_hash: hash over weights, tokenizer and preprocessor; an index must carry the same one.
        embedding_dim: length of an embedding.
        query_max_tokens: longer queries are cut.
        title_max_tokens: longer titles are cut.
        image_size: side of the square photo in pixels.
        precision: of the towers' graphs, "fp32", "fp16", "bf16", "int8" or "fp8". ONNX Runtime runs fp32, fp16 and int8
            on a CPU; bf16 and fp8 need a GPU.
    """

    tower_hash: str
    embedding_dim: int
    query_max_tokens: int
    title_max_tokens: int
    image_size: int
    precision: str = "fp32"

    @classmethod
    def read(cls, repository: Path) -> Bundle:
        """Read the bundle of a repository.

        Raises:
            FileNotFoundError: the folder is not an exported repository.
        """
        file = repository / FILE
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: make a model repository with 'shopwindow export'")
        return cls(**json.loads(file.read_text()))

    def write(self, repository: Path) -> None:
        """Write bundle.json into a repository."""
        (repository / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")
