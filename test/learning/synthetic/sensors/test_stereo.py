from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance
from instance_seg_ros.learning.synthetic.pictures.render import DAYLIGHT, RayCaster
from instance_seg_ros.learning.synthetic.poses import pose
from instance_seg_ros.learning.synthetic.rooms.scene import sample_scene
from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.learning.synthetic.sensors.stereo import disparities, match, passive_stereo
from instance_seg_ros.learning.synthetic.store import SynthSettings, generate_store, open_store

FX, BASELINE_M = 500.0, 0.05
DOWN = np.diag([1.0, -1.0, -1.0])
"""Rotation of a camera that looks straight down."""


def textured(width: int, height: int = 120) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (3, 3), 0))


@pytest.mark.parametrize("shift_px", [10, 25, 60])
def test_depth_follows_from_the_shift_between_the_images(shift_px: int) -> None:
    scene = textured(400 + shift_px)
    # What the left camera sees at x, the right one sees at x - shift.
    depth_m = match(scene[:, :400], scene[:, shift_px:], FX, BASELINE_M)
    seen = depth_m[10:-10, disparities(FX, BASELINE_M) + 10 : -10]
    assert (seen > 0).mean() > 0.95
    assert np.median(seen[seen > 0]) == pytest.approx(FX * BASELINE_M / shift_px, rel=0.01)


def test_a_bare_surface_has_no_depth() -> None:
    grey = np.full((120, 400), 128, np.uint8)
    assert not match(grey, grey, FX, BASELINE_M).any()


def test_images_of_different_things_give_hardly_any_depth() -> None:
    left, right = textured(400), textured(400)[::-1, ::-1].copy()
    assert (match(left, right, FX, BASELINE_M) > 0).mean() < 0.1


def test_disparities_reach_down_to_30_cm_in_whole_blocks() -> None:
    assert disparities(500.0, 0.05) == 96  # 83.3
    assert disparities(480.0, 0.04) == 64


def test_a_generated_scene_is_measured_where_it_has_texture() -> None:
    rng = np.random.default_rng(4)
    scene = sample_scene(rng, ("box",), 4, "floor")
    caster = RayCaster(scene.placed())
    T, camera = pose((0.0, 0.0, 0.9), DOWN), Intrinsics(160, 120, 140.0, 140.0, 79.5, 59.5)
    clean_m = caster.cast(camera, T).depth_m
    measured_m = passive_stereo(caster, DAYLIGHT, camera, T, 0.06, rng)
    assert measured_m.shape == clean_m.shape
    matched = measured_m > 0
    assert matched.mean() > 0.2
    assert np.median(np.abs(measured_m - clean_m)[matched]) < 0.03


def slope_error(angle_deg: float) -> float:
    """Median relative error of the depth of a board that is turned about the image's columns, 1 m away."""
    look = Appearance("noise", (0.6, 0.5, 0.4), seed=3, tile_m=0.15, size=256)
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turned = pose((0.0, 0.0, 0.0), np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]))
    caster = RayCaster([Placed(ObjectShape("board", box_mesh((1.5, 1.0, 0.01)), ()), turned, 0, look)])
    T, camera = pose((0.0, 0.0, 1.0), DOWN), Intrinsics(160, 120, 200.0, 200.0, 79.5, 59.5)
    clean_m = caster.cast(camera, T).depth_m
    measured_m = passive_stereo(caster, DAYLIGHT, camera, T, 0.06, np.random.default_rng(0))
    matched = (measured_m > 0) & (clean_m > 0)
    assert matched.mean() > 0.3
    return float(np.median(measured_m[matched] / clean_m[matched])) - 1.0


def test_slopes_are_measured_where_the_depth_image_sees_them() -> None:
    # Too far on one slope and too near on its mirror image is what a shift would make: 0.002 for a quarter of a pixel.
    assert abs(slope_error(60.0) - slope_error(-60.0)) / 2 < 0.0008


SETTINGS: dict[str, Any] = {"frames": 1, "views": 1, "width": 64, "height": 48, "max_objects": 2, "families": "box"}


def test_stereo_changes_nothing_else_of_a_store(tmp_path: Path) -> None:
    plain = open_store(generate_store(SynthSettings(**SETTINGS), tmp_path / "plain", progress=False))
    stereo = open_store(
        generate_store(SynthSettings(**SETTINGS, stereo_baseline_m=0.05), tmp_path / "stereo", progress=False)
    )
    np.testing.assert_array_equal(stereo.depth, plain.depth)
    assert stereo.stereo_depth_m(0).shape == (48, 64)
    with pytest.raises(ValueError, match="no passive stereo; make one with"):
        plain.stereo_depth_m(0)


def test_a_store_of_before_there_was_stereo_can_be_finished(tmp_path: Path) -> None:
    settings = SynthSettings(**SETTINGS)
    path = generate_store(settings, tmp_path / "store", progress=False) / "meta.json"
    meta = json.loads(path.read_text())
    del meta["generator"]["stereo_baseline_m"]
    path.write_text(json.dumps(meta))
    generate_store(settings, tmp_path / "store", progress=False)
    assert open_store(tmp_path / "store").stereo_depth is None
    with pytest.raises(ValueError, match="other settings \\(stereo_baseline_m\\)"):
        generate_store(SynthSettings(**SETTINGS, stereo_baseline_m=0.1), tmp_path / "store", progress=False)
