from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.coco_data import CocoFiles, read_coco
from instance_seg_ros.learning.datasets.coco_export import DEPTH_NAME, IMAGES_NAME, INSTANCES_NAME, main, write_coco
from instance_seg_ros.learning.datasets.coco_frames import CocoFrames
from instance_seg_ros.learning.datasets.labelled_frames import store_frames
from instance_seg_ros.learning.datasets.training_samples import FrameDataset

RNG = np.random.default_rng(0)  # a COCO frame draws nothing from it


@pytest.fixture
def files(tiny_color_store: Path, tmp_path: Path) -> CocoFiles:
    """A store of generated scenes as a COCO data set."""
    write_coco(tiny_color_store, tmp_path)
    return CocoFiles(tmp_path / INSTANCES_NAME, tmp_path / IMAGES_NAME, tmp_path / DEPTH_NAME)


def test_a_store_comes_back_through_its_coco_export_as_evaluation_sees_it(
    tiny_color_store: Path, files: CocoFiles
) -> None:
    data = read_coco(files)
    assert data.skipped_images == data.skipped_annotations == ()
    assert data.assumed_cameras == data.without_depth == 0
    frames, seen = CocoFrames(data, files), list(store_frames(tiny_color_store, limit=0, seed=1))
    assert len(frames) == len(seen)
    for index, source in enumerate(seen):
        images = frames.images(index, RNG)
        np.testing.assert_array_equal(images.ids > 0, source.objects)
        for mask in source.truth.masks:
            assert len(np.unique(images.ids[mask])) == 1
        np.testing.assert_allclose(images.depth_m, source.frame.depth_m, atol=0.0006)
        np.testing.assert_array_equal(images.color_rgb, source.frame.color_rgb)
        np.testing.assert_allclose(images.intrinsics, source.frame.intrinsics.fx_fy_cx_cy, rtol=1e-6)
    assert frames.facts()["frames"] == len(seen)
    assert frames.facts()["instances"] == {"object": sum(len(source.truth) for source in seen)}


def test_objects_that_are_too_small_to_be_asked_for_are_ignored_regions(tiny_color_store: Path, tmp_path: Path) -> None:
    store = shutil.copytree(tiny_color_store, tmp_path / "store")
    ids = np.load(store / "ids.npy")
    ids[0] = 0
    ids[0, 10:15, 10:15], ids[0, 50:70, 50:70] = 1, 2
    np.save(store / "ids.npy", ids)
    write_coco(store, tmp_path)
    annotations = json.loads((tmp_path / INSTANCES_NAME).read_text())["annotations"]
    assert [(a["iscrowd"], a["area"]) for a in annotations if a["image_id"] == 0] == [(0, 400), (1, 25)]
    assert [a["id"] for a in annotations] == list(range(1, len(annotations) + 1))


def test_the_export_is_a_command(
    tiny_color_store: Path, tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(tiny_color_store), str(tmp_path)])
    assert (tmp_path / INSTANCES_NAME).is_file()
    with pytest.raises(SystemExit):
        main([str(tiny_store), str(tmp_path / "other")])
    assert "--color" in capsys.readouterr().err
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(SystemExit):
        main([str(tiny_color_store), str(tmp_path / "taken")])
    assert "taken" in capsys.readouterr().err


def test_a_store_without_colour_is_no_coco_data_set(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--color"):
        write_coco(tiny_store, tmp_path)


def test_colour_is_rgb_and_depth_has_its_unit(files: CocoFiles) -> None:
    size = cv2.imread(str(files.images / "000000.png")).shape
    cv2.imwrite(str(files.images / "000000.png"), np.full(size, (10, 20, 250), dtype=np.uint8))  # blue, green, red
    assert files.depth is not None
    cv2.imwrite(str(files.depth / "000000.png"), np.full(size[:2], 5000, dtype=np.uint16))
    files = replace(files, depth_unit_m=0.0002)
    images = CocoFrames(read_coco(files), files).images(0, RNG)
    assert images.color_rgb is not None
    assert images.color_rgb[5, 5].tolist() == [250, 20, 10]
    assert images.depth_m[5, 5] == pytest.approx(1.0)


def test_an_image_without_depth_trains_by_its_colour_or_not_at_all(files: CocoFiles) -> None:
    assert files.depth is not None
    (files.depth / "000003.png").unlink()
    data = read_coco(files)
    assert not CocoFrames(data, files).images(3, RNG).depth_m.any()
    assert len(CocoFrames(data, files, color=False)) == len(data.images) - 1
    assert CocoFrames(data, files, color=False).images(0, RNG).color_rgb is None
    blind = replace(files, depth=None)
    with pytest.raises(ValueError, match=r"no image of .*instances\.json has depth"):
        CocoFrames(read_coco(blind), blind, color=False)


def test_a_file_that_breaks_after_it_was_checked_is_named(files: CocoFiles) -> None:
    frames = CocoFrames(read_coco(files), files)
    path = files.images / "000000.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"000000\.png cannot be read"):
        frames.images(0, RNG)
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"000000\.png is not of the size"):
        frames.images(0, RNG)


def test_samples_depend_on_seed_step_and_slot_alone(files: CocoFiles) -> None:
    first, second = (
        FrameDataset(CocoFrames(read_coco(files), files), AugmentationSettings(), (48, 64), 4, seed=3) for _ in range(2)
    )
    second[(2, 1)]
    for key in ((0, 0), (4, 3)):
        a, b = first[key], second[key]
        assert a.depth_m.shape == (1, 48, 64)
        assert a.color_rgb.shape == (3, 48, 64)
        for name in ("depth_m", "color_rgb", "ids", "boxes_xyxy", "class_ids", "intrinsics"):
            assert torch.equal(getattr(a, name), getattr(b, name))
