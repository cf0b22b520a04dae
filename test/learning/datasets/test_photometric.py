from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from instance_seg_ros.learning.datasets.photometric import PhotometricSettings, degrade_color

NOTHING = PhotometricSettings(
    **{f.name: 0.0 for f in fields(PhotometricSettings) if not f.name.startswith(("blur_sigma", "jpeg_quality"))}  # type: ignore[arg-type]
)


@pytest.fixture
def picture_rgb():
    """Smooth colours with a bright rectangle, 61 x 80."""
    coarse = np.random.default_rng(2).integers(40, 200, (4, 5, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (80, 61), interpolation=cv2.INTER_CUBIC)
    image[20:40, 30:60] = (250, 200, 30)
    return image


def test_pictures_keep_size_and_type_and_the_input_is_not_touched(picture_rgb):
    before = picture_rgb.copy()
    for seed in range(60):
        image = degrade_color(picture_rgb, np.random.default_rng(seed), PhotometricSettings())
        assert (image.shape, image.dtype) == (picture_rgb.shape, np.uint8)
    np.testing.assert_array_equal(picture_rgb, before)


def test_the_same_state_gives_the_same_picture_and_another_state_another(picture_rgb):
    first, second, other = (
        degrade_color(picture_rgb, np.random.default_rng(seed), PhotometricSettings()) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_zero_strengths_change_nothing(picture_rgb):
    np.testing.assert_array_equal(degrade_color(picture_rgb, np.random.default_rng(0), NOTHING), picture_rgb)


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"blur_probability": 1.0}, 12.0),
        ({"noise_probability": 1.0, "read_noise": 3.0, "shot_noise": 3.0}, 5.0),
        ({"bayer_probability": 1.0}, 6.0),
        ({"jpeg_probability": 1.0}, 12.0),
        ({"vignette_probability": 1.0, "vignette": 0.2}, 25.0),
        ({"sharpen_probability": 1.0, "sharpen": 1.0}, 12.0),
    ],
)
def test_each_defect_changes_the_picture_but_leaves_it_recognisable(picture_rgb, change, bound):
    image = degrade_color(picture_rgb, np.random.default_rng(1), replace(NOTHING, **change))
    difference = np.abs(image.astype(int) - picture_rgb).mean()
    assert 0.05 < difference < bound


def test_noise_has_the_strength_that_is_asked_for():
    grey = np.full((240, 320, 3), 128, np.uint8)
    settings = replace(NOTHING, noise_probability=1.0, read_noise=6.0)
    found = [degrade_color(grey, np.random.default_rng(k), settings).std() for k in range(20)]
    assert max(found) < 6.4
    assert max(found) > 3.0


def test_grey_pictures_have_equal_channels(picture_rgb):
    image = degrade_color(picture_rgb, np.random.default_rng(0), replace(NOTHING, grey_probability=1.0)).astype(int)
    assert np.ptp(image, axis=-1).max() <= 1


def test_pictures_of_any_size_get_noise():
    large = np.full((720, 1280, 3), 100, np.uint8)
    image = degrade_color(large, np.random.default_rng(3), replace(NOTHING, noise_probability=1.0, read_noise=9.0))
    assert image.shape == large.shape
    assert image[-100:].std() > 0.3


def seen(picture_rgb: np.ndarray, **change: float) -> np.ndarray:
    """(40, H, W, 3) int: the picture with one defect, as 40 seeds draw it."""
    settings = replace(NOTHING, **change)
    return np.stack([degrade_color(picture_rgb, np.random.default_rng(seed), settings) for seed in range(40)]).astype(
        int
    )


RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
"""Every grey from black to white."""


@pytest.mark.parametrize(
    ("change", "fixed"),
    [
        ({"exposure": 0.5}, {0: 0}),
        ({"gamma": 0.3}, {0: 0, 255: 255}),
        ({"contrast": 0.3}, {127: 127, 128: 128}),
    ],
)
def test_tones_rise_from_black_to_white_and_what_a_curve_keeps_stays(change: dict, fixed: dict[int, int]) -> None:
    curves = seen(RAMP, **change)[:, 0]
    assert (np.ptp(curves, axis=2) == 0).all()  # the same for red, green and blue
    assert (np.diff(curves[..., 0], axis=1) >= 0).all()
    for level, kept in fixed.items():
        assert np.abs(curves[:, level] - kept).max() <= 1
    brighter = (curves[:, 64, 0] > 66).sum(), (curves[:, 64, 0] < 62).sum()
    assert min(brighter) >= 10  # as often one as the other


def test_exposure_is_by_powers_of_two_and_white_balance_by_each_channel() -> None:
    factors = seen(RAMP, exposure=0.5)[:, 0, 60, 0] / 60
    assert np.log2(factors).std() == pytest.approx(0.5, rel=0.3)
    gains = seen(RAMP, white_balance=0.1)[:, 0, 120] / 120
    assert np.log(gains).std(axis=0) == pytest.approx([0.1] * 3, rel=0.4)
    assert np.abs(np.corrcoef(gains.T)[np.triu_indices(3, 1)]).max() < 0.5


@pytest.mark.parametrize("change", [{"hue": 0.5}, {"saturation": 0.5}, {"shuffle_probability": 1.0}])
def test_what_is_grey_stays_grey_when_colours_change(change: dict, picture_rgb: np.ndarray) -> None:
    assert np.abs(seen(RAMP, **change) - RAMP).max() <= 1
    assert np.abs(seen(picture_rgb, **change) - picture_rgb).max() > 20


def test_saturation_keeps_the_brightness() -> None:
    colors = np.random.default_rng(0).integers(90, 160, (1, 50, 3)).astype(np.uint8)
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(seen(colors, saturation=0.3) @ luma - colors @ luma).max() < 2


def test_shuffled_channels_are_those_of_the_picture_in_every_order(picture_rgb: np.ndarray) -> None:
    orders = set()
    for image in seen(picture_rgb, shuffle_probability=1.0):
        order = tuple(
            int(np.abs(picture_rgb - channel[..., None]).sum(axis=(0, 1)).argmin())
            for channel in np.moveaxis(image, 2, 0)
        )
        assert np.array_equal(image, picture_rgb[..., order])
        orders.add(order)
    assert len(orders) == 6


def test_a_vignette_leaves_the_middle_and_darkens_the_corners_alike() -> None:
    white = np.full((61, 81, 3), 250, np.uint8)
    images = seen(white, vignette_probability=1.0, vignette=0.4)
    assert (images[:, 30, 40] >= 249).all()
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1], 0] / 250
    assert np.ptp(corners, axis=1).max() < 0.01
    assert 0.59 < corners.min() < 0.65 and corners.max() > 0.95
    assert images[:, 0, 40, 0] == pytest.approx(250 * (1 + corners[:, 0]) / 2, abs=2)  # half way, half as much


@pytest.mark.parametrize("change", [{"bayer_probability": 1.0}, {"jpeg_probability": 1.0}, {"blur_probability": 1.0}])
def test_one_colour_everywhere_stays_that_colour(change: dict) -> None:
    orange = np.full((48, 64, 3), (210, 120, 30), np.uint8)
    assert np.abs(seen(orange, **change) - orange).max() <= 5


def test_blur_is_as_wide_as_is_asked_for_to_all_sides_or_along_a_line_and_moves_nothing() -> None:
    edge = np.zeros((41, 41, 3), np.uint8)
    edge[:, 20:] = 250
    blur = {"blur_probability": 1.0, "blur_sigma_min_px": 1.5, "blur_sigma_max_px": 1.5}
    # How far what a pixel shows comes from: the slopes of an upright and of a level edge, by the same seeds.
    slopes = [
        np.diff(rows, axis=1) / 250
        for rows in (seen(edge, **blur)[:, 20, :, 0], seen(edge.swapaxes(0, 1), **blur)[:, :, 20, 0])
    ]
    places = np.arange(40) - 19
    assert np.abs(np.array(slopes) @ places).max() < 0.1
    variances = (np.array(slopes) @ places**2).sum(axis=0)
    to_all_sides = np.abs(variances / (2 * 1.5**2) - 1) < 0.15
    along_a_line = np.abs(variances / 1.5**2 - 1) < 0.25
    assert (to_all_sides ^ along_a_line).all()
    assert 0.65 < to_all_sides.mean() < 0.95
    ratios = slopes[0][along_a_line] @ places**2 / variances[along_a_line]
    assert ratios.min() < 0.3 and ratios.max() > 0.7  # in several directions


def test_noise_grows_with_the_root_of_the_brightness() -> None:
    spreads = [
        seen(np.full((60, 80, 3), level, np.uint8), noise_probability=1.0, shot_noise=8.0).std(axis=(1, 2, 3))
        for level in (50, 200)
    ]
    loud = spreads[1] > 2  # where rounding is small beside it
    assert loud.sum() >= 5
    assert spreads[1][loud] / spreads[0][loud] == pytest.approx(2, rel=0.1)
