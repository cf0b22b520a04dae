"""The object inside a rectangle of the image, by the depth alone: for prompts, without a network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting.background_planes import dominant_plane

_SURROUND = 0.5
"""Of the rectangle's sides, on each side: where a plane is looked for if none is known."""
_MIN_PLANE_SHARE = 0.2
_MIN_PIXELS = 30
_CENTRE_SHARE = 0.35
"""Of the rectangle's sides: so far from the centre a pixel counts less than half."""
_FAR_M = 1e6


def cut_out(
    frame: RgbdFrame, box_xyxy: tuple[int, int, int, int], planes: Sequence[Plane], settings: LiftingSettings
) -> NDArray[np.bool_]:
    """The mask (H, W) of what stands out in a rectangle; empty where nothing does.

    What lies on a plane that is known, or else on the plane around the rectangle, is no object. The rest falls into
    pieces where the depth steps; the piece with the most pixels is taken, those near the rectangle's centre counting
    more.

    Args:
        frame: of the camera.
        box_xyxy: pixels from (x0, y0) to before (x1, y1); what is outside the image is cut away.
        planes: that objects may stand on.
        settings: `plane_tolerance_m`, `depth_step_m` and `depth_step_ratio` are used.
    """
    height, width = frame.depth_m.shape
    mask = np.zeros((height, width), dtype=bool)
    x0, y0, x1, y1 = np.clip(box_xyxy, 0, [width, height, width, height]).tolist()
    if x1 <= x0 or y1 <= y0:
        return mask
    here = slice(y0, y1), slice(x0, x1)
    depth_m, points_m = frame.depth_m[here], frame.points_m[here]
    standing = depth_m > 0
    for plane in planes or _plane_around(frame, (x0, y0, x1, y1), settings.plane_tolerance_m):
        standing &= np.abs(plane.height_m(points_m)) > settings.plane_tolerance_m
    piece = _largest_piece(standing & ~_steps(depth_m, settings), standing)
    if np.count_nonzero(piece) >= _MIN_PIXELS:
        mask[here] = piece
    return mask


def _plane_around(frame: RgbdFrame, box_xyxy: tuple[int, int, int, int], tolerance_m: float) -> list[Plane]:
    """The plane that fills much of the rectangle's surroundings, if there is one."""
    x0, y0, x1, y1 = box_xyxy
    reach_x, reach_y = round(_SURROUND * (x1 - x0)), round(_SURROUND * (y1 - y0))
    wide = slice(max(y0 - reach_y, 0), y1 + reach_y), slice(max(x0 - reach_x, 0), x1 + reach_x)
    points_m = frame.points_m[wide][frame.depth_m[wide] > 0]
    if len(points_m) < _MIN_PIXELS:
        return []
    plane, inliers = dominant_plane(points_m, tolerance_m)
    return [plane] if np.count_nonzero(inliers) >= _MIN_PLANE_SHARE * len(points_m) else []


def _steps(depth_m: NDArray[np.float32], settings: LiftingSettings) -> NDArray[np.bool_]:
    """Pixels beside a step of the depth, on its far side."""
    step_m = np.maximum(settings.depth_step_m, settings.depth_step_ratio * depth_m)
    # The nearest of the 3 x 3 neighbours that were measured.
    measured = np.where(depth_m > 0, depth_m, np.float32(_FAR_M))
    nearest_m = cv2.erode(measured, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(measured - nearest_m > step_m)


def _largest_piece(apart: NDArray[np.bool_], standing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected piece that weighs most, with the pixels that `apart` leaves out beside it."""
    count, pieces = cv2.connectedComponents(apart.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(apart)
    height, width = apart.shape
    y, x = (np.arange(side, dtype=np.float32) + 0.5 for side in (height, width))
    near = np.exp(-(((y / height - 0.5) / _CENTRE_SHARE) ** 2))[:, None] * np.exp(
        -(((x / width - 0.5) / _CENTRE_SHARE) ** 2)
    )
    weights = np.bincount(pieces.ravel(), weights=near.ravel(), minlength=count)
    best = (pieces == 1 + int(np.argmax(weights[1:]))).astype(np.uint8)
    return np.asarray((cv2.dilate(best, np.ones((3, 3), np.uint8)) > 0) & standing & ((pieces == 0) | (best > 0)))
