"""The entry point of `shopwindow`: it runs a subcommand and prints an expected error as one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

DEBUG = "SHOPWINDOW_DEBUG"  # if set, expected errors print their traceback too

# Command -> the package in `shopwindow.cli` that holds its module, and its help text.
COMMANDS = {
    "export": ("repository", "convert a checkpoint to ONNX graphs and a complete Triton model repository"),
    "plans": ("repository", "build TensorRT plans of a repository's towers, or check that they would compile"),
    "validate": ("repository", "check a model repository for errors that Triton would find only at run time"),
    "inspect": ("index", "say what a catalogue would become, and how to index it; loads no model"),
    "index": ("index", "embed and index a catalogue"),
    "update": ("index", "add, change and remove products of an index, without a new build"),
    "rollback": ("index", "serve the previous generation of an index again"),
    "compact": ("index", "rebuild an index from its stored vectors, so that updates no longer slow it down"),
    "milvus": ("index", "copy an index into a Milvus collection, for catalogues too large for one machine"),
    "plan": ("index", "estimate memory, machines and build time of an index of any size"),
    "serve": ("server", "run Triton on a repository and its index until Ctrl-C"),
    "probe": ("server", "check that a running server is ready, with a real request to each pipeline"),
    "retrieve": ("server", "ask a running server for products that match a shopper's words"),
    "similar": ("server", "ask a running server for products like a photo, a title, or a photo plus words"),
    "duplicates": ("index", "find duplicate listings of one supplier, or one style at several, in a whole index"),
    "embed": ("server", "ask a running server for embeddings of queries or products"),
    "convert": ("towers", "convert a published data set to the parquet files that training and evaluation read"),
    "mine": ("towers", "mine same-style pairs to train on from a click log"),
    "adapt": ("towers", "convert a Hugging Face folder of CLIP, Chinese-CLIP or SigLIP to a checkpoint"),
    "pretrain": ("towers", "train the towers on a catalogue and its clicks"),
    "evaluate": ("towers", "measure the ranking quality of a repository and its index on judged queries"),
    "ablate": ("towers", "train variants that differ in one thing each, and measure what each difference is worth"),
    "bisect": ("server", "measure where a served query's time goes, compared with the same work in process"),
    "loadtest": ("server", "put load on a running server with Locust and judge its latency"),
}

INDEX_ACTIONS = ("update", "rollback", "compact")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        0 on success, 1 on an expected error, which is printed as one line on standard error. Subcommands that judge
        (validate, loadtest) document their own codes. Wrong usage exits with 2.
    """
    parser = argparse.ArgumentParser(prog="shopwindow", description="Product retrieval on NVIDIA Triton.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["index"] and words[1:2] and words[1] in INDEX_ACTIONS:  # `index update` is `update`
        words = words[1:]
    for name, (package, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        # Only the chosen command's module is imported: torch alone takes seconds, and --help needs none of it.
        if words[:1] == [name]:
            importlib.import_module(f"shopwindow.cli.{package}.{name}").add_arguments(command)
    options = parser.parse_args(words)
    try:
        _check_paths(options)
        package, _ = COMMANDS[options.command]
        code: int = importlib.import_module(f"shopwindow.cli.{package}.{options.command}").run(options)
    except KeyboardInterrupt:
        print(f"shopwindow {options.command}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if DEBUG in os.environ or not _expected(error):
            raise
        print(f"shopwindow {options.command}: error: {error}", file=sys.stderr)
        return 1
    return code


def _check_paths(options: argparse.Namespace) -> None:
    """Refuse paths that are not UTF-8, before hours of work. FAISS, Arrow and ONNX Runtime would refuse them later.

    Raises:
        ValueError: it names the option and the byte.
    """
    from shopwindow.base.triton_names import odd_byte

    for name, value in vars(options).items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and (odd := odd_byte(path.absolute())):
                raise ValueError(f"{name}: {str(path.absolute())!r} has {odd}; rename the folder or file")


def _expected(error: Exception) -> bool:
    """Return whether the message of an error explains it, so that no traceback is needed."""
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
