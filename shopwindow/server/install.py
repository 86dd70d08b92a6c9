"""Find a tritonserver: the container's own, or the one inside the nvidia-pytriton wheel."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from shopwindow.base.triton_names import odd_character
from shopwindow.server.errors import EnvironmentUnfit, TritonNotFound

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, kw_only=True)
class TritonInstall:
    """A tritonserver that can be started.

    Args:
        binary: The executable.
        source: `path` if it was found on PATH, `wheel` if it is from nvidia-pytriton.
        backend_directory: The folder of its backends; None for the server's default.
        library_path: Folders that its process needs first in LD_LIBRARY_PATH.
        python_folder: The bin folder of the Python environment whose packages the Python models use.
    """

    binary: Path
    source: Literal["path", "wheel"]
    backend_directory: Path | None = None
    library_path: tuple[Path, ...] = ()
    python_folder: Path = Path(sys.executable).parent


def find_tritonserver() -> TritonInstall:
    """Find the tritonserver to run: the one on PATH, or else the one of the nvidia-pytriton wheel.

    Returns:
        The server. For the wheel, its Python backend is prepared for this Python version.

    Raises:
        TritonNotFound: There is neither.
        EnvironmentUnfit: The server cannot run Python models in this environment.
    """
    check_interpreter(Path(sys.executable).resolve(), Path(sys.base_prefix))
    if on_path := shutil.which("tritonserver"):
        return TritonInstall(binary=Path(on_path).absolute(), source="path")

    wheel = importlib.util.find_spec("pytriton")
    if wheel is None or wheel.origin is None:
        raise TritonNotFound(
            "no tritonserver on PATH and no nvidia-pytriton in this environment; install the wheel with "
            "`pip install nvidia-pytriton`, or run inside nvcr.io/nvidia/tritonserver"
        )
    package = Path(wheel.origin).parent
    check_numpy()
    return TritonInstall(
        binary=package / "tritonserver" / "bin" / "tritonserver",
        source="wheel",
        backend_directory=_backend_directory(package / "tritonserver"),
        library_path=(package.parent / "nvidia_pytriton.libs", _libpython_folder()),
    )


def check_interpreter(*paths: Path) -> None:
    """Refuse a Python whose own path is not in ASCII. A virtual environment may have any path.

    Args:
        paths: The program, without links, and the folder that it is installed in.

    Raises:
        EnvironmentUnfit: The interpreter of the Python models could not find its library, and the server would hang.
    """
    for path in paths:
        if odd := next((character for character in str(path) if not character.isascii()), ""):
            raise EnvironmentUnfit(
                f"python: {str(path)!r} has {odd_character(odd)}, and Triton's Python models find the library of an "
                "interpreter only by a path in ASCII; make the environment with a Python installed elsewhere"
            )


def check_numpy(search_path: Iterable[str] | None = None) -> None:
    """Refuse an environment whose numpy does not work with the wheel's Python backend.

    Args:
        search_path: Folders to look for numpy in; None for those of the running interpreter.

    Raises:
        EnvironmentUnfit: numpy is missing, or is 2 or newer.
    """
    path = sys.path if search_path is None else list(search_path)
    version = next((found.version for found in metadata.distributions(name="numpy", path=path)), None)
    if version is None:
        raise EnvironmentUnfit("numpy: none found, but Python models need it; `pip install 'numpy<2'`")
    if int(version.partition(".")[0]) >= 2:
        raise EnvironmentUnfit(
            f"numpy: the Python backend of nvidia-pytriton needs numpy<2, got {version}, with which models return "
            "empty tensors and no error; `pip install 'numpy<2'`"
        )


def _backend_directory(tritonserver: Path) -> Path:
    """Link the backend, its utilities and the stub for this Python version into one folder, as the server needs it."""
    backend = tritonserver / "backends" / "python"
    stub = tritonserver / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub"
    if not stub.exists():
        has = ", ".join(sorted(folder.name for folder in stub.parent.parent.iterdir()))
        raise EnvironmentUnfit(f"python: nvidia-pytriton has no stub for Python {_PYTHON}, only for {has}")
    parts = [backend / "libtriton_python.so", backend / "triton_python_backend_utils.py", stub]

    root = Path(sys.prefix) / "share" / "shopwindow" / f"triton-backends-{_PYTHON}"
    links = [root / "python" / part.name for part in parts]
    if all(link.exists() and link.samefile(part) for link, part in zip(links, parts, strict=True)):
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=".triton-backends-") as scratch:
            fresh = Path(scratch) / "fresh"
            (fresh / "python").mkdir(parents=True)
            for part in parts:
                (fresh / "python" / part.name).symlink_to(part)
            if root.exists():  # it is from a wheel that has moved since
                root.rename(Path(scratch) / "stale")
            try:
                fresh.rename(root)
            except OSError:
                if not root.exists():  # if it exists, another process has just made the same links
                    raise
    except OSError as error:
        raise EnvironmentUnfit(f"cannot link the Python backend into {root}: {error.strerror}") from error
    return root


def _libpython_folder() -> Path:
    """Return the folder of the shared libpython that the stub is linked against."""
    name = f"libpython{_PYTHON}.so.1.0"
    libdir, multiarch = (sysconfig.get_config_var(key) or "" for key in ("LIBDIR", "MULTIARCH"))
    # LIBDIR is the path that Python was built for. Relocated builds (uv, conda-pack) are found from base_prefix.
    for folder in (Path(libdir), Path(libdir, multiarch), Path(sys.base_prefix, "lib")):
        if (folder / name).exists():
            return folder
    raise EnvironmentUnfit(
        f"{name}: not found in {libdir or 'LIBDIR'} or {Path(sys.base_prefix, 'lib')}, but Triton's Python stub needs "
        "it; use a Python with a shared library (`apt install libpython3-dev`, or "
        "`PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install ...`)"
    )
