"""`make gpu-check`: measures everything that this machine can, saves each result, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shopwindow.base.default_places import CHECKPOINT, SHOP
from shopwindow_loadtests.gpu.parts import make_environment
from shopwindow_loadtests.gpu.results import FAILED, LEFT_OUT, Entry, Results
from shopwindow_loadtests.gpu.steps import Step, run_steps

# The figures that others are compared with come first, the slowest groups last.
MODULES = {
    "congruence": "congruence",
    "ceilings": "ceilings",
    "search": "search_speed",
    "parity": "parity",
    "retrieve": "retrieve_speed",
    "towers": "tower_speed",
}
GROUPS = tuple(MODULES)
OK, FAILURES, NO_GPU = 0, 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run.

    Returns:
        0 if everything that can run here succeeded, 1 if a step failed, 3 if there is no GPU. Without a GPU it measures
        nothing and leaves the document alone.
    """
    parser = argparse.ArgumentParser(prog="python -m shopwindow_loadtests.gpu", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/gpu_check"), help="folder for the results (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups of steps (default: all)")
    parser.add_argument("--document", type=Path, default=Path("docs/benchmarks.md"), help="(default: %(default)s)")
    parser.add_argument(
        "--parts", type=Path, help="parts of wheels, joined and used first; see shopwindow_loadtests.gpu.parts"
    )
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"))
    parser.add_argument("--index", type=Path, default=Path("build/index"))
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--shop", type=Path, default=SHOP)
    options = parser.parse_args(arguments)
    if options.parts:
        return _again_with(options.parts, options.out / "environment", arguments)
    from shopwindow_loadtests.gpu.machine import facts, missing_abilities

    missing = missing_abilities()
    for name, why in missing.items():
        print(f"without {name}: {why}", flush=True)
    if "gpu" in missing:
        print("nothing is measured here: make gpu-check needs an NVIDIA GPU", file=sys.stderr)
        return NO_GPU
    results = Results(options.out / "results.json", facts())
    say = partial(print, flush=True)
    for group in GROUPS:
        if group in options.only:
            try:
                steps = _steps(group, options)
            except Exception as error:  # the other groups go on
                status = LEFT_OUT if isinstance(error, ImportError) else FAILED
                results.add(Entry(step=group, status=status, reason=f"{type(error).__name__}: {error}"))
                say(f"{group}: {status}: {type(error).__name__}: {error}")
                continue
            results.drop(group)  # the reason why the whole group did not run earlier
            run_steps(steps, results, missing, say)
    from shopwindow_loadtests.gpu.report import write_section

    write_section(options.document, results)
    print(f"wrote {options.document} and {options.out / 'results.json'}")
    return FAILURES if any(entry.status == FAILED for entry in results.entries) else OK


def _steps(group: str, options: argparse.Namespace) -> list[Step]:
    """Return the steps of a group. The modules are imported only here, because a machine may lack their libraries."""
    catalog = options.shop / "products.parquet"
    from shopwindow_loadtests.gpu.material import make_shop, read_queries, serving_steps, towers_to_time

    module = importlib.import_module(f"shopwindow_loadtests.gpu.measures.{MODULES[group]}")
    found: list[Step]
    if group in ("congruence", "search"):
        found = module.steps(options.out / "indexes")
    elif group == "ceilings":
        found = module.steps()
    elif group == "towers":
        found = module.steps(towers_to_time(options.checkpoint))
    else:
        make_shop(options.shop)
        if group == "parity":
            found = module.steps(options.checkpoint, catalog)
        else:
            found = serving_steps(options.checkpoint, catalog, options.repository, options.index)
            found += module.steps(options.repository, options.index, read_queries(options.shop))
    return found


def _again_with(parts: Path, folder: Path, arguments: Sequence[str] | None) -> int:
    """Unpack the wheels and start over in an environment with them, because this process has imported others."""
    python = str(make_environment(parts, folder))
    given = list(sys.argv[1:] if arguments is None else arguments)
    place = next(number for number, word in enumerate(given) if word.startswith("--parts"))
    del given[place : place + (1 if "=" in given[place] else 2)]
    os.execv(python, [python, "-m", "shopwindow_loadtests.gpu", *given])


if __name__ == "__main__":
    sys.exit(main())
