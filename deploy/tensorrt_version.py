"""Which Python bindings go with the TensorRT of this image: prints a requirement for pip.

The image has TensorRT's libraries and not its bindings, and plans load only in the version that built them, so the
version is read from the library and written down nowhere.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

# What the bindings are linked against, by its name before `.so`.
_NEEDED = ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin")
_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/tensorrt/lib", "/opt/tensorrt/lib")


def show_version(number: int) -> str:
    """`getInferLibVersion()` as text: 10.13.2 is 101302 (two digits each); 8 and older counted otherwise.

    Raises:
        ValueError: not a version of 10 or newer.
    """
    if not 100_000 <= number < 1_000_000:
        raise ValueError(f"TensorRT version: expected 100000 (10.0.0) or more, got {number}; use a newer image")
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def find_library(folders: tuple[str, ...] = _FOLDERS) -> Path:
    """The TensorRT library of this image.

    Raises:
        FileNotFoundError: it is not in the usual places, or lacks one that the bindings need.
    """
    for name in reversed(_NEEDED):
        found = [file for folder in folders for file in sorted(Path(folder).glob(f"{name}.so.*"))]
        if not found:
            raise FileNotFoundError(
                f"{name}.so.*: none in {', '.join(folders)}; take a Triton server image that holds all of TensorRT"
            )
    return found[0]


def main() -> int:
    """Print the requirement, as `tensorrt-cu13-bindings==11.1.0.*`."""
    version = show_version(ctypes.CDLL(str(find_library())).getInferLibVersion())
    cuda = "cu13" if any(Path("/usr/local").glob("cuda-13*")) else "cu12"
    print(f"tensorrt-{cuda}-bindings=={version}.*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
