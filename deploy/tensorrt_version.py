"""Print the pip requirement of the Python bindings that match the TensorRT of this image.

The image has TensorRT's libraries but not its bindings. Plans load only in the version that built them. So this script
reads the version from the library.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

# The libraries that the bindings are linked against.
_NEEDED = ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin")
_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/tensorrt/lib", "/opt/tensorrt/lib")


def show_version(number: int) -> str:
    """Return `getInferLibVersion()` as text. 10.13.2 is 101302, two digits each. Versions up to 8 count otherwise.

    Raises:
        ValueError: not the number of a version from 10 on.
    """
    if not 100_000 <= number < 1_000_000:
        raise ValueError(f"TensorRT version: expected 100000 (10.0.0) or more, got {number}; use a newer image")
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def find_library(folders: tuple[str, ...] = _FOLDERS) -> Path:
    """Return the path of the TensorRT library of this image.

    Raises:
        FileNotFoundError: a library that the bindings need is not in the usual folders.
    """
    for name in reversed(_NEEDED):
        found = [file for folder in folders for file in sorted(Path(folder).glob(f"{name}.so.*"))]
        if not found:
            raise FileNotFoundError(
                f"{name}.so.*: none in {', '.join(folders)}; use a Triton server image that holds all of TensorRT"
            )
    return found[0]


def main() -> int:
    """Print the requirement, such as `tensorrt-cu13-bindings==11.1.0.*`."""
    version = show_version(ctypes.CDLL(str(find_library())).getInferLibVersion())
    cuda = "cu13" if any(Path("/usr/local").glob("cuda-13*")) else "cu12"
    print(f"tensorrt-{cuda}-bindings=={version}.*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
