"""shopwindow inspect"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shopwindow.cli.index.reading_options import add_reading, given_words, reading_of

if TYPE_CHECKING:
    from shopwindow.indexing.inspection.outcome import Outcome

_MB = 1e6
_LARGE = 20 * _MB  # a file that takes more than a moment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="PATH", help="as --catalog of 'shopwindow index'")
    add_reading(parser)
    parser.add_argument(
        "--repository", type=Path, metavar="DIR", help="model repository to name in the command that is printed"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print what the files would become with the options and what is proposed beside them.

    Returns:
        0 if that can be indexed, else 1.
    """
    from shopwindow.indexing.catalogue.files import catalog_files
    from shopwindow.indexing.inspection.outcome import read_as_proposed

    size = sum(file.stat().st_size for file in catalog_files(options.files) if file.exists())
    if size >= _LARGE:
        print(f"reading {size / _MB:,.0f} MB", file=sys.stderr)  # before the first bar
    outcome = read_as_proposed(options.files, reading_of(options))
    proposed = outcome.proposal.options
    words = ["--catalog", *(str(path) for path in options.files), *given_words(options), *proposed]
    if options.repository is not None:
        words += ["--repository", str(options.repository)]
    command = shlex.join(["shopwindow", "index", *words])
    if options.json:
        about = {"columns": outcome.raw.lines()} if outcome.found is None else outcome.found.to_json()
        said = {"proposed": proposed, "not_taken": outcome.not_taken, "problem": outcome.problem, "next": command}
        print(json.dumps({**about, **said}, indent=1))
    else:
        print(_text(outcome, command))
    if outcome.problem:
        print(f"shopwindow inspect: cannot be indexed: {outcome.problem}", file=sys.stderr)
    return 1 if outcome.problem else 0


def _text(outcome: Outcome, command: str) -> str:
    from shopwindow.indexing.inspection.table import survey_table

    if outcome.found is None:
        return "\n".join(outcome.raw.lines())
    lines = [survey_table(outcome.found)]
    if outcome.not_taken:
        lines.append(f"note: some columns stay text: {outcome.not_taken}")
    if outcome.proposal.options:
        lines.append(f"read with what the names and values propose: {shlex.join(outcome.proposal.options)}")
    if not outcome.problem:
        lines += ["next:", f"  {command}"]
    return "\n".join(lines)
