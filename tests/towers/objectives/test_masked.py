"""Masked words and masked patches."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shopwindow.towers.objectives.masked_patches import contrastive, random_mask, regression
from shopwindow.towers.objectives.masked_words import WordHead, hide_words, word_loss


@given(seed=st.integers(0, 999), share=st.floats(0.0, 1.0))
def test_padding_is_never_hidden_and_other_words_stay(seed: int, share: float) -> None:
    ids = torch.arange(10, 34).view(4, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    changed, hidden = hide_words(ids, mask, mask_id=2, share=share, generator=torch.Generator().manual_seed(seed))
    assert not bool((hidden & (mask == 0)).any())
    assert bool((changed[hidden] == 2).all())
    assert bool((changed[~hidden] == ids[~hidden]).all())


def test_the_share_decides_how_many_words_are_hidden() -> None:
    ids = torch.full((100, 100), 7)
    _, hidden = hide_words(ids, torch.ones_like(ids), mask_id=2, share=0.3, generator=torch.Generator().manual_seed(0))
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_the_word_loss_depends_only_on_hidden_places() -> None:
    torch.manual_seed(0)
    head, table = WordHead(4, 9), torch.randn(9, 4)
    states, ids = torch.randn(2, 3, 4), torch.tensor([[3, 4, 5], [6, 7, 8]])
    hidden = torch.tensor([[False, True, False], [False, False, False]])
    expected = -torch.log_softmax(head(states[0, 1:2], table), dim=-1)[0, 4]
    assert word_loss(states, hidden, ids, head, table).item() == pytest.approx(expected.item(), abs=1e-6)
    elsewhere = states.clone()
    elsewhere[1] = 100.0
    assert word_loss(elsewhere, hidden, ids, head, table).item() == pytest.approx(expected.item(), abs=1e-6)
    assert word_loss(states, torch.zeros_like(hidden), ids, head, table).item() == 0.0


def test_the_same_number_of_patches_is_hidden_in_every_photo() -> None:
    mask = random_mask(50, 16, 0.25, torch.Generator().manual_seed(0))
    assert mask.sum(1).tolist() == [4] * 50
    assert bool(mask.any(0).all())  # every place is hidden at some time
    assert random_mask(2, 4, 0.0).sum(1).tolist() == [1, 1]


def test_mpm_r_is_info_nce_over_the_masked_patches() -> None:
    predicted = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    original = torch.tensor([[3.0, 0.0], [0.6, 0.8]])
    # Cosines [[1, 0.6], [0, 0.8]] over temperature 0.2: [[5, 3], [0, 4]].
    expected = [math.log1p(math.exp(3 - 5)), math.log1p(math.exp(0 - 4))]
    assert contrastive(predicted, original, temperature=0.2).tolist() == pytest.approx(expected, abs=1e-6)


def test_regression_is_the_mean_square() -> None:
    assert regression(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])).tolist() == [2.0]


@pytest.mark.parametrize("objective", [contrastive, regression])
def test_the_original_patches_get_no_gradient(objective: object) -> None:
    predicted, original = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    objective(predicted, original).sum().backward()  # type: ignore[operator]
    assert predicted.grad is not None
    assert original.grad is None
