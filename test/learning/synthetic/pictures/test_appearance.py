from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_mesh, lathe_mesh
from instance_seg_ros.learning.synthetic.pictures import packaging
from instance_seg_ros.learning.synthetic.pictures.appearance import (
    SHARES,
    SURFACES,
    Appearance,
    background_appearance,
    body_appearances,
    object_appearance,
    plain,
    robot_color,
    sample_material,
)
from instance_seg_ros.learning.synthetic.pictures.texture_table import TextureTable
from instance_seg_ros.learning.synthetic.pictures.textures import TEXTURES, texture_of

BOX = ObjectShape("box", box_mesh((0.05, 0.03, 0.1)), ())
CAN = ObjectShape("can", lathe_mesh(np.array([[0, -0.1], [0.04, -0.1], [0.04, 0.1], [0, 0.1]])), ())


@pytest.mark.parametrize("is_round", [False, True])
@pytest.mark.parametrize("kind", TEXTURES)
def test_every_texture_is_drawn_from_its_seed_alone(kind: str, is_round: bool) -> None:
    look = Appearance(kind, (0.7, 0.4, 0.2), seed=5, is_round=is_round)
    texture = texture_of(look)
    texture_of.cache_clear()
    for level, again in zip(texture.levels_rgb, texture_of(look).levels_rgb, strict=True):
        assert level.dtype == np.uint8
        assert all(side & (side - 1) == 0 for side in level.shape[:2])
        np.testing.assert_array_equal(level, again)


def test_a_surface_without_pattern_has_nearly_its_colour_everywhere() -> None:
    table = TextureTable([plain((0.2, 0.4, 0.6))])
    points = np.random.default_rng(0).uniform(-1, 1, (3, 200)).astype(np.float32)
    normals = np.tile(np.array([[0], [0], [1]], np.float32), 200)
    found = table.albedo(np.zeros(200, np.int64), points, normals, np.full(200, 1e-3, np.float32))
    np.testing.assert_allclose(found, np.tile([[0.2], [0.4], [0.6]], 200), rtol=0.1)


def test_looks_move_the_random_stream_on_by_as_much_whatever_is_drawn() -> None:
    def after(draw: Callable[[np.random.Generator], object]) -> float:
        rng = np.random.default_rng(3)
        draw(rng)
        return rng.random()

    black = plain((0, 0, 0))
    draws: list[Callable[[np.random.Generator], object]] = [
        *(partial(background_appearance, surface=surface) for surface in SURFACES),
        *(partial(sample_material, look=black, family=family) for family in ("wine_glass", "box")),
        robot_color,
        partial(object_appearance, shape=BOX),
        partial(object_appearance, shape=CAN, others=[black]),
    ]
    assert len({after(draw) for draw in draws}) == 1


def test_labels_go_around_round_shapes_and_onto_the_sides_of_others() -> None:
    looks = [object_appearance(np.random.default_rng(k), shape) for k in range(40) for shape in (BOX, CAN)]
    assert {(look.is_round, look.layout) for look in looks if look.kind == "print"} == {
        (False, "faces"),
        (True, "wrap"),
    }


def test_some_objects_look_like_what_is_there_already() -> None:
    other = plain((0.31, 0.62, 0.13))
    looks = [object_appearance(np.random.default_rng(k), BOX, [other]) for k in range(200)]
    near = [np.abs(np.subtract(look.base_rgb, other.base_rgb)).max() < 0.12 for look in looks]
    assert 25 < sum(near) < 100


def test_an_unknown_surface_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no surface named 'moon'; choose one of floor"):
        background_appearance(np.random.default_rng(0), "moon")


def test_every_look_that_is_drawn_has_a_texture() -> None:
    assert {kind for shares in SHARES.values() for kind in shares} | {"glass", "chrome"} == set(TEXTURES)


def test_few_objects_are_clear_or_mirroring_but_many_wine_glasses_and_spoons_are() -> None:
    def share(family: str, condition: Callable[[Appearance], bool]) -> float:
        rng = np.random.default_rng(2)
        looks = [sample_material(rng, plain((0.2, 0.4, 0.6)), family) for _ in range(400)]
        return sum(map(condition, looks)) / len(looks)

    assert share("wine_glass", lambda look: look.is_clear) > 0.4
    assert share("spoon", lambda look: look.is_mirror) > 0.15
    assert share("banana", lambda look: look.is_clear or look.is_mirror) < 0.04
    assert share("banana", lambda look: look == plain((0.2, 0.4, 0.6))) > 0.96


def test_bodies_differ_in_look_and_equal_ones_do_not() -> None:
    car = FAMILIES["toy_car"](np.random.default_rng(1))
    red = plain((1.0, 0.0, 0.0))
    looks = [body_appearances(car, replace(red, seed=k)) for k in range(40)]
    assert 20 < sum(bool(look) for look in looks) < 40
    for own in filter(None, looks):
        assert len(own) == len(car.bodies)
        assert red.base_rgb in {look.base_rgb for look in own}
        assert len({(look.kind, look.base_rgb, look.seed) for look in own[-4:]}) == 1  # the wheels
    assert any(len({look.base_rgb for look in own}) > 1 for own in looks if own)
    assert body_appearances(BOX, red) == ()


def test_lettering_on_packages_is_never_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    def mark(rng: np.random.Generator, side: np.ndarray, *_: object) -> None:
        side[:, : side.shape[1] // 2] = 255  # the left half, as it is to be seen

    monkeypatch.setattr(packaging, "paint_front", mark)
    monkeypatch.setattr(packaging, "paint_side", mark)
    look = Appearance("package", (0.5, 0.5, 0.5), seed=987, low_m=(-1.0, -1.0, -1.0), high_m=(1.0, 1.0, 1.0))
    table = TextureTable([look])
    for direction in np.vstack([np.eye(3), -np.eye(3)]):
        up = np.array([0.0, 1.0, 0.0]) if direction[2] else np.array([0.0, 0.0, 1.0])
        right = np.cross(-direction, up)
        points = (direction[:, None] + np.outer(right, [-0.5, 0.5])).astype(np.float32)
        normals = np.repeat(direction[:, None], 2, axis=1).astype(np.float32)
        found = table.albedo(np.zeros(2, np.int64), points, normals, np.full(2, 1e-3, np.float32))
        assert found[0].tolist() == pytest.approx([1.0, 0.0], abs=0.05), direction
