"""The contrast equals numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from shopwindow.towers.objectives.contrast import contrast

COSINE = torch.tensor([[0.6, 0.0, 0.4]])
OWN = torch.tensor([[True, False, False]])
NONE = torch.zeros(1, 3, dtype=torch.bool)


def test_am_softmax_is_the_formula() -> None:
    # s = 2, m = 0.1: the positive gives 2 * 0.5 = 1, the others 0 and 0.8. -1 + ln(e^1 + e^0 + e^0.8).
    expected = -1 + math.log(math.e + 1 + math.exp(0.8))
    assert contrast(COSINE, OWN, NONE, scale=2.0, margin=0.1).item() == pytest.approx(expected, abs=1e-6)


def test_softmax_has_no_margin() -> None:
    expected = -1.2 + math.log(math.exp(1.2) + 1 + math.exp(0.8))
    assert contrast(COSINE, OWN, NONE, kind="softmax", scale=2.0, margin=0.1).item() == pytest.approx(expected)


def test_sigmoid_judges_each_pair_alone() -> None:
    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    expected = softplus(-2 * 0.5) + (softplus(2 * -0.1) + softplus(2 * 0.3)) / 2
    assert contrast(COSINE, OWN, NONE, kind="sigmoid", scale=2.0, margin=0.1).item() == pytest.approx(expected)


def test_several_positives_do_not_compete_with_each_other() -> None:
    both = torch.tensor([[True, False, True]])
    # Each competes with the one negative at 0: mean of ln(1 + e^-(2 * 0.5)) and ln(1 + e^-(2 * 0.3)).
    expected = (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(-0.6))) / 2
    assert contrast(COSINE, both, NONE, scale=2.0, margin=0.1).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["am_softmax", "softmax", "sigmoid"])
def test_ignored_candidates_do_not_count(kind: str) -> None:
    ignored = torch.tensor([[False, False, True]])
    without = contrast(COSINE[:, :2], OWN[:, :2], NONE[:, :2], kind=kind)
    assert contrast(COSINE, OWN, ignored, kind=kind).item() == pytest.approx(without.item())


@pytest.mark.parametrize("kind", ["am_softmax", "softmax"])
def test_rows_without_positives_or_negatives_have_no_loss_and_finite_gradients(kind: str) -> None:
    cosine = torch.tensor([[0.6, 0.2], [0.1, 0.3]], requires_grad=True)
    positive = torch.tensor([[True, False], [False, False]])
    ignored = torch.tensor([[False, True], [False, False]])
    losses = contrast(cosine, positive, ignored, kind=kind)
    assert losses.tolist() == [0.0, 0.0]
    losses.sum().backward()
    assert cosine.grad is not None and torch.isfinite(cosine.grad).all()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'hinge'"):
        contrast(COSINE, OWN, NONE, kind="hinge")
