"""eSSPR's losses equal numbers worked out by hand from their definitions."""

from __future__ import annotations

import pytest
import torch

from shopwindow.towers.objectives.same_style import locality_consistency, product_matching, self_distinctiveness

# S = TRIGGER x OFFER^T = [[0.6, 0.0], [0.8, 1.0]]
TRIGGER = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
OFFER = torch.tensor([[0.6, 0.8], [0.0, 1.0]])


def test_product_matching_is_the_hinge_over_the_batch_divided_by_its_size() -> None:
    # Row 0: max(0, 0.0 - 0.6 + 0.2) = 0. Row 1: max(0, 0.8 - 1.0 + 0.3) = 0.1. The diagonal adds nothing; B = 2.
    assert product_matching(TRIGGER, OFFER, margin=0.2).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert product_matching(TRIGGER, OFFER, margin=0.3).tolist() == pytest.approx([0.0, 0.05], abs=1e-6)
    assert product_matching(TRIGGER, OFFER, margin=0.7).tolist() == pytest.approx([0.05, 0.25], abs=1e-6)


def test_product_matching_compares_only_in_the_direction_of_the_trigger() -> None:
    # In the other direction the columns of S would compete: 0.8 - 0.6 + 0.1 in the first.
    assert product_matching(TRIGGER, OFFER, margin=0.1).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert product_matching(OFFER, TRIGGER, margin=0.1).tolist() == pytest.approx([0.15, 0.0], abs=1e-6)


def test_self_distinctiveness_compares_the_form_with_all_triggers() -> None:
    form = torch.tensor([[0.6, 0.8], [0.0, 1.0]])  # form x trigger^T = [[0.6, 0.8], [0.0, 1.0]]
    assert self_distinctiveness(TRIGGER, form, margin=0.1).tolist() == pytest.approx([0.15, 0.0], abs=1e-6)


def test_locality_consistency_compares_the_ten_nearest_offers() -> None:
    # The similarity of the trigger (1, 0) to an offer is its first coordinate, that of the form (0, 1) its second.
    first = torch.linspace(0.95, -0.15, 12)
    offer = torch.stack([first, (1 - first**2).sqrt()], 1)
    trigger, form = torch.tensor([[1.0, 0.0]]).repeat(12, 1), torch.tensor([[0.0, 1.0]]).repeat(12, 1)
    expected = sum(max(0.0, (float(a) - float(b)) ** 2 - 0.05) for a, b in offer[:10]) / 10
    assert locality_consistency(trigger, form, offer, margin=0.05).tolist() == pytest.approx([expected] * 12, abs=1e-6)


def test_a_form_equal_to_its_product_has_no_locality_loss() -> None:
    offer = torch.nn.functional.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    assert locality_consistency(offer, offer, offer, margin=0.0).tolist() == [0.0] * 12


def test_locality_consistency_needs_ten_pairs() -> None:
    with pytest.raises(ValueError, match="at least 10 pairs, got 2"):
        locality_consistency(TRIGGER, TRIGGER, OFFER)
