"""Entry point of `shopwindow`: finds the subcommand, runs it, turns expected errors into one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

DEBUG = "SHOPWINDOW_DEBUG"  # set: expected errors keep their traceback too

# Command -> the room of `shopwindow.cli` that its module is in, and what it does.
COMMANDS = {
    "export": ("repository", "a checkpoint to ONNX graphs and a complete Triton model repository"),
    "plans": ("repository", "TensorRT plans of an exported repository's towers, or a check that they would compile"),
    "validate": ("repository", "check a model repository for what Triton would only find at run time"),
    "index": ("index", "embed and index a catalogue"),
    "update": ("index", "add, change and remove products of an index, as a delta"),
    "rollback": ("index", "serve the generation of an index that was served before"),
    "compact": ("index", "rebuild an index without the traces of its updates"),
    "milvus": ("index", "put an index into a Milvus collection, for catalogues larger than one machine"),
    "plan": ("index", "memory, machines and build time of an index of any size"),
    "serve": ("server", "start Triton on a repository and its index, until Ctrl-C"),
    "probe": ("server", "whether a running server is ready: a real request to each pipeline, for health checks"),
    "retrieve": ("server", "products for a shopper's words, from a running server"),
    "similar": ("server", "products like a photo, a title, or a photo plus words, from a running server"),
    "duplicates": ("index", "duplicate listings of one supplier, or one style at several, in a whole index"),
    "embed": ("server", "embeddings of queries or products, from a running server"),
    "convert": ("towers", "a published data set to the parquet files that training and evaluation read"),
    "mine": ("towers", "same-style pairs to train on, from a click log"),
    "adapt": ("towers", "a Hugging Face folder of CLIP, Chinese-CLIP or SigLIP to a checkpoint"),
    "pretrain": ("towers", "train the towers on a catalogue and its clicks"),
    "evaluate": ("towers", "ranking quality of a repository and its index on judged queries"),
    "ablate": ("towers", "trainings that differ in one thing each, and what each difference is worth"),
    "bisect": ("server", "where a served query's time goes, against the same work in process"),
    "loadtest": ("server", "drive a running server with Locust and judge the latency"),
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
    for name, (room, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        # Only the chosen command's module is imported: torch alone takes seconds, and --help needs none of it.
        if given[:1] == [name]:
            importlib.import_module(f"shopwindow.cli.{room}.{name}").add_arguments(command)
    options = parser.parse_args(given)
    try:
        room, _ = COMMANDS[options.command]
        code: int = importlib.import_module(f"shopwindow.cli.{room}.{options.command}").run(options)
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
    from shopwindow.indexing.errors import IndexingError
    from shopwindow.retrieval.errors import RetrievalError
    from shopwindow.server.errors import ServingError
    from shopwindow_client import ShopwindowError
    from shopwindow_export.errors import ExportError

    return isinstance(
        error, (ExportError, IndexingError, RetrievalError, ServingError, ShopwindowError, OSError, ValueError)
    )


if __name__ == "__main__":
    sys.exit(main())
