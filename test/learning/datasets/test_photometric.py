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
