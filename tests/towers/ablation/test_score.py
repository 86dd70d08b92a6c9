"""The scores of a checkpoint equal those computed one product and one query at a time."""

from __future__ import annotations

import io
from math import log2
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from shopwindow.towers.ablation.score import JudgingData, load_corpus, score_checkpoint
from shopwindow.towers.architecture.checkpoint import load_checkpoint, save_checkpoint
from shopwindow.towers.data.holdout import held_out
from shopwindow.towers.data.tokenizer import train_tokenizer
from shopwindow.towers.evaluation.composed import draw_edits
from tests.towers.judged import judged_by
from tests.towers.small import COLOURS, THINGS, photo, small_towers

SHARE = 0.4
KINDS = [(colour, thing) for colour in COLOURS for thing in THINGS] * 3
IDS = list(range(200, 200 + len(KINDS)))
TITLES = [f"{colour} {thing} {'old ' * (row // 16)}".strip() for row, (colour, thing) in enumerate(KINDS)]
NO_PHOTO, BROKEN = 3, 4
JUDGED = judged_by(
    queries=["red mug", "lamp", "old blue chair"],
    relevant=[
        {product for product, title in zip(IDS, TITLES, strict=True) if set(query.split()) <= set(title.split())}
        for query in ("red mug", "lamp", "old blue chair")
    ],
)
SAME = {200: {216}, 201: {217, 233}, 205: {221}}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos: list[bytes | None] = [photo(COLOURS[colour]) for colour, _ in KINDS]
    photos[NO_PHOTO], photos[BROKEN] = None, b"broken"
    colours, things = zip(*KINDS, strict=True)
    columns = {"product_id": IDS, "title": TITLES, "image": photos, "colour": colours, "article": things}
    file = tmp_path_factory.mktemp("shop") / "products.parquet"
    pq.write_table(pa.table(columns), file)
    return file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = train_tokenizer([*TITLES, *JUDGED.queries], 60)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, small_towers(vocab_size=tokenizer.get_vocab_size()), tokenizer)
    return folder


@pytest.fixture(scope="module")
def measures(catalog: Path, checkpoint: Path) -> dict[str, np.ndarray]:
    corpus, photos = load_corpus(catalog, 16)
    data = JudgingData(corpus=corpus, photos=photos, judgements=JUDGED, same_style=SAME, seed=5)
    return score_checkpoint(checkpoint, data, SHARE)


class OneByOne:
    """The towers, run on one query or product at a time."""

    def __init__(self, folder: Path) -> None:
        self.towers = load_checkpoint(folder).towers
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def _text(self, text: str, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids[:most] or [0]
        return torch.tensor([ids]), torch.full((1, len(ids)), int(bool(text)))

    def query(self, text: str) -> np.ndarray:
        with torch.no_grad():
            return np.array(self.towers.query(*self._text(text, 6))[0])

    def product(self, title: str, row: int | None) -> np.ndarray:
        pixels = np.full((16, 16, 3), 255, dtype=np.uint8)
        seen = row is not None and row not in (NO_PHOTO, BROKEN)
        if row is not None and seen:
            pixels = np.array(Image.open(io.BytesIO(photo(COLOURS[KINDS[row][0]]))))
        mask = torch.tensor([[float(bool(title)), float(seen)]])
        with torch.no_grad():
            return np.array(self.towers.product(*self._text(title, 9), torch.tensor(pixels)[None], mask)[0][0])


@pytest.fixture(scope="module")
def towers(checkpoint: Path) -> OneByOne:
    return OneByOne(checkpoint)


def best(query: np.ndarray, vectors: dict[int, np.ndarray]) -> list[int]:
    return sorted(vectors, key=lambda key: -float(query @ vectors[key]))


def check(measured: dict[str, np.ndarray], where: str, towers: OneByOne, vectors: dict[int, np.ndarray]) -> None:
    """Check nDCG@10 and recall@100 of the judged queries over these products against their definitions."""
    gains, recalls = [], []
    for query, relevant in zip(JUDGED.queries, JUDGED.relevant, strict=True):
        answers = relevant & vectors.keys()
        if answers:
            ranked = best(towers.query(query), vectors)
            gain = sum(1 / log2(place + 2) for place, product in enumerate(ranked[:10]) if product in answers)
            gains.append(gain / sum(1 / log2(place + 2) for place in range(min(10, len(answers)))))
            recalls.append(len(answers & set(ranked[:100])) / len(answers))
    assert measured[f"nDCG@10, {where}"] == pytest.approx(gains, abs=1e-6)
    assert measured[f"recall@100, {where}"] == pytest.approx(recalls)
    assert gains


def test_quality_over_all_products_and_over_unseen_ones(measures: dict[str, np.ndarray], towers: OneByOne) -> None:
    vectors = {product: towers.product(TITLES[row], row) for row, product in enumerate(IDS)}
    check(measures, "all products", towers, vectors)
    unseen = dict(zip(IDS, held_out(np.array(IDS), SHARE), strict=True))
    check(measures, "unseen products", towers, {product: v for product, v in vectors.items() if unseen[product]})


def test_quality_without_colour_words_with_photos_and_without(
    measures: dict[str, np.ndarray], towers: OneByOne
) -> None:
    bare = [" ".join(word for word in title.split() if word not in COLOURS) for title in TITLES]
    shown = {product: towers.product(bare[row], row) for row, product in enumerate(IDS)}
    check(measures, "no colour words", towers, shown)
    hidden = {product: towers.product(bare[row], None) for row, product in enumerate(IDS)}
    check(measures, "no colour words, no photos", towers, hidden)


def test_same_style_mrr_of_all_triggers_and_of_unseen_ones(measures: dict[str, np.ndarray], towers: OneByOne) -> None:
    vectors = {product: towers.product(TITLES[row], row) for row, product in enumerate(IDS)}
    ranks = {}
    for trigger, others in SAME.items():
        ranked = [product for product in best(vectors[trigger], vectors) if product != trigger]
        ranks[trigger] = 1 / (1 + min(ranked.index(product) for product in others))
    assert measures["same style m-m MRR"] == pytest.approx(list(ranks.values()))
    unseen = [rank for trigger, rank in ranks.items() if held_out(np.array([trigger]), SHARE)[0]]
    assert 0 < len(unseen) < len(ranks)
    assert measures["same style m-m MRR, unseen triggers"] == pytest.approx(unseen)


def test_composed_queries_of_a_photo_and_a_colour(measures: dict[str, np.ndarray], towers: OneByOne) -> None:
    colours, articles = zip(*KINDS, strict=True)
    usable = np.array([row not in (NO_PHOTO, BROKEN) for row in range(len(IDS))])
    vectors = {row: towers.product(title, row) for row, title in enumerate(TITLES)}
    shares = []
    for edit in draw_edits(articles, colours, usable, seed=5):
        found = [row for row in best(towers.product(edit.colour, edit.row), vectors) if row != edit.row][:10]
        shares.append(sum(KINDS[row] == (edit.colour, articles[edit.row]) for row in found) / 10)
    assert len(shares) == usable.sum()
    assert measures["composed, both in the first 10"] == pytest.approx(shares)


def test_measures_without_data_are_left_out(tmp_path: Path, checkpoint: Path) -> None:
    file = tmp_path / "products.parquet"
    pq.write_table(pa.table({"product_id": IDS, "title": TITLES}), file)
    corpus, photos = load_corpus(file, 16)
    assert photos == {}
    data = JudgingData(corpus=corpus, photos=photos, judgements=JUDGED, same_style={}, seed=0)
    assert set(score_checkpoint(checkpoint, data)) == {
        f"{metric}, {where}"
        for metric in ("nDCG@10", "recall@100")
        for where in ("all products", "no colour words", "no colour words, no photos")
    }
