"""What `instance-seg bench` times with PyTorch: model files on GPU and CPU, and an imported network as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.learning.export.adelaidet_checkpoint import load_adelaidet_checkpoint
from instance_seg_ros.learning.models.adelaidet_inference import Detector, to_adelaidet_instances
from instance_seg_ros.segmentation import load_segmenter, read_model_info
from instance_seg_ros.segmentation.gpu_runtimes import GPU_BACKENDS, obstacle_of
from instance_seg_ros.segmentation.network import network_inputs
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.onnxruntime_backend import OnnxRuntimeSession, session_options
from instance_seg_ros.segmentation.runtimes.pytorch_backend import PyTorchNetwork
from instance_seg_ros.segmentation.runtimes.torch_program import TorchProgram
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

Candidates = dict[str, Callable[[], object]]
"""What to time, by the name of its row."""


def eager(checkpoint: Path, frame: RgbdFrame, device: str) -> Callable[[], object]:
    """Runs an imported network as AdelaiDet does, from the colour image to masks at full size.

    Raises:
        InputError: the checkpoint cannot be used, or the frame has no colour.
    """
    if frame.color_rgb is None:
        raise InputError("the network needs colour, and the capture has none")
    size_wh = (frame.intrinsics.width, frame.intrinsics.height)
    detector = Detector(load_adelaidet_checkpoint(checkpoint).model(), size_wh).to(device)
    image = torch.from_numpy(np.array(frame.color_rgb))

    def run() -> object:
        with torch.inference_mode():
            boxes_xyxy, scores, class_ids, masks = detector(image.to(device))
            return to_adelaidet_instances(boxes_xyxy, scores, class_ids, masks, detector, size_wh).masks.cpu()

    return run


def on_cpu(path: Path, frame: RgbdFrame, threads: int) -> Candidates:
    """A model file on PyTorch, in float32 and in bfloat16.

    Args:
        threads: of PyTorch; 0 leaves the choice to it.
    """
    if threads:
        torch.set_num_threads(threads)
    segmenters = [_pytorch(path, frame, precision, "cpu")[1] for precision in ("fp32", "bf16")]
    return {segmenter.backend: partial(segmenter.segment, frame) for segmenter in segmenters}


def on_gpu(path: Path, frame: RgbdFrame, unmeasured: list[str]) -> Candidates:
    """A model file on GPUs: PyTorch operator by operator, then as CUDA graphs, then every backend as it serves frames.

    Args:
        unmeasured: gets a line for each backend that does not run here.
    """
    candidates: Candidates = {"operator by operator, network": _one_by_one(path, frame, "cuda")}
    for precision in ("fp32", "tf32", "bf16", "fp16"):
        network, segmenter = _pytorch(path, frame, precision, "cuda")
        inputs = network_inputs(frame, network.input_names)
        candidates[f"{network.backend}, network"] = partial(network, inputs)
        candidates[network.backend] = partial(segmenter.segment, frame)
    for backend in GPU_BACKENDS:
        for precision in ("tf32", "fp16"):
            obstacle = obstacle_of(backend, precision)
            if obstacle is not None:
                unmeasured.append(f"{backend}: {obstacle}")
                continue
            serving = load_segmenter(path, SegmentationSettings(backend=backend, precision=precision))
            try:
                serving.segment(frame)  # what it prepares with the first frame
            except InputError as error:
                unmeasured.append(f"{backend}, {precision}: {error}")
            else:
                candidates[f"{backend}, {precision}"] = partial(serving.segment, frame)
    return candidates


def _pytorch(path: Path, frame: RgbdFrame, precision: str, device: str) -> tuple[PyTorchNetwork, NetworkSegmenter]:
    network = PyTorchNetwork(path, _shapes(path, frame), precision, device)
    return network, NetworkSegmenter(network, read_model_info(path), SegmentationSettings())


def _one_by_one(path: Path, frame: RgbdFrame, device: str) -> Callable[[], object]:
    """The operators of a model file in float32, launched one by one, between upload and download."""
    shapes = _shapes(path, frame)
    program = TorchProgram(with_fixed_sizes(path, shapes), device)
    inputs = {name: np.array(array) for name, array in network_inputs(frame, tuple(shapes)).items()}

    def run() -> object:
        outputs = program({name: torch.from_numpy(array).to(device) for name, array in inputs.items()})
        return {name: value.cpu() for name, value in outputs.items()}

    return run


def _shapes(path: Path, frame: RgbdFrame) -> dict[str, tuple[int, ...]]:
    session = OnnxRuntimeSession(str(path), session_options(threads=1), ["CPUExecutionProvider"])
    return {name: array.shape for name, array in network_inputs(frame, tuple(session.inputs)).items()}
