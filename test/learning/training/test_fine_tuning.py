"""The whole way of a user with labelled images: COCO data set, `train`, `export`, instances with class names."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from instance_seg_ros.commands import export as export_cli
from instance_seg_ros.commands import train
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.datasets.coco_export import DEPTH_NAME, INSTANCES_NAME, write_coco
from instance_seg_ros.learning.datasets.training_samples import Batch
from instance_seg_ros.learning.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.initial import read_initial_weights
from instance_seg_ros.learning.training.train import CHECKPOINT_NAME, Trainer
from instance_seg_ros.segmentation import load_segmenter

pytestmark = pytest.mark.usefixtures("without_tensorrt")

CLASS_NAMES = ("box", "lid")
QUICK = ("--batch-size=2", "--workers=0", "--threads=1")


@pytest.fixture(scope="module")
def data(tiny_color_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes with one unusable annotation."""
    folder = tmp_path_factory.mktemp("coco")
    write_coco(tiny_color_store, folder)
    content = json.loads((folder / INSTANCES_NAME).read_text())
    content["categories"] = [{"id": 5, "name": "lid"}, {"id": 2, "name": "box"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = (2, 5)[annotation["id"] % 2]
    content["annotations"][4]["segmentation"] = [[]]
    (folder / INSTANCES_NAME).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def weights(small_config: CondInstConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-agnostic checkpoint."""
    torch.manual_seed(0)
    state = CondInst(small_config).state_dict()
    path = tmp_path_factory.mktemp("weights") / "checkpoint.pt"
    save_checkpoint(Checkpoint(small_config, state, state, {}, 10, 1.0, {}), path)
    return path


def run(module: object, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    return int(module.run(parser.parse_args(list(arguments))))  # type: ignore[attr-defined]


def test_data_without_an_object_are_refused(data: Path, tmp_path: Path) -> None:
    content = json.loads((data / INSTANCES_NAME).read_text())
    (tmp_path / "empty.json").write_text(json.dumps({**content, "annotations": []}))
    arguments = [
        "--coco",
        str(tmp_path / "empty.json"),
        "--images",
        str(data / "images"),
        "--out",
        str(tmp_path / "run"),
    ]
    with pytest.raises(InputError, match=r"empty\.json: no image has an object that can be used"):
        run(train, *arguments, *QUICK, "--steps=2", "--inputs=rgb")


def test_a_training_of_no_steps_is_refused(data: Path, tmp_path: Path) -> None:
    arguments = ["--coco", str(data / INSTANCES_NAME), "--out", str(tmp_path / "run"), *QUICK, "--inputs=rgb"]
    with pytest.raises(InputError, match="how long is the training to last"):
        run(train, *arguments, "--steps=0")


def test_labelled_images_become_a_model_with_their_classes(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--coco", str(data / INSTANCES_NAME), "--depth", str(data / DEPTH_NAME), "--out", str(out)]
    assert run(train, *arguments, "--weights", str(weights), *QUICK, "--steps=2") == 0
    told = capsys.readouterr().out
    assert "12 images" in told and "of 2 classes" in told
    assert f"starting from the weights of {weights}" in told
    assert "starting weights: each of the 2 classes starts as 'object'" in told
    assert "left out 1 annotations, the first one:" in told
    assert "batch normalisation keeps" not in told  # all of the frames have depth and colour
    assert (out / "skipped.txt").read_text().count("\n") == 1
    checkpoint = load_checkpoint(out / CHECKPOINT_NAME)
    assert checkpoint.class_names == CLASS_NAMES
    assert checkpoint.recipe["coco"] == INSTANCES_NAME

    model = tmp_path / "model.onnx"
    assert run(export_cli, "--checkpoint", str(out / CHECKPOINT_NAME), "--out", str(model)) == 0
    segmenter = load_segmenter(model, SegmentationSettings(backend="onnxruntime", score_threshold=0.0))
    assert segmenter.info.class_names == CLASS_NAMES
    frame = RgbdFrame(None, np.full((96, 128), 0.8, dtype=np.float32), Intrinsics(128, 96, 110.0, 110.0, 63.5, 47.5))
    assert segmenter.segment(frame).class_names == CLASS_NAMES

    again = read_initial_weights(model)
    assert again.class_names == CLASS_NAMES
    continued = [*arguments[:-1], str(tmp_path / "second")]
    assert run(train, *continued, "--weights", str(model), *QUICK, "--steps=1") == 0
    assert load_checkpoint(tmp_path / "second" / CHECKPOINT_NAME).recipe["started_from"]["model"] == "tabletop_rgbd"


@pytest.mark.parametrize("mask_head", ["prototypes", "kernels"])
def test_another_mask_head_is_trained_resumed_exported_and_fine_tuned_by_the_same_commands(
    mask_head: str, data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--coco", str(data / INSTANCES_NAME), "--depth", str(data / DEPTH_NAME), *QUICK]
    start = ["--weights", str(weights), "--mask-head", mask_head, "--out", str(tmp_path / "run")]
    assert run(train, *arguments, *start, "--steps=1") == 0
    told = f"starting weights: the mask head {mask_head} starts from scratch (controller, "
    assert told in capsys.readouterr().out
    assert run(train, *arguments, *start, "--steps=2") == 0
    checkpoint = load_checkpoint(tmp_path / "run" / CHECKPOINT_NAME)
    assert (checkpoint.step, checkpoint.config.mask_head) == (2, mask_head)

    model = tmp_path / "model.onnx"
    assert run(export_cli, "--checkpoint", str(tmp_path / "run" / CHECKPOINT_NAME), "--out", str(model)) == 0
    segmenter = load_segmenter(model, SegmentationSettings(backend="onnxruntime", score_threshold=0.0))
    frame = RgbdFrame(None, np.full((96, 128), 0.8, dtype=np.float32), Intrinsics(128, 96, 110.0, 110.0, 63.5, 47.5))
    assert segmenter.segment(frame).class_names == CLASS_NAMES

    capsys.readouterr()
    again = ["--weights", str(model), "--out", str(tmp_path / "again"), "--steps=1"]
    assert run(train, *arguments, *again) == 0
    assert "starts from scratch" not in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "again" / CHECKPOINT_NAME).config.mask_head == mask_head
    anew = ["--weights", str(model), "--out", str(tmp_path / "anew"), "--steps=1", "--new-mask-head"]
    assert run(train, *arguments, *anew) == 0
    assert told in capsys.readouterr().out
    with pytest.raises(InputError, match="--new-mask-head is for a training that starts from --weights"):
        run(train, *arguments, "--out", str(tmp_path / "new"), "--steps=1", "--new-mask-head")


def test_a_folder_of_another_training_is_not_continued(data: Path, weights: Path, tmp_path: Path) -> None:
    arguments = ["--coco", str(data / INSTANCES_NAME), "--depth", str(data / DEPTH_NAME)]
    arguments += ["--out", str(tmp_path), "--weights", str(weights)]
    assert run(train, *arguments, *QUICK, "--steps=1", "--class-agnostic") == 0
    with pytest.raises(InputError, match="holds a training of the classes object, not .*; choose another folder"):
        run(train, *arguments, *QUICK, "--steps=1")


def test_numbers_too_small_for_all_their_digits_are_0_in_a_training_and_not_behind_it(
    data: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest, kept, start_step = torch.full((64,), torch.finfo(torch.float32).tiny), [], Trainer.start_step

    def watched(self: Trainer, batch: Batch) -> None:
        kept.append(bool((smallest / 2).any()))
        start_step(self, batch)

    monkeypatch.setattr(Trainer, "start_step", watched)
    arguments = ["--coco", str(data / INSTANCES_NAME), "--depth", str(data / DEPTH_NAME), "--weights", str(weights)]
    assert run(train, *arguments, "--out", str(tmp_path), *QUICK, "--steps=1") == 0
    assert kept == [False]
    assert (smallest / 2).any()


def test_a_finished_training_says_that_nothing_is_left(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--coco", str(data / INSTANCES_NAME), "--depth", str(data / DEPTH_NAME), "--weights", str(weights)]
    arguments += ["--out", str(tmp_path), *QUICK, "--steps=1"]
    assert run(train, *arguments) == 0
    written = (tmp_path / CHECKPOINT_NAME).read_bytes()
    assert run(train, *arguments) == 0
    assert "holds a finished training of 1 steps, so there is nothing to do" in capsys.readouterr().out
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == written


def test_an_image_that_breaks_in_a_worker_is_named_in_one_line(data: Path, weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    for path in (copy / "images").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 20] = bytes(20)  # header and end stay
        path.write_bytes(content)
    arguments = ["--coco", str(copy / INSTANCES_NAME), "--depth", str(copy / DEPTH_NAME), "--weights", str(weights)]
    with pytest.raises(InputError, match=r"^\S*/\d+\.png cannot be read: .* remove it from the annotations$"):
        run(train, *arguments, f"--out={tmp_path / 'run'}", "--batch-size=2", "--workers=1", "--threads=1", "--steps=1")


def test_nothing_learns_depth_and_colour_from_data_that_lack_either(
    data: Path, tiny_store: Path, tmp_path: Path
) -> None:
    for source in (("--coco", str(data / INSTANCES_NAME)), ("--store", str(tiny_store))):
        with pytest.raises(InputError, match="all of the data lack depth or colour"):
            run(train, *source, "--out", str(tmp_path), "--steps=1")
    assert not (tmp_path / CHECKPOINT_NAME).exists()


def test_what_the_weights_know_of_depth_stays_where_the_data_have_none(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--coco", str(data / INSTANCES_NAME), "--out", str(tmp_path), "--weights", str(weights)]
    assert run(train, *arguments, *QUICK, "--steps=2") == 0
    assert (
        "batch normalisation keeps the statistics of the starting weights (100% of the frames lack"
        in capsys.readouterr().out
    )
    before, after = load_checkpoint(weights).average, load_checkpoint(tmp_path / CHECKPOINT_NAME).average
    statistics = [name for name in before if "running_" in name]
    assert statistics and all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["color_encoder.stem.0.weight"], after["color_encoder.stem.0.weight"])


def test_a_model_of_colour_alone_takes_depth_for_missing(data: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--coco", str(data / INSTANCES_NAME), "--inputs=rgb", "--weights", str(weights), "--out", str(out)]
    assert run(train, *arguments, *QUICK, "--steps=1") == 0
    model = tmp_path / "model.onnx"
    assert run(export_cli, "--checkpoint", str(out / CHECKPOINT_NAME), "--out", str(model)) == 0
    network = load_segmenter(model, SegmentationSettings(backend="onnxruntime"))._network  # type: ignore[attr-defined]
    color_rgb = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    intrinsics = np.array([110, 110, 63.5, 47.5], np.float32)
    masks = [
        network({"depth_m": np.full((96, 128), depth_m, np.float32), "intrinsics": intrinsics, "color_rgb": color_rgb})
        for depth_m in (0.0, 0.8)
    ]
    np.testing.assert_array_equal(masks[0].masks, masks[1].masks)
    np.testing.assert_array_equal(masks[0].scores, masks[1].scores)
