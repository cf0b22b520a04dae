"""Export of a CondInst of AdelaiDet to one self-describing ONNX file for one camera's image size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.learning.export.adelaidet_checkpoint import AdelaiDetCheckpoint
from instance_seg_ros.learning.export.int8 import ONE_FRAME, Agreement
from instance_seg_ros.learning.export.model_writer import (
    OUTPUT_NAMES,
    ModelDescription,
    describe,
    in_8_bits,
    trace,
    write_model_file,
)
from instance_seg_ros.learning.models.adelaidet import MASK_STRIDE
from instance_seg_ros.learning.models.adelaidet_inference import Detector

# The mask's sample i stands for input pixel 4 i + 2 (`aligned_upsample`), half a pixel behind the middle of its cell.
_MASK_OFFSET = -0.5 / MASK_STRIDE


class AdelaiDetGraph(nn.Module):
    """A camera's colour image to the outputs of the model file's contract."""

    mask_scale: Tensor
    mask_offset: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        scale = [
            seen / camera / MASK_STRIDE for seen, camera in zip(detector.resized_wh, detector.camera_wh, strict=True)
        ]
        self.register_buffer("mask_scale", torch.tensor(scale))
        self.register_buffer("mask_offset", torch.full((2,), _MASK_OFFSET))

    def forward(self, color_rgb: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """
        Args:
            color_rgb: (H, W, 3) uint8 of the camera's size.

        Returns:
            boxes_xyxy (K, 4) float32 camera pixels; scores (K,) float32, best first, 0 for empty rows; class_ids (K,)
            int64; masks (K, h, w) float16 probabilities; mask_scale and mask_offset (2,) float32.
        """
        boxes, scores, classes, masks = self.detector(color_rgb)
        return boxes, scores, classes, masks.to(torch.float16), self.mask_scale.clone(), self.mask_offset.clone()


def export_adelaidet_graph(detector: Detector) -> onnx.ModelProto:
    """A detector as an ONNX graph, all shapes static.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX.
    """
    width, height = detector.camera_wh
    example = (torch.zeros((height, width, 3), dtype=torch.uint8),)
    return trace(AdelaiDetGraph(detector), example, ["color_rgb"], {}, [*OUTPUT_NAMES, "mask_offset"])


def export_adelaidet_checkpoint(
    checkpoint: AdelaiDetCheckpoint,
    path: Path,
    description: ModelDescription,
    camera_wh: tuple[int, int],
    calibration: Sequence[RgbdFrame] = (),
) -> Agreement | None:
    """Writes an imported network as a model file for images of one size.

    Args:
        checkpoint: written by `instance-seg import-weights`.
        path: of the file.
        description: what the file says of itself; its class names must be the checkpoint's.
        camera_wh: width and height of the camera's images.
        calibration: frames of that camera; with any, the network is written in 8 bits, see `export.in_8_bits`.

    Returns:
        For 8 bits, the agreement with the float network.

    Raises:
        ValueError: the description names other classes than the checkpoint, or there is one frame only, or one of
            another size.
    """
    if description.class_names != checkpoint.class_names:
        raise ValueError("the description's class names are not the checkpoint's")
    _check_frames(calibration, camera_wh)
    proto = export_adelaidet_graph(Detector(checkpoint.model(), camera_wh))
    contract = {"color_rgb": f"uint8 [{camera_wh[1]}, {camera_wh[0]}, 3], RGB as the camera gives it, this size only"}
    content = describe(proto, description, {"imported_from": checkpoint.source}, contract)
    agreed = None
    if calibration:
        content, agreed = in_8_bits(content, calibration)
    write_model_file(content, path)
    return agreed


def _check_frames(frames: Sequence[RgbdFrame], camera_wh: tuple[int, int]) -> None:
    """
    Raises:
        ValueError: there is one frame only, or one lacks colour or is of another size.
    """
    if len(frames) == 1:
        raise ValueError(ONE_FRAME)
    for frame in frames:
        size_wh = (frame.intrinsics.width, frame.intrinsics.height)
        if frame.color_rgb is None or size_wh != camera_wh:
            found = "no colour" if frame.color_rgb is None else f"{size_wh[0]}x{size_wh[1]}"
            raise ValueError(
                f"a frame to calibrate with has {found}, but the network is exported for colour images of "
                f"{camera_wh[0]}x{camera_wh[1]}; give frames of the camera that it will run on"
            )
