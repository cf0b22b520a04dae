"""Things and stuff in one image: planes whose place is known, noise, clutter and missing depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.instances import NO_STUFF, Instances
from instance_seg_ros.lifting import LiftedFrame
from instance_seg_ros.lifting.support import ObjectSupport, Support
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.panoptic import BACKGROUND, STUFF_OF_MODEL, SUPPORT, WALL_OR_FLOOR, panoptic_image

CAMERA = Intrinsics(160, 120, 150.0, 150.0, 79.5, 59.5)
TABLE = Plane(np.array([0.0, -np.cos(0.6), -np.sin(0.6)]), 0.45)
WALL = Plane(np.array([0.0, 0.0, -1.0]), 1.5)


def depth_of(plane: Plane) -> np.ndarray:
    """Depth (H, W) of a plane that fills the view; infinite where it is not seen."""
    rays = np.concatenate([CAMERA.rays, np.ones((120, 160, 1), dtype=np.float32)], axis=-1)
    towards = rays @ plane.normal
    return np.where(towards < -1e-6, -plane.offset_m / np.minimum(towards, -1e-6), np.inf)


@pytest.fixture
def scene_of(make_scene: Callable[..., Scene]) -> Callable[..., Scene]:
    """Makes the scene of a depth image with one object, and the support that lifting has found."""

    def make(depth_m: np.ndarray, thing: np.ndarray, support: Plane | None) -> Scene:
        frame = RgbdFrame(None, depth_m.astype(np.float32), CAMERA)
        instances = Instances.from_labels(thing.astype(np.uint16))
        count = len(instances)
        by_hand = make_scene()
        lifted = LiftedFrame(by_hand.lifted.instances[:count], support)
        return dataclasses.replace(
            by_hand,
            frame=frame,
            instances=instances,
            lifted=lifted,
            grasps=by_hand.grasps[:count],
            track_ids=by_hand.track_ids[:count],
        )

    return make


@pytest.mark.parametrize("noise_m", [0.0, 0.002])
def test_each_pixel_is_a_thing_or_a_kind_of_stuff(noise_m: float, scene_of: Callable[..., Scene]) -> None:
    table_m, wall_m = depth_of(TABLE), depth_of(WALL)
    depth_m = np.minimum(table_m, wall_m)
    depth_m += np.random.default_rng(0).normal(0, noise_m, depth_m.shape)
    thing, clutter, missing = (np.zeros((120, 160), dtype=bool) for _ in range(3))
    thing[80:100, 60:90], clutter[90:110, 110:120], missing[100:115, 10:30] = True, True, True
    depth_m[thing] = 0.5
    depth_m[clutter] = 0.45
    depth_m[missing] = 0
    expected = np.where(table_m < wall_m, SUPPORT, WALL_OR_FLOOR)
    expected[thing], expected[clutter | missing] = 1, BACKGROUND
    labels = panoptic_image(scene_of(depth_m, thing, TABLE))
    assert labels.dtype == np.uint16
    assert np.mean(labels == expected) > (0.999 if noise_m == 0 else 0.99)
    assert (labels[thing] == 1).all()


def test_without_a_support_a_table_is_a_large_plane(scene_of: Callable[..., Scene]) -> None:
    labels = panoptic_image(scene_of(np.minimum(depth_of(TABLE), depth_of(WALL)), np.zeros((120, 160)), None))
    assert set(np.unique(labels)) == {WALL_OR_FLOOR}


@pytest.mark.parametrize(
    ("support", "label"),
    [
        (ObjectSupport(Support.PLANE, TABLE, None), SUPPORT),
        (ObjectSupport(Support.INSTANCE, TABLE, None), WALL_OR_FLOOR),  # of another object's top no stuff is told
    ],
)
def test_what_an_object_of_its_own_stands_on_is_a_support(
    support: ObjectSupport, label: int, scene_of: Callable[..., Scene]
) -> None:
    table_m, wall_m = depth_of(TABLE), depth_of(WALL)
    thing = np.zeros((120, 160), dtype=bool)
    thing[80:100, 60:90] = True
    scene = scene_of(np.where(thing, 0.5, np.minimum(table_m, wall_m)), thing, None)
    standing = dataclasses.replace(scene.lifted.instances[0], support=support)
    labels = panoptic_image(dataclasses.replace(scene, lifted=LiftedFrame((standing,), None)))
    assert np.mean(labels[(table_m < wall_m) & ~thing] == label) > 0.99


@pytest.mark.parametrize("depth_m", [np.zeros((120, 160)), np.random.default_rng(0).uniform(0.3, 3, (120, 160))])
def test_what_has_no_depth_or_no_plane_is_background(depth_m: np.ndarray, scene_of: Callable[..., Scene]) -> None:
    labels = panoptic_image(scene_of(depth_m, np.zeros((120, 160)), None))
    assert np.mean(labels == BACKGROUND) > 0.9


def test_what_a_panoptic_model_calls_stuff_is_that_and_the_depth_tells_of_the_rest(
    scene_of: Callable[..., Scene],
) -> None:
    table_m, wall_m = depth_of(TABLE), depth_of(WALL)
    thing = np.zeros((120, 160), dtype=bool)
    thing[80:100, 60:90] = True
    depth_m = np.where(thing, 0.5, np.minimum(table_m, wall_m))
    scene = scene_of(depth_m, thing, TABLE)
    stuff = np.full((120, 160), NO_STUFF, dtype=np.int32)
    stuff[:30], stuff[:, :20] = 7, 3
    stuff[thing] = NO_STUFF
    instances = dataclasses.replace(scene.instances, class_names=tuple("abcdefgh"), stuff=stuff)
    labels = panoptic_image(dataclasses.replace(scene, instances=instances))
    expected = np.where(table_m < wall_m, SUPPORT, WALL_OR_FLOOR)
    expected[:30], expected[:, :20] = STUFF_OF_MODEL + 7, STUFF_OF_MODEL + 3
    expected[thing] = 1
    assert np.mean(labels == expected) > 0.999
    assert ((labels >= STUFF_OF_MODEL + 3) & (labels <= STUFF_OF_MODEL + 7)).sum() == (stuff != NO_STUFF).sum()
