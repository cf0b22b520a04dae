"""Passive stereo: depth from two rendered colour images, by matching them as a real pair of cameras would.

Unlike the other sensors, which degrade a perfect depth image, this one measures: it fails on bare surfaces, repeated
patterns and shine, and its edges bleed by half a matching window. Training never sees it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.pictures.shading import Lighting

# The pair is rendered at twice the store's size, 640x480 for the usual 320x240: cameras match before they downscale.
_ZOOM = 2
_NEAREST_M = 0.3
_WINDOW_PX = 5
_NOISE_LEVELS = 2.0
_GAIN_ERROR = 0.02
_SPECKLE_PX = 150

Float32Array = npt.NDArray[np.float32]
Uint8Array = npt.NDArray[np.uint8]


def passive_stereo(
    caster: RayCaster,
    lighting: Lighting,
    camera: Intrinsics,
    T_world_camera: Transform,
    baseline_m: float,
    rng: np.random.Generator,
) -> Float32Array:
    """What a rectified pair of cameras measures of a scene; the left one is the camera.

    Args:
        caster: the scene.
        lighting: of both images.
        camera: of the depth image.
        T_world_camera: pose of the left camera's optical frame.
        baseline_m: distance of the right camera, > 0.
        rng: source of the images' noise.

    Returns:
        (H, W) float32 metres, 0 = no match.
    """
    fx = _ZOOM * camera.fx
    # The matcher finds nothing in the leftmost columns, one for each disparity: they are rendered in addition.
    margin_px = disparities(fx, baseline_m)
    # Every other pixel of the pair has the same ray as a pixel of the depth image.
    wide = Intrinsics(
        _ZOOM * camera.width + margin_px,
        _ZOOM * camera.height,
        fx,
        _ZOOM * camera.fy,
        _ZOOM * camera.cx + margin_px,
        _ZOOM * camera.cy,
    )
    rotation = T_world_camera.rotation
    T_world_right = Transform(rotation, T_world_camera.translation_m + baseline_m * rotation[:, 0])
    images = []
    for T in (T_world_camera, T_world_right):
        images.append(_photographed(caster.shade(caster.cast(wide, T), wide, T, lighting), rng))
    depth_m = match(images[0], images[1], fx, baseline_m)
    return np.ascontiguousarray(depth_m[::_ZOOM, margin_px::_ZOOM])


def disparities(fx: float, baseline_m: float) -> int:
    """Number of disparities that reach down to 0.3 m, a multiple of 16."""
    return 16 * math.ceil(fx * baseline_m / _NEAREST_M / 16)


def _photographed(color_rgb: Uint8Array, rng: np.random.Generator) -> Uint8Array:
    """A grey image (H, W) with random gain and noise."""
    grey = cv2.cvtColor(color_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey *= np.float32(rng.normal(1.0, _GAIN_ERROR))
    grey += rng.normal(0.0, _NOISE_LEVELS, grey.shape).astype(np.float32)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def match(left: Uint8Array, right: Uint8Array, fx: float, baseline_m: float) -> Float32Array:
    """Depth of the left of two rectified grey images by semi-global matching (Hirschmueller, PAMI 2008; OpenCV).

    Args:
        left, right: (H, W) uint8.
        fx: focal length of both, pixels.
        baseline_m: distance of the right camera.

    Returns:
        (H, W) float32 metres, 0 where no match is unique and confirmed by the right image.
    """
    area = _WINDOW_PX**2
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=disparities(fx, baseline_m),
        blockSize=_WINDOW_PX,
        P1=8 * area,
        P2=32 * area,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=_SPECKLE_PX,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM,
    )
    disparity_px = matcher.compute(left, right).astype(np.float32) / np.float32(cv2.StereoMatcher_DISP_SCALE)
    matched = disparity_px > 0.5
    result = np.zeros(left.shape, np.float32)
    np.divide(np.float32(fx * baseline_m), disparity_px, out=result, where=matched)
    return result
