"""What a frame's depth is off by together is measured: on a plane that swells, beside masks, and usual elsewhere."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueScene, geometry_scenes
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS
from instance_seg_ros.lifting.camera_noise import FLOOR_M, CameraNoise

CAMERA = Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5)
TOLERANCE_M = 0.008
USUAL = CameraNoise(0.0015, 0.5, 600.0)
NO_MASK = np.zeros((480, 640), np.uint16)


def noise_of(depth_m: NDArray[np.float64], labels: NDArray[np.uint16], plane: Plane | None = None) -> CameraNoise:
    frame = RgbdFrame(None, depth_m.astype(np.float32), CAMERA)
    return CameraNoise.of(frame, Instances.from_labels(labels), plane, TOLERANCE_M)


def swelling(per_m2: float, cell_px: int = 48) -> NDArray[np.float64]:
    nodes = np.random.default_rng(0).normal(0, per_m2, (480 // cell_px, 640 // cell_px))
    return np.asarray(cv2.resize(nodes, (640, 480), interpolation=cv2.INTER_CUBIC))


def leaning_plane(degrees: float, away_m: float) -> tuple[Plane, NDArray[np.float64]]:
    """Turned about the image's rows out of the plane across the line of sight; and its depth."""
    turn = np.radians(degrees)
    normal = np.array([0.0, -np.sin(turn), -np.cos(turn)])
    rays = np.stack(np.broadcast_arrays(*CAMERA_RAYS, 1.0), axis=-1)
    return Plane(normal, away_m * np.cos(turn)), away_m * np.cos(turn) / -(rays @ normal)


CAMERA_RAYS = ((np.arange(640) - 319.5) / 600.0, (np.arange(480)[:, None] - 239.5) / 600.0)


@pytest.mark.parametrize("per_m2", [0.001, 0.003])
@pytest.mark.parametrize(("degrees", "away_m"), [(0.0, 0.6), (0.0, 1.2), (50.0, 0.8)])
def test_how_a_plane_swells_is_measured_as_at_one_metre(per_m2: float, degrees: float, away_m: float) -> None:
    plane, depth_m = leaning_plane(degrees, away_m)
    found = noise_of(depth_m * (1 + depth_m * swelling(per_m2)), NO_MASK, plane).swelling_per_m2
    # Blocks are not much smaller than what swells, so that some of it is lost in their means.
    assert 0.5 * per_m2 < found < 1.2 * per_m2


def test_the_noise_of_single_pixels_is_none_of_it() -> None:
    plane, depth_m = leaning_plane(30.0, 0.8)
    white = np.random.default_rng(1).normal(0, 0.003, depth_m.shape)
    assert noise_of(depth_m + white * depth_m**2, NO_MASK, plane).swelling_per_m2 < 0.0005


@pytest.mark.parametrize(("degrees", "plane_known"), [(0.0, False), (72.0, True)])
def test_without_a_plane_that_is_seen_well_its_swelling_is_the_usual_one(degrees: float, plane_known: bool) -> None:
    plane, depth_m = leaning_plane(degrees, 0.8)
    depth_m[(depth_m < 0) | (depth_m > 3)] = 0
    depth_m[240:] = 0  # nearer to the camera it is seen from farther above
    assert noise_of(depth_m, NO_MASK, plane if plane_known else None) == USUAL


def box_beside_its_mask(right_px: int, down_px: int, generous_px: int = 0) -> tuple[NDArray[np.float64], NDArray]:
    depth_m, labels = np.full((480, 640), 1.0), NO_MASK.copy()
    depth_m[200 + down_px : 280 + down_px, 250 + right_px : 370 + right_px] = 0.8
    labels[200 - generous_px : 280 + generous_px, 250 - generous_px : 370 + generous_px] = 1
    return depth_m, labels


@pytest.mark.parametrize("generous_px", [0, 2, -2])
@pytest.mark.parametrize(("right_px", "down_px"), [(0, 0), (2, 0), (0, -2), (-1, 2)])
def test_how_far_depth_lies_beside_masks_is_measured_whatever_their_size(
    right_px: int, down_px: int, generous_px: int
) -> None:
    found = noise_of(*box_beside_its_mask(right_px, down_px, generous_px)).beside_px
    # Of two pairs of sides, and of what counts as much as two: half a pixel.
    assert found == pytest.approx(np.sqrt((2 * 0.5**2 + right_px**2 + down_px**2) / 4))


def test_how_far_colour_was_moved_before_masks_were_made_counts_with_it() -> None:
    depth_m, labels = box_beside_its_mask(1, 0)
    frame = RgbdFrame(None, depth_m.astype(np.float32), CAMERA)
    instances = replace(Instances.from_labels(labels), color_moved_px=(2, -1))
    found = CameraNoise.of(frame, instances, None, TOLERANCE_M).beside_px
    assert found == pytest.approx(np.sqrt((2 * 0.5**2 + 3**2 + 1**2) / 4))


def test_a_gap_without_depth_on_both_sides_does_not_move_it() -> None:
    depth_m, labels = box_beside_its_mask(0, 0)
    for edge in (250, 370):
        depth_m[:, edge - 2 : edge + 2] = 0
    assert noise_of(depth_m, labels).beside_px == pytest.approx(0.5 / np.sqrt(2))


@pytest.mark.parametrize("hidden", ["left", "all"])
def test_sides_beside_something_nearer_tell_nothing(hidden: str) -> None:
    depth_m, labels = box_beside_its_mask(2, 0)
    depth_m[:, :250] = 0.6
    if hidden == "all":
        depth_m[labels == 0] = 0.6
    found = noise_of(depth_m, labels).beside_px
    expected = 0.5 if hidden == "all" else np.sqrt((2 * 0.5**2 + 0.0) / 3)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("misplaced", ["no mask", "one mask", "all masks"])
def test_what_masks_lie_beside_is_not_taken_from_what_a_plane_swells(misplaced: str) -> None:
    plane, depth_m = leaning_plane(50.0, 0.8)
    depth_m *= 1 + depth_m * swelling(0.003)
    labels = NO_MASK.copy()
    for label, left in enumerate((100, 200, 300, 400, 500), start=1):
        depth_m[200:260, left : left + 40] = 0.6
        right_px = 3 if misplaced == "all masks" or (misplaced == "one mask" and label == 1) else 0
        labels[200:260, left + right_px : left + 40 + right_px] = label
    found = noise_of(depth_m, labels, plane)
    assert 0.0015 < found.swelling_per_m2 < 0.0036


def test_of_a_small_image_sides_beside_missing_depth_tell_nothing() -> None:
    camera = Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
    depth_m, labels = np.zeros((120, 160), np.float32), np.zeros((120, 160), np.uint16)
    depth_m[40:80, 60:100], labels[40:80, 60:100] = np.linspace(0.6, 0.9, 40), 1
    found = CameraNoise.of(RgbdFrame(None, depth_m, camera), Instances.from_labels(labels), None, TOLERANCE_M)
    assert found.beside_px == 0.125  # what is usual, half a pixel of an image of 640


def test_how_a_camera_swells_that_was_simulated_is_measured_though_its_depth_lies_beside_the_masks() -> None:
    scenes = geometry_scenes(8, 88, ("table", "crowd"), sensor="time_of_flight")
    found = np.median([noise_of_scene(scene).swelling_per_m2 for scene in scenes])
    # Some of it is lost in the means of blocks.
    assert 0.3 < found / PRESETS["time_of_flight"].smooth_noise < 1.2


def test_without_objects_it_is_the_usual_one() -> None:
    assert noise_of(np.ones((480, 640)), NO_MASK) == USUAL


def test_swelling_is_along_the_line_of_sight_and_what_lies_beside_across_it() -> None:
    at_m = np.array([0.3, -0.4, 1.2])
    covariance_m2 = CameraNoise(0.002, 1.0, 600.0).covariance_m2(at_m)
    sight = at_m / 1.3
    assert sight @ covariance_m2 @ sight == pytest.approx(FLOOR_M**2 + (0.002 * 1.69) ** 2)
    across = np.array([0.8, 0.6, 0.0])
    assert across @ covariance_m2 @ across == pytest.approx(FLOOR_M**2 + (1.3 / 600) ** 2)
    assert sight @ covariance_m2 @ across == pytest.approx(0, abs=1e-15)


def noise_of_scene(scene: TrueScene) -> CameraNoise:
    up = scene.T_world_camera.rotation.T @ np.array([0.0, 0.0, 1.0])
    assert scene.support_height_m is not None
    plane = Plane(up, float(scene.T_world_camera.translation_m[2]) - scene.support_height_m)
    return CameraNoise.of(scene.frame, Instances.from_labels(scene.labels), plane, TOLERANCE_M)


@pytest.mark.parametrize(
    ("sensor", "what", "times"),
    [
        ("structured_light", "beside_px", 1.5),
        ("active_stereo", "beside_px", 1.5),
        ("active_stereo", "swelling_per_m2", 4.0),
        ("time_of_flight", "beside_px", 1.5),
    ],
)
def test_cameras_whose_neighbours_err_together_are_told_from_plain_noise(sensor: str, what: str, times: float) -> None:
    plain, noisy = (
        [noise_of_scene(scene) for scene in geometry_scenes(6, 5, ("table", "crowd"), sensor=name)]
        for name in ("plain", sensor)
    )
    usual, more = (np.median([getattr(noise, what) for noise in own]) for own in (plain, noisy))
    assert more > times * usual
