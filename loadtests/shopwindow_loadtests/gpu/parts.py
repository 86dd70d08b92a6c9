"""Wheels for a machine without internet, split into parts that are small enough to carry.

It needs only the standard library, so the other machine needs only Python 3.11 or newer. Run both commands in the
root of a checkout, the second one on the other machine. `join` only unpacks the wheels.

    PYTHONPATH=.:loadtests python -m shopwindow_loadtests.gpu.parts prepare parts/ \\
        faiss-gpu==1.15.1 nvidia-cuda-runtime-cu12 --python 3.12
    PYTHONPATH=.:client:export:loadtests python -m shopwindow_loadtests.gpu --parts parts/
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

from shopwindow.base.default_places import source_roots

PART_BYTES = 58 * 2**20
LIST = "SHA256SUMS"
# pip matches the number exactly. Wheels are published for these.
_GLIBC = (5, 12, 17, 24, 27, 28, 31, 34, 35)


def prepare(out: Path, requirements: Sequence[str], *, python: str) -> list[Path]:
    """Download wheels for another machine and split them.

    Args:
        out: Folder for the parts.
        requirements: In pip's form. Name every package, because dependencies are not followed.
        python: Python version on the other machine, such as `3.12`.

    Raises:
        subprocess.CalledProcessError: pip found no such wheel.
    """
    with tempfile.TemporaryDirectory() as folder:
        platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in _GLIBC]
        platforms += ["--platform=manylinux1_x86_64", "--platform=manylinux2014_x86_64"]
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", folder]
        command += ["--implementation=cp", f"--python-version={python}", *platforms, *requirements]
        subprocess.run(command, check=True)
        return split(sorted(Path(folder).iterdir()), out)


def split(files: Sequence[Path], out: Path, *, part_bytes: int = PART_BYTES) -> list[Path]:
    """Split files into parts and write a list of the parts with checksums.

    Returns:
        The parts, in order.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for file in files:
        with file.open("rb") as source:
            number = 0
            while data := source.read(part_bytes):
                part = out / f"{file.name}.{number:03d}"
                part.write_bytes(data)
                parts.append(part)
                number += 1
    (out / LIST).write_text("".join(f"{_digest(part)}  {part.name}\n" for part in parts))
    return parts


def join(folder: Path, into: Path) -> list[str]:
    """Check the parts, join them to wheels and unpack the wheels.

    Args:
        folder: Folder with the parts and their list.
        into: Folder for the content of the wheels.

    Returns:
        Names of the wheels.

    Raises:
        FileNotFoundError: The list or a part is missing; the message names it.
        ValueError: A part is damaged; the message names it.
    """
    listed = [line.split("  ", 1) for line in (folder / LIST).read_text().splitlines()]
    for digest, name in listed:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {LIST} has {len(listed)} parts; copy it too")
        if _digest(folder / name) != digest:
            raise ValueError(f"{folder / name}: its SHA-256 is not that of {LIST}; copy it again")
    into.mkdir(parents=True, exist_ok=True)
    wheels = list(dict.fromkeys(name.rpartition(".")[0] for _, name in listed))
    for wheel in wheels:
        with tempfile.TemporaryFile() as whole:
            for _, name in listed:
                if name.rpartition(".")[0] == wheel:
                    with (folder / name).open("rb") as part:
                        shutil.copyfileobj(part, whole)
            with zipfile.ZipFile(whole) as archive:
                _unpack(archive, into)
    return wheels


def make_environment(parts: Path, folder: Path) -> Path:
    """Make an environment with the wheels of the parts first, then this project, then the packages of this Python.

    PYTHONPATH would not do: the processes in which Triton runs Python models ignore it.

    Args:
        parts: Folder with the parts and their list.
        folder: Folder of the environment. An existing one is updated.

    Returns:
        The Python of the environment.

    Raises:
        FileNotFoundError, ValueError: See `join`.
    """
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder.resolve())}))
    print(f"unpacked {', '.join(join(parts, site))}", flush=True)
    venv.EnvBuilder(symlinks=True).create(folder)
    seen = [path for path in sys.path if path.endswith(("site-packages", "dist-packages")) and path != str(site)]
    # These folders hold *.pth files themselves, such as those of packages installed for development.
    lines = [*map(str, source_roots()), *(f"import site; site.addsitedir({path!r})" for path in seen)]
    (site / "shopwindow.pth").write_text("\n".join(lines) + "\n")
    return folder.resolve() / "bin" / "python"


def _unpack(archive: zipfile.ZipFile, into: Path) -> None:
    for member in archive.infolist():
        file = Path(archive.extract(member, into))
        # zipfile drops the executable bits, and some wheels contain servers.
        if mode := member.external_attr >> 16 & 0o111:
            file.chmod(file.stat().st_mode | mode)


def _digest(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m shopwindow_loadtests.gpu.parts", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("prepare", help="download wheels and split them")
    one.add_argument("out", type=Path)
    one.add_argument("requirements", nargs="+")
    one.add_argument("--python", default="3.12", help="Python version on the other machine (default: %(default)s)")
    two = commands.add_parser("join", help="check, join and unpack parts")
    two.add_argument("parts", type=Path)
    two.add_argument("--into", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.command == "prepare":
        parts = prepare(options.out, options.requirements, python=options.python)
        print(f"{len(parts)} parts and {LIST} in {options.out}, {sum(p.stat().st_size for p in parts) / 1e6:.0f} MB")
    else:
        print(f"unpacked {', '.join(join(options.parts, options.into))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
