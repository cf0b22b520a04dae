from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from instance_seg_ros.learning.datasets import training_samples
from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.joined_frames import JoinedFrames
from instance_seg_ros.learning.datasets.scene_frames import SceneFrames, split_holdout
from instance_seg_ros.learning.datasets.training_samples import (
    IGNORE_ID,
    FrameDataset,
    Images,
    augment,
    batch_keys,
    clean_source,
    collate,
    mirror,
    on_grid,
    relabel,
    resample_window,
    to_sample,
)
from instance_seg_ros.learning.synthetic.store import open_store

INTRINSICS = np.array([100.0, 110.0, 60.0, 50.0], dtype=np.float32)
GRID = (96, 128)
CLASSES = np.arange(10, 20)  # of the ids from 1 to 10


def ideal_sensor(
    depth_m: np.ndarray, intrinsics: np.ndarray, rng: np.random.Generator, behind_m: np.ndarray | None
) -> np.ndarray:
    return depth_m


def back_project(depth_m: np.ndarray, intrinsics: np.ndarray, u: int, v: int) -> np.ndarray:
    fx, fy, cx, cy = intrinsics
    return depth_m[v, u] * np.array([(u - cx) / fx, (v - cy) / fy, 1.0])


def numbered_images() -> Images:
    """Every pixel has its own depth, so that a pixel is found again; colour is a ramp along both axes."""
    depth_m = (np.arange(96 * 128, dtype=np.float32).reshape(96, 128) + 1) / 1000
    rows, columns = np.mgrid[:96, :128]
    color_rgb = np.stack((2 * rows, columns, rows + columns), axis=2).astype(np.uint8)
    return Images(depth_m, (np.arange(96 * 128).reshape(96, 128) % 7).astype(np.uint8), INTRINSICS, CLASSES, color_rgb)


@pytest.mark.parametrize(
    ("offset", "scale"), [((20.0, 10.0), 2.0), ((0.0, 0.0), 0.75), ((20.0, 10.0), 0.75), ((3.0, 7.0), 1.5)]
)
def test_a_resampled_pixel_stays_on_its_ray_and_keeps_its_colour(offset: tuple[float, float], scale: float) -> None:
    images = numbered_images()
    result = resample_window(images, offset, scale, GRID)
    for v in range(5, 60, 11):
        for u in range(5, 80, 13):
            source = round(float(result.depth_m[v, u]) * 1000) - 1
            row, column = divmod(source, 128)
            assert result.ids[v, u] == images.ids[row, column]
            moved = back_project(result.depth_m, result.intrinsics, u, v)
            original = back_project(images.depth_m, INTRINSICS, column, row)
            # Nearest resampling moves a point by at most half a source pixel.
            assert np.abs(moved - original).max() <= result.depth_m[v, u] * 0.51 * max(1, 1 / scale) / 100
            assert np.abs(result.color_rgb[v, u].astype(int) - images.color_rgb[row, column]).max() <= 2


def test_shrinking_leaves_padding_right_and_below() -> None:
    result = resample_window(numbered_images(), (0.0, 0.0), 0.5, GRID)
    assert (result.depth_m[:48, :64] > 0).all()
    for padded in (result.depth_m, result.ids, result.color_rgb):
        assert (padded[48:] == 0).all()
        assert (padded[:, 64:] == 0).all()


def test_colour_is_averaged_where_a_large_image_shrinks_and_stays_in_place() -> None:
    color_rgb = np.zeros((384, 512, 3), dtype=np.uint8)
    color_rgb[::2, ::2] = 200  # a quarter of the pixels
    color_rgb[200:, 400:] = 255
    depth_m, ids = np.ones((384, 512), np.float32), np.zeros((384, 512), np.uint8)
    result = resample_window(Images(depth_m, ids, INTRINSICS, CLASSES, color_rgb), (0.0, 0.0), 0.25, GRID)
    assert result.color_rgb is not None
    assert np.abs(result.color_rgb[:48, :98].astype(int) - 50).max() <= 1
    assert (result.color_rgb[51:, 101:] == 255).all()


@pytest.mark.parametrize(("x", "y"), [(0, 0), (250, 5), (120, 90), (249, 186)])
def test_a_window_looks_at_an_object_and_stays_inside_the_image(x: int, y: int) -> None:
    ids = np.zeros((192, 256), dtype=np.uint8)
    ids[100:140, 10:240] = IGNORE_ID
    ids[y : y + 6, x : x + 6] = 1
    images = Images(np.ones((192, 256), np.float32), ids, INTRINSICS, CLASSES)
    zoomed = AugmentationSettings(
        flip_probability=0.0, crop_probability=1.0, crop_scale_min=3.0, crop_scale_max=4.0, letterbox_probability=0.0
    )
    windows = [on_grid(images, zoomed, GRID, np.random.default_rng(seed)) for seed in range(20)]
    assert all((window.ids == 1).any() and (window.depth_m > 0).all() for window in windows)
    assert len({window.intrinsics.tobytes() for window in windows}) > 5


def test_mirroring_negates_x_of_every_point() -> None:
    images = numbered_images()
    mirrored = mirror(images)
    assert mirrored.ids[30, 127 - 40] == images.ids[30, 40]
    assert mirrored.color_rgb[30, 127 - 40].tolist() == images.color_rgb[30, 40].tolist()
    expected = back_project(images.depth_m, INTRINSICS, 40, 30) * [-1, 1, 1]
    np.testing.assert_allclose(back_project(mirrored.depth_m, mirrored.intrinsics, 127 - 40, 30), expected, rtol=1e-5)


def test_relabel_numbers_objects_and_ignores_small_and_unmeasured_ones() -> None:
    ids = np.zeros((96, 128), dtype=np.uint8)
    ids[10:20, 30:50] = 3
    ids[0:4, 0:4] = 5
    ids[50:70, 50:70] = 9
    ids[80:90, 80:90] = 12
    depth_m = np.ones((96, 128), dtype=np.float32)
    depth_m[50:70, 50:69] = 0
    ids[0:90, 120:128] = IGNORE_ID
    labels = relabel(ids, depth_m, min_visible_px=40, min_measured_share=0.15)
    assert labels.ids[15, 40] == 1
    assert labels.ids[85, 85] == 2
    assert labels.ids[2, 2] == labels.ids[60, 60] == labels.ids[5, 125] == IGNORE_ID
    assert labels.former_ids.tolist() == [3, 12]
    assert labels.boxes_xyxy.tolist() == [[30, 10, 50, 20], [80, 80, 90, 90]]
    assert labels.anchors_xy.tolist() == [[39.5, 14.5], [84.5, 84.5]]


@pytest.mark.parametrize(
    ("regions", "anchor"),
    [
        ([np.s_[10:51, 20:61]], (40.5, 30.5)),  # a square: its middle
        ([np.s_[10:51, 20:41], np.s_[10:51, 45:61]], (35.5, 30.5)),  # cut in two: 6 px inside the larger piece
        ([np.s_[10:16, 20:61], np.s_[16:51, 20:26]], (32.5, 14.5)),  # an L: in the arm that is nearer to its centroid
        ([np.s_[10, 20]], (20.5, 10.5)),  # a single pixel
    ],
)
def test_the_anchor_is_a_pixel_well_inside_and_near_the_centroid(regions: list, anchor: tuple[float, float]) -> None:
    ids = np.zeros((96, 128), dtype=np.uint8)
    for region in regions:
        ids[region] = 4
    (found,) = relabel(ids, np.ones((96, 128), np.float32), 1, 0.0).anchors_xy.tolist()
    assert ids[int(found[1]), int(found[0])] == 4
    assert found == pytest.approx(anchor, abs=0.01)


def test_relabel_of_an_empty_image_gives_no_boxes() -> None:
    labels = relabel(np.zeros((4, 4), np.uint8), np.ones((4, 4), np.float32), 40, 0.15)
    assert not labels.ids.any()
    assert labels.boxes_xyxy.shape == (0, 4)
    assert labels.anchors_xy.shape == (0, 2)
    assert labels.former_ids.shape == (0,)


CALM = AugmentationSettings(
    flip_probability=0.0, crop_probability=0.0, letterbox_probability=0.0, color_drop_probability=0.0
)


@pytest.mark.parametrize(
    ("depth_drop", "color_drop", "depth_left", "color_left"),
    [(0.0, 0.0, True, True), (1.0, 0.0, False, True), (0.0, 1.0, True, False), (1.0, 1.0, True, False)],
)
def test_a_sample_loses_its_colour_or_its_depth_but_never_both(
    depth_drop: float, color_drop: float, depth_left: bool, color_left: bool
) -> None:
    settings = replace(CALM, depth_drop_probability=depth_drop, color_drop_probability=color_drop)
    images = augment(numbered_images(), settings, GRID, np.random.default_rng(0))
    assert bool(images.depth_m.any()) == depth_left
    assert (images.color_rgb is not None) == color_left


def test_a_frame_without_depth_keeps_its_colour() -> None:
    images = replace(numbered_images(), depth_m=np.zeros((96, 128), np.float32))
    settings = replace(CALM, color_drop_probability=1.0)
    assert augment(images, settings, GRID, np.random.default_rng(0)).color_rgb is not None


@pytest.mark.parametrize("size_hw", [(240, 320), (96, 128), (50, 300), (300, 50)])
@pytest.mark.parametrize("crop_probability", [0.0, 1.0])
def test_frames_of_any_size_come_onto_the_grid_with_their_rays(size_hw: tuple, crop_probability: float) -> None:
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    depth_m = (rows * size_hw[1] + columns + 1).astype(np.float32)
    intrinsics = np.array([200.0, 210.0, 0.5 * size_hw[1], 0.5 * size_hw[0]], dtype=np.float32)
    ids = (rows // 20 % 5).astype(np.uint8)
    settings = replace(CALM, crop_probability=crop_probability)
    result = augment(Images(depth_m, ids, intrinsics, CLASSES), settings, GRID, np.random.default_rng(3))
    assert result.depth_m.shape == result.ids.shape == GRID
    v, u = np.nonzero(result.depth_m)
    source = result.depth_m[v, u].astype(int) - 1
    row, column = np.divmod(source, size_hw[1])
    np.testing.assert_array_equal(result.ids[v, u], ids[row, column])
    fx, fy, cx, cy = result.intrinsics
    assert np.abs((u - cx) / fx - (column - intrinsics[2]) / 200).max() < 0.51 * max(1, 200 / fx) / 200
    assert np.abs((v - cy) / fy - (row - intrinsics[3]) / 210).max() < 0.51 * max(1, 210 / fy) / 210


def test_each_object_keeps_its_class() -> None:
    ids = np.zeros((96, 128), dtype=np.uint8)
    ids[10:40, 10:40], ids[50:90, 50:90], ids[0:3, 0:3] = 2, 7, 1
    images = Images(np.ones((96, 128), np.float32), ids, INTRINSICS, CLASSES)
    assert to_sample(images, CALM).class_ids.tolist() == [11, 16]


def test_without_depth_an_object_still_counts_where_there_is_colour() -> None:
    ids = np.zeros((96, 128), dtype=np.uint8)
    ids[10:40, 10:40] = 1
    images = Images(np.zeros((96, 128), np.float32), ids, INTRINSICS, CLASSES, np.full((96, 128, 3), 9, np.uint8))
    assert len(to_sample(images, CALM).boxes_xyxy) == 1
    blind = to_sample(replace(images, color_rgb=None), CALM)
    assert len(blind.boxes_xyxy) == 0
    assert blind.color_rgb.shape == (3, 96, 128)
    assert not blind.color_rgb.any()


def dataset(folder: Path, seed: int = 0) -> FrameDataset:
    source = SceneFrames(open_store(folder), sensor=ideal_sensor)
    return FrameDataset(source, AugmentationSettings(), GRID, 4, seed)


def test_a_sample_depends_on_seed_step_and_slot_alone(tiny_store: Path) -> None:
    first, second = dataset(tiny_store), dataset(tiny_store)
    second[(7, 0)]
    for key in ((0, 0), (5, 3)):
        a, b = first[key], second[key]
        assert torch.equal(a.depth_m, b.depth_m)
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a.boxes_xyxy, b.boxes_xyxy)
    other = dataset(tiny_store, seed=1)
    assert any(not torch.equal(first[(0, s)].depth_m, other[(0, s)].depth_m) for s in range(4))


def test_an_epoch_sees_every_frame_once(tiny_store: Path) -> None:
    data = dataset(tiny_store)
    frames = [data._frame_at(position) for position in range(24)]
    assert sorted(frames[:12]) == sorted(frames[12:]) == list(range(12))
    assert frames[:12] != frames[12:]


def test_boxes_and_ids_agree_after_augmentation(tiny_store: Path) -> None:
    data, boxes = dataset(tiny_store), 0
    for slot in range(4):
        sample = data[(1, slot)]
        boxes += len(sample.boxes_xyxy)
        for index, (x0, y0, x1, y1) in enumerate(sample.boxes_xyxy.int().tolist(), start=1):
            rows, columns = torch.nonzero(sample.ids == index, as_tuple=True)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x0, y0, x1, y1]
    assert boxes >= 4


def test_a_batch_stacks_images_and_instances(tiny_store: Path) -> None:
    batch = collate([dataset(tiny_store)[(0, slot)] for slot in range(4)])
    assert batch.depth_m.shape == (4, 1, 96, 128)
    assert batch.ids.shape == (4, 96, 128)
    assert batch.color_rgb.shape == (4, 3, 96, 128)
    most = int(batch.ids[batch.ids < IGNORE_ID].max())
    assert batch.boxes_xyxy.shape == (4, most, 4)
    assert batch.anchors_xy.shape == (4, most, 2)
    assert batch.class_ids.shape == (4, most)


def test_held_out_scenes_are_not_trained_on(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    train, held = split_holdout(store, 3)
    assert set(store.scene_id[train].tolist()) == {1, 2, 4, 5}
    assert set(store.scene_id[held].tolist()) == {3, 6}


def test_no_frames_is_an_error(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    nothing = SceneFrames(replace(store, frames=store.frames[:0]))
    with pytest.raises(ValueError, match="no frames"):
        FrameDataset(nothing, AugmentationSettings(), GRID, 4, 0)


@pytest.mark.parametrize(
    ("inputs", "depth", "color"), [("depth", True, False), ("rgb", False, True), ("rgbd", True, True)]
)
def test_a_store_gives_the_inputs_that_are_asked_for(
    tiny_color_store: Path, inputs: str, depth: bool, color: bool
) -> None:
    images = SceneFrames(open_store(tiny_color_store), inputs).images(0, np.random.default_rng(0))
    assert bool(images.depth_m.any()) == depth
    assert (images.color_rgb is not None) == color


def test_colour_alone_of_a_store_without_colour_is_an_error(tiny_store: Path) -> None:
    with pytest.raises(ValueError, match="generate one with --color"):
        SceneFrames(open_store(tiny_store), "rgb")


def test_processes_share_a_batch() -> None:
    shares = [next(batch_keys(7, slots)) for slots in (range(2), range(2, 4))]
    assert shares == [[(7, 0), (7, 1)], [(7, 2), (7, 3)]]


def test_a_growing_store_gives_what_is_made_and_then_every_frame_once(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_samples, "_REFRESH_S", 0.0)
    folder = tmp_path / "store"
    shutil.copytree(tiny_store, folder)
    done = np.load(folder / "done.npy")
    made = done.copy()
    made[3:] = False
    np.save(folder / "done.npy", made)
    opened = partial(open_store, folder, allow_partial=True)
    data = FrameDataset(SceneFrames(opened(), reopen=opened), AugmentationSettings(), GRID, 4, 0)
    assert {data._frame_at(position) for position in range(60)} == set(range(6))
    made[:5] = True
    np.save(folder / "done.npy", made)
    assert {data._frame_at(position) for position in range(120)} == set(range(10))
    np.save(folder / "done.npy", done)
    assert sorted(data._frame_at(position) for position in range(12)) == list(range(12))
    assert [data._frame_at(position) for position in range(12)] == [
        dataset(tiny_store)._frame_at(position) for position in range(12)
    ]


def test_a_batch_has_a_multiple_of_the_rows_that_are_asked_for(tiny_store: Path) -> None:
    samples = [dataset(tiny_store)[(0, slot)] for slot in range(4)]
    narrow, wide = collate(samples), collate(samples, rows=32)
    count = narrow.boxes_xyxy.shape[1]
    assert wide.boxes_xyxy.shape == (4, 32, 4)
    assert torch.equal(wide.boxes_xyxy[:, :count], narrow.boxes_xyxy)
    assert not wide.boxes_xyxy[:, count:].any()
    assert (wide.anchors_xy.shape, wide.class_ids.shape) == ((4, 32, 2), (4, 32))


def test_stores_are_clean_together_or_not_at_all(tiny_color_store: Path) -> None:
    usual = SceneFrames(open_store(tiny_color_store))
    ideal = SceneFrames(open_store(tiny_color_store), sensor=ideal_sensor)
    joined = JoinedFrames([usual, usual])
    assert clean_source(joined) is joined
    np.testing.assert_array_equal(joined.clean_images(13).depth_m, usual.clean_images(1).depth_m)
    assert clean_source(JoinedFrames([usual, ideal])) is None
