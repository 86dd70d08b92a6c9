"""Entry point of `shopwindow`: finds the subcommand, runs it, turns expected errors into one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

DEBUG = "SHOPWINDOW_DEBUG"  # set: expected errors keep their traceback too

COMMANDS = {
    "export": "a checkpoint to ONNX graphs and a complete Triton model repository",
    "plans": "TensorRT plans of an exported repository's towers, or a check that they would compile",
    "validate": "check a model repository for what Triton would only find at run time",
    "index": "embed and index a catalogue",
    "update": "add, change and remove products of an index, as a delta",
    "rollback": "serve the generation of an index that was served before",
    "compact": "rebuild an index without the traces of its updates",
    "milvus": "put an index into a Milvus collection, for catalogues larger than one machine",
    "plan": "memory, machines and build time of an index of any size",
    "serve": "start Triton on a repository and its index, until Ctrl-C",
    "probe": "whether a running server is ready: a real request to each pipeline, for health checks",
    "retrieve": "products for a shopper's words, from a running server",
    "similar": "products like a photo, a title, or a photo plus words, from a running server",
    "duplicates": "duplicate listings of one supplier, or one style at several, in a whole index",
    "embed": "embeddings of queries or products, from a running server",
    "convert": "a published data set to the parquet files that training and evaluation read",
    "mine": "same-style pairs to train on, from a click log",
    "adapt": "a Hugging Face folder of CLIP, Chinese-CLIP or SigLIP to a checkpoint",
    "pretrain": "train the towers on a catalogue and its clicks",
    "evaluate": "ranking quality of a repository and its index on judged queries",
    "ablate": "trainings that differ in one thing each, and what each difference is worth",
    "bisect": "where a served query's time goes, against the same work in process",
    "loadtest": "drive a running server with Locust and judge the latency",
}

INDEX_ACTIONS = ("update", "rollback", "compact")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes the process's.

    Returns:
        0 when all went well, 1 on an expected error (told in one line on standard error); subcommands that judge
        (validate, loadtest) document their own codes. Wrong usage exits with 2.
    """
    parser = argparse.ArgumentParser(prog="shopwindow", description="Product retrieval on NVIDIA Triton.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["index"] and given[1:2] and given[1] in INDEX_ACTIONS:  # `index update` is `update`
        given = given[1:]
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        # Only the chosen command's module is imported: torch alone takes seconds, and --help needs none of it.
        if given[:1] == [name]:
            importlib.import_module(f"cli.{name}").add_arguments(command)
    options = parser.parse_args(given)
    try:
        code: int = importlib.import_module(f"cli.{options.command}").run(options)
    except KeyboardInterrupt:
        print(f"shopwindow {options.command}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if DEBUG in os.environ or not _expected(error):
            raise
        print(f"shopwindow {options.command}: error: {error}", file=sys.stderr)
        return 1
    return code


def _expected(error: Exception) -> bool:
    """Whether an error is one that its message explains, so that a traceback would only hide it."""
    from export.errors import ExportError
    from retrieval.errors import RetrievalError
    from serving.errors import ServingError
    from shopwindow_client import ShopwindowError

    return isinstance(error, (ExportError, RetrievalError, ServingError, ShopwindowError, OSError, ValueError))


if __name__ == "__main__":
    sys.exit(main())
