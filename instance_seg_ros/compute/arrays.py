"""Arrays of NumPy or of PyTorch: what the stages ask of either, beyond what both call by the same name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame

Array = Any
"""An ndarray or a Tensor. Code over them uses operators and functions that both have, from `namespace`."""


@dataclass(frozen=True, eq=False)
class FrameArrays:
    """What the geometry needs of a frame, where it is computed.

    Attributes:
        depth_m: (H, W) float32, 0 = no measurement.
        rays: (H, W, 2) float32, x / z and y / z of each pixel's ray.
        intrinsics: of the camera.
    """

    depth_m: Array
    rays: Array
    intrinsics: Intrinsics


class Compute(Protocol):
    """What differs between the libraries. Arrays are its own unless they are called NDArray. For one caller at a time.

    Leading axes called B are instances: `instances_at_once` of them are worked on together, padded to the same size.
    """

    @property
    def name(self) -> str:
        """What computes, and where; one line for a person."""

    @property
    def instances_at_once(self) -> int:
        """How many instances make a batch: 1 where a call costs little, all of a frame where launching one is dear."""

    @property
    def grasps_at_once(self) -> int:
        """So many grasps are checked against the scene before it is asked whether that was enough."""

    def array(self, host: NDArray) -> Array:
        """An array of NumPy as one of this library, with the same dtype."""

    def constant(self, host: NDArray) -> Array:
        """The same of an array that never changes and is always the same object; it is kept for the next time."""

    def host(self, array: Array) -> NDArray:
        """The other way; waits until it is computed."""

    def frame(self, frame: RgbdFrame) -> FrameArrays:
        """The frame's arrays; that of the last frame is kept, so that the stages of a frame share it."""

    def rows(self, values: Array, index: Array) -> Array:
        """(B, K, ...) values[b, index[b, k]] of (B, N, ...) at (B, K) int64."""

    def stable_order(self, values: Array) -> Array:
        """(..., N) int64 that sorts (..., N) ascending along the last axis; equals keep their order."""

    def true_places(self, mask: Array, ranks: Array) -> Array:
        """(B, K) int64: where in (B, N) bool the true value is that has so many before it; any place if none has.

        Args:
            ranks: (B, K) int64, >= 0.
        """

    def median(self, values: Array, mask: Array) -> NDArray[np.float64]:
        """(B,) median of those of (B, N) values that (B, N) bool names; 0 where it names none."""

    def dilated(self, image: Array, side_px: int) -> Array:
        """The largest of the square of this odd side around each pixel of (..., H, W) bool or int16."""

    def eroded(self, mask: Array, side_px: int) -> Array:
        """The smallest likewise, of (..., H, W) bool; beyond the image's border all is true."""

    def window_moments(
        self, image: Array, radii_px: Sequence[int], powers_xy: Sequence[tuple[int, int]]
    ) -> Sequence[Array]:
        """For each (p, q) the sums of image * u^p * v^q over a square window around every pixel, (B, H, W) float32.

        Args:
            image: (B, H, W) float32, 0 beyond its border.
            radii_px: B of them; the window spans 2 radius + 1 pixels a side, over which u and v go from -1 to 1.
        """


def namespace(array: Array) -> Any:
    """The module `numpy` or `torch`, whichever made the array."""
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    import torch

    return torch


def cast(array: Array, dtype: str) -> Array:
    """With another dtype, by its name in both libraries."""
    return (
        array.astype(dtype, copy=False) if isinstance(array, np.ndarray) else array.to(getattr(namespace(array), dtype))
    )


def dot(first: Array, second: Array) -> Array:
    """Scalar products (...) of (..., 3)."""
    if not isinstance(first, np.ndarray):
        return namespace(first).linalg.vecdot(first, second)
    # NumPy adds up along an axis of three much slower than this.
    x, y, z = (first[..., axis] * second[..., axis] for axis in range(3))
    return x + y + z


def cross(first: Array, second: Array) -> Array:
    """Vector products of (..., 3)."""
    if not isinstance(first, np.ndarray):
        return namespace(first).linalg.cross(first, second)
    return np.cross(first, second)


def length(vectors: Array) -> Array:
    """(...) of (..., 3)."""
    return namespace(vectors).sqrt(dot(vectors, vectors))
