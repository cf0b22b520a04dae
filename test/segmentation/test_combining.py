"""Tiles and several looks put together: seams, duplicates, fine and coarse outlines, and two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import NO_STUFF, Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError, load_segmenter
from instance_seg_ros.segmentation.combined_segmenter import CombinedSegmenter
from instance_seg_ros.segmentation.combining import Look, combined, cropped, tiles

SIZE_WH = (24, 12)


def rectangle(x0: int, y0: int, x1: int, y1: int, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    mask = np.zeros(size_wh[::-1], dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def look_at(
    region: tuple[int, int, int, int],
    masks: list[np.ndarray],
    scores: list[float],
    level: int = 0,
    name: str = "object",
) -> Look:
    """What a perfect network sees of masks of the whole image in a part of it."""
    x0, y0, x1, y1 = region
    parts = [(mask[y0:y1, x0:x1], score) for mask, score in zip(masks, scores, strict=True)]
    parts = [(mask, score) for mask, score in parts if mask.any()]
    count = len(parts)
    stacked = np.stack([mask for mask, _ in parts]) if parts else np.zeros((0, y1 - y0, x1 - x0), dtype=bool)
    instances = Instances(
        stacked,
        np.zeros((count, 4), dtype=np.float32),
        np.array([score for _, score in parts], dtype=np.float32),
        np.zeros(count, dtype=np.int64),
        (name,),
    )
    return Look(region, instances, level)


LEFT, RIGHT, WHOLE = (0, 0, 14, 12), (10, 0, 24, 12), (0, 0, 24, 12)


def put_together(looks: list[Look], names: tuple[str, ...] = ("object",), least: int = 1) -> Instances:
    return combined(looks, SIZE_WH, names, least, 50)


@pytest.mark.parametrize(
    ("size_wh", "width", "overlap", "expected"),
    [
        ((24, 12), 0, 0.25, []),
        ((24, 12), 24, 0.25, []),
        ((24, 12), 30, 0.25, []),
        ((24, 12), 12, 0.0, [(0, 0, 12, 6), (12, 0, 24, 6), (0, 6, 12, 12), (12, 6, 24, 12)]),
        ((24, 12), 16, 0.25, [(0, 0, 16, 8), (8, 0, 24, 8), (0, 4, 16, 12), (8, 4, 24, 12)]),
    ],
)
def test_tiles_have_one_size_and_cover_the_image(
    size_wh: tuple[int, int], width: int, overlap: float, expected: list[tuple[int, ...]]
) -> None:
    assert tiles(size_wh, width, overlap) == expected


@pytest.mark.parametrize("size_wh", [(1920, 1080), (641, 479)])
@pytest.mark.parametrize(("width", "overlap"), [(480, 0.25), (333, 0.5), (640, 0.0)])
def test_neighbouring_tiles_share_what_was_asked(size_wh: tuple[int, int], width: int, overlap: float) -> None:
    parts = np.array(tiles(size_wh, width, overlap))
    assert len({tuple(part[2:] - part[:2]) for part in parts}) == 1
    for first, last, side in ((0, 2, size_wh[0]), (1, 3, size_wh[1])):
        begins, ends = np.unique(parts[:, first]), np.unique(parts[:, last])
        assert (begins[0], ends[-1]) == (0, side)
        assert (ends[:-1] - begins[1:] >= overlap * (ends[0] - begins[0]) - 1).all()


def test_an_object_that_a_seam_cuts_is_one() -> None:
    mask = rectangle(4, 3, 20, 8)
    instances = put_together([look_at(LEFT, [mask], [0.7]), look_at(RIGHT, [mask], [0.8])])
    assert instances.scores.tolist() == [np.float32(0.8)]
    assert np.array_equal(instances.masks[0], mask)
    assert instances.boxes_xyxy.tolist() == [[4, 3, 20, 8]]


def test_neighbours_at_a_seam_stay_two() -> None:
    masks = [rectangle(4, 3, 12, 8), rectangle(12, 3, 20, 8)]
    instances = put_together([look_at(LEFT, masks, [0.7, 0.6]), look_at(RIGHT, masks, [0.8, 0.9])])
    assert [mask.sum() for mask in instances.masks] == [40, 40]
    assert np.array_equal(instances.masks[0], masks[1])


def test_pieces_that_one_look_tells_apart_are_not_joined_by_another() -> None:
    masks = [rectangle(4, 3, 9, 8), rectangle(9, 3, 14, 8)]
    both = look_at(WHOLE, [masks[0] | masks[1]], [0.95], level=1)
    instances = put_together([look_at(LEFT, masks, [0.7, 0.6]), both])
    assert len(instances) == 2


def test_a_tile_decides_about_the_outline_where_it_looked() -> None:
    coarse, fine = rectangle(4, 3, 20, 8), rectangle(5, 4, 20, 7)
    instances = put_together([look_at(LEFT, [fine], [0.6]), look_at(WHOLE, [coarse], [0.9], level=1)])
    assert instances.scores.tolist() == [np.float32(0.9)]
    assert np.array_equal(instances.masks[0][:, :14], fine[:, :14])
    assert np.array_equal(instances.masks[0][:, 14:], coarse[:, 14:])


def test_what_only_a_tile_or_only_the_whole_sees_is_kept() -> None:
    small, large = rectangle(1, 1, 3, 3), rectangle(8, 0, 24, 12)
    instances = put_together([look_at(LEFT, [small], [0.6]), look_at(WHOLE, [large], [0.9], level=1)])
    assert [mask.sum() for mask in instances.masks] == [192, 4]


def test_a_part_inside_another_object_is_a_duplicate() -> None:
    whole, part = rectangle(2, 2, 20, 10), rectangle(4, 4, 8, 8)
    instances = put_together([look_at(WHOLE, [whole], [0.9], level=1), look_at(LEFT, [part], [0.6])])
    assert len(instances) == 1
    assert np.array_equal(instances.masks[0], whole)


def test_small_ones_and_those_beyond_the_most_are_left_out() -> None:
    masks = [rectangle(1, 1, 3, 3), rectangle(8, 1, 13, 6)]
    looks = [look_at(WHOLE, masks, [0.9, 0.5])]
    assert put_together(looks, least=5).scores.tolist() == [0.5]
    assert combined(looks, SIZE_WH, ("object",), 1, 1).scores.tolist() == [np.float32(0.9)]
    assert len(put_together([look_at(WHOLE, [], [])])) == 0


@pytest.mark.parametrize("width", [8, 10, 16])
@pytest.mark.parametrize("seed", range(5))
def test_tiles_of_a_perfect_network_give_what_it_sees_in_the_whole(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(SIZE_WH[::-1], dtype=np.uint16)
    for label in range(1, 6):
        x, y = rng.integers(0, SIZE_WH[0] - 3), rng.integers(0, SIZE_WH[1] - 3)
        labels[y : y + rng.integers(2, 6), x : x + rng.integers(2, 12)] = label
    masks = [labels == label for label in np.unique(labels[labels > 0])]
    scores = np.linspace(0.9, 0.5, len(masks)).tolist()
    looks = [look_at(part, masks, scores) for part in tiles(SIZE_WH, width, 0.5)]
    instances = put_together([*looks, look_at(WHOLE, masks, scores, level=1)])
    assert len(instances) == len(masks)
    for mask, expected in zip(instances.masks, masks, strict=True):
        assert np.array_equal(mask, expected)


def test_the_largest_look_decides_about_stuff_and_others_tell_of_what_it_leaves_open() -> None:
    whole, tile = look_at(WHOLE, [rectangle(2, 2, 6, 6)], [0.9], level=1), look_at(RIGHT, [], [])
    of_whole = np.full(SIZE_WH[::-1], NO_STUFF, dtype=np.int32)
    of_whole[:, :16] = 0  # under the instance, too, where it does not count
    of_tile = np.zeros((12, 14), dtype=np.int32)
    whole = replace(whole, instances=replace(whole.instances, class_names=("wall", "object"), stuff=of_whole))
    tile = replace(tile, instances=replace(tile.instances, class_names=("floor",), stuff=of_tile))
    found = put_together([tile, whole], ("floor", "object", "wall"))
    expected = np.where(np.arange(24) < 16, 2, 0) * np.ones((12, 1), dtype=int)
    expected[found.masks[0]] = NO_STUFF
    assert found.masks[0].sum() == 16
    assert np.array_equal(found.stuff, expected)
    assert (
        put_together([replace(whole, instances=replace(whole.instances, stuff=None))], ("wall", "object")).stuff is None
    )


def test_a_crop_looks_along_the_same_rays() -> None:
    depth_m = np.random.default_rng(0).uniform(0.5, 1, SIZE_WH[::-1]).astype(np.float32)
    frame = RgbdFrame(None, depth_m, Intrinsics(*SIZE_WH, 20.0, 20.0, 11.5, 5.5), 7, "lens")
    part = cropped(frame, RIGHT)
    assert np.allclose(part.points_m, frame.points_m[:, 10:24], atol=1e-6)
    assert (part.stamp_ns, part.frame_id, part.color_rgb) == (7, "lens", None)


@pytest.fixture
def settings_for() -> Callable[..., SegmentationSettings]:
    """Settings for a quick runtime."""
    return lambda **values: SegmentationSettings(backend="onnxruntime", threads=1, **values)


def test_two_models_find_each_object_once(
    settings_for: Callable[..., SegmentationSettings],
    block_model_path: Path,
    family_model_path: Callable[[str], Path],
    make_frame: Callable[..., RgbdFrame],
) -> None:
    settings = settings_for(second_model_path=str(family_model_path("yolo-seg")))
    segmenter = load_segmenter(block_model_path, settings)
    instances = segmenter.segment(make_frame())
    assert list(instances.names()) == ["block", "block"]
    assert instances.scores == pytest.approx([0.9, 0.8], abs=0.01)  # the better of the two networks'
    assert segmenter.info.name == "blocks + model"
    assert segmenter.info.needs_color
    assert segmenter.backend.count("ONNX Runtime") == 2
    assert len(segmenter.ranked(make_frame())) >= 2


def test_tiles_are_segmented_besides_the_whole_image(
    settings_for: Callable[..., SegmentationSettings], block_model_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    segmenter = load_segmenter(block_model_path, settings_for(tile_width_px=80, tile_overlap=0.5))
    assert isinstance(segmenter, CombinedSegmenter)
    # Its network finds the same rectangles in every image, so those of the tiles beside the first are new ones.
    assert len(segmenter.segment(make_frame())) > 2
    with pytest.raises(ModelError, match=r"tile_width_px is 39, less than a quarter of the image's width \(160\)"):
        load_segmenter(block_model_path, settings_for(tile_width_px=39)).segment(make_frame())


def test_a_second_model_that_cannot_be_used_is_refused(
    settings_for: Callable[..., SegmentationSettings], block_model_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="cannot read the model file .*nothing.onnx"):
        load_segmenter(block_model_path, settings_for(second_model_path=str(tmp_path / "nothing.onnx")))


def test_how_far_colour_was_moved_is_told_by_the_look_at_the_whole_image() -> None:
    looks = [look_at(LEFT, [], []), *(look_at(WHOLE, [], [], level=1) for _ in range(2))]
    looks = [  # the first model sees colour alone
        replace(look, instances=replace(look.instances, color_moved_px=moved_px))
        for look, moved_px in zip(looks, ((4, 0), (0, 0), (1, -2)), strict=True)
    ]
    assert put_together(looks).color_moved_px == (1, -2)
