from __future__ import annotations

import itertools

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.objects import FAMILIES
from instance_seg_ros.learning.synthetic.rooms.physics import settle
from instance_seg_ros.learning.synthetic.rooms.placing import ARRANGEMENTS, place_objects, sample_shapes
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import Placed, Support


def floor(rng: np.random.Generator) -> Support:
    support = sample_support(rng, "floor")
    return Support("floor", support.solid, (), (0.5, 0.5), support.open_yaw)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_every_arrangement_places_every_shape_above_the_support(arrangement: str) -> None:
    rng = np.random.default_rng(4)
    shapes = sample_shapes(rng, tuple(FAMILIES), 12, arrangement)
    placed = place_objects(rng, shapes, floor(rng), arrangement)
    assert [item.instance_id for item in placed] == list(range(1, 13))
    assert {id(item.shape) for item in placed} == {id(shape) for shape in shapes}
    for item in placed:
        lowest = item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices))[:, 2].min()
        assert lowest >= 0.0019


def test_rows_put_the_same_object_side_by_side_without_overlap() -> None:
    rng = np.random.default_rng(0)
    box = FAMILIES["box"](rng)
    placed = place_objects(rng, [box] * 6, floor(rng), "rows")
    centres = np.array([item.T_world_shape.translation_m for item in placed])
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)[~np.eye(6, dtype=bool)].reshape(6, 5).min(axis=1)
    assert (gaps > box.mesh.extents.min()).all()
    assert (gaps < box.mesh.extents.max() + 0.005).all()


def test_rows_repeat_shapes_and_other_arrangements_do_not() -> None:
    rng = np.random.default_rng(1)
    assert len({id(s) for s in sample_shapes(rng, tuple(FAMILIES), 12, "rows")}) < 12
    assert len({id(s) for s in sample_shapes(rng, tuple(FAMILIES), 12, "dropped")}) == 12


def test_only_given_families_are_arranged() -> None:
    rng = np.random.default_rng(2)
    for arrangement in ARRANGEMENTS:
        assert {s.family for s in sample_shapes(rng, ("can", "pen"), 9, arrangement)} <= {"can", "pen"}


def test_nothing_to_place_is_fine() -> None:
    rng = np.random.default_rng(3)
    assert place_objects(rng, [], floor(rng), "mixed") == ()


def test_some_scenes_hold_packages_and_vessels_alone() -> None:
    kinds = {"box", "carton", "small_box", "book", "can", "cylinder", "cup", "mug", "bowl", "bottle", "plate"}
    scenes = [sample_shapes(np.random.default_rng(k), tuple(FAMILIES), 12, "packed") for k in range(60)]
    alone = [shapes for shapes in scenes if {shape.family for shape in shapes} <= kinds]
    assert 4 <= len(alone) <= 16
    assert any(len({shape.family for shape in shapes}) > 5 for shapes in alone)


def test_families_without_packages_and_vessels_are_kept_to() -> None:
    for k in range(20):
        assert {s.family for s in sample_shapes(np.random.default_rng(k), ("banana", "shoe"), 3, "packed")} <= {
            "banana",
            "shoe",
        }


def _top_and_bottom_m(item: Placed) -> tuple[float, float]:
    heights = item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices))[:, 2]
    return float(heights.max()), float(heights.min())


def test_a_pile_of_boxes_still_stands_after_physics() -> None:
    standing = 0
    for seed in range(6):
        rng = np.random.default_rng([seed, 1])
        support = floor(rng)
        shapes = [FAMILIES[name](rng) for name in ("book", "box", "carton", "book")]
        before = place_objects(rng, shapes, support, "piled")
        on_top = [item for item in before if _top_and_bottom_m(item)[1] > 0.01]
        after = {item.instance_id: item for item in settle(support, before)}
        standing += sum(_top_and_bottom_m(after[item.instance_id])[1] > 0.005 for item in on_top)
    assert standing >= 8


def test_flush_boxes_stand_with_hardly_a_gap() -> None:
    rng = np.random.default_rng(5)
    shapes = [FAMILIES["book"](rng) for _ in range(5)]
    placed = place_objects(rng, shapes, floor(rng), "flush")
    gaps = []
    for first, second in itertools.pairwise(placed):
        a, b = (item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices)) for item in (first, second))
        gaps.append(float(np.linalg.norm(a[:, None] - b[None], axis=-1).min()))
    assert np.median(gaps) < 0.05


def test_large_things_stand_close_behind_small_ones() -> None:
    rng = np.random.default_rng(2)
    shapes = [FAMILIES[name](rng) for name in ("small_box", "large_box", "mug", "pen")]
    placed = place_objects(rng, shapes, floor(rng), "behind")
    assert placed[0].shape.family == "large_box"
    large = placed[0].T_world_shape.apply(np.asarray(placed[0].shape.mesh.vertices))
    for item in placed[1:]:
        points = item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices))
        away = np.linalg.norm(points.mean(axis=0)[:2] - large.mean(axis=0)[:2])
        assert away < 0.5
