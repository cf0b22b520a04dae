"""Volumes from one view: bodies of revolution and columns, against meshes whose centre is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import trimesh

from analytic_scenes import AnalyticScene, Sphere, look_at, upright
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Plane, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.evaluation.geometry_scenes import volume_centre_m
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_mesh, join, lathe_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.rooms.world import Placed
from instance_seg_ros.lifting import Instance3D, Lifter
from instance_seg_ros.lifting.columns import fill_columns, has_flat_top, leans
from instance_seg_ros.lifting.sections import BINS
from instance_seg_ros.lifting.solid import Ball, Body, Revolution, _count_free, _judged, fit_revolution

VGA = Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5)
GREY = Appearance("plain", (0.5, 0.5, 0.5))
TABLE = Placed(ObjectShape("table", box_mesh((0.5, 0.5, 0.02), (0, 0, -0.02)), ()), Transform.identity(), 0, GREY)
CONE = lathe_mesh(np.array([[0, 0], [0.05, 0], [0.012, 0.14], [0, 0.14]]))
BOTTLE = lathe_mesh(np.array([[0, 0], [0.035, 0], [0.035, 0.12], [0.013, 0.16], [0.013, 0.2], [0, 0.2]]))
DOME = lathe_mesh(np.array([[0.0, 0.07], [0.04, 0.06], [0.065, 0.03], [0.07, 0.0], [0.0, 0.0]])[::-1])
WALL_M = 0.004
NAN = float("nan")
CUP = lathe_mesh(
    np.array([[0, 0], [0.03, 0], [0.04, 0.1], [0.04 - WALL_M, 0.1], [0.03 - WALL_M, WALL_M], [0, WALL_M]]),
)
BLOCK = box_mesh((0.05, 0.03, 0.04), (0, 0, 0.04))
CUBE = box_mesh((0.03, 0.03, 0.03), (0, 0, 0.03))
ANGLE = join([box_mesh((0.06, 0.015, 0.02), (0.06, 0.015, 0.02)), box_mesh((0.015, 0.045, 0.02), (0.015, 0.045, 0.02))])
STAIR = join([box_mesh((0.04, 0.03, 0.02), (0, 0, 0.02)), box_mesh((0.02, 0.03, 0.05), (-0.02, 0, 0.05))])


OVAL = BOTTLE.copy()
OVAL.apply_transform(np.diag([1.4, 0.8, 1.0, 1.0]))
LYING_BOTTLE = BOTTLE.copy()
LYING_BOTTLE.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
LYING_BOTTLE.apply_translation([0, 0, -LYING_BOTTLE.bounds[0, 2]])


def lift(mesh: trimesh.Trimesh, elevation_deg: float, noise_m: float = 0.001) -> tuple[Instance3D, np.ndarray]:
    """The object on a table, and its true centre in the camera's frame."""
    T_world_camera = look_at((0, 0, 0.05), 0.7, elevation_deg, 25)
    placed = Placed(ObjectShape("object", mesh, ()), Transform.identity(), 1, GREY)
    cast = RayCaster([TABLE, placed]).cast(VGA, T_world_camera)
    noise = np.random.default_rng(0).normal(0, noise_m, cast.depth_m.shape)
    depth_m = np.where(cast.depth_m > 0, cast.depth_m + noise, 0).astype(np.float32)
    frame = RgbdFrame(None, depth_m, VGA)
    lifted = Lifter(LiftingSettings()).lift(frame, Instances.from_labels(cast.ids.astype(np.uint16)))
    true_m = volume_centre_m(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    return lifted.instances[0], np.asarray(T_world_camera.inverse().apply(true_m))


@pytest.mark.parametrize("elevation_deg", [25, 45, 65])
@pytest.mark.parametrize(
    ("mesh", "within_m"),
    [(CONE, 0.004), (BOTTLE, 0.006), (DOME, 0.006), (CUP, 0.008), (BLOCK, 0.004), (CUBE, 0.004)],
    ids=["cone", "bottle", "dome", "cup", "block", "cube"],
)
def test_the_centre_is_that_of_the_whole_volume(mesh: trimesh.Trimesh, within_m: float, elevation_deg: float) -> None:
    instance, true_m = lift(mesh, elevation_deg)
    assert instance.centroid_m is not None and instance.box is not None
    assert np.linalg.norm(instance.centroid_m - true_m) < within_m


@pytest.mark.parametrize("elevation_deg", [40, 60])
@pytest.mark.parametrize("mesh", [ANGLE, STAIR], ids=["angle", "stair"])
def test_the_centre_of_what_has_a_notch_is_not_that_of_its_box(mesh: trimesh.Trimesh, elevation_deg: float) -> None:
    instance, true_m = lift(mesh, elevation_deg)
    assert instance.centroid_m is not None and instance.box is not None
    own_m = np.linalg.norm(instance.centroid_m - true_m)
    assert own_m < 0.012
    assert own_m < 0.8 * np.linalg.norm(instance.box.T_camera_box.translation_m - true_m)


@pytest.mark.parametrize(
    ("mesh", "size_m"),
    [(CONE, (0.1, 0.1, 0.14)), (BOTTLE, (0.07, 0.07, 0.2)), (DOME, (0.14, 0.14, 0.07)), (CUP, (0.08, 0.08, 0.1))],
    ids=["cone", "bottle", "dome", "cup"],
)
def test_the_box_of_a_body_of_revolution_holds_its_hidden_side(
    mesh: trimesh.Trimesh, size_m: tuple[float, float, float]
) -> None:
    instance, _ = lift(mesh, 35)
    assert instance.box is not None
    np.testing.assert_allclose(instance.box.size_m, size_m, atol=0.008)


def test_a_hollow_cup_has_its_centre_lower_than_a_solid_one() -> None:
    """From above the wall and the floor are seen."""
    solid = lathe_mesh(np.array([[0, 0], [0.03, 0], [0.04, 0.1], [0, 0.1]]))
    (hollow, true_hollow), (full, true_full) = (lift(mesh, 60) for mesh in (CUP, solid))
    assert hollow.centroid_m is not None and full.centroid_m is not None
    assert np.linalg.norm(hollow.centroid_m - true_hollow) < 0.008
    assert np.linalg.norm(full.centroid_m - true_full) < 0.004


@pytest.mark.parametrize("elevation_deg", [25, 40, 55])
@pytest.mark.parametrize("turn_deg", [0, 40, 80])
def test_a_bottle_with_oval_sections_is_completed_all_around(turn_deg: float, elevation_deg: float) -> None:
    mesh = OVAL.copy()
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.radians(turn_deg), [0, 0, 1]))
    instance, true_m = lift(mesh, elevation_deg)
    assert instance.centroid_m is not None and instance.box is not None
    assert np.linalg.norm(instance.centroid_m - true_m) < 0.008
    np.testing.assert_allclose(instance.box.size_m, (0.098, 0.056, 0.2), atol=0.012)


def test_the_centre_of_a_lying_bottle_is_on_its_thick_side() -> None:
    instance, true_m = lift(LYING_BOTTLE, 45)
    assert instance.centroid_m is not None and instance.box is not None
    assert np.linalg.norm(instance.box.T_camera_box.translation_m - true_m) > 0.02
    assert np.linalg.norm(instance.centroid_m - true_m) < 0.008


@pytest.mark.parametrize(
    ("tilt_deg", "share", "leaning"),
    [
        *((0, 1.0, False), (5, 1.0, False), (15, 1.0, True), (45, 1.0, True), (70, 1.0, True), (85, 1.0, False)),
        *((45, 0.6, True), (45, 0.4, False)),
    ],
)
def test_a_body_leans_when_most_of_it_is_one_tilted_face(tilt_deg: float, share: float, leaning: bool) -> None:
    """The rest of the normals points to all sides."""
    tilt, around = np.radians(tilt_deg), np.linspace(0, 2 * np.pi, int(200 * (1 - share)), endpoint=False)
    face = np.tile([np.sin(tilt), 0.0, np.cos(tilt)], (int(200 * share), 1))
    rest = np.stack([0.6 * np.cos(around), 0.6 * np.sin(around), np.full_like(around, 0.8)], axis=1)
    normals = np.concatenate([face, rest, np.zeros((50, 3))])
    assert leans(Body(np.zeros_like(normals), normals, 0.1, np.eye(3), np.zeros(3))) is leaning


@pytest.mark.parametrize(
    ("radii_m", "inner_m", "height_m"),
    [
        ((0.1, 0.1, 0.1, 0.1), (0, 0, 0, 0), 0.2),
        ((0.2, 0.1, 0.1, 0.1), (0, 0, 0, 0), 0.95 / 7),  # areas as 4 to 1 to 1 to 1, at 5, 15, 25 and 35 cm
        ((0.1, 0.1, 0.1, 0.1), (0, 0.1, 0.1, 0.1), 0.05),  # a floor alone
        ((0.2, 0.2, 0.2, 0.2), (0, 0, 0, 0.2), 0.15),
    ],
)
def test_the_centre_of_a_body_of_revolution_is_the_mean_of_its_slices_by_area(
    radii_m: tuple[float, ...], inner_m: tuple[float, ...], height_m: float
) -> None:
    body = Revolution(
        np.array([0.3, -0.2]), np.array([0.05, 0.15, 0.25, 0.35]), np.array(radii_m), np.array(inner_m, float), 0.0
    )
    np.testing.assert_allclose(body.centre_m, [0.3, -0.2, height_m], atol=1e-6)
    from_axis_m = np.linalg.norm(body.outline_m() - [0.3, -0.2], axis=1)
    np.testing.assert_allclose(from_axis_m, max(radii_m), atol=1e-9)
    inside_m = body.inner_surface_m()
    np.testing.assert_allclose(inside_m[..., 2], np.broadcast_to(body.heights_m[:, None], inside_m.shape[:2]))
    shares = np.linalg.norm(inside_m[..., :2] - [0.3, -0.2], axis=2) / body.radii_m[:, None]
    assert (shares < 0.9).all() and (shares > 0.8).all()


def centre_from_above_m(quarters_m: Sequence[Sequence[float]], beyond_m: float, in_mask: bool) -> np.ndarray:
    """Of the columns of 25 cm by 12.5 cm and up to 10 cm, seen from straight above, 1 m over the support.

    Args:
        quarters_m: heights measured at -x and at x, each at -y and at y; NaN for none.
        beyond_m: depth around it.
    """
    x_m, y_m = np.meshgrid(np.linspace(-0.1245, 0.1245, 250), np.linspace(-0.0615, 0.0615, 124))
    heights_m = np.array(quarters_m)[(x_m > 0).astype(int), (y_m > 0).astype(int)]
    points_m = np.stack([x_m, y_m, heights_m], axis=-1)[np.isfinite(heights_m)]
    body = Body(
        points_m, np.tile([0.0, 0.0, 1.0], (len(points_m), 1)), 0.1, np.diag([1.0, -1, -1]), np.array([0, 0, 1])
    )
    frame = RgbdFrame(None, np.full((480, 640), beyond_m, np.float32), VGA)
    low_m, high_m = np.array([-0.125, -0.0625]), np.array([0.125, 0.0625])
    return fill_columns(body, np.eye(2), low_m, high_m, frame, np.full((480, 640), in_mask)).centre_m


@pytest.mark.parametrize(
    ("quarters_m", "beyond_m", "in_mask", "centre_m"),
    [
        (((0.1, 0.1), (0.1, 0.1)), 1.0, True, (0.0, 0.0, 0.05)),
        (((0.1, 0.1), (0.05, 0.05)), 1.0, True, (-0.0625 / 3, 0.0, 0.125 / 3)),  # 2 parts and 1
        (((0.1, 0.1), (NAN, NAN)), 1.0, False, (-0.0625, 0.0, 0.05)),  # the support is seen: nothing is there
        (((0.1, 0.1), (NAN, NAN)), 0.9, False, (0.0, 0.0, 0.05)),  # something as high is seen there
        (((0.1, 0.1), (NAN, NAN)), 0.93, False, (-0.0625, 0.0, 0.05)),  # it is lower than a top that is seen to be flat
        (((0.1, 0.1), (NAN, NAN)), 0.9, True, (0.0, 0.0, 0.05)),  # it is the object's own
        (((0.1, 0.1), (NAN, NAN)), 1.0, True, (-0.0625, 0.0, 0.05)),  # a mask that reaches onto the support
        (((0.1, 0.05), (NAN, NAN)), 0.9, True, (0.0, 0.0, 0.125 / 3)),  # by half a turn, and no mirror image
        # Free space from 65 mm (the opposite is higher), the opposite itself 40 mm: 10, 4, 4 and 6.5 parts.
        (((0.1, 0.04), (NAN, NAN)), 0.94, False, (-0.0625 * 3.5 / 24.5, -0.03125 * 3.5 / 24.5, 0.017425 / 0.49)),
    ],
    ids=["block", "step", "empty", "hidden", "flat", "masked", "generous", "turned", "bounded"],
)
def test_columns_are_as_high_as_what_was_measured_in_them_or_opposite(
    quarters_m: Sequence[Sequence[float]], beyond_m: float, in_mask: bool, centre_m: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(centre_from_above_m(quarters_m, beyond_m, in_mask), centre_m, atol=1e-6)


AXIS_M = np.array([0.02, -0.03])
NOTHING_SEEN = RgbdFrame(None, np.zeros((480, 640), np.float32), VGA)
ALL_FREE = RgbdFrame(None, np.full((480, 640), 5.0, np.float32), VGA)
ALL_NEAR = RgbdFrame(None, np.full((480, 640), 0.5, np.float32), VGA)
NO_MASK = np.zeros((480, 640), dtype=bool)
ALL_MASK = ~NO_MASK


def side_of(
    radii_m: Sequence[float],
    *,
    width_deg: float = 150.0,
    height_m: float = 0.1,
    inside: bool = False,
    stretch: float = 1.0,
    count: int = 30,
    noise_m: float = 0.0003,
) -> tuple[np.ndarray, np.ndarray]:
    """Points and horizontal normals of a strip of a body about the axis, with radii from its foot to its top."""
    angles = np.radians(np.linspace(-width_deg / 2, width_deg / 2, count)) + (np.pi if inside else 0)
    heights_m = np.linspace(0, height_m, len(radii_m))
    around = np.stack([np.cos(angles), stretch * np.sin(angles)], axis=1)
    outwards = np.stack([np.cos(angles), np.sin(angles) / stretch], axis=1)
    outwards /= np.linalg.norm(outwards, axis=1)[:, None]
    points_m = np.concatenate(
        [
            np.column_stack([AXIS_M + radius_m * around, np.full(count, height_m_)])
            for radius_m, height_m_ in zip(radii_m, heights_m, strict=True)
        ]
    )
    normals = np.tile(np.column_stack([-outwards if inside else outwards, np.zeros(count)]), (len(radii_m), 1))
    return points_m + np.random.default_rng(0).normal(0, noise_m, points_m.shape), normals


def faceted(part: tuple[np.ndarray, np.ndarray], every_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The same points with the normals of faces that stand so far apart: those of a box whose edge is blurred."""
    angles = np.arctan2(part[1][:, 1], part[1][:, 0])
    angles = np.radians(every_deg * np.round(np.degrees(angles) / every_deg))
    return part[0], np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)


def body_of(*parts: tuple[np.ndarray, np.ndarray], top_m: float = 0.1) -> Body:
    """Seen along x from 1 m away."""
    basis = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    points_m, normals = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Body(points_m, normals, top_m, basis, np.array([0.0, 0.1, 1.0]))


@pytest.mark.parametrize("width_deg", [110, 150, 170])
@pytest.mark.parametrize(
    "radii_m", [np.full(40, 0.04), np.linspace(0.05, 0.02, 40), np.r_[np.full(25, 0.04), np.full(15, 0.015)]]
)
def test_a_body_of_revolution_is_found_with_its_axis_and_its_profile(radii_m: np.ndarray, width_deg: float) -> None:
    found = fit_revolution(body_of(side_of(radii_m, width_deg=width_deg)), NOTHING_SEEN, ALL_MASK)
    assert found is not None and found.is_round
    np.testing.assert_allclose(found.axis_m, AXIS_M, atol=0.002)
    expected_m = np.interp(found.heights_m, np.linspace(0, 0.1, 40), radii_m)
    assert np.median(np.abs(found.radii_m - expected_m)) < 0.0015
    half_bin_m = 0.1 / BINS / 2
    assert found.heights_m[[0, -1]].tolist() == pytest.approx([half_bin_m, 0.1 - half_bin_m])
    assert found.scatter_m < 0.001
    assert not found.inner_m.any()


def test_a_handle_does_not_move_the_axis() -> None:
    """A seventh of the side, 1 to 3 cm beside it."""
    out, up = (grid.ravel() for grid in np.meshgrid(np.linspace(0.045, 0.065, 10), np.linspace(0.03, 0.07, 20)))
    direction = np.array([np.cos(1.2), np.sin(1.2)])
    places_m = np.column_stack([AXIS_M + out[:, None] * direction, up])
    handle = places_m, np.tile([np.cos(-0.3), np.sin(-0.3), 0.0], (200, 1))
    found = fit_revolution(body_of(side_of(np.full(40, 0.035)), handle), NOTHING_SEEN, ALL_MASK)
    assert found is not None and found.is_round
    np.testing.assert_allclose(found.axis_m, AXIS_M, atol=0.001)
    np.testing.assert_allclose(found.radii_m, 0.035, atol=0.0015)


def test_walls_seen_from_both_sides_make_a_cavity_down_to_the_floor() -> None:
    outside, within = side_of(np.full(40, 0.04)), side_of(np.full(40, 0.036), inside=True)
    floor_m = np.column_stack([np.tile(AXIS_M, (30, 1)), np.full(30, 0.005)])
    floor = floor_m, np.tile([0.0, 0.0, 1.0], (30, 1))
    found = fit_revolution(body_of(outside, within, floor), NOTHING_SEEN, ALL_MASK)
    assert found is not None
    np.testing.assert_allclose(
        found.radii_m[2:], 0.0405, atol=0.001
    )  # about the middle of the wall, as thick as the floor
    np.testing.assert_allclose(found.inner_m[2:], 0.0355, atol=0.001)
    assert found.inner_m[0] < 1e-6, "the floor"


@pytest.mark.parametrize("height_m", [0.002, 0.02])
def test_of_what_shows_its_inside_alone_the_outside_is_a_wall_away(height_m: float) -> None:
    floor = np.column_stack([np.tile(AXIS_M, (30, 1)), np.full(30, height_m)]), np.tile([0.0, 0.0, 1.0], (30, 1))
    found = fit_revolution(body_of(side_of(np.full(40, 0.05), inside=True), floor), NOTHING_SEEN, ALL_MASK)
    assert found is not None
    wall_m = min(max(height_m, 0.0015), 0.008)
    np.testing.assert_allclose(found.radii_m, 0.05 + wall_m, atol=0.001)
    np.testing.assert_allclose(found.inner_m[8:], 0.05, atol=0.001)


@pytest.mark.parametrize("frame", [ALL_FREE, NOTHING_SEEN], ids=["free space", "no depth"])
def test_a_side_with_oval_sections_is_found_with_its_stretch(frame: RgbdFrame) -> None:
    """A circle with the curvature of its broad side would reach beyond the mask, where it is not seen."""
    mask = NO_MASK.copy()
    mask[:, 319 - int(600 * 0.079 / 0.95) : 320 + int(600 * 0.019 / 0.95)] = True
    found = fit_revolution(body_of(side_of(np.full(40, 0.03), stretch=1.6)), frame, mask)
    assert found is not None and not found.is_round and not found.doubted
    assert np.linalg.det(found.stretch) == pytest.approx(1)
    spread_m = np.ptp(found.outline_m(), axis=0)
    np.testing.assert_allclose(spread_m, [0.06, 0.096], rtol=0.1)
    np.testing.assert_allclose(found.axis_m, AXIS_M, atol=0.004)


def test_a_head_that_sticks_out_of_an_oval_to_one_side_does_not_do_so_all_around() -> None:
    """The trigger of a spray."""
    out, up = (grid.ravel() for grid in np.meshgrid(np.linspace(0.0, 0.065, 20), np.linspace(0.08, 0.1, 20)))
    head = np.column_stack([AXIS_M[0] + out, np.full(400, AXIS_M[1]), up]), np.tile([0.0, 1.0, 0.0], (400, 1))
    side = side_of(np.full(30, 0.03), height_m=0.07, stretch=1.6)
    found = fit_revolution(body_of(side, head), ALL_NEAR, ALL_MASK)
    assert found is not None and not found.is_round
    np.testing.assert_allclose(np.ptp(found.outline_m(), axis=0), [0.06, 0.096], rtol=0.1)


def test_sections_that_are_longer_along_an_axis_are_not_round() -> None:
    profile_m = np.full(3, 0.04)
    assert Revolution(AXIS_M, profile_m, profile_m, profile_m, 0.0).is_round
    assert not Revolution(AXIS_M, profile_m, profile_m, profile_m, 0.0, np.diag([1.25, 0.8])).is_round


@pytest.mark.parametrize(("spread_m", "is_wide"), [(0.19, True), (0.21, False)])
def test_what_is_wider_anywhere_than_all_that_is_seen_of_it_is_refuted(spread_m: float, is_wide: bool) -> None:
    points_m = np.array([[0.0, 0.0, 0.02], [0.6 * spread_m, 0.8 * spread_m, 0.05]])
    body = Body(points_m, np.zeros_like(points_m), 0.1, np.eye(3), np.array([0.0, 0.0, 1.0]))
    radii_m = np.array([0.2, 0.01])
    cone = Revolution(AXIS_M, np.array([0.025, 0.075]), radii_m, np.zeros(2), 0.0)
    assert (_judged(cone, body, NOTHING_SEEN, ALL_MASK, False) is None) is is_wide


@pytest.mark.parametrize(
    ("depth_m", "in_mask", "x_m", "free", "unknown"),
    [
        (1.009, False, 0.0, 0, 0),  # within the noise of its surface
        (1.011, False, 0.0, 1, 0),
        (1.011, True, 0.0, 0, 0),
        (0.0, False, 0.0, 0, 1),
        (0.9, False, 0.0, 0, 0),  # hidden
        (1.011, False, 0.532, 1, 0),  # the last column
        (1.011, False, 0.535, 0, 0),  # beside the image
    ],
)
def test_a_place_is_free_where_the_camera_sees_a_centimetre_past_it_beside_the_mask(
    depth_m: float, in_mask: bool, x_m: float, free: int, unknown: int
) -> None:
    """A place 1 m ahead; y of the body's frame is x of the camera's."""
    basis = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    seen, mask = np.full((480, 640), depth_m, np.float32), np.full((480, 640), in_mask)
    optics = VGA.fx, VGA.fy, VGA.cx, VGA.cy
    found = _count_free(np.array([[0.2, x_m, 0.0]]), basis, np.array([0.0, 0.0, 1.2]), seen, mask, *optics)
    assert found == (free, unknown)


@pytest.mark.parametrize(
    ("body", "frame"),
    [
        (body_of(side_of(np.full(40, 0.04))), ALL_FREE),  # the camera looks through it
        (body_of(side_of(np.full(40, 0.04), width_deg=60)), NOTHING_SEEN),  # too narrow a strip
        (body_of(side_of(np.full(2, 0.04), count=29)), NOTHING_SEEN),  # 58 points
        (body_of(side_of(np.full(40, 0.04)), top_m=0.0), NOTHING_SEEN),
        (body_of(side_of(np.full(40, 0.04), noise_m=0.006)), NOTHING_SEEN),  # scattered
        (body_of((side_of(np.full(40, 0.04))[0], np.tile([0.0, 0.0, 1.0], (1200, 1)))), NOTHING_SEEN),  # all level
        (body_of(faceted(side_of(np.full(40, 0.04)), 60)), NOTHING_SEEN),
    ],
    ids=["seen through", "narrow", "few", "flat", "scattered", "level", "faceted"],
)
def test_what_is_no_body_of_revolution_is_none(body: Body, frame: RgbdFrame) -> None:
    assert fit_revolution(body, frame, NO_MASK if frame is ALL_FREE else ALL_MASK) is None


@pytest.mark.parametrize(
    ("mask", "frame", "partly_seen", "doubted"),
    [
        (ALL_MASK, NOTHING_SEEN, False, False),
        (NO_MASK, NOTHING_SEEN, False, True),
        (NO_MASK, NOTHING_SEEN, True, False),
        (NO_MASK, ALL_NEAR, False, False),
    ],
    ids=["in its mask", "beside its mask", "beside it, where something hides it", "behind what has depth"],
)
def test_without_depth_it_is_in_doubt_that_a_body_seen_whole_goes_on_where_its_mask_does_not(
    mask: np.ndarray, frame: RgbdFrame, partly_seen: bool, doubted: bool
) -> None:
    found = fit_revolution(body_of(side_of(np.full(40, 0.04))), frame, mask, partly_seen)
    assert found is not None and found.doubted == doubted


def test_a_box_is_no_body_of_revolution() -> None:
    """Two faces of 8 cm and 5 cm."""
    along, up = np.linspace(0, 1, 30), np.linspace(0, 0.1, 30)
    u, z = (grid.ravel() for grid in np.meshgrid(along, up))
    front = np.column_stack([np.full(900, 0.05), 0.08 * u, z]), np.tile([1.0, 0, 0], (900, 1))
    side = np.column_stack([0.05 * u, np.zeros(900), z]), np.tile([0.0, -1, 0], (900, 1))
    assert fit_revolution(body_of(front, side), NOTHING_SEEN, ALL_MASK) is None


def body_of_normals(normals: np.ndarray, heights_m: float | np.ndarray = 0.05) -> Body:
    points_m = np.zeros_like(normals)
    points_m[:, 2] = heights_m
    return Body(points_m, normals, 0.1, np.eye(3), np.zeros(3))


def level_directions(*degrees: float, each: int) -> np.ndarray:
    angles = np.radians(np.repeat(degrees, each))
    return np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)


@pytest.mark.parametrize(
    ("share", "tilt_deg", "height_m", "flat"),
    [(0.4, 0, 0.1, True), (0.2, 0, 0.1, False), (0.4, 12, 0.1, False), (0.4, 0, 0.08, False), (0.4, 6, 0.095, True)],
)
def test_a_flat_top_is_level_and_high_and_a_good_part_of_what_is_seen(
    share: float, tilt_deg: float, height_m: float, flat: bool
) -> None:
    tilt, count = np.radians(tilt_deg), int(100 * share)
    normals = np.concatenate(
        [np.tile([np.sin(tilt), 0, np.cos(tilt)], (count, 1)), level_directions(0, each=100 - count)]
    )
    assert has_flat_top(body_of_normals(normals, np.r_[np.full(count, height_m), np.zeros(100 - count)])) is flat


def lifted_ball(at_m: tuple[float, float, float], elevation_deg: float, radius_m: float = 0.05) -> Instance3D:
    """A ball over a table, with a sensor's noise."""
    scene = AnalyticScene([Sphere(radius_m, upright(*at_m))], look_at((0, 0, 0.1), 0.7, elevation_deg))
    frame, labels = scene.render(0.001)
    return Lifter(LiftingSettings()).lift(frame, Instances.from_labels(labels)).instances[0]


@pytest.mark.parametrize(
    ("at_m", "elevation_deg"),
    [((0, 0, 0.05), 5), ((0, 0, 0.05), 40), ((0, 0, 0.2), 10), ((0, 0, 0.2), 40)],
    ids=["low", "table", "held, low", "held"],
)
def test_a_ball_is_whole_wherever_it_is(at_m: tuple[float, float, float], elevation_deg: float) -> None:
    found = lifted_ball(at_m, elevation_deg)
    assert found.box is not None
    np.testing.assert_allclose(found.box.size_m, 0.1, atol=0.003)


def dome(least_height: float, most_height: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points on a ball of 50 mm about (0, 0, 0.7) between such heights in radii, -y of the camera up, and normals."""
    rng = np.random.default_rng(0)
    up = rng.uniform(least_height, most_height, 600)
    around = rng.uniform(np.pi, 2 * np.pi, 600)  # its side towards the camera
    level = np.sqrt(1 - up**2)
    normals = np.stack([level * np.cos(around), -up, level * np.sin(around)], axis=1)
    return 0.05 * normals + [0, 0, 0.7], normals


@pytest.mark.parametrize(
    ("points", "lowest_m"),
    [
        (dome(-0.5), -0.05),  # goes on below its middle, as a ball does
        (dome(0.0), 0.0),  # as much as there is of a bowl upside down
    ],
)
def test_a_ball_that_is_held_goes_on_below_where_more_of_it_is_seen_than_of_a_bowl(
    points: tuple[np.ndarray, np.ndarray], lowest_m: float
) -> None:
    ball = Ball.of(*points)
    assert ball is not None and ball.radius_m == pytest.approx(0.05, abs=1e-6)
    plane = Plane(np.array([0.0, -1.0, 0.0]), 0.0)
    seen_m = float(plane.height_m(points[0]).min())
    assert ball.lowest_m(plane, seen_m) == pytest.approx(lowest_m, abs=0.001)


@pytest.mark.parametrize(
    ("up", "top", "rests"),
    [
        (1.0, 0.9, True),
        (1.07, 0.9, True),
        (1.09, 0.9, False),  # over its support
        (0.93, 0.9, True),
        (0.91, 0.9, False),  # in it
        (1.0, 0.16, True),
        (1.0, 0.14, False),  # a bowl is like its lower half
    ],
)
def test_a_ball_rests_where_it_touches_its_support_and_more_than_its_lower_half_is_seen(
    up: float, top: float, rests: bool
) -> None:
    """Heights in radii: of its middle above the support, and of what is seen above that."""
    ball, z_m = Ball(np.array([0.1, -0.05, 0.7]), 0.05), 0.05 * up
    basis = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    origin_m = ball.centre_m - basis @ [*AXIS_M, z_m]
    points_m = dome(-0.3, 0.5)[0] @ basis  # what is seen of it, wherever it is
    body = Body(points_m, np.zeros_like(points_m), z_m + 0.05 * top, basis, origin_m)
    found = ball.resting(body, NOTHING_SEEN, ALL_MASK)
    assert (found is not None) is rests
    if found is not None:
        np.testing.assert_allclose(found.axis_m, AXIS_M, atol=1e-12)
        assert found.radii_m.max() == pytest.approx(0.05, abs=1e-4)


def test_a_band_of_a_cylinder_is_no_ball() -> None:
    rng = np.random.default_rng(0)
    around, z_m = rng.uniform(np.pi, 2 * np.pi, 600), rng.uniform(-0.004, 0.004, 600)
    normals = np.stack([np.cos(around), np.zeros(600), np.sin(around)], axis=1)
    points_m = 0.05 * normals + np.array([0, 0, 0.7])
    points_m[:, 1] = z_m
    assert Ball.of(points_m, normals) is None
