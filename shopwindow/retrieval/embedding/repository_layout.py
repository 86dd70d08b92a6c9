"""Paths of the files in an exported model repository that several of its models share."""

from __future__ import annotations

from pathlib import Path


class RepositoryLayout:
    """Paths inside a rendered repository.

    Args:
        repository: root of the repository.
    """

    def __init__(self, repository: Path) -> None:
        self.query_tokenizer = repository / "query_tokenizer" / "1" / "tokenizer.json"
        self.title_tokenizer = repository / "product_preprocessor" / "1" / "tokenizer.json"
        self.query_tower = repository / "query_tower" / "1" / "model.onnx"
        self.product_tower = repository / "product_tower" / "1" / "model.onnx"

    @property
    def shared(self) -> tuple[Path, ...]:
        """All of these files."""
        return self.query_tokenizer, self.title_tokenizer, self.query_tower, self.product_tower


def default_index(repository: Path) -> Path:
    """Return the default index folder of a repository: `index`, next to `model_repository`."""
    return repository.parent / "index"
