"""The plot of the training log."""

from __future__ import annotations

from shopwindow.towers.training.curves import draw
from shopwindow.towers.training.log import RECALL


def test_every_part_is_drawn_over_the_steps_that_have_it() -> None:
    lines: list[dict[str, float]] = [
        {"step": 0, "loss": 5.0, "contrast": 3.0, "words": 2.0, "learning_rate": 0.1},
        {"step": 20, "loss": 4.0, "contrast": 3.5, "patches": 0.5, "learning_rate": 0.2},
        {"step": 29, RECALL: 0.7},
        {"step": 40, "loss": 3.0, "contrast": 2.75, "patches": 0.25, "learning_rate": 0.1},
    ]
    losses, recalls = draw(lines).axes
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in losses.lines}
    assert drawn == {
        "loss": ([0, 20, 40], [5.0, 4.0, 3.0]),
        "contrast": ([0, 20, 40], [3.0, 3.5, 2.75]),
        "words": ([0], [2.0]),
        "patches": ([20, 40], [0.5, 0.25]),
    }
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in recalls.lines] == [([29], [0.7])]
