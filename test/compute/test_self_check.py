"""A library that does not compute what NumPy computes is named before a robot acts on its results."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.compute import NumpyCompute
from instance_seg_ros.compute.self_check import first_difference


class RoundedSums(NumpyCompute):
    """Rounds factors to 10 bits of mantissa, as TensorFloat-32 does."""

    def window_moments(self, image: NDArray, *arguments: object) -> list[NDArray]:
        return super().window_moments(image.astype(np.float16).astype(np.float32), *arguments)


class WrongBorder(NumpyCompute):
    """Erodes from beyond the image's border."""

    def eroded(self, mask: NDArray, side_px: int) -> NDArray:
        eroded = super().eroded(mask, side_px)
        eroded[..., 0, :] = False
        eroded[..., :, 0] = False
        return eroded


class LowerMedian(NumpyCompute):
    """Takes the lower one of two middle values."""

    def median(self, values: NDArray, mask: NDArray) -> NDArray:
        return np.array([np.sort(own[named])[(named.sum() - 1) // 2] for own, named in zip(values, mask, strict=True)])


class UnstableOrder(NumpyCompute):
    """Puts equals in the opposite order."""

    def stable_order(self, values: NDArray) -> NDArray:
        return values.shape[-1] - 1 - np.argsort(values[..., ::-1], axis=-1, kind="stable")


@pytest.mark.parametrize(
    ("compute", "difference"),
    [
        (NumpyCompute(), None),
        (RoundedSums(), "sums over windows"),
        (WrongBorder(), "masks' neighbourhoods"),
        (LowerMedian(), "medians"),
        (UnstableOrder(), "orders"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_first_operation_that_departs_is_named(compute: NumpyCompute, difference: str | None) -> None:
    assert first_difference(compute) == difference


def test_pytorch_computes_what_numpy_computes() -> None:
    pytest.importorskip("torch")
    from instance_seg_ros.compute.torch_compute import TorchCompute

    assert first_difference(TorchCompute("cpu")) is None
