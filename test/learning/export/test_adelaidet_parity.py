"""AdelaiDet's CondInst against what its reference implementation computed for one image and one set of weights."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.export.adelaidet import export_adelaidet_graph
from instance_seg_ros.learning.export.adelaidet_checkpoint import (
    AdelaiDetCheckpoint,
    adelaidet_shapes,
    import_adelaidet,
)
from instance_seg_ros.learning.export.model_writer import ModelDescription, describe
from instance_seg_ros.learning.models.adelaidet_inference import AdelaiDetInstances, Detector, to_adelaidet_instances
from instance_seg_ros.segmentation import load_segmenter
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

REFERENCE = Path(__file__).parents[3] / ".." / "shared" / "data" / "condinst_reference"

pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference outputs are not beside the project")


@dataclass(frozen=True)
class Reference:
    """What the reference implementation was given and gave."""

    arrays: dict[str, NDArray]

    @property
    def color_rgb(self) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.arrays["image_bgr"][..., ::-1])

    @property
    def output_wh(self) -> tuple[int, int]:
        height, width = self.arrays["output_hw"].tolist()
        return width, height

    @property
    def masks(self) -> NDArray[np.bool_]:
        unpacked = np.unpackbits(self.arrays["masks_packed"], axis=-1)
        return unpacked[..., : self.output_wh[0]].astype(bool)


@pytest.fixture(scope="module")
def reference() -> Reference:
    with np.load(REFERENCE / "condinst_r50.npz") as arrays:
        return Reference(dict(arrays))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> AdelaiDetCheckpoint:
    spec = importlib.util.spec_from_file_location("condinst_reference_fill", REFERENCE / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The folder may be read-only, and is not ours to write byte code to.
    exec(compile((REFERENCE / "fill.py").read_text(), "fill.py", "exec"), module.__dict__)
    shapes = json.loads((REFERENCE / "condinst_r50_keys.json").read_text())
    path = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.save({"model": {name: torch.from_numpy(value) for name, value in module.fill(shapes).items()}}, path)
    checkpoint = import_adelaidet(path)
    path.unlink()
    return checkpoint


@pytest.fixture(scope="module")
def detector(checkpoint: AdelaiDetCheckpoint, reference: Reference) -> Detector:
    """Without a resize: the reference was given this image as the network sees it."""
    height, width = reference.color_rgb.shape[:2]
    return Detector(checkpoint.model(), (width, height), (width, height))


def check_instances(found: AdelaiDetInstances, reference: Reference) -> None:
    """Scores within 1e-4, boxes within 0.05 px, masks above 0.999 IoU; near ties may change places."""
    scores, boxes = reference.arrays["scores"], reference.arrays["boxes_xyxy"]
    assert len(found.scores) == len(scores)
    np.testing.assert_allclose(found.scores.numpy(), scores, rtol=0, atol=1e-4)
    costs = np.abs(found.boxes_xyxy.numpy()[:, None] - boxes[None]).max(axis=2)
    costs[found.class_ids.numpy()[:, None] != reference.arrays["classes"][None]] = np.inf
    costs[np.abs(found.scores.numpy()[:, None] - scores[None]) > 1e-4] = np.inf
    partner = costs.argmin(axis=1)
    assert sorted(partner) == list(range(len(scores)))
    assert costs.min(axis=1).max() < 0.05
    masks, expected = found.masks.numpy(), reference.masks[partner]
    union = (masks | expected).sum(axis=(1, 2))
    overlap = (masks & expected).sum(axis=(1, 2))
    assert (overlap[union > 0] / union[union > 0]).min() > 0.999
    assert np.count_nonzero(union) > 30


def assert_near(found: Tensor, expected: NDArray[np.float32]) -> None:
    """Within 1e-3 of the largest magnitude."""
    assert found.shape == (1, *expected.shape)
    assert np.abs(found[0].numpy() - expected).max() <= 1e-3 * np.abs(expected).max()


def test_all_of_adelaidets_weights_are_accounted_for(checkpoint: AdelaiDetCheckpoint) -> None:
    listed = json.loads((REFERENCE / "condinst_r50_keys.json").read_text())
    ours = adelaidet_shapes(checkpoint.config)
    assert len(ours) == 363
    assert {name: listed[name] for name in ours} == {name: list(shape) for name, shape in ours.items()}
    no_weights = [name for name in listed if name not in ours]
    assert all(name.endswith(("num_batches_tracked", "sizes_of_interest", "_iter")) for name in no_weights)


def test_features_and_instances_equal_the_reference(detector: Detector, reference: Reference) -> None:
    color_rgb = torch.from_numpy(reference.color_rgb)
    with torch.inference_mode():
        features = detector.model(detector.image_input(color_rgb))
        level = features.levels[2]
        for found, name in (
            (features.pyramid[2], "fpn_p5"),
            (features.pyramid[4], "fpn_p7"),
            (features.mask_features, "mask_feats"),
            (level.class_logits, "cls_logits_p5"),
            (level.ltrb, "box_reg_p5"),
            (level.centerness_logits, "centerness_p5"),
            (detector.model.controller(level.box_features), "controller_p5"),
        ):
            assert_near(found, reference.arrays[name])
        found = to_adelaidet_instances(*detector(color_rgb), detector, reference.output_wh)
    check_instances(found, reference)


@pytest.mark.slow
def test_the_exported_graph_equals_the_reference(
    detector: Detector, checkpoint: AdelaiDetCheckpoint, reference: Reference, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "condinst.onnx"
    description = ModelDescription("condinst_r50", "1", checkpoint.class_names, score_threshold=0.3)
    path.write_bytes(describe(export_adelaidet_graph(detector), description, {}, {}))

    network = OnnxRuntimeNetwork(path, threads=0)
    output = network({"color_rgb": reference.color_rgb})
    assert output.masks.dtype == np.float16
    rows = (output.boxes_xyxy, output.scores, output.class_ids, output.masks)
    found = to_adelaidet_instances(*(torch.from_numpy(x) for x in rows), detector, reference.output_wh)
    check_instances(found, reference)

    height, width = reference.color_rgb.shape[:2]
    frame = RgbdFrame(
        reference.color_rgb, np.zeros((height, width), np.float32), Intrinsics(width, height, 500, 500, 250, 166)
    )
    instances = load_segmenter(path, SegmentationSettings(backend="onnxruntime")).segment(frame)
    assert 1 <= len(instances) <= np.count_nonzero(reference.arrays["scores"] > 0.3)
    assert set(instances.names()) == {"book"}  # class 73, the only one of these random weights
