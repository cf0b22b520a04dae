"""Lens distortion taken out, judged by OpenCV's projection of points through the same lens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.messages.lens import intrinsics_of, view_of

WIDTH, HEIGHT = 640, 480
K = np.array([[520.0, 0, 325.0], [0, 515.0, 236.0], [0, 0, 1]])
P = np.array([[480.0, 0, 318.0, 0], [0, 470.0, 241.0, 0], [0, 0, 1, 0]])
LENSES = {
    "plumb_bob": [-0.28, 0.09, 0.001, -0.0008, 0.0],
    "rational_polynomial": [0.51, -2.62, 0.0006, -0.0003, 1.53, 0.39, -2.45, 1.46],  # an Azure Kinect's
    "equidistant": [0.11, -0.03, 0.02, -0.004],
}
TURNED = cv2.Rodrigues(np.array([0.0, 0.01, 0.0]))[0]


def info(model: str = "plumb_bob", **changes: Any) -> Any:
    fields = {
        "width": WIDTH,
        "height": HEIGHT,
        "distortion_model": model,
        "d": LENSES.get(model, LENSES["plumb_bob"]),
        "k": K.ravel(),
        "r": np.eye(3).ravel(),
        "p": P.ravel(),
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**{**fields, **changes})


def projected(points_m: np.ndarray, model: str) -> np.ndarray:
    """Pixels of (N, 3) points in the raw image, by OpenCV."""
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    still = np.zeros((3, 1))
    if model == "equidistant":
        pixels, _ = project(points_m[:, None], still, still, K, np.array(LENSES[model]))
    else:
        pixels, _ = project(points_m, still, still, K, np.array(LENSES[model]))
    return pixels.reshape(-1, 2)


def points_in_view() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-0.42, 0.42, 7), np.linspace(-0.3, 0.3, 5))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=-1)


def spots(pixels: np.ndarray) -> np.ndarray:
    """A picture with a soft spot at each of these places."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.zeros((HEIGHT, WIDTH))
    for u, v in pixels:
        image += np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 3.0**2))
    return np.repeat((255 * np.minimum(image, 1)).astype(np.uint8)[..., None], 3, axis=2)


def place_of_spot(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The centre of the spot near a pixel."""
    left, top = np.round(near).astype(int) - 9
    window = image[top : top + 19, left : left + 19, 0].astype(float)
    y, x = np.mgrid[top : top + window.shape[0], left : left + window.shape[1]]
    return np.array([(x * window).sum(), (y * window).sum()]) / window.sum()


@pytest.mark.parametrize("model", list(LENSES))
def test_points_appear_where_a_pinhole_camera_sees_them(model: str) -> None:
    points_m = points_in_view()
    view = view_of(info(model))
    rectified = view.color(spots(projected(points_m, model)))
    for pixel in view.camera.project(points_m):
        assert place_of_spot(rectified, pixel) == pytest.approx(pixel, abs=0.15)
    assert view.camera == Intrinsics(WIDTH, HEIGHT, 480.0, 470.0, 318.0, 241.0)


@pytest.mark.parametrize("model", list(LENSES))
def test_depth_is_that_of_the_nearest_pixel(model: str) -> None:
    values = np.random.default_rng(0).uniform(0.3, 3.0, (HEIGHT, WIDTH)).astype(np.float32)
    view = view_of(info(model))
    rectified = view.depth(values)
    rays = np.stack([view.camera.rays[..., 0], view.camera.rays[..., 1], np.ones((HEIGHT, WIDTH))], axis=-1)
    sampled = rays[20:-20:40, 20:-20:40].reshape(-1, 3)
    u, v = np.round(projected(sampled.astype(float), model)).astype(int).T
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    expected = np.where(inside, values[v.clip(0, HEIGHT - 1), u.clip(0, WIDTH - 1)], 0)
    found = rectified[20:-20:40, 20:-20:40].ravel()
    assert np.mean(found == expected) > 0.97  # the rest lie on the border between two pixels
    assert set(np.unique(rectified)) <= {0, *values.ravel()}


def test_the_result_is_that_of_opencvs_undistort() -> None:
    color = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(color, (0, 0), 3)
    expected = cv2.undistort(smooth, K, np.array(LENSES["plumb_bob"]), newCameraMatrix=P[:, :3])
    assert np.abs(view_of(info()).color(smooth).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("changes", "camera"),
    [
        ({}, P),
        ({"r": [0.0] * 9}, P),
        ({"p": [0.0] * 12}, K),
        ({"r": TURNED.ravel()}, K),
        ({"d": [0.0] * 5}, K),
        ({"d": []}, K),
        ({"distortion_model": "scaramuzza"}, K),
        ({"d": LENSES["plumb_bob"][:3]}, K),
    ],
    ids=["p", "r never filled in", "p never filled in", "turned", "no distortion", "no d", "unknown", "three numbers"],
)
def test_the_camera_is_p_where_images_are_rectified_to_it(changes: dict[str, Any], camera: np.ndarray) -> None:
    found = view_of(info(**changes)).camera
    assert (found.fx, found.fy, found.cx, found.cy) == (camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2])


def test_a_region_of_interest_of_binned_pixels_is_the_same_part_of_the_rectified_image() -> None:
    roi = SimpleNamespace(x_offset=160, y_offset=120, width=320, height=240)
    part = view_of(info(roi=roi, binning_x=2, binning_y=2, p=[0.0] * 12))
    points_m = points_in_view()[16:19]  # around the middle
    raw = spots(projected(points_m, "plumb_bob"))[120:360, 160:480]
    rectified = part.color(cv2.resize(raw, (160, 120), interpolation=cv2.INTER_AREA))
    assert part.camera == intrinsics_of(info(roi=roi, binning_x=2, binning_y=2))
    for pixel in part.camera.project(points_m):
        assert place_of_spot(rectified, pixel) == pytest.approx(pixel, abs=0.3)


def test_where_a_polynomial_folds_the_image_back_nothing_is_seen() -> None:
    folding = info(d=[-0.9, 0.0, 0, 0, 0], p=np.array([[150.0, 0, 320, 0], [0, 150, 240, 0], [0, 0, 1, 0]]).ravel())
    rectified = view_of(folding).depth(np.ones((HEIGHT, WIDTH), np.float32))
    # r (1 - 0.9 r^2) falls from r = 0.61 on: 91 px from the middle of the rectified image.
    assert rectified[240, 320 + 85] == 1
    assert rectified[240, 320 + 97] == 0
    assert not rectified[:, :200].any()


@pytest.mark.parametrize(
    ("d", "fault"),
    [
        ([np.nan, 0, 0, 0, 0], "the distortion coefficients are not finite"),
        ([0, 0, 1e9, 1e9, 0], "the camera sees 0 % of the rectified image"),
    ],
)
def test_coefficients_of_no_lens_are_refused(d: list[float], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        view_of(info(d=d))


@pytest.mark.parametrize("width", [640, 12_000])
def test_a_wide_image_is_seen_up_to_its_last_column(width: int) -> None:
    k = np.array([[float(width), 0, width / 2], [0, 48.0, 24.0], [0, 0, 1]])
    view = view_of(info(width=width, height=48, d=[0.01, 0, 0, 0, 0], k=k.ravel(), p=np.zeros(12)))
    depth_m = view.depth(np.ones((48, width), np.float32))
    border = width // 200  # what the lens did not see
    assert (depth_m[8:40, border:-border] == 1).all()


def test_an_image_that_is_too_wide_to_be_corrected_is_refused() -> None:
    k = np.array([[4e4, 0, 2e4], [0, 48.0, 24.0], [0, 0, 1]])
    with pytest.raises(ValueError, match="images of 40000 x 48 px; 30000 is the most"):
        view_of(info(width=40_000, height=48, k=k.ravel(), p=np.zeros(12)))
