"""AM-Softmax against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from towers.losses import am_softmax

ANCHORS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
CANDIDATES = torch.tensor([[0.6, 0.8], [0.0, 1.0]])  # cosines: [[0.6, 0.0], [0.8, 1.0]]
NONE_KNOWN = torch.eye(2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("scale", "margin", "expected"),
    [
        # Row 0: own 0.6 against 0.0. Row 1: own 1.0 against 0.8. Loss = ln(1 + e^-(s (own - m - other))).
        (1.0, 0.0, [0.4374880, 0.5981389]),  # ln(1 + e^-0.6), ln(1 + e^-0.2)
        (2.0, 0.1, [0.3132617, 0.5981389]),  # ln(1 + e^-1.0), ln(1 + e^-0.2)
        (2.0, 0.6, [0.6931472, 1.1711007]),  # ln(1 + e^0),    ln(1 + e^0.8)
        (10.0, 0.0, [0.0024757, 0.1269280]),  # ln(1 + e^-6),  ln(1 + e^-2)
    ],
)
def test_the_loss_is_the_formula(scale: float, margin: float, expected: list[float]) -> None:
    losses = am_softmax(ANCHORS, CANDIDATES, NONE_KNOWN, scale=scale, margin=margin)
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_known_positive_is_no_negative() -> None:
    known = torch.tensor([[True, False], [True, True]])  # candidate 0 answers anchor 1 too
    losses = am_softmax(ANCHORS, CANDIDATES, known, scale=2.0, margin=0.1)
    assert losses.tolist() == pytest.approx([0.3132617, 0.0], abs=1e-6)


def test_with_every_candidate_known_nothing_is_left_to_learn() -> None:
    losses = am_softmax(ANCHORS, CANDIDATES, torch.ones(2, 2, dtype=torch.bool))
    assert losses.tolist() == [0.0, 0.0]


def test_three_candidates_share_one_sum() -> None:
    # One anchor along x; cosines 0.6 (own), 0.0, 0.8; scale 1, no margin: ln(1 + e^-0.6 + e^0.2) for row 0.
    anchors = torch.tensor([[1.0, 0.0]]).repeat(3, 1)
    candidates = torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.8, 0.6]])
    known = torch.eye(3, dtype=torch.bool)
    losses = am_softmax(anchors, candidates, known, scale=1.0, margin=0.0)
    assert losses[0].item() == pytest.approx(1.0190, abs=1e-4)


def test_gradients_stay_finite_beside_known_positives() -> None:
    anchors = ANCHORS.clone().requires_grad_()
    am_softmax(anchors, CANDIDATES, torch.ones(2, 2, dtype=torch.bool)).sum().backward()
    assert anchors.grad is not None
    assert torch.isfinite(anchors.grad).all()
