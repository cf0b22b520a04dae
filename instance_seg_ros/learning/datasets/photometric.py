"""What lenses, sensors and image processing do to a clean, sharp picture.

The order is that of a camera: optics (vignetting, blur), sensor (noise, colour filter array), processing (exposure,
contrast, gamma, white balance, colours, sharpening), compression. Everything works on bytes with OpenCV, because this
runs for every training sample: about a millisecond for 320 x 240.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.settings import Settings, setting

Image = npt.NDArray[np.uint8]

_NOISE_VALUES = 1 << 20
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class PhotometricSettings(Settings):
    """What is done to colour; the defaults are for training. Strengths and probabilities of 0 change nothing."""

    exposure: float = setting(0.35, "Standard deviation of the brightness in powers of 2.", minimum=0.0, maximum=5.0)
    gamma: float = setting(0.15, "Standard deviation of the logarithm of the exponent.", minimum=0.0, maximum=2.0)
    contrast: float = setting(
        0.15, "Standard deviation of the logarithm of the contrast about mid-grey.", minimum=0.0, maximum=2.0
    )
    white_balance: float = setting(
        0.08, "Standard deviation of the logarithm of the channels' gains.", minimum=0.0, maximum=2.0
    )
    saturation: float = setting(
        0.35, "Standard deviation of the logarithm of the saturation.", minimum=0.0, maximum=3.0
    )
    hue: float = setting(0.15, "Standard deviation of a turn of all hues, in radians.", minimum=0.0, maximum=3.2)
    grey_probability: float = setting(0.04, "Probability that all colour is lost.", minimum=0.0, maximum=1.0)
    shuffle_probability: float = setting(0.04, "Probability that the channels change places.", minimum=0.0, maximum=1.0)
    vignette_probability: float = setting(0.25, "Probability of dark corners.", minimum=0.0, maximum=1.0)
    vignette: float = setting(0.5, "Largest loss of light in the corners.", minimum=0.0, maximum=1.0)
    blur_probability: float = setting(
        0.75, "Probability of blur: of a lens, out of focus, or by motion.", minimum=0.0, maximum=1.0
    )
    blur_sigma_min_px: float = setting(
        0.3, "Least standard deviation of the blur, in pixels.", minimum=0.0, maximum=20.0
    )
    blur_sigma_max_px: float = setting(
        1.2, "Greatest standard deviation of the blur, in pixels.", minimum=0.0, maximum=20.0
    )
    noise_probability: float = setting(0.7, "Probability that the sensor adds noise.", minimum=0.0, maximum=1.0)
    read_noise: float = setting(
        5.0,
        "Largest standard deviation of noise that is the same everywhere, in grey levels.",
        minimum=0.0,
        maximum=100.0,
    )
    shot_noise: float = setting(
        8.0,
        "Largest standard deviation of noise in white, which falls with the root of the brightness, in grey levels.",
        minimum=0.0,
        maximum=100.0,
    )
    bayer_probability: float = setting(
        0.15, "Probability that colours pass a colour filter array and are interpolated.", minimum=0.0, maximum=1.0
    )
    sharpen_probability: float = setting(0.25, "Probability that edges are overdrawn.", minimum=0.0, maximum=1.0)
    sharpen: float = setting(1.0, "Largest share of detail that is added.", minimum=0.0, maximum=10.0)
    jpeg_probability: float = setting(0.1, "Probability that the picture is compressed.", minimum=0.0, maximum=1.0)
    jpeg_quality_min: int = setting(35, "Lowest JPEG quality.", minimum=1, maximum=100)
    jpeg_quality_max: int = setting(95, "Limit of the JPEG quality, which stays below.", minimum=2, maximum=101)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blur_sigma_min_px > self.blur_sigma_max_px:
            raise ValueError(
                f"blur_sigma_min_px must not exceed blur_sigma_max_px, but {self.blur_sigma_min_px} > "
                f"{self.blur_sigma_max_px}"
            )
        if self.jpeg_quality_min >= self.jpeg_quality_max:
            raise ValueError(
                f"jpeg_quality_min must be below jpeg_quality_max, but {self.jpeg_quality_min} >= "
                f"{self.jpeg_quality_max}"
            )


def degrade_color(color_rgb: Image, rng: np.random.Generator, settings: PhotometricSettings) -> Image:
    """A picture as a real camera would have taken it.

    Args:
        color_rgb: (H, W, 3) uint8 RGB, clean and sharp; not changed.
        rng: source of all randomness; the same state gives the same picture.
        settings: what to do.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    image = color_rgb
    if rng.random() < settings.vignette_probability:
        image = _vignetted(image, settings.vignette * rng.random())
    if rng.random() < settings.blur_probability:
        image = _blurred(image, rng, float(rng.uniform(settings.blur_sigma_min_px, settings.blur_sigma_max_px)))
    if rng.random() < settings.noise_probability:
        # Most cameras are quiet; the square makes strong noise the exception.
        image = _noisy(image, rng, settings.read_noise * rng.random() ** 2, settings.shot_noise * rng.random() ** 2)
    if rng.random() < settings.bayer_probability:
        image = _through_filter_array(image)
    image = cv2.LUT(image, _tone_curves(rng, settings))
    image = _recolored(image, rng, settings)
    if rng.random() < settings.sharpen_probability:
        amount = settings.sharpen * rng.random()
        image = cv2.addWeighted(image, 1.0 + amount, cv2.GaussianBlur(image, (3, 3), 0.8), -amount, 0.0)
    if rng.random() < settings.jpeg_probability:
        image = _compressed(image, int(rng.integers(settings.jpeg_quality_min, settings.jpeg_quality_max)))
    return np.asarray(image, np.uint8)


def _vignetted(image: Image, strength: float) -> Image:
    """Darker with the square of the distance from the middle, by ``strength`` in the corners."""
    height, width = image.shape[:2]
    x, y = np.linspace(-1.0, 1.0, width, dtype=np.float32), np.linspace(-1.0, 1.0, height, dtype=np.float32)
    left = 1.0 - np.float32(strength / 2) * (y[:, None] ** 2 + x[None] ** 2)
    return np.asarray(image * left[..., None], np.uint8)


def _blurred(image: Image, rng: np.random.Generator, sigma_px: float) -> Image:
    """Softer as by a lens, out of focus, or by motion, each about ``sigma_px`` wide."""
    kind = rng.random()
    if kind < 0.6:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.uint8)
    steps = np.arange(-4, 5)
    x, y = np.meshgrid(steps, steps)
    if kind < 0.8:
        # A disk of radius r has a standard deviation of r / 2 along each axis.
        kernel = np.clip(2.0 * sigma_px + 0.5 - np.hypot(x, y), 0.0, 1.0)
    else:
        # A line of length l has a standard deviation of l / sqrt(12).
        angle = rng.uniform(0.0, np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        reach = np.clip(np.sqrt(3.0) * sigma_px + 0.5 - np.abs(along), 0.0, 1.0)
        kernel = reach * np.clip(1.0 - np.abs(across), 0.0, 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


@lru_cache(maxsize=1)
def _normal_values() -> npt.NDArray[np.float32]:
    """Normal noise to cut pieces from; drawing new noise would take most of the time of a sample."""
    return np.random.default_rng(5).standard_normal(_NOISE_VALUES, dtype=np.float32)


def _noisy(image: Image, rng: np.random.Generator, read_noise: float, shot_noise: float) -> Image:
    """Noise of standard deviation sqrt(read^2 + shot^2 * brightness), in grey levels."""
    values = _normal_values()
    start = int(rng.integers(max(1, len(values) - image.size)))
    piece = values[start : start + image.size]
    noise = (piece if piece.size == image.size else np.resize(piece, image.size)).reshape(image.shape)
    level = np.arange(256) / 255.0
    deviation = np.sqrt(read_noise**2 + shot_noise**2 * level).astype(np.float32)
    noisy = cv2.multiply(cv2.LUT(image, deviation), noise)
    return np.asarray(cv2.add(image, noisy, dtype=cv2.CV_8U), np.uint8)


def _through_filter_array(image: Image) -> Image:
    """Keeps one channel at each pixel, as behind a Bayer filter, and interpolates the others."""
    mosaic = image[..., 1].copy()
    mosaic[::2, ::2] = image[::2, ::2, 0]
    mosaic[1::2, 1::2] = image[1::2, 1::2, 2]
    # OpenCV names the pattern by its second row and column: red at the origin is its "BG".
    return np.asarray(cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB), np.uint8)


def _tone_curves(rng: np.random.Generator, settings: PhotometricSettings) -> npt.NDArray[np.uint8]:
    """(1, 256, 3) table of exposure, gamma, contrast and white balance; what is too bright is cut off."""
    exposure, gamma, contrast = rng.normal(0.0, 1.0, 3) * (settings.exposure, settings.gamma, settings.contrast)
    gains = np.exp2(exposure) * np.exp(settings.white_balance * rng.normal(0.0, 1.0, 3))
    level = (np.arange(256) / 255.0)[:, None] * gains
    level = 0.5 + np.exp(contrast) * (level ** np.exp(gamma) - 0.5)
    return np.rint(np.clip(level, 0.0, 1.0) * 255.0).astype(np.uint8)[None]


def _recolored(image: Image, rng: np.random.Generator, settings: PhotometricSettings) -> Image:
    """Hue turned, saturation scaled, channels exchanged, all by one matrix."""
    turn, vividness = rng.normal(0.0, 1.0, 2) * (settings.hue, settings.saturation)
    share = 0.0 if rng.random() < settings.grey_probability else np.exp(vividness)
    # A turn about the grey axis (Rodrigues) and a stretch away from the pixel's own grey.
    axis = np.full(3, 1.0 / np.sqrt(3.0))
    rotation = cv2.Rodrigues(axis * turn)[0]
    grey = np.tile(LUMA, (3, 1))
    matrix = (share * (np.eye(3) - grey) + grey) @ rotation
    if rng.random() < settings.shuffle_probability:
        matrix = matrix[rng.permutation(3)]
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.uint8)


def _compressed(image: Image, quality: int) -> Image:
    """The picture after JPEG compression."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
