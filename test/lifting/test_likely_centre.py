"""Where the centre of an object most likely is of which a part is hidden: the view, the network, and what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.evaluation import geometry_errors
from instance_seg_ros.learning.evaluation.geometry_errors import ObjectError, scene_errors
from instance_seg_ros.learning.evaluation.geometry_scenes import geometry_scenes
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.lifting.box_bounds import SIGMAS_OF_90_PERCENT
from instance_seg_ros.lifting.hidden_ends import HiddenEnds
from instance_seg_ros.lifting.likely_centre import Likely, LikelyCentres, PartialView
from instance_seg_ros.lifting.solid import Body
from turned_views import assert_the_same_is_said_of, some_network

LEVEL_CAMERA = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Up is -y of the camera, which looks along y of the body's frame."""
SEEN_M = np.array([[-0.06, -0.03, 0.0], [0.04, 0.03, 0.05]])
LENGTHS_M, OTHERS = np.array([0.02, 0.03]), np.arange(4.0)


def view(
    rooms_m: np.ndarray,
    mirror: bool = False,
    turned: bool = False,
    centre_m: tuple[float, float, float] = (0, 0, 0),
    times: float = 1.0,
    across_m: float = 0.0,
    own_m: np.ndarray = SEEN_M,
) -> PartialView:
    """Of a body 0.8 m away, its frame's x mirrored or its axes named the other way round; or all of it larger."""
    rng = np.random.default_rng(0)
    points_m, normals = rng.uniform(*own_m, (50, 3)), rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    seen_m, ends_m = own_m.copy(), rooms_m.copy()
    centre = np.array(centre_m, dtype=np.float64)
    axes, deviation_m = np.eye(3), np.array([0.01, 0.02, 0.03])
    if mirror:
        flip = np.array([-1.0, 1.0, 1.0])
        points_m, normals, centre = points_m * flip, normals * flip, centre * flip
        seen_m[:, 0], ends_m[0] = -seen_m[::-1, 0], ends_m[0, ::-1]
    if turned:
        order = [1, 0, 2]
        axes, seen_m, ends_m, deviation_m = axes[order], seen_m[:, order], ends_m[order], deviation_m[order]
    body = Body(times * points_m, normals, times * 0.05, LEVEL_CAMERA, times * np.array([across_m, 0.1, 0.8]))
    shares, seen_m = (ends_m > 0).astype(np.float64), times * seen_m
    ends = HiddenEnds(seen_m[0, :2], seen_m[1, :2], 0.0, times * deviation_m, axes, seen_m, times * ends_m, shares)
    return PartialView.of(body, ends, times * centre, times * LENGTHS_M, OTHERS)


TO_THE_RIGHT = np.array([[0.0, 0.1], [0.0, 0.02], [0.0, 0.0]])


@pytest.mark.parametrize("changed", [{"mirror": True}, {"turned": True}, {"mirror": True, "turned": True}])
def test_a_mirrored_or_renamed_object_looks_the_same_along_the_axes_of_its_view(changed: dict[str, bool]) -> None:
    one, other = view(TO_THE_RIGHT), view(TO_THE_RIGHT, **changed)
    np.testing.assert_allclose(other.features, one.features, atol=1e-12)
    flip = [-1.0, 1.0, 1.0] if changed.get("mirror") else [1.0, 1.0, 1.0]
    np.testing.assert_allclose(other.axes, one.axes * flip, atol=1e-12)


@pytest.mark.parametrize(
    ("times", "usual", "scale"),
    [(0.3, 1.0, 1 / 0.3), (0.1, 1.0, 10.0), (4.0, 1.8, 0.45), (1.4, 1.4, 1.0)],  # the longest side is 0.1 m times this
)
def test_small_and_large_objects_look_like_those_of_a_usual_size(times: float, usual: float, scale: float) -> None:
    ends_m = 0.5 * TO_THE_RIGHT
    one, other = (
        view(ends_m, centre_m=(0.0, 0.01, 0.02), times=times),
        view(ends_m, centre_m=(0.0, 0.01, 0.02), times=usual),
    )
    np.testing.assert_allclose(one.features, other.features, atol=1e-12)
    assert one.scale == pytest.approx(scale)
    network = LikelyCentres.shipped()
    fitted = PartialView(one.axes, one.centre_m, np.resize(one.features, len(network.mean)), one.scale)
    for said, usual_said in zip(network(fitted), network(replace(fitted, scale=1.0)), strict=True):
        np.testing.assert_allclose(said, usual_said / scale)


@pytest.mark.parametrize(("hidden", "axis"), [(1, 1), (2, 0)])  # behind, so that this comes first, or above
def test_of_what_is_seen_along_an_axis_the_same_is_said_whichever_way_the_other_one_points(
    hidden: int, axis: int
) -> None:
    rooms_m = np.zeros((3, 2))
    rooms_m[hidden, 1] = 0.05
    # What is seen has its middle 10 mm beside the body's frame.
    views = [view(rooms_m, centre_m=(0.0, 0.01, 0.02), across_m=0.01 + aside_m) for aside_m in (-1e-9, 1e-9)]
    assert_the_same_is_said_of(some_network(LikelyCentres, len(views[0].features), 0.6), views, axis)


@pytest.mark.parametrize("long_m", [0.0999, 0.1, 0.1001])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_sides_that_are_alike_the_one_along_the_line_of_sight_is_the_first(long_m: float, turned: bool) -> None:
    own_m = np.array([[-0.05, -long_m / 2, 0.0], [0.05, long_m / 2, 0.05]])
    found = view(np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.05]]), turned=turned, across_m=0.3, own_m=own_m)
    np.testing.assert_allclose(found.axes, [[0, 0, 1], [1, 0, 0], [0, -1, 0]], atol=1e-12)


@pytest.mark.parametrize(("across_m", "ways"), [(0.01, 2), (0.02, 2), (0.03, 1), (-0.01, 1)])
def test_farther_aside_there_is_one_way_to_look_at_it(across_m: float, ways: int) -> None:
    own = view(np.array([[0.0, 0.0], [0.0, 0.05], [0.0, 0.0]]), across_m=across_m)
    assert 1 + len(own.otherwise) == ways
    assert all(0 < share <= 0.5 for *_, share in own.otherwise)


@pytest.mark.parametrize(
    ("rooms_m", "first_axis"),
    [
        ([[0.0, 0.1], [0.0, 0.0], [0.0, 0.0]], (1, 0, 0)),  # hidden to the right of the image
        ([[0.1, 0.0], [0.0, 0.0], [0.0, 0.0]], (-1, 0, 0)),
        ([[0.0, 0.02], [0.0, 0.1], [0.0, 0.0]], (0, 0, 1)),  # behind
        ([[0.0, 0.0], [0.1, 0.0], [0.0, 0.0]], (0, 0, -1)),
    ],
)
def test_the_first_axis_points_to_where_most_is_hidden_and_the_last_one_up(
    rooms_m: list[list[float]], first_axis: tuple[float, float, float]
) -> None:
    found = view(np.array(rooms_m)).axes
    np.testing.assert_allclose(found[0], first_axis, atol=1e-12)
    np.testing.assert_allclose(found[2], (0, -1, 0), atol=1e-12)


def test_a_camera_in_the_middle_of_what_is_seen_has_a_view_all_the_same() -> None:
    camera_m = -(np.array([0.0, 0.1, 0.8]) @ LEVEL_CAMERA)
    found = view(np.zeros((3, 2)), own_m=camera_m + np.array([[-0.0625], [0.0625]]))
    assert np.isfinite(found.features).all()


def test_a_view_tells_what_was_seen_in_metres() -> None:
    found = view(TO_THE_RIGHT, centre_m=(0.0, 0.01, 0.02))
    assert found.centre_m.tolist() == pytest.approx([0, 0.08, 0.81])
    size_m, rooms_m, shares, from_middle_m = np.split(found.features[:18], [3, 9, 15])
    assert size_m.tolist() == pytest.approx([0.1, 0.06, 0.05])
    assert rooms_m.tolist() == pytest.approx(TO_THE_RIGHT.reshape(-1).tolist())
    assert shares.tolist() == [0, 1, 0, 1, 0, 0]
    assert from_middle_m.tolist() == pytest.approx([0.01, 0.01, -0.005])
    assert found.features[-6:].tolist() == [*LENGTHS_M.tolist(), *OTHERS.tolist()]


def test_the_offset_is_that_of_its_layers_within_bounds() -> None:
    one, none = np.ones((1, 1)), np.zeros(1)
    sides = [0.5, 1.0, 1.0, -0.5, *np.zeros(6), -50.0, 50.0]
    last = np.array([[1.0, -1.0, 50.0, 0.0, 1.0, 50.0, *sides]]), np.zeros(18)
    network = LikelyCentres(np.array([2.0]), np.array([0.5]), ((one, none), (one, none), last), 0.02)
    offsets_m, deviations_m, sides_m = network.likely(np.array([[3.0], [1.0], [1000.0]]))
    # Two deviations above the mean; below it, where the first layer gives nothing; far off, which counts as five.
    np.testing.assert_allclose(offsets_m, [[0.04, -0.04, 0.1], [0, 0, 0], [0.1, -0.1, 0.1]], atol=1e-12)
    np.testing.assert_allclose(deviations_m[:, 0], 0.02)
    np.testing.assert_allclose(deviations_m[:, 1], [0.1, 0.02, 0.1])
    assert deviations_m.max() == pytest.approx(0.1)
    np.testing.assert_allclose(sides_m[0, 0], [[0.02, 0.04], [-0.02, 0.04]], atol=1e-12)  # the lesser one first
    np.testing.assert_allclose(sides_m[0, 1:], [[[0, 0], [0, 0]], [[0, 0], [-0.1, 0.1]]], atol=1e-12)


def test_what_is_hidden_in_part_is_nearer_the_truth_than_by_its_ends_alone_and_in_its_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On scenes of another seed than it was fitted on."""
    monkeypatch.setattr(geometry_errors, "RECIPES", {})  # what takes most of the time is not asked for here
    lifter = Lifter(LiftingSettings())
    ends_alone = Lifter(LiftingSettings(), lambda view: Likely(np.zeros(3), np.full(3, 0.02), np.zeros((3, 2, 2))))
    with_network, without = [], []
    for scene in geometry_scenes(36, 12, ("border", "tote", "crowd")):
        for lifting, own in ((lifter, with_network), (ends_alone, without)):
            own += [error for error in scene_errors(scene, lifting)[0] if 0.2 < error.visible < 0.7]
    assert len(with_network) > 40

    def mean_m(errors: list[ObjectError]) -> float:
        return float(np.mean([error.centre_m for error in errors]))

    assert mean_m(with_network) < 0.92 * mean_m(without)
    sigmas = np.array([value for error in with_network for value in error.sigmas])
    assert 0.8 <= np.mean(sigmas <= SIGMAS_OF_90_PERCENT) <= 0.97
