"""Masks settled in PyTorch are those that the CPU's code makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.postprocessing import (
    NetworkOutput,
    NotFiniteError,
    Selection,
    SettledMasks,
    settled_instances,
    to_instances,
)
from instance_seg_ros.segmentation.runtimes.mask_settling import PREFIX, selection_array, settle

SIZE_WH = (40, 30)


def blobs(seed: int, count: int = 12, **changes: Any) -> NetworkOutput:
    """Round masks on a grid of a fifth of the camera's size, some of them overlapping, some beyond the border."""
    rng = np.random.default_rng(seed)
    centre, radius = rng.uniform(0, SIZE_WH, (count, 2)), rng.uniform(3, 12, (count, 1))
    rows, columns = np.mgrid[:7, :9]
    distance = np.hypot(5 * columns + 2 - centre[:, :1, None], 5 * rows + 2 - centre[:, 1:, None])
    fields: dict[str, Any] = {
        "boxes_xyxy": np.concatenate((centre - radius, centre + radius), axis=1).astype(np.float32),
        "scores": rng.permutation(np.linspace(0, 1, count)).astype(np.float32),
        "class_ids": rng.integers(0, 2, count),
        "masks": (1 / (1 + np.exp(distance - radius[..., None]))).astype(np.float16),
        "mask_scale": np.array([0.2, 0.22], dtype=np.float32),
    }
    return NetworkOutput(**(fields | changes))


def upsampling(seed: int) -> dict[str, Any]:
    weights = np.random.default_rng(seed).random((9, 2, 2, 7, 9))
    scale = np.array([0.4, 0.44], dtype=np.float32)
    return {"mask_upsampling": (weights / weights.sum(axis=0)).astype(np.float16), "mask_scale": scale}


def settled(output: NetworkOutput, selection: Selection) -> SettledMasks:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in vars(output).items() if value is not None}
    results = settle(tensors, torch.from_numpy(selection_array(selection)), SIZE_WH)
    return SettledMasks(**{name.removeprefix(PREFIX): value.numpy() for name, value in results.items()})


def assert_equal(first: Instances, second: Instances) -> None:
    for name in ("masks", "boxes_xyxy", "scores", "class_ids"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other), name


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "changes",
    [{}, {"mask_offset": np.array([0.3, -0.2], dtype=np.float32)}, upsampling(0), {"scores": np.ones(12, np.float32)}],
    ids=["plain", "offset", "upsampled", "equal scores"],
)
@pytest.mark.parametrize("selection", [Selection(0.3, 0.5, 50, 1), Selection(0.0, 0.4, 5, 30)])
def test_the_instances_are_those_of_the_cpu(seed: int, changes: dict, selection: Selection) -> None:
    output, names = blobs(seed, **changes), ("cup", "can")
    expected = to_instances(output, SIZE_WH, names, **vars(selection))
    assert_equal(settled_instances(settled(output, selection), names, selection.min_mask_pixels), expected)
    if selection.score_threshold == 0.3:
        assert len(expected) > 2


def test_more_rows_than_8_bits_count_are_told_apart() -> None:
    selection = Selection(0.0, 0.5, 1000, 1)
    output = blobs(3, count=300)
    result = settled(output, selection)
    assert result.owner.dtype == np.int16
    expected = to_instances(output, SIZE_WH, ("cup", "can"), **vars(selection))
    assert_equal(settled_instances(result, ("cup", "can"), 1), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_mask_that_is_not_finite_where_it_is_looked_at_is_an_error(value: float) -> None:
    output = blobs(0)
    output.masks[np.argmax(output.scores)] = value
    with pytest.raises(NotFiniteError, match="masks are not finite"):
        settled(output, Selection(0.3, 0.5, 50, 1))


def test_a_mask_of_a_row_that_is_left_out_may_be_anything() -> None:
    selection, output = Selection(0.3, 0.5, 50, 1), blobs(0)
    assert output.scores.min() < selection.score_threshold
    expected = settled_instances(settled(output, selection), ("cup", "can"), 1)
    output.masks[np.argmin(output.scores)] = np.nan
    assert_equal(settled_instances(settled(output, selection), ("cup", "can"), 1), expected)
