"""The node for half an hour at 30 Hz with a fault every 20 seconds: only when asked for, `pytest -m soak`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"


@pytest.mark.soak
def test_nothing_is_lost_in_half_an_hour() -> None:
    found = subprocess.run([sys.executable, str(SOAK)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
