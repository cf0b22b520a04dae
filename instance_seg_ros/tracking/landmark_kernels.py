"""Loops over descriptors and over matches of landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel

FloatArray = NDArray[np.float64]

_LEAST_SINE = 0.1
"""Three places that lie more nearly on one line than this tell no rotation."""
_LEAST_SPREAD = 1e-6
"""Of the determinant of what agrees, against what it is without products of two axes: less is a line."""


@inner
def _count_bits(word: np.uint64) -> np.uint64:
    """In parallel sums of pairs, nibbles and bytes, which the compiler knows for what the processor can do at once."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@kernel(
    "uint64[:, ::1]",
    "uint64[:, ::1]",
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64",
    "int64[::1]",
    writes=("partner",),
)
def find_mutual(
    first: NDArray[np.uint64],
    second: NDArray[np.uint64],
    first_m: FloatArray,
    second_m: FloatArray,
    reach_m: float,
    partner: NDArray[np.int64],
) -> None:
    """Which descriptors are each other's nearest, in bits that differ, of those that are not farther apart than that.

    Args:
        first, second: (W, N) and (W, M) words of the descriptors.
        first_m, second_m: (N, 3) and (M, 3) where they are, in one frame.
        reach_m: how far apart two may be; inf: anywhere.
        partner: (N,), set to the nearest of `second`, -1 where that has a nearer one, or none is in reach. Of equal
            ones the first counts.
    """
    farthest_m2, none = reach_m * reach_m, np.uint64(1 << 32)
    count = second.shape[1]
    bits = np.empty(count, dtype=np.uint64)
    least, owner = np.full(count, np.iinfo(np.uint64).max), np.zeros(count, dtype=np.int64)
    for row in range(first.shape[1]):
        bits[:] = 0
        for word in range(len(first)):
            own = first[word, row]
            for column in range(count):
                bits[column] += _count_bits(own ^ second[word, column])
        if reach_m < np.inf:
            for column in range(count):
                off_m2 = 0.0
                for i in range(3):
                    off_m2 += (first_m[row, i] - second_m[column, i]) ** 2
                if off_m2 > farthest_m2:
                    bits[column] = none
        best = 0
        for column in range(count):
            if bits[column] < bits[best]:
                best = column
            if bits[column] < least[column]:
                least[column], owner[column] = bits[column], row
        partner[row] = best if count and bits[best] < none else -1
    for row in range(first.shape[1]):
        if partner[row] >= 0 and owner[partner[row]] != row:
            partner[row] = -1


@inner
def _frame_of(points_m: FloatArray, a: int, b: int, c: int, axes: FloatArray) -> tuple[float, float, float, float]:
    """Writes the axes (3, 3) of a triangle into its rows; returns the lengths of its sides and the sine at the first
    corner."""
    x, y, z = points_m[b, 0] - points_m[a, 0], points_m[b, 1] - points_m[a, 1], points_m[b, 2] - points_m[a, 2]
    u, v, w = points_m[c, 0] - points_m[a, 0], points_m[c, 1] - points_m[a, 1], points_m[c, 2] - points_m[a, 2]
    first, second = np.sqrt(x * x + y * y + z * z), np.sqrt(u * u + v * v + w * w)
    third = np.sqrt((u - x) ** 2 + (v - y) ** 2 + (w - z) ** 2)
    p, q, r = y * w - z * v, z * u - x * w, x * v - y * u
    area = np.sqrt(p * p + q * q + r * r)
    if area == 0:
        return first, second, third, 0.0
    axes[0, 0], axes[0, 1], axes[0, 2] = x / first, y / first, z / first
    axes[2, 0], axes[2, 1], axes[2, 2] = p / area, q / area, r / area
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        axes[1, k] = axes[2, i] * axes[0, j] - axes[2, j] * axes[0, i]
    return first, second, third, area / (first * second)


@inner
def _is_near(
    own_m: FloatArray, other_m: FloatArray, match: int, turn: FloatArray, shift_m: FloatArray, tolerance_m: FloatArray
) -> bool:
    squared_m2 = 0.0
    for i in range(3):
        off_m = (
            turn[i, 0] * own_m[match, 0]
            + turn[i, 1] * own_m[match, 1]
            + turn[i, 2] * own_m[match, 2]
            + shift_m[i]
            - other_m[match, i]
        )
        squared_m2 += off_m * off_m
    return squared_m2 <= tolerance_m[match] ** 2


@inner
def _write_turn(a: float, b: float, c: float, turn: FloatArray) -> None:
    """The rotation (3, 3) by a vector's length about its direction, by its unit quaternion."""
    angle = np.sqrt(a * a + b * b + c * c)
    share = 0.5 if angle < 1e-9 else np.sin(angle / 2) / angle
    w, x, y, z = np.cos(angle / 2), share * a, share * b, share * c
    turn[0, 0], turn[0, 1], turn[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    turn[1, 0], turn[1, 1], turn[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    turn[2, 0], turn[2, 1], turn[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@kernel(
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "int64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    writes=("rotation", "translation_m"),
)
def find_motion(
    own_m: FloatArray,
    other_m: FloatArray,
    tolerance_m: FloatArray,
    triples: NDArray[np.int64],
    rotation: FloatArray,
    translation_m: FloatArray,
) -> int:
    """The rigid motion with which most matches agree, of those that put one of some triangles onto its like.

    Only triangles whose sides are as long as those of the other are tried, and a motion is left as soon as too few
    matches are left for it to become the best.

    Args:
        own_m, other_m: (M, 3) places that match.
        tolerance_m: (M,) what two of them may be apart.
        triples: (K, 3) the triangles.
        rotation, translation_m: (3, 3) and (3,), set to the motion from `own_m` to `other_m`.

    Returns:
        How many matches agree; 0, and nothing is set, where no triangle has its like.
    """
    count, most = len(own_m), 0
    own_axes, other_axes, turn = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    shift_m = np.empty(3)
    for triple in range(len(triples)):
        a, b, c = triples[triple]
        sides = _frame_of(own_m, a, b, c, own_axes)
        others = _frame_of(other_m, a, b, c, other_axes)
        if sides[3] < _LEAST_SINE or others[3] < _LEAST_SINE:
            continue
        if (
            abs(sides[0] - others[0]) > tolerance_m[a] + tolerance_m[b]
            or abs(sides[1] - others[1]) > tolerance_m[a] + tolerance_m[c]
            or abs(sides[2] - others[2]) > tolerance_m[b] + tolerance_m[c]
        ):
            continue
        for i in range(3):
            for j in range(3):
                turn[i, j] = (
                    other_axes[0, i] * own_axes[0, j]
                    + other_axes[1, i] * own_axes[1, j]
                    + other_axes[2, i] * own_axes[2, j]
                )
        for i in range(3):
            shift_m[i] = 0.0
            for corner in (a, b, c):
                turned_m = turn[i, 0] * own_m[corner, 0] + turn[i, 1] * own_m[corner, 1] + turn[i, 2] * own_m[corner, 2]
                shift_m[i] += (other_m[corner, i] - turned_m) / 3
        agree = 0
        for match in range(count):
            if agree + count - match <= most:
                break
            agree += _is_near(own_m, other_m, match, turn, shift_m, tolerance_m)
        if agree > most:
            most = agree
            rotation[:] = turn
            translation_m[:] = shift_m
    return most


@kernel(
    "float64[:, ::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "float64[:, ::1]",
    "float64[::1]",
    "int64",
    writes=("rotation", "translation_m"),
)
def refine_motion(
    own_m: FloatArray,
    other_m: FloatArray,
    tolerance_m: FloatArray,
    rotation: FloatArray,
    translation_m: FloatArray,
    steps: int,
) -> int:
    """The rigid motion that puts what agrees with it in place best, in the sense of least squares: Gauss and Newton's
    steps from a motion near it, each with what agrees by then.

    Args:
        own_m, other_m: (M, 3) places that match.
        tolerance_m: (M,) what two of them may be apart.
        rotation, translation_m: (3, 3) and (3,) of the motion, which is replaced.

    Returns:
        How many matches agree with it; what agrees on one line leaves it as it was.
    """
    count = len(own_m)
    agrees = np.empty(count, dtype=np.bool_)
    turned_m, turn, turn_before = np.empty((count, 3)), np.empty((3, 3)), np.empty((3, 3))
    for step in range(steps + 1):
        agree = 0
        own_mean, other_mean = np.zeros(3), np.zeros(3)
        for match in range(count):
            agrees[match] = _is_near(own_m, other_m, match, rotation, translation_m, tolerance_m)
            if not agrees[match]:
                continue
            agree += 1
            for i in range(3):
                turned_m[match, i] = (
                    rotation[i, 0] * own_m[match, 0]
                    + rotation[i, 1] * own_m[match, 1]
                    + rotation[i, 2] * own_m[match, 2]
                )
                own_mean[i] += turned_m[match, i]
                other_mean[i] += other_m[match, i]
        if step == steps or agree < 3:
            return agree
        own_mean /= agree
        other_mean /= agree
        xx, yy, zz, xy, xz, yz, bx, by, bz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for match in range(count):
            if agrees[match]:
                x, y, z = (
                    turned_m[match, 0] - own_mean[0],
                    turned_m[match, 1] - own_mean[1],
                    turned_m[match, 2] - own_mean[2],
                )
                u, v, w = (
                    other_m[match, 0] - other_mean[0],
                    other_m[match, 1] - other_mean[1],
                    other_m[match, 2] - other_mean[2],
                )
                xx, yy, zz, xy, xz, yz = xx + x * x, yy + y * y, zz + z * z, xy + x * y, xz + x * z, yz + y * z
                bx, by, bz = bx + y * w - z * v, by + z * u - x * w, bz + x * v - y * u
        # The turn (a, b, c) solves [[yy + zz, -xy, -xz], ...] (a, b, c) = (bx, by, bz): Cramer's rule.
        p, q, r = yy + zz, xx + zz, xx + yy
        one, two, three = q * r - yz * yz, xy * r + xz * yz, xy * yz + xz * q
        determinant = p * one - xy * two - xz * three
        if determinant <= _LEAST_SPREAD * (p * q * r):
            return agree
        a = (bx * one + by * two + bz * three) / determinant
        b = (bx * two + by * (p * r - xz * xz) + bz * (p * yz + xy * xz)) / determinant
        c = (bx * three + by * (p * yz + xy * xz) + bz * (p * q - xy * xy)) / determinant
        _write_turn(a, b, c, turn)
        turn_before[:] = rotation
        for i in range(3):
            for j in range(3):
                rotation[i, j] = (
                    turn[i, 0] * turn_before[0, j] + turn[i, 1] * turn_before[1, j] + turn[i, 2] * turn_before[2, j]
                )
            translation_m[i] = other_mean[i] - (
                turn[i, 0] * own_mean[0] + turn[i, 1] * own_mean[1] + turn[i, 2] * own_mean[2]
            )
    return agree
