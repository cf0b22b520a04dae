"""Completed shapes: walls under an outline against closed forms, and what a shape refuses."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox, Transform, length
from instance_seg_ros.lifting import shape_kernels
from instance_seg_ros.lifting.shape import CompletedShape, outline_walls


def test_outline_of_a_block_is_four_walls_from_top_to_bottom() -> None:
    grid = np.stack(np.meshgrid(np.arange(-0.03, 0.0301, 0.001), np.arange(-0.02, 0.0201, 0.001)), axis=-1)
    top_m = np.column_stack([grid.reshape(-1, 2), np.full(grid.size // 2, 0.05)])
    walls_m, normals = outline_walls(top_m, 0.05)
    assert np.abs(walls_m[:, 0]).max() == pytest.approx(0.03, abs=0.003)
    assert walls_m[:, 2].min() < 0.006 and walls_m[:, 2].max() < 0.05 and len(np.unique(walls_m[:, 2])) >= 6
    right = (walls_m[:, 0] > 0.026) & (np.abs(walls_m[:, 1]) < 0.012)
    assert (normals[right, 0] > 0.95).all() and right.sum() > 20
    assert (normals[:, 2] == 0).all()


def test_a_ring_has_an_outline_inside() -> None:
    angles, radii = np.meshgrid(np.radians(np.arange(0, 360, 2)), np.linspace(0.035, 0.055, 20))
    top_m = np.column_stack(
        [(radii * np.cos(angles)).ravel(), (radii * np.sin(angles)).ravel(), np.full(angles.size, 0.02)]
    )
    walls_m, normals = outline_walls(top_m, 0.02)
    inner = np.linalg.norm(walls_m[:, :2], axis=1) < 0.04
    inwards = -(walls_m[inner, :2] * normals[inner, :2]).sum(axis=1) / np.linalg.norm(walls_m[inner, :2], axis=1)
    assert inner.sum() > 50 and np.percentile(inwards, 10) > 0.9


def top_of(height_at: Callable[[np.ndarray], np.ndarray], radius_m: float) -> np.ndarray:
    """(N, 3) points every millimetre on what lies over the origin, by its height at a distance from there."""
    x, y = np.meshgrid(*[np.arange(-radius_m, radius_m + 1e-6, 0.001)] * 2)
    distance_m = np.hypot(x, y).ravel()
    inside = distance_m <= radius_m
    return np.column_stack([x.ravel(), y.ravel(), height_at(distance_m)])[inside]


@pytest.mark.parametrize(
    ("height_at", "leans_deg"),
    [
        pytest.param(lambda r: np.full(len(r), 0.008), (0, 8), id="a disc has upright sides"),
        pytest.param(lambda r: 0.015 * (1 - (r / 0.03) ** 2), (28, 75), id="a lens has none"),
        pytest.param(lambda r: np.minimum(0.01, 2.5 * (0.03 - r)), (0, 25), id="a steep edge is within friction"),
    ],
)
def test_walls_of_thin_bodies_lean_as_their_outlines_do(
    height_at: Callable[[np.ndarray], np.ndarray], leans_deg: tuple[float, float]
) -> None:
    top_m = top_of(height_at, 0.03)
    _, normals = outline_walls(top_m, float(top_m[:, 2].max()))
    low, high = np.degrees(np.arcsin(np.percentile(normals[:, 2], [10, 90])))
    assert leans_deg[0] <= low <= high <= leans_deg[1]


def test_outlines_are_the_edge_of_each_region_with_the_gradient_that_opencv_has_there() -> None:
    rng = np.random.default_rng(7)
    top_m = np.zeros((40, 30), np.float32)
    top_m[5:-5, 5:-5] = cv2.GaussianBlur(rng.uniform(0.0, 0.1, (30, 20)).astype(np.float32), (5, 5), 0)
    square, heights_m = np.ones((3, 3), np.uint8), np.array([0.03, 0.05, 0.06])
    points_m, outward, cell = shape_kernels.outlines(top_m, cv2.erode(top_m, square), heights_m, -0.04, 0.02, 0.0025)
    start = 0
    for level, height_m in enumerate(heights_m):
        region = (top_m >= height_m).astype(np.uint8)
        edge = np.flatnonzero(region & (1 - cv2.erode(region, square)))
        smooth = cv2.GaussianBlur(region.astype(np.float32), (7, 7), 0)
        rises = [cv2.Sobel(smooth, cv2.CV_32F, *order).take(edge) for order in ((0, 1), (1, 0))]
        rise = np.stack([*rises, np.zeros(len(edge))], axis=1)
        own = slice(start, start + len(edge))
        start = own.stop
        assert (
            len(edge) > 20 and (cell[own] == level * top_m.size + edge).all() and (points_m[own, 2] == height_m).all()
        )
        assert outward[own] == pytest.approx(-rise / np.maximum(length(rise), 1e-6)[:, None], abs=1e-6)
        middle_m = np.stack(np.divmod(edge, 30), axis=1) * 0.0025 + (-0.04 + 0.00125, 0.02 + 0.00125)
        assert points_m[own, :2] == pytest.approx(middle_m + 0.3 * 0.0025 * outward[own, :2], abs=1e-9)
    assert start == len(points_m)


def test_no_points_have_no_outline() -> None:
    assert [len(part) for part in outline_walls(np.zeros((0, 3)), 0.05)] == [0, 0]


@pytest.mark.parametrize(
    ("height_m", "levels"), [(0.003, 6), (0.0199, 6), (0.0201, 3), (0.05, 6), (0.188, 24), (0.4, 24)]
)
def test_an_outline_has_a_level_every_8_mm_24_at_most_and_six_of_a_thin_body(height_m: float, levels: int) -> None:
    grid = np.stack(np.meshgrid(np.arange(-0.02, 0.0201, 0.001), np.arange(-0.02, 0.0201, 0.001)), axis=-1)
    top_m = np.column_stack([grid.reshape(-1, 2), np.full(grid.size // 2, height_m)])
    walls_m, _ = outline_walls(top_m, height_m)
    assert np.unique(walls_m[:, 2]) == pytest.approx((np.arange(levels) + 0.5) * height_m / levels)


@pytest.mark.parametrize(("length_m", "some"), [(0.775, True), (0.785, False)])
def test_what_is_longer_than_78_cm_has_no_outline(length_m: float, some: bool) -> None:
    for axis in (0, 1):
        points_m = np.full((800, 3), 0.02)
        points_m[:, axis] = np.linspace(0.0, length_m, 800)
        points_m = np.concatenate([points_m + np.eye(3)[1 - axis] * 0.0025 * k for k in range(4)])
        assert bool(len(outline_walls(points_m, 0.02)[0])) is some


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points_m": np.zeros((3, 2))}, r"points_m must be \(3, 3\)"),
        ({"normals": np.zeros((2, 3))}, r"normals must be \(3, 3\)"),
        ({"points_m": np.full((3, 3), np.nan)}, "finite"),
        ({"size_m": np.zeros(2)}, "size_m must have shape"),
        ({"middle_m": np.zeros(3)}, "middle_m must have shape"),
        ({"is_round": True}, "has an axis"),
        ({"middle_m": np.zeros(2), "mirror": (0, 0.01)}, "not by both"),
    ],
)
def test_a_shape_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    whole = {
        "T_camera_shape": Transform.identity(),
        "size_m": np.ones(3),
        "points_m": np.zeros((3, 3)),
        "normals": np.zeros((3, 3)),
        "middle_m": None,
        "is_round": False,
    }
    with pytest.raises(ValueError, match=message):
        CompletedShape(**{**whole, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("T_camera_box", "size_m", "is_in"),
    [
        (Transform(np.eye(3), np.array([0.1, 0.0, 0.82])), (0.1, 0.06, 0.04), True),
        (Transform(np.eye(3), np.array([0.1, 0.0, 0.80])), (0.1, 0.06, 0.04), False),  # lower by half its height
        (Transform(np.eye(3), np.array([0.1, 0.0, 0.82])), (0.06, 0.1, 0.04), False),
        (Transform(np.diag([-1.0, -1.0, 1.0]), np.array([0.1, 0.0, 0.82])), (0.1, 0.06, 0.04), False),  # turned
    ],
)
def test_a_shape_is_in_the_box_of_its_size_and_frame(
    T_camera_box: Transform, size_m: tuple[float, float, float], is_in: bool
) -> None:
    T_camera_shape = Transform(np.eye(3), np.array([0.1, 0.0, 0.8]))
    shape = CompletedShape(
        T_camera_shape, np.array([0.1, 0.06, 0.04]), np.zeros((0, 3)), np.zeros((0, 3)), None, is_round=False
    )
    assert shape.is_in(OrientedBox(T_camera_box, np.array(size_m))) is is_in
