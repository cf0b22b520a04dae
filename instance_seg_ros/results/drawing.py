"""What all pictures of masks and grasps have in common: colours, depth, filled and outlined masks, the gripper."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.core.status import Status, names_of
from instance_seg_ros.grasping.grasp import Grasp

Rgb = tuple[int, int, int]

GOLDEN_RATIO_CONJUGATE = 0.6180339887498949
FILL_OPACITY = 0.38
GRASPS_SHOWN, OPACITY_OF_OTHERS = 3, 0.4
"""Of each object, in viewers that turn: so many, and that of all but the best."""
WHITE: Rgb = (255, 255, 255)
AMBER: Rgb = (255, 191, 51)


def color_of_track(track_id: int) -> Rgb:
    """The colour of a track, (red, green, blue) in 0..255: the same on every frame, picture and marker.

    Hues step by the golden ratio, so ids that follow each other differ most; lightness and saturation alternate so that
    hues that come close again still differ.
    """
    hue = (track_id * GOLDEN_RATIO_CONJUGATE) % 1.0
    lightness = (0.58, 0.50, 0.66)[track_id % 3]
    saturation = (0.95, 0.80)[track_id % 2]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def color_of_tag(status: Status) -> Rgb:
    """The colour of an object's tag in space: white, or amber where it is flagged."""
    return AMBER if status else WHITE


def flags_of(status: Status) -> list[str]:
    """The names of an object's flags as they are shown below its tag."""
    return [name.replace("_", " ") for name in names_of(status)]


def depth_picture(depth_m: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A depth image for the eye, (H, W, 3) uint8 RGB: near is light, far is dark, no measurement is dark blue."""
    measured = depth_m > 0
    picture = np.full((*depth_m.shape, 3), (24, 28, 48), dtype=np.uint8)
    if measured.any():
        near_m, far_m = np.percentile(depth_m[measured], [1, 99])
        share = np.clip((depth_m[measured] - near_m) / max(far_m - near_m, 1e-3), 0, 1)
        picture[measured] = (235 - 175 * share).astype(np.uint8)[:, None]
    return picture


def fill_mask(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], color: Rgb) -> None:
    """Tints the pixels of a mask (H, W) in a picture (H, W, 3), in place."""
    tint = np.array(color, dtype=np.float32)
    canvas[mask] = (canvas[mask] * (1 - FILL_OPACITY) + tint * FILL_OPACITY).astype(np.uint8)


def draw_outline(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], color: Rgb) -> None:
    """Draws the contours of a mask (H, W), those of its holes too, into a picture (H, W, 3), in place."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, color, 2, cv2.LINE_AA)


def gripper_corners_m(grasp: Grasp, gripper: GripperSettings) -> NDArray[np.float64]:
    """The gripper when it holds: two fingers, their inner sides at the contacts, and the palm.

    Returns:
        (3, 8, 3) metres in the camera's optical frame, the corners of each box in the order of `BOX_EDGES`.
    """
    inner_m, thick_m = grasp.width_m / 2, gripper.finger_thickness_m
    half_y_m, knuckle_m = gripper.finger_width_m / 2, -gripper.finger_length_m
    half_palm_m = (gripper.palm_width_m / 2, gripper.palm_height_m / 2)
    low_m = np.array(
        [
            (-inner_m - thick_m, -half_y_m, knuckle_m),
            (inner_m, -half_y_m, knuckle_m),
            (-half_palm_m[0], -half_palm_m[1], knuckle_m - gripper.palm_depth_m),
        ]
    )
    high_m = np.array([(-inner_m, half_y_m, 0.0), (inner_m + thick_m, half_y_m, 0.0), (*half_palm_m, knuckle_m)])
    is_high = np.arange(8)[:, None] >> np.arange(3) & 1 == 1
    corners_m = np.where(is_high, high_m[:, None], low_m[:, None])
    return np.asarray(grasp.T_camera_grasp.apply(corners_m), dtype=np.float64)
