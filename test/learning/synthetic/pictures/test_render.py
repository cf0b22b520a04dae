from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, Vector, box_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance, plain
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster, world_rays
from instance_seg_ros.learning.synthetic.pictures.shading import Light, Lighting
from instance_seg_ros.learning.synthetic.poses import camera_pose, pose
from instance_seg_ros.learning.synthetic.rooms.world import Placed

CAMERA = Intrinsics(64, 48, 100.0, 100.0, 32.0, 24.0)
GREY = plain((0.5, 0.5, 0.5))


def _placed(half_m: Vector, centre_m: Vector, instance_id: int) -> Placed:
    return Placed(ObjectShape("box", box_mesh(half_m), ()), pose(centre_m), instance_id, GREY)


@pytest.fixture
def table_with_box() -> tuple[RayCaster, Transform]:
    """A table top at z = 0 and a cube of 10 cm on it, seen from 1 m above the table, straight down."""
    caster = RayCaster([_placed((0.3, 0.3, 0.01), (0, 0, -0.01), 0), _placed((0.05, 0.05, 0.05), (0, 0, 0.05), 7)])
    return caster, camera_pose(np.array([0.0, 0.0, 1.0]), np.zeros(3))


def test_depth_is_measured_along_the_optical_axis(table_with_box: tuple[RayCaster, Transform]) -> None:
    caster, T_world_camera = table_with_box
    cast = caster.cast(CAMERA, T_world_camera)
    assert cast.depth_m.dtype == np.float32
    assert cast.depth_m[24, 32] == pytest.approx(0.9, abs=1e-5)
    np.testing.assert_allclose(cast.depth_m[cast.ids == 0][cast.depth_m[cast.ids == 0] > 0], 1.0, atol=1e-5)


def test_ids_cover_what_the_pinhole_projects(table_with_box: tuple[RayCaster, Transform]) -> None:
    caster, T_world_camera = table_with_box
    ids = caster.cast(CAMERA, T_world_camera).ids
    rows, columns = np.nonzero(ids == 7)
    # The top face at 0.9 m spans 100 * 0.05 / 0.9 = 5.6 px to each side of the principal point.
    assert (columns.min(), columns.max()) == (32 - 5, 32 + 5)
    assert (rows.min(), rows.max()) == (24 - 5, 24 + 5)


def test_rays_that_hit_nothing_have_no_depth_and_are_background() -> None:
    caster = RayCaster([_placed((0.05, 0.05, 0.05), (0, 0, 0.05), 3)])
    cast = caster.cast(CAMERA, camera_pose(np.array([0.0, 0.0, 1.0]), np.zeros(3)))
    assert cast.depth_m[0, 0] == 0.0
    assert cast.ids[0, 0] == 0
    assert cast.triangle[0, 0] == -1


def test_the_world_is_recovered_from_depth_and_pose(table_with_box: tuple[RayCaster, Transform]) -> None:
    caster, _ = table_with_box
    T_world_camera = camera_pose(np.array([0.4, -0.5, 0.6]), np.array([0.0, 0.0, 0.0]), roll_rad=0.3)
    cast = caster.cast(CAMERA, T_world_camera)
    rays = np.moveaxis(world_rays(CAMERA, T_world_camera), 0, -1)
    world = rays * cast.depth_m[..., None] + T_world_camera.translation_m
    top = (cast.ids == 0) & (cast.depth_m > 0) & (np.abs(world[..., :2]).max(axis=-1) < 0.295)
    assert top.sum() > 500
    np.testing.assert_allclose(world[top][:, 2], 0.0, atol=1e-4)


def test_shading_is_repeatable_and_casts_a_shadow(table_with_box: tuple[RayCaster, Transform]) -> None:
    caster, T_world_camera = table_with_box
    cast = caster.cast(CAMERA, T_world_camera)
    from_the_right = Lighting(lights=(Light((1.0, 0.0, 1.0), (1.0, 1.0, 1.0), 0.05),))
    image = caster.shade(cast, CAMERA, T_world_camera, from_the_right)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, caster.shade(cast, CAMERA, T_world_camera, from_the_right))
    # Light from +x: the cube's shadow falls on the table towards -x, left in the image.
    assert image[24, 23, 0] < 0.7 * image[24, 41, 0]


def test_every_pixel_of_an_empty_view_is_shaded_too(table_with_box: tuple[RayCaster, Transform]) -> None:
    caster, _ = table_with_box
    T_world_camera = camera_pose(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 2.0]))
    cast = caster.cast(CAMERA, T_world_camera)
    image = caster.shade(cast, CAMERA, T_world_camera)
    assert (cast.depth_m == 0).all()
    assert image.min() > 0


def test_wider_lamps_make_softer_shadows(table_with_box: tuple[RayCaster, Transform]) -> None:
    caster, T_world_camera = table_with_box
    cast = caster.cast(CAMERA, T_world_camera)
    levels = []
    for radius in (0.0, 0.4):
        lighting = Lighting(lights=(Light((1.0, 0.0, 1.0), (1.0, 1.0, 1.0), radius),))
        row = caster.shade(cast, CAMERA, T_world_camera, lighting)[24, :27, 0].astype(int)
        levels.append(np.abs(np.diff(row)).max())
    assert levels[1] < 0.6 * levels[0]


def test_outlines_mix_the_colours_of_both_sides() -> None:
    black, white = plain((0.0, 0.0, 0.0)), plain((1.0, 1.0, 1.0))
    table = Placed(ObjectShape("box", box_mesh((0.3, 0.3, 0.01)), ()), pose((0, 0, -0.01)), 0, white)
    # A thin sheet, turned, so that its outline runs through pixels.
    turned = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    sheet = Placed(ObjectShape("box", box_mesh((0.1, 0.1, 0.0005)), ()), pose((0, 0, 0.0005), turned), 1, black)
    caster, T_world_camera = RayCaster([table, sheet]), camera_pose(np.array([0.0, 0.0, 1.0]), np.zeros(3))
    image = caster.shade(caster.cast(CAMERA, T_world_camera), CAMERA, T_world_camera)
    assert len(np.unique(image[10:40, 18:46, 1] // 32)) >= 4


def test_a_shape_seen_between_pixels_only_does_not_break_the_outline() -> None:
    """A needle thinner than a pixel beside a box: rays between pixels may hit what no pixel's centre hits."""
    box = _placed((0.05, 0.05, 0.05), (0, 0, 0.05), 1)
    needle = _placed((0.0004, 0.2, 0.0004), (0.0508, 0, 0.1), 2)
    caster, T_world_camera = RayCaster([box, needle]), camera_pose(np.array([0.0, 0.0, 1.0]), np.zeros(3))
    cast = caster.cast(CAMERA, T_world_camera)
    assert caster.shade(cast, CAMERA, T_world_camera).shape == (48, 64, 3)


GLASS, CHROME = Appearance("glass", (0.98, 0.98, 0.98), seed=1), Appearance("chrome", (0.9, 0.9, 0.9))
GREEN = plain((0.1, 0.6, 0.1))
STRAIGHT_DOWN = camera_pose(np.array([0.0, 0.0, 1.0]), np.zeros(3))


def cube_on_green_table(look: Appearance) -> RayCaster:
    table = Placed(ObjectShape("box", box_mesh((0.6, 0.6, 0.01)), ()), pose((0.0, 0.0, -0.01)), 0, GREEN)
    return RayCaster([table, Placed(ObjectShape("box", box_mesh((0.05,) * 3), ()), pose((0.0, 0.0, 0.05)), 7, look)])


@pytest.mark.parametrize(("look", "expected_m"), [(GREY, 0.0), (GLASS, 1.0), (CHROME, np.inf)])
def test_depth_behind_is_that_of_the_table_through_glass_and_none_in_a_mirror(
    look: Appearance, expected_m: float
) -> None:
    caster = cube_on_green_table(look)
    cast = caster.cast(CAMERA, STRAIGHT_DOWN)
    assert cast.depth_m[24, 32] == pytest.approx(0.9, abs=1e-5)
    behind_m = caster.behind(cast)
    np.testing.assert_allclose(behind_m[cast.ids == 7], expected_m, rtol=1e-5)
    assert not behind_m[cast.ids == 0].any()


def test_nothing_behind_glass_is_infinitely_far() -> None:
    caster = RayCaster([Placed(ObjectShape("box", box_mesh((0.05,) * 3), ()), pose((0.0, 0.0, 0.05)), 7, GLASS)])
    cast = caster.cast(CAMERA, STRAIGHT_DOWN)
    behind_m = caster.behind(cast)
    assert np.isinf(behind_m[cast.ids == 7]).all()
    assert caster.shade(cast, CAMERA, STRAIGHT_DOWN).shape == (48, 64, 3)


def test_the_table_is_seen_through_glass_and_not_through_chrome() -> None:
    views = {}
    for look in (GREY, GLASS, CHROME):
        caster = cube_on_green_table(look)
        cast = caster.cast(CAMERA, STRAIGHT_DOWN)
        picture = caster.shade(cast, CAMERA, STRAIGHT_DOWN).astype(int)
        views[look.kind] = picture[cast.ids == 7].mean(axis=0), picture[:5].mean(axis=(0, 1))
    for kind, greenest in (("glass", True), ("chrome", False), ("plain", False)):
        red, green, _ = views[kind][0]
        assert (green > 1.5 * red) == greenest, kind
    # Glass takes a little of the light.
    assert 0.5 < views["glass"][0][1] / views["glass"][1][1] < 0.99


def test_a_mirror_shows_what_stands_beside_it() -> None:
    """A red wall beside a chrome ramp that faces half up, half towards it."""
    ramp = Placed(
        ObjectShape("box", box_mesh((0.05, 0.05, 0.05)), ()),
        pose((0.0, 0.0, 0.0), np.array([[0.7071, 0.0, 0.7071], [0.0, 1.0, 0.0], [-0.7071, 0.0, 0.7071]])),
        1,
        CHROME,
    )
    red = Placed(ObjectShape("box", box_mesh((0.01, 1.0, 1.0)), ()), pose((0.5, 0.0, 0.0)), 0, plain((0.7, 0.1, 0.1)))
    caster = RayCaster([ramp, red])
    T_world_camera = camera_pose(np.array([0.03, 0.0, 1.0]), np.array([0.03, 0.0, 0.0]))
    cast = caster.cast(CAMERA, T_world_camera)
    assert cast.ids[24, 32] == 1
    r, g, b = caster.shade(cast, CAMERA, T_world_camera)[24, 32].astype(int)
    assert r > 2 * max(g, b)
