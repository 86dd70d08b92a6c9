"""Give Triton plain paths: what has an odd path is reached through links in the server's runtime folder."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from shopwindow.base.default_places import PACKAGE
from shopwindow.base.triton_names import model_folders, odd_character
from shopwindow.server.install import TritonInstall
from shopwindow.server.options import ServerOptions

# Options of tritonserver that name a file or a folder.
_PATH = re.compile(
    "(--backend-directory|--cache-directory|--repoagent-directory|--model-repository|--model-store|--grpc-root-cert"
    "|--grpc-server-cert|--grpc-server-key|--log-file|--trace-file|--trace-config=triton,file)=(.+)"
)


def plain_options(options: ServerOptions, folder: Path) -> ServerOptions:
    """Return the options with absolute paths that Triton and its Python models take.

    Args:
        options: What to serve, and how.
        folder: The server's runtime folder. It must be Triton's current folder, because the Python models look there
            first for the modules that they import. They find this `shopwindow` and nothing else.
    """
    (folder / "shopwindow").symlink_to(PACKAGE)
    return replace(
        options,
        repository=_repository(options.repository.resolve(), folder / "repository"),
        index=None if options.index is None else _plain(options.index.resolve(), folder / "index"),
        extra_args=_absolute(options.extra_args),
    )


def plain_install(install: TritonInstall, folder: Path) -> TritonInstall:
    """Return the install with paths that Triton takes, by links in the server's runtime folder.

    Args:
        install: The server's program. Its environment's bin folder is linked together with the environment, so that
            Python finds its packages.
        folder: The server's runtime folder.
    """
    backends = install.backend_directory
    return replace(
        install,
        backend_directory=None if backends is None else _plain(backends, folder / "backends"),
        library_path=tuple(_plain(each, folder / f"lib{n}") for n, each in enumerate(install.library_path)),
        python_folder=_plain(install.python_folder.parent, folder / "environment") / install.python_folder.name,
    )


def _plain(path: Path, link: Path) -> Path:
    if not odd_character(path):
        return path
    link.symlink_to(path)
    return link


def _repository(repository: Path, link: Path) -> Path:
    """Return the repository, or a folder of links to what is in it, except folders that are no models."""
    models, entries = model_folders(repository), list(repository.iterdir())
    wanted = [path for path in entries if path in models or not path.is_dir()]
    if not odd_character(repository) and wanted == entries:
        return repository
    link.mkdir()
    for path in wanted:
        (link / path.name).symlink_to(path)
    return link


def _absolute(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return further arguments of tritonserver. Paths in them that are relative to this process's folder are absolute.

    The value of an option may be an argument of its own.
    """
    changed: list[str] = []
    for before, argument in pairwise(("", *arguments)):
        option = "" if "=" in before else f"{before}="
        match = _PATH.fullmatch(argument) or _PATH.fullmatch(f"{option}{argument}")
        changed.append(f"{match[1]}={_from_here(match[2])}".removeprefix(option) if match else argument)
    return tuple(changed)


def _from_here(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())  # Triton also reads from object stores
