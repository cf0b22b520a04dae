"""Lifting on scenes that share no code with it or with its benchmark: MuJoCo's bodies, rays and centres."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def judge() -> ModuleType:
    path = Path(__file__).with_name("mujoco_scenes.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    judge = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = judge  # dataclasses look their module up
    spec.loader.exec_module(judge)
    return judge


def test_whole_primitives_on_a_table_are_where_mujoco_says(judge: ModuleType) -> None:
    found = [each for each in judge.errors(6, seed=1) if each[0].kind == "spread" and each[0].visible >= 0.95]

    assert len(found) >= 10
    off_m, sides = np.array([each[2] for each in found]), np.abs([each[3] for each in found])
    assert np.median(off_m) < 0.004
    assert np.median(sides) < 0.03
    assert np.mean([judge.sigmas(*each[:2]) < 3 for each in found]) > 0.85, "what is far off says so"
    assert np.mean([judge.sides_in_bounds(*each[:2]) for each in found]) > 0.85


def test_what_carries_an_object_by_the_forces_of_contacts_is_named(judge: ModuleType) -> None:
    stood, removal = judge.supports(6, seed=1)
    assert len(stood) >= 25 and len(removal.free) >= 10
    assert np.mean(removal.free) > 0.8
    assert np.mean([told is not None and truth.carried.get(told, 0) >= judge.CARRIES for truth, told, _ in stood]) > 0.9
