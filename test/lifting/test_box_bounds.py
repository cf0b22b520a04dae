"""Bounds of a box: between a smaller and a larger one, along its own axes."""

from __future__ import annotations

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Box, Cylinder, look_at, upright
from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.evaluation import geometry_errors
from instance_seg_ros.learning.evaluation.geometry_errors import scene_errors, sides_beyond_m
from instance_seg_ros.learning.evaluation.geometry_scenes import NAMES, geometry_scenes
from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.lifting import Completion, Lifter
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT, SideBounds

AXES = np.array([[-1, -44, 68], [76, 23, 16], [-28, 64, 41]]) / 81  # as columns
BOX = OrientedBox(Transform(AXES, np.array([0.1, 0.0, 0.8])), np.array([0.2, 0.1, 0.06]))
BEYOND_M = np.array([[[-0.01, 0.0], [0.0, 0.03]], [[-0.02, 0.02], [-0.01, 0.01]], [[-0.03, 0.0], [-0.002, 0.001]]])


def ends_m(box: OrientedBox) -> np.ndarray:
    """(3, 2) lower and upper ends along the axes of `BOX`, beside its middle."""
    along_m = (box.corners_m - BOX.T_camera_box.translation_m) @ AXES
    return np.stack([along_m.min(axis=0), along_m.max(axis=0)], axis=1)


def test_sides_of_the_boxes_are_as_far_beyond_those_of_the_box_as_is_said() -> None:
    inner, outer = SideBounds(BEYOND_M).boxes(BOX)
    np.testing.assert_allclose(ends_m(inner), [[-0.09, 0.1], [-0.03, 0.04], [0.0, 0.028]], atol=1e-12)
    np.testing.assert_allclose(ends_m(outer), [[-0.1, 0.13], [-0.07, 0.06], [-0.03, 0.031]], atol=1e-12)
    np.testing.assert_allclose(inner.T_camera_box.rotation, AXES)


def test_a_smaller_box_is_no_smaller_than_nothing() -> None:
    inner, _ = SideBounds(np.full((3, 2, 2), -0.04)).boxes(BOX)
    np.testing.assert_allclose(inner.size_m, [0.12, 0.02, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("height_m", "inner_m", "outer_m"),
    [
        ([[-0.3, 0.0], [0.0, 0.01]], [0.04, 0.04], [-0.03, 0.04]),  # ends by far higher than its top, by the one bound
        ([[-0.3, -0.1], [-0.05, -0.04]], [0.03, 0.03], [0.03, 0.03]),  # by both
    ],
)
def test_a_smaller_box_lies_in_the_larger_one_whatever_is_said(
    height_m: list[list[float]], inner_m: list[float], outer_m: list[float]
) -> None:
    beyond_m = BEYOND_M.copy()
    beyond_m[2] = height_m
    inner, outer = SideBounds(beyond_m).boxes(BOX)
    np.testing.assert_allclose(ends_m(inner)[2], inner_m, atol=1e-12)
    np.testing.assert_allclose(ends_m(outer)[2], outer_m, atol=1e-12)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_what_is_known_along_the_axes_of_a_view_is_told_along_those_of_the_box(
    order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    axes = (AXES * signs).T[list(order)]
    turned = np.array([own if sign > 0 else own[::-1] for own, sign in zip(BEYOND_M, signs, strict=True)])
    np.testing.assert_array_equal(SideBounds.of_view(turned[list(order)], axes, BOX).beyond_m, BEYOND_M)


def test_independent_errors_widen_bounds_about_their_middle() -> None:
    deviations_m = np.array([0.0, 0.02 / SIGMAS_OF_90_PERCENT, 1.0])
    found = SideBounds(BEYOND_M).widened(AXES @ np.diag(deviations_m**2) @ AXES.T, BOX).beyond_m
    np.testing.assert_allclose(found[0], BEYOND_M[0], atol=1e-12)
    half_m = np.sqrt(2) * 0.02
    np.testing.assert_allclose(found[1], [[-half_m, half_m], [-np.hypot(0.01, 0.02), np.hypot(0.01, 0.02)]])
    np.testing.assert_allclose(found[2, 0], [-0.015 - 1.645, -0.015 + 1.645], atol=1e-3)


@pytest.mark.parametrize(
    ("foot_m", "expected_m"),
    [
        ({"above_m": 0.05}, [-0.05, 0.0]),
        ({"above_m": 0.01}, [-0.03, 0.0]),  # it may end so high anyhow
        ({"below_m": 0.05}, [-0.03, 0.05]),
    ],
)
def test_what_may_end_higher_or_lower_has_wider_bounds_there_alone(
    foot_m: dict[str, float], expected_m: list[float]
) -> None:
    found_m = SideBounds.of_view(BEYOND_M, AXES.T, BOX, **foot_m).beyond_m
    expected = BEYOND_M.copy()
    expected[2, 0] = expected_m
    np.testing.assert_array_equal(found_m, expected)


def test_what_may_reach_farther_has_wider_bounds_there_alone() -> None:
    farther = SideBounds(BEYOND_M).reaching(np.array([0.05, -0.04, 0.0])).beyond_m
    changed = farther != BEYOND_M
    assert np.argwhere(changed).tolist() == [[0, 1, 1], [1, 0, 1]]
    assert farther[changed].tolist() == [0.05, 0.04]


def test_a_mesh_reaches_beyond_the_sides_of_a_box_along_its_axes() -> None:
    vertices_m = BOX.T_camera_box.apply(np.array([[0.11, 0.0, 0.0], [-0.1, 0.03, 0.02], [0.0, -0.05, -0.03]]))
    expected_m = [[0.0, 0.01], [0.0, -0.02], [0.0, -0.01]]
    np.testing.assert_allclose(sides_beyond_m(BOX, vertices_m, AXES.T), expected_m, atol=1e-12)
    turned_m = np.array(expected_m)[::-1, ::-1]
    np.testing.assert_allclose(sides_beyond_m(BOX, vertices_m, -AXES.T[::-1]), turned_m, atol=1e-9)


@pytest.mark.parametrize("elevation_deg", [20, 50])
def test_what_is_held_behind_something_may_go_on_below_what_is_seen_of_it(elevation_deg: float) -> None:
    bodies = [
        Box((0.06, 0.06, 0.1), upright(0, 0, 0.15)),
        Box((0.02, 0.2, 0.06), upright(0.1, 0, 0.1 + 0.1 * np.tan(np.radians(elevation_deg)))),  # before its lower half
        Cylinder(0.03, 0.1, upright(0, 0.25, 0.05)),
    ]
    scene = AnalyticScene(bodies, look_at((0, 0, 0.15), 0.8, elevation_deg))
    frame, labels = scene.render(0.001)
    held = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]
    assert held.completion is Completion.NONE and held.inner_box is not None and held.outer_box is not None
    inner_m, outer_m = (
        float(scene.T_world_camera.apply(box.corners_m)[:, 2].min()) for box in (held.inner_box, held.outer_box)
    )
    assert outer_m <= 0.1 <= inner_m < 0.2
    assert held.inner_box.size_m[2] > 0


@pytest.mark.parametrize(("sensor", "seed"), [("plain", 11), ("active_stereo", 12)])
def test_nine_in_ten_sides_are_within_their_bounds(sensor: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all families that there are, on scenes of other seeds than those that were learned from, and, of the second,
    through a camera of which nothing was learned."""
    monkeypatch.setattr(geometry_errors, "RECIPES", {})  # what takes most of the time is not asked for here
    lifter = Lifter(LiftingSettings())
    scenes = geometry_scenes(18, seed, names=(*NAMES, *FAMILIES), sensor=sensor)
    errors = [error for scene in scenes for error in scene_errors(scene, lifter)[0]]
    held = [is_within for error in errors for is_within in error.in_bounds]
    assert len(held) > 300
    assert 0.8 <= np.mean(held) <= 0.96
