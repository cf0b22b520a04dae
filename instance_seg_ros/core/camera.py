"""The pinhole camera, and the validated RGB-D frame that every stage starts from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instance_seg_ros.core.geometry import frozen

MIN_DEPTH_M, MAX_DEPTH_M = 0.001, 65.0
"""Depth outside is no measurement: 16 bits of millimetres begin and end about here, uninitialised floats lie beyond."""

_UNIT_TOLERANCE = 1e-3
"""Of a unit vector's squared length: quaternions of single precision are normalised to less."""

_USUAL_SIZES = (
    *((320, 240), (424, 240), (480, 270), (512, 512), (640, 360), (640, 400), (640, 480), (640, 576), (848, 480)),
    *((960, 540), (1024, 768), (1024, 1024), (1280, 720), (1280, 800), (1280, 960), (1280, 1024), (1600, 1200)),
    *((1920, 1080), (1920, 1200), (2048, 1536), (2208, 1242), (2448, 2048), (2560, 1440), (3840, 2160), (4096, 3072)),
)
"""Width and height of what depth cameras and the colour cameras beside them deliver, pixels."""
_LENS_OFF_CENTRE = 0.04
"""How far a lens may sit off the middle of its sensor, as a share of the side: the Kinect of TUM's sequences fr1 has
0.033 (cy 255.3 of 480).
"""
_OFF_CENTRE, _FAR_OFF_CENTRE = 0.08, 0.2
"""Where intrinsics are held against the usual sizes; where nothing but a crop puts those that are right."""
_LONGER_BY = 1.1, 2.1
"""How much longer one side of a camera's image is than the other: 5:4 to 2:1, and the lens somewhat off the middle."""
_MAX_VIEW_DEG = 178.0
_MAX_IMAGE_PER_FOCAL = 2 * math.tan(math.radians(_MAX_VIEW_DEG / 2))


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion. The ray of pixel (u, v) is ((u - cx) / fx, (v - cy) / fy, 1).

    Attributes:
        width, height: image size in pixels, > 0.
        fx, fy: focal lengths in pixels, > 0.
        cx, cy: principal point in pixels, inside the image by a margin of one image size.

    Raises:
        ValueError: naming the value, for a camera that cannot be (an unfilled CameraInfo has K = 0).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        for name in ("fx", "fy", "cx", "cy"):  # files and scripts have whole numbers, too
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"the image size must be positive, not {self.width}x{self.height}")
        if not np.isfinite([self.fx, self.fy, self.cx, self.cy]).all() or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"focal lengths must be positive and all intrinsics finite, not fx={self.fx} fy={self.fy} cx={self.cx} "
                f"cy={self.cy}; is the camera's CameraInfo filled in?"
            )
        if max(self.width / self.fx, self.height / self.fy) > _MAX_IMAGE_PER_FOCAL:
            raise ValueError(
                f"focal lengths fx={self.fx} fy={self.fy} of a {self.width}x{self.height} image mean a view of "
                f"more than {_MAX_VIEW_DEG:.0f} degrees, which no pinhole camera has; are they in pixels?"
            )
        if not (-self.width <= self.cx <= 2 * self.width and -self.height <= self.cy <= 2 * self.height):
            raise ValueError(
                f"the principal point ({self.cx}, {self.cy}) lies far outside the {self.width}x{self.height} image"
            )

    @property
    def fx_fy_cx_cy(self) -> NDArray[np.float32]:
        """(4,) float32."""
        return np.array([self.fx, self.fy, self.cx, self.cy], dtype=np.float32)

    @property
    def fits_size(self) -> bool:
        """Whether these may be the intrinsics of images of this size, and not of another resolution of the camera.

        The optical axis meets the middle of an image, unless that was cropped: those of another resolution mostly miss
        it, but meet that of an image of a usual size, or one of a camera's proportions that lies the same way, or that
        of this image turned by 90 degrees. Those of a crop may, too, by chance.
        """
        if self.size_instead is not None:
            return False
        return self._off_centre(self.width, self.height) <= _FAR_OFF_CENTRE or not self._is_of_some_image

    @property
    def size_instead(self) -> tuple[int, int] | None:
        """Width and height of the images whose middle the optical axis meets, of a usual resolution or these turned by
        90 degrees; None where it meets that of these images, or of no such ones.
        """
        if self._off_centre(self.width, self.height) <= _OFF_CENTRE:
            return None
        sizes = *_USUAL_SIZES, (self.height, self.width)
        nearest = min(sizes, key=lambda size: self._off_centre(*size))
        return nearest if self._off_centre(*nearest) <= _LENS_OFF_CENTRE else None

    @property
    def doubt(self) -> str:
        """That these may be the intrinsics of images of another resolution, in words; empty where they fit."""
        if self.fits_size:
            return ""
        such = "" if self.size_instead is None else ", such as {}x{}".format(*self.size_instead)
        return (
            f"cx {self.cx:g} and cy {self.cy:g} are far from the middle of {self.width}x{self.height}; "
            f"are they of another resolution{such}?"
        )

    @property
    def _is_of_some_image(self) -> bool:
        """Whether the image whose middle the optical axis meets has the proportions of one."""
        width, height = 2 * self.cx + 1, 2 * self.cy + 1
        if min(width, height) <= 1:
            return min(self.cx, self.cy) == 0  # not filled in; no crop puts it there to the digit
        if max(self.width, self.height) < _LONGER_BY[0] * min(self.width, self.height):
            return max(width, height) <= _LONGER_BY[1] * min(width, height)
        proportion = width / height if self.width > self.height else height / width
        return _LONGER_BY[0] <= proportion <= _LONGER_BY[1]

    def _off_centre(self, width: int, height: int) -> float:
        """How far the optical axis passes from the middle of images of a size, as a share of the side."""
        return max(abs((self.cx + 0.5) / width - 0.5), abs((self.cy + 0.5) / height - 0.5))

    def resized(self, width: int, height: int) -> Intrinsics:
        """The same camera with its image resized to another size (pixel centres at integers, as everywhere)."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        )

    @property
    def rays(self) -> NDArray[np.float32]:
        """(H, W, 2) float32, read-only: x / z and y / z of each pixel's ray. Equal cameras share one array."""
        return _rays(self)

    def back_project(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points of a depth image, (H, W, 3) float32, metres, camera optical frame; (0, 0, 0) where depth is 0."""
        points_m = np.empty((*depth_m.shape, 3), dtype=np.float32)
        np.multiply(self.rays, depth_m[..., None], out=points_m[..., :2])
        points_m[..., 2] = depth_m
        return points_m

    def project(self, points_m: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pixel coordinates (x, y) of (..., 3) points in front of the camera (z > 0), (..., 2)."""
        focal = np.array([self.fx, self.fy], dtype=points_m.dtype)
        centre = np.array([self.cx, self.cy], dtype=points_m.dtype)
        return points_m[..., :2] / points_m[..., 2:] * focal + centre


@lru_cache(maxsize=8)
def _rays(camera: Intrinsics) -> NDArray[np.float32]:
    x = (np.arange(camera.width, dtype=np.float32) - np.float32(camera.cx)) / np.float32(camera.fx)
    y = (np.arange(camera.height, dtype=np.float32) - np.float32(camera.cy)) / np.float32(camera.fy)
    rays = np.stack(np.meshgrid(x, y), axis=-1)
    rays.setflags(write=False)
    return rays


@dataclass(frozen=True, eq=False)
class RgbdFrame:
    """One colour image with depth registered to it.

    Attributes:
        color_rgb: (H, W, 3) uint8, or None for a camera without colour.
        depth_m: (H, W) float32, metres along the optical axis, 0 = no measurement.
        intrinsics: of the colour image (and so of the registered depth).
        stamp_ns: time of the colour image, nanoseconds.
        frame_id: the optical frame that all points and poses of this frame are in.
        up: (3,) float64 unit vector against gravity, in the camera's optical frame, where that is known; or None.

    Raises:
        ValueError: when sizes, dtypes or values do not fit together.
    """

    color_rgb: NDArray[np.uint8] | None
    depth_m: NDArray[np.float32]
    intrinsics: Intrinsics
    stamp_ns: int = 0
    frame_id: str = "camera_color_optical_frame"
    up: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.up is not None:
            up = frozen(self.up, (3,), "up")
            if abs(float(up @ up) - 1) > _UNIT_TOLERANCE:
                raise ValueError(f"up must be a unit vector, not {up.tolist()}")
            object.__setattr__(self, "up", up)
        expected = (self.intrinsics.height, self.intrinsics.width)
        if self.depth_m.shape != expected:
            raise ValueError(
                f"depth is {_size(self.depth_m)} but the camera is {expected[1]}x{expected[0]}; register it first"
            )
        if self.depth_m.dtype != np.float32:
            raise ValueError(f"depth_m must be float32 metres, not {self.depth_m.dtype}; decode it with decode_depth")
        if not (self.depth_m.min() >= 0 and self.depth_m.max() <= MAX_DEPTH_M):  # False for NaN too
            raise ValueError(
                f"depth_m must lie between 0 and {MAX_DEPTH_M:g} m, without NaN, not between {self.depth_m.min()} and "
                f"{self.depth_m.max()}; decode it with decode_depth"
            )
        if self.color_rgb is not None:
            if self.color_rgb.shape != (*expected, 3):
                raise ValueError(f"colour is {_size(self.color_rgb)} but the camera is {expected[1]}x{expected[0]}")
            if self.color_rgb.dtype != np.uint8:
                raise ValueError(f"color_rgb must be uint8, not {self.color_rgb.dtype}")

    @cached_property
    def points_m(self) -> NDArray[np.float32]:
        """(H, W, 3) float32 organised cloud, metres, camera optical frame; (0, 0, 0) where there is no measurement."""
        return self.intrinsics.back_project(self.depth_m)


def _size(image: NDArray) -> str:
    return "x".join(str(side) for side in (*image.shape[1::-1], *image.shape[2:]))


def intrinsics_from_matrix(camera_matrix: ArrayLike, width: int, height: int) -> Intrinsics:
    """From the row-major 3x3 matrix K of a CameraInfo (9 values)."""
    fx, _, cx, _, fy, cy, *_ = np.asarray(camera_matrix, dtype=np.float64).reshape(-1).tolist()
    return Intrinsics(width, height, fx, fy, cx, cy)
