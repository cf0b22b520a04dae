"""How far an object's centre may be off: a model of the error, calibrated on generated scenes with exact truth.

That is of what has no plane to be completed on, and of what was left out of what was seen in part. Of all else the
networks of `far_side` and `likely_centre` say it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.lifting.support import Support
from instance_seg_ros.lifting.visibility import Visibility

_OTHER_ACROSS, _THIN_ACROSS = 0.015, 0.045
"""Standard deviation across as a share of the longer side, of bodies that are none of revolution: the second is added
in full where the box has no depth, since one face may be all that was seen. Bodies of revolution add nothing."""
_ROUND_UPWARDS, _OTHER_UPWARDS = 0.028, 0.031
"""Upwards, as a share of the height; of bodies of revolution, and of others."""
_ROUND_HIDDEN, _OTHER_HIDDEN, _UPWARDS_HIDDEN, _UNMEASURED = 0.07, 0.1, 0.08, 0.04
"""More with the square root of the share of the outline that is hidden, since the hidden end of a long object is but a
small part of it: across for bodies of revolution and for others, and upwards; beside what is not known of its ends. And
with the share of the pixels without depth."""
_FAR_SIDE = 0.25
"""More towards the camera, as a share of the width, where the far side was not completed."""
_FOOT_UNSEEN = 0.4
"""More upwards, as a share of what is not seen below an object that is but assumed to reach down to its support."""
_ON_INSTANCE, _UNSUPPORTED = 0.02, 0.12
"""More upwards for what stands on another object, and for what stands on nothing that is known."""


def centroid_covariance_m2(
    box: OrientedBox,
    visibility: Visibility,
    is_round: bool,
    support: Support,
    completed: bool,
    unseen_m: float,
) -> NDArray[np.float64]:
    """Covariance (3, 3) of the error of a volume's centre, camera optical frame, beside the camera's own noise.

    The standard deviations lie along the box's axes and are shares of its sides, so that what is large, hidden or of a
    shape that is not known may be far off. The shares are those for which 90 % intervals hold about 90 % of the errors
    of `instance-seg eval --geometry` with seeds 31, 47, 101 and 102, for whole, hidden, cut and stacked objects apart.

    Args:
        is_round: whether the body was found to be one of revolution.
        completed: whether its far side was completed at all; otherwise the box is that of the side that was seen, its z
            towards the camera, and the object may reach back as far as it is wide.
        unseen_m: how far below the lowest that is seen it is assumed to reach.
    """
    wide_m, narrow_m, height_m = box.size_m[:2].max(), box.size_m[:2].min(), box.size_m[2]
    hidden, unmeasured = math.sqrt(visibility.hidden_share), _UNMEASURED * visibility.unmeasured_share
    across = 0.0 if is_round else _OTHER_ACROSS + _THIN_ACROSS * (1 - narrow_m / max(wide_m, 1e-6))
    across += (_ROUND_HIDDEN if is_round else _OTHER_HIDDEN) * hidden + unmeasured
    upwards = _ROUND_UPWARDS if is_round else _OTHER_UPWARDS
    upwards += _UPWARDS_HIDDEN * hidden + unmeasured
    upwards += {Support.PLANE: 0.0, Support.INSTANCE: _ON_INSTANCE}.get(support, _UNSUPPORTED)
    if not completed:
        height_m, upwards = max(height_m, wide_m), upwards + _FAR_SIDE
    # What lies behind an outline may be as deep as it is wide, whatever is seen of it.
    deviations_m = np.array([across, across, upwards]) * [wide_m, wide_m, height_m]
    deviations_m[2] += _FOOT_UNSEEN * unseen_m
    return covariance_along_m2(box.T_camera_box.rotation, deviations_m)


def with_unseen_foot_m(deviations_m: NDArray[np.float64], unseen_m: float) -> NDArray[np.float64]:
    """Standard deviations (3,) by a network, of which the last is upwards, of what may end higher than is assumed.

    Nearly all that both networks were fitted on stood where that is; what a hand holds low over a table looks the same.

    Args:
        unseen_m: how far below the lowest that is seen the object is assumed to reach.
    """
    across_x_m, across_y_m, upwards_m = deviations_m.tolist()
    return np.array([across_x_m, across_y_m, max(upwards_m, _FOOT_UNSEEN * unseen_m)])


def covariance_along_m2(rotation: NDArray[np.float64], deviations_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (3, 3) of independent errors along axes.

    Args:
        rotation: (3, 3) the axes as columns, camera optical frame.
        deviations_m: (3,) standard deviations along them.
    """
    return (rotation * deviations_m**2) @ rotation.T
