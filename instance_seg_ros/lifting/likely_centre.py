"""Where the centre of an object most likely is of which a part is hidden, and where its sides are, by what was learned.

How far hidden ends go on (`hidden_ends`) is one axis at a time, and knows nothing of shapes: that a plate of which half
an edge is seen is as deep as it is wide, or that what leans goes on behind. A small network is given what was seen of
the object and those ends, and says how far the centre is from where they put it, how far off that may be, and between
which bounds the object's sides lie.
`scripts/fit_likely_centres.py` makes its weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.compiled import inner, kernel
from instance_seg_ros.lifting.hidden_ends import HiddenEnds
from instance_seg_ros.lifting.solid import Body

FloatArray = NDArray[np.float64]

WEIGHTS = Path(__file__).with_name("likely_centre.npz")
_FARTHEST_ROOM_M = 0.25
_LONGEST_SIDE_M = (0.1, 0.18)
"""The longest side that is seen of most objects that were learned from: what is smaller or larger is looked at as if it
were so large, and as much nearer or farther off, since what is learned in metres holds for no other sizes."""
_ONE_SIDED_M = 0.004
"""An axis whose two ends have more different room than this is turned towards the larger one, others away from the
camera."""
ASIDE = 0.02
"""With less of the direction to the camera along a horizontal axis an object is seen along the other one, as all that
is round is: which way the first one points counts either way, alike for a camera straight ahead."""
_AS_LONG = 0.99
"""Of two sides that are alike by more than this, and of which nothing is hidden, the one along the line of sight is the
first."""
MOST_SIGMAS = 5.0
"""What departs by more from what is usual in the scenes that were learned from counts as if by so much."""
_FARTHEST_M = 0.1
"""No centre of an object of usual size is moved by more along an axis, and no side is farther out."""
_LEVEL, _UPRIGHT = 0.9, 0.4
"""A normal points along an axis if it has so much of it; and to the side if it has less than the second upwards."""
_POINTS_FEATURES = 15
_ONE_WAY, _ALL_OF_IT = np.ones((1, 3)), np.ones(1)


@dataclass(frozen=True, eq=False)
class View:
    """What is known of an object of which something is not seen.

    Attributes:
        axes: (3, 3) directions as rows, in the camera's optical frame, the last one up. Mirrored scenes look alike in
            them.
        centre_m: (3,) where its centre is by what is known so far, in that frame.
        features: (F,) what was seen, its lengths times `scale`.
        scale: by which the object is brought to a usual size.
        otherwise: signs (3,) of the axes with horizontal ones turned, the features (F,) then, and how much they count,
            for each way in which these may point when that is a matter of the last bit of a sum; see `ASIDE`.
    """

    axes: FloatArray
    centre_m: FloatArray
    features: FloatArray
    scale: float
    otherwise: tuple[tuple[FloatArray, FloatArray, float], ...] = ()


class PartialView(View):
    """Of an object of which a part is hidden by others or the image's border.

    Its first axis is the horizontal one along which more of it is hidden, towards where; else the longer one.
    """

    @classmethod
    def of(
        cls, body: Body, ends: HiddenEnds, centre_m: FloatArray, lengths_m: FloatArray, others: FloatArray
    ) -> PartialView:
        """The view of an object whose hidden ends put its centre at (3,), in the body's frame.

        Args:
            lengths_m, others: what does not depend on directions.
        """
        rooms_m, size_m = np.minimum(ends.rooms_m, _FARTHEST_ROOM_M), ends.seen_m[1] - ends.seen_m[0]
        hidden_m, middle_m = rooms_m * ends.shares, ends.seen_m.mean(axis=0)
        to_camera_m = ends.axes @ -(body.origin_m @ body.basis) - middle_m
        more_above_m = hidden_m[:, 1] - hidden_m[:, 0]
        towards = np.where(np.abs(more_above_m) < _ONE_SIDED_M, -to_camera_m, more_above_m)
        signs = np.where(towards >= 0, 1.0, -1.0)
        signs[2] = 1.0
        more_m = float(hidden_m[1].sum() - hidden_m[0].sum())
        if more_m == 0 and min(size_m[:2]) > _AS_LONG * max(size_m[:2]):  # which side is the first is a matter of noise
            more_m = abs(float(to_camera_m[1])) - abs(float(to_camera_m[0]))
        order = [1, 0, 2] if more_m > 0 else [0, 1, 2]
        distance_m, longest_m = (max(float(own_m), 1e-3) for own_m in (np.linalg.norm(to_camera_m), size_m.max()))
        scale = min(max(longest_m, _LONGEST_SIDE_M[0]), _LONGEST_SIDE_M[1]) / longest_m

        def seen_along(signs: FloatArray) -> FloatArray:
            axes, turned = (signs[:, None] * ends.axes)[order], signs[order, None] < 0
            own_middle_m, own_size_m = (signs * middle_m)[order], size_m[order]
            of_points = np.zeros(_POINTS_FEATURES)
            _describe(body.points_m, body.normals, axes, own_middle_m, own_size_m, of_points)
            own_rooms_m, shares = (
                np.where(turned, values[order][:, ::-1], values[order]) for values in (rooms_m, ends.shares)
            )
            features = [
                scale * own_size_m,
                scale * own_rooms_m.reshape(-1),
                shares.reshape(-1),
                scale * (axes @ centre_m - own_middle_m),
                scale * ends.deviation_m[order],
                (signs * to_camera_m)[order] / distance_m,
                [scale * distance_m],
                of_points,
                scale * lengths_m,
                others,
            ]
            return np.concatenate(features)

        ways = [(np.ones(3), 1.0)]
        for axis in (0, 1):
            aside = abs(float(to_camera_m[axis])) / (ASIDE * distance_m)
            if aside < 1 and abs(more_above_m[axis]) < _ONE_SIDED_M:
                turn = np.where(np.arange(3) == axis, -1.0, 1.0)
                ways = [
                    (own * by, share * part)
                    for by, part in ((np.ones(3), (1 + aside) / 2), (turn, (1 - aside) / 2))
                    for own, share in ways
                ]
        return cls(
            (signs[:, None] * ends.axes)[order] @ body.basis.T,
            body.in_camera(centre_m),
            seen_along(signs),
            scale,
            tuple((turn[order], seen_along(signs * turn), share) for turn, share in ways[1:]),
        )


class Likely(NamedTuple):
    """Where an object most likely is, beside where it was put; along the axes of the view of one, or of N of them.

    Attributes:
        offset_m: (3,) or (N, 3) of its centre.
        deviation_m: likewise, the standard deviation of that.
        sides_m: (3, 2, 2) or (N, 3, 2, 2): of the lower and the upper side of its box along each axis, how far the
            object reaches out of it at the least and at the most; below zero it ends inside of it. Between both it ends
            with 90 in 100 objects.
    """

    offset_m: FloatArray
    deviation_m: FloatArray
    sides_m: FloatArray


@dataclass(frozen=True, eq=False)
class LikelyCentres:
    """A network with two hidden layers.

    Attributes:
        mean, scale: (F,) of the features in the scenes that it was made on.
        layers: weights (inputs, outputs) and biases (outputs,); the last layer has the offset of the centre along the
            three axes, in `unit_m`, the logarithms of its standard deviations in the same unit, and what the sides
            reach out.
        unit_m: of the offsets.
    """

    weights: ClassVar[Path] = WEIGHTS
    least_m: ClassVar[float] = 0.0
    farthest_m: ClassVar[float] = _FARTHEST_M

    mean: FloatArray
    scale: FloatArray
    layers: tuple[tuple[FloatArray, FloatArray], ...]
    unit_m: float

    def __post_init__(self) -> None:
        layers = tuple((np.ascontiguousarray(weights), biases) for weights, biases in self.layers)
        object.__setattr__(self, "layers", layers)

    @classmethod
    @cache
    def shipped(cls) -> LikelyCentres:
        """The network of the package."""
        with np.load(cls.weights, allow_pickle=False) as stored:
            own = {name: stored[name].astype(np.float64) for name in stored.files}
        layers = tuple((own[f"weight_{index}"], own[f"bias_{index}"]) for index in range(3))
        return cls(own["mean"], own["scale"], layers, float(own["unit_m"]))

    def __call__(self, view: View) -> Likely:
        """What is likely of the object of a view."""
        features, signs, shares = view.features[None], _ONE_WAY, _ALL_OF_IT
        if view.otherwise:
            features = np.array([view.features, *(features for _, features, _ in view.otherwise)])
            signs = np.array([np.ones(3), *(signs for signs, _, _ in view.otherwise)])
            others = [share for _, _, share in view.otherwise]
            shares = np.array([1 - sum(others), *others])
        return Likely(*_averaged(*self.likely(features), signs, shares, view.scale))

    def likely(self, features: FloatArray) -> Likely:
        """The same for the features (N, F) of several objects of usual sizes."""
        (first, first_bias), (second, second_bias), (last, last_bias) = self.layers
        hidden = self.mean, self.scale, first, first_bias, second, second_bias
        bounds = self.unit_m, self.least_m, self.farthest_m, _FARTHEST_M
        return Likely(*_evaluate(np.ascontiguousarray(features), *hidden, last, last_bias, bounds))

    def found(self, features: FloatArray) -> FloatArray:
        """What goes into the last layer."""
        (first, first_bias), (second, second_bias) = self.layers[:-1]
        features = np.ascontiguousarray(features)
        return _hidden_layers(features, self.mean, self.scale, first, first_bias, second, second_bias)


@kernel(
    *("float64[:, ::1]", "float64[::1]", "float64[::1]"),
    *("float64[:, ::1]", "float64[::1]", "float64[:, ::1]", "float64[::1]", "float64[:, ::1]", "float64[::1]"),
    "UniTuple(float64, 4)",
)
def _evaluate(
    features: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    first: FloatArray,
    first_bias: FloatArray,
    second: FloatArray,
    second_bias: FloatArray,
    last: FloatArray,
    last_bias: FloatArray,
    bounds: tuple[float, float, float, float],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What `Likely` has, for features (N, F); what is no number stays none.

    Args:
        bounds: the unit of what the last layer says, the least offset that counts, beyond which it counts, the largest
            that is left of one, and the largest deviation and farthest side; metres.
    """
    unit_m, least_m, farthest_m, widest_m = bounds
    hidden = _through_hidden(features, mean, scale, first, first_bias, second, second_bias)
    offsets_m, deviations_m = np.empty((len(features), 3)), np.empty((len(features), 3))
    sides_m = np.empty((len(features), 3, 2, 2))
    values = np.empty(len(last_bias))
    for n in range(len(features)):
        values[:] = last_bias
        for i in range(last.shape[0]):
            _add(last[i], hidden[n, i], values)
        for axis in range(3):
            offset_m, deviation = unit_m * values[axis], values[3 + axis]
            size_m = abs(offset_m) - least_m
            size_m = 0.0 if size_m < 0 else size_m
            offsets_m[n, axis] = math.copysign(farthest_m if size_m > farthest_m else size_m, offset_m)
            deviation_m = unit_m * math.exp(deviation)
            deviations_m[n, axis] = widest_m if deviation_m > widest_m else deviation_m
            for side in range(2):
                place = 6 + 4 * axis + 2 * side
                one_m, other_m = unit_m * values[place], unit_m * values[place + 1]
                sides_m[n, axis, side, 0] = max(min(one_m, other_m), -widest_m)
                sides_m[n, axis, side, 1] = min(max(one_m, other_m), widest_m)
    return offsets_m, deviations_m, sides_m


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, :, :, ::1]"),
    *("float64[:, ::1]", "float64[::1]", "float64"),
)
def _averaged(
    offsets_m: FloatArray,
    deviations_m: FloatArray,
    sides_m: FloatArray,
    signs: FloatArray,
    shares: FloatArray,
    scale: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What `Likely` has of one object, of the ways in which its axes may point.

    Args:
        offsets_m, deviations_m, sides_m: (N, 3), (N, 3) and (N, 3, 2, 2), of an object of usual size.
        signs, shares: (N, 3) of the axes, and (N,) how much each way counts.
        scale: by which the object was brought to that size.
    """
    offset_m, deviation_m, own_sides_m = np.zeros(3), np.zeros(3), np.zeros((3, 2, 2))
    for n in range(len(shares)):
        for axis in range(3):
            sign = signs[n, axis]
            offset_m[axis] += shares[n] * sign * offsets_m[n, axis]
            deviation_m[axis] += shares[n] * deviations_m[n, axis]
            for side in range(2):
                for k in range(2):
                    own_sides_m[axis, side, k] += shares[n] * sides_m[n, axis, side if sign > 0 else 1 - side, k]
    return offset_m / scale, deviation_m / scale, own_sides_m / scale


@kernel(
    *("float64[:, ::1]", "float64[::1]", "float64[::1]"),
    *("float64[:, ::1]", "float64[::1]", "float64[:, ::1]", "float64[::1]"),
)
def _hidden_layers(
    features: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    first: FloatArray,
    first_bias: FloatArray,
    second: FloatArray,
    second_bias: FloatArray,
) -> FloatArray:
    """What comes out of the second hidden layer, (N, K), for features (N, F)."""
    return _through_hidden(features, mean, scale, first, first_bias, second, second_bias)


@inner
def _through_hidden(
    features: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    first: FloatArray,
    first_bias: FloatArray,
    second: FloatArray,
    second_bias: FloatArray,
) -> FloatArray:
    """`_hidden_layers`; what is no number stays none."""
    values, inputs = np.zeros((len(features), len(second_bias))), features.shape[1]
    hidden = np.empty(len(first_bias))
    for n in range(len(features)):
        hidden[:] = 0
        for i in range(inputs):
            value = (features[n, i] - mean[i]) / scale[i]
            value = MOST_SIGMAS if value > MOST_SIGMAS else value
            _add(first[i], -MOST_SIGMAS if value < -MOST_SIGMAS else value, hidden)
        _rectify(hidden, first_bias)
        for i in range(len(hidden)):
            _add(second[i], hidden[i], values[n])
        _rectify(values[n], second_bias)
    return values


@inner
def _add(row: FloatArray, factor: float, total: FloatArray) -> None:
    """So many times a row (K,) on to what was added up."""
    for k in range(len(total)):
        total[k] += factor * row[k]


@inner
def _rectify(values: FloatArray, biases: FloatArray) -> None:
    for k in range(len(values)):
        value = values[k] + biases[k]
        values[k] = 0.0 if value < 0 else value


@kernel(
    *("float64[:, ::1]", "float64[:, ::1]", "float64[:, ::1]", "float64[::1]", "float64[::1]", "float64[::1]"),
    writes=("features",),
)
def _describe(
    points_m: FloatArray,
    normals: FloatArray,
    axes: FloatArray,
    middle_m: FloatArray,
    size_m: FloatArray,
    features: FloatArray,
) -> None:
    """Adds what the points (N, 3) of a body and their normals are like to features of zeros, (15,).

    Shares of the normals that point up, to the side and in between; for either horizontal axis, how far they point
    along it and against it in the mean, and the share that does so; mean and standard deviation of the points in the
    box of what was seen.
    """
    count = max(len(points_m), 1)
    for n in range(len(points_m)):
        for axis in range(3):
            place, along = 0.0, 0.0
            for k in range(3):
                place += axes[axis, k] * points_m[n, k]
                along += axes[axis, k] * normals[n, k]
            place = (place - middle_m[axis]) / max(size_m[axis], 1e-3)
            features[9 + axis] += place / count
            features[12 + axis] += place * place / count
            if axis < 2:
                features[3 + 3 * axis] += max(along, 0.0) / count
                features[4 + 3 * axis] += max(-along, 0.0) / count
                features[5 + 3 * axis] += (abs(along) > _LEVEL) / count
            else:
                features[0] += (along > _LEVEL) / count
                features[1] += (abs(along) < _UPRIGHT) / count
                features[2] += (_UPRIGHT < along < _LEVEL) / count
    for axis in range(3):
        features[12 + axis] = np.sqrt(max(features[12 + axis] - features[9 + axis] ** 2, 0.0))
