"""The points of objects on planes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from small_camera import CAMERA, depth_of_plane

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.lifting.kept_points import kept_points, rim_beside
from instance_seg_ros.lifting.local_planes import grown_over_surface


@pytest.mark.parametrize("normal", [[0, 0, -1], [0.5, 0.2, -1], [-0.8, 0.6, -1], [0, -2, -1]])
def test_normals_are_those_of_the_surface_and_look_at_the_camera(normal: list[float]) -> None:
    unit = np.array(normal) / np.linalg.norm(normal)
    depth_m = depth_of_plane(unit, -0.8 * abs(unit[2]))
    keep = np.ones(depth_m.shape, dtype=bool)
    kept = kept_points(depth_m, keep, 3, (0.004, 0.007), (0, 0), CAMERA, ~keep)
    assert len(kept.normals) > 500 and (kept.normals @ unit).min() > np.cos(np.radians(1))


def test_kept_points_lie_on_their_planes_and_their_outline_is_spread_evenly() -> None:
    unit = np.array([0.0, -0.6, -0.8])
    depth_m = depth_of_plane(unit, -0.5)
    noisy_m = depth_m + np.random.default_rng(0).normal(0, 0.001, depth_m.shape).astype(np.float32)
    noisy_m[:, 50] += 0.1  # far behind, inside the mask
    inside = np.zeros(depth_m.shape, dtype=bool)
    inside[5:35, 4:56] = True
    core = inside & (np.arange(60) < 40)
    corner_px, camera = (100, 200), Intrinsics(640, 480, 80.0, 90.0, 129.5, 219.5)
    grown = grown_over_surface(noisy_m, inside, core, 5, (0.004, 0.007))
    kept = kept_points(noisy_m, grown, 5, (0.004, 0.007), corner_px, camera, ~inside)
    rows, columns = np.divmod(kept.pixels, 640)
    here = rows - 200, columns - 100
    assert inside[here].all() and len(kept.pixels) > np.count_nonzero(core)
    assert not (here[1] == 50).any() and here[1].max() >= 43
    np.testing.assert_array_equal(kept.points_m[:, 2], noisy_m[here])
    off_m, *smooth_off_m = (
        np.median(abs(points_m @ unit + 0.5)) for points_m in (kept.points_m, kept.few_m, kept.outline_m)
    )
    assert max(smooth_off_m) < off_m / 2
    rays = (columns - 129.5) / 80, (rows - 219.5) / 90
    np.testing.assert_allclose(kept.points_m[:, :2].T / kept.points_m[:, 2], rays, atol=1e-6)
    assert (kept.normals @ unit).min() > 0.98
    assert 500 < len(kept.outline_m) < 800
    assert 200 < len(kept.few_m) <= 300
    few = slice(None, None, -(-len(kept.pixels) // len(kept.few_m)))  # on the same lines of sight
    np.testing.assert_allclose(kept.few_m[:, :2] / kept.few_m[:, 2:], np.array(rays).T[few], atol=1e-6)
    of_outline = kept.outline_m[:, 1::-1] / kept.outline_m[:, 2:] * [90, 80] + [19.5, 29.5]
    of_rows, of_columns = (np.bincount(each) for each in np.rint(of_outline).astype(int).T)
    assert (of_rows[6:34] > 10).all() and (of_columns[5:44] > 8).all()


@pytest.mark.parametrize("side_px", [20, 44, 60, 110])
@pytest.mark.parametrize("first", [0, 1])
def test_masks_like_chessboards_have_an_outline(side_px: int, first: int) -> None:
    depth_m = np.full((side_px, side_px), 0.5, dtype=np.float32)
    rows, columns = np.indices(depth_m.shape)
    mask = (rows + columns) % 2 == first
    camera = Intrinsics(640, 480, 80.0, 90.0, 129.5, 219.5)
    kept = kept_points(depth_m, mask, 3, (0.004, 0.007), (100, 200), camera, np.zeros_like(mask))
    assert len(kept.pixels) == side_px**2 // 2
    assert min(len(kept.pixels), 400) <= len(kept.outline_m) <= 800


SLANTED, GRAZING = np.array([-0.6, 0.0, -0.8]), np.array([4.0, 0.0, -1.0]) / 17**0.5
"""Normals of planes on which neighbouring columns are 1.7 mm apart, and 5 mm."""


def columns_of(points_m: np.ndarray) -> list[int]:
    return np.unique(np.rint(points_m[:, 0] / points_m[:, 2] * CAMERA.fx + CAMERA.cx)).astype(int).tolist()


@pytest.mark.parametrize(
    ("unit", "kept_until", "mask_until", "depth_beyond", "rim"),
    [
        (SLANTED, 28, 28, False, []),
        (SLANTED, 27, 28, False, []),  # the last pixels of a mask are not trusted
        (SLANTED, 25, 28, False, [25, 26]),
        (SLANTED, 20, 28, False, [20, 21]),  # 4 mm
        (SLANTED, 25, 28, True, []),  # something else was measured there
        (GRAZING, 28, 34, False, []),
    ],
)
def test_a_surface_goes_on_a_little_in_pixels_of_the_mask_without_depth(
    unit: np.ndarray, kept_until: int, mask_until: int, depth_beyond: bool, rim: list[int]
) -> None:
    offset_m = 0.1 * unit[2]
    depth_m = depth_of_plane(unit, offset_m)
    inside, kept = np.zeros((2, *depth_m.shape), dtype=bool)
    inside[5:35, 4:mask_until] = kept[5:35, 4:kept_until] = True
    if not depth_beyond:
        depth_m[~kept] = 0
    found = rim_beside(depth_m, inside, kept, 0.1, CAMERA.fx)
    rim_m = kept_points(depth_m, kept, 5, (0.004, 0.007), (0, 0), CAMERA, found).rim_m
    assert columns_of(rim_m) == rim
    assert len(rim_m) == 28 * len(rim)
    np.testing.assert_allclose(rim_m @ unit, offset_m, atol=1e-5)


def test_between_an_edge_and_the_background_under_a_generous_mask_nothing_goes_on() -> None:
    depth_m = np.zeros((40, 60), np.float32)
    depth_m[5:35, 4:20], depth_m[5:35, 23:40] = 0.1, 0.12
    inside = np.zeros(depth_m.shape, dtype=bool)
    inside[5:35, 4:40] = True
    found = rim_beside(depth_m, inside, depth_m > 0, 0.1, CAMERA.fx)
    assert np.unique(np.nonzero(found)[1]).tolist() == [20, 21, 22]
    assert columns_of(kept_points(depth_m, depth_m > 0, 5, (0.004, 0.007), (0, 0), CAMERA, found).rim_m) == []
