"""Makes towers, repository, index and queries of the size at which serving is measured.

    python -m shopwindow_loadtests.peers.bench_material

The query tower has 6 layers x 384, the index 200,000 x 128 vectors. The weights are random, and take as long as trained
ones. Nobody judges the products that they find: they are only compared with those of the same towers in process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from shopwindow.base.default_places import SHOP, TOWER_CONFIGS
from shopwindow.indexing.full_build.run import build_index, built_already
from shopwindow.retrieval.embedding.bundle import FILE as BUNDLE
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.checkpoint import save_checkpoint
from shopwindow.towers.architecture.config import TowerConfig, read_json
from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow_export.repository.run import export_repository
from shopwindow_loadtests.index_bench.corpus import LATENT, NOISE
from shopwindow_loadtests.peers.bench_columns import made_up_columns
from shopwindow_loadtests.scenario.queries import read_queries

_RECIPE = "ivf"
_QUERIES = 2000
_SAMPLE = 2000
_QUERY_WORDS = (3, 6)  # at least, and fewer than; with the tokens at both ends about six tokens


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the parts that are missing and keep those that are complete."""
    parser = argparse.ArgumentParser(prog="python -m shopwindow_loadtests.peers.bench_material", description=__doc__)
    parser.add_argument(
        "--titles",
        type=Path,
        default=SHOP / "products.parquet",
        help="catalogue with the titles to use; a queries.parquet beside it gives the queries (%(default)s)",
    )
    parser.add_argument("--config", type=Path, default=TOWER_CONFIGS / "bench.json", help="(%(default)s)")
    parser.add_argument("--products", type=int, default=200_000, help="(%(default)s)")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "int8"], help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/stand"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    asked = {name: str(getattr(options, name)) for name in ("titles", "config", "products", "precision")}
    asked |= {f"{name} SHA-256": _digest(getattr(options, name)) for name in ("titles", "config")}
    note = options.out / "stand.json"
    # The path of the configuration differs between checkouts. Its SHA-256 says whether it is the same.
    if note.exists() and {**(before := json.loads(note.read_text())), "config": asked["config"]} != asked:
        parser.error(f"--out {options.out} holds material made from {before}; remove it, or give another folder")
    note.write_text(json.dumps(asked) + "\n")

    catalogue, repository = options.out / "products.parquet", options.out / "model_repository"
    if not catalogue.exists() or "style" not in pq.read_schema(catalogue).names:  # older material had no attributes
        write_catalogue(options.titles, catalogue, options.products)
    write_queries(options.titles, options.out / "queries.txt")
    if not (repository / BUNDLE).exists():  # it appears only when it is complete
        write_checkpoint(options.config, catalogue, options.out / "checkpoint")
        export_repository(options.out / "checkpoint", repository, catalogue, precision=options.precision)
    index = options.out / "index"
    manifest = built_already(catalogue, repository, index, recipe=_RECIPE)
    if manifest is None:
        manifest = build_index(catalogue, repository, index, recipe=_RECIPE, say=print)
    recipe = manifest.recipe
    print(
        f"{manifest.count:,} products x {manifest.dim}, {recipe.factory}: a search looks at {recipe.search_breadth} of "
        f"{recipe.max_breadth} lists, recall@100 {manifest.recall_at_100:.4f}\n"
        f"--repository {repository} --index {index} --queries {options.out / 'queries.txt'}"
    )


def write_catalogue(titles: Path, out: Path, products: int) -> None:
    """Write products without photos: the titles of a catalogue, then the same titles with one word replaced.

    A catalogue grows by more products of the kinds that it has. Titles of freely drawn words would be of no kind. An
    index groups similar products, and would have to look at most of these. The attributes are those of
    `made_up_columns`.
    """
    known = _titles(titles)
    words = sorted({word for title in known for word in title.split()})
    random = np.random.default_rng(7)
    kinds = {title: kind for kind, title in enumerate(known[:products])}
    for _ in range(50 * products):
        if len(kinds) >= products:
            break
        kind = int(random.integers(len(known)))
        title = known[kind].split()
        title[random.integers(len(title))] = words[random.integers(len(words))]
        kinds.setdefault(" ".join(title), kind)
    columns = {
        "product_id": range(len(kinds)),
        "title": list(kinds),
        "image": pa.nulls(len(kinds), pa.binary()),
        **made_up_columns(list(kinds.values())),
    }
    new = out.with_suffix(".new")
    pq.write_table(pa.table(columns), new)
    new.replace(out)


def write_queries(titles: Path, out: Path) -> None:
    """Write one query per line: those beside a catalogue, or else some words of a title each, in their order."""
    known = titles.with_name("queries.parquet")
    queries = read_queries(known) if known.exists() else _drawn_queries(_titles(titles))
    out.write_text("\n".join(queries) + "\n")


def write_checkpoint(config: Path, catalogue: Path, out: Path) -> None:
    """Write towers of a configuration with random weights, and a tokeniser for the words of a catalogue."""
    settings = read_json(config)
    titles = pq.read_table(catalogue).column("title").to_pylist()
    tokenizer = train_tokenizer(titles, settings["vocab_size"])
    sample = titles[:: max(1, len(titles) // _SAMPLE)]
    torch.manual_seed(7)
    config_of = TowerConfig.from_json({"vocab_size": tokenizer.get_vocab_size(), **settings["towers"]})
    towers = Towers(config_of).eval()
    ids, mask = map(torch.from_numpy, TextEncoder(tokenizer, config_of.query_max_tokens).encode(sample))
    size = config_of.image_size
    _spread(towers.query.head, lambda: towers.query(ids, mask))
    no_photos = torch.zeros(len(sample), size, size, 3, dtype=torch.uint8), torch.tensor([[1.0, 0.0]] * len(sample))
    _spread(towers.product.head, lambda: towers.product(ids, mask, *no_photos))
    save_checkpoint(out, towers, tokenizer)


@torch.no_grad()
def _spread(head: torch.nn.Linear, embed: Callable[[], object]) -> None:
    """Change a tower's last layer so that the embeddings of a sample spread over directions as learned ones do.

    Random weights give all texts nearly the same embedding, and no index works well on those. See `index_bench.corpus`.
    """
    made: list[torch.Tensor] = []
    hook = head.register_forward_hook(lambda _, given, output: made.append(output))
    embed()
    hook.remove()
    centre = made[0].mean(0)
    _, lengths, directions = torch.linalg.svd(made[0] - centre, full_matrices=False)
    wanted = torch.where(torch.arange(len(lengths)) < LATENT, 1.0, float(NOISE)) / lengths
    turn = directions.T @ torch.diag(wanted) @ directions
    head.weight.copy_(turn @ head.weight)
    head.bias.copy_(turn @ (head.bias - centre))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _titles(catalogue: Path) -> list[str]:
    titles = pq.read_table(catalogue, columns=["title"]).column("title").to_pylist()
    return list(dict.fromkeys(title for title in titles if title and title.strip()))


def _drawn_queries(titles: Sequence[str]) -> list[str]:
    random = np.random.default_rng(7)
    queries = dict[str, None]()
    for row in random.integers(len(titles), size=2 * _QUERIES):
        words = titles[row].split()
        kept = random.permutation(len(words))[: random.integers(*_QUERY_WORDS)]
        queries[" ".join(words[at] for at in sorted(kept))] = None
    return list(queries)[:_QUERIES]


if __name__ == "__main__":
    main()
