"""What real depth cameras do to a perfect depth image.

The model covers registration error and edge warp, the one-sided shadow of a projector-camera baseline, holes and flying
pixels along depth discontinuities, noise that grows with z squared, disparity quantisation, missing returns on grazing
and unlucky surfaces, and depth cropped to a range or region. Lengths given in pixels hold for an image 320 px wide and
scale with the image's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

_REFERENCE_WIDTH = 320.0


def _setting(default: float, low: float, high: float, help: str) -> Any:
    return field(default=default, metadata={"help": help, "range": (low, high)})


@dataclass(frozen=True)
class SensorSettings:
    """Strength of each defect; all zeros is a perfect camera. The ranges are those of :meth:`sample`."""

    warp_px: float = _setting(0.0, 0.0, 2.5, "random warp of the image: standard deviation of the coarse part, px")
    jitter_px: float = _setting(0.0, 0.0, 1.2, "fine-grained edge warp: standard deviation, px")
    shift_px: float = _setting(0.0, 0.0, 1.5, "standard deviation of the constant registration error, px")
    smooth_probability: float = _setting(0.0, 0.0, 0.5, "probability of a median filter, as of block matching")
    baseline_m: float = _setting(0.0, -0.08, 0.08, "projector-camera baseline; its sign is the shadow's side; 0 = none")
    edge_hole_px: float = _setting(0.0, 0.0, 3.0, "mean width of the holes along depth steps, px")
    flying_probability: float = _setting(0.0, 0.0, 0.5, "share of depth-step pixels between the two depths")
    edge_step: float = _setting(0.02, 0.01, 0.04, "depth step, as a share of z, that counts as an edge")
    smooth_noise: float = _setting(0.0, 0.0005, 0.006, "smooth noise: standard deviation at 1 m, m, growing with z^2")
    white_noise: float = _setting(0.0, 0.0003, 0.003, "white noise: standard deviation at 1 m, m, growing with z^2")
    quantum: float = _setting(0.0, 0.0, 0.006, "depth step of the disparity's quantisation at 1 m, m")
    scale_error: float = _setting(0.0, 0.0, 0.03, "relative standard deviation of the depth scale")
    grazing_tan: float = _setting(0.0, 3.0, 15.0, "tangent of the incidence beyond which returns get lost; 0 = never")
    dropout_blobs: float = _setting(0.0, 0.0, 12.0, "mean number of elliptic holes")
    dropout_share: float = _setting(0.0, 0.0, 0.12, "mean share of the image lost in irregular patches")
    speckle: float = _setting(0.0, 0.0, 0.01, "share of single pixels lost")
    crop_probability: float = _setting(0.0, 0.0, 0.5, "probability of depth cropped at a distance or to a rectangle")
    max_range_m: float = _setting(0.0, 1.5, 6.0, "depth beyond this is lost; 0 = unlimited")

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not np.isfinite(value) or (value < 0 and entry.name != "baseline_m"):
                raise ValueError(f"sensor setting {entry.name} must be finite and not negative, got {value}")
        for name in ("smooth_probability", "flying_probability", "dropout_share", "speckle", "crop_probability"):
            if getattr(self, name) > 1:
                raise ValueError(f"sensor setting {name} is a share and must not exceed 1, got {getattr(self, name)}")

    @classmethod
    def sample(cls, rng: np.random.Generator) -> SensorSettings:
        """A random camera for training: each defect independently weak, typical or strong."""
        values = {}
        for entry in fields(cls):
            low, high = entry.metadata["range"]
            weight = rng.beta(1.0, 1.6)
            values[entry.name] = float(low + (high - low) * (weight if entry.name != "baseline_m" else rng.random()))
        if rng.random() < 0.08:
            values["dropout_share"] = float(rng.uniform(0.2, 0.5))
        return cls(**values)


PRESETS: dict[str, SensorSettings] = {
    "ideal": SensorSettings(),
    "structured_light": SensorSettings(
        warp_px=0.8,
        jitter_px=0.5,
        shift_px=0.6,
        smooth_probability=0.5,
        baseline_m=0.075,
        edge_hole_px=1.5,
        flying_probability=0.05,
        smooth_noise=0.001,
        white_noise=0.0008,
        quantum=0.0028,
        scale_error=0.005,
        grazing_tan=8.0,
        dropout_blobs=2.0,
        dropout_share=0.01,
        max_range_m=4.0,
    ),
    "active_stereo": SensorSettings(
        warp_px=1.2,
        jitter_px=0.8,
        shift_px=0.3,
        smooth_probability=0.8,
        baseline_m=0.05,
        edge_hole_px=0.7,
        flying_probability=0.25,
        smooth_noise=0.0025,
        white_noise=0.0008,
        quantum=0.0005,
        scale_error=0.01,
        grazing_tan=12.0,
        dropout_blobs=3.0,
        dropout_share=0.015,
        max_range_m=6.0,
    ),
    "time_of_flight": SensorSettings(
        jitter_px=0.2,
        shift_px=0.5,
        edge_hole_px=0.5,
        flying_probability=0.5,
        smooth_noise=0.003,
        white_noise=0.001,
        scale_error=0.008,
        grazing_tan=10.0,
        dropout_blobs=1.0,
        dropout_share=0.02,
        speckle=0.002,
        max_range_m=5.0,
    ),
}


def preset(name: str, **changes: float) -> SensorSettings:
    """A named camera, with single settings changed.

    Raises:
        ValueError: no camera has this name.
    """
    if name not in PRESETS:
        raise ValueError(f"no sensor named {name!r}; choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


def simulate_depth(
    depth_m: Float32Array,
    intrinsics_fxfycxcy: Sequence[float],
    rng: np.random.Generator,
    settings: SensorSettings,
) -> Float32Array:
    """Depth as a real camera would have measured it.

    Args:
        depth_m: (H, W) float32 clean z-depth in metres, 0 = nothing hit.
        intrinsics_fxfycxcy: pinhole parameters of the image, pixels.
        rng: source of all randomness: the same state gives the same image.
        settings: strength of each defect.

    Returns:
        (H, W) float32 metres, 0 = no measurement. A new array.
    """
    scale = depth_m.shape[1] / _REFERENCE_WIDTH
    focal = float(intrinsics_fxfycxcy[0])
    z = _warp(np.asarray(depth_m, np.float32), rng, settings, scale)
    lost = z <= 0.0
    if settings.max_range_m > 0:
        lost |= z > settings.max_range_m
    if settings.baseline_m != 0:
        lost |= _projector_shadow(z, focal * settings.baseline_m)
    near, far = _local_extrema(z)
    step = (far - near) > settings.edge_step * near
    if settings.grazing_tan > 0:
        lost |= _grazing(near, far, step, focal, rng, settings.grazing_tan)
    z = _flying_pixels(z, near, far, step, rng, settings.flying_probability)
    lost |= _edge_holes(step, rng, settings.edge_hole_px * scale)
    lost |= _dropout(z.shape, rng, settings, scale)
    z = _noise(z, rng, settings)
    if settings.crop_probability > 0 and rng.random() < settings.crop_probability:
        lost |= _cropped(z, rng)
    z[lost] = 0.0
    return z


def _coarse_noise(shape: tuple[int, int], cell_px: float, rng: np.random.Generator, channels: int = 1) -> Float32Array:
    """Smooth unit-variance-at-the-nodes Gaussian noise on a grid of ``cell_px``, interpolated to ``shape``."""
    height, width = shape
    grid = (max(2, round(height / cell_px) + 1), max(2, round(width / cell_px) + 1), channels)
    nodes = rng.standard_normal(grid, dtype=np.float32)
    return np.asarray(cv2.resize(nodes, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _warp(z: Float32Array, rng: np.random.Generator, settings: SensorSettings, scale: float) -> Float32Array:
    """Move pixels by a constant, a coarse and a fine random field; depths are picked, never mixed."""
    if rng.random() < settings.smooth_probability:
        z = np.asarray(cv2.medianBlur(z, 5), np.float32)
    if settings.warp_px == settings.jitter_px == settings.shift_px == 0:
        return z.copy()
    height, width = z.shape
    flow = _coarse_noise(z.shape, 24 * scale, rng, 2) * np.float32(settings.warp_px * scale)
    flow += _coarse_noise(z.shape, 4 * scale, rng, 2) * np.float32(settings.jitter_px * scale)
    flow += (rng.standard_normal(2) * settings.shift_px * scale).astype(np.float32)
    flow[..., 0] += np.arange(width, dtype=np.float32)
    flow[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(z, flow, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _projector_shadow(z: Float32Array, focal_baseline: float) -> npt.NDArray[np.bool_]:
    """Pixels that the projector does not light: along a row, their place in its image is behind a nearer surface's."""
    if focal_baseline < 0:
        return _projector_shadow(z[:, ::-1], -focal_baseline)[:, ::-1]
    disparity = np.where(z > 0, np.float32(focal_baseline) / np.maximum(z, np.float32(0.05)), np.float32(0.0))
    place = np.arange(z.shape[1], dtype=np.float32) - disparity
    nearest = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return place > nearest + np.float32(0.5)


_CROSS = np.ones((3, 3), np.uint8)


def _local_extrema(z: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Smallest and largest depth of each 3 x 3 neighbourhood; pixels that hit nothing count as far away."""
    filled = np.where(z > 0, z, np.float32(20.0))
    return np.asarray(cv2.erode(filled, _CROSS)), np.asarray(cv2.dilate(filled, _CROSS))


def _grazing(
    near: Float32Array,
    far: Float32Array,
    step: npt.NDArray[np.bool_],
    focal: float,
    rng: np.random.Generator,
    limit_tan: float,
) -> npt.NDArray[np.bool_]:
    """Surfaces seen at a flat angle, losing returns patchily around the limit."""
    tangent = (far - near) * np.float32(0.5 * focal) / near
    limit = np.float32(limit_tan) * np.exp(np.float32(0.25) * _coarse_noise(near.shape, 6.0, rng))
    return np.asarray((tangent > limit) & ~step)


def _flying_pixels(
    z: Float32Array,
    near: Float32Array,
    far: Float32Array,
    step: npt.NDArray[np.bool_],
    rng: np.random.Generator,
    probability: float,
) -> Float32Array:
    """Some pixels on a depth step measure a depth between its two sides."""
    if probability == 0:
        return z
    at = np.flatnonzero(step & (far < 19.0))
    at = at[rng.random(len(at), dtype=np.float32) < probability]
    share = rng.random(len(at), dtype=np.float32)
    z.ravel()[at] = near.ravel()[at] * (1 - share) + far.ravel()[at] * share
    return z


def _edge_holes(step: npt.NDArray[np.bool_], rng: np.random.Generator, mean_width: float) -> npt.NDArray[np.bool_]:
    """Holes of varying width along depth steps: the distance to the step stays below a smooth random width."""
    if mean_width == 0 or not step.any():
        return np.zeros(step.shape, bool)
    distance = cv2.distanceTransform((~step).astype(np.uint8), cv2.DIST_L2, 3)
    width = np.float32(mean_width) * (np.float32(0.5) + np.float32(0.8) * _coarse_noise(step.shape, 8.0, rng))
    return np.asarray(distance + np.float32(0.5) < width)


def _dropout(
    shape: tuple[int, int], rng: np.random.Generator, settings: SensorSettings, scale: float
) -> npt.NDArray[np.bool_]:
    """Ellipses, irregular patches and single pixels without a return."""
    height, width = shape
    holes = np.zeros(shape, np.uint8)
    for _ in range(int(rng.poisson(settings.dropout_blobs))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(np.ceil(r * scale)) for r in rng.gamma(2.0, 1.5, 2))
        cv2.ellipse(holes, centre, axes, float(rng.uniform(0, 360)), 0, 360, 1, -1)
    lost = holes.astype(bool)
    if settings.dropout_share > 0:
        share = min(float(rng.exponential(settings.dropout_share)), 0.6)
        field_ = _coarse_noise(shape, rng.uniform(10, 50) * scale, rng) + 0.5 * _coarse_noise(shape, 5 * scale, rng)
        lost |= field_ > np.quantile(field_[::4, ::4], 1.0 - share)
    if settings.speckle > 0:
        lost.ravel()[rng.integers(0, lost.size, int(settings.speckle * lost.size))] = True
    return lost


def _noise(z: Float32Array, rng: np.random.Generator, settings: SensorSettings) -> Float32Array:
    """Smooth and white noise that grow with z squared, disparity quantisation, a scale error."""
    if settings.smooth_noise > 0 or settings.white_noise > 0:
        noise = _coarse_noise(z.shape, rng.uniform(8, 40), rng) * np.float32(settings.smooth_noise)
        noise += rng.standard_normal(z.shape, dtype=np.float32) * np.float32(settings.white_noise)
        z = z + z * z * noise
    if settings.quantum > 0:
        inverse = np.rint(np.float32(1.0 / settings.quantum) / np.maximum(z, np.float32(0.05)))
        z = np.float32(1.0 / settings.quantum) / np.maximum(inverse, np.float32(1.0))
    if settings.scale_error > 0:
        z = z * np.float32(rng.gamma(settings.scale_error**-2, settings.scale_error**2))
    return z


def _cropped(z: Float32Array, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Depth beyond a distance, or outside a slanted rectangle, is removed."""
    height, width = z.shape
    lost = np.zeros(z.shape, bool)
    kind = rng.integers(3)
    if kind != 1 and (z > 0).any():
        lost |= z > np.quantile(z[z > 0], rng.uniform(0.55, 1.0))
    if kind != 0:
        inset = rng.uniform(0.0, 0.25, 8).reshape(4, 2) * [width, height]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
        corners += inset * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
        inside = np.zeros(z.shape, np.uint8)
        cv2.fillConvexPoly(inside, corners.astype(np.int32), 1)
        lost |= inside == 0
    return lost
