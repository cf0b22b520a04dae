from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from instance_seg_ros.synthetic.store import open_store
from instance_seg_ros.training.dataset import (
    IGNORE_ID,
    AugmentationSettings,
    SceneDataset,
    collate,
    mirror,
    relabel,
    resample_window,
    split_holdout,
)

INTRINSICS = np.array([100.0, 110.0, 60.0, 50.0], dtype=np.float32)


def ideal_sensor(depth_m: np.ndarray, intrinsics: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return depth_m


def back_project(depth_m: np.ndarray, intrinsics: np.ndarray, u: int, v: int) -> np.ndarray:
    fx, fy, cx, cy = intrinsics
    return depth_m[v, u] * np.array([(u - cx) / fx, (v - cy) / fy, 1.0])


def numbered_image() -> tuple[np.ndarray, np.ndarray]:
    """Every pixel has its own depth, so that a pixel is found again."""
    depth_m = (np.arange(96 * 128, dtype=np.float32).reshape(96, 128) + 1) / 1000
    return depth_m, (np.arange(96 * 128).reshape(96, 128) % 7).astype(np.uint8)


@pytest.mark.parametrize(("offset", "scale"), [((20.0, 10.0), 2.0), ((0.0, 0.0), 0.75), ((3.0, 7.0), 1.5)])
def test_a_resampled_pixel_stays_on_its_ray(offset: tuple[float, float], scale: float) -> None:
    depth_m, ids = numbered_image()
    result_m, result_ids, intrinsics = resample_window(depth_m, ids, INTRINSICS, offset, scale)
    for v in range(5, 60, 11):
        for u in range(5, 80, 13):
            source = round(float(result_m[v, u]) * 1000) - 1
            row, column = divmod(source, 128)
            assert result_ids[v, u] == ids[row, column]
            moved = back_project(result_m, intrinsics, u, v)
            original = back_project(depth_m, INTRINSICS, column, row)
            # Nearest resampling moves a point by at most half a source pixel.
            assert np.abs(moved - original).max() <= result_m[v, u] * 0.51 * max(1, 1 / scale) / 100


def test_shrinking_leaves_padding_right_and_below() -> None:
    depth_m, ids = numbered_image()
    result_m, result_ids, _ = resample_window(depth_m, ids, INTRINSICS, (0.0, 0.0), 0.5)
    assert (result_m[:48, :64] > 0).all()
    assert (result_m[48:] == 0).all()
    assert (result_m[:, 64:] == 0).all()
    assert (result_ids[48:] == 0).all()


def test_mirroring_negates_x_of_every_point() -> None:
    depth_m, ids = numbered_image()
    mirrored_m, mirrored_ids, intrinsics = mirror(depth_m, ids, INTRINSICS)
    assert mirrored_ids[30, 127 - 40] == ids[30, 40]
    expected = back_project(depth_m, INTRINSICS, 40, 30) * [-1, 1, 1]
    np.testing.assert_allclose(back_project(mirrored_m, intrinsics, 127 - 40, 30), expected, rtol=1e-5)


def test_relabel_numbers_objects_and_ignores_small_and_unmeasured_ones() -> None:
    ids = np.zeros((96, 128), dtype=np.uint8)
    ids[10:20, 30:50] = 3
    ids[0:4, 0:4] = 5
    ids[50:70, 50:70] = 9
    ids[80:90, 80:90] = 12
    depth_m = np.ones((96, 128), dtype=np.float32)
    depth_m[50:70, 50:69] = 0
    labels, boxes, centroids = relabel(ids, depth_m, AugmentationSettings())
    assert labels[15, 40] == 1
    assert labels[85, 85] == 2
    assert labels[2, 2] == labels[60, 60] == IGNORE_ID
    assert boxes.tolist() == [[30, 10, 50, 20], [80, 80, 90, 90]]
    assert centroids.tolist() == [[40, 15], [85, 85]]


def test_relabel_of_an_empty_image_gives_no_boxes() -> None:
    labels, boxes, centroids = relabel(np.zeros((4, 4), np.uint8), np.ones((4, 4), np.float32), AugmentationSettings())
    assert not labels.any()
    assert boxes.shape == (0, 4)
    assert centroids.shape == (0, 2)


def dataset(folder: Path, seed: int = 0) -> SceneDataset:
    store = open_store(folder)
    return SceneDataset(store, store.frames, ideal_sensor, AugmentationSettings(), 4, seed)


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
    data = dataset(tiny_store)
    for slot in range(4):
        sample = data[(1, slot)]
        for index, (x0, y0, x1, y1) in enumerate(sample.boxes_xyxy.int().tolist(), start=1):
            rows, columns = torch.nonzero(sample.ids == index, as_tuple=True)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x0, y0, x1, y1]


def test_a_batch_stacks_images_and_lists_instances(tiny_store: Path) -> None:
    batch = collate([dataset(tiny_store)[(0, slot)] for slot in range(4)])
    assert batch.depth_m.shape == (4, 1, 96, 128)
    assert batch.ids.shape == (4, 96, 128)
    assert len(batch.boxes_xyxy) == 4


def test_held_out_scenes_are_not_trained_on(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    train, held = split_holdout(store, 3)
    assert set(store.scene_id[train].tolist()) == {1, 2, 4, 5}
    assert set(store.scene_id[held].tolist()) == {3, 6}


def test_no_frames_is_an_error(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    with pytest.raises(ValueError, match="no frames"):
        SceneDataset(store, store.frames[:0], ideal_sensor, AugmentationSettings(), 4, 0)
