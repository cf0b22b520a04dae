from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.learning.datasets.prints import PrintSettings, paint_prints

ALWAYS = PrintSettings(probability=1.0, object_probability=1.0, background_probability=1.0)
GREY = np.full((96, 128, 3), 128, np.uint8)


def scene() -> np.ndarray:
    ids = np.zeros((96, 128), np.uint8)
    ids[20:60, 10:50], ids[30:90, 60:120], ids[0, 127] = 1, 200, 3
    return ids


def painted(settings: PrintSettings, seed: int, ids: np.ndarray | None = None) -> np.ndarray:
    return paint_prints(GREY, scene() if ids is None else ids, np.random.default_rng(seed), settings)


@pytest.mark.parametrize("seed", range(12))
def test_objects_and_background_get_prints_and_the_picture_given_stays(seed: int) -> None:
    ids = scene()
    changed = (painted(ALWAYS, seed) != GREY).any(axis=2)
    assert changed[ids == 1].any() or changed[ids == 200].any()
    assert (GREY == 128).all()


def test_what_is_not_to_be_printed_stays_as_it_was() -> None:
    ids = scene()
    objects = [painted(PrintSettings(1.0, 1.0, 0.0), seed) != GREY for seed in range(12)]
    ground = [painted(PrintSettings(1.0, 0.0, 1.0), seed) != GREY for seed in range(12)]
    assert not np.any([changed[ids == 0] for changed in objects])
    assert not np.any([changed[ids > 0] for changed in ground])
    assert np.any(objects)
    assert np.any(ground)
    assert (painted(PrintSettings(probability=0.0), 0) == GREY).all()


def test_the_same_random_state_paints_the_same() -> None:
    assert (painted(ALWAYS, 4) == painted(ALWAYS, 4)).all()
    assert (painted(ALWAYS, 4) != painted(ALWAYS, 5)).any()
