"""How far off the centre of an object is that was seen as a whole, by what was learned from generated scenes.

A camera sees but one side. How far an object reaches behind it (the drill that points away, the oval bottle seen from
its broad side) nobody sees, but outline and normals of the side that was seen tell some of it. A small network is given
those and says how far the centre is from where lifting puts it, how far off that may be, and between which bounds the
object's sides lie. It knows no metres, only shares of the longest side, so that it says the same of small objects as of
large ones. `scripts/fit_far_sides.py` makes its weights.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import kernel
from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.lifting.likely_centre import ASIDE, Likely, LikelyCentres, View
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

USUAL_M = 0.1
"""Objects are brought to this longest side."""
SURE_M, FARTHEST_M = 0.01 * USUAL_M, 0.3 * USUAL_M
"""A centre is moved along an axis only by what the network says beyond the first: what fits well is left alone. And by
no more than the second."""
_LEVELS, _BANDS = 6, 5
"""The outline is looked at in so many layers of height, the normals in so many bands along either side."""
_FEATURES = 18 + 4 * _LEVELS + 5 * _BANDS
_SECOND_TO_CAMERA = 4
"""Where the part of the direction to the camera along the second axis is among the features."""
_FEWEST_POINTS = 4
"""Fewer points make no outline of a layer."""
_LEVEL, _UPRIGHT = 0.9, 0.4
"""A normal points up if it has so much of that; and to the side if it has less than the second."""
_LEAST_M = 1e-3
"""Sides and distances are no shorter."""


class WholeView(View):
    """Of an object that was seen as a whole, but for the side that it hides itself.

    Its first axis is the side of its box that points more away from the camera, away from it, and so is the second.
    """

    @classmethod
    def of(
        cls, body: Body, box: OrientedBox, centre_m: FloatArray, lengths_m: FloatArray, others: FloatArray
    ) -> WholeView:
        """The view of an object whose centre lifting puts at (3,), in the body's frame.

        Args:
            box: around it, its z that of the body.
            lengths_m, others: what does not depend on directions; last, whether where it ends below is not known.
        """
        pose, features, axes, placed_m = box.T_camera_box, np.zeros(_FEATURES), np.empty((3, 3)), np.empty((6, 3))
        placed_m[:3], placed_m[3], placed_m[4], placed_m[5] = pose.rotation, pose.translation_m, box.size_m, centre_m
        scale = _describe(
            body.points_m,
            body.normals,
            body.pose,
            placed_m,
            axes,
            features,
        )
        seen = np.concatenate([features, scale * lengths_m, others])
        aside = abs(float(seen[_SECOND_TO_CAMERA])) / ASIDE
        turned: tuple[tuple[FloatArray, FloatArray, float], ...] = ()
        if aside < 1:
            turned = ((np.array([1.0, -1.0, 1.0]), _with_second_axis_turned(seen), (1 - aside) / 2),)
        return cls(axes, body.in_camera(centre_m), seen, scale, turned)


class FarSides(LikelyCentres):
    """A network that leaves a centre where it is when it has little to say."""

    weights: ClassVar[Path] = Path(__file__).with_name("far_side.npz")
    least_m: ClassVar[float] = SURE_M
    farthest_m: ClassVar[float] = FARTHEST_M

    def likely(self, features: FloatArray) -> Likely:
        """What is likely of objects of the usual size by their features (N, F).

        Whether an object whose foot is not seen, or that stands on nothing known, ends elsewhere than is assumed is a
        matter of what lies around it, of which a view of it says nothing: it is not moved upwards or downwards.
        """
        found = super().likely(features)
        found.offset_m[:, 2] *= features[:, -1] <= 0
        return found


@kernel("float64[::1]")
def _with_second_axis_turned(features: FloatArray) -> FloatArray:
    """The features (F,) of the same object if its second axis pointed the other way; see `_describe`."""
    turned, bands = features.copy(), 18 + 4 * _LEVELS + 2 * _BANDS
    for k in (_SECOND_TO_CAMERA, 7):
        turned[k] = -features[k]
    turned[13] = 1 - features[13]
    for level in range(_LEVELS):
        for k in range(2):
            turned[18 + 4 * level + 2 + k] = features[18 + 4 * level + 3 - k]
    for band in range(_BANDS):
        for k in range(3):
            value = features[bands + 3 * (_BANDS - 1 - band) + k]
            turned[bands + 3 * band + k] = -value if k == 1 else value
    return turned


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]"),
    *("float64[:, ::1]", "float64[::1]"),
    writes=("view_axes", "features"),
)
def _describe(
    points_m: FloatArray,
    normals: FloatArray,
    frame: FloatArray,
    box: FloatArray,
    view_axes: FloatArray,
    features: FloatArray,
) -> float:
    """Finds the axes of a view, rows (3, 3) in the camera's frame, and adds what was seen to features of zeros, (67,).

    Those are the box's size, the direction to the camera and the centre beside the box's middle, along the axes; the
    shares of normals that point up, to the side and in between; mean and standard deviation of the points in the box.
    Of each layer of height how far its points reach along the first axis, against it, along the second and against
    that; of each band across the first axis the mean normal along that and upwards; of each band across the second the
    mean normal along the first and the second, and how far off the points are along the first.

    Args:
        points_m, normals: (N, 3) of the body; normals of zeros are not known, and such points are left out.
        frame: (4, 3) basis of the body's frame and, last, its origin.
        box: (6, 3) its rotation, its middle, its size, all in the camera's frame, and the centre in the body's.

    Returns:
        the scale of the lengths.
    """
    to_camera_m, middle_m, sides = np.zeros(3), np.zeros(3), np.zeros((3, 3))
    for axis in range(3):
        for k in range(3):
            to_camera_m[axis] -= box[k, axis] * box[3, k]
            middle_m[axis] += box[k, axis] * (box[3, k] - frame[3, k])
            for m in range(3):
                sides[axis, m] += box[k, axis] * frame[k, m]
    first_axis = 0 if abs(to_camera_m[0]) >= abs(to_camera_m[1]) else 1
    longest_m = max(box[4, 0], box[4, 1], box[4, 2], _LEAST_M)
    distance_m = max(math.sqrt(to_camera_m[0] ** 2 + to_camera_m[1] ** 2 + to_camera_m[2] ** 2), _LEAST_M)
    scale = USUAL_M / longest_m
    axes, low_m, size_m = np.empty((3, 3)), np.empty(3), np.empty(3)
    for axis in range(3):
        own = axis if axis == 2 or first_axis == 0 else 1 - axis
        sign = -1.0 if axis < 2 and to_camera_m[own] > 0 else 1.0
        size_m[axis] = max(box[4, own], _LEAST_M)
        low_m[axis] = sign * middle_m[own] - size_m[axis] / 2
        off_m = -sign * middle_m[own]
        for k in range(3):
            view_axes[axis, k] = sign * box[k, own]
            axes[axis, k] = sign * sides[own, k]
            off_m += axes[axis, k] * box[5, k]
        features[axis] = scale * size_m[axis]
        features[3 + axis] = sign * to_camera_m[own] / distance_m
        features[6 + axis] = scale * off_m
    count, counts, reach_m = 0, np.zeros(_LEVELS), np.zeros((_LEVELS, 4))
    first, second = np.zeros((_BANDS, 3)), np.zeros((_BANDS, 4))
    share, along = np.empty(3), np.empty(3)
    for n in range(len(points_m)):
        if normals[n, 0] == 0 and normals[n, 1] == 0 and normals[n, 2] == 0:
            continue
        for axis in range(3):
            place_m, cosine = -low_m[axis], 0.0
            for k in range(3):
                place_m += axes[axis, k] * points_m[n, k]
                cosine += axes[axis, k] * normals[n, k]
            share[axis], along[axis] = place_m / size_m[axis], cosine
            features[12 + axis] += share[axis]
            features[15 + axis] += share[axis] ** 2
        count += 1
        features[9] += along[2] > _LEVEL
        features[10] += abs(along[2]) < _UPRIGHT
        features[11] += _UPRIGHT < along[2] < _LEVEL
        level = min(max(int(share[2] * _LEVELS), 0), _LEVELS - 1)
        for k in range(4):
            value_m = (share[k // 2] - 0.5) * size_m[k // 2] * (1 - 2 * (k % 2))
            if counts[level] == 0 or value_m > reach_m[level, k]:
                reach_m[level, k] = value_m
        counts[level] += 1
        band = min(max(int(share[0] * _BANDS), 0), _BANDS - 1)
        first[band, 0] += 1
        first[band, 1] += along[0]
        first[band, 2] += along[2]
        band = min(max(int(share[1] * _BANDS), 0), _BANDS - 1)
        second[band, 0] += 1
        second[band, 1] += along[0]
        second[band, 2] += along[1]
        second[band, 3] += scale * (share[0] - 0.5) * size_m[0]
    for k in range(9, 18):
        features[k] /= max(count, 1)
    for axis in range(3):
        features[15 + axis] = math.sqrt(max(features[15 + axis] - features[12 + axis] ** 2, 0.0))
    for level in range(_LEVELS):
        if counts[level] >= _FEWEST_POINTS:
            for k in range(4):
                features[18 + 4 * level + k] = scale * reach_m[level, k]
    for band in range(_BANDS):
        for k in range(2):
            features[18 + 4 * _LEVELS + 2 * band + k] = first[band, 1 + k] / max(first[band, 0], 1.0)
        for k in range(3):
            place = 18 + 4 * _LEVELS + 2 * _BANDS + 3 * band + k
            features[place] = second[band, 1 + k] / max(second[band, 0], 1.0)
    return scale
