"""8-bit export: convolutions quantised with scales from the user's own frames, and the loss measured."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.masks import mask_ious
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import load_segmenter

# These layers stay in float: those that read an image, those that make the dynamic heads and the upsampling of masks,
# and those that give boxes and scores. Nothing averages their errors: the controller alone costs 3 points of AP in 8
# bits.
_FLOAT_LAYERS = re.compile(
    r"/model/(backbone/stem|color_encoder/stem|mask_upsampling/(depth_guide|color_guide|weights))/.*"
    r"|.*/(controller|class_logits|ltrb|centerness|features)(_\d+)?/Conv"
)

_FOUND_IOU = 0.75

ONE_FRAME = "one frame is too few to calibrate with and to measure the loss on; give two or more"


@dataclass(frozen=True)
class Agreement:
    """How far an 8-bit network agrees with the one that it was made from, over some frames.

    Attributes:
        instances: of the float network.
        found_share: share of them that the 8-bit network gives the same class and a mask of IoU >= 0.75.
        mean_iou: of the masks of these.
    """

    instances: int
    found_share: float
    mean_iou: float


def agreement(pairs: Sequence[tuple[Instances, Instances]]) -> Agreement:
    """The agreement of (float, 8-bit) results, one pair a frame; shares are 0 where the float network found nothing."""
    best = [iou for of_float, of_int8 in pairs for iou in _best_ious(of_float, of_int8)]
    found = [iou for iou in best if iou >= _FOUND_IOU]
    return Agreement(len(best), len(found) / max(len(best), 1), float(np.mean(found)) if found else 0.0)


def measured_agreement(of_float: bytes, of_int8: bytes, frames: Sequence[RgbdFrame]) -> Agreement:
    """The agreement of two model files' contents on some frames."""
    results = []
    for content in (of_float, of_int8):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(content)
            segmenter = load_segmenter(path, SegmentationSettings(backend="onnxruntime"))
            results.append([segmenter.segment(frame) for frame in frames])
    return agreement(list(zip(*results, strict=True)))


def _best_ious(of_float: Instances, of_int8: Instances) -> Iterator[float]:
    """For each instance of the float network, the largest IoU with an instance of the other network of its class."""
    for mask, class_id in zip(of_float.masks, of_float.class_ids, strict=True):
        others = of_int8.masks[of_int8.class_ids == class_id]
        yield float(mask_ious(mask[None], others).max(initial=0.0))


class _Frames(CalibrationDataReader):
    """Inputs one after the other, in the form that the calibration asks for."""

    def __init__(self, inputs: Iterable[Mapping[str, NDArray]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, NDArray] | None:
        inputs = next(self._inputs, None)
        return None if inputs is None else dict(inputs)


def quantise(proto: onnx.ModelProto, inputs: Sequence[Mapping[str, NDArray]]) -> onnx.ModelProto:
    """A graph with its convolutions in 8 bits (Q/DQ; weights per channel, activations per tensor).

    Everything else stays in float, above all group normalisation, suppression and the dynamic heads.

    Args:
        proto: of float32 weights.
        inputs: arrays by input name, one mapping a frame; the ranges of all activations come from them.

    Raises:
        ValueError: there is no frame.
    """
    if not inputs:
        raise ValueError("there is no frame to calibrate with")
    with tempfile.TemporaryDirectory() as folder:
        float_path, folded_path, int8_path = (Path(folder) / name for name in ("float", "folded", "int8"))
        onnx.save(proto, float_path)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded_path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(float_path), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(str(folded_path))
        onnx.helper.set_model_props(folded, {"onnx.quant.pre_process": "onnxruntime.quant"})
        convolutions = [node.name for node in folded.graph.node if node.op_type == "Conv"]
        onnx.save(folded, folded_path)
        quantize_static(
            str(folded_path),
            str(int8_path),
            _Frames(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[name for name in convolutions if _FLOAT_LAYERS.fullmatch(name)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(str(int8_path))
