from __future__ import annotations

import pytest
import torch

from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.targets import (
    BACKGROUND,
    IGNORED,
    Assignment,
    _uniform,
    assign_locations,
    sample_positives,
)

Box = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def model(small_config: CondInstConfig) -> CondInst:
    return CondInst(small_config)


def picture(*boxes: Box) -> torch.Tensor:
    """(96, 128) ids of filled boxes; a later one lies in front."""
    ids = torch.zeros(96, 128, dtype=torch.uint8)
    for index, (left, top, right, bottom) in enumerate(boxes, start=1):
        ids[top:bottom, left:right] = index
    return ids


def assign(model: CondInst, ids: torch.Tensor, boxes: list, anchors: list) -> Assignment:
    """The assignment of one image."""
    result = assign_locations(
        model, ids[None], torch.tensor(boxes).float().view(1, -1, 4), torch.tensor(anchors).float().view(1, -1, 2)
    )
    return Assignment(result.instance[0], result.ltrb_px[0], result.quality[0])


def positives(model: CondInst, instance: torch.Tensor, index: int) -> list[list[float]]:
    return model.locations_xy[instance == index].tolist()


def place(model: CondInst, x: float, y: float, level: int = 0) -> int:
    here = (model.locations_xy == torch.tensor([x, y])).all(1) & (model.location_level == level)
    return int(here.nonzero().item())


def test_an_empty_image_is_background_everywhere(model: CondInst) -> None:
    assert (assign(model, picture(), [], []).instance == BACKGROUND).all()


def test_positives_lie_within_one_and_a_half_strides_of_the_anchor(model: CondInst) -> None:
    # A 36 px box whose anchor is the stride-8 location (60, 44).
    result = assign(model, picture((42, 26, 78, 62)), [[42, 26, 78, 62]], [[60, 44]])
    expected = [[x, y] for y in (36, 44, 52) for x in (52, 60, 68)]
    assert positives(model, result.instance, 0) == expected
    assert (model.location_level[result.instance == 0] == 0).all()


def test_distances_point_to_the_box(model: CondInst) -> None:
    result = assign(model, picture((42, 26, 78, 62)), [[42, 26, 78, 62]], [[60, 44]])
    assert result.ltrb_px[place(model, 52, 36)].tolist() == [10, 10, 26, 26]


def test_quality_is_1_at_the_anchor_and_falls_by_strides(model: CondInst) -> None:
    result = assign(model, picture((42, 26, 78, 62)), [[42, 26, 78, 62]], [[60, 44]])
    at_anchor, beside, diagonal = (result.quality[place(model, *xy)].item() for xy in ((60, 44), (68, 44), (52, 36)))
    assert at_anchor == 1
    assert beside == pytest.approx(0.60653, abs=1e-4)  # exp(-1 / 2)
    assert diagonal == pytest.approx(0.36788, abs=1e-4)  # exp(-1)


@pytest.mark.parametrize(("size", "level"), [(40, 0), (90, 1)])
def test_the_level_follows_the_largest_distance(model: CondInst, size: int, level: int) -> None:
    box = (64 - size // 2, 48 - size // 2, 64 + size // 2, 48 + size // 2)
    result = assign(model, picture(box), [list(box)], [[64, 48]])
    assert set(model.location_level[result.instance == 0].tolist()) == {level}


def test_an_object_cut_in_two_keeps_the_locations_that_show_it(model: CondInst) -> None:
    # A pole stands in front of the middle of a plate; the plate's anchor lies in its left half.
    plate, pole = (41, 30, 76, 60), (54, 10, 64, 90)
    result = assign(model, picture(plate, pole), [list(plate), list(pole)], [[48, 44], [59, 50]])
    assert positives(model, result.instance, 0) == [[x, y] for y in (36, 44, 52) for x in (44, 52)]
    assert {x for x, _ in positives(model, result.instance, 1)} <= {56, 60}


def test_a_tiny_object_between_the_locations_gets_the_nearest_one(model: CondInst) -> None:
    result = assign(model, picture((62, 38, 66, 42)), [[62, 38, 66, 42]], [[64.5, 40.5]])
    assert positives(model, result.instance, 0) == [[68, 44]]
    assert (result.ltrb_px[result.instance == 0] > 0).all()


def test_a_tiny_object_takes_its_location_from_what_it_lies_on(model: CondInst) -> None:
    table, coin = (42, 26, 78, 62), (62, 46, 65, 49)
    result = assign(model, picture(table, coin), [list(table), list(coin)], [[60, 44], [63.5, 47.5]])
    assert positives(model, result.instance, 1) == [[60, 44]]
    assert len(positives(model, result.instance, 0)) == 8


def test_locations_on_ignored_pixels_are_neither_background_nor_object(model: CondInst) -> None:
    ids = picture()
    ids[:, :8] = IGNORE_ID
    result = assign(model, ids, [], [])
    assert set(model.locations_xy[result.instance == IGNORED][:, 0].tolist()) == {4.0}


def test_images_of_a_batch_do_not_disturb_each_other(model: CondInst) -> None:
    plate, pole, coin = (41, 30, 76, 60), (54, 10, 64, 90), (62, 38, 66, 42)
    pictures = [picture(plate, pole), picture(), picture(coin)]
    boxes = [[list(plate), list(pole)], [], [list(coin)]]
    anchors = [[[48, 44], [59, 50]], [], [[64.5, 40.5]]]
    padded = torch.zeros(3, 2, 6)
    for image, rows in enumerate(boxes):
        for row, box in enumerate(rows):
            padded[image, row] = torch.tensor([*box, *anchors[image][row]]).float()
    together = assign_locations(model, torch.stack(pictures), padded[..., :4], padded[..., 4:])
    for image in range(3):
        alone = assign(model, pictures[image], boxes[image], anchors[image])
        assert torch.equal(together.instance[image], alone.instance)
        found = alone.instance >= 0
        assert torch.equal(together.ltrb_px[image][found], alone.ltrb_px[found])
        assert torch.equal(together.quality[image][found], alone.quality[found])


def drawn(instance: torch.Tensor, per_instance: int, limit: int, *seeds: int) -> list[list[int]]:
    """The chosen locations of each image."""
    chosen, counts = sample_positives(instance, per_instance, limit, torch.tensor(seeds))
    assert chosen.shape == (len(seeds), min(limit, instance.shape[1]))  # whatever there is to choose from
    assert not (counts[:, 1:] & ~counts[:, :-1]).any()
    return [row[counted].tolist() for row, counted in zip(chosen, counts, strict=True)]


def test_samples_are_shared_between_instances_and_limited() -> None:
    instance = torch.tensor([[0] * 20 + [1] * 2 + [2] * 20 + [BACKGROUND] * 10 + [IGNORED] * 10])
    (chosen,) = drawn(instance, 2, 100, 0)
    assert sorted(instance[0, chosen].tolist()) == [0, 0, 1, 1, 2, 2]
    assert len(set(chosen)) == 6
    (limited,) = drawn(instance, 2, 3, 0)
    assert sorted(instance[0, limited].tolist()) == [0, 1, 2]


def test_samples_of_an_image_depend_on_its_seed_alone() -> None:
    first = torch.tensor([0] * 20 + [1] * 20)
    second = torch.tensor([0] * 5 + [BACKGROUND] * 35)
    together = drawn(torch.stack([second, first, second]), 2, 3, 7, 8, 9)
    assert [len(chosen) for chosen in together] == [2, 3, 2]
    assert together[1] == drawn(first[None], 2, 3, 8)[0]
    assert len({tuple(drawn(first[None], 2, 3, seed)[0]) for seed in range(8)}) > 4


def test_every_location_of_an_instance_is_drawn_equally_often() -> None:
    instance = torch.tensor([[BACKGROUND, 1, 0, 0, 1, 0, IGNORED, 0]]).repeat(8000, 1)
    chosen, counts = sample_positives(instance, 2, 100, torch.arange(8000) + 2**40)
    times = torch.bincount(chosen[counts], minlength=8).tolist()
    assert [times[index] for index in (0, 1, 4, 6)] == [0, 8000, 8000, 0]
    assert [times[index] for index in (2, 3, 5, 7)] == pytest.approx([4000] * 4, rel=0.05)


def samples_one_by_one(instance: torch.Tensor, per_instance: int, limit: int, draws: torch.Tensor) -> list[int]:
    """What `sample_positives` chooses in one image, by its definition."""
    ranked = []
    for value in range(int(instance.max()) + 1):
        own = sorted((float(draws[index]), index) for index in (instance == value).nonzero().flatten().tolist())
        ranked += [(rank, draw, index) for rank, (draw, index) in enumerate(own[:per_instance])]
    return [index for _, _, index in sorted(ranked)[:limit]]


@pytest.mark.parametrize(("per_instance", "limit"), [(1, 4), (2, 6), (3, 40)])
def test_samples_are_those_of_a_loop_over_images_and_instances(per_instance: int, limit: int) -> None:
    random = torch.Generator().manual_seed(3)
    instance = torch.randint(IGNORED, 6, (5, 60), generator=random)
    seeds = torch.tensor([0, 1, 2**33, 2**61, 77])
    expected = [
        samples_one_by_one(labels, per_instance, limit, draws)
        for labels, draws in zip(instance, _uniform(seeds, 60), strict=True)
    ]
    assert drawn(instance, per_instance, limit, *seeds.tolist()) == expected


def test_sampling_nothing_from_background() -> None:
    assert drawn(torch.full((1, 5), BACKGROUND), 2, 10, 0) == [[]]
