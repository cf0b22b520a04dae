"""The loss curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.learning.training.curve import TERMS, plot_losses, smoothed


@pytest.mark.parametrize(
    ("values", "window", "expected"),
    [
        ([1.0, 3.0, 8.0, 4.0], 2, [2.0, 5.5, 6.0]),
        ([1.0, 3.0, 8.0], 3, [4.0]),
        ([1.0, 3.0], 3, [1.0, 3.0]),
        ([1.0, 3.0], 1, [1.0, 3.0]),
    ],
)
def test_a_curve_is_smoothed_by_a_moving_average(values: list[float], window: int, expected: list[float]) -> None:
    assert smoothed(np.array(values), window).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("left_out", [(), ("neighbours",)], ids=["every loss", "a loss that is newer than the log"])
def test_every_loss_of_a_log_is_drawn_over_the_steps(
    left_out: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "close", lambda figure: None)
    losses = {name: 1.0 + place for place, name in enumerate(TERMS) if name not in left_out}
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"step": 10 * line, **losses}) + "\n" for line in range(1, 121)))
    plot_losses(log, tmp_path / "curve.png")

    (axes,) = plt.gcf().axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    # 120 steps are drawn as means of two.
    assert drawn == {name: [[step, value] for step in range(20, 1201, 10)] for name, value in losses.items()}
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_a_log_without_a_line_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").touch()
    plot_losses(tmp_path / "log.jsonl", tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()
