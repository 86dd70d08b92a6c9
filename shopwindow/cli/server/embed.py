"""shopwindow embed"""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.cli.common import add_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("query", nargs="*", help="queries; for one product give --image and/or --title instead")
    parser.add_argument("--image", type=Path, metavar="FILE", help="a JPEG, PNG or WebP photo")
    parser.add_argument("--title", help="a product's title")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.npy", help="also write the embeddings here, (rows, dim) float32"
    )
    add_url(parser)


def run(options: argparse.Namespace) -> int:
    """Embed, print a summary, and write the array."""
    import numpy as np

    from shopwindow_client import RetrievalClient
    from shopwindow_client._values.option_files import client_options

    product = options.image is not None or options.title is not None
    if product == bool(options.query):
        raise ValueError("embed: give either queries, or --image and/or --title")
    with RetrievalClient(options.url, timeout_s=options.timeout, **client_options(options)) as client:
        if product:
            embedded = client.embed_product(title=options.title, image=options.image)
            vectors = embedded.embeddings
            title, photo = embedded.modality_weights[0]
            print(f"modality weights: title {title:.3f}, photo {photo:.3f}")
        else:
            vectors = client.embed_query(options.query)
    for name, vector in zip(options.query or ["product"], vectors, strict=True):
        print(f"{name}: [{', '.join(f'{value:+.4f}' for value in vector[:6])}, ...] ({len(vector)} numbers)")
    if options.out:
        np.save(options.out, vectors)
        print(f"wrote {options.out}, {vectors.shape} {vectors.dtype}")
    return 0
