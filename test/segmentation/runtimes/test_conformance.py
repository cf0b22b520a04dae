"""Every backend gives the same instances for the same model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.masks import mask_areas
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.export.int8 import agreement
from instance_seg_ros.segmentation.model_file import default_model_path, path_in_8_bits, read_model_info, shipped_models
from instance_seg_ros.segmentation.network import Network, network_inputs
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.runtimes.cpu_runtimes import CPU_BACKENDS, load_cpu_network
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

pytestmark = pytest.mark.slow


class OnPyTorch:
    """On the CPU, where what a CUDA graph captures on a GPU runs operator by operator."""

    backend = "PyTorch"

    def __init__(self, path: Path, precision: str) -> None:
        self._path, self._precision = path, precision
        self.input_names = tuple(tensor.name for tensor in onnxruntime.InferenceSession(path).get_inputs())

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs one frame, of any size."""
        from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork

        shapes = {name: array.shape for name, array in inputs.items()}
        return PyTorchNetwork(self._path, shapes, self._precision, "cpu")(inputs)


MAKERS: dict[str, Callable[[Path], Network]] = {
    "openvino": partial(load_cpu_network, "openvino", settings=SegmentationSettings(threads=1)),
    "openvino in float32": partial(
        load_cpu_network, "openvino", settings=SegmentationSettings(threads=1, precision="fp32")
    ),
    "torch in fp32": partial(OnPyTorch, precision="fp32"),
    "torch in bf16": partial(OnPyTorch, precision="bf16"),
}
"""Loads a model file on each backend; the first word is the package that it needs."""


def reference(path: Path) -> Network:
    """What all are compared with: ONNX Runtime, which computes in float32."""
    return load_cpu_network("onnxruntime", path, SegmentationSettings(threads=1))


@pytest.fixture(scope="module", params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[Path], Network]:
    pytest.importorskip(request.param.split()[0])
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def shipped(make: Callable[[Path], Network]) -> Network:
    """The shipped model on a backend, for frames of all sizes."""
    return make(default_model_path())


@pytest.fixture(scope="module")
def trusted() -> Network:
    """The shipped model on the one that all are compared with."""
    return reference(default_model_path())


def tabletop(width: int, height: int) -> RgbdFrame:
    """Eight boxes and cans on a table that the camera looks straight down on, with noise and missing pixels."""
    rng = np.random.default_rng(3)
    depth_m = np.full((height, width), 0.9, dtype=np.float32)
    v, u = np.mgrid[:height, :width] / height
    for index in range(8):
        row, column = divmod(index, 4)
        left, top = 0.1 + 0.3 * column, 0.15 + 0.4 * row
        if index % 2:
            region = (u - left - 0.09) ** 2 + (v - top - 0.09) ** 2 < 0.08**2
        else:
            region = (u > left) & (u < left + 0.17) & (v > top) & (v < top + 0.2)
        depth_m[region] = 0.84 - 0.02 * row
    depth_m += rng.normal(0, 0.0008, depth_m.shape).astype(np.float32)
    depth_m[rng.random(depth_m.shape) < 0.02] = 0
    focal = 600 * width / 640
    color_rgb = np.uint8(255 * (depth_m - 0.8).clip(0, 0.1) / 0.1)[..., None].repeat(3, axis=2)
    return RgbdFrame(color_rgb, depth_m, Intrinsics(width, height, focal, focal, width / 2, height / 2))


def segment(network: Network, path: Path, frame: RgbdFrame) -> Instances:
    return NetworkSegmenter(network, read_model_info(path), SegmentationSettings()).segment(frame)


def assert_same(found: Instances, expected: Instances) -> None:
    """The same objects in the same order: scores within 0.02, masks of IoU above 0.97."""
    assert found.class_ids.tolist() == expected.class_ids.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.02)
    both = np.count_nonzero(found.masks & expected.masks, axis=(1, 2))
    either = np.count_nonzero(found.masks | expected.masks, axis=(1, 2))
    assert (both / either > 0.97).all()


@pytest.mark.parametrize("size_wh", [(640, 480), (848, 480), (320, 240)])
def test_the_shipped_model(shipped: Network, trusted: Network, size_wh: tuple[int, int]) -> None:
    path, frame = default_model_path(), tabletop(*size_wh)
    expected = segment(trusted, path, frame)
    assert len(expected) == 8
    found = segment(shipped, path, frame)
    order = [int(np.argmax([np.count_nonzero(mask & other) for other in found.masks])) for mask in expected.masks]
    assert_same(found[np.array(order)], expected)
    assert len(found) == len(expected)


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720)])
def test_every_shipped_model_finds_the_same_objects(size_wh: tuple[int, int]) -> None:
    frame = tabletop(*size_wh)
    expected, *others = [segment(reference(path), path, frame) for path in shipped_models().values()]
    assert len(expected) == 8
    assert others
    for found in others:
        assert len(found) == len(expected)
        shared = np.array([[np.count_nonzero(mask & other) for other in found.masks] for mask in expected.masks])
        either = mask_areas(expected.masks)[:, None] + mask_areas(found.masks)[None] - shared
        assert ((shared / either).max(axis=1) > 0.85).all()


@pytest.mark.parametrize("name", shipped_models())
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_shipped_model_in_8_bits_finds_what_it_finds_in_float(backend: str, name: str) -> None:
    pytest.importorskip(backend)
    path, frame = shipped_models()[name], tabletop(640, 480)
    in_8_bits = load_cpu_network(backend, path_in_8_bits(path), SegmentationSettings(threads=1))
    assert "in 8 bits" in in_8_bits.backend
    measured = agreement([(segment(reference(path), path, frame), segment(in_8_bits, path, frame))])
    assert measured.instances == 8
    assert measured.found_share == 1
    assert measured.mean_iou > 0.95


def test_a_model_of_constants(
    make: Callable[[Path], Network], block_model_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    frame = make_frame()
    expected = segment(reference(block_model_path), block_model_path, frame)
    assert len(expected) == 2
    assert_same(segment(make(block_model_path), block_model_path, frame), expected)


@pytest.mark.parametrize("mask_head", ["prototypes", "kernels"])
@pytest.mark.parametrize("backend", ["openvino in float32", "torch in fp32"])
def test_other_mask_heads(backend: str, mask_head: str, small_config: object, tmp_path: Path) -> None:
    """Random weights, so that all that is compared is arithmetic."""
    import onnx
    import torch

    from instance_seg_ros.learning.export.model_writer import export_graph
    from instance_seg_ros.learning.models.condinst import CondInst
    from instance_seg_ros.learning.models.exported_graph import DecodingSettings

    pytest.importorskip(backend.split()[0])
    torch.manual_seed(0)
    model = CondInst(dataclasses.replace(small_config, mask_head=mask_head)).eval()  # type: ignore[type-var]
    with torch.no_grad():
        model.head.class_logits.weight.mul_(30)
        model.controller.weight.mul_(30)
    path = tmp_path / "model.onnx"
    # Nothing is suppressed: a threshold is no place to compare at.
    decoding = DecodingSettings(16, 16, overlap_threshold=1.0, containment_threshold=1.0, min_score=0.0)
    onnx.save(export_graph(model, decoding), path)
    inputs = network_inputs(tabletop(320, 240), ("depth_m", "intrinsics", "color_rgb"))
    expected, found = reference(path)(inputs), MAKERS[backend](path)(inputs)
    assert np.count_nonzero(expected.scores) > 8 and expected.masks.std() > 0.05
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    # The order of equally good ones may differ, their sum may not.
    sums = [output.masks.astype(np.float64).sum(axis=0) for output in (found, expected)]
    np.testing.assert_allclose(*sums, atol=0.02)


@pytest.mark.parametrize("color", [True, False])
def test_a_frame_without_any_depth_gives_finite_numbers(make: Callable[[Path], Network], color: bool) -> None:
    frame = tabletop(640, 480)
    blind = RgbdFrame(frame.color_rgb if color else None, np.zeros_like(frame.depth_m), frame.intrinsics)
    for network in (reference(default_model_path()), make(default_model_path())):
        found = segment(network, default_model_path(), blind)
        assert np.isfinite(found.scores).all()
        assert len(found) <= SegmentationSettings().max_instances
