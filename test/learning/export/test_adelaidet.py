"""From AdelaiDet's checkpoint of any depth to a model file for any camera: the file computes what the network does."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from instance_seg_ros.commands import main
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.export.adelaidet_checkpoint import adelaidet_shapes, load_adelaidet_checkpoint
from instance_seg_ros.learning.models import adelaidet_inference, resnet
from instance_seg_ros.learning.models.adelaidet import AdelaiDetConfig
from instance_seg_ros.learning.models.adelaidet_inference import Detector, to_adelaidet_instances
from instance_seg_ros.segmentation import ModelError, load_segmenter
from instance_seg_ros.segmentation.runtimes import tensorrt_check
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeNetwork

SHORTER_SIDE_PX = 96


def some_weights(depth: int) -> dict[str, Tensor]:
    """Weights in AdelaiDet's layout with which some of the scores are high; a function of each name."""
    weights = {}
    for name, shape in adelaidet_shapes(AdelaiDetConfig(depth)).items():
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        if len(shape) == 4:
            weights[name] = noise / noise[0].numel() ** 0.5
        elif name.endswith(("norm.weight", ".1.weight", "running_var", "scale")) or "tower" in name:
            weights[name] = 1 + 0.1 * noise.abs()
        elif name.endswith("cls_logits.bias"):
            weights[name] = noise - 2
        elif name.endswith("bbox_pred.bias"):
            weights[name] = 2 + noise
        else:
            weights[name] = 0.1 * noise
    return weights


def picture(width: int, height: int) -> np.ndarray:
    """Rectangles of chance colours."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), 120, dtype=np.uint8)
    for _ in range(12):
        left, top = rng.integers(0, width - 8), rng.integers(0, height - 8)
        image[top : top + rng.integers(6, height // 2), left : left + rng.integers(6, width // 2)] = rng.integers(
            0, 256, 3
        )
    return image


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "size_wh", "masks_hw", "is_built"),
    [
        pytest.param(50, (43, 64), (40, 24), True, id="R50, upright"),
        pytest.param(14, (64, 43), (24, 40), False, id="one block a stage, lying"),
        pytest.param(101, (43, 64), (40, 24), True, id="R101, upright", marks=pytest.mark.large),
    ],
)
def test_a_checkpoint_becomes_a_model_file_that_computes_what_the_network_does(
    depth: int,
    size_wh: tuple[int, int],
    masks_hw: tuple[int, int],
    is_built: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(adelaidet_inference, "_SHORTER_SIDE_PX", SHORTER_SIDE_PX)  # of 800, which takes minutes
    monkeypatch.setitem(resnet.STAGE_BLOCKS, 14, (1, 1, 1, 1))  # of no checkpoint: the sizes are what is looked at
    if not is_built:
        request.getfixturevalue("without_tensorrt")
    width, height = size_wh
    theirs, imported, file = (tmp_path / name for name in ("theirs.pth", "imported.pt", "model.onnx"))
    torch.save({"model": some_weights(depth)}, theirs)
    assert main.main(["import-weights", str(theirs), "--out", str(imported)]) == 0
    export = ["export", "--checkpoint", str(imported), "--out", str(file), "--score-threshold", "0.1"]
    assert main.main([*export, "--camera-size", f"{width}x{height}"]) == 0
    told = capsys.readouterr().out
    obstacle = tensorrt_check.check_obstacle()
    if obstacle is None:  # TensorRT's own builder is here, and builds it
        assert f"builds it for {width}x{height}, tf32, compute capabilities 8.6, 8.9, 12.0" in told
    else:
        assert f"not tried with TensorRT: {obstacle}" in told

    color_rgb = picture(width, height)
    detector = Detector(load_adelaidet_checkpoint(imported).model(), size_wh)
    with torch.inference_mode():
        rows = detector(torch.from_numpy(color_rgb))
        expected = to_adelaidet_instances(*rows, detector, size_wh)
    found = OnnxRuntimeNetwork(file, threads=1)({"color_rgb": color_rgb})
    assert np.count_nonzero(found.scores > 0.1) > 10
    np.testing.assert_allclose(found.scores, rows[1], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, rows[0], rtol=0, atol=0.05)
    assert found.class_ids.tolist() == rows[2].tolist()
    assert found.masks.shape[1:] == masks_hw
    assert np.mean((found.masks > 0.5) != (rows[3].numpy() > 0.5)) < 1e-4
    as_adelaidet = to_adelaidet_instances(
        *(torch.from_numpy(x) for x in (found.boxes_xyxy, found.scores, found.class_ids, found.masks)),
        detector,
        size_wh,
    )
    assert (as_adelaidet.masks != expected.masks).float().mean() < 1e-3

    def frame(wide: int, high: int) -> RgbdFrame:
        camera = Intrinsics(wide, high, 50, 50, wide / 2, high / 2)
        return RgbdFrame(picture(wide, high), np.zeros((high, wide), np.float32), camera)

    segmenter = load_segmenter(file, SegmentationSettings(backend="onnxruntime"))
    assert segmenter.info.name == f"condinst_r{depth}"
    assert len(segmenter.segment(frame(width, height)))
    with pytest.raises(
        ModelError, match=rf"exported for color_rgb of shape \({height}, {width}, 3\).*this camera's size"
    ):
        segmenter.segment(frame(width + 1, height))
