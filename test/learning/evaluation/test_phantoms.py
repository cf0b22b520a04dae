from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.learning.evaluation.phantoms import BareSurfaces, Surface, moved_to_bare_surface, on_no_object
from instance_seg_ros.learning.synthetic.sensors.sensor import preset, simulate_depth

CAMERA = Intrinsics(320, 240, 280.0, 280.0, 159.5, 119.5)
SENSORS = ("ideal", "structured_light", "active_stereo", "time_of_flight")


def table_m(elevation_deg: float = 40.0, distance_m: float = 0.9) -> np.ndarray:
    """(240, 320) depth of a table that fills the image, seen from an elevation, `distance_m` away at the middle."""
    slope = np.tan(np.deg2rad(90 - elevation_deg))
    return (distance_m / (1 + slope * (np.arange(240.0) - 119.5) / 280.0)).repeat(320).reshape(240, 320)


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((240, 320), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def judged(depth_m: np.ndarray, mask: np.ndarray, sensor: str = "structured_light", seed: int = 5) -> Surface:
    settings = preset(sensor, surface_losses=0.0)
    rng = np.random.default_rng(seed)
    measured_m = simulate_depth(depth_m.astype(np.float32), CAMERA.fx, rng, settings)
    return BareSurfaces(RgbdFrame(None, measured_m, CAMERA), ~mask).judge(mask)


PLACES = [box(40, 60, 80, 90), box(150, 110, 170, 125), box(200, 150, 300, 220), box(0, 0, 60, 40)]


@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("elevation_deg", [35.0, 60.0, 85.0])
def test_a_mask_on_a_bare_table_is_bare(sensor: str, elevation_deg: float) -> None:
    surfaces = [judged(table_m(elevation_deg), mask, sensor, seed) for mask in PLACES for seed in range(5)]
    # Of 20: at the corner of the image, where the table is far, there is a ring on two sides only.
    assert surfaces.count(Surface.BARE) >= 17


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_book_of_2_cm_stands_out(sensor: str) -> None:
    for mask in PLACES:
        depth_m = table_m(60.0)
        depth_m[mask] -= 0.02 / np.sin(np.deg2rad(60.0))
        assert judged(depth_m, mask, sensor) is Surface.STANDS_OUT


def test_paper_is_bare() -> None:
    depth_m = table_m(60.0)
    depth_m[PLACES[0]] -= 0.0005
    assert judged(depth_m, PLACES[0]) is Surface.BARE


@pytest.mark.parametrize(
    ("raised_share", "surface"),
    [(0.1, Surface.BARE), (0.35, Surface.STANDS_OUT), (0.6, Surface.STANDS_OUT)],
)
def test_a_mask_of_which_a_good_part_stands_out_is_not_bare(raised_share: float, surface: Surface) -> None:
    mask = box(200, 150, 300, 220)
    depth_m = table_m(60.0)
    depth_m[150:220, 300 - round(100 * raised_share) : 300] -= 0.05
    assert BareSurfaces(RgbdFrame(None, depth_m.astype(np.float32), CAMERA), ~mask).judge(mask) is surface


def test_a_mask_over_the_line_where_wall_and_table_meet_is_bare() -> None:
    # Beyond row 100 the table ends at a wall straight ahead.
    depth_m = np.minimum(table_m(30.0), table_m(30.0)[100, 0])
    assert judged(depth_m, box(100, 80, 160, 130)) is Surface.BARE


def test_a_box_that_leans_on_the_wall_stands_out() -> None:
    depth_m = np.minimum(table_m(30.0), table_m(30.0)[100, 0])
    mask = box(100, 60, 150, 120)
    depth_m[mask] = depth_m[119, 0]
    assert judged(depth_m, mask) is Surface.STANDS_OUT


def test_floor_seen_between_two_near_things_is_bare_as_it_shows_elsewhere() -> None:
    depth_m = np.full((240, 320), 1.5)
    near = box(80, 40, 240, 200)
    hole = box(120, 80, 200, 160)
    depth_m[near & ~hole] = 0.8
    assert judged(depth_m, hole) is Surface.BARE


def test_without_depth_nothing_can_be_said() -> None:
    frame = RgbdFrame(None, np.zeros((240, 320), np.float32), CAMERA)
    assert BareSurfaces(frame, ~PLACES[0]).judge(PLACES[0]) is Surface.UNMEASURED
    depth_m = table_m().astype(np.float32)
    depth_m[PLACES[0]] = 0
    assert BareSurfaces(RgbdFrame(None, depth_m, CAMERA), ~PLACES[0]).judge(PLACES[0]) is Surface.UNMEASURED


def test_with_no_background_nothing_is_bare() -> None:
    frame = RgbdFrame(None, table_m().astype(np.float32), CAMERA)
    assert BareSurfaces(frame, np.zeros((240, 320), dtype=bool)).judge(PLACES[0]) is Surface.STANDS_OUT


def test_predictions_on_no_object_have_less_than_a_tenth_of_their_pixels_on_one() -> None:
    objects = box(0, 0, 10, 10)
    predicted = np.stack([box(0, 0, 10, 10), box(9, 0, 19, 10), box(9, 0, 20, 10), box(100, 0, 110, 10)])
    assert on_no_object(objects, predicted).tolist() == [False, False, True, True]
    assert on_no_object(objects, predicted[:0]).tolist() == []


def test_a_mask_moves_to_background_that_is_flat() -> None:
    depth_m = table_m(60.0).astype(np.float32)
    depth_m[:, 160:] -= 0.2 + 0.05 * np.sin(np.arange(160, dtype=np.float32))  # corrugated
    mask = box(200, 100, 230, 120)
    clean = RgbdFrame(None, depth_m, CAMERA)
    moved = moved_to_bare_surface(mask, clean, ~mask, np.random.default_rng(0))
    assert moved is not None
    assert moved.sum() == mask.sum()
    assert not moved[:, 161:].any()
    assert moved_to_bare_surface(mask, clean, mask, np.random.default_rng(0)) is None
