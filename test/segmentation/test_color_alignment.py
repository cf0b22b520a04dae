"""How far depth lies beside colour is found, on drawn, generated and real frames; and the network sees colour moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.masks import mask_ious
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.datasets.labelled_frames import captures
from instance_seg_ros.learning.evaluation.geometry_scenes import geometry_scenes
from instance_seg_ros.segmentation import ModelInfo, NetworkSegmenter, load_segmenter
from instance_seg_ros.segmentation.color_alignment import depth_beside_color_px, moved
from instance_seg_ros.segmentation.combined_segmenter import CombinedSegmenter
from instance_seg_ros.segmentation.combining import tiles
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

REAL_FRAMES = Path(__file__).parents[3] / "shared" / "data" / "real_rgbd"


def blocks(
    beside_px: tuple[int, int] = (0, 0), wider_px: int = 0, size_wh: tuple[int, int] = (320, 240)
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Bright blocks before a dark wall, with depth moved and grown to all sides."""
    width, height = size_wh
    color_rgb, depth_m = np.full((height, width, 3), 40, np.uint8), np.ones((height, width), np.float32)
    right, down = beside_px
    for sizes in ((60, 50, 40), (180, 40, 55), (90, 140, 35), (220, 150, 48)):
        x, y, side = (value * width // 320 for value in sizes)
        color_rgb[y : y + side, x : x + side] = (200, 90, 60)
        rows, columns = (slice(at - wider_px, at + side + wider_px) for at in (y + down, x + right))
        depth_m[rows, columns] = 0.8
    return color_rgb, depth_m


@pytest.mark.parametrize("wider_px", [-1, 0, 1])
@pytest.mark.parametrize("beside_px", [(0, 0), (2, 0), (-3, 2), (0, -4)])
def test_the_offset_is_found_though_depth_is_too_wide_or_too_narrow(beside_px: tuple[int, int], wider_px: int) -> None:
    assert depth_beside_color_px(*blocks(beside_px, wider_px)) == pytest.approx(beside_px, abs=0.3)


def test_of_a_large_image_it_is_in_that_image_s_pixels() -> None:
    assert depth_beside_color_px(*blocks((8, -4), size_wh=(1280, 960))) == pytest.approx((8, -4), abs=1)


@pytest.mark.parametrize("size_wh", [(640, 480), (960, 720), (1280, 960)])
def test_depth_is_sampled_where_colour_is(size_wh: tuple[int, int]) -> None:
    offsets_px = range(-5, 6)
    found_px = [depth_beside_color_px(*blocks((own, -own), size_wh=size_wh)) for own in offsets_px]
    assert np.mean(found_px, axis=0) == pytest.approx((0, 0), abs=0.25)


@pytest.mark.parametrize("size_wh", [(848, 480), (1279, 719)])
def test_a_width_that_is_no_multiple_of_the_working_width_is_not_squeezed(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    color_rgb, depth_m = np.full((height, width, 3), 40, np.uint8), np.ones((height, width), np.float32)
    for left in range(width - 100, width - 20, 40):  # where colour would be squeezed the most
        for top in range(20, height - 60, 60):
            color_rgb[top : top + 30, left : left + 20], depth_m[top : top + 30, left : left + 20] = 200, 0.8
    # Depth is sampled at every fourth pixel; squeezed colour was 2.7 px beside it.
    assert depth_beside_color_px(color_rgb, depth_m) == pytest.approx((0, 0), abs=0.75)


def test_the_band_that_a_projector_does_not_reach_on_one_side_does_not_move_it() -> None:
    color_rgb, depth_m = blocks((2, 0))
    near = depth_m < 0.9
    for right_px in range(1, 7):
        depth_m[:, right_px:][near[:, :-right_px] & ~near[:, right_px:]] = 0
    assert depth_beside_color_px(color_rgb, depth_m) == pytest.approx((2, 0), abs=0.3)


@pytest.mark.parametrize(
    ("color", "depth"),
    [
        (np.full((240, 320, 3), 90, np.uint8), blocks((3, 0))[1]),
        (blocks()[0], np.ones((240, 320), np.float32)),
        (blocks()[0], np.zeros((240, 320), np.float32)),
        (blocks()[0], np.where(np.arange(320) % 2, blocks((3, 0))[1], np.float32(0))),
        (np.full((1, 1, 3), 90, np.uint8), np.ones((1, 1), np.float32)),
        (np.full((1, 640, 3), 90, np.uint8), np.ones((1, 640), np.float32)),
    ],
    ids=["plain colour", "one plane", "no depth", "half of the depth missing", "one pixel", "one row"],
)
def test_where_nothing_tells_it_is_none(color: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
    assert depth_beside_color_px(color, depth) == pytest.approx((0, 0), abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90))
def test_of_any_images_it_is_a_number_within_what_is_tried(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    color_rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth_m = rng.choice([0.0, 1e-30, 0.5, 1.0, 1e30], (height, width)).astype(np.float32)
    assert (np.abs(depth_beside_color_px(color_rgb, depth_m)) <= 5).all()


@pytest.mark.parametrize("sensor", ["active_stereo", "time_of_flight"])
def test_through_simulated_cameras_half_of_an_offset_is_left_at_most(sensor: str) -> None:
    left_px = []
    for scene in geometry_scenes(8, 4711, ("crowd", "shelf"), sensor=sensor, colored=True):
        own_px = depth_beside_color_px(scene.frame.color_rgb, scene.frame.depth_m)
        for offset_px in ((4, -3), (-3, 4)):
            color_rgb = moved(scene.frame.color_rgb, offset_px)
            left_px.append(own_px - offset_px - depth_beside_color_px(color_rgb, scene.frame.depth_m))
    assert np.sqrt(np.mean(np.square(left_px))) < 0.5 * np.sqrt(12.5)


@pytest.mark.parametrize(
    ("offset_px", "rows", "columns"),
    [
        ((0, 0), [0, 1, 2], [0, 1, 2, 3]),
        ((2, 0), [0, 1, 2], [0, 0, 0, 1]),
        ((-1, 0), [0, 1, 2], [1, 2, 3, 3]),
        ((0, 1), [0, 0, 1], [0, 1, 2, 3]),
        ((1, -2), [2, 2, 2], [0, 0, 1, 2]),
    ],
)
def test_a_picture_is_moved_and_its_border_repeated(
    offset_px: tuple[int, int], rows: list[int], columns: list[int]
) -> None:
    picture = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    assert moved(picture, offset_px).tolist() == picture[np.ix_(rows, columns)].tolist()


class Watching:
    """A network that finds nothing and keeps what it was given, look by look."""

    backend = "by hand"

    def __init__(self, input_names: tuple[str, ...]) -> None:
        self.input_names = input_names
        self.seen: list[Mapping[str, NDArray]] = []

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        self.seen.append(inputs)
        empty = np.zeros(0, np.float32)
        return NetworkOutput(
            empty.reshape(0, 4), empty, empty.astype(np.int64), empty.reshape(0, 2, 2), np.ones(2, np.float32)
        )


BOTH, COLOR_ALONE = ("color_rgb", "depth_m", "intrinsics"), ("color_rgb",)


@pytest.mark.parametrize("look", [NetworkSegmenter.segment, NetworkSegmenter.ranked])
@pytest.mark.parametrize(
    ("names", "align_color", "moved_px"),
    [(BOTH, True, (3, -2)), (BOTH, False, (0, 0)), (COLOR_ALONE, True, (0, 0)), (("depth_m",), True, (0, 0))],
)
def test_a_network_that_sees_both_is_given_colour_on_the_depth(
    look: object, names: tuple[str, ...], align_color: bool, moved_px: tuple[int, int]
) -> None:
    color_rgb, depth_m = blocks((3, -2))
    frame = RgbdFrame(color_rgb, depth_m, Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
    network = Watching(names)
    info = ModelInfo("m", "1", ("object",), 0.5, 0.5, "f" * 64)
    segmenter = NetworkSegmenter(network, info, SegmentationSettings(align_color=align_color))
    assert look(segmenter, frame).color_moved_px == moved_px  # type: ignore[operator]
    if "color_rgb" in names:
        np.testing.assert_array_equal(network.seen[0]["color_rgb"], moved(color_rgb, moved_px))
    assert frame.color_rgb is color_rgb


def test_less_than_a_pixel_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    color_rgb, depth_m = blocks()
    frame = RgbdFrame(color_rgb, depth_m, Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
    segmenter = NetworkSegmenter(
        Watching(BOTH), ModelInfo("m", "1", ("object",), 0.5, 0.5, "f" * 64), SegmentationSettings()
    )
    for found_px, offset_px in (((0.7, -0.6), (0, 0)), ((0.8, -0.7), (1, -1)), ((-1.2, 0.3), (-1, 0))):
        monkeypatch.setattr(
            f"{NetworkSegmenter.__module__}.depth_beside_color_px", lambda *_, own=found_px: np.array(own)
        )
        assert segmenter.color_offset_px(frame) == offset_px


def test_tiles_are_given_colour_that_is_moved_as_in_the_whole_image() -> None:
    color_rgb, depth_m = blocks((3, -2))
    depth_m[130:, 200:] = 1  # of the last tile nothing tells, but a print that has no depth would be seen to move
    frame = RgbdFrame(color_rgb, depth_m, Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
    network = Watching(BOTH)
    settings = SegmentationSettings(tile_width_px=170, tile_overlap=0.0)
    segmenter = NetworkSegmenter(network, ModelInfo("m", "1", ("object",), 0.5, 0.5, "f" * 64), settings)
    assert CombinedSegmenter([segmenter], settings).segment(frame).color_moved_px == (3, -2)
    parts = [*tiles((320, 240), 170, 0.0), (0, 0, 320, 240)]
    assert len(network.seen) == len(parts) == 5
    for (x0, y0, x1, y1), inputs in zip(parts, network.seen, strict=True):
        np.testing.assert_array_equal(inputs["color_rgb"], moved(color_rgb[y0:y1, x0:x1], (3, -2)))


def test_a_frame_without_colour_has_nothing_to_move() -> None:
    frame = RgbdFrame(None, blocks((3, -2))[1], Intrinsics(320, 240, 300.0, 300.0, 159.5, 119.5))
    info = ModelInfo("m", "1", ("object",), 0.5, 0.5, "f" * 64)
    found = NetworkSegmenter(Watching(BOTH), info, SegmentationSettings()).segment(frame)
    assert found.color_moved_px == (0, 0)


@pytest.mark.skipif(not REAL_FRAMES.is_dir(), reason="the real frames beside the project are not here")
def test_on_real_frames_colour_that_is_moved_away_costs_less_than_without_alignment() -> None:
    frames = [item for item in captures(REAL_FRAMES) if item.group == "ycb_video"][::3]
    mean_iou = {}
    for align_color in (False, True):
        segmenter = load_segmenter(None, SegmentationSettings(backend="onnxruntime", align_color=align_color))
        ious = []
        for item in frames:
            color_rgb = moved(item.frame.color_rgb, (-5, 4))
            masks = segmenter.segment(replace(item.frame, color_rgb=color_rgb)).masks
            ious += mask_ious(item.truth.masks, masks).max(axis=1, initial=0).tolist()
        mean_iou[align_color] = np.mean(ious)
    assert mean_iou[True] > mean_iou[False] + 0.01
