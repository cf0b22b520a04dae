"""What real depth cameras do to a perfect depth image.

The model covers registration error and edge warp, near surfaces that spread over far ones, the one-sided shadow of a
projector-camera baseline, holes and flying pixels along depth discontinuities, noise that grows with z squared,
disparity quantisation, missing returns on grazing and unlucky surfaces, and depth cropped to a range or region. Lengths
given in pixels hold for an image 320 px wide and scale with the image's width.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.settings import Settings, setting

Float32Array = npt.NDArray[np.float32]

REFERENCE_WIDTH = 320.0
"""Of the image that lengths in pixels hold for."""

NOTHING_M = np.float32(20.0)
"""Where a pixel that hit nothing counts as being."""

_NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class SensorSettings(Settings):
    """Strength of each defect; the defaults are a perfect camera."""

    warp_px: float = setting(0.0, "Coarse random warp, standard deviation in px.", minimum=0.0, maximum=20.0)
    jitter_px: float = setting(0.0, "Fine random warp, standard deviation in px.", minimum=0.0, maximum=20.0)
    shift_px: float = setting(0.0, "Constant registration error, standard deviation in px.", minimum=0.0, maximum=20.0)
    smooth_probability: float = setting(
        0.0, "Probability of a median filter, like that of block matching.", minimum=0.0, maximum=1.0
    )
    fattening_px: float = setting(
        0.0, "Mean width by which near surfaces spread over far ones in px.", minimum=0.0, maximum=10.0
    )
    baseline_m: float = setting(
        0.0,
        "Projector-camera baseline; its sign is the side of the shadow, 0 casts none.",
        minimum=-0.5,
        maximum=0.5,
    )
    edge_step: float = setting(
        0.02, "Step between neighbours, as a share of the depth, that is an edge.", minimum=0.001, maximum=1.0
    )
    edge_hole_px: float = setting(0.0, "Mean width of the holes along edges in px.", minimum=0.0, maximum=20.0)
    flying_probability: float = setting(
        0.0, "Share of edge pixels that measure a depth between the two sides.", minimum=0.0, maximum=1.0
    )
    smooth_noise: float = setting(
        0.0, "Smooth noise in metres at 1 m, growing with the depth squared.", minimum=0.0, maximum=0.1
    )
    white_noise: float = setting(
        0.0, "Noise of single pixels in metres at 1 m, growing with the depth squared.", minimum=0.0, maximum=0.1
    )
    quantum: float = setting(
        0.0, "Step of the quantised disparity in metres of depth at 1 m; 0 is continuous.", minimum=0.0, maximum=0.1
    )
    scale_error: float = setting(
        0.0, "Relative standard deviation of the depth scale from frame to frame.", minimum=0.0, maximum=0.2
    )
    grazing_tan: float = setting(
        0.0, "Tangent of the angle of incidence beyond which returns get lost; 0: never.", minimum=0.0, maximum=1000.0
    )
    surface_losses: float = setting(
        0.0, "Mean number of dark or shiny surfaces that lose most returns.", minimum=0.0, maximum=20.0
    )
    ellipse_losses: float = setting(0.0, "Mean number of elliptic holes.", minimum=0.0, maximum=100.0)
    patch_losses: float = setting(
        0.0, "Mean share of the image that is lost in irregular patches.", minimum=0.0, maximum=0.9
    )
    speckle: float = setting(0.0, "Share of single pixels that are lost.", minimum=0.0, maximum=1.0)
    crop_probability: float = setting(
        0.0, "Probability of depth cropped at a distance or to a slanted region.", minimum=0.0, maximum=1.0
    )
    max_range_m: float = setting(0.0, "Depth beyond this is lost; 0: unlimited.", minimum=0.0, maximum=100.0)
    see_through: float = setting(
        0.0,
        "Largest share of clear and mirroring surfaces that is not measured where it is.",
        minimum=0.0,
        maximum=1.0,
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> SensorSettings:
        """A random camera for training: every defect is absent, weak, typical or strong, independently."""

        def some(low: float, high: float, absent: float = 0.2) -> float:
            value = low + (high - low) * rng.beta(1.0, 1.6)
            return 0.0 if rng.random() < absent else float(value)

        return cls(
            warp_px=some(0.2, 2.5),
            jitter_px=some(0.1, 1.2),
            shift_px=some(0.2, 3.0),
            smooth_probability=0.35,
            fattening_px=some(0.2, 2.0, 0.4),
            baseline_m=some(0.02, 0.09, 0.35) * float(rng.choice([1.0, 1.0, -1.0])),
            edge_step=float(rng.uniform(0.01, 0.04)),
            edge_hole_px=some(0.3, 3.0, 0.3),
            flying_probability=some(0.05, 0.5, 0.4),
            smooth_noise=some(0.0003, 0.006, 0.1),
            white_noise=some(0.0002, 0.003, 0.1),
            quantum=some(0.0005, 0.006, 0.5),
            scale_error=some(0.005, 0.03),
            grazing_tan=some(4.0, 15.0, 0.4),
            surface_losses=some(0.3, 3.0, 0.45),
            ellipse_losses=some(1.0, 12.0, 0.4),
            patch_losses=float(rng.uniform(0.15, 0.5)) if rng.random() < 0.12 else some(0.005, 0.06, 0.4),
            speckle=some(0.001, 0.01, 0.5),
            crop_probability=0.2,
            max_range_m=some(1.8, 8.0, 0.6),
            see_through=1.0,
        )


CAMERA_FIELDS = tuple(field.name for field in fields(SensorSettings))


def camera_vector(settings: SensorSettings) -> list[float]:
    """A camera's settings as numbers, in the order of CAMERA_FIELDS."""
    return [float(getattr(settings, name)) for name in CAMERA_FIELDS]


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
        surface_losses=0.3,
        ellipse_losses=2.0,
        patch_losses=0.01,
        max_range_m=4.0,
        see_through=0.95,
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
        surface_losses=0.3,
        ellipse_losses=3.0,
        patch_losses=0.015,
        max_range_m=6.0,
        see_through=0.8,
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
        surface_losses=0.3,
        ellipse_losses=1.0,
        patch_losses=0.02,
        speckle=0.002,
        max_range_m=5.0,
        see_through=0.95,
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
    fx: float,
    rng: np.random.Generator,
    settings: SensorSettings,
    behind_m: Float32Array | None = None,
) -> Float32Array:
    """Depth as a real camera would have measured it.

    Args:
        depth_m: (H, W) float32 clean z-depth in metres, 0 = nothing hit.
        fx: focal length along the rows of the image, pixels.
        rng: source of all randomness: the same state gives the same image.
        settings: strength of each defect.
        behind_m: (H, W) float32, 0 for ordinary surfaces, otherwise the depth of what is seen through the surface,
            infinite for nothing and for mirrors (from :meth:`.render.RayCaster.behind`); None if all surfaces are
            ordinary.

    Returns:
        (H, W) float32 metres, 0 = no measurement. A new array.
    """
    scale = depth_m.shape[1] / REFERENCE_WIDTH
    z = np.array(depth_m, np.float32)
    if behind_m is not None and settings.see_through > 0:
        _see_through(z, behind_m, rng, settings.see_through, scale)
    if rng.random() < settings.smooth_probability:
        z = np.asarray(cv2.medianBlur(z, 5), np.float32)
    lost = z <= 0.0
    if settings.fattening_px > 0:
        z = _fattened(z, rng, settings.fattening_px * scale, settings.edge_step)
    if settings.max_range_m > 0:
        lost |= z > settings.max_range_m
    if settings.baseline_m != 0:
        lost |= _projector_shadow(z, fx * settings.baseline_m)
    near, far = _local_extrema(z)
    step = _steps(z, near, far, settings.edge_step)
    if settings.grazing_tan > 0:
        lost |= _grazing(near, far, step, fx, rng, settings.grazing_tan)
    lost |= _edge_holes(step, rng, settings.edge_hole_px * scale)
    lost |= _lossy_surfaces(z, rng, settings.surface_losses, scale)
    lost |= _dropout(z.shape, rng, settings, scale)
    _add_flying_pixels(z, near, far, step, rng, settings.flying_probability)
    _add_noise(z, rng, settings)
    z[lost] = 0.0
    # Last, because registration to colour is what moves the image; depths are picked, never mixed.
    z = _warp(z, rng, settings, scale)
    if settings.crop_probability > 0 and rng.random() < settings.crop_probability:
        z[_cropped(z, rng)] = 0.0
    return z


def _coarse_noise(shape: tuple[int, int], cell_px: float, rng: np.random.Generator, channels: int = 1) -> Float32Array:
    """Smooth unit-variance-at-the-nodes Gaussian noise on a grid of ``cell_px``, interpolated to ``shape``."""
    height, width = shape
    grid = (max(2, round(height / cell_px) + 1), max(2, round(width / cell_px) + 1), channels)
    nodes = rng.standard_normal(grid, dtype=np.float32)
    return np.asarray(cv2.resize(nodes, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _see_through(z: Float32Array, behind_m: Float32Array, rng: np.random.Generator, most: float, scale: float) -> None:
    """In patches, clear and mirroring surfaces give nothing, or the depth of what is behind them; changes ``z``."""
    at = np.flatnonzero(behind_m > 0)
    if not len(at):
        return
    missed, through = rng.uniform(0.3, 1.0) * most, rng.random()
    patches = [_coarse_noise(z.shape, rng.uniform(4, 25) * scale, rng).ravel()[at] for _ in range(2)]
    for noise in patches:
        noise += 0.4 * rng.standard_normal(len(at), dtype=np.float32)
    gone = patches[0] < np.quantile(patches[0], missed)
    behind = patches[1] < np.quantile(patches[1], through)
    other_m = behind_m.ravel()[at]
    other_m[~behind | np.isinf(other_m)] = 0.0
    z.ravel()[at[gone]] = other_m[gone]


def _warp(z: Float32Array, rng: np.random.Generator, settings: SensorSettings, scale: float) -> Float32Array:
    """Move pixels by a constant, a coarse and a fine random field."""
    if settings.warp_px == settings.jitter_px == settings.shift_px == 0:
        return z
    height, width = z.shape
    flow = _coarse_noise(z.shape, 24 * scale, rng, 2)
    flow *= np.float32(settings.warp_px * scale)
    fine = _coarse_noise(z.shape, 4 * scale, rng, 2)
    fine *= np.float32(settings.jitter_px * scale)
    flow += fine
    shift = rng.standard_normal(2) * settings.shift_px * scale
    flow[..., 0] += np.arange(width, dtype=np.float32) + np.float32(shift[0])
    flow[..., 1] += (np.arange(height, dtype=np.float32) + np.float32(shift[1]))[:, None]
    return np.asarray(cv2.remap(z, flow, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _fattened(z: Float32Array, rng: np.random.Generator, mean_px: float, edge_step: float) -> Float32Array:
    """Depth whose near surfaces are larger, to each side by a random width, as windows that straddle a depth step match
    the nearer side ("foreground fattening", Scharstein & Szeliski, IJCV 2002)."""
    up, down, left, right = (int(width) for width in rng.uniform(0, 2 * mean_px, 4) + rng.random(4))
    window = np.ones((up + down + 1, left + right + 1), np.uint8)
    nearest = cv2.erode(np.where(z > 0, z, NOTHING_M), window, anchor=(left, up))
    return np.where(nearest * np.float32(1 + edge_step) < z, nearest, z)


def _projector_shadow(z: Float32Array, focal_baseline: float) -> npt.NDArray[np.bool_]:
    """Pixels that the projector does not light: in its image they lie behind a nearer surface of the same row."""
    if focal_baseline < 0:
        return _projector_shadow(z[:, ::-1], -focal_baseline)[:, ::-1]
    place = np.where(z > 0, z, NOTHING_M)
    np.divide(np.float32(-focal_baseline), place, out=place)
    place += np.arange(z.shape[1], dtype=np.float32)
    nearest = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return place > nearest + np.float32(0.5)


def _local_extrema(z: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Smallest and largest depth of each 3 x 3 neighbourhood; pixels that hit nothing count as far away."""
    filled = np.where(z > 0, z, NOTHING_M)
    return np.asarray(cv2.erode(filled, _NEIGHBOURS)), np.asarray(cv2.dilate(filled, _NEIGHBOURS))


def _steps(z: Float32Array, near: Float32Array, far: Float32Array, edge_step: float) -> npt.NDArray[np.bool_]:
    """Pixels beside a jump in depth; on a slope, however steep, a pixel lies midway between its neighbours."""
    step = far > np.float32(1.0 + edge_step) * near
    at = np.flatnonzero(step)
    low, high, here = near.ravel()[at], far.ravel()[at], z.ravel()[at]
    # A pixel that hit nothing is on the far side of its jump.
    step.ravel()[at] = (np.abs(here - 0.5 * (low + high)) > 0.2 * (high - low)) | (here <= 0)
    # A pixel of the image's border lies at the end of its neighbours' slope, not in the middle.
    if min(z.shape) > 2:
        step[0], step[-1] = step[1], step[-2]
        step[:, 0], step[:, -1] = step[:, 1], step[:, -2]
    return step


def _grazing(
    near: Float32Array,
    far: Float32Array,
    step: npt.NDArray[np.bool_],
    fx: float,
    rng: np.random.Generator,
    limit_tan: float,
) -> npt.NDArray[np.bool_]:
    """Surfaces seen at a flat angle, losing returns patchily around the limit."""
    tangent = (far - near) * np.float32(0.5 * fx) / near
    limit = np.float32(limit_tan) * np.exp(
        np.float32(0.25) * _coarse_noise(near.shape, 6.0 * near.shape[1] / REFERENCE_WIDTH, rng)
    )
    return np.asarray((tangent > limit) & ~step)


def _add_flying_pixels(
    z: Float32Array,
    near: Float32Array,
    far: Float32Array,
    step: npt.NDArray[np.bool_],
    rng: np.random.Generator,
    probability: float,
) -> None:
    """Some pixels on a depth step measure a depth between its two sides; changes ``z``."""
    at = np.flatnonzero(step & (far < NOTHING_M))
    at = at[rng.random(len(at), dtype=np.float32) < probability]
    share = rng.random(len(at), dtype=np.float32)
    z.ravel()[at] = near.ravel()[at] * (1 - share) + far.ravel()[at] * share


def _edge_holes(step: npt.NDArray[np.bool_], rng: np.random.Generator, mean_width: float) -> npt.NDArray[np.bool_]:
    """Holes of varying width along depth steps: the distance to the step stays below a smooth random width."""
    if mean_width == 0 or not step.any():
        return np.zeros(step.shape, bool)
    distance = cv2.distanceTransform((~step).astype(np.uint8), cv2.DIST_L2, 3)
    width = np.float32(mean_width) * (
        np.float32(0.5) + np.float32(0.8) * _coarse_noise(step.shape, 8.0 * step.shape[1] / REFERENCE_WIDTH, rng)
    )
    return np.asarray(distance + np.float32(0.5) < width)


def _lossy_surfaces(
    z: Float32Array, rng: np.random.Generator, mean_count: float, scale: float
) -> npt.NDArray[np.bool_]:
    """Smooth surfaces grown from random pixels lose most of their returns, in patches."""
    count = int(rng.poisson(mean_count)) if mean_count > 0 else 0
    lost = np.zeros(z.shape, bool)
    height, width = z.shape
    for _ in range(count):
        seed = (int(rng.integers(width)), int(rng.integers(height)))
        reached = np.zeros((height + 2, width + 2), np.uint8)
        tolerance = 0.004 * float(z[seed[1], seed[0]]) + 1e-4
        cv2.floodFill(z, reached, seed, 0.0, tolerance, tolerance, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
        here = reached[1:-1, 1:-1] > 0
        noise = _coarse_noise(z.shape, rng.uniform(15, 50) * scale, rng) + 0.7 * _coarse_noise(z.shape, 4 * scale, rng)
        # Objects may vanish altogether; a table or floor that does leaves nothing to see.
        lost |= here & (noise > rng.normal(-0.4, 0.6) + 3.0 * float(here.mean()))
    return lost


def _dropout(
    shape: tuple[int, int], rng: np.random.Generator, settings: SensorSettings, scale: float
) -> npt.NDArray[np.bool_]:
    """Ellipses, irregular patches and single pixels without a return."""
    height, width = shape
    holes = np.zeros(shape, np.uint8)
    for _ in range(int(rng.poisson(settings.ellipse_losses))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(np.ceil(r * scale)) for r in rng.gamma(2.0, 1.5, 2))
        cv2.ellipse(holes, centre, axes, float(rng.uniform(0, 360)), 0, 360, 1, -1)
    lost = holes.astype(bool)
    if settings.patch_losses > 0:
        share = min(float(rng.exponential(settings.patch_losses)), 0.6)
        field_ = _coarse_noise(shape, rng.uniform(10, 50) * scale, rng) + 0.5 * _coarse_noise(shape, 5 * scale, rng)
        lost |= field_ > np.quantile(field_[::4, ::4], 1.0 - share)
    if settings.speckle > 0:
        lost.ravel()[rng.integers(0, lost.size, int(settings.speckle * lost.size))] = True
    return lost


def _add_noise(z: Float32Array, rng: np.random.Generator, settings: SensorSettings) -> None:
    """Smooth and white noise that grow with z squared, disparity quantisation, a scale error; changes ``z``."""
    if settings.smooth_noise > 0 or settings.white_noise > 0:
        noise = _coarse_noise(z.shape, rng.uniform(8, 40) * z.shape[1] / REFERENCE_WIDTH, rng)
        noise *= np.float32(settings.smooth_noise)
        white = rng.standard_normal(z.shape, dtype=np.float32)
        white *= np.float32(settings.white_noise)
        noise += white
        noise *= z
        noise += 1.0
        z *= noise
    if settings.quantum > 0:
        np.maximum(z, np.float32(0.05), out=z)
        np.divide(np.float32(1.0 / settings.quantum), z, out=z)
        np.rint(z, out=z)
        np.maximum(z, 1.0, out=z)
        np.divide(np.float32(1.0 / settings.quantum), z, out=z)
    if settings.scale_error > 0:
        z *= np.float32(rng.gamma(settings.scale_error**-2, settings.scale_error**2))


def _cropped(z: Float32Array, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Depth beyond a distance, or outside a slanted rectangle, is removed."""
    height, width = z.shape
    lost = np.zeros(z.shape, bool)
    kind = rng.integers(3)
    if kind != 1 and (z > 0).any():
        lost |= z > np.quantile(z[z > 0], rng.uniform(0.7, 1.0))
    if kind != 0:
        inset = rng.uniform(0.0, 0.16, 8).reshape(4, 2) * [width, height]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
        corners += inset * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
        inside = np.zeros(z.shape, np.uint8)
        cv2.fillConvexPoly(inside, corners.astype(np.int32), 1)
        lost |= inside == 0
    return lost
