"""The towers give unit vectors, ignore padding, and accept products without a title or without a photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.onnx_towers import OnnxProductTower
from shopwindow.retrieval.embedding.product_inputs import ProductBatch
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig
from tests.towers.small import small_towers

CLOSE = 1e-5


@pytest.fixture(scope="module")
def towers() -> Towers:
    return small_towers()


def products(batch: int, tokens: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Return random title ids, full masks and random pixels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 40, (batch, tokens), generator=generator, dtype=torch.int32)
    pixels = torch.randint(0, 256, (batch, 16, 16, 3), generator=generator, dtype=torch.uint8)
    return ids, torch.ones_like(ids), pixels


def modalities(title: bool, image: bool, batch: int) -> Tensor:
    return torch.tensor([[float(title), float(image)]]).repeat(batch, 1)


@torch.inference_mode()
def test_query_embeddings_have_length_one(towers: Towers) -> None:
    ids, mask, _ = products(7, 6)
    embeddings = towers.query(ids, mask)
    assert embeddings.shape == (7, 12)
    assert embeddings.dtype == torch.float32
    assert (embeddings.norm(dim=1) - 1).abs().max() < CLOSE


@torch.inference_mode()
@pytest.mark.parametrize(("title", "image"), [(True, True), (True, False), (False, True)])
def test_product_embeddings_have_length_one(towers: Towers, title: bool, image: bool) -> None:
    embeddings, weights = towers.product(*products(5, 9), modalities(title, image, 5))
    assert embeddings.shape == (5, 12)
    assert weights.shape == (5, 2)
    assert (embeddings.norm(dim=1) - 1).abs().max() < CLOSE


@torch.inference_mode()
def test_ids_in_the_padding_do_not_matter(towers: Towers) -> None:
    ids, mask, pixels = products(4, 3)
    junk, _, _ = products(4, 3, seed=9)
    padded, padded_mask = torch.cat([ids, junk], 1), torch.cat([mask, torch.zeros_like(mask)], 1)
    assert (towers.query(padded, padded_mask) - towers.query(ids, mask)).abs().max() < CLOSE
    both = modalities(True, True, 4)
    assert (
        towers.product(padded, padded_mask, pixels, both)[0] - towers.product(ids, mask, pixels, both)[0]
    ).abs().max() < CLOSE
    # Unmasked, the same tokens do matter. Otherwise the lines above would prove nothing.
    assert (towers.query(padded, torch.ones_like(padded)) - towers.query(ids, mask)).abs().max() > 1e-3


@torch.inference_mode()
def test_a_row_does_not_depend_on_the_rest_of_its_batch(towers: Towers) -> None:
    ids, mask, pixels = products(6, 5)
    masks = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]).repeat(2, 1)
    together, weights = towers.product(ids, mask, pixels, masks)
    for row in range(6):
        one = slice(row, row + 1)
        alone, alone_weights = towers.product(ids[one], mask[one], pixels[one], masks[one])
        assert (alone - together[one]).abs().max() < CLOSE
        assert (alone_weights - weights[one]).abs().max() < CLOSE


@torch.inference_mode()
def test_the_order_of_words_matters(towers: Towers) -> None:
    ids = torch.tensor([[3, 4, 5]], dtype=torch.int32)
    mask = torch.ones_like(ids)
    assert (towers.query(ids, mask) - towers.query(ids.flip(1), mask)).abs().max() > 1e-3


@torch.inference_mode()
def test_a_pixel_changes_the_patch_that_it_is_in(towers: Towers) -> None:
    image = towers.product.image
    pixels = torch.full((1, 16, 16, 3), 90, dtype=torch.uint8)
    before = image.patches(pixels)[0]  # top left, top right, bottom left, bottom right
    pixels[0, 2, 13] = torch.tensor([255, 0, 51], dtype=torch.uint8)
    after = image.patches(pixels)[0]
    # The norms cover the whole photo, so the other patches change a little too.
    changes = (before - after).abs().sum(dim=1)
    assert changes[1] > 3 * changes[[0, 2, 3]].max()
    normalised = ((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)  # mean and deviation 0.5 of each channel
    assert torch.allclose(image.embed(normalised)[0, :, 0, 1], after[1], atol=1e-6)


@torch.inference_mode()
def test_no_patch_depends_on_the_pixels_of_a_hidden_one(towers: Towers) -> None:
    image = towers.product.image
    hidden = torch.tensor([[False, True, False, False]])
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    other = pixels.clone()
    other[:, :8, 8:] = 255 - other[:, :8, 8:]
    assert torch.equal(image.patches(pixels, hidden), image.patches(other, hidden))
    assert not torch.equal(image.patches(pixels), image.patches(other))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([[0, 0, 0]], [[0, 0, 0]]),
        ([[7, 8, 9]], [[1, 1, 1]]),
        ([[7, 8, 9]], [[0, 1, 0]]),
        ([[10**6, -5, 2**31 - 1]], [[1, 1, 1]]),
        ([[4]], [[1]]),
    ],
    ids=["empty", "full", "holes", "out of vocabulary", "another length"],
)
def test_a_missing_title_is_replaced_by_its_stand_in(
    towers: Towers, ids: list[list[int]], mask: list[list[int]]
) -> None:
    _, _, pixels = products(1, 1)
    tower, only_image = towers.product, modalities(False, True, 1)
    found, weights = tower(
        torch.tensor(ids, dtype=torch.int32), torch.tensor(mask, dtype=torch.int32), pixels, only_image
    )
    stand_in = tower.no_title[None]  # (1, 1, width): a title of one token
    expected, _ = tower.fuse(stand_in, torch.ones(1, 1), tower.image(pixels), only_image)
    assert (found - expected).abs().max() < CLOSE
    assert weights.tolist() == [[0.0, 1.0]]


@torch.inference_mode()
@pytest.mark.parametrize("value", [0, 255, None])
def test_a_missing_photo_is_replaced_by_its_stand_in(towers: Towers, value: int | None) -> None:
    ids, mask, pixels = products(2, 4)
    if value is not None:
        pixels = torch.full_like(pixels, value)
    tower, only_title = towers.product, modalities(True, False, 2)
    found, weights = tower(ids, mask, pixels, only_title)
    stand_in = tower.no_image[None].repeat(2, 1, 1)
    expected, _ = tower.fuse(tower.title(ids, mask.float()), mask.float(), stand_in, only_title)
    assert (found - expected).abs().max() < CLOSE
    assert weights.tolist() == [[1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize(("name", "mask"), [("no_title", (False, True)), ("no_image", (True, False))])
def test_a_stand_in_counts_only_if_its_modality_is_missing(name: str, mask: tuple[bool, bool]) -> None:
    towers, inputs = small_towers(), products(2, 4)
    with torch.inference_mode():
        missing, _ = towers.product(*inputs, modalities(*mask, 2))
        present, _ = towers.product(*inputs, modalities(True, True, 2))
        getattr(towers.product, name).add_(torch.randn(getattr(towers.product, name).shape))
        assert (towers.product(*inputs, modalities(*mask, 2))[0] - missing).abs().max() > 1e-3
        assert (towers.product(*inputs, modalities(True, True, 2))[0] - present).abs().max() == 0


@torch.inference_mode()
def test_modality_weights_sum_to_one(towers: Towers) -> None:
    _, weights = towers.product(*products(9, 5), modalities(True, True, 9))
    assert (weights.sum(1) - 1).abs().max() < CLOSE
    assert ((weights > 0) & (weights < 1)).all()


@pytest.mark.parametrize(
    ("modality", "weights"), [((1.0, 0.0), [[1.0, 0.0]] * 3), ((0.0, 1.0), [[0.0, 1.0]] * 3)], ids=["title", "photo"]
)
def test_the_exported_graph_ignores_the_content_of_an_absent_modality(
    repository: Path, modality: tuple[float, float], weights: list[list[float]]
) -> None:
    size = Bundle.read(repository).image_size
    rng = np.random.default_rng(0)
    ids = np.array([[5, 6, 7], [5, 6, 7], [5, 6, 7]], np.int32)
    mask = np.ones((3, 3), np.int32)
    pixels = np.repeat(rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8), 3, axis=0)
    if modality[0]:
        pixels[1], pixels[2] = 0, rng.integers(0, 256, pixels[0].shape, dtype=np.uint8)
    else:
        ids[1], mask[1] = [2**31 - 1, -(2**31), 10**6], [1, 0, 1]  # in no vocabulary
        ids[2], mask[2] = 0, 0
    batch = ProductBatch(
        title_ids=ids, title_mask=mask, pixels=pixels, modality_mask=np.array([modality] * 3, np.float32)
    )
    embeddings, found = OnnxProductTower(RepositoryLayout(repository).product_tower)(batch)
    assert np.abs(embeddings - embeddings[0]).max() < CLOSE
    assert np.abs(np.linalg.norm(embeddings, axis=1) - 1).max() < CLOSE
    assert found.tolist() == weights


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"hidden_size": 10, "heads": 4}, "heads: must divide hidden_size 10, got 4"),
        ({"image_size": 60, "patch_size": 8}, "patch_size: must divide image_size 60, got 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TowerConfig(vocab_size=10, **sizes)
