"""scripts/latency.py, of which only the printing is tested here: the rest is processes that take a minute."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

SCRIPT = Path(__file__).parents[2] / "scripts" / "latency.py"


def test_ages_are_told_in_forward_passes_and_by_stage_and_a_rate_without_answers_has_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("latency", SCRIPT)
    assert spec is not None and spec.loader is not None
    latency = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, latency)
    spec.loader.exec_module(latency)

    answers = [
        latency.Answers(10.0, np.array([40.0, 50.0, 60.0]), {"segment": 20.0, "lift": 7.0}, 8.0),
        latency.Answers(30.0, np.array([]), {}, 7.0),
    ]
    latency.report(answers, {None: [20.0, 25.0], 10.0: [25.0, 25.0]})

    printed = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    assert lines[0][2:] == [
        "p99 ms",
        "in passes in a row",
        "in passes at 10 Hz",
        "segment ms",
        "lift ms",
        "rest ms",
        "objects",
        "answers",
    ]
    assert lines[2] == ["10", "50.0", "59.8", "2.22", "2.00", "20.0", "7.0", "23.0", "8.0", "3"]
    assert lines[3] == ["30", "none"] + [""] * 8
    assert "at 10 Hz: 25.0 ms" in printed
