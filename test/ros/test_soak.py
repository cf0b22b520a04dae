"""The node for half an hour at 30 Hz with a fault every 20 seconds: only when asked for, `pytest -m soak`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("rclpy")

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("megabytes", "growth"),
    [
        ([360.0] * 60, 0.0),
        ([360.0, 364.0, 357.0, 361.0, 359.0, 364.0] * 10, 0.0),
        ([360.0] * 5 + [250.0, 280.0, 360.0, 362.0, 360.0, 360.0] * 10 + [250.0], 0.0),
        ([360.0 + 0.5 * index for index in range(60)], 389.5 / 369.5 - 1),
        ([360.0 + 0.5 * index - 100.0 * (index % 6 == 0) for index in range(60)], 389.5 / 369.5 - 1),
        ([360.0] * 30 + [350.0] * 30, 350 / 360 - 1),
        ([360.0, 369.0], 0.025),
    ],
    ids=["none", "up and down", "restarts", "a leak", "a leak beside restarts", "less", "cut short"],
)
def test_memory_grew_by_what_its_highest_became_higher(megabytes: list[float], growth: float, soak: ModuleType) -> None:
    assert soak.growth_of(megabytes) == pytest.approx(growth, abs=1e-9)


def test_memory_that_a_process_takes_for_itself_is_its_own(soak: ModuleType) -> None:
    before = soak.usage_of(os.getpid())
    taken = np.ones(50_000_000, dtype=np.uint8)  # no bytes of its own on the way, which malloc might keep
    more = soak.usage_of(os.getpid())
    assert more.megabytes - before.megabytes == pytest.approx(len(taken) / 1e6, abs=5)
    assert (more.threads, more.handles) == (before.threads, before.handles)


@pytest.mark.soak
def test_nothing_is_lost_in_half_an_hour() -> None:
    found = subprocess.run([sys.executable, str(SOAK)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
