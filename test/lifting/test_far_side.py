"""How far off the centre of an object is that was seen as a whole: the view, the network, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.evaluation import geometry_errors
from instance_seg_ros.learning.evaluation.geometry_errors import ObjectError, scene_errors
from instance_seg_ros.learning.evaluation.geometry_scenes import geometry_scenes
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT
from instance_seg_ros.lifting.far_side import FARTHEST_M, SURE_M, USUAL_M, FarSides, WholeView
from instance_seg_ros.lifting.likely_centre import ASIDE, Likely
from instance_seg_ros.lifting.solid import Body
from turned_views import assert_the_same_is_said_of, some_network

UP_IS_BACK = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Up is -y of the camera, which looks along y of the body's frame."""
LENGTHS_M, OTHERS = np.array([0.02, 0.001]), np.array([*np.arange(13.0), 0.0])
NOTHING_MOVED = Likely(np.zeros(3), np.full(3, 0.01), np.zeros((3, 2, 2)))


def view(
    mirror: bool = False, turned: bool = False, times: float = 1.0, tall_m: float = 0.05, aside_m: float = -0.2
) -> WholeView:
    """Of a body 0.8 m away, mirrored or with its box's sides named the other way round; or all of it larger."""
    rng = np.random.default_rng(0)
    low_m, high_m = np.array([-0.05, -0.03, 0.0]), np.array([0.05, 0.03, tall_m])
    points_m, normals = rng.uniform(low_m, high_m, (50, 3)), rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    centre_m, size_m, sides = np.array([0.01, 0.002, 0.02]), high_m - low_m, np.eye(3)
    if mirror:
        points_m[:, 0], normals[:, 0], centre_m[0] = -points_m[:, 0], -normals[:, 0], -centre_m[0]
    if turned:
        size_m, sides = size_m[[1, 0, 2]], np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    origin_m = times * np.array([-aside_m if mirror else aside_m, 0.1, 0.8])
    body = Body(times * points_m, normals, times * tall_m, UP_IS_BACK, origin_m)
    middle_m = body.in_camera(times * np.array([0.0, 0.0, tall_m / 2]))
    box = OrientedBox(Transform(UP_IS_BACK @ sides.T, middle_m), times * size_m)
    return WholeView.of(body, box, times * centre_m, times * LENGTHS_M, OTHERS)


@pytest.mark.parametrize("changed", [{"mirror": True}, {"turned": True}, {"mirror": True, "turned": True}])
def test_a_mirrored_object_or_a_box_named_otherwise_looks_the_same(changed: dict[str, bool]) -> None:
    one, other = view(), view(**changed)
    np.testing.assert_allclose(other.features, one.features, atol=1e-12)
    flip = [-1.0, 1.0, 1.0] if changed.get("mirror") else [1.0, 1.0, 1.0]
    np.testing.assert_allclose(other.axes, one.axes * flip, atol=1e-12)


def test_the_axes_point_away_from_the_camera_the_one_that_does_so_more_first_and_up() -> None:
    # It stands to the left and ahead: the camera looks along z, and -y is up.
    np.testing.assert_allclose(view().axes, [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)


@pytest.mark.parametrize("times", [0.3, 3.0])
def test_the_same_is_said_of_objects_of_other_sizes(times: float) -> None:
    one, other = view(), view(times=times)
    np.testing.assert_allclose(other.features, one.features, atol=1e-12)
    assert (one.scale, other.scale) == (pytest.approx(USUAL_M / 0.1), pytest.approx(USUAL_M / 0.1 / times))
    network = FarSides.shipped()
    for said, usual in zip(network(other), network(one), strict=True):
        np.testing.assert_allclose(said, usual * times, atol=1e-9)


@pytest.mark.parametrize("tall_m", [0.05, 0.2])
def test_of_what_is_seen_along_an_axis_the_same_is_said_whichever_way_the_other_one_points(tall_m: float) -> None:
    views = [view(tall_m=tall_m, aside_m=aside_m) for aside_m in (-1e-9, 1e-9)]
    assert_the_same_is_said_of(some_network(FarSides, len(views[0].features), 0.5), views, axis=1)


@pytest.mark.parametrize(("aside_m", "ways"), [(0.0, 2), (0.01, 2), (0.02, 1), (-0.2, 1)])
def test_farther_aside_there_is_one_way_to_look_at_it(aside_m: float, ways: int) -> None:
    own = view(aside_m=aside_m)
    assert 1 + len(own.otherwise) == ways
    for _, _, share in own.otherwise:
        assert share == pytest.approx((1 - abs(own.features[4]) / ASIDE) / 2)


def test_a_view_tells_size_direction_and_centre_in_shares_of_the_longest_side() -> None:
    found = view(tall_m=0.2).features
    size, towards, off, rest = np.split(found, [3, 6, 9])
    np.testing.assert_allclose(size, USUAL_M * np.array([0.3, 0.5, 1.0]), atol=1e-12)
    to_camera_m = np.array([-0.8, -0.2, 0.1 - 0.1])  # of the box's middle, which is as high as the camera
    np.testing.assert_allclose(towards, to_camera_m / np.linalg.norm(to_camera_m), atol=1e-12)
    np.testing.assert_allclose(off, USUAL_M / 0.2 * np.array([0.002, -0.01, -0.08]), atol=1e-12)
    assert rest[-16:].tolist() == [*(USUAL_M / 0.2 * LENGTHS_M).tolist(), *OTHERS.tolist()]


def test_outline_and_normals_are_told_by_height_and_by_side() -> None:
    """A wall across the view, half as high as its box, in front of which its foot stands out."""
    across_m = np.linspace(-0.049, 0.049, 11)
    wall_m = np.array([[x, 0.0, z] for x in across_m for z in (0.01, 0.03, 0.049)])
    foot_m = np.array([[x, -0.03, 0.001] for x in across_m])
    normals = np.concatenate([np.tile([0.0, -1.0, 0.0], (33, 1)), np.tile([0.0, 0.0, 1.0], (11, 1))])
    body = Body(np.concatenate([wall_m, foot_m]), normals, 0.1, UP_IS_BACK, np.array([0.0, 0.0, 0.8]))
    box = OrientedBox(Transform(UP_IS_BACK, body.in_camera(np.array([0.0, 0.0, 0.05]))), np.array([0.1, 0.06, 0.1]))
    of_sides = WholeView.of(body, box, np.zeros(3), LENGTHS_M, OTHERS).features[18:67]
    layers, first, second = of_sides[:24].reshape(6, 4), of_sides[24:34].reshape(5, 2), of_sides[34:].reshape(5, 3)
    np.testing.assert_allclose(layers[0], USUAL_M / 0.1 * np.array([0.0, 0.03, 0.049, 0.049]), atol=1e-9)
    np.testing.assert_allclose(layers[1:3, :2], 0.0, atol=1e-12)
    assert not layers[3:].any()
    np.testing.assert_allclose(first[[0, 2]], [[0, 1], [-1, 0]], atol=1e-12)  # the foot, and the wall behind it
    np.testing.assert_allclose(second[:, 0], -0.75, atol=1e-12)
    np.testing.assert_allclose(second[:, 1], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("said_m", "moved_m"),
    [
        (0.9 * SURE_M, 0.0),
        (-0.9 * SURE_M, 0.0),
        (SURE_M + 0.01, 0.01),
        (-SURE_M - 0.01, -0.01),
        (0.08, FARTHEST_M),
    ],
)
def test_a_centre_is_moved_by_what_is_beyond_little_and_not_far(said_m: float, moved_m: float) -> None:
    one, none = np.ones((1, 1)), np.zeros(1)
    last = np.array([[said_m, said_m, said_m, *np.zeros(15)]]) / 0.05, np.zeros(18)
    network = FarSides(np.zeros(2), np.ones(2), ((np.eye(2)[:, :1], none), (one, none), last), 0.05)
    offsets_m, deviations_m, _ = network.likely(np.array([[1.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(offsets_m[0], moved_m, atol=1e-12)
    np.testing.assert_allclose(offsets_m[1], [moved_m, moved_m, 0.0], atol=1e-12)  # nothing is known of its foot
    np.testing.assert_allclose(deviations_m, 0.05)


def errors_of(
    names: tuple[str, ...], scenes: int, kinds: tuple[str, ...]
) -> tuple[list[ObjectError], list[ObjectError]]:
    """Of whole objects, with the network and without; on scenes of another seed than it was fitted on."""
    found: tuple[list[ObjectError], list[ObjectError]] = ([], [])
    lifters = Lifter(LiftingSettings()), Lifter(LiftingSettings(), far_side=lambda view: NOTHING_MOVED)
    for scene in geometry_scenes(scenes, 14, kinds, names):
        for lifter, errors in zip(lifters, found, strict=True):
            errors += [error for error in scene_errors(scene, lifter)[0] if error.visible > 0.95]
    return found


def test_what_reaches_behind_is_nearer_the_truth_than_without_and_in_its_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(geometry_errors, "RECIPES", {})  # what takes most of the time is not asked for here
    names = ("bottle", "spray_bottle", "power_drill", "toy_animal", "soft_toy", "pump_bottle")
    with_network, without = errors_of(names, 20, ("table",))
    assert len(with_network) > 60
    mean_m, usual_m = (float(np.mean([error.centre_m for error in own])) for own in (with_network, without))
    assert mean_m < 0.92 * usual_m
    sigmas = np.array([value for error in with_network for value in error.sigmas])
    assert 0.8 <= np.mean(sigmas <= SIGMAS_OF_90_PERCENT) <= 0.97


def test_what_fits_well_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry_errors, "RECIPES", {})
    with_network, without = errors_of(("box", "cylinder", "sphere"), 12, ("table",))
    moved_m = [abs(one.centre_m - other.centre_m) for one, other in zip(with_network, without, strict=True)]
    assert len(moved_m) > 40
    assert np.median(moved_m) == 0.0
    assert np.percentile(moved_m, 90) < 0.002
