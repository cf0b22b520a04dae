"""The node on real DDS with a model of each family: whatever runs in it, it publishes the same of the same scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("rclpy")

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point, PointStamped
from sensor_msgs.msg import Image, RegionOfInterest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.status import Status
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.results.panoptic import BACKGROUND, STUFF_OF_MODEL, SUPPORT
from instance_seg_ros.segmentation.families.registry import FAMILIES
from instance_seg_ros.srv import Segment


@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_the_same_scene_gives_the_same_messages(
    family: str | None,
    family_model_path: Callable[[str], Path],
    block_model_path: Path,
    make_stage: Callable[..., Any],
    make_frame: Callable[..., RgbdFrame],
) -> None:
    path = block_model_path if family is None else family_model_path(family)
    stage = make_stage(Pipeline.from_settings, model_path=str(path), segmentation__backend="onnxruntime")
    stage.start()
    require_both_blocks(stage.answer_to(stage.send_frame(make_frame())))


@pytest.mark.parametrize("family", ["mask2former", "maskformer", "oneformer", "eomt", "detr", "rf_detr"])
def test_folders_give_the_same_messages_and_their_walls_are_no_objects(
    family: str,
    loaded_family: Callable[..., Path],
    make_stage: Callable[..., Any],
    make_frame: Callable[..., RgbdFrame],
) -> None:
    stage = make_stage(Pipeline.from_settings, model_path=str(loaded_family(family)))
    stage.probe.listen("panoptic_image", Image)
    stage.start()
    require_both_blocks(stage.answer_to(stage.send_frame(make_frame())))
    stage.wait(lambda: stage.probe.received["panoptic_image"], "the panoptic image")
    (image,) = stage.probe.received["panoptic_image"]
    labels = np.frombuffer(image.data, np.uint16).reshape(120, 160)
    assert (labels[35:75, 25:55] == 1).all()
    assert labels[5, 5] == labels[110, 150] == STUFF_OF_MODEL + 1
    assert set(np.unique(labels).tolist()) <= {1, 2, STUFF_OF_MODEL + 1, SUPPORT, BACKGROUND}


def test_walls_that_count_as_objects_are_told_in_the_diagnostics(
    family_graphs: ModuleType, tmp_path: Path, make_stage: Callable[..., Any]
) -> None:
    path = family_graphs.write("maskformer", [(20, 30, 60, 80), (90, 40, 130, 70)], tmp_path)
    path.with_suffix(".yaml").write_text("class_names: [wall]\n")
    stage = make_stage(Pipeline.from_settings, model_path=str(path))
    stage.start()
    stage.wait(lambda: "finds each wall as an object" in stage.probe.status_text("model"), "the warning of the model")
    assert stage.probe.status("model").level == DiagnosticStatus.WARN


def test_torchvisions_mask_rcnn_gives_the_same_messages(
    family_graphs: ModuleType,
    make_stage: Callable[..., Any],
    make_frame: Callable[..., RgbdFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))  # the latter beside another PyTorch
    import torch
    from safetensors.torch import save_file
    from torchvision.models import detection

    model = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)
    path = tmp_path / "blocks.safetensors"
    save_file(model.state_dict(), path)
    path.with_suffix(".yaml").write_text("class_names: [background, block]\n")
    outputs = family_graphs.outputs_of("torchvision-mask-rcnn", [(20, 30, 60, 80), (90, 40, 130, 70)])
    boxes, labels, scores, masks = map(torch.from_numpy, outputs.values())
    found = {"boxes": boxes, "labels": labels, "scores": scores, "masks": masks[:, :, :120]}  # of the camera's size
    monkeypatch.setattr(detection.MaskRCNN, "forward", lambda self, images: [found])
    stage = make_stage(Pipeline.from_settings, model_path=str(path))
    stage.start()
    require_both_blocks(stage.answer_to(stage.send_frame(make_frame())))


@pytest.mark.parametrize(
    ("promptable", "detector"),
    [
        ("sam", "owlvit"),
        ("sam2", "owlv2"),
        ("sam3", "sam3_words"),
        ("sam3", "grounding-dino"),
        ("sam", "mm-grounding-dino"),
        ("sam2", "rt_detr"),
        ("sam3", "rt_detr_v2"),
    ],
)
def test_points_rectangles_words_and_clicks_are_answered_with_the_same_messages_by_every_family(
    promptable: str,
    detector: str,
    loaded_families: ModuleType,
    folders: ModuleType,
    make_stage: Callable[..., Any],
    make_frame: Callable[..., RgbdFrame],
    block_model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import transformers

    blocks, size_wh = [(20, 30, 60, 80), (90, 40, 130, 70)], (160, 120)
    for name in (promptable, detector):
        (tmp_path / name).mkdir()
        folders.save(name, tmp_path / name)
    model, _ = loaded_families.PROMPTABLE[promptable]
    answering = loaded_families.answering_prompts(promptable, blocks, size_wh)
    monkeypatch.setattr(getattr(transformers, model), "forward", answering)
    naming = loaded_families.naming(detector, blocks[1], size_wh)
    monkeypatch.setattr(getattr(transformers, loaded_families.DETECTORS[detector]), "forward", naming)
    stage = make_stage(
        Pipeline.from_settings,
        model_path=str(block_model_path),
        segmentation__backend="onnxruntime",
        segmentation__prompt_model_path=str(tmp_path / promptable),
        segmentation__text_model_path=str(tmp_path / detector),
    )
    stage.start()
    stage.probe.listen("selected", InstanceArray)

    for request, expected in (
        (Segment.Request(points=[Point(x=40.0, y=50.0)]), [("object", 0.75, 0)]),
        (Segment.Request(boxes=[RegionOfInterest(x_offset=80, y_offset=30, width=60, height=50)]),
         [("object", 0.75, 1)]),
        (Segment.Request(text="cup"), [("cup", 0.6, 1)]),
        (Segment.Request(points=[Point(x=40.0, y=50.0)], text="cup"), [("object", 0.75, 0), ("cup", 0.6, 1)]),
    ):  # fmt: skip
        response = stage.segment(request, make_frame())
        assert response.success, response.message
        found = [(one.class_name, pytest.approx(one.score, abs=1e-3)) for one in response.result.instances]
        assert found == [(name, score) for name, score, _ in expected]
        for one, (_, _, block) in zip(response.result.instances, expected, strict=True):
            x0, y0, x1, y1 = blocks[block]
            region = one.region
            sides = region.x_offset, region.y_offset, region.x_offset + region.width, region.y_offset + region.height
            assert np.abs(np.array(sides) - (x0, y0, x1, y1)).max() <= 3  # a cell of the masks' grid
            assert one.points_kept > 500

    publisher = stage.probe.create_publisher(PointStamped, "/clicked_point", 5)
    stage.wait(lambda: publisher.get_subscription_count() > 0, "the node to listen to clicks")
    stage.wait(lambda: stage.node.count_subscribers("/instance_seg/selected") > 0, "the probe to listen")
    click = PointStamped()
    click.header.frame_id = "camera_color_optical_frame"
    click.point.x, click.point.y, click.point.z = -0.18, -0.02, 0.7  # pixel (41, 55)
    publisher.publish(click)
    stage.wait(lambda: stage.node._clicks._latest is not None, "the click")
    stage.send_frame(make_frame())
    stage.wait(lambda: stage.probe.received["selected"], "the selection")
    (chosen,) = stage.probe.received["selected"]
    assert [one.class_name for one in chosen.instances] == ["object"]
    assert abs(chosen.instances[0].region.x_offset - 20) <= 3


def require_both_blocks(answer: InstanceArray) -> None:
    """The messages of the two blocks of `make_frame`, whatever found them."""
    assert answer.status == answer.STATUS_OK
    assert [instance.label for instance in answer.instances] == [1, 2]
    assert [instance.class_name for instance in answer.instances] == ["block", "block"]
    # Both are wider than the gripper opens, and seen from straight above.
    assert all(instance.points_kept > 500 for instance in answer.instances)
    assert {instance.status for instance in answer.instances} == {Status.NO_GRASP_CANDIDATE | Status.FOOT_NOT_SEEN}
    regions = [instance.region for instance in answer.instances]
    sides = [(region.x_offset, region.y_offset, region.width, region.height) for region in regions]
    assert np.abs(np.array(sides) - [(20, 30, 40, 50), (90, 40, 40, 30)]).max() <= 3  # a cell of the masks' grid
    centers_m = [(one.centroid.x, one.centroid.y, one.centroid.z) for one in answer.instances]
    assert np.abs(np.array(centers_m) - [(-0.184, -0.021, 0.75), (0.142, -0.021, 0.75)]).max() < 0.01


def test_a_file_of_no_family_refuses_to_configure_with_the_reason(
    make_stage: Callable[..., Any], family_model_path: Callable[[str], Path]
) -> None:
    path = family_model_path("detr")
    path.with_suffix(".yaml").write_text("family: yolact\n")
    stage = make_stage(Pipeline.from_settings, model_path=str(path))
    assert stage.node.trigger_configure().name == "FAILURE"
    assert stage.log_lines("is no YOLACT with raw outputs: it gives loc float [1, A, 4]")
