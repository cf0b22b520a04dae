from __future__ import annotations

import pytest
import torch

from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.targets import BACKGROUND, IGNORED, assign_locations, sample_positives

NOTHING_IGNORED = torch.zeros(96, 128, dtype=torch.bool)


@pytest.fixture(scope="module")
def model(small_config: CondInstConfig) -> CondInst:
    return CondInst(small_config)


def assign(model: CondInst, boxes: list, centroids: list, ignored: torch.Tensor = NOTHING_IGNORED):
    return assign_locations(
        model, torch.tensor(boxes).float().view(-1, 4), torch.tensor(centroids).float().view(-1, 2), ignored
    )


def positives(model: CondInst, instance: torch.Tensor, index: int) -> list[list[float]]:
    return model.locations_xy[instance == index].tolist()


def test_an_empty_image_is_background_everywhere(model: CondInst) -> None:
    assert (assign(model, [], []).instance == BACKGROUND).all()


def test_positives_lie_within_one_and_a_half_strides_of_the_centroid(model: CondInst) -> None:
    # A 40 px box centred on the stride-8 location (60, 44).
    result = assign(model, [[40, 24, 80, 64]], [[60, 44]])
    expected = [[x, y] for y in (36, 44, 52) for x in (52, 60, 68)]
    assert positives(model, result.instance, 0) == expected
    assert (model.location_level[result.instance == 0] == 0).all()


def test_distances_point_to_the_box(model: CondInst) -> None:
    result = assign(model, [[40, 24, 80, 64]], [[60, 44]])
    at = ((model.locations_xy == torch.tensor([52.0, 36.0])).all(1) & (model.location_level == 0)).nonzero().item()
    assert result.ltrb_px[at].tolist() == [12, 12, 28, 28]


def test_centre_sampling_follows_the_mask_not_the_box(model: CondInst) -> None:
    result = assign(model, [[40, 24, 68, 52]], [[44, 28]])
    assert positives(model, result.instance, 0) == [[x, y] for y in (28, 36) for x in (44, 52)]


@pytest.mark.parametrize(("size", "level"), [(40, 0), (90, 1)])
def test_the_level_follows_the_largest_distance(model: CondInst, size: int, level: int) -> None:
    box = [64 - size / 2, 48 - size / 2, 64 + size / 2, 48 + size / 2]
    result = assign(model, [box], [[64, 48]])
    assert set(model.location_level[result.instance == 0].tolist()) == {level}


def test_the_smallest_box_wins_a_location(model: CondInst) -> None:
    result = assign(model, [[36, 20, 84, 68], [50, 34, 70, 54]], [[60, 44], [60, 44]])
    assert len(positives(model, result.instance, 1)) == 9
    # The larger one keeps its locations of the coarser level.
    assert set(model.location_level[result.instance == 0].tolist()) == {1}


def test_a_tiny_object_between_the_locations_gets_the_nearest_one(model: CondInst) -> None:
    result = assign(model, [[62, 38, 66, 42]], [[64.5, 40.5]])
    assert positives(model, result.instance, 0) == [[68, 44]]
    assert (result.ltrb_px[result.instance == 0] > 0).all()


def test_locations_on_ignored_pixels_are_neither_background_nor_object(model: CondInst) -> None:
    ignored = NOTHING_IGNORED.clone()
    ignored[:, :8] = True
    result = assign(model, [], [], ignored)
    assert set(model.locations_xy[result.instance == IGNORED][:, 0].tolist()) == {4.0}


def test_samples_are_shared_between_instances_and_limited() -> None:
    instance = torch.tensor([0] * 20 + [1] * 2 + [2] * 20 + [BACKGROUND] * 10 + [IGNORED] * 10)
    chosen = sample_positives(instance, 2, 100, torch.Generator().manual_seed(0))
    assert sorted(instance[chosen].tolist()) == [0, 0, 1, 1, 2, 2]
    assert len(set(chosen.tolist())) == 6
    limited = sample_positives(instance, 2, 3, torch.Generator().manual_seed(0))
    assert sorted(instance[limited].tolist()) == [0, 1, 2]


def test_sampling_nothing_from_background() -> None:
    assert len(sample_positives(torch.full((5,), BACKGROUND), 2, 10, torch.Generator())) == 0
