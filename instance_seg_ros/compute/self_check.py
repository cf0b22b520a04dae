"""Whether a library computes on this machine what NumPy computes: a GPU and its driver may be ones nobody has tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.compute.arrays import Compute
from instance_seg_ros.compute.numpy_compute import NumpyCompute

_SHAPE = (2, 24, 32)
_RADII_PX = (3, 5)
_POWERS_XY = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
_TOLERANCE = 1e-4
"""Relative to 1: sums over windows of up to 121 values in float32; TensorFloat-32 would be off by ten times as much."""


def first_difference(compute: Compute) -> str | None:
    """The first operation of a library that departs from NumPy's on a small drawn problem; None where all agree."""
    return next(
        (
            name
            for name, task in _TASKS.items()
            if not all(
                np.allclose(own, expected, rtol=_TOLERANCE, atol=_TOLERANCE)
                for own, expected in zip(task(compute), task(NumpyCompute()), strict=True)
            )
        ),
        None,
    )


def _drawn() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(2, 24, 32) values in [0, 1), with equal ones among them, and those above 0.6."""
    values = np.random.default_rng(0).random(_SHAPE, dtype=np.float32).round(3)
    return values, values > 0.6


def _windows(compute: Compute) -> Sequence[NDArray]:
    values, _ = _drawn()
    return [compute.host(sums) for sums in compute.window_moments(compute.array(values), _RADII_PX, _POWERS_XY)]


def _neighbours(compute: Compute) -> Sequence[NDArray]:
    mask = compute.array(_drawn()[1])
    return [compute.host(compute.dilated(mask, 5)), compute.host(compute.eroded(mask, 3))]


def _medians(compute: Compute) -> Sequence[NDArray]:
    values, mask = (compute.array(array.reshape(2, -1)) for array in _drawn())
    return [compute.median(values, mask)]


def _orders(compute: Compute) -> Sequence[NDArray]:
    values, mask = (compute.array(array.reshape(2, -1)) for array in _drawn())
    order = compute.stable_order(values)
    ranks = compute.array(np.tile(np.arange(0, 200, 7), (2, 1)))
    return [compute.host(array) for array in (order, compute.rows(values, order), compute.true_places(mask, ranks))]


_TASKS: dict[str, Callable[[Compute], Sequence[NDArray]]] = {
    "sums over windows": _windows,
    "masks' neighbourhoods": _neighbours,
    "medians": _medians,
    "orders": _orders,
}
