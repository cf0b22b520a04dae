"""scripts/latency.py, of which only the printing is tested here: the rest is processes that take a minute."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

SCRIPT = Path(__file__).parents[2] / "scripts" / "latency.py"


def test_a_rate_without_answers_that_count_is_said_to_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("latency", SCRIPT)
    assert spec is not None and spec.loader is not None
    latency = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(latency)

    latency.report([(10.0, np.array([40.0, 50.0, 60.0]), 8.0), (30.0, np.array([]), 7.0)], [20.0, 25.0])

    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert lines[2] == ["10", "50.0", "59.8", "2.22", "3", "8.0"]
    assert lines[3] == ["30", "none", "none", "", "0", "7.0"]
