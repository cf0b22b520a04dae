"""Mask R-CNN as torchvision exports it: real graphs of a small network, held against torchvision itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

pytest.importorskip("torchvision", exc_type=(ImportError, RuntimeError))  # the latter beside another PyTorch

import torch
from torch import nn

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.contract import GraphInput, contract_of
from instance_seg_ros.segmentation.families.description import read_exported_model
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances
from instance_seg_ros.segmentation.runtime_choice import load_network
from instance_seg_ros.segmentation.runtimes.tensorrt_check import check as check_with_tensorrt
from instance_seg_ros.segmentation.runtimes.tensorrt_check import check_obstacle
from instance_seg_ros.segmentation.runtimes.tensorrt_graph import graph_for_tensorrt


def beside(name: str) -> ModuleType:
    """A module beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


small = beside("torchvision_network")
EXPORTED_WH, NAMES, OF_ANY_SIZE = small.EXPORTED_WH, small.NAMES, small.OF_ANY_SIZE
EXPORTS = {
    "of one size": {},
    "of any size": OF_ANY_SIZE,
    "traced where nothing is found": OF_ANY_SIZE,
    "that finds nothing": OF_ANY_SIZE,
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    model: nn.Module = small.small_network()
    return model


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model files, by the keys of EXPORTS."""
    bias = network.roi_heads.box_predictor.cls_score.bias
    own, background_alone = bias.detach().clone(), torch.tensor([1000.0, 0.0, 0.0, 0.0])
    paths = {}
    for kind, options in EXPORTS.items():
        path = paths[kind] = tmp_path_factory.mktemp("exported") / "model.onnx"
        path.with_suffix(".yaml").write_text(f"class_names: [{', '.join(NAMES)}]\n")
        with torch.no_grad():
            bias.copy_(background_alone if "nothing" in kind else own)
            small.export(network, path, **options)
            bias.copy_(own)
        if kind == "traced where nothing is found":
            set_biases(path, own.numpy())
    return paths


def set_biases(path: Path, values: np.ndarray) -> None:
    """Gives an exported network other biases of its classes' scores."""
    model = onnx.load(path)
    (tensor,) = (one for one in model.graph.initializer if one.name == "roi_heads.box_predictor.cls_score.bias")
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


def image_of(size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    coarse = np.random.default_rng(3).integers(0, 256, (height // 12, width // 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC)


def fitted(color_rgb: np.ndarray, network_wh: tuple[int, int]) -> torch.Tensor:
    """The image (3, h, w), 0 to 1, at the top left of one of the network's size, its sides' ratio kept."""
    ratio = min(network_wh[0] / color_rgb.shape[1], network_wh[1] / color_rgb.shape[0])
    width, height = round(color_rgb.shape[1] * ratio), round(color_rgb.shape[0] * ratio)
    image = np.zeros((network_wh[1], network_wh[0], 3), dtype=np.uint8)
    image[:height, :width] = cv2.resize(color_rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(image).permute(2, 0, 1) / 255


def run(path: Path, backend: str, color_rgb: np.ndarray) -> NetworkOutput:
    if backend == "engine's graph":
        return run_graph_of_engine(path, color_rgb)
    settings = SegmentationSettings(backend=backend, precision="fp32", threads=1)
    output: NetworkOutput = load_network(path, settings)[0]({"color_rgb": color_rgb})
    return output


def run_graph_of_engine(path: Path, color_rgb: np.ndarray) -> NetworkOutput:
    """With ONNX Runtime, what an engine is built of."""
    content = graph_for_tensorrt(path, {"color_rgb": color_rgb.shape}, "tf32")
    session, contract = onnxruntime.InferenceSession(content), contract_of(path)
    inputs = {one.name: GraphInput("float32", tuple(one.shape)) for one in session.get_inputs()}
    names = contract.outputs_to_ask(inputs, [one.name for one in session.get_outputs()])
    results = session.run(list(names), contract.feeds({"color_rgb": color_rgb}, inputs))
    return contract.read(dict(zip(names, results, strict=True)), {"color_rgb": color_rgb.shape})


# Sizes at which its graph, which computes them in single precision, resizes as torchvision does; at 161 x 121, say, a
# graph of any size makes 95 rows of an image of which torchvision makes 96.
@pytest.mark.parametrize(
    ("kind", "backend", "camera_wh"),
    [
        ("of one size", "onnxruntime", (160, 120)),
        ("of one size", "onnxruntime", (320, 240)),
        ("of one size", "onnxruntime", (161, 121)),
        ("of one size", "onnxruntime", (145, 133)),
        ("of any size", "onnxruntime", (160, 120)),
        ("of any size", "onnxruntime", (130, 120)),
        ("of any size", "onnxruntime", (320, 240)),
        ("of any size", "openvino", (130, 120)),
        ("traced where nothing is found", "onnxruntime", (160, 120)),
        ("of one size", "engine's graph", (160, 120)),
        ("of any size", "engine's graph", (130, 120)),
        ("of any size", "engine's graph", (320, 240)),
        ("traced where nothing is found", "engine's graph", (160, 120)),
    ],
)
def test_a_graph_finds_what_torchvision_finds(
    kind: str,
    backend: str,
    camera_wh: tuple[int, int],
    network: nn.Module,
    exported: dict[str, Path],
    camera_in: Callable[..., Any],
) -> None:
    if backend == "openvino":
        pytest.importorskip(backend)
    color_rgb = image_of(camera_wh)
    output = run(exported[kind], backend, color_rgb)
    instances = to_instances(output, camera_wh, NAMES, 0.05, 0.5, 100, 1, overlapping=True)

    network_wh = EXPORTED_WH if kind == "of one size" else camera_wh
    with torch.inference_mode():
        (theirs,) = network([fitted(color_rgb, network_wh)])
    camera = camera_in(camera_wh, network_wh, "fit")
    masks = [camera.sampled(mask) > 0.5 for mask in theirs["masks"][:, 0].numpy()]
    seen = [row for row, mask in enumerate(masks) if mask.any()]  # not beside the camera's image
    boxes, labels, scores = (theirs[name].numpy() for name in ("boxes", "labels", "scores"))

    assert len(output.scores) == len(scores) == 20
    assert len(instances) == len(seen) > 5
    rows, places = list(range(len(output.scores))), list(range(len(instances)))
    for row in seen:  # scores are nearly equal here, so their order is not looked at
        same_box = [
            other
            for other in rows
            if output.class_ids[other] == labels[row]
            and abs(output.scores[other] - scores[row]) < 1e-3
            and np.abs(output.boxes_xyxy[other] - camera.box(boxes[row])).max() < 0.5
        ]
        same_mask = [
            place
            for place in places
            if instances.class_ids[place] == labels[row]
            and abs(instances.scores[place] - scores[row]) < 1e-3
            and (instances.masks[place] & masks[row]).sum() > 0.99 * (instances.masks[place] | masks[row]).sum()
        ]
        assert same_box, (row, boxes[row])
        assert same_mask, (row, boxes[row])
        rows.remove(same_box[0])
        places.remove(same_mask[0])


@pytest.mark.parametrize("kind", EXPORTS)
def test_it_is_recognised_with_and_without_names_of_outputs(kind: str, exported: dict[str, Path]) -> None:
    assert read_exported_model(exported[kind]).family.name == "torchvision-mask-rcnn"


def test_where_nothing_is_there_nothing_is_found(exported: dict[str, Path]) -> None:
    output = run(exported["that finds nothing"], "onnxruntime", image_of(EXPORTED_WH))
    assert len(to_instances(output, EXPORTED_WH, NAMES, 0.0, 0.5, 100, 1)) == 0


@pytest.mark.skipif(check_obstacle() is not None, reason=str(check_obstacle()))
@pytest.mark.parametrize("kind", ["of one size", "of any size"])
def test_tensorrt_builds_it(kind: str, exported: dict[str, Path]) -> None:
    assert check_with_tensorrt(exported[kind], EXPORTED_WH, "tf32", lambda line: None)
