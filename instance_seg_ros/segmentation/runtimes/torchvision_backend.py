"""Runs torchvision's Mask R-CNN (He et al., ICCV 2017) from its state dict as safetensors, with PyTorch.

Which of torchvision's networks it is, and how many classes it has, is told by the names and shapes of the weights. The
YAML file beside it may have `class_names`, that of the background first, and `score_threshold`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torchvision.models import detection

from instance_seg_ros.segmentation.contract import require_known_classes
from instance_seg_ros.segmentation.families.description import names_listed, read_yaml, share_of
from instance_seg_ros.segmentation.families.family import Reading
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.torchvision_rcnn import TORCHVISION_MASK_RCNN
from instance_seg_ros.segmentation.model_file import MAX_CLASSES, ModelError, ModelInfo
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

_KEYS = ("family", "class_names", "score_threshold")
_CLASSES, _MASKS = "roi_heads.box_predictor.cls_score.weight", "roi_heads.mask_predictor.mask_fcn_logits.weight"
_NORMALISED_PYRAMID = "backbone.fpn.inner_blocks.0.1.weight"
"""That the second version has, and the first has not."""
_LAST_BLOCK, _BEYOND = "backbone.body.layer3.5.conv3.weight", "backbone.body.layer3.6.conv3.weight"
"""Of a ResNet-50, and what only deeper ones have."""
_COUNTED = "backbone.body.bn1.num_batches_tracked"
"""That a normalisation has which learns, and a frozen one has not."""
_IMAGE = ImageInput(size_wh=None, resize="stretch")
_WARM_UP_HW = (96, 128)


class TorchvisionNetwork:
    """A Mask R-CNN from a file. For one caller at a time.

    Args:
        path: of the file.
        threads: CPU threads, 0 for PyTorch's own choice.

    Raises:
        ModelError: the file cannot be read, holds the weights of another network, or does not run.
    """

    input_names = ("color_rgb",)

    def __init__(self, path: Path, threads: int) -> None:
        weights = _read(path)
        build, classes = _network_of(path, weights)
        said, said_digest = read_yaml(path.with_suffix(".yaml"))
        unused = [key for key in said if key not in _KEYS]
        if unused or said.get("family", TORCHVISION_MASK_RCNN.name) != TORCHVISION_MASK_RCNN.name:
            raise ModelError(
                f"{path.with_suffix('.yaml')}: a Mask R-CNN of torchvision is loaded with class_names and "
                f"score_threshold alone, not {', '.join(unused) or said['family']}"
            )
        names = (
            names_listed(path, said["class_names"])
            if "class_names" in said
            else TORCHVISION_MASK_RCNN.class_names(classes)
        )
        if len(names) != classes:
            raise ModelError(
                f"{path}: {len(names)} class names, and the network has {classes} classes, with the background first"
            )
        if threads:
            torch.set_num_threads(threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._path = path
        model = build(weights=None, weights_backbone=None, num_classes=classes)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{path} does not fit torchvision's {build.__name__}: {reason[:500]}") from error
        if _COUNTED not in weights:
            _freeze_as_trained(model)
        self._model: Any = model.eval().to(self._device)
        self.info = ModelInfo(
            name=path.stem,
            version=f"torchvision {build.__name__}",
            class_names=names,
            score_threshold=share_of(path, said, "score_threshold", TORCHVISION_MASK_RCNN.score_threshold),
            mask_threshold=TORCHVISION_MASK_RCNN.mask_threshold,
            digest=hashlib.sha256(path.read_bytes() + said_digest.encode()).hexdigest(),
            needs_color=True,
        )
        self({"color_rgb": np.zeros((*_WARM_UP_HW, 3), dtype=np.uint8)})

    @property
    def backend(self) -> str:
        """The versions and the device."""
        device = torch.cuda.get_device_name() if self._device == "cuda" else "the CPU"
        return f"torchvision {torchvision.__version__}, PyTorch {torch.__version__} on {device}"

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the model on one frame.

        Args:
            inputs: "color_rgb" (H, W, 3) uint8.

        Raises:
            ModelError: an object has a class without a name; NotFiniteError where numbers are none.
        """
        color_rgb = inputs["color_rgb"]
        camera_wh = color_rgb.shape[1], color_rgb.shape[0]
        placement = _IMAGE.placement(camera_wh, camera_wh)
        image = torch.from_numpy(np.ascontiguousarray(_IMAGE.fed(color_rgb, placement, np.float32)))
        with torch.inference_mode():
            (outputs,) = self._model([image.to(self._device)])
        by_role = {role: outputs[role].cpu().numpy() for role in ("boxes", "labels", "scores", "masks")}
        names = self.info.class_names
        output = TORCHVISION_MASK_RCNN.decode(by_role, Reading(placement, len(names), TORCHVISION_MASK_RCNN.nms_iou))
        require_known_classes(self._path, output, names, f"class_names in {self._path.with_suffix('.yaml').name}")
        return output


def _freeze_as_trained(model: torch.nn.Module) -> None:
    """Takes the epsilon of the frozen normalisations to 0, as torchvision does for its weights of COCO.

    Those that were trained from ImageNet's weights alone have 1e-5, which the weights do not tell; it matters where a
    channel hardly varies.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is no safetensors file or was cut short: {error}") from error


def _network_of(path: Path, weights: Mapping[str, torch.Tensor]) -> tuple[Any, int]:
    """torchvision's function that builds the network with these weights, and the number of its classes."""
    missing = [name for name in (_CLASSES, _MASKS, _LAST_BLOCK) if name not in weights]
    if missing or _BEYOND in weights:
        found = ", ".join(list(weights)[:3]) or "nothing"
        raise ModelError(
            f"{path} is not the state dict of torchvision's maskrcnn_resnet50_fpn or maskrcnn_resnet50_fpn_v2: it "
            f"{'has no ' + ', '.join(missing) if missing else 'is of a deeper network'}; it begins with {found}"
        )
    classes = len(weights[_CLASSES])
    if not 2 <= classes <= MAX_CLASSES:
        raise ModelError(f"{path} has {classes} classes with the background; from 2 to {MAX_CLASSES} can be used")
    is_second = _NORMALISED_PYRAMID in weights
    return detection.maskrcnn_resnet50_fpn_v2 if is_second else detection.maskrcnn_resnet50_fpn, classes
