"""Rigid transforms, planes and oriented boxes: small immutable values, float64, metres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.floating]

BOX_EDGES = [(i, i | 1 << axis) for i in range(8) for axis in range(3) if not i >> axis & 1]
"""The twelve edges of a box, as pairs of indices of `OrientedBox.corners_m`: those that differ in one bit."""

_CORNER_SIGNS = np.array([[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)], dtype=np.float64)
_ORTHONORMAL_TOLERANCE = 1e-4
_ROUNDING = 1e-12
"""By so much the rotation of a few products is off; from there on it is made one again before the errors add up."""


def frozen(values: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    """A read-only, contiguous float64 copy of something with a name.

    Raises:
        ValueError: for another shape, or a value that is not finite.
    """
    array = np.array(values, dtype=np.float64, order="C")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    numbers = array.ravel().tolist()  # of so few, Python is faster than NumPy, and a sum is faster than a look at each
    if not math.isfinite(sum(numbers)) and not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} must be finite, not {array.tolist()}")
    array.setflags(write=False)
    return array


def cross(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector product of two (3,) vectors; for so few numbers much faster than NumPy's for any shape."""
    (a, b, c), (x, y, z) = first.tolist(), second.tolist()
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])


def _departure_from_rotation(matrix: NDArray[np.float64]) -> tuple[float, float]:
    """By how much the scalar products of the rows of (3, 3) are off at most, and the determinant."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    unit = abs(a * a + b * b + c * c - 1), abs(d * d + e * e + f * f - 1), abs(g * g + h * h + i * i - 1)
    right = abs(a * d + b * e + c * f), abs(d * g + e * h + f * i), abs(g * a + h * b + i * c)
    return max(*unit, *right), a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)


def _nearest_rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthonormal (3, 3) next to one that is off by 1e-4 at most, to 1e-12 and better.

    Two steps of Björck and Bowie, An iterative algorithm for computing the best estimate of an orthogonal matrix, SIAM
    Journal on Numerical Analysis 8 (1971), eq. 1.5, each of which squares the error.
    """
    for _ in range(2):
        matrix = matrix @ (1.5 * np.eye(3) - 0.5 * matrix.T @ matrix)
    return matrix


def dot(first: FloatArray, second: FloatArray) -> FloatArray:
    """Scalar products (...) of (..., 2) or (..., 3); NumPy adds up along so short an axis much slower than this."""
    products = [first[..., axis] * second[..., axis] for axis in range(first.shape[-1])]
    return np.asarray(sum(products[1:], start=products[0]))


def length(vectors: FloatArray) -> FloatArray:
    """Lengths (...) of (..., 2) or (..., 3)."""
    return np.asarray(np.sqrt(dot(vectors, vectors)))


@dataclass(frozen=True, eq=False)
class Transform:
    """A rigid transform `T_a_b` from coordinates in frame b to those in frame a: p_a = rotation @ p_b + translation_m.

    Attributes:
        rotation: (3, 3) float64, orthonormal, determinant +1; the nearest one to what is given within 1e-4.
        translation_m: (3,) float64, metres.

    Raises:
        ValueError: on a wrong shape, a value that is not finite, or a matrix that is not a rotation.
    """

    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", frozen(self.rotation, (3, 3), "rotation"))
        object.__setattr__(self, "translation_m", frozen(self.translation_m, (3,), "translation_m"))
        error, determinant = _departure_from_rotation(self.rotation)
        if error > _ORTHONORMAL_TOLERANCE or determinant < 0:
            raise ValueError(f"rotation must be orthonormal with determinant +1; it is off by {error:.2g}")
        if error > _ROUNDING:
            object.__setattr__(self, "rotation", frozen(_nearest_rotation(self.rotation), (3, 3), "rotation"))

    @classmethod
    def identity(cls) -> Transform:
        """The transform that changes nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Transform:
        """From a (4, 4) homogeneous matrix.

        Raises:
            ValueError: for another shape, or what is no rigid transform.
        """
        homogeneous = np.asarray(matrix, dtype=np.float64)
        if homogeneous.shape != (4, 4):
            raise ValueError(f"matrix must have shape (4, 4), not {homogeneous.shape}")
        return cls(homogeneous[:3, :3], homogeneous[:3, 3])

    @classmethod
    def each(cls, rotations: NDArray[np.float64], translations_m: NDArray[np.float64]) -> list[Transform]:
        """Those of rotations (N, 3, 3) and translations (N, 3), checked together, which takes a third of the time.

        Raises:
            ValueError: for another shape, a value that is not finite, or a matrix that is not a rotation.
        """
        count = len(rotations)
        rotations = frozen(rotations, (count, 3, 3), "rotations")
        translations_m = frozen(translations_m, (count, 3), "translations_m")
        errors = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
        is_rotation = (errors <= _ROUNDING) & (np.linalg.det(rotations) > 0)
        return [
            cls._of_checked(rotation, translation_m) if own else cls(rotation, translation_m)
            for rotation, translation_m, own in zip(rotations, translations_m, is_rotation.tolist(), strict=True)
        ]

    @classmethod
    def from_quaternion(cls, quaternion_xyzw: ArrayLike, translation_m: ArrayLike) -> Transform:
        """From a quaternion (x, y, z, w), normalised here, and a translation.

        Raises:
            ValueError: when the quaternion's norm is 0, as in a message that was never filled.
        """
        quaternion = np.asarray(quaternion_xyzw, dtype=np.float64)
        if not np.isfinite(quaternion).all() or np.linalg.norm(quaternion) < 1e-9:
            raise ValueError(f"quaternion must be finite and not zero, not {quaternion.tolist()}")
        return cls(Rotation.from_quat(quaternion).as_matrix(), np.asarray(translation_m, dtype=np.float64))

    @classmethod
    def from_text(cls, text: str) -> Transform:
        """From the seven numbers 'x y z qx qy qz qw', metres and a quaternion, as a person writes a pose.

        Raises:
            ValueError: quoting the text, when it is no pose.
        """
        try:
            x, y, z, *quaternion_xyzw = (float(word) for word in text.split())
            return cls.from_quaternion(quaternion_xyzw, (x, y, z))
        except ValueError as error:
            raise ValueError(f"must be 'x y z qx qy qz qw', not {text!r} ({error})") from error

    @property
    def quaternion_xyzw(self) -> NDArray[np.float64]:
        """(4,) unit quaternion (x, y, z, w) with w >= 0; of w = 0, the first of the others that is not 0 is positive.

        By Shepperd's method (1978): from the largest of the four numbers, which loses nothing to rounding. For one
        rotation much faster than SciPy's for many.
        """
        (a, b, c), (d, e, f), (g, h, i) = self.rotation.tolist()
        candidates = (
            (1 + a - e - i, b + d, c + g, h - f),
            (b + d, 1 - a + e - i, f + h, c - g),
            (c + g, f + h, 1 - a - e + i, d - b),
            (h - f, c - g, d - b, 1 + a + e + i),
        )
        largest = max(range(4), key=lambda axis: candidates[axis][axis])
        x, y, z, w = candidates[largest]
        size = math.copysign(math.sqrt(x * x + y * y + z * z + w * w), next(filter(None, (w, x, y, z))))
        return np.array([x / size, y / size, z / size, w / size])

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(4, 4) homogeneous matrix."""
        homogeneous = np.eye(4)
        homogeneous[:3, :3] = self.rotation
        homogeneous[:3, 3] = self.translation_m
        return homogeneous

    def moved_to(self, translation_m: ArrayLike) -> Transform:
        """The same rotation at another place.

        Raises:
            ValueError: for another shape, or a value that is not finite.
        """
        return Transform._of_checked(self.rotation, frozen(translation_m, (3,), "translation_m"))

    def inverse(self) -> Transform:
        """`T_b_a` of this `T_a_b`."""
        return self._inverse

    @cached_property
    def _inverse(self) -> Transform:
        # Kept, since stage after stage needs that of the same pose.
        rotation = np.ascontiguousarray(self.rotation.T)
        return Transform._of_checked(rotation, -rotation @ self.translation_m)

    @classmethod
    def _of_checked(cls, rotation: NDArray[np.float64], translation_m: NDArray[np.float64]) -> Transform:
        """From new arrays of what was checked before."""
        own = object.__new__(cls)
        for name, values in (("rotation", rotation), ("translation_m", translation_m)):
            values.setflags(write=False)
            object.__setattr__(own, name, values)
        return own

    def __matmul__(self, other: Transform) -> Transform:
        """`T_a_b @ T_b_c = T_a_c`."""
        return Transform(self.rotation @ other.rotation, self.rotation @ other.translation_m + self.translation_m)

    def apply(self, points_m: FloatArray) -> FloatArray:
        """Map (..., 3) points from frame b to frame a; the dtype of the points is kept."""
        dtype = points_m.dtype
        return points_m @ self.rotation.T.astype(dtype, copy=False) + self.translation_m.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False)
class Plane:
    """The points with `normal @ p + offset_m == 0`; the normal points to the free side.

    Attributes:
        normal: (3,) float64 unit vector.
        offset_m: metres.

    Raises:
        ValueError: on a wrong shape, a value that is not finite, or a normal that is no unit vector.
    """

    normal: NDArray[np.float64]
    offset_m: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "normal", frozen(self.normal, (3,), "normal"))
        size = math.hypot(*self.normal.tolist())
        if abs(size - 1.0) > _ORTHONORMAL_TOLERANCE:
            raise ValueError(f"normal must be a unit vector, its length is {size:.4f}")
        if not math.isfinite(self.offset_m):
            raise ValueError(f"offset_m must be finite, not {self.offset_m}")

    def height_m(self, points_m: FloatArray) -> FloatArray:
        """Signed distance of (..., 3) points above the plane, (...), metres."""
        return points_m @ self.normal.astype(points_m.dtype, copy=False) + points_m.dtype.type(self.offset_m)

    def project(self, points_m: FloatArray) -> FloatArray:
        """The nearest points on the plane, (..., 3)."""
        return points_m - self.height_m(points_m)[..., None] * self.normal.astype(points_m.dtype)

    def basis(self) -> NDArray[np.float64]:
        """(3, 3) right-handed rotation whose columns are two directions in the plane and the normal; read-only."""
        return self._basis

    @cached_property
    def _basis(self) -> NDArray[np.float64]:
        # Kept, since all objects on a plane need that of the same one.
        normal = x, y, z = self.normal.tolist()
        sizes = [abs(component) for component in normal]
        axis = sizes.index(min(sizes))
        # The cross product of that axis's unit vector and the normal, and of the normal and that.
        first = [(0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)][axis]
        a, b, c = (component / math.hypot(*first) for component in first)
        basis = np.array([[a, y * c - z * b, x], [b, z * a - x * c, y], [c, x * b - y * a, z]])
        basis.setflags(write=False)
        return basis


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """A box by the pose of its centre and its full side lengths.

    Attributes:
        T_camera_box: pose of the box; its axes are the sides' directions, its origin the box's centre.
        size_m: (3,) float64, full lengths along the box's x, y and z, each >= 0.

    Raises:
        ValueError: on a wrong shape, or a length that is negative or not finite.
    """

    T_camera_box: Transform
    size_m: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_m", frozen(self.size_m, (3,), "size_m"))
        if min(self.size_m.tolist()) < 0:
            raise ValueError(f"size_m must not be negative, not {self.size_m.tolist()}")

    @property
    def corners_m(self) -> NDArray[np.float64]:
        """(8, 3) corners; bit 0 of the index is +x, bit 1 +y, bit 2 +z."""
        return np.asarray(self.T_camera_box.apply(_CORNER_SIGNS * self.size_m / 2), dtype=np.float64)
