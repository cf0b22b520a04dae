"""Where the camera is in a map of objects, told by their places: rigid alignment that outliers cannot corrupt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import Transform

FloatArray = NDArray[np.float64]

_WITHIN_M = 0.04
"""An object explains nothing if it comes to lie farther than this from where it should, with exact places."""
_WIDEST_M = 0.1
_LEAST_LIKENESS = 0.25
_LEAST_SPACING_M = 0.05
"""Objects nearer to each other tell no direction."""
_PAIR_TOLERANCE_M = 0.03
_CORRESPONDENCES, _PAIRS, _REFINED = 50, 120, 5
_PLACE_NOISE_M = 0.005
_UP_NOISE_RAD = 0.01
_ROTATION_NOISE_RAD = 0.3
_EXPLAINS = 0.3
_DIGITS = 9
"""Scores and shifts are rounded to these: the last bits of sums, which depend on the CPU, shall decide nothing."""
_MOST = 0.75
_LARGEST_TILT_COS = np.cos(np.radians(45))


@dataclass(frozen=True, eq=False)
class Objects:
    """Places of N objects in one frame of reference.

    Attributes:
        place_m: (N, 3).
        variance_m2: (N,) of each coordinate.
        up: (3,) unit normal of the plane that they stand on, or None.
    """

    place_m: FloatArray
    variance_m2: FloatArray
    up: FloatArray | None


@dataclass(frozen=True, eq=False)
class Alignment:
    """A pose of the camera and how much it explains.

    Attributes:
        T_map_camera: the pose.
        score: sum over the objects of how well each one falls onto one of the map, 0 to N; those within centimetres
            count half, within the errors of their places another half.
        explained: how many fall onto one.
        shift_m: how far the pose moves the middle of the objects from where the pose before had put it.
    """

    T_map_camera: Transform
    score: float
    explained: int
    shift_m: float


@dataclass(frozen=True, eq=False)
class _Poses:
    """K poses of the camera in the map: rotation (K, 3, 3) and translation (K, 3)."""

    rotation: FloatArray
    translation_m: FloatArray


def alignments(seen: Objects, known: Objects, likeness: FloatArray, before: Transform) -> list[Alignment]:
    """Poses of the camera that explain the objects that it sees by objects of the map; the first is that from before.

    Of those that explain as much, the one that moves the objects least from where the pose before had put them comes
    first.

    Hypotheses are the pose from before and, where it does not explain most objects after refinement, the shifts that
    put one object onto a like one, and the turns about the vertical that put two onto two; the best ones are refined by
    weighted rigid alignment (Wahba's problem, solved by SVD) of all that they explain, with the normal of the support
    plane as one more direction. What moved by itself, or is not in the map, adds nothing to a hypothesis and takes no
    part in its refinement.

    Args:
        seen: in the camera's frame.
        known: in the map.
        likeness: (seen, known) in [0, 1], 0 where two cannot be the same object.
        before: the pose to start from.
    """
    held = before.rotation, before.translation_m
    results = [_judged(seen, known, likeness, *held, before)]
    if not likeness.size:
        return results
    results.append(_judged(seen, known, likeness, *_refined(seen, known, likeness, *held), before))
    if results[1].explained >= _MOST * np.count_nonzero(likeness.max(axis=1) > _EXPLAINS):
        return results
    upright = _upright(before.rotation, seen.up, known.up)
    up = upright @ [0.0, -1.0, 0.0] if known.up is None else known.up
    hypotheses = _hypotheses(seen, known, likeness, upright, up)
    scores = np.round(_scores(_values(seen, known, likeness, hypotheses)), _DIGITS)
    scores -= _motion(hypotheses, before, seen)
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if scores[index] <= 0 or len(chosen) == _REFINED:
            break
        if not any(_near(hypotheses, index, other) for other in chosen):
            chosen.append(index)
    near = [(hypotheses.rotation[index], hypotheses.translation_m[index]) for index in chosen]
    found = [_judged(seen, known, likeness, *_refined(seen, known, likeness, *pose), before) for pose in near]
    return [*results, *sorted(found, key=lambda each: round(each.shift_m, _DIGITS))]


def _judged(
    seen: Objects,
    known: Objects,
    likeness: FloatArray,
    rotation: FloatArray,
    translation_m: FloatArray,
    before: Transform,
) -> Alignment:
    poses = _Poses(rotation[None], translation_m[None])
    value = _values(seen, known, likeness, poses)
    rows, columns = _pairs_of(value[0])
    distance_m2 = ((seen.place_m[rows] @ rotation.T + translation_m - known.place_m[columns]) ** 2).sum(axis=1)
    error_m2 = seen.variance_m2[rows] + known.variance_m2[columns] + _PLACE_NOISE_M**2
    fine = (likeness[rows, columns] * np.exp(-distance_m2 / (2 * error_m2))).sum()
    shift_m = 0.0
    if len(seen.place_m):
        middle_m = seen.place_m.mean(axis=0)
        shift_m = float(np.linalg.norm(rotation @ middle_m + translation_m - before.apply(middle_m)))
    score = round(float(_scores(value)[0] + fine) / 2, _DIGITS)
    return Alignment(Transform(rotation, translation_m), score, len(rows), shift_m)


def _motion(poses: _Poses, before: Transform, seen: Objects) -> FloatArray:
    """(K,) small, and the larger the farther the objects would have moved before the camera."""
    middle_m = seen.place_m.mean(axis=0)
    at_m = (poses.rotation @ middle_m) + poses.translation_m
    shift_m = np.linalg.norm(at_m - before.apply(middle_m), axis=1)
    turn = 1 - (np.einsum("kij,ij->k", poses.rotation, before.rotation) - 1) / 2
    return 0.2 * np.minimum(shift_m / 0.3, 1) + 0.2 * np.minimum(turn / 0.3, 1)


def _near(poses: _Poses, first: int, second: int) -> bool:
    turned = np.abs(poses.rotation[first] - poses.rotation[second]).max() > 0.1
    return not turned and bool(np.abs(poses.translation_m[first] - poses.translation_m[second]).max() < 0.05)


def _values(seen: Objects, known: Objects, likeness: FloatArray, poses: _Poses) -> FloatArray:
    """(K, seen, known): likeness, less the more two are apart under each pose."""
    place_m = seen.place_m @ poses.rotation.transpose(0, 2, 1) + poses.translation_m[:, None]
    squared_m2 = (place_m**2).sum(axis=2)[:, :, None] + (known.place_m**2).sum(axis=1) - 2 * place_m @ known.place_m.T
    width_m2 = np.minimum(_WITHIN_M**2 + 4 * (seen.variance_m2[:, None] + known.variance_m2), _WIDEST_M**2)
    return likeness * np.maximum(1 - squared_m2 / width_m2, 0)


def _scores(values: FloatArray) -> FloatArray:
    """(K,) so that neither two objects count for one of the map, nor one for two."""
    by_seen = values.max(axis=2, initial=0).sum(axis=1)
    return np.minimum(by_seen, values.max(axis=1, initial=0).sum(axis=1))


def _pairs_of(value: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Seen and known objects that are each other's best."""
    if not value.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    best = value.argmax(axis=1)
    rows = np.flatnonzero((value.argmax(axis=0)[best] == np.arange(len(value))) & (value.max(axis=1) > _EXPLAINS))
    return rows, best[rows]


def _upright(rotation: FloatArray, up_camera: FloatArray | None, up_map: FloatArray | None) -> FloatArray:
    """The rotation, tilted by the least so that the normals of the support plane agree, where both are known."""
    if up_camera is None or up_map is None:
        return rotation
    turned = rotation @ up_camera
    cosine = float(turned @ up_map)
    if cosine < _LARGEST_TILT_COS:
        return rotation
    x, y, z = np.cross(turned, up_map)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return (np.eye(3) + skew + skew @ skew / (1 + cosine)) @ rotation


def _hypotheses(seen: Objects, known: Objects, likeness: FloatArray, upright: FloatArray, up: FloatArray) -> _Poses:
    rows, columns = np.nonzero(likeness > _LEAST_LIKENESS)
    if len(rows) > _CORRESPONDENCES:
        most_alike = np.argsort(-likeness[rows, columns], kind="stable")[:_CORRESPONDENCES]
        rows, columns = rows[most_alike], columns[most_alike]
    own_m, other_m = seen.place_m[rows] @ upright.T, known.place_m[columns]
    ones = np.broadcast_to(upright, (len(rows), 3, 3))
    pairs = _pair_hypotheses(own_m, other_m, rows, columns, likeness[rows, columns], upright, up)
    return _Poses(
        np.concatenate([ones, pairs.rotation]),
        np.concatenate([other_m - own_m, pairs.translation_m]),
    )


def _pair_hypotheses(
    own_m: FloatArray,
    other_m: FloatArray,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    likeness: FloatArray,
    upright: FloatArray,
    up: FloatArray,
) -> _Poses:
    """Turns about the vertical that put two correspondences in place, those that fit best."""
    first, second = np.triu_indices(len(rows), 1)
    differ = (rows[first] != rows[second]) & (columns[first] != columns[second])
    first, second = first[differ], second[differ]
    own, other = own_m[second] - own_m[first], other_m[second] - other_m[first]
    own_up, other_up = own @ up, other @ up
    own_flat, other_flat = own - own_up[:, None] * up, other - other_up[:, None] * up
    own_length, other_length = np.linalg.norm(own_flat, axis=1), np.linalg.norm(other_flat, axis=1)
    misfit_m = np.hypot(own_length - other_length, own_up - other_up)
    fits = likeness[first] * likeness[second] * (1 - misfit_m / _PAIR_TOLERANCE_M)
    fits[np.minimum(own_length, other_length) < _LEAST_SPACING_M] = 0
    chosen = np.argsort(-fits, kind="stable")[:_PAIRS]
    chosen = chosen[fits[chosen] > 0]
    a, b = own_flat[chosen], other_flat[chosen]
    angle = np.arctan2(np.cross(a, b) @ up, (a * b).sum(axis=1))
    x, y, z = up
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle)[:, None, None] * skew + (1 - np.cos(angle))[:, None, None] * (skew @ skew)
    middle = (own_m[first[chosen]] + own_m[second[chosen]]) / 2
    other_middle = (other_m[first[chosen]] + other_m[second[chosen]]) / 2
    return _Poses(turn @ upright, other_middle - (turn @ middle[..., None])[..., 0])


def _refined(
    seen: Objects, known: Objects, likeness: FloatArray, rotation: FloatArray, translation_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """A pose near another one that puts what that explains, and then what it explains itself, in place."""
    for _ in range(2):
        value = _values(seen, known, likeness, _Poses(rotation[None], translation_m[None]))[0]
        rows, columns = _pairs_of(value)
        if not len(rows):
            break
        weight = value[rows, columns] / (seen.variance_m2[rows] + known.variance_m2[columns] + _PLACE_NOISE_M**2)
        rotation, translation_m = _rigid(seen, known, rows, columns, weight, rotation)
    return rotation, translation_m


def _rigid(
    seen: Objects,
    known: Objects,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weight: FloatArray,
    rotation: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Rotation and translation that put the seen places onto the known ones; directions that they leave open stay."""
    own_m, other_m = seen.place_m[rows], known.place_m[columns]
    own_middle, other_middle = (weight @ places / weight.sum() for places in (own_m, other_m))
    products = (weight[:, None] * (other_m - other_middle)).T @ (own_m - own_middle)
    products += rotation / _ROTATION_NOISE_RAD**2
    if seen.up is not None and known.up is not None and known.up @ rotation @ seen.up > _LARGEST_TILT_COS:
        products += np.outer(known.up, seen.up) / _UP_NOISE_RAD**2
    u, _, v = np.linalg.svd(products)
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u) * np.linalg.det(v)]) @ v
    return rotation, other_middle - rotation @ own_middle
