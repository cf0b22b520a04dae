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

Image = npt.NDArray[np.uint8]

_NOISE_VALUES = 1 << 20
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class PhotometricSettings:
    """Strengths and probabilities of what is done to colour; the defaults are for training, all zeros change nothing.

    Attributes:
        exposure: standard deviation of the brightness in powers of 2.
        gamma: standard deviation of the logarithm of the exponent.
        contrast: standard deviation of the logarithm of the contrast about mid-grey.
        white_balance: standard deviation of the logarithm of the channels' gains.
        saturation: standard deviation of the logarithm of the saturation.
        hue: standard deviation of a turn of all hues, radians.
        grey_probability: all colour is lost.
        shuffle_probability: the channels change places.
        vignette_probability: corners get darker, by up to ``vignette``.
        vignette: largest loss of light in the corners.
        blur_probability: the picture gets softer: as by a lens, out of focus, or by motion.
        blur_sigma_px: (low, high) standard deviation of the blur.
        noise_probability: the sensor adds noise.
        read_noise: largest standard deviation of noise that is the same everywhere, in grey levels.
        shot_noise: largest standard deviation of noise in white, falling with the root of the brightness, in levels.
        bayer_probability: colours pass a colour filter array and are interpolated.
        sharpen_probability: edges are overdrawn, by up to ``sharpen``.
        sharpen: largest share of detail that is added.
        jpeg_probability: the picture is compressed.
        jpeg_quality: (low, high) quality.
    """

    exposure: float = 0.35
    gamma: float = 0.15
    contrast: float = 0.15
    white_balance: float = 0.08
    saturation: float = 0.35
    hue: float = 0.15
    grey_probability: float = 0.04
    shuffle_probability: float = 0.04
    vignette_probability: float = 0.25
    vignette: float = 0.5
    blur_probability: float = 0.75
    blur_sigma_px: tuple[float, float] = (0.3, 1.2)
    noise_probability: float = 0.7
    read_noise: float = 5.0
    shot_noise: float = 8.0
    bayer_probability: float = 0.15
    sharpen_probability: float = 0.25
    sharpen: float = 1.0
    jpeg_probability: float = 0.1
    jpeg_quality: tuple[int, int] = (35, 95)


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
        image = _blurred(image, rng, float(rng.uniform(*settings.blur_sigma_px)))
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
        image = _compressed(image, int(rng.integers(*settings.jpeg_quality)))
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
    grey = np.tile(_LUMA, (3, 1))
    matrix = (share * (np.eye(3) - grey) + grey) @ rotation
    if rng.random() < settings.shuffle_probability:
        matrix = matrix[rng.permutation(3)]
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.uint8)


def _compressed(image: Image, quality: int) -> Image:
    """The picture after JPEG compression."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
