import math

import numpy as np
import pytest

from instance_seg_ros.learning.evaluation.objects import object_facts, occlusion


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((48, 64), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("nearer", "share"),
    [
        ((0, 0, 0, 0), 0.0),
        ((20, 0, 30, 48), 10 / 36),  # to its right
        ((0, 0, 10, 48), 10 / 36),
        ((0, 0, 64, 10), 10 / 36),
        ((0, 20, 64, 30), 10 / 36),
        ((21, 0, 30, 48), 0.0),  # a pixel between
        ((0, 0, 9, 48), 0.0),
        ((0, 0, 64, 9), 0.0),
        ((0, 21, 64, 30), 0.0),
    ],
)
def test_the_hidden_outline_is_that_beside_something_nearer(nearer: tuple[int, int, int, int], share: float) -> None:
    """Of a square of 10 pixels at 1 m on a table at 1.1 m; what covers the rest is at 0.8 m."""
    depth_m = np.full((48, 64), 1.1, np.float32)
    mask = square(10, 10, 20, 20)
    depth_m[mask] = 1.0
    depth_m[square(*nearer)] = 0.8
    assert occlusion(mask, depth_m) == pytest.approx(share)


@pytest.mark.parametrize(
    ("own_m", "nearer_m", "hidden"),
    [
        (0.4, 0.391, False),  # less than a centimetre
        (0.4, 0.389, True),
        (1.0, 0.985, False),  # less than 2 % of the depth
        (1.0, 0.975, True),
        (2.0, 1.97, False),
        (2.0, 1.95, True),
    ],
)
def test_what_hides_is_nearer_by_a_centimetre_and_2_percent_of_the_depth(
    own_m: float, nearer_m: float, hidden: bool
) -> None:
    depth_m = np.full((48, 64), nearer_m, np.float32)
    mask = square(10, 10, 20, 20)
    depth_m[mask] = own_m
    assert occlusion(mask, depth_m) == (1.0 if hidden else 0.0)


def test_what_the_border_cuts_off_counts_neither_as_hidden_nor_as_seen() -> None:
    depth_m = np.full((48, 64), 1.1, np.float32)
    mask = square(0, 0, 10, 10)
    depth_m[mask] = 1.0
    depth_m[:, 10:20] = 0.8
    assert occlusion(mask, depth_m) == pytest.approx(10 / 19)


def test_a_table_that_comes_nearer_towards_the_camera_hides_nothing() -> None:
    depth_m = np.repeat(np.linspace(1.2, 0.8, 48, dtype=np.float32)[:, None], 64, axis=1)
    assert occlusion(square(10, 10, 20, 20), depth_m) == 0


def test_facts_of_an_object() -> None:
    mask = square(0, 0, 32, 24)
    measured_m = np.where(mask, np.float32(0.9), np.float32(0))
    facts = object_facts(mask[None], measured_m, None)[0]
    assert facts.image_share == 0.25
    assert facts.distance_m == pytest.approx(0.9)
    assert math.isnan(facts.occlusion)


def test_an_object_without_depth_has_no_distance() -> None:
    nothing_m = np.zeros((48, 64), np.float32)
    assert math.isnan(object_facts(square(0, 0, 9, 9)[None], nothing_m, None)[0].distance_m)


def test_pieces_and_thickness() -> None:
    depth_m = np.ones((48, 64), np.float32)
    cut = square(0, 0, 20, 10) | square(30, 0, 40, 10) | square(50, 40, 53, 44)  # the last one is below a twentieth
    pen = square(5, 20, 60, 23)
    facts = object_facts(np.stack([cut, pen]), depth_m, depth_m)
    assert [fact.pieces for fact in facts] == [2, 1]
    assert facts[0].thickness_share == pytest.approx(9 / 64, abs=1.01 / 64)
    assert facts[1].thickness_share == pytest.approx(3 / 64)
