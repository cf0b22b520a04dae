"""The camera that a CameraInfo describes: without lens distortion, its images are those of a pinhole camera."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, intrinsics_from_matrix

CameraInfo = Any

PLUMB_BOB, RATIONAL_POLYNOMIAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
_COEFFICIENTS = {PLUMB_BOB: (4, 5, 8, 12, 14), RATIONAL_POLYNOMIAL: (4, 5, 8, 12, 14), EQUIDISTANT: (4,)}
"""How many there are, by model (sensor_msgs/distortion_models.hpp); those of one polynomial continue each other."""

_FIELD_OF_VIEW_DEG = (1.0, 170.0)
"""Of what a pinhole camera may have: a focal length outside belongs to another unit, size or camera."""
_NOWHERE_PX = -1e4
_FARTHEST_PX = 3e4
"""Places in an image are held in 16 bits."""
_SAME_ROTATION = 1e-6
_LEAST_SHARE_SEEN = 0.05


@dataclass(frozen=True)
class Lens:
    """A distortion model and the raw image that it belongs to.

    Attributes:
        model: a key of `_COEFFICIENTS`.
        coefficients: D of the CameraInfo.
        k: K, row by row, of the full image.
        offset_xy: first pixel of the region of interest in the full image.
        binning_xy: pixels of the full image for one of the published one.
    """

    model: str
    coefficients: tuple[float, ...]
    k: tuple[float, ...]
    offset_xy: tuple[int, int]
    binning_xy: tuple[int, int]


@dataclass(frozen=True)
class View:
    """A pinhole camera, and how the published images become its own.

    Attributes:
        camera: of the images once they are rectified; they keep their size.
        lens: what is taken out; None where the published images are a pinhole camera's already.
    """

    camera: Intrinsics
    lens: Lens | None

    def color(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) without distortion, interpolated; black where the camera saw nothing."""
        if self.lens is None:
            return image
        places, fractions, _ = _maps(self.lens, self.camera)
        return np.asarray(cv2.remap(image, places, fractions, cv2.INTER_LINEAR), np.uint8)

    def depth(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) metres without distortion, the nearest measurement each; 0 where the camera saw nothing."""
        if self.lens is None:
            return depth_m
        return np.asarray(cv2.remap(depth_m, _maps(self.lens, self.camera)[2], None, cv2.INTER_NEAREST), np.float32)


def intrinsics_of(info: CameraInfo) -> Intrinsics:
    """The pinhole camera of the images that this CameraInfo describes: K, then region of interest, then binning.

    Raises:
        ValueError: for a K of zeros or another camera that cannot be.
    """
    full = intrinsics_from_matrix(info.k, info.width, info.height)
    for focal_px, size_px, side in ((full.fx, full.width, "wide"), (full.fy, full.height, "high")):
        field_of_view_deg = math.degrees(2 * math.atan(size_px / 2 / focal_px))
        if not _FIELD_OF_VIEW_DEG[0] <= field_of_view_deg <= _FIELD_OF_VIEW_DEG[1]:
            raise ValueError(
                f"a focal length of {focal_px:g} px in an image {size_px} px {side} is a field of view of "
                f"{field_of_view_deg:.3g} degrees, which no pinhole camera has; is K that of this stream, in pixels?"
            )
    roi = info.roi
    width, height = (roi.width, roi.height) if roi.width and roi.height else (info.width, info.height)
    cropped = Intrinsics(width, height, full.fx, full.fy, full.cx - roi.x_offset, full.cy - roi.y_offset)
    binning_x, binning_y = _binning(info)
    return cropped.resized(width // binning_x, height // binning_y)


def centre_fault(infos: Mapping[str, CameraInfo | None]) -> str:
    """What speaks against the K of cameras, by their names, with the cure; empty for nothing.

    A K of another resolution puts objects decimetres aside, and mostly misses the middle of the image. So does that of
    an image that was cropped without a region of interest in its CameraInfo, so it is no error.
    """
    for name, info in infos.items():
        if info is None:
            continue
        try:
            camera = intrinsics_from_matrix(info.k, info.width, info.height)
        except ValueError:  # such as zeros: refused where it is used, and that of aligned depth is not
            continue
        if not camera.fits_size:
            size = camera.size_instead
            instead = "another resolution" if size is None else f"{size[0]}x{size[1]}, in whose middle that is"
            return (
                f"the principal point ({camera.cx:g}, {camera.cy:g}) of {name} is far from the middle of its "
                f"{camera.width}x{camera.height} image: is K that of {instead}? All positions would be wrong; "
                "calibrate the camera at the resolution that it publishes. If the driver crops the image, name the "
                "crop in roi of the CameraInfo, with width, height and K of the full image"
            )
    return ""


def is_distorted(info: CameraInfo) -> bool:
    """Whether the images carry lens distortion, which a pinhole camera cannot express."""
    return any(coefficient != 0 for coefficient in info.d)


def is_correctable(info: CameraInfo) -> bool:
    """Whether the distortion of the images is of a kind that is taken out here."""
    return len(info.d) in _COEFFICIENTS.get(info.distortion_model, ())


def camera_of_rectified(info: CameraInfo) -> CameraInfo:
    """The CameraInfo of the rectified images of a camera: K is that of P, and no distortion is left.

    image_proc publishes the raw camera's CameraInfo with its rectified images, whose pinhole camera is P.
    """
    rectified = copy.copy(info)
    rectified.k = np.asarray(info.p, dtype=np.float64).reshape(3, 4)[:, :3].reshape(9)
    rectified.d = []
    return rectified


def view_of(info: CameraInfo) -> View:
    """How the images of a CameraInfo become those of a pinhole camera.

    As with image_proc that is the one of P, so that masks fit its rectified images. Where P is not filled in, or R
    turns the rectified images (as those of a stereo pair), it is the one of K, whose axes are those of the frame_id.
    Distortion of an unknown model stays, see `is_correctable`.

    Raises:
        ValueError: for a camera that cannot be, coefficients by which nearly nothing is seen, or a huge image.
    """
    raw = intrinsics_of(info)
    if not (is_distorted(info) and is_correctable(info)):
        return View(raw, None)
    if not np.isfinite(info.d).all():
        raise ValueError(f"the distortion coefficients are not finite: {', '.join(f'{value:g}' for value in info.d)}")
    if max(raw.width, raw.height) > _FARTHEST_PX:
        raise ValueError(
            f"lens distortion is not taken out of images of {raw.width} x {raw.height} px; "
            f"{_FARTHEST_PX:.0f} is the most"
        )
    lens = Lens(
        info.distortion_model,
        tuple(float(value) for value in info.d),
        tuple(float(value) for value in info.k),
        (int(info.roi.x_offset), int(info.roi.y_offset)),
        _binning(info),
    )
    camera = intrinsics_of(camera_of_rectified(info)) if _has_rectified_camera(info) else raw
    _maps(lens, camera)  # refused here, not at the first image
    return View(camera, lens)


def _has_rectified_camera(info: CameraInfo) -> bool:
    rotation = np.asarray(info.r, dtype=np.float64)
    is_turned = rotation.any() and np.abs(rotation - np.eye(3).reshape(9)).max() > _SAME_ROTATION
    return bool(info.p[0] > 0 and info.p[5] > 0 and not is_turned)


def _binning(info: CameraInfo) -> tuple[int, int]:
    return max(1, info.binning_x), max(1, info.binning_y)  # 0 stands for 1 in a CameraInfo


@lru_cache(maxsize=4)
def _maps(lens: Lens, camera: Intrinsics) -> tuple[NDArray[np.int16], NDArray[np.uint16], NDArray[np.int16]]:
    """Where each pixel of the rectified image lies in the published one: for interpolation (two arrays), and nearest.

    Raises:
        ValueError: few of them lie in it.
    """
    k, coefficients = np.array(lens.k).reshape(3, 3), np.array(lens.coefficients)
    target = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    size_wh = camera.width, camera.height
    make = cv2.fisheye.initUndistortRectifyMap if lens.model == EQUIDISTANT else cv2.initUndistortRectifyMap
    x, y = make(k, coefficients, np.eye(3), target, size_wh, cv2.CV_32FC1)
    x, y = (
        (full - offset + 0.5) / binning - 0.5
        for full, offset, binning in zip((x, y), lens.offset_xy, lens.binning_xy, strict=True)
    )
    seen = _unfolded(x, y, camera) & (np.abs(x) < _FARTHEST_PX) & (np.abs(y) < _FARTHEST_PX)
    x, y = (np.where(seen, values, _NOWHERE_PX).astype(np.float32) for values in (x, y))
    places, fractions = cv2.convertMaps(x, y, cv2.CV_16SC2)
    nearest, _ = cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=True)
    inside = ((nearest >= 0) & (nearest < size_wh)).all(axis=-1, keepdims=True)
    if inside.mean() < _LEAST_SHARE_SEEN:
        raise ValueError(
            f"by its {lens.model} distortion coefficients {lens.coefficients} the camera sees "
            f"{100 * inside.mean():.0f} % of the rectified image, as if they were of another model or image size"
        )
    return places, fractions, np.where(inside, nearest, np.int16(_NOWHERE_PX))


def _unfolded(x: NDArray[np.float32], y: NDArray[np.float32], camera: Intrinsics) -> NDArray[np.bool_]:
    """Where the distortion is one to one, around the optical axis: beyond, a polynomial may fold the image back."""
    with np.errstate(all="ignore"):  # far out it may overflow
        x_down, x_right = np.gradient(x)
        y_down, y_right = np.gradient(y)
        upright = (x_right * y_down - x_down * y_right > 0).astype(np.uint8)
    _, regions = cv2.connectedComponents(upright, connectivity=4)
    column = int(np.clip(round(camera.cx), 0, camera.width - 1))
    row = int(np.clip(round(camera.cy), 0, camera.height - 1))
    return np.asarray((regions == regions[row, column]) & (upright > 0))
